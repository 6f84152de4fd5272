//! Where the bytes of files come from, as the file system sees it.

use std::sync::Arc;

use crate::cache::{FileVersion, WholeFile};
use crate::deadline::Deadline;
use crate::read::ahead::{Need, Wanted};
use crate::read::{Patience, ReadError, Reader, Readers};
use crate::remote::RemotePath;

/// Where the bytes of files come from. [`Readers`] in the program; a script in tests.
pub trait FileSource: Send + Sync {
    /// Opens one version of the file at `path`. Makes no round trip.
    fn open(&self, path: RemotePath, version: Arc<FileVersion>) -> Arc<dyn OpenFile>;
    /// Fetches files that will be read soon, on connections that nobody needs; with none, goes on with those that
    /// are left. Never waits.
    fn fetch_ahead(&self, files: Vec<Wanted>) {
        drop(files);
    }
    /// Waits for what is being asked about the file at `path` ahead of its next open; true if something was.
    fn settle(&self, path: &RemotePath, deadline: Deadline) -> bool {
        let _ = (path, deadline);
        false
    }
    /// Something is done to `path`, or to all below it, through this mount: what is on its way from there is not
    /// kept. To be called before, and again when it is done.
    fn leave(&self, path: &RemotePath) {
        let _ = path;
    }
}

/// One version of one file.
pub trait OpenFile: Send + Sync + std::fmt::Debug {
    /// As [`Reader::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&self, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, ReadError>;
    /// As [`Reader::whole`].
    fn whole(&self, deadline: Deadline) -> Option<Arc<WholeFile>> {
        let _ = deadline;
        None
    }
    /// As [`Reader::size`].
    fn size(&self) -> u64;
    /// As [`Reader::moved`].
    fn moved(&self, path: RemotePath);
    /// As [`Reader::close`]: nobody will read again.
    fn close(&self);
}

impl FileSource for Readers {
    fn open(&self, path: RemotePath, version: Arc<FileVersion>) -> Arc<dyn OpenFile> {
        Arc::new(Readers::open(self, path, version))
    }

    fn fetch_ahead(&self, files: Vec<Wanted>) {
        self.0.ahead.fetch(files);
    }

    fn settle(&self, path: &RemotePath, deadline: Deadline) -> bool {
        self.0.ahead.settle(path, Need::Facts, deadline)
    }

    fn leave(&self, path: &RemotePath) {
        self.0.ahead.leave(path);
    }
}

impl OpenFile for Arc<Reader> {
    fn read(&self, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, ReadError> {
        Reader::read(self, offset, len, patience)
    }

    fn whole(&self, deadline: Deadline) -> Option<Arc<WholeFile>> {
        Reader::whole(self, deadline)
    }

    fn size(&self) -> u64 {
        Reader::size(self)
    }

    fn moved(&self, path: RemotePath) {
        Reader::moved(self, path);
    }

    fn close(&self) {
        Reader::close(self);
    }
}
