//! The connections of a mount, lent fairly.
//!
//! 1. A lease is one connection for one caller; leases never nest: nobody who holds one waits for another.
//! 2. Where two or more connections are allowed, transfers leave one for metadata.
//! 3. Who waits is served in the order of arrival, within the lanes.
//! 4. A holder that does nothing at the moment (a parked stream) is asked to give its connection up when
//!    somebody waits; a busy one can see that somebody waits and give way.
//! 5. No lock is held while the network is used.
//! 6. What is fetched ahead of any request takes a connection only while nobody waits, and never the last one.
//! 7. A server that answers on one connection while another cannot be made is there, and has no more places.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::Level;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::deadline::Deadline;
use crate::ftp::config::SessionConfig;
use crate::ftp::error::Error as FtpError;
use crate::ftp::profile::ServerProfile;
use crate::ftp::session::{LoginError, Session};
use crate::ftp::warm::Readiness;
use crate::remote::breaker::Breaker;
use crate::remote::limit::ConnectionLimit;
use crate::sys;
pub(crate) use lease::EndsSoon;
pub use lease::{Lease, Parked};

/// An unused connection is closed after this time; servers drop them after 60 s to 15 min.
const IDLE: Duration = Duration::from_secs(55);

/// A connection that is about to be given back is waited for no longer than this before another one is made.
const ENDING: Duration = Duration::from_millis(500);

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Short exchanges that somebody waits for: listings, facts.
    Metadata,
    /// File contents.
    Data,
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub enum Unavailable {
    /// It cannot be had, for this reason.
    Login(LoginError),
    /// None became free in time; the last refusal, if one was seen.
    Deadline(Option<LoginError>),
    /// The mount is going down.
    Closing,
}

/// Called when a parked connection is wanted. Must not block.
pub type Revoke = Arc<dyn Fn() + Send + Sync>;

/// The connections to one server.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    config: Arc<SessionConfig>,
    profile: Arc<ServerProfile>,
    state: Mutex<State>,
    /// Anything in the state changed.
    changed: Condvar,
    /// How many callers wait.
    waiting: AtomicUsize,
    begun: Instant,
    /// When the server was last heard on a connection, in ms since `begun`, and one more; 0 for never.
    heard: AtomicU64,
    /// Wakes the caretaker.
    waker: UnixStream,
}

struct State {
    idle: Vec<Idle>,
    /// Connections that exist or are being made.
    open: usize,
    /// Leases of [`Lane::Data`].
    data: usize,
    limit: ConnectionLimit,
    breaker: Breaker<LoginError>,
    /// The last time that the server had no place for us, with none of ours open.
    full: Option<(Instant, LoginError)>,
    queue: VecDeque<(u64, Lane)>,
    tickets: u64,
    parked: VecDeque<(u64, Revoke)>,
    /// Parked connections that were asked for and have not heard it yet.
    revoked: usize,
    /// Connections that are being made for work that nobody waits for.
    ahead: usize,
    /// Connections that are being made ready, see [`Pool::prepare_another`].
    prepares: usize,
    /// Leases that end within a round trip; see [`Pool::ends_soon`].
    ending: usize,
    /// When the caretaker wakes by itself; `None` for never.
    rests_until: Option<Instant>,
    closing: bool,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl Idle {
    /// When the caretaker has to see to it.
    fn due(&self) -> Instant {
        let expiry = self.since + IDLE;
        self.session.keeps_channel_until().map_or(expiry, |until| until.min(expiry))
    }
}

impl Pool {
    /// A pool without connections; they are made when they are needed, `connections` at most.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(
        config: Arc<SessionConfig>,
        profile: Arc<ServerProfile>,
        connections: usize,
    ) -> std::io::Result<Pool> {
        let state = State {
            idle: Vec::new(),
            open: 0,
            data: 0,
            limit: ConnectionLimit::new(connections),
            breaker: Breaker::new(),
            full: None,
            queue: VecDeque::new(),
            tickets: 0,
            parked: VecDeque::new(),
            revoked: 0,
            ahead: 0,
            prepares: 0,
            ending: 0,
            rests_until: None,
            closing: false,
        };
        let (waker, alarm) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        alarm.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            config,
            profile,
            state: Mutex::new(state),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            begun: Instant::now(),
            heard: AtomicU64::new(0),
            waker,
        });
        let caretaker = shared.clone();
        std::thread::Builder::new().name("pool".to_owned()).spawn(move || caretaker.care(&alarm))?;
        Ok(Pool(shared))
    }

    /// Takes over a session that was made elsewhere.
    pub(super) fn adopt(&self, session: Session) {
        let mut state = self.0.state.lock();
        state.open += 1;
        self.0.note_success(&mut state);
        self.0.keep(&mut state, session);
        drop(state);
        self.0.changed.notify_all();
    }

    /// A connection for metadata that is idle while nobody waits for one.
    pub(super) fn try_idle(&self) -> Option<Lease> {
        let mut state = self.0.state.lock();
        if !state.queue.is_empty() {
            return None;
        }
        let mut session = state.readiest()?.session;
        drop(state);
        // One that is dead is closed with the lease.
        let ready = session.is_ready();
        let lease = Lease::new(self, session, Lane::Metadata, false);
        ready.then_some(lease)
    }

    /// A connection for work that nobody waits for yet, such as fetching ahead: only while nobody waits for one,
    /// and never the last that the server allows. One may be made for it. Whoever holds it looks at
    /// [`Pool::is_wanted`] between steps and gives it back.
    pub fn try_ahead(&self, deadline: Deadline) -> Option<Lease> {
        let shared = &self.0;
        let mut state = shared.state.lock();
        let spare = state.limit.current(Instant::now()).saturating_sub(1);
        let is_free = state.queue.is_empty() && !state.closing && state.breaker.open().is_none();
        if !is_free || state.data + state.ahead >= spare {
            return None;
        }
        // Counted while one is made, so that several at once leave one over; not as one in use, which those who ask
        // would wait for.
        state.ahead += 1;
        let taken = shared.take(&mut state, Lane::Metadata, deadline);
        state.ahead -= 1;
        state.data += usize::from(taken.is_some());
        drop(state);
        shared.changed.notify_all();
        let (session, fresh) = taken?;
        Some(Lease::new(self, session, Lane::Data, fresh))
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// At once while the server is given up, else by `deadline`.
    pub fn lease(&self, lane: Lane, deadline: Deadline) -> Result<Lease, Unavailable> {
        let shared = &self.0;
        let mut state = shared.state.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.queue.push_back((ticket, lane));
        shared.waiting.store(state.queue.len(), Ordering::Relaxed);
        let patience = Instant::now() + ENDING;
        let outcome = loop {
            if state.closing {
                break Err(Unavailable::Closing);
            }
            if let Some(error) = state.breaker.open() {
                break Err(Unavailable::Login(error.clone()));
            }
            if deadline.passed() {
                break Err(Unavailable::Deadline(state.full.as_ref().map(|(_, error)| error.clone())));
            }
            let now = Instant::now();
            let waits = now < patience && state.is_served_soon(ticket);
            if !waits && state.next(now) == Some(ticket) {
                // Out of the queue while a connection is made, so that others can be served meanwhile.
                state.queue.retain(|&(waiting, _)| waiting != ticket);
                shared.waiting.store(state.queue.len(), Ordering::Relaxed);
                shared.changed.notify_all();
                if let Some(session) = shared.take(&mut state, lane, deadline) {
                    break Ok(session);
                }
                state.queue.push_front((ticket, lane));
                shared.waiting.store(state.queue.len(), Ordering::Relaxed);
                continue;
            }
            if state.queue.len() > state.revoked
                && let Some((_, revoke)) = state.parked.pop_front()
            {
                state.revoked += 1;
                MutexGuard::unlocked(&mut state, || revoke());
                continue;
            }
            let retry = if waits { Some(patience) } else { state.may_open_at(now) };
            let retry = retry.unwrap_or(deadline.instant());
            shared.changed.wait_until(&mut state, deadline.instant().min(retry));
        };
        state.queue.retain(|&(waiting, _)| waiting != ticket);
        shared.waiting.store(state.queue.len(), Ordering::Relaxed);
        drop(state);
        shared.changed.notify_all();
        outcome.map(|(session, fresh)| Lease::new(self, session, lane, fresh))
    }

    /// Whether somebody waits for a connection.
    pub fn is_wanted(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// Tells that bytes came over a lease: the server is there.
    pub fn heard(&self) {
        self.0.note_heard();
    }

    /// A lease is about to be given back.
    pub fn ends_soon(&self) -> EndsSoon {
        EndsSoon::new(self)
    }

    /// Tells that a lease is held and not used; `revoke` is called (once) when somebody waits for it.
    /// The lease is in use again once the returned guard is dropped.
    pub fn park(&self, revoke: Revoke) -> Parked<'_> {
        let mut state = self.0.state.lock();
        state.tickets += 1;
        let id = state.tickets;
        state.parked.push_back((id, revoke));
        drop(state);
        if self.is_wanted() {
            self.0.changed.notify_all();
        }
        Parked { pool: self, id }
    }

    /// Waits `pause`, less if the deadline passes or the mount goes down.
    pub fn pause(&self, pause: Duration, deadline: Deadline) {
        let until = deadline.at_most(pause);
        let mut state = self.0.state.lock();
        while !state.closing && !until.passed() {
            self.0.changed.wait_until(&mut state, until.instant());
        }
    }

    /// Closes what is idle and refuses all who wait or come.
    pub fn close(&self) {
        let mut state = self.0.state.lock();
        state.closing = true;
        let idle = std::mem::take(&mut state.idle);
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        self.0.changed.notify_all();
        self.0.wake();
        for (_, revoke) in parked {
            revoke();
        }
        for idle in idle {
            idle.session.quit();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        write!(f, "Pool({} open, {} idle, {} waiting)", state.open, state.idle.len(), state.queue.len())
    }
}

impl State {
    /// Takes the idle session whose next transfer can begin soonest; of several the one used last, so that those that
    /// are not needed any more are closed.
    fn readiest(&mut self) -> Option<Idle> {
        let ready = (0..self.idle.len()).max_by_key(|&i| (self.idle[i].session.readiness(), i))?;
        Some(self.idle.remove(ready))
    }

    /// The ticket that may be served now.
    fn next(&self, now: Instant) -> Option<u64> {
        let allowed = self.limit.current(now);
        let may_open = self.open < allowed && self.may_open_at(now).is_none();
        if self.idle.is_empty() && !may_open {
            return None;
        }
        let for_data = allowed.saturating_sub(1).max(1);
        let serves = |lane| lane == Lane::Metadata || self.data < for_data;
        self.queue.iter().find(|&&(_, lane)| serves(lane)).map(|&(ticket, _)| ticket)
    }

    /// Whether somebody who waits gets one of the connections that are about to be given back, which is sooner than
    /// another one could be made.
    fn is_served_soon(&self, ticket: u64) -> bool {
        self.idle.is_empty() && self.queue.iter().take(self.ending).any(|&(waiting, _)| waiting == ticket)
    }

    /// When a connection may be tried again, after failures; `None` when now.
    fn may_open_at(&self, now: Instant) -> Option<Instant> {
        /// Pause between attempts while the server has no place for our only connection.
        const FULL_PAUSE: Duration = Duration::from_millis(300);
        let full = self.full.as_ref().filter(|_| self.open == 0).map(|(at, _)| *at + FULL_PAUSE);
        let next = self.breaker.next_try().into_iter().chain(full).max();
        next.filter(|&at| at > now)
    }
}

impl Shared {
    /// Gives an idle connection that is still good, or makes one. `None` when the caller has to look again.
    fn take(
        &self,
        state: &mut MutexGuard<'_, State>,
        lane: Lane,
        deadline: Deadline,
    ) -> Option<(Session, bool)> {
        let is_data = usize::from(lane == Lane::Data);
        while let Some(mut idle) = state.readiest() {
            if idle.session.is_ready() {
                state.data += is_data;
                return Some((idle.session, false));
            }
            state.open -= 1;
        }
        let now = Instant::now();
        if state.open >= state.limit.current(now) || state.may_open_at(now).is_some() {
            return None;
        }
        state.open += 1;
        let opened = MutexGuard::unlocked(state, || self.open_session(deadline));
        match opened {
            Ok(session) => {
                self.note_success(state);
                state.data += is_data;
                Some((session, true))
            }
            Err(error) => {
                state.open -= 1;
                self.note_failure(state, now, error);
                None
            }
        }
    }

    fn open_session(&self, deadline: Deadline) -> Result<Session, LoginError> {
        Session::open(self.config.clone(), self.profile.clone(), deadline)
    }

    fn note_success(&self, state: &mut State) {
        self.note_heard();
        state.breaker.succeeded();
        state.full = None;
        let open = state.open;
        state.limit.accepted(open, Instant::now());
    }

    fn note_heard(&self) {
        self.heard.store(self.millis(Instant::now()).saturating_add(1), Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    fn note_failure(&self, state: &mut State, started: Instant, error: LoginError) {
        let now = Instant::now();
        // Firewalls and super-servers turn the connection that is one too many away without a word, others
        // by the text of a wrong password, which it cannot be shortly after it was accepted.
        let since = match error {
            LoginError::Denied(_) => self.millis(started).saturating_sub(self.millis(self.begun + IDLE)),
            _ => self.millis(started),
        };
        let is_there = self.heard.load(Ordering::Relaxed) > since;
        match error {
            error if state.open > 0 && (is_there || matches!(error, LoginError::Full(_))) => {
                // Somebody may stand in between, now and then.
                let level = if matches!(error, LoginError::Insecure(_)) { Level::Error } else { Level::Info };
                log::log!(level, "{error}; going on with {} connections", state.open);
                let others = state.open;
                state.limit.refused(others, now);
                state.breaker.succeeded();
                self.changed.notify_all();
            }
            LoginError::Full(_) => {
                log::info!("{error}; trying again");
                // Closed without a word may mean full (ProFTPD MaxInstances) or broken; for long, it is broken.
                if matches!(error, LoginError::Full(FtpError::Closed(None))) {
                    state.breaker.failed(started, now, error.clone());
                }
                state.full = Some((now, error));
            }
            LoginError::Denied(_) | LoginError::Insecure(_) => {
                log::error!("{error}");
                state.breaker.denied(now, error);
            }
            LoginError::Failed(_) => {
                log::info!("no connection: {error}");
                let was_open = state.breaker.open().is_some();
                state.breaker.failed(started, now, error);
                if let Some(error) = state.breaker.open().filter(|_| !was_open) {
                    log::warn!("the server cannot be reached, operations fail until it can: {error}");
                }
            }
        }
        // A server that is given up is tried from time to time.
        self.wake();
    }

    /// Takes a session back.
    fn keep(&self, state: &mut State, session: Session) {
        let awaits = session.readiness() == Readiness::Asked;
        let idle = Idle { session, since: Instant::now() };
        let due = idle.due();
        state.idle.push(idle);
        if awaits || state.rests_until.is_none_or(|until| due < until) {
            self.wake();
        }
    }

    fn wake(&self) {
        // Where it is full, it is about to wake.
        let _ = (&self.waker).write(&[0]);
    }

    /// The life of the caretaker: sees to the next data connections of idle sessions, closes what is idle for long,
    /// probes a server that was given up.
    fn care(&self, alarm: &UnixStream) {
        let mut state = self.state.lock();
        while !state.closing {
            let now = Instant::now();
            // Whether others are still good is seen to when they are taken.
            let is_over = |idle: &mut Idle| {
                let asked = idle.session.readiness() == Readiness::Asked;
                now >= idle.since + IDLE || (asked && !idle.session.is_ready())
            };
            let expired = state.idle.extract_if(.., is_over).collect::<Vec<_>>();
            if !expired.is_empty() {
                state.open -= expired.len();
                MutexGuard::unlocked(&mut state, || expired.into_iter().for_each(|i| i.session.quit()));
                continue;
            }
            for Idle { session, .. } in &mut state.idle {
                if session.keeps_channel_until().is_some_and(|until| now >= until) {
                    session.let_channel_go();
                }
            }
            let probe_at = state.breaker.open().is_some().then(|| state.breaker.next_try()).flatten();
            if probe_at.is_some_and(|at| now >= at) {
                state.open += 1;
                let opened = MutexGuard::unlocked(&mut state, || self.open_session(Deadline::after(IDLE)));
                match opened {
                    Ok(session) => {
                        log::warn!("the server can be reached again");
                        self.note_success(&mut state);
                        self.keep(&mut state, session);
                        self.changed.notify_all();
                    }
                    Err(LoginError::Full(error)) => {
                        // It is there; who comes next waits for a place.
                        state.open -= 1;
                        state.breaker.succeeded();
                        self.note_failure(&mut state, now, LoginError::Full(error));
                        self.changed.notify_all();
                    }
                    Err(error) => {
                        state.open -= 1;
                        self.note_failure(&mut state, now, error);
                    }
                }
                continue;
            }
            let until = state.idle.iter().map(Idle::due).chain(probe_at).min();
            let awaited: Vec<_> = state.idle.iter().filter_map(|idle| idle.session.awaited_on()).collect();
            state.rests_until = until;
            MutexGuard::unlocked(&mut state, || rest(alarm, &awaited, until));
        }
    }
}

/// Waits until the caretaker is woken, something is to be read on one of the connections, or the time has come.
fn rest(mut alarm: &UnixStream, awaited: &[TcpStream], until: Option<Instant>) {
    let files: Vec<_> = awaited.iter().map(AsFd::as_fd).chain([alarm.as_fd()]).collect();
    let bound = until.map(|until| until.saturating_duration_since(Instant::now()));
    if let Err(error) = sys::readable(&files, bound) {
        log::warn!("the pool's caretaker cannot wait: {error}");
        std::thread::sleep(Duration::from_secs(1));
    }
    let mut rings = [0; 64];
    while matches!(alarm.read(&mut rings), Ok(1..)) {}
}

mod lease;
mod spare;
#[cfg(test)]
mod tests;
