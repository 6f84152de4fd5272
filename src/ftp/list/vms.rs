//! OpenVMS.
//!
//! ```text
//! Directory DISK:[LENA]
//!
//! NOTES.TXT;3   12/15   9-MAR-2024 17:45:01  [LENA]  (RWED,RWED,RE,)
//! A_RATHER_LONG_NAME.TXT;1
//!               12      9-MAR-2024 17:45:01  [LENA]  (RWED,RWED,RE,)
//!
//! Total of 2 files, 24/30 blocks.
//! ```
//!
//! The fields behind the name come in any order and number. Sizes are in blocks of 512 bytes, so the size in
//! bytes is not told. A name stands without its version, which is the newest one to every command.

use super::dates::{day_of, month_of, year_of};
use super::fields::{Fields, decimal};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, Modified, TimeOfDay};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let Some(semicolon) = memchr::memchr(b';', line) else {
        return if is_noise(line) { Line::Noise } else { Line::Unknown };
    };
    let digits = line[semicolon + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
    let (name, rest) = (&line[..semicolon], &line[semicolon + 1 + digits..]);
    let version = decimal(&line[semicolon + 1..][..digits]);
    let is_apart = rest.first().is_none_or(u8::is_ascii_whitespace);
    // ODS-5 writes a blank in a name as `^_`, so none holds one.
    if version.is_none() || !is_apart || name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
        return Line::Unknown;
    }
    let rest = rest.trim_ascii();
    if rest.is_empty() {
        return Line::Begin;
    }
    let (name, kind) = match name.len().checked_sub(4).map(|at| name.split_at(at)) {
        Some((stem, suffix)) if !stem.is_empty() && suffix.eq_ignore_ascii_case(b".DIR") => {
            (stem, EntryKind::Directory)
        }
        _ => (name, EntryKind::File),
    };
    let parsed = Parsed { version, ..Parsed::new(name, kind) };
    // "%RMS-E-PRV, insufficient privilege or file protection violation": it is there, and no more is told.
    if rest.starts_with(b"%") || rest.eq_ignore_ascii_case(b"insufficient privilege") {
        return Line::Entry(parsed);
    }
    match facts(rest, context) {
        Some((modified, mode)) => Line::Entry(Parsed { modified, mode, ..parsed }),
        None => Line::Unknown,
    }
}

/// Date and protection; `None` unless every field is one that OpenVMS prints, a date among them.
fn facts(mut rest: &[u8], context: &ListContext) -> Option<(Option<Modified>, Option<u16>)> {
    let (mut date, mut time, mut mode) = (None, None, None);
    loop {
        rest = rest.trim_ascii_start();
        let end = match rest.first() {
            None => break,
            // The owner, which may hold blanks.
            Some(b'[') => memchr::memchr(b']', rest)? + 1,
            Some(b'(') => {
                let end = memchr::memchr(b')', rest)?;
                mode = protection(&rest[1..end]);
                end + 1
            }
            Some(_) => {
                let end = rest.iter().position(|b| b" \t[(".contains(b)).unwrap_or(rest.len());
                let field = &rest[..end];
                if let Some(found) = date_of(field) {
                    date = Some(found);
                } else if let Some(found) = TimeOfDay::parse(field) {
                    time = Some(found);
                } else if !is_blocks(field) {
                    return None;
                }
                end
            }
        };
        rest = &rest[end..];
    }
    let (year, month, day) = date?;
    Some((context.at(year, month, day, time), mode))
}

/// `9-MAR-2024`
fn date_of(field: &[u8]) -> Option<(i16, i8, i8)> {
    let mut parts = field.splitn(3, |&b| b == b'-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    Some((year_of(year)?, month_of(month)?, day_of(day)?))
}

/// `12`, or `12/15` where used and allocated blocks are told; `3.5KB` by newer versions.
fn is_blocks(field: &[u8]) -> bool {
    field[0].is_ascii_digit()
        && field.iter().all(|b| b.is_ascii_digit() || b"/.,KMGTB".contains(&b.to_ascii_uppercase()))
}

/// The mode of `RWED,RWED,RE,` (system, owner, group, world) or `S:RWED,O:RWED,G:RE,W`.
fn protection(text: &[u8]) -> Option<u16> {
    let mut bits = [0u16; 4];
    let mut classes = 0;
    for (class, part) in text.split(|&b| b == b',').enumerate() {
        let letters = match memchr::memchr(b':', part) {
            Some(colon) => &part[colon + 1..],
            None if text.contains(&b':') => b"",
            None => part,
        };
        let has = |letter| letters.iter().any(|b| b.eq_ignore_ascii_case(&letter));
        *bits.get_mut(class)? = u16::from(has(b'R')) * 4 + u16::from(has(b'W')) * 2 + u16::from(has(b'E'));
        classes += 1;
    }
    (classes == 4).then(|| bits[1] << 6 | bits[2] << 3 | bits[3])
}

fn is_noise(line: &[u8]) -> bool {
    let fields = Fields::split(line);
    match (fields.get(0), fields.get(1), fields.get(2)) {
        (None, ..) => true,
        (Some(b"Directory"), Some(name), _) => name.ends_with(b"]"),
        (Some(b"Total"), Some(b"of"), Some(count)) => decimal(count).is_some(),
        (Some(b"Grand"), Some(b"total"), Some(b"of")) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn fields_in_any_order_and_number() {
        let at = Some(1_710_006_301);
        let day = Some(1_709_942_400);
        for (line, name, kind, seconds, mode) in [
            (
                "NOTES.TXT;3   12/15   9-MAR-2024 17:45:01  [LENA]  (RWED,RWED,RE,)",
                "NOTES.TXT",
                EntryKind::File,
                at,
                Some(0o750),
            ),
            (
                "NOTES.TXT;3  12  9-MAR-2024 17:45:01.00 [LENA,STAFF OF IT](S:RWED,O:RWE,G:R,W)",
                "NOTES.TXT",
                EntryKind::File,
                at,
                Some(0o740),
            ),
            (
                "box.dir;1 [LENA] 9-MAR-2024 17:45:01 1 (RWE,RWE,RE,E)",
                "box",
                EntryKind::Directory,
                at,
                Some(0o751),
            ),
            ("NOTES.TXT;32767 9-MAR-2024 3.5KB", "NOTES.TXT", EntryKind::File, day, None),
            ("A^_B.;1 9-MAR-2024", "A^_B.", EntryKind::File, day, None),
            (".DIR;1 9-MAR-2024", ".DIR", EntryKind::File, day, None),
            (
                "LOCKED.TXT;1  %RMS-E-PRV, insufficient privilege or file protection violation",
                "LOCKED.TXT",
                EntryKind::File,
                None,
                None,
            ),
            ("BOX.DIR;1  insufficient privilege", "BOX", EntryKind::Directory, None, None),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, None), "{line}");
            assert_eq!((parsed.modified.map(|m| m.seconds), parsed.mode), (seconds, mode), "{line}");
        }
    }

    #[test]
    fn a_name_alone_begins_an_entry() {
        for line in ["A_RATHER_LONG_NAME.TXT;1", "A.TXT;1  "] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Begin, "{line}");
        }
    }

    #[test]
    fn what_is_no_entry() {
        for line in ["", " ", "Directory DISK:[LENA]", "Total of 2 files, 24/30 blocks.", "Grand total of 2"]
        {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Noise, "{line}");
        }
        for line in [
            "NOTES.TXT; 9-MAR-2024",
            ";1 9-MAR-2024",
            "A B.TXT;1 9-MAR-2024",
            "NOTES.TXT;1x 9-MAR-2024",
            "NOTES.TXT;1 12/15",
            "NOTES.TXT;1 B.TXT;1 9-MAR-2024",
            "NOTES.TXT;1 9-MAR-2024 [LENA",
            "NOTES.TXT;1 9-MAR-2024 (RWED",
            "-rw-r--r-- 1 lena staff 5 Feb  3 07:41 a;1",
            "type=file;size=5; a",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
