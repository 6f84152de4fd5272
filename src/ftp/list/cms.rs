//! z/VM CMS.
//!
//! ```text
//! NOTES    SCRIPT   A1 V      80      21      1 2024-03-09 17:45:01 LENA1
//! name     type     mode, format, record length, records, blocks, date and time, label
//! ```
//!
//! A file is opened as `NOTES.SCRIPT`. Records may be shorter than the longest, so the size in bytes is not told.

use super::fields::{Fields, decimal};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay, parse_numeric_date};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    parse_entry(&Fields::split(line), context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let (name, file_type) = (fields.get(0)?, fields.get(1)?);
    if name.len() > 8 || file_type.len() > 8 {
        return None;
    }
    let is_mode = matches!(fields.get(2)?, [b'A'..=b'Z'] | [b'A'..=b'Z', b'0'..=b'6']);
    let is_format = matches!(fields.get(3)?, b"V" | b"F");
    let has_counts = (4..7).all(|at| fields.get(at).and_then(decimal).is_some());
    let (year, month, day) = parse_numeric_date(fields.get(7)?)?;
    let time = TimeOfDay::parse(fields.get(8)?)?;
    (is_mode && is_format && has_counts).then(|| Parsed {
        name_end: Some(file_type),
        modified: context.at(year, month, day, Some(time)),
        ..Parsed::new(name, EntryKind::File)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn files_of_a_minidisk() {
        for line in [
            "NOTES SCRIPT A1 V 80 21 1 2024-03-09 17:45:01 LENA1",
            "NOTES    SCRIPT   A  F      80      21      1  3/09/24 17:45:01 -",
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.name_end), (&b"NOTES"[..], Some(&b"SCRIPT"[..])), "{line}");
            assert_eq!((parsed.kind, parsed.size), (EntryKind::File, None), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), Some(1_710_006_301), "{line}");
        }
        for line in [
            "",
            "NOTES SCRIPT A1 V 80 21 1 2024-03-09",
            "NOTES SCRIPT A1 X 80 21 1 2024-03-09 17:45:01",
            "NOTES SCRIPT AA V 80 21 1 2024-03-09 17:45:01",
            "NOTES SCRIPT A1 V 80 21 x 2024-03-09 17:45:01",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
