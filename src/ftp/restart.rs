//! REST: transfers that do not begin at the start of a file (RFC 3659 s.5).

use crate::deadline::Deadline;
use crate::ftp::channel::Plan;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::quirks::FAR;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;

/// The reader is told once, and then at once.
const TOO_FAR: Error = Error::Misbehaved("its REST counts with 32 bits and would give other bytes");

impl Session {
    /// The REST that must go before a transfer from `offset`. For 0 there is mostly none, but libunftp 0.24
    /// keeps the offset of a RETR that failed: the next file would be read or written from there.
    pub(crate) fn restart(&self, offset: u64, transfer: &Command) -> Option<Command> {
        let is_of_file =
            ["RETR ", "STOR ", "APPE "].iter().any(|verb| transfer.to_string().starts_with(verb));
        let clears = is_of_file && self.control.may_hold_offset();
        (offset > 0 || clears).then(|| Command::with("REST", offset.to_string()))
    }

    /// What the answer to REST means.
    ///
    /// # Errors
    /// [`Error::Refused`], or [`Error::Misbehaved`] where the server takes another offset than it was told.
    pub(crate) fn take_restart(&mut self, offset: u64, command: &Command, reply: Reply) -> Result<(), Error> {
        if reply.is_intermediate() {
            self.profile.learn_rest(true);
            match told(&reply, offset) {
                Capability::Untold => {}
                Capability::Yes if offset < FAR => {}
                Capability::Yes => self.profile.learn(|quirks| quirks.restarts_far = Capability::Yes),
                // Other numbers than the offset may be in the text as long as it is small.
                Capability::No if offset < FAR => {}
                Capability::No => return Err(self.restarts_elsewhere(&reply.to_string())),
            }
            return Ok(());
        }
        if offset == 0 {
            // Where the next transfer would begin is not known.
            self.control.break_off();
            return Err(Error::Closed(Some(reply)));
        }
        if matches!(reply.code(), 500 | 501 | 502 | 504) {
            self.profile.learn_rest(false);
        }
        Err(self.control.refused(command.to_string(), reply))
    }

    /// Makes sure that REST counts beyond [`FAR`] before the first transfer from there, once per server. Where
    /// its 350 does not repeat the number, the file is asked for from its very end: a server that counts
    /// with 32 bits sends something.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] where it does not count that far; else a failed connection.
    pub(crate) fn prove_far_restart(
        &mut self,
        path: &[u8],
        offset: u64,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if offset < FAR {
            return Ok(());
        }
        match self.profile.quirks().restarts_far {
            Capability::Yes => return Ok(()),
            Capability::No => return Err(TOO_FAR),
            Capability::Untold => {}
        }
        let command = Command::with("REST", offset.to_string());
        let reply = self.control.exchange(command.clone(), deadline)?;
        self.take_restart(offset, &command, reply)?;
        if self.profile.quirks().restarts_far == Capability::Yes {
            return Ok(());
        }
        let Ok(Some(end)) = self.size(path, deadline) else { return Ok(()) };
        if end < FAR {
            return Ok(());
        }
        let transfer = Command::with("RETR", path);
        let plan =
            Plan { before: Vec::new(), before_must_succeed: false, offset: end, allocate: None, transfer };
        let bound = self.config.timeouts.stall;
        let more = match self.start_transfer(&plan, deadline) {
            Ok((mut transfer, _)) => {
                let n = transfer.read_by(&mut [0; 1], deadline.at_most(bound))?;
                transfer.abandon(deadline)?;
                n > 0
            }
            // The end is no place to restart at for some.
            Err(Error::Refused { .. }) => false,
            Err(error) => return Err(error),
        };
        if more {
            return Err(self.restarts_elsewhere("bytes came from beyond the end of a file"));
        }
        self.profile.learn(|quirks| quirks.restarts_far = Capability::Yes);
        Ok(())
    }

    fn restarts_elsewhere(&mut self, how: &str) -> Error {
        log::warn!("the server restarts transfers elsewhere than it is told beyond 2 GiB: {how}");
        self.profile.learn(|quirks| quirks.restarts_far = Capability::No);
        self.control.break_off();
        TOO_FAR
    }
}

/// Whether a 350 repeats the offset; `Untold` where it has no number.
pub(crate) fn told(reply: &Reply, offset: u64) -> Capability {
    let text = reply.text();
    let mut numbers = text.split(|b| !b.is_ascii_digit()).filter(|digits| !digits.is_empty()).peekable();
    if numbers.peek().is_none() {
        return Capability::Untold;
    }
    let offset = offset.to_string();
    match numbers.any(|digits| digits == offset.as_bytes()) {
        true => Capability::Yes,
        false => Capability::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::ReplyParser;

    #[test]
    fn a_350_tells_the_offset_that_was_taken() {
        let far = 5_368_709_120;
        for (text, outcome) in [
            ("350 Restarting at 5368709120. Send STORE or RETRIEVE", Capability::Yes),
            ("350 Restart position accepted (5368709120).", Capability::Yes),
            ("350 Restarting at 1073741824.", Capability::No),
            ("350 Restart position accepted (0).", Capability::No),
            ("350 Restarting at -2147483648", Capability::No),
            ("350 Go on", Capability::Untold),
        ] {
            let reply = ReplyParser::default().push(format!("{text}\r\n").as_bytes()).unwrap().1.unwrap();
            assert_eq!(told(&reply, far), outcome, "{text}");
        }
    }
}
