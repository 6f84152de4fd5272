//! How far a stream fetches ahead of its reader. Pure.

/// The first window of a reader that goes on where it was.
const FIRST: u64 = 256 * 1024;
/// How far beside the last byte read a read may be and still count as going on: the kernel's readahead asks
/// for pieces out of order.
const SLACK: u64 = 1024 * 1024;
/// A step forward that costs less to read through than another RETR.
pub(super) const STEP: u64 = 512 * 1024;
/// What is left of a file behind the last byte wanted is fetched too when it is no more than this: reading
/// on to the end costs less than stopping.
const REST: u64 = 64 * 1024;

/// The window of one stream: nothing for a first read in the middle of a file, doubled by each read that
/// goes on where the last one ended.
#[derive(Debug)]
pub(super) struct Window {
    ahead: u64,
    largest: u64,
    read_to: u64,
    started: bool,
}

impl Window {
    /// The window of a stream that begins at `start`.
    pub(super) fn new(start: u64, largest: u64) -> Window {
        let ahead = if start == 0 { FIRST.min(largest) } else { 0 };
        Window { ahead, largest, read_to: start, started: false }
    }

    /// The reader wants (or has got) the bytes up to `end`, from `offset` on; returns how far to fetch of a
    /// file of `size` bytes.
    pub(super) fn read(&mut self, offset: u64, end: u64, size: u64) -> u64 {
        let goes_on = offset > 0 && offset.abs_diff(self.read_to) <= SLACK && end > self.read_to;
        if goes_on && self.started {
            self.ahead = (self.ahead * 2).clamp(FIRST, self.largest.max(FIRST));
        }
        self.started = true;
        self.read_to = self.read_to.max(end);
        let want = end.saturating_add(self.ahead).min(size);
        if size - want <= REST { size } else { want }
    }

    /// What a stream that has nothing to do waits for before it goes on, though nobody waits: doing much
    /// seldom costs less than little often.
    pub(super) fn worth_resuming(&self) -> u64 {
        self.ahead / 2
    }

    /// Whether the reader has shown that it goes on.
    pub(super) fn is_sequential(&self) -> bool {
        self.ahead > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_first_read_in_the_middle_fetches_only_what_was_asked_for() {
        let mut window = Window::new(500 * MIB, 8 * MIB);
        assert_eq!(window.read(500 * MIB, 500 * MIB + 4096, 1024 * MIB), 500 * MIB + 4096);
    }

    #[test]
    fn going_on_doubles_the_window_up_to_its_largest() {
        let mut window = Window::new(0, 8 * MIB);
        let (mut at, mut aheads) = (0, Vec::new());
        for _ in 0..8 {
            let want = window.read(at, at + 128 * 1024, 1024 * MIB);
            at += 128 * 1024;
            aheads.push((want - at) / 1024);
        }
        assert_eq!(aheads, [256, 512, 1024, 2048, 4096, 8192, 8192, 8192]);
    }

    #[test]
    fn a_small_rest_of_the_file_is_fetched_too() {
        let mut window = Window::new(4096, 8 * MIB);
        assert_eq!(window.read(4096, 8192, 50_000), 50_000);
        assert_eq!(Window::new(0, 8 * MIB).read(0, 10, 10), 10);
    }
}
