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

/// A reader who has not read on for this long has gone elsewhere.
const GONE: Duration = Duration::from_secs(1);

/// The segments on their way, and for whom.
#[derive(Debug)]
pub(super) struct Spread {
    chain: Chain,
    /// When the reader last read on.
    since: Instant,
    /// The blocks before this one are behind him, and were told to be of no use.
    passed: u64,
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

    /// A segment is there as a whole.
    pub(super) fn segment_ended(&mut self) {
        if self.streams.iter().all(|stream| stream.waiters == 0) {
            // It is the reader who is slow.
            self.segments.paused();
        }
    }

    /// What a stream has to do that is to begin at `at`. Ends the segments of a reader who has gone elsewhere.
    pub(super) fn room_at(&mut self, at: u64, size: u64) -> Room {
        let Some(spread) = &self.spread else { return Room::Jump };
        let goes_on = spread.chain.is_for(at);
        if goes_on && at < spread.chain.end {
            let later = self.streams.iter().filter(|s| s.is_segment && s.start > at).map(|s| s.start);
            return Room::Gap(at..later.min().unwrap_or(spread.chain.end).min(size));
        }
        if goes_on || spread.since.elapsed() > GONE {
            self.streams.iter_mut().filter(|s| s.is_ahead && s.waiters == 0).for_each(|s| s.stop = true);
            self.spread = None;
            self.segments.paused();
        }
        if goes_on { Room::Next } else { Room::Jump }
    }
}

impl Reader {
    /// Somebody has read up to `end`, from bytes that `stream` has brought or is about to: sees to it that as much is on
    /// its way as is to be.
    pub(super) fn spread(self: &Arc<Self>, state: &mut State, id: Option<u64>, end: u64) {
        let (size, now) = (self.version.size, Instant::now());
        if let Some(spread) = &mut state.spread
            && spread.chain.is_for(end)
        {
            if end > spread.chain.position {
                (spread.chain.position, spread.since) = (end, now);
            }
            let behind = spread.chain.position.saturating_sub(SLACK) / BLOCK as u64;
            (spread.passed..behind).for_each(|block| self.sources.blocks.demote(self.version.id, block));
            spread.passed = spread.passed.max(behind);
        }
        if state.segments.streams() < 2 {
            self.join(state);
            return;
        }
        if state.spread.is_none() && self.sources.remote.profile().rest() != Capability::No {
            let alone = id.and_then(|id| state.streams.iter_mut().find(|stream| stream.id == id));
            let Some(stream) = alone.filter(|s| s.window.is_sequential() && s.limit == size && !s.stops())
            else {
                return;
            };
            let among = Among::new(&self.sources.spread);
            let chain = Chain { begun: stream.start, position: end, end: stream.next };
            let Some(limit) = state.segments.first_end(chain, among.files(), size) else { return };
            stream.end_at(limit);
            let chain = Chain { end: limit, ..chain };
            state.spread = Some(Spread { chain, since: now, passed: end / BLOCK as u64, among });
            // Somebody may wait for what this stream brings no more.
            self.changed.notify_all();
        }
        while let Some(spread) = &state.spread
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
        let last = |s: &&mut Stream| s.is_segment && s.limit == spread.chain.end && !s.stops();
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
        stream.stop = true;
        if broke {
            let running = state.running();
            state.segments.refused(running, Instant::now());
        }
        true
    }
}
