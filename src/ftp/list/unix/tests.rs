use super::*;
use crate::ftp::time::{ListZone, Modified, Precision};

/// 2024-03-09 17:45:01 UTC
const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

fn entry(line: &str) -> Parsed<'_> {
    match parse(line.as_bytes(), &CONTEXT) {
        Line::Entry(parsed) => parsed,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn columns_between_mode_and_date_do_not_matter() {
    for (line, size) in [
        ("-rw-r-----   1 lena  staff    90210 Feb  3 07:41 x", Some(90_210)),
        ("-rw-r-----   1 lena      512 Feb  3 07:41 x", Some(512)),
        ("-rw-r-----   1      512 Feb  3 07:41 x", Some(512)),
        ("-rw-r-----  512 Feb  3 07:41 x", Some(512)),
        ("-rw-r-----   1 1000     1000         4096 Feb 03 07:41 x", Some(4096)),
        ("-rw-r----- 1 DOM users lena 77 Feb 3 07:41 x", Some(77)),
        ("-rw-r----- 1 DOM\\lena m domain users of it 77 Feb 3 07:41 x", Some(77)),
        ("-rw-r-----+118 lena staff 4096 Feb 3 07:41 x", Some(4096)),
        ("-rw-r-----118 lena staff 4096 Feb 3 07:41 x", Some(4096)),
        ("-rw-r-----@ 1 lena staff 4096 Feb 3 07:41 x", Some(4096)),
        ("-rw-r-----. 1 lena staff 4096 Feb 3 07:41 x", Some(4096)),
        ("-rw-r----- 1 lena longgroupnam6561177600 Feb 3 07:41 x", Some(6_561_177_600)),
        ("-rw-r----- 1 lena staff 99999999999999999999999 Feb 3 07:41 x", None),
        ("-rw-r----- 1 lena staff 33.5k Feb 3 07:41 x", None),
        ("-rw-r----- 1 lena staff 4G Feb 3 07:41 x", None),
        ("-rw-r----- 1 jan 9 2021 Feb 3 07:41 x", Some(2021)),
        ("-rw-r----- 1 lena 20 2010 Feb 3 07:41 x", Some(2010)),
        (" -rw-r----- 1 lena staff 5 Feb 3 07:41 x", Some(5)),
        ("-rw-r-----\t1\tlena\tstaff\t5\tFeb\t3\t07:41 x", Some(5)),
    ] {
        let parsed = entry(line);
        assert_eq!((parsed.name, parsed.size, parsed.mode), (&b"x"[..], size, Some(0o640)), "{line}");
        assert_eq!(parsed.modified.map(|m| m.seconds), Some(1_706_946_060), "{line}");
    }
}

#[test]
fn dates_with_what_they_tell() {
    for (date, seconds, nanos, precision) in [
        ("Feb  3 07:41", 1_706_946_060, 0, Precision::Minute),
        ("Feb  3  2021", 1_612_310_400, 0, Precision::Day),
        ("FEB 03 2021", 1_612_310_400, 0, Precision::Day),
        ("Dec 31 23:59", 1_704_067_140, 0, Precision::Minute),
        ("Dec 31 24:00", 1_704_067_200, 0, Precision::Minute),
        ("Feb 29 12:00", 1_709_208_000, 0, Precision::Minute),
        ("Feb 29  2020", 1_582_934_400, 0, Precision::Day),
        ("Feb  3 07:41:10", 1_706_946_070, 0, Precision::Second),
        ("Feb  3 07:41:10 2021", 1_612_338_070, 0, Precision::Second),
        ("Feb  3 12:30AM", 1_706_920_200, 0, Precision::Minute),
        ("Feb  3 12:30PM", 1_706_963_400, 0, Precision::Minute),
        ("2024-03-09 17:45", 1_710_006_300, 0, Precision::Minute),
        ("2024-03-09 17:45:01", 1_710_006_301, 0, Precision::Second),
        ("2024-03-09 17:45:01.250 +0100", 1_710_002_701, 250_000_000, Precision::Second),
        ("2024-03-09 17:45:01.000000001 -0530", 1_710_026_101, 1, Precision::Second),
        ("2024-03-09 17:45:01 +01:00", 1_710_002_701, 0, Precision::Second),
        ("2024-03-09", 1_709_942_400, 0, Precision::Day),
    ] {
        let line = format!("-rw-r--r-- 1 lena staff 512 {date} a b");
        let parsed = entry(&line);
        assert_eq!(parsed.name, b"a b", "{date}");
        assert_eq!(parsed.modified, Some(Modified { seconds, nanos, precision }), "{date}");
    }
    for date in ["Feb 30 12:00", "Feb 29  2023", "2023-02-29 10:00"] {
        let line = format!("-rw-r--r-- 1 lena staff 512 {date} a");
        assert_eq!(entry(&line).modified, None, "{date}");
    }
}

#[test]
fn one_blank_ends_the_date_and_the_rest_is_the_name() {
    for name in [
        " lead",
        "  two",
        "trail ",
        " ",
        "\t",
        "a;b=c; d",
        "a -> b",
        "2024 report",
        "+0100",
        "2021",
        "10:00",
        "5 Feb  3 07:41 z",
        "Feb  3 07:41 z",
        "512 2024-03-09 17:45 z",
    ] {
        for date in ["Feb  3 07:41", "Feb  3  2021", "2024-03-09 17:45", "2024-03-09 17:45:01 +0100"] {
            let line = format!("-rw-r--r-- 1 lena staff 512 {date} {name}");
            let parsed = entry(&line);
            assert_eq!((parsed.name, parsed.size), (name.as_bytes(), Some(512)), "{line}");
        }
    }
}

#[test]
fn modes() {
    for (text, kind, mode) in [
        ("drwxr-xr-x", EntryKind::Directory, 0o755),
        ("----------", EntryKind::File, 0),
        ("-rwsr-xr-x", EntryKind::File, 0o4755),
        ("-rwSr--r--", EntryKind::File, 0o4644),
        ("drwxrws---", EntryKind::Directory, 0o2770),
        ("-rw-r-Sr--", EntryKind::File, 0o2644),
        ("-rw-r-lr--", EntryKind::File, 0o2644),
        ("drwxrwxrwt", EntryKind::Directory, 0o1777),
        ("drwxrwx--T", EntryKind::Directory, 0o1770),
        ("lrwxrwxrwx", EntryKind::Symlink, 0o777),
        ("prw-------", EntryKind::Special, 0o600),
        ("srw-------", EntryKind::Special, 0o600),
        ("Dr--r--r--", EntryKind::Special, 0o444),
    ] {
        let line = format!("{text} 2 lena staff 512 Feb  3 07:41 x");
        let parsed = entry(&line);
        assert_eq!((parsed.kind, parsed.mode), (kind, Some(mode)), "{text}");
    }
    for text in
        ["xrwxr-xr-x", "drwxr-xr-", "drwxr-xr-xx", "-rw-r--r-t-", "-wr-r--r--", "-rw-r--r-s", "-rwtr--r--"]
    {
        let line = format!("{text} 2 lena staff 512 Feb  3 07:41 x");
        assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{text}");
    }
}

#[test]
fn devices_have_numbers_and_no_size() {
    for numbers in ["4, 7", "4,   7", "4,7", "0x4000007", "47"] {
        let line = format!("crw-rw---- 1 root tty {numbers} Jan 12 10:00 tty7");
        let parsed = entry(&line);
        assert_eq!(
            (parsed.name, parsed.kind, parsed.size),
            (&b"tty7"[..], EntryKind::Special, None),
            "{numbers}"
        );
    }
}

#[test]
fn the_size_of_a_link_finds_the_arrow() {
    for (size, text, name, target) in [
        ("8", "cur -> rel -> 2", "cur", Some("rel -> 2")),
        ("1", "cur -> rel -> 2", "cur -> rel", Some("2")),
        ("0", "cur -> rel -> 2", "cur", Some("rel -> 2")),
        ("99", "cur -> rel -> 2", "cur", Some("rel -> 2")),
        ("15", "cur -> rel -> 2", "cur", Some("rel -> 2")),
        ("18446744073709551615", "cur -> rel", "cur", Some("rel")),
        ("3", "cur -> ", "cur", None),
        ("3", "cur", "cur", None),
        ("4", " a  ->  b ", " a ", Some(" b ")),
    ] {
        let line = format!("lrwxrwxrwx 1 lena staff {size} Jan 25 00:17 {text}");
        let parsed = entry(&line);
        assert_eq!(parsed.name, name.as_bytes(), "{size} {text}");
        assert_eq!(parsed.link_target, target.map(str::as_bytes), "{size} {text}");
    }
}

#[test]
fn lines_around_the_entries_are_noise() {
    for line in [
        "",
        " ",
        "total 40",
        "Total 4.5K",
        "total: 40",
        "insgesamt 40",
        "razem 0",
        "Status of /srv:",
        "End of status",
    ] {
        assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Noise, "{line}");
    }
}

#[test]
fn dates_in_other_orders_and_languages() {
    let day = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    let march = day("2024-03-09T00:00:00Z");
    for (date, seconds) in [
        ("9 mar 2024", march),
        ("09 Mar 2024", march),
        ("9. Mär 2024", march),
        ("26. Juli, 20:10", day("2023-07-26T20:10:00Z")),
        ("9 mars 07:41", day("2024-03-09T07:41:00Z")),
        ("2024 Mar  9", march),
        ("2024.03.09", march),
        ("2024/03/09", march),
        ("09.03.2024 17:45", march + 63_900),
        ("9.3.2024 17:45", march + 63_900),
        ("03-09 2024", march),
        ("03-09 07:41", day("2024-03-09T07:41:00Z")),
        // AIX: days of two digits, and 24:00.
        ("Mar 09 24:00", march + 86_400),
        ("juil. 26 2021", day("2021-07-26T00:00:00Z")),
        ("ene  9 2021", day("2021-01-09T00:00:00Z")),
        ("giu 9 07:41", day("2023-06-09T07:41:00Z")),
        ("wrz  9  2021", day("2021-09-09T00:00:00Z")),
        ("szept.  9  2021", day("2021-09-09T00:00:00Z")),
        ("říj  9  2021", day("2021-10-09T00:00:00Z")),
        ("июл  9  2021", day("2021-07-09T00:00:00Z")),
        ("3月  9 07:41", day("2024-03-09T07:41:00Z")),
        ("3月 9日 2024年", march),
        ("2024年 3月 9日", march),
        ("12월  9일  2021", day("2021-12-09T00:00:00Z")),
    ] {
        for name in ["x", " a b", "7 Feb  3 07:41 y", "9 mar 2024", "10:00", "2021"] {
            let line = format!("-rw-r--r-- 1 lena staff 5 {date} {name}");
            let parsed = entry(&line);
            assert_eq!((parsed.name, parsed.size), (name.as_bytes(), Some(5)), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), Some(seconds), "{line}");
        }
    }
    for (date, seconds) in [
        (&b"7 \xc6\xc5\xd7 2021"[..], "2021-02-07T00:00:00Z"),
        (b"\xf4\xe5\xe2 7 2021", "2021-02-07T00:00:00Z"),
        (b"M\xe4r 7 2021", "2021-03-07T00:00:00Z"),
        (b"7 pa\xbc 2021", "2021-10-07T00:00:00Z"),
        (b"3\x8c\x8e 7\x93\xfa 2021\x94\x4e", "2021-03-07T00:00:00Z"),
        (b"3\xd4\xc2  7  2021", "2021-03-07T00:00:00Z"),
        (b"3\xbf\xf9  7\xc0\xcf  2021\xb3\xe2", "2021-03-07T00:00:00Z"),
    ] {
        let line = [&b"-rw-r--r-- 1 lena staff 5 "[..], date, b" x"].concat();
        let Line::Entry(parsed) = parse(&line, &CONTEXT) else { panic!("{}", line.escape_ascii()) };
        assert_eq!((parsed.name, parsed.size), (&b"x"[..], Some(5)), "{}", line.escape_ascii());
        assert_eq!(parsed.modified.map(|m| m.seconds), Some(day(seconds)), "{}", line.escape_ascii());
    }
}

#[test]
fn a_size_like_a_year_and_an_owner_like_a_month_are_not_part_of_the_date() {
    for line in [
        "-rw-r--r-- 1 1000 1000 2021 Feb  3 07:41 x",
        "-rw-r--r-- 1 lena 9 2021 Feb  3 07:41 x",
        "-rw-r--r-- 1 mai 9 2021 Feb  3 07:41 x",
        "-rw-r--r-- 1 lena set 2021 Feb  3 07:41 x",
        "-rw-r--r-- 1 lena staff 2021 Feb  3 07:41 x",
    ] {
        let parsed = entry(line);
        assert_eq!((parsed.name, parsed.size), (&b"x"[..], Some(2021)), "{line}");
        assert_eq!(parsed.modified.map(|m| m.seconds), Some(1_706_946_060), "{line}");
    }
}

#[test]
fn lines_without_a_date() {
    for (line, size, name) in [
        ("drwxr-xr-x 3 lena dev 512 nodate", 512, "nodate"),
        ("-rw-r--r-- 3 lena dev 512  no date at all", 512, " no date at all"),
        ("-rw-r--r-- 3 lena 512 nodate", 512, "nodate"),
        ("-rw-r--r-- 3 1000 1000 512 nodate", 512, "nodate"),
    ] {
        let parsed = entry(line);
        assert_eq!((parsed.name, parsed.size), (name.as_bytes(), Some(size)), "{line}");
        assert_eq!(parsed.modified, None, "{line}");
    }
}

#[test]
fn forks_of_macos_are_no_size() {
    for (line, kind, size, name) in [
        ("-rw-r--r--      0   18210    18210 Mar  9 2001 letter", EntryKind::File, Some(18_210), "letter"),
        ("-------r--         326  1391972  1392298 Nov 22  1995 a.sit", EntryKind::File, None, "a.sit"),
        ("drwxrwxr-x   folder   2 Mar  9 2001 box", EntryKind::Directory, None, "box"),
        ("-rw-r--r-- 1 1000 1000 Mar  9 2001 a", EntryKind::File, Some(1000), "a"),
    ] {
        let parsed = entry(line);
        assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, size), "{line}");
    }
}

#[test]
fn marks_are_told_to_the_listing() {
    for (mode, name, shown, marked) in [
        ("drwxr-xr-x", "box/", "box", Some(true)),
        ("drwxr-xr-x", "./", ".", Some(true)),
        ("drwxr-xr-x", "box", "box", Some(false)),
        ("-rwxr-xr-x", "run*", "run*", Some(true)),
        ("-rwxr-xr-x", "run", "run", Some(false)),
        ("-rw-r--r--", "a*", "a*", None),
    ] {
        let line = format!("{mode} 1 lena staff 5 Jan  9 10:00 {name}");
        let parsed = entry(&line);
        assert_eq!((parsed.name, parsed.marked), (shown.as_bytes(), marked), "{line}");
    }
}

#[test]
fn what_is_not_understood_is_never_guessed() {
    for line in [
        "ls: secret: Permission denied",
        "-rw-r--r-- 1 lena staff 5 26. Foo, 20:10 x",
        "-rw-r--r-- 1 lena staff 5 26. Foo, 20:10 x 7 Feb  3 07:41 y",
        "-rw-r--r-- 1 lena staff 5 foo. 26 2021 x 7 Feb  3 07:41 y",
        "-rw-r--r-- 1 lena staff 5 26 foo. 2021 x 7 Feb  3 07:41 y",
        "-rw-r--r-- 1 lena staff 5 3\u{6708} 9\u{98a8} 2024\u{5e74} 7 Feb  3 07:41 y",
        "-rw-r--r-- 1 lena staff 5",
        "-rw-r--r-- 1 lena staff Feb  3 07:41 x",
        "-rw-r--r-- 1 lena staff 5 Feb 32 07:41 x",
        "-rw-r--r-- 1 lena staff 5 Feb  3 25:41 x",
        "-rw-r--r-- 1 lena staff 5 Feb  3 x",
        "-rw-r--r-- 1 lena staff 5 03/09/2024 x",
        "-rw-r--r--",
    ] {
        assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
    }
    assert_eq!(entry("-rw-r--r-- 1 lena staff 5 Feb  3 07:41").name, b"");
}
