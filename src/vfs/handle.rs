//! What is open: files, whose handles share one reader per version, and frozen directory listings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::cache::{FileId, Frozen};
use crate::read::OpenFile;
use crate::vfs::Error;

/// An open file.
#[derive(Clone)]
pub(super) struct FileHandle {
    pub(super) ino: u64,
    pub(super) version: FileId,
    pub(super) file: Arc<dyn OpenFile>,
}

/// An open directory: its listing as it was at opendir, so offsets stay good however it changes.
#[derive(Clone)]
pub(super) struct DirHandle {
    pub(super) ino: u64,
    pub(super) listing: Arc<Frozen>,
    pub(super) learned: Instant,
}

/// The handles that the kernel holds. Numbers are never used again.
#[derive(Default)]
pub(super) struct Handles(Mutex<Open>);

#[derive(Default)]
struct Open {
    last: u64,
    files: HashMap<u64, FileHandle>,
    /// The reader of each inode and version, and how many handles use it.
    readers: HashMap<(u64, FileId), (Arc<dyn OpenFile>, usize)>,
    directories: HashMap<u64, DirHandle>,
}

impl Handles {
    /// A new handle of `version`; `open` makes the reader if no other handle has it.
    pub(super) fn open_file(
        &self,
        ino: u64,
        version: FileId,
        open: impl FnOnce() -> Arc<dyn OpenFile>,
    ) -> u64 {
        let mut handles = self.0.lock();
        let (file, users) = handles.readers.entry((ino, version)).or_insert_with(|| (open(), 0));
        *users += 1;
        let file = file.clone();
        handles.last += 1;
        let handle = handles.last;
        handles.files.insert(handle, FileHandle { ino, version, file });
        handle
    }

    /// Whether a handle of another version of the inode is open.
    pub(super) fn has_other_version(&self, ino: u64, version: FileId) -> bool {
        self.0.lock().readers.keys().any(|&(of, other)| of == ino && other != version)
    }

    /// # Errors
    /// [`Error::BadHandle`].
    pub(super) fn file(&self, handle: u64) -> Result<FileHandle, Error> {
        self.0.lock().files.get(&handle).cloned().ok_or(Error::BadHandle)
    }

    /// Ends a handle; returns the reader if that was its last one.
    pub(super) fn release_file(&self, handle: u64) -> Option<Arc<dyn OpenFile>> {
        let mut handles = self.0.lock();
        let FileHandle { ino, version, .. } = handles.files.remove(&handle)?;
        let (_, users) = handles.readers.get_mut(&(ino, version))?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        handles.readers.remove(&(ino, version)).map(|(file, _)| file)
    }

    pub(super) fn open_dir(&self, directory: DirHandle) -> u64 {
        let mut handles = self.0.lock();
        handles.last += 1;
        let handle = handles.last;
        handles.directories.insert(handle, directory);
        handle
    }

    /// # Errors
    /// [`Error::BadHandle`].
    pub(super) fn dir(&self, handle: u64) -> Result<DirHandle, Error> {
        self.0.lock().directories.get(&handle).cloned().ok_or(Error::BadHandle)
    }

    /// Ends a handle; returns its listing, to be freed without the lock.
    pub(super) fn release_dir(&self, handle: u64) -> Option<DirHandle> {
        self.0.lock().directories.remove(&handle)
    }
}
