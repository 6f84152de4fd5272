//! OS/2.
//!
//! ```text
//!      0           DIR   03-09-24   17:45  BOX
//!   9730      A          03-09-124  17:45  a.txt
//! size  attributes       date       time   name
//! ```
//!
//! Years may be counted from 1900 with three digits.

use super::fields::{Fields, decimal, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    parse_entry(line, &Fields::split(line), context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(line: &'a [u8], fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let size = decimal(fields.get(0)?)?;
    let is_attribute = |field: &[u8]| field == b"DIR" || field.iter().all(|b| b"ARHSD".contains(b));
    let date = (1..5).find(|&at| !fields.get(at).is_some_and(is_attribute))?;
    let (year, month, day) = date_of(fields.get(date)?)?;
    let time = TimeOfDay::parse(fields.get(date + 1)?)?;
    let is_directory = (1..date).any(|at| fields.get(at) == Some(b"DIR"));
    let kind = if is_directory { EntryKind::Directory } else { EntryKind::File };
    let name = &line[fields.end(date + 1)?..];
    let name = &name[name.iter().position(|b| !is_blank(*b))?..];
    Some(Parsed {
        size: Some(size).filter(|_| !is_directory),
        modified: context.at(year, month, day, Some(time)),
        ..Parsed::new(name, kind)
    })
}

/// `03-09-24`, `03-09-124`; always two digits for month and day.
fn date_of(field: &[u8]) -> Option<(i16, i8, i8)> {
    let [m1, m2, b'-', d1, d2, b'-', year @ ..] = field else { return None };
    let small = |digits: &[u8]| decimal(digits).and_then(|number| i8::try_from(number).ok());
    let year = match (year.len(), i16::try_from(decimal(year)?).ok()?) {
        (2, year @ 0..70) => 2000 + year,
        (2 | 3, year) => 1900 + year,
        _ => return None,
    };
    Some((year, small(&[*m1, *m2])?, small(&[*d1, *d2])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn directories_and_files() {
        for (line, kind, size, name) in [
            ("  0  DIR    03-09-124  17:45  BOX", EntryKind::Directory, None, "BOX"),
            ("     0           DIR   03-09-24   17:45  two words", EntryKind::Directory, None, "two words"),
            ("  9730      A          03-09-24   17:45  a.txt", EntryKind::File, Some(9730), "a.txt"),
            ("  9730                 03-09-124  17:45  a.txt", EntryKind::File, Some(9730), "a.txt"),
            ("  9730  R   A          03-09-124  17:45  a.txt", EntryKind::File, Some(9730), "a.txt"),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, size), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), Some(1_710_006_300), "{line}");
        }
        for line in ["", "0 DIR", "0 DIR 03-09-24 17:45", "0 WHAT 03-09-24 17:45 x", "0 03-09-1 17:45 x"] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
