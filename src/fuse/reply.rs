//! How a failed operation is answered, and logged once, here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fuser::{
    Errno, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyLseek, ReplyOpen, ReplyWrite, ReplyXattr,
};
use parking_lot::Mutex;

use crate::remote::RemotePath;
use crate::vfs::Error;

/// A reply that can carry an error, whatever else it could carry.
pub(super) trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })*
    };
}

// fuser's replies have the same method but no trait that says so.
refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyLseek,
    ReplyOpen,
    ReplyWrite,
    ReplyXattr
);

/// What programs meet every day and try again in another way.
const EVERYDAY: [i32; 9] = [
    libc::ENOENT,
    libc::EROFS,
    libc::ENODATA,
    libc::ERANGE,
    libc::ENXIO,
    libc::EPERM,
    libc::EEXIST,
    libc::ENOTEMPTY,
    libc::EINVAL,
];

/// The same operation failing in the same way is logged once in this time, with a count of the rest.
const QUIET: Duration = Duration::from_secs(10);

/// The log of failed operations; a dead server does not flood it.
#[derive(Debug, Default)]
pub(super) struct FailureLog(Mutex<HashMap<(&'static str, i32), Failures>>);

#[derive(Debug)]
struct Failures {
    logged: Instant,
    unlogged: u64,
}

impl FailureLog {
    /// Logs that `operation` failed. What programs meet every day goes to the debug log only.
    pub(super) fn note(&self, operation: &'static str, path: Option<RemotePath>, error: &Error) {
        let errno = error.errno();
        let path = path.map(|path| path.to_string()).unwrap_or_default();
        if EVERYDAY.contains(&errno) || matches!(error, Error::Parted) {
            log::debug!("{operation} {path}: {error}");
            return;
        }
        match self.turn(operation, errno, Instant::now()) {
            Some(0) => log::warn!("{operation} {path}: {error}"),
            Some(unlogged) => log::warn!("{operation} {path}: {error} ({unlogged} more like it before)"),
            None => log::debug!("{operation} {path}: {error}"),
        }
    }

    /// Whether it is time to log such a failure again, and how many were not logged since the last one.
    fn turn(&self, operation: &'static str, errno: i32, now: Instant) -> Option<u64> {
        let mut seen = self.0.lock();
        let Some(failures) = seen.get_mut(&(operation, errno)) else {
            seen.insert((operation, errno), Failures { logged: now, unlogged: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(failures.logged) < QUIET {
            failures.unlogged = failures.unlogged.saturating_add(1);
            return None;
        }
        failures.logged = now;
        Some(std::mem::take(&mut failures.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_of_a_kind_is_logged_and_the_rest_counted() {
        let log = FailureLog::default();
        let now = Instant::now();
        assert_eq!(log.turn("read", libc::EIO, now), Some(0));
        assert_eq!(log.turn("read", libc::EIO, now), None);
        assert_eq!(log.turn("read", libc::EIO, now + QUIET / 2), None);
        assert_eq!(log.turn("read", libc::ESTALE, now), Some(0));
        assert_eq!(log.turn("open", libc::EIO, now), Some(0));
        assert_eq!(log.turn("read", libc::EIO, now + QUIET), Some(2));
        assert_eq!(log.turn("read", libc::EIO, now + QUIET * 2), Some(0));
    }
}
