//! What the less common dialects print is what is read.

use ftpfs::ftp::list::{Dialect, EntryKind, RemoteEntry};
use ftpfs::ftp::time::Precision;
use proptest::prelude::*;

use super::properties::{MONTHS, civil, entries, parse_one, rounded};

/// Names that the form can hold whose name column is not sharp: no blank at either end.
fn plain_names() -> impl Strategy<Value = RemoteEntry> {
    entries().prop_map(|mut entry| {
        let name = entry.name.trim_ascii();
        let name = if name.is_empty() || name == b"." || name == b".." { b"x" } else { name };
        entry.name = name.into();
        entry
    })
}

/// A file or directory, without what the form does not tell.
fn simple(mut entry: RemoteEntry) -> RemoteEntry {
    if entry.kind != EntryKind::Directory {
        entry.kind = EntryKind::File;
    }
    RemoteEntry { unique: None, mode: None, ..entry }
}

fn month(entry: &RemoteEntry) -> &'static str {
    MONTHS[usize::from(civil(entry).month().unsigned_abs()) - 1]
}

fn with_name(start: String, entry: &RemoteEntry) -> Vec<u8> {
    [start.as_bytes(), &entry.name].concat()
}

proptest! {
    #[test]
    fn eplf_prints_and_reads_back(entry in entries()) {
        let entry = RemoteEntry { mode: entry.mode, unique: entry.unique.clone(), ..simple(entry) };
        let kind = if entry.kind == EntryKind::Directory { "/" } else { "r" };
        let unique = entry.unique.as_ref().map(|u| format!("i{},", String::from_utf8_lossy(u)));
        let line = with_name(
            format!(
                "+{}m{},{kind},s{},up{:o},\t",
                unique.unwrap_or_default(),
                entry.modified.unwrap().seconds,
                entry.size.unwrap(),
                entry.mode.unwrap()
            ),
            &entry,
        );
        prop_assert_eq!(parse_one(Dialect::Eplf, &line).entries, vec![entry]);
    }

    #[test]
    fn numbers_print_and_read_back(entry in plain_names()) {
        let entry = RemoteEntry { unique: None, ..entry };
        let kind = match entry.kind {
            EntryKind::Directory => 0o040_000,
            EntryKind::Symlink => 0o120_000,
            _ => 0o100_000,
        };
        let mode = kind | u32::from(entry.mode.unwrap());
        let (size, time) = (entry.size.unwrap(), entry.modified.unwrap().seconds);
        let line = with_name(format!("0{mode:o} 1001 100 {size} {time} "), &entry);
        prop_assert_eq!(parse_one(Dialect::Numeric, &line).entries, vec![entry]);
    }

    #[test]
    fn netware_prints_and_reads_back(entry in plain_names(), gap in "( |    )") {
        let entry = simple(rounded(entry, 86_400, Precision::Day));
        let letter = if entry.kind == EntryKind::Directory { 'd' } else { '-' };
        let (date, size) = (civil(&entry), entry.size.unwrap());
        let start = format!("{letter} [RWCEAFMS] clerk {size:15} {} {:02}  {}{gap}", month(&entry), date.day(), date.year());
        prop_assert_eq!(parse_one(Dialect::NetWare, &with_name(start, &entry)).entries, vec![entry]);
    }

    #[test]
    fn as400_prints_and_reads_back(entry in plain_names()) {
        let mut entry = simple(entry);
        let kind = if entry.kind == EntryKind::Directory { "*DIR " } else { "*STMF" };
        let start = format!("LENA {:15} {} {kind}      ", entry.size.unwrap(), civil(&entry).strftime("%y-%m-%d %H:%M:%S"));
        let line = with_name(start, &entry);
        if entry.kind == EntryKind::Directory {
            entry.size = None;
        }
        prop_assert_eq!(parse_one(Dialect::As400, &line).entries, vec![entry]);
    }

    #[test]
    fn openvms_prints_and_reads_back(
        entry in entries(),
        name in "[A-Z0-9_$-]{1,39}\\.[A-Z0-9]{0,2}",
        version in 1..32_768u16,
        two_lines: bool,
    ) {
        let mode = entry.mode.unwrap() & 0o777;
        let entry = RemoteEntry {
            name: name.as_bytes().into(), size: None, mode: Some(mode), ..simple(entry)
        };
        let (date, letters) = (civil(&entry), |shift: u16| {
            let bits = mode >> shift;
            [(4, "R"), (2, "W"), (1, "E")].map(|(bit, letter)| if bits & bit != 0 { letter } else { "" }).concat()
        });
        let is_directory = entry.kind == EntryKind::Directory;
        let (shown, expected) = match name.strip_suffix('.') {
            Some(stem) if is_directory => (format!("{stem}.DIR"), stem.to_owned()),
            _ if is_directory => (format!("{name}.DIR"), name.clone()),
            _ => (name.clone(), name.clone()),
        };
        let entry = RemoteEntry { name: expected.as_bytes().into(), ..entry };
        let end = if two_lines { "\r\n" } else { "" };
        let line = format!(
            "{shown};{version}{end}  12/15  {}-{}-{} {}  [LENA]  (RWED,{},{},{})",
            date.day(), month(&entry).to_uppercase(), date.year(), date.strftime("%H:%M:%S"),
            letters(6), letters(3), letters(0),
        );
        prop_assert_eq!(parse_one(Dialect::Vms, line.as_bytes()).entries, vec![entry]);
    }

    #[test]
    fn ls_prints_and_reads_back_in_other_languages(
        entry in entries(),
        months in prop_oneof![
            Just(["jan", "feb", "mär", "apr", "mai", "jun", "jul", "aug", "sep", "okt", "nov", "dez"]),
            Just(["led", "úno", "bře", "dub", "kvě", "čen", "čec", "srp", "zář", "říj", "lis", "pro"]),
            Just(["янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"]),
            Just(["1月", "2月", "3月", "4月", "5月", "6月", "7月", "8月", "9月", "10月", "11月", "12月"]),
        ],
        day_first: bool,
    ) {
        let entry = RemoteEntry { mode: Some(0o644), kind: EntryKind::File, ..simple(rounded(entry, 86_400, Precision::Day)) };
        let (date, size) = (civil(&entry), entry.size.unwrap());
        let month = months[usize::from(date.month().unsigned_abs()) - 1];
        let shown = if day_first { format!("{:2} {month}", date.day()) } else { format!("{month} {:2}", date.day()) };
        let line = with_name(format!("-rw-r--r-- 1 lena staff {size} {shown}  {} ", date.year()), &entry);
        prop_assert_eq!(parse_one(Dialect::Unix, &line).entries, vec![entry]);
    }

    #[test]
    fn os2_prints_and_reads_back(entry in plain_names(), century: bool) {
        let mut entry = simple(rounded(entry, 60, Precision::Minute));
        let is_directory = entry.kind == EntryKind::Directory;
        let (date, mark) = (civil(&entry), if is_directory { "DIR" } else { "A" });
        let year = date.year() - if century || date.year() < 2000 { 1900 } else { 2000 };
        let (size, time) = (entry.size.unwrap(), date.strftime("%H:%M"));
        let start = format!("{size:8} {mark:>10}   {}-{year:02}   {time}  ", date.strftime("%m-%d"));
        let line = with_name(start, &entry);
        entry.size = entry.size.filter(|_| !is_directory);
        prop_assert_eq!(parse_one(Dialect::Os2, &line).entries, vec![entry]);
    }

    #[test]
    fn vxworks_and_vshell_print_and_read_back(entry in plain_names(), vxworks: bool) {
        let mut entry = simple(if vxworks { entry } else { rounded(entry, 60, Precision::Minute) });
        prop_assume!(!entry.name.ends_with(b"<DIR>"));
        let is_directory = entry.kind == EntryKind::Directory;
        let (date, size) = (civil(&entry), entry.size.unwrap());
        let (shown, mark) = match vxworks {
            true => (format!("{}-{}", month(&entry).to_uppercase(), date.strftime("%d-%Y  %H:%M:%S")), "    <DIR>"),
            false => (format!("{} {}", month(&entry), date.strftime("%d, %Y %H:%M")), "/"),
        };
        let mut line = with_name(format!("{size:8} {shown} "), &entry);
        if is_directory {
            line.extend_from_slice(mark.as_bytes());
            entry.size = None;
        }
        prop_assert_eq!(parse_one(Dialect::SizeFirst, &line).entries, vec![entry]);
    }

    #[test]
    fn supertcp_and_chameleon_print_and_read_back(
        entry in entries(),
        name in "[A-Z0-9_~-]{1,8}(\\.[A-Z0-9]{1,3})?",
        chameleon: bool,
    ) {
        let mut entry = simple(rounded(entry, 60, Precision::Minute));
        entry.name = name.as_bytes().into();
        let date = civil(&entry);
        let size = match entry.kind {
            EntryKind::Directory => "<DIR>".to_owned(),
            _ => entry.size.unwrap().to_string(),
        };
        let shown = match chameleon {
            true => format!("{} {}", month(&entry), date.strftime("%d %Y %H:%M")),
            false => date.strftime("%m-%d-%y      %H:%M").to_string(),
        };
        if entry.kind == EntryKind::Directory {
            entry.size = None;
        }
        let line = format!("{name:15} {size:>10}   {shown}");
        prop_assert_eq!(parse_one(Dialect::NameFirst, line.as_bytes()).entries, vec![entry]);
    }

    #[test]
    fn os9_prints_and_reads_back(entry in plain_names(), sector in 0..0x10_0000u32) {
        let mut entry = simple(rounded(entry, 60, Precision::Minute));
        let is_directory = entry.kind == EntryKind::Directory;
        let attributes = if is_directory { "d-ewrewr" } else { "----r-wr" };
        let (date, size) = (civil(&entry).strftime("%y/%m/%d %H%M").to_string(), entry.size.unwrap());
        let line = with_name(format!("   1.0   {date}   {attributes}  {sector:6X} {size:9} "), &entry);
        entry.size = entry.size.filter(|_| !is_directory);
        prop_assert_eq!(parse_one(Dialect::Os9, &line).entries, vec![entry]);
    }

    #[test]
    fn mainframes_print_and_read_back(
        entry in entries(),
        name in "[A-Z#@$][A-Z0-9#@$]{0,6}",
        file_type in "[A-Z$][A-Z0-9$]{0,6}",
    ) {
        let file = RemoteEntry { kind: EntryKind::File, size: None, ..simple(entry.clone()) };
        let date = civil(&file);
        let size = entry.size.unwrap();

        let line = format!("{name:8} {file_type:8} A1 V 80 21 1 {} LENA1", date.strftime("%Y-%m-%d %H:%M:%S"));
        let whole = format!("{name}.{file_type}");
        let expected = RemoteEntry { name: whole.as_bytes().into(), ..file.clone() };
        prop_assert_eq!(parse_one(Dialect::Cms, line.as_bytes()).entries, vec![expected.clone()]);

        let line = format!("VOL123 3390   {}  1   15  FB  80 27920  PS  {whole}", date.strftime("%Y/%m/%d"));
        let expected = rounded(expected, 86_400, Precision::Day);
        prop_assert_eq!(parse_one(Dialect::Mvs, line.as_bytes()).entries, vec![expected]);

        let expected = RemoteEntry { name: name.as_bytes().into(), ..rounded(file.clone(), 60, Precision::Minute) };
        let line = format!("{name:8}  01.02 2024/03/01 {}  10  10  0 LENA", date.strftime("%Y/%m/%d %H:%M"));
        prop_assert_eq!(parse_one(Dialect::MvsMembers, line.as_bytes()).entries, vec![expected]);

        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "X");
        let line = format!("{name:8} 101 {size} {}-{}-{} {} 255,  4 \"oooo\"",
            date.day(), month(&file), date.strftime("%y"), date.strftime("%H:%M:%S"));
        let expected = RemoteEntry { name: name.as_bytes().into(), size: Some(size), ..file };
        prop_assert_eq!(parse_one(Dialect::NonStop, line.as_bytes()).entries, vec![expected]);
    }
}
