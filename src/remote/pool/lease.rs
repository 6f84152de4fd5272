//! What is lent.

use std::time::Duration;

use crate::deadline::Deadline;
use crate::ftp::session::Session;
use crate::remote::pool::{Lane, Pool};

/// Longest time for sending a command that nobody waits for, which the system takes at once where all is well.
const ASKING: Duration = Duration::from_millis(100);

/// One connection, lent. Given back when dropped; closed instead when it is broken or out of step.
pub struct Lease {
    pool: Pool,
    session: Option<Session>,
    lane: Lane,
    fresh: bool,
    /// How many commands the session had sent when it was lent.
    before: u64,
    /// Dropped when the connection has been given back.
    ending: Option<EndsSoon>,
}

impl Lease {
    pub(super) fn new(pool: &Pool, session: Session, lane: Lane, fresh: bool) -> Lease {
        let before = session.commands_sent();
        Lease { pool: pool.clone(), session: Some(session), lane, fresh, before, ending: None }
    }

    /// Keeps what says that it ends soon, until it has ended.
    pub fn keep(&mut self, ending: EndsSoon) {
        self.ending = Some(ending);
    }

    /// Whether the connection was made for this lease. One that was not may have died unseen.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The session; `None` never happens before the lease is dropped.
    pub fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        let mut ready = session.is_ready();
        // One that was not used says nothing of the server.
        let answered = ready && session.commands_sent() != self.before;
        let may_ask = answered && self.lane == Lane::Metadata && session.may_ask_on_chance();
        if may_ask && self.pool.lacks_channel() {
            // Not under the lock: it sends.
            session.ask_channel_on_chance(Deadline::after(ASKING));
            ready = session.is_ready();
        }
        let mut state = self.pool.0.state.lock();
        if self.lane == Lane::Data {
            state.data -= 1;
        }
        if answered {
            self.pool.heard();
            state.breaker.succeeded();
        }
        let closed = if ready && !state.closing {
            self.pool.0.keep(&mut state, session);
            None
        } else {
            state.open -= 1;
            Some(session)
        };
        drop(state);
        self.pool.0.changed.notify_all();
        if let Some(session) = closed {
            session.quit();
        }
    }
}

/// While it lives, the lease of its owner may be asked for; see [`Pool::park`].
pub struct Parked<'a> {
    pub(super) pool: &'a Pool,
    pub(super) id: u64,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.0.state.lock();
        let before = state.parked.len();
        state.parked.retain(|(id, _)| *id != self.id);
        if state.parked.len() == before {
            // It was asked for, and has heard it: it gives way now, or is busy again and can be asked anew.
            state.revoked = state.revoked.saturating_sub(1);
        }
    }
}

/// While it lives, a lease is about to be given back: nothing but the answer to what was sent is waited for. Who needs a
/// connection had better wait for that than log in.
pub struct EndsSoon(Pool);

impl EndsSoon {
    pub(super) fn new(pool: &Pool) -> EndsSoon {
        pool.0.state.lock().ending += 1;
        EndsSoon(pool.clone())
    }
}

impl Drop for EndsSoon {
    fn drop(&mut self) {
        self.0.0.state.lock().ending -= 1;
        self.0.0.changed.notify_all();
    }
}
