//! Moves the bytes of one transfer to the readers, parks when nobody wants more, gives way when others do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{SETTLE, changed};
use crate::cache::block::BLOCK;
use crate::deadline::Deadline;
use crate::ftp::error::Error as FtpError;
use crate::ftp::features::Capability;
use crate::ftp::transfer::Transfer;
use crate::read::reader::{Reader, STREAMS_PER_FILE, State};
use crate::remote::Revoke;

/// How long a parked stream keeps its connection for a reader that has shown that it goes on.
const PARKED: Duration = Duration::from_secs(3);
/// The same for one that has not: its next read comes at once or somewhere else.
const PARKED_UNSURE: Duration = Duration::from_millis(30);
/// How long a busy stream holds a connection that others wait for.
const TURN: Duration = Duration::from_millis(200);
/// A stream that was parked for longer looks at the file before it goes on: somebody may have written into it.
const UNCHECKED_PAUSE: Duration = Duration::from_millis(50);
/// A stream that was not asked for more for this long did not run at the link's speed.
const PAUSED: Duration = Duration::from_millis(5);
/// Published bytes that stay reachable through the stream.
const RECENT: u64 = 1024 * 1024;

/// How the data of one transfer ended.
pub(super) enum DataEnd {
    Eof,
    /// The end of the segment.
    Limit,
    Longer,
    Unwanted,
    Yielded,
    Changed(String),
    Error(FtpError),
}

/// Moves bytes from the server into the stream. The last bytes of the file, or of a segment of it, are put into `held`
/// instead: they are published when the server has confirmed the transfer, or that the file is still the same.
pub(super) fn pump(
    reader: &Arc<Reader>,
    id: u64,
    transfer: &mut Transfer<'_>,
    held: &mut Vec<u8>,
) -> (DataEnd, u64) {
    let size = reader.version.size;
    let mut chunk = vec![0; BLOCK];
    let mut received = 0;
    let mut meter = Meter { reader, first: None, last: None, bytes: 0, paused: false };
    loop {
        let asked = Instant::now();
        let ready = ready(reader, id, meter.first, !held.is_empty());
        meter.paused |= asked.elapsed() > PAUSED;
        let (next, limit) = match ready {
            Ready::Fetch(next, limit) => {
                transfer.ends_within(if limit < size { limit.saturating_sub(next) } else { u64::MAX });
                (next + held.len() as u64, limit)
            }
            Ready::Complete => return (DataEnd::Limit, received),
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
        let left = usize::try_from(limit.saturating_sub(next)).unwrap_or(usize::MAX);
        let bytes = &chunk[..n.min(left)];
        received += bytes.len() as u64;
        if bytes.len() == left {
            held.extend_from_slice(bytes);
            if limit < size {
                // What follows is another stream's, and was not kept: this one cannot go on.
                reader.state.lock().stream(id).into_iter().for_each(|stream| stream.is_complete = true);
                return (DataEnd::Limit, received);
            }
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
    /// Yes; its next byte, and where it ends.
    Fetch(u64, u64),
    /// All of its segment has come: the limit was lowered.
    Complete,
    Unwanted,
    Yield,
    /// Yes, if the file is still the same: it was parked for a while.
    Check,
}

/// Waits, parked, until more is wanted; with the last bytes in hand, only their confirmation is.
fn ready(reader: &Arc<Reader>, id: u64, first_byte: Option<Instant>, has_last: bool) -> Ready {
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
        if stream.next >= stream.limit && stream.limit < reader.version.size {
            stream.is_complete = true;
            break Ready::Complete;
        }
        if stream.is_wanted() || (parked.is_none() && stream.next < stream.want) {
            if goes_on_later && !has_last && stream.is_left() {
                stream.stop = true;
                break Ready::Unwanted;
            }
            if goes_on_later && parked_since.is_some_and(|at: Instant| at.elapsed() > UNCHECKED_PAUSE) {
                break Ready::Check;
            }
            let turn_over = stream.is_ahead || first_byte.is_some_and(|at| at.elapsed() > TURN);
            // Who revoked was promised this connection and waits for it alone.
            let asked = stream.revoked || (turn_over && pool.is_wanted());
            break if asked && goes_on_later {
                Ready::Yield
            } else {
                Ready::Fetch(stream.next, stream.limit)
            };
        }
        if stream.next >= reader.version.size {
            // Only the end of the data and the final reply are left.
            break Ready::Fetch(stream.next, stream.limit);
        }
        let keep = if stream.window.is_sequential() { PARKED } else { PARKED_UNSURE };
        let until = *parked_since.get_or_insert_with(Instant::now) + keep;
        if stream.revoked || Instant::now() >= until {
            // Nobody may come to wait for a stream that ends.
            stream.stop = true;
            break Ready::Unwanted;
        }
        stream.parked = true;
        if stream.window.is_sequential() {
            state.segments.paused();
        }
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
            if state.streams.len() >= STREAMS_PER_FILE {
                // Somebody may wait for its place.
                reader.changed.notify_all();
            }
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
pub(super) fn publish(reader: &Reader, id: u64, mut bytes: &[u8]) {
    let mut state = reader.state.lock();
    state.gave_up = None;
    let State { streams, .. } = &mut *state;
    let Some(stream) = streams.iter_mut().find(|stream| stream.id == id) else { return };
    let came = bytes.len() as u64;
    let mut full = Vec::new();
    while !bytes.is_empty() {
        let room = BLOCK - usize::try_from(stream.next % BLOCK as u64).unwrap_or(0);
        let (now, later) = bytes.split_at(bytes.len().min(room));
        if stream.filling.is_empty() {
            stream.filling_keeps = stream.keeps;
        }
        stream.filling.extend_from_slice(now);
        stream.next += now.len() as u64;
        bytes = later;
        if stream.next % BLOCK as u64 == 0 {
            let begin = stream.next - stream.filling.len() as u64;
            let block: Arc<[u8]> = std::mem::take(&mut stream.filling).into();
            stream.filling.reserve(BLOCK);
            reader.sources.blocks.insert(reader.version.id, begin, block.clone());
            if stream.filling_keeps {
                full.push((begin, block.clone()));
            }
            stream.recent.push_back((begin, block));
            while stream.recent.front().is_some_and(|(begin, _)| begin + RECENT < stream.next) {
                stream.recent.pop_front();
            }
        }
    }
    let news = stream.has_news();
    reader.measure(&mut state, id, came);
    drop(state);
    if news {
        reader.changed.notify_all();
    }
    full.into_iter().for_each(|(begin, block)| reader.disk.keep(reader, begin, block));
}
