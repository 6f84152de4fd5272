//! What belongs to a whole file on the disk: what it is, and a checksum of each of its blocks.
//!
//! ```text
//! 0   magic "ftpfsall"
//! 8   checksum of bytes 16 to 96
//! 16  checksum of the sums
//! 24  format
//! 28  the facts of the version
//! 64  key of the file (server and path)
//! 96  the checksums of its blocks, in order
//! ```
//! It stands in a file of its own, since the file that the kernel reads holds nothing but the bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::super::format::{FACTS, Facts, Key};
use crate::cache::block::BLOCK;

const MAGIC: [u8; 8] = *b"ftpfsall";
/// Counted up with every change of what is above.
const FORMAT: u32 = 1;
/// Bytes before the sums.
const HEAD: usize = 96;
/// Bytes of a sum.
const SUM: usize = 8;

/// The first part of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Index {
    pub(in super::super) key: Key,
    pub(in super::super) facts: Facts,
    /// Checksum of the sums.
    sums: u64,
}

/// The checksum of a block.
pub(super) fn sum(block: &[u8]) -> u64 {
    xxh3_64(block)
}

/// How many blocks a file of `size` bytes has.
pub(super) fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK as u64)
}

/// How many bytes the block `number` of a file of `size` bytes has.
pub(super) fn len(size: u64, number: u64) -> usize {
    let rest = size.saturating_sub(number.saturating_mul(BLOCK as u64));
    // No more than a block.
    rest.min(BLOCK as u64) as usize
}

/// Bytes of the index of a file of `size` bytes.
pub(super) fn index_len(size: u64) -> u64 {
    HEAD as u64 + blocks(size) * SUM as u64
}

impl Index {
    /// Reads the first part; `None` for anything but a good one.
    pub(super) fn read(from: &File) -> Option<Index> {
        let mut head = [0; HEAD];
        from.read_exact_at(&mut head, 0).ok()?;
        let u64_at = |at: usize| head[at..].first_chunk().map(|field| u64::from_le_bytes(*field));
        let format = u32::from_le_bytes(*head[24..].first_chunk()?);
        let is_good = head[..8] == MAGIC && u64_at(8)? == xxh3_64(&head[16..]) && format == FORMAT;
        let index = Index {
            key: *head[64..].first_chunk()?,
            facts: Facts::decode(head[28..].first_chunk()?)?,
            sums: u64_at(16)?,
        };
        is_good.then_some(index)
    }

    /// The checksum of one block. It is not proved itself: a wrong one makes its block a bad one.
    pub(super) fn sum_of(from: &File, block: u64) -> Option<u64> {
        let mut sum = [0; SUM];
        let at = block.checked_mul(SUM as u64)?.checked_add(HEAD as u64)?;
        from.read_exact_at(&mut sum, at).ok()?;
        Some(u64::from_le_bytes(sum))
    }

    /// Calls `each` for the checksums of all blocks in order, until it says false. False then, or if they are not
    /// what they were made as. Takes the memory of one block.
    pub(super) fn all_sums(&self, from: &File, mut each: impl FnMut(u64, u64) -> bool) -> bool {
        let mut hash = Xxh3::new();
        let all = blocks(self.facts.size());
        let mut bytes = vec![0; BLOCK];
        let (mut number, at_once) = (0, (BLOCK / SUM) as u64);
        while number < all {
            let count = at_once.min(all - number);
            // No more than a block.
            let some = &mut bytes[..count as usize * SUM];
            if from.read_exact_at(some, HEAD as u64 + number * SUM as u64).is_err() {
                return false;
            }
            hash.update(some);
            let (sums, _) = some.as_chunks::<SUM>();
            for sum in sums {
                if !each(number, u64::from_le_bytes(*sum)) {
                    return false;
                }
                number += 1;
            }
        }
        hash.digest() == self.sums
    }
}

/// Writes an index.
pub(super) struct IndexWriter {
    to: BufWriter<File>,
    sums: Box<Xxh3>,
}

impl IndexWriter {
    /// Begins an index in the empty file `to`.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn new(to: File) -> io::Result<IndexWriter> {
        let mut to = BufWriter::new(to);
        to.write_all(&[0; HEAD])?;
        Ok(IndexWriter { to, sums: Box::default() })
    }

    /// Notes the checksum of the next block.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn push(&mut self, sum: u64) -> io::Result<()> {
        self.sums.update(&sum.to_le_bytes());
        self.to.write_all(&sum.to_le_bytes())
    }

    /// Makes it an index, of this file and version.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn finish(self, key: &Key, facts: &Facts) -> io::Result<()> {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&MAGIC);
        head[16..24].copy_from_slice(&self.sums.digest().to_le_bytes());
        head[24..28].copy_from_slice(&FORMAT.to_le_bytes());
        head[28..28 + FACTS].copy_from_slice(&facts.encode());
        head[64..].copy_from_slice(key);
        let sum = xxh3_64(&head[16..]);
        head[8..16].copy_from_slice(&sum.to_le_bytes());
        let file = self.to.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.write_all_at(&head, 0)
    }
}
