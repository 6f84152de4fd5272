//! A server that goes away and comes back under a reader, and files that change under one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::common::bounded::{eventually, within};
use crate::common::content::{MIB, bytes, link_big_file, set_mtime, write_file};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{fresh_dir, writable_dir};

on_every_server!(
    a_restarted_server_costs_no_byte,
    a_file_replaced_by_rename_is_never_a_mixture,
    a_file_overwritten_in_place_is_never_a_mixture,
    a_handle_of_the_old_version_is_never_given_the_new_bytes,
    a_file_that_is_replaced_again_and_again_is_never_a_mixture,
);

const BOUND: Duration = Duration::from_secs(180);
const STEP: u64 = 256 * 1024;
const SIZE: u64 = 96 * MIB;
const OLD: u64 = 7_000_000_000;
const NEW: u64 = 9_000_000_000;

fn a_restarted_server_costs_no_byte(kind: Kind) {
    let served = fresh_dir("served-");
    link_big_file(&served.path().join("file"), 256, 256 * MIB);
    let mut server = Server::start(kind, served.path(), &Options::default());
    for mode in ["mode=passive", "mode=active"] {
        let mount = Mount::start(&server.url(User::Tester, "/"), &[mode, "cache_size=16M"]);
        let path = mount.path().join("file");
        let (progress, reached) = mpsc::sync_channel(0);
        let reader = thread::spawn(move || -> io::Result<()> {
            let file = File::open(path)?;
            for offset in (0..256 * MIB).step_by(STEP as usize) {
                // Waits here until the server has been killed, but not until it is back.
                if offset == 64 * MIB {
                    progress.send(()).unwrap();
                    progress.send(()).unwrap();
                }
                let mut found = vec![0; STEP as usize];
                file.read_exact_at(&mut found, offset)?;
                assert!(found == bytes(256, offset, STEP as usize), "wrong bytes at {offset}");
            }
            Ok(())
        });
        reached.recv_timeout(BOUND).expect("the reader did not get to the middle");
        server.kill();
        reached.recv_timeout(BOUND).unwrap();
        server.restart();
        within(BOUND, "reader", move || reader.join())
            .expect("wrong bytes")
            .expect("the reader saw an error");
    }
}

fn a_file_replaced_by_rename_is_never_a_mixture(kind: Kind) {
    changed_under_a_reader(kind, |path| {
        let new = path.with_extension("new");
        write_file(&new, NEW, SIZE);
        fs::rename(new, path).unwrap();
    });
}

fn a_file_overwritten_in_place_is_never_a_mixture(kind: Kind) {
    changed_under_a_reader(kind, |path| {
        let file = File::options().write(true).open(path).unwrap();
        for offset in (0..SIZE).step_by(MIB as usize) {
            file.write_all_at(&bytes(NEW, offset, MIB as usize), offset).unwrap();
        }
    });
}

/// The kernel keeps one set of pages for all who have a file open.
fn a_handle_of_the_old_version_is_never_given_the_new_bytes(kind: Kind) {
    const SMALL: u64 = 4 * MIB;
    let served = fresh_dir("served-");
    let file = served.path().join("file");
    write_file(&file, OLD, SMALL);
    set_mtime(&file, SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
    let server = Server::start(kind, served.path(), &Options::default());
    let options = ["attr_timeout=1", "cache_timeout=1"];
    let mount = Mount::start(&server.url(User::Tester, "/"), &options);
    let path = mount.path().join("file");
    within(BOUND, "readers", move || {
        let read = |file: &File, offset: u64| {
            let mut found = vec![0; STEP as usize];
            file.read_exact_at(&mut found, offset).map(|()| found)
        };
        let old = File::open(&path).unwrap();
        assert!(read(&old, 0).unwrap() == bytes(OLD, 0, STEP as usize), "the old bytes");
        let new = file.with_extension("new");
        write_file(&new, NEW, SMALL);
        fs::rename(&new, &file).unwrap();
        // Another program reads the new file whole, once it is seen.
        let opened = eventually(BOUND, "the new version", || {
            let opened = File::open(&path).ok()?;
            let first = read(&opened, 0).ok()?;
            (first == bytes(NEW, 0, STEP as usize)).then_some(opened)
        });
        for offset in (0..SMALL).step_by(STEP as usize) {
            assert!(read(&opened, offset).unwrap() == bytes(NEW, offset, STEP as usize), "new at {offset}");
        }
        for offset in (0..SMALL).step_by(STEP as usize) {
            if let Ok(found) = read(&old, offset) {
                assert!(found == bytes(OLD, offset, STEP as usize), "the old handle gives new at {offset}");
            }
        }
    });
}

/// Reads a file from its begin to its end and changes it when the reader is in the middle.
fn changed_under_a_reader(kind: Kind, change: impl Fn(&Path)) {
    let served = fresh_dir("served-");
    let file = served.path().join("file");
    write_file(&file, OLD, SIZE);
    set_mtime(&file, SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
    let server = Server::start(kind, served.path(), &Options::default());
    let options = ["cache_size=16M", "attr_timeout=1", "cache_timeout=1"];
    let mount = Mount::start(&server.url(User::Tester, "/"), &options);
    let path = mount.path().join("file");
    let (progress, reached) = mpsc::sync_channel(0);
    let reader = {
        let path = path.clone();
        thread::spawn(move || {
            read_to_end(&path, || {
                // Once when in the middle, once more when the file has been changed.
                progress.send(()).unwrap();
                progress.send(()).unwrap();
            })
        })
    };
    reached.recv_timeout(BOUND).expect("the reader did not get to the middle");
    change(&file);
    reached.recv_timeout(BOUND).unwrap();
    let (old, new, error) = within(BOUND, "reader", move || reader.join()).unwrap();
    assert!(old == 0 || new == 0, "a mixture: {old} old and {new} new blocks, then {error:?}");
    if error.is_none() {
        assert_eq!(old + new, SIZE / STEP);
    }
    // A later open, when what is known of the file is no longer trusted, sees the new one alone.
    thread::sleep(Duration::from_secs(2));
    let (old, new, error) = within(BOUND, "second reader", move || read_to_end(&path, || ()));
    assert_eq!((old, new, error.map(|error| error.to_string())), (0, SIZE / STEP, None));
}

/// All of one size, within one second: nothing that the server tells is different. The last page is not whole, so the
/// kernel asks for it.
fn a_file_that_is_replaced_again_and_again_is_never_a_mixture(kind: Kind) {
    const ROUNDS: u32 = 500;
    const LEN: usize = 14_000;
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    let content = |round: u32| round.to_be_bytes().repeat(LEN / 4);
    let replace = move |dir: &Path, round| {
        fs::write(dir.join("new"), content(round)).unwrap();
        fs::rename(dir.join("new"), dir.join("target")).unwrap();
    };
    let dir = mount.path().to_owned();
    let (right, wrong) = within(BOUND, "all rounds", move || {
        replace(&dir, 0);
        let ended = AtomicBool::new(false);
        let read = || {
            let (mut right, mut wrong) = (0, Vec::new());
            while !ended.load(Ordering::SeqCst) {
                // The name may be gone for a moment, and a handle of what was replaced may say so.
                let Ok(bytes) = fs::read(dir.join("target")) else { continue };
                let round: [u8; 4] = bytes[..4].try_into().unwrap();
                match bytes == content(u32::from_be_bytes(round)) {
                    true => right += 1,
                    false => wrong.push(round),
                }
            }
            (right, wrong)
        };
        thread::scope(|scope| {
            let readers = [(); 3].map(|()| scope.spawn(read));
            (1..=ROUNDS).for_each(|round| replace(&dir, round));
            ended.store(true, Ordering::SeqCst);
            readers
                .map(|reader| reader.join().unwrap())
                .into_iter()
                .fold((0, 0), |(right, wrong), read| (right + read.0, wrong + read.1.len()))
        })
    });
    assert!(right > 0 && wrong == 0, "{right} were right, {wrong} mixtures");
    assert!(fs::read(served.path().join("target")).unwrap() == content(ROUNDS));
}

/// Counts blocks of the old and of the new content up to the first error. Any other block fails the test.
fn read_to_end(path: &Path, in_the_middle: impl Fn()) -> (u64, u64, Option<io::Error>) {
    let (mut old, mut new) = (0, 0);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return (0, 0, Some(error)),
    };
    for offset in (0..SIZE).step_by(STEP as usize) {
        if offset == SIZE / 2 {
            in_the_middle();
        }
        let mut found = vec![0; STEP as usize];
        match file.read_exact_at(&mut found, offset) {
            Ok(()) if found == bytes(OLD, offset, STEP as usize) => old += 1,
            Ok(()) if found == bytes(NEW, offset, STEP as usize) => new += 1,
            Ok(()) => panic!("a block at {offset} is neither old nor new"),
            Err(error) => return (old, new, Some(error)),
        }
    }
    (old, new, None)
}
