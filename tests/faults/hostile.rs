//! Replies that are no replies, at each command of a session.

use std::time::Instant;

use crate::client::{Client, LATE, OPERATION, SAMPLE_NAMES, is_clean, watched};
use crate::common_ftpd::{Quirks, Said, Server, Then, Tree};

/// The commands of listing, asking and reading, with MLST and without.
const VERBS: [(&str, bool); 12] = [
    ("CWD", true),
    ("EPSV", true),
    ("MLSD", true),
    ("MLST", true),
    ("REST", true),
    ("RETR", true),
    ("CWD", false),
    ("EPSV", false),
    ("LIST", false),
    ("SIZE", false),
    ("MDTM", false),
    ("RETR", false),
];

fn bad_replies() -> Vec<(&'static str, Vec<u8>, Then)> {
    let mut endless = b"250-never\r\n".to_vec();
    endless.extend(b"250-ends\r\n".repeat(100_000));
    vec![
        ("no code", b"hello\r\n".to_vec(), Then::GoOn),
        ("no code, then the right one", b"hello\r\n".to_vec(), Then::Obey),
        ("no line end", vec![b'2'; 1 << 20], Then::Hang),
        ("endless lines", endless, Then::Hang),
        ("code 999", b"999 x\r\n".to_vec(), Then::GoOn),
        ("NUL", b"\0\0\0\0\r\n".to_vec(), Then::GoOn),
        ("half a line", b"25".to_vec(), Then::Close),
        ("nothing", Vec::new(), Then::Hang),
        ("the end", Vec::new(), Then::Close),
        ("421", b"421 Timeout.\r\n".to_vec(), Then::Close),
        ("a wrong 200", b"200 OK\r\n".to_vec(), Then::GoOn),
        ("a wrong 331", b"331 Password?\r\n".to_vec(), Then::GoOn),
        ("a wrong 150", b"150 Here it comes\r\n".to_vec(), Then::GoOn),
        ("200 and the right one", b"200 OK\r\n".to_vec(), Then::Obey),
        ("250 and the right one", b"250 OK\r\n".to_vec(), Then::Obey),
        ("550 and the right one", b"550 No.\r\n".to_vec(), Then::Obey),
        ("450", b"450 Not now.\r\n".to_vec(), Then::GoOn),
    ]
}

/// Lists, asks and reads; wrong results fail here, errors are handed back.
fn work(client: &Client, server: &Server) -> Vec<ftpfs::remote::Error> {
    let big = server.tree().bytes("/home/u/big").unwrap();
    let mut errors = Vec::new();
    let begun = Instant::now();
    match client.names("") {
        Ok(names) => assert_eq!(names, SAMPLE_NAMES),
        Err(error) => errors.push(error),
    }
    match client.version("big") {
        Ok(version) => {
            assert_eq!(version.size, big.len() as u64);
            let reader = client.open_version("big", version);
            for (offset, len) in [(0, 5000), (250_000, 5000), (131_000, 500)] {
                match client.read(&reader, offset, len) {
                    Ok(bytes) => assert!(bytes == big[offset..offset + len], "wrong bytes at {offset}"),
                    Err(error) => errors.push(error),
                }
            }
            reader.close();
        }
        Err(error) => errors.push(error),
    }
    assert!(begun.elapsed() < (OPERATION + LATE) * 2, "it took {:?}", begun.elapsed());
    errors
}

#[test]
fn a_bad_reply_once_is_survived_and_often_is_a_clean_error() {
    std::thread::scope(|scope| {
        for (verb, mlst) in VERBS {
            scope.spawn(move || {
                for (name, bytes, then) in bad_replies() {
                    watched(move || one(verb, mlst, name, &bytes, then));
                }
            });
        }
    });
}

fn one(verb: &'static str, mlst: bool, name: &str, bytes: &[u8], then: Then) {
    let server = Server::start(Tree::sample(), Quirks { mlst, ..Quirks::default() });
    let client = Client::of(&server);
    for times in [1, 30] {
        server.quirks().said = vec![Said::new(verb, times, bytes, then)];
        for error in work(&client, &server) {
            let refused = name.contains("550") && error.to_string().contains("550 No.");
            assert!(is_clean(&error) || refused, "{verb} {name} x {times}: {error:?}");
        }
    }
    server.quirks().said.clear();
    let errors = work(&client, &server);
    assert!(errors.is_empty(), "after {verb} {name}: {errors:?}");
}

/// A file is not a directory because CWD was answered so, when nothing else could be learned.
#[test]
fn a_wrong_answer_to_cwd_makes_no_directory_of_a_file() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks { mlst: false, ..Quirks::default() });
        let client = Client::of(&server);
        server.quirks().said = vec![
            Said::new("SIZE", usize::MAX, &b"550 No.\r\n"[..], Then::GoOn),
            Said::new("CWD", usize::MAX, &b"250 OK\r\n"[..], Then::GoOn),
            Said::new("EPSV", usize::MAX, &b""[..], Then::Close),
            Said::new("PASV", usize::MAX, &b""[..], Then::Close),
        ];
        let told = client.remote.stat(&client.path("big"), client.deadline());
        assert!(told.as_ref().is_err_and(is_clean), "{told:?}");
    });
}
