//! Whole files that the kernel may read by itself: made of their blocks after their last close, and given away only
//! when every byte was compared with its checksum, which the kernel does not do.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;

use super::format::{Facts, Key};
use super::store::index::Index;
use super::store::whole::{Held, Identity};
use super::{DiskCache, DiskFile, Waits};
use crate::cache::block::BLOCK;
use crate::cache::version::FileVersion;
use crate::deadline::Deadline;
use crate::workers::Workers;

/// Files up to this size, in bytes, stay blocks: one request brings one block, and a file of two halves takes more room.
const SMALLEST: u64 = BLOCK as u64;
/// Files up to this size, in bytes, are looked through by who opens them; larger ones meanwhile.
const AT_OPEN: u64 = 64 * 1024 * 1024;
/// How long who opens one looks through it; a slow disk must not hold up what else is asked.
const LOOK: Duration = Duration::from_secs(2);
/// Good files that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// Whole files that are given away at once: each takes two open files of the process, which needs others.
const GIVEN: usize = 256;
/// Files that wait to be made or looked through.
const WAITING: usize = 256;

/// What is known of whole files.
#[derive(Debug)]
pub(super) struct Passing {
    /// The kernel takes them from this mount.
    wanted: AtomicBool,
    /// The cache is being dropped.
    ends: AtomicBool,
    /// Files that were found good.
    good: Mutex<LruCache<Key, (Identity, Index)>>,
    /// Files that are looked through at this moment.
    looked_at: Mutex<HashSet<Key>>,
    /// Whole files that are given away.
    given: Arc<AtomicUsize>,
}

/// A whole file on the disk whose bytes are those of one version: they were all compared with their checksums.
#[derive(Debug)]
pub struct WholeFile {
    held: Held,
    file: DiskFile,
    /// As it was when it was found good.
    identity: Identity,
    _given: Given,
}

/// One of the whole files that are given away.
#[derive(Debug)]
struct Given(Arc<AtomicUsize>);

impl Given {
    /// `None` if there are enough.
    fn new(count: &Arc<AtomicUsize>) -> Option<Given> {
        let given = Given(count.clone());
        (count.fetch_add(1, Ordering::Relaxed) < GIVEN).then_some(given)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Passing {
    fn default() -> Self {
        let (wanted, ends, looked_at, given) = Default::default();
        Passing { wanted, ends, good: Mutex::new(LruCache::new(REMEMBERED)), looked_at, given }
    }
}

impl Passing {
    /// A thread that makes whole files and looks them through, beside the one that writes blocks.
    pub(super) fn workers() -> Arc<Workers> {
        Arc::new(Workers::new("whole", 1, WAITING))
    }

    /// Ends what is at work, which may take long.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    /// Whether no file is looked through.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.looked_at.lock().is_empty()
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }
}

impl WholeFile {
    /// Whether one reader more may be given it: it was not to be forgotten since, and nobody has written to it. Does
    /// not read the disk.
    pub fn is_good(&self) -> bool {
        !self.file.is_forgotten() && self.held.identity().is_ok_and(|identity| identity == self.identity)
    }
}

impl AsFd for WholeFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.file.as_fd()
    }
}

impl DiskCache {
    /// From now on, whether the kernel can be given whole files. Without, none are made.
    pub fn set_passing(&self, wanted: bool) {
        self.passing.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Whether there may be a file of this size for [`DiskCache::whole`].
    pub fn may_pass(&self, size: u64) -> bool {
        size > SMALLEST && self.passing.wanted.load(Ordering::Relaxed)
    }

    /// Makes a whole file of the blocks of `version`, where all are there or are about to be written. Does not wait.
    pub fn seal(&self, file: &DiskFile, version: &FileVersion) {
        let Some(facts) = Facts::of(version).filter(|_| self.may_pass(version.size)) else { return };
        let (store, gate, passing) = (self.store.clone(), self.gate.clone(), self.passing.clone());
        let (queue, workers, file) = (self.queue.clone(), self.wholes.clone(), file.clone());
        let waits = Waits::new(&self.queue);
        // After the blocks that are on their way; a copy of a large file then does not keep others from the disk.
        self.enqueue(move || {
            let _ = workers.submit(move || {
                let stops = || file.is_forgotten() || passing.ends();
                let sealed = store.seal(&file.key, &facts, stops, || {
                    let naming = gate.naming.lock();
                    (!file.is_forgotten()).then_some(naming)
                });
                if let Err(error) = sealed {
                    queue.give_up(&error);
                }
                drop(waits);
            });
            Ok(())
        });
    }

    /// The whole of `version`, looked through to its last byte by this mount. Reads the disk, up to 64 MiB and until
    /// `deadline`; a larger file that was not looked through yet, or one that takes longer, is looked through meanwhile,
    /// and there is none for now. `confirm` is as in [`DiskCache::get`].
    pub fn whole(
        &self,
        file: &DiskFile,
        version: &FileVersion,
        deadline: Deadline,
        confirm: impl FnOnce() -> bool,
    ) -> Option<Arc<WholeFile>> {
        if !self.may_pass(version.size) || file.is_forgotten() {
            return None;
        }
        let held = self.store.open_whole(&file.key)?;
        if !version.is_exact() && (!held.index.facts.may_be(version) || !confirm()) {
            return None;
        }
        if !held.index.facts.agree(&Facts::of(version)?) {
            return None;
        }
        let identity = held.identity().ok()?;
        let is_known = self.passing.good.lock().get(&file.key) == Some(&(identity, held.index));
        let found = match is_known {
            true => Some(true),
            false if version.size > AT_OPEN => None,
            false => self.look_through(&file.key, &held, deadline.at_most(LOOK)),
        };
        match found {
            Some(true) => {}
            Some(false) => return None,
            None => {
                self.look_through_later(file.key, held);
                return None;
            }
        }
        held.stamp();
        let given = Given::new(&self.passing.given)?;
        (!file.is_forgotten())
            .then(|| Arc::new(WholeFile { held, file: file.clone(), identity, _given: given }))
    }

    fn look_through_later(&self, key: Key, held: Held) {
        if !self.passing.looked_at.lock().insert(key) {
            return;
        }
        let (store, passing) = (self.store.clone(), self.passing.clone());
        let submitted = self.wholes.submit(move || {
            look_through(&passing, &store, &key, &held, || passing.ends());
            passing.looked_at.lock().remove(&key);
        });
        if submitted.is_err() {
            self.passing.looked_at.lock().remove(&key);
        }
    }

    fn look_through(&self, key: &Key, held: &Held, deadline: Deadline) -> Option<bool> {
        let stops = || self.passing.ends() || deadline.passed();
        look_through(&self.passing, &self.store, key, held, stops)
    }
}

/// Whether a whole file is good; it is remembered if so, else it goes. `None` if that was not found out.
fn look_through(
    passing: &Passing,
    store: &super::Store,
    key: &Key,
    held: &Held,
    stops: impl Fn() -> bool,
) -> Option<bool> {
    let identity = held.identity().ok()?;
    match held.is_good(stops) {
        // Not if it was written to meanwhile.
        Some(true) if held.identity().is_ok_and(|now| now == identity) => {
            passing.good.lock().put(*key, (identity, held.index));
            Some(true)
        }
        Some(false) => {
            log::debug!("a file on the disk is damaged and goes");
            store.discard_whole(key);
            Some(false)
        }
        _ => None,
    }
}
