//! A new small file goes out with the command that announces it.

use std::sync::Arc;

use crate::ftp::change::Settled;
use crate::ftp::error::Error as FtpError;
use crate::ftp::session::Session;
use crate::ftp::small::{SMALL, Unstored};
use crate::ftp::warm::Readiness;
use crate::remote::RemotePath;
use crate::write::file::{Bound, WriteFile};
use crate::write::staged::Errand;
use crate::write::upload::Start;

/// What came of it.
pub(super) enum AtOnce {
    /// The server has it not, and nothing was changed.
    Not,
    /// So many bytes were sent and taken, and perhaps settled.
    Sent(u64, Option<Box<Result<Settled, FtpError>>>),
    /// The server may have a part.
    Broken(FtpError),
}

/// Sends the whole file without waiting for the server's leave, where it is closed, new, and small, and the session is
/// ready for that. A refusal has changed nothing: who called goes on as if nothing had been tried, and finds out what the
/// refusal means.
pub(super) fn send_at_once(
    file: &Arc<WriteFile>,
    session: &mut Session,
    path: &RemotePath,
    start: &Start,
    bound: &mut Bound,
) -> AtOnce {
    if start.from != 0 || !session.stores_at_once() {
        return AtOnce::Not;
    }
    let was_ready = session.readiness() == Readiness::Ready;
    let (stage, mut bytes) = {
        let mut state = file.state.lock();
        let size = state.staged.size();
        let is_closed = state.stream.is_none() && state.goal.is_some_and(|goal| goal.size == size);
        let is_new = state.before.is_none() && state.staged.appended().is_none();
        let is_here = state.staged.errand() == Errand::Whole && state.staged.missing(0, 1).is_none();
        let len = usize::try_from(size).ok().filter(|&len| len <= SMALL);
        let Some(len) = len.filter(|_| is_closed && is_new && is_here && !state.discarded) else {
            return AtOnce::Not;
        };
        // Before they are read: what changes from now on has changed behind us.
        state.staged.begin(0);
        state.staged.take(size);
        (state.staged.stage().clone(), vec![0; len])
    };
    if stage.read_at(&mut bytes, 0).is_err() {
        file.state.lock().staged.spare();
        return AtOnce::Not;
    }
    let stored = session.store_small(path.as_bytes(), &bytes, &start.wishes, bound.deadline());
    if matches!(stored, Ok(_) | Err(Unstored::Before(FtpError::Refused { .. }))) {
        bound.progress();
        file.shared.remote.pool().heard();
    }
    let mut state = file.state.lock();
    let stored = match stored {
        Ok(settled) => Ok(settled),
        Err(Unstored::During(error)) => Err(error),
        Err(Unstored::Before(error)) => {
            log::debug!("{path} was refused, and is sent step by step: {error}");
            state.staged.spare();
            return AtOnce::Not;
        }
    };
    // From now on its time is of our doing, until it is confirmed; the server has emptied the file.
    (state.known, state.unconfirmed, state.safe) = (None, true, None);
    match stored {
        Ok(settled) => {
            drop(state);
            if !was_ready {
                file.shared.remote.pool().prepare_another();
            }
            AtOnce::Sent(bytes.len() as u64, settled.map(Box::new))
        }
        Err(error) => {
            state.staged.broke(0);
            AtOnce::Broken(error)
        }
    }
}
