//! One block as a file: a header that says what it is, and its bytes.
//!
//! ```text
//! 0   magic "ftpfsblk"
//! 8   checksum of bytes 16 to 120
//! 16  checksum of the data
//! 24  format
//! 28  where in the block the data begin
//! 32  how many bytes of data follow
//! 36  nanoseconds of the file's time
//! 40  number of the block in the file
//! 48  size of the file
//! 56  seconds of the file's time
//! 64  hash of the file's `unique` fact; zeros where none was told
//! 80  key of the file (server and path)
//! 112 zeros
//! 120 the data, to the end
//! ```
//! Numbers are little-endian, checksums XXH3 with 64 bits. What was torn, cut or garbled fails one of them.

use ring::digest::{SHA256, digest};
use xxhash_rust::xxh3::xxh3_64;

use crate::cache::block::BLOCK;
use crate::cache::version::FileVersion;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::time::{Modified, Precision};

const MAGIC: [u8; 8] = *b"ftpfsblk";
/// Counted up with every change of what is above: blocks of other formats are no blocks.
const FORMAT: u32 = 1;
/// Bytes before the data.
pub(super) const HEADER: usize = 120;

/// Bytes of encoded facts.
pub(super) const FACTS: usize = 36;

/// Which file of which server: a hash, so no name leaves the memory and no name from outside reaches the disk.
pub(super) type Key = [u8; 32];

/// What tells the versions of one file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    size: u64,
    seconds: i64,
    nanos: u32,
    unique: [u8; 16],
}

impl Facts {
    /// Those of a version; `None` while its time is not known to the second.
    pub(super) fn of(version: &FileVersion) -> Option<Facts> {
        let Modified { seconds, nanos, .. } = version.exact()?;
        Some(Facts { size: version.size, seconds, nanos, unique: hashed(version.unique.as_deref()) })
    }

    /// Whether both are of one version. MDTM may tell no fraction of a second and no `unique` where MLSD does.
    pub(super) fn agree(&self, other: &Facts) -> bool {
        const UNTOLD: [u8; 16] = [0; 16];
        self.size == other.size
            && self.seconds == other.seconds
            && (self.nanos == other.nanos || self.nanos == 0 || other.nanos == 0)
            && (self.unique == other.unique || self.unique == UNTOLD || other.unique == UNTOLD)
    }

    /// Whether they can be those of `version`, as far as is known of it.
    pub(super) fn may_be(&self, version: &FileVersion) -> bool {
        let modified = Modified { seconds: self.seconds, nanos: self.nanos, precision: Precision::Second };
        version.same_file_as(&RemoteEntry {
            name: Box::default(),
            kind: EntryKind::File,
            size: Some(self.size),
            modified: Some(modified),
            mode: None,
            link_target: None,
            unique: None,
        })
    }

    /// When the file was last modified, in seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Size of the file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// As they stand in the index of a whole file: size, seconds, nanoseconds, `unique`.
    pub(super) fn encode(&self) -> [u8; FACTS] {
        let mut bytes = [0; FACTS];
        bytes[..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seconds.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.nanos.to_le_bytes());
        bytes[20..].copy_from_slice(&self.unique);
        bytes
    }

    /// Reads what [`Facts::encode`] gave.
    pub(super) fn decode(bytes: &[u8; FACTS]) -> Option<Facts> {
        Some(Facts {
            size: u64::from_le_bytes(*bytes.first_chunk()?),
            seconds: i64::from_le_bytes(*bytes[8..].first_chunk()?),
            nanos: u32::from_le_bytes(*bytes[16..].first_chunk()?),
            unique: *bytes[20..].first_chunk()?,
        })
    }
}

fn hashed(unique: Option<&[u8]>) -> [u8; 16] {
    let mut hash = [0; 16];
    if let Some(unique) = unique {
        hash.copy_from_slice(&digest(&SHA256, unique).as_ref()[..16]);
    }
    hash
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) key: Key,
    pub(super) facts: Facts,
    pub(super) block: u64,
    /// Where in the block the data begin, in bytes.
    pub(super) start: usize,
    /// Bytes of data.
    pub(super) len: usize,
    sum: u64,
}

impl Header {
    /// The header of `data`, which begin `start` bytes into the block and do not reach beyond it.
    pub(super) fn new(key: Key, facts: Facts, block: u64, start: usize, data: &[u8]) -> Header {
        Header { key, facts, block, start, len: data.len(), sum: xxh3_64(data) }
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(16, &self.sum.to_le_bytes());
        put(24, &FORMAT.to_le_bytes());
        // Both are no longer than a block.
        put(28, &(self.start as u32).to_le_bytes());
        put(32, &(self.len as u32).to_le_bytes());
        put(36, &self.facts.nanos.to_le_bytes());
        put(40, &self.block.to_le_bytes());
        put(48, &self.facts.size.to_le_bytes());
        put(56, &self.facts.seconds.to_le_bytes());
        put(64, &self.facts.unique);
        put(80, &self.key);
        let sum = xxh3_64(&bytes[16..]);
        bytes[8..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` for anything but a whole one of this format that makes sense.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let u32_at = |at: usize| bytes[at..].first_chunk().map(|field| u32::from_le_bytes(*field));
        let u64_at = |at: usize| bytes[at..].first_chunk().map(|field| u64::from_le_bytes(*field));
        let is_whole = bytes[..8] == MAGIC && u64_at(8)? == xxh3_64(&bytes[16..]) && u32_at(24)? == FORMAT;
        let header = Header {
            sum: u64_at(16)?,
            start: usize::try_from(u32_at(28)?).ok()?,
            len: usize::try_from(u32_at(32)?).ok()?,
            block: u64_at(40)?,
            facts: Facts {
                nanos: u32_at(36)?,
                size: u64_at(48)?,
                seconds: u64_at(56)?.cast_signed(),
                unique: *bytes[64..].first_chunk()?,
            },
            key: *bytes[80..].first_chunk()?,
        };
        (is_whole && header.len > 0 && header.start + header.len <= BLOCK).then_some(header)
    }

    /// Whether `data` are the bytes that the header was made for.
    pub(super) fn vouches_for(&self, data: &[u8]) -> bool {
        data.len() == self.len && xxh3_64(data) == self.sum
    }

    /// Whether all that `other` has of the block is here too.
    pub(super) fn covers(&self, other: &Header) -> bool {
        self.start <= other.start && other.start + other.len <= self.start + self.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(data: &[u8]) -> Header {
        let facts = Facts { size: 1 << 40, seconds: -5, nanos: 7, unique: [3; 16] };
        Header::new([9; 32], facts, 11, 100, data)
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(
            data in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let header = header(&data);
            let mut file = [&header.encode()[..], &data].concat();
            prop_assert_eq!(Header::decode(&file), Some(header));
            prop_assert!(header.vouches_for(&file[HEADER..]));
            let at = at.index(file.len());
            file[at] ^= flip;
            let read = Header::decode(&file);
            prop_assert!(read.is_none_or(|read| !read.vouches_for(&file[HEADER..])));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Header::decode(&bytes), None);
        }
    }
}
