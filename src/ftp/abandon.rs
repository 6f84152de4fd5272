//! The end of a transfer that nobody wants any longer.
//!
//! vsftpd 3.0.3, ProFTPD 1.3.8 and pyftpdlib 2.2.0 say that it has failed (426) or that it is done (226). pure-ftpd 1.0.50
//! says nothing when its data connection is closed; a question behind it shows that it has ended.

use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::reply::Reply;
use crate::ftp::transfer::Transfer;
use crate::ftp::transport::reset_at_end;
use crate::ftp::warm::When;

/// How long the end of a download is waited for before the question, where nothing better is known.
const PATIENCE: Duration = Duration::from_millis(500);

/// The same on a server that has shown that it says nothing, in round trips: one until it knows that the connection is
/// closed, and a half for what was on its way. While it does not know, pure-ftpd answers that it does not know the
/// question (500).
const ROUND_TRIPS: u32 = 2;

impl Transfer<'_> {
    /// Stops in the middle: closes the data connection and reads the one reply that ends the transfer,
    /// whatever its code (vsftpd 426, pyftpdlib 426, anyone 226), or finds out that none comes. ABOR is never sent:
    /// vsftpd and ProFTPD ignore it and send the whole file.
    ///
    /// # Errors
    /// A failed connection.
    pub fn abandon(mut self, deadline: Deadline) -> Result<(), Error> {
        if let Some(data) = self.data.take().filter(|_| self.is_bounded) {
            // A server that may send nothing more would not hear of an ordinary end before it asks whether it may.
            reset_at_end(data.socket());
        }
        if self.ended.is_none() {
            self.end(deadline)?;
        }
        self.settled = true;
        // It says nothing of how well it went.
        self.next.was_ahead = false;
        self.ask_ahead(When::AfterTransfer);
        Ok(())
    }

    fn end(&mut self, deadline: Deadline) -> Result<(), Error> {
        let quirks = self.profile.quirks();
        if self.next.is_upload || quirks.ends_abandoned == Capability::Yes {
            if self.final_reply(deadline)?.is_preliminary() {
                self.control.settle();
            }
            return Ok(());
        }
        let patience = match quirks.ends_abandoned {
            Capability::No => (quirks.abandoned_answer * ROUND_TRIPS + PATIENCE / 50).min(PATIENCE),
            Capability::Untold | Capability::Yes => PATIENCE,
        };
        loop {
            if !self.control.await_input(deadline.left().min(patience)) {
                return self.ask_whether_it_has_ended(deadline);
            }
            // The announcement may have been overtaken by the data.
            if !self.control.reply(deadline)?.is_preliminary() {
                self.profile.learn(|quirks| quirks.ends_abandoned = Capability::Yes);
                return Ok(());
            }
        }
    }

    fn ask_whether_it_has_ended(&mut self, deadline: Deadline) -> Result<(), Error> {
        let is_known = self.profile.quirks().ends_abandoned == Capability::No;
        let asked = Instant::now();
        let mut reply = self.ask(deadline)?;
        if reply.code() == 500 {
            // It was still at work on the transfer.
            self.control.settle();
            self.control.await_input(deadline.left().min(PATIENCE));
            reply = self.ask(deadline)?;
        } else if reply.code() != 200 {
            // It was late, and not silent. What follows answers the question.
            let late = self.control.reply(deadline)?;
            if late.code() != 200 {
                self.control.break_off();
            }
            self.profile.learn(|quirks| quirks.ends_abandoned = Capability::Yes);
            return Ok(());
        }
        // The reply to the question was taken for that of the transfer, which has none.
        self.control.settle();
        if reply.code() != 200 || (!is_known && self.control.await_input(deadline.left().min(PATIENCE))) {
            // One that answers out of turn: what comes next would be taken for the answer to something else.
            self.control.break_off();
            return Ok(());
        }
        let took = asked.elapsed();
        self.profile.learn(|quirks| {
            quirks.abandoned_answer = match quirks.ends_abandoned {
                Capability::No => quirks.abandoned_answer.min(took),
                Capability::Untold | Capability::Yes => took,
            };
            quirks.ends_abandoned = Capability::No;
        });
        Ok(())
    }

    fn ask(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        self.control.send(&[Command::bare("NOOP")], deadline)?;
        self.control.reply(deadline)
    }
}
