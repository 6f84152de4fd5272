//! How far a stream fetches ahead of its reader. Pure.

use std::ops::Range;
use std::time::Duration;

use crate::cache::Prefetch;

/// The first window of a reader that goes on where it was.
const FIRST: u64 = 256 * 1024;
/// How far beside the last byte read a read may be and still count as going on: the kernel's readahead asks
/// for pieces out of order.
const SLACK: u64 = 1024 * 1024;
/// How far behind him a gap that a reader has left still counts, and the most of them.
const REMEMBERED: u64 = 2 * SLACK;
const GAPS: usize = 32;
/// A step forward that is read through while the link is not known yet.
const STEP: u64 = 512 * 1024;
/// The shortest and the longest step that is read through however the link is.
const STEPS: std::ops::RangeInclusive<u64> = 32 * 1024..=8 * 1024 * 1024;
/// What is left of a file behind the last byte wanted is fetched too when it is no more than this: reading
/// on to the end costs less than stopping.
const REST: u64 = 64 * 1024;

/// The window of one stream: nothing for a first read in the middle of a file, doubled by each read that
/// goes on where the last one ended.
#[derive(Debug)]
pub struct Window {
    ahead: u64,
    /// The reader has shown that he goes on, or begins at the start.
    goes_on: bool,
    largest: u64,
    read_to: u64,
    /// What was passed over on the way there and not read since, in order.
    gaps: Vec<Range<u64>>,
    started: bool,
    prefetch: Prefetch,
}

impl Window {
    /// The window of a stream that begins at `start`.
    pub fn new(start: u64, largest: u64, prefetch: Prefetch) -> Window {
        let ahead = match prefetch {
            Prefetch::Off => 0,
            Prefetch::Auto if start > 0 => 0,
            Prefetch::Auto => FIRST.min(largest),
            Prefetch::Eager => largest,
        };
        Window {
            ahead,
            goes_on: start == 0,
            largest,
            read_to: start,
            gaps: Vec::new(),
            started: false,
            prefetch,
        }
    }

    /// The window of a stream that begins at `start`, where a reader is about to be who has shown that he goes on.
    pub fn going_on(start: u64, largest: u64, prefetch: Prefetch) -> Window {
        let ahead = if prefetch == Prefetch::Off { 0 } else { largest };
        Window { ahead, goes_on: true, largest, read_to: start, gaps: Vec::new(), started: true, prefetch }
    }

    /// The reader wants (or has got) the bytes up to `end`, from `offset` on; returns how far to fetch of a
    /// file of `size` bytes.
    pub fn read(&mut self, offset: u64, end: u64, size: u64) -> u64 {
        let goes_on = offset > 0 && offset.abs_diff(self.read_to) <= SLACK && end > self.read_to;
        if goes_on && self.started {
            self.goes_on = true;
            self.ahead = (self.ahead * 2).clamp(FIRST, self.largest.max(FIRST));
        }
        self.account(offset..end);
        self.started = true;
        self.read_to = self.read_to.max(end);
        if self.prefetch == Prefetch::Off {
            return end.min(size);
        }
        let want = end.saturating_add(self.ahead).min(size);
        if size - want <= REST { size } else { want }
    }

    /// Keeps `gaps`: a read that is told of twice leaves no gap twice.
    fn account(&mut self, read: Range<u64>) {
        let fills = |gap: &Range<u64>| gap.start < read.end && read.start < gap.end;
        if let Some(at) = self.gaps.iter().position(fills) {
            let left = self.gaps.split_off(at).into_iter().flat_map(|gap| {
                let (before, behind) = (gap.start..gap.end.min(read.start), gap.start.max(read.end)..gap.end);
                [before, behind].into_iter().filter(|part| !part.is_empty())
            });
            self.gaps.extend(left);
        }
        let forgotten = |gap: &Range<u64>| gap.end.saturating_add(REMEMBERED) < read.start;
        if self.gaps.first().is_some_and(forgotten) || self.gaps.len() >= GAPS {
            self.gaps.remove(0);
        }
        if self.read_to < read.start && self.started {
            self.gaps.push(self.read_to..read.start);
        }
    }

    /// What a stream that has nothing to do waits for before it goes on, though nobody waits: doing much
    /// seldom costs less than little often.
    pub fn worth_resuming(&self) -> u64 {
        match self.prefetch {
            Prefetch::Off => 0,
            Prefetch::Auto | Prefetch::Eager => self.ahead / 2,
        }
    }

    /// Whether a read of `at` is of a reader who has shown that he goes on, and does: he may leave gaps, which a kernel
    /// that asks out of order fills at once, and one who reads a bit here and there does not.
    pub fn goes_on_to(&self, at: u64) -> bool {
        let left_out = if at > self.read_to { self.left_out(0..at) } else { 0 };
        self.goes_on && at.abs_diff(self.read_to).saturating_add(left_out) <= SLACK
    }

    /// How much of `range` the reader has passed over and not asked for since.
    pub fn left_out(&self, range: Range<u64>) -> u64 {
        let within = |gap: &Range<u64>| gap.end.min(range.end).saturating_sub(gap.start.max(range.start));
        self.gaps.iter().map(within).fold(0, u64::saturating_add)
    }

    /// The end of what the reader has asked for.
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Whether the reader has shown that it goes on.
    pub fn is_sequential(&self) -> bool {
        self.goes_on
    }
}

/// What a transfer costs on this link: the time until it has begun, and bytes in a second from then on. Each
/// observation counts for a quarter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    setup: Option<Duration>,
    rate: Option<f64>,
}

impl Pace {
    /// A transfer had begun `setup` after it was asked for.
    pub(super) fn began(&mut self, setup: Duration) {
        self.setup = Some(self.setup.map_or(setup, |known| known * 3 / 4 + setup / 4));
    }

    /// A transfer that never paused brought `bytes` within `time` from its first byte on.
    pub(super) fn went_on(&mut self, bytes: u64, time: Duration) {
        let seconds = time.as_secs_f64();
        if bytes >= STEP && seconds > 0.0 {
            let rate = bytes as f64 / seconds;
            self.rate = Some(self.rate.map_or(rate, |known| known * 0.75 + rate * 0.25));
        }
    }

    /// How long it takes until a transfer has begun, as far as is known.
    pub(super) fn setup(&self) -> Duration {
        self.setup.unwrap_or_default()
    }

    /// How far forward reading through costs no more than another transfer, in bytes.
    pub(super) fn step(&self) -> u64 {
        match (self.setup, self.rate) {
            (Some(setup), Some(rate)) => {
                ((setup.as_secs_f64() * rate) as u64).clamp(*STEPS.start(), *STEPS.end())
            }
            _ => STEP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_first_read_in_the_middle_fetches_only_what_was_asked_for() {
        let mut window = Window::new(500 * MIB, 8 * MIB, Prefetch::Auto);
        assert_eq!(window.read(500 * MIB, 500 * MIB + 4096, 1024 * MIB), 500 * MIB + 4096);
    }

    #[test]
    fn pieces_of_a_reader_who_goes_on_may_come_out_of_order() {
        let size = 1024 * MIB;
        let mut window = Window::new(500 * MIB, 8 * MIB, Prefetch::Auto);
        window.read(500 * MIB, 500 * MIB + 4096, size);
        assert!(!window.goes_on_to(500 * MIB + 4096), "one read says nothing");
        window.read(500 * MIB + 4096, 500 * MIB + 8192, size);
        let to = 500 * MIB + 8192;
        for (at, goes_on) in [(to, true), (to + MIB, true), (to - MIB, true), (to + MIB + 1, false)] {
            assert_eq!(window.goes_on_to(at), goes_on);
        }
    }

    #[test]
    fn who_leaves_gaps_goes_on_only_while_he_fills_them() {
        const PIECE: u64 = 128 * 1024;
        let size = 1024 * MIB;
        let started = || {
            let mut window = Window::new(0, 8 * MIB, Prefetch::Auto);
            window.read(0, PIECE, size);
            window
        };
        // Each of these is told of twice, as a read that has to wait is.
        let mut swapped = started();
        for piece in (1..4000).map(|piece| (piece ^ 3) * PIECE).filter(|&at| at > 0) {
            assert!(swapped.goes_on_to(piece), "{piece}");
            swapped.read(piece, piece + PIECE, size);
            swapped.read(piece, piece + PIECE, size);
        }
        // What is left out counts until it is far behind.
        let mut once = started();
        once.read(MIB, MIB + PIECE, size);
        assert!(!once.goes_on_to(MIB + 3 * PIECE));
        assert_eq!(once.left_out(0..MIB + PIECE), MIB - PIECE);
        assert_eq!(once.left_out(MIB / 2..MIB), MIB / 2);
        for at in (MIB + PIECE..4 * MIB).step_by(PIECE as usize) {
            once.read(at, at + PIECE, size);
        }
        assert!(once.goes_on_to(4 * MIB + 2 * PIECE));
        let mut strided = started();
        let goes_on = |step: u64| {
            let at = step * 4 * PIECE;
            let goes_on = strided.goes_on_to(at);
            strided.read(at, at + PIECE, size);
            strided.read(at, at + PIECE, size);
            goes_on
        };
        assert_eq!((1..4).map(goes_on).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn hostile_offsets_are_survived() {
        let mut window = Window::new(0, 8 * MIB, Prefetch::Auto);
        for (offset, end) in [(0, 1), (u64::MAX, u64::MAX), (5, 3), (0, u64::MAX), (u64::MAX - 1, 7)] {
            window.read(offset, end, u64::MAX);
            let _ = (window.goes_on_to(0), window.goes_on_to(u64::MAX));
        }
    }

    #[test]
    fn without_prefetch_it_ends_where_the_reader_does() {
        let mut window = Window::new(0, 8 * MIB, Prefetch::Off);
        for at in [0, 4096, 8192] {
            assert_eq!(window.read(at, at + 4096, 20_000), at + 4096);
            assert_eq!(window.worth_resuming(), 0);
        }
        // Who reads on is waited for all the same.
        assert!(window.is_sequential());
        assert!(!Window::new(4096, 8 * MIB, Prefetch::Off).is_sequential());
    }

    #[test]
    fn an_eager_window_is_the_largest_from_the_first_byte_on() {
        for start in [0, 500 * MIB] {
            let mut window = Window::new(start, 8 * MIB, Prefetch::Eager);
            assert_eq!(window.read(start, start + 4096, 1024 * MIB), start + 4096 + 8 * MIB);
            assert_eq!(window.is_sequential(), start == 0, "who reads once in the middle may jump again");
        }
    }

    #[test]
    fn going_on_doubles_the_window_up_to_its_largest() {
        let mut window = Window::new(0, 8 * MIB, Prefetch::Auto);
        let (mut at, mut aheads) = (0, Vec::new());
        for _ in 0..8 {
            let want = window.read(at, at + 128 * 1024, 1024 * MIB);
            at += 128 * 1024;
            aheads.push((want - at) / 1024);
        }
        assert_eq!(aheads, [256, 512, 1024, 2048, 4096, 8192, 8192, 8192]);
    }

    #[test]
    fn what_is_read_through_follows_the_link() {
        let pace = |setup, bytes, seconds| {
            let mut pace = Pace::default();
            pace.began(Duration::from_millis(setup));
            pace.went_on(bytes, Duration::from_secs(seconds));
            pace.step()
        };
        assert_eq!(Pace::default().step(), STEP);
        // 200 ms at 25 MB/s; a modem; a link so fast that the longest step is the bound.
        assert_eq!(pace(200, 25_000_000, 1), 5_000_000);
        assert_eq!(pace(300, 600_000, 100), *STEPS.start());
        assert_eq!(pace(1000, 1 << 30, 1), *STEPS.end());
    }

    #[test]
    fn a_small_rest_of_the_file_is_fetched_too() {
        let mut window = Window::new(4096, 8 * MIB, Prefetch::Auto);
        assert_eq!(window.read(4096, 8192, 50_000), 50_000);
        assert_eq!(Window::new(0, 8 * MIB, Prefetch::Auto).read(0, 10, 10), 10);
    }
}
