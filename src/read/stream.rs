//! One stream: a RETR that publishes what arrives, and starts again at its offset when it is cut.

mod pump;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::cache::block::BLOCK;
use crate::deadline::Deadline;
use crate::ftp::error::Error as FtpError;
use crate::ftp::features::Capability;
use crate::ftp::query::Facts;
use crate::ftp::warm::Readiness;
use crate::read::reader::Reader;
use crate::read::spread::GONE;
use crate::read::window::Window;
use crate::remote::{Error, Kind, Lane, Lease, Remote, RemotePath};

use pump::{DataEnd, publish, pump};

/// A transfer that lasted longer, or brought more, is checked at its end: somebody may have written into the
/// file meanwhile.
pub(super) const UNCHECKED: Duration = Duration::from_secs(1);
pub(super) const UNCHECKED_BYTES: u64 = 1024 * 1024;
/// Bound for stopping a transfer and for the last look at the file.
pub(super) const SETTLE: Duration = Duration::from_secs(5);
/// How much earlier than the answer to our own rename the refusal of its old path may come: they travel on
/// different connections.
const RENAME: Duration = Duration::from_millis(500);
/// The final reply of a transfer that is complete by its bytes is waited for no longer than this.
pub(super) const FINAL_REPLY: Duration = Duration::from_secs(10);

/// The state of a stream, kept in its reader.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u64,
    /// Where it began.
    pub(super) start: u64,
    /// The next byte to be published.
    pub(super) next: u64,
    /// Fetch up to here.
    want: u64,
    /// And never beyond this: what follows is fetched by another stream, or the end of the file.
    pub(super) limit: u64,
    /// It fetches one of several segments; see [`segments`](crate::read::segments).
    pub(super) is_segment: bool,
    /// Nobody has waited for it yet: it takes only a connection that nobody needs.
    pub(super) is_ahead: bool,
    /// It has a connection, or has had one.
    pub(super) is_served: bool,
    /// All bytes of its segment have come; the last of them are still to be confirmed.
    pub(super) is_complete: bool,
    pub(super) window: Window,
    /// The published bytes of the block that is not full yet; they end at `next`.
    filling: Vec<u8>,
    /// Full blocks published last, each with its offset, oldest first.
    recent: VecDeque<(u64, Arc<[u8]>)>,
    /// Holds a connection and waits to be wanted.
    pub(super) parked: bool,
    pub(super) stop: bool,
    /// Somebody else needs the connection.
    revoked: bool,
    pub(super) waiters: usize,
    /// Since when somebody reads elsewhere, and nobody has waited here or read on.
    left: Option<Instant>,
    /// What its transfer brings may be kept on the disk.
    keeps: bool,
    /// So may all of `filling`, which more than one transfer may have brought.
    filling_keeps: bool,
    /// One of them has news when `next` gets here.
    awaited: u64,
    /// Why it ended, for those who wait.
    pub(super) failure: Option<Error>,
}

impl Stream {
    /// A stream that fetches `range` as far as its `window` says.
    pub(super) fn new(id: u64, range: Range<u64>, window: Window) -> Stream {
        Stream {
            id,
            start: range.start,
            next: range.start,
            want: range.start,
            limit: range.end,
            is_segment: false,
            is_ahead: false,
            is_served: false,
            is_complete: false,
            window,
            filling: Vec::new(),
            recent: VecDeque::new(),
            parked: false,
            stop: false,
            revoked: false,
            waiters: 0,
            left: None,
            keeps: false,
            filling_keeps: false,
            awaited: u64::MAX,
            failure: None,
        }
    }

    /// Makes it fetch all up to `limit`, and no more.
    pub(super) fn end_at(&mut self, limit: u64) {
        (self.limit, self.want, self.is_segment) = (limit, limit, true);
    }

    /// It need not end before the file does any more.
    pub(super) fn go_on_alone(&mut self, size: u64) {
        (self.limit, self.is_segment) = (size, false);
    }

    /// Whether it waits, with its connection, and has to be told that it is wanted.
    pub(super) fn is_to_be_woken(&self) -> bool {
        self.parked && self.is_wanted()
    }

    /// Whether it has something to fetch that makes a parked stream go on.
    fn is_wanted(&self) -> bool {
        let more = self.want.saturating_sub(self.next);
        more > 0 && (self.waiters > 0 || self.want == self.limit || more >= self.window.worth_resuming())
    }

    /// Whether it ends without fetching more.
    pub(super) fn stops(&self) -> bool {
        self.stop || self.failure.is_some()
    }

    /// A reader wants, or has, the bytes of `offset..end`.
    pub(super) fn extend(&mut self, offset: u64, end: u64, size: u64) {
        let read_to = self.window.read_to();
        let want = self.window.read(offset, end, size).min(self.limit);
        // What was asked for before somebody left may be told of again.
        if self.window.read_to() > read_to {
            self.left = None;
        }
        self.want = self.want.max(want);
    }

    /// One of those who wait does so no more.
    pub(super) fn waits_no_more(&mut self) {
        self.waiters -= 1;
        self.left = self.left.map(|_| Instant::now());
    }

    /// Somebody begins to read elsewhere: perhaps it was the reader of this one, who has no use for the rest of his window.
    pub(super) fn leave(&mut self) {
        self.left.get_or_insert_with(Instant::now);
    }

    /// Whether its reader has gone elsewhere.
    fn is_left(&self) -> bool {
        self.waiters == 0 && self.left.is_some_and(|since| since.elapsed() > GONE)
    }

    /// Whether it is about to fetch `at` for a reader who goes on: the kernel asks for pieces out of order, and another
    /// stream for the one that came first would fetch the same bytes.
    pub(super) fn comes_by(&self, at: u64) -> bool {
        self.next <= at && at < self.want && self.window.goes_on_to(at)
    }

    /// A reader waits for `at..end`: it is woken when all of that is there, or a block of it. What it waits for is
    /// still at hand then.
    pub(super) fn await_bytes(&mut self, at: u64, end: u64) {
        self.awaited = self.awaited.min(end.min(at + BLOCK as u64)).min(self.limit);
    }

    /// Whether bytes are there that somebody waits for; those who have to wait on say so again.
    fn has_news(&mut self) -> bool {
        let news = self.next >= self.awaited;
        if news {
            self.awaited = u64::MAX;
        }
        news
    }

    /// The block published last that holds `at`, and where in it.
    pub(super) fn recent(&self, at: u64) -> Option<(&Arc<[u8]>, usize)> {
        self.recent.iter().find_map(|(offset, bytes)| {
            let from = usize::try_from(at.checked_sub(*offset)?).ok()?;
            (from < bytes.len()).then_some((bytes, from))
        })
    }

    /// The bytes from `at` on that belong to the block that is not full yet.
    pub(super) fn filling(&self, at: u64) -> Option<&[u8]> {
        let begin = self.next - self.filling.len() as u64;
        let from = usize::try_from(at.checked_sub(begin)?).ok()?;
        self.filling.get(from..).filter(|bytes| !bytes.is_empty())
    }
}

/// How one transfer ended.
enum End {
    /// The end of the file was reached and confirmed; these last bytes of it are to be published.
    Whole(Vec<u8>),
    /// Nobody wants more.
    Unwanted,
    /// Others need the connection; there is more to fetch.
    Yielded,
    /// The file is not the version that was opened.
    Changed(String),
    /// The file was renamed; what came before is good.
    Moved,
    /// It broke; what came before is good.
    Broken(FtpError),
}

/// Counts a stream that runs; takes it out when its thread ends in a way that nobody foresaw, so that no reader waits for it.
struct Unforeseen<'a> {
    reader: &'a Reader,
    id: u64,
}

impl<'a> Unforeseen<'a> {
    fn new(reader: &'a Reader, id: u64) -> Unforeseen<'a> {
        reader.sources.running.fetch_add(1, Ordering::Relaxed);
        Unforeseen { reader, id }
    }
}

impl Drop for Unforeseen<'_> {
    fn drop(&mut self) {
        self.reader.sources.running.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.reader.state.lock().streams.retain(|stream| stream.id != self.id);
            self.reader.changed.notify_all();
        }
    }
}

/// Runs a stream to its end.
pub(super) fn run(reader: &Arc<Reader>, id: u64) {
    let _guard = Unforeseen::new(reader, id);
    let outcome = fetch(reader, id);
    let mut state = reader.state.lock();
    if let Some(Outcome::Changed(error)) = &outcome {
        state.stale = Some(error.clone());
    }
    let leftover = state.stream(id).map(|stream| {
        stream.failure = match outcome {
            Some(Outcome::Changed(error) | Outcome::Failed(error)) => Some(error),
            None => None,
        };
        let begin = stream.next - stream.filling.len() as u64;
        (begin, Arc::<[u8]>::from(std::mem::take(&mut stream.filling)), stream.filling_keeps)
    });
    let leftover = leftover.filter(|(_, bytes, _)| !bytes.is_empty() && state.stale.is_none());
    if let Some((begin, bytes, keeps)) = leftover {
        reader.sources.blocks.insert(reader.version.id, begin, bytes.clone());
        if keeps {
            reader.disk.keep(reader, begin, bytes);
        }
    }
    // With a failure it stays until all who wait have seen it; who comes later starts another.
    state.streams.retain(|stream| stream.id != id || (stream.failure.is_some() && stream.waiters > 0));
    let stale = state.stale.is_some();
    let is_done = state.is_done();
    if stale {
        reader.sources.blocks.purge(reader.version.id);
    }
    drop(state);
    reader.changed.notify_all();
    if is_done {
        reader.disk.seal(reader);
    }
    if stale {
        reader.disk.forget(reader);
    }
}

/// Why a stream ended early.
enum Outcome {
    Changed(Error),
    Failed(Error),
}

/// Fetches until nobody wants more; a cut transfer is gone on with at its offset.
fn fetch(reader: &Arc<Reader>, id: u64) -> Option<Outcome> {
    let remote = &reader.sources.remote;
    let mut attempt = 1;
    let mut furthest = 0;
    loop {
        let (before, is_ahead) = {
            let mut state = reader.state.lock();
            if state.closed || state.stale.is_some() {
                return None;
            }
            let stream = state.stream(id)?;
            if stream.stop || (stream.next >= stream.want && stream.waiters == 0) {
                return None;
            }
            (stream.next, stream.is_ahead)
        };
        let deadline = Deadline::after(reader.sources.patience);
        let mut lease = match is_ahead {
            true => match remote.pool().try_ahead(deadline) {
                Some(lease) => lease,
                None if reader.gives_up_segment(id, false) => return None,
                None => continue,
            },
            false => match remote.lease("read", &reader.path(), Lane::Data, deadline) {
                Ok(lease) => lease,
                Err(error) => return Some(Outcome::Failed(error)),
            },
        };
        let path = reader.path();
        let fresh = lease.is_fresh();
        if let Some(stream) = reader.state.lock().stream(id) {
            (stream.revoked, stream.is_served) = (false, true);
        }
        let end = transfer(reader, id, &path, &mut lease, before, deadline);
        drop(lease);
        let error = match end {
            End::Whole(last) => {
                // After the connection is back: who reads one file after the other needs only one.
                publish(reader, id, &last);
                return None;
            }
            End::Unwanted => return None,
            End::Yielded => {
                if reader.gives_up_segment(id, false) {
                    return None;
                }
                attempt = 1;
                continue;
            }
            End::Moved => {
                attempt = 1;
                continue;
            }
            End::Changed(_) | End::Broken(_) if reader.path() != path => {
                attempt = 1;
                continue;
            }
            End::Changed(cause) if reader.leaves_it_to_the_first(id) => {
                log::debug!("{path} is not fetched in segments: {cause}");
                return None;
            }
            End::Changed(cause) => {
                log::info!("{path} was changed on the server while it was read: {cause}");
                return Some(Outcome::Changed(remote.error(Kind::Changed, "read", &path, cause)));
            }
            End::Broken(error) => {
                if reader.gives_up_segment(id, true) {
                    log::debug!("a segment of {path} is not fetched ahead: {error}");
                    return None;
                }
                error
            }
        };
        // Without REST a stream comes by the same bytes again; only new ones are progress.
        let next = reader.state.lock().stream(id)?.next;
        if next > furthest.max(before) {
            attempt = 1;
        }
        furthest = next.max(furthest);
        // A server that does not take REST is read from its start.
        let restart_refused =
            matches!(&error, FtpError::Refused { command, .. } if command.starts_with("REST"));
        if restart_refused && remote.profile().rest() == Capability::No {
            let mut state = reader.state.lock();
            let stream = state.stream(id)?;
            (stream.start, stream.next) = (0, 0);
            stream.filling.clear();
            stream.recent.clear();
            continue;
        }
        match Remote::pause_before_next(attempt, fresh, &error) {
            Some(pause) => remote.pool().pause(pause, deadline),
            None => {
                let deadline = Deadline::after(reader.sources.patience);
                let explained = remote.explain_read(&path, &error, deadline);
                if explained.kind() == Kind::NotFound && reader.moves_from(&path, RENAME) {
                    attempt = 1;
                    continue;
                }
                return Some(Outcome::Failed(explained));
            }
        }
        attempt += 1;
    }
}

/// One RETR from the stream's position on.
fn transfer(
    reader: &Arc<Reader>,
    id: u64,
    path: &RemotePath,
    lease: &mut Lease,
    offset: u64,
    deadline: Deadline,
) -> End {
    let Some(session) = lease.session() else { return End::Broken(FtpError::Closed(None)) };
    // The first transfer from the start needs no check where a later one would show another version, unless
    // what it brings would stand beside what an earlier reader left: by itself it is of one version.
    let is_first = offset == 0 && id == 0 && !reader.sources.blocks.holds_any(reader.version.id);
    // What is kept for later mounts has to be of the version that it is kept as.
    let check = !is_first || !reader.version.is_exact() || reader.disk.is_used();
    let is_jump = id > 0 && reader.state.lock().stream(id).is_some_and(|stream| !stream.is_segment);
    if is_jump && session.readiness() < Readiness::Ready {
        reader.sources.remote.pool().prepare_another();
    }
    let began = Instant::now();
    let (mut transfer, facts) = match session.retrieve(path.as_bytes(), offset, check, deadline) {
        Ok(started) => started,
        Err(error) => return End::Broken(error),
    };
    if reader.path() != *path {
        // The server may have opened what stands there now.
        let _ = transfer.abandon(Deadline::after(SETTLE));
        return End::Moved;
    }
    let is_known = facts.as_ref().is_some_and(|facts| *facts != Facts::Doubtful);
    if let Some(cause) = facts.and_then(|facts| changed(reader, &facts)) {
        let _ = transfer.abandon(Deadline::after(SETTLE));
        return End::Changed(cause);
    }
    let keeps = is_known && reader.disk.takes(reader);
    if let Some(stream) = reader.state.lock().stream(id) {
        stream.keeps = keeps;
        stream.filling_keeps &= keeps;
    }
    reader.sources.pace.lock().began(began.elapsed());
    let size = reader.version.size;
    let mut held = Vec::new();
    let (data_end, received) = pump(reader, id, &mut transfer, &mut held);
    let data_end = match data_end {
        // Nothing was cut off: all bytes are there.
        DataEnd::Error(FtpError::SilentEnd) if offset + received == size => DataEnd::Eof,
        other => other,
    };
    match data_end {
        DataEnd::Unwanted | DataEnd::Yielded => {
            let ending = reader.sources.remote.pool().ends_soon();
            let _ = transfer.abandon(Deadline::after(SETTLE));
            lease.keep(ending);
            if matches!(data_end, DataEnd::Yielded) { End::Yielded } else { End::Unwanted }
        }
        DataEnd::Changed(cause) => {
            let _ = transfer.abandon(Deadline::after(SETTLE));
            End::Changed(cause)
        }
        DataEnd::Limit => {
            let is_long = began.elapsed() > UNCHECKED || received > UNCHECKED_BYTES;
            // Sooner than by this connection, which has a transfer to end first.
            let glance = |path: &RemotePath| reader.sources.remote.glance(path, Deadline::after(SETTLE));
            let mut facts = is_long.then(|| glance(&reader.path())).flatten();
            let is_known = facts.is_some() || !is_long;
            let differs = facts.take().and_then(|facts| changed(reader, &facts));
            if is_known && differs.is_none() {
                publish(reader, id, &held);
            }
            let ending = reader.sources.remote.pool().ends_soon();
            let _ = transfer.abandon(Deadline::after(SETTLE));
            let differs = match is_known {
                true => differs,
                false => look(reader, lease),
            };
            lease.keep(ending);
            match differs {
                Some(_) if reader.path() != *path => End::Moved,
                Some(cause) => End::Changed(cause),
                None if is_known => End::Unwanted,
                None => End::Whole(held),
            }
        }
        DataEnd::Error(error) => {
            // The last bytes of the file are not confirmed; they are fetched again.
            drop(transfer);
            End::Broken(error)
        }
        DataEnd::Longer => {
            let _ = transfer.abandon(Deadline::after(SETTLE));
            if offset == 0 && id == 0 {
                // A growing file: all bytes came by one transfer, so they are of one file, up to the size
                // that was listed. The next open sees the new size.
                return End::Whole(held);
            }
            End::Changed(format!("it is longer than {size} bytes now"))
        }
        DataEnd::Eof => {
            let finished = transfer.finish(Deadline::after(FINAL_REPLY));
            let complete = offset + received == size;
            match finished {
                Err(error @ FtpError::Refused { .. }) => return End::Broken(error),
                // The control connection may die of a long transfer (a firewall that forgot it); the bytes
                // are all there.
                Err(error) if !complete => return End::Broken(error),
                _ => {}
            }
            if !complete || began.elapsed() > UNCHECKED || received > UNCHECKED_BYTES {
                let path = reader.path();
                match look(reader, lease) {
                    Some(_) if reader.path() != path => return End::Moved,
                    Some(cause) => return End::Changed(cause),
                    None => {}
                }
            }
            if !complete {
                let reply = format!("the server sent {} of {size} bytes", offset + received);
                return End::Broken(FtpError::Io {
                    doing: "receiving data",
                    source: Arc::new(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, reply)),
                });
            }
            End::Whole(held)
        }
    }
}

/// Looks at the file again, over this connection; says what differs.
fn look(reader: &Reader, lease: &mut Lease) -> Option<String> {
    let path = reader.path();
    let facts = lease.session()?.facts(path.as_bytes(), Deadline::after(SETTLE)).ok()?;
    changed(reader, &facts)
}

/// Compares the version that was opened with what the server tells now; says what differs.
pub(super) fn changed(reader: &Reader, facts: &Facts) -> Option<String> {
    let entry = facts.clone().entry(reader.path().file_name())?;
    (!reader.version.confirmed_by(&entry)).then(|| "its size, time or identity differs".to_owned())
}
