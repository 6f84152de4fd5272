//! How much of the disk all blocks take, known to all mounts that share the directory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::store::open_private;
use crate::sys;

/// The ledger, locked: nobody else writes blocks or throws any out until it is dropped.
///
/// It is never below what the blocks take: room is entered before a block is written, and taken out when it is
/// gone. What a process that died has left too much is found by the next mount, which counts.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    used: u64,
    count: u64,
}

impl Ledger {
    /// Waits for the lock and reads.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn lock(path: &Path) -> io::Result<Ledger> {
        let file = open_private(path)?;
        // Given back when the file is closed, however this process ends.
        sys::lock(&file)?;
        let mut bytes = [0; 16];
        // One that was cut by a crash is as good as an empty one: every mount counts at its start.
        let _ = file.read_at(&mut bytes, 0)?;
        let number = u128::from_le_bytes(bytes);
        Ok(Ledger { file, used: number as u64, count: (number >> 64) as u64 })
    }

    /// Bytes that all blocks take.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// How often all blocks were counted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Enters a new sum.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn set(&mut self, used: u64) -> io::Result<()> {
        if used == self.used { Ok(()) } else { self.enter(used, self.count) }
    }

    /// Enters the sum that a count has given.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn counted(&mut self, used: u64) -> io::Result<()> {
        self.enter(used, self.count.wrapping_add(1))
    }

    fn enter(&mut self, used: u64, count: u64) -> io::Result<()> {
        let number = u128::from(count) << 64 | u128::from(used);
        self.file.write_all_at(&number.to_le_bytes(), 0)?;
        (self.used, self.count) = (used, count);
        Ok(())
    }
}
