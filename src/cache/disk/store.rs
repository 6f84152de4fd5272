//! The directory of blocks: one file each, written beside its place and renamed into it.
//!
//! ```text
//! blocks/ledger            what all blocks take; its lock is held by who writes or throws out
//! blocks/incoming          the block that is being written
//! blocks/servers/HASH      the generation of a server's blocks
//! blocks/XX/XXHASH-BLOCK   blocks, XX from 00 to ff
//! ```
//! What is there of a file as a whole has two more, see [`whole`].
//! Readers need no lock: a block is there whole or not at all, and what a crash leaves fails its checksum.

pub(super) mod index;
pub(super) mod whole;

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::format::{HEADER, Header, Key};
use super::ledger::Ledger;
use super::oldest::{Oldest, SHARDS, each, shard_name};
use crate::cache::block::BLOCK;
use crate::sys;

/// A block counts as no less than this, in bytes: each needs an inode and a name besides.
const LEAST: u64 = 16 * 1024;
/// What file systems allocate by, in bytes.
const PAGE: u64 = 4096;
/// A use is noted on the disk if the last one is older.
const STAMP: Duration = Duration::from_secs(60);

/// The blocks of all servers below one directory.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    limit: u64,
    floor: u64,
    oldest: Mutex<Oldest>,
    /// Bytes of blocks that went without the ledger; the next one who has it takes them out.
    freed: AtomicU64,
    /// Which count of the ledger they were part of.
    count: AtomicU64,
}

impl Store {
    /// The blocks in `dir`, which is made where it is missing (mode 0700): at most `limit` bytes of all that
    /// share it, with `floor` bytes of the disk left free.
    ///
    /// # Errors
    /// The directory cannot be made or written, or it or the one above belongs to somebody else.
    pub(super) fn open(dir: &Path, limit: u64, floor: u64) -> io::Result<Store> {
        let (Some(above), Some(name)) = (dir.parent(), dir.file_name()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        // From here on by a way that has no links, which somebody else could lead elsewhere later.
        let above = fs::canonicalize(above)?;
        let dir = above.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let own = uzers::get_effective_uid();
        let metadata = fs::symlink_metadata(&dir)?;
        if !metadata.is_dir() || metadata.uid() != own {
            let cause = "it belongs to another user, or is no directory";
            return Err(io::Error::new(ErrorKind::PermissionDenied, cause));
        }
        // Who owns what is above could put another directory in its place.
        let metadata_above = fs::symlink_metadata(&above)?;
        let sticky_or_closed = metadata_above.mode() & 0o1000 != 0 || metadata_above.mode() & 0o022 == 0;
        if metadata_above.uid() != own && (metadata_above.uid() != 0 || !sticky_or_closed) {
            let cause = "the directory that it is in belongs to another user";
            return Err(io::Error::new(ErrorKind::PermissionDenied, cause));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        }
        let (oldest, freed, count) = Default::default();
        Ok(Store { dir, limit, floor, oldest, freed, count })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Counts what is there, and throws out what is too much by now.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn settle(&self) -> io::Result<()> {
        let mut ledger = Ledger::lock(&self.ledger())?;
        remove(&self.incoming())?;
        let mut used = 0;
        for shard in 0..SHARDS {
            each(&self.dir.join(shard_name(shard)), usize::MAX, |_, metadata| used += cost(metadata.len()))?;
        }
        ledger.counted(used)?;
        self.make_room(&mut ledger, 0)?;
        Ok(())
    }

    /// Bytes that all blocks take, for messages.
    pub(super) fn used(&self) -> u64 {
        let mut bytes = [0; 8];
        let read = File::open(self.ledger()).and_then(|file| file.read_exact_at(&mut bytes, 0));
        read.map_or(0, |()| u64::from_le_bytes(bytes))
    }

    /// The header of a block that is there, whatever its data are worth.
    pub(super) fn header(&self, key: &Key, block: u64) -> Option<Header> {
        let mut bytes = [0; HEADER];
        open(&self.place(key, block)).ok()?.read_exact_at(&mut bytes, 0).ok()?;
        Header::decode(&bytes).filter(|header| header.key == *key && header.block == block)
    }

    /// A block, checked. One that is no good is removed.
    pub(super) fn read(&self, key: &Key, block: u64) -> Option<(Header, Vec<u8>)> {
        let place = self.place(key, block);
        let file = open(&place).ok()?;
        let mut bytes = vec![0; HEADER + BLOCK + 1];
        let mut len = 0;
        let whole = loop {
            match file.read_at(&mut bytes[len..], len as u64) {
                Ok(0) => break true,
                Ok(n) => len += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
            if len == bytes.len() {
                break false;
            }
        };
        bytes.truncate(len);
        let header = Header::decode(&bytes).filter(|header| header.key == *key && header.block == block);
        let good = header.filter(|header| whole && header.vouches_for(&bytes[HEADER..]));
        let Some(header) = good else {
            log::debug!("a block on the disk is damaged and goes");
            self.discard(&place);
            return None;
        };
        stamp(&file);
        bytes.drain(..HEADER);
        Some((header, bytes))
    }

    /// Keeps a block, unless there is no room for it. When all is written, `permit` is asked, and what it gives
    /// is held while the block goes to its place; without one it does not.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn write<G>(
        &self,
        header: &Header,
        data: &[u8],
        permit: impl FnOnce() -> Option<G>,
    ) -> io::Result<()> {
        let known = self.header(&header.key, header.block);
        // One that is there already is looked at to its end: it was not read, and may be damaged.
        if known.is_some_and(|known| known.facts.agree(&header.facts) && known.covers(header))
            && self.read(&header.key, header.block).is_some()
        {
            return Ok(());
        }
        if self.read_whole(&header.key, &header.facts, header.block).is_some() {
            return Ok(());
        }
        let cost = cost((HEADER + data.len()) as u64);
        let mut ledger = Ledger::lock(&self.ledger())?;
        if !self.make_room(&mut ledger, cost)? {
            return Ok(());
        }
        ledger.set(ledger.used().saturating_add(cost))?;
        let incoming = self.incoming();
        let placed = fill(&incoming, header, data).and_then(|()| match permit() {
            Some(_held) => self.put_in_place(&incoming, header).map(Some),
            None => Ok(None),
        });
        let gone = match &placed {
            Ok(Some(replaced)) => *replaced,
            Ok(None) | Err(_) => {
                remove(&incoming)?;
                cost
            }
        };
        ledger.set(ledger.used().saturating_sub(gone))?;
        placed.map(drop)
    }

    /// Gives the block that has come its name; returns what the one before it has counted.
    fn put_in_place(&self, incoming: &Path, header: &Header) -> io::Result<u64> {
        let place = self.place(&header.key, header.block);
        // Not by the renaming: ext4 writes all data out before a file is replaced by that.
        let replaced = remove(&place)?;
        match rename(incoming, &place) {
            Ok(()) => Ok(replaced),
            Err(error) => {
                self.freed.fetch_add(replaced, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Removes all blocks of a file. What that frees is entered later: who does this waits for nobody.
    ///
    /// # Errors
    /// The disk; some of them may still be there.
    pub(super) fn forget(&self, key: &Key) -> io::Result<()> {
        let [first, ..] = *key;
        let prefix = format!("{}-", name(key));
        let entries = match fs::read_dir(self.dir.join(shard_name(first.into()))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        // Their names are enough: there may be many of other files.
        let is_of_file = |entry: &fs::DirEntry| entry.file_name().as_bytes().starts_with(prefix.as_bytes());
        let found: Vec<_> = entries.filter(|entry| entry.as_ref().map_or(true, is_of_file)).collect();
        let mut outcome = Ok(());
        for entry in found {
            match entry.and_then(|entry| whole::remove_counted(&entry.path())) {
                Ok(freed) => drop(self.freed.fetch_add(freed, Ordering::Relaxed)),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    fn discard(&self, path: &Path) {
        match remove(path) {
            Ok(freed) => drop(self.freed.fetch_add(freed, Ordering::Relaxed)),
            Err(error) => log::warn!("a block on the disk cannot be removed: {error}"),
        }
    }

    /// Throws out the oldest until `free` bytes of the disk are free, or nothing is left. What that frees is entered
    /// later: who does this waits for nobody.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn give_way(&self, free: u64) -> io::Result<()> {
        let missing = free.saturating_sub(sys::free_space(&self.dir)?);
        self.throw_out(&mut Oldest::default(), missing, |freed| {
            self.freed.fetch_add(freed, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Throws out the oldest until `more` bytes have room; false if they have none.
    fn make_room(&self, ledger: &mut Ledger, more: u64) -> io::Result<bool> {
        let freed = self.freed.swap(0, Ordering::Relaxed);
        // Who has counted since then, this mount or another, may not have seen those blocks any more.
        if self.count.swap(ledger.count(), Ordering::Relaxed) == ledger.count() {
            ledger.set(ledger.used().saturating_sub(freed))?;
        }
        if more > self.limit {
            return Ok(false);
        }
        let wanted = |used: u64, free: u64| {
            let over = used.saturating_add(more).saturating_sub(self.limit);
            over.max((self.floor + more).saturating_sub(free))
        };
        let missing = wanted(ledger.used(), sys::free_space(&self.dir)?);
        if missing == 0 {
            return Ok(true);
        }
        self.throw_out(&mut self.oldest.lock(), missing, |freed| {
            ledger.set(ledger.used().saturating_sub(freed))
        })?;
        Ok(wanted(ledger.used(), sys::free_space(&self.dir)?) == 0)
    }

    /// Throws out the oldest, `missing` bytes of them if there are so many; `gone` is told how much each has counted.
    fn throw_out(
        &self,
        oldest: &mut Oldest,
        mut missing: u64,
        mut gone: impl FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        // A new sample is worth taking as long as the last one gave something.
        let mut fruitful = true;
        while missing > 0 {
            let Some(candidate) = oldest.pop() else {
                if !fruitful || !oldest.look(&self.dir) {
                    break;
                }
                fruitful = false;
                continue;
            };
            let is_unused = fs::symlink_metadata(&candidate.path)
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|used| used == candidate.used);
            if is_unused {
                let Some(freed) = whole::remove_unused(&candidate.path)? else {
                    // In use: it is not among the oldest any more, which may be others then.
                    fruitful |= open(&candidate.path).is_ok_and(|file| stamp(&file));
                    continue;
                };
                fruitful |= freed > 0;
                missing = missing.saturating_sub(freed);
                gone(freed)?;
            }
        }
        Ok(())
    }

    fn ledger(&self) -> PathBuf {
        self.dir.join("ledger")
    }

    fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    fn place(&self, key: &Key, block: u64) -> PathBuf {
        let [first, ..] = *key;
        self.dir.join(shard_name(first.into())).join(format!("{}-{block:x}", name(key)))
    }
}

/// The part of a block's name that its file gives; the header has the rest of the key.
fn name(key: &Key) -> String {
    key[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a block of `len` bytes, header included, counts.
fn cost(len: u64) -> u64 {
    len.next_multiple_of(PAGE).max(LEAST)
}

/// Opens, or makes, a file that is written in place and that nobody else may read.
///
/// # Errors
/// The disk.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NOATIME).open(path)
}

/// Notes that a block is used; false where that was noted just before.
fn stamp(file: &File) -> bool {
    let now = SystemTime::now();
    let last = file.metadata().and_then(|metadata| metadata.modified());
    if last.is_ok_and(|last| now.duration_since(last).is_ok_and(|age| age < STAMP)) {
        return false;
    }
    let noted = file.set_modified(now);
    if let Err(error) = &noted {
        log::debug!("the use of a block cannot be noted: {error}");
    }
    noted.is_ok()
}

fn fill(path: &Path, header: &Header, data: &[u8]) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW;
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(path)?;
    file.write_all(&header.encode())?;
    file.write_all(data)
}

/// Puts a block in its place, and makes the directory if it is the first there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(shard) = to.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(shard)?;
            }
            fs::rename(from, to)
        }
        renamed => renamed,
    }
}

/// Removes a file if it is there; returns what it has counted.
fn remove(path: &Path) -> io::Result<u64> {
    let removed = fs::symlink_metadata(path).and_then(|metadata| {
        fs::remove_file(path)?;
        Ok(cost(metadata.len()))
    });
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        removed => removed,
    }
}
