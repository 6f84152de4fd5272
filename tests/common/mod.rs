//! What the integration tests share: real servers, real mounts, trees of files, and time bounds on everything.
//!
//! Needs root, /dev/fuse, and the servers of `contrib/install-test-servers.sh`. Nothing here is skipped when
//! something is missing: it fails and says what to do.

pub(crate) mod bounded;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod content;
pub(crate) mod link;
pub(crate) mod material;
pub(crate) mod mount;
pub(crate) mod pki;
pub(crate) mod process;
pub(crate) mod scenario;
pub(crate) mod server;
pub(crate) mod trace;
pub(crate) mod tree;

use std::path::{Path, PathBuf};

use ftpfs::cache::Prefetch;

/// Where test data lives: a path that a server's unprivileged user can reach, unlike a home directory.
pub(crate) const STATE: &str = "/var/lib/ftpfs-test";

/// Owner of the test data, and the user that the servers run as. In no password file but the tests' own.
pub(crate) const UID: u32 = 60990;

/// A second group of the servers' user, on ProFTPD.
pub(crate) const GROUP: u32 = 60991;

/// The tests' user on every server, and its password.
pub(crate) const USER: &str = "tester";
pub(crate) const PASSWORD: &str = "correct-horse";

/// The version of TLS that `FTPFS_TEST_TLS` asks for, `1.2` or `1.3`: all tests then run over it, but for what it does not
/// have.
pub(crate) fn tls_version() -> Option<String> {
    let version = std::env::var("FTPFS_TEST_TLS").ok().filter(|version| !version.is_empty())?;
    assert!(["1.2", "1.3"].contains(&version.as_str()), "FTPFS_TEST_TLS is 1.2 or 1.3");
    Some(version)
}

/// What `FTPFS_TEST_PREFETCH` asks for, `off`, `auto` or `eager`: all tests are done so that do not say how themselves.
pub(crate) fn prefetch() -> Option<Prefetch> {
    let word = std::env::var("FTPFS_TEST_PREFETCH").ok().filter(|word| !word.is_empty())?;
    Some(match word.as_str() {
        "off" => Prefetch::Off,
        "auto" => Prefetch::Auto,
        "eager" => Prefetch::Eager,
        _ => panic!("FTPFS_TEST_PREFETCH is off, auto or eager"),
    })
}

/// A fresh directory below [`STATE`], removed when dropped.
pub(crate) fn fresh_dir(prefix: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(STATE).expect("the tests need root: cannot make /var/lib/ftpfs-test");
    let dir =
        tempfile::Builder::new().prefix(prefix).tempdir_in(STATE).expect("cannot make a test directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A fresh directory that the servers' user may change.
pub(crate) fn writable_dir(prefix: &str) -> tempfile::TempDir {
    let dir = fresh_dir(prefix);
    std::os::unix::fs::chown(dir.path(), Some(UID), Some(UID)).unwrap();
    dir
}

/// Where `contrib/install-test-servers.sh` put the servers.
pub(crate) fn servers_dir() -> PathBuf {
    let dir = std::env::var_os("FTPFS_TEST_SERVERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-servers"), PathBuf::from);
    assert!(
        dir.join("root/usr/sbin/proftpd").exists(),
        "no test servers in {}: run contrib/install-test-servers.sh as root",
        dir.display()
    );
    dir
}

/// A program that `contrib/install-test-servers.sh` built: `fsx`, `pjdfstest`.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = servers_dir().join("tools/bin").join(name);
    assert!(path.exists(), "no {}: run contrib/install-test-servers.sh as root", path.display());
    path
}
