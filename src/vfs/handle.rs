//! What is open: files, whose handles share one reader per version, and frozen directory listings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::cache::{FileId, FileVersion, Frozen, WholeFile};
use crate::deadline::Deadline;
use crate::read::OpenFile;
use crate::remote::RemotePath;
use crate::vfs::Error;

/// An open file.
#[derive(Clone)]
pub(super) struct FileHandle {
    pub(super) ino: u64,
    /// The version that it reads; `None` while the file has changes of ours and was opened since.
    pub(super) reader: Option<(Arc<FileVersion>, Arc<dyn OpenFile>)>,
    pub(super) writable: bool,
    /// The kernel reads it by itself.
    passed: bool,
}

/// What the kernel reads by itself of an inode: one file for all handles, and there are no others then.
struct Passed {
    file: Arc<WholeFile>,
    /// The version that `file` is.
    version: Arc<FileVersion>,
    handles: usize,
}

/// Why a handle cannot be had.
pub(super) enum Occupied {
    /// The kernel reads this version by itself, and the handle that is asked for cannot be had beside that.
    Passed(Arc<FileVersion>),
    /// The file is being removed or replaced: see [`Handles::leave_unless_open`].
    Leaving,
}

/// A file that nobody has open loses its name on the server: it cannot be opened until this is dropped, for what is read
/// then would be another file's.
#[derive(Debug)]
pub(super) struct Leaving<'a> {
    handles: &'a Handles,
    ino: u64,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handles").finish_non_exhaustive()
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut open = self.handles.0.lock();
        if let Some(position) = open.leaving.iter().position(|&ino| ino == self.ino) {
            open.leaving.swap_remove(position);
        }
        drop(open);
        self.handles.1.notify_all();
    }
}

/// A handle of a version.
pub(super) struct Opened {
    pub(super) handle: u64,
    /// What the kernel shall read by itself.
    pub(super) whole: Option<Arc<WholeFile>>,
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
pub(super) struct Handles(Mutex<Open>, Condvar);

#[derive(Default)]
struct Open {
    last: u64,
    files: HashMap<u64, FileHandle>,
    /// The reader of each inode and version, and how many handles use it.
    readers: HashMap<(u64, FileId), (Arc<dyn OpenFile>, usize)>,
    users: HashMap<u64, Users>,
    /// Inodes that nobody may open; see [`Leaving`].
    leaving: Vec<u64>,
    directories: HashMap<u64, DirHandle>,
}

/// How many handles an inode has.
#[derive(Default)]
struct Users {
    all: usize,
    writing: usize,
    passed: Option<Passed>,
}

impl Users {
    /// One handle less that the kernel reads by itself. Returns what none reads any more, to be dropped without the lock.
    fn leave_passed(&mut self) -> Option<Passed> {
        if let Some(passed) = &mut self.passed {
            passed.handles -= 1;
        }
        self.passed.take_if(|passed| passed.handles == 0)
    }
}

impl Open {
    fn add(&mut self, file: FileHandle) -> u64 {
        let users = self.users.entry(file.ino).or_default();
        users.all += 1;
        users.writing += usize::from(file.writable);
        self.last += 1;
        self.files.insert(self.last, file);
        self.last
    }

    /// One handle less of a version; returns its reader if that was the last one.
    fn leave(&mut self, ino: u64, version: FileId) -> Option<Arc<dyn OpenFile>> {
        let (_, users) = self.readers.get_mut(&(ino, version))?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        self.readers.remove(&(ino, version)).map(|(file, _)| file)
    }
}

impl Handles {
    /// A new handle of `version`; `open` makes the reader if no other handle has it. The kernel is given `whole` to read
    /// by itself if it has no handle of the inode, or what it reads already if it does so with this version.
    ///
    /// # Errors
    /// [`Occupied`]
    pub(super) fn open_file(
        &self,
        ino: u64,
        version: &Arc<FileVersion>,
        (writable, may_pass): (bool, bool),
        mut whole: Option<Arc<WholeFile>>,
        open: impl FnOnce() -> Arc<dyn OpenFile>,
    ) -> Result<Opened, Occupied> {
        let mut handles = self.0.lock();
        if handles.leaving.contains(&ino) {
            return Err(Occupied::Leaving);
        }
        let all = handles.users.entry(ino).or_default();
        let whole = match &mut all.passed {
            Some(passed) => {
                let is_same = passed.version.id == version.id && passed.file.is_good();
                if !may_pass || !is_same {
                    return Err(Occupied::Passed(passed.version.clone()));
                }
                passed.handles += 1;
                Some(passed.file.clone())
            }
            None => {
                // What is not taken is dropped without the lock: to close it may take the disk some time.
                let whole = if all.all == 0 && may_pass { whole.take() } else { None };
                all.passed = whole.clone().map(|file| Passed { file, version: version.clone(), handles: 1 });
                whole
            }
        };
        let (file, users) = handles.readers.entry((ino, version.id)).or_insert_with(|| (open(), 0));
        *users += 1;
        let reader = Some((version.clone(), file.clone()));
        let handle = handles.add(FileHandle { ino, reader, writable, passed: whole.is_some() });
        Ok(Opened { handle, whole })
    }

    /// The kernel does not read `handle` by itself: it did not take what it was given.
    pub(super) fn not_passed(&self, handle: u64) {
        let _unused;
        let mut handles = self.0.lock();
        let Some(file) = handles.files.get_mut(&handle).filter(|file| file.passed) else { return };
        file.passed = false;
        let ino = file.ino;
        _unused = handles.users.get_mut(&ino).and_then(Users::leave_passed);
        drop(handles);
    }

    /// The version of the inode that the kernel reads by itself.
    pub(super) fn passed(&self, ino: u64) -> Option<Arc<FileVersion>> {
        Some(self.0.lock().users.get(&ino)?.passed.as_ref()?.version.clone())
    }

    /// A new handle of a file with changes of ours, which has no version yet.
    pub(super) fn open_draft(&self, ino: u64, writable: bool) -> u64 {
        self.0.lock().add(FileHandle { ino, reader: None, writable, passed: false })
    }

    /// Whether a handle of another version of the inode is open.
    pub(super) fn has_other_version(&self, ino: u64, version: FileId) -> bool {
        self.0.lock().readers.keys().any(|&(of, other)| of == ino && other != version)
    }

    /// Keeps an inode from being opened by [`Handles::open_file`] while it loses its name. `None`: it is open.
    pub(super) fn leave_unless_open(&self, ino: u64) -> Option<Leaving<'_>> {
        let mut handles = self.0.lock();
        if handles.users.contains_key(&ino) {
            return None;
        }
        handles.leaving.push(ino);
        Some(Leaving { handles: self, ino })
    }

    /// Waits until an inode may be opened; false if that is not before the deadline.
    pub(super) fn wait_for_leaving(&self, ino: u64, deadline: Deadline) -> bool {
        let mut handles = self.0.lock();
        while handles.leaving.contains(&ino) {
            if self.1.wait_until(&mut handles, deadline.instant()).timed_out() {
                return false;
            }
        }
        true
    }

    /// Whether the inode has a handle.
    pub(super) fn is_open(&self, ino: u64) -> bool {
        self.0.lock().users.contains_key(&ino)
    }

    /// Whether the inode has a handle for writing.
    pub(super) fn is_written(&self, ino: u64) -> bool {
        self.0.lock().users.get(&ino).is_some_and(|users| users.writing > 0)
    }

    /// # Errors
    /// [`Error::BadHandle`].
    pub(super) fn file(&self, handle: u64) -> Result<FileHandle, Error> {
        self.0.lock().files.get(&handle).cloned().ok_or(Error::BadHandle)
    }

    /// Ends a handle; returns it, and the reader if that was its last one.
    pub(super) fn release_file(&self, handle: u64) -> Option<(FileHandle, Option<Arc<dyn OpenFile>>)> {
        // Dropped after the lock.
        let mut _passed = None;
        let mut handles = self.0.lock();
        let file = handles.files.remove(&handle)?;
        if let Some(users) = handles.users.get_mut(&file.ino) {
            users.all -= 1;
            users.writing -= usize::from(file.writable);
            if file.passed {
                _passed = users.leave_passed();
            }
            if users.all == 0 {
                handles.users.remove(&file.ino);
            }
        }
        let unused = file.reader.as_ref().and_then(|(version, _)| handles.leave(file.ino, version.id));
        Some((file, unused))
    }

    /// All handles of the inode read `version` from now on. Returns the readers that nobody uses any more.
    pub(super) fn rebase(
        &self,
        ino: u64,
        version: &Arc<FileVersion>,
        open: impl FnOnce() -> Arc<dyn OpenFile>,
    ) -> Vec<Arc<dyn OpenFile>> {
        let mut handles = self.0.lock();
        let of_file: Vec<u64> =
            handles.files.iter().filter(|(_, file)| file.ino == ino).map(|(&handle, _)| handle).collect();
        if of_file.is_empty() {
            return Vec::new();
        }
        let reader = match handles.readers.get(&(ino, version.id)) {
            Some((file, _)) => file.clone(),
            None => open(),
        };
        let mut unused = Vec::new();
        handles.readers.entry((ino, version.id)).or_insert_with(|| (reader.clone(), 0)).1 += of_file.len();
        for handle in of_file {
            let Some(file) = handles.files.get_mut(&handle) else { continue };
            let old = file.reader.replace((version.clone(), reader.clone()));
            if let Some((old, _)) = old {
                unused.extend(handles.leave(ino, old.id));
            }
        }
        unused
    }

    /// Tells every reader where its file is now.
    pub(super) fn relocate(&self, place: impl Fn(u64) -> Option<RemotePath>) {
        let readers: Vec<_> =
            self.0.lock().readers.iter().map(|(&(ino, _), (file, _))| (ino, file.clone())).collect();
        for (ino, file) in readers {
            if let Some(path) = place(ino) {
                file.moved(path);
            }
        }
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
