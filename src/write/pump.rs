//! Moves the bytes of one transfer: takes them from the stage, follows the writer, gives way to others.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use crate::deadline::Deadline;
use crate::ftp::error::Error as FtpError;
use crate::ftp::upload::Upload;
use crate::remote::Revoke;
use crate::write::file::{Bound, State, WriteFile};

/// Taken from the stage at once, in bytes.
const CHUNK: usize = 256 * 1024;
/// How long a busy upload holds a connection that others wait for.
const TURN: Duration = Duration::from_millis(500);
/// A stream that gets nothing to send for this long ends its transfer: servers give up one that stands still.
const STANDSTILL: Duration = Duration::from_secs(20);

/// How the bytes ran out.
pub(super) enum Pumped {
    /// Sent up to `at`, which is the end of the file where `all`.
    End {
        at: u64,
        all: bool,
    },
    /// They are not wanted any more, or changed behind the stream.
    Stopped,
    Broken(FtpError),
    Local(io::Error),
}

/// What to do next.
enum Next {
    Chunk(usize),
    End { all: bool },
    Stop,
}

/// Moves bytes from the stage to the server, from one place on to the goal, or as far as the file is written
/// where there is none.
pub(super) fn pump(file: &Arc<WriteFile>, upload: &mut Upload<'_>, from: u64, bound: &mut Bound) -> Pumped {
    let mut at = from;
    let mut chunk = vec![0; CHUNK];
    let began = Instant::now();
    loop {
        let (next, stage) = {
            let (next, mut state) = next(file, from, at, began);
            if let Next::Chunk(len) = next {
                // Before they are read: what changes from now on has changed behind us.
                state.staged.take(at + len as u64);
                if let Some(stream) = &mut state.stream {
                    stream.next = at + len as u64;
                }
            }
            (next, state.staged.stage().clone())
        };
        let len = match next {
            Next::Chunk(len) => len,
            Next::End { all } => return Pumped::End { at, all },
            Next::Stop => return Pumped::Stopped,
        };
        if let Err(error) = stage.read_at(&mut chunk[..len], at) {
            return Pumped::Local(error);
        }
        if let Err(error) = upload.write(&chunk[..len], bound.deadline()) {
            return Pumped::Broken(error);
        }
        file.shared.remote.pool().heard();
        at += len as u64;
        bound.progress();
        // A writer may wait for it.
        file.changed.notify_all();
    }
}

/// Decides what the upload does at `at`; a stream that has nothing to send waits here.
fn next<'a>(file: &'a Arc<WriteFile>, from: u64, at: u64, began: Instant) -> (Next, MutexGuard<'a, State>) {
    let pool = file.shared.remote.pool();
    let still = Deadline::after(STANDSTILL);
    let mut parked = None;
    loop {
        let mut state = file.state.lock();
        if state.discarded || (state.stream.is_some() && state.staged.is_overtaken()) {
            return (Next::Stop, state);
        }
        let size = state.staged.size();
        let end = state.goal.map_or(size, |goal| goal.size.min(size));
        let appends = file.shared.appends();
        if at < end {
            let yields = appends && at > from && began.elapsed() > TURN && pool.is_wanted();
            if yields {
                return (Next::End { all: false }, state);
            }
            let left = usize::try_from(end - at).unwrap_or(CHUNK);
            return (Next::Chunk(left.min(CHUNK)), state);
        }
        let has_goal = state.goal.is_some();
        let Some(stream) = state.stream.as_mut().filter(|_| !has_goal) else {
            return (Next::End { all: true }, state);
        };
        if stream.revoked || still.passed() {
            stream.revoked = false;
            return (if appends { Next::End { all: false } } else { Next::Stop }, state);
        }
        if parked.is_none() {
            // Parking takes the pool's lock, so not under ours.
            drop(state);
            parked = Some(pool.park(revoke(file)));
            continue;
        }
        file.changed.wait_until(&mut state, still.instant());
    }
}

/// What the pool calls when the connection is wanted.
fn revoke(file: &Arc<WriteFile>) -> Revoke {
    let file = Arc::downgrade(file);
    Arc::new(move || {
        let Some(file) = file.upgrade() else { return };
        if let Some(stream) = &mut file.state.lock().stream {
            stream.revoked = true;
        }
        file.changed.notify_all();
    })
}
