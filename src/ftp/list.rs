//! Directory listings: what servers print, turned into entries.

use crate::ftp::time::Modified;

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (its own line, not what it points to).
    Symlink,
    /// A device, pipe, socket or anything else that can be seen but not read.
    Special,
}

/// One entry of a directory as the server told it. Fields are `None` where it told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteEntry {
    /// The name, raw bytes: never empty, never `.` or `..`, without `/`, NUL, CR or LF.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last modification.
    pub modified: Option<Modified>,
    /// The permission bits (07777).
    pub mode: Option<u16>,
    /// Where a symbolic link points, as the server printed it.
    pub link_target: Option<Box<[u8]>>,
    /// RFC 3659 s.7.5.2 `unique` fact.
    pub unique: Option<Box<[u8]>>,
}
