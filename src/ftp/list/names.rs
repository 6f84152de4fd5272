//! Bare names: NLST (RFC 959 s.4.1.3).

use super::{EntryKind, Line, Parsed};
use crate::ftp::time::ListContext;

/// The line is the name. A path in front is dropped (vsftpd 3.0.3, ProFTPD 1.3.8 and pure-ftpd 1.0.50 repeat
/// the argument); a `/` at the end marks a directory. Without it the kind is not told, and a file is assumed.
pub(super) fn parse<'a>(line: &'a [u8], _: &ListContext) -> Line<'a> {
    if line.is_empty() {
        return Line::Noise;
    }
    let name = &line[..line.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1)];
    let kind = if name.len() < line.len() { EntryKind::Directory } else { EntryKind::File };
    let name = name.rsplit(|&b| b == b'/').next().unwrap_or(name);
    let kind = if name == b"." { EntryKind::Directory } else { kind };
    Line::Entry(Parsed::new(name, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    #[test]
    fn paths_and_marks_are_taken_off() {
        let context = ListContext { now: 0, zone: ListZone::UTC };
        for (line, name, kind) in [
            ("a.txt", "a.txt", EntryKind::File),
            (" a b ", " a b ", EntryKind::File),
            ("./a.txt", "a.txt", EntryKind::File),
            ("./sub/", "sub", EntryKind::Directory),
            ("/srv/pub/a.txt", "a.txt", EntryKind::File),
            ("pub/.", ".", EntryKind::Directory),
            ("pub/..", "..", EntryKind::File),
            ("/", "", EntryKind::Directory),
        ] {
            assert_eq!(
                parse(line.as_bytes(), &context),
                Line::Entry(Parsed::new(name.as_bytes(), kind)),
                "{line}"
            );
        }
        assert_eq!(parse(b"", &context), Line::Noise);
    }
}
