//! The `dir` of DOS, as IIS and its imitators print it.
//!
//! ```text
//! 03-09-24  05:45PM       <DIR>          inbox
//! 03-09-24  05:45PM                 9730 a.txt
//! date      time          size or mark   name
//! ```

use super::fields::{Fields, Size, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay, parse_numeric_date};

/// Columns from the start of a mark to the name: `<DIR>` is followed by ten blanks (IIS 5 to 10, cmd.exe).
const MARK_WIDTH: usize = 15;

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let fields = Fields::split(line);
    let Some(parsed) = parse_entry(line, &fields, context) else {
        return if is_noise(&fields) { Line::Noise } else { Line::Unknown };
    };
    Line::Entry(parsed)
}

fn parse_entry<'a>(line: &'a [u8], fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let (year, month, day) = parse_numeric_date(fields.get(0)?)?;
    let (time, next) = time_at(fields)?;
    let mut parsed = match (fields.get(next)?, fields.start(next)?) {
        (mark @ [b'<', .., b'>'], start) => {
            let kind = if mark.eq_ignore_ascii_case(b"<DIR>") {
                EntryKind::Directory
            } else if [&b"<JUNCTION>"[..], b"<SYMLINK>", b"<SYMLINKD>"]
                .iter()
                .any(|m| mark.eq_ignore_ascii_case(m))
            {
                EntryKind::Symlink
            } else {
                return None;
            };
            let (name, link_target) = match kind {
                EntryKind::Symlink => split_link(name_after_mark(line, start, start + mark.len())?),
                _ => (name_after_mark(line, start, start + mark.len())?, None),
            };
            Parsed { link_target, ..Parsed::new(name, kind) }
        }
        (size, _) => {
            let size = Size::parse(size)?;
            let name = line.get(fields.end(next)? + 1..)?;
            Parsed { size: size.exact(), ..Parsed::new(name, EntryKind::File) }
        }
    };
    parsed.modified = context.at(year, month, day, Some(time));
    Some(parsed)
}

/// The time and the number of the field behind it: `05:45PM`, `05:45 PM` or `17:45`.
fn time_at(fields: &Fields<'_>) -> Option<(TimeOfDay, usize)> {
    let time = fields.get(1)?;
    let half = fields.get(2)?;
    if !(half.eq_ignore_ascii_case(b"AM") || half.eq_ignore_ascii_case(b"PM")) {
        return Some((TimeOfDay::parse(time)?, 2));
    }
    let mut joined = [0; 16];
    let len = time.len() + half.len();
    joined.get_mut(..time.len())?.copy_from_slice(time);
    joined.get_mut(time.len()..len)?.copy_from_slice(half);
    Some((TimeOfDay::parse(&joined[..len])?, 3))
}

/// The name begins in its column, so that blanks at its start survive; where the server does not keep to the
/// columns, at the first byte that is not blank.
fn name_after_mark(line: &[u8], start: usize, end: usize) -> Option<&[u8]> {
    let text = line[end..].iter().position(|b| !is_blank(*b)).map_or(line.len(), |gap| end + gap);
    Some(&line[text.min((start + MARK_WIDTH).max(end))..]).filter(|name| !name.is_empty())
}

/// `cur [D:\data\cur]`. Both sides may hold ` [`: a target that begins like a Windows path decides, else the
/// last one.
fn split_link(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(inner) = text.strip_suffix(b"]") else { return (text, None) };
    let is_path = |target: &[u8]| matches!(target, [b'A'..=b'Z' | b'a'..=b'z', b':', ..] | [b'\\', ..]);
    let at = memchr::memmem::find_iter(inner, b" [")
        .find(|at| is_path(&inner[at + 2..]))
        .or_else(|| memchr::memmem::rfind(inner, b" ["));
    match at {
        Some(at) => (&inner[..at], (at + 2 < inner.len()).then_some(&inner[at + 2..])),
        None => (text, None),
    }
}

/// Blank lines, and what cmd.exe prints around the entries.
fn is_noise(fields: &Fields<'_>) -> bool {
    match (fields.get(0), fields.get(1)) {
        (None, _) => true,
        (Some(b"Volume"), Some(b"in" | b"Serial")) | (Some(b"Directory"), Some(b"of")) => true,
        (Some(count), Some(b"File(s)" | b"Dir(s)")) => Size::parse(count).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::{ListZone, Modified, Precision};

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn entries_of_every_server_that_imitates_dos() {
        use EntryKind::{Directory, File, Symlink};
        let at = 1_710_006_300;
        for (line, kind, size, time, name, target) in [
            ("03-09-24  05:45PM       <DIR>          inbox", Directory, None, at, "inbox", None),
            ("03-09-24  05:45PM       <DIR>            inbox ", Directory, None, at, "  inbox ", None),
            ("03-09-24  05:45PM       <DIR>           ", Directory, None, at, " ", None),
            ("03-09-24  05:45PM       <DIR> inbox", Directory, None, at, "inbox", None),
            ("03-09-2024  05:45PM       <DIR>          inbox", Directory, None, at, "inbox", None),
            ("03/09/2024  05:45 PM    <DIR>          inbox", Directory, None, at, "inbox", None),
            ("09.03.2024  17:45    <DIR>          inbox", Directory, None, at, "inbox", None),
            ("03-09-24  05:45PM                 9730 a.txt", File, Some(9730), at, "a.txt", None),
            ("2024-03-09  17:45      9,730 a.txt", File, Some(9730), at, "a.txt", None),
            ("2024-03-09  17:45:00      9.730 a.txt", File, Some(9730), at, "a.txt", None),
            ("03-09-24  05:45PM    9730  a.txt", File, Some(9730), at, " a.txt", None),
            ("03-09-24  05:45PM    9730 12 <DIR> b", File, Some(9730), at, "12 <DIR> b", None),
            ("03-09-24  12:30AM    0 a", File, Some(0), at - 62_100, "a", None),
            ("03-09-24  12:30PM    0 a", File, Some(0), at - 18_900, "a", None),
            ("03-09-24  05:45PM    33.5k a", File, None, at, "a", None),
            (
                r"03-09-24  05:45PM    <SYMLINKD>     cur [D:\data\cur]",
                Symlink,
                None,
                at,
                "cur",
                Some(r"D:\data\cur"),
            ),
            (r"03-09-24  05:45PM    <SYMLINK>      a [1] [..\a]", Symlink, None, at, "a [1]", Some(r"..\a")),
            (
                r"03-09-24  05:45PM    <JUNCTION>     a [1] [D:\a [1]]",
                Symlink,
                None,
                at,
                "a [1]",
                Some(r"D:\a [1]"),
            ),
            ("03-09-24  05:45PM    <JUNCTION>     cur", Symlink, None, at, "cur", None),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!(parsed.name, name.as_bytes(), "{line}");
            assert_eq!((parsed.kind, parsed.size), (kind, size), "{line}");
            assert_eq!(parsed.link_target, target.map(str::as_bytes), "{line}");
            let Some(Modified { seconds, nanos: 0, .. }) = parsed.modified else { panic!("{line}") };
            assert_eq!(seconds - time, 0, "{line}");
        }
    }

    #[test]
    fn minutes_are_not_seconds() {
        let Line::Entry(parsed) = parse(b"03-09-24  05:45PM 1 a", &CONTEXT) else { panic!() };
        assert_eq!(parsed.modified.unwrap().precision, Precision::Minute);
    }

    #[test]
    fn what_is_no_entry() {
        for line in
            ["", "  ", " Volume in drive C is DATA", " Directory of C:\\x", "   3 File(s)  12,345 bytes"]
        {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Noise, "{line}");
        }
        for line in [
            "13-09-24  05:45PM 1 a",
            "03-09-24  25:45 1 a",
            "03-09-24  05:45PM <WHAT> a",
            "03-09-24  05:45PM <DIR>",
            "03-09-24  05:45PM 12",
            "03-09-24  05:45PM twelve a",
            "-rw-r--r-- 1 lena staff 512 Mar 9 17:45 a",
            "03-09-24",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
