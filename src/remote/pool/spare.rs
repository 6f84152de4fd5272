//! A second connection for those who need one after the other.
//!
//! A connection asks for its next data connection when a transfer ends, and has it one or two round trips later. Who
//! begins the next transfer at once waits for that, unless another connection has one ready: two that take turns cost
//! nothing but the transfers.

use std::time::Instant;

use parking_lot::MutexGuard;

use crate::deadline::Deadline;
use crate::ftp::warm::Readiness;
use crate::remote::pool::{Lane, Lease, Pool};

/// Connections beyond so many are not made for this: three have been seen to be of use, where the server confirms within
/// one round trip.
const MOST: usize = 4;

impl Pool {
    /// Sees to it that an idle connection has its next data connection made or asked for. One is made where there is
    /// none, as [`Pool::try_ahead`] would.
    pub fn prepare_another(&self, deadline: Deadline) {
        let shared = &self.0;
        let mut state = shared.state.lock();
        let cold = state.idle.iter().position(|idle| idle.session.readiness() == Readiness::Cold);
        let session = match cold {
            Some(cold) => state.idle.remove(cold).session,
            None => {
                let now = Instant::now();
                let spare = state.limit.current(now).saturating_sub(1);
                let is_free = state.queue.is_empty()
                    && !state.closing
                    && state.breaker.open().is_none()
                    && state.may_open_at(now).is_none();
                if !is_free || state.open >= spare.min(MOST) {
                    return;
                }
                state.open += 1;
                state.ahead += 1;
                let opened = MutexGuard::unlocked(&mut state, || shared.open_session(deadline));
                state.ahead -= 1;
                match opened {
                    Ok(session) => {
                        shared.note_success(&mut state);
                        session
                    }
                    Err(error) => {
                        state.open -= 1;
                        shared.note_failure(&mut state, now, error);
                        return;
                    }
                }
            }
        };
        drop(state);
        let fresh = cold.is_none();
        let mut lease = Lease { pool: self.clone(), session: Some(session), lane: Lane::Metadata, fresh };
        if let Some(session) = lease.session()
            && session.is_ready()
        {
            session.ask_channel(deadline);
        }
    }
}
