//! Several programs with one file, and a server that is away when it is to be stored.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::bounded::{eventually, within};
use crate::common_ftpd::{FaultAt, FaultEnd, Quirks, Refusal, Server, Tree, UploadFault, Writing, pattern};
use crate::mounted::{
    CALL, HEALING, Mounted, OPERATION, append, close, create, errno, errno_name, store, sync,
};

const SIZE: usize = 1 << 20;
const PIECE: usize = 40_000;

#[test]
fn writers_and_readers_of_one_file_see_one_file() {
    let mut tree = Tree::bare();
    tree.put("/home/u/file", pattern(51, SIZE));
    let mounted = Mounted::good(tree);
    let expected: Arc<Vec<u8>> = Arc::new(pattern(52, SIZE));
    let old: Arc<Vec<u8>> = Arc::new(pattern(51, SIZE));
    let writing = Arc::new(AtomicBool::new(true));
    // Each byte that is read is the old or the new one.
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (writing, path) = (writing.clone(), mounted.path("file"));
            let (old, expected) = (old.clone(), expected.clone());
            thread::spawn(move || {
                let file = File::open(path).unwrap();
                let mut found = vec![0; SIZE];
                while writing.load(Ordering::SeqCst) {
                    file.read_exact_at(&mut found, 0).unwrap();
                    let strange = (0..SIZE).find(|&i| found[i] != old[i] && found[i] != expected[i]);
                    assert_eq!(strange, None, "a byte that nobody wrote");
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (path, expected) = (mounted.path("file"), expected.clone());
            thread::spawn(move || {
                let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
                for (number, piece) in expected.chunks(PIECE).enumerate() {
                    if number % 4 != writer {
                        continue;
                    }
                    let offset = (number * PIECE) as u64;
                    file.write_all_at(piece, offset).unwrap();
                    let mut found = vec![0; piece.len()];
                    file.read_exact_at(&mut found, offset).unwrap();
                    assert!(found == piece, "written, and read back otherwise");
                    if number % 3 == 0 {
                        file.sync_all().unwrap();
                    }
                }
                close(file).unwrap();
            })
        })
        .collect();
    for writer in writers {
        within(3 * CALL, "a writer", move || writer.join()).unwrap();
    }
    writing.store(false, Ordering::SeqCst);
    for reader in readers {
        within(3 * CALL, "a reader", move || reader.join()).unwrap();
    }
    assert!(mounted.landed("file").unwrap() == *expected);
    assert!(mounted.read("file").unwrap() == *expected);
}

#[test]
fn many_appenders_of_one_file_lose_no_line() {
    let mounted = Mounted::good(Tree::sample());
    let appenders: Vec<_> = (0..4)
        .map(|appender| {
            let path = mounted.path("log");
            thread::spawn(move || {
                let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
                for line in 0..25 {
                    file.write_all(format!("appender {appender} line {line}\n").as_bytes()).unwrap();
                }
                close(file).unwrap();
            })
        })
        .collect();
    for appender in appenders {
        within(3 * CALL, "an appender", move || appender.join()).unwrap();
    }
    let text = String::from_utf8(mounted.landed("log").unwrap()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> =
        (0..100).map(|i| format!("appender {} line {}", i / 25, i % 25)).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn what_a_dead_server_could_not_take_is_kept_and_sent_when_it_is_back() {
    for same_handle in [true, false] {
        let tree = Tree::sample();
        let Mounted { mount, server } = Mounted::good(tree.clone());
        let path = mount.path().join("small");
        let expected = pattern(61, SIZE);
        let mut file = {
            let path = path.clone();
            within(CALL, "open", move || OpenOptions::new().read(true).write(true).open(path).unwrap())
        };
        let address = server.stop();
        let begun = Instant::now();
        let (file, result) = {
            let bytes = expected.clone();
            within(CALL, "write and fsync", move || {
                let written = file.write_all(&bytes);
                let synced = file.sync_all();
                (file, written.and(synced))
            })
        };
        println!("dead server: {} after {:?}", errno_name(&result), begun.elapsed());
        assert!(result.is_err(), "a dead server has confirmed something");
        assert!(begun.elapsed() < OPERATION + CALL);
        let kept = {
            let path = path.clone();
            within(CALL, "read", move || fs::read(path))
        };
        assert!(kept.is_ok_and(|bytes| bytes == expected), "what was written cannot be read any more");
        let file = match same_handle {
            true => Some(file),
            false => {
                assert!(within(CALL, "close", move || close(file)).is_err(), "close() takes the error back");
                None
            }
        };
        let server = Server::start_at(address, tree, Quirks::default());
        match file {
            Some(file) => {
                let file = Arc::new(file);
                eventually(HEALING, "an fsync on the same handle", || {
                    let file = file.clone();
                    within(CALL, "fsync", move || file.sync_all()).ok()
                });
                assert!(server.tree().bytes("/home/u/small").unwrap() == expected, "the same handle");
                within(CALL, "close", move || close(Arc::into_inner(file).unwrap())).unwrap();
            }
            None => eventually(HEALING, "an fsync on a new handle", || {
                let path = path.clone();
                within(CALL, "open, fsync, close", move || sync(&path)).ok()
            }),
        }
        assert!(server.tree().bytes("/home/u/small").unwrap() == expected);
        let bytes = within(CALL, "read", move || fs::read(path)).unwrap();
        assert!(bytes == expected);
        drop(mount);
    }
}

/// Without pages of the kernel's, and with a cache that holds little of the file: all of it comes from the server.
#[test]
fn who_reads_a_file_that_others_append_to_is_not_told_that_it_was_replaced() {
    const SIZE: usize = 3 << 20;
    const LINE: &[u8] = b"another line\n";
    let mut tree = Tree::bare();
    tree.put("/home/u/log", pattern(1, SIZE));
    let mounted = Mounted::start(tree, Quirks::default(), &["cache_size=1M", "connections=8"]);
    let path = mounted.path("log");
    within(3 * CALL, "appenders and readers", move || {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..8).for_each(|_| append(&path, LINE).unwrap()));
                scope.spawn(|| {
                    for _ in 0..4 {
                        let file =
                            OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path).unwrap();
                        let mut bytes = vec![0; SIZE];
                        for (number, piece) in bytes.chunks_mut(1 << 19).enumerate() {
                            file.read_exact_at(piece, (number << 19) as u64).unwrap();
                        }
                        assert!(bytes == pattern(1, SIZE));
                    }
                });
            }
        });
    });
    assert!(mounted.landed("log") == Some([pattern(1, SIZE), LINE.repeat(24)].concat()));
}

/// A child that is forked meanwhile closes its copy of the descriptor: several flush one file, and those that come later
/// have little time left when the first has failed.
#[test]
fn who_waited_for_an_upload_of_another_hears_what_that_met() {
    // With another connection at hand the first would not have to wait, and fail before the second begins.
    let mounted = Mounted::start(Tree::sample(), Quirks::default(), &["connections=1"]);
    let path = mounted.path("new");
    let file = within(CALL, "write", move || {
        let mut file = create(&path)?;
        file.write_all(&pattern(1, 100_000)).map(|()| Arc::new(file))
    });
    let file = file.unwrap();
    let fault = UploadFault { at: FaultAt::Byte(0), end: FaultEnd::ControlToo, times: usize::MAX };
    mounted.break_by(Writing { fault: Some(fault), ..Writing::default() });
    mounted.server.quirks().places = Some((0, Refusal::Mute));
    // Not fsync(2): the kernel has one wait for the other.
    let flush = |file: &Arc<File>| {
        let copy = file.try_clone().unwrap();
        thread::spawn(move || {
            let begun = Instant::now();
            (begun, close(copy), Instant::now())
        })
    };
    let first = flush(&file);
    eventually(CALL, "the first upload to fail", || (mounted.server.cuts() > 0).then_some(()));
    let later = (0..6).map(|_| {
        thread::sleep(OPERATION / 10);
        flush(&file)
    });
    let later: Vec<_> = later.collect();
    let (_, result, over) = within(CALL, "close", move || first.join()).unwrap();
    assert_eq!(errno(&result), nix::libc::EIO, "{result:?}");
    // This one waits for uploads that pass on what the first met.
    let last = flush(&file);
    let join = |thread: JoinHandle<_>| within(CALL, "close", move || thread.join()).unwrap();
    let later: Vec<_> = later.into_iter().map(join).collect();
    let passed_on = later.iter().map(|&(_, _, over)| over).max().unwrap();
    let (mut waited, mut heard) = (0, 0);
    // On a busy machine one may have come when the upload was over, and have begun another.
    for (begun, result, _) in &later {
        if *begun + OPERATION / 4 < over {
            assert_eq!(errno(result), nix::libc::EIO, "{result:?}");
            waited += 1;
        }
    }
    let (begun, result, _) = join(last);
    if begun + OPERATION / 8 < passed_on {
        assert_eq!(errno(&result), nix::libc::EIO, "{result:?}");
        heard += 1;
    }
    assert!(waited > 0 && heard > 0, "nobody waited: {waited}, {heard}");
    mounted.server.quirks().places = None;
    mounted.heal();
    eventually(HEALING, "an fsync", || {
        let file = file.clone();
        within(CALL, "fsync", move || file.sync_all()).ok()
    });
    assert!(mounted.landed("new").is_some_and(|bytes| bytes == pattern(1, 100_000)));
}

#[test]
fn others_are_served_while_an_upload_hangs() {
    let mounted = Mounted::good(Tree::sample());
    let fault = UploadFault { at: FaultAt::Byte(0), end: FaultEnd::Stalls, times: usize::MAX };
    mounted.break_by(Writing { fault: Some(fault), ..Writing::default() });
    let path = mounted.path("new");
    let upload = thread::spawn(move || store(&path, &pattern(1, 20_000_000)));
    eventually(CALL, "the upload to hang", || (mounted.server.cuts() > 0).then_some(()));
    assert!(mounted.read("big").unwrap() == pattern(2, 300 * 1024));
    let names = mounted.call("a listing", |dir| fs::read_dir(dir.join("sub")).map(Iterator::count));
    assert_eq!(names.unwrap(), 1);
    let result = within(3 * CALL, "the hanging upload", move || upload.join()).unwrap();
    assert!(result.is_err(), "a server that does not read took a file");
    // At the end of a mount, what is unsent is sent.
    mounted.heal();
}

/// They wait for one upload, and none of them has news for another.
#[test]
fn those_who_close_a_file_whose_upload_hangs_do_nothing_meanwhile() {
    let mounted = Mounted::good(Tree::sample());
    let fault = UploadFault { at: FaultAt::Byte(0), end: FaultEnd::Stalls, times: usize::MAX };
    mounted.break_by(Writing { fault: Some(fault), ..Writing::default() });
    let path = mounted.path("new");
    let file = within(CALL, "write", move || {
        let mut file = File::create(path).unwrap();
        file.write_all(&pattern(1, SIZE)).unwrap();
        file
    });
    eventually(CALL, "the upload to hang", || (mounted.server.cuts() > 0).then_some(()));
    let used = mounted.mount.processor_time();
    let files = [(); 4].map(|()| file.try_clone().unwrap());
    let closed = within(3 * CALL, "close", move || {
        let closes = files.map(|file| thread::spawn(move || close(file).is_ok()));
        closes.map(|close| close.join().unwrap())
    });
    assert_eq!(closed, [false; 4]);
    let used = mounted.mount.processor_time() - used;
    assert!(used < Duration::from_secs(1), "{used:?}");
    mounted.heal();
}

/// A writer that pauses has sent everything when somebody else needs its only connection. What close() confirms then is
/// the file as it is: an append that believed it to be empty would replace it.
#[test]
fn a_stream_that_gives_way_after_its_last_byte_is_confirmed_at_close() {
    let mounted = Mounted::start(Tree::sample(), Quirks::default(), &["connections=1"]);
    let (path, expected) = (mounted.path("new"), pattern(71, SIZE));
    let bytes = expected.clone();
    let file = within(CALL, "write", move || {
        let mut file = File::create(path).unwrap();
        file.write_all(&bytes).unwrap();
        file
    });
    eventually(CALL, "the stream to send all", || {
        mounted.landed("new").is_some_and(|landed| landed.len() == SIZE).then_some(())
    });
    let names = mounted.call("a listing", |dir| fs::read_dir(dir.join("sub")).map(Iterator::count));
    assert_eq!(names.unwrap(), 1);
    let written = within(CALL, "close", move || {
        let modified = file.metadata().unwrap().mtime();
        close(file).unwrap();
        modified
    });
    let told = mounted.call("stat", |dir| fs::metadata(dir.join("new"))).unwrap();
    assert_eq!((told.len(), told.mtime()), (SIZE as u64, written));
    let time = mounted.server.tree().time("/home/u/new").unwrap();
    let time = ftpfs::ftp::time::parse_time_value(time.as_bytes()).unwrap();
    assert_eq!(time.seconds, written, "the time of the last write");
    mounted.call("append", |dir| {
        let mut file = OpenOptions::new().append(true).open(dir.join("new")).unwrap();
        file.write_all(b"tail").unwrap();
        close(file).unwrap();
    });
    assert!(mounted.landed("new").unwrap() == [&expected[..], b"tail"].concat());
}

#[test]
fn a_reader_keeps_a_removed_file_whose_writer_closes_it_meanwhile() {
    let mounted = Mounted::good(Tree::sample());
    mounted.break_by(Writing { slow_names: Some(Duration::from_millis(700)), ..Writing::default() });
    let (path, expected) = (mounted.path("new"), pattern(72, 5000));
    let bytes = expected.clone();
    let (writer, reader) = within(CALL, "write", move || {
        let mut writer = File::create(&path).unwrap();
        writer.write_all(&bytes).unwrap();
        writer.sync_all().unwrap();
        (writer, File::open(path).unwrap())
    });
    let path = mounted.path("new");
    let removal = thread::spawn(move || fs::remove_file(path));
    // While the server takes its time.
    thread::sleep(Duration::from_millis(250));
    within(CALL, "close", move || close(writer)).unwrap();
    within(CALL, "remove", move || removal.join()).unwrap().unwrap();
    let mut found = vec![0; expected.len()];
    let found = within(CALL, "read", move || reader.read_exact_at(&mut found, 0).map(|()| found)).unwrap();
    assert!(found == expected);
    assert_eq!(mounted.landed("new"), None);
}
