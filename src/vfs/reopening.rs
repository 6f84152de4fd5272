//! Opens that have found their file removed or replaced at that moment. The kernel looks such a name up anew and opens
//! what has it then, but only once: the next change of the name lets that one go first, for a moment.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::deadline::Deadline;
use crate::remote::RemotePath;

/// How long a change waits for it at most. The kernel needs no more than a lookup, mostly from memory.
const PATIENCE: Duration = Duration::from_millis(300);

/// More are not waited for.
const MOST: usize = 64;

/// The names that are about to be opened again.
#[derive(Debug, Default)]
pub(super) struct Reopening {
    expected: Mutex<Vec<(RemotePath, Instant)>>,
    came: Condvar,
}

impl Reopening {
    /// `path` is looked up and opened again when the change of now has ended, which is waited for until `deadline`.
    pub(super) fn expect(&self, path: RemotePath, deadline: Deadline) {
        let now = Instant::now();
        let mut expected = self.expected.lock();
        expected.retain(|(_, until)| *until > now);
        if expected.len() < MOST {
            expected.push((path, deadline.instant()));
        }
    }

    /// The change of `path` has ended: who is expected there comes in a moment.
    pub(super) fn soon(&self, path: &RemotePath) {
        let soon = Instant::now() + PATIENCE;
        let mut expected = self.expected.lock();
        for (_, until) in expected.iter_mut().filter(|(at, _)| at == path) {
            *until = soon.min(*until);
        }
        drop(expected);
        self.came.notify_all();
    }

    /// Somebody has opened a file: the one that `path` tells, which is not asked where none is expected.
    pub(super) fn came(&self, path: impl FnOnce() -> Option<RemotePath>) {
        if self.expected.lock().is_empty() {
            return;
        }
        let Some(path) = path() else { return };
        let mut expected = self.expected.lock();
        if let Some(position) = expected.iter().position(|(at, _)| *at == path) {
            expected.swap_remove(position);
        }
        drop(expected);
        self.came.notify_all();
    }

    /// Waits for who is expected at `path`.
    pub(super) fn let_go_first(&self, path: &RemotePath, deadline: Deadline) {
        let mut expected = self.expected.lock();
        while let Some(until) = expected.iter().filter(|(at, _)| at == path).map(|(_, until)| *until).max() {
            let until = until.min(deadline.instant());
            if self.came.wait_until(&mut expected, until).timed_out() {
                expected.retain(|(at, until)| at != path || *until > Instant::now());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_change_waits_for_who_is_expected_there_and_for_nobody_else() {
        let path = |text: &str| RemotePath::parse(text.as_bytes()).unwrap();
        let (reopening, long) = (Reopening::default(), Deadline::after(Duration::from_secs(60)));
        reopening.came(|| panic!("nobody is expected"));
        reopening.expect(path("/a"), long);
        reopening.let_go_first(&path("/b"), long);
        // He does not come.
        reopening.soon(&path("/a"));
        reopening.let_go_first(&path("/a"), long);
        assert!(reopening.expected.lock().is_empty());
        reopening.expect(path("/a"), long);
        thread::scope(|scope| {
            let change = scope.spawn(|| reopening.let_go_first(&path("/a"), long));
            reopening.came(|| Some(path("/b")));
            reopening.came(|| Some(path("/a")));
            change.join().unwrap();
        });
        assert!(reopening.expected.lock().is_empty());
        (0..2 * MOST).for_each(|n| reopening.expect(path(&format!("/{n}")), long));
        assert_eq!(reopening.expected.lock().len(), MOST);
    }
}
