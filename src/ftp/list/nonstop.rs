//! HP NonStop (Tandem Guardian).
//!
//! ```text
//! File         Code             EOF  Last Modification    Owner  RWEP
//! NOTES         101             528  9-Mar-24 17:45:01 255,  4 "oooo"
//! ```

use super::dates::{day_of, month_of};
use super::fields::{Fields, decimal};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    if !line.ends_with(b"\"") {
        let is_heading = line.starts_with(b"File ") && line.trim_ascii_end().ends_with(b" RWEP");
        return if is_heading { Line::Noise } else { Line::Unknown };
    }
    parse_entry(&Fields::split(line), context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let name = fields.get(0).filter(|name| name.len() <= 8 && name.iter().all(u8::is_ascii_alphanumeric))?;
    let _code = decimal(fields.get(1)?)?;
    let size = decimal(fields.get(2)?)?;
    let mut date = fields.get(3)?.splitn(3, |&b| b == b'-');
    let (day, month, year) = (day_of(date.next()?)?, month_of(date.next()?)?, date.next()?);
    let year = i16::try_from(decimal(year).filter(|_| year.len() <= 4)?).ok()?;
    let year = match year {
        0..70 => 2000 + year,
        70..100 => 1900 + year,
        _ => year,
    };
    let time = TimeOfDay::parse(fields.get(4)?)?;
    let modified = context.at(year, month, day, Some(time));
    Some(Parsed { size: Some(size), modified, ..Parsed::new(name, EntryKind::File) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn files_of_a_subvolume() {
        for line in [
            "NOTES  101  528  9-Mar-24 17:45:01 255,4 \"oooo\"",
            "NOTES         101             528 09-Mar-2024 17:45:01 255,  4 \"nunu\"",
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind), (&b"NOTES"[..], EntryKind::File), "{line}");
            assert_eq!(parsed.size, Some(528), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), Some(1_710_006_301), "{line}");
        }
        let heading = b"File         Code             EOF  Last Modification    Owner  RWEP";
        assert_eq!(parse(heading, &CONTEXT), Line::Noise);
        for line in
            ["", "\"", "NOTES 101 528 9-Mar-24 17:45:01 255,4", "NOTES 101 528 9-Foo-24 17:45:01 \"o\""]
        {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
