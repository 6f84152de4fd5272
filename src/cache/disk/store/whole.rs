//! Files that are here from the first byte to the last, each as one file that holds nothing else: what the kernel can
//! read by itself.
//!
//! ```text
//! blocks/XX/XXHASH-whole   the bytes of the file
//! blocks/XX/XXHASH-index   what they are, see [`index`](super::index); when it was last used
//! blocks/XX/XXHASH-part-*  both while they are made
//! ```
//! Either half alone is nothing, and goes by its age. Neither is ever written again once it has its name: who has one
//! open keeps what it opened. Each is locked (flock(2)) by who has it open, so that its room does not count as free
//! while it is taken: what somebody has open is not thrown out.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::format::{Facts, Key};
use super::index::{Index, IndexWriter, blocks, index_len, len, sum};
use super::{Ledger, Store, cost, name, open, remove, stamp};
use crate::cache::block::BLOCK;
use crate::cache::disk::oldest::shard_name;
use crate::sys;

const WHOLE: &str = "-whole";
const INDEX: &str = "-index";

/// A whole file that is open. Its room counts as taken until it is closed, whatever happened to its name.
#[derive(Debug)]
pub(in super::super) struct Held {
    pub(in super::super) file: File,
    pub(in super::super) index: Index,
    sums: File,
    store: Arc<Store>,
    /// The count of the ledger that it was part of.
    count: u64,
}

/// What shows that a file is still the one that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Identity {
    number: u64,
    modified: (i64, i64),
}

/// Both halves of a file while it is put together.
struct Parts {
    whole: PathBuf,
    index: PathBuf,
    file: File,
    sums: IndexWriter,
}

impl Store {
    /// The version that is here as a whole, whatever its bytes are worth.
    pub(in super::super) fn whole_facts(&self, key: &Key) -> Option<Facts> {
        Some(self.index(key)?.1.facts)
    }

    /// Opens what is here as a whole; its bytes are not looked at.
    pub(in super::super) fn open_whole(self: &Arc<Store>, key: &Key) -> Option<Held> {
        let (sums, index) = self.index(key)?;
        let file = open(&self.half(key, WHOLE)).ok()?;
        let count = self.count.load(Ordering::Relaxed);
        if !sys::try_lock(&file, false).ok()? {
            // It goes at this moment.
            return None;
        }
        // One that has lost its name was counted as gone by who took it; the end of this would count it once more.
        let metadata = file.metadata().ok()?;
        let is_here = metadata.nlink() > 0 && metadata.len() == index.facts.size();
        is_here.then(|| Held { file, index, sums, store: self.clone(), count })
    }

    /// One block of what is here as a whole, checked. What is no good is removed.
    pub(in super::super) fn read_whole(&self, key: &Key, facts: &Facts, block: u64) -> Option<Vec<u8>> {
        let (sums, index) = self.index(key)?;
        let len = len(index.facts.size(), block);
        if !index.facts.agree(facts) || len == 0 {
            return None;
        }
        let mut bytes = vec![0; len];
        let read = open(&self.half(key, WHOLE))
            .and_then(|file| file.read_exact_at(&mut bytes, block.saturating_mul(BLOCK as u64)));
        if read.is_err() || Index::sum_of(&sums, block) != Some(sum(&bytes)) {
            log::debug!("a file on the disk is damaged and goes");
            self.discard_whole(key);
            return None;
        }
        stamp(&sums);
        Some(bytes)
    }

    /// Removes what is here as a whole.
    pub(in super::super) fn discard_whole(&self, key: &Key) {
        let removed = remove(&self.half(key, INDEX)).and_then(|freed| {
            self.freed.fetch_add(freed, Ordering::Relaxed);
            remove_counted(&self.half(key, WHOLE))
        });
        match removed {
            Ok(freed) => drop(self.freed.fetch_add(freed, Ordering::Relaxed)),
            Err(error) => log::warn!("a file on the disk cannot be removed: {error}"),
        }
    }

    /// Makes one file of the blocks of a version, if all are here. Each block goes as it is copied, so that all
    /// together never takes more room than the blocks did; what ends this in between costs those that were copied.
    /// `stops` is asked after each of them. When all is done, `permit` is asked, and what it gives is held while the
    /// file goes to its place; without one it does not. Tells whether the file is there then.
    ///
    /// # Errors
    /// The disk.
    pub(in super::super) fn seal<G>(
        &self,
        key: &Key,
        facts: &Facts,
        stops: impl Fn() -> bool,
        permit: impl FnOnce() -> Option<G>,
    ) -> io::Result<bool> {
        if self.whole_facts(key).is_some_and(|known| known.agree(facts)) {
            return Ok(true);
        }
        if !self.has_all(key, facts) {
            return Ok(false);
        }
        let Some(mut parts) = self.begin_parts(key, facts)? else { return Ok(false) };
        // What made room may have been a block of this very file.
        let filled = match self.has_all(key, facts) {
            true => self.fill_parts(&mut parts, key, facts, stops),
            false => Ok(false),
        };
        let Parts { whole, index, sums, .. } = parts;
        let placed = match filled {
            Ok(true) => {
                sums.finish(key, facts).and_then(|()| self.place_parts(key, (&whole, &index), permit))
            }
            other => other,
        };
        if !matches!(placed, Ok(true)) {
            let mut ledger = Ledger::lock(&self.ledger())?;
            let freed = remove(&whole)? + remove(&index)?;
            ledger.set(ledger.used().saturating_sub(freed))?;
        }
        placed
    }

    /// Whether all blocks of a version are here as blocks, as far as their headers tell.
    fn has_all(&self, key: &Key, facts: &Facts) -> bool {
        let size = facts.size();
        let is_here = |block| {
            self.header(key, block).is_some_and(|header| {
                header.facts.agree(facts) && header.start == 0 && header.len == len(size, block)
            })
        };
        // Most often it is the end that is not.
        let last = blocks(size).saturating_sub(1);
        size > 0 && is_here(last) && (0..last).all(is_here)
    }

    fn begin_parts(&self, key: &Key, facts: &Facts) -> io::Result<Option<Parts>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = since.as_nanos() ^ u128::from(std::process::id()) << 64;
        let unique = format!("-part-{number:x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (whole, index) = (self.half(key, &format!("{unique}-a")), self.half(key, &format!("{unique}-b")));
        let len = index_len(facts.size());
        let more = cost(0) + cost(len);
        let mut ledger = Ledger::lock(&self.ledger())?;
        if !self.make_room(&mut ledger, more)? {
            return Ok(None);
        }
        ledger.set(ledger.used().saturating_add(more))?;
        let create = |path: &Path| {
            let flags = libc::O_NOFOLLOW;
            File::options().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)
        };
        let made = create(&whole).and_then(|file| {
            let sums = create(&index)?;
            // What it counts from now on is what was entered.
            sums.set_len(len)?;
            Ok((file, IndexWriter::new(sums)?))
        });
        match made {
            Ok((file, sums)) => Ok(Some(Parts { whole, index, file, sums })),
            Err(error) => {
                remove(&whole)?;
                remove(&index)?;
                ledger.set(ledger.used().saturating_sub(more))?;
                Err(error)
            }
        }
    }

    /// False if not all blocks are there, and good, any more, or it has to end.
    fn fill_parts(
        &self,
        parts: &mut Parts,
        key: &Key,
        facts: &Facts,
        stops: impl Fn() -> bool,
    ) -> io::Result<bool> {
        let size = facts.size();
        let mut at = 0;
        for block in 0..blocks(size) {
            let read = self.read(key, block).filter(|(header, bytes)| {
                header.facts.agree(facts) && header.start == 0 && bytes.len() == len(size, block)
            });
            let Some((_, bytes)) = read.filter(|_| !stops()) else { return Ok(false) };
            // For one block at a time: others want to write too.
            let mut ledger = Ledger::lock(&self.ledger())?;
            let freed = remove(&self.place(key, block))?;
            ledger.set(ledger.used().saturating_sub(freed))?;
            // Somebody else has removed it, who may be making the same file. What was begun here may be gone, too.
            if freed == 0 || parts.file.metadata()?.nlink() == 0 {
                return Ok(false);
            }
            let end = at + bytes.len() as u64;
            // Never more than has been freed.
            ledger.set(ledger.used().saturating_add(cost(end) - cost(at)))?;
            parts.file.write_all_at(&bytes, at)?;
            drop(ledger);
            parts.sums.push(sum(&bytes))?;
            at = end;
        }
        Ok(at == size)
    }

    fn place_parts<G>(
        &self,
        key: &Key,
        (whole, index): (&Path, &Path),
        permit: impl FnOnce() -> Option<G>,
    ) -> io::Result<bool> {
        let mut ledger = Ledger::lock(&self.ledger())?;
        let Some(_held) = permit() else { return Ok(false) };
        // One of another version.
        let replaced = remove(&self.half(key, INDEX))? + remove_counted(&self.half(key, WHOLE))?;
        ledger.set(ledger.used().saturating_sub(replaced))?;
        let named =
            fs::rename(whole, self.half(key, WHOLE)).and_then(|()| fs::rename(index, self.half(key, INDEX)));
        match named {
            Ok(()) => Ok(true),
            // It was forgotten by another mount, or thrown out.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn index(&self, key: &Key) -> Option<(File, Index)> {
        let file = open(&self.half(key, INDEX)).ok()?;
        let index = Index::read(&file).filter(|index| index.key == *key)?;
        Some((file, index))
    }

    fn half(&self, key: &Key, ending: &str) -> PathBuf {
        let [first, ..] = *key;
        self.dir.join(shard_name(first.into())).join(format!("{}{ending}", name(key)))
    }
}

impl Held {
    /// Whether each byte is what it was made as. `None` if `stops` says so before that is known.
    pub(in super::super) fn is_good(&self, stops: impl Fn() -> bool) -> Option<bool> {
        let size = self.index.facts.size();
        let mut bytes = vec![0; BLOCK];
        let mut stopped = false;
        let is_good = self.index.all_sums(&self.sums, |block, wanted| {
            stopped = stops();
            let bytes = &mut bytes[..len(size, block)];
            !stopped && self.file.read_exact_at(bytes, block * BLOCK as u64).is_ok() && sum(bytes) == wanted
        });
        (!stopped).then_some(is_good)
    }

    /// Notes that it is used.
    pub(in super::super) fn stamp(&self) {
        stamp(&self.sums);
    }

    /// What [`Held::is_good`] is true of.
    ///
    /// # Errors
    /// The disk.
    pub(in super::super) fn identity(&self) -> io::Result<Identity> {
        let metadata = self.file.metadata()?;
        Ok(Identity { number: metadata.ino(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

impl Drop for Held {
    /// The last one who closes what has no name any more gives its room back.
    fn drop(&mut self) {
        let is_last = sys::try_lock(&self.file, true).unwrap_or(false);
        let Ok(metadata) = self.file.metadata() else { return };
        // A count that came in between has not seen it.
        let is_counted = self.store.count.load(Ordering::Relaxed) == self.count;
        if is_last && is_counted && metadata.nlink() == 0 {
            self.store.freed.fetch_add(cost(metadata.len()), Ordering::Relaxed);
        }
    }
}

/// Both halves, if `path` is one of them.
fn halves(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(WHOLE).or_else(|| name.strip_suffix(INDEX))?;
    Some((path.with_file_name(format!("{stem}{WHOLE}")), path.with_file_name(format!("{stem}{INDEX}"))))
}

/// Whether `path` goes by the age of another file.
pub(in super::super) fn is_represented(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(WHOLE.as_bytes())
        && halves(path).is_some_and(|(_, index)| index.symlink_metadata().is_ok())
}

/// Removes what is thrown out, a whole file with its index; returns what it has counted. `None` if somebody has it open,
/// which is noted as a use.
///
/// # Errors
/// The disk.
pub(super) fn remove_unused(path: &Path) -> io::Result<Option<u64>> {
    let Some((whole, index)) = halves(path) else { return remove(path).map(Some) };
    let lock = match open(&whole) {
        Ok(file) if sys::try_lock(&file, true)? => Some(file),
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let freed = remove(&index)? + remove(&whole)?;
    drop(lock);
    Ok(Some(freed))
}

/// Removes a file; returns what it does not count any more, which is nothing as long as somebody has it open as a
/// whole.
///
/// # Errors
/// The disk.
pub(super) fn remove_counted(path: &Path) -> io::Result<u64> {
    if !path.as_os_str().as_bytes().ends_with(WHOLE.as_bytes()) {
        return remove(path);
    }
    let lock = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let is_alone = sys::try_lock(&lock, true)?;
    let freed = remove(path)?;
    Ok(if is_alone { freed } else { 0 })
}
