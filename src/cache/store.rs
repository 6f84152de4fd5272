//! The memory of the directory cache: what is known of each directory, for how long, and what it costs.

mod own;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::directory::Answer;
use super::known::{Known, Names};
use super::listing::{EntryRef, Frozen};
use super::slot::{Recollection, Slot};
use super::transit::{Landed, Transit};
use crate::ftp::list::RemoteEntry;
use crate::remote::{Name, RemotePath};

/// Directories, least recently used out first. Plain data: the caller brings lock and clock.
///
/// 1. What is known of a name is never older than our own last change of it.
/// 2. What is pinned is told whatever else is known, and never thrown out.
/// 3. `used` is the sum of what the slots cost. With the pins it is within the limit, or one slot is left.
pub(super) struct Store {
    timeout: Duration,
    limit: usize,
    used: usize,
    /// The stamp (see [`Known`]) or listing's serial given last.
    stamp: u64,
    slots: LruCache<RemotePath, Slot>,
    pins: HashMap<RemotePath, Names>,
    /// What the pins cost.
    pinned: usize,
    transit: Transit,
    freed: Vec<Slot>,
}

/// A question that is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) stamp: u64,
    pub(super) at: Instant,
}

impl Store {
    pub(super) fn new(timeout: Duration, limit: usize) -> Store {
        let (pins, transit, freed) = Default::default();
        Store {
            timeout,
            limit,
            used: 0,
            stamp: 0,
            slots: LruCache::unbounded(),
            pins,
            pinned: 0,
            transit,
            freed,
        }
    }

    /// The fresh listing of `dir`, as we have changed it.
    pub(super) fn listing(&mut self, dir: &RemotePath, now: Instant) -> Option<(Arc<Frozen>, Instant)> {
        self.has_listing(dir, now).then(|| self.show(dir)).flatten()
    }

    /// The fresh listing of `dir`, as the server told it or as it was shown last: younger changes may be missing, which
    /// are not worth the time to make them part of it.
    pub(super) fn outline(&mut self, dir: &RemotePath, now: Instant) -> Option<Arc<Frozen>> {
        self.has_listing(dir, now).then(|| self.slots.peek(dir)?.outline()).flatten()
    }

    pub(super) fn has_listing(&mut self, dir: &RemotePath, now: Instant) -> bool {
        let learned = self.slots.get(dir).and_then(Slot::listed);
        learned.is_some_and(|learned| self.is_fresh(learned, now))
    }

    /// The listing of `dir`, however old, as we have changed it.
    fn show(&mut self, dir: &RemotePath) -> Option<(Arc<Frozen>, Instant)> {
        let slot = self.slots.get_mut(dir)?;
        let learned = slot.listed()?;
        let listing = slot.show(self.pins.get(dir), &mut self.stamp)?;
        self.settle(dir);
        Some((listing, learned))
    }

    pub(super) fn targets(&mut self, dir: &RemotePath, now: Instant) -> Option<Arc<Frozen>> {
        let (targets, learned) = self.slots.get(dir)?.targets().cloned()?;
        self.is_fresh(learned, now).then_some(targets)
    }

    /// What is pinned, else the youngest that is known, if it is fresh.
    pub(super) fn answer(&mut self, dir: &RemotePath, name: &Name, now: Instant) -> Option<Answer> {
        if let Some(pinned) = self.pinned(dir, name) {
            return Some(pinned);
        }
        let answer = self.slots.get(dir)?.recall(name)?;
        self.is_fresh(answer.learned, now).then_some(answer)
    }

    /// What is pinned.
    pub(super) fn pinned(&self, dir: &RemotePath, name: &Name) -> Option<Answer> {
        self.pins.get(dir)?.get(name.as_bytes()).map(Known::answer)
    }

    /// The youngest that the server told, or that we did there, however old.
    pub(super) fn recall(&self, dir: &RemotePath, name: &Name) -> Option<EntryRef> {
        self.slots.peek(dir)?.recall(name)?.entry
    }

    /// All that is known of the names in `dir`, however old.
    pub(super) fn recollect(&mut self, dir: &RemotePath) -> Option<Recollection> {
        let recollection = self.slots.peek_mut(dir)?.recollect(&mut self.stamp);
        self.settle(dir);
        Some(recollection)
    }

    pub(super) fn is_unlistable(&mut self, dir: &RemotePath, now: Instant) -> bool {
        let learned = self.slots.get(dir).and_then(Slot::unlistable);
        learned.is_some_and(|learned| self.is_fresh(learned, now))
    }

    /// Counts a lookup that nothing in memory answers; tells how many there were within the timeout.
    pub(super) fn count_miss(&mut self, dir: &RemotePath, now: Instant) -> u32 {
        let timeout = self.timeout;
        self.amend(dir, now, |slot, _| slot.count_miss(now, timeout))
    }

    pub(super) fn keep_unlistable(&mut self, dir: &RemotePath, now: Instant) {
        self.amend(dir, now, |slot, _| slot.keep_unlistable(now));
    }

    /// A question about `dir` is being sent. Each one ends with one of the following calls.
    pub(super) fn ask(&mut self, dir: &RemotePath, at: Instant) -> Sent {
        let stamp = self.next_stamp();
        self.transit.sent(dir, stamp);
        Sent { stamp, at }
    }

    /// A question that got no answer.
    pub(super) fn failed(&mut self, dir: &RemotePath, sent: Sent) {
        self.transit.landed(dir, sent.stamp);
    }

    /// A listing came: keeps it, if it may be, and gives it as we have changed it since it was asked for.
    pub(super) fn listed(
        &mut self,
        dir: &RemotePath,
        sent: Sent,
        frozen: Arc<Frozen>,
        learned: Instant,
    ) -> (Arc<Frozen>, Instant) {
        let Some(Landed { keep, since }) = self.transit.landed(dir, sent.stamp) else {
            return (frozen, sent.at);
        };
        if !keep {
            let mut slot = Slot::new(learned);
            slot.keep_listing(frozen.clone(), sent.stamp, learned, since);
            let shown = slot.show(self.pins.get(dir), &mut self.stamp);
            return (shown.unwrap_or(frozen), learned);
        }
        self.amend(dir, learned, |slot, _| slot.keep_listing(frozen.clone(), sent.stamp, learned, since));
        self.show(dir).unwrap_or((frozen, learned))
    }

    /// As [`Store::listed`], for one in the form that shows the targets of links.
    pub(super) fn listed_targets(
        &mut self,
        dir: &RemotePath,
        sent: Sent,
        targets: Arc<Frozen>,
        learned: Instant,
    ) -> (Arc<Frozen>, Instant) {
        match self.transit.landed(dir, sent.stamp) {
            Some(Landed { keep: true, since }) if since.is_empty() => {
                self.amend(dir, learned, |slot, _| slot.keep_targets(targets.clone(), learned));
                (targets, learned)
            }
            Some(Landed { since, .. }) if !since.is_empty() => {
                (targets.patched(&since, self.next_stamp()), learned)
            }
            Some(_) => (targets, learned),
            None => (targets, sent.at),
        }
    }

    /// The answer on one name came: keeps it, if it may be, and gives what the name is.
    pub(super) fn told(
        &mut self,
        dir: &RemotePath,
        name: &Name,
        sent: Sent,
        entry: Option<Arc<RemoteEntry>>,
        learned: Instant,
    ) -> (Option<Arc<RemoteEntry>>, Instant) {
        let known = Known { entry, learned, stamp: sent.stamp };
        let Some(Landed { keep, since }) = self.transit.landed(dir, sent.stamp) else {
            return (known.entry, sent.at);
        };
        let pinned = self.pins.get(dir).and_then(|pins| pins.get(name.as_bytes()));
        if let Some(ours) = pinned.or_else(|| since.get(name.as_bytes())) {
            return (ours.entry.clone(), ours.learned);
        }
        let entry = known.entry.clone();
        if keep {
            self.amend(dir, learned, |slot, _| slot.keep_entry(name, known));
        }
        (entry, learned)
    }

    /// Forgets what is known of the names in `dir`, but what is pinned; what is on its way is not kept.
    pub(super) fn forget(&mut self, dir: &RemotePath) {
        self.transit.distrust(dir);
        self.drop_slot(dir);
    }

    /// Forgets everything but what is pinned, and returns it, to be freed without a lock.
    pub(super) fn clear(&mut self) -> LruCache<RemotePath, Slot> {
        self.transit.distrust_all();
        self.used = 0;
        std::mem::replace(&mut self.slots, LruCache::unbounded())
    }

    /// What was thrown out since the last call, to be freed without a lock.
    pub(super) fn take_freed(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.freed)
    }

    fn is_fresh(&self, learned: Instant, now: Instant) -> bool {
        now.saturating_duration_since(learned) < self.timeout
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Changes what is known of `dir`; all but the directory at hand may go for it.
    fn amend<T>(
        &mut self,
        dir: &RemotePath,
        now: Instant,
        change: impl FnOnce(&mut Slot, &mut u64) -> T,
    ) -> T {
        let slot = self.slots.get_or_insert_mut(dir.clone(), || Slot::new(now));
        let outcome = change(slot, &mut self.stamp);
        self.settle(dir);
        outcome
    }

    /// Counts anew what `dir` costs, then makes room.
    fn settle(&mut self, dir: &RemotePath) {
        if let Some(slot) = self.slots.peek_mut(dir) {
            self.used -= slot.cost;
            slot.cost = dir.as_bytes().len() + slot.cost_now();
            self.used += slot.cost;
        }
        while self.used + self.pinned > self.limit && self.slots.len() > 1 {
            let Some((_, slot)) = self.slots.pop_lru() else { break };
            self.used -= slot.cost;
            self.freed.push(slot);
        }
    }

    fn drop_slot(&mut self, dir: &RemotePath) {
        if let Some(slot) = self.slots.pop(dir) {
            self.used -= slot.cost;
            self.freed.push(slot);
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used + self.pinned
    }

    #[cfg(test)]
    pub(super) fn recount(&self) -> usize {
        let slots = self.slots.iter().map(|(dir, slot)| dir.as_bytes().len() + slot.cost_now());
        slots.sum::<usize>() + self.pins.values().map(Names::cost).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
