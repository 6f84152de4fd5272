use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::cache::Order;
use crate::read::ahead::order::tests::{Known, path};

const LIMITS: Limits = Limits { files: 16, bytes: 1 << 20, file: 512 * 1024, eager: false };

/// Files `0000`, `0001` and so on of `size` bytes in `/d`.
fn flat(files: usize, size: u64) -> Known {
    let names: Vec<String> = (0..files).map(|i| format!("{i:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Known::default().with("/d", &names, size)
}

struct Reader<'a> {
    tree: &'a Known,
    policy: Policy,
    /// All that was asked for, by their paths.
    asked: Vec<String>,
}

impl Reader<'_> {
    fn new(tree: &Known) -> Reader<'_> {
        Reader { tree, policy: Policy::new(LIMITS), asked: Vec::new() }
    }

    fn take(&mut self, next: &[Next]) -> usize {
        let shown = |next: &Next| format!("{}/{}", next.dir, String::from_utf8_lossy(&next.entry.name));
        self.asked.extend(next.iter().map(shown));
        next.len()
    }

    fn open(&mut self, dir: &str, name: &str, kept: bool) -> usize {
        let dir = path(dir);
        let entry = self
            .tree
            .listing(&dir)
            .and_then(|listing| listing.at(listing.place(name.as_bytes(), Order::Listed)?, Order::Listed));
        let size = entry.and_then(|entry| entry.size).unwrap_or(0);
        let next = self.policy.opened(self.tree, Opened { dir: &dir, name: name.as_bytes(), size, kept });
        self.take(&next)
    }

    fn finish(&mut self, dir: &str, name: &str) -> usize {
        let next = self.policy.read_to_end(self.tree, &path(dir), name.as_bytes());
        self.take(&next)
    }

    /// Opens and reads a file; tells how many are asked for by that.
    fn read(&mut self, dir: &str, name: &str) -> usize {
        self.open(dir, name, false) + self.finish(dir, name)
    }

    fn cat(&mut self, number: usize) -> usize {
        self.read("/d", &format!("{number:04}"))
    }
}

#[test]
fn two_files_read_in_order_begin_a_run_that_grows_with_each_file() {
    let tree = flat(100, 1000);
    let mut reader = Reader::new(&tree);
    assert_eq!(reader.cat(0), 0);
    assert_eq!(reader.cat(1), 2);
    assert_eq!(reader.asked, ["/d/0002", "/d/0003"]);
    assert_eq!(reader.cat(2), 2);
    assert_eq!(reader.cat(3), 2);
    for number in 4..99 {
        reader.cat(number);
    }
    // Each once, in order, and never more than the limit ahead.
    let expected: Vec<String> = (2..100).map(|number| format!("/d/{number:04}")).collect();
    assert_eq!(reader.asked, expected);
    let mut reader = Reader::new(&tree);
    for number in 0..40 {
        reader.cat(number);
        assert!(reader.asked.len() <= number.saturating_sub(1) + LIMITS.files);
    }
    assert!(reader.asked.len() >= 38 + LIMITS.files);
}

#[test]
fn files_that_are_opened_and_not_read_begin_nothing_and_end_a_run() {
    let tree = flat(100, 1000);
    let mut reader = Reader::new(&tree);
    for number in 0..20 {
        assert_eq!(reader.open("/d", &format!("{number:04}"), false), 0);
    }
    for number in 20..40 {
        reader.cat(number);
    }
    let before = reader.asked.len();
    for number in 40..60 {
        reader.open("/d", &format!("{number:04}"), false);
    }
    assert!(reader.asked.len() <= before + UNREAD, "it goes on");
}

#[test]
fn no_order_begins_nothing() {
    let tree = flat(1000, 1000);
    let mut reader = Reader::new(&tree);
    for step in 0..300 {
        reader.cat(step * 389 % 1000);
    }
    assert_eq!(reader.asked, [""; 0]);
}

#[test]
fn a_sorted_reader_of_an_unsorted_listing_is_recognised() {
    let names: Vec<String> = (0..50).map(|i| format!("{:04}", i * 17 % 50)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tree = Known::default().with("/d", &names, 1000);
    let mut sorted = Reader::new(&tree);
    sorted.cat(0);
    assert_eq!((sorted.cat(1), &*sorted.asked), (2, &["/d/0002".to_owned(), "/d/0003".to_owned()][..]));
    let mut listed = Reader::new(&tree);
    listed.read("/d", names[0]);
    assert_eq!(listed.read("/d", names[1]), 2);
    assert_eq!(listed.asked, [format!("/d/{}", names[2]), format!("/d/{}", names[3])]);
}

#[test]
fn a_run_goes_on_in_the_next_directory() {
    let tree = Known::default().with("/t", &["a/", "b/", "c/"], 0).with("/t/a", &["1", "2", "3"], 1000).with(
        "/t/b",
        &["1", "2", "3"],
        1000,
    );
    let mut reader = Reader::new(&tree);
    for name in ["1", "2", "3"] {
        reader.read("/t/a", name);
    }
    // What is in /t/c nobody knows.
    assert_eq!(reader.asked, ["/t/a/3", "/t/b/1", "/t/b/2", "/t/b/3"]);
}

#[test]
fn several_readers_at_once_have_runs_of_their_own() {
    let tree = flat(1000, 1000);
    let mut reader = Reader::new(&tree);
    for number in 0..10 {
        for begin in [0, 300, 600] {
            reader.cat(begin + number);
        }
    }
    for begin in [0, 300, 600] {
        let expected = format!("/d/{:04}", begin + 11);
        assert!(reader.asked.contains(&expected), "{expected}");
    }
}

#[test]
fn large_files_are_left_out_until_such_are_read_whole() {
    let tree = Known::default().with("/d", &["0", "1", "2", "3", "4", "5"], 400 * 1024);
    let mut reader = Reader::new(&tree);
    reader.open("/d", "0", false);
    reader.open("/d", "1", false);
    assert_eq!(reader.asked, [""; 0]);
    reader.finish("/d", "0");
    assert_eq!(reader.finish("/d", "1"), 2);
    let tree = Known::default().with("/d", &["0", "1", "2", "3", "4", "5"], LIMITS.file + 1);
    let mut reader = Reader::new(&tree);
    for number in 0..4 {
        assert_eq!(reader.read("/d", &number.to_string()), 0);
    }
    assert_eq!(reader.asked, [""; 0]);
}

#[test]
fn of_files_that_the_kernel_has_only_the_attributes_are_wanted() {
    let tree = flat(100, 1 << 30);
    let mut reader = Reader::new(&tree);
    reader.open("/d", "0000", true);
    assert_eq!(reader.open("/d", "0001", true), 2);
    let (dir, name) = (path("/d"), b"0002");
    let next = reader.policy.opened(&tree, Opened { dir: &dir, name, size: 1 << 30, kept: true });
    assert!(!next.is_empty() && next.iter().all(|next| !next.bytes));
}

#[test]
fn without_a_spare_connection_nothing_is_asked_for() {
    let tree = flat(10, 1000);
    let mut reader =
        Reader { policy: Policy::new(Limits::of(1, 64 << 20, Prefetch::Eager)), ..Reader::new(&tree) };
    for number in 0..10 {
        assert_eq!(reader.cat(number), 0);
    }
    assert_eq!(reader.asked, [""; 0]);
}

#[test]
fn without_prefetch_nothing_is_asked_for() {
    let tree = flat(10, 1000);
    let limits = Limits::of(16, 64 << 20, Prefetch::Off);
    let mut reader = Reader { policy: Policy::new(limits), ..Reader::new(&tree) };
    (0..10).for_each(|number| assert_eq!(reader.cat(number), 0));
}

#[test]
fn an_eager_run_asks_for_all_that_it_may_have_with_its_first_file() {
    let tree = flat(100, 1000);
    let mut reader = Reader { policy: Policy::new(Limits { eager: true, ..LIMITS }), ..Reader::new(&tree) };
    assert_eq!(reader.open("/d", "0050", false), LIMITS.files);
    // None of them is read, and more is asked for all the same.
    for number in 51..60 {
        assert_eq!(reader.open("/d", &format!("00{number}"), false), 1, "{number}");
    }
}

proptest! {
    /// However files are opened: none is asked for twice in a row of opens that goes on, and what was asked for and
    /// never opened is never more than what was read, in files and (beyond what costs nothing) in bytes.
    #[test]
    fn what_is_wasted_is_bounded_by_what_is_read(
        size in prop_oneof![Just(1000_u64), Just(100_000), Just(400_000)],
        steps in prop::collection::vec((0..60_usize, any::<bool>(), 1..8_usize), 1..60),
    ) {
        let tree = flat(60, size);
        let mut reader = Reader::new(&tree);
        let (mut opened, mut read) = (HashSet::new(), 0_u64);
        for (begin, whole, length) in steps {
            for number in begin..(begin + length).min(60) {
                let name = format!("{number:04}");
                reader.open("/d", &name, false);
                opened.insert(format!("/d/{name}"));
                if whole {
                    reader.finish("/d", &name);
                    read += 1;
                }
                // Each run may have as much in hand as it has earned.
                let in_hand: usize = reader.policy.runs.iter().map(|run| run.asked.len()).sum();
                prop_assert!(in_hand as u64 <= read);
                for run in &reader.policy.runs {
                    let bytes: u64 = run.asked.iter().map(|asked| asked.size).sum();
                    prop_assert_eq!(bytes, run.asked_bytes);
                    prop_assert!(bytes <= LIMITS.bytes && bytes <= run.bytes.max(FREE));
                    prop_assert!(run.asked.len() <= LIMITS.files);
                }
            }
        }
        let wasted = reader.asked.iter().filter(|path| !opened.contains(*path)).count();
        prop_assert!(wasted as u64 <= read, "{wasted} of {}", reader.asked.len());
    }
}
