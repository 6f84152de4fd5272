//! Files that are fetched before they are asked for: sooner, and nothing else is different.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::common::bounded::eventually;
use crate::common_ftpd::{DataCut, DataCutEnd, Quirks, Server, Tree, pattern};
use crate::mounted::{HEALING, Mounted};

/// The mount's attr_timeout, and then some.
const OUTDATED: Duration = Duration::from_millis(1200);

fn name(number: usize) -> String {
    format!("d/{number:04}")
}

fn content(number: usize, size: usize) -> Vec<u8> {
    pattern(number as u64, size)
}

/// A directory of so many files, each of the size that `size` tells.
fn tree(files: usize, size: impl Fn(usize) -> usize) -> Tree {
    let mut tree = Tree::bare();
    tree.put_directory("/home/u/d");
    for number in 0..files {
        tree.put(&format!("/home/u/{}", name(number)), content(number, size(number)));
    }
    tree
}

/// Sizes from 1 to 20 kB.
fn small(number: usize) -> usize {
    1000 + number * 7919 % 19_000
}

/// Lists the directory and reads files as cp(1) does; they must be right.
fn read(dir: &Path, numbers: impl Iterator<Item = usize>, size: impl Fn(usize) -> usize) {
    assert!(fs::read_dir(dir.join("d")).unwrap().count() > 0);
    for number in numbers {
        let bytes = fs::read(dir.join(name(number))).unwrap();
        assert!(bytes == content(number, size(number)), "file {number}");
    }
}

fn start(tree: Tree, quirks: Quirks, connections: &str) -> Mounted {
    Mounted::start(
        tree,
        quirks,
        &[&format!("connections={connections}"), "attr_timeout=60", "cache_timeout=60", "prefetch=auto"],
    )
}

#[test]
fn files_read_one_after_the_other_are_fetched_ahead_and_each_once() {
    let mounted = start(tree(150, small), Quirks::default(), "8");
    mounted.call("the first files", |dir| read(dir, 0..10, small));
    eventually(HEALING, "files ahead", || (mounted.server.count("RETR") >= 14).then_some(()));
    mounted.call("the others", |dir| read(dir, 10..150, small));
    // A busy machine may make a reader lose his patience with one that is on its way.
    let transfers = mounted.server.count("RETR");
    assert!((150..=165).contains(&transfers), "{transfers} transfers");
}

#[test]
fn several_readers_of_one_directory_get_each_file_right_and_nearly_once() {
    let mounted = start(tree(160, small), Quirks::default(), "8");
    mounted.call("eight readers", |dir| {
        thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || read(dir, (thread..160).step_by(8), small));
            }
        });
    });
    let transfers = mounted.server.count("RETR");
    assert!((160..=200).contains(&transfers), "{transfers} transfers");
}

#[test]
fn with_one_connection_nothing_is_fetched_ahead() {
    let mounted = start(tree(60, small), Quirks::default(), "1");
    for begin in (0..60).step_by(20) {
        mounted.call("twenty files", move |dir| read(dir, begin..begin + 20, small));
        assert_eq!(mounted.server.count("RETR"), begin + 20);
    }
}

fn prefetching(word: &str) -> Mounted {
    let option = format!("prefetch={word}");
    let options = ["connections=8", "attr_timeout=60", "cache_timeout=60", &option];
    Mounted::start(tree(60, small), Quirks::default(), &options)
}

#[test]
fn without_prefetch_a_file_is_fetched_when_it_is_read() {
    let mounted = prefetching("off");
    for begin in (0..60).step_by(20) {
        mounted.call("twenty files", move |dir| read(dir, begin..begin + 20, small));
        assert_eq!(mounted.server.count("RETR"), begin + 20);
    }
}

#[test]
fn who_is_eager_has_the_next_files_fetched_with_the_first() {
    let mounted = prefetching("eager");
    mounted.call("the first file", |dir| read(dir, 0..1, small));
    // Four for each connection, and the first.
    eventually(HEALING, "the next files", || (mounted.server.count("RETR") == 33).then_some(()));
    mounted.call("the others", |dir| read(dir, 1..60, small));
}

/// What `work` makes a server send to a mount of so many connections, in bytes and transfers of files.
fn cost(make: fn() -> Tree, connections: &str, work: fn(&Path)) -> (usize, usize) {
    let Mounted { mount, server } = start(make(), Quirks::default(), connections);
    let dir = mount.path().to_owned();
    crate::common::bounded::within(Duration::from_secs(60), "the work", move || work(&dir));
    // With the mount goes all that is still on its way.
    drop(mount);
    (server.sent(), server.count("RETR"))
}

fn first_bytes(dir: &Path) {
    for number in 0..500 {
        let mut byte = [0];
        File::open(dir.join(name(number))).unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], content(number, 1)[0]);
    }
}

fn random_reads(dir: &Path) {
    let file = File::open(dir.join(name(0))).unwrap();
    let whole = content(0, 4 << 20);
    for step in 0..60 {
        let mut bytes = vec![0; 4096];
        let offset = step * 397 % 1024 * 4096;
        file.read_exact_at(&mut bytes, offset as u64).unwrap();
        assert!(bytes == whole[offset..offset + 4096], "at {offset}");
    }
}

fn find(dir: &Path) {
    let found = fs::read_dir(dir.join("d")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(found.sum::<u64>() > 0);
}

#[test]
fn no_more_than_half_as_much_again_is_sent_for_it() {
    // Some are larger than the kernel reads ahead.
    let heads = || tree(500, |number| if number % 10 == 0 { 200_000 } else { small(number) });
    let (plain, _) = cost(heads, "1", first_bytes);
    let (ahead, _) = cost(heads, "8", first_bytes);
    assert!(ahead * 2 <= plain * 3, "{ahead} bytes instead of {plain} for the first bytes of files");
    // How much of a transfer that is stopped was sent is the kernel's affair.
    let large = || tree(20, |_| 4 << 20);
    let (_, plain) = cost(large, "1", random_reads);
    let (_, ahead) = cost(large, "8", random_reads);
    assert!(ahead * 2 <= plain * 3, "{ahead} transfers instead of {plain} for random reads");
    let listed = || tree(500, small);
    let (plain, _) = cost(listed, "1", find);
    let (ahead, transfers) = cost(listed, "8", find);
    assert!(ahead * 2 <= plain * 3 && transfers == 0, "{ahead} bytes instead of {plain} for find");
}

#[test]
fn a_file_that_was_replaced_since_it_was_listed_or_fetched_is_never_shown_old() {
    let replace = |server: &Server, number: usize, time| {
        let path = format!("/home/u/{}", name(number));
        server.tree().put_at(&path, content(number + 1000, 2000), time);
    };
    let read_but = |dir: &Path, other: &[usize]| {
        for number in 0..30 {
            let shown = if other.contains(&number) { number + 1000 } else { number };
            let bytes = fs::read(dir.join(name(number))).unwrap();
            assert!(bytes == content(shown, 2000), "file {number}");
        }
    };
    for mlst in [true, false] {
        let mounted = Mounted::start(
            tree(30, |_| 2000),
            Quirks { mlst, ..Quirks::default() },
            &["connections=8", "prefetch=auto"],
        );
        mounted.call("a listing", find);
        replace(&mounted.server, 5, 1_700_000_000);
        thread::sleep(OUTDATED);
        mounted.call("all, one replaced", move |dir| read_but(dir, &[5]));
        replace(&mounted.server, 9, 1_700_000_000);
        thread::sleep(OUTDATED);
        mounted.call("all, two replaced", move |dir| read_but(dir, &[5, 9]));
    }
}

#[test]
fn files_renamed_while_they_are_on_their_way_keep_their_own_bytes() {
    // By size and time, all are one.
    let slow = Some(Duration::from_millis(5));
    let quirks = Quirks { mlst: false, slow, ..Quirks::default() };
    let mounted = start(tree(300, |_| 2000), quirks, "8");
    mounted.call("reading and renaming", |dir| {
        let get = |name: &str| fs::read(dir.join(name)).unwrap();
        find(dir);
        for begin in (0..300).step_by(6) {
            (begin..begin + 3).for_each(|number| assert!(get(&name(number)) == content(number, 2000)));
            let (third, moved) = (name(begin + 3), format!("d/x{begin}"));
            fs::rename(dir.join(&third), dir.join(&moved)).unwrap();
            fs::rename(dir.join(name(begin + 5)), dir.join(&third)).unwrap();
            assert!(get(&third) == content(begin + 5, 2000), "{third}");
            assert!(get(&moved) == content(begin + 3, 2000), "{moved}");
        }
    });
}

#[test]
fn files_written_while_they_are_on_their_way_are_read_as_written() {
    let slow = Some(Duration::from_millis(5));
    let mounted = start(tree(120, |_| 2000), Quirks { slow, ..Quirks::default() }, "8");
    mounted.call("reading and writing", |dir| {
        find(dir);
        for begin in (0..120).step_by(4) {
            (begin..begin + 3).for_each(|number| {
                assert!(fs::read(dir.join(name(number))).unwrap() == content(number, 2000));
            });
            let path = dir.join(name(begin + 3));
            fs::write(&path, content(begin + 1000, 2000)).unwrap();
            assert!(fs::read(&path).unwrap() == content(begin + 1000, 2000), "{path:?}");
        }
    });
}

#[test]
fn who_asks_goes_before_what_nobody_asks_for() {
    let size = |_| 200_000;
    let mut tree = tree(40, size);
    tree.put("/home/u/other", content(99, 2000));
    let slow = Some(Duration::from_millis(100));
    let mounted = start(tree, Quirks { slow, ..Quirks::default() }, "2");
    mounted.call("eight files", move |dir| read(dir, 0..8, size));
    let before = mounted.server.count("RETR");
    mounted.call("another", |dir| assert!(fs::read(dir.join("other")).unwrap() == content(99, 2000)));
    // Its own, the one on its way, and those that ended before it came.
    let during = mounted.server.count("RETR") - before;
    assert!(during <= 4, "{during} transfers went before it");
}

#[test]
fn a_file_that_fails_on_its_way_is_read_all_the_same() {
    for end in [DataCutEnd::Says426, DataCutEnd::Lies226, DataCutEnd::Silent, DataCutEnd::Stalls] {
        // All five may meet one reader, and each that stalls costs more than a second.
        let options = ["connections=4", "attr_timeout=60", "cache_timeout=60", "operation_timeout=10"];
        let mounted = Mounted::start(tree(60, small), Quirks::default(), &options);
        mounted.call("the first files", |dir| read(dir, 0..6, small));
        mounted.server.quirks().data_cut = Some(DataCut { after: 700, times: 5, end });
        mounted.call("the others", |dir| read(dir, 6..60, small));
    }
}

#[test]
fn a_small_cache_is_enough() {
    let size = |_| 60_000;
    let quirks = Quirks::default();
    let mounted = Mounted::start(
        tree(100, size),
        quirks,
        &["connections=8", "cache_size=1M", "attr_timeout=60", "prefetch=auto"],
    );
    mounted.call("all files", move |dir| read(dir, 0..100, size));
    let transfers = mounted.server.count("RETR");
    assert!(transfers <= 150, "{transfers} transfers");
}
