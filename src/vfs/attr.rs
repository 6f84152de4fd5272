//! Attributes as stat(2) shows them, made from what the server told and from the user's policy.

use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::time::Modified;

/// The size shown for a directory whose size the server does not tell, in bytes.
const DIRECTORY_SIZE: u64 = 4096;

/// Attributes of one inode. Only the modification time is known to FTP: atime and ctime are equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// What it is. A special file is shown as a regular file that nobody may open.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: u64,
    /// Size in units of 512 bytes, rounded up.
    pub blocks: u64,
    /// Last modification; 1970-01-01 where the server tells none.
    pub mtime: Option<Modified>,
    /// Permission bits (07777).
    pub mode: u16,
    /// 2 for directories, else 1.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Who owns what the mount shows, and which permission bits are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Bits taken from files (`fmask=`, else `umask=`).
    pub file_mask: u16,
    /// Bits taken from directories (`dmask=`, else `umask=`).
    pub directory_mask: u16,
}

impl Ownership {
    /// The attributes of `facts` as inode `ino`. Modes: what the server told, else 0644 and 0755, without
    /// the masked bits; 0777 for links; none for special files, so that nobody tries to open them.
    pub fn attr(&self, ino: u64, facts: &Facts) -> Attr {
        let mode = match facts.kind {
            EntryKind::File => facts.mode.unwrap_or(0o644) & !self.file_mask,
            EntryKind::Directory => facts.mode.unwrap_or(0o755) & !self.directory_mask,
            EntryKind::Symlink => 0o777,
            EntryKind::Special => 0,
        };
        let size = match facts.kind {
            EntryKind::File | EntryKind::Symlink => facts.size.unwrap_or(0),
            EntryKind::Directory => facts.size.unwrap_or(DIRECTORY_SIZE),
            EntryKind::Special => 0,
        };
        Attr {
            ino,
            kind: facts.kind,
            size,
            blocks: size.div_ceil(512),
            mtime: facts.modified,
            mode: mode & 0o7777,
            nlink: if facts.kind == EntryKind::Directory { 2 } else { 1 },
            uid: self.uid,
            gid: self.gid,
        }
    }
}

/// What is kept of an entry in its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes, where told.
    pub size: Option<u64>,
    /// Last modification, where told.
    pub modified: Option<Modified>,
    /// Permission bits, where told.
    pub mode: Option<u16>,
}

impl From<&RemoteEntry> for Facts {
    fn from(entry: &RemoteEntry) -> Facts {
        let RemoteEntry { kind, size, modified, mode, link_target, .. } = entry;
        // POSIX: the size of a link is the length of its target.
        let target = link_target.as_ref().map(|target| target.len() as u64);
        let size = if *kind == EntryKind::Symlink { target.or(*size) } else { *size };
        Facts { kind: *kind, size, modified: *modified, mode: *mode }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_follow_server_defaults_and_masks() {
        use EntryKind::{Directory, File, Special, Symlink};
        let open = Ownership { uid: 7, gid: 8, file_mask: 0, directory_mask: 0 };
        let masked = Ownership { file_mask: 0o133, directory_mask: 0o022, ..open };
        for (policy, kind, told, mode) in [
            (open, File, None, 0o644),
            (open, File, Some(0o4751), 0o4751),
            (open, Directory, None, 0o755),
            (open, Symlink, Some(0o600), 0o777),
            (open, Special, Some(0o666), 0),
            (masked, File, None, 0o644),
            (masked, File, Some(0o777), 0o644),
            (masked, Directory, Some(0o777), 0o755),
            (masked, Symlink, None, 0o777),
        ] {
            let attr = policy.attr(5, &Facts { kind, size: None, modified: None, mode: told });
            assert_eq!((attr.mode, attr.ino, attr.uid, attr.gid), (mode, 5, 7, 8), "{kind:?} {told:?}");
        }
    }

    #[test]
    fn sizes_blocks_and_links() {
        use EntryKind::{Directory, File, Special};
        let open = Ownership { uid: 0, gid: 0, file_mask: 0, directory_mask: 0 };
        for (kind, told, size, blocks, nlink) in [
            (File, Some(0), 0, 0, 1),
            (File, Some(513), 513, 2, 1),
            (File, Some(u64::MAX), u64::MAX, u64::MAX / 512 + 1, 1),
            (Directory, None, 4096, 8, 2),
            (Directory, Some(10), 10, 1, 2),
            (Special, Some(99), 0, 0, 1),
        ] {
            let attr = open.attr(5, &Facts { kind, size: told, modified: None, mode: None });
            assert_eq!((attr.size, attr.blocks, attr.nlink), (size, blocks, nlink), "{kind:?} {told:?}");
        }
    }
}
