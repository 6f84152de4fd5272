//! Files: open checks that what is known is still true, read gives bytes of one version or an error.

use std::sync::Arc;
use std::time::Instant;

use crate::cache::{Answer, FileVersion};
use crate::ftp::list::EntryKind;
use crate::read::{Patience, ReadError};
use crate::remote::{Kind, Name, RemotePath};
use crate::vfs::handle::FileHandle;
use crate::vfs::inode::Place;
use crate::vfs::{Error, FileSystem};

/// An opened file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedFile {
    /// For reading and releasing it.
    pub handle: u64,
    /// What the kernel may do with its pages.
    pub pages: Pages,
}

/// What the kernel may do with its pages of a file that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// They are of this version.
    Keep,
    /// They are of another version, or there are none.
    Drop,
    /// As `Drop`, and this handle must not read through pages: a handle of another version is open, which
    /// would be given what this one leaves there; or the kernel's idea of the size is outdated and could not
    /// be corrected in time, so it would cut the file short.
    Bypass,
}

/// What to look for in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// SEEK_DATA of lseek(2).
    Data,
    /// SEEK_HOLE of lseek(2).
    Hole,
}

impl FileSystem {
    /// Opens a file for reading; `flags` are those of open(2). Attributes younger than `attr_timeout` are
    /// believed, others checked. If the file is another version now, handles of the old one fail from
    /// here on, and the kernel's attributes are corrected first (which may take 1 s).
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for every way of writing, [`Error::IsADirectory`], [`Error::Special`],
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::NoSize`], and those of asking the server.
    pub fn open(&self, ino: u64, flags: i32, patience: Patience) -> Result<OpenedFile, Error> {
        if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
            return Err(Error::ReadOnly);
        }
        let (kind, place) = {
            let table = self.table.lock();
            (table.kind(ino)?, table.place(ino)?)
        };
        let Place::Entry { dir, name } = place else { return Err(Error::IsADirectory) };
        match kind {
            EntryKind::File => {}
            EntryKind::Directory => return Err(Error::IsADirectory),
            // O_PATH and O_NOFOLLOW are the kernel's affair; a link itself cannot be read.
            EntryKind::Symlink | EntryKind::Special => return Err(Error::Special),
        }
        let answer = self.recent(&dir, &name, patience)?;
        let (entry, _) = self.observe_inode(ino, &name, &answer)?;
        let path = dir.join(&name);
        let version = self.versions.of(&path, &entry).ok_or(Error::NoSize)?;
        let kernel_is_behind = self.table.lock().is_kernel_behind(ino);
        if kernel_is_behind && matches!(patience, Patience::CachedOnly) {
            return Err(Error::WouldBlock);
        }
        let stays_behind = kernel_is_behind && !self.invalidations.attributes_now(ino);
        let keep = {
            let mut table = self.table.lock();
            if kernel_is_behind && !stays_behind {
                table.untell(ino);
            }
            table.open(ino, &version)?
        };
        let bypass = stays_behind || self.handles.has_other_version(ino, version.id);
        let pages = match (bypass, keep) {
            (true, _) => Pages::Bypass,
            (false, true) => Pages::Keep,
            (false, false) => Pages::Drop,
        };
        Ok(OpenedFile { handle: self.reader(ino, path, version), pages })
    }

    /// Reads `len` bytes at `offset`, fewer only at the end of the file. All bytes that a handle gives
    /// are of the version that was opened.
    ///
    /// # Errors
    /// [`Error::Stale`], or [`Kind::Changed`], once that version is known to be gone; those of the read.
    pub fn read(&self, handle: u64, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, Error> {
        let FileHandle { ino, version, file } = self.handles.file(handle)?;
        if !self.table.lock().is_current(ino, version) {
            return Err(Error::Stale);
        }
        let bytes = file.read(offset, len, patience).inspect_err(|error| match error {
            ReadError::Remote(error) if error.kind() == Kind::Changed => self.lose(ino, version),
            _ => {}
        })?;
        // Somebody may have opened the next version meanwhile, and the kernel's pages are shared.
        if !self.table.lock().is_current(ino, version) {
            return Err(Error::Stale);
        }
        Ok(bytes)
    }

    /// Where lseek(2) with SEEK_DATA (or SEEK_HOLE) leads from `offset`: the server tells of no holes, so a
    /// file is data up to its end.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`], and those of [`FileSystem::getattr`].
    pub fn seek(&self, ino: u64, offset: u64, to: Seek, patience: Patience) -> Result<u64, Error> {
        let size = self.getattr(ino, patience)?.value.size;
        match to {
            _ if offset >= size => Err(Error::BeyondEnd),
            Seek::Data => Ok(offset),
            Seek::Hole => Ok(size),
        }
    }

    /// Ends a handle of [`FileSystem::open`]. The last one of a version gives its reader's resources back.
    pub fn release(&self, handle: u64) {
        if let Some(file) = self.handles.release_file(handle) {
            file.close();
        }
    }

    /// An answer on `name` that open may believe: a young one, else a new one.
    fn recent(&self, dir: &RemotePath, name: &Name, patience: Patience) -> Result<Answer, Error> {
        let now = Instant::now();
        let is_good = |answer: &Answer| {
            let is_young = now.saturating_duration_since(answer.learned) < self.config.attr_timeout;
            is_young && answer.entry.as_ref().is_none_or(|entry| entry.size.is_some())
        };
        match (self.directories.cached(dir, name, now).filter(is_good), patience) {
            (Some(answer), _) => Ok(answer),
            (None, Patience::CachedOnly) => Err(Error::WouldBlock),
            (None, Patience::Until(deadline)) => Ok(self.directories.refresh(dir, name, deadline, now)?),
        }
    }

    fn reader(&self, ino: u64, path: RemotePath, version: Arc<FileVersion>) -> u64 {
        self.handles.open_file(ino, version.id, || self.files.open(path, version))
    }

    /// The server has another version than `id` of the file: forget all that led to the old one, so that
    /// the next open sees the new one.
    fn lose(&self, ino: u64, id: crate::cache::FileId) {
        let path = {
            let mut table = self.table.lock();
            table.lose(ino, id);
            table.path(ino)
        };
        if let Ok(path) = path {
            self.versions.forget(&path);
            if let Some(dir) = path.parent() {
                self.directories.invalidate(&dir);
            }
        }
        self.blocks.purge(id);
        self.invalidations.everything(ino);
    }
}
