//! What the less common dialects print is what is read.

use ftpfs::ftp::list::{Dialect, EntryKind, RemoteEntry};
use ftpfs::ftp::time::Precision;
use proptest::prelude::*;

use super::forms::{self, civil};
use super::properties::{entries, parse_one, rounded};

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

/// A form that tells no size of directories.
fn sized_files(mut entry: RemoteEntry) -> RemoteEntry {
    entry.size = entry.size.filter(|_| entry.kind != EntryKind::Directory);
    entry
}

proptest! {
    #[test]
    fn eplf_prints_and_reads_back(entry in entries()) {
        let entry = RemoteEntry { mode: entry.mode, unique: entry.unique.clone(), ..simple(entry) };
        prop_assert_eq!(parse_one(Dialect::Eplf, &forms::eplf(&entry)).entries, vec![entry]);
    }

    #[test]
    fn numbers_print_and_read_back(entry in plain_names()) {
        let entry = RemoteEntry { unique: None, ..entry };
        prop_assert_eq!(parse_one(Dialect::Numeric, &forms::numeric(&entry)).entries, vec![entry]);
    }

    #[test]
    fn netware_prints_and_reads_back(entry in plain_names(), gap in "( |    )") {
        let entry = simple(rounded(entry, 86_400, Precision::Day));
        prop_assert_eq!(parse_one(Dialect::NetWare, &forms::netware(&entry, &gap)).entries, vec![entry]);
    }

    #[test]
    fn as400_prints_and_reads_back(entry in plain_names()) {
        let entry = sized_files(simple(entry));
        prop_assert_eq!(parse_one(Dialect::As400, &forms::as400(&entry)).entries, vec![entry]);
    }

    #[test]
    fn openvms_prints_and_reads_back(
        entry in entries(),
        name in "[A-Z0-9_$-]{1,39}\\.[A-Z0-9]{0,2}",
        version in 1..32_768u16,
        two_lines: bool,
    ) {
        let mode = entry.mode.map(|mode| mode & 0o777);
        let name = name.as_bytes().into();
        let mut entry = RemoteEntry { name, size: None, mode, ..simple(entry) };
        // The point is that of `.DIR`.
        if entry.kind == EntryKind::Directory && let Some(stem) = entry.name.strip_suffix(b".") {
            entry.name = stem.into();
        }
        let line = forms::vms(&entry, version, two_lines);
        prop_assert_eq!(parse_one(Dialect::Vms, &line).entries, vec![entry]);
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
        let start = format!("-rw-r--r-- 1 lena staff {size} {shown}  {} ", date.year());
        let line = [start.as_bytes(), &entry.name].concat();
        prop_assert_eq!(parse_one(Dialect::Unix, &line).entries, vec![entry]);
    }

    #[test]
    fn os2_prints_and_reads_back(entry in plain_names(), century: bool) {
        let entry = sized_files(simple(rounded(entry, 60, Precision::Minute)));
        prop_assert_eq!(parse_one(Dialect::Os2, &forms::os2(&entry, century)).entries, vec![entry]);
    }

    #[test]
    fn vxworks_and_vshell_print_and_read_back(entry in plain_names(), vxworks: bool) {
        prop_assume!(!entry.name.ends_with(b"<DIR>"));
        let entry = sized_files(simple(if vxworks { entry } else { rounded(entry, 60, Precision::Minute) }));
        let line = if vxworks { forms::vxworks(&entry) } else { forms::vshell(&entry) };
        prop_assert_eq!(parse_one(Dialect::SizeFirst, &line).entries, vec![entry]);
    }

    #[test]
    fn supertcp_and_chameleon_print_and_read_back(
        entry in entries(),
        name in "[A-Z0-9_~-]{1,8}(\\.[A-Z0-9]{1,3})?",
        chameleon: bool,
    ) {
        let name = name.as_bytes().into();
        let entry = RemoteEntry { name, ..sized_files(simple(rounded(entry, 60, Precision::Minute))) };
        let line = forms::name_first(&entry, chameleon);
        prop_assert_eq!(parse_one(Dialect::NameFirst, &line).entries, vec![entry]);
    }

    #[test]
    fn os9_prints_and_reads_back(entry in plain_names(), sector in 0..0x10_0000u32) {
        let entry = sized_files(simple(rounded(entry, 60, Precision::Minute)));
        prop_assert_eq!(parse_one(Dialect::Os9, &forms::os9(&entry, sector)).entries, vec![entry]);
    }

    #[test]
    fn mainframes_print_and_read_back(
        entry in entries(),
        name in "[A-Z#@$][A-Z0-9#@$]{0,6}",
        file_type in "[A-Z$][A-Z0-9$]{0,6}",
    ) {
        let named = |name: &str, entry: RemoteEntry| RemoteEntry { name: name.as_bytes().into(), ..entry };
        let size = entry.size;
        let file = RemoteEntry { kind: EntryKind::File, size: None, ..simple(entry) };
        let whole = named(&format!("{name}.{file_type}"), file.clone());

        let line = forms::cms(&whole, name.as_bytes(), file_type.as_bytes());
        prop_assert_eq!(parse_one(Dialect::Cms, &line).entries, vec![whole.clone()]);

        let data_set = rounded(whole, 86_400, Precision::Day);
        prop_assert_eq!(parse_one(Dialect::Mvs, &forms::mvs(&data_set)).entries, vec![data_set]);

        let member = named(&name, rounded(file.clone(), 60, Precision::Minute));
        prop_assert_eq!(parse_one(Dialect::MvsMembers, &forms::mvs_member(&member)).entries, vec![member]);

        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "X");
        let file = RemoteEntry { size, ..named(&name, file) };
        prop_assert_eq!(parse_one(Dialect::NonStop, &forms::nonstop(&file)).entries, vec![file]);
    }
}
