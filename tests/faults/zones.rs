//! Listings by a server's wall clock.

use std::collections::BTreeMap;

use ftpfs::ftp::list::RemoteEntry;
use ftpfs::ftp::time::ListZone;
use jiff::Timestamp;
use jiff::tz::Offset;

use crate::client::{Client, Options, watched};
use crate::common_ftpd::{ListForm, Quirks, Server, Tree};

const INDIA: i64 = 19_800;
const NAMES: [&str; 3] = ["one", "two", "three"];

/// A tree with young files, and their times.
fn young() -> (Tree, i64) {
    let mut tree = Tree::bare();
    let time = Timestamp::now().as_second() / 60 * 60 - 86_400 * 3;
    for (index, name) in (0..).zip(NAMES) {
        tree.put_at(&format!("/home/u/{name}"), b"bytes".to_vec(), time + 7 * index);
    }
    (tree, time)
}

fn quirks(zone: i64) -> Quirks {
    Quirks { mlst: false, list_form: ListForm::Unix { zone }, ..Quirks::default() }
}

fn seconds(entries: &[RemoteEntry], name: &str) -> i64 {
    let entry = entries.iter().find(|entry| *entry.name == *name.as_bytes()).unwrap();
    entry.modified.unwrap().seconds
}

#[test]
fn the_zone_is_found_once_and_before_anybody_sees_a_time() {
    watched(|| {
        for zone in [INDIA, -5 * 3600, 0] {
            let (tree, time) = young();
            let server = Server::start(tree, quirks(zone));
            let client = Client::of(&server);
            for _ in 0..3 {
                let listed = client.list("").unwrap().entries;
                for name in NAMES {
                    assert_eq!(seconds(&listed, name), time, "{name} {zone}");
                }
            }
            assert!((1..=3).contains(&server.count("MDTM")), "{}", server.count("MDTM"));
        }
    });
}

#[test]
fn old_files_alone_ask_nothing() {
    watched(|| {
        let server = Server::start(Tree::sample(), quirks(INDIA));
        let client = Client::of(&server);
        client.list("").unwrap();
        assert_eq!(server.count("MDTM"), 0);
    });
}

#[test]
fn mlsd_asks_nothing() {
    watched(|| {
        let (tree, time) = young();
        let server = Server::start(tree, Quirks { mlst: true, ..quirks(INDIA) });
        let client = Client::of(&server);
        assert_eq!(seconds(&client.list("").unwrap().entries, "one"), time);
        assert_eq!(server.count("MDTM"), 0);
    });
}

#[test]
fn a_zone_that_is_told_is_believed_unasked() {
    watched(|| {
        let (tree, time) = young();
        let server = Server::start(tree, quirks(INDIA));
        let told = Some(ListZone::parse("Asia/Kolkata").unwrap());
        let client = Client::connect(&server, Options { list_zone: told, ..Options::default() }).unwrap();
        assert_eq!(seconds(&client.list("").unwrap().entries, "two"), time);
        assert_eq!(server.count("MDTM"), 0);
    });
}

#[test]
fn a_file_that_changes_meanwhile_does_not_mislead() {
    watched(|| {
        let (tree, time) = young();
        let shown = Offset::UTC.to_datetime(Timestamp::from_second(time + INDIA).unwrap());
        let line = |name: &str| format!("-rw-r--r-- 1 u g 5 {} {name}\r\n", shown.strftime("%b %e %H:%M"));
        let raw: String = NAMES.iter().map(|name| line(name)).collect();
        let listings = BTreeMap::from([("/home/u".to_owned(), raw.into_bytes())]);
        let server = Server::start(tree, Quirks { listings, ..quirks(INDIA) });
        server.tree().put_at("/home/u/one", b"other".to_vec(), time + 86_400 * 2 + 425);
        let client = Client::of(&server);
        let listed = client.list("").unwrap().entries;
        assert_eq!(seconds(&listed, "three"), time);
    });
}

#[test]
fn a_file_that_is_known_does_not_look_changed() {
    watched(|| {
        let (tree, _) = young();
        let server = Server::start(tree, quirks(INDIA));
        let client = Client::of(&server);
        let asked = client.version("one").unwrap();
        let listed = client.listed_version("one").unwrap();
        assert_eq!((listed.id, listed.modified), (asked.id, asked.modified));
        assert_eq!(client.read_all("one").unwrap(), b"bytes");
        assert_eq!(client.listed_version("one").unwrap().id, asked.id);
    });
}
