//! The path of changed bytes from a program to the server.
//!
//! A file that is being changed has one [`WriteFile`], whoever has it open: bytes go into a stage on the local
//! disk at once, can be read back from there at once, and are uploaded at the latest when somebody wants to
//! know that they are safe (flush, fsync). What is written in order is uploaded while it is written; a file
//! that only grew sends its tail; anything else sends the whole file, for which bytes that only the server
//! has are fetched first. An upload counts when the server has confirmed it and tells the right size.
//!
//! ```text
//! write -> stage --(in order)--> a stream on a thread of its own --.
//!            `---(flush, fsync)--------------------------------------+--> STOR or APPE, final reply, size
//! ```

mod at_once;
mod confirm;
mod file;
mod moves;
mod pump;
mod ranges;
mod reading;
mod stage;
mod staged;
mod upload;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::{FileId, FileVersion};
use crate::ftp::list::RemoteEntry;
use crate::read::{FileSource, OpenFile, ReadError};
use crate::remote::{self, Remote, RemotePath};
use crate::workers::Workers;

pub(crate) use file::now;
pub use file::{Attributes, WriteFile};
pub use moves::Moving;
pub use stage::{LocalStaging, Stage, Staging};

use moves::Moves;
use staged::Staged;

/// Streams that run at once, and that wait for a thread. One that finds no place is uploaded at flush.
const STREAMS: usize = 64;
const STREAMS_WAITING: usize = 1024;

/// Why a write, or reading back, failed.
#[derive(Clone, Debug)]
pub enum WriteError {
    /// It cannot be done at once and [`crate::read::Patience::CachedOnly`] was asked for.
    WouldBlock,
    /// The remote side.
    Remote(remote::Error),
    /// The local disk with the staged bytes.
    Local(Arc<io::Error>),
}

impl From<remote::Error> for WriteError {
    fn from(error: remote::Error) -> WriteError {
        WriteError::Remote(error)
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        WriteError::Local(Arc::new(error))
    }
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> WriteError {
        match error {
            ReadError::WouldBlock => WriteError::WouldBlock,
            ReadError::Remote(error) => WriteError::Remote(error),
        }
    }
}

/// What all writers of a mount share.
struct Shared {
    remote: Arc<Remote>,
    staging: Arc<dyn Staging>,
    files: Arc<dyn FileSource>,
    /// Counts the versions that broken uploads have left on the server.
    leavings: AtomicU64,
    moves: Moves,
    workers: Workers,
    /// The longest time without progress.
    bound: Duration,
    /// The server did not take APPE, or did not append: whole files are sent.
    appends_not: AtomicBool,
    /// Attributes that the server cannot set are no error.
    quiet: bool,
    /// The mount ends: one attempt must do.
    hurry: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Shared {
    /// The version that a broken upload of ours has left. Its number is none of those that
    /// [`crate::cache::Versions`] gives out, which count from the other end.
    fn leaving(&self, entry: &RemoteEntry) -> Option<Arc<FileVersion>> {
        let id = FileId(u64::MAX - self.leavings.fetch_add(1, Ordering::Relaxed));
        let version = FileVersion::new(id, entry.size?, entry.modified, entry.unique.clone());
        Some(Arc::new(version))
    }

    fn appends(&self) -> bool {
        !self.appends_not.load(Ordering::Relaxed)
    }
}

/// The writers of a mount.
#[derive(Clone, Debug)]
pub struct Writers(Arc<Shared>);

impl Writers {
    /// Writers that stage in `staging` and read what only the server has from `files`. `bound` is how long an upload is tried without any progress. With
    /// `quiet`, a mode or time that the server cannot set is no error.
    pub fn new(
        remote: Arc<Remote>,
        staging: Arc<dyn Staging>,
        files: Arc<dyn FileSource>,
        bound: Duration,
        quiet: bool,
    ) -> Writers {
        let workers = Workers::new("store", STREAMS, STREAMS_WAITING);
        let (appends_not, hurry, leavings, moves) = Default::default();
        Writers(Arc::new(Shared {
            remote,
            staging,
            files,
            leavings,
            moves,
            workers,
            bound,
            appends_not,
            quiet,
            hurry,
        }))
    }

    /// `path` is about to be renamed: no upload to it or below it begins until what is returned is dropped,
    /// which comes after [`WriteFile::moved`]. One that runs goes on, and follows if it fails for the new name.
    pub fn moving(&self, path: &RemotePath) -> Moving<'_> {
        self.0.moves.begin(path)
    }

    /// From now on an upload that breaks is not tried again.
    pub fn hurry(&self) {
        self.0.hurry.store(true, Ordering::Relaxed);
    }

    /// A file that is empty from now on, whatever the server has of that name. `mode` is what a new one gets.
    ///
    /// # Errors
    /// The local disk.
    pub fn create(&self, path: RemotePath, mode: Option<u16>) -> Result<Arc<WriteFile>, WriteError> {
        let staged = Staged::empty(self.0.staging.create(&path)?);
        Ok(Arc::new(WriteFile::new(self.0.clone(), path, staged, None, mode)))
    }

    /// A file that is about to be changed; `base` reads what the server has, which is `version`.
    ///
    /// # Errors
    /// The local disk.
    pub fn edit(
        &self,
        path: RemotePath,
        base: Arc<dyn OpenFile>,
        version: Arc<FileVersion>,
    ) -> Result<Arc<WriteFile>, WriteError> {
        let staged = Staged::unchanged(self.0.staging.create(&path)?, base.size());
        Ok(Arc::new(WriteFile::new(self.0.clone(), path, staged, Some((base, version)), None)))
    }
}
