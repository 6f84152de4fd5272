//! Listings and file contents.

use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::ftp::channel::Plan;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::list::{Dialect, ListParser, ParsedListing};
use crate::ftp::profile::ListCommand;
use crate::ftp::query::Facts;
use crate::ftp::session::Session;
use crate::ftp::time::ListContext;
use crate::ftp::transfer::Transfer;

/// Received at once from a data connection.
const CHUNK: usize = 64 * 1024;

/// What a listing that still comes is given up with.
const UNENDED: &str = "receiving a listing that goes on (operation_timeout= allows more time)";

/// A listing of which a part came within this time goes on.
const RECENT: Duration = Duration::from_secs(5);

/// A directory as listed.
#[derive(Debug)]
pub struct Listed {
    /// What the listing said.
    pub listing: ParsedListing,
    /// Whether the server said that it left entries out (pure-ftpd: "Output truncated").
    pub truncated: bool,
}

impl Session {
    /// Lists a directory with the best command that the server has.
    ///
    /// The directory is entered first and listed without an argument: LIST with a path expands wildcards and
    /// takes names for options on all servers measured, and only CWD tells a missing directory from an empty
    /// one (vsftpd 3.0.3).
    ///
    /// # Errors
    /// [`Error::Refused`] with the command that was refused, or a failed connection.
    pub fn list(&mut self, dir: &[u8], context: ListContext, deadline: Deadline) -> Result<Listed, Error> {
        if self.profile.mlst() == Capability::Yes {
            match self.list_by(ListCommand::Mlsd, dir, context.clone(), deadline) {
                Err(Error::Refused { command, reply })
                    if command == "MLSD" && matches!(reply.code(), 500 | 502 | 504) =>
                {
                    self.profile.no_mlst();
                }
                other => return other,
            }
        }
        self.list_with_targets(dir, context, deadline)
    }

    /// Lists a directory by LIST, which shows where symbolic links point.
    ///
    /// # Errors
    /// As [`Session::list`].
    pub fn list_with_targets(
        &mut self,
        dir: &[u8],
        context: ListContext,
        deadline: Deadline,
    ) -> Result<Listed, Error> {
        if self.profile.list_command() == Some(ListCommand::List) {
            return self.list_by(ListCommand::List, dir, context, deadline);
        }
        match self.list_by(ListCommand::ListAll, dir, context.clone(), deadline) {
            // `.` is in every listing made with -a, where the server knows -a.
            Ok(all) if all.listing.saw_dot_entries || !all.listing.entries.is_empty() => {
                self.profile.learn_list_command(ListCommand::ListAll);
                Ok(all)
            }
            Ok(empty) => {
                let plain = self.list_by(ListCommand::List, dir, context, deadline)?;
                if plain.listing.entries.is_empty() {
                    return Ok(empty);
                }
                self.profile.learn_list_command(ListCommand::List);
                Ok(plain)
            }
            // "Not now" says nothing about the option.
            Err(Error::Refused { command, reply })
                if command.starts_with("LIST")
                    && !reply.says("permission")
                    && (!reply.is_transient() || reply.says("no such file")) =>
            {
                let plain = self.list_by(ListCommand::List, dir, context, deadline)?;
                self.profile.learn_list_command(ListCommand::List);
                Ok(plain)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes sure that a directory can be entered.
    ///
    /// # Errors
    /// [`Error::Refused`], or a failed connection.
    pub fn enter(&mut self, dir: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.control.perform(Command::with("CWD", dir), deadline).map(drop)
    }

    /// As [`Session::enter`], by an answer that is certainly to this: where a server has said more than it was asked for,
    /// each answer is taken for the next command's, until one does not fit. RFC 959 has 200 for NOOP and for little else.
    ///
    /// # Errors
    /// As there; [`Error::Misbehaved`] when an answer did not fit.
    pub fn enter_for_certain(&mut self, dir: &[u8], deadline: Deadline) -> Result<(), Error> {
        let reply = self.control.exchange(Command::bare("NOOP"), deadline)?;
        if reply.code() != 200 {
            self.control.break_off();
            return Err(Error::Misbehaved("NOOP was answered with what answers another command"));
        }
        self.enter(dir, deadline)
    }

    fn list_by(
        &mut self,
        command: ListCommand,
        dir: &[u8],
        context: ListContext,
        deadline: Deadline,
    ) -> Result<Listed, Error> {
        let (transfer, mut parser) = match command {
            ListCommand::Mlsd => (Command::bare("MLSD"), ListParser::certain(Dialect::Mlsd, context)),
            ListCommand::ListAll => {
                (Command::with("LIST", "-a"), ListParser::new(self.profile.dialect(), context))
            }
            ListCommand::List => (Command::bare("LIST"), ListParser::new(self.profile.dialect(), context)),
        };
        let may_end_silently = self.config.tls.as_ref().is_some_and(|tls| tls.optional_close_notify);
        let before = vec![Command::with("CWD", dir)];
        let plan = Plan { before, before_must_succeed: true, offset: 0, allocate: None, transfer };
        let (mut transfer, _) = match self.start_transfer(&plan, deadline) {
            // An empty directory is an error to some servers, by LIST and by NLST (features: MVS, ProFTPD).
            Err(Error::Refused { command, reply })
                if reply.says("no files found") && !command.starts_with("CWD") =>
            {
                return Ok(Listed { listing: parser.finish(), truncated: false });
            }
            other => other?,
        };
        let began = Instant::now();
        let mut chunk = vec![0; CHUNK];
        let mut last_chunk = None::<Instant>;
        let mut last = b'\n';
        loop {
            match transfer.read_by(&mut chunk, deadline) {
                Ok(0) => break,
                Ok(n) => {
                    parser.push(&chunk[..n])?;
                    last_chunk = Some(Instant::now());
                    last = chunk[n - 1];
                }
                // A half line is a cut for certain.
                Err(Error::SilentEnd) if may_end_silently && last == b'\n' => break,
                Err(Error::Deadline { .. })
                    if deadline.passed() && last_chunk.is_some_and(|at| at.elapsed() < RECENT) =>
                {
                    return Err(Error::Deadline { doing: UNENDED, after: began.elapsed() });
                }
                Err(error) => return Err(error),
            }
        }
        let reply = transfer.finish(deadline)?;
        self.learn_opening();
        let listing = parser.finish();
        if let Some(dialect) = listing.dialect.filter(|_| command != ListCommand::Mlsd) {
            self.profile.learn_dialect(dialect);
        }
        Ok(Listed { listing, truncated: reply.says("truncated") })
    }

    /// Starts reading a file at `offset`. With `check` the server is asked in the same round trip what the
    /// file is now; the answer is `None` where it would tell nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] with the command that was refused, or a failed connection.
    pub fn retrieve(
        &mut self,
        path: &[u8],
        offset: u64,
        check: bool,
        deadline: Deadline,
    ) -> Result<(Transfer<'_>, Option<Facts>), Error> {
        self.prove_far_restart(path, offset, deadline)?;
        let questions = if check { self.questions(path) } else { Vec::new() };
        let plan = Plan {
            before: questions.clone(),
            before_must_succeed: false,
            offset,
            allocate: None,
            transfer: Command::with("RETR", path),
        };
        let profile = self.profile.clone();
        let (transfer, replies) = self.start_transfer(&plan, deadline)?;
        let facts = match check {
            true => crate::ftp::query::facts_from(&profile, &questions, &replies).ok(),
            false => None,
        };
        Ok((transfer, facts))
    }
}
