//! One request in flight that several callers wait for.

use parking_lot::{Condvar, Mutex};

use crate::deadline::Deadline;

/// The answer to a request that one caller makes on behalf of all who want the same.
#[derive(Debug)]
pub(super) struct Flight<V> {
    answer: Mutex<Option<V>>,
    landed: Condvar,
}

impl<V: Clone> Flight<V> {
    pub(super) fn new() -> Flight<V> {
        Flight { answer: Mutex::new(None), landed: Condvar::new() }
    }

    /// Gives the answer to all who wait and all who come. Only the first answer counts.
    pub(super) fn land(&self, answer: V) {
        self.answer.lock().get_or_insert(answer);
        self.landed.notify_all();
    }

    /// Waits for the answer; `None` if the deadline passes first.
    pub(super) fn wait(&self, deadline: Deadline) -> Option<V> {
        let mut answer = self.answer.lock();
        while answer.is_none() {
            if self.landed.wait_until(&mut answer, deadline.instant()).timed_out() {
                break;
            }
        }
        answer.clone()
    }
}
