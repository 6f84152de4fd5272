//! Values of the file system as fuser wants them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, FopenFlags, INodeNo, TimeOrNow};

use crate::ftp::list::EntryKind;
use crate::ftp::time::Modified;
use crate::vfs::{Attr, OpenedDir, OpenedFile, Pages, SetTime};

/// The preferred read size shown in st_blksize, in bytes: one kernel readahead.
const BLOCK_SIZE: u32 = 128 * 1024;

pub(super) fn attr(attr: &Attr) -> FileAttr {
    let mtime = attr.mtime.map_or(UNIX_EPOCH, time);
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: mtime,
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind: kind(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The attributes of an entry that does not exist: inode 0 makes the kernel keep its absence.
pub(super) fn absent() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

pub(super) fn kind(kind: EntryKind) -> FileType {
    match kind {
        EntryKind::File | EntryKind::Special => FileType::RegularFile,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Symlink => FileType::Symlink,
    }
}

pub(super) fn file_flags(opened: &OpenedFile) -> FopenFlags {
    let flags = match opened.writable {
        true => FopenFlags::empty(),
        // Nothing is written, so a flush at each close would be a request for nothing.
        false => FopenFlags::FOPEN_NOFLUSH,
    };
    match opened.pages {
        Pages::Keep => flags | FopenFlags::FOPEN_KEEP_CACHE,
        Pages::Drop => flags,
        Pages::Bypass => flags | FopenFlags::FOPEN_DIRECT_IO,
    }
}

pub(super) fn dir_flags(opened: &OpenedDir) -> FopenFlags {
    match opened.keep_pages {
        true => FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
        false => FopenFlags::FOPEN_CACHE_DIR,
    }
}

/// Whole seconds, rounded down: FTP knows no others.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                -whole - i64::from(before.subsec_nanos() > 0)
            }
        }),
    }
}

/// A time that the system cannot express becomes 1970-01-01.
fn time(modified: Modified) -> SystemTime {
    let seconds = Duration::from_secs(modified.seconds.unsigned_abs());
    let whole = match modified.seconds {
        0.. => UNIX_EPOCH.checked_add(seconds),
        _ => UNIX_EPOCH.checked_sub(seconds),
    };
    let nanos = Duration::from_nanos(u64::from(modified.nanos));
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::Precision;

    #[test]
    fn times_before_1970_and_beyond_all_bounds_are_no_problem() {
        for (seconds, nanos, expected) in [
            (0, 0, UNIX_EPOCH),
            (1, 500, UNIX_EPOCH + Duration::new(1, 500)),
            (-1, 500_000_000, UNIX_EPOCH - Duration::from_millis(500)),
            (i64::MIN, 0, UNIX_EPOCH.checked_sub(Duration::from_secs(1 << 63)).unwrap_or(UNIX_EPOCH)),
        ] {
            assert_eq!(time(Modified { seconds, nanos, precision: Precision::Second }), expected);
        }
    }

    #[test]
    fn a_special_file_looks_like_a_file() {
        assert_eq!(kind(EntryKind::Special), FileType::RegularFile);
    }
}
