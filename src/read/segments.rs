//! How many streams fetch one file side by side, and what each of them fetches. Pure.
//!
//! One connection may bring less than the link could: its buffers hold less than what fits on the way, lost packets
//! slow it down, or the server bounds what it gives to each. Whether several bring more is found out by trying: only
//! where the one has run at its full speed, and where what is left of the file takes long enough to be worth it.
//!
//! ```text
//!   read      position                              end
//! ----------------|- - - - - -|- - - - - -|- - - - - -|
//!                  segment 1   segment 2   segment 3         each by a stream of its own
//! ```
//! The segments together are no longer than what the cache may hold ahead of a reader, and than what he has read so
//! far. Each is cut so that all of them end when the reader has need of the next ones.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::cache::block::BLOCK;

/// The shortest segment: stopping a transfer and beginning another costs two round trips.
const SHORTEST: u64 = 1024 * 1024;
/// The shortest time that rates are measured over.
const INTERVAL: Duration = Duration::from_millis(500);
/// The same in beginnings of a transfer.
const BEGINNINGS: u32 = 4;
/// Segments are tried that take as many beginnings of a transfer as this, or are as long as they may be: with shorter
/// ones it is the beginnings that would be measured.
const LONG: f64 = 8.0;
/// A rate that grows by no more than this from one interval to the next is the full speed.
const STEADY: f64 = 1.1;
/// So many times as many are tried at once: each try takes some seconds.
const MORE: usize = 4;
/// More streams are of use if together they bring this many times as much.
const GAIN: f64 = 1.2;
/// Another stream is tried where what is left of the file takes as long as this without it.
const WORTH: Duration = Duration::from_secs(12);
/// What was found out counts for this long; how busy a link or server is changes.
const COUNTS: Duration = Duration::from_secs(300);
/// How far behind the furthest byte read the kernel may still ask for pieces, out of order.
pub(super) const SLACK: u64 = 2 * 1024 * 1024;

/// What bounds the segments of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Streams at once; with one there are no segments.
    pub streams: usize,
    /// Bytes ahead of the reader.
    pub lead: u64,
    /// As many streams as that from the start, whatever they bring.
    pub eager: bool,
}

impl Bounds {
    /// For a mount of so many connections and a block cache of `cache_size` bytes. Of the connections one is left for
    /// metadata and one for other readers.
    pub fn of(connections: usize, cache_size: usize, eager: bool) -> Bounds {
        const MOST: usize = 8;
        // Several files share it, but who comes later finds it taken for a while: 1/2 + 1/4 + 1/6 fit in.
        let lead = u64::try_from(cache_size / 2).unwrap_or(u64::MAX);
        Bounds { streams: connections.saturating_sub(2).clamp(1, MOST), lead, eager }
    }
}

/// How many streams were found to be of use, and when.
pub type Learned = Option<(usize, Instant)>;

/// Bytes that came.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// How many.
    pub bytes: u64,
    /// How many of the file have come in order, with them.
    pub read: u64,
    /// How many of it are still to come.
    pub left: u64,
    /// How long it takes to begin a transfer.
    pub setup: Duration,
}

/// Measures what the streams of one file bring, and decides how many there are.
#[derive(Debug)]
pub struct Segments {
    bounds: Bounds,
    streams: usize,
    phase: Phase,
    since: Option<Instant>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// One stream, which brought this much in the interval before, in bytes per second.
    Alone(Option<f64>),
    /// Only `fewer` streams brought `before`. The first interval is that of getting up to speed.
    Trial { fewer: usize, before: f64, is_first: bool },
    /// As many as are of use.
    Settled(Option<Instant>),
}

/// Segments of a file that are fetched for one reader.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// Where the reader began.
    pub begun: u64,
    /// The furthest byte that he has read, and one more.
    pub position: u64,
    /// Where the last segment ends.
    pub end: u64,
    /// None may end beyond this: what follows is one stream's, which begins there or before.
    pub furthest: u64,
}

impl Segments {
    /// For a file of which nothing was read yet.
    pub fn new(bounds: Bounds, learned: Learned, now: Instant) -> Segments {
        let learned = learned.filter(|(_, when)| now.saturating_duration_since(*when) < COUNTS);
        let (streams, phase) = match learned {
            _ if bounds.streams < 2 => (1, Phase::Settled(None)),
            _ if bounds.eager => (bounds.streams, Phase::Settled(None)),
            Some((streams, when)) => (streams, Phase::Settled(Some(when))),
            None => (1, Phase::Alone(None)),
        };
        Segments { bounds, streams, phase, since: None, bytes: 0 }
    }

    /// How many streams there are to be.
    pub fn streams(&self) -> usize {
        self.streams
    }

    /// Bytes came, by whichever stream. Returns what was found out, once it is.
    pub fn received(&mut self, came: Came, now: Instant) -> Learned {
        let since = *self.since.get_or_insert(now);
        self.bytes += came.bytes;
        let span = now.saturating_duration_since(since);
        // What the end of one segment and the beginning of another cost is part of what is measured.
        let least = match self.phase {
            Phase::Trial { is_first: false, .. } => self.bounds.lead.min(came.read),
            _ => 0,
        };
        if span < INTERVAL.max(came.setup * BEGINNINGS) || self.bytes < least {
            return None;
        }
        let rate = self.bytes as f64 / span.as_secs_f64();
        (self.since, self.bytes) = (Some(now), 0);
        match self.phase {
            Phase::Alone(before) => {
                let is_steady = before.is_some_and(|before| rate <= before * STEADY);
                match is_steady && self.is_worth_trying(rate, came) {
                    true => self.try_more(rate),
                    false => self.phase = Phase::Alone(Some(rate)),
                }
                None
            }
            Phase::Trial { fewer, before, is_first: true } => {
                self.phase = Phase::Trial { fewer, before, is_first: false };
                None
            }
            Phase::Trial { fewer, before, is_first: false } => {
                let found = if rate >= before * GAIN { self.streams } else { fewer };
                match found == self.streams && found < self.bounds.streams {
                    true => self.try_more(rate),
                    false => self.settle(found, now),
                }
                Some((found, now))
            }
            Phase::Settled(Some(when)) if now.saturating_duration_since(when) >= COUNTS => {
                (self.streams, self.phase) = (1, Phase::Alone(None));
                None
            }
            Phase::Settled(_) => None,
        }
    }

    fn is_worth_trying(&self, rate: f64, came: Came) -> bool {
        let longest = self.bounds.lead as f64;
        let streams = MORE.min(self.bounds.streams) as f64;
        let length = longest.min(came.read as f64) / streams;
        let is_long = length >= (longest / streams).min(rate * LONG * came.setup.as_secs_f64());
        is_long && length >= SHORTEST as f64 && came.left as f64 >= rate * WORTH.as_secs_f64()
    }

    /// The streams had to wait for the reader: what came meanwhile says nothing of them.
    pub fn paused(&mut self) {
        (self.since, self.bytes) = (None, 0);
        if let Phase::Alone(before) = &mut self.phase {
            *before = None;
        }
    }

    /// There is no connection for another stream now, or the server does not like it.
    pub fn refused(&mut self, running: usize, now: Instant) {
        if !self.bounds.eager {
            self.settle(running, now);
        }
    }

    /// The next segment to be fetched while `running` of those before are, one of `files` that are fetched so. `None` if
    /// there are enough.
    pub fn next(&self, chain: Chain, files: usize, running: usize, size: u64) -> Option<Range<u64>> {
        let (lead, length) = self.lengths(chain, files);
        let has_room = chain.end.saturating_add(length) <= chain.position.saturating_add(lead);
        if running >= self.streams || length < SHORTEST || chain.end >= size || !has_room {
            return None;
        }
        let end = self.end_of(chain.end, length, size);
        (end <= chain.furthest).then_some(chain.end..end)
    }

    /// Where the stream that fetches alone and has come to `chain.end` is to end, so that others begin there. `None`
    /// while there are to be no others, or too little is left for them.
    pub fn first_end(&self, chain: Chain, files: usize, size: u64) -> Option<u64> {
        let (_, length) = self.lengths(chain, files);
        let end = self.end_of(chain.end, length, size);
        (length >= SHORTEST && end < size && end <= chain.furthest).then_some(end)
    }

    /// How far ahead of the reader is fetched, and how long a segment is.
    fn lengths(&self, chain: Chain, files: usize) -> (u64, u64) {
        let earned = if self.bounds.eager { u64::MAX } else { chain.position.saturating_sub(chain.begun) };
        let lead = (self.bounds.lead / files.max(1) as u64).min(earned);
        match self.streams {
            0 | 1 => (lead, 0),
            streams => (lead, lead / streams as u64 / BLOCK as u64 * BLOCK as u64),
        }
    }

    /// A segment ends with a block, so that no block is of two of them.
    fn end_of(&self, start: u64, length: u64, size: u64) -> u64 {
        let end = start.saturating_add(length).checked_next_multiple_of(BLOCK as u64).unwrap_or(size);
        if size.saturating_sub(end) < SHORTEST { size } else { end }
    }

    fn try_more(&mut self, before: f64) {
        let fewer = self.streams;
        self.streams = (fewer * MORE).min(self.bounds.streams);
        self.phase = Phase::Trial { fewer, before, is_first: true };
    }

    fn settle(&mut self, streams: usize, now: Instant) {
        self.streams = streams.max(1);
        self.phase = Phase::Settled(Some(now));
    }
}

impl Chain {
    /// Whether a read of `at` goes on with what these segments are for.
    pub fn is_for(&self, at: u64) -> bool {
        (self.position.saturating_sub(SLACK)..=self.end).contains(&at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;
    const AUTO: Bounds = Bounds { streams: 8, lead: 32 * MIB, eager: false };
    const SETUP: Duration = Duration::from_millis(100);

    /// A reader of a file of 10 GB on a link where `rate(streams)` MB/s come; a second is two intervals.
    fn settled(bounds: Bounds, rate: impl Fn(usize) -> u64) -> (Segments, Learned) {
        let start = Instant::now();
        let mut segments = Segments::new(bounds, None, start);
        let (mut read, mut found) = (0, None);
        for tick in 0..1200 {
            let bytes = rate(segments.streams()) * 50_000;
            read += bytes;
            let came = Came { bytes, read, left: 10_000_000_000 - read, setup: SETUP };
            found = segments.received(came, start + Duration::from_millis(50) * tick).or(found);
        }
        (segments, found)
    }

    #[test]
    fn one_stream_that_fills_the_link_stays_alone() {
        let (segments, found) = settled(AUTO, |_| 20);
        assert_eq!((segments.streams(), found.unwrap().0), (1, 1));
    }

    #[test]
    fn as_many_are_used_as_bring_more() {
        for (of_use, expected) in [(2, 4), (4, 4), (100, 8)] {
            let (segments, found) = settled(AUTO, |streams| 2 * streams.min(of_use) as u64);
            assert_eq!((segments.streams(), found.unwrap().0), (expected, expected));
        }
        // Three are allowed: two more are tried, and given up.
        let (segments, _) = settled(Bounds { streams: 3, ..AUTO }, |_| 20);
        assert_eq!(segments.streams(), 1);
    }

    #[test]
    fn what_was_found_out_counts_for_the_next_file_and_for_some_time() {
        let now = Instant::now();
        assert_eq!(Segments::new(AUTO, Some((4, now)), now + COUNTS / 2).streams(), 4);
        assert_eq!(Segments::new(AUTO, Some((4, now)), now + COUNTS).streams(), 1);
        let mut segments = Segments::new(AUTO, Some((4, now)), now);
        let came = Came { bytes: 1, read: 1, left: MIB, setup: SETUP };
        segments.received(came, now);
        segments.received(came, now + COUNTS);
        assert_eq!(segments.streams(), 1);
    }

    #[test]
    fn files_that_are_fetched_so_at_once_share_what_may_be_ahead() {
        let segments = Segments::new(AUTO, Some((2, Instant::now())), Instant::now());
        let chain = Chain { begun: 0, position: 100 * MIB, end: 100 * MIB, furthest: u64::MAX };
        let end = |files| segments.first_end(chain, files, 1 << 40).map(|end| (end - chain.end) / MIB);
        assert_eq!([1, 2, 4, 16, 17].map(end), [Some(16), Some(8), Some(4), Some(1), None]);
    }

    #[test]
    fn none_ends_beyond_where_another_stream_could_begin() {
        let segments = Segments::new(AUTO, Some((2, Instant::now())), Instant::now());
        let chain = |furthest| Chain { begun: 0, position: 100 * MIB, end: 100 * MIB, furthest };
        for (furthest, is_told) in [(116 * MIB, true), (116 * MIB - 1, false)] {
            assert_eq!(segments.first_end(chain(furthest), 1, 1 << 40).is_some(), is_told);
            assert_eq!(segments.next(chain(furthest), 1, 0, 1 << 40).is_some(), is_told);
        }
    }

    #[test]
    fn without_prefetch_or_connections_there_is_one() {
        let now = Instant::now();
        for connections in 0..4 {
            let bounds = Bounds::of(connections, 64 << 20, true);
            assert_eq!(Segments::new(bounds, Some((4, now)), now).streams(), 1);
        }
        assert_eq!(Segments::new(Bounds::of(16, 64 << 20, true), None, now).streams(), 8);
    }

    #[test]
    fn a_rest_that_comes_within_seconds_is_not_worth_a_try() {
        let start = Instant::now();
        let mut segments = Segments::new(AUTO, None, start);
        for tick in 0..40 {
            let now = start + Duration::from_millis(500) * tick;
            let came = Came { bytes: MIB, read: 64 * MIB, left: 10 * MIB, setup: SETUP };
            assert!(segments.received(came, now).is_none());
        }
        assert_eq!(segments.streams(), 1);
    }

    #[test]
    fn nothing_is_tried_before_segments_would_be_long_enough() {
        let start = Instant::now();
        let tries = |read| {
            let mut segments = Segments::new(AUTO, None, start);
            for tick in 0..4 {
                let came = Came { bytes: MIB, read, left: 1 << 40, setup: SETUP };
                segments.received(came, start + Duration::from_millis(500) * tick);
            }
            segments.streams() > 1
        };
        // 2 MiB/s for 0.8 s, of each of four, rounded up.
        assert!(!tries(6 * MIB) && tries(7 * MIB));
    }

    #[test]
    fn what_comes_while_the_reader_is_waited_for_is_not_measured() {
        let start = Instant::now();
        let mut segments = Segments::new(AUTO, None, start);
        for tick in 0..40 {
            let now = start + Duration::from_millis(500) * tick;
            segments.received(Came { bytes: MIB, read: 64 * MIB, left: 1 << 40, setup: SETUP }, now);
            segments.paused();
        }
        assert_eq!(segments.streams(), 1);
    }

    #[test]
    fn one_that_is_refused_is_not_asked_for_again_at_once() {
        let start = Instant::now();
        let mut segments = Segments::new(AUTO, Some((4, start)), start);
        segments.refused(2, start);
        assert_eq!(segments.streams(), 2);
        segments.refused(0, start);
        assert_eq!(segments.streams(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A reader who reads on, with segments as they are told: they follow each other without gap or overlap up to
        /// the end of the file, end with blocks, and are never further ahead than they may be.
        #[test]
        fn segments_follow_each_other_to_the_end(
            size in 1..400 * MIB,
            begun in 0..100 * MIB,
            read in 0..64 * MIB,
            streams in 2..9usize,
            lead in 0..64 * MIB,
            eager: bool,
            step in 1..3 * MIB,
        ) {
            let now = Instant::now();
            let bounds = Bounds { streams, lead, eager };
            let segments = Segments::new(bounds, Some((streams, now)), now);
            let position = begun + read;
            if let Some(first) = segments.first_end(Chain { begun, position, end: position, furthest: u64::MAX }, 1, size) {
                prop_assert!(position < first && first < size);
                let mut chain = Chain { begun, position, end: first, furthest: u64::MAX };
                while chain.position < size {
                    // All that was asked for has come when the next is asked for.
                    while let Some(range) = segments.next(chain, 1, 0, size) {
                        prop_assert_eq!(range.start, chain.end);
                        prop_assert!(range.end > range.start);
                        prop_assert!(range.end == size || range.end % BLOCK as u64 == 0);
                        prop_assert!(range.end <= chain.position + lead + SHORTEST + BLOCK as u64);
                        prop_assert!(eager || range.end <= chain.position * 2 + SHORTEST + BLOCK as u64);
                        chain.end = range.end;
                    }
                    prop_assert!(segments.next(chain, 1, streams, size).is_none());
                    prop_assert!(chain.position <= chain.end, "he comes to a place that nobody fetches");
                    chain.position = (chain.position + step).min(chain.end).min(size);
                    if chain.position == chain.end && chain.end < size {
                        prop_assert!(segments.next(chain, 1, 0, size).is_some());
                    }
                }
                prop_assert_eq!(chain.end, size);
            }
        }

        #[test]
        fn hostile_sizes_are_survived(begun: u64, position: u64, next: u64, size: u64) {
            let now = Instant::now();
            let segments = Segments::new(AUTO, Some((8, now)), now);
            let chain = Chain { begun, position, end: next, furthest: u64::MAX };
            let _ = (segments.first_end(chain, 0, size), segments.next(chain, usize::MAX, 0, size));
        }
    }
}
