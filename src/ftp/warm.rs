//! The data connection of the next transfer, made before that is known.
//!
//! ```text
//! a transfer has ended -> EPSV is sent ahead -> its reply comes -> connecting -> connected
//! ```
//! Where that is known to be of use, it is done also when something else was answered: who has asked for a file is about
//! to open it.
//!
//! Nobody waits for any of it: each step is taken when the session is looked at and the one before it is done. The
//! next transfer then costs one round trip to its first byte instead of three. Commands in between do not hurt
//! (vsftpd 3.0.3, ProFTPD 1.3.8, pure-ftpd 1.0.50, pyftpdlib 2.2.0: 13 were tried).

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::ftp::data::Method;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::profile::ServerProfile;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::transport;

/// How long after a transfer a connection is kept for the next one. Servers keep theirs for minutes, but they have
/// only so many ports for them (vsftpd 3.0.3 keeps the port even then, until the next EPSV). pyftpdlib 2.2.0 complains
/// after 30 s where none was made.
const KEPT: Duration = Duration::from_secs(10);

/// How long the first byte over one is waited for, until one has been of use.
pub(crate) const TRIAL: Duration = Duration::from_secs(5);

/// How far the data connection of the next transfer is, nearest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// It was not asked for.
    Cold,
    /// The server was asked where to connect.
    Asked,
    /// It is being made.
    Connecting,
    /// It is there.
    Ready,
}

/// When it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Before the transfer before was confirmed.
    BehindData,
    /// When that was, or by a session that is made ready for one.
    AfterTransfer,
    /// When something else was answered, and nothing tells that a transfer follows.
    AfterAnswer,
}

/// What there is of it.
#[derive(Debug)]
pub(crate) enum Warm {
    /// The server was asked where to connect.
    Asked {
        /// How.
        method: Method,
        /// When.
        when: When,
    },
    /// It is made, or being made.
    Made(WarmChannel),
}

/// A data connection that no transfer has used yet.
#[derive(Debug)]
pub(crate) struct WarmChannel {
    when: When,
    /// Does not block.
    socket: TcpStream,
    since: Instant,
}

impl WarmChannel {
    /// Whether it has not ended or failed. One that has brought bytes before they were asked for is no good either:
    /// they would be taken for the beginning of a file.
    fn is_usable(&self) -> bool {
        matches!(transport::peek(&self.socket), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    }

    fn is_connected(&self) -> bool {
        crate::sys::is_writable(&self.socket, Duration::ZERO).unwrap_or(false)
    }

    /// Waits until it is connected.
    ///
    /// # Errors
    /// As [`transport::dial`].
    pub(crate) fn connected(self, deadline: Deadline) -> Result<TcpStream, Error> {
        transport::end_dial(self.socket, deadline)
    }
}

impl Session {
    /// How far the data connection of the next transfer is.
    pub fn readiness(&self) -> Readiness {
        match &self.warm {
            None => Readiness::Cold,
            Some(Warm::Asked { .. }) => Readiness::Asked,
            Some(Warm::Made(channel)) if channel.is_connected() => Readiness::Ready,
            Some(Warm::Made(_)) => Readiness::Connecting,
        }
    }

    /// When the data connection of the next transfer is not worth being kept any longer.
    pub fn keeps_channel_until(&self) -> Option<Instant> {
        match &self.warm {
            Some(Warm::Made(channel)) => Some(channel.since + KEPT),
            _ => None,
        }
    }

    /// Closes the data connection of the next transfer.
    pub fn let_channel_go(&mut self) {
        self.warm = None;
    }

    /// A handle to the control connection, to see when the server tells where to connect; `None` where nothing is
    /// awaited. Nothing may be read from it.
    pub fn awaited_on(&self) -> Option<TcpStream> {
        self.control.is_ahead_awaited().then(|| self.control.socket().try_clone().ok()).flatten()
    }

    /// The way by which the next data connection may be asked for ahead: one that has worked, on a server that takes
    /// commands together and has shown no reason against it.
    pub(crate) fn asks_ahead_by(&self) -> Option<Method> {
        let quirks = self.profile.quirks();
        let willing = self.profile.pipelines()
            && self.config.proxy.is_none()
            && quirks.channel_ahead != Capability::No
            && quirks.keeps_type != Capability::No
            && quirks.wants_pret != Capability::Yes
            && quirks.wants_allo != Capability::Yes;
        self.profile.method().filter(|method| willing && !method.is_active())
    }

    /// Asks for the next data connection, if there is none and the server takes that.
    pub fn ask_channel(&mut self, deadline: Deadline) {
        self.ask(When::AfterTransfer, deadline);
    }

    /// Whether [`Session::ask_channel_on_chance`] may do something.
    pub fn may_ask_on_chance(&self) -> bool {
        let proven = self.profile.quirks().channel_ahead == Capability::Yes;
        proven && self.warm.is_none() && self.asks_ahead_by().is_some()
    }

    /// As [`Session::ask_channel`], on the chance that there will be a transfer: only where some were of use, and less
    /// and less often while there is none.
    pub fn ask_channel_on_chance(&mut self, deadline: Deadline) {
        if self.may_ask_on_chance() && self.profile.learn(|quirks| quirks.chances.take(Instant::now())) {
            self.ask(When::AfterAnswer, deadline);
        }
    }

    fn ask(&mut self, when: When, deadline: Deadline) {
        let Some(method) = self.asks_ahead_by().filter(|_| self.warm.is_none()) else { return };
        // A control connection that is broken shows itself soon enough.
        if self.control.send_ahead(&method.command(self.control.local()), deadline).is_ok() {
            self.warm = Some(Warm::Asked { method, when });
        }
    }

    /// Goes as far as the data connection of the next transfer can be made without waiting.
    pub(crate) fn tend_channel(&mut self) {
        if let Some(Warm::Asked { .. }) = self.warm
            && let Some(reply) = self.control.take_ahead()
        {
            self.connect_ahead(&reply);
        }
        if let Some(Warm::Asked { when: When::BehindData, .. }) = self.warm
            && self.control.is_broken()
        {
            self.learn_asking_behind_data(Capability::No);
        }
        if let Some(Warm::Made(channel)) = &self.warm
            && !channel.is_usable()
        {
            let when = channel.when;
            self.warm = None;
            self.lost_channel(when, "it was closed");
        }
    }

    /// The data connection that was made, or is being made, ahead of `transfer`; waits for the server's word where
    /// to connect, if it was asked.
    ///
    /// # Errors
    /// A failed connection.
    pub(crate) fn take_channel(&mut self, deadline: Deadline) -> Result<Option<WarmChannel>, Error> {
        if matches!(self.warm, Some(Warm::Asked { .. }))
            && let Some(reply) = self.control.await_ahead(deadline).inspect_err(|_| self.tend_channel())?
        {
            self.connect_ahead(&reply);
        }
        self.tend_channel();
        let asks = self.asks_ahead_by().is_some();
        Ok(match self.warm.take() {
            Some(Warm::Made(channel)) if asks => {
                if channel.when == When::AfterAnswer {
                    self.profile.learn(|quirks| quirks.chances.was_of_use());
                }
                Some(channel)
            }
            _ => None,
        })
    }

    /// A data connection was asked for in vain. One that was on chance says nothing of those that are used at once:
    /// the server may not keep one for long, or have no port to spare. It has been counted when it was asked for.
    fn lost_channel(&self, when: When, reason: &str) {
        match when {
            When::AfterAnswer => log::debug!("a data connection asked for on chance: {reason}"),
            When::BehindData | When::AfterTransfer => self.profile.lost_channel(reason),
        }
    }

    /// Begins to connect to where the reply says.
    fn connect_ahead(&mut self, reply: &Reply) {
        let Some(Warm::Asked { method, when }) = self.warm.take() else { return };
        if !reply.is_completion() {
            self.lost_channel(when, "it was refused");
            return;
        }
        if when == When::BehindData {
            self.learn_asking_behind_data(Capability::Yes);
        }
        let believe = self.config.data.pasv_address;
        let Some(to) = method.passive_address(reply, self.server_ip(), believe) else {
            // An answer to another command, or nonsense: nothing after it can be trusted.
            self.control.break_off();
            return;
        };
        match transport::begin_dial(to, self.config.bind) {
            Ok(socket) => self.warm = Some(Warm::Made(WarmChannel { when, socket, since: Instant::now() })),
            Err(error) => self.lost_channel(when, &error.to_string()),
        }
    }

    fn learn_asking_behind_data(&self, works: Capability) {
        self.profile.learn(|quirks| {
            if quirks.asks_behind_data == Capability::Untold {
                quirks.asks_behind_data = works;
            }
        });
    }
}

impl ServerProfile {
    /// Notes that a data connection was made ahead, or asked for, in vain.
    pub(crate) fn lost_channel(&self, reason: &str) {
        log::debug!("a data connection made ahead was of no use: {reason}");
        if self.learn(|quirks| quirks.note_channel(false, Instant::now())) {
            log::info!("data connections are no longer made ahead: {reason}");
        }
    }
}
