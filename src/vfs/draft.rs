//! Files with changes of ours: from the first changed byte until the server has confirmed the last one.
//!
//! A changed file has a [`WriteFile`] here, through which all of its handles read and write. It goes when no
//! handle for writing is left and the server has everything; one that could not be uploaded stays, can be read,
//! and is tried again at the next flush, rename or unmount.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::read::Patience;
use crate::remote::{Kind, Name, Remote};
use crate::vfs::attr::Facts;
use crate::vfs::handle::FileHandle;
use crate::vfs::inode::Place;
use crate::vfs::{Error, FileSystem};
use crate::write::{Attributes, WriteError, WriteFile, Writers};

/// Changed files that are kept after an upload that failed; more would take up memory and open files for ever.
const KEPT: usize = 256;

/// Uploads at once at the end of a mount.
const AT_THE_END: usize = 32;

/// What a file system needs to change anything.
#[derive(Debug)]
pub struct Changes {
    /// The server.
    pub remote: Arc<Remote>,
    /// Uploads.
    pub writers: Writers,
    /// What the server cannot set (owners, modes, times) is no error.
    pub quiet: bool,
}

/// The changed files, by inode. Lock order: this, then handles, then the inode table.
pub(super) type Drafts = Mutex<HashMap<u64, Arc<WriteFile>>>;

impl FileSystem {
    /// What is needed to change something.
    ///
    /// # Errors
    /// [`Error::ReadOnly`].
    pub(super) fn changes(&self) -> Result<&Changes, Error> {
        self.changes.as_ref().ok_or(Error::ReadOnly)
    }

    pub(super) fn draft(&self, ino: u64) -> Option<Arc<WriteFile>> {
        self.drafts.lock().get(&ino).cloned()
    }

    /// The changes of the file of this name. The table is let go of first: whoever holds both took the drafts first.
    pub(super) fn draft_named(&self, parent: u64, name: &Name) -> Option<Arc<WriteFile>> {
        let ino = self.table.lock().number(parent, name);
        ino.and_then(|ino| self.draft(ino))
    }

    /// The changes of the file that `handle` has open for writing, begun if there are none.
    pub(super) fn draft_of(&self, handle: &FileHandle) -> Result<Arc<WriteFile>, Error> {
        let changes = self.changes()?;
        if let Some(draft) = self.draft(handle.ino) {
            return Ok(draft);
        }
        let (version, _) = handle.reader.as_ref().ok_or(Error::Stale)?;
        let path = self.table.lock().path(handle.ino)?;
        let base = self.files.open(path.clone(), version.clone());
        // Makes a file on the local disk, so not under the lock.
        let draft = changes.writers.edit(path.clone(), base, version.clone())?;
        let mut drafts = self.drafts.lock();
        if let Some(begun) = drafts.get(&handle.ino).cloned() {
            drop(drafts);
            draft.close();
            return Ok(begun);
        }
        let now = {
            let table = self.table.lock();
            if !table.is_current(handle.ino, version.id) {
                return Err(Error::Stale);
            }
            table.path(handle.ino)?
        };
        if now != path {
            // Renamed meanwhile, by who could not know of this draft.
            draft.moved(now);
        }
        self.begin(&mut drafts, handle.ino, draft.clone());
        Ok(draft)
    }

    /// Notes that `ino` has changes of ours now; the inode stays as long as they do.
    pub(super) fn begin(&self, drafts: &mut HashMap<u64, Arc<WriteFile>>, ino: u64, draft: Arc<WriteFile>) {
        drafts.insert(ino, draft);
        let mut table = self.table.lock();
        if let Ok(path) = table.path(ino) {
            self.files.leave(&path);
        }
        table.begin_change(ino);
        table.hold(ino);
    }

    /// Uploads what is unsent of `draft` and makes it known. Without patience, tells whether there is nothing
    /// to do.
    pub(super) fn settle(&self, ino: u64, draft: &Arc<WriteFile>, patience: Patience) -> Result<(), Error> {
        if !draft.is_dirty() {
            self.publish(ino, draft);
            return Ok(());
        }
        if let Patience::CachedOnly = patience {
            return Err(Error::WouldBlock);
        }
        let flushed = draft.flush();
        // Also after a failure: the bytes may be there, and only the time could not be set.
        self.publish(ino, draft);
        Ok(flushed?)
    }

    /// Makes known what the server has confirmed of `draft`, in the order in which it did.
    fn publish(&self, ino: u64, draft: &WriteFile) {
        let drafts = self.drafts.lock();
        self.publish_next(ino, draft);
        drop(drafts);
    }

    /// As [`FileSystem::publish`], by who holds the drafts.
    fn publish_next(&self, ino: u64, draft: &WriteFile) {
        let Some(mut entry) = draft.take_news() else { return };
        let Ok(Place::Entry { dir, name }) = self.table.lock().place(ino) else { return };
        if self.table.lock().is_unlinked(ino) {
            return;
        }
        let path = dir.join(&name);
        // vsftpd tells no mode here, and an upload changes none.
        let known = self.table.lock().facts(ino).and_then(|(facts, _)| facts.mode);
        entry.mode = entry.mode.or(known);
        self.directories.changed(&dir, &name, Some(entry.clone()));
        self.blocks.changed(&path);
        let version = self.versions.written(&path, &entry);
        self.table.lock().committed(ino, Facts::from(&entry), Instant::now(), version.as_ref());
        if let Some(version) = version.filter(|_| !draft.is_whole()) {
            draft.rebase(self.files.open(path, version));
        }
    }

    /// A change of an entry that has no unsent bytes is done on the server, which tells `entry` now.
    pub(super) fn changed(&self, ino: u64, entry: RemoteEntry) -> Result<(), Error> {
        let Place::Entry { dir, name } = self.table.lock().place(ino)? else { return Ok(()) };
        let path = dir.join(&name);
        self.directories.changed(&dir, &name, Some(entry.clone()));
        self.blocks.changed(&path);
        let version = match self.handles.is_open(ino) {
            true => self.versions.written(&path, &entry),
            false => None,
        };
        self.table.lock().committed(ino, Facts::from(&entry), Instant::now(), version.as_ref());
        if let Some(version) = version {
            let outdated = self.handles.rebase(ino, &version, || self.files.open(path, version.clone()));
            outdated.into_iter().for_each(|file| file.close());
        }
        Ok(())
    }

    /// Lets go of the draft of `ino` if nobody needs it any more; its readers go on with what the server has.
    pub(super) fn let_go(&self, ino: u64) {
        let mut drafts = self.drafts.lock();
        let Some(draft) = drafts.get(&ino).cloned() else { return };
        let gone = self.table.lock().is_unlinked(ino);
        let needed = match gone {
            // What was removed is read from here as long as somebody has it open.
            true => self.handles.is_open(ino),
            false => self.handles.is_written(ino) || draft.is_dirty() || draft.is_wanted(),
        };
        if needed {
            return;
        }
        self.publish_next(ino, &draft);
        drafts.remove(&ino);
        // See `begin`.
        self.table.lock().unhold(ino);
        if let Some(version) = draft.untouched().filter(|_| !gone) {
            // Nothing has come of it.
            let _ = self.table.lock().open(ino, &version);
        }
        let version = self.table.lock().version(ino);
        let outdated = match (gone, version) {
            (false, Some((path, version))) => {
                self.handles.rebase(ino, &version, || self.files.open(path, version.clone()))
            }
            _ => Vec::new(),
        };
        drop(drafts);
        outdated.into_iter().for_each(|file| file.close());
        draft.close();
    }

    /// What happens with a draft after its last handle for writing was closed. Nobody hears of errors here:
    /// close() has told them, and what was written through a mapping after close() has nobody to tell.
    pub(super) fn after_close(&self, ino: u64) {
        let Some(draft) = self.draft(ino) else { return };
        if !self.table.lock().is_unlinked(ino)
            && !self.handles.is_written(ino)
            && let Err(error) = self.settle(ino, &draft, Patience::Until(self.any_time()))
        {
            let path = self.path(ino).map(|path| path.to_string()).unwrap_or_default();
            if is_lost(&error, draft.is_new()) || self.drafts.lock().len() > KEPT {
                log::error!("{path} was not uploaded: {error}");
                self.abandon(ino, &draft);
                return;
            }
            log::error!(
                "{path} could not be uploaded: {error}; its {} bytes are kept until it is written, renamed or \
                 unmounted",
                draft.attributes().size
            );
        }
        self.let_go(ino);
    }

    /// Gives up a draft whose upload can never succeed.
    fn abandon(&self, ino: u64, draft: &Arc<WriteFile>) {
        let mut drafts = self.drafts.lock();
        let is_it = drafts.get(&ino).is_some_and(|now| Arc::ptr_eq(now, draft));
        if self.handles.is_written(ino) || !is_it {
            return;
        }
        // Who has it open is to be told that it is gone, and not that it is empty, as it was made.
        let Attributes { size, modified, mode, .. } = draft.attributes();
        let facts = Facts { kind: EntryKind::File, size: Some(size), modified, mode };
        self.table.lock().committed(ino, facts, Instant::now(), None);
        drafts.remove(&ino);
        drop(drafts);
        draft.close();
        let place = self.table.lock().place(ino);
        self.table.lock().unhold(ino);
        if let Ok(Place::Entry { dir, name }) = place {
            self.directories.unpin(&dir, &name);
            match draft.is_new() {
                true => self.directories.changed(&dir, &name, None),
                false => self.directories.invalidate(&dir),
            }
        }
        self.invalidations.everything(ino);
    }

    /// Uploads everything that is still unsent, at the end of a mount, each file with one attempt. Returns how
    /// many files were not.
    pub fn finish(&self) -> usize {
        let Ok(changes) = self.changes() else { return 0 };
        changes.writers.hurry();
        self.settle_doubts(self.any_time());
        let drafts: Vec<_> = self.drafts.lock().iter().map(|(&ino, draft)| (ino, draft.clone())).collect();
        let left = AtomicUsize::new(0);
        let send = |ino, draft: &Arc<WriteFile>| {
            if self.table.lock().is_unlinked(ino) {
                return;
            }
            if let Err(error) = self.settle(ino, draft, Patience::Until(self.any_time())) {
                let path = self.path(ino).map(|path| path.to_string()).unwrap_or_default();
                log::error!("{path} is lost, it could not be uploaded: {error}");
                left.fetch_add(1, Ordering::Relaxed);
            }
        };
        // All at once, since a server that is gone costs each the whole bound.
        for some in drafts.chunks(AT_THE_END) {
            std::thread::scope(|scope| {
                for (ino, draft) in some {
                    let send = &send;
                    scope.spawn(move || send(*ino, draft));
                }
            });
        }
        left.fetch_add(self.tell_of_doubts(), Ordering::Relaxed);
        self.remove_leftovers(self.any_time());
        left.into_inner()
    }
}

/// Whether another attempt would change nothing: the bytes that are missing for it no longer exist; or the server
/// refuses to have a new file there, which would otherwise be shown without ever being there.
fn is_lost(error: &Error, is_new: bool) -> bool {
    let Error::Remote(error) = error else { return false };
    match error.kind() {
        Kind::Changed => true,
        Kind::NotFound
        | Kind::Denied
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::BadName
        | Kind::Unsupported
        | Kind::Exists
        | Kind::NotEmpty
        | Kind::ReadOnly => is_new,
        Kind::NoSpace
        | Kind::OverQuota
        | Kind::LoginFailed
        | Kind::Insecure
        | Kind::Unreachable
        | Kind::DeadlinePassed
        | Kind::Garbled
        | Kind::Failed => false,
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Error {
        match error {
            WriteError::WouldBlock => Error::WouldBlock,
            WriteError::Remote(error) => Error::Remote(error),
            WriteError::Local(error) => Error::Local(error),
        }
    }
}
