//! How many connections a server allows: learned from its refusals, tried again later. Pure.

use std::time::{Duration, Instant};

/// How long a refusal is believed before one more connection is tried; doubled each time that one is refused.
const BELIEVED: Duration = Duration::from_secs(60);
const BELIEVED_AT_MOST: Duration = Duration::from_secs(960);

/// The number of connections that may be open.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    configured: usize,
    learned: usize,
    believed: Duration,
    retry_at: Option<Instant>,
}

impl ConnectionLimit {
    /// Begins with what the user allows, at least 1.
    pub(crate) fn new(configured: usize) -> ConnectionLimit {
        let configured = configured.max(1);
        ConnectionLimit { configured, learned: configured, believed: BELIEVED, retry_at: None }
    }

    /// How many connections may be open now.
    pub(crate) fn current(&self, now: Instant) -> usize {
        match self.retry_at {
            Some(at) if now >= at => (self.learned + 1).min(self.configured),
            _ => self.learned,
        }
    }

    /// The server refused a connection while `others` were open.
    pub(crate) fn refused(&mut self, others: usize, now: Instant) {
        // Several that were begun together and are refused together are one refusal.
        let is_first = self.retry_at.is_none_or(|at| now >= at);
        self.learned = others.clamp(1, self.configured);
        if is_first {
            self.retry_at = Some(now + self.believed);
            self.believed = (self.believed * 2).min(BELIEVED_AT_MOST);
        }
    }

    /// The server took a connection and `open` are open now.
    pub(crate) fn accepted(&mut self, open: usize, now: Instant) {
        if open <= self.learned {
            return;
        }
        self.learned = open.min(self.configured);
        self.believed = BELIEVED;
        self.retry_at = (self.learned < self.configured).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lowers_the_limit_for_a_while_and_never_below_one() {
        let (now, mut limit) = (Instant::now(), ConnectionLimit::new(8));
        assert_eq!(limit.current(now), 8);
        limit.refused(3, now);
        assert_eq!(limit.current(now), 3);
        assert_eq!(limit.current(now + BELIEVED), 4);
        limit.refused(0, now);
        assert_eq!(limit.current(now), 1);
        // Both came at once, so they are believed as one; the refusal of the next attempt for longer.
        let next = now + BELIEVED;
        assert_eq!(limit.current(next), 2);
        limit.refused(1, next);
        assert_eq!(limit.current(next + BELIEVED), 1);
        assert_eq!(limit.current(next + BELIEVED * 2), 2);
    }

    #[test]
    fn it_grows_back_while_the_server_takes_more() {
        let (mut now, mut limit) = (Instant::now(), ConnectionLimit::new(4));
        limit.refused(1, now);
        now += BELIEVED;
        for open in 2..=4 {
            assert_eq!(limit.current(now), open);
            limit.accepted(open, now);
        }
        assert_eq!(limit.current(now + BELIEVED * 100), 4);
    }
}
