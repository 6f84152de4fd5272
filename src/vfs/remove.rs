//! Names that go. What is open stays readable and writable: it is kept here where all of it is here, else it
//! gets a hidden name on the server until its last close.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::deadline::Deadline;
use crate::ftp::list::EntryKind;
use crate::read::Patience;
use crate::remote::{self, Kind, Name, RemotePath};
use crate::vfs::inode::Place;
use crate::vfs::{Error, FileSystem};

/// Hidden files that are remembered for another attempt to remove them.
const LEFTOVERS: usize = 256;

/// Hidden names of this mount; those that a crashed one has left behind are shown like any other.
#[derive(Debug)]
pub(super) struct HiddenNames {
    prefix: String,
    next: AtomicU64,
}

impl Default for HiddenNames {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prefix = format!(".ftpfs-hidden-{:x}-", since.as_nanos() ^ u128::from(std::process::id()));
        HiddenNames { prefix, next: AtomicU64::new(1) }
    }
}

impl HiddenNames {
    /// A name that nothing else has.
    fn next(&self) -> Result<Name, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Name::new(format!("{}{number}", self.prefix).as_bytes())?)
    }

    /// Whether a name is one of this mount's.
    pub(super) fn contain(&self, name: &[u8]) -> bool {
        name.starts_with(self.prefix.as_bytes())
    }
}

impl FileSystem {
    /// Removes a file or a link.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsADirectory`], and the server's refusals.
    pub fn unlink(&self, parent: u64, name: &[u8], patience: Patience) -> Result<(), Error> {
        let changes = self.changes()?;
        let name = Name::new(name)?;
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let dir = self.table.lock().path(parent)?;
        let answer = self.ask(&dir, &name, patience, Instant::now())?;
        let entry = answer.entry.filter(|entry| self.is_shown(entry)).ok_or(Error::NotFound)?;
        if entry.kind == EntryKind::Directory {
            return Err(Error::IsADirectory);
        }
        let path = dir.join(&name);
        if self.set_aside(parent, &name, deadline)?.is_some() {
            return Ok(());
        }
        let draft = self.table.lock().number(parent, &name).and_then(|ino| self.draft(ino));
        if let Some(draft) = &draft {
            draft.discard(deadline)?;
        }
        match changes.remote.remove(&path, deadline) {
            Ok(()) => {}
            // It was never sent.
            Err(error) if draft.is_some() && error.kind() == Kind::NotFound => {}
            Err(error) => {
                draft.inspect(|draft| draft.keep());
                if error.kind() == Kind::NotFound {
                    self.directories.changed(&dir, &name, None);
                }
                return Err(error.into());
            }
        }
        self.vanished(parent, &name, &dir);
        self.remove_leftovers(deadline);
        Ok(())
    }

    pub(super) fn hidden_name(&self) -> Result<Name, Error> {
        self.hidden.next()
    }

    /// Gives an open file that is about to lose its name a hidden one, unless all of it is here. Returns the
    /// inode and its hidden place if it did.
    pub(super) fn set_aside(
        &self,
        parent: u64,
        name: &Name,
        deadline: Deadline,
    ) -> Result<Option<(u64, Name)>, Error> {
        let changes = self.changes()?;
        let Some(ino) = self.table.lock().number(parent, name) else { return Ok(None) };
        if !self.handles.is_open(ino) {
            return Ok(None);
        }
        let draft = self.draft(ino);
        if draft.as_ref().is_some_and(|draft| draft.is_whole()) {
            return Ok(None);
        }
        if let Some(draft) = &draft {
            draft.discard(deadline)?;
        }
        let dir = self.table.lock().path(parent)?;
        let (path, hidden) = (dir.join(name), self.hidden.next()?);
        let place = dir.join(&hidden);
        if let Err(error) = changes.remote.rename(&path, &place, deadline) {
            draft.inspect(|draft| draft.keep());
            return Err(error.into());
        }
        {
            let mut table = self.table.lock();
            table.hold(ino);
            table.hidden(ino, (parent, &hidden));
        }
        self.touch(parent);
        self.relocate();
        self.directories.changed(&dir, name, None);
        self.versions.moved(&path, &place);
        Ok(Some((ino, hidden)))
    }

    /// Takes [`FileSystem::set_aside`] back: the file gets its name again.
    pub(super) fn put_back(&self, parent: u64, (ino, hidden): (u64, Name), name: &Name, deadline: Deadline) {
        let (Ok(changes), Ok(dir)) = (self.changes(), self.table.lock().path(parent)) else { return };
        let (from, to) = (dir.join(&hidden), dir.join(name));
        match changes.remote.rename(&from, &to, deadline) {
            Ok(()) => {
                {
                    let mut table = self.table.lock();
                    table.unhidden(ino, (parent, name));
                    table.forget(ino, 1);
                }
                self.relocate();
                self.versions.moved(&from, &to);
                if let Some(draft) = self.draft(ino) {
                    draft.keep();
                }
            }
            Err(error) => log::error!("{to} is now named {from}, which could not be taken back: {error}"),
        }
        self.directories.invalidate(&dir);
    }

    /// Tells every open file where it is now.
    pub(super) fn relocate(&self) {
        let place = |ino| self.table.lock().path(ino).ok();
        self.handles.relocate(place);
        let drafts: Vec<_> = self.drafts.lock().iter().map(|(&ino, draft)| (ino, draft.clone())).collect();
        for (ino, draft) in drafts {
            if let Some(path) = place(ino) {
                draft.moved(path);
            }
        }
    }

    /// A file or link is gone from the server.
    pub(super) fn vanished(&self, parent: u64, name: &Name, dir: &RemotePath) {
        self.directories.changed(dir, name, None);
        self.versions.forget(&dir.join(name));
        self.touch(parent);
        let ino = self.table.lock().unlinked(parent, name);
        if let Some(ino) = ino {
            self.let_go(ino);
        }
    }

    /// After the last close of a file that has a hidden name: removes it.
    pub(super) fn remove_hidden(&self, ino: u64) {
        let Ok(changes) = self.changes() else { return };
        let place = {
            let table = self.table.lock();
            if !table.is_unlinked(ino) {
                return;
            }
            table.place(ino)
        };
        let Ok(Place::Entry { dir, name }) = place else { return };
        if !self.hidden.contain(name.as_bytes()) || self.handles.is_open(ino) {
            return;
        }
        let path = dir.join(&name);
        match changes.remote.remove(&path, self.any_time()) {
            Err(error) if error.kind() != Kind::NotFound => {
                log::warn!("the removed file {path} is still on the server: {error}");
                self.remove_later(path.clone());
            }
            _ => {}
        }
        self.directories.changed(&dir, &name, None);
        self.versions.forget(&path);
        // See `set_aside`.
        self.table.lock().forget(ino, 1);
    }

    /// Removes a file or an empty directory.
    pub(super) fn remove_any(&self, path: &RemotePath, deadline: Deadline) -> Result<(), remote::Error> {
        let Ok(changes) = self.changes() else { return Ok(()) };
        match changes.remote.remove(path, deadline) {
            Err(error) if error.kind() == Kind::IsADirectory => {
                changes.remote.remove_directory(path, deadline)
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Notes a hidden file that could not be removed, for [`FileSystem::remove_leftovers`].
    pub(super) fn remove_later(&self, path: RemotePath) {
        let mut leftovers = self.leftovers.lock();
        if leftovers.len() < LEFTOVERS {
            leftovers.push(path);
        }
    }

    /// Tries once more to remove what is left of hidden files, when the server is known to be there.
    pub(super) fn remove_leftovers(&self, deadline: Deadline) {
        let leftovers = std::mem::take(&mut *self.leftovers.lock());
        for path in leftovers {
            if let Err(error) = self.remove_any(&path, deadline) {
                log::debug!("{path} is still on the server: {error}");
                self.remove_later(path);
            }
        }
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::NotFound`], [`Error::NotADirectory`], and the server's refusals.
    pub fn remove_directory(&self, parent: u64, name: &[u8], patience: Patience) -> Result<(), Error> {
        let changes = self.changes()?;
        let name = Name::new(name)?;
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let dir = self.table.lock().path(parent)?;
        let path = dir.join(&name);
        if self.holds_unsent(&path) {
            return Err(Error::NotEmpty);
        }
        let mut removed = changes.remote.remove_directory(&path, deadline);
        if removed.as_ref().is_err_and(|error| error.kind() == Kind::NotEmpty)
            && self.move_hidden_up(parent, &path, deadline)
        {
            removed = changes.remote.remove_directory(&path, deadline);
        }
        match removed {
            Ok(()) => {}
            Err(error) => {
                if matches!(error.kind(), Kind::NotFound | Kind::NotEmpty) {
                    // Somebody else has changed it.
                    self.directories.invalidate(&dir);
                    self.directories.invalidate(&path);
                }
                return Err(error.into());
            }
        }
        self.directories.changed(&dir, &name, None);
        self.directories.removed_directory(&path);
        self.touch(parent);
        self.table.lock().unlinked(parent, &name);
        Ok(())
    }

    /// Whether a directory holds a file that only we know of, or know better.
    pub(super) fn holds_unsent(&self, dir: &RemotePath) -> bool {
        let drafts: Vec<u64> = self.drafts.lock().keys().copied().collect();
        let table = self.table.lock();
        let within = |path: RemotePath| path.parent().as_ref() == Some(dir);
        drafts.into_iter().any(|ino| !table.is_unlinked(ino) && table.path(ino).is_ok_and(within))
    }

    /// Moves hidden files out of a directory that is about to go; true if there were any.
    fn move_hidden_up(&self, parent: u64, dir: &RemotePath, deadline: Deadline) -> bool {
        let Ok(changes) = self.changes() else { return false };
        let Ok(up) = self.table.lock().path(parent) else { return false };
        let mut moved = false;
        for ino in self.handles.open_files() {
            let place = {
                let table = self.table.lock();
                if table.is_unlinked(ino) { table.place(ino).ok() } else { None }
            };
            let Some(Place::Entry { dir: from, name }) = place else { continue };
            if from != *dir || !self.hidden.contain(name.as_bytes()) {
                continue;
            }
            let (from, to) = (from.join(&name), up.join(&name));
            if changes.remote.rename(&from, &to, deadline).is_ok() {
                self.table.lock().hidden(ino, (parent, &name));
                self.versions.moved(&from, &to);
                moved = true;
            }
        }
        self.relocate();
        moved
    }
}
