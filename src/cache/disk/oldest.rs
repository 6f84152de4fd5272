//! Which blocks to throw out: the ones used longest ago, as far as a sample shows.
//!
//! A block's time of modification is when it was last used. Blocks lie in 256 directories by their hash, so a
//! few directories are a fair sample of all, and nothing about single blocks has to be kept in memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::store::whole::is_represented;

/// Directories of blocks.
pub(super) const SHARDS: usize = 256;
/// A sample is taken from whole directories until it has so many blocks; a small cache is seen whole.
const SAMPLE: usize = 512;
/// Most blocks of one directory that are looked at.
const LOOKED_AT: usize = 8192;
/// Most that are remembered of a sample. The oldest quarter of it is all that may go.
const KEPT: usize = 1024;

/// A block that may be thrown out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) used: SystemTime,
}

/// The oldest blocks of the last sample.
#[derive(Debug, Default)]
pub(super) struct Oldest {
    /// The one used longest ago comes last.
    sample: Vec<Candidate>,
    next: usize,
}

impl Oldest {
    /// The next to go. `None` when a new sample is needed.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        self.sample.pop()
    }

    /// Takes a new sample; false if there are no blocks.
    pub(super) fn look(&mut self, dir: &Path) -> bool {
        let mut seen = Vec::new();
        for _ in 0..SHARDS {
            let shard = dir.join(shard_name(self.next));
            self.next = (self.next + 1) % SHARDS;
            // One that cannot be read has nothing to offer.
            let _ = each(&shard, LOOKED_AT, |path, metadata| {
                if let Ok(used) = metadata.modified()
                    && !is_represented(&path)
                {
                    seen.push(Candidate { path, used });
                }
            });
            if seen.len() >= SAMPLE {
                break;
            }
        }
        seen.sort_unstable_by_key(|block| std::cmp::Reverse(block.used));
        let oldest = seen.len().div_ceil(4).min(KEPT);
        self.sample = seen.split_off(seen.len() - oldest);
        !self.sample.is_empty()
    }
}

/// The name of a directory of blocks.
pub(super) fn shard_name(shard: usize) -> String {
    format!("{shard:02x}")
}

/// Calls `found` for at most `most` files of a directory, which may not exist.
///
/// # Errors
/// The disk.
pub(super) fn each(dir: &Path, most: usize, mut found: impl FnMut(PathBuf, fs::Metadata)) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.take(most) {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) => found(entry.path(), metadata),
            // Gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
