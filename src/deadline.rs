//! A point in time by which something must have ended, handed down through the layers.

use std::time::{Duration, Instant};

/// The moment after which an operation is given up. Cheap to copy; compare and narrow as it goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `bound` from now.
    pub fn after(bound: Duration) -> Deadline {
        Deadline(Instant::now() + bound)
    }

    /// The earlier of this deadline and the moment `bound` from now.
    pub fn at_most(self, bound: Duration) -> Deadline {
        self.min(Deadline::after(bound))
    }

    /// Time left, zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether the moment has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The moment itself, for waits that take an [`Instant`].
    pub fn instant(self) -> Instant {
        self.0
    }
}
