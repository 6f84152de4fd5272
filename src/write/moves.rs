//! Paths that are being renamed: while the server may know the old name or the new one, nothing is uploaded
//! to either.

use parking_lot::{Condvar, Mutex};

use crate::deadline::Deadline;
use crate::remote::RemotePath;

/// The renames that run.
#[derive(Debug, Default)]
pub(super) struct Moves {
    paths: Mutex<Vec<RemotePath>>,
    ended: Condvar,
}

impl Moves {
    pub(super) fn begin(&self, path: &RemotePath) -> Moving<'_> {
        self.paths.lock().push(path.clone());
        Moving { moves: self, path: path.clone() }
    }

    /// The path that `now` tells, as soon as neither it nor a directory above it is being renamed; when the
    /// deadline passes, whatever it is.
    pub(super) fn settled(&self, deadline: Deadline, now: impl Fn() -> RemotePath) -> RemotePath {
        let mut paths = self.paths.lock();
        loop {
            let path = now();
            if !paths.iter().any(|moving| path.below(moving).is_some()) {
                return path;
            }
            if self.ended.wait_until(&mut paths, deadline.instant()).timed_out() {
                return now();
            }
        }
    }
}

/// A rename that runs, until it is dropped.
#[derive(Debug)]
pub struct Moving<'a> {
    moves: &'a Moves,
    path: RemotePath,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut paths = self.moves.paths.lock();
        if let Some(at) = paths.iter().position(|path| *path == self.path) {
            paths.swap_remove(at);
        }
        drop(paths);
        self.moves.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_being_renamed_is_waited_for_and_nothing_else() {
        let moves = Moves::default();
        let long = Deadline::after(Duration::from_secs(60));
        let first = moves.begin(&path("/a/b"));
        let second = moves.begin(&path("/a/b"));
        for free in ["/a", "/a/bb", "/c"] {
            assert_eq!(moves.settled(long, || path(free)), path(free));
        }
        for bound in ["/a/b", "/a/b/c"] {
            assert_eq!(
                moves.settled(Deadline::after(Duration::from_millis(20)), || path(bound)),
                path(bound)
            );
        }
        let renamed = AtomicBool::new(false);
        let now = &|| path(if renamed.load(Ordering::SeqCst) { "/d/c" } else { "/a/b/c" });
        thread::scope(|scope| {
            let waiting = scope.spawn(|| moves.settled(long, now));
            drop(first);
            renamed.store(true, Ordering::SeqCst);
            drop(second);
            assert_eq!(waiting.join().unwrap(), path("/d/c"));
        });
    }
}
