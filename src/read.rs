//! The path of file data from the server to a reader.
//!
//! All handles of one version of a file share a [`Reader`]. It looks for bytes in the block cache and in its
//! running streams; what is nowhere is fetched by a stream: one RETR from the first missing byte on, run by
//! a thread of its own, which publishes what arrives and stays a window ahead of the reader. A short step
//! forward is read through, a jump starts another stream. A stream that has nothing to do is parked and gives
//! its connection up when somebody else needs it; it goes on later from its offset. Whole files that will be read
//! soon are fetched [`ahead`] of all that. Where one connection does not bring what the link could, a file that is read
//! in order is fetched in [`segments`] side by side.
//!
//! Before a stream is begun the local disk is asked, if blocks are kept there; who finds all in memory does not
//! wait for it.

pub mod ahead;
mod disk;
mod reader;
pub mod segments;
mod source;
mod spread;
mod stream;
pub mod window;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::{BlockCache, DirectoryCache, FileVersion, Prefetch};
use crate::deadline::Deadline;
use crate::read::ahead::{Ahead, Limits};
use crate::read::segments::{Bounds, Learned};
use crate::read::window::Pace;
use crate::remote::{self, Remote, RemotePath};
use crate::workers::Workers;

pub use reader::Reader;
pub use source::{FileSource, OpenFile};

/// Streams that run at once; more wait for their turn. Each may hold a connection, most just wait for one.
const STREAMS: usize = 64;
/// Streams that wait for a thread; a file's reader waits with them.
const STREAMS_WAITING: usize = 4096;
/// A stream fetches ahead of its reader by no more than this, nor by more than an eighth of the cache.
const LARGEST_WINDOW: u64 = 8 * 1024 * 1024;

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

/// What all readers of a mount share.
#[derive(Debug)]
struct Sources {
    remote: Arc<Remote>,
    blocks: Arc<BlockCache>,
    workers: Workers,
    /// Bytes that a stream may be ahead of its reader.
    window: u64,
    prefetch: Prefetch,
    /// How long a stream waits for a connection.
    patience: Duration,
    /// What transfers have cost so far.
    pace: Mutex<Pace>,
    /// What bounds the segments of a file that is read in order.
    bounds: Bounds,
    /// How many of them at once were of use.
    learned: Mutex<Learned>,
    /// Files that are fetched so now.
    spread: Arc<AtomicUsize>,
    /// Streams that run, of all files.
    running: AtomicUsize,
    ahead: Ahead,
}

/// What bounds the readers of a mount.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes that the block cache holds.
    pub cache_size: usize,
    /// The most connections that there may be.
    pub connections: usize,
    /// The bound of a stream's wait for a connection.
    pub patience: Duration,
    /// What is fetched that nobody has asked for.
    pub prefetch: Prefetch,
}

/// The readers of a mount.
#[derive(Debug)]
pub struct Readers(Arc<Sources>);

impl Readers {
    /// Readers that keep what they fetch in `blocks`; what they learn of files meanwhile goes to `directories`.
    pub fn new(
        remote: Arc<Remote>,
        blocks: Arc<BlockCache>,
        directories: Arc<DirectoryCache>,
        config: Config,
    ) -> Readers {
        let eighth = u64::try_from(config.cache_size / 8).unwrap_or(u64::MAX);
        let limits = Limits::of(config.connections, config.cache_size, config.prefetch);
        Readers(Arc::new(Sources {
            ahead: Ahead::new(remote.clone(), blocks.clone(), directories, config.connections, limits),
            remote,
            blocks,
            workers: Workers::new("fetch", STREAMS, STREAMS_WAITING),
            window: eighth.min(LARGEST_WINDOW),
            bounds: match config.prefetch {
                Prefetch::Off => Bounds::of(1, config.cache_size, false),
                Prefetch::Auto => Bounds::of(config.connections, config.cache_size, false),
                Prefetch::Eager => Bounds::of(config.connections, config.cache_size, true),
            },
            learned: Mutex::default(),
            spread: Arc::default(),
            running: AtomicUsize::new(0),
            prefetch: config.prefetch,
            patience: config.patience,
            pace: Mutex::default(),
        }))
    }

    /// Opens one version of a file; no round trip.
    pub fn open(&self, path: RemotePath, version: Arc<FileVersion>) -> Arc<Reader> {
        Arc::new(Reader::new(self.0.clone(), path, version))
    }
}
