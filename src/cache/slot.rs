//! What is known of one directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::directory::Answer;
use super::known::{Known, Names};
use super::listing::{Frozen, complete};
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::remote::Name;

/// Single answers of one directory beyond this are dropped together, in bytes (reached only where the
/// directory itself cannot be listed); changes beyond it are made part of the listing.
const SINGLE_ANSWERS: usize = 1024 * 1024;

/// What a directory costs beside what it holds.
const OVERHEAD: usize = 128;

/// What is known of one directory.
///
/// `pending` are changes of ours that `listing` does not tell; there are none without a listing. They are
/// merged when somebody wants to see it, so a change costs nothing of a listing's length.
pub(super) struct Slot {
    listing: Option<Listed>,
    pending: Names,
    /// The listing as it is shown while names of the directory are pinned.
    shown: Option<Arc<Frozen>>,
    /// The entries that have a link target, from a listing in the form that shows them.
    targets: Option<(Arc<Frozen>, Instant)>,
    singles: Names,
    /// Lookups since then that no listing answered.
    misses: (u32, Instant),
    unlistable: Option<Instant>,
    /// Bytes that the store counts for this directory.
    pub(super) cost: usize,
}

struct Listed {
    frozen: Arc<Frozen>,
    learned: Instant,
    sent: u64,
}

impl Slot {
    pub(super) fn new(now: Instant) -> Slot {
        let (pending, singles) = Default::default();
        Slot {
            listing: None,
            pending,
            shown: None,
            targets: None,
            singles,
            misses: (0, now),
            unlistable: None,
            cost: 0,
        }
    }

    /// When the listing was learned, if there is one.
    pub(super) fn listed(&self) -> Option<Instant> {
        self.listing.as_ref().map(|listed| listed.learned)
    }

    /// The listing with our changes and `pins`; `serial` is for the one that has to be made.
    pub(super) fn show(&mut self, pins: Option<&Names>, serial: &mut u64) -> Option<Arc<Frozen>> {
        self.merge(serial);
        let frozen = self.listing.as_ref()?.frozen.clone();
        let Some(pins) = pins.filter(|pins| !pins.is_empty()) else {
            self.shown = None;
            return Some(frozen);
        };
        let shown = self.shown.take().unwrap_or_else(|| frozen.patched(pins, next(serial)));
        self.shown = Some(shown.clone());
        Some(shown)
    }

    /// The listing without the changes that nobody has looked at yet.
    pub(super) fn outline(&self) -> Option<Arc<Frozen>> {
        self.listing.as_ref().map(|listed| listed.frozen.clone())
    }

    /// Makes our changes part of the listing.
    fn merge(&mut self, serial: &mut u64) {
        if self.pending.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.pending);
        let Some(Listed { frozen, learned, sent }) = self.listing.take() else { return };
        if !frozen.is_complete() {
            // Such a listing does not tell that a name is gone.
            let gone = changes.iter().filter(|(_, known)| known.entry.is_none());
            for (name, known) in gone {
                if self.singles.get(name.as_bytes()).is_none() {
                    self.singles.insert(name.clone(), known.clone());
                }
            }
        }
        self.shown = None;
        self.listing = Some(Listed { frozen: frozen.patched(&changes, next(serial)), learned, sent });
    }

    /// The youngest that is known of a name, however old.
    pub(super) fn recall(&self, name: &Name) -> Option<Answer> {
        let single = self.singles.get(name.as_bytes()).map(|known| (known.stamp, known.answer()));
        let listed = self.listing.as_ref().and_then(|listed| {
            if let Some(change) = self.pending.get(name.as_bytes()) {
                let learned = change.learned.max(listed.learned);
                return Some((change.stamp, Answer { learned, ..change.answer() }));
            }
            let entry = listed.frozen.find(name.as_bytes());
            let tells = entry.is_some() || listed.frozen.is_complete();
            tells.then_some((listed.sent, Answer { entry, learned: listed.learned }))
        });
        [single, listed].into_iter().flatten().max_by_key(|(stamp, _)| *stamp).map(|(_, answer)| answer)
    }

    /// All that is known of the names, to complete a new listing by.
    pub(super) fn recollect(&mut self, serial: &mut u64) -> Recollection {
        self.merge(serial);
        Recollection {
            listed: self.listing.as_ref().map(|listed| listed.frozen.clone()),
            singles: self.singles.iter().map(|(name, known)| (name.clone(), known.clone())).collect(),
        }
    }

    /// Keeps a listing, unless a younger one is known. `since` is what we did since it was asked for.
    pub(super) fn keep_listing(&mut self, frozen: Arc<Frozen>, sent: u64, learned: Instant, since: Names) {
        if self.listing.as_ref().is_some_and(|listed| listed.sent > sent) {
            return;
        }
        self.singles.drop_until(sent);
        self.listing = Some(Listed { frozen, learned, sent });
        self.pending = Names::default();
        self.shown = None;
        for (name, known) in since.iter() {
            self.put_pending(name, known.clone());
        }
        self.misses = (0, learned);
        self.unlistable = None;
    }

    /// Keeps the server's answer on one name, unless something younger is known.
    pub(super) fn keep_entry(&mut self, name: &Name, known: Known) {
        let listed = self.listing.as_ref().map(|listed| listed.sent);
        let others = [&self.pending, &self.singles].map(|names| names.get(name.as_bytes()).map(|k| k.stamp));
        if listed.into_iter().chain(others.into_iter().flatten()).any(|stamp| stamp > known.stamp) {
            return;
        }
        self.singles.insert(name.clone(), known);
        if self.singles.cost() > SINGLE_ANSWERS {
            self.singles = Names::default();
        }
    }

    /// Keeps a change of ours, which is younger than all that is known.
    pub(super) fn change(&mut self, name: &Name, known: Known, serial: &mut u64) {
        let is_link = known.entry.as_ref().is_some_and(|entry| entry.kind == EntryKind::Symlink);
        self.targets.take_if(|(targets, _)| is_link || targets.find(name.as_bytes()).is_some());
        self.singles.remove(name);
        if self.listing.is_none() {
            return self.keep_entry(name, known);
        }
        self.put_pending(name, known);
        if self.pending.cost() > SINGLE_ANSWERS {
            self.merge(serial);
        }
    }

    fn put_pending(&mut self, name: &Name, known: Known) {
        let Some(listed) = &self.listing else { return };
        let told = listed.frozen.find(name.as_bytes());
        let is_told = match (told.as_deref(), known.entry.as_deref()) {
            (Some(told), Some(now)) => told == now,
            (None, None) => listed.frozen.is_complete(),
            _ => false,
        };
        if !is_told {
            self.pending.insert(name.clone(), known);
            self.shown = None;
        } else if self.pending.remove(name).is_some() {
            self.shown = None;
        }
    }

    /// The pinned names are others now.
    pub(super) fn repin(&mut self) {
        self.shown = None;
    }

    /// The link targets, and when they were learned.
    pub(super) fn targets(&self) -> Option<&(Arc<Frozen>, Instant)> {
        self.targets.as_ref()
    }

    pub(super) fn keep_targets(&mut self, targets: Arc<Frozen>, learned: Instant) {
        self.targets = Some((targets, learned));
    }

    /// Counts a lookup that nothing in memory answers; tells how many there were within `timeout`.
    pub(super) fn count_miss(&mut self, now: Instant, timeout: Duration) -> u32 {
        if now.saturating_duration_since(self.misses.1) >= timeout {
            self.misses = (0, now);
        }
        self.misses.0 = self.misses.0.saturating_add(1);
        self.misses.0
    }

    /// Since when it is known that the directory cannot be listed.
    pub(super) fn unlistable(&self) -> Option<Instant> {
        self.unlistable
    }

    pub(super) fn keep_unlistable(&mut self, now: Instant) {
        self.unlistable = Some(now);
    }

    /// Bytes of memory.
    pub(super) fn cost_now(&self) -> usize {
        let listings = [
            self.listing.as_ref().map(|listed| &listed.frozen),
            self.shown.as_ref(),
            self.targets.as_ref().map(|(targets, _)| targets),
        ];
        let listings: usize = listings.into_iter().flatten().map(|listing| listing.cost()).sum();
        size_of::<Slot>() + OVERHEAD + self.pending.cost() + self.singles.cost() + listings
    }
}

/// What was known of a directory when a new listing of it came.
pub(super) struct Recollection {
    listed: Option<Arc<Frozen>>,
    singles: Names,
}

impl Recollection {
    /// Adds to `entry` what was known of the name before and can be of the same version.
    pub(super) fn complete(&self, entry: &mut RemoteEntry) {
        match self.singles.get(&entry.name) {
            Some(known) => complete(entry, known.entry.as_deref()),
            None => {
                let listed = self.listed.as_ref().and_then(|listed| listed.find(&entry.name));
                complete(entry, listed.as_deref());
            }
        }
    }
}

fn next(serial: &mut u64) -> u64 {
    *serial += 1;
    *serial
}
