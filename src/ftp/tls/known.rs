//! Servers that have had TLS, remembered beyond the mount: with `tls=auto`, who takes TLS away from a server that once
//! had it must not get the password.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

/// Most servers that are remembered; the one that came first is forgotten for one more.
const SERVERS: usize = 1000;

/// Longest name of a file, in bytes.
const NAME_MAX: usize = 255;

/// A private directory with an empty file for each server, named `host:port`: adding one is atomic, whoever else
/// adds one at the time, and the user can remove one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownServers(PathBuf);

impl KnownServers {
    /// Those in `dir`, which is made when the first is added.
    pub fn new(dir: impl Into<PathBuf>) -> KnownServers {
        KnownServers(dir.into())
    }

    /// The file that stands for a server; `None` for a name that no file can have.
    pub(crate) fn file(&self, host: &str, port: u16) -> Option<PathBuf> {
        let name = format!("{}:{port}", host.to_ascii_lowercase());
        (!name.contains(['/', '\0']) && name.len() <= NAME_MAX).then(|| self.0.join(name))
    }

    /// Whether the server is known.
    ///
    /// # Errors
    /// Where that cannot be looked up.
    pub(crate) fn has(&self, host: &str, port: u16) -> io::Result<bool> {
        self.file(host, port).map_or(Ok(false), |file| file.try_exists())
    }

    /// Remembers a server. What is remembered survives a crash of the system.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub(crate) fn add(&self, host: &str, port: u16) -> io::Result<()> {
        let Some(file) = self.file(host, port) else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(()),
            made => made?.sync_all()?,
        }
        File::open(&self.0)?.sync_all()?;
        self.forget_the_oldest()
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            // One that somebody removes meanwhile is none.
            let Ok(since) = entry.metadata().and_then(|data| data.modified()) else { continue };
            all.push((since, entry.path()));
        }
        all.sort();
        for (_, file) in all.iter().take(all.len().saturating_sub(SERVERS)) {
            match fs::remove_file(file) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_is_remembered_by_host_and_port() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownServers::new(dir.path().join("state/servers"));
        assert!(!known.has("h", 21).unwrap());
        for _ in 0..2 {
            known.add("H.example", 21).unwrap();
        }
        known.add("::1", 2121).unwrap();
        assert!(known.has("h.EXAMPLE", 21).unwrap() && known.has("::1", 2121).unwrap());
        assert!(!known.has("h.example", 22).unwrap());
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path().join("state/servers")), 0o700);
        assert_eq!(mode(known.file("h.example", 21).unwrap()), 0o600);
        for odd in ["../../x", "/x", "a\0b", &"x".repeat(300)] {
            known.add(odd, 21).unwrap();
            assert!(!known.has(odd, 21).unwrap(), "{odd}");
        }
        assert!(!dir.path().join("x:21").exists());
        fs::remove_file(known.file("h.example", 21).unwrap()).unwrap();
        assert!(!known.has("h.example", 21).unwrap());
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownServers::new(dir.path());
        for port in 1..=SERVERS as u16 {
            let file = File::create(known.file("h", port).unwrap()).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(port.into())).unwrap();
        }
        known.add("new", 21).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), SERVERS);
        assert!(!known.has("h", 1).unwrap() && known.has("h", 2).unwrap() && known.has("new", 21).unwrap());
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(KnownServers::new(file.path()).add("h", 21).is_err());
    }
}
