//! Everything that is decided before the mount: made by the command line, read by the composition root.
//!
//! Plain values, no decisions. What conflicts was refused before a plan exists.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::cache::Prefetch;
use crate::ftp::config::SessionConfig;
use crate::vfs::{Charset, LinkPolicy, Ownership};

/// The directory on the server that the mount shows (RFC 1738 s.3.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath {
    /// Decoded components joined by `/`, none at either end; no component is empty, `.` or `..`, none holds
    /// CR, LF or NUL. In the server's charset. Empty for the starting point itself.
    pub bytes: Vec<u8>,
    /// From the server's root if true, from the login directory if not.
    pub absolute: bool,
}

/// What is remembered, how much and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caches {
    /// Bytes of file blocks in memory, at least 1 MiB.
    pub bytes: u64,
    /// Bytes of file blocks on the local disk; 0 for none.
    pub disk: u64,
    /// How long a listing is believed; zero for not at all.
    pub listing: Duration,
    /// How long a file's attributes are trusted at open; zero for not at all.
    pub attributes: Duration,
}

/// Where on the local disk bytes are kept: those that the server does not have yet, and blocks of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagingPlan {
    /// Directories, the first that can be used is taken; made where missing.
    pub dirs: Vec<PathBuf>,
    /// Most unsent bytes at a time.
    pub bytes: u64,
}

/// Who may use the mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The mounting user.
    #[default]
    Owner,
    /// The mounting user and root (`allow_root`).
    OwnerAndRoot,
    /// Everybody (`allow_other`).
    All,
}

/// All that a mount needs to know.
#[derive(Clone, Debug)]
pub struct MountPlan {
    /// Where to connect, as whom, and how.
    pub session: SessionConfig,
    /// The directory shown as the root.
    pub base: BasePath,
    /// The bound of one file operation in all, 1 s to 1 h.
    pub operation_timeout: Duration,
    /// Most control connections at a time, 1 to 64.
    pub connections: usize,
    /// What is fetched that nobody has asked for.
    pub prefetch: Prefetch,
    /// What is remembered.
    pub caches: Caches,
    /// Where bytes are kept on the local disk.
    pub staging: StagingPlan,
    /// Whether owners, modes and times that the server cannot set are no error.
    pub quiet: bool,
    /// Owner and masks.
    pub ownership: Ownership,
    /// Who may use the mount.
    pub access: Access,
    /// Whether the kernel checks permission bits.
    pub default_permissions: bool,
    /// Whether `user.ftp.*` attributes are shown.
    pub xattr: bool,
    /// What symbolic links become.
    pub links: LinkPolicy,
    /// The charset of the server's names.
    pub charset: Charset,
    /// Whether `ro` was the last word on it.
    pub read_only: bool,
    /// Words for the kernel, without contradictions: one or none of each pair ro/rw, suid/nosuid, dev/nodev,
    /// exec/noexec, atime/noatime, sync/async, and dirsync.
    pub kernel_words: Vec<&'static str>,
    /// The source shown in /proc/mounts: `scheme://host[:port]/path`, never with user or password.
    pub fsname: String,
    /// The existing directory that is covered, absolute and without links.
    pub mountpoint: PathBuf,
    /// Stay in the foreground and log to standard error.
    pub foreground: bool,
    /// How much is logged.
    pub log_level: LevelFilter,
    /// Everything was checked on request (`mount -f`) and nothing shall be mounted.
    pub fake: bool,
}

impl MountPlan {
    /// How long the command waits for the mount to become usable: connect, login, and two operations, with
    /// every bound used up.
    pub fn launch_bound(&self) -> Duration {
        self.session.timeouts.connect + self.session.timeouts.login + self.operation_timeout * 2
    }
}
