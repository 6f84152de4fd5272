//! One version of one file: finds bytes in memory, has streams fetch the rest.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cache::block::BLOCK;
use crate::cache::{FileVersion, Prefetch, WholeFile};
use crate::deadline::Deadline;
use crate::read::ahead::Need;
use crate::read::disk::Disk;
use crate::read::segments::{SLACK, Segments};
use crate::read::spread::{Room, Spread};
use crate::read::stream::{self, Stream};
use crate::read::window::Window;
use crate::read::{Patience, ReadError, Sources};
use crate::remote::{Error, Kind, RemotePath};

/// Streams of one file at once; a further one waits until another ends.
pub(super) const STREAMS_PER_FILE: usize = 16;

/// What a reader gave up waiting for is not waited for again so soon: the kernel asks once more, at once, for a page that
/// it did not get, and its caller would wait twice as long as promised.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// How long a stream that comes by is waited for while nobody asks for what is between. A kernel that asks out of order
/// has asked for it by then, and on a slow link another transfer is sooner.
const COMES_BY: Duration = Duration::from_secs(1);

/// One version of one file, shared by all handles that have it open.
///
/// 1. Bytes are delivered only while the file is this version as far as is known; once it is seen to be
///    another, every read fails.
/// 2. What it reads at `path` is that file: whoever renames it through the mount tells so before anything
///    else can take its place.
/// 3. A byte that a stream has published stays reachable through the stream until it is a MiB behind, so a
///    waiting reader gets it whatever the cache evicts.
#[derive(Debug)]
pub struct Reader {
    pub(super) sources: Arc<Sources>,
    path: Mutex<RemotePath>,
    pub(super) disk: Disk,
    pub(super) version: Arc<FileVersion>,
    pub(super) state: Mutex<State>,
    /// Something in the state changed.
    pub(super) changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) streams: Vec<Stream>,
    pub(super) next_id: u64,
    pub(super) segments: Segments,
    pub(super) spread: Option<Spread>,
    /// The file is no longer this version.
    pub(super) stale: Option<Error>,
    /// The byte that a reader gave up waiting for, when and why; `None` since bytes came.
    pub(super) gave_up: Option<(u64, Instant, Error)>,
    pub(super) closed: bool,
}

impl State {
    /// Whether all that will come of the file has come, and is good.
    pub(super) fn is_done(&self) -> bool {
        self.closed && self.streams.is_empty() && self.stale.is_none()
    }

    pub(super) fn stream(&mut self, id: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }
}

/// A piece of the file found in memory.
enum Piece {
    Shared(Arc<[u8]>, Range<usize>),
    Copied(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Shared(bytes, range) => bytes.get(range.clone()).unwrap_or(&[]),
            Piece::Copied(bytes) => bytes,
        }
    }
}

impl Reader {
    pub(super) fn new(sources: Arc<Sources>, path: RemotePath, version: Arc<FileVersion>) -> Reader {
        let disk = Disk::new(&sources, &path);
        let state = State {
            streams: Vec::new(),
            next_id: 0,
            segments: Segments::new(sources.bounds, *sources.learned.lock(), Instant::now()),
            spread: None,
            stale: None,
            gave_up: None,
            closed: false,
        };
        Reader {
            sources,
            path: Mutex::new(path),
            disk,
            version,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Size in bytes of the version that is read.
    pub fn size(&self) -> u64 {
        self.version.size
    }

    /// Where the file is now.
    pub(super) fn path(&self) -> RemotePath {
        self.path.lock().clone()
    }

    /// The file was renamed through our mount and is read on from `path`. To be called when the server has
    /// renamed it, before anything else may come to stand at the old path.
    pub fn moved(&self, path: RemotePath) {
        // Under the state's lock, so that who waits for the news cannot miss it.
        let state = self.state.lock();
        self.disk.moved(&self.sources, &path);
        *self.path.lock() = path;
        drop(state);
        self.changed.notify_all();
    }

    /// Whether the file was, or within `patience` is, renamed away from `path`.
    pub(super) fn moves_from(&self, path: &RemotePath, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        while *self.path.lock() == *path && !state.closed {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        *self.path.lock() != *path
    }

    /// Reads `len` bytes at `offset`, fewer only at the end of the file.
    ///
    /// # Errors
    /// [`ReadError::WouldBlock`] when the bytes are not in memory and may not be waited for; a remote error
    /// of [`Kind::Changed`] when the file is another version, of [`Kind::DeadlinePassed`] when they did not
    /// come in time.
    pub fn read(self: &Arc<Self>, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, ReadError> {
        let size = self.version.size;
        let end = offset.saturating_add(len as u64).min(size);
        if offset >= end {
            return Ok(Vec::new());
        }
        let mut out = Vec::with_capacity(usize::try_from(end - offset).unwrap_or(len));
        let mut looked_ahead = false;
        // The block that the disk was asked for last.
        let mut asked = None;
        let mut from_disk = false;
        // The byte that was missing last, and since when.
        let mut missing = (offset, Instant::now());
        let mut state = self.state.lock();
        loop {
            if let Some(error) = &state.stale {
                return Err(ReadError::Remote(error.clone()));
            }
            if state.closed {
                let cause = "another version is read by now";
                let error = self.sources.remote.error(Kind::Changed, "read", &self.path(), cause);
                return Err(ReadError::Remote(error));
            }
            let at = offset + out.len() as u64;
            if at == end {
                // Where the disk has the bytes, no stream is to fetch them ahead.
                if !from_disk {
                    self.advance(&mut state, offset, end);
                }
                self.leave_room(&state);
                return Ok(out);
            }
            if let Some(piece) = self.piece(&state, at, end) {
                from_disk = false;
                // Copied without the lock; what was found cannot change any more.
                MutexGuard::unlocked(&mut state, || out.extend_from_slice(piece.bytes()));
                continue;
            }
            let Patience::Until(deadline) = patience else { return Err(ReadError::WouldBlock) };
            if let Some((byte, when, error)) = &state.gave_up
                && *byte == at
                && when.elapsed() < ASKED_AGAIN
            {
                return Err(ReadError::Remote(error.clone()));
            }
            if deadline.passed() {
                let cause = "the bytes did not come in time";
                let error = self.sources.remote.error(Kind::DeadlinePassed, "read", &self.path(), cause);
                state.gave_up = Some((at, Instant::now(), error.clone()));
                self.leave_room(&state);
                return Err(ReadError::Remote(error));
            }
            if state.streams.is_empty() && !std::mem::replace(&mut looked_ahead, true) {
                // It may be on its way already.
                let (path, need) = (self.path(), Need::Bytes(self.version.id));
                MutexGuard::unlocked(&mut state, || self.sources.ahead.settle(&path, need, deadline));
                continue;
            }
            let block = at / BLOCK as u64;
            if self.disk.is_used() && asked.replace(block) != Some(block) {
                MutexGuard::unlocked(&mut state, || {
                    if let Some((bytes, range)) = self.disk.find(self, at, deadline) {
                        let to = range.end.min(range.start + usize::try_from(end - at).unwrap_or(usize::MAX));
                        out.extend_from_slice(&bytes[range.start..to]);
                        from_disk = true;
                    }
                });
                continue;
            }
            if missing.0 != at {
                missing = (at, Instant::now());
            }
            self.want(&mut state, at..end, missing.1, deadline)?;
        }
    }

    /// The version as one file on the local disk, all of whose bytes were found good: for who can have them read from
    /// there. Reads the disk, and may ask the server for the time of the file. Most often there is none.
    pub fn whole(&self, deadline: Deadline) -> Option<Arc<WholeFile>> {
        self.disk.whole(self, deadline)
    }

    /// A reader waits no more, and perhaps nobody for his stream: who waits for the place of one may have it.
    fn leave_room(&self, state: &State) {
        if state.streams.len() >= STREAMS_PER_FILE {
            self.changed.notify_all();
        }
    }

    /// Gives back what the reader holds: its streams stop.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let is_done = state.is_done();
        drop(state);
        self.changed.notify_all();
        if is_done {
            self.disk.seal(self);
        }
    }

    /// The bytes from `at` on, as many as one place in memory holds, up to `end`.
    fn piece(&self, state: &State, at: u64, end: u64) -> Option<Piece> {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX);
        for stream in &state.streams {
            if let Some((bytes, from)) = stream.recent(at) {
                let to = bytes.len().min(from + most);
                return Some(Piece::Shared(bytes.clone(), from..to));
            }
            if let Some(bytes) = stream.filling(at) {
                return Some(Piece::Copied(bytes[..bytes.len().min(most)].to_vec()));
            }
        }
        let (bytes, range) = self.sources.blocks.get(self.version.id, at)?;
        let to = range.end.min(range.start + most);
        Some(Piece::Shared(bytes, range.start..to))
    }

    /// Tells the stream behind a satisfied read to stay ahead.
    fn advance(self: &Arc<Self>, state: &mut State, offset: u64, end: u64) {
        if self.sources.prefetch == Prefetch::Off {
            return;
        }
        let size = self.version.size;
        let step = self.sources.pace.lock().step();
        let near = |stream: &&mut Stream| stream.start <= end && end <= stream.next + step;
        let stream = state.streams.iter_mut().filter(near).max_by_key(|stream| stream.start);
        let id = stream.as_ref().map(|stream| stream.id);
        if let Some(stream) = stream {
            stream.extend(offset, end, size);
            if stream.is_to_be_woken() {
                self.changed.notify_all();
            }
        }
        self.spread(state, id, end);
    }

    /// Has the first byte of `range` fetched, which is missing `since` then, and waits for news.
    fn want(
        self: &Arc<Self>,
        state: &mut MutexGuard<'_, State>,
        range: Range<u64>,
        since: Instant,
        deadline: Deadline,
    ) -> Result<(), ReadError> {
        let (at, end) = (range.start, range.end);
        let waits_on = since.elapsed() < COMES_BY;
        let from_start = self.sources.remote.profile().rest() == crate::ftp::features::Capability::No;
        let step = self.sources.pace.lock().step();
        let reaches = |stream: &Stream| {
            // A segment is fetched to its end in any case.
            let step = if stream.is_segment { step.max(SLACK) } else { step };
            let comes_by =
                || stream.comes_by(at) && (waits_on || stream.window.left_out(stream.next..at) <= step);
            let is_near = stream.next <= at && (from_start || at - stream.next <= step || comes_by());
            // One that waits for a connection of its own, which nobody may need, may wait for long.
            let is_served = stream.is_served || !stream.is_ahead;
            is_near && is_served && at < stream.limit && !stream.stops()
        };
        let nearest = state.streams.iter().filter(|stream| reaches(stream)).max_by_key(|stream| stream.next);
        let id = match nearest.map(|stream| stream.id) {
            Some(id) => id,
            None => {
                if state.streams.len() >= STREAMS_PER_FILE {
                    // One of them ends soon: those that nobody waits for are told to, once. Who waits here too has no news.
                    let mut untold =
                        state.streams.iter_mut().filter(|s| s.waiters == 0 && !s.stop).peekable();
                    if untold.peek().is_some() {
                        untold.for_each(|s| s.stop = true);
                        self.changed.notify_all();
                    }
                    self.changed.wait_until(state, deadline.instant());
                    return Ok(());
                }
                // What was fetched for one read elsewhere is not gone on with, nor what is fetched ahead there.
                let is_idle = |s: &Stream| s.parked || self.sources.prefetch == Prefetch::Eager;
                state
                    .streams
                    .iter_mut()
                    .filter(|s| is_idle(s) && !s.window.is_sequential() && s.waiters == 0)
                    .for_each(|s| s.stop = true);
                self.changed.notify_all();
                let size = self.version.size;
                let (largest, prefetch) = (self.sources.window, self.sources.prefetch);
                match if from_start { Room::Jump } else { self.room_at(state, at) } {
                    Room::Gap(range) => {
                        let (end, window) = (range.end, Window::going_on(range.start, largest, prefetch));
                        let id = self.start_stream(state, range, window)?;
                        state.stream(id).into_iter().for_each(|stream| stream.end_at(end));
                        id
                    }
                    Room::Next => {
                        self.start_stream(state, at..size, Window::going_on(at, largest, prefetch))?
                    }
                    Room::Jump => {
                        state.streams.iter_mut().filter(|s| !s.is_segment).for_each(Stream::leave);
                        let at = if from_start { 0 } else { at };
                        self.start_stream(state, at..size, Window::new(at, largest, prefetch))?
                    }
                }
            }
        };
        let Some(stream) = state.stream(id) else { return Ok(()) };
        stream.is_ahead = false;
        stream.extend(at, end, self.version.size);
        stream.waiters += 1;
        stream.await_bytes(at, end);
        // Others who wait for bytes have no news; woken without need, they would wake us in turn.
        if stream.is_to_be_woken() {
            self.changed.notify_all();
        }
        let until = if waits_on { since + COMES_BY } else { deadline.instant() };
        self.changed.wait_until(state, until.min(deadline.instant()));
        let Some(stream) = state.stream(id) else { return Ok(()) };
        stream.waits_no_more();
        let Some(failure) = stream.failure.clone() else { return Ok(()) };
        if stream.waiters == 0 {
            self.leave_room(state);
            state.streams.retain(|stream| stream.id != id);
        }
        Err(ReadError::Remote(failure))
    }

    /// Begins a stream that fetches of `range` what its `window` says. It begins to run when the state is unlocked.
    pub(super) fn start_stream(
        self: &Arc<Self>,
        state: &mut State,
        range: Range<u64>,
        window: Window,
    ) -> Result<u64, ReadError> {
        let id = state.next_id;
        state.next_id += 1;
        state.streams.push(Stream::new(id, range, window));
        let reader = self.clone();
        let submitted = self.sources.workers.submit(move || stream::run(&reader, id));
        if submitted.is_err() {
            state.streams.retain(|stream| stream.id != id);
            let cause = "too many files are being read at once";
            let error = self.sources.remote.error(Kind::Failed, "read", &self.path(), cause);
            return Err(ReadError::Remote(error));
        }
        Ok(id)
    }
}
