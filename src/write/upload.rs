//! One upload: from what the server lacks to its confirmation, over as many attempts as it takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cache::{FileId, FileVersion};
use crate::deadline::Deadline;
use crate::ftp::change::{Settled, Wishes};
use crate::ftp::error::Error as FtpError;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::query::Facts;
use crate::ftp::session::Session;
use crate::ftp::upload::{StoreAt, Upload};
use crate::read::Patience;
use crate::remote::{Error, Kind, Lane, Remote, RemotePath};
use crate::write::WriteError;
use crate::write::at_once::{AtOnce, send_at_once};
use crate::write::confirm::{Sending, conclude, confirm, plain};
use crate::write::file::{Bound, Busy, Failure, Replaces, State, WriteFile};
use crate::write::pump::{Pumped, pump};
use crate::write::staged::Errand;

/// Fetched from the server at once, in bytes.
const FETCH: u64 = 1024 * 1024;
/// A broken upload of no more than this is done again without a look at what came of it, in bytes.
const SMALL: u64 = 128 * 1024;
/// An upload follows a file that is renamed again and again no more often than this.
const MOVES: u32 = 20;
/// Bound for stopping a transfer, and for finding out what a refusal means.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

/// How an upload ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The server has all that there was.
    Confirmed,
    /// The server may lack bytes: the file is being removed, or was changed behind the stream.
    GivenUp,
}

/// How one attempt ended.
pub(super) enum End {
    /// The server has confirmed everything.
    Confirmed,
    /// Another step is needed; this one got further.
    Again,
    /// Nothing is to be done any more, or later: the file was removed, or changed behind the stream.
    Over,
    /// All was sent, but the server tells no size over this connection: its listing must.
    Blind(Box<(Sending, Settled)>),
    /// It broke, or was refused.
    Broken(FtpError),
    /// Another attempt would change nothing.
    Failed(Error),
}

impl From<FtpError> for End {
    fn from(error: FtpError) -> End {
        End::Broken(error)
    }
}

/// Uploads `file`, whose state says that it is busy, until the server confirms it or trying makes no sense. `met` is what
/// the upload before it met: it tells more than that too little time was left for this one.
pub(super) fn run(file: &Arc<WriteFile>, bound: Bound, met: Option<Error>) -> Result<Delivered, Error> {
    let _busy = Busy(file);
    let result = deliver(file, bound);
    let mut state = file.state.lock();
    let upload = state.ended;
    let result = result.map_err(|error| told(error, met));
    state.failure = result.as_ref().err().map(|error| Failure { error: error.clone(), upload });
    if let Err(error) = &result {
        let unheard = state.stream.is_some() && state.goal.is_none();
        if unheard && is_final(error.kind()) {
            state.refusal = Some(error.clone());
        }
        state.unsteady = true;
        log::debug!("upload of {} failed: {error}", state.path);
    }
    result
}

/// What an upload that ended by `error` tells those who wait for it, when the one before it met `met`. It is then its own
/// failure: who has waited for this one alone passes it on as well.
fn told(error: Error, met: Option<Error>) -> Error {
    match met {
        Some(met) if error.kind() == Kind::DeadlinePassed => met,
        _ => error,
    }
}

/// Whether the server itself said no, so that more bytes would be in vain.
fn is_final(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Failed
            | Kind::Unreachable
            | Kind::DeadlinePassed
            | Kind::Garbled
            | Kind::LoginFailed
            | Kind::Insecure
    )
}

fn deliver(file: &Arc<WriteFile>, mut bound: Bound) -> Result<Delivered, Error> {
    let remote = &file.shared.remote;
    let mut attempt = 1;
    let mut earlier: Option<FtpError> = None;
    loop {
        complete(file, &mut bound)?;
        let path = settled_path(file, bound.deadline());
        let mut lease = match (remote.lease("write", &path, Lane::Data, bound.deadline()), &earlier) {
            (Ok(lease), _) => lease,
            // What went wrong tells more than that no time was left for another attempt, or for a look in between.
            (Err(late), Some(error)) if late.kind() == Kind::DeadlinePassed => {
                return Err(remote.explain_write(&path, error, Deadline::after(SETTLE)));
            }
            (Err(error), _) => return Err(error),
        };
        let fresh = lease.is_fresh();
        let end = match lease.session() {
            Some(session) => step(file, session, &path, &mut bound),
            None => End::Broken(FtpError::Closed(None)),
        };
        drop(lease);
        let error = match end {
            End::Confirmed => return named(file, &path),
            End::Over => return Ok(Delivered::GivenUp),
            End::Again => {
                attempt = 1;
                continue;
            }
            End::Failed(error) => return Err(error),
            End::Blind(blind) => {
                let (sending, settled) = *blind;
                let listed = remote.stat(&path, bound.deadline());
                match conclude(file, &path, &sending, settled, listed.ok()) {
                    End::Confirmed => return named(file, &path),
                    End::Failed(error) => return Err(error),
                    End::Broken(error) => error,
                    End::Again | End::Over | End::Blind(..) => FtpError::Closed(None),
                }
            }
            End::Broken(error) => error,
        };
        let deadline = bound.deadline();
        let hurries = file.shared.hurry.load(Ordering::Relaxed);
        let was_moved = settled_path(file, deadline) != path;
        match Remote::pause_before_next(attempt, fresh, &error) {
            // It may have failed because its directory has got another name meanwhile.
            None if was_moved && attempt < MOVES && !deadline.passed() => {}
            Some(pause) if !deadline.passed() && !is_full(&error) && !hurries => {
                remote.pool().pause(pause, deadline);
            }
            _ => {
                let is_late = matches!(error, FtpError::Deadline { .. }) && deadline.passed();
                let told = earlier.filter(|_| is_late).unwrap_or(error);
                return Err(remote.explain_write(&path, &told, Deadline::after(SETTLE)));
            }
        }
        earlier = Some(error);
        attempt += 1;
    }
}

/// Where the file is, when no rename of it is under way.
fn settled_path(file: &WriteFile, deadline: Deadline) -> RemotePath {
    file.shared.moves.settled(deadline, || file.state.lock().path.clone())
}

/// After the first upload of a new file: it must be there under its very name.
fn named(file: &WriteFile, path: &RemotePath) -> Result<Delivered, Error> {
    if !file.state.lock().unnamed {
        return Ok(Delivered::Confirmed);
    }
    let checked = file.shared.remote.check_new_file(path, Deadline::after(file.shared.bound));
    let mut state = file.state.lock();
    // Until then nobody may take it for stored.
    state.unnamed = checked.is_err();
    if state.unnamed {
        state.staged.distrust();
        (state.news, state.replaces, state.safe) = (None, None, None);
    }
    checked.map(|()| Delivered::Confirmed)
}

/// Whether the server has no room: its disk is not free a moment later (RFC 959 s.4.2.1: 452, 552).
fn is_full(error: &FtpError) -> bool {
    error.refusal().is_some_and(|reply| matches!(reply.code(), 452 | 552))
}

/// Whether the server does not have the command (RFC 959 s.4.2.1).
fn is_unknown(error: &FtpError) -> bool {
    error.refusal().is_some_and(|reply| matches!(reply.code(), 500..=502 | 504))
}

/// Fetches what only the server has, where the whole file must be sent.
fn complete(file: &WriteFile, bound: &mut Bound) -> Result<(), Error> {
    loop {
        let state = file.state.lock();
        if state.discarded || state.staged.errand() != Errand::Whole {
            return Ok(());
        }
        let Some(gap) = state.staged.missing(0, FETCH) else { return Ok(()) };
        let base = state.base.clone();
        let lost =
            || file.error(&state, Kind::Changed, "write", "the server no longer has the rest of the file");
        let Some(base) = base else { return Err(lost()) };
        drop(state);
        let len = usize::try_from(gap.end - gap.start).unwrap_or(usize::MAX);
        let patience = Patience::Until(bound.deadline());
        let bytes = file.read_base(base, gap.start, len, patience).map_err(|error| match error {
            WriteError::Remote(error) => error,
            WriteError::WouldBlock | WriteError::Local(_) => {
                file.error(&file.state.lock(), Kind::Failed, "write", "the rest of the file did not come")
            }
        })?;
        let mut state = file.state.lock();
        if bytes.is_empty() {
            return Err(file.error(&state, Kind::Changed, "write", "the server's file has become shorter"));
        }
        let filled = state.staged.fill(gap.start, &bytes);
        filled.map_err(|e| local(file, &state, &e))?;
        drop(state);
        bound.progress();
    }
}

fn local(file: &WriteFile, state: &State, error: &io::Error) -> Error {
    let kind = if error.raw_os_error() == Some(libc::ENOSPC) { Kind::NoSpace } else { Kind::Failed };
    file.error(state, kind, "write", format!("the local disk with the staged bytes: {error}"))
}

/// What one attempt starts from.
pub(super) struct Start {
    pub(super) from: u64,
    /// It sends or sets something beyond the bytes.
    pub(super) wishes: Wishes,
}

/// One step over one connection.
fn step(file: &Arc<WriteFile>, session: &mut Session, path: &RemotePath, bound: &mut Bound) -> End {
    if let Err(end) = look(file, session, path, bound) {
        return end;
    }
    let start = {
        let state = file.state.lock();
        if state.discarded {
            return End::Over;
        }
        let sends = state.is_unsent();
        let attributes = &state.attributes;
        let wishes = Wishes {
            mode: attributes.mode.filter(|_| attributes.mode_is_wanted),
            modified: attributes.modified.filter(|_| sends || attributes.time_is_set),
            group: None,
        };
        match state.staged.errand() {
            Errand::Nothing => None,
            Errand::Tail(from) => Some(Start { from, wishes }),
            // Somebody has changed the file since the look.
            Errand::Rest { .. } => return End::Again,
            Errand::Whole if state.staged.missing(0, 1).is_some() => return End::Again,
            Errand::Whole => Some(Start { from: 0, wishes }),
        }
        .map_or((wishes, None), |start| (start.wishes, Some(start)))
    };
    let (wishes, start) = start;
    let from = start.as_ref().map(|start| start.from);
    let mut settled = None;
    let sent = match &start {
        Some(start) => match send(file, session, path, start, bound) {
            Ok(Sent::All(sent)) => sent,
            Ok(Sent::Settled(sent, told)) => {
                settled = Some(told);
                sent
            }
            Ok(Sent::Part(sent)) => return pause(file, session, path, (start.from, sent), bound),
            Err(end) => return end,
        },
        None => file.state.lock().staged.size(),
    };
    let settled =
        settled.map_or_else(|| session.settle(path.as_bytes(), &wishes, bound.deadline()), |told| *told);
    confirm(file, session, path, Sending { from, sent, wishes }, settled, bound)
}

/// Finds out where a tail may begin: what the server has must be what we think it has.
fn look(file: &WriteFile, session: &mut Session, path: &RemotePath, bound: &Bound) -> Result<(), End> {
    let (errand, known, whole) = {
        let mut state = file.state.lock();
        let whole = state.staged.missing(0, 1).is_none();
        let small = state.staged.size() <= SMALL && whole;
        if !file.shared.appends() || (small && matches!(state.staged.errand(), Errand::Rest { .. })) {
            state.staged.distrust();
        }
        (state.staged.errand(), state.known, whole)
    };
    let length = match errand {
        Errand::Nothing | Errand::Whole => return Ok(()),
        Errand::Rest { least, .. } => {
            let length = server_length(session, path, bound.deadline())?;
            let mut state = file.state.lock();
            let is_old = match (least, state.replaces, length) {
                (0, Some(Replaces::Unknown), _) => true,
                (0, Some(Replaces::Length(old)), Some(length)) => old == length,
                _ => false,
            };
            state.staged.looked(length.filter(|_| !is_old));
            return Ok(());
        }
        Errand::Tail(length) => length,
    };
    let told = match session.facts(path.as_bytes(), bound.deadline()) {
        Ok(Facts::Whole(entry)) if entry.kind == EntryKind::File => entry.size.map(|s| (s, entry.modified)),
        Ok(Facts::File { size, modified }) => Some((size, modified)),
        Ok(_) => server_length(session, path, bound.deadline())?.map(|size| (size, None)),
        Err(FtpError::Refused { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let version = FileVersion::new(FileId(0), length, known, None);
    let same = told
        .is_some_and(|(size, modified)| version.same_file_as(&RemoteEntry { modified, ..plain(Some(size)) }));
    if same {
        return Ok(());
    }
    let mut state = file.state.lock();
    if !whole && told.is_some() {
        let cause = "somebody else has changed it on the server since it was opened";
        return Err(End::Failed(file.error(&state, Kind::Changed, "append to", cause)));
    }
    state.staged.distrust();
    Ok(())
}

/// How long the server's file is; `None` where there is none, or it is not told.
pub(super) fn server_length(
    session: &mut Session,
    path: &RemotePath,
    deadline: Deadline,
) -> Result<Option<u64>, FtpError> {
    match session.size(path.as_bytes(), deadline) {
        Err(FtpError::Refused { .. }) => Ok(None),
        other => other,
    }
}

/// How far the bytes went.
enum Sent {
    /// To the end of the file, which is at this place.
    All(u64),
    /// The same, and the attributes are set.
    Settled(u64, Box<Result<Settled, FtpError>>),
    /// To this place; the connection is needed elsewhere.
    Part(u64),
}

/// Sends the bytes and reads the final reply.
fn send(
    file: &Arc<WriteFile>,
    session: &mut Session,
    path: &RemotePath,
    start: &Start,
    bound: &mut Bound,
) -> Result<Sent, End> {
    let at = if start.from == 0 { StoreAt::Start } else { StoreAt::End };
    let (name, size) = (path.as_bytes(), file.state.lock().staged.size());
    match send_at_once(file, session, path, start, bound) {
        AtOnce::Not => {}
        AtOnce::Sent(size, None) => return Ok(Sent::All(size)),
        AtOnce::Sent(size, Some(settled)) => return Ok(Sent::Settled(size, settled)),
        AtOnce::Broken(error) => return Err(error.into()),
    }
    let error = match session.store_sized(name, at, size, bound.deadline()) {
        Ok(upload) => return carry(file, upload, start, bound),
        Err(error) => error,
    };
    let error = if at == StoreAt::Start && Remote::is_kept_by_the_server(&error) {
        // All that the file shall have is here, and STOR would have emptied it too.
        if let Err(refusal) = session.remove_file(name, bound.deadline()) {
            return Err(if refusal.is_fatal() { refusal } else { error }.into());
        }
        log::debug!("{path} was deleted, since the server writes over no file: {error}");
        {
            let mut state = file.state.lock();
            state.before = None;
            state.staged.distrust();
        }
        match session.store_sized(name, at, size, bound.deadline()) {
            Ok(upload) => return carry(file, upload, start, bound),
            Err(error) => error,
        }
    } else {
        error
    };
    let mut state = file.state.lock();
    let refused = matches!(error, FtpError::Refused { .. });
    if refused && at == StoreAt::End && !is_full(&error) {
        if is_unknown(&error) {
            file.shared.appends_not.store(true, Ordering::Relaxed);
            log::info!("the server does not append ({error}); whole files are sent");
        }
        state.staged.distrust();
        return Err(End::Again);
    }
    if !refused && at == StoreAt::Start {
        state.before = None;
        // It may have been emptied.
        state.staged.distrust();
    }
    Err(error.into())
}

/// Carries the bytes of an upload that has begun, and reads its final reply.
fn carry(
    file: &Arc<WriteFile>,
    mut upload: Upload<'_>,
    start: &Start,
    bound: &mut Bound,
) -> Result<Sent, End> {
    bound.progress();
    {
        let mut state = file.state.lock();
        state.before = None;
        // From now on its time is of our doing, until it is confirmed.
        state.known = None;
        state.unconfirmed = true;
        state.staged.begin(start.from);
        if start.from == 0 {
            // The server has emptied the file.
            state.safe = None;
        }
    }
    match pump(file, &mut upload, start.from, bound) {
        Pumped::End { at, all } => {
            let finished = upload.finish(bound.deadline());
            bound.progress();
            if let Err(error) = finished {
                file.state.lock().staged.broke(start.from);
                return Err(error.into());
            }
            Ok(if all { Sent::All(at) } else { Sent::Part(at) })
        }
        Pumped::Stopped => {
            let _ = upload.abandon(Deadline::after(SETTLE));
            let mut state = file.state.lock();
            state.staged.broke(start.from);
            state.staged.distrust();
            state.unsteady = true;
            Err(End::Over)
        }
        Pumped::Broken(error) => {
            // The reply tells why, if there is one.
            let error = match upload.finish(Deadline::after(SETTLE)) {
                Err(refusal @ FtpError::Refused { .. }) => refusal,
                _ => error,
            };
            file.state.lock().staged.broke(start.from);
            Err(error.into())
        }
        Pumped::Local(error) => {
            let _ = upload.abandon(Deadline::after(SETTLE));
            let mut state = file.state.lock();
            state.staged.broke(start.from);
            Err(End::Failed(local(file, &state, &error)))
        }
    }
}

/// After a part: makes sure that the server has it, so that the rest can follow later.
fn pause(
    file: &WriteFile,
    session: &mut Session,
    path: &RemotePath,
    (from, sent): (u64, u64),
    bound: &Bound,
) -> End {
    let length = server_length(session, path, bound.deadline());
    let mut state = file.state.lock();
    state.staged.broke(from);
    match length {
        Ok(length) => {
            if length.is_none() {
                // What was sent in turns could never be found again.
                file.shared.appends_not.store(true, Ordering::Relaxed);
            }
            state.staged.looked(length.filter(|&length| length == sent));
            state.replaces = length.map_or(Some(Replaces::Unknown), |length| Some(Replaces::Length(length)));
        }
        Err(error) => return error.into(),
    }
    state.known = None;
    match &state.stream {
        // The writer has paused: a later stream goes on.
        Some(_) if state.goal.is_none() && state.staged.size() == sent => End::Over,
        _ => End::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: Kind, cause: &str) -> Error {
        Error::new(kind, "write", "/f", "host", cause)
    }

    #[test]
    fn who_only_lacked_time_tells_what_was_met_before() {
        let (late, cut) = (error(Kind::DeadlinePassed, "late"), error(Kind::Failed, "cut"));
        assert_eq!(told(late.clone(), Some(cut.clone())).kind(), Kind::Failed);
        assert_eq!(told(late.clone(), None).kind(), Kind::DeadlinePassed);
        let full = error(Kind::NoSpace, "full");
        assert_eq!(told(full, Some(cut)).kind(), Kind::NoSpace);
        assert_eq!(told(late.clone(), Some(late)).kind(), Kind::DeadlinePassed);
    }
}
