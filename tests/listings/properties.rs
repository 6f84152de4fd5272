//! What an entry is printed as is what is parsed; garbage yields nothing that may not be used.

use ftpfs::ftp::list::{Dialect, EntryKind, ListParser, ParsedListing, RemoteEntry, parse_mlst_line};
use ftpfs::ftp::time::{Modified, Precision};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{CONTEXT, forms};

/// Listings are dated 1990 to 2023, so that DOS years of two digits are not ambiguous and `ls` prints years.
const DATES: std::ops::Range<i64> = 631_152_000..1_704_067_200;

fn is_usable(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= 255
        && !name.iter().any(|b| matches!(b, b'/' | 0 | b'\r' | b'\n'))
}

/// Names of any bytes, with a liking for those that look like part of a listing.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => vec(any::<u8>(), 1..8),
        1 => Just(b" ".to_vec()),
        1 => Just(b"; ".to_vec()),
        1 => Just(b" -> ".to_vec()),
        1 => Just(b"Feb  3 07:41 x".to_vec()),
        1 => Just(b"2024-03-09 17:45 ".to_vec()),
        1 => Just(b"<DIR> ".to_vec()),
        1 => Just(b"type=dir;".to_vec()),
        1 => Just(b" [C:\\x]".to_vec()),
        1 => Just(b"-rw-r--r-- 1 a b 5 ".to_vec()),
        1 => Just(b"\xff\xfe".to_vec()),
        1 => "[a-z]{1,12}".prop_map(String::into_bytes),
    ];
    vec(piece, 1..6).prop_map(|pieces| pieces.concat()).prop_filter("no usable name", |name| is_usable(name))
}

pub(crate) fn entries() -> impl Strategy<Value = RemoteEntry> {
    let kind = prop_oneof![
        3 => Just(EntryKind::File),
        2 => Just(EntryKind::Directory),
        1 => Just(EntryKind::Symlink),
    ];
    (names(), kind, any::<u64>(), DATES, 0u16..0o10000, option::of("[0-9a-zA-Z]{1,20}")).prop_map(
        |(name, kind, size, seconds, mode, unique)| RemoteEntry {
            name: name.into(),
            kind,
            size: Some(size),
            modified: Some(Modified { seconds, nanos: 0, precision: Precision::Second }),
            mode: Some(mode),
            link_target: None,
            unique: unique.map(|unique| unique.into_bytes().into()),
        },
    )
}

/// The entry with its time cut to `unit` seconds.
pub(crate) fn rounded(mut entry: RemoteEntry, unit: i64, precision: Precision) -> RemoteEntry {
    let seconds = entry.modified.map_or(0, |modified| modified.seconds);
    entry.modified = Some(Modified { seconds: seconds - seconds.rem_euclid(unit), nanos: 0, precision });
    entry
}

/// Parses with an LF of its own; the entry must come out alone.
pub(crate) fn parse_one(dialect: Dialect, line: &[u8]) -> ParsedListing {
    let mut parser = ListParser::certain(dialect, CONTEXT);
    let outcome = parser.push(&[line, b"\r\n"].concat());
    assert_eq!(outcome, Ok(()));
    parser.finish()
}

proptest! {
    #[test]
    fn mlsd_prints_and_reads_back(entry in entries()) {
        let line = forms::mlsd(&entry);
        prop_assert_eq!(parse_one(Dialect::Mlsd, &line).entries, vec![entry.clone()]);
        let (found, path) = parse_mlst_line(&[b" ", &line[..]].concat()).unwrap();
        prop_assert_eq!(&found, &entry);
        prop_assert_eq!(path, entry.name);
    }

    #[test]
    fn ls_prints_and_reads_back(
        entry in entries(),
        target in names(),
        owners in prop_oneof![
            Just("  2 1000     1000    "), Just("1 lena staff"), Just("1 lena"), Just("1"),
            Just("1 DOM users lena"), Just("1 jan 9"),
        ],
    ) {
        let mut entry = RemoteEntry { unique: None, ..rounded(entry, 86_400, Precision::Day) };
        if entry.kind == EntryKind::Symlink {
            // The size of a link is the length of its target, which tells the right arrow from others.
            entry.size = Some(target.len() as u64);
            entry.link_target = Some(target.into());
        }
        let line = forms::unix(&entry, owners);
        prop_assert_eq!(parse_one(Dialect::Unix, &line).entries, vec![entry]);
    }

    #[test]
    fn dos_prints_and_reads_back(entry in entries()) {
        let mut entry = RemoteEntry { unique: None, mode: None, ..rounded(entry, 60, Precision::Minute) };
        match entry.kind {
            EntryKind::Directory => entry.size = None,
            _ => entry.kind = EntryKind::File,
        }
        let line = forms::dos(&entry);
        prop_assert_eq!(parse_one(Dialect::Dos, &line).entries, vec![entry]);
    }

    #[test]
    fn bare_names_read_back(entry in entries(), path in prop_oneof![Just(""), Just("./"), Just("/srv/pub/")]) {
        let kind = if entry.kind == EntryKind::Directory { entry.kind } else { EntryKind::File };
        let entry = RemoteEntry { kind, size: None, modified: None, mode: None, unique: None, ..entry };
        prop_assert_eq!(parse_one(Dialect::Names, &forms::nlst(&entry, path)).entries, vec![entry]);
    }

    #[test]
    fn chunk_boundaries_do_not_matter(
        listed in vec((entries(), 0..4u8, "\r?\n"), 0..30),
        cuts in vec(0usize..200, 0..60),
    ) {
        let mut text = Vec::new();
        for (entry, dialect, end) in &listed {
            text.extend(match dialect {
                0 => forms::mlsd(entry),
                1 => forms::unix(entry, "1 lena staff"),
                2 => forms::dos(entry),
                _ => entry.name.to_vec(),
            });
            text.extend_from_slice(end.as_bytes());
        }
        let mut whole = ListParser::new(None, CONTEXT);
        prop_assert_eq!(whole.push(&text), Ok(()));
        let mut pieces = ListParser::new(None, CONTEXT);
        let mut rest = &text[..];
        for cut in cuts {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            prop_assert_eq!(pieces.push(piece), Ok(()));
            rest = tail;
        }
        prop_assert_eq!(pieces.push(rest), Ok(()));
        prop_assert_eq!(pieces.finish(), whole.finish());
    }

    #[test]
    fn garbage_never_yields_a_name_that_may_not_be_used(
        lines in vec(prop_oneof![
            vec(any::<u8>(), 0..80),
            "[-dlrwxsStTbcp0-9:;=., <>/A-Za-z]{0,60}".prop_map(String::into_bytes),
            "[+*A-Z0-9]{1,9}[;.]?[0-9]{0,3}( [-<>()*A-Z0-9:/,.\\[\\]\"]{1,11}){1,9}".prop_map(String::into_bytes),
            (entries(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(|(entry, changes)| {
                let mut line = forms::unix(&entry, "1 lena staff");
                for (place, byte) in changes {
                    let place = place.index(line.len());
                    line[place] = byte;
                }
                line
            }),
        ], 0..20),
        choice in 0..18usize,
    ) {
        let text = lines.join(&b"\r\n"[..]);
        let dialects = [
            Dialect::Mlsd, Dialect::Unix, Dialect::Dos, Dialect::Names, Dialect::Eplf, Dialect::Numeric,
            Dialect::NetWare, Dialect::As400, Dialect::Vms, Dialect::Mvs, Dialect::MvsMembers, Dialect::Cms,
            Dialect::NonStop, Dialect::Os2, Dialect::Os9, Dialect::SizeFirst, Dialect::NameFirst,
        ];
        let mut parser = match dialects.get(choice) {
            Some(dialect) => ListParser::certain(*dialect, CONTEXT),
            None => ListParser::new(None, CONTEXT),
        };
        prop_assert_eq!(parser.push(&text), Ok(()));
        let listing = parser.finish();
        let mut seen = std::collections::HashSet::new();
        for entry in &listing.entries {
            prop_assert!(is_usable(&entry.name), "{:?}", entry.name);
            prop_assert!(seen.insert(&entry.name), "{:?} twice", entry.name);
        }
        prop_assert!(listing.own.is_none_or(|own| &*own.name == b"."));
        for line in lines {
            if let Some((entry, _)) = parse_mlst_line(&line) {
                prop_assert!(&*entry.name == b"." || is_usable(&entry.name));
            }
        }
    }
}
