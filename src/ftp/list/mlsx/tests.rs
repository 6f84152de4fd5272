use super::*;
use crate::ftp::time::ListZone;

const CONTEXT: ListContext = ListContext { now: 0, zone: ListZone::UTC };

fn entry(line: &str) -> Parsed<'_> {
    match parse(line.as_bytes(), &CONTEXT) {
        Line::Entry(parsed) | Line::Own(parsed) => parsed,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_fact_is_read_in_any_order_and_case() {
    let expected = Parsed {
        size: Some(48_213),
        modified: parse_time_value(b"20240309174501.250"),
        mode: Some(0o640),
        unique: Some(b"1Ag7"),
        ..Parsed::new(b"notes.txt", EntryKind::File)
    };
    for line in [
        "type=file;size=48213;modify=20240309174501.250;perm=adfrw;UNIX.mode=0640;unique=1Ag7; notes.txt",
        "unique=1Ag7;Unix.Mode=640;Perm=adfrw;Modify=20240309174501.25;Size=48213;Type=FILE; notes.txt",
        "TYPE=File;x-odd=1;SIZE=48213;MODIFY=20240309174501.250;UNIX.MODE=0o640;;UNIQUE=1Ag7 notes.txt",
    ] {
        assert_eq!(entry(line), expected, "{line}");
    }
}

#[test]
fn types_and_both_spellings_of_links() {
    for (value, kind, target) in [
        ("file", EntryKind::File, None),
        ("dir", EntryKind::Directory, None),
        ("OS.unix=slink:/srv/pub", EntryKind::Symlink, Some("/srv/pub")),
        ("OS.UNIX=SLINK:/srv/pub", EntryKind::Symlink, Some("/srv/pub")),
        ("OS.unix=slink:/my own dir", EntryKind::Symlink, Some("/my own dir")),
        ("OS.unix=slink:/a;b", EntryKind::Symlink, Some("/a;b")),
        ("OS.unix=slink:/a=b", EntryKind::Symlink, Some("/a=b")),
        ("OS.unix=slink:", EntryKind::Symlink, None),
        ("OS.unix=slink", EntryKind::Symlink, None),
        ("OS.unix=symlink", EntryKind::Symlink, None),
        ("OS.unix=chr-4/7", EntryKind::Special, None),
        ("unknown", EntryKind::Special, None),
        ("", EntryKind::Special, None),
    ] {
        for line in [format!("type={value};size=9; www"), format!("size=9;type={value}; www")] {
            let parsed = entry(&line);
            assert_eq!((parsed.name, parsed.kind, parsed.size), (&b"www"[..], kind, Some(9)), "{line}");
            assert_eq!(parsed.link_target, target.map(str::as_bytes), "{line}");
        }
    }
}

#[test]
fn an_untold_type_is_guessed_from_the_other_facts() {
    for (facts, kind) in [
        ("size=5;", EntryKind::File),
        ("sizd=5;", EntryKind::Directory),
        ("size=5;perm=el;", EntryKind::Directory),
        ("modify=20240101000000;", EntryKind::Special),
    ] {
        assert_eq!(entry(&format!("{facts} x")).kind, kind, "{facts}");
    }
}

#[test]
fn names_keep_every_byte_behind_the_first_blank() {
    for name in
        [" lead", "\tlead", "trail ", "a;b", "; a", "a=b; c", "a b", " ", "\u{e4}", "-rf", "type=dir; x"]
    {
        for facts in ["type=file;size=1;", "type=file;size=1"] {
            assert_eq!(entry(&format!("{facts} {name}")).name, name.as_bytes(), "{facts} {name:?}");
        }
    }
    assert_eq!(entry("type=file; ").name, b"");
}

#[test]
fn perm_gives_the_mode_where_the_server_has_none() {
    for (facts, mode) in [
        ("type=file;perm=r", Some(0o444)),
        ("type=file;perm=ADFRW", Some(0o644)),
        ("type=file;perm=a", Some(0o200)),
        ("type=file;perm=d", Some(0)),
        ("type=file;perm=", None),
        ("type=dir;perm=el", Some(0o555)),
        ("type=dir;perm=flcdmpe", Some(0o755)),
        ("type=dir;perm=cm", Some(0o200)),
        ("type=OS.unix=symlink;perm=r", None),
        ("type=file;perm=r;UNIX.mode=00", Some(0)),
        ("type=file;perm=r;UNIX.mode=0104755", Some(0o4755)),
        ("type=file;perm=r;UNIX.mode=rw", Some(0o444)),
        ("type=file", None),
    ] {
        assert_eq!(entry(&format!("{facts}; x")).mode, mode, "{facts}");
    }
}

#[test]
fn bad_values_are_untold_and_never_fatal() {
    let parsed = entry("type=file;size=-1;modify=2024;UNIX.mode=9999;unique=; x");
    assert_eq!(parsed, Parsed::new(b"x", EntryKind::File));
    assert_eq!(entry("type=file;size=18446744073709551616; x").size, None);
    assert_eq!(entry(&format!("type=file;unique={}; x", "u".repeat(65))).unique, None);
}

#[test]
fn own_and_parent_entries_are_known_by_type() {
    for name in [".", "/srv/pub", "pub"] {
        let line = format!("type=cdir;sizd=4096;modify=20240101000000; {name}");
        let Line::Own(own) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
        assert_eq!((own.kind, own.size), (EntryKind::Directory, Some(4096)));
        assert_eq!(parse(format!("type=pdir; {name}").as_bytes(), &CONTEXT), Line::Parent);
    }
}

#[test]
fn what_is_no_mlsd_line() {
    for line in
        ["type=file;size=1;", "-rw-r--r-- 1 a=b 5 Feb 3 07:41 x", " x", "=; x", "ls: a=b; x", "nothing here"]
    {
        assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
    }
    assert_eq!(parse(b"", &CONTEXT), Line::Noise);
}

#[test]
fn a_group_is_told_by_its_number_only() {
    for (line, group) in [
        (" modify=20240309174501;UNIX.group=60991;UNIX.groupname=staff;UNIX.mode=0644; /a", Some(60_991)),
        ("type=file;unix.GROUP=0; a", Some(0)),
        ("type=file;UNIX.groupname=7; a", None),
        ("type=file;UNIX.group=staff; a", None),
        ("type=file;UNIX.group=-1; a", None),
        ("type=file;UNIX.group=4294967296; a", None),
        ("type=file; UNIX.group=7;", None),
        ("", None),
    ] {
        assert_eq!(mlst_group(line.as_bytes()), group, "{line:?}");
    }
}

#[test]
fn mlst_gives_the_name_and_the_path_as_sent() {
    for (line, name, path, kind) in [
        (" size=12;type=file; /a/b c.txt", "b c.txt", "/a/b c.txt", EntryKind::File),
        ("size=12;type=file; /a/b c.txt", "b c.txt", "/a/b c.txt", EntryKind::File),
        ("type=file;size=1;  lead", " lead", " lead", EntryKind::File),
        (" type=dir; /a/b/", "b", "/a/b/", EntryKind::Directory),
        (" type=dir; /", ".", "/", EntryKind::Directory),
        (" type=pdir; /", ".", "/", EntryKind::Directory),
        (" type=cdir; .", ".", ".", EntryKind::Directory),
        (" type=cdir; ", ".", "", EntryKind::Directory),
        (" type=file b", "b", "b", EntryKind::File),
    ] {
        let (entry, sent) = parse_mlst_line(line.as_bytes()).unwrap();
        assert_eq!((&*entry.name, &*sent), (name.as_bytes(), path.as_bytes()), "{line}");
        assert_eq!(entry.kind, kind, "{line}");
    }
    let long = format!(" type=file; /{}", "x".repeat(256));
    for line in ["", " ", " type=file;", " type=dir; /a/..", " type=file; /a/b\0c", " type=file; b\r", &long]
    {
        assert_eq!(parse_mlst_line(line.as_bytes()), None, "{line:?}");
    }
}
