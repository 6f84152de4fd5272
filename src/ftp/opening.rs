//! How a transfer begins: by a 1xx, or without a word.

use std::time::Duration;

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::quirks;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::stream::{Stream, Waiting};
use crate::sys::{self, Readable};

/// How long a refusal of an upload is waited for where the server says nothing when it takes it.
const SILENCE: Duration = Duration::from_secs(1);

impl Session {
    /// The first reply to a transfer command. `None` where the transfer has begun without one: data came first
    /// (a server that announces nothing would else wait for us to read, and we for it), or it is an upload to a
    /// server that is known to announce nothing. `data` is the data connection, where it is there already;
    /// before its TLS handshake, nothing can come by it.
    ///
    /// # Errors
    /// As [`crate::ftp::control::ControlConnection::reply`].
    pub(crate) fn opening(
        &mut self,
        transfer: &Command,
        data: Option<&mut Stream>,
        deadline: Deadline,
    ) -> Result<Option<Reply>, Error> {
        let bound = deadline.at_most(self.config.timeouts.reply);
        let words = transfer.to_string();
        if words.starts_with("STOR ") || words.starts_with("APPE ") {
            let silent = self.profile.quirks().announces == Capability::No;
            if silent && data.is_some() && !self.control.await_input(SILENCE.min(bound.left())) {
                return Ok(None);
            }
        } else if let Some(data) = data.filter(|data| data.is_secured() || !self.protects_data()) {
            let whole = bound.left();
            // A TLS layer may hold bytes that do not show on its socket, and the socket may have records that
            // bring none (tickets): both are looked into before each wait.
            while !self.control.has_input() {
                match data.waiting() {
                    Waiting::Bytes => return Ok(None),
                    // It says nothing yet: a refusal may be on its way.
                    Waiting::End => break,
                    Waiting::Nothing => {}
                }
                let first = sys::first_readable(self.control.socket(), data.socket(), bound.left());
                let first = first.map_err(|e| Error::io("waiting for a transfer", whole, e))?;
                if first == Readable::Neither {
                    break;
                }
            }
        }
        let first = self.control.reply(deadline)?;
        if first.is_preliminary() {
            self.profile.learn(|quirks| quirks.announces = Capability::Yes);
        }
        Ok(Some(first))
    }

    /// After the end of a listing or file: learns whether it was announced at all.
    pub(crate) fn learn_opening(&self) {
        if !self.control.was_announced() && self.profile.quirks().announces == Capability::Untold {
            log::info!("the server does not announce transfers");
            self.profile.learn(|quirks| quirks.announces = Capability::No);
        }
    }

    /// Whether a transfer that begins with `first` would come in ASCII although TYPE I was sent at the login:
    /// the server has lost it. From now on TYPE I goes before each transfer, and what the server says of it
    /// is not looked at any more.
    pub(crate) fn lost_type(&self, transfer: &Command, first: &Reply) -> bool {
        let words = transfer.to_string();
        let (verb, path) = words.split_once(' ').unwrap_or((&words, ""));
        let lost = matches!(verb, "RETR" | "STOR" | "APPE")
            && self.profile.quirks().keeps_type != Capability::No
            && quirks::tells_ascii(first, path.as_bytes());
        if lost {
            self.forget_type(first);
        }
        lost
    }

    /// Notes that TYPE I was still there when a file's transfer began that was not the first one of the session.
    pub(crate) fn learn_kept_type(&self, transfer: &Command) {
        let words = transfer.to_string();
        if ["RETR ", "STOR ", "APPE "].iter().any(|verb| words.starts_with(verb)) {
            self.profile.learn(|quirks| {
                if quirks.keeps_type == Capability::Untold {
                    quirks.keeps_type = Capability::Yes;
                }
            });
        }
    }

    /// Notes that the server has lost TYPE I.
    pub(crate) fn forget_type(&self, reply: &Reply) {
        log::info!("the server has lost TYPE I, it is sent before each transfer: {reply}");
        self.profile.learn(|quirks| quirks.keeps_type = Capability::No);
    }
}
