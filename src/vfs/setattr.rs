//! Changes of attributes.

use std::time::Instant;

use crate::deadline::Deadline;
use crate::ftp::change::Wishes;
use crate::ftp::features::Capability;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::time::Modified;
use crate::read::Patience;
use crate::remote::{self, Kind};
use crate::vfs::attr::Facts;
use crate::vfs::inode::Place;
use crate::vfs::{Attr, Error, FileSystem, Timed};
use crate::write::now;

/// What shall change; `None`: it stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group. What is shown is the mount's, whatever the server's is.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last modification. The time of the last access cannot be kept, and is no error.
    pub modified: Option<SetTime>,
    /// The handle of ftruncate(2) and futimens(3).
    pub handle: Option<u64>,
}

/// A time that shall be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The current one (UTIME_NOW).
    Now,
    /// Seconds since 1970; FTP knows no fractions.
    At(i64),
}

impl FileSystem {
    /// Changes attributes (chmod(2), chown(2), truncate(2), utimensat(2)) and returns what they are then. A
    /// value that is there already is always fine.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for another owner, and for another group where the server does not set it; the
    /// server's refusals. Not with `quiet`, but for sizes.
    pub fn setattr(&self, ino: u64, set: SetAttr, patience: Patience) -> Result<Timed<Attr>, Error> {
        let changes = self.changes()?;
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let shown = self.getattr(ino, patience)?.value;
        let other_owner = set.uid.is_some_and(|uid| uid != shown.uid);
        if other_owner && !changes.quiet {
            return Err(Error::NotPermitted);
        }
        if let Some(group) = set.gid.filter(|&gid| gid != shown.gid && !other_owner) {
            match self.set_group(ino, group, shown.kind, deadline) {
                Err(Error::NotPermitted) if changes.quiet => {}
                done => done?,
            }
        }
        if let Some(size) = set.size {
            self.resize(ino, size, set.handle, patience)?;
        }
        let mode = set.mode.map(|mode| u16::try_from(mode & 0o7777).unwrap_or_default());
        let modified = set.modified.map(|time| match time {
            SetTime::Now => now(),
            SetTime::At(seconds) => Modified { seconds, ..now() },
        });
        let wishes = Wishes {
            mode: mode.filter(|&mode| mode != shown.mode && shown.kind != EntryKind::Symlink),
            // The exact time may be known to us and not to the server's listing, so it is told again.
            modified: modified.filter(|_| shown.kind != EntryKind::Symlink),
            group: None,
        };
        if wishes == Wishes::default() {
            return self.getattr(ino, patience);
        }
        match self.draft(ino) {
            Some(draft) => {
                draft.set(wishes.mode, wishes.modified);
                if !draft.attributes().is_unsent {
                    self.settle(ino, &draft, patience)?;
                    self.let_go(ino);
                }
            }
            None => {
                let Place::Entry { dir, name } = self.table.lock().place(ino)? else {
                    // The root is not ours to change.
                    return if changes.quiet {
                        self.getattr(ino, patience)
                    } else {
                        Err(Error::NotPermitted)
                    };
                };
                let path = dir.join(&name);
                match changes.remote.set(&path, &wishes, deadline) {
                    Ok(entry) => self.took(ino, entry, &wishes)?,
                    Err(error) if changes.quiet || is_harmless(&error, &shown, &wishes) => {
                        log::debug!("{path} keeps its attributes: {error}");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.getattr(ino, patience)
    }

    /// Has the server give a file or directory to one of its groups (chgrp(1)).
    ///
    /// # Errors
    /// [`Error::NotPermitted`] where it does not: programs that keep a group where they can (cp -p, tar) take no other
    /// errno for that. Failures of the way to the server, and of an upload that has to come first.
    fn set_group(&self, ino: u64, group: u32, kind: EntryKind, deadline: Deadline) -> Result<(), Error> {
        let changes = self.changes()?;
        // The server would give the target of a link away.
        let settable = matches!(kind, EntryKind::File | EntryKind::Directory);
        if !settable || changes.remote.profile().chgrp() == Capability::No {
            return Err(Error::NotPermitted);
        }
        let path = || match self.table.lock().place(ino) {
            Ok(Place::Entry { dir, name }) => Ok(dir.join(&name)),
            // The root is not ours to change, and what was removed has no name.
            Ok(Place::Root) | Err(_) => Err(Error::NotPermitted),
        };
        path()?;
        if let Some(draft) = self.draft(ino) {
            // It must be on the server, and a refusal must be told now: at close() it would be that of the bytes.
            self.settle(ino, &draft, Patience::Until(deadline))?;
            self.let_go(ino);
        }
        let (path, wishes) = (path()?, Wishes { group: Some(group), ..Wishes::default() });
        match changes.remote.set(&path, &wishes, deadline) {
            Ok(entry) if self.draft(ino).is_none() => self.took(ino, entry, &wishes),
            Ok(_) => Ok(()),
            Err(error) if changes.quiet || matches!(error.kind(), Kind::Unsupported | Kind::Denied) => {
                log::debug!("{path} keeps its group: {error}");
                Err(Error::NotPermitted)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn resize(&self, ino: u64, size: u64, handle: Option<u64>, patience: Patience) -> Result<(), Error> {
        if self.draft(ino).is_none() && self.getattr(ino, patience)?.value.size == size {
            return Ok(());
        }
        let open = handle.and_then(|handle| self.handles.file(handle).ok()).filter(|open| open.writable);
        if let Some(open) = open {
            self.draft_of(&open)?.truncate(size)?;
            return Ok(());
        }
        // truncate(2) has no close() that could tell of a failure.
        let flags = if size == 0 { libc::O_WRONLY | libc::O_TRUNC } else { libc::O_WRONLY };
        let opened = self.open(ino, flags, patience)?;
        let done = self.handles.file(opened.handle).and_then(|open| {
            self.draft_of(&open)?.truncate(size)?;
            self.flush(opened.handle, patience)
        });
        self.release(opened.handle);
        done
    }

    /// The server has set what was wished.
    fn took(&self, ino: u64, told: Option<RemoteEntry>, wishes: &Wishes) -> Result<(), Error> {
        let Place::Entry { dir, name } = self.table.lock().place(ino)? else { return Ok(()) };
        let (facts, _) = self.table.lock().facts(ino).ok_or(Error::Stale)?;
        let known = self.directories.cached(&dir, &name, Instant::now()).and_then(|answer| answer.entry);
        let base =
            known.map_or_else(|| entry_of(name.as_bytes(), &facts), |entry| RemoteEntry::clone(&entry));
        let told = told.filter(|told| told.kind == facts.kind);
        let told_time = told.as_ref().and_then(|told| told.modified);
        let entry = RemoteEntry {
            size: told.as_ref().and_then(|told| told.size).or(base.size),
            modified: told_time.or(wishes.modified).or(base.modified),
            mode: wishes.mode.or(told.and_then(|told| told.mode)).or(base.mode),
            ..base
        };
        self.changed(ino, entry)
    }
}

fn entry_of(name: &[u8], facts: &Facts) -> RemoteEntry {
    let Facts { kind, size, modified, mode } = *facts;
    RemoteEntry { name: name.into(), kind, size, modified, mode, link_target: None, unique: None }
}

/// The time of a directory changes by itself with every entry, and vsftpd and pyftpdlib cannot set it; tar,
/// rsync and cp -a would fail for nothing.
fn is_harmless(error: &remote::Error, shown: &Attr, wishes: &Wishes) -> bool {
    let is_time_of_directory = shown.kind == EntryKind::Directory && wishes.mode.is_none();
    is_time_of_directory && matches!(error.kind(), Kind::Unsupported | Kind::Denied | Kind::Failed)
}
