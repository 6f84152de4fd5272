//! Chunks of bytes in, lines out, whatever the chunk boundaries.

use super::MAX_LINE;

/// Cuts a byte stream at LF and strips exactly one CR before it: a name may itself end in CR.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    /// The start of a line whose end has not arrived; at most [`MAX_LINE`] + 1 bytes (the CR).
    partial: Vec<u8>,
    /// Whether the present line is too long and its rest is thrown away.
    overlong: bool,
}

/// A line, or word of one that was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RawLine<'a> {
    Text(&'a [u8]),
    /// Longer than [`MAX_LINE`]; its first bytes.
    TooLong(&'a [u8]),
}

impl LineSplitter {
    /// Takes a chunk and hands out each line that it completes.
    ///
    /// # Errors
    /// The first that `each` returns; the rest of the chunk is then lost.
    pub(super) fn push<E>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(RawLine<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.partial.is_empty() && !self.overlong {
                each(raw(line))?;
                continue;
            }
            self.keep(line);
            let outcome = each(self.whole());
            self.partial.clear();
            self.overlong = false;
            outcome?;
        }
        self.keep(bytes);
        Ok(())
    }

    /// The last line, where the stream did not end in LF.
    pub(super) fn finish(&self) -> Option<RawLine<'_>> {
        (self.overlong || !self.partial.is_empty()).then(|| self.whole())
    }

    fn whole(&self) -> RawLine<'_> {
        if self.overlong { RawLine::TooLong(&self.partial) } else { raw(&self.partial) }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_LINE + 1).saturating_sub(self.partial.len());
        self.overlong |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn raw(line: &[u8]) -> RawLine<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE { RawLine::TooLong(line) } else { RawLine::Text(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(chunks: &[&[u8]]) -> Vec<Option<usize>> {
        let mut splitter = LineSplitter::default();
        let mut found = Vec::new();
        let mut note = |line: RawLine<'_>| match line {
            RawLine::Text(text) => found.push(Some(text.len())),
            RawLine::TooLong(_) => found.push(None),
        };
        for chunk in chunks {
            let outcome: Result<(), ()> = splitter.push(chunk, |line| {
                note(line);
                Ok(())
            });
            outcome.unwrap();
            assert!(splitter.partial.len() <= MAX_LINE + 1);
        }
        if let Some(line) = splitter.finish() {
            note(line);
        }
        found
    }

    #[test]
    fn one_cr_is_stripped_and_the_last_line_needs_no_end() {
        assert_eq!(lengths(&[b"a\r\nbb\n\r\r\n\nccc"]), [Some(1), Some(2), Some(1), Some(0), Some(3)]);
        assert_eq!(lengths(&[b"a\r", b"\nb", b"", b"b\n", b"c\r"]), [Some(1), Some(2), Some(1)]);
        assert_eq!(lengths(&[]), []);
    }

    #[test]
    fn the_limit_is_the_same_however_the_line_arrives() {
        let longest = [b'x'; MAX_LINE];
        let over = [b'x'; MAX_LINE + 1];
        for end in [&b"\n"[..], b"\r\n"] {
            assert_eq!(lengths(&[&longest, end, b"y\n"]), [Some(MAX_LINE), Some(1)]);
            assert_eq!(lengths(&[&over, end, b"y\n"]), [None, Some(1)]);
            assert_eq!(lengths(&[&over, &over, end, b"y\n"]), [None, Some(1)]);
            assert_eq!(lengths(&[&[&longest[..], end, b"y"].concat()]), [Some(MAX_LINE), Some(1)]);
            assert_eq!(lengths(&[&[&over[..], end, b"y"].concat()]), [None, Some(1)]);
        }
        assert_eq!(lengths(&[&over]), [None]);
    }
}
