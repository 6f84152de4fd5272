//! Small uploads whose bytes go out with the transfer command, which saves waiting for its first answer.

use crate::deadline::Deadline;
use crate::ftp::change::{Settled, Settling, Wishes};
use crate::ftp::channel::Plan;
use crate::ftp::command::Command;
use crate::ftp::data::Method;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::stream::Stream;
use crate::ftp::transport;
use crate::ftp::upload::Upload;
use crate::ftp::warm::{Readiness, TRIAL, Warm, When};

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

/// What is sent with STOR, and read when it has ended.
struct Behind {
    settling: Settling,
    /// STOR and what settles.
    commands: Vec<Command>,
    /// What asks for the next data connection.
    next: Option<(Method, Command)>,
}

/// The bit of a mode that lets the owner write.
const OWNER_WRITES: u16 = 0o200;

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
    /// Where the server is not known to answer out of turn, what [`Session::settle`] sends for `wishes` goes out in
    /// the same segment, and what came of it is returned: confirming costs no round trip of its own then. `None` where
    /// it is still to be done. A file that is refused may still get what is wished, if the server has one of that name.
    ///
    /// # Errors
    /// By what has happened to the file.
    pub fn store_small(
        &mut self,
        path: &[u8],
        bytes: &[u8],
        wishes: &Wishes,
        deadline: Deadline,
    ) -> Result<Option<Result<Settled, Error>>, Unstored> {
        let command = Command::with("STOR", path);
        let channel = match self.take_channel(deadline) {
            Ok(Some(channel)) => channel,
            Ok(None) => return Err(Unstored::Before(Error::Misbehaved("no data connection"))),
            Err(error) => return Err(Unstored::Before(error)),
        };
        let behind = self.behind(path, &command, wishes);
        let sent = self.control.sent();
        let result = match &behind {
            None => self.control.send(std::slice::from_ref(&command), deadline),
            Some(behind) => {
                self.control.send_with(&behind.commands, behind.next.as_ref().map(|(_, ask)| ask), deadline)
            }
        };
        if let Err(error) = result {
            let is_unsent = self.control.sent() == sent;
            return Err(if is_unsent { Unstored::Before(error) } else { Unstored::During(error) });
        }
        let connect = deadline.at_most(self.config.timeouts.connect);
        let data = channel.connected(connect).map_err(|error| {
            // The server waits for it in vain.
            self.control.break_off();
            Unstored::During(error)
        })?;
        transport::send_last_with_end(&data);
        let stall = self.config.timeouts.stall;
        let plan = Plan {
            before: Vec::new(),
            before_must_succeed: false,
            offset: 0,
            allocate: None,
            transfer: command,
        };
        let next = behind.as_ref().and_then(|behind| behind.next.as_ref());
        let transfer = match next {
            None => self.transfer(&plan, Stream::plain(data), None, true),
            Some(&(method, _)) => {
                self.warm = Some(Warm::Asked { method, when: When::AfterTransfer });
                self.transfer_asking(&plan, Stream::plain(data), None, true, None)
            }
        };
        let mut upload = Upload::over(transfer, stall);
        // What has become of it is told by the end.
        let _ = upload.write(bytes, deadline);
        let stored = upload.finish(deadline);
        let was_announced = self.control.was_announced();
        let settled = match behind {
            None => None,
            Some(behind) => self.answers_behind(path, behind, &stored, deadline).map_err(Unstored::During)?,
        };
        match stored {
            Ok(_) => Ok(settled),
            Err(error @ Error::Refused { .. }) if !was_announced => Err(Unstored::Before(error)),
            Err(error) => Err(Unstored::During(error)),
        }
    }

    /// What goes out behind STOR. All of it must be in one segment with STOR: what comes later ProFTPD 1.3.8 answers while
    /// it still takes the data, and pure-ftpd 1.0.50 does not know it.
    fn behind(&mut self, path: &[u8], store: &Command, wishes: &Wishes) -> Option<Behind> {
        let quirks = self.profile.quirks();
        let is_known = quirks.settles_behind == Capability::Yes;
        let may_try =
            quirks.settles_behind == Capability::Untold && quirks.asks_behind_data != Capability::No;
        // When the connection breaks, the file has to be sent again, which a mode that is set by then could forbid.
        let can_be_repeated = wishes.mode.is_none_or(|mode| mode & OWNER_WRITES != 0);
        if !can_be_repeated || !(is_known || may_try) {
            return None;
        }
        let mut settling = Settling::new(wishes);
        let mut commands = vec![store.clone()];
        commands.extend(self.next_commands(path, &mut settling));
        let next = self.asks_ahead_by().filter(|_| is_known);
        let next = next.map(|method| (method, method.command(self.control.local())));
        let all = commands.iter().chain(next.as_ref().map(|(_, ask)| ask));
        self.control.fits_segment(all).then_some(Behind { settling, commands, next })
    }

    /// Reads the answers to what went out behind STOR, which was answered by `stored`.
    fn answers_behind(
        &mut self,
        path: &[u8],
        behind: Behind,
        stored: &Result<Reply, Error>,
        deadline: Deadline,
    ) -> Result<Option<Result<Settled, Error>>, Error> {
        // Any other may be the answer to one of them.
        let is_in_turn = match stored {
            Ok(reply) => reply.code() == 226,
            Err(error) => error.refusal().is_some(),
        };
        if !is_in_turn {
            self.control.break_off();
        }
        let count = behind.commands.len() - 1;
        // A server that reads commands while it takes data, and throws them away, is not waited for much longer.
        let is_known = self.profile.quirks().settles_behind == Capability::Yes;
        let bound = if is_known { deadline } else { deadline.at_most(TRIAL) };
        let replies: Result<Vec<Reply>, Error> = (0..count).map(|_| self.control.reply(bound)).collect();
        let works = match (stored, &replies) {
            (Ok(_), Ok(_)) if is_in_turn => Some(Capability::Yes),
            (Ok(_), _) if !is_in_turn => Some(Capability::No),
            // A transfer that EPSV has ended gets no answer (pyftpdlib 2.2.0).
            (Err(Error::Misbehaved(_) | Error::Deadline { .. }), _)
            | (_, Err(Error::Misbehaved(_) | Error::Deadline { .. })) => Some(Capability::No),
            // A refused file, or a connection that failed, says nothing.
            _ => None,
        };
        if let Some(works) = works {
            self.profile.learn(|quirks| quirks.settles_behind = works);
        }
        match (stored, replies) {
            (Ok(_), Ok(replies)) => Ok(Some(self.settle_on(path, behind.settling, replies, deadline))),
            (Ok(_), Err(error)) => Err(error),
            // The caller has the reason.
            (Err(_), _) => Ok(None),
        }
    }
}
