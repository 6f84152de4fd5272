//! OS-9 (Microware).
//!
//! ```text
//!  Owner   Last modified  Attributes Sector Bytecount Name
//! -------  -------------  ---------- ------ --------- ----
//!    1.0   24/03/09 1745   d-ewrewr     E0B      4096 BOX
//! ```

use super::fields::{Fields, decimal, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay, parse_numeric_date};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let fields = Fields::split(line);
    if matches!((fields.get(0), fields.get(1)), (Some(b"Owner"), Some(b"Last"))) {
        return Line::Noise;
    }
    parse_entry(line, &fields, context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(line: &'a [u8], fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let mut owner = fields.get(0)?.splitn(2, |&b| b == b'.');
    let (_group, _user) = (decimal(owner.next()?)?, decimal(owner.next()?)?);
    let [y1, y2, b'/', rest @ ..] = fields.get(1)? else { return None };
    // Year, month, day.
    let mut date = [b'2', b'0', *y1, *y2, b'/', 0, 0, 0, 0, 0];
    if *y1 >= b'7' {
        (date[0], date[1]) = (b'1', b'9');
    }
    date.get_mut(5..5 + rest.len())?.copy_from_slice(rest);
    let (year, month, day) = parse_numeric_date(&date[..5 + rest.len()])?;
    let time = match fields.get(2)? {
        [h1, h2, m1, m2] => TimeOfDay::parse(&[*h1, *h2, b':', *m1, *m2])?,
        time => TimeOfDay::parse(time)?,
    };
    let attributes = fields.get(3).filter(|text| text.len() == 8)?;
    if !attributes.iter().zip(b"dsewrewr").all(|(have, may)| *have == b'-' || have == may) {
        return None;
    }
    let is_directory = attributes[0] == b'd';
    let is_sector = fields.get(4)?.iter().all(u8::is_ascii_hexdigit);
    let size = decimal(fields.get(5)?)?;
    let name = &line[fields.end(5)?..];
    let name = &name[name.iter().position(|b| !is_blank(*b))?..];
    let kind = if is_directory { EntryKind::Directory } else { EntryKind::File };
    is_sector.then(|| Parsed {
        size: Some(size).filter(|_| !is_directory),
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
    fn directories_and_files() {
        for (line, kind, size, seconds, name) in [
            (
                "   1.0   24/03/09 1745   d-ewrewr     E0B      4096 BOX",
                EntryKind::Directory,
                None,
                1_710_006_300,
                "BOX",
            ),
            (
                "   0.12  94/09/14 16:09  ------wr     E0B    11113  a file",
                EntryKind::File,
                Some(11_113),
                779_558_940,
                "a file",
            ),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, size), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), Some(seconds), "{line}");
        }
        let heading = b" Owner   Last modified  Attributes Sector Bytecount Name";
        assert_eq!(parse(heading, &CONTEXT), Line::Noise);
        for line in [
            "",
            "1.0 24/03/09 1745 d-ewrewr E0B 4096",
            "1.0 24/03/09 1745 d-ewrewx E0B 4096 BOX",
            "1.0 24/13/09 1745 d-ewrewr E0B 4096 BOX",
            "1.0 24/03/09/09/09/09 1745 d-ewrewr E0B 4096 BOX",
            "lena 24/03/09 1745 d-ewrewr E0B 4096 BOX",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
