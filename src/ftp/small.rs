//! Small uploads whose bytes go out with the transfer command, which saves waiting for its first answer.

use crate::deadline::Deadline;
use crate::ftp::channel::Plan;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::session::Session;
use crate::ftp::stream::Stream;
use crate::ftp::upload::Upload;
use crate::ftp::warm::Readiness;

/// Most bytes of such a file: what any system takes at once for a connection that has sent nothing yet.
pub const SMALL: usize = 64 * 1024;

/// Why a file was not stored.
#[derive(Debug)]
pub enum Unstored {
    /// It was refused, or nothing was sent: the server has changed nothing.
    Before(Error),
    /// The server may have emptied the file, or have a part of it.
    During(Error),
}

impl Session {
    /// Whether [`Session::store_small`] can be called: the data connection is there, and the server has shown that it
    /// takes those, that it announces what it takes, and that it keeps TYPE I. Not over TLS, where the server has to
    /// speak first.
    pub fn stores_at_once(&self) -> bool {
        let quirks = self.profile.quirks();
        self.readiness() >= Readiness::Asked
            && self.asks_ahead_by().is_some()
            && quirks.channel_ahead == Capability::Yes
            && quirks.announces == Capability::Yes
            && quirks.keeps_type == Capability::Yes
            && !self.protects_data()
            && !self.control.may_hold_offset()
    }

    /// Writes a whole file (STOR) of at most [`SMALL`] bytes, as [`Session::store`] and [`Upload::finish`] do. When the
    /// server refuses it, the bytes go nowhere.
    ///
    /// # Errors
    /// By what has happened to the file.
    pub fn store_small(&mut self, path: &[u8], bytes: &[u8], deadline: Deadline) -> Result<(), Unstored> {
        let command = Command::with("STOR", path);
        let channel = match self.take_channel(deadline) {
            Ok(Some(channel)) => channel,
            Ok(None) => return Err(Unstored::Before(Error::Misbehaved("no data connection"))),
            Err(error) => return Err(Unstored::Before(error)),
        };
        let sent = self.control.sent();
        if let Err(error) = self.control.send(std::slice::from_ref(&command), deadline) {
            let is_unsent = self.control.sent() == sent;
            return Err(if is_unsent { Unstored::Before(error) } else { Unstored::During(error) });
        }
        let connect = deadline.at_most(self.config.timeouts.connect);
        let data = channel.connected(connect).map_err(|error| {
            // The server waits for it in vain.
            self.control.break_off();
            Unstored::During(error)
        })?;
        let stall = self.config.timeouts.stall;
        let plan = Plan {
            before: Vec::new(),
            before_must_succeed: false,
            offset: 0,
            allocate: None,
            transfer: command,
        };
        let transfer = self.transfer(&plan, Stream::plain(data), None, true);
        let mut upload = Upload::over(transfer, stall);
        // What has become of it is told by the end.
        let _ = upload.write(bytes, deadline);
        match upload.finish(deadline) {
            Ok(_) => Ok(()),
            Err(error @ Error::Refused { .. }) if !self.control.was_announced() => {
                Err(Unstored::Before(error))
            }
            Err(error) => Err(Unstored::During(error)),
        }
    }
}
