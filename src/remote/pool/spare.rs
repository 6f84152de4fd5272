//! Connections for those who need one after the other.
//!
//! A connection asks for its next data connection when a transfer ends, and has it one or two round trips later. Who
//! begins the next transfer at once waits for that, unless another connection has one ready: some that take turns cost
//! nothing but the transfers. They are made behind the back of who found none ready, since a login takes longer than the
//! wait.

use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use crate::deadline::Deadline;
use crate::ftp::warm::Readiness;
use crate::remote::pool::{Lane, Lease, Pool};

/// Connections beyond so many are not made for this. vsftpd 3.0.3 and ProFTPD 1.3.8 keep one for a bit more than four round
/// trips with a read that ends early: the transfer, its end, the next address, the next data connection.
const MOST: usize = 5;

/// So many are made at the same time.
const AT_ONCE: usize = 2;

/// Longest time for making one.
const LOGIN: Duration = Duration::from_secs(20);

impl Pool {
    /// The connection in hand had no data connection ready: sees to it that another one has, from soon on. Never waits,
    /// and takes no place that others wait for, nor the last one.
    pub fn prepare_another(&self) {
        {
            let mut state = self.0.state.lock();
            if state.prepares >= AT_ONCE || state.closing {
                return;
            }
            state.prepares += 1;
        }
        let pool = self.clone();
        let job = move || {
            pool.prepare(Deadline::after(LOGIN));
            pool.0.state.lock().prepares -= 1;
        };
        if let Err(error) = std::thread::Builder::new().name("spare".to_owned()).spawn(job) {
            log::warn!("cannot start a thread: {error}");
            self.0.state.lock().prepares -= 1;
        }
    }

    /// Whether no idle connection has the data connection of its next transfer, or has asked for it.
    pub(super) fn lacks_channel(&self) -> bool {
        let state = self.0.state.lock();
        !state.closing && state.idle.iter().all(|idle| idle.session.readiness() == Readiness::Cold)
    }

    fn prepare(&self, deadline: Deadline) {
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
        let mut lease = Lease::new(self, session, Lane::Metadata, fresh);
        if let Some(session) = lease.session()
            && session.is_ready()
        {
            session.ask_channel(deadline);
        }
    }
}
