//! Files: open checks that what is known is still true, read gives bytes of one version or an error.

use std::sync::Arc;
use std::time::Instant;

use crate::cache::{Answer, FileId, WholeFile};
use crate::deadline::Deadline;
use crate::ftp::list::EntryKind;
use crate::read::{Patience, ReadError};
use crate::remote::{Kind, Name, RemotePath};
use crate::vfs::handle::{FileHandle, Occupied, Opened};
use crate::vfs::inode::{Cached, Place};
use crate::vfs::passing::Passable;
use crate::vfs::{Error, FileSystem};
use crate::write::WriteFile;

/// An opened file.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    /// For reading and releasing it.
    pub handle: u64,
    /// What the kernel may do with its pages.
    pub pages: Pages,
    /// Whether it may be written, and so has something to flush.
    pub writable: bool,
    /// The file on the local disk that the kernel shall read by itself. All handles that an inode has meanwhile have the
    /// same one; what the kernel does not take is told to [`FileSystem::not_passed`].
    pub whole: Option<Arc<WholeFile>>,
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
    /// Opens a file; `flags` are those of open(2). Attributes younger than `attr_timeout` are believed, others
    /// checked. If the file is another version now, handles of the old one fail from here on, and the
    /// kernel's attributes are corrected first (which may take 1 s).
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for writing where the mount takes no changes, [`Error::IsADirectory`],
    /// [`Error::Special`], [`Error::NotFound`], [`Error::Stale`], [`Error::NoSize`], and those of asking the
    /// server. [`Error::Parted`] where the kernel has to look the name up once more.
    pub fn open(&self, ino: u64, flags: i32, patience: Patience) -> Result<OpenedFile, Error> {
        // The file on the disk would set rules for O_DIRECT that we have not.
        self.open_as(ino, flags, flags & libc::O_DIRECT == 0, patience)
    }

    /// As [`FileSystem::open`]; the kernel is given a file to read by itself only where it `may_pass`.
    pub(super) fn open_as(
        &self,
        ino: u64,
        flags: i32,
        may_pass: bool,
        patience: Patience,
    ) -> Result<OpenedFile, Error> {
        let opened = self.open_at_once(ino, flags, may_pass, patience)?;
        self.reopening.came(|| self.path(ino));
        Ok(opened)
    }

    fn open_at_once(
        &self,
        ino: u64,
        flags: i32,
        may_pass: bool,
        patience: Patience,
    ) -> Result<OpenedFile, Error> {
        let truncates = flags & libc::O_TRUNC != 0;
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY || truncates;
        if writable {
            self.changes()?;
        }
        if let Patience::Until(deadline) = patience {
            self.settle_doubts(deadline);
        }
        if let Some(opened) = self.open_draft(ino, writable, truncates)? {
            return Ok(opened);
        }
        let (kind, place) = {
            let table = self.table.lock();
            (table.kind(ino)?, table.place(ino))
        };
        let place = place.map_err(|error| self.why_nowhere(ino, error))?;
        if self.table.lock().is_unlinked(ino) {
            if let Some(opened) = self.open_aside(ino, flags) {
                return Ok(opened);
            }
            if let Patience::CachedOnly = patience {
                return Err(Error::WouldBlock);
            }
            self.remove_hidden(ino);
            // The kernel still finds it by a name that it has lost, or is getting back.
            return Err(Error::Parted);
        }
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
        let version = self.versions.of(&path, &entry);
        if let Some(version) = version.as_ref().filter(|_| writable) {
            self.make_way(ino, version.id)?;
        }
        if truncates {
            return self.open_empty(ino, path);
        }
        let version = version.ok_or(Error::NoSize)?;
        let may_pass = may_pass && !writable;
        let passing = match may_pass {
            true => self.passing(ino, &path, &version, patience)?,
            false => None,
        };
        let kernel_is_behind = self.table.lock().is_kernel_behind(ino);
        if kernel_is_behind && matches!(patience, Patience::CachedOnly) {
            return Err(Error::WouldBlock);
        }
        let stays_behind = kernel_is_behind && !self.invalidations.attributes_now(ino);
        // Changes of ours that begin at this moment go first.
        let drafts = self.drafts.lock();
        if drafts.contains_key(&ino) {
            drop(drafts);
            return self.open_draft(ino, writable, false)?.ok_or(Error::Stale);
        }
        if let Some(version) = self.handles.passed(ino).filter(|passed| !may_pass || passed.id != version.id)
        {
            // Before the inode is told to be of the version that it cannot have.
            return Err(self.part(ino, &version));
        }
        let cached = {
            let mut table = self.table.lock();
            if kernel_is_behind && !stays_behind {
                table.untell(ino);
            }
            table.open(ino, &version)?
        };
        let bypass = stays_behind || self.handles.has_other_version(ino, version.id);
        let pages = match cached {
            _ if bypass => Pages::Bypass,
            Cached::Nothing | Cached::This => Pages::Keep,
            Cached::Other => Pages::Drop,
        };
        let (reader, whole) = passing.map(|Passable { reader, whole }| (reader, whole)).unzip();
        let open = || reader.unwrap_or_else(|| self.files.open(path, version.clone()));
        let opened = self.handles.open_file(ino, &version, (writable, may_pass), whole, open);
        drop(drafts);
        let Opened { handle, whole } = match (opened, patience) {
            (Ok(opened), _) => opened,
            (Err(Occupied::Passed(version)), _) => return Err(self.part(ino, &version)),
            (Err(Occupied::Leaving), Patience::CachedOnly) => return Err(Error::WouldBlock),
            (Err(Occupied::Leaving), Patience::Until(deadline)) => {
                let path = dir.join(&name);
                self.reopening.expect(path.clone(), deadline);
                let has_ended = self.handles.wait_for_leaving(ino, deadline);
                self.reopening.soon(&path);
                if !has_ended {
                    return Err(Error::TimedOut);
                }
                return self.open_at_once(ino, flags, may_pass, patience);
            }
        };
        let stands = self.table.lock().place(ino);
        if !matches!(stands, Ok(Place::Entry { dir: now, name: at }) if now == dir && at == name) {
            // It has lost this name meanwhile, and what has it now would be read.
            if let Patience::CachedOnly = patience {
                // The end of a last handle may have to wait for the server.
                if let Some((_, Some(unused))) = self.handles.release_file(handle) {
                    unused.close();
                }
                return Err(Error::WouldBlock);
            }
            self.release(handle);
            return self.open_at_once(ino, flags, may_pass, patience);
        }
        if !writable {
            let kept = whole.is_some() || !bypass && cached == Cached::This;
            self.foresee_by_open(&dir, &name, &version, kept);
        }
        Ok(OpenedFile { handle, pages, writable, whole })
    }

    /// Opens for reading what has lost its name to a change that the kernel has not been told the end of, so that the name
    /// still leads there, or that somebody has open. Its bytes are under a hidden name.
    fn open_aside(&self, ino: u64, flags: i32) -> Option<OpenedFile> {
        if flags & (libc::O_ACCMODE | libc::O_TRUNC) != libc::O_RDONLY {
            return None;
        }
        let (path, version) = self.table.lock().version(ino)?;
        let open = || self.files.open(path, version.clone());
        let _stays = self.hidden.keep(ino)?;
        let opened = self.handles.open_file(ino, &version, (false, false), None, open).ok()?;
        Some(OpenedFile { handle: opened.handle, pages: Pages::Bypass, writable: false, whole: None })
    }

    /// Opens a file that has changes of ours: those are what it reads.
    fn open_draft(&self, ino: u64, writable: bool, truncates: bool) -> Result<Option<OpenedFile>, Error> {
        let drafts = self.drafts.lock();
        let Some(draft) = drafts.get(&ino) else { return Ok(None) };
        if truncates {
            draft.truncate(0)?;
        }
        let handle = self.handles.open_draft(ino, writable);
        Ok(Some(OpenedFile { handle, pages: Pages::Keep, writable, whole: None }))
    }

    /// Opens a file with O_TRUNC: nothing that the server has of it counts any more.
    fn open_empty(&self, ino: u64, path: RemotePath) -> Result<OpenedFile, Error> {
        let draft = self.changes()?.writers.create(path, None)?;
        let mut drafts = self.drafts.lock();
        if let Some(version) = self.handles.passed(ino) {
            drop(drafts);
            draft.close();
            return Err(self.part(ino, &version));
        }
        match drafts.get(&ino) {
            Some(begun) => begun.truncate(0)?,
            None => {
                // It may have been renamed meanwhile, by who could not know of this draft.
                draft.moved(self.table.lock().path(ino)?);
                self.begin(&mut drafts, ino, draft);
            }
        }
        let handle = self.handles.open_draft(ino, true);
        Ok(OpenedFile { handle, pages: Pages::Drop, writable: true, whole: None })
    }

    /// Reads `len` bytes at `offset`, fewer only at the end of the file. What was written through this mount
    /// is read back at once; all other bytes that a handle gives are of the version that was opened.
    ///
    /// # Errors
    /// [`Error::Stale`], or [`Kind::Changed`], once that version is known to be gone; those of the read.
    pub fn read(&self, handle: u64, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, Error> {
        let opened = self.handles.file(handle)?;
        let ino = opened.ino;
        if let Patience::Until(deadline) = patience {
            self.settle_doubts(deadline);
        }
        if let Some(draft) = self.draft(ino) {
            return match (draft.read(offset, len, patience), patience) {
                // They have ended while it was read, and others may have begun: what is there now is read.
                (Err(_), Patience::CachedOnly) if self.has_ended(ino, &draft) => Err(Error::WouldBlock),
                (Err(_), Patience::Until(deadline)) if self.has_ended(ino, &draft) && !deadline.passed() => {
                    self.read(handle, offset, len, patience)
                }
                (read, _) => Ok(read?),
            };
        }
        // Our changes of the file may have ended at this moment.
        let FileHandle { reader, .. } = self.handles.file(handle)?;
        let (version, file) = reader.ok_or(Error::Stale)?;
        let (is_current, unlinked) = {
            let table = self.table.lock();
            (table.is_current(ino, version.id), table.is_unlinked(ino))
        };
        if !is_current {
            // Others of ours may have begun.
            return match self.is_superseded(handle, version.id) {
                true => self.read(handle, offset, len, patience),
                false => Err(Error::Stale),
            };
        }
        let bytes = match file.read(offset, len, patience) {
            // Our own changes have ended this version while it was read.
            Err(_) if self.is_superseded(handle, version.id) => {
                return self.read(handle, offset, len, patience);
            }
            Err(ReadError::Remote(error)) if error.kind() == Kind::Changed && !unlinked => {
                self.lose(ino, version.id);
                return Err(error.into());
            }
            other => other?,
        };
        // Somebody may have opened the next version meanwhile, and the kernel's pages are shared.
        if !self.table.lock().is_current(ino, version.id) {
            if self.is_superseded(handle, version.id) {
                return self.read(handle, offset, len, patience);
            }
            return Err(Error::Stale);
        }
        self.foresee_by_read(ino, &version, offset.saturating_add(bytes.len() as u64));
        Ok(bytes)
    }

    /// Whether the changes of ours are over that `draft` was.
    fn has_ended(&self, ino: u64, draft: &Arc<WriteFile>) -> bool {
        self.draft(ino).is_none_or(|now| !Arc::ptr_eq(&now, draft))
    }

    /// Whether `handle` reads something else than `version` by now, by our own doing.
    fn is_superseded(&self, handle: u64, version: FileId) -> bool {
        let Ok(opened) = self.handles.file(handle) else { return false };
        self.draft(opened.ino).is_some() || opened.reader.is_some_and(|(now, _)| now.id != version)
    }

    /// Writes at `offset`, or at the end of the file where `appends`; returns how many bytes were taken,
    /// which is all of them.
    ///
    /// # Errors
    /// [`Error::Local`] for the local disk; the server's refusal where it is known already.
    pub fn write(
        &self,
        handle: u64,
        offset: u64,
        bytes: &[u8],
        appends: bool,
        patience: Patience,
    ) -> Result<usize, Error> {
        let opened = self.handles.file(handle)?;
        if !opened.writable {
            return Err(Error::BadHandle);
        }
        let draft = self.draft_of(&opened)?;
        let at = draft.write((!appends).then_some(offset), bytes, patience)?;
        if at != offset {
            // The kernel has put the bytes elsewhere in its pages.
            self.invalidations.everything(opened.ino);
        }
        Ok(bytes.len())
    }

    /// Makes sure that the server has what was written to the file (close(2), fsync(2)).
    ///
    /// # Errors
    /// What the upload met; the bytes are kept and tried again by the next flush.
    pub fn flush(&self, handle: u64, patience: Patience) -> Result<(), Error> {
        let opened = self.handles.file(handle)?;
        if let Patience::Until(deadline) = patience {
            self.settle_doubts(deadline);
        }
        match self.draft(opened.ino) {
            Some(draft) => self.settle(opened.ino, &draft, patience),
            None => Ok(()),
        }
    }

    /// Reserves room for `offset..offset + length`: the file grows to that size if it is smaller.
    ///
    /// # Errors
    /// As [`FileSystem::write`].
    pub fn allocate(&self, handle: u64, offset: u64, length: u64) -> Result<(), Error> {
        let opened = self.handles.file(handle)?;
        if !opened.writable {
            return Err(Error::BadHandle);
        }
        let end = offset.checked_add(length).ok_or(Error::TooLarge)?;
        let size = self.getattr(opened.ino, Patience::CachedOnly).map(|attr| attr.value.size);
        if size.is_ok_and(|size| size >= end) {
            return Ok(());
        }
        let draft = self.draft_of(&opened)?;
        if end > draft.attributes().size {
            draft.truncate(end)?;
        }
        Ok(())
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

    /// Ends a handle of [`FileSystem::open`]. The last one of a version gives its reader's resources back; the
    /// last one that could write leaves nothing unsent behind, where that can be helped.
    pub fn release(&self, handle: u64) {
        let Some((opened, unused)) = self.handles.release_file(handle) else { return };
        if let Some(file) = unused {
            file.close();
        }
        self.after_close(opened.ino);
        self.remove_hidden(opened.ino);
    }

    /// A deadline for what nobody waits for.
    pub(super) fn any_time(&self) -> Deadline {
        Deadline::after(self.config.operation_timeout)
    }

    /// An answer on `name` that open may believe: a young one, else a new one.
    pub(super) fn recent(&self, dir: &RemotePath, name: &Name, patience: Patience) -> Result<Answer, Error> {
        let now = Instant::now();
        let is_good = |answer: &Answer| {
            let is_young = now.saturating_duration_since(answer.learned) < self.config.attr_timeout;
            is_young && answer.entry.as_ref().is_none_or(|entry| entry.size.is_some())
        };
        let known = |now| self.directories.cached(dir, name, now).filter(|answer| is_good(answer));
        match (known(now), patience) {
            (Some(answer), _) => Ok(answer),
            (None, Patience::CachedOnly) => Err(Error::WouldBlock),
            (None, Patience::Until(deadline)) => {
                // It may be asked already.
                if self.files.settle(&dir.join(name), deadline)
                    && let Some(answer) = known(Instant::now())
                {
                    return Ok(answer);
                }
                Ok(self.directories.refresh(dir, name, deadline, now)?)
            }
        }
    }

    /// The server has another version than `id` of the file: forget all that led to the old one, so that
    /// the next open sees the new one.
    fn lose(&self, ino: u64, id: FileId) {
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
