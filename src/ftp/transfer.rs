//! A transfer: the data connection together with the reply that is still to come.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::ftp::control::ControlConnection;
use crate::ftp::data::Method;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::profile::ServerProfile;
use crate::ftp::reply::Reply;
use crate::ftp::stream::Stream;
use crate::ftp::warm::{TRIAL, Warm, When};
use crate::sys;

/// How long the end of the data is said to a server that does not take it.
const GOODBYE: Duration = Duration::from_secs(1);

/// No system lets more than this be on its way on one connection, by default (`tcp_rmem` of Linux: 6 MiB).
const LARGEST_WINDOW: u64 = 8 * 1024 * 1024;
/// The largest record of TLS, which arrives whole or not at all (RFC 8446 s.5.2).
const RECORD: usize = 16 * 1024 + 512;

/// Bytes on their way from the server. It borrows its control connection, so that no other command can be
/// sent meanwhile (pure-ftpd, pyftpdlib and libunftp lose the transfer then). It must end with
/// [`Transfer::finish`] or [`Transfer::abandon`]; dropped in between, the connection is broken.
#[derive(Debug)]
pub struct Transfer<'a> {
    pub(super) control: &'a mut ControlConnection,
    pub(super) data: Option<Stream>,
    /// What ended the transfer before we asked: a few servers send no 1xx.
    pub(super) ended: Option<Reply>,
    stall: Duration,
    pub(super) settled: bool,
    pub(super) profile: Arc<ServerProfile>,
    pub(super) next: Next<'a>,
    /// A byte has come.
    has_begun: bool,
    /// The server was kept from sending all that it could.
    pub(super) is_bounded: bool,
}

/// What a transfer has to do with those before and after it.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    /// Where the next data connection is kept.
    pub(crate) warm: &'a mut Option<Warm>,
    /// How it is asked for, if at all.
    pub(crate) asks_by: Option<Method>,
    /// Our bytes go to the server. It may still be writing them when the data has ended.
    pub(crate) is_upload: bool,
    /// This one's data connection was made before the transfer was asked for.
    pub(crate) was_ahead: bool,
}

impl<'a> Transfer<'a> {
    /// Takes over after the transfer command was answered by `first`, if it was.
    pub(crate) fn new(
        control: &'a mut ControlConnection,
        data: Stream,
        first: Option<Reply>,
        stall: Duration,
        profile: Arc<ServerProfile>,
        next: Next<'a>,
    ) -> Transfer<'a> {
        let ended = first.filter(|first| !first.is_preliminary());
        Transfer {
            control,
            data: Some(data),
            ended,
            stall,
            settled: false,
            profile,
            next,
            has_begun: false,
            is_bounded: false,
        }
    }

    /// Whether the server said that it has ended before it announced it.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The data connection.
    pub(crate) fn data(&mut self) -> Option<&mut Stream> {
        self.data.as_mut()
    }

    /// Waits up to `bound` for something on the control connection; whether it came.
    pub(crate) fn awaits_reply(&mut self, bound: Duration) -> bool {
        self.control.await_input(bound)
    }

    /// As [`Transfer::read`], but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`Transfer::read`]; [`Error::Deadline`] also when the deadline has passed.
    pub fn read_by(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, Error> {
        let stall = match !self.has_begun && self.is_on_trial() {
            true => self.stall.min(TRIAL),
            false => self.stall,
        };
        let Some(data) = &mut self.data else { return Ok(0) };
        let deadline = deadline.at_most(stall);
        loop {
            match data.read(buffer, deadline) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(Error::SilentEnd),
                Err(e) => {
                    let is_timeout = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    if self.is_on_trial() && !self.has_begun && is_timeout {
                        // A server that sends nothing over it would each time take as long.
                        self.profile.learn(|quirks| quirks.channel_ahead = Capability::No);
                    }
                    return Err(Error::io("receiving data", stall, e));
                }
                Ok(n) => {
                    self.has_begun = true;
                    return Ok(n);
                }
            }
        }
    }

    /// Receives some bytes; 0 at the end of the data, which only [`Transfer::finish`] can confirm.
    ///
    /// # Errors
    /// [`Error::Deadline`] when nothing came for the stall time, [`Error::Io`]. [`Error::SilentEnd`] at an end in TLS
    /// without close_notify: there is nothing more to read, but perhaps there should be.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.read_by(buffer, Deadline::after(self.stall))
    }

    /// Only `left` more bytes are wanted: has the server send no more than a little beyond that, where the system can.
    /// Otherwise what is on its way when the transfer is abandoned, as much as fits in a round trip, comes for nothing.
    pub fn ends_within(&mut self, left: u64) {
        let is_bounded = left <= LARGEST_WINDOW;
        if let Some(data) = self.data.as_ref().filter(|_| is_bounded || self.is_bounded) {
            let left = usize::try_from(left.min(LARGEST_WINDOW)).unwrap_or(usize::MAX);
            let records = if data.is_secured() { left / 512 + RECORD } else { 0 };
            // Without it more comes than is wanted.
            let _ = sys::clamp_window(data.socket(), left + records);
            self.is_bounded = is_bounded;
        }
    }

    /// After the end of the data: reads the final reply. The data connection is closed first, since
    /// ProFTPD 1.3.8 sends the reply only then. The next data connection is asked for behind the data where that
    /// is safe, else behind the reply.
    ///
    /// # Errors
    /// [`Error::Refused`] when the server says that the transfer failed (the bytes may be short then), or a
    /// failed connection.
    pub fn finish(mut self, deadline: Deadline) -> Result<Reply, Error> {
        let mut is_new_session = false;
        if let Some(mut data) = self.data.take() {
            is_new_session = data.is_secured() && !data.has_resumed();
            // The server has said all; whether it hears us is its own affair.
            let _ = data.say_goodbye(deadline.at_most(GOODBYE));
        }
        let may_ask_first = !self.next.is_upload
            && self.ended.is_none()
            && self.control.was_announced()
            && self.profile.quirks().asks_behind_data != Capability::No;
        let asks_first = may_ask_first && self.ask_ahead(When::BehindData);
        let reply = match self.ended.take() {
            Some(reply) => reply,
            None => self.final_reply(deadline)?,
        };
        if asks_first && matches!(reply.code(), 500..=503) {
            // It is the answer to what was sent behind the data: pure-ftpd 1.0.50 does not know commands while a
            // transfer runs, and says so at once. The connection is broken when this is dropped. (Any other answer
            // out of turn shows itself by the next one.)
            self.profile.learn(|quirks| quirks.asks_behind_data = Capability::No);
            return Err(Error::Closed(Some(reply)));
        }
        if is_new_session && self.profile.tls.learn_from_new_session(&reply) {
            // It says nothing of the file, whatever its words (ProFTPD: "Operation not permitted"): another
            // control connection has a session to resume.
            return Err(Error::Closed(Some(reply)));
        }
        // pure-ftpd 1.0.50 ends a transfer that it gave up with a 150, and some servers say 226 after 426;
        // whether more follows is not known.
        self.settled = !reply.is_preliminary() && reply.code() != 426;
        if !reply.is_completion() {
            // Refused before it began, for another reason than the connection's (RFC 959 has 425 for that).
            if !self.control.was_announced() && !matches!(reply.code(), 425 | 503) {
                self.next.was_ahead = false;
            }
            return Err(Error::Refused { command: "the transfer".to_owned(), reply });
        }
        if !may_ask_first {
            self.ask_ahead(When::AfterTransfer);
        }
        if self.next.was_ahead {
            self.profile.learn(|quirks| quirks.note_channel(true, Instant::now()));
            self.next.was_ahead = false;
        }
        Ok(reply)
    }

    /// Asks where to connect for the next transfer; whether it was asked. A control connection that is broken shows
    /// itself soon enough.
    pub(super) fn ask_ahead(&mut self, when: When) -> bool {
        let Some(method) = self.next.asks_by.take() else { return false };
        // It names no address of ours: the way is a passive one.
        let request = method.command(self.control.local());
        let is_sent = self.control.send_ahead(&request, Deadline::after(GOODBYE)).is_ok();
        if is_sent {
            *self.next.warm = Some(Warm::Asked { method, when });
        }
        is_sent
    }

    /// Whether the server has not yet shown that data connections may be made ahead, and this is one.
    fn is_on_trial(&self) -> bool {
        self.next.was_ahead && self.profile.quirks().channel_ahead == Capability::Untold
    }

    /// The reply after the announcement, which may have been overtaken by the data.
    pub(super) fn final_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        let was_announced = self.control.was_announced();
        match self.control.reply(deadline)? {
            reply if reply.is_preliminary() && !was_announced => self.control.reply(deadline),
            reply => Ok(reply),
        }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.control.break_off();
        }
        let asked_first = matches!(self.next.warm, Some(Warm::Asked { when: When::BehindData, .. }));
        if asked_first && !self.settled {
            self.profile.learn(|quirks| {
                if quirks.asks_behind_data == Capability::Untold {
                    quirks.asks_behind_data = Capability::No;
                }
            });
        }
        // Where they are known to be of use, one that the server has seen is not what a transfer fails for.
        let is_seen = self.has_begun
            || (self.control.was_announced() && self.profile.quirks().channel_ahead == Capability::Yes);
        if self.next.was_ahead && !is_seen {
            self.profile.lost_channel("a transfer failed over it");
        }
    }
}
