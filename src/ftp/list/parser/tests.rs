use super::super::vote::CLEAR_AFTER;
use super::super::{DIALECTS, EntryKind, MAX_LINE};
use super::*;
use crate::ftp::time::ListZone;

/// 2024-03-09 17:45:01 UTC
const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };
const UNIX: &str = "-rw-r--r-- 1 lena staff 5 Feb  3 07:41 ";
const DOS: &str = "03-09-24  05:45PM 5 ";

fn parse(hint: Option<Dialect>, text: &str) -> ParsedListing {
    let mut parser = ListParser::new(hint, CONTEXT);
    parser.push(text.as_bytes()).unwrap();
    parser.finish()
}

fn names(listing: &ParsedListing) -> Vec<String> {
    listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
}

#[test]
fn most_lines_decide_and_the_others_are_still_read() {
    let text = format!("{DOS}a\r\n{UNIX}b\r\nnot an entry\r\n{UNIX}c\r\ntype=file; d\r\n");
    for hint in [None, Some(Dialect::Dos), Some(Dialect::Mlsd), Some(Dialect::Names)] {
        let listing = parse(hint, &text);
        assert_eq!(listing.dialect, Some(Dialect::Unix), "{hint:?}");
        assert_eq!(names(&listing), ["a", "b", "c", "d"], "{hint:?}");
        assert_eq!(listing.skipped, 1);
        assert_eq!(listing.first_skipped.as_deref(), Some(&b"not an entry"[..]));
    }
}

#[test]
fn the_whole_listing_decides_not_its_start() {
    let text = format!("{UNIX}u\r\n").repeat(1_500) + &format!("{DOS}d\r\n").repeat(2_000);
    let listing = parse(Some(Dialect::Unix), &text);
    assert_eq!(listing.dialect, Some(Dialect::Dos));
    assert_eq!(names(&listing), ["u", "d"]);
    assert_eq!(listing.repeated, 3_498);
}

#[test]
fn a_listing_that_nobody_understands_has_no_dialect() {
    for text in ["", "\r\n", "total 0\r\n", "what\r\nis\r\nthis\r\n"] {
        let listing = parse(Some(Dialect::Unix), text);
        assert_eq!((listing.dialect, listing.entries.len()), (None, 0), "{text}");
    }
}

#[test]
fn a_certain_dialect_takes_no_other() {
    let mut parser = ListParser::certain(Dialect::Mlsd, CONTEXT);
    parser.push(format!("{UNIX}a\r\n{UNIX}b\r\ntype=dir; c\r\n").as_bytes()).unwrap();
    assert_eq!(parser.entry_count(), 1);
    let listing = parser.finish();
    assert_eq!(
        (listing.dialect, names(&listing), listing.skipped),
        (Some(Dialect::Mlsd), vec!["c".into()], 2)
    );

    let mut parser = ListParser::certain(Dialect::Names, CONTEXT);
    parser.push(b"a\r\n./b/\r\ntype=dir; c").unwrap();
    assert_eq!(names(&parser.finish()), ["a", "b", "type=dir; c"]);
}

#[test]
fn names_that_no_file_can_have_are_counted() {
    let long = "x".repeat(256);
    for name in ["", "a/b", "/etc/passwd", "../up", "a\0b", "a\rb", "a\r", &long] {
        for text in
            [format!("type=file; {name}\r\n"), format!("{UNIX}{name}\r\n"), format!("{DOS}{name}\r\n")]
        {
            let listing = parse(None, &text);
            assert_eq!((listing.entries.len(), listing.skipped), (0, 1), "{text:?}");
        }
    }
}

#[test]
fn dot_entries_are_told_apart_from_the_rest() {
    let own = "drwxr-x--- 1 lena staff 4096 Feb  3 07:41 .";
    let parent = "drwxr-xr-x 1 lena staff 4096 Feb  3 07:41 ..";
    for (text, has_own) in [
        (format!("{own}\r\n{parent}\r\n{UNIX}a\r\n"), true),
        ("type=cdir;UNIX.mode=0750; /srv\r\ntype=pdir; ..\r\ntype=file; a\r\n".to_string(), true),
        (format!("{parent}\r\n{UNIX}a\r\n"), false),
    ] {
        let listing = parse(None, &text);
        assert!(listing.saw_dot_entries, "{text}");
        assert_eq!((names(&listing), listing.skipped), (vec!["a".into()], 0), "{text}");
        assert_eq!(listing.own.is_some(), has_own);
        if let Some(own) = listing.own {
            assert_eq!((&*own.name, own.kind, own.mode), (&b"."[..], EntryKind::Directory, Some(0o750)));
        }
    }
    assert!(!parse(None, &format!("{UNIX}.hidden\r\n")).saw_dot_entries);
}

#[test]
fn long_lines_are_dropped_and_the_next_one_is_read() {
    let text = format!("{UNIX}{}\r\n{UNIX}b\r\n", "x".repeat(MAX_LINE));
    let listing = parse(None, &text);
    assert_eq!((names(&listing), listing.skipped), (vec!["b".into()], 1));
    assert_eq!(listing.first_skipped.map(|line| line.len()), Some(SAMPLE));
}

#[test]
fn an_endless_listing_is_refused() {
    let mut parser = ListParser::certain(Dialect::Names, CONTEXT);
    parser.bytes = MAX_BYTES - 3;
    parser.push(b"xxx").unwrap();
    assert_eq!(parser.push(b"x"), Err(ListError::TooLarge));
    assert_eq!(parser.push(b""), Err(ListError::TooLarge));
}

#[test]
fn too_many_entries_are_refused() {
    let limited = || {
        let mut parser = ListParser::certain(Dialect::Names, CONTEXT);
        parser.body.max_entries = 2;
        parser
    };
    assert_eq!(limited().push(b"a\nb\nc\n"), Err(ListError::TooLarge));
    let mut parser = limited();
    parser.push(b"a\nb\nc").unwrap();
    let listing = parser.finish();
    assert_eq!((names(&listing), listing.skipped), (vec!["a".into(), "b".into()], 1));
}

#[test]
fn work_grows_with_the_lines_and_no_faster() {
    let unix: String = (0..20_000).map(|n| format!("{UNIX}file {n}\r\n")).collect();
    let mixed: String = (0..10_000).map(|n| format!("{UNIX}file {n}\r\n{DOS}{n}\r\n")).collect();
    let junk = "no entry at all\r\n".repeat(20_000);
    let voters = DIALECTS.iter().filter(|row| row.votes).count();
    for (text, calls_per_line, polled, entries) in
        [(unix, 1, CLEAR_AFTER, 20_000), (mixed, voters, POLL_LINES, 20_000), (junk, voters, POLL_LINES, 0)]
    {
        let mut parser = ListParser::new(None, CONTEXT);
        for chunk in text.as_bytes().chunks(1_000) {
            parser.push(chunk).unwrap();
        }
        assert!(parser.body.vote.calls <= 20_000 * calls_per_line + polled * voters);
        let listing = parser.finish();
        assert_eq!((listing.entries.len(), listing.skipped), (entries, 20_000 - entries));
    }
}

#[test]
fn marks_are_taken_off_where_all_have_them() {
    let directory = "drwxr-xr-x 1 lena staff 5 Feb  3 07:41 ";
    let program = "-rwxr-xr-x 1 lena staff 5 Feb  3 07:41 ";
    for (text, expected) in [
        (format!("{directory}d/\r\n{program}p*\r\n{UNIX}f*\r\n"), ["d", "p", "f*"]),
        (format!("{directory}d\r\n{program}p*\r\n{UNIX}f*\r\n"), ["d", "p*", "f*"]),
        (format!("{program}p*\r\n{program}q\r\n{UNIX}f*\r\n"), ["p*", "q", "f*"]),
        (format!("{program}p*\r\n{program}q*\r\n{UNIX}f*\r\n"), ["p", "q", "f*"]),
        (format!("{program}*\r\n{program}q*\r\n{UNIX}*\r\n"), ["*", "q", "*"]),
    ] {
        let listing = parse(None, &text);
        let mut expected: Vec<String> = expected.into_iter().map(String::from).collect();
        expected.dedup();
        let mut found = names(&listing);
        if listing.repeated > 0 {
            found.push("*".into());
        }
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn of_several_versions_the_newest_stays() {
    let line = |name: &str, day: u8| format!("{name} 1 {day}-FEB-2024 (RWED,RWED,RE,)\r\n");
    let text = line("A.;3", 3) + &line("A.;12", 4) + &line("A.;1", 1) + &line("B.;1", 5) + &line("B.;2", 6);
    let listing = parse(None, &text);
    assert_eq!((names(&listing), listing.repeated, listing.skipped), (vec!["A.".into(), "B.".into()], 0, 0));
    let days: Vec<_> = listing.entries.iter().map(|e| e.modified.unwrap().seconds / 86_400).collect();
    assert_eq!(days, [19_757, 19_759]);
}

#[test]
fn an_entry_may_take_two_lines() {
    let second = "   1 3-FEB-2024 (RWED,RWED,RE,)";
    for (text, expected, skipped) in [
        (format!("A.;1\r\n{second}\r\nB.;1\r\n{second}\r\n"), &["A.", "B."][..], 0),
        (format!("A.;1\r\n\r\nB.;1\r\n{second}\r\n"), &["B."], 1),
        (format!("A.;1\r\nB.;1\r\n{second}\r\n"), &["B."], 1),
        (format!("A.;1\r\nC.;1{second}\r\nB.;1"), &["C."], 2),
        (format!("{second}\r\nA.;1\r\n{second}\r\n"), &["A."], 1),
    ] {
        let listing = parse(None, &text);
        assert_eq!(
            (&names(&listing)[..], listing.skipped),
            (&expected.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..], skipped),
            "{text}"
        );
        assert_eq!(listing.dialect, Some(Dialect::Vms));
    }
}

#[test]
fn members_are_shown_unless_their_file_is() {
    let file = "LENA 1 24-03-01 10:13:23 *FILE SRC.FILE\r\n";
    let members = "LENA *MEM SRC.FILE/A.MBR\r\nLENA *MEM SRC.FILE/B.MBR\r\n";
    assert_eq!(names(&parse(None, &format!("{file}{members}"))), ["SRC.FILE"]);
    assert_eq!(names(&parse(None, members)), ["A.MBR", "B.MBR"]);
}

#[test]
fn a_heading_decides_at_the_start_and_nowhere_else() {
    let heading = " Name     VV.MM   Created       Changed      Size  Init   Mod   Id\r\n";
    let listing = parse(Some(Dialect::Unix), &format!("\r\n{heading}MEMB1\r\n{UNIX}a\r\n"));
    assert_eq!((listing.dialect, names(&listing)), (Some(Dialect::MvsMembers), vec!["MEMB1".into()]));
    assert_eq!(listing.skipped, 1);
    let listing = parse(None, &format!("{UNIX}a\r\n{heading}MEMB1\r\n{UNIX}b\r\n"));
    assert_eq!((listing.dialect, names(&listing)), (Some(Dialect::Unix), vec!["a".into(), "b".into()]));
    // Bare names are nothing without it.
    assert_eq!(parse(Some(Dialect::Mvs), "MEMB1\r\nMEMB2\r\n").entries, []);
}
