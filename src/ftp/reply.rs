//! Replies on the control connection (RFC 959 s.4.2): bytes in, replies out, bounded.

use std::fmt;

/// Longest reply line taken, in bytes. An MLST line holds a path (4096 at most) and its facts.
const LINE_MAX: usize = 16 * 1024;
/// Largest reply taken, in bytes; FEAT and banners are the long ones.
const REPLY_MAX: usize = 256 * 1024;
/// Telnet "interpret as command" (RFC 854).
const IAC: u8 = 255;

/// One reply: its code and its lines without the line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<Box<[u8]>>,
}

impl Reply {
    /// The three-digit code, 100 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// 1xx: the action has begun, another reply follows.
    pub fn is_preliminary(&self) -> bool {
        self.code / 100 == 1
    }

    /// 2xx.
    pub fn is_completion(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3xx: the server waits for the next command of a sequence.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4xx: no, but it may work later.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// The text of the first line, after the code.
    pub fn text(&self) -> &[u8] {
        self.lines.first().and_then(|line| line.get(4..)).unwrap_or(&[])
    }

    /// All lines, the first and the last with their codes.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(|line| &line[..])
    }

    /// Replaces `secret` in the texts: some servers repeat a command that they refuse, a password too. One that is
    /// shorter than four bytes is left, since parts of other words would go with it.
    pub(crate) fn hide(&mut self, secret: &[u8]) {
        const SHORTEST: usize = 4;
        if secret.len() < SHORTEST {
            return;
        }
        for line in &mut self.lines {
            let mut from = 0;
            while let Some(at) = memchr::memmem::find(&line[from..], secret).map(|at| from + at) {
                *line = [&line[..at], b"***", &line[at + secret.len()..]].concat().into();
                from = at + b"***".len();
            }
        }
    }

    /// Whether any line contains `words`, whatever the case (ASCII).
    pub fn says(&self, words: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words.as_bytes())))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.lines.last().map_or(&[][..], |line| line);
        let shown = &line[..line.len().min(300)];
        write!(f, "{}", String::from_utf8_lossy(shown))
    }
}

/// Why the bytes are not replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A line that should begin a reply has no code of 100 to 599.
    NoCode,
    /// A line is longer than 16 KiB.
    LineTooLong,
    /// A reply is longer than 256 KiB.
    TooLong,
}

impl ReplyError {
    /// The fault in words.
    pub fn as_str(self) -> &'static str {
        match self {
            ReplyError::NoCode => "a reply does not begin with a code",
            ReplyError::LineTooLong => "a reply line is longer than 16 KiB",
            ReplyError::TooLong => "a reply is longer than 256 KiB",
        }
    }
}

/// Takes the inner lines of a reply, without their line ends.
pub type Lines<'a> = dyn FnMut(&[u8]) + 'a;

/// Turns the bytes of the control connection into replies.
///
/// Lines may end with a bare LF. A multi-line reply ends with its own code and a blank, whatever digits other
/// lines begin with (pure-ftpd prints banners that do). `IAC IAC` is one 0xFF (vsftpd doubles it in names),
/// telnet negotiation in front of a line is dropped.
#[derive(Debug, Default)]
pub struct ReplyParser {
    line: Vec<u8>,
    begun: Option<(u16, Vec<Box<[u8]>>)>,
    taken: usize,
}

impl ReplyParser {
    /// Takes bytes up to the end of one reply; returns how many were used and the reply, if it is whole.
    ///
    /// # Errors
    /// The bytes cannot be a reply; the connection is of no further use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Reply>), ReplyError> {
        self.push_lines(bytes, None)
    }

    /// As [`ReplyParser::push`], but the lines between the first and the last are given to `inner` instead of kept,
    /// however many they are.
    ///
    /// # Errors
    /// As [`ReplyParser::push`].
    pub fn push_lines(
        &mut self,
        bytes: &[u8],
        mut inner: Option<&mut Lines<'_>>,
    ) -> Result<(usize, Option<Reply>), ReplyError> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let (part, ended) = match memchr::memchr(b'\n', rest) {
                Some(at) => (&rest[..at], true),
                None => (rest, false),
            };
            if self.line.len() + part.len() > LINE_MAX {
                return Err(ReplyError::LineTooLong);
            }
            self.line.extend_from_slice(part);
            used += part.len() + usize::from(ended);
            if ended {
                let line = clean(std::mem::take(&mut self.line));
                // Not `as_deref_mut`, which would not let go of the borrow.
                let inner: Option<&mut Lines<'_>> = match &mut inner {
                    Some(inner) => Some(&mut **inner),
                    None => None,
                };
                if let Some(reply) = self.take_line(line, inner)? {
                    return Ok((used, Some(reply)));
                }
            }
        }
        Ok((used, None))
    }

    /// Whether some, but not all of a reply has been taken.
    pub fn is_inside(&self) -> bool {
        !self.line.is_empty() || self.begun.is_some()
    }

    fn take_line(
        &mut self,
        line: Vec<u8>,
        inner: Option<&mut Lines<'_>>,
    ) -> Result<Option<Reply>, ReplyError> {
        let start = code_of(&line);
        if let (Some((code, _)), Some(inner)) = (&self.begun, inner)
            && start != Some((*code, false))
        {
            inner(&line);
            return Ok(None);
        }
        self.taken += line.len() + 2;
        if self.taken > REPLY_MAX {
            return Err(ReplyError::TooLong);
        }
        match self.begun.take() {
            None => {
                // Blank lines between replies are seen from servers that end lines with CR CR LF.
                if line.is_empty() {
                    return Ok(None);
                }
                let (code, more) = start.ok_or(ReplyError::NoCode)?;
                if more {
                    self.begun = Some((code, vec![line.into()]));
                    return Ok(None);
                }
                self.taken = 0;
                Ok(Some(Reply { code, lines: vec![line.into()] }))
            }
            Some((code, mut lines)) => {
                lines.push(line.into());
                if start == Some((code, false)) {
                    self.taken = 0;
                    return Ok(Some(Reply { code, lines }));
                }
                self.begun = Some((code, lines));
                Ok(None)
            }
        }
    }
}

/// The code at the start of a line, and whether a `-` says that more lines follow.
fn code_of(line: &[u8]) -> Option<(u16, bool)> {
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&code) {
        return None;
    }
    match line.get(3) {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

/// Removes the line's CR (one, names may end in another), telnet negotiation in front, doubled IAC, and the
/// NUL after a CR (RFC 854).
fn clean(mut line: Vec<u8>) -> Vec<u8> {
    // CR NUL LF: a server that sends its CR as telnet wants a lone one (RFC 854).
    if line.ends_with(b"\r\0") {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let mut start = 0;
    while line.len() >= start + 3 && line[start] == IAC && (251..=254).contains(&line[start + 1]) {
        start += 3;
    }
    line.drain(..start);
    if line.contains(&IAC) || line.contains(&0) {
        let mut kept = Vec::with_capacity(line.len());
        let mut bytes = line.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            kept.push(byte);
            // Of two pairs, two bytes stay.
            match byte {
                IAC => bytes.next_if_eq(&IAC),
                b'\r' => bytes.next_if_eq(&0),
                _ => None,
            };
        }
        return kept;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let (mut parser, mut replies, mut at) = (ReplyParser::default(), Vec::new(), 0);
        while at < bytes.len() {
            let (used, reply) = parser.push(&bytes[at..])?;
            at += used;
            replies.extend(reply);
        }
        Ok(replies)
    }

    #[test]
    fn a_secret_that_a_server_repeats_is_hidden() {
        for (secret, shown) in [
            ("hunter2", "500-PASS ***: not understood\n500 *** ***"),
            ("hun", "500-PASS hunter2: not understood\n500 hunter2 hunter2"),
            ("", "500-PASS hunter2: not understood\n500 hunter2 hunter2"),
        ] {
            let mut reply =
                all(b"500-PASS hunter2: not understood\r\n500 hunter2 hunter2\r\n").unwrap().remove(0);
            reply.hide(secret.as_bytes());
            let lines: Vec<_> = reply.lines().map(String::from_utf8_lossy).collect();
            assert_eq!((reply.code(), lines.join("\n")), (500, shown.to_owned()));
        }
    }

    #[test]
    fn replies_as_servers_send_them() {
        type Row = (&'static [u8], &'static [(u16, usize)]);
        let table: &[Row] = &[
            (b"220 (vsFTPd 3.0.3)\r\n", &[(220, 1)]),
            (b"220-one\r\n220 two\r\n331 pw\r\n", &[(220, 2), (331, 1)]),
            (b"220-a\r\n221 not the end\r\n 220 nor this\r\n220-nor this\r\n220 end\r\n", &[(220, 5)]),
            (b"200\n230 bare LF\n", &[(200, 1), (230, 1)]),
            (b"\xff\xfb\x01220 telnet\r\n", &[(220, 1)]),
            (b"\r\n220 after a blank line\r\n", &[(220, 1)]),
            (b"257 \"\xff\xff\xe9\" not UTF-8\r\n", &[(257, 1)]),
            (b"220-Gr\xfc\xdfe\r\n\x8f\xe0 1251\r\n220 \xe9\r\n", &[(220, 3)]),
            (b"220-a\r\0\n220 b\r\0\n331 c\r\n", &[(220, 2), (331, 1)]),
        ];
        for (bytes, expected) in table {
            let replies = all(bytes).unwrap();
            let got: Vec<_> = replies.iter().map(|r| (r.code(), r.lines().count())).collect();
            assert_eq!(&got, expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn inner_lines_are_given_away_however_many() {
        let mut bytes = b"213-Status follows:\r\n".to_vec();
        for _ in 0..100_000 {
            bytes.extend_from_slice(b"213 is\x20no end where it lacks the blank\r\n".split_at(3).1);
        }
        bytes.extend_from_slice(b"213 End\r\n200 ok\r\n");
        let (mut lines, mut parser) = (0, ReplyParser::default());
        let mut count = |line: &[u8]| lines += usize::from(line.ends_with(b"blank"));
        let (used, reply) = parser.push_lines(&bytes, Some(&mut count)).unwrap();
        let reply = reply.unwrap();
        assert_eq!((reply.code(), reply.lines().count(), lines), (213, 2, 100_000));
        assert_eq!(&bytes[used..], b"200 ok\r\n");
    }

    #[test]
    fn doubled_iac_is_one_byte() {
        assert_eq!(all(b"250 \xff\xffx\r\n").unwrap()[0].text(), b"\xffx");
        assert_eq!(all(b"250 \xff\xff\xff\xffx\r\n").unwrap()[0].text(), b"\xff\xffx");
    }

    #[test]
    fn a_cr_in_a_name_keeps_and_a_line_end_loses_its_nul() {
        assert_eq!(all(b"250 x\r\0y\r\0\r\n").unwrap()[0].text(), b"x\ry\r");
        assert_eq!(all(b"250 x\r\0\n").unwrap()[0].text(), b"x");
        assert_eq!(all(b"250 x\r\0\0y\r\n").unwrap()[0].text(), b"x\r\0y");
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for bad in [&b"hello\r\n"[..], b"12\r\n", b"999 x\r\n", b"099 x\r\n", b"220x\r\n"] {
            assert_eq!(all(bad), Err(ReplyError::NoCode), "{bad:?}");
        }
        assert_eq!(all(&vec![b'2'; 100_000]), Err(ReplyError::LineTooLong));
        let mut endless = b"220-\r\n".to_vec();
        for _ in 0..300_000 {
            endless.extend_from_slice(b"x\r\n");
        }
        assert_eq!(all(&endless), Err(ReplyError::TooLong));
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_stays_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = all(&bytes);
        }

        #[test]
        fn chunk_borders_do_not_matter(
            texts in proptest::collection::vec("[ -~]{0,40}", 1..6),
            code in 100u16..600,
            cut in 0usize..200,
        ) {
            let mut bytes = Vec::new();
            for (i, text) in texts.iter().enumerate() {
                let mark = if i + 1 == texts.len() { ' ' } else { '-' };
                bytes.extend_from_slice(format!("{code}{mark}{text}\r\n").as_bytes());
            }
            let whole = all(&bytes).unwrap();
            let cut = cut.min(bytes.len());
            let mut parser = ReplyParser::default();
            let mut pieces = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let mut at = 0;
                while at < piece.len() {
                    let (used, reply) = parser.push(&piece[at..]).unwrap();
                    at += used;
                    pieces.extend(reply);
                }
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
