//! A large file that is fetched in segments side by side: the same bytes, sooner.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::bounded::{eventually, within};
use crate::common_ftpd::{DataCut, DataCutEnd, Quirks, Refusal, Tree, pattern};
use crate::mounted::{CALL, Mounted};

const MIB: usize = 1024 * 1024;
/// Long enough that each of eight has several segments, and no multiple of anything.
const SIZE: usize = 40 * MIB + 4321;
/// A slow machine, and a server that gives little to each.
const LONG: Duration = Duration::from_secs(90);

/// What a connection gets: 64 KiB in each.
const PAUSE: Duration = Duration::from_millis(20);

fn tree(size: usize) -> Tree {
    let mut tree = Tree::bare();
    tree.put("/home/u/big", pattern(7, size));
    tree.put("/home/u/small", pattern(8, 5000));
    tree
}

fn quirks() -> Quirks {
    Quirks { slow: Some(PAUSE), ..Quirks::default() }
}

fn start(size: usize, quirks: Quirks, more: &[&str]) -> Mounted {
    Mounted::start(
        tree(size),
        quirks,
        &[&["attr_timeout=60", "operation_timeout=20", "connections=10"], more].concat(),
    )
}

fn read(mounted: &Mounted, name: &str) -> Vec<u8> {
    let path = mounted.path(name);
    within(LONG, "a read", move || fs::read(path).unwrap())
}

/// Reads pieces of `len` from `from` on to `to`, in order; each must be right.
fn read_on(dir: &Path, from: usize, to: usize, expected: &[u8]) {
    const LEN: usize = 128 * 1024;
    let file = File::open(dir.join("big")).unwrap();
    let mut piece = vec![0; LEN];
    for at in (from..to).step_by(LEN) {
        let len = LEN.min(to - at);
        file.read_exact_at(&mut piece[..len], at as u64).unwrap();
        assert!(piece[..len] == expected[at..at + len], "other bytes at {at}");
    }
}

#[test]
fn where_each_connection_gets_little_several_fetch_one_file() {
    // 3 MiB/s for each.
    let mounted = start(64 * MIB, quirks(), &["prefetch=auto"]);
    assert!(read(&mounted, "big") == pattern(7, 64 * MIB));
    let most = mounted.server.most_sending();
    assert!((4..=8).contains(&most), "{most} at once");
}

#[test]
fn who_reads_little_has_no_segments_fetched() {
    let mounted = start(SIZE, quirks(), &["prefetch=auto"]);
    mounted.call("a part", |dir| read_on(dir, 0, 3 * MIB, &pattern(7, SIZE)));
    // The kernel's readahead may ask out of order, and have a second stream begun.
    assert!(mounted.server.most_sending() <= 2);
    let mounted = start(SIZE, quirks(), &["prefetch=off"]);
    assert!(read(&mounted, "big") == pattern(7, SIZE));
    assert!(mounted.server.most_sending() <= 2);
}

#[test]
fn the_eager_have_as_many_as_there_are_connections_for() {
    let mounted = start(SIZE, quirks(), &["prefetch=eager"]);
    assert!(read(&mounted, "big") == pattern(7, SIZE));
    let most = mounted.server.most_sending();
    assert!((6..=8).contains(&most), "{most} at once");
    assert!(mounted.server.most_seated() <= 10);
}

#[test]
fn a_server_with_few_places_gives_every_byte() {
    for places in 1..5 {
        let refusal = Refusal::Greeting("421 Too many users");
        let quirks = Quirks { places: Some((places, refusal)), ..Quirks::default() };
        let mounted = start(SIZE, quirks, &["prefetch=eager"]);
        assert!(read(&mounted, "big") == pattern(7, SIZE), "{places} places");
        assert!(read(&mounted, "small") == pattern(8, 5000), "{places} places");
    }
}

#[test]
fn segments_that_are_cut_are_gone_on_with() {
    for end in [DataCutEnd::Says426, DataCutEnd::Silent, DataCutEnd::Stalls] {
        for after in [1, 300_000, 2 * MIB] {
            let quirks = Quirks { data_cut: Some(DataCut { after, times: 6, end }), ..Quirks::default() };
            let mounted = start(SIZE, quirks, &["prefetch=eager"]);
            assert!(read(&mounted, "big") == pattern(7, SIZE), "{end:?} after {after}");
            assert!(mounted.server.cuts() >= 6, "{end:?} after {after}");
        }
    }
}

#[test]
fn readers_at_several_places_of_one_file_get_their_bytes() {
    let mounted = start(SIZE, Quirks::default(), &["prefetch=eager"]);
    let dir = mounted.mount.path().to_owned();
    within(LONG, "readers", move || {
        let expected = pattern(7, SIZE);
        thread::scope(|scope| {
            for reader in 0..6 {
                let (dir, expected) = (&dir, &expected);
                scope.spawn(move || read_on(dir, reader * 5 * MIB + reader * 77, SIZE, expected));
            }
        });
    });
}

#[test]
fn who_jumps_away_and_back_gets_his_bytes() {
    let mounted = start(SIZE, Quirks::default(), &["prefetch=eager", "cache_size=16M"]);
    let dir = mounted.mount.path().to_owned();
    within(LONG, "jumps", move || {
        let expected = pattern(7, SIZE);
        for (from, to) in [(0, 5), (30, 38), (3, 9), (20, 21), (9, 40)] {
            read_on(&dir, from * MIB, to * MIB, &expected);
            // Longer than a reader is expected to be back.
            thread::sleep(Duration::from_millis(if from == 30 { 1500 } else { 0 }));
        }
    });
}

#[test]
fn a_file_replaced_while_segments_are_on_their_way_is_never_a_mixture() {
    let mounted = start(SIZE, quirks(), &["prefetch=eager", "attr_timeout=0"]);
    let (old, new) = (pattern(7, SIZE), pattern(9, SIZE));
    let file = File::open(mounted.path("big")).unwrap();
    let mut bytes = vec![0; SIZE];
    let file_and_bytes = within(CALL, "the first bytes", move || {
        file.read_exact_at(&mut bytes[..MIB], 0).unwrap();
        (file, bytes)
    });
    let (file, mut bytes) = file_and_bytes;
    mounted.server.tree().put_at("/home/u/big", new.clone(), 1_700_000_000);
    let (result, bytes) = within(LONG, "the others", move || {
        let result = file.read_exact_at(&mut bytes[MIB..], MIB as u64);
        (result, bytes)
    });
    match result {
        Ok(()) => assert!(bytes == old, "a mixture"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{error}"),
    }
    assert!(read(&mounted, "big") == new);
}

/// In place: running transfers send the new bytes from one moment on, and every segment is at another place then.
#[test]
fn a_file_overwritten_while_segments_are_on_their_way_is_never_a_mixture() {
    let (old, new) = (pattern(7, SIZE), pattern(9, SIZE));
    for after in [4, 12, 20, 28, 36] {
        let mounted = start(SIZE, quirks(), &["prefetch=eager", "attr_timeout=0"]);
        let path = mounted.path("big");
        let reader = thread::spawn(move || fs::read(path));
        eventually(LONG, "some bytes", || (mounted.server.sent() >= after * MIB).then_some(()));
        mounted.server.overwrite("/home/u/big", new.clone(), 1_700_000_000);
        match within(LONG, "the read", move || reader.join()).unwrap() {
            Ok(bytes) => assert!(bytes == old || bytes == new, "a mixture, overwritten after {after} MiB"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{error}"),
        }
        assert!(read(&mounted, "big") == new);
    }
}

#[test]
fn a_file_that_grows_is_read_as_it_was_listed_or_not_at_all() {
    let mounted = start(SIZE, quirks(), &["prefetch=eager", "attr_timeout=0"]);
    let path = mounted.path("big");
    let reader = thread::spawn(move || fs::read(path));
    eventually(LONG, "some bytes", || (mounted.server.sent() >= 3 * MIB).then_some(()));
    let longer = [pattern(7, SIZE), pattern(1, 1000)].concat();
    mounted.server.tree().put_at("/home/u/big", longer.clone(), 1_700_000_000);
    match within(LONG, "the read", move || reader.join()).unwrap() {
        Ok(bytes) => assert!(bytes == longer[..SIZE], "other bytes"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{error}"),
    }
    assert!(read(&mounted, "big") == longer);
}

/// Reads all of a file without the kernel's pages, never closer than `behind` to what `leader` has read.
fn follow(path: &Path, leader: Option<&AtomicUsize>, read: &AtomicUsize) {
    const BEHIND: usize = 5 * MIB;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let mut piece = vec![0; 128 * 1024];
    let mut at = 0;
    loop {
        let is_near = |leader: &AtomicUsize| {
            let leads = leader.load(Ordering::SeqCst);
            leads < SIZE && at + BEHIND > leads
        };
        while leader.is_some_and(is_near) {
            thread::sleep(Duration::from_millis(2));
        }
        let len = file.read_at(&mut piece, at as u64).unwrap();
        if len == 0 {
            return;
        }
        at += len;
        read.store(at, Ordering::SeqCst);
    }
}

/// Fails if the server has sent much more than `needed`.
fn sent_little_more_than(needed: usize, mounted: &Mounted, what: &str) {
    let sent = mounted.server.sent();
    assert!(sent <= needed * 3 / 2, "{what}: {:.2} times", sent as f64 / needed as f64);
}

#[test]
fn little_more_is_sent_than_is_read() {
    for (prefetch, cache) in [("prefetch=eager", "cache_size=32M"), ("prefetch=auto", "cache_size=32M")] {
        let mounted = start(SIZE, quirks(), &[prefetch, cache]);
        let path = mounted.path("big");
        within(LONG, "two readers, one behind the other", move || {
            let (leader, follower) = Default::default();
            thread::scope(|scope| {
                scope.spawn(|| follow(&path, None, &leader));
                scope.spawn(|| follow(&path, Some(&leader), &follower));
            });
        });
        sent_little_more_than(SIZE, &mounted, prefetch);
    }
}

#[test]
fn little_more_is_sent_than_is_read_of_two_files_at_once() {
    let mut two = tree(SIZE);
    two.put("/home/u/too", pattern(9, SIZE));
    let mounted =
        Mounted::start(two, quirks(), &["prefetch=eager", "cache_size=16M", "operation_timeout=20"]);
    let paths = ["big", "too"].map(|name| mounted.path(name));
    let read = within(LONG, "two files", move || {
        let readers = paths.map(|path| thread::spawn(move || fs::read(path).unwrap()));
        readers.map(|reader| reader.join().unwrap())
    });
    assert!(read[0] == pattern(7, SIZE) && read[1] == pattern(9, SIZE));
    sent_little_more_than(2 * SIZE, &mounted, "two files");
}

/// A mount where it is known that another transfer costs little, and bytes much. No segments with so few connections.
fn near_and_slow(prefetch: &str) -> Mounted {
    let mut tree = Tree::bare();
    tree.put("/home/u/big", pattern(7, SIZE));
    tree.put("/home/u/too", pattern(9, MIB));
    // 1 MiB/s: another transfer is by far sooner than 768 KiB, on a busy machine too.
    let quirks = Quirks { slow: Some(3 * PAUSE), ..Quirks::default() };
    let options = [prefetch, "connections=3", "stall_timeout=20", "operation_timeout=20"];
    let mounted = Mounted::start(tree, quirks, &options);
    let path = mounted.path("too");
    within(LONG, "a first file", move || follow(&path, None, &AtomicUsize::new(0)));
    assert_eq!(mounted.server.count("RETR"), 1);
    mounted
}

/// Reads these pieces of 128 KiB, one after the other, without the kernel's pages.
fn read_pieces(dir: &Path, pieces: impl Iterator<Item = usize>) {
    const PIECE: usize = 128 * 1024;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(dir.join("big")).unwrap();
    let (mut piece, expected) = (vec![0; PIECE], pattern(7, SIZE));
    for at in pieces.map(|piece| piece * PIECE) {
        file.read_exact_at(&mut piece, at as u64).unwrap();
        assert!(piece == expected[at..at + PIECE], "other bytes at {at}");
    }
}

/// As the kernel's readahead may ask: the last of four pieces first.
#[test]
fn one_stream_serves_pieces_that_are_asked_for_out_of_order() {
    for prefetch in ["prefetch=auto", "prefetch=eager"] {
        let mounted = near_and_slow(prefetch);
        let pieces = (0..4).chain((4..64).map(|piece| piece ^ 3));
        let dir = mounted.mount.path().to_owned();
        within(LONG, "pieces", move || read_pieces(&dir, pieces));
        assert_eq!(mounted.server.count("RETR"), 2, "{prefetch}");
    }
}

/// 128 KiB here and there, with 768 KiB between: another transfer takes less time than what is between.
#[test]
fn who_passes_over_much_again_and_again_does_not_wait_for_it() {
    let mounted = near_and_slow("prefetch=auto");
    let before = mounted.server.sent();
    let pieces = (0..4).chain((1..40).map(|step| step * 7));
    let dir = mounted.mount.path().to_owned();
    within(LONG, "pieces", move || read_pieces(&dir, pieces));
    let sent = mounted.server.sent() - before;
    assert!(sent < 20 * MIB, "{sent} of {}", 40 * 7 * 128 * 1024);
    assert!(mounted.server.count("RETR") > 20);
}

/// Each has a stream of his own, and none has news for another.
#[test]
fn readers_of_one_file_who_wait_for_their_bytes_do_nothing_meanwhile() {
    let slow = Quirks { slow: Some(Duration::from_millis(500)), ..Quirks::default() };
    let options = ["prefetch=off", "connections=8", "stall_timeout=20", "operation_timeout=20"];
    let mounted = Mounted::start(tree(SIZE), slow, &options);
    let dir = mounted.mount.path().to_owned();
    within(LONG, "readers", move || {
        let expected = pattern(7, SIZE);
        thread::scope(|scope| {
            for reader in 0..4 {
                let (dir, expected) = (&dir, &expected);
                scope.spawn(move || read_on(dir, reader * 9 * MIB, reader * 9 * MIB + MIB / 2, expected));
            }
        });
    });
    // They have waited for four seconds at least.
    let used = mounted.mount.processor_time();
    assert!(used < Duration::from_secs(1), "{used:?}");
}

/// A file that is too small for segments.
#[test]
fn who_jumps_away_is_not_sent_the_rest_of_his_window() {
    const SIZE: usize = 24 * MIB;
    let mounted = start(SIZE, quirks(), &["prefetch=auto"]);
    let file = File::open(mounted.path("big")).unwrap();
    mounted.call("a part", |dir| {
        let expected = pattern(7, SIZE);
        // The kernel reads nothing ahead.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(dir.join("big")).unwrap();
        let mut piece = vec![0; 64 * 1024];
        for at in (0..2 * MIB).step_by(piece.len()).chain([SIZE - piece.len()]) {
            file.read_exact_at(&mut piece, at as u64).unwrap();
            assert!(piece == expected[at..at + piece.len()], "other bytes at {at}");
        }
    });
    let before = mounted.server.sent();
    eventually(LONG, "nothing is sent", || (mounted.server.sending() == 0).then_some(()));
    let more = mounted.server.sent() - before;
    assert!(more < 6 * MIB, "{more} bytes more, of the 8 MiB that are kept ahead");
    // He may come back.
    mounted.call("the next part", |dir| read_on(dir, 2 * MIB, 4 * MIB, &pattern(7, SIZE)));
    drop(file);
}

/// What is passed over takes eight seconds here, two more than a call may last, and another transfer a tenth of one.
#[test]
fn a_jump_on_a_slow_link_does_not_wait_for_what_is_between() {
    let mut tree = tree(SIZE);
    tree.put("/home/u/before", pattern(9, MIB));
    let slow = Quirks { slow: Some(Duration::from_millis(500)), ..Quirks::default() };
    let options = ["prefetch=auto", "connections=3", "stall_timeout=4", "operation_timeout=6"];
    let mounted = Mounted::start(tree, slow, &options);
    let dir = mounted.mount.path().to_owned();
    within(LONG, "a jump", move || {
        const PIECE: usize = 4096;
        let direct = |name: &str| {
            OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(dir.join(name)).unwrap()
        };
        let mut piece = vec![0; 128 * 1024];
        // What a transfer costs on this link is known then.
        let before = direct("before");
        for at in (0..MIB).step_by(piece.len()) {
            before.read_exact_at(&mut piece, at as u64).unwrap();
        }
        let (big, expected) = (direct("big"), pattern(7, 2 * MIB));
        for at in (0..6).map(|read| read * PIECE).chain([MIB]) {
            big.read_exact_at(&mut piece[..PIECE], at as u64).unwrap();
            assert!(piece[..PIECE] == expected[at..at + PIECE], "other bytes at {at}");
        }
    });
}

#[test]
fn others_are_served_while_segments_are_on_their_way() {
    let mounted = start(SIZE, quirks(), &["prefetch=eager", "connections=4"]);
    let dir = mounted.mount.path().to_owned();
    within(LONG, "a large file and small ones", move || {
        thread::scope(|scope| {
            let large = scope.spawn(|| fs::read(dir.join("big")).unwrap());
            for round in 0..10 {
                assert!(fs::read(dir.join("small")).unwrap() == pattern(8, 5000));
                let name = dir.join(format!("new{round}"));
                fs::write(&name, pattern(round, 3000)).unwrap();
                assert_eq!(fs::read_dir(&dir).unwrap().count(), 3 + usize::try_from(round).unwrap());
            }
            assert!(large.join().unwrap() == pattern(7, SIZE));
        });
    });
    for round in 0..10 {
        assert!(mounted.landed(&format!("new{round}")) == Some(pattern(round, 3000)));
    }
}
