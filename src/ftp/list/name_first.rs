//! Small servers on Windows 3 that print the name first: SuperTCP, Chameleon, WFTP.
//!
//! ```text
//! BOX           <DIR>       03-09-24     17:45
//! BOX           <DIR>       Mar  9 2024  17:45
//! A.TXT           204       03/09/24 Sat. 17:45
//! ```
//!
//! Names are those of DOS and hold no blanks.

use super::dates::{day_of, year_of};
use super::fields::{Fields, Size};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay, month_number, parse_numeric_date};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    parse_entry(&Fields::split(line), context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let name = fields.get(0)?;
    let (kind, size) = match fields.get(1)? {
        b"<DIR>" => (EntryKind::Directory, None),
        size => (EntryKind::File, Some(Size::parse(size)?)),
    };
    let ((year, month, day), next) = match month_number(fields.get(2)?) {
        Some(month) => ((year_of(fields.get(4)?)?, month, day_of(fields.get(3)?)?), 5),
        None => (parse_numeric_date(fields.get(2)?)?, 3),
    };
    // The day of the week.
    let next = next + usize::from(fields.get(next)?.ends_with(b"."));
    let time = TimeOfDay::parse(fields.get(next)?)?;
    // The attributes of DOS may follow, and nothing else.
    let is_attributes = |field: &[u8]| field.iter().all(|b| b"-rahs".contains(&b.to_ascii_lowercase()));
    let is_last =
        fields.len() == next + 1 || (fields.len() == next + 2 && is_attributes(fields.get(next + 1)?));
    is_last.then(|| Parsed {
        size: size.and_then(Size::exact),
        modified: context.at(year, month, day, Some(time)),
        ..Parsed::new(name, kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn dates_in_three_forms() {
        for (line, kind, size, name) in [
            ("BOX <DIR> 03-09-24 17:45", EntryKind::Directory, None, "BOX"),
            ("BOX             <DIR>           Mar  9 2024 17:45", EntryKind::Directory, None, "BOX"),
            ("A.TXT          11264      03-09-24        17:45", EntryKind::File, Some(11_264), "A.TXT"),
            ("A.TXT     11264     Mar 09 2024 17:45     -a--", EntryKind::File, Some(11_264), "A.TXT"),
            ("A.TXT  204  03/09/24 Sat. 17:45", EntryKind::File, Some(204), "A.TXT"),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, size), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), Some(1_710_006_300), "{line}");
        }
        for line in [
            "",
            "BOX <DIR> 03-09-24",
            "BOX <DIR> 03-09-24 17:45 more",
            "BOX big 03-09-24 17:45",
            "BOX 5 24:00 17:45",
            "-rw-r--r-- 1 lena staff 5 Feb  3 07:41 x",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
