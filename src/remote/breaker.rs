//! Whether a server is worth waiting for: opens when it cannot be reached for a while, so that callers fail
//! at once, and closes when a probe gets through. Pure.

use std::time::{Duration, Instant};

/// How long connecting must have failed before callers are told at once. A server that restarts is back
/// within that time, and its readers only see a pause.
const PATIENCE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Pause after a login that was not accepted: servers lock out who keeps trying a wrong password.
const DENIED_PAUSE: Duration = Duration::from_secs(60);

/// The state of the way to the server; `E` is the error that callers get while it is open.
#[derive(Debug)]
pub(crate) struct Breaker<E> {
    failing_since: Option<Instant>,
    failures: u32,
    next_try: Option<Instant>,
    open: Option<E>,
}

impl<E: Clone> Breaker<E> {
    /// Begins closed.
    pub(crate) fn new() -> Breaker<E> {
        Breaker { failing_since: None, failures: 0, next_try: None, open: None }
    }

    /// The error to fail with at once, while the server is given up.
    pub(crate) fn open(&self) -> Option<&E> {
        self.open.as_ref()
    }

    /// Before when no connection should be tried; `None` while all is well.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.next_try
    }

    /// An attempt that began at `started` failed.
    pub(crate) fn failed(&mut self, started: Instant, now: Instant, error: E) {
        let since = *self.failing_since.get_or_insert(started);
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.next_try = Some(now + pause.min(LONGEST_PAUSE));
        if self.open.is_some() || now.saturating_duration_since(since) >= PATIENCE {
            self.open = Some(error);
        }
    }

    /// The server said no to us for good (a wrong password): nothing changes by waiting.
    pub(crate) fn denied(&mut self, now: Instant, error: E) {
        self.failed(now, now, error.clone());
        self.next_try = Some(now + DENIED_PAUSE);
        self.open = Some(error);
    }

    /// An attempt got through.
    pub(crate) fn succeeded(&mut self) {
        *self = Breaker::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_outage_is_waited_out_a_long_one_is_told() {
        let start = Instant::now();
        let mut breaker = Breaker::new();
        breaker.failed(start, start, "refused");
        assert_eq!(breaker.open(), None);
        assert_eq!(breaker.next_try(), Some(start + FIRST_PAUSE));
        breaker.failed(start, start + PATIENCE, "refused");
        assert_eq!(breaker.open(), Some(&"refused"));
        breaker.succeeded();
        assert_eq!((breaker.open(), breaker.next_try()), (None, None));
    }

    #[test]
    fn one_attempt_that_takes_long_is_enough() {
        let start = Instant::now();
        let mut breaker = Breaker::new();
        breaker.failed(start, start + PATIENCE, "no greeting");
        assert_eq!(breaker.open(), Some(&"no greeting"));
    }

    #[test]
    fn pauses_grow_and_end_at_a_bound() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..100 {
            breaker.failed(now, now, "x");
        }
        assert_eq!(breaker.next_try(), Some(now + LONGEST_PAUSE));
    }
}
