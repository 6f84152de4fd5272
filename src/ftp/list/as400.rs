//! AS/400 (IBM i), in its own form; with NAMEFMT 1 paths.
//!
//! ```text
//! LENA            8192 24-03-09 17:45:01 *STMF      notes.txt
//! LENA            8192 03/09/24 17:45:01 *DIR       box/
//! LENA                                   *MEM       SRC.FILE/A.MBR
//! owner           size date     time     type       name
//! ```

use super::fields::{Fields, decimal, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, Modified, TimeOfDay};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    parse_entry(line, context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(line: &'a [u8], context: &ListContext) -> Option<Parsed<'a>> {
    // The mark of a type, cheaper than the fields.
    memchr::memmem::find(line, b" *")?;
    let fields = Fields::split(line);
    let is_owner = |text: &[u8]| text.len() <= 10 && text[0].is_ascii_alphabetic();
    fields.get(0).filter(|owner| is_owner(owner))?;
    let (at, size, modified) = match fields.get(1)? {
        [b'*', ..] => (1, None, None),
        size => (4, Some(decimal(size)?), modified(fields.get(2)?, fields.get(3)?, context)?),
    };
    let type_name = fields.get(at)?;
    let kind = kind(type_name)?;
    let name = &line[fields.end(at)?..];
    let name = &name[name.iter().position(|b| !is_blank(*b))?..];
    let (name, kind) = match (name, kind) {
        ([name @ .., b'/'], _) => (name, EntryKind::Directory),
        // Save files hold no members: they are read as a whole.
        (name, EntryKind::Directory) if has_suffix(name, b".SAVF") => (name, EntryKind::File),
        (name, kind) => (name, kind),
    };
    // A library's listing shows the members below each of its files.
    let (inside, name) = match name.iter().rposition(|&b| b == b'/') {
        Some(slash) => (Some(&name[..slash]), &name[slash + 1..]),
        None => (None, name),
    };
    // What QSYS.LIB tells of its objects is the space that they take; only stream files have a length.
    let is_stream = type_name.eq_ignore_ascii_case(b"*STMF") || type_name.eq_ignore_ascii_case(b"*DSTMF");
    let size = size.filter(|_| is_stream);
    Some(Parsed { size, modified, inside, ..Parsed::new(name, kind) })
}

/// What a type of object is to FTP: directories, files with members, what holds bytes, and the rest, which can
/// be seen and not read.
fn kind(text: &[u8]) -> Option<EntryKind> {
    let name = text.strip_prefix(b"*")?;
    if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    Some(match &name.to_ascii_uppercase()[..] {
        b"DIR" | b"DDIR" | b"LIB" | b"FLR" | b"FILE" => EntryKind::Directory,
        b"STMF" | b"DSTMF" | b"MEM" | b"DOC" => EntryKind::File,
        b"SYMLNK" => EntryKind::Symlink,
        _ => EntryKind::Special,
    })
}

/// The order of year, month and day.
#[derive(Clone, Copy)]
enum Order {
    Ymd,
    Mdy,
    Dmy,
}

/// The date by the job's locale, whose usual order goes with the mark; one that would lie in the future is in
/// another order. `None` for what is no date at all, `Some(None)` for one that can be read in two ways.
fn modified(date: &[u8], time: &[u8], context: &ListContext) -> Option<Option<Modified>> {
    use Order::{Dmy, Mdy, Ymd};
    let time = TimeOfDay::parse(time)?;
    let mark = *date.iter().find(|b| !b.is_ascii_digit())?;
    let [usual, others @ ..] = match mark {
        b'-' => [Ymd, Dmy, Mdy],
        b'/' => [Mdy, Ymd, Dmy],
        b'.' => [Dmy, Ymd, Mdy],
        _ => return None,
    };
    let mut parts = date.splitn(3, |&b| b == mark);
    let parts = [parts.next()?, parts.next()?, parts.next()?];
    let numbers = [small(parts[0])?, small(parts[1])?, small(parts[2])?];
    let longest = parts.iter().map(|part| part.len()).max()?;
    let read = |order| {
        let [year, month, day] = match order {
            Ymd => [0, 1, 2],
            Mdy => [2, 0, 1],
            Dmy => [2, 1, 0],
        };
        let year = match (parts[year].len(), numbers[year]) {
            (len, _) if len < longest => return None,
            (1 | 2, short @ 0..70) => 2000 + short,
            (1 | 2, short) => 1900 + short,
            (_, full) => full,
        };
        let (month, day) = (i8::try_from(numbers[month]).ok()?, i8::try_from(numbers[day]).ok()?);
        let modified = context.at(year, month, day, Some(time))?;
        (modified.seconds <= context.now.saturating_add(86_400)).then_some(modified)
    };
    Some(read(usual).or_else(|| match others.map(read) {
        [Some(one), None] | [None, Some(one)] => Some(one),
        _ => None,
    }))
}

fn small(digits: &[u8]) -> Option<i16> {
    decimal(digits).filter(|_| digits.len() <= 4).and_then(|number| i16::try_from(number).ok())
}

fn has_suffix(name: &[u8], suffix: &[u8]) -> bool {
    name.len() > suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    /// 2024-03-09 17:45:01 UTC
    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    fn entry(line: &str) -> Parsed<'_> {
        match parse(line.as_bytes(), &CONTEXT) {
            Line::Entry(parsed) => parsed,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn types_of_objects() {
        for (kind_and_name, kind, size, name, inside) in [
            ("*STMF  notes.txt", EntryKind::File, Some(8192), "notes.txt", None),
            ("*STMF      a *b ", EntryKind::File, Some(8192), "a *b ", None),
            ("*DIR       box/", EntryKind::Directory, None, "box", None),
            ("*LIB       LENA.LIB", EntryKind::Directory, None, "LENA.LIB", None),
            ("*FILE      SRC.FILE", EntryKind::Directory, None, "SRC.FILE", None),
            ("*FILE      BACKUP.SAVF", EntryKind::File, None, "BACKUP.SAVF", None),
            ("*PGM       RUN.PGM", EntryKind::Special, None, "RUN.PGM", None),
            ("*SYMLNK    cur", EntryKind::Symlink, None, "cur", None),
            ("*MEM       SRC.FILE/A.MBR", EntryKind::File, None, "A.MBR", Some("SRC.FILE")),
        ] {
            let line = format!("LENA   8192 24-03-09 17:45:01 {kind_and_name}");
            let parsed = entry(&line);
            assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, size), "{line}");
            assert_eq!(parsed.inside, inside.map(str::as_bytes), "{line}");
            assert_eq!(parsed.modified.map(|modified| modified.seconds), Some(1_710_006_301), "{line}");
        }
        let member = entry("LENA  *MEM  SRC.FILE/A.MBR");
        assert_eq!((member.name, member.size, member.modified), (&b"A.MBR"[..], None, None));
        assert_eq!(member.inside, Some(&b"SRC.FILE"[..]));
    }

    #[test]
    fn dates_by_locale() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        for (date, expected) in [
            ("24-03-09", Some("2024-03-09T17:45:01Z")),
            ("2024-03-09", Some("2024-03-09T17:45:01Z")),
            ("09-03-24", Some("2009-03-24T17:45:01Z")),
            ("31-12-23", Some("2023-12-31T17:45:01Z")),
            ("03/09/24", Some("2024-03-09T17:45:01Z")),
            ("12/06/23", Some("2023-12-06T17:45:01Z")),
            ("31/12/23", Some("2023-12-31T17:45:01Z")),
            // December 2024 is not past; 12 February 2024 and 24 February 2012 are.
            ("12/02/24", None),
            ("24/02/28", Some("2024-02-28T17:45:01Z")),
            ("70/12/31", Some("1970-12-31T17:45:01Z")),
            ("09.03.24", Some("2024-03-09T17:45:01Z")),
            ("09.03.2024", Some("2024-03-09T17:45:01Z")),
        ] {
            let line = format!("LENA 1 {date} 17:45:01 *STMF x");
            assert_eq!(entry(&line).modified.map(|m| m.seconds), expected.map(at), "{date}");
        }
    }

    #[test]
    fn what_is_no_entry() {
        for line in [
            "",
            "LENA",
            "LENA *",
            "LENA *MEM",
            "LENA *MEM ",
            "LENA 8192 24-03-09 17:45:01 notes.txt",
            "LENA 8192 24-03-09 *STMF x",
            "LENA big 24-03-09 17:45:01 *STMF x",
            "-rw-r--r-- 1 lena staff 5 Feb  3 07:41 a *b",
            "03-09-24  05:45PM 5 a *b c",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
