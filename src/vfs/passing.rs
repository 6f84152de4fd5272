//! Files that are whole on the local disk, which the kernel reads by itself (FUSE passthrough).
//!
//! Of one inode the kernel reads either all handles by itself, and all from one file, or none. So what cannot be had
//! beside such handles, one for writing or one of another version, is given to a new inode: the name stands for that
//! from then on, and who has the old one open keeps what was opened, as after a rename onto a file of a local disk. The
//! kernel finds the new inode by itself: it answers ESTALE by looking the name up once more.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::cache::{DiskCache, FileId, FileVersion, WholeFile};
use crate::read::{OpenFile, Patience};
use crate::remote::{Name, RemotePath};
use crate::vfs::{Error, FileSystem};

/// Versions that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Versions that the kernel is not given to read by itself: somebody is about to open them for writing, and could not if
/// a reader of the new inode came first. The kernel looks a name up only once more.
pub(super) struct Unpassed(LruCache<FileId, ()>);

/// A version of which there is a file that the kernel can read.
pub(super) struct Passable {
    pub(super) reader: Arc<dyn OpenFile>,
    pub(super) whole: Arc<WholeFile>,
}

impl Default for Unpassed {
    fn default() -> Self {
        Unpassed(LruCache::new(REMEMBERED))
    }
}

impl FileSystem {
    /// The kernel takes files to read by itself.
    pub fn pass(&self) {
        self.set_passing(true);
    }

    /// The kernel did not take the file that [`FileSystem::open`] gave it with this handle, nor will it take another:
    /// the handle is read like any other.
    pub fn not_passed(&self, handle: u64) {
        self.set_passing(false);
        self.handles.not_passed(handle);
    }

    fn set_passing(&self, wanted: bool) {
        if let Some(disk) = self.blocks.disk() {
            disk.set_passing(wanted);
        }
    }

    /// A reader of `version`, and the file that the kernel can read in its place, where there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`], since the local disk has to be read for it. [`Error::Parted`] if the file was changed while
    /// that was done.
    pub(super) fn passing(
        &self,
        ino: u64,
        path: &RemotePath,
        version: &Arc<FileVersion>,
        patience: Patience,
    ) -> Result<Option<Passable>, Error> {
        let may_pass = |disk: &DiskCache| disk.may_pass(version.size);
        let is_wanted = self.blocks.disk().is_some_and(may_pass)
            && !self.handles.is_open(ino)
            && !self.unpassed.lock().0.contains(&version.id);
        if !is_wanted {
            return Ok(None);
        }
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let reader = self.files.open(path.clone(), version.clone());
        let whole = reader.whole(deadline);
        if !self.versions.is_latest(path, version.id) {
            // To open the old version would take the new one from who has it open.
            return Err(Error::Parted);
        }
        // Somebody may want to write it by now.
        let whole = whole.filter(|_| !self.unpassed.lock().0.contains(&version.id));
        Ok(whole.map(|whole| Passable { reader, whole }))
    }

    /// Gives the name of `ino`, of which the kernel reads `version` by itself, to a new inode.
    pub(super) fn part(&self, ino: u64, version: &FileVersion) -> Error {
        self.unpassed.lock().0.put(version.id, ());
        self.table.lock().parted(ino, version);
        self.invalidations.everything(ino);
        Error::Parted
    }

    /// What is to be written, and is known as version `id`, cannot be what the kernel reads by itself.
    ///
    /// # Errors
    /// [`Error::Parted`] if it was.
    pub(super) fn make_way(&self, ino: u64, id: FileId) -> Result<(), Error> {
        let Some(version) = self.handles.passed(ino) else { return Ok(()) };
        self.unpassed.lock().0.put(id, ());
        Err(self.part(ino, &version))
    }

    /// Why an inode has no place: the name of one that lost it, by [`FileSystem::part`] too, is to be looked up anew.
    pub(super) fn why_nowhere(&self, ino: u64, error: Error) -> Error {
        match self.table.lock().is_unlinked(ino) {
            true => Error::Parted,
            false => error,
        }
    }

    /// As [`FileSystem::part`], for the inode of this name, if it is such a one.
    pub(super) fn part_named(&self, parent: u64, name: &Name) {
        let ino = self.table.lock().number(parent, name);
        if let Some((ino, version)) = ino.and_then(|ino| Some((ino, self.handles.passed(ino)?))) {
            self.part(ino, &version);
        }
    }
}
