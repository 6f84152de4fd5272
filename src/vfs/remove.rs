//! Names that go. What is open stays readable and writable: it is kept here where all of it is here, else it
//! gets a hidden name on the server until its last close.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::deadline::Deadline;
use crate::ftp::list::EntryKind;
use crate::read::Patience;
use crate::remote::{self, Kind, Name, RemotePath};
use crate::vfs::astray::{Left, Stray, Unsettled};
use crate::vfs::handle::Leaving;
use crate::vfs::inode::Place;
use crate::vfs::rename::was_told;
use crate::vfs::{Error, FileSystem};
use crate::write::WriteFile;

/// Hidden files that are remembered for another attempt to remove them.
const LEFTOVERS: usize = 256;

/// Hidden names of this mount; those that a crashed one has left behind are shown like any other.
#[derive(Debug)]
pub(super) struct HiddenNames {
    prefix: String,
    next: AtomicU64,
    /// Inodes whose hidden files are being removed. Lock order: this, then handles, then the inode table.
    pub(super) going: Mutex<HashSet<u64>>,
    /// Inodes that were replaced by a change of which the kernel was told that it has failed.
    replaced: Mutex<HashSet<u64>>,
    /// One of them has been.
    gone: Condvar,
}

/// A file that lost its name and got a hidden one. It stays until its handle is released.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) ino: u64,
    pub(super) hidden: Name,
    /// One of our own, so that the last close of a program does not remove what may have to be put back.
    pub(super) handle: u64,
}

/// How a file that is about to lose its name is kept for those who have it open.
#[derive(Debug)]
pub(super) enum Kept<'a> {
    /// It has got a hidden name.
    Aside(Aside),
    /// Nobody has it open, and nobody can open it meanwhile; or all of it is here and stays here until
    /// [`FileSystem::stop_wanting`]: its changes, if it has any, with its inode.
    Here(Option<(u64, Arc<WriteFile>)>, Option<Leaving<'a>>),
}

impl Default for HiddenNames {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prefix = format!(".ftpfs-hidden-{:x}-", since.as_nanos() ^ u128::from(std::process::id()));
        let (going, replaced, gone) = Default::default();
        HiddenNames { prefix, next: AtomicU64::new(1), going, replaced, gone }
    }
}

impl HiddenNames {
    /// A name that nothing else has.
    fn next(&self) -> Result<Name, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Name::new(format!("{}{number}", self.prefix).as_bytes())?)
    }

    /// Keeps the hidden file of `ino` from being removed while it is opened. `None` where it goes, or where its name leads
    /// to another file, which the kernel does not know.
    pub(super) fn keep(&self, ino: u64) -> Option<MutexGuard<'_, HashSet<u64>>> {
        let going = self.going.lock();
        (!going.contains(&ino) && !self.replaced.lock().contains(&ino)).then_some(going)
    }

    /// The name of `ino` leads to another file, which the kernel does not know.
    pub(super) fn note_replaced(&self, ino: u64) {
        self.replaced.lock().insert(ino);
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
        let name = self.name_of_old(name)?;
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let dir = self.table.lock().path(parent)?;
        let answer = self.ask(&dir, &name, patience, Instant::now())?;
        let entry = answer.entry.filter(|entry| self.is_shown(entry)).ok_or(Error::NotFound)?;
        if entry.kind == EntryKind::Directory {
            return Err(Error::IsADirectory);
        }
        let path = dir.join(&name);
        let (here, _leaving) = match self.set_aside(parent, &name, deadline)? {
            Kept::Aside(aside) => {
                self.leave_aside(aside);
                return Ok(());
            }
            Kept::Here(here, leaving) => (here, leaving),
        };
        if let Some((_, draft)) = &here
            && let Err(error) = draft.discard(deadline)
        {
            self.stop_wanting(here);
            return Err(error.into());
        }
        match changes.remote.remove(&path, deadline) {
            Ok(()) => {}
            // It was never sent.
            Err(error) if here.is_some() && error.kind() == Kind::NotFound => {}
            Err(error) => {
                here.iter().for_each(|(ino, draft)| self.keep(*ino, draft));
                self.stop_wanting(here);
                if error.kind() == Kind::NotFound {
                    self.directories.changed(&dir, &name, None);
                } else if !was_told(&error) {
                    // It may be gone.
                    self.directories.invalidate(&dir);
                }
                return Err(error.into());
            }
        }
        self.vanished(parent, &name, &dir);
        self.stop_wanting(here);
        self.remove_leftovers(deadline);
        Ok(())
    }

    pub(super) fn hidden_name(&self) -> Result<Name, Error> {
        self.hidden.next()
    }

    /// Gives an open file that is about to lose its name a hidden one, unless all of it is here. What it
    /// returns goes to [`FileSystem::leave_aside`] or [`FileSystem::settle_after_failure`], or to
    /// [`FileSystem::stop_wanting`].
    pub(super) fn set_aside(&self, parent: u64, name: &Name, deadline: Deadline) -> Result<Kept<'_>, Error> {
        let Some(ino) = self.table.lock().number(parent, name) else { return Ok(Kept::Here(None, None)) };
        let dir = self.table.lock().path(parent)?;
        self.reopening.let_go_first(&dir.join(name), deadline);
        let leaving = self.handles.leave_unless_open(ino);
        {
            // Its last writer may close it at this moment, and what is here would go.
            let drafts = self.drafts.lock();
            if let Some(draft) = drafts.get(&ino).filter(|draft| leaving.is_some() || draft.is_whole()) {
                draft.want();
                return Ok(Kept::Here(Some((ino, draft.clone())), leaving));
            }
        }
        if leaving.is_some() {
            return Ok(Kept::Here(None, leaving));
        }
        let handle = self.handles.open_draft(ino, false);
        match self.hide(ino, (parent, name), deadline) {
            Ok(hidden) => Ok(Kept::Aside(Aside { ino, hidden, handle })),
            Err(error) => {
                self.release(handle);
                Err(error)
            }
        }
    }

    /// The name that relied on what is here is gone, or stays.
    pub(super) fn stop_wanting(&self, here: Option<(u64, Arc<WriteFile>)>) {
        if let Some((ino, draft)) = here {
            draft.unwant();
            self.let_go(ino);
        }
    }

    fn hide(&self, ino: u64, (parent, name): (u64, &Name), deadline: Deadline) -> Result<Name, Error> {
        let changes = self.changes()?;
        let draft = self.draft(ino);
        let dir = self.table.lock().path(parent)?;
        let (path, hidden) = (dir.join(name), self.hidden.next()?);
        let place = dir.join(&hidden);
        if let Some(draft) = &draft {
            draft.discard(deadline)?;
        }
        self.files.leave(&path);
        if let Err(error) = changes.remote.rename(&path, &place, deadline) {
            draft.inspect(|draft| self.keep(ino, draft));
            if !was_told(&error) {
                let left = Left::Perhaps { seen: false };
                let stray = Stray { parent, dir, name: name.clone(), hidden, ino: Some(ino), left };
                self.settle_after_failure(Unsettled::Stray(stray), deadline);
            }
            return Err(error.into());
        }
        self.blocks.moved(&path, &place);
        {
            let mut table = self.table.lock();
            table.hold(ino);
            table.hidden(ino, (parent, &hidden));
        }
        self.files.leave(&path);
        self.touch(parent);
        self.relocate();
        self.directories.changed(&dir, name, None);
        self.versions.moved(&path, &place);
        Ok(hidden)
    }

    /// The file is gone for the user, and for the server with its last close.
    pub(super) fn leave_aside(&self, aside: Aside) {
        if let Some(draft) = self.draft(aside.ino) {
            draft.gone();
        }
        self.release(aside.handle);
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
        let path = dir.join(name);
        self.files.leave(&path);
        self.versions.forget(&path);
        self.blocks.changed(&path);
        self.touch(parent);
        let ino = self.table.lock().unlinked(parent, name);
        if let Some(ino) = ino {
            self.lost_its_name(ino);
        }
    }

    /// Nothing has the name of `ino` any more; what is here of it is needed as long as it is open.
    pub(super) fn lost_its_name(&self, ino: u64) {
        if let Some(draft) = self.draft(ino) {
            draft.gone();
        }
        self.let_go(ino);
    }

    /// After the last close of a file that has a hidden name: removes it.
    pub(super) fn remove_hidden(&self, ino: u64) {
        let Ok(changes) = self.changes() else { return };
        let Some((dir, name)) = self.claim_hidden(ino) else { return };
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
        self.blocks.changed(&path);
        {
            let mut going = self.hidden.going.lock();
            going.remove(&ino);
            self.hidden.replaced.lock().remove(&ino);
            // See `hide`.
            let mut table = self.table.lock();
            table.unhide(ino);
            table.unhold(ino);
        }
        self.hidden.gone.notify_all();
    }

    /// Where the hidden file of `ino` is that nobody has open: it is going from here on.
    pub(super) fn claim_hidden(&self, ino: u64) -> Option<(RemotePath, Name)> {
        let mut going = self.hidden.going.lock();
        let hidden = {
            let table = self.table.lock();
            let Ok(Place::Entry { dir, name }) = table.place(ino) else { return None };
            let is_hidden = table.is_unlinked(ino) && self.hidden.contain(name.as_bytes());
            is_hidden.then_some((dir, name))?
        };
        // In this order: it may be opened and then hidden at this moment. What is hidden is opened with `going` held.
        (!self.handles.is_open(ino) && going.insert(ino)).then_some(hidden)
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
        let name = self.name_of_old(name)?;
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let dir = self.table.lock().path(parent)?;
        let path = dir.join(&name);
        self.settle_doubts(deadline);
        if self.holds_unsent(&path) {
            return Err(Error::NotEmpty);
        }
        let mut removed = changes.remote.remove_directory(&path, deadline);
        if removed.as_ref().is_err_and(|error| error.kind() == Kind::NotEmpty)
            && self.clear_hidden(parent, &name, &path, deadline)
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

    /// Frees a directory that is about to go of hidden files: waits for those that are being removed, and
    /// moves up those that are still open. True if there were any.
    fn clear_hidden(&self, parent: u64, name: &Name, dir: &RemotePath, deadline: Deadline) -> bool {
        let Ok(changes) = self.changes() else { return false };
        let Ok(up) = self.table.lock().path(parent) else { return false };
        let is_here = |path: &RemotePath| path.parent().as_ref() == Some(dir);
        let mut cleared = self.leftovers.lock().iter().any(is_here);
        if cleared {
            self.remove_leftovers(deadline);
        }
        let hidden = {
            let table = self.table.lock();
            table.number(parent, name).map(|dir| table.hidden_in(dir)).unwrap_or_default()
        };
        for (ino, name) in hidden {
            cleared = true;
            let Some(handle) = self.pin_hidden(ino, deadline) else { continue };
            let (from, to) = (dir.join(&name), up.join(&name));
            if changes.remote.rename(&from, &to, deadline).is_ok() {
                self.blocks.moved(&from, &to);
                self.table.lock().hidden(ino, (parent, &name));
                self.versions.moved(&from, &to);
            }
            self.relocate();
            self.release(handle);
        }
        cleared
    }

    /// Opens a hidden file, so that its last close by a program does not remove it. `None` if it is gone, or
    /// going and not gone by the deadline.
    fn pin_hidden(&self, ino: u64, deadline: Deadline) -> Option<u64> {
        let mut going = self.hidden.going.lock();
        while going.contains(&ino) {
            if self.hidden.gone.wait_until(&mut going, deadline.instant()).timed_out() {
                return None;
            }
        }
        let table = self.table.lock();
        let is_hidden = table.is_unlinked(ino) && table.place(ino).is_ok();
        drop(table);
        is_hidden.then(|| self.handles.open_draft(ino, false))
    }
}
