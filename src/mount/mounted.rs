//! The mount as the kernel's table shows it, and its end.
//!
//! fuser 0.18.0 unmounts by path when a session ends, also when somebody else has unmounted it already (its
//! test for that is always true), and so can hit another mount in the same place. So its own handle is put
//! out of action, and this module unmounts, after a look at what is mounted there.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parking_lot::Mutex;

use crate::sys;

/// Where the kernel tells what is mounted (proc(5)).
const TABLE: &str = "/proc/self/mountinfo";

/// Our mount, from before it exists until after it is gone.
#[derive(Debug)]
pub(super) struct Mounted {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotYet,
    /// Mounted, as this device ("0:63").
    Device(String),
    /// It was asked to end.
    Ending,
}

impl Mounted {
    /// What will be mounted on `dir`.
    pub(super) fn new(dir: PathBuf) -> Mounted {
        Mounted { dir, state: Mutex::default() }
    }

    /// The mount exists now; it goes at once if it was asked to end before.
    ///
    /// # Errors
    /// The kernel's table cannot be read or does not hold it.
    pub(super) fn note(&self) -> io::Result<()> {
        let Some(device) = device_on(&fs::read(TABLE)?, &self.dir) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let before = std::mem::replace(&mut *self.state.lock(), State::Device(device));
        if before == State::Ending {
            self.end();
        }
        Ok(())
    }

    /// Unmounts. A mount that is in use is detached: it leaves the tree now and ends when its last user does.
    pub(super) fn end(&self) {
        let State::Device(ours) = std::mem::replace(&mut *self.state.lock(), State::Ending) else { return };
        let table = fs::read(TABLE).unwrap_or_default();
        if device_on(&table, &self.dir).is_none_or(|device| device != ours) {
            log::info!("{} is not our mount any more", self.dir.display());
            return;
        }
        let outcome = match sys::unmount(&self.dir, sys::Unmount::IfUnused) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                log::info!("{} is in use; detaching it", self.dir.display());
                sys::unmount(&self.dir, sys::Unmount::Detach)
            }
            // Without privilege, the helper that mounted it takes it down.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => helper(&self.dir),
            other => other,
        };
        if let Err(error) = outcome {
            log::error!("cannot unmount {}: {error}", self.dir.display());
        }
    }
}

fn helper(dir: &Path) -> io::Result<()> {
    let helper = |program: &str| {
        let mut command = Command::new(program);
        command.args(["-u", "-z", "-q", "--"]).arg(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    let status = helper("fusermount3").or_else(|_| helper("fusermount"))?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("fusermount3 -u ended with {status}"))),
    }
}

/// The device of what is mounted on `dir`, the topmost where there are several.
fn device_on(table: &[u8], dir: &Path) -> Option<String> {
    let lines = table.split(|&byte| byte == b'\n');
    lines.rev().find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = fields.nth(2)?;
        let place = fields.nth(1)?;
        (unescaped(place).as_os_str() == dir.as_os_str())
            .then(|| String::from_utf8_lossy(device).into_owned())
    })
}

/// A field of the table, in which blank, tab, newline and backslash are three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
95 22 0:63 / /mnt/my\\040disk ro,nosuid - fuse.ftpfs ftp://h/ ro,user_id=0\n\
96 95 0:64 / /mnt/my\\040disk ro,nosuid - fuse.ftpfs ftp://g/ ro,user_id=0\n";

    #[test]
    fn the_topmost_mount_of_a_directory_is_the_one() {
        assert_eq!(device_on(SAMPLE, Path::new("/mnt/my disk")).as_deref(), Some("0:64"));
        assert_eq!(device_on(SAMPLE, Path::new("/")).as_deref(), Some("254:0"));
        assert_eq!(device_on(SAMPLE, Path::new("/mnt")), None);
        assert_eq!(device_on(b"garbage\n\n1 2\n", Path::new("/")), None);
    }

    #[test]
    fn what_is_not_our_mount_is_left_alone() {
        let mounted = Mounted::new(PathBuf::from("/"));
        *mounted.state.lock() = State::Device("9999:9999".to_owned());
        mounted.end();
        assert!(device_on(&fs::read(TABLE).unwrap(), Path::new("/")).is_some());
    }

    #[test]
    fn only_three_octal_digits_are_an_escape() {
        assert_eq!(unescaped(b"a\\134b\\9zz\\"), Path::new("a\\b\\9zz\\"));
    }
}
