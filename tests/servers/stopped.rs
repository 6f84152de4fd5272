//! A server that stops answering with its connections open.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::bounded::{eventually, within};
use crate::common::fresh_dir;
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};

on_every_server!(every_call_returns_with_short_bounds, every_call_returns_with_default_bounds);

/// What is cached is trusted for the whole test, so that nothing needs to ask the server again.
const KEEP: [&str; 2] = ["attr_timeout=600", "cache_timeout=600"];
/// The promise for every call that needs the server.
const PROMISE: Duration = Duration::from_secs(60);
/// "At once", on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(3);

fn every_call_returns_with_short_bounds(kind: Kind) {
    let short = ["operation_timeout=10", "reply_timeout=5", "login_timeout=5", "connect_timeout=3"];
    stopped(kind, &[KEEP.as_slice(), short.as_slice()].concat());
}

fn every_call_returns_with_default_bounds(kind: Kind) {
    stopped(kind, &KEEP);
}

fn stopped(kind: Kind, options: &[&str]) {
    let served = fresh_dir("served-");
    for dir in ["known", "listed-later", "asked-later"] {
        fs::create_dir(served.path().join(dir)).unwrap();
        fs::write(served.path().join(dir).join("file"), dir).unwrap();
    }
    fs::write(served.path().join("read-later"), vec![b'x'; 1 << 20]).unwrap();
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), options);
    let at = |path: &str| mount.path().join(path);
    warm_up(mount.path().to_path_buf());

    server.stop();
    let started = Instant::now();
    // Each of these needs the server. An error is a fine answer, none at all is not.
    let (asked, listed, content) = (at("asked-later/file"), at("listed-later"), at("read-later"));
    let waiting = [
        ("stat", thread::spawn(move || drop(fs::symlink_metadata(asked)))),
        ("ls", thread::spawn(move || drop(fs::read_dir(listed).map(Iterator::count)))),
        ("read", thread::spawn(move || drop(read(content)))),
    ];

    // Meanwhile, and several times: what is known needs no server.
    for _ in 0..3 {
        let known = at("known");
        within(AT_ONCE, "ls, stat and read of what is cached", move || {
            assert_eq!(fs::read_dir(&known).unwrap().count(), 1);
            assert_eq!(fs::metadata(known.join("file")).unwrap().len(), 5);
            assert_eq!(read(known.join("file")).unwrap(), b"known");
        });
        let root = mount.path().to_path_buf();
        let space = within(AT_ONCE, "df", move || {
            std::process::Command::new("stat").args([OsStr::new("-f"), root.as_os_str()]).output().unwrap()
        });
        assert!(space.status.success(), "statfs failed");
    }
    let used = mount.processor_time();
    for (what, thread) in waiting {
        let left = (PROMISE + AT_ONCE).saturating_sub(started.elapsed());
        within(left, what, move || thread.join()).unwrap();
    }
    // Who waits does nothing else.
    let used = mount.processor_time() - used;
    assert!(used < Duration::from_secs(1), "{used:?}");

    server.cont();
    // A session of vsftpd 3.0.3 that was stopped answers what is asked, but EPSV no more: its parent takes the signal that
    // the child has stopped for its end, and waits for that. Each costs a call until it is given up.
    eventually(PROMISE, "the mount to work again by itself", || {
        let (dir, files) = (at("listed-later"), [at("read-later"), at("asked-later/file")]);
        let (names, contents) = within(PROMISE, "ls and read after the pause", move || {
            (fs::read_dir(dir).map(Iterator::count), files.map(read).map(Result::ok))
        });
        let expected = [vec![b'x'; 1 << 20], b"asked-later".to_vec()].map(Some);
        (names.ok() == Some(1) && contents == expected).then_some(())
    });
    assert!(mount.terminate().success());
}

/// Makes the mount know the root and `known`, with its file's content, and nothing of the rest.
fn warm_up(root: PathBuf) {
    within(PROMISE, "first use", move || {
        assert_eq!(fs::read_dir(&root).unwrap().count(), 4);
        for name in ["listed-later", "asked-later", "read-later"] {
            fs::symlink_metadata(root.join(name)).unwrap();
        }
        assert_eq!(fs::read_dir(root.join("known")).unwrap().count(), 1);
        assert_eq!(read(root.join("known/file")).unwrap(), b"known");
    });
}

fn read(path: PathBuf) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    Ok(content)
}
