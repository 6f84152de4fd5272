//! One stream: a RETR that publishes what arrives, and starts again at its offset when it is cut.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::block::BLOCK;
use crate::deadline::Deadline;
use crate::ftp::error::Error as FtpError;
use crate::ftp::features::Capability;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::query::Facts;
use crate::ftp::transfer::Transfer;
use crate::read::reader::{Reader, State};
use crate::read::window::Window;
use crate::remote::{Error, Kind, Lane, Lease, Remote, RemotePath, Revoke};

/// How long a parked stream keeps its connection for a reader that has shown that it goes on.
const PARKED: Duration = Duration::from_secs(3);
/// The same for one that has not: its next read comes at once or somewhere else.
const PARKED_UNSURE: Duration = Duration::from_millis(30);
/// How long a busy stream holds a connection that others wait for.
const TURN: Duration = Duration::from_millis(200);
/// A transfer that lasted longer, or brought more, is checked at its end: somebody may have written into the
/// file meanwhile.
const UNCHECKED: Duration = Duration::from_secs(1);
const UNCHECKED_BYTES: u64 = 1024 * 1024;
/// The same for a stream that was parked, before it goes on.
const UNCHECKED_PAUSE: Duration = Duration::from_millis(50);
/// A stream that was not asked for more for this long did not run at the link's speed.
const PAUSED: Duration = Duration::from_millis(5);
/// Bound for stopping a transfer and for the last look at the file.
const SETTLE: Duration = Duration::from_secs(5);
/// Published bytes that stay reachable through the stream.
const RECENT: u64 = 1024 * 1024;
/// How much earlier than the answer to our own rename the refusal of its old path may come: they travel on
/// different connections.
const RENAME: Duration = Duration::from_millis(500);
/// The final reply of a transfer that is complete by its bytes is waited for no longer than this.
const FINAL_REPLY: Duration = Duration::from_secs(10);

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
    /// Why it ended, for those who wait.
    pub(super) failure: Option<Error>,
}

impl Stream {
    pub(super) fn new(id: u64, start: u64, largest_window: u64) -> Stream {
        Stream {
            id,
            start,
            next: start,
            want: start,
            window: Window::new(start, largest_window),
            filling: Vec::new(),
            recent: VecDeque::new(),
            parked: false,
            stop: false,
            revoked: false,
            waiters: 0,
            failure: None,
        }
    }

    /// Whether it has something to fetch that makes a parked stream go on.
    fn is_wanted(&self, size: u64) -> bool {
        let more = self.want.saturating_sub(self.next);
        more > 0 && (self.waiters > 0 || self.want == size || more >= self.window.worth_resuming())
    }

    /// Whether it ends without fetching more.
    pub(super) fn stops(&self) -> bool {
        self.stop || self.failure.is_some()
    }

    /// A reader wants, or has, the bytes of `offset..end`; true if there is more to fetch now.
    pub(super) fn extend(&mut self, offset: u64, end: u64, size: u64) -> bool {
        let want = self.window.read(offset, end, size);
        let more = want > self.want;
        self.want = self.want.max(want);
        more
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

/// Takes a stream out when its thread ends in a way that nobody foresaw, so that no reader waits for it.
struct Unforeseen<'a> {
    reader: &'a Reader,
    id: u64,
}

impl Drop for Unforeseen<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.reader.state.lock().streams.retain(|stream| stream.id != self.id);
            self.reader.changed.notify_all();
        }
    }
}

/// Runs a stream to its end.
pub(super) fn run(reader: &Arc<Reader>, id: u64) {
    let _guard = Unforeseen { reader, id };
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
        (begin, std::mem::take(&mut stream.filling))
    });
    if let Some((begin, bytes)) = leftover.filter(|(_, bytes)| !bytes.is_empty() && state.stale.is_none()) {
        reader.sources.blocks.insert(reader.version.id, begin, bytes.into());
    }
    // With a failure it stays until all who wait have seen it; who comes later starts another.
    state.streams.retain(|stream| stream.id != id || (stream.failure.is_some() && stream.waiters > 0));
    if state.stale.is_some() {
        reader.sources.blocks.purge(reader.version.id);
    }
    drop(state);
    reader.changed.notify_all();
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
        let before = {
            let mut state = reader.state.lock();
            if state.closed || state.stale.is_some() {
                return None;
            }
            let stream = state.stream(id)?;
            if stream.stop || (stream.next >= stream.want && stream.waiters == 0) {
                return None;
            }
            stream.next
        };
        let deadline = Deadline::after(reader.sources.patience);
        let mut lease = match remote.lease("read", &reader.path(), Lane::Data, deadline) {
            Ok(lease) => lease,
            Err(error) => return Some(Outcome::Failed(error)),
        };
        let path = reader.path();
        let fresh = lease.is_fresh();
        if let Some(stream) = reader.state.lock().stream(id) {
            stream.revoked = false;
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
            End::Changed(cause) => {
                log::info!("{path} was changed on the server while it was read: {cause}");
                return Some(Outcome::Changed(remote.error(Kind::Changed, "read", &path, cause)));
            }
            End::Broken(error) => error,
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
    let check = !is_first || !reader.version.is_exact();
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
    if let Some(cause) = facts.and_then(|facts| changed(reader, &facts)) {
        let _ = transfer.abandon(Deadline::after(SETTLE));
        return End::Changed(cause);
    }
    reader.sources.pace.lock().began(began.elapsed());
    let size = reader.version.size;
    let mut held = Vec::new();
    let (data_end, received) = pump(reader, id, &mut transfer, &mut held);
    match data_end {
        DataEnd::Unwanted | DataEnd::Yielded => {
            let _ = transfer.abandon(Deadline::after(SETTLE));
            if matches!(data_end, DataEnd::Yielded) { End::Yielded } else { End::Unwanted }
        }
        DataEnd::Changed(cause) => {
            let _ = transfer.abandon(Deadline::after(SETTLE));
            End::Changed(cause)
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
                let facts = lease.session().map(|s| s.facts(path.as_bytes(), Deadline::after(SETTLE)));
                let differs = facts.and_then(Result::ok).and_then(|facts| changed(reader, &facts));
                match differs {
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

/// How the data of one transfer ended.
enum DataEnd {
    Eof,
    Longer,
    Unwanted,
    Yielded,
    Changed(String),
    Error(FtpError),
}

/// Moves bytes from the server into the stream. The last bytes of the file are put into `held` instead: they
/// are published when the server has confirmed the transfer.
fn pump(reader: &Arc<Reader>, id: u64, transfer: &mut Transfer<'_>, held: &mut Vec<u8>) -> (DataEnd, u64) {
    let size = reader.version.size;
    let mut chunk = vec![0; BLOCK];
    let mut received = 0;
    let mut meter = Meter { reader, first: None, last: None, bytes: 0, paused: false };
    loop {
        let asked = Instant::now();
        let ready = ready(reader, id, meter.first);
        meter.paused |= asked.elapsed() > PAUSED;
        let next = match ready {
            Ready::Fetch(next) => next + held.len() as u64,
            Ready::Unwanted => return (DataEnd::Unwanted, received),
            Ready::Yield => return (DataEnd::Yielded, received),
            Ready::Check => {
                let remote = &reader.sources.remote;
                // Without a connection to ask over, the transfer begins again, with a check.
                let path = reader.path();
                let Some(facts) = remote.glance(&path, Deadline::after(SETTLE)) else {
                    return (DataEnd::Yielded, received);
                };
                match changed(reader, &facts) {
                    Some(_) if reader.path() != path => return (DataEnd::Yielded, received),
                    Some(cause) => return (DataEnd::Changed(cause), received),
                    None => continue,
                }
            }
        };
        let n = match transfer.read(&mut chunk) {
            Ok(0) => return (DataEnd::Eof, received),
            Ok(n) => n,
            Err(error) => return (DataEnd::Error(error), received),
        };
        meter.count(n);
        reader.sources.remote.pool().heard();
        let left = usize::try_from(size - next).unwrap_or(usize::MAX);
        let bytes = &chunk[..n.min(left)];
        received += bytes.len() as u64;
        if bytes.len() == left {
            held.extend_from_slice(bytes);
            if n > left {
                return (DataEnd::Longer, received);
            }
        } else {
            publish(reader, id, bytes);
        }
    }
}

/// Measures how fast bytes come, up to the first pause: what comes after one has waited in the socket.
struct Meter<'a> {
    reader: &'a Reader,
    first: Option<Instant>,
    last: Option<Instant>,
    bytes: u64,
    paused: bool,
}

impl Meter<'_> {
    fn count(&mut self, bytes: usize) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        if !self.paused {
            self.last = Some(now);
            self.bytes += bytes as u64;
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let (Some(first), Some(last)) = (self.first, self.last) {
            self.reader.sources.pace.lock().went_on(self.bytes, last - first);
        }
    }
}

/// Whether a stream goes on.
enum Ready {
    /// Yes, its next byte is this one.
    Fetch(u64),
    Unwanted,
    Yield,
    /// Yes, if the file is still the same: it was parked for a while.
    Check,
}

/// Waits, parked, until more is wanted.
fn ready(reader: &Arc<Reader>, id: u64, first_byte: Option<Instant>) -> Ready {
    let pool = reader.sources.remote.pool();
    // Without REST a stream that gave way would begin again at 0, and two that share a connection never end.
    let goes_on_later = reader.sources.remote.profile().rest() != Capability::No;
    let mut state = reader.state.lock();
    let mut parked = None;
    let mut parked_since = None;
    let outcome = loop {
        let gone = state.closed || state.stale.is_some();
        let Some(stream) = state.stream(id) else { break Ready::Unwanted };
        if gone || stream.stop {
            break Ready::Unwanted;
        }
        if stream.is_wanted(reader.version.size) || (parked.is_none() && stream.next < stream.want) {
            if goes_on_later && parked_since.is_some_and(|at: Instant| at.elapsed() > UNCHECKED_PAUSE) {
                break Ready::Check;
            }
            let turn_over = first_byte.is_some_and(|at| at.elapsed() > TURN);
            // Who revoked was promised this connection and waits for it alone.
            let asked = stream.revoked || (turn_over && pool.is_wanted());
            break if asked && goes_on_later { Ready::Yield } else { Ready::Fetch(stream.next) };
        }
        if stream.next >= reader.version.size {
            // Only the end of the data and the final reply are left.
            break Ready::Fetch(stream.next);
        }
        let keep = if stream.window.is_sequential() { PARKED } else { PARKED_UNSURE };
        let until = *parked_since.get_or_insert_with(Instant::now) + keep;
        if stream.revoked || Instant::now() >= until {
            // Nobody may come to wait for a stream that ends.
            stream.stop = true;
            break Ready::Unwanted;
        }
        stream.parked = true;
        if parked.is_none() {
            let weak = Arc::downgrade(reader);
            let revoke: Revoke = Arc::new(move || {
                let Some(reader) = weak.upgrade() else { return };
                if let Some(stream) = reader.state.lock().stream(id) {
                    stream.revoked = true;
                }
                reader.changed.notify_all();
            });
            parked = Some(pool.park(revoke));
        }
        reader.changed.wait_until(&mut state, until);
    };
    if let Some(stream) = state.stream(id) {
        stream.parked = false;
    }
    drop(parked);
    outcome
}

/// Makes bytes visible to readers; full blocks go to the cache.
fn publish(reader: &Reader, id: u64, mut bytes: &[u8]) {
    let mut state = reader.state.lock();
    let State { streams, .. } = &mut *state;
    let Some(stream) = streams.iter_mut().find(|stream| stream.id == id) else { return };
    while !bytes.is_empty() {
        let room = BLOCK - usize::try_from(stream.next % BLOCK as u64).unwrap_or(0);
        let (now, later) = bytes.split_at(bytes.len().min(room));
        stream.filling.extend_from_slice(now);
        stream.next += now.len() as u64;
        bytes = later;
        if stream.next % BLOCK as u64 == 0 {
            let begin = stream.next - stream.filling.len() as u64;
            let block: Arc<[u8]> = std::mem::take(&mut stream.filling).into();
            stream.filling.reserve(BLOCK);
            reader.sources.blocks.insert(reader.version.id, begin, block.clone());
            stream.recent.push_back((begin, block));
            while stream.recent.front().is_some_and(|(begin, _)| begin + RECENT < stream.next) {
                stream.recent.pop_front();
            }
        }
    }
    drop(state);
    reader.changed.notify_all();
}

/// Compares the version that was opened with what the server tells now; says what differs.
fn changed(reader: &Reader, facts: &Facts) -> Option<String> {
    let entry = match facts {
        Facts::Doubtful => return None,
        Facts::Whole(entry) => entry.clone(),
        Facts::File { size, modified } => RemoteEntry {
            name: reader.path().file_name().into(),
            kind: EntryKind::File,
            size: Some(*size),
            modified: *modified,
            mode: None,
            link_target: None,
            unique: None,
        },
    };
    (!reader.version.confirmed_by(&entry)).then(|| "its size, time or identity differs".to_owned())
}
