//! Mode and time in numbers, as small servers print what stat(2) tells.
//!
//! ```text
//! 0100640 1001 100 512 1709999999 a.txt
//! mode    uid  gid size time      name
//! ```

use super::fields::{Fields, decimal, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, since_1970};

pub(super) fn parse<'a>(line: &'a [u8], _: &ListContext) -> Line<'a> {
    parse_entry(line).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry(line: &[u8]) -> Option<Parsed<'_>> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let fields = Fields::split(line);
    let mode = fields.get(0).filter(|mode| (5..=7).contains(&mode.len()))?;
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
    let kind = match mode & 0o170_000 {
        0o100_000 => EntryKind::File,
        0o040_000 => EntryKind::Directory,
        0o120_000 => EntryKind::Symlink,
        0o010_000 | 0o020_000 | 0o060_000 | 0o140_000 => EntryKind::Special,
        _ => return None,
    };
    let number = |at| fields.get(at).and_then(decimal);
    let (_uid, _gid, size) = (number(1)?, number(2)?, number(3)?);
    let modified = since_1970(number(4)?)?;
    // The columns behind the time are not the same everywhere; a name that begins with a blank is lost.
    let name = &line[fields.end(4)?..];
    let name = &name[name.iter().position(|b| !is_blank(*b))?..];
    Some(Parsed {
        size: Some(size).filter(|_| kind != EntryKind::Special),
        modified: Some(modified),
        mode: u16::try_from(mode & 0o7777).ok(),
        ..Parsed::new(name, kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::Fixed(3600) };

    #[test]
    fn kinds_by_the_mode() {
        for (line, kind, size, mode, name) in [
            ("0100640 1001 100 512 1709999999 a.txt", EntryKind::File, Some(512), 0o640, "a.txt"),
            ("0100640   1001  100     512    1709999999  a  b ", EntryKind::File, Some(512), 0o640, "a  b "),
            ("040755 0 0 4096 1709999999 box", EntryKind::Directory, Some(4096), 0o755, "box"),
            ("120777 0 0 3 1709999999 cur", EntryKind::Symlink, Some(3), 0o777, "cur"),
            ("0020666 0 0 0 1709999999 null", EntryKind::Special, None, 0o666, "null"),
            ("0104755 0 0 9 1709999999 su", EntryKind::File, Some(9), 0o4755, "su"),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind), (name.as_bytes(), kind), "{line}");
            assert_eq!((parsed.size, parsed.mode), (size, Some(mode)), "{line}");
            assert_eq!(parsed.modified.map(|modified| modified.seconds), Some(1_709_999_999), "{line}");
        }
        for line in [
            "",
            "0100640 1001 100 512 1709999999",
            "0100648 1001 100 512 1709999999 a",
            "0000640 1001 100 512 1709999999 a",
            "0100640 lena staff 512 1709999999 a",
            "+100640 1 1 512 1709999999 a",
            "0100640 1001 100 512 99999999999999999999 a",
            "0100640 1001 100 512 253402300800 a",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
