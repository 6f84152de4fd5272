//! Has segments of a file fetched side by side, as [`segments`](super::segments) decides.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::reader::{Reader, State};
use super::segments::{Came, Chain, SLACK};
use super::stream::Stream;
use super::window::Window;
use crate::cache::block::BLOCK;
use crate::ftp::features::Capability;
use crate::ftp::quirks::FAR;

/// A reader who has not read on for this long has gone elsewhere.
pub(super) const GONE: Duration = Duration::from_secs(1);
/// Streams that wait for a connection at once: each may need a login.
const AT_ONCE: usize = 4;
/// When there was no connection for a stream, no other is begun for so long.
const REST: Duration = Duration::from_millis(100);

/// The segments on their way, and for whom.
#[derive(Debug)]
pub(super) struct Spread {
    chain: Chain,
    /// When the reader last read on.
    since: Instant,
    /// The blocks before this one are behind him, and were told to be of no use.
    passed: u64,
    /// Others read behind him, and have use of them.
    is_followed: bool,
    /// There was no connection for another stream; none is begun before this.
    rests_until: Instant,
    among: Among,
}

/// One of the files that are fetched in segments: they share what may be ahead of their readers.
#[derive(Debug)]
struct Among(Arc<AtomicUsize>);

impl Among {
    fn new(files: &Arc<AtomicUsize>) -> Among {
        files.fetch_add(1, Ordering::Relaxed);
        Among(files.clone())
    }

    fn files(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Among {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a stream that begins somewhere is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A segment, or what is missing of one.
    Gap(Range<u64>),
    /// What follows the segments.
    Next,
    /// Something else.
    Jump,
}

impl State {
    /// The streams that fetch segments.
    fn running(&self) -> usize {
        self.streams.iter().filter(|s| s.is_segment && !s.stops() && s.next < s.limit).count()
    }

    /// Nobody wants what is fetched ahead in segments.
    fn end_spread(&mut self) {
        self.streams.iter_mut().filter(|s| s.is_ahead && s.waiters == 0).for_each(|s| s.stop = true);
        self.spread = None;
        self.segments.paused();
    }
}

impl Reader {
    /// What a stream has to do that is to begin at `at`. Ends the segments of a reader who has gone elsewhere.
    pub(super) fn room_at(&self, state: &mut State, at: u64) -> Room {
        let Some(spread) = &state.spread else { return Room::Jump };
        let (end, goes_on) = (spread.chain.end, spread.chain.is_for(at));
        if !goes_on || at >= end {
            if goes_on || spread.since.elapsed() > GONE {
                state.end_spread();
            }
            return if goes_on { Room::Next } else { Room::Jump };
        }
        // What waits for a connection is not waited for, and what would come by here later ends before.
        let here = at / BLOCK as u64 * BLOCK as u64;
        let around = |s: &&mut Stream| s.is_segment && s.start <= at && at < s.limit && !s.stops();
        let mut from = at;
        for stream in state.streams.iter_mut().filter(around) {
            match stream.is_ahead && !stream.is_served {
                true => stream.stop = true,
                false if stream.next < here && !stream.is_complete => {
                    stream.end_at(here);
                    from = here;
                }
                false => {}
            }
        }
        let later =
            state.streams.iter().filter(|s| s.is_segment && s.start > at && !s.stops()).map(|s| s.start);
        let to = later.min().unwrap_or(end).min(self.version.size);
        let blocks = at / BLOCK as u64 + 1..to / BLOCK as u64;
        let held = self.sources.blocks.first_held(self.version.id, blocks).map(|block| block * BLOCK as u64);
        self.changed.notify_all();
        Room::Gap(from..held.unwrap_or(to))
    }

    /// Somebody has read up to `end`, from bytes that `stream` has brought or is about to: sees to it that as much is on
    /// its way as is to be.
    pub(super) fn spread(self: &Arc<Self>, state: &mut State, id: Option<u64>, end: u64) {
        let (size, now) = (self.version.size, Instant::now());
        if let Some(spread) = &mut state.spread {
            if spread.chain.is_for(end) {
                if end > spread.chain.position {
                    (spread.chain.position, spread.since) = (end, now);
                }
                let behind = spread.chain.position.saturating_sub(SLACK) / BLOCK as u64;
                if !spread.is_followed {
                    (spread.passed..behind)
                        .for_each(|block| self.sources.blocks.demote(self.version.id, block));
                }
                spread.passed = spread.passed.max(behind);
            } else if spread.since.elapsed() > GONE {
                state.end_spread();
            } else {
                spread.is_followed |= end < spread.chain.position;
            }
        }
        if state.segments.streams() < 2 {
            self.join(state);
            return;
        }
        if end >= size && state.running() == 0 {
            state.spread = None;
        }
        if state.spread.is_none() && self.sources.remote.profile().rest() != Capability::No {
            let alone = id.and_then(|id| state.streams.iter_mut().find(|stream| stream.id == id));
            let Some(stream) = alone.filter(|s| s.window.is_sequential() && s.limit == size && !s.stops())
            else {
                return;
            };
            let among = Among::new(&self.sources.spread);
            // A server whose REST may count with 32 bits gives all of a file from its start.
            let is_far = self.sources.remote.profile().quirks().restarts_far == Capability::Yes;
            let furthest = if is_far { u64::MAX } else { FAR - 1 };
            let chain = Chain { begun: stream.start, position: end, end: stream.next, furthest };
            let Some(limit) = state.segments.first_end(chain, among.files(), size) else { return };
            stream.end_at(limit);
            let chain = Chain { end: limit, ..chain };
            let passed = end / BLOCK as u64;
            state.spread =
                Some(Spread { chain, since: now, passed, is_followed: false, rests_until: now, among });
            // Somebody may wait for what this stream brings no more.
            self.changed.notify_all();
        }
        while let Some(spread) = &state.spread
            && spread.rests_until <= now
            && state.streams.iter().filter(|s| s.is_ahead && !s.is_served).count() < AT_ONCE
            && let Some(range) =
                state.segments.next(spread.chain, spread.among.files(), state.running(), size)
        {
            let window = Window::going_on(range.start, self.sources.window, self.sources.prefetch);
            let end = range.end;
            let Ok(id) = self.start_stream(state, range, window) else { return };
            if let Some(stream) = state.stream(id) {
                stream.end_at(end);
                stream.is_ahead = true;
            }
            if let Some(spread) = &mut state.spread {
                spread.chain.end = end;
            }
        }
    }

    /// One stream is to go on alone: the one that is furthest.
    fn join(&self, state: &mut State) {
        let Some(spread) = state.spread.take() else { return };
        let last =
            |s: &&mut Stream| s.is_segment && s.limit == spread.chain.end && !s.is_complete && !s.stops();
        if let Some(stream) = state.streams.iter_mut().find(last) {
            stream.go_on_alone(self.version.size);
        } else {
            // Its reader comes to the end of what was fetched.
            state.spread = Some(spread);
        }
    }

    /// Bytes came by this stream.
    pub(super) fn measure(&self, state: &mut State, id: u64, bytes: u64) {
        let (size, begun) = (self.version.size, state.spread.as_ref().map(|spread| spread.chain.begun));
        let streams = state.streams.len();
        let Some(stream) = state.stream(id).filter(|stream| stream.window.is_sequential()) else { return };
        if self.sources.running.load(Ordering::Relaxed) > streams {
            // What others get at the same time is no less of use.
            state.segments.paused();
            return;
        }
        let came = Came {
            bytes,
            read: stream.next.saturating_sub(begun.unwrap_or(stream.start)),
            left: size.saturating_sub(stream.next),
            setup: self.sources.pace.lock().setup(),
        };
        if let Some(learned) = state.segments.received(came, Instant::now()) {
            log::debug!("{}: connections that are of use side by side: {}", self.path(), learned.0);
            *self.sources.learned.lock() = Some(learned);
        }
    }

    /// A segment cannot be gone on with, for want of a connection or because it `broke`. It need not be where nobody
    /// waits for it: who comes to what is missing has it fetched. False if somebody waits.
    pub(super) fn gives_up_segment(&self, id: u64, broke: bool) -> bool {
        let mut state = self.state.lock();
        let Some(stream) = state.stream(id) else { return true };
        if !stream.is_ahead {
            return false;
        }
        let was_stopped = std::mem::replace(&mut stream.stop, true);
        let (start, next, limit) = (stream.start, stream.next, stream.limit);
        if broke {
            let running = state.running();
            state.segments.refused(running, Instant::now());
        }
        if let Some(spread) = &mut state.spread {
            spread.rests_until = Instant::now() + REST;
            if !was_stopped && start == next && limit == spread.chain.end {
                // Nothing depends on it yet.
                spread.chain.end = start;
            }
        }
        true
    }

    /// A segment was seen to be of another version. Where nobody waits for it and the first stream still runs, that one
    /// may go on alone, as if there had been no others: it sees by itself whether what it brings is of one version. False
    /// if it cannot.
    pub(super) fn leaves_it_to_the_first(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        if state.spread.is_none() || state.stream(id).is_none_or(|stream| !stream.is_ahead) {
            return false;
        }
        let size = self.version.size;
        let first = |s: &&mut Stream| s.id == 0 && s.is_segment && !s.is_complete && !s.stops();
        let Some(first) = state.streams.iter_mut().find(first) else { return false };
        first.go_on_alone(size);
        let next = first.next;
        state.segments.refused(1, Instant::now());
        for stream in state.streams.iter_mut().filter(|s| s.is_segment) {
            stream.stop = true;
        }
        state.spread = None;
        drop(state);
        // What others have brought may be of another version.
        self.sources.blocks.purge_from(self.version.id, next.div_ceil(BLOCK as u64));
        self.disk.forget(self);
        self.changed.notify_all();
        true
    }
}
