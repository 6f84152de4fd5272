//! Novell NetWare.
//!
//! ```text
//! d [RWCEAFMS] clerk            512 Mar 09 17:45 sys
//! - [R----F--] clerk         214059       Oct 20 15:27    cx.exe
//! kind rights  owner           size date            name
//! ```
//!
//! Rights are those of who is logged in and no Unix mode.

use super::dates;
use super::fields::{Fields, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::ListContext;

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    parse_entry(line, context).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry<'a>(line: &'a [u8], context: &ListContext) -> Option<Parsed<'a>> {
    let (kind, rest) = match line {
        [b'd' | b'D', rest @ ..] => (EntryKind::Directory, rest),
        [b'-', rest @ ..] => (EntryKind::File, rest),
        _ => return None,
    };
    let rights = rest.trim_ascii_start().strip_prefix(b"[")?;
    let end = memchr::memchr(b']', rights).filter(|end| (1..=16).contains(end))?;
    if !rights[..end].iter().all(|b| matches!(b, b'-' | b' ') || b.is_ascii_uppercase()) {
        return None;
    }
    let rest = &rights[end + 1..];
    let found = dates::find_date(&Fields::split(rest), kind, context)?;
    // One blank or four before the name, by version; none begins with a blank.
    let name = &rest[found.end..];
    let name = &name[name.iter().position(|b| !is_blank(*b)).filter(|gap| *gap > 0)?..];
    Some(Parsed { size: found.size.exact(), modified: found.modified, ..Parsed::new(name, kind) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn both_spacings() {
        for (line, kind, size, seconds, name) in [
            (
                "d [RWCEAFMS] clerk            512 Mar 09 17:45 sys",
                EntryKind::Directory,
                512,
                1_710_006_300,
                "sys",
            ),
            (
                "- [R----F--] clerk         214059       Oct 20 15:27    cx.exe",
                EntryKind::File,
                214_059,
                1_697_815_620,
                "cx.exe",
            ),
            ("-[R----F-] clerk.org 9 Mar  9 2001 a b", EntryKind::File, 9, 984_096_000, "a b"),
            ("- [--------] two words 9 Mar  9 2001 x", EntryKind::File, 9, 984_096_000, "x"),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind), (name.as_bytes(), kind), "{line}");
            assert_eq!((parsed.size, parsed.mode), (Some(size), None), "{line}");
            assert_eq!(parsed.modified.map(|modified| modified.seconds), Some(seconds), "{line}");
        }
        for line in [
            "",
            "d",
            "d [RWCEAFMS]",
            "d [RWCEAFMS] clerk 512 Mar 09 17:45",
            "d [lower] clerk 512 Mar 09 17:45 x",
            "d RWCEAFMS clerk 512 Mar 09 17:45 x",
            "drwxr-xr-x 2 clerk 512 Mar 09 17:45 x",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
