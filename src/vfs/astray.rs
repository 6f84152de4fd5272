//! Files that a change moved to a hidden name, or may have, before it failed: they get their name back, now or when the
//! server can be asked again. Nothing else would show them, and the last close would remove them.

use crate::deadline::Deadline;
use crate::remote::{self, Kind, Name, RemotePath};
use crate::vfs::FileSystem;
use crate::vfs::remove::Aside;
use crate::vfs::rename::was_told;

/// Most files that wait for the server.
const MOST: usize = 256;

/// A file that a failed change has left under a hidden name, or may have.
#[derive(Debug)]
pub(super) struct Stray {
    /// The inode of its directory, and the path that this had.
    pub(super) parent: u64,
    pub(super) dir: RemotePath,
    /// The name that it had and that it gets back.
    pub(super) name: Name,
    pub(super) hidden: Name,
    /// Where it is known to have left, by whoever had it open. Else it may never have.
    pub(super) aside: Option<Aside>,
}

/// What has become of one.
enum Outcome {
    /// It has its name.
    Home,
    /// Something else has its name: the change was done after all, or the name was given anew since.
    Replaced,
}

impl FileSystem {
    /// Gives a file its name back, or notes that it is to get it.
    pub(super) fn put_back(&self, stray: Stray, deadline: Deadline) {
        let dir = self.table.lock().path(stray.parent).unwrap_or_else(|_| stray.dir.clone());
        let (home, hidden) = (dir.join(&stray.name), dir.join(&stray.hidden));
        match self.send_home(&home, &hidden, deadline) {
            Ok(Outcome::Home) => self.is_home(stray, &home, &hidden),
            Ok(Outcome::Replaced) => self.is_replaced(stray, &hidden, deadline),
            Err(error) if was_told(&error) => {
                log::error!("{home} is now named {hidden}, which could not be taken back: {error}");
                self.give_up(stray);
            }
            Err(error) => match self.remember(stray) {
                Ok(()) => log::debug!("{home} may be named {hidden} until the server answers again: {error}"),
                Err(stray) => {
                    log::error!("{home} may now be named {hidden}, which could not be taken back: {error}");
                    self.give_up(stray);
                }
            },
        }
        self.directories.invalidate(&dir);
    }

    /// Gives all files their names back that wait for that. Costs nothing where there are none.
    pub(super) fn put_all_back(&self, deadline: Deadline) {
        let astray = std::mem::take(&mut *self.astray.lock());
        astray.into_iter().for_each(|stray| self.put_back(stray, deadline));
    }

    /// At the end of a mount: tells of those that are still not back.
    pub(super) fn tell_of_astray(&self) {
        for stray in std::mem::take(&mut *self.astray.lock()) {
            let Stray { dir, name, hidden, .. } = stray;
            log::error!("{} may be named {} on the server from now on", dir.join(&name), dir.join(&hidden));
        }
    }

    /// Takes it for [`FileSystem::put_all_back`], or gives it back where there are too many.
    fn remember(&self, stray: Stray) -> Result<(), Stray> {
        let mut astray = self.astray.lock();
        if astray.len() >= MOST {
            return Err(stray);
        }
        astray.push(stray);
        Ok(())
    }

    fn send_home(
        &self,
        home: &RemotePath,
        hidden: &RemotePath,
        deadline: Deadline,
    ) -> Result<Outcome, remote::Error> {
        let Ok(changes) = self.changes() else { return Ok(Outcome::Home) };
        if changes.remote.find(home, deadline)?.is_some() {
            return Ok(Outcome::Replaced);
        }
        match changes.remote.rename(hidden, home, deadline) {
            // It never left, and somebody has removed it since.
            Err(error) if error.kind() == Kind::NotFound => Ok(Outcome::Home),
            renamed => renamed.map(|()| Outcome::Home),
        }
    }

    fn is_home(&self, stray: Stray, home: &RemotePath, hidden: &RemotePath) {
        let Some(Aside { ino, handle, .. }) = stray.aside else { return };
        self.blocks.moved(hidden, home);
        {
            let mut table = self.table.lock();
            table.unhidden(ino, (stray.parent, &stray.name));
            table.unhold(ino);
        }
        self.relocate();
        self.versions.moved(hidden, home);
        if let Some(draft) = self.draft(ino) {
            draft.keep();
        }
        self.release(handle);
    }

    fn is_replaced(&self, stray: Stray, hidden: &RemotePath, deadline: Deadline) {
        match stray.aside {
            Some(aside) => self.leave_aside(aside),
            // It is not there if it never left.
            None => {
                if let Err(error) = self.remove_any(hidden, deadline) {
                    log::debug!("{hidden} is still on the server: {error}");
                    self.remove_later(hidden.clone());
                }
            }
        }
    }

    /// Who has it open keeps it, and nobody removes it.
    fn give_up(&self, stray: Stray) {
        let Some(Aside { ino, handle, .. }) = stray.aside else { return };
        {
            let mut table = self.table.lock();
            table.unhide(ino);
            table.unhold(ino);
        }
        self.release(handle);
    }
}
