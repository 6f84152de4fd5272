//! Listings that mean harm.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::client::{Client, LATE, OPERATION, is_clean, watched};
use crate::common_ftpd::{Quirks, Server, Tree};

/// Lists the sample's login directory with this as its listing; the names that are left.
fn listed(mlst: bool, raw: Vec<u8>) -> (Vec<String>, bool) {
    watched(move || {
        let listings = BTreeMap::from([("/home/u".to_owned(), raw)]);
        let server = Server::start(Tree::sample(), Quirks { mlst, listings, ..Quirks::default() });
        let client = Client::of(&server);
        let complete = client.list("").unwrap().complete;
        (client.names("").unwrap(), complete)
    })
}

#[test]
fn names_that_leave_the_directory_or_end_a_command_are_never_listed() {
    let long = "n".repeat(5000);
    let bad = ["a/b", "../up", "..", "/", "/etc/passwd", "nul\0nul", "a\rb", &long, ""];
    for name in bad {
        let mlsd = format!("type=file;size=1; {name}\r\ntype=file;size=2; good\r\n");
        let unix =
            format!("-rw-r--r-- 1 u g 1 Mar 04 2021 {name}\r\n-rw-r--r-- 1 u g 2 Mar 04 2021 good\r\n");
        for (mlst, raw) in [(true, mlsd), (false, unix)] {
            let (names, _) = listed(mlst, raw.into_bytes());
            assert_eq!(names, ["good"], "{name:?} mlst={mlst}");
        }
    }
}

#[test]
fn a_name_split_by_a_line_feed_hurts_nobody_else() {
    let raw = b"type=file;size=1; one\ntwo\r\ntype=file;size=2; good\r\n".to_vec();
    let (names, complete) = listed(true, raw);
    assert!(names.contains(&"good".to_owned()) && !names.contains(&"two".to_owned()), "{names:?}");
    assert!(!complete, "a line was not understood, so a name may be missing");
}

#[test]
fn garbage_between_good_lines_is_skipped_and_told() {
    let mut raw = b"type=file;size=2; good\r\n".to_vec();
    raw.extend([0xff, 0, 1, 2, b'\r', b'\n']);
    raw.extend(vec![b'x'; 10_000_000]);
    raw.extend(b"\r\ntype=dir; fine\r\n");
    let (names, complete) = listed(true, raw);
    assert_eq!(names, ["fine", "good"]);
    assert!(!complete);
    let (names, _) = listed(true, vec![b'x'; 10_000_000]);
    assert!(names.is_empty());
}

#[test]
fn a_listing_without_end_ends_with_the_deadline() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks { endless_listings: true, ..Quirks::default() });
        let client = Client::of(&server);
        let begun = Instant::now();
        let error = client.list("").unwrap_err();
        assert!(is_clean(&error), "{error:?}");
        assert!(begun.elapsed() < OPERATION + LATE, "{:?}", begun.elapsed());
        server.quirks().endless_listings = false;
        assert_eq!(client.names("sub").unwrap(), ["inner"]);
    });
}
