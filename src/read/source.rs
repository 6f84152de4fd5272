//! Where the bytes of files come from, as the file system sees it.

use std::sync::Arc;

use crate::cache::FileVersion;
use crate::read::{Patience, ReadError, Reader, Readers};
use crate::remote::RemotePath;

/// Where the bytes of files come from. [`Readers`] in the program; a script in tests.
pub trait FileSource: Send + Sync {
    /// Opens one version of the file at `path`. Makes no round trip.
    fn open(&self, path: RemotePath, version: Arc<FileVersion>) -> Arc<dyn OpenFile>;
}

/// One version of one file.
pub trait OpenFile: Send + Sync + std::fmt::Debug {
    /// As [`Reader::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&self, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, ReadError>;
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
}

impl OpenFile for Arc<Reader> {
    fn read(&self, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, ReadError> {
        Reader::read(self, offset, len, patience)
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
