//! Questions about one path, answered over the control connection.

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::list::{self, EntryKind, RemoteEntry};
use crate::ftp::profile::ServerProfile;
use crate::ftp::quirks;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::time::{self, Modified};

/// What a server told of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// Everything that a listing would tell.
    Whole(RemoteEntry),
    /// A readable file; only its size and time are known (SIZE, MDTM).
    File {
        /// Size in bytes.
        size: u64,
        /// Last modification, where MDTM tells it.
        modified: Option<Modified>,
    },
    /// The answer may be about the target of a symbolic link, or about something else; only a listing tells.
    Doubtful,
}

impl Facts {
    /// The entry `name` as far as it was told; `None` where it is doubtful.
    pub fn entry(self, name: &[u8]) -> Option<RemoteEntry> {
        match self {
            Facts::Whole(entry) => Some(RemoteEntry { name: name.into(), ..entry }),
            Facts::File { size, modified } => Some(RemoteEntry {
                name: name.into(),
                kind: EntryKind::File,
                size: Some(size),
                modified,
                mode: None,
                link_target: None,
                unique: None,
            }),
            Facts::Doubtful => None,
        }
    }
}

impl Session {
    /// Asks for one path in one round trip.
    ///
    /// # Errors
    /// [`Error::Refused`] when the server tells nothing of it: absent, forbidden, or (without MLST) a
    /// directory.
    pub fn facts(&mut self, path: &[u8], deadline: Deadline) -> Result<Facts, Error> {
        let questions = self.questions(path);
        let replies = self.exchange_all(questions.clone(), deadline)?;
        self.take_facts(&questions, &replies)
    }

    /// Asks for several paths, in one round trip where the server takes commands together. `None` for each that it
    /// tells nothing of.
    ///
    /// # Errors
    /// A failed connection.
    pub fn facts_of(&mut self, paths: &[Vec<u8>], deadline: Deadline) -> Result<Vec<Option<Facts>>, Error> {
        let questions: Vec<_> = paths.iter().map(|path| self.questions(path)).collect();
        let mut replies = self.exchange_all(questions.concat(), deadline)?;
        let mut facts = Vec::with_capacity(paths.len());
        for questions in questions {
            let rest = replies.split_off(questions.len().min(replies.len()));
            match self.take_facts(&questions, &replies) {
                Ok(told) => facts.push(Some(told)),
                Err(Error::Refused { .. }) => facts.push(None),
                Err(error) => return Err(error),
            }
            replies = rest;
        }
        Ok(facts)
    }

    /// Makes facts of the replies to [`Session::questions`]; what cannot be one breaks the connection.
    pub(crate) fn take_facts(&mut self, questions: &[Command], replies: &[Reply]) -> Result<Facts, Error> {
        if replies.get(1).is_some_and(|reply| reply.code() == 213 && is_no_time(&questions[1], reply)) {
            // It looks like the answer to SIZE, and that one like the answer to something earlier.
            self.control.break_off();
            return Ok(Facts::Doubtful);
        }
        facts_from(&self.profile, questions, replies).map_err(|error| match error {
            Error::Refused { command, reply } => self.size_refused(command, reply),
            other => {
                self.control.break_off();
                other
            }
        })
    }

    /// The times of files, by MDTM (RFC 3659 s.3); `None` for each that the server does not tell. One round
    /// trip where the server takes commands together, else one each.
    ///
    /// # Errors
    /// A failed connection.
    pub fn moments(&mut self, paths: &[Vec<u8>], deadline: Deadline) -> Result<Vec<Option<Modified>>, Error> {
        let questions = paths.iter().map(|path| Command::with("MDTM", path.as_slice())).collect();
        let replies = self.exchange_all(questions, deadline)?;
        let told = |reply: &Reply| match reply.code() {
            213 => time::parse_time_value(reply.text().trim_ascii()),
            _ => None,
        };
        Ok(replies.iter().map(told).collect())
    }

    /// The size of a file in bytes, by SIZE (RFC 3659 s.4), as TYPE I counts it; `None` where the server has no
    /// such command.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is absent, forbidden, or no file; else a failed connection.
    pub fn size(&mut self, path: &[u8], deadline: Deadline) -> Result<Option<u64>, Error> {
        let command = Command::with("SIZE", path);
        let words = command.to_string();
        let reply = self
            .exchange_all(vec![command], deadline)?
            .pop()
            .ok_or(Error::Misbehaved("a reply is missing"))?;
        match reply.code() {
            213 => Ok(number(reply.text())),
            500 | 502 | 504 => Ok(None),
            _ => Err(self.size_refused(words, reply)),
        }
    }

    /// The error of a refused question. Where it is TYPE A that SIZE is refused for, the server has lost TYPE I, and
    /// says nothing of the path.
    fn size_refused(&mut self, words: String, reply: Reply) -> Error {
        let path = words.strip_prefix("SIZE ").map(str::as_bytes);
        let lost = path.is_some_and(|path| quirks::refuses_for_ascii(&reply, path));
        if lost && self.profile.quirks().keeps_type != Capability::No {
            self.forget_type(&reply);
            self.control.break_off();
            return Error::Misbehaved("it has lost TYPE I");
        }
        self.control.refused(words, reply)
    }

    /// The commands whose answers [`facts_from`] understands.
    pub(crate) fn questions(&self, path: &[u8]) -> Vec<Command> {
        match self.profile.mlst() {
            Capability::Yes if self.profile.mlst_confuses_links() => {
                vec![Command::with("MLST", path), Command::with("SIZE", path)]
            }
            Capability::Yes => vec![Command::with("MLST", path)],
            _ if self.profile.mdtm() == Capability::No => vec![Command::with("SIZE", path)],
            _ => vec![Command::with("SIZE", path), Command::with("MDTM", path)],
        }
    }
}

/// Makes facts of the replies to [`Session::questions`].
pub(crate) fn facts_from(
    profile: &ServerProfile,
    questions: &[Command],
    replies: &[Reply],
) -> Result<Facts, Error> {
    let refused = |i: usize| Error::Refused { command: questions[i].to_string(), reply: replies[i].clone() };
    let Some(first) = replies.first() else { return Err(Error::Misbehaved("a reply is missing")) };
    let size = |reply: &Reply| (reply.code() == 213).then(|| number(reply.text())).flatten();
    if profile.mlst() == Capability::Yes {
        if matches!(first.code(), 500 | 502) {
            profile.no_mlst();
        }
        if first.code() != 250 {
            // ProFTPD 1.3.8 gives the reason to SIZE, not to MLST ("cannot be listed").
            let size_refused = replies.get(1).is_some_and(|reply| !reply.is_completion());
            return Err(refused(usize::from(size_refused)));
        }
        let line = first.lines().nth(1).ok_or(Error::Misbehaved("MLST was answered without facts"))?;
        let (entry, _) =
            list::parse_mlst_line(line).ok_or(Error::Misbehaved("MLST was answered with no facts"))?;
        let target_size = replies.get(1).and_then(size);
        let confused = profile.mlst_confuses_links()
            && entry.kind == EntryKind::File
            && target_size.is_some_and(|size| entry.size != Some(size));
        // Some servers expand wildcards also here, find several files or none, and tell no size.
        let globbed = entry.size == Some(0)
            && questions.first().is_some_and(|question| question.to_string().contains(['*', '?', '[', '{']));
        return Ok(if confused || globbed { Facts::Doubtful } else { Facts::Whole(entry) });
    }
    // A server that counts with 32 bits; a listing may tell more.
    if first.code() == 213 && first.text().trim_ascii_start().starts_with(b"-") {
        return Ok(Facts::Doubtful);
    }
    let Some(size) = size(first) else { return Err(refused(0)) };
    let modified = replies.get(1).and_then(|reply| match reply.code() {
        213 => time::parse_time_value(reply.text().trim_ascii()),
        500 | 502 => {
            profile.no_mdtm();
            None
        }
        _ => None,
    });
    Ok(Facts::File { size, modified })
}

/// The group that the fact `UNIX.group` tells, where `facts` are all by MLST. Of few interest, so no entry keeps it.
pub(crate) fn group_told(facts: &Facts, replies: &[Reply]) -> Option<u32> {
    let line = replies.first().filter(|_| matches!(facts, Facts::Whole(_)))?.lines().nth(1)?;
    list::mlst_group(line)
}

fn is_no_time(question: &Command, reply: &Reply) -> bool {
    question.to_string().starts_with("MDTM") && time::parse_time_value(reply.text().trim_ascii()).is_none()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}
