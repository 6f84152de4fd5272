//! Blocks of file data on the local disk, behind those in memory: they outlast the mount.
//!
//! ```text
//! read -> memory -> disk -> server
//!           ^---------'        |
//!           ^------------------+--(queue, one thread)--> disk
//! ```
//! A block is believed only with proof: its file is named by a hash of server and path, its header tells size
//! and time of the version that it is from, and a checksum covers every byte. Times count only to the second,
//! as MLSD and MDTM tell them: within the minute or day that LIST tells a file may have had two versions of one
//! size. For the same reason nothing is kept of a file that was changed just now, and only what a transfer
//! brought that began with a look at the file. What we change through the mount ourselves is forgotten.
//!
//! Nothing about single blocks is in memory: a block is found by its name, and the ones to throw out by looking
//! at a sample of the directory. A file that is there to its last byte becomes one file after its last close, where the
//! kernel can be given that to read by itself. Keeping a block never makes a reader wait: it goes to a queue, and is left out
//! where that is full. No error of this disk is more than a miss.

mod format;
mod ledger;
mod oldest;
mod passing;
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::cache::block::BLOCK;
use crate::cache::version::FileVersion;
use crate::deadline::Deadline;
use crate::remote::RemotePath;
use crate::workers::Workers;

use format::{Facts, Header, Key};
use passing::Passing;
pub use passing::WholeFile;
use server::Generation;
pub use server::Identity;
use store::Store;

/// This much of the disk is left to others, in bytes; as much as staging leaves.
const FLOOR: u64 = 128 * 1024 * 1024;

/// Blocks that wait to be written: 16 MiB, which they take of the memory besides the block cache.
const QUEUE: usize = 128;

/// A file that was changed less than this long ago may be changed again within the same second by the server's
/// clock, which need not agree with ours.
const RIPE: Duration = Duration::from_secs(120);

/// How long the end of a mount waits for blocks that are not written yet.
const LAST: Duration = Duration::from_secs(5);

/// Fewest open files at which those that are closed are looked for, to be forgotten.
const TIDY_FROM: usize = 1024;

/// The blocks of one mount's server on the local disk. Mounts may share a directory, also those of different
/// servers: its limit then counts them together.
#[derive(Debug)]
pub struct DiskCache {
    store: Arc<Store>,
    generation: Generation,
    queue: Arc<Queue>,
    gate: Arc<Gate>,
    passing: Arc<Passing>,
    workers: Workers,
    /// For whole files.
    wholes: Arc<Workers>,
}

/// What is on its way to the disk.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<usize>,
    emptied: Condvar,
    /// The disk does not take anything any more.
    broken: AtomicBool,
}

/// Keeps what is forgotten from coming back.
#[derive(Debug, Default)]
struct Gate {
    /// Which files are open, by key, and whether they were forgotten since. Never held over a call of the disk.
    open: Mutex<HashMap<Key, Arc<AtomicBool>>>,
    /// Held while a block gets its name, and while the blocks of a forgotten file are removed.
    naming: Mutex<()>,
}

/// One file on the disk, as an open file uses it.
#[derive(Clone, Debug)]
pub struct DiskFile {
    key: Key,
    /// What is on the disk under this key may be of another file by now.
    forgotten: Arc<AtomicBool>,
}

impl DiskCache {
    /// The blocks of `server` in `dir`, which is made where it is missing: at most `limit` bytes, with those of
    /// all others who use it.
    ///
    /// # Errors
    /// The directory cannot be made or written, or belongs to somebody else.
    pub fn open(dir: &Path, limit: u64, server: Identity) -> io::Result<DiskCache> {
        DiskCache::with_floor(dir, limit, FLOOR, server)
    }

    fn with_floor(dir: &Path, limit: u64, floor: u64, server: Identity) -> io::Result<DiskCache> {
        let store = Arc::new(Store::open(dir, limit, floor)?);
        let generation = Generation::open(store.dir(), server)?;
        let (queue, gate, passing) = Default::default();
        let (workers, wholes) = (Workers::new("disk", 1, QUEUE), Passing::workers());
        let cache = DiskCache { store, generation, queue, gate, passing, workers, wholes };
        let store = cache.store.clone();
        cache.enqueue(move || store.settle());
        Ok(cache)
    }

    /// The file that is at `path` now.
    pub fn file(&self, path: &RemotePath) -> DiskFile {
        let mut open = self.gate.open.lock();
        // Under the lock: a key of the generation that ends now is seen by who ends it.
        let key = self.generation.file(path);
        if open.len() >= TIDY_FROM && open.len() == open.capacity() {
            open.retain(|_, forgotten| Arc::strong_count(forgotten) > 1);
        }
        DiskFile { key, forgotten: open.entry(key).or_default().clone() }
    }

    /// The bytes of a block, and where in the file they begin. Reads the disk. `confirm` is asked where the
    /// time of `version` is not known to the second and the disk may have it: whether it is now.
    pub fn get(
        &self,
        file: &DiskFile,
        version: &FileVersion,
        block: u64,
        confirm: impl FnOnce() -> bool,
    ) -> Option<(u64, Arc<[u8]>)> {
        if file.is_forgotten() {
            return None;
        }
        let may_be = |facts: &Facts| facts.may_be(version);
        if !version.is_exact() && (!self.is_there(&file.key, block, may_be) || !confirm()) {
            return None;
        }
        let wanted = Facts::of(version)?;
        let (start, bytes) = self.block(&file.key, &wanted, block)?;
        (!file.is_forgotten()).then(|| (block * BLOCK as u64 + start as u64, bytes.into()))
    }

    /// The bytes of a block, and where in it they begin.
    fn block(&self, key: &Key, wanted: &Facts, block: u64) -> Option<(usize, Vec<u8>)> {
        // Most of what is not of this version is seen by its header.
        if self.store.header(key, block).is_some_and(|header| header.facts.agree(wanted))
            && let Some((header, bytes)) = self.store.read(key, block)
            && header.facts.agree(wanted)
        {
            return Some((header.start, bytes));
        }
        self.store.read_whole(key, wanted, block).map(|bytes| (0, bytes))
    }

    /// Whether anything of a block is there of a version that `is_it`.
    fn is_there(&self, key: &Key, block: u64, is_it: impl Fn(&Facts) -> bool) -> bool {
        self.store.header(key, block).is_some_and(|header| is_it(&header.facts))
            || self.store.whole_facts(key).is_some_and(|facts| is_it(&facts))
    }

    /// Whether all of `version` is on the disk, as far as the headers tell; where its time is not known to the
    /// second, whether it may be.
    pub fn holds(&self, file: &DiskFile, version: &FileVersion) -> bool {
        !file.is_forgotten() && self.holds_whole(file, version)
            || (0..version.size.div_ceil(BLOCK as u64)).all(|block| self.has_block(file, version, block))
    }

    fn holds_whole(&self, file: &DiskFile, version: &FileVersion) -> bool {
        self.store.whole_facts(&file.key).is_some_and(|facts| is_of(version, &facts))
    }

    fn has_block(&self, file: &DiskFile, version: &FileVersion, block: u64) -> bool {
        let rest = version.size.saturating_sub(block.saturating_mul(BLOCK as u64));
        !file.is_forgotten()
            && self.store.header(&file.key, block).is_some_and(|header| {
                is_of(version, &header.facts)
                    && header.start == 0
                    && header.len as u64 == rest.min(BLOCK as u64)
            })
    }

    #[cfg(test)]
    fn holds_block(&self, file: &DiskFile, version: &FileVersion, block: u64) -> bool {
        !file.is_forgotten() && self.holds_whole(file, version) || self.has_block(file, version, block)
    }

    /// Whether bytes of `version` that are fetched from now on may be kept: its time is known to the second,
    /// and that second is over.
    pub fn takes(&self, version: &FileVersion) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_ripe = |facts: Facts| {
            u64::try_from(facts.seconds()).map_or(true, |modified| modified + RIPE.as_secs() <= now.as_secs())
        };
        !self.queue.broken.load(Ordering::Relaxed) && Facts::of(version).is_some_and(is_ripe)
    }

    /// Keeps `bytes` of `version`, which begin at `offset` and do not reach beyond the end of that block. Only
    /// what was fetched while [`DiskCache::takes`] said so. Does not wait.
    pub fn put(&self, file: &DiskFile, version: &FileVersion, offset: u64, bytes: Arc<[u8]>) {
        let Some(facts) = Facts::of(version).filter(|_| !file.is_forgotten()) else { return };
        let (block, start) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
        if bytes.is_empty() || start + bytes.len() > BLOCK {
            return;
        }
        let (store, gate, file) = (self.store.clone(), self.gate.clone(), file.clone());
        self.enqueue(move || {
            let header = Header::new(file.key, facts, block, start, &bytes);
            store.write(&header, &bytes, || {
                let naming = gate.naming.lock();
                (!file.is_forgotten()).then_some(naming)
            })
        });
    }

    /// Removes what is there of the file at `path`, or was when `file` was opened, and of readers that have it
    /// open nothing comes any more. For what was changed, replaced, or found to be another version.
    pub fn forget(&self, path: &RemotePath) {
        self.forget_key(&self.generation.file(path));
    }

    /// As [`DiskCache::forget`], for a file that may have another path by now.
    pub fn forget_file(&self, file: &DiskFile) {
        file.forgotten.store(true, Ordering::SeqCst);
        self.forget_key(&file.key);
    }

    fn forget_key(&self, key: &Key) {
        if let Some(forgotten) = self.gate.open.lock().remove(key) {
            forgotten.store(true, Ordering::SeqCst);
        }
        let naming = self.gate.naming.lock();
        let removed = self.store.forget(key);
        drop(naming);
        if let Err(error) = removed {
            log::warn!(
                "blocks on the disk cannot be removed, those of all files of the server are forgotten: {error}"
            );
            self.forget_all();
        }
    }

    /// Makes everything that is there of this server unreachable for ever. It goes as it gets old.
    pub fn forget_all(&self) {
        if let Err(error) = self.generation.renew() {
            self.queue.give_up(&error);
        }
        for forgotten in std::mem::take(&mut *self.gate.open.lock()).values() {
            forgotten.store(true, Ordering::SeqCst);
        }
    }

    /// Throws out blocks until `free` bytes of their disk are free, or none is left: for who needs the room more.
    pub fn give_way(&self, free: u64) {
        if let Err(error) = self.store.give_way(free) {
            log::warn!("the blocks on the disk do not make room: {error}");
        }
    }

    /// Bytes that all blocks in the directory take.
    pub fn used(&self) -> u64 {
        self.store.used()
    }

    /// Waits until what was put is written, and files are made of it, 5 s at most.
    pub fn finish(&self) {
        let deadline = Deadline::after(LAST);
        let mut waiting = self.queue.waiting.lock();
        while *waiting > 0 {
            if self.queue.emptied.wait_until(&mut waiting, deadline.instant()).timed_out() {
                log::info!("{waiting} blocks were not written to the disk in time");
                break;
            }
        }
    }

    fn enqueue(&self, job: impl FnOnce() -> io::Result<()> + Send + 'static) {
        let waits = Waits::new(&self.queue);
        let queue = self.queue.clone();
        // A full queue drops it.
        let _ = self.workers.submit(move || {
            if !queue.broken.load(Ordering::Relaxed)
                && let Err(error) = job()
            {
                queue.give_up(&error);
            }
            drop(waits);
        });
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.passing.end();
    }
}

/// Whether `facts` are those of `version`; where its time is not known to the second, whether they may be.
fn is_of(version: &FileVersion, facts: &Facts) -> bool {
    Facts::of(version).map_or_else(|| facts.may_be(version), |wanted| facts.agree(&wanted))
}

impl DiskFile {
    fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::SeqCst)
    }
}

impl Queue {
    fn give_up(&self, error: &io::Error) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            log::warn!("no more blocks are kept on the disk (cache_disk=) until the next mount: {error}");
        }
    }
}

/// One job of the queue, from its arrival to its end, or to its being dropped.
struct Waits(Arc<Queue>);

impl Waits {
    fn new(queue: &Arc<Queue>) -> Waits {
        *queue.waiting.lock() += 1;
        Waits(queue.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        *waiting -= 1;
        if *waiting == 0 {
            self.0.emptied.notify_all();
        }
    }
}
