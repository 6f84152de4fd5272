//! The streaming parser: chunks in, a [`ParsedListing`] out.

use super::lines::{LineSplitter, RawLine};
use super::vote::Vote;
use super::{
    Dialect, Line, ListError, MAX_BYTES, MAX_ENTRIES, NameClass, Parsed, ParsedListing, SAMPLE,
    classify_name, marks::Marks, repeats,
};
use crate::ftp::time::ListContext;

/// Lines held back until the dialect is chosen.
const POLL_LINES: usize = 1_000;

/// Bytes held back until the dialect is chosen, whatever the number of lines.
const POLL_BYTES: usize = 256 * 1024;

/// Turns the bytes of a data connection into entries while they arrive.
///
/// The first lines are held back for a vote on the dialect; after that each line is parsed at once, by the
/// leading dialect or else by any other that understands it, and the lead follows the score to the end.
#[derive(Debug)]
pub struct ListParser {
    splitter: LineSplitter,
    body: Body,
    bytes: u64,
}

impl ListParser {
    /// A parser that chooses by vote; `hint` (what this server used before) wins ties. [`Dialect::Names`] is
    /// no hint, as it never takes part: use [`ListParser::certain`].
    pub fn new(hint: Option<Dialect>, context: ListContext) -> ListParser {
        ListParser::with(Vote::new(hint), context)
    }

    /// A parser for a reply whose command fixes its dialect (MLSD, NLST): what is not of it is skipped.
    pub fn certain(dialect: Dialect, context: ListContext) -> ListParser {
        ListParser::with(Vote::certain(dialect), context)
    }

    fn with(vote: Vote, context: ListContext) -> ListParser {
        let poll = (!vote.is_certain()).then(Poll::default);
        let listing = ParsedListing {
            dialect: None,
            own: None,
            entries: Vec::new(),
            skipped: 0,
            repeated: 0,
            first_skipped: None,
            saw_dot_entries: false,
        };
        ListParser {
            splitter: LineSplitter::default(),
            body: Body {
                vote,
                context,
                poll,
                begun: None,
                marks: Marks::default(),
                version: None,
                listing,
                max_entries: MAX_ENTRIES,
            },
            bytes: 0,
        }
    }

    /// Takes the next bytes, in chunks of any size.
    ///
    /// # Errors
    /// [`ListError::TooLarge`]; the listing cannot be finished then and the transfer is better given up.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > MAX_BYTES {
            return Err(ListError::TooLarge);
        }
        let body = &mut self.body;
        self.splitter.push(bytes, |line| body.line(line))
    }

    /// Entries understood so far. Those held back for the vote are not among them.
    pub fn entry_count(&self) -> usize {
        self.body.listing.entries.len()
    }

    /// Ends the listing. A last line without LF is a line: some servers leave it out. Whether the transfer was
    /// cut off is told by its final reply, not here.
    pub fn finish(mut self) -> ParsedListing {
        let last = self.splitter.finish().map_or(Ok(()), |last| self.body.line(last));
        let rest = self.body.settle();
        if let Some(begun) = self.body.begun.take() {
            self.body.skip(&begun);
        }
        let mut listing = self.body.listing;
        if last.and(rest).is_err() {
            // Only the very last line can be the one entry too many: push() refuses the others.
            listing.skipped += 1;
        }
        listing.dialect = self.body.vote.winner();
        self.body.marks.remove(&mut listing.entries);
        listing.repeated = repeats::remove(&mut listing.entries);
        listing
    }
}

#[derive(Debug)]
struct Body {
    vote: Vote,
    context: ListContext,
    /// Lines that wait for the vote; `None` once it is over.
    poll: Option<Poll>,
    /// The line before, where it was the first half of an entry.
    begun: Option<Vec<u8>>,
    marks: Marks,
    /// The version of the last entry, where it had one.
    version: Option<u64>,
    listing: ParsedListing,
    /// [`MAX_ENTRIES`], or less in tests.
    max_entries: usize,
}

#[derive(Debug, Default)]
struct Poll {
    /// Each line is followed by LF, which no line holds.
    text: Vec<u8>,
    lines: usize,
}

impl Body {
    fn line(&mut self, line: RawLine<'_>) -> Result<(), ListError> {
        let text = match line {
            RawLine::Text(text) => text,
            RawLine::TooLong(start) => {
                self.skip(start);
                return Ok(());
            }
        };
        let Some(poll) = &mut self.poll else { return self.parse(text) };
        poll.text.extend_from_slice(text);
        poll.text.push(b'\n');
        poll.lines += 1;
        if poll.lines < POLL_LINES && poll.text.len() < POLL_BYTES {
            return Ok(());
        }
        self.settle()
    }

    /// Chooses the dialect and parses the lines that waited for it.
    fn settle(&mut self) -> Result<(), ListError> {
        let Some(Poll { text, .. }) = self.poll.take() else { return Ok(()) };
        let lines = || text.split_inclusive(|&b| b == b'\n').map(|line| &line[..line.len() - 1]);
        self.vote.poll(lines(), &self.context);
        lines().try_for_each(|line| self.parse(line))
    }

    fn parse(&mut self, line: &[u8]) -> Result<(), ListError> {
        if let Some(mut whole) = self.begun.take() {
            let begun = whole.len();
            whole.push(b' ');
            whole.extend_from_slice(line);
            match self.vote.parse(&whole, &self.context) {
                Line::Noise | Line::Heading(_) | Line::Begin | Line::Unknown => self.skip(&whole[..begun]),
                entry => return self.accept(entry, &whole),
            }
        }
        let said = self.vote.parse(line, &self.context);
        self.accept(said, line)
    }

    fn accept(&mut self, said: Line<'_>, line: &[u8]) -> Result<(), ListError> {
        match said {
            Line::Entry(parsed) => {
                self.marks.count(parsed.marked);
                let whole = parsed.name_end.map(|end| [parsed.name, b".", end].concat());
                let name = whole.as_deref().unwrap_or(parsed.name);
                match classify_name(name) {
                    NameClass::Usable => self.take(parsed, name)?,
                    NameClass::Own => self.take_own(parsed),
                    NameClass::Parent => self.listing.saw_dot_entries = true,
                    NameClass::Refused => self.skip(line),
                }
            }
            Line::Own(parsed) => self.take_own(parsed),
            Line::Parent => self.listing.saw_dot_entries = true,
            Line::Noise | Line::Heading(_) => {}
            Line::Begin => self.begun = Some(line.to_vec()),
            Line::Unknown => self.skip(line),
        }
        Ok(())
    }

    fn take(&mut self, parsed: Parsed<'_>, name: &[u8]) -> Result<(), ListError> {
        let version = parsed.version;
        if let Some(last) = self.listing.entries.last_mut() {
            // It is not in this directory, but in the one that the line before told of.
            if parsed.inside.is_some_and(|directory| *directory == *last.name) {
                return Ok(());
            }
            if let (Some(this), Some(before), true) = (version, self.version, *name == *last.name) {
                if this > before {
                    *last = parsed.into_entry(name);
                    self.version = version;
                }
                return Ok(());
            }
        }
        if self.listing.entries.len() >= self.max_entries {
            return Err(ListError::TooLarge);
        }
        self.version = version;
        self.listing.entries.push(parsed.into_entry(name));
        Ok(())
    }

    fn take_own(&mut self, parsed: Parsed<'_>) {
        self.listing.saw_dot_entries = true;
        self.listing.own.get_or_insert_with(|| parsed.into_entry(b"."));
    }

    fn skip(&mut self, line: &[u8]) {
        self.listing.skipped += 1;
        self.listing.first_skipped.get_or_insert_with(|| line[..line.len().min(SAMPLE)].into());
    }
}

#[cfg(test)]
mod tests;
