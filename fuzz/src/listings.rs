//! Listings in each dialect.

#[path = "../../tests/listings/forms.rs"]
mod forms;

use std::collections::HashSet;

use ftpfs::ftp::list::{
    Dialect, EntryKind, ListParser, MAX_LINE, ParsedListing, RemoteEntry, SAMPLE, parse_mlst_line,
};
use ftpfs::ftp::time::{ListContext, ListZone, Precision};

use crate::{chance, pieces, times, within};

/// 2024-03-09 17:45:01 UTC, as in tests/listings.rs: the listings there are seeds here.
const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

/// An entry takes some 200 bytes beside its name, a vector that grows up to three times what is in it, and the
/// shortest line is two bytes long. The parser itself holds a line and the lines that wait for the vote.
fn memory(len: usize) -> usize {
    400 * len + (1 << 20)
}

/// Lines that are known to be of one dialect.
pub fn certain(dialect: Dialect, data: &[u8]) {
    let listing = check(|| ListParser::certain(dialect, CONTEXT), data);
    // The heading of members says more than the command.
    let is_heading = dialect == Dialect::Mvs && listing.dialect == Some(Dialect::MvsMembers);
    assert!(listing.dialect == Some(dialect) || is_heading);
    for entry in listing.entries.iter().filter(|_| !is_heading) {
        check_facts(dialect, entry);
        check_reads_back(dialect, entry);
    }
}

/// Lines of any dialect, with or without a hint.
pub fn vote(data: &[u8]) {
    const HINTS: [Option<Dialect>; 5] =
        [None, Some(Dialect::Unix), Some(Dialect::Dos), Some(Dialect::Vms), Some(Dialect::Names)];
    let hint = HINTS[(chance(data) >> 32) as usize % HINTS.len()];
    let listing = check(|| ListParser::new(hint, CONTEXT), data);
    let found = !listing.entries.is_empty() || listing.own.is_some();
    assert!(!found || listing.dialect.is_some());
    assert_ne!(listing.dialect, Some(Dialect::Names));
}

/// What holds in every dialect.
fn check(parser: impl Fn() -> ListParser, data: &[u8]) -> ParsedListing {
    let whole = within(memory(data.len()), || read(parser(), std::iter::once(data)));
    assert_eq!(read(parser(), pieces(data)), whole, "it matters where the network cuts");
    let lines = data.split(|&byte| byte == b'\n').count();
    assert!(whole.entries.len() + whole.repeated + whole.skipped <= lines, "more than was listed");
    assert_eq!(whole.first_skipped.is_some(), whole.skipped > 0);
    assert!(whole.first_skipped.iter().all(|line| line.len() <= SAMPLE));
    let mut seen = HashSet::new();
    for entry in &whole.entries {
        assert!(seen.insert(&entry.name), "{entry:?} twice");
        check_entry(entry);
    }
    if let Some(own) = &whole.own {
        assert!(&*own.name == b"." && whole.saw_dot_entries);
        check_entry(&RemoteEntry { name: (*b"x").into(), ..own.clone() });
    }
    whole
}

fn read<'a>(mut parser: ListParser, chunks: impl Iterator<Item = &'a [u8]>) -> ParsedListing {
    for chunk in chunks {
        assert_eq!(parser.push(chunk), Ok(()));
    }
    parser.finish()
}

/// An entry that may be used: a name that leads nowhere else and ends no command, facts within their ranges.
pub(crate) fn check_entry(entry: &RemoteEntry) {
    let name = &entry.name;
    assert!((1..=255).contains(&name.len()) && &**name != b"." && &**name != b"..", "{entry:?}");
    assert!(!name.iter().any(|byte| matches!(byte, b'/' | 0 | b'\r' | b'\n')), "{entry:?}");
    assert!(entry.mode.is_none_or(|mode| mode <= 0o7777), "{entry:?}");
    let target_fits = |target: &[u8]| (1..=MAX_LINE).contains(&target.len()) && !target.contains(&b'\n');
    assert!(entry.link_target.as_deref().is_none_or(target_fits), "{entry:?}");
    assert!(entry.link_target.is_none() || entry.kind == EntryKind::Symlink, "{entry:?}");
    assert!(entry.unique.as_ref().is_none_or(|unique| (1..=64).contains(&unique.len())), "{entry:?}");
    entry.modified.into_iter().for_each(times::check);
}

/// What a dialect does not tell is not made up.
fn check_facts(dialect: Dialect, entry: &RemoteEntry) {
    use Dialect::{Cms, Dos, Eplf, Mlsd, Mvs, MvsMembers, Names, Numeric, Unix, Vms};
    let tells_size = !matches!(dialect, Vms | Mvs | MvsMembers | Cms | Names);
    assert!(entry.size.is_none() || tells_size, "{entry:?}");
    assert!(entry.modified.is_none() || dialect != Names, "{entry:?}");
    assert!(entry.mode.is_none() || matches!(dialect, Mlsd | Unix | Eplf | Numeric | Vms), "{entry:?}");
    assert!(entry.unique.is_none() || matches!(dialect, Mlsd | Eplf), "{entry:?}");
    assert!(entry.link_target.is_none() || matches!(dialect, Mlsd | Unix | Dos), "{entry:?}");
}

/// An entry that the form can express is printed and must come out again.
fn check_reads_back(dialect: Dialect, entry: &RemoteEntry) {
    let Some((entry, line)) = print(dialect, entry) else { return };
    let listing = [&line, &b"\r\n"[..], company(dialect)].concat();
    let again = read(ListParser::certain(dialect, CONTEXT), std::iter::once(&listing[..]));
    assert_eq!(again.entries.first(), Some(&entry), "{}", listing.escape_ascii());
    if dialect == Dialect::Mlsd {
        assert_eq!(parse_mlst_line(&line).map(|(entry, _)| entry), Some(entry));
    }
}

/// A line that keeps marks of `ls -F` from being seen in a listing of one.
fn company(dialect: Dialect) -> &'static [u8] {
    if dialect == Dialect::Unix { b"-rwxr-xr-x 1 lena staff 5 Mar  9  2024 no mark\r\n" } else { b"" }
}

/// The entry as far as the form tells it, and its line; `None` where the form cannot express it.
fn print(dialect: Dialect, entry: &RemoteEntry) -> Option<(RemoteEntry, Vec<u8>)> {
    use EntryKind::{Directory, File, Special, Symlink};
    let mut entry = entry.clone();
    let year = forms::civil(&entry).year();
    let precision = entry.modified.map(|modified| modified.precision);
    let is_whole = entry.modified.is_none_or(|modified| modified.nanos == 0);
    // Forms with two digits for the year, and forms whose readers doubt a date in the future.
    let is_recent = (1980..2024).contains(&year) && is_whole;
    let is_sized = entry.size.is_some() != (entry.kind == Directory);
    let is_plain = matches!(entry.kind, File | Directory);
    let to_minute = precision == Some(Precision::Minute);
    let to_day = precision == Some(Precision::Day);
    let has_clock = to_minute || precision == Some(Precision::Second);
    let line = match dialect {
        Dialect::Mlsd => {
            let unique_fits = entry.unique.as_ref().is_none_or(|unique| !unique.contains(&b' '));
            let fits = entry.link_target.is_none() && unique_fits && (0..10_000).contains(&year);
            fits.then(|| forms::mlsd(&entry))
        }
        Dialect::Unix => {
            let fits = match (&entry.link_target, entry.kind) {
                // The size of a link is that of its target, which tells the right arrow.
                (Some(target), _) => {
                    entry.size = Some(target.len() as u64);
                    true
                }
                (None, Symlink) => false,
                (None, Special) => false,
                (None, File | Directory) => true,
            };
            let is_told = entry.size.is_some() && entry.mode.is_some() && entry.modified.is_some();
            (fits && is_told && (1970..2100).contains(&year)).then(|| forms::unix(&entry, "1 lena staff"))
        }
        Dialect::Dos => {
            let fits = is_plain && is_sized && to_minute && (1980..2060).contains(&year);
            fits.then(|| forms::dos(&entry))
        }
        Dialect::Eplf => Some(forms::eplf(&entry)),
        Dialect::Numeric => {
            let fits = entry.mode.is_some() && entry.size.is_some() == (entry.kind != Special);
            (fits && entry.modified.is_some()).then(|| forms::numeric(&entry))
        }
        Dialect::NetWare => {
            let fits = entry.size.is_some() && to_day && (1970..2100).contains(&year);
            fits.then(|| forms::netware(&entry, " "))
        }
        Dialect::As400 => {
            // A name that begins with a blank came out of a path.
            let is_sized = entry.size.is_some() == (entry.kind == File) && !entry.name.starts_with(b" ");
            (is_sized && has_clock && is_recent).then(|| forms::as400(&entry))
        }
        Dialect::Vms => {
            let fits = precision.is_some() && is_whole && (0..10_000).contains(&year);
            fits.then(|| forms::vms(&entry, 1, chance(&entry.name).is_multiple_of(2)))
        }
        Dialect::Mvs => {
            let fits = precision.is_none() || (1970..2100).contains(&year);
            fits.then(|| forms::mvs(&entry))
        }
        Dialect::MvsMembers => {
            let fits = precision.is_none() || (to_minute && (1970..2100).contains(&year));
            fits.then(|| forms::mvs_member(&entry))
        }
        Dialect::Cms => {
            let parts = |point: &usize| (&entry.name[..*point], &entry.name[point + 1..]);
            let fits = |(name, file_type): &(&[u8], &[u8])| {
                (1..=8).contains(&name.len()) && (1..=8).contains(&file_type.len())
            };
            let points = (0..entry.name.len()).filter(|&at| entry.name[at] == b'.');
            let (name, file_type) = points.map(|at| parts(&at)).find(fits)?;
            (has_clock && is_recent).then(|| forms::cms(&entry, name, file_type))
        }
        Dialect::NonStop => (has_clock && is_recent).then(|| forms::nonstop(&entry)),
        Dialect::Os2 => {
            let fits = is_sized && has_clock && is_recent;
            fits.then(|| forms::os2(&entry, chance(&entry.name).is_multiple_of(2)))
        }
        Dialect::Os9 => (is_sized && to_minute && is_recent).then(|| forms::os9(&entry, 0x1f)),
        Dialect::SizeFirst => {
            let fits = is_sized && has_clock && is_whole && (0..10_000).contains(&year);
            // A blank at the end is lost before the mark of VxWorks.
            let is_vxworks = !entry.name.ends_with(b" ") && chance(&entry.name).is_multiple_of(2);
            fits.then(|| if is_vxworks { forms::vxworks(&entry) } else { forms::vshell(&entry) })
        }
        Dialect::NameFirst => {
            let fits = is_sized && has_clock && is_recent;
            fits.then(|| forms::name_first(&entry, chance(&entry.name).is_multiple_of(2)))
        }
        Dialect::Names => Some(forms::nlst(&entry, ["", "./", "/srv/"][entry.name.len() % 3])),
    };
    line.map(|line| (entry, line))
}
