//! The protocol trace of `-o debug`: lines such as `#1 > RETR /x` and `#1 < 150 ...`.

use std::collections::BTreeMap;

/// One line that went over a control connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) connection: u32,
    /// Sent by us, else by the server.
    pub(crate) sent: bool,
    pub(crate) text: String,
}

impl Line {
    /// The command of a line that we sent, in upper case, without arguments.
    pub(crate) fn verb(&self) -> Option<String> {
        self.sent.then(|| self.text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase())
    }
}

/// Finds the protocol lines in a log, whatever stands before them.
pub(crate) fn parse(log: &str) -> Vec<Line> {
    log.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Line> {
    line.match_indices('#').find_map(|(at, _)| {
        let rest = &line[at + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let connection = rest[..digits].parse().ok()?;
        let rest = &rest[digits..];
        let (sent, text) = match rest.strip_prefix(" > ") {
            Some(text) => (true, text),
            None => (false, rest.strip_prefix(" < ")?),
        };
        Some(Line { connection, sent, text: text.to_owned() })
    })
}

/// How often each command was sent.
pub(crate) fn verbs(lines: &[Line]) -> BTreeMap<String, usize> {
    let mut verbs = BTreeMap::new();
    for verb in lines.iter().filter_map(Line::verb) {
        *verbs.entry(verb).or_default() += 1;
    }
    verbs
}

#[test]
fn protocol_lines_are_found_among_others() {
    let log = "[2026-01-01 DEBUG ftpfs] #3 > RETR /a #1 > b\nnoise # 1 > x\n#12 < 150 here\nno #x > y\n";
    let line = |connection, sent, text: &str| Line { connection, sent, text: text.into() };
    assert_eq!(parse(log), [line(3, true, "RETR /a #1 > b"), line(12, false, "150 here")]);
    assert_eq!(verbs(&parse(log)).into_iter().collect::<Vec<_>>(), [("RETR".to_owned(), 1)]);
}
