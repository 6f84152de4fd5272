//! Commands that change names and attributes.

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::query::{Facts, group_told};
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::setters::{Outcome, Setter, Value, Wish, is_unknown, setting};
use crate::ftp::time::Modified;

/// What a file or directory shall get; `None`: it stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Permission bits, 07777. vsftpd 3.0.3 drops the upper three without a word.
    pub mode: Option<u16>,
    /// Modification time, in whole seconds from 1970 to the year 9999.
    pub modified: Option<Modified>,
    /// The number of a group, as the server counts them.
    pub group: Option<u32>,
}

/// What became of one wish.
#[derive(Clone, Debug)]
pub enum Granted {
    /// Nothing was wished.
    NotAsked,
    /// The server confirmed it.
    Yes,
    /// The server has no command for it.
    Unsupported,
    /// The server has a command and refused it ([`Error::Refused`]), or the value cannot be sent
    /// ([`Error::BadArgument`]).
    Refused(Error),
}

/// The outcome of [`Session::settle`].
#[derive(Clone, Debug)]
pub struct Settled {
    /// What the path is now, as [`Session::facts`] tells it.
    pub facts: Result<Facts, Error>,
    /// The mode.
    pub mode: Granted,
    /// The modification time.
    pub modified: Granted,
    /// The group.
    pub group: Granted,
    /// The way by which the mode was set, where it was never seen to do so: only a listing tells.
    pub(crate) unseen_mode: Option<Setter>,
}

/// How far [`Session::settle`] is.
pub(crate) struct Settling {
    mode: Wish,
    modified: Wish,
    group: Wish,
    /// What was tried last, and how.
    setters: Vec<Setter>,
    commands: Vec<Command>,
    questions: Vec<Command>,
}

impl Settling {
    pub(crate) fn new(wishes: &Wishes) -> Settling {
        Settling {
            mode: Wish::new(wishes.mode.map(Value::Mode)),
            modified: Wish::new(wishes.modified.map(Value::Time)),
            group: Wish::new(wishes.group.map(Value::Group)),
            setters: Vec::new(),
            commands: Vec::new(),
            questions: Vec::new(),
        }
    }
}

impl Session {
    /// Sets what is wished and asks what the path is now: in one round trip where commands may be sent
    /// together and the server is known to have one for each wish. A server whose ways are not known yet is
    /// tried with one after the other, and what it does not have it is not asked for again. A way is believed
    /// when it was seen once that the path has what was set: some servers say yes and do nothing, or take times
    /// for local ones.
    ///
    /// Refusals, of the wishes and of the question, are in the [`Settled`].
    ///
    /// # Errors
    /// A failed connection, or a path that cannot be sent.
    pub fn settle(&mut self, path: &[u8], wishes: &Wishes, deadline: Deadline) -> Result<Settled, Error> {
        let mut settling = Settling::new(wishes);
        let commands = self.next_commands(path, &mut settling);
        let replies = self.ask_settling(&settling, commands, deadline)?;
        self.settle_on(path, settling, replies, deadline)
    }

    /// The commands that [`Session::settle`] sends next; their replies are for [`Session::settle_on`].
    pub(crate) fn next_commands(&mut self, path: &[u8], settling: &mut Settling) -> Vec<Command> {
        // The group first: chown(2) on the server takes bits from the mode.
        let tries: Vec<(Setter, Command)> = [&mut settling.group, &mut settling.mode, &mut settling.modified]
            .into_iter()
            .filter_map(|wish| wish.next(&self.profile))
            .map(|(setter, value)| (setter, setting(setter, &value, path)))
            .collect();
        settling.questions = self.questions(path);
        (settling.setters, settling.commands) = tries.into_iter().unzip();
        settling.commands.iter().chain(&settling.questions).cloned().collect()
    }

    fn ask_settling(
        &mut self,
        settling: &Settling,
        commands: Vec<Command>,
        deadline: Deadline,
    ) -> Result<Vec<Reply>, Error> {
        self.exchange_all(commands, deadline).inspect_err(|error| {
            // libunftp 0.24 closes the connection at an argument that it does not understand.
            if matches!(error, Error::Closed(_)) && !self.profile.pipelines() {
                self.give_up_unproven(&settling.setters);
            }
        })
    }

    /// Goes on from the replies to the first commands.
    ///
    /// # Errors
    /// As [`Session::settle`].
    pub(crate) fn settle_on(
        &mut self,
        path: &[u8],
        mut settling: Settling,
        mut replies: Vec<Reply>,
        deadline: Deadline,
    ) -> Result<Settled, Error> {
        loop {
            let (facts, again) = self.judge_settling(&mut settling, &replies)?;
            if !again || self.control.is_broken() {
                let Settling { mode, modified, group, .. } = settling;
                let unseen_mode = mode.unseen(&self.profile);
                let (mode, modified, group) = (mode.outcome(), modified.outcome(), group.outcome());
                return Ok(Settled { facts, mode, modified, group, unseen_mode });
            }
            let commands = self.next_commands(path, &mut settling);
            replies = self.ask_settling(&settling, commands, deadline)?;
        }
    }

    /// What one round of replies says, and whether another way is to be tried.
    fn judge_settling(
        &mut self,
        settling: &mut Settling,
        replies: &[Reply],
    ) -> Result<(Result<Facts, Error>, bool), Error> {
        let Settling { mode, modified, group, setters, commands, questions } = settling;
        let (set, told) =
            replies.split_at_checked(setters.len()).ok_or(Error::Misbehaved("a reply is missing"))?;
        let facts = self.take_facts(questions, told);
        let has_group = facts.as_ref().ok().and_then(|facts| group_told(facts, told));
        let mut again = false;
        for ((&setter, command), reply) in setters.iter().zip(&*commands).zip(set) {
            let wish = match setter {
                _ if setter.is_of_modes() => &mut *mode,
                _ if setter.is_of_groups() => &mut *group,
                _ => &mut *modified,
            };
            let outcome = wish.judge(setter, &self.profile, reply, &facts, has_group);
            if matches!(outcome, Outcome::Refused | Outcome::Elsewhere) {
                let error = self.control.refused(command.to_string(), reply.clone());
                if error.is_fatal() {
                    return Err(error);
                }
                wish.was_refused(setter, error);
            }
            again |= wish.take(setter, outcome, &self.profile);
        }
        Ok((facts, again))
    }

    fn give_up_unproven(&self, setters: &[Setter]) {
        for &setter in setters {
            if self.profile.setter(setter) == Capability::Untold {
                self.profile.learn_setter(setter, false);
            }
        }
    }

    /// Deletes a file or a symbolic link.
    ///
    /// # Errors
    /// [`Error::Refused`], or a failed connection; whether it was done is not known then.
    pub fn remove_file(&mut self, path: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.control.perform(Command::with("DELE", path), deadline).map(drop)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Session::remove_file`].
    pub fn make_directory(&mut self, path: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.control.perform(Command::with("MKD", path), deadline).map(drop)
    }

    /// As [`Session::make_directory`], and asks in the same round trip what was made where MLST tells it;
    /// `None` where nothing can be told of a directory (SIZE and MDTM are for files).
    ///
    /// # Errors
    /// As [`Session::remove_file`]; what the question was answered with is inside.
    pub fn make_and_see_directory(
        &mut self,
        path: &[u8],
        deadline: Deadline,
    ) -> Result<Option<Result<Facts, Error>>, Error> {
        if self.profile.mlst() != Capability::Yes {
            return self.make_directory(path, deadline).map(|()| None);
        }
        let questions = self.questions(path);
        let make = Command::with("MKD", path);
        let words = make.to_string();
        let replies = self.exchange_all([make].into_iter().chain(questions.clone()).collect(), deadline)?;
        let made = replies.first().ok_or(Error::Misbehaved("a reply is missing"))?;
        if !made.is_completion() {
            return Err(self.control.refused(words, made.clone()));
        }
        Ok(Some(self.take_facts(&questions, &replies[1..])))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`Session::remove_file`].
    pub fn remove_directory(&mut self, path: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.control.perform(Command::with("RMD", path), deadline).map(drop)
    }

    /// Renames. All servers measured replace an existing file and an empty directory, and refuse a directory
    /// that is not empty.
    ///
    /// # Errors
    /// As [`Session::remove_file`]; the refused command tells which of the two names it was.
    pub fn rename(&mut self, from: &[u8], to: &[u8], deadline: Deadline) -> Result<(), Error> {
        let commands = [Command::with("RNFR", from), Command::with("RNTO", to)];
        // After its RNFR, ProFTPD 1.3.8 answers 501 to all but RNTO: both must be fit to be sent.
        for command in &commands {
            command.encode(true, &mut Vec::new())?;
        }
        let together = self.profile.pipelines();
        let [start, end] = &commands;
        self.control.send(if together { &commands } else { std::slice::from_ref(start) }, deadline)?;
        let started = self.control.reply(deadline)?;
        if !started.is_intermediate() {
            if together {
                // 503, or 501: the server has nothing to rename.
                self.control.reply(deadline)?;
            }
            return Err(self.control.refused(start.to_string(), started));
        }
        if !together {
            self.control
                .send(std::slice::from_ref(end), deadline)
                .inspect_err(|_| self.control.break_off())?;
        }
        let ended = self.control.reply(deadline)?;
        match ended.is_completion() {
            true => Ok(()),
            false => Err(self.control.refused(end.to_string(), ended)),
        }
    }

    /// Makes a symbolic link at `path` to `target`, an absolute path; `false` where the server has no command
    /// for it, or cannot be given these names: SITE SYMLINK splits its arguments at blanks. ProFTPD 1.3.8
    /// refuses a target that does not exist.
    ///
    /// # Errors
    /// As [`Session::remove_file`].
    pub fn make_symlink(&mut self, target: &[u8], path: &[u8], deadline: Deadline) -> Result<bool, Error> {
        let setter = Setter::SiteSymlink;
        let plain = |text: &[u8]| !text.is_empty() && !text.iter().any(|b| b" \t\"\\".contains(b));
        let known = self.profile.setter(setter);
        if known == Capability::No || !plain(target) || !plain(path) {
            return Ok(false);
        }
        let command = Command::with("SITE", [b"SYMLINK ", target, b" ", path].concat());
        let words = command.to_string();
        let reply = self.control.exchange(command, deadline).inspect_err(|error| {
            if matches!(error, Error::Closed(_)) && !self.profile.pipelines() {
                self.give_up_unproven(&[setter]);
            }
        })?;
        if reply.is_completion() {
            self.profile.learn_setter(setter, true);
            return Ok(true);
        }
        if is_unknown(reply.code(), known) {
            self.profile.learn_setter(setter, false);
            return Ok(false);
        }
        Err(self.control.refused(words, reply))
    }
}
