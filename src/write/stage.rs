//! Where bytes wait that the server does not have yet.
//!
//! The traits are the seam for a journal that survives a crash; what is here forgets everything with the
//! process. Staged files have no name and belong to the mounting user, so nobody else can read them.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::BlockCache;
use crate::remote::RemotePath;
use crate::sys;

/// This much of the disk is left to others, in bytes.
const FLOOR: u64 = 128 * 1024 * 1024;

/// The free space is looked at each time that this many bytes have come, in bytes.
const LOOK: u64 = 8 * 1024 * 1024;

/// Where it is too little, blocks that are only kept make room for this much more at once, in bytes.
const ROOM: u64 = 4 * LOOK;

/// Makes places for staged bytes.
pub trait Staging: Send + Sync + fmt::Debug {
    /// A place for the unsent bytes of the file at `path`.
    ///
    /// # Errors
    /// The disk.
    fn create(&self, path: &RemotePath) -> io::Result<Arc<dyn Stage>>;
}

/// The place of one file: as long as the file, with holes where nothing was staged.
pub trait Stage: Send + Sync + fmt::Debug {
    /// Reserves room for `bytes` more.
    ///
    /// # Errors
    /// ENOSPC beyond the limit.
    fn grow(&self, bytes: u64) -> io::Result<()>;

    /// Gives room back.
    fn shrink(&self, bytes: u64);

    /// Writes at an offset.
    ///
    /// # Errors
    /// The disk.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `buffer` from an offset; zeros where nothing was written.
    ///
    /// # Errors
    /// The disk.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Cuts off, or adds zeros.
    ///
    /// # Errors
    /// The disk.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Staging in nameless files of one directory.
#[derive(Clone, Debug)]
pub struct LocalStaging(Arc<Area>);

#[derive(Debug)]
struct Area {
    dir: PathBuf,
    limit: u64,
    /// What may be on the same disk, and can be had again from the server.
    blocks: Arc<BlockCache>,
    used: AtomicU64,
    /// Bytes that came since the free space was looked at.
    unlooked: AtomicU64,
}

impl LocalStaging {
    /// Staging in `dir`, which is made where it is missing (mode 0700), of at most `limit` bytes in all. What
    /// `blocks` has on the disk makes room.
    ///
    /// # Errors
    /// The directory cannot be made or written, or belongs to somebody else.
    pub fn new(dir: &Path, limit: u64, blocks: Arc<BlockCache>) -> io::Result<LocalStaging> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        if std::fs::metadata(dir)?.uid() != uzers::get_effective_uid() {
            let cause = "the directory belongs to another user";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, cause));
        }
        tempfile::tempfile_in(dir)?;
        let (used, unlooked) = Default::default();
        let area = Area { dir: dir.to_owned(), limit, blocks, used, unlooked };
        Ok(LocalStaging(Arc::new(area)))
    }
}

impl Staging for LocalStaging {
    fn create(&self, _path: &RemotePath) -> io::Result<Arc<dyn Stage>> {
        let file = tempfile::tempfile_in(&self.0.dir)?;
        Ok(Arc::new(LocalStage { file, area: self.0.clone(), used: AtomicU64::new(0) }))
    }
}

impl Area {
    /// Whether the disk has more than what is left to others.
    fn has_room(&self) -> io::Result<bool> {
        if sys::free_space(&self.dir)? >= FLOOR {
            return Ok(true);
        }
        self.blocks.give_way(FLOOR + ROOM);
        Ok(sys::free_space(&self.dir)? >= FLOOR)
    }
}

#[derive(Debug)]
struct LocalStage {
    file: File,
    area: Arc<Area>,
    used: AtomicU64,
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

impl Stage for LocalStage {
    fn grow(&self, bytes: u64) -> io::Result<()> {
        let area = &self.area;
        let within = |used: u64| used.checked_add(bytes).filter(|&after| after <= area.limit);
        area.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).map_err(|_| no_space())?;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if area.unlooked.fetch_add(bytes, Ordering::Relaxed) + bytes >= LOOK {
            area.unlooked.store(0, Ordering::Relaxed);
            if !area.has_room()? {
                self.shrink(bytes);
                // The next byte looks again.
                area.unlooked.store(LOOK, Ordering::Relaxed);
                return Err(no_space());
            }
        }
        Ok(())
    }

    fn shrink(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // Never an error: the closure always answers.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let _ = self.area.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => {
                    buffer[done..].fill(0);
                    break;
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

impl Drop for LocalStage {
    fn drop(&mut self) {
        let used = self.used.load(Ordering::Relaxed);
        self.shrink(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_all_files_together_and_gives_room_back() {
        let dir = tempfile::tempdir().unwrap();
        let staging = LocalStaging::new(&dir.path().join("a/b"), 100, Arc::new(BlockCache::new(0))).unwrap();
        let path = RemotePath::root();
        let (first, second) = (staging.create(&path).unwrap(), staging.create(&path).unwrap());
        first.grow(60).unwrap();
        assert_eq!(second.grow(41).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        second.grow(40).unwrap();
        first.shrink(10);
        second.grow(10).unwrap();
        drop(first);
        second.grow(50).unwrap();
        assert!(second.grow(1).is_err());
    }

    #[test]
    fn staged_files_have_no_name_and_their_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("stage");
        let staging = LocalStaging::new(&at, u64::MAX, Arc::new(BlockCache::new(0))).unwrap();
        let stage = staging.create(&RemotePath::root()).unwrap();
        stage.write_at(b"secret", 3).unwrap();
        assert_eq!(std::fs::read_dir(&at).unwrap().count(), 0);
        assert_eq!(std::fs::metadata(&at).unwrap().mode() & 0o777, 0o700);
        let mut read = [9; 12];
        stage.read_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"\0\0\0secret\0\0\0");
    }
}
