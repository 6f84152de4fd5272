//! Listings on the control connection (STAT of a directory, RFC 959 s.4.1.3): many directories in one or two round
//! trips, where a data connection costs three or four for each.
//!
//! ```text
//! CWD /a, STAT -a ., REST 1804289383,  CWD /b, STAT -a ., REST 846930886, ...  REST 0
//! ```
//!
//! vsftpd 3.0.3, ProFTPD 1.3.8 and pure-ftpd 1.0.50 answer as `ls -la` does; where the server has MLST, its facts are
//! asked for name by name behind that, so that they are those of MLSD. What is not beyond doubt is left to a listing
//! by a data connection:
//! - The end of a multi-line reply can be forged by the name of a file (`x\n213 End`), and what follows it would be
//!   taken for the answers to the next commands. So each STAT is followed by a REST with a number that nobody can
//!   know before; the server repeats it. A listing counts once its number has come.
//! - `.` and `..` show that the directory was read (vsftpd prints one line for one that it may not read, ProFTPD and
//!   pure-ftpd neither of them), and that
//!   dot files are among the lines (pure-ftpd hides them without `-a`, pyftpdlib 2.2.0 refuses `-a`).
//! - A byte 0xFF is doubled in other replies of vsftpd, and is not in its STAT: a name with one is left out of this.
//! - pure-ftpd ends a listing at its limit (10,000 by default) without a word.

use std::collections::VecDeque;
use std::mem;

use ring::rand::{SecureRandom, SystemRandom};

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::flow::InFlight;
use crate::ftp::list::{self, Dialect, EntryKind, ListParser, ParsedListing, RemoteEntry};
use crate::ftp::reply::Reply;
use crate::ftp::restart;
use crate::ftp::session::Session;
use crate::ftp::time::ListContext;

/// A listing of this many entries or more may have been cut by the server.
const MOST_ENTRIES: usize = 2_000;

/// With more names than this, MLSD over a data connection costs less than MLST of each.
const MOST_NAMES: usize = 256;

/// Entries that one batch gives at most (and [`MOST_ENTRIES`] more); the directories behind are left out.
const MOST_TOGETHER: usize = 20_000;

/// A longer path is left to the other way of listing, which says what is wrong with it.
const LONGEST_PATH: usize = 2_000;

/// What a reply that is to come answers.
enum Asked {
    /// CWD into the directory of this number.
    Enter(usize),
    /// Its STAT.
    Status(usize),
    /// The REST behind it, with this number.
    Mark(usize, u64),
    /// MLST of the entry of this number in it.
    Facts(usize, usize),
    /// The REST that leaves no offset behind.
    Reset,
}

/// What is known of a directory so far.
enum Progress {
    /// Not yet entered.
    Waiting,
    /// It was entered.
    Entered,
    /// Its lines have come, and its mark has not.
    Unmarked(ParsedListing),
    /// So many of its entries still lack their facts.
    Lacking(ParsedListing, usize),
    /// It was handed over.
    Done,
}

impl Session {
    /// Lists directories, absolute paths, over the control connection. `each` is called for every directory as soon
    /// as its answer is there: with its number, and its listing or `None` where that has to be asked for in the
    /// ordinary way, for whatever reason.
    ///
    /// # Errors
    /// A failed connection; the directories that `each` was not called for have no answer then.
    pub fn list_inline(
        &mut self,
        dirs: &[&[u8]],
        context: &ListContext,
        deadline: Deadline,
        each: &mut dyn FnMut(usize, Option<ParsedListing>),
    ) -> Result<(), Error> {
        let mut batch = Batch::new(dirs, self.profile.mlst() == Capability::Yes)?;
        while batch.send_more(self, deadline)? {
            batch.receive(self, context, deadline, each).inspect_err(|_| self.control.break_off())?;
        }
        Ok(())
    }
}

struct Batch<'a> {
    dirs: &'a [&'a [u8]],
    /// Whether MLST tells the facts, and the lines of STAT only the names.
    has_mlst: bool,
    progress: Vec<Progress>,
    to_send: VecDeque<(Asked, Command)>,
    sent: VecDeque<Asked>,
    flow: InFlight,
    /// Entries that have come.
    entries: usize,
}

impl<'a> Batch<'a> {
    fn new(dirs: &'a [&'a [u8]], has_mlst: bool) -> Result<Batch<'a>, Error> {
        let mut to_send = VecDeque::new();
        for (dir, path) in dirs.iter().enumerate().filter(|(_, path)| path.len() <= LONGEST_PATH) {
            let mark = unforeseen()?;
            to_send.push_back((Asked::Enter(dir), Command::with("CWD", *path)));
            to_send.push_back((Asked::Status(dir), Command::with("STAT", "-a .")));
            to_send.push_back((Asked::Mark(dir, mark), Command::with("REST", mark.to_string())));
        }
        to_send.push_back((Asked::Reset, Command::with("REST", "0")));
        let progress = dirs.iter().map(|_| Progress::Waiting).collect();
        Ok(Batch {
            dirs,
            has_mlst,
            progress,
            to_send,
            sent: VecDeque::new(),
            flow: InFlight::default(),
            entries: 0,
        })
    }

    /// Sends what may be sent; whether a reply is to come.
    fn send_more(&mut self, session: &mut Session, deadline: Deadline) -> Result<bool, Error> {
        let lengths = self.to_send.iter().map(|(_, command)| session.control.length(command));
        let allowed = self.flow.allows(lengths);
        let mut commands = Vec::with_capacity(allowed);
        for (asked, command) in self.to_send.drain(..allowed) {
            self.flow.sent(session.control.length(&command));
            self.sent.push_back(asked);
            commands.push(command);
        }
        if !commands.is_empty() {
            session.control.send(&commands, deadline)?;
        }
        Ok(!self.sent.is_empty())
    }

    fn receive(
        &mut self,
        session: &mut Session,
        context: &ListContext,
        deadline: Deadline,
        each: &mut dyn FnMut(usize, Option<ParsedListing>),
    ) -> Result<(), Error> {
        let Some(asked) = self.sent.pop_front() else { return Ok(()) };
        self.flow.answered();
        match asked {
            Asked::Enter(dir) => {
                if session.control.reply(deadline)?.is_completion() {
                    self.progress[dir] = Progress::Entered;
                }
            }
            Asked::Status(dir) => {
                let (reply, listing) = status(session, context.clone(), deadline)?;
                // Where CWD was refused, it is about another directory.
                if matches!(self.progress[dir], Progress::Entered) {
                    let tells = matches!(reply.code(), 212 | 213);
                    if !tells && session.profile.quirks().lists_inline == Capability::Untold {
                        log::info!("STAT -a lists no directory here: {reply}");
                        session.profile.learn(|quirks| quirks.lists_inline = Capability::No);
                    }
                    self.progress[dir] = match listing.filter(|_| tells && self.entries < MOST_TOGETHER) {
                        Some(listing) => {
                            self.entries += listing.entries.len();
                            Progress::Unmarked(listing)
                        }
                        None => Progress::Waiting,
                    };
                    if self.entries >= MOST_TOGETHER {
                        self.to_send
                            .retain(|(asked, _)| !matches!(asked, Asked::Enter(_) | Asked::Status(_)));
                    }
                }
            }
            Asked::Mark(dir, mark) => {
                let reply = session.control.reply(deadline)?;
                if !reply.is_intermediate() || restart::told(&reply, mark) != Capability::Yes {
                    session.profile.learn(|quirks| quirks.lists_inline = Capability::No);
                    return Err(Error::Misbehaved("its answers to STAT do not end where they should"));
                }
                match mem::replace(&mut self.progress[dir], Progress::Done) {
                    Progress::Unmarked(listing) => self.marked(dir, listing, each),
                    _ => each(dir, None),
                }
            }
            Asked::Facts(dir, entry) => {
                let reply = session.control.reply(deadline)?;
                self.told(dir, entry, &reply, each);
            }
            Asked::Reset => {
                session.control.reply(deadline)?;
                // Those that were not asked for at all.
                for dir in 0..self.dirs.len() {
                    if matches!(self.progress[dir], Progress::Waiting) {
                        self.progress[dir] = Progress::Done;
                        each(dir, None);
                    }
                }
            }
        }
        Ok(())
    }

    /// The lines of STAT are the server's.
    fn marked(
        &mut self,
        dir: usize,
        listing: ParsedListing,
        each: &mut dyn FnMut(usize, Option<ParsedListing>),
    ) {
        if !self.has_mlst {
            return each(dir, Some(listing));
        }
        let names: Vec<_> = listing.entries.iter().map(|entry| self.path_of(dir, entry)).collect();
        if names.len() > MOST_NAMES || names.iter().any(Option::is_none) {
            return each(dir, None);
        }
        let lacking = names.len();
        for (entry, path) in names.into_iter().flatten().enumerate() {
            self.to_send.push_back((Asked::Facts(dir, entry), Command::with("MLST", path)));
        }
        self.progress[dir] = Progress::Lacking(listing, lacking);
        self.hand_over(dir, each);
    }

    /// The path that MLST is asked for; `None` where MLST may answer for something else: for the target of a link,
    /// for what a pattern fits, for a name that servers trim.
    fn path_of(&self, dir: usize, entry: &RemoteEntry) -> Option<Vec<u8>> {
        let name = &entry.name;
        let is_plain = |b: &u8| !b.is_ascii_control() && !b"*?[]{}\\~\xff".contains(b);
        let ends_plain = !name.starts_with(b" ") && !name.ends_with(b" ");
        let is_certain = matches!(entry.kind, EntryKind::File | EntryKind::Directory);
        let path = [self.dirs[dir].strip_suffix(b"/").unwrap_or(self.dirs[dir]), name].join(&b'/');
        let fits = path.len() <= LONGEST_PATH && path.iter().all(is_plain);
        (is_certain && ends_plain && fits).then_some(path)
    }

    /// An answer to MLST.
    fn told(
        &mut self,
        dir: usize,
        entry: usize,
        reply: &Reply,
        each: &mut dyn FnMut(usize, Option<ParsedListing>),
    ) {
        // It may have been given up already.
        let Progress::Lacking(listing, lacking) = &mut self.progress[dir] else { return };
        let line = reply.lines().nth(1).filter(|_| reply.code() == 250);
        let facts = line.and_then(list::parse_mlst_line).map(|(facts, _)| facts);
        let (Some(known), Some(facts)) = (listing.entries.get_mut(entry), facts) else {
            self.progress[dir] = Progress::Done;
            return each(dir, None);
        };
        // The name is another thing by now.
        if facts.kind != known.kind || facts.name != known.name {
            self.progress[dir] = Progress::Done;
            return each(dir, None);
        }
        *known = facts;
        *lacking -= 1;
        self.hand_over(dir, each);
    }

    /// Hands a listing over once nothing is lacking.
    fn hand_over(&mut self, dir: usize, each: &mut dyn FnMut(usize, Option<ParsedListing>)) {
        if !matches!(self.progress[dir], Progress::Lacking(_, 0)) {
            return;
        }
        if let Progress::Lacking(listing, _) = mem::replace(&mut self.progress[dir], Progress::Done) {
            // The directory's own line tells less than the MLSD of its parent.
            let listing = ParsedListing { own: None, dialect: Some(Dialect::Mlsd), ..listing };
            each(dir, Some(listing));
        }
    }
}

/// Reads the answer to STAT; also returns the listing, if it is beyond doubt.
fn status(
    session: &mut Session,
    context: ListContext,
    deadline: Deadline,
) -> Result<(Reply, Option<ParsedListing>), Error> {
    let mut parser = ListParser::certain(Dialect::Unix, context);
    let (mut has_parent, mut has_iac, mut overflow) = (false, false, None);
    let mut take = |line: &[u8]| {
        // ProFTPD 1.3.8 indents by one blank; no line of `ls` begins with one.
        let line = line.strip_prefix(b" ").unwrap_or(line);
        has_parent |= line.ends_with(b" ..");
        has_iac |= line.contains(&0xff);
        let pushed = parser.push(line).and_then(|()| parser.push(b"\r\n"));
        overflow = overflow.take().or(pushed.err());
    };
    let reply = session.control.reply_lines(deadline, Some(&mut take))?;
    if let Some(overflow) = overflow {
        return Err(overflow.into());
    }
    let listing = parser.finish();
    let is_whole = listing.own.is_some()
        && has_parent
        && !has_iac
        && listing.skipped == 0
        && listing.repeated == 0
        && listing.entries.len() < MOST_ENTRIES;
    if is_whole && session.profile.quirks().lists_inline != Capability::Yes {
        session.profile.learn(|quirks| quirks.lists_inline = Capability::Yes);
    }
    Ok((reply, is_whole.then_some(listing)))
}

/// A number that no name in a listing can hold on purpose. It fits into 31 bits, for servers that count so.
fn unforeseen() -> Result<u64, Error> {
    let mut bytes = [0; 4];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::Misbehaved("no random number was to be had for a mark"))?;
    Ok(u64::from(u32::from_le_bytes(bytes) >> 1).max(1))
}
