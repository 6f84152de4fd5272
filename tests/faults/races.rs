//! Uploads and changes of names at the same moment: no success without the bytes, none under the wrong name,
//! no failure that only the moment explains.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::bounded::{eventually, within};
use crate::common_ftpd::{FaultAt, FaultEnd, Quirks, Tree, UploadFault, Writing, pattern};
use crate::mounted::{CALL, Mounted, append, close, errno_name, store};

const MIB: usize = 1 << 20;

fn holding(name: &str, bytes: Vec<u8>) -> Tree {
    let mut tree = Tree::bare();
    tree.put(&format!("/home/u/{name}"), bytes);
    tree
}

#[test]
fn a_removal_that_is_refused_does_not_make_close_lie() {
    let mounted = Mounted::good(Tree::bare());
    let slow = Some(Duration::from_millis(20));
    mounted.break_by(Writing { slow, keeps: Some("550 Operation not permitted"), ..Writing::default() });
    let (path, bytes) = (mounted.path("file"), pattern(1, 4 * MIB));
    let expected = bytes.clone();
    let closing = thread::spawn(move || store(&path, &bytes));
    eventually(CALL, "a part of the upload", || mounted.landed("file").filter(|b| b.len() > MIB / 2));
    let removed = mounted.call("unlink", |dir| fs::remove_file(dir.join("file")));

    assert!(removed.is_err());
    within(3 * CALL, "close", move || closing.join()).unwrap().unwrap();
    assert!(mounted.landed("file").is_some_and(|bytes| bytes == expected), "close() said that it is there");
}

#[test]
fn what_is_synced_around_a_rename_is_under_the_new_name() {
    for truncates in [false, true] {
        let mounted = Mounted::good(holding("a", pattern(1, 1000)));
        mounted.break_by(Writing { slow_names: Some(Duration::from_millis(200)), ..Writing::default() });
        let mut file = OpenOptions::new().read(true).write(true).open(mounted.path("a")).unwrap();
        for round in 0..6u8 {
            let (from, to) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
            let names = (mounted.path(from), mounted.path(to));
            let old = names.0.clone();
            let renaming = thread::spawn(move || fs::rename(names.0, names.1));
            let landed = format!("/home/u/{to}");
            eventually(CALL, "the server's rename", || mounted.server.tree().exists(&landed).then_some(()));
            if truncates && let Ok(opened) = OpenOptions::new().write(true).truncate(true).open(&old) {
                file = opened;
            }
            file.write_all_at(&[round; 1000], 0).unwrap();
            file.sync_all().unwrap();
            within(CALL, "rename", move || renaming.join()).unwrap().unwrap();
            file.sync_all().unwrap();
            assert_eq!(mounted.server.tree().names("/home/u"), [to], "round {round} {truncates}");
            assert!(mounted.landed(to).unwrap() == [round; 1000], "round {round} {truncates}");
        }
    }
}

#[test]
fn a_patch_after_a_streamed_append_is_uploaded() {
    let old = pattern(1, 3 * MIB);
    let mounted = Mounted::good(holding("file", old.clone()));
    let more = pattern(2, 2 * MIB);
    let expected = [b"header".as_slice(), &old[6..], &more].concat();
    let mut file = OpenOptions::new().read(true).write(true).open(mounted.path("file")).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(&more).unwrap();
    eventually(CALL, "a part of the append", || mounted.landed("file").filter(|bytes| bytes.len() > 3 * MIB));
    let mut part = vec![0; 100_000];
    file.read_exact_at(&mut part, MIB as u64).unwrap();
    assert!(part == old[MIB..MIB + 100_000], "what lies before the append is read while it runs");
    file.write_all_at(b"header", 0).unwrap();
    mounted.call("close", move |_| close(file)).unwrap();
    assert!(mounted.landed("file").unwrap() == expected);
    assert!(mounted.read("file").unwrap() == expected);
}

#[test]
fn a_file_that_is_appended_to_is_read_meanwhile() {
    let old = pattern(1, MIB);
    let mounted = Mounted::good(holding("file", old.clone()));
    let mut reader = File::open(mounted.path("file")).unwrap();
    for round in 0..10 {
        append(&mounted.path("file"), &pattern(round, 1000)).unwrap();
        let mut part = vec![0; 1000];
        let at = (round * 100_000) as usize;
        reader.seek(SeekFrom::Start(at as u64)).unwrap();
        reader.read_exact(&mut part).unwrap();
        assert!(part == old[at..at + 1000], "round {round}");
    }
}

#[test]
fn an_old_file_is_never_taken_for_the_beginning_of_a_new_one() {
    for old in [1, 300_000, 700_000] {
        let mounted = Mounted::good(holding("file", pattern(1, old)));
        let fault = UploadFault { at: FaultAt::Byte(800_000), end: FaultEnd::ControlToo, times: 1 };
        mounted.break_by(Writing { beside: true, fault: Some(fault), ..Writing::default() });
        let new = pattern(2, MIB);
        let (path, bytes) = (mounted.path("file"), new.clone());
        let stored = mounted.call("store", move |_| store(&path, &bytes));
        assert!(stored.is_err() || mounted.landed("file").unwrap() == new, "{old}");
        assert!(stored.is_ok(), "{old}: {stored:?}");
    }
}

#[test]
fn a_directory_is_removed_right_after_its_open_files() {
    let mut tree = Tree::bare();
    for number in 0..8 {
        tree.put_directory(&format!("/home/u/{number}"));
        tree.put(&format!("/home/u/{number}/file"), pattern(number, 1000));
    }
    let mounted = Mounted::good(tree);
    mounted.break_by(Writing { slow_names: Some(Duration::from_millis(100)), ..Writing::default() });
    for number in 0..8 {
        let removed = mounted.call("rm", move |dir| {
            let dir = dir.join(number.to_string());
            let file = File::open(dir.join("file"))?;
            fs::remove_file(dir.join("file"))?;
            drop(file);
            fs::remove_dir(dir)
        });
        assert_eq!(errno_name(&removed), "0", "{number}");
    }
    eventually(CALL, "everything to be gone", || {
        mounted.server.tree().names("/home/u").is_empty().then_some(())
    });
}

#[test]
fn files_that_the_server_refuses_are_not_kept() {
    let mounted = Mounted::good(Tree::bare());
    mounted.break_by(Writing { denied: Some("550 Permission denied"), ..Writing::default() });
    for number in 0..50 {
        let name = format!("file-{number}");
        let stored = mounted.call("store", move |dir| store(&dir.join(name), b"text"));
        assert_eq!(errno_name(&stored), "EACCES", "{number}");
    }
    eventually(CALL, "the refused files to be forgotten", || {
        let names = mounted.call("a listing", |dir| fs::read_dir(dir).map(Iterator::count));
        (names.unwrap() == 0).then_some(())
    });
}

#[test]
fn a_file_grows_also_where_the_server_tells_no_size() {
    let old = pattern(1, 300_000);
    for appe in [true, false] {
        let writing = Writing { size: false, appe, ..Writing::default() };
        let quirks = Quirks { mlst: false, writing, ..Quirks::default() };
        let mounted = Mounted::start(holding("file", old.clone()), quirks, &["connections=1"]);
        let more = pattern(2, 3 * MIB);
        let (path, bytes) = (mounted.path("file"), more.clone());
        let appended = mounted.call("append", move |_| append(&path, &bytes));
        assert_eq!(errno_name(&appended), "0");
        assert!(mounted.landed("file").unwrap() == [old.as_slice(), &more].concat());
    }
}

#[test]
fn a_server_without_sizes_ends_an_upload_that_others_wait_for() {
    let writing = Writing { size: false, slow: Some(Duration::from_millis(20)), ..Writing::default() };
    let quirks = Quirks { mlst: false, writing, ..Quirks::default() };
    let mounted =
        Mounted::start(holding("other", vec![1; 10]), quirks, &["connections=1", "cache_timeout=0"]);
    let bytes = pattern(1, 4 * MIB);
    let expected = bytes.clone();
    let path = mounted.path("file");
    let storing = thread::spawn(move || store(&path, &bytes));
    let done = Arc::new(AtomicBool::new(false));
    let (others, over) = (mounted.path(""), done.clone());
    let asking = thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            let _ = fs::read_dir(&others).map(Iterator::count);
        }
    });
    let stored = within(2 * CALL, "an upload that others wait for", move || storing.join());
    done.store(true, Ordering::SeqCst);
    within(CALL, "the others", move || asking.join()).unwrap();
    stored.unwrap().unwrap();
    assert!(mounted.landed("file").unwrap() == expected);
}

#[test]
fn one_file_that_takes_no_append_does_not_end_appending() {
    let mut tree = holding("one", pattern(1, 1000));
    tree.put("/home/u/two", pattern(2, 1000));
    let mounted = Mounted::good(tree);
    mounted.server.quirks().writing.denied = Some("550 Permission denied");
    let path = mounted.path("one");
    assert_eq!(errno_name(&mounted.call("append", move |_| append(&path, b"x"))), "EACCES");
    mounted.heal();
    let path = mounted.path("two");
    mounted.call("append", move |_| append(&path, b"x")).unwrap();
    assert!(mounted.server.tree().landings().iter().any(|landing| landing.verb == "APPE"));
}

#[test]
fn what_is_synced_while_its_directory_is_renamed_is_where_the_directory_is() {
    let mut tree = Tree::bare();
    tree.put_directory("/home/u/a");
    tree.put("/home/u/a/file", pattern(1, 1000));
    let mounted = Mounted::good(tree);
    mounted.break_by(Writing { slow_names: Some(Duration::from_millis(200)), ..Writing::default() });
    let file = OpenOptions::new().read(true).write(true).open(mounted.path("a/file")).unwrap();
    for round in 0..4u8 {
        let (from, to) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let names = (mounted.path(from), mounted.path(to));
        let renaming = thread::spawn(move || fs::rename(names.0, names.1));
        let landed = format!("/home/u/{to}");
        eventually(CALL, "the server's rename", || mounted.server.tree().exists(&landed).then_some(()));
        file.write_all_at(&[round; 1000], 0).unwrap();
        file.sync_all().unwrap();
        let bytes = mounted.server.tree().bytes(&format!("/home/u/{to}/file"));
        assert!(bytes.unwrap() == [round; 1000], "round {round}");
        within(CALL, "rename", move || renaming.join()).unwrap().unwrap();
    }
}

#[test]
fn the_old_part_of_a_file_is_read_while_a_long_append_runs() {
    let old = pattern(1, 6 * MIB);
    let mounted = Mounted::good(holding("file", old.clone()));
    let (slow, slow_facts) = (Some(Duration::from_millis(4)), Some(Duration::from_millis(30)));
    mounted.break_by(Writing { slow, slow_facts, ..Writing::default() });
    let more = pattern(2, 24 * MIB);
    let expected = [old.as_slice(), &more].concat();
    let path = mounted.path("file");
    let appending = thread::spawn(move || append(&path, &more));
    eventually(CALL, "a part of the append", || mounted.landed("file").filter(|bytes| bytes.len() > 6 * MIB));
    let file = File::open(mounted.path("file")).unwrap();
    for at in (0..6 * MIB).step_by(MIB / 8).rev() {
        let file = file.try_clone().unwrap();
        let part = mounted.call("read", move |_| {
            let mut part = vec![0; 50_000];
            file.read_exact_at(&mut part, at as u64).map(|()| part)
        });
        assert!(part.unwrap() == old[at..at + 50_000], "{at}");
    }
    within(3 * CALL, "append", move || appending.join()).unwrap().unwrap();
    assert!(mounted.landed("file").unwrap() == expected);
}

#[test]
fn what_is_closed_while_it_is_removed_leaves_nothing() {
    let mut tree = Tree::bare();
    for number in 0..10 {
        tree.put(&format!("/home/u/{number}"), pattern(number, 1000));
    }
    let mounted = Mounted::good(tree);
    mounted.break_by(Writing { slow_names: Some(Duration::from_millis(50)), ..Writing::default() });
    for number in 0..10u64 {
        let removed = mounted.call("unlink", move |dir| {
            let path = dir.join(number.to_string());
            let file = File::open(&path)?;
            let closing = thread::spawn(move || {
                thread::sleep(Duration::from_millis(10 * (number % 8)));
                drop(file);
            });
            let removed = fs::remove_file(path);
            closing.join().unwrap();
            removed
        });
        removed.unwrap();
    }
    eventually(CALL, "everything to be gone", || {
        mounted.server.tree().names("/home/u").is_empty().then_some(())
    });
}

#[test]
fn a_close_does_not_wait_for_what_others_write_on() {
    let mounted = Mounted::good(Tree::bare());
    mounted.break_by(Writing { slow: Some(Duration::from_millis(20)), ..Writing::default() });
    let path = mounted.path("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(&pattern(1, MIB)).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let over = done.clone();
    let writing = thread::spawn(move || {
        let bytes = pattern(2, MIB / 4);
        let mut file = file;
        for _ in 0..400 {
            if over.load(Ordering::SeqCst) {
                break;
            }
            file.write_all(&bytes).unwrap();
            thread::sleep(Duration::from_millis(30));
        }
        drop(file);
    });
    let begun = std::time::Instant::now();
    let other = OpenOptions::new().write(true).open(&path).unwrap();
    let closed = within(3 * CALL, "a close", move || close(other));
    let took = begun.elapsed();
    let was_over = writing.is_finished();
    done.store(true, Ordering::SeqCst);
    within(3 * CALL, "the writer", move || writing.join()).unwrap();
    closed.unwrap();
    assert!(!was_over && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn who_opens_a_file_that_is_being_removed_or_replaced_reads_one_of_both_or_finds_none() {
    for (verb, replaces) in [("DELE", false), ("RNTO", true)] {
        let (old, new) = (pattern(1, 1000), pattern(2, 2000));
        let mut tree = holding("target", old.clone());
        tree.put("/home/u/source", new.clone());
        let mounted = Mounted::start(tree, Quirks::default(), &["attr_timeout=60", "cache_timeout=60"]);
        mounted.call("stat", |dir| fs::metadata(dir.join("target"))).unwrap();
        mounted.break_by(Writing { slow_names: Some(Duration::from_millis(500)), ..Writing::default() });
        let (source, target) = (mounted.path("source"), mounted.path("target"));
        let change = thread::spawn(move || match replaces {
            true => fs::rename(source, target),
            false => fs::remove_file(target),
        });
        eventually(CALL, "the command", || (mounted.server.count(verb) > 0).then_some(()));
        let opened = mounted.call("open", |dir| File::open(dir.join("target")));
        within(CALL, "change", move || change.join()).unwrap().unwrap();
        match opened {
            Ok(mut file) => {
                let read = mounted.call("read", move |_| {
                    let mut bytes = Vec::new();
                    file.read_to_end(&mut bytes).map(|_| bytes)
                });
                let read = read.unwrap();
                assert!(replaces && read == new || read == old, "{verb}: {} bytes of neither", read.len());
            }
            Err(error) => {
                let is_gone = !replaces && error.raw_os_error() == Some(libc::ENOENT);
                assert!(is_gone, "{verb}: {error}");
            }
        }
    }
}
