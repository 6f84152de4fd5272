//! The memory of the directory cache: what is known of each directory, for how long, and what it costs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::directory::Answer;
use super::listing::{EntryRef, Frozen, cost};
use crate::ftp::list::RemoteEntry;
use crate::remote::{Name, RemotePath};

/// Single answers of one directory beyond this are dropped together, in bytes. Reached only where the
/// directory itself cannot be listed.
const SINGLE_ANSWERS: usize = 1024 * 1024;

/// What a directory costs beside what it holds, and a single answer beside its entry.
const OVERHEAD: usize = 128;

/// Directories, least recently used out first. Plain data: the caller brings lock and clock.
pub(super) struct Store {
    timeout: Duration,
    limit: usize,
    used: usize,
    slots: LruCache<RemotePath, Slot>,
    freed: Vec<Slot>,
}

/// What is known of one directory.
pub(super) struct Slot {
    listing: Option<(Arc<Frozen>, Instant)>,
    /// The entries that have a link target, from a listing in the form that shows them.
    targets: Option<(Arc<Frozen>, Instant)>,
    entries: HashMap<Name, (Option<Arc<RemoteEntry>>, Instant)>,
    entries_cost: usize,
    /// Lookups since then that no listing answered.
    misses: (u32, Instant),
    unlistable: Option<Instant>,
    cost: usize,
}

impl Store {
    pub(super) fn new(timeout: Duration, limit: usize) -> Store {
        Store { timeout, limit, used: 0, slots: LruCache::unbounded(), freed: Vec::new() }
    }

    pub(super) fn listing(&mut self, dir: &RemotePath, now: Instant) -> Option<(Arc<Frozen>, Instant)> {
        let timeout = self.timeout;
        self.slots.get(dir)?.listing.clone().filter(|&(_, learned)| is_fresh(learned, now, timeout))
    }

    pub(super) fn targets(&mut self, dir: &RemotePath, now: Instant) -> Option<Arc<Frozen>> {
        let timeout = self.timeout;
        let (targets, learned) = self.slots.get(dir)?.targets.as_ref()?;
        is_fresh(*learned, now, timeout).then(|| targets.clone())
    }

    /// The younger of what the listing and a single answer tell.
    pub(super) fn answer(&mut self, dir: &RemotePath, name: &Name, now: Instant) -> Option<Answer> {
        let timeout = self.timeout;
        let slot = self.slots.get(dir)?;
        let single = slot
            .entries
            .get(name)
            .map(|(entry, learned)| Answer { entry: entry.clone().map(EntryRef::from), learned: *learned });
        let listed = slot.listing.as_ref().and_then(|(listing, learned)| {
            let entry = listing.find(name);
            (entry.is_some() || listing.is_complete()).then_some(Answer { entry, learned: *learned })
        });
        [single, listed]
            .into_iter()
            .flatten()
            .filter(|answer| is_fresh(answer.learned, now, timeout))
            .max_by_key(|answer| answer.learned)
    }

    pub(super) fn is_unlistable(&mut self, dir: &RemotePath, now: Instant) -> bool {
        let timeout = self.timeout;
        self.slots
            .get(dir)
            .and_then(|slot| slot.unlistable)
            .is_some_and(|learned| is_fresh(learned, now, timeout))
    }

    /// Counts a lookup that nothing in memory answers; tells how many there were within the timeout.
    pub(super) fn count_miss(&mut self, dir: &RemotePath, now: Instant) -> u32 {
        let timeout = self.timeout;
        let mut count = 0;
        self.amend(dir, now, |slot| {
            if !is_fresh(slot.misses.1, now, timeout) {
                slot.misses = (0, now);
            }
            slot.misses.0 = slot.misses.0.saturating_add(1);
            count = slot.misses.0;
        });
        count
    }

    /// Keeps a listing. Older single answers are now part of it.
    pub(super) fn keep_listing(&mut self, dir: &RemotePath, listing: Arc<Frozen>, learned: Instant) {
        self.amend(dir, learned, |slot| {
            slot.entries.retain(|_, (_, at)| *at > learned);
            slot.entries_cost =
                slot.entries.iter().map(|(name, (entry, _))| single_cost(name, entry.as_deref())).sum();
            slot.listing = Some((listing, learned));
            slot.misses = (0, learned);
            slot.unlistable = None;
        });
    }

    pub(super) fn keep_targets(&mut self, dir: &RemotePath, targets: Arc<Frozen>, learned: Instant) {
        self.amend(dir, learned, |slot| slot.targets = Some((targets, learned)));
    }

    pub(super) fn keep_entry(
        &mut self,
        dir: &RemotePath,
        name: &Name,
        entry: Option<Arc<RemoteEntry>>,
        learned: Instant,
    ) {
        self.amend(dir, learned, |slot| {
            let cost = single_cost(name, entry.as_deref());
            if slot.entries_cost + cost > SINGLE_ANSWERS {
                slot.entries.clear();
                slot.entries_cost = 0;
            }
            slot.entries_cost += cost;
            if let Some((old, _)) = slot.entries.insert(name.clone(), (entry, learned)) {
                slot.entries_cost -= single_cost(name, old.as_deref());
            }
        });
    }

    pub(super) fn keep_unlistable(&mut self, dir: &RemotePath, now: Instant) {
        self.amend(dir, now, |slot| slot.unlistable = Some(now));
    }

    /// Forgets a directory and returns what was known, to be freed without a lock.
    pub(super) fn forget(&mut self, dir: &RemotePath) -> Option<Slot> {
        let slot = self.slots.pop(dir)?;
        self.used -= slot.cost;
        Some(slot)
    }

    /// Forgets everything and returns it, to be freed without a lock.
    pub(super) fn clear(&mut self) -> LruCache<RemotePath, Slot> {
        self.used = 0;
        std::mem::replace(&mut self.slots, LruCache::unbounded())
    }

    /// What was thrown out since the last call, to be freed without a lock.
    pub(super) fn take_freed(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.freed)
    }

    /// Changes what is known of `dir`, then makes room: all but the directory at hand may go.
    fn amend(&mut self, dir: &RemotePath, now: Instant, change: impl FnOnce(&mut Slot)) {
        let slot = self.slots.get_or_insert_mut(dir.clone(), || Slot::new(now));
        change(slot);
        self.used -= slot.cost;
        slot.cost = dir.as_bytes().len() + slot.cost_now();
        self.used += slot.cost;
        while self.used > self.limit && self.slots.len() > 1 {
            let Some((_, slot)) = self.slots.pop_lru() else { break };
            self.used -= slot.cost;
            self.freed.push(slot);
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

impl Slot {
    fn new(now: Instant) -> Slot {
        Slot {
            listing: None,
            targets: None,
            entries: HashMap::new(),
            entries_cost: 0,
            misses: (0, now),
            unlistable: None,
            cost: 0,
        }
    }

    fn cost_now(&self) -> usize {
        let listings = [&self.listing, &self.targets];
        size_of::<Slot>()
            + OVERHEAD
            + self.entries_cost
            + listings.into_iter().flatten().map(|(listing, _)| listing.cost()).sum::<usize>()
    }
}

fn is_fresh(learned: Instant, now: Instant, timeout: Duration) -> bool {
    now.saturating_duration_since(learned) < timeout
}

fn single_cost(name: &Name, entry: Option<&RemoteEntry>) -> usize {
    name.as_bytes().len() + OVERHEAD + entry.map_or(0, cost)
}
