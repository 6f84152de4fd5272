//! Everything that is decided before the mount: made by the command line, read by the composition root.
//!
//! Plain values, no decisions. What conflicts was refused before a plan exists.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use zeroize::Zeroizing;

/// Bytes that nobody may see: zeroed when dropped, `***` in Debug.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(Zeroizing::new(bytes.into()))
    }

    /// The bytes, to be sent and not to be kept.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is said to the server at login. No part holds CR, LF or NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The argument of USER; `anonymous` if none was given (RFC 1635).
    pub user: Vec<u8>,
    /// The argument of PASS.
    pub password: Secret,
    /// The argument of ACCT, sent only when the server asks (RFC 959 s.4.1.1).
    pub account: Option<Secret>,
}

/// The directory on the server that the mount shows (RFC 1738 s.3.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath {
    /// Decoded components joined by `/`, none at either end; no component is empty, `.` or `..`, none holds
    /// CR, LF or NUL. Empty for the starting point itself.
    pub bytes: Vec<u8>,
    /// From the server's root if true, from the login directory if not.
    pub absolute: bool,
}

/// Which of the host's addresses may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// All, in the resolver's order.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// Who connects the data channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataMode {
    /// EPSV, PASV, EPRT, PORT; what works first is kept.
    #[default]
    Auto,
    /// The server connects to us (EPRT, PORT).
    Active,
    /// We connect to the server (EPSV, PASV).
    Passive,
}

/// Which address of a PASV reply is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasvAddress {
    /// The control connection's peer, whatever the reply says.
    #[default]
    Peer,
    /// The one in the reply.
    Reply,
}

/// How data connections are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataChannel {
    /// Who connects.
    pub mode: DataMode,
    /// Ports to listen on in active mode, both ends included; any free one if `None`.
    pub ports: Option<RangeInclusive<u16>>,
    /// The address told to the server in active mode, where it differs from the local one (behind NAT).
    pub active_address: Option<IpAddr>,
    /// The local address of every connection.
    pub bind: Option<IpAddr>,
    /// The address used after PASV.
    pub pasv_address: PasvAddress,
}

/// Bounds of every wait, each 1 s to 1 h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// A TCP connect to one address.
    pub connect: Duration,
    /// From connected to logged in.
    pub login: Duration,
    /// A reply on the control connection.
    pub reply: Duration,
    /// A data connection that moves no byte.
    pub stall: Duration,
    /// One file operation in all.
    pub operation: Duration,
}

/// What is remembered, how much and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caches {
    /// Bytes of file blocks in memory, at least 1 MiB.
    pub bytes: u64,
    /// How long a listing is believed; zero for not at all.
    pub listing: Duration,
    /// How long a file's attributes are trusted at open; zero for not at all.
    pub attributes: Duration,
}

/// Whom files belong to and which permission bits are taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Bits removed from the mode of what is no directory, 0 to 0o777.
    pub file_mask: u16,
    /// Bits removed from the mode of directories, 0 to 0o777.
    pub dir_mask: u16,
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

/// What a symbolic link on the server becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// A link whose target is inside the mount; others lead nowhere.
    #[default]
    Contain,
    /// The server's text as it is.
    Raw,
    /// Not shown.
    Hide,
}

/// All that a mount needs to know.
#[derive(Clone, Debug)]
pub struct MountPlan {
    /// A host name or a numeric address, an IPv6 one without brackets, possibly with `%zone`.
    pub host: String,
    /// The control port.
    pub port: u16,
    /// Which addresses of the host.
    pub family: Family,
    /// How to log in.
    pub login: Login,
    /// The directory shown as the root.
    pub base: BasePath,
    /// How data connections are made.
    pub data: DataChannel,
    /// Bounds of waits.
    pub timeouts: Timeouts,
    /// Most control connections at a time, 1 to 64.
    pub connections: usize,
    /// What is remembered.
    pub caches: Caches,
    /// Owner and masks.
    pub ownership: Ownership,
    /// Who may use the mount.
    pub access: Access,
    /// Whether the kernel checks permission bits.
    pub default_permissions: bool,
    /// What symbolic links become.
    pub links: Links,
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
        self.timeouts.connect + self.timeouts.login + self.timeouts.operation * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_login_shows_no_secret() {
        let login = Login {
            user: b"u".to_vec(),
            password: Secret::new("hidden"),
            account: Some(Secret::new("hidden")),
        };
        let text = format!("{login:?}");
        assert!(text.contains("***") && !text.contains("hidden") && !text.contains("104"), "{text}");
    }
}
