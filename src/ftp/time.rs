//! Times as FTP servers write them.

/// How much of a [`Modified`] the server told. LIST tells minutes for young files and days for old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// Known to the second (or better).
    Second,
    /// Known to the minute.
    Minute,
    /// Only the day is known.
    Day,
}

/// A modification time, UTC, with what the server told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modified {
    /// Seconds since 1970-01-01T00:00:00Z; may be negative.
    pub seconds: i64,
    /// Nanoseconds within the second, below 1_000_000_000.
    pub nanos: u32,
    /// The unit below which `seconds` says nothing.
    pub precision: Precision,
}
