//! Renaming, as POSIX has it: an existing target is replaced, open files keep what they have.

use std::time::Instant;

use crate::deadline::Deadline;
use crate::ftp::list::EntryKind;
use crate::read::Patience;
use crate::remote::{self, Kind, Name};
use crate::vfs::astray::{Doubt, Left, Stray, Unsettled};
use crate::vfs::remove::Kept;
use crate::vfs::{Error, FileSystem};

/// RENAME_NOREPLACE of renameat2(2).
const NO_REPLACE: u32 = libc::RENAME_NOREPLACE;

impl FileSystem {
    /// Renames `name` in `parent` to `new_name` in `new_parent`; `flags` are those of renameat2(2). Unsent
    /// bytes of the file are sent first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for flags other than RENAME_NOREPLACE, [`Error::Exists`] with it,
    /// [`Error::NotFound`], [`Error::IsADirectory`], [`Error::NotADirectory`], and the server's refusals.
    pub fn rename(
        &self,
        (parent, name): (u64, &[u8]),
        (new_parent, new_name): (u64, &[u8]),
        flags: u32,
        patience: Patience,
    ) -> Result<(), Error> {
        let changes = self.changes()?;
        if flags & !NO_REPLACE != 0 {
            return Err(Error::InvalidArgument);
        }
        let (name, new_name) = (self.name_of_old(name)?, self.name(new_name)?);
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let (dir, new_dir) = {
            let table = self.table.lock();
            (table.path(parent)?, table.path(new_parent)?)
        };
        let (from, to) = (dir.join(&name), new_dir.join(&new_name));
        let entry = self.ask(&dir, &name, patience, Instant::now())?.entry;
        let entry = entry.filter(|entry| self.is_shown(entry)).ok_or(Error::NotFound)?;
        if from == to {
            return Ok(());
        }
        let target = self.ask(&new_dir, &new_name, patience, Instant::now())?.entry;
        if target.is_none() {
            let itself = (dir == new_dir).then_some(&name);
            self.refuse_other_case(&new_dir, &new_name, itself, patience)?;
        }
        match (&target, entry.kind) {
            (Some(_), _) if flags & NO_REPLACE != 0 => return Err(Error::Exists),
            (Some(target), EntryKind::Directory) if target.kind != EntryKind::Directory => {
                return Err(Error::NotADirectory);
            }
            (Some(target), kind) if kind != EntryKind::Directory && target.kind == EntryKind::Directory => {
                return Err(Error::IsADirectory);
            }
            _ => {}
        }
        if target.as_ref().is_some_and(|target| target.kind == EntryKind::Directory) && self.holds_unsent(&to)
        {
            return Err(Error::NotEmpty);
        }
        let ino = self.table.lock().number(parent, &name);
        if let Some((ino, draft)) = ino.and_then(|ino| Some((ino, self.draft(ino)?))) {
            self.settle(ino, &draft, patience)?;
        }
        // Uploads into what is renamed begin before or after it.
        let moving = changes.writers.moving(&from);
        let kept = match &target {
            Some(target) if target.kind != EntryKind::Directory => {
                self.clear_the_way(new_parent, &new_name, deadline)?
            }
            _ => Kept::Here(None, None),
        };
        let is_there = matches!(kept, Kept::Here(..));
        self.leave_both(&from, &to);
        let renamed = match changes.remote.rename(&from, &to, deadline) {
            Err(error) if is_there && target.is_some() && may_be_in_the_way(&error) => {
                self.replace(&from, &to, new_parent, &new_name, deadline, error)
            }
            other => other,
        };
        if let Err(error) = renamed {
            match kept {
                Kept::Aside(aside) => {
                    let (hidden, dir) = (aside.hidden.clone(), new_dir.clone());
                    let left = Left::Aside(aside);
                    let stray = Stray { parent: new_parent, dir, name: new_name, hidden, ino: None, left };
                    self.settle_after_failure(Unsettled::Stray(stray), deadline);
                }
                // Its bytes must not replace those of the file that may have its name.
                Kept::Here(Some((ino, draft)), _leaving) if !was_told(&error) => {
                    let (from, to) = (from.clone(), to.clone());
                    let doubt = Doubt { ino, draft, parent: new_parent, name: new_name, from, to };
                    self.settle_after_failure(Unsettled::Doubt(doubt), deadline);
                }
                // The file that was about to be replaced stays what it is.
                Kept::Here(here, _leaving) => {
                    here.iter().for_each(|(ino, draft)| self.keep(*ino, draft));
                    self.stop_wanting(here);
                }
            }
            if error.kind() == Kind::NotFound {
                self.directories.invalidate(&dir);
            }
            if !was_told(&error) {
                // The server may have done it, or do it yet.
                self.directories.invalidate(&dir);
                self.directories.invalidate(&new_dir);
                self.forget_blocks(entry.kind, &from, &to);
            }
            return Err(error.into());
        }
        // Before the readers come to know of their new paths.
        self.forget_blocks(entry.kind, &from, &to);
        // Nor is the new file ever taken for the version that it replaces: where times are told in minutes, both look alike.
        self.versions.forget(&to);
        self.versions.moved(&from, &to);
        let replaced = self.table.lock().renamed((parent, &name), (new_parent, &new_name));
        self.leave_both(&from, &to);
        self.relocate();
        drop(moving);
        self.touch(parent);
        self.touch(new_parent);
        self.directories.moved(&from, &to);
        self.remove_leftovers(deadline);
        if let Some(replaced) = replaced {
            self.lost_its_name(replaced);
        }
        match kept {
            Kept::Aside(aside) => self.leave_aside(aside),
            Kept::Here(here, _leaving) => self.stop_wanting(here),
        }
        if let Some(ino) = ino {
            self.let_go(ino);
        }
        Ok(())
    }

    /// What the disk has of either name is of another file by now.
    fn forget_blocks(&self, kind: EntryKind, from: &remote::RemotePath, to: &remote::RemotePath) {
        match kind {
            EntryKind::Directory => self.blocks.moved_directory(),
            _ => self.blocks.moved(from, to),
        }
    }

    /// What is on its way from either name is not kept.
    fn leave_both(&self, from: &remote::RemotePath, to: &remote::RemotePath) {
        self.files.leave(from);
        self.files.leave(to);
    }

    /// Makes sure that who has the target of a rename open keeps what it has.
    fn clear_the_way(&self, parent: u64, name: &Name, deadline: Deadline) -> Result<Kept<'_>, Error> {
        let kept = self.set_aside(parent, name, deadline)?;
        // Nothing of it is sent any more.
        if let Kept::Here(Some((ino, draft)), _) = &kept
            && let Err(error) = draft.discard(deadline)
        {
            self.stop_wanting(Some((*ino, draft.clone())));
            return Err(error.into());
        }
        Ok(kept)
    }

    /// Renames onto an existing name where RNTO refuses that (IIS and others): the target is moved away first,
    /// and back again if the rename fails.
    fn replace(
        &self,
        from: &remote::RemotePath,
        to: &remote::RemotePath,
        parent: u64,
        name: &Name,
        deadline: Deadline,
        refusal: remote::Error,
    ) -> Result<(), remote::Error> {
        let (Ok(changes), Ok(hidden)) = (self.changes(), self.hidden_name()) else { return Err(refusal) };
        let Some(dir) = to.parent() else { return Err(refusal) };
        let away = dir.join(&hidden);
        let ino = self.table.lock().number(parent, name);
        let left = Left::Perhaps { seen: false };
        let stray = Stray { parent, dir, name: name.clone(), hidden, ino, left };
        match changes.remote.rename(to, &away, deadline) {
            Ok(()) => {}
            // The first refusal tells more than that the target cannot be moved either.
            Err(error) if was_told(&error) => return Err(refusal),
            Err(error) => {
                self.settle_after_failure(Unsettled::Stray(stray), deadline);
                return Err(error);
            }
        }
        log::debug!("{to} is replaced by way of {away}, since the server refuses to do it: {refusal}");
        if let Err(error) = changes.remote.rename(from, to, deadline) {
            let stray = Stray { left: Left::Surely, ..stray };
            self.settle_after_failure(Unsettled::Stray(stray), deadline);
            return Err(error);
        }
        if let Err(error) = self.remove_any(&away, deadline) {
            log::warn!("the replaced {to} is still on the server as {away}: {error}");
            self.remove_later(away);
        }
        Ok(())
    }
}

/// Whether the server itself said so.
pub(super) fn was_told(error: &remote::Error) -> bool {
    !matches!(
        error.kind(),
        Kind::Failed
            | Kind::Garbled
            | Kind::Unreachable
            | Kind::DeadlinePassed
            | Kind::LoginFailed
            | Kind::Insecure
    )
}

/// Whether RNTO may have refused because the target exists.
fn may_be_in_the_way(error: &remote::Error) -> bool {
    matches!(error.kind(), Kind::Exists | Kind::Denied | Kind::BadName | Kind::Failed | Kind::Unsupported)
}
