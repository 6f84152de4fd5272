//! What a reader has of its file on the local disk.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::stream;
use crate::cache::block::BLOCK;
use crate::cache::{DiskFile, WholeFile};
use crate::deadline::Deadline;
use crate::ftp::features::Capability;
use crate::read::{Reader, Sources};
use crate::remote::{Lane, RemotePath};

/// Bound for the question that saves a transfer.
const LOOK: Duration = Duration::from_secs(5);

/// The file of one reader on the disk.
#[derive(Debug)]
pub(super) struct Disk {
    /// `None` where nothing is kept on a disk.
    file: Option<Mutex<DiskFile>>,
    /// The server was asked for the file's time to the second, which it tells once or never.
    asked: AtomicBool,
}

impl Disk {
    pub(super) fn new(sources: &Sources, path: &RemotePath) -> Disk {
        let file = sources.blocks.disk().map(|disk| Mutex::new(disk.file(path)));
        Disk { file, asked: AtomicBool::new(false) }
    }

    pub(super) fn is_used(&self) -> bool {
        self.file.is_some()
    }

    /// The file has another path now.
    pub(super) fn moved(&self, sources: &Sources, path: &RemotePath) {
        if let (Some(file), Some(disk)) = (&self.file, sources.blocks.disk()) {
            *file.lock() = disk.file(path);
        }
    }

    /// The bytes from `at` on, as far as their block is on the disk: `bytes[range]`, never empty. They are in
    /// memory from then on.
    pub(super) fn find(
        &self,
        reader: &Reader,
        at: u64,
        deadline: Deadline,
    ) -> Option<(Arc<[u8]>, Range<usize>)> {
        let file = self.file.as_ref()?.lock().clone();
        let (version, blocks) = (&reader.version, &reader.sources.blocks);
        let (begin, bytes) =
            blocks.disk()?.get(&file, version, at / BLOCK as u64, || self.confirm(reader, deadline))?;
        blocks.insert(version.id, begin, bytes.clone());
        let from = usize::try_from(at.checked_sub(begin)?).ok()?;
        let range = from..bytes.len();
        (!range.is_empty()).then_some((bytes, range))
    }

    /// The file as one on the disk, for the kernel to read. Reads the disk.
    pub(super) fn whole(&self, reader: &Reader, deadline: Deadline) -> Option<Arc<WholeFile>> {
        let file = self.file.as_ref()?.lock().clone();
        let disk = reader.sources.blocks.disk()?;
        disk.whole(&file, &reader.version, deadline, || self.confirm(reader, deadline))
    }

    /// Nobody reads it any more: if all of it is on the disk, the next one may have it as one file.
    pub(super) fn seal(&self, reader: &Reader) {
        if let (Some(file), Some(disk)) = (&self.file, reader.sources.blocks.disk()) {
            disk.seal(&file.lock(), &reader.version);
        }
    }

    /// Whether the time of the file is known to the second, after a question if need be.
    fn confirm(&self, reader: &Reader, deadline: Deadline) -> bool {
        let remote = &reader.sources.remote;
        let is_told = remote.profile().mlst() == Capability::Yes || remote.profile().mdtm() != Capability::No;
        if is_told && !self.asked.swap(true, Ordering::Relaxed) {
            let (path, by) = (reader.path(), deadline.at_most(LOOK));
            // It may have to wait for a connection, as the transfer would that it saves.
            let lease = remote.lease("read", &path, Lane::Metadata, by);
            let facts = lease.ok().and_then(|mut lease| lease.session()?.facts(path.as_bytes(), by).ok());
            // One that has changed is left to the transfer that follows.
            if facts.is_none_or(|facts| stream::changed(reader, &facts).is_some()) {
                return false;
            }
        }
        reader.version.is_exact()
    }

    /// Whether what is fetched from now on may go to the disk.
    pub(super) fn takes(&self, reader: &Reader) -> bool {
        self.is_used() && reader.sources.blocks.disk().is_some_and(|disk| disk.takes(&reader.version))
    }

    /// Has a block kept that [`Disk::takes`] agreed to. Does not wait.
    pub(super) fn keep(&self, reader: &Reader, begin: u64, bytes: Arc<[u8]>) {
        if let (Some(file), Some(disk)) = (&self.file, reader.sources.blocks.disk()) {
            disk.put(&file.lock(), &reader.version, begin, bytes);
        }
    }

    /// The file was seen to be another version; what came of it is in doubt.
    pub(super) fn forget(&self, reader: &Reader) {
        if let (Some(file), Some(disk)) = (&self.file, reader.sources.blocks.disk()) {
            let file = file.lock().clone();
            disk.forget_file(&file);
        }
    }
}
