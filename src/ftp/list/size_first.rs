//! Small servers that print the size, an English date and the name: VxWorks and VShell.
//!
//! ```text
//! 512  MAR-09-2024 17:45:01  box <DIR>
//! 204 Mar 09, 2024 17:45 a.txt
//! ```

use super::dates::{day_of, year_of};
use super::fields::{Fields, decimal, is_blank, trim_blanks_end};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay, month_number};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let fields = Fields::split(line);
    if matches!((fields.get(0), fields.get(1)), (Some(b"size"), Some(b"date"))) || is_rule(line) {
        return Line::Noise;
    }
    parse_entry(line, &fields, context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(line: &'a [u8], fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let size = decimal(fields.get(0)?)?;
    let date = fields.get(1)?;
    let (month, day, year, next) = match date {
        [month @ .., b'-', d1, d2, b'-', _, _, _, _] => {
            (month_number(month)?, day_of(&[*d1, *d2])?, year_of(&date[date.len() - 4..])?, 2)
        }
        month => {
            let day = fields.get(2)?.strip_suffix(b",")?;
            (month_number(month)?, day_of(day)?, year_of(fields.get(3)?)?, 4)
        }
    };
    let time = TimeOfDay::parse(fields.get(next)?)?;
    let name = &line[fields.end(next)?..];
    let name = &name[name.iter().position(|b| !is_blank(*b))?..];
    let (name, kind) = match (trim_blanks_end(name).strip_suffix(b"<DIR>"), name) {
        (Some(name), _) => (trim_blanks_end(name), EntryKind::Directory),
        (None, [name @ .., b'/']) => (name, EntryKind::Directory),
        (None, name) => (name, EntryKind::File),
    };
    Some(Parsed {
        size: Some(size).filter(|_| kind == EntryKind::File),
        modified: context.at(year, month, day, Some(time)),
        ..Parsed::new(name, kind)
    })
}

/// VxWorks underlines its heading.
fn is_rule(line: &[u8]) -> bool {
    line.trim_ascii().starts_with(b"---") && line.iter().all(|b| is_blank(*b) || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn both_dates() {
        for (line, kind, size, name) in [
            ("512  MAR-09-2024 17:45:00  box <DIR>", EntryKind::Directory, None, "box"),
            (
                "      512    Mar-09-2024  17:45:00   box               <DIR>",
                EntryKind::Directory,
                None,
                "box",
            ),
            ("0 MAR-09-2024 17:45:00 box\x0c \t<DIR> ", EntryKind::Directory, None, "box\x0c"),
            ("204 MAR-09-2024 17:45:00 a b.txt", EntryKind::File, Some(204), "a b.txt"),
            ("204 Mar 09, 2024 17:45 a.txt", EntryKind::File, Some(204), "a.txt"),
            ("0 Mar 9, 2024 17:45:00 box/", EntryKind::Directory, None, "box"),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, size), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), Some(1_710_006_300), "{line}");
        }
        for line in
            ["  size          date       time       name", "--------       ------     ------    --------"]
        {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Noise, "{line}");
        }
        for line in [
            "",
            "total 5",
            "512 MAR-09-2024 17:45:00",
            "512 FOO-09-2024 17:45:00 x",
            "512 Mar 09 2024 17:45 x",
            "512 9-MAR-2024 17:45 x",
            "-----x",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
