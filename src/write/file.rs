//! One file that is being changed, shared by all of its handles.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cache::FileVersion;
use crate::deadline::Deadline;
use crate::ftp::list::RemoteEntry;
use crate::ftp::time::{Modified, Precision};
use crate::read::{OpenFile, Patience};
use crate::remote::{Error, Kind, RemotePath};
use crate::write::staged::{Errand, Staged};
use crate::write::upload::{self, Delivered};
use crate::write::{Shared, WriteError};

/// What is written in order is sent while it is written, once it is this much, in bytes.
const STREAM_FROM: u64 = 512 * 1024;

/// A program that writes faster than the link waits when this much is unsent, so that close() need not wait
/// for long, in bytes.
const LAG: u64 = 8 * 1024 * 1024;

/// A file that is being changed.
///
/// 1. What was written is read back, by every handle, from the moment that the write returned.
/// 2. [`WriteFile::flush`] returns success only when the server has confirmed everything that was written
///    before the call.
/// 3. One upload runs at a time. It never runs under the lock.
#[derive(Debug)]
pub struct WriteFile {
    pub(super) shared: Arc<Shared>,
    pub(super) state: Mutex<State>,
    /// Something in the state changed.
    pub(super) changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) path: RemotePath,
    pub(super) staged: Staged,
    /// Reads the bytes that only the server has.
    pub(super) base: Option<Arc<dyn OpenFile>>,
    /// What the server had before; `None` once we have sent anything.
    pub(super) before: Option<Arc<FileVersion>>,
    /// How long the server's file was before; `None` where there was none. A server that stores beside and
    /// renames at the end (ProFTPD 1.3.8 with HiddenStores) still has it after a broken upload.
    pub(super) replaces: Option<Replaces>,
    /// It was never seen on the server under its name.
    pub(super) unnamed: bool,
    /// Bytes were sent, and no final confirmation of the file (size, time, mode) has come since. The server may
    /// have them all already: a stream that gave way just after the last one.
    pub(super) unconfirmed: bool,
    /// The time of the server's file when we last knew what is in it.
    pub(super) known: Option<Modified>,
    pub(super) attributes: Attributes,
    /// An upload runs.
    pub(super) busy: bool,
    /// The upload that runs goes on with what is written meanwhile.
    pub(super) stream: Option<Stream>,
    /// Where the upload that runs shall end.
    pub(super) goal: Option<Goal>,
    /// Counts the writes and truncations.
    pub(super) changes: u64,
    /// The server has confirmed these, and has not emptied the file since.
    pub(super) safe: Option<u64>,
    /// Streaming would be for nothing: the file is not written in order.
    pub(super) unsteady: bool,
    /// How many are about to take its name away, and read from here meanwhile who has it open.
    pub(super) wanted: usize,
    /// The file is being removed, or has been: nothing is to be sent.
    pub(super) discarded: bool,
    /// It has been.
    pub(super) gone: bool,
    /// Why the server takes no more of this file; writing on would be in vain.
    pub(super) refusal: Option<Error>,
    /// How many uploads have ended.
    pub(super) ended: u64,
    /// Why the last upload failed, if it did.
    pub(super) failure: Option<Failure>,
    /// News of the server's file that nobody has taken yet.
    pub(super) news: Option<RemoteEntry>,
}

/// Attributes of a file that is being changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Size in bytes.
    pub size: u64,
    /// Last modification: the last write, or what a program has set since.
    pub modified: Option<Modified>,
    /// Permission bits that the file shall have; `None`: as they are.
    pub mode: Option<u16>,
    /// Whether the server lacks bytes.
    pub is_unsent: bool,
    /// A program has set the time, and the server does not know it yet.
    pub(super) time_is_set: bool,
    /// The server does not know the mode yet.
    pub(super) mode_is_wanted: bool,
    /// A program has set it, and waits to hear if it cannot be.
    pub(super) mode_is_set: bool,
}

/// What an upload replaces on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    /// A file of this length.
    Length(u64),
    /// A file of which nothing is known.
    Unknown,
}

/// Why an upload failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// How many uploads had ended before the one that told it.
    pub(super) upload: u64,
}

/// How far an upload goes for those who flush, however far others write on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// The size of the file when it was set, in bytes.
    pub(super) size: u64,
    /// The changes before.
    pub(super) changes: u64,
}

/// An upload that follows the writer until it gets a goal.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its thread has begun; before, a flush can do its work.
    pub(super) begun: bool,
    /// The next byte that it takes.
    pub(super) next: u64,
    /// Somebody else needs its connection.
    pub(super) revoked: bool,
}

/// The current time as servers can keep it: they know whole seconds only.
pub(crate) fn now() -> Modified {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Modified { seconds, nanos: 0, precision: Precision::Second }
}

impl WriteFile {
    pub(super) fn new(
        shared: Arc<Shared>,
        path: RemotePath,
        staged: Staged,
        base: Option<(Arc<dyn OpenFile>, Arc<FileVersion>)>,
        mode: Option<u16>,
    ) -> WriteFile {
        let replaces = match (&base, mode) {
            (Some((base, _)), _) => Some(Replaces::Length(base.size())),
            (None, None) => Some(Replaces::Unknown),
            (None, Some(_)) => None,
        };
        let (base, before) = base.unzip();
        let modified = before.as_ref().map_or_else(|| Some(now()), |before| before.modified);
        let known = modified.filter(|_| base.is_some());
        let size = staged.size();
        let attributes = Attributes {
            size,
            modified,
            mode,
            is_unsent: base.is_none(),
            time_is_set: false,
            mode_is_wanted: mode.is_some(),
            mode_is_set: false,
        };
        let state = State {
            path,
            staged,
            base,
            before,
            unnamed: replaces.is_none(),
            unconfirmed: false,
            replaces,
            known,
            attributes,
            busy: false,
            stream: None,
            goal: None,
            changes: 0,
            safe: None,
            unsteady: false,
            wanted: 0,
            discarded: false,
            gone: false,
            refusal: None,
            ended: 0,
            failure: None,
            news: None,
        };
        WriteFile { shared, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// What stat(2) shall show.
    pub fn attributes(&self) -> Attributes {
        let state = self.state.lock();
        let is_unsent = state.is_unsent();
        Attributes { size: state.staged.size(), is_unsent, ..state.attributes }
    }

    /// Whether the server lacks bytes or attributes.
    pub fn is_dirty(&self) -> bool {
        self.state.lock().is_dirty()
    }

    /// What the server still has, where nothing of ours was ever sent.
    pub fn untouched(&self) -> Option<Arc<FileVersion>> {
        self.state.lock().before.clone()
    }

    /// Whether the server has no file of that name, as far as we know.
    pub fn is_new(&self) -> bool {
        self.state.lock().replaces.is_none()
    }

    /// Whether all bytes are here: the server's file is not needed any more.
    pub fn is_whole(&self) -> bool {
        self.state.lock().staged.missing(0, 1).is_none()
    }

    /// Somebody relies on the bytes that are here, until [`WriteFile::unwant`].
    pub fn want(&self) {
        self.state.lock().wanted += 1;
    }

    /// Takes one [`WriteFile::want`] back.
    pub fn unwant(&self) {
        let mut state = self.state.lock();
        state.wanted = state.wanted.saturating_sub(1);
    }

    /// Whether somebody relies on the bytes that are here.
    pub fn is_wanted(&self) -> bool {
        self.state.lock().wanted > 0
    }

    /// Takes the news of an upload that was confirmed: the entry that the server has now.
    pub fn take_news(&self) -> Option<RemoteEntry> {
        self.state.lock().news.take()
    }

    /// The file has another name now.
    pub fn moved(&self, path: RemotePath) {
        let mut state = self.state.lock();
        state.path = path.clone();
        let base = state.base.clone();
        drop(state);
        if let Some(base) = base {
            base.moved(path);
        }
    }

    /// Bytes that only the server has are read by `base` from now on: another version, made by our upload. Not if an
    /// upload that followed has made the file longer, or does so now: that brings another one.
    pub fn rebase(&self, base: Arc<dyn OpenFile>) {
        let mut state = self.state.lock();
        let is_longer = state.staged.appended().is_some_and(|lengths| *lengths.end() > base.size());
        let outdated = if state.busy || is_longer {
            Some(base)
        } else {
            state.staged.rebased();
            state.base.replace(base)
        };
        drop(state);
        if let Some(outdated) = outdated {
            outdated.close();
        }
    }

    /// The file is about to be removed: nothing more is sent. Waits until an upload that runs has noticed. Who
    /// flushes waits for [`WriteFile::gone`] or [`WriteFile::keep`], one of which has to follow.
    ///
    /// # Errors
    /// [`Kind::DeadlinePassed`].
    pub fn discard(&self, deadline: Deadline) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        state.discarded = true;
        self.changed.notify_all();
        while state.busy {
            if self.changed.wait_until(&mut state, deadline.instant()).timed_out() {
                state.discarded = false;
                self.changed.notify_all();
                let cause = "an upload of it did not end in time";
                return Err(self.error(&state, Kind::DeadlinePassed, "remove", cause).into());
            }
        }
        Ok(())
    }

    /// The file has been removed.
    pub fn gone(&self) {
        let mut state = self.state.lock();
        (state.discarded, state.gone) = (true, true);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes `discard` back: the file could not be removed.
    pub fn keep(&self) {
        let mut state = self.state.lock();
        (state.discarded, state.gone) = (false, false);
        drop(state);
        self.changed.notify_all();
    }

    /// Nobody has the file open any more and it is clean, or given up.
    pub fn close(&self) {
        let base = self.state.lock().base.take();
        if let Some(base) = base {
            base.close();
        }
    }

    /// Takes bytes at `offset`, at the end of the file without one; returns where they begin. A writer that
    /// is far ahead of its upload waits, but not for an upload that makes no progress.
    ///
    /// # Errors
    /// The local disk; the server's refusal, where it has already said that it takes no more of the file.
    pub fn write(
        self: &Arc<Self>,
        offset: Option<u64>,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<u64, WriteError> {
        let mut state = self.state.lock();
        loop {
            if let Some(refusal) = state.refusal.clone() {
                return Err(refusal.into());
            }
            if !state.is_far_ahead() {
                break;
            }
            let Patience::Until(deadline) = patience else { return Err(WriteError::WouldBlock) };
            if self.changed.wait_until(&mut state, deadline.instant()).timed_out() {
                break;
            }
        }
        let at = offset.unwrap_or(state.staged.size());
        state.staged.write(at, bytes)?;
        state.note_change();
        self.go_on(state);
        Ok(at)
    }

    /// Cuts off, or adds zeros.
    ///
    /// # Errors
    /// The local disk.
    pub fn truncate(self: &Arc<Self>, size: u64) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        state.staged.truncate(size)?;
        state.note_change();
        self.go_on(state);
        Ok(())
    }

    /// Sets what a program wants the file to have; it is told to the server at the next flush.
    pub fn set(&self, mode: Option<u16>, modified: Option<Modified>) {
        let mut state = self.state.lock();
        let attributes = &mut state.attributes;
        if mode.is_some() {
            attributes.mode = mode;
            (attributes.mode_is_wanted, attributes.mode_is_set) = (true, true);
        }
        if modified.is_some() {
            (attributes.modified, attributes.time_is_set) = (modified, true);
        }
    }

    /// Tells the stream, or begins one where the file is written in order.
    fn go_on(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.stream.is_some() {
            self.changed.notify_all();
            return;
        }
        let Some(next) = state.streams_from(self.shared.appends()) else { return };
        state.stream = Some(Stream { begun: false, next, revoked: false });
        state.busy = true;
        drop(state);
        let (file, bound) = (self.clone(), Bound::new(self.shared.bound));
        if self.shared.workers.submit(move || file.stream(bound)).is_err() {
            let mut state = self.state.lock();
            state.stream = None;
            state.busy = false;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The stream's thread; nothing is left to do if a flush has taken its place.
    fn stream(self: &Arc<Self>, bound: Bound) {
        match &mut self.state.lock().stream {
            Some(stream) if !stream.begun => stream.begun = true,
            _ => return,
        }
        // Who flushes hears of failures.
        drop(upload::run(self, bound, None));
    }

    /// Uploads what the server lacks and waits for its confirmation. The bound counts from the last progress,
    /// since a large file takes as long as it takes.
    ///
    /// # Errors
    /// What the upload met; the bytes stay staged and the next flush tries again.
    pub fn flush(self: &Arc<Self>) -> Result<(), WriteError> {
        let mut bound = Bound::new(self.shared.bound);
        let mut decided = None;
        let mut state = self.state.lock();
        let (wanted, earlier) = (state.changes, state.ended);
        loop {
            // Before the next upload that others have begun meanwhile.
            if state.gone || state.is_safe(wanted) {
                return Ok(());
            }
            if state.busy {
                match state.stream.as_ref().map(|stream| stream.begun) {
                    // It waits for a thread, and need not any more.
                    Some(false) => {
                        state.stream = None;
                        state.busy = false;
                        // Who removes the file may wait for it.
                        self.changed.notify_all();
                        continue;
                    }
                    // Once: others who wait here would tell us in turn.
                    Some(true) if state.goal.is_none() => {
                        state.goal = Some(state.goal());
                        self.changed.notify_all();
                    }
                    Some(true) | None => {}
                }
                // An upload has bounds of its own.
                self.changed.wait(&mut state);
                continue;
            }
            if !state.is_dirty() {
                return Ok(());
            }
            if state.discarded {
                // The server may refuse to remove it.
                let by = *decided.get_or_insert_with(|| Deadline::after(self.shared.bound));
                if self.changed.wait_until(&mut state, by.instant()).timed_out() {
                    let cause = "it is neither removed nor kept in time";
                    return Err(self.error(&state, Kind::DeadlinePassed, "write", cause).into());
                }
                continue;
            }
            // Others may have waited for it as well, and hear of it too.
            let met = state.failure.as_ref().filter(|failure| failure.upload >= earlier);
            let met = met.map(|failure| failure.error.clone());
            // The upload that we have waited for has used the time up.
            if let Some(error) = &met
                && bound.deadline().passed()
            {
                return Err(error.clone().into());
            }
            state.busy = true;
            state.goal = Some(state.goal());
            state.refusal = None;
            drop(state);
            let bound = std::mem::replace(&mut bound, Bound::new(self.shared.bound));
            match upload::run(self, bound, met)? {
                Delivered::Confirmed => return Ok(()),
                Delivered::GivenUp => state = self.state.lock(),
            }
        }
    }

    pub(super) fn error(
        &self,
        state: &State,
        kind: Kind,
        verb: &'static str,
        cause: impl std::fmt::Display,
    ) -> Error {
        self.shared.remote.error(kind, verb, &state.path, cause)
    }
}

impl State {
    fn is_dirty(&self) -> bool {
        self.is_unsent() || self.attributes.time_is_set || self.attributes.mode_is_set
    }

    /// Whether the server lacks bytes, or has not confirmed them.
    pub(super) fn is_unsent(&self) -> bool {
        self.unconfirmed || self.staged.errand() != Errand::Nothing
    }

    /// Whether the server has what was changed until then, and all attributes.
    fn is_safe(&self, changes: u64) -> bool {
        let attributes = &self.attributes;
        let is_named = self.safe.is_some_and(|safe| safe >= changes) && !self.unnamed;
        is_named && !attributes.time_is_set && !attributes.mode_is_set
    }

    fn goal(&self) -> Goal {
        Goal { size: self.staged.size(), changes: self.changes }
    }

    fn note_change(&mut self) {
        self.changes += 1;
        self.attributes.modified = Some(now());
        self.attributes.time_is_set = false;
    }

    fn is_far_ahead(&self) -> bool {
        let sent = self.stream.as_ref().filter(|_| self.goal.is_none()).map(|stream| stream.next);
        sent.is_some_and(|next| self.staged.size().saturating_sub(next) > LAG)
    }

    /// Where a stream would begin, if one is worth while.
    fn streams_from(&self, appends: bool) -> Option<u64> {
        if self.busy || self.unsteady || self.discarded {
            return None;
        }
        let from = match self.staged.errand() {
            Errand::Whole if self.staged.missing(0, 1).is_none() => 0,
            Errand::Tail(from) if appends => from,
            _ => return None,
        };
        let (_, end) = self.staged.origin(from, u64::MAX);
        (end == self.staged.size() && end.saturating_sub(from) >= STREAM_FROM).then_some(from)
    }
}

/// Marks that the upload has ended, whatever ended it.
#[derive(Debug)]
pub(super) struct Busy<'a>(pub(super) &'a WriteFile);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.busy = false;
        state.ended += 1;
        state.stream = None;
        state.goal = None;
        // Only a panic can have left it.
        if std::thread::panicking() {
            state.staged.broke(0);
            state.failure = None;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

/// A bound that counts from the last progress.
#[derive(Debug)]
pub(super) struct Bound {
    length: Duration,
    since: Instant,
}

impl Bound {
    pub(super) fn new(length: Duration) -> Bound {
        Bound { length, since: Instant::now() }
    }

    pub(super) fn progress(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.length.saturating_sub(self.since.elapsed()))
    }
}
