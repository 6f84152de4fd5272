//! What becomes of a verb whose connection breaks before or behind it.

use std::time::{Duration, Instant};

use super::*;
use crate::ftp::scripted::{Cut, Scripted};
use crate::ftp::upload::{StoreAt, Upload};

fn connect(server: &Scripted) -> Remote {
    Remote::connect(server.config(), b"", false, 2, deadline()).unwrap()
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

type Verb = fn(&Remote) -> Result<(), Error>;

const VERBS: [(&str, Verb); 4] = [
    ("DELE", |remote| remote.remove(&path("/file"), deadline())),
    ("MKD", |remote| remote.make_directory(&path("/new"), None, deadline()).map(drop)),
    ("RMD", |remote| remote.remove_directory(&path("/dir"), deadline())),
    ("RNTO", |remote| remote.rename(&path("/file"), &path("/dir/moved"), deadline())),
];

fn server() -> Scripted {
    Scripted::start(&[("/file", Some("1")), ("/dir", None), ("/other", None)])
}

#[test]
fn a_verb_whose_reply_was_lost_is_done_once_and_succeeds() {
    for (verb, run) in VERBS {
        for cut in [Cut::Before, Cut::Instead] {
            let server = server();
            let remote = connect(&server);
            server.script.lock().cut = Some((verb, cut));
            run(&remote).unwrap_or_else(|error| panic!("{verb} {cut:?}: {error:?}"));
            let script = server.script.lock();
            assert_eq!(script.cut, None, "{verb}: the connection was not cut");
            let times = script.seen.iter().filter(|line| line.starts_with(verb)).count();
            assert!(times <= 2, "{verb} {cut:?}: {:?}", script.seen);
            let there = |path: &str| script.tree.contains_key(path);
            match verb {
                "DELE" => assert!(!there("/file")),
                "MKD" => assert!(there("/new")),
                "RMD" => assert!(!there("/dir")),
                _ => assert!(!there("/file") && there("/dir/moved")),
            }
        }
    }
}

#[test]
fn a_first_refusal_is_no_success() {
    for (verb, run) in VERBS {
        let server = Scripted::start(&[("/new", None)]);
        let remote = connect(&server);
        let kind = run(&remote).unwrap_err().kind();
        let expected = if verb == "MKD" { Kind::Exists } else { Kind::NotFound };
        assert_eq!(kind, expected, "{verb}");
    }
}

#[test]
fn a_connection_that_was_dropped_while_idle_leaves_no_doubt() {
    let server = Scripted::start(&[("/new", None)]);
    let remote = connect(&server);
    // The server hangs up behind a reply, as at an idle timeout; the next verb needs another connection.
    server.script.lock().cut = Some(("NOOP", Cut::Before));
    {
        let mut lease = remote.lease("ask", &path("/"), Lane::Metadata, deadline()).unwrap();
        let session = lease.session().unwrap();
        assert!(session.control.exchange(crate::ftp::command::Command::bare("NOOP"), deadline()).is_err());
    }
    let made = remote.make_directory(&path("/new"), None, deadline());
    assert_eq!(made.unwrap_err().kind(), Kind::Exists);
}

#[test]
fn what_stands_in_the_way_is_no_lost_success() {
    // The first MKD is lost before it is done; the second finds a file of that name.
    let server = Scripted::start(&[("/new", Some("a file"))]);
    let remote = connect(&server);
    server.script.lock().cut = Some(("MKD", Cut::Before));
    let made = remote.make_directory(&path("/new"), None, deadline());
    assert_eq!(made.unwrap_err().kind(), Kind::Exists);
}

#[test]
fn a_server_without_a_command_is_asked_once() {
    let server = server();
    let remote = connect(&server);
    server.script.lock().reply = Some(("SITE", "500 what"));
    for _ in 0..3 {
        let wishes = Wishes { mode: Some(0o600), ..Wishes::default() };
        let error = remote.set(&path("/file"), &wishes, deadline()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        let error = remote.make_symlink(b"file", &path("/link"), deadline()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }
    let script = server.script.lock();
    let asked = script.seen.iter().filter(|line| line.starts_with("SITE")).count();
    assert_eq!(asked, 2, "{:?}", script.seen);
}

#[test]
fn a_directory_of_that_name_keeps_its_mode_when_mkdir_is_refused() {
    let server = Scripted::start(&[("/new", None)]);
    let remote = connect(&server);
    remote.make_directory(&path("/new"), Some(0o700), deadline()).unwrap_err();
    assert!(!server.script.lock().seen.iter().any(|line| line.starts_with("SITE")));
}

#[test]
fn the_last_bytes_of_an_upload_have_longer_than_a_reply_while_they_move() {
    let server = Scripted::start(&[]);
    let remote = connect(&server);
    server.script.lock().pause = Duration::from_millis(30);
    let content = vec![7; 6 << 20];
    let mut lease = remote.lease("write", &path("/slow"), Lane::Data, deadline()).unwrap();
    let session = lease.session().unwrap();
    let mut upload = session.store(b"/slow", StoreAt::Start, deadline()).unwrap();
    upload.write(&content, deadline()).unwrap();
    let begun = Instant::now();
    upload.finish(deadline()).unwrap();
    let (took, reply) = (begun.elapsed(), server.config().timeouts.reply);
    assert!(took > reply, "it took {took:?}: the buffers of this machine are too small for this test");
    assert_eq!(server.script.lock().tree.get("/slow"), Some(&Some(content)));
}

#[test]
fn an_upload_to_a_server_that_takes_nothing_ends_at_the_stall_time() {
    let server = Scripted::start(&[]);
    let remote = connect(&server);
    server.script.lock().pause = Duration::from_secs(60);
    let mut lease = remote.lease("write", &path("/stuck"), Lane::Data, deadline()).unwrap();
    let mut upload = lease.session().unwrap().store(b"/stuck", StoreAt::Start, deadline()).unwrap();
    let begun = Instant::now();
    let written = upload.write(&vec![7; 32 << 20], deadline());
    assert!(matches!(written, Err(FtpError::Deadline { .. })), "{written:?}");
    let ended = upload.finish(deadline());
    assert!(matches!(ended, Err(FtpError::Deadline { .. })), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Some MiB are in the buffers of the two kernels when an upload is given up. If they came when the file was stored anew,
/// it would have bytes of both.
fn given_up(end: fn(Upload<'_>) -> Result<(), FtpError>) {
    let server = Scripted::start(&[]);
    let remote = connect(&server);
    // Longer than the stall time.
    server.script.lock().pause = Duration::from_secs(3);
    let mut lease = remote.lease("write", &path("/late"), Lane::Data, deadline()).unwrap();
    let mut upload = lease.session().unwrap().store(b"/late", StoreAt::Start, deadline()).unwrap();
    let written = upload.write(&vec![7; 32 << 20], deadline());
    assert!(matches!(written, Err(FtpError::Deadline { .. })), "{written:?}");
    let ended = end(upload);
    assert!(ended.is_err(), "{ended:?}");
    drop(lease);
    // Now it reads all that comes.
    server.script.lock().pause = Duration::ZERO;
    let by = Instant::now() + Duration::from_secs(20);
    let landed = loop {
        if let Some(Some(content)) = server.script.lock().tree.get("/late") {
            break content.len();
        }
        assert!(Instant::now() < by, "the upload does not end");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(landed < 1 << 20, "{landed} bytes came");
}

#[test]
fn what_has_not_arrived_when_an_upload_fails_never_does() {
    given_up(|upload| upload.finish(deadline()).map(drop));
}

#[test]
fn what_has_not_arrived_when_an_upload_is_abandoned_never_does() {
    given_up(|upload| upload.abandon(deadline()));
}

#[test]
fn an_offset_that_the_server_counts_with_32_bits_is_never_read_from() {
    for said in ["350 Restarting at 1073741824. Send STORE or RETRIEVE", "350 Restart position accepted (0)."]
    {
        let server = Scripted::start(&[("/file", Some("1"))]);
        let remote = connect(&server);
        server.script.lock().reply = Some(("REST", said));
        for _ in 0..2 {
            let mut lease = remote.lease("read", &path("/file"), Lane::Data, deadline()).unwrap();
            let session = lease.session().unwrap();
            let read = session.retrieve(b"/file", 5 << 30, false, deadline()).map(drop);
            assert!(matches!(read, Err(FtpError::Misbehaved(_))), "{read:?}");
        }
        let seen = server.script.lock().seen.clone();
        assert!(!seen.iter().any(|line| line.starts_with("RETR")), "{seen:?}");
        assert_eq!(seen.iter().filter(|line| line.starts_with("REST")).count(), 1, "{seen:?}");
    }
}

#[test]
fn a_link_that_is_not_there_afterwards_is_no_success() {
    let server = server();
    let remote = connect(&server);
    for _ in 0..2 {
        let error = remote.make_symlink(b"file", &path("/link"), deadline()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }
    let script = server.script.lock();
    assert_eq!(script.seen.iter().filter(|line| line.starts_with("SITE")).count(), 1);
}
