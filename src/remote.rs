//! A server as a handful of verbs over connections that are shared fairly.
//!
//! Each verb leases a connection, does its work and gives it back; failed attempts are repeated here and
//! nowhere else. A refusal is sorted into a [`Kind`] by its text, and where that tells nothing by looking at
//! the server.

mod breaker;
mod change;
mod classify;
mod error;
mod explain;
mod limit;
mod path;
mod pool;
mod retry;
mod together;
mod zone;

use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub use error::{Error, Kind};
pub use path::{NAME_MAX, Name, NameError, RemotePath};
pub use pool::{Lane, Lease, Parked, Pool, Revoke, Unavailable};

use zone::ServerZone;

use crate::deadline::Deadline;
use crate::ftp::config::SessionConfig;
use crate::ftp::error::Error as FtpError;
use crate::ftp::features::Capability;
use crate::ftp::fetch::Listed;
use crate::ftp::list::RemoteEntry;
use crate::ftp::profile::ServerProfile;
use crate::ftp::query::Facts;
use crate::ftp::session::{LoginError, Session};

/// How long a mount waits for a place on a server that takes no more connections.
const FIRST_PLACE: Duration = Duration::from_secs(30);

/// A directory as the server listed it.
#[derive(Debug)]
pub struct Listing {
    /// The directory's own entry, where the listing held one (`cdir` fact, `.` line). Its name is `.`.
    pub own: Option<RemoteEntry>,
    /// The entries, in the server's order, each name once.
    pub entries: Vec<RemoteEntry>,
    /// False when the server said that it cut the listing short: an absent name proves nothing then.
    pub complete: bool,
}

/// What attempts that failed may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nothing: no command was sent, or the server refused it.
    None,
    /// The connection broke after the command was sent.
    MayBeDone,
}

/// One FTP server (one login, one base directory). Dropping it closes its connections.
#[derive(Debug)]
pub struct Remote {
    pool: Pool,
    profile: Arc<ServerProfile>,
    server: String,
    base: RemotePath,
    zone: ServerZone,
    /// How often listing by STAT broke the connection before it worked once.
    failed_inline: AtomicU32,
}

impl Remote {
    /// Logs in and finds the base directory: `path` below the login directory, or from the root where
    /// `absolute`. At most `connections` are made at once.
    ///
    /// # Errors
    /// [`Kind::LoginFailed`], [`Kind::Insecure`], [`Kind::Unreachable`], [`Kind::DeadlinePassed`]; [`Kind::NotFound`] and its
    /// like when the base is no directory that can be entered.
    pub fn connect(
        config: SessionConfig,
        path: &[u8],
        absolute: bool,
        connections: usize,
        deadline: Deadline,
    ) -> Result<Remote, Error> {
        let server = match config.port {
            21 => config.host.clone(),
            port => format!("{}:{port}", config.host),
        };
        let profile = Arc::new(ServerProfile::default());
        let config = Arc::new(config);
        let pool = Pool::new(config.clone(), profile.clone(), connections)
            .map_err(|e| Error::new(Kind::Failed, "connect", "", &server, e))?;
        let zone = ServerZone::new(config.list_zone.clone());
        let base = RemotePath::root();
        let failed_inline = AtomicU32::new(0);
        let mut remote = Remote { pool, profile: profile.clone(), server, base, zone, failed_inline };
        // Who mounts is told at once that there is no such server, or no such user. One that is there and has
        // no free place, or breaks off, is tried for a while.
        let first = match Session::open(config, profile, deadline) {
            Ok(session) => {
                remote.pool.adopt(session);
                Ok(())
            }
            Err(error) if is_passing(&error) => {
                remote.pool.lease(Lane::Metadata, deadline.at_most(FIRST_PLACE)).map(drop)
            }
            Err(error) => Err(Unavailable::Login(error)),
        };
        first.map_err(|unavailable| remote.unavailable("log in", "", unavailable))?;
        let bad_path =
            |e: NameError| Error::new(Kind::BadName, "enter", "the base directory", &remote.server, e);
        let home = RemotePath::parse(&remote.profile.home().unwrap_or_default()).map_err(bad_path)?;
        let from = if absolute { RemotePath::root() } else { home };
        remote.base = from.resolve(path.strip_prefix(b"/").unwrap_or(path)).map_err(bad_path)?;
        let base = remote.base.clone();
        remote.run("enter", &base, Lane::Metadata, deadline, |session, deadline| {
            session.enter(base.as_bytes(), deadline)
        })?;
        Ok(remote)
    }

    /// The directory that the mount shows as its root.
    pub fn base(&self) -> &RemotePath {
        &self.base
    }

    /// Host and port, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The connections.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What has been learned of the server.
    pub fn profile(&self) -> &ServerProfile {
        &self.profile
    }

    /// Whether one name can be asked for with one round trip and all its facts (MLST).
    pub fn can_stat(&self) -> bool {
        self.profile.mlst() == Capability::Yes
    }

    /// Lists a directory. `bytes` is the size of the directory itself, where its parent tells it: a hint at how many
    /// names it has.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::NotADirectory`], [`Kind::Denied`], and the kinds of a failed connection.
    pub fn list(&self, dir: &RemotePath, bytes: Option<u64>, deadline: Deadline) -> Result<Listing, Error> {
        let list = |session: &mut Session, deadline| self.list_any(session, dir, bytes, deadline);
        self.run("list", dir, Lane::Metadata, deadline, list).map(|listed| self.listing(dir, listed))
    }

    /// Lists a directory that nobody has asked for yet, over a connection that nobody waits for; `None` where there is
    /// none, or where it fails.
    pub fn list_ahead(&self, dir: &RemotePath, bytes: Option<u64>, deadline: Deadline) -> Option<Listing> {
        let mut lease = self.pool.try_ahead(deadline)?;
        let listed = self.list_any(lease.session()?, dir, bytes, deadline);
        drop(lease);
        listed.map(|listed| self.listing(dir, listed)).ok()
    }

    /// One attempt to list a directory, by the way that costs least.
    fn list_any(
        &self,
        session: &mut Session,
        dir: &RemotePath,
        bytes: Option<u64>,
        deadline: Deadline,
    ) -> Result<Listed, FtpError> {
        match self.list_inline(session, dir, bytes, deadline)? {
            Some(listed) => Ok(listed),
            None => self.list_once(session, dir, deadline),
        }
    }

    fn list_once(
        &self,
        session: &mut Session,
        dir: &RemotePath,
        deadline: Deadline,
    ) -> Result<Listed, FtpError> {
        let mut listed = session.list(dir.as_bytes(), self.zone.context(), deadline)?;
        self.zone.place(session, &self.profile, dir, &mut listed.listing, deadline);
        Ok(listed)
    }

    /// Lists a directory in the form that shows the targets of symbolic links (LIST, where MLSD hides them).
    ///
    /// # Errors
    /// As [`Remote::list`].
    pub fn list_with_targets(&self, dir: &RemotePath, deadline: Deadline) -> Result<Listing, Error> {
        let list = |session: &mut Session, deadline| {
            let mut listed = session.list_with_targets(dir.as_bytes(), self.zone.context(), deadline)?;
            // Where MLSD lists, its times are the ones that count.
            if !self.can_stat() {
                self.zone.place(session, &self.profile, dir, &mut listed.listing, deadline);
            }
            Ok(listed)
        };
        self.run("list", dir, Lane::Metadata, deadline, list).map(|listed| self.listing(dir, listed))
    }

    /// What the server tells of one path. One round trip where [`Remote::can_stat`]; else a file's size and
    /// time take one, and anything else the listing of its directory.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Denied`], and the kinds of a failed connection.
    pub fn stat(&self, path: &RemotePath, deadline: Deadline) -> Result<RemoteEntry, Error> {
        let ask = |session: &mut Session, deadline| session.facts(path.as_bytes(), deadline);
        match self.attempt("stat", path, Lane::Metadata, deadline, ask)? {
            Ok(facts) => match facts.entry(path.file_name()) {
                Some(entry) => Ok(entry),
                None => self.find(path, deadline)?.ok_or_else(|| self.absent("stat", path)),
            },
            Err(refusal) => match classify::kind(&refusal) {
                Some(kind @ (Kind::NotFound | Kind::Denied)) => Err(self.error(kind, "stat", path, &refusal)),
                _ => self.stat_refused(path, deadline),
            },
        }
    }

    /// What [`Remote::stat`] answers when the server refused without a reason: CWD mostly gives one
    /// (pure-ftpd 1.0.50 does there, and not to MLST), the listing of the directory always does.
    fn stat_refused(&self, path: &RemotePath, deadline: Deadline) -> Result<RemoteEntry, Error> {
        let enter = |session: &mut Session, deadline| session.enter(path.as_bytes(), deadline);
        let entered = self.attempt("stat", path, Lane::Metadata, deadline, enter)?;
        if let Err(refusal) = &entered
            && classify::kind(refusal) == Some(Kind::NotFound)
        {
            return Err(self.error(Kind::NotFound, "stat", path, refusal));
        }
        // Where nothing was told, nothing is known: the answer to CWD alone may have been another one's.
        match self.look_up(path, deadline)? {
            Ok(found) => found.ok_or_else(|| self.absent("stat", path)),
            // A directory that its own directory does not list, or not among its first 10,000 names.
            Err(_) if entered.is_ok() => {
                let enter =
                    |session: &mut Session, deadline| session.enter_for_certain(path.as_bytes(), deadline);
                // It was let in before: no answer can be believed.
                self.attempt("stat", path, Lane::Metadata, deadline, enter)?
                    .map_err(|refusal| self.error(Kind::Failed, "stat", path, refusal))?;
                Ok(RemoteEntry::directory(path.file_name()))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether `path`, a name that its directory does not list but with another case of letters, is on the server all
    /// the same. Asked once per server.
    ///
    /// # Errors
    /// As [`Remote::stat`] and [`Remote::list`], but for what is absent.
    pub fn is_there_in_other_case(&self, path: &RemotePath, deadline: Deadline) -> Result<bool, Error> {
        match self.profile.quirks().ignores_case {
            Capability::Yes => return Ok(true),
            Capability::No => return Ok(false),
            Capability::Untold => {}
        }
        let known = match self.stat(path, deadline) {
            Err(error) if error.kind() == Kind::NotFound => Capability::No,
            Err(error) => return Err(error),
            // Made meanwhile by somebody else: it says nothing of the server.
            Ok(_) if self.find(path, deadline)?.is_some() => return Ok(true),
            Ok(_) => Capability::Yes,
        };
        log::info!("names that differ in case only are one on the server: {known:?}");
        self.profile.learn(|quirks| quirks.ignores_case = known);
        Ok(known == Capability::Yes)
    }

    /// Whether an upload was refused because the server replaces no file (a drop box that is written once).
    pub fn is_kept_by_the_server(error: &FtpError) -> bool {
        matches!(error, FtpError::Refused { reply, .. } if reply.code() >= 500)
            && classify::kind(error) == Some(Kind::Exists)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// [`Kind::LoginFailed`], [`Kind::Insecure`], [`Kind::Unreachable`], [`Kind::DeadlinePassed`].
    pub fn lease(
        &self,
        verb: &'static str,
        path: &RemotePath,
        lane: Lane,
        deadline: Deadline,
    ) -> Result<Lease, Error> {
        let lease = self.pool.lease(lane, deadline);
        lease.map_err(|unavailable| self.unavailable(verb, path, unavailable))
    }

    fn unavailable(&self, verb: &'static str, subject: impl Display, unavailable: Unavailable) -> Error {
        let (kind, cause) = match unavailable {
            Unavailable::Login(error @ LoginError::Denied(_)) => (Kind::LoginFailed, error.to_string()),
            Unavailable::Login(error @ LoginError::Insecure(_)) => (Kind::Insecure, error.to_string()),
            Unavailable::Login(error @ LoginError::Failed(FtpError::Misbehaved(_))) => {
                (Kind::Garbled, error.to_string())
            }
            Unavailable::Login(error) => (Kind::Unreachable, error.to_string()),
            Unavailable::Deadline(None) => {
                (Kind::DeadlinePassed, "no connection became free in time".to_owned())
            }
            Unavailable::Deadline(Some(error)) => (Kind::DeadlinePassed, error.to_string()),
            Unavailable::Closing => (Kind::Failed, "the file system is being unmounted".to_owned()),
        };
        Error::new(kind, verb, subject, &self.server, cause)
    }

    /// What the server tells of a file, asked over a connection that nobody uses or waits for. `None` when
    /// there is none or nothing was told. Never waits for a connection, so it may be called with one in hand.
    pub fn glance(&self, path: &RemotePath, deadline: Deadline) -> Option<Facts> {
        self.pool.try_idle()?.session()?.facts(path.as_bytes(), deadline).ok()
    }

    /// Whether and after which pause a failed attempt is worth another.
    pub fn pause_before_next(attempt: u32, fresh: bool, error: &FtpError) -> Option<Duration> {
        retry::pause_before_next(attempt, fresh, error)
    }

    /// How many data connections resumed the TLS session of their control connection, and how many began one.
    pub fn data_handshakes(&self) -> (u64, u64) {
        self.profile.data_handshakes()
    }

    /// Closes all connections; every later call fails.
    pub fn close(&self) {
        self.pool.close();
    }

    /// An error for `path` on this server.
    pub fn error(&self, kind: Kind, verb: &'static str, path: &RemotePath, cause: impl Display) -> Error {
        Error::new(kind, verb, path, &self.server, cause)
    }

    fn absent(&self, verb: &'static str, path: &RemotePath) -> Error {
        self.error(Kind::NotFound, verb, path, "its directory does not list it")
    }

    /// Runs `work` until it succeeds or trying again makes no sense; a refusal is explained.
    fn run<T>(
        &self,
        verb: &'static str,
        path: &RemotePath,
        lane: Lane,
        deadline: Deadline,
        work: impl Fn(&mut Session, Deadline) -> Result<T, FtpError>,
    ) -> Result<T, Error> {
        self.attempt(verb, path, lane, deadline, work)?
            .map_err(|refusal| self.explain(verb, path, &refusal, deadline))
    }

    /// As [`Remote::run`], but a refusal by the server is handed back as it is.
    fn attempt<T>(
        &self,
        verb: &'static str,
        path: &RemotePath,
        lane: Lane,
        deadline: Deadline,
        work: impl Fn(&mut Session, Deadline) -> Result<T, FtpError>,
    ) -> Result<Result<T, FtpError>, Error> {
        self.attempt_change(verb, path, lane, deadline, work).map(|(result, _)| result)
    }

    /// As [`Remote::attempt`]; also tells whether an attempt before the last left it open whether the server
    /// had done it.
    fn attempt_change<T>(
        &self,
        verb: &'static str,
        path: &RemotePath,
        lane: Lane,
        deadline: Deadline,
        work: impl Fn(&mut Session, Deadline) -> Result<T, FtpError>,
    ) -> Result<(Result<T, FtpError>, Doubt), Error> {
        let mut attempt = 1;
        let mut doubt = Doubt::None;
        let mut earlier = None;
        loop {
            let mut lease = match (self.lease(verb, path, lane, deadline), earlier.take()) {
                (Ok(lease), _) => lease,
                // What went wrong tells more than that no time was left for another attempt.
                (Err(late), Some(error)) if late.kind() == Kind::DeadlinePassed => {
                    return self.given_up(verb, path, error).map(|refusal| (Err(refusal), doubt));
                }
                (Err(error), _) => return Err(error),
            };
            let fresh = lease.is_fresh();
            let (result, sent) = match lease.session() {
                Some(session) => {
                    let before = session.commands_sent();
                    let result = work(session, deadline);
                    (result, session.commands_sent() != before)
                }
                None => (Err(FtpError::Closed(None)), false),
            };
            drop(lease);
            let error = match result {
                Ok(value) => return Ok((Ok(value), doubt)),
                Err(error) => error,
            };
            match retry::pause_before_next(attempt, fresh, &error) {
                Some(pause) if !deadline.passed() => self.pool.pause(pause, deadline),
                _ => return self.given_up(verb, path, error).map(|refusal| (Err(refusal), doubt)),
            }
            if sent && error.is_fatal() {
                doubt = Doubt::MayBeDone;
            }
            earlier = Some(error);
            attempt += 1;
        }
    }

    /// Hands a refusal back as it is; what else an attempt failed of is an error.
    fn given_up(&self, verb: &'static str, path: &RemotePath, error: FtpError) -> Result<FtpError, Error> {
        if matches!(error, FtpError::Refused { .. }) {
            return Ok(error);
        }
        let kind = classify::kind(&error).unwrap_or(Kind::Failed);
        Err(self.error(kind, verb, path, error))
    }

    fn listing(&self, dir: &RemotePath, listed: Listed) -> Listing {
        let skipped = listed.listing.skipped;
        if skipped > 0 {
            let first = listed.listing.first_skipped.as_deref().unwrap_or(&[]);
            let first = String::from_utf8_lossy(first);
            log::warn!(
                "{skipped} lines of the listing of {dir} on {} could not be used, the first: {first:?}",
                self.server
            );
        }
        if listed.listing.repeated > 0 {
            log::warn!("{} lists {} names twice in {dir}", self.server, listed.listing.repeated);
        }
        if listed.truncated {
            log::warn!("{} lists only a part of {dir}", self.server);
        }
        Listing {
            own: listed.listing.own,
            entries: listed.listing.entries,
            complete: !listed.truncated && skipped == 0,
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// Whether a failed login may be a matter of seconds.
fn is_passing(error: &LoginError) -> bool {
    match error {
        LoginError::Full(_) | LoginError::Failed(FtpError::Closed(_) | FtpError::Misbehaved(_)) => true,
        LoginError::Failed(FtpError::Io { source, .. }) => {
            matches!(source.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
        }
        LoginError::Denied(_) | LoginError::Insecure(_) | LoginError::Failed(_) => false,
    }
}
