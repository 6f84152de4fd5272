//! Commands that change names and attributes.

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::profile::{ServerProfile, Setter};
use crate::ftp::query::Facts;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::time::{self, Modified};

/// What a file or directory shall get; `None`: it stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Permission bits, 07777. vsftpd 3.0.3 drops the upper three without a word.
    pub mode: Option<u16>,
    /// Modification time, in whole seconds from 1970 to the year 9999.
    pub modified: Option<Modified>,
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
}

impl Session {
    /// Sets what is wished and asks what the path is now: in one round trip where commands may be sent
    /// together and the server is known to have one for each wish. A server whose ways are not known yet is
    /// tried with one after the other, and what it does not have it is not asked for again.
    ///
    /// Refusals, of the wishes and of the question, are in the [`Settled`].
    ///
    /// # Errors
    /// A failed connection, or a path that cannot be sent.
    pub fn settle(&mut self, path: &[u8], wishes: &Wishes, deadline: Deadline) -> Result<Settled, Error> {
        let mut mode = Wish::new(wishes.mode.map(|mode| Some(octal(mode))));
        let mut modified = Wish::new(wishes.modified.map(time::time_value));
        loop {
            let (chmod, touch) =
                (mode.next(mode_setter(&self.profile)), modified.next(time_setter(&self.profile)));
            let tries: Vec<(Setter, Command)> = [chmod, touch]
                .into_iter()
                .flatten()
                .map(|(setter, value)| (setter, setting(setter, value, path)))
                .collect();
            let questions = self.questions(path);
            let (setters, commands): (Vec<Setter>, Vec<Command>) = tries.into_iter().unzip();
            let all = commands.iter().chain(&questions).cloned().collect();
            let replies = self.exchange_all(all, deadline).inspect_err(|error| {
                // libunftp 0.24 closes the connection at an argument that it does not understand.
                if matches!(error, Error::Closed(_)) && !self.profile.pipelines() {
                    self.give_up_unproven(&setters);
                }
            })?;
            let (set, told) = replies.split_at(setters.len());
            let facts = self.take_facts(&questions, told);
            let mut again = false;
            for ((setter, command), reply) in setters.into_iter().zip(&commands).zip(set) {
                let wish = if is_mode(setter) { &mut mode } else { &mut modified };
                let outcome = judge(setter, self.profile.setter(setter), reply, wishes.modified, &facts);
                match outcome {
                    Outcome::Done => wish.granted = Some(Granted::Yes),
                    Outcome::Unknown => again = true,
                    Outcome::Refused => {
                        let error = self.control.refused(command.to_string(), reply.clone());
                        if error.is_fatal() {
                            return Err(error);
                        }
                        wish.granted = Some(Granted::Refused(error));
                    }
                }
                match outcome {
                    Outcome::Done => self.profile.learn_setter(setter, true),
                    Outcome::Unknown => self.profile.learn_setter(setter, false),
                    Outcome::Refused => {}
                }
            }
            if !again || self.control.is_broken() {
                return Ok(Settled { facts, mode: mode.outcome(), modified: modified.outcome() });
            }
        }
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

/// One wish on its way: the value to send, and what became of it.
struct Wish {
    value: Option<String>,
    granted: Option<Granted>,
}

impl Wish {
    /// `value`: `None` for no wish, `Some(None)` for one that cannot be put into words.
    fn new(value: Option<Option<String>>) -> Wish {
        match value {
            None => Wish { value: None, granted: Some(Granted::NotAsked) },
            Some(None) => {
                let error =
                    Error::BadArgument("FTP has no word for a time before 1970 or after the year 9999");
                Wish { value: None, granted: Some(Granted::Refused(error)) }
            }
            Some(value) => Wish { value, granted: None },
        }
    }

    /// The way to try next, with the value; `None` where it is settled.
    fn next(&mut self, setter: Option<Setter>) -> Option<(Setter, &str)> {
        if self.granted.is_some() {
            return None;
        }
        if setter.is_none() {
            self.granted = Some(Granted::Unsupported);
        }
        Some((setter?, self.value.as_deref()?))
    }

    fn outcome(self) -> Granted {
        self.granted.unwrap_or(Granted::Unsupported)
    }
}

/// What the reply to one way of setting means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The server does not have this way.
    Unknown,
    Refused,
}

fn mode_setter(profile: &ServerProfile) -> Option<Setter> {
    // ProFTPD 1.3.8 drops blanks at the end of SITE CHMOD's path, and quotes in it: another file gets the mode.
    first_possible(profile, &[Setter::MffMode, Setter::SiteChmod])
}

fn time_setter(profile: &ServerProfile) -> Option<Setter> {
    first_possible(profile, &[Setter::Mfmt, Setter::Mdtm, Setter::SiteUtime])
}

fn first_possible(profile: &ServerProfile, setters: &[Setter]) -> Option<Setter> {
    setters.iter().copied().find(|&setter| profile.setter(setter) != Capability::No)
}

fn is_mode(setter: Setter) -> bool {
    matches!(setter, Setter::SiteChmod | Setter::MffMode)
}

/// The command that sets `value` by `setter`.
fn setting(setter: Setter, value: &str, path: &[u8]) -> Command {
    let (verb, start) = match setter {
        Setter::Mfmt => ("MFMT", format!("{value} ")),
        Setter::Mdtm => ("MDTM", format!("{value} ")),
        Setter::SiteUtime => ("SITE", format!("UTIME {value} ")),
        Setter::SiteChmod => ("SITE", format!("CHMOD {value} ")),
        Setter::MffMode => ("MFF", format!("UNIX.mode={value}; ")),
        Setter::SiteSymlink => ("SITE", format!("SYMLINK {value} ")),
    };
    Command::with(verb, [start.as_bytes(), path].concat())
}

/// Octal digits, three of them, or four where the upper bits are set. Letters are never sent: vsftpd and
/// pure-ftpd take `u+x` as mode 0.
fn octal(mode: u16) -> String {
    format!("{:03o}", mode & 0o7777)
}

/// Whether a code says that there is no such command. 501 may also mean the name where the command is known.
fn is_unknown(code: u16, known: Capability) -> bool {
    matches!(code, 500 | 502 | 504) || (code == 501 && known == Capability::Untold)
}

/// `wished` is the time that was asked for, `facts` what the path was after it.
fn judge(
    setter: Setter,
    known: Capability,
    reply: &Reply,
    wished: Option<Modified>,
    facts: &Result<Facts, Error>,
) -> Outcome {
    let unproven = known == Capability::Untold;
    if is_unknown(reply.code(), known) {
        return Outcome::Unknown;
    }
    if setter != Setter::Mdtm || !unproven {
        return if reply.is_completion() { Outcome::Done } else { Outcome::Refused };
    }
    // A server that only tells times has taken the time for a part of the name.
    let wished = wished.map(|wished| wished.seconds);
    if !reply.is_completion() {
        // vsftpd 3.0.3: "Could not set file modification time." where it sets, "Could not get" where not.
        let sets = reply.says("not set") || reply.is_transient();
        return if sets { Outcome::Refused } else { Outcome::Unknown };
    }
    let told = match facts {
        Ok(Facts::Whole(entry)) => entry.modified,
        Ok(Facts::File { modified, .. }) => *modified,
        Ok(Facts::Doubtful) | Err(_) => None,
    };
    let told = told.or_else(|| time::parse_time_value(reply.text().trim_ascii()));
    match told {
        Some(told) if Some(told.seconds) != wished => Outcome::Unknown,
        _ => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::ReplyParser;
    use crate::ftp::time::Precision;

    fn reply(text: &str) -> Reply {
        ReplyParser::default().push(format!("{text}\r\n").as_bytes()).unwrap().1.unwrap()
    }

    #[test]
    fn each_way_of_setting_has_its_words() {
        let path = b"/ a  b\xff";
        let modes = [(0o644, "644"), (0o7, "007"), (0, "000"), (0o4755, "4755"), (0o10_644, "644")];
        for (mode, digits) in modes {
            assert_eq!(octal(mode), digits);
        }
        for (setter, value, line) in [
            (Setter::Mfmt, "20240309174501", &b"MFMT 20240309174501 / a  b\xff\r\n"[..]),
            (Setter::Mdtm, "20240309174501", b"MDTM 20240309174501 / a  b\xff\r\n"),
            (Setter::SiteUtime, "20240309174501", b"SITE UTIME 20240309174501 / a  b\xff\r\n"),
            (Setter::SiteChmod, "644", b"SITE CHMOD 644 / a  b\xff\r\n"),
            (Setter::MffMode, "644", b"MFF UNIX.mode=644; / a  b\xff\r\n"),
        ] {
            let mut encoded = Vec::new();
            setting(setter, value, path).encode(false, &mut encoded).unwrap();
            assert_eq!(encoded, line, "{setter:?}");
        }
    }

    #[test]
    fn what_a_reply_says_of_a_setter() {
        use Capability::{Untold, Yes};
        use Outcome::{Done, Refused, Unknown};
        let seconds = 1_710_006_301;
        let at = |seconds| Some(Modified { seconds, nanos: 0, precision: Precision::Second });
        let file = |seconds| Ok(Facts::File { size: 0, modified: at(seconds) });
        let silent = || Err(Error::BadArgument("a directory"));
        for (setter, known, text, facts, outcome) in [
            (Setter::SiteChmod, Untold, "200 SITE CHMOD command ok.", silent(), Done),
            (Setter::SiteChmod, Untold, "500 Unknown SITE command.", silent(), Unknown),
            (Setter::SiteChmod, Untold, "501 what", silent(), Unknown),
            (Setter::SiteChmod, Yes, "501 what", silent(), Refused),
            (Setter::SiteChmod, Yes, "550 SITE CHMOD command failed.", silent(), Refused),
            (Setter::SiteUtime, Untold, "213 UTIME OK", silent(), Done),
            (Setter::Mfmt, Yes, "502 Unknown", silent(), Unknown),
            (Setter::Mfmt, Yes, "213 Modify=20240309174501; /x", file(5), Done),
            (Setter::Mdtm, Untold, "213 File modification time set.", file(seconds), Done),
            (Setter::Mdtm, Untold, "213 File modification time set.", silent(), Done),
            (Setter::Mdtm, Untold, "213 File modification time set.", file(5), Unknown),
            (Setter::Mdtm, Untold, "213 20200101000000", silent(), Unknown),
            (Setter::Mdtm, Untold, "213 20240309174501", silent(), Done),
            (Setter::Mdtm, Untold, "550 Could not set file modification time.", silent(), Refused),
            (Setter::Mdtm, Untold, "550 Could not get file modification time.", file(5), Unknown),
            (Setter::Mdtm, Yes, "550 Could not get file modification time.", silent(), Refused),
        ] {
            assert_eq!(judge(setter, known, &reply(text), at(seconds), &facts), outcome, "{setter:?} {text}");
        }
    }
}
