//! The path of file data from the server to a reader.

use std::sync::Arc;

use crate::deadline::Deadline;
use crate::remote;

/// Whether a call may wait for the network.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Answer from memory or say `WouldBlock`.
    CachedOnly,
    /// Wait for the network until then.
    Until(Deadline),
}

/// Why a read gave no bytes.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// The bytes are not in memory and [`Patience::CachedOnly`] was asked for.
    WouldBlock,
    /// The remote side failed ([`remote::Kind::Changed`] when the file is another version now).
    Remote(remote::Error),
}

/// One version of one file, shared by all handles that have it open.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// Reads `len` bytes at `offset`, fewer only at the end of the file.
    pub fn read(self: &Arc<Self>, _offset: u64, _len: usize, _patience: Patience) -> Result<Vec<u8>, ReadError> {
        unimplemented!()
    }
}
