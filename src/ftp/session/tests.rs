//! How a session logs in and sets up.

use std::time::Duration;

use super::*;
use crate::ftp::reply::ReplyParser;
use crate::ftp::scripted::Scripted;
use crate::secret::Secret;

#[test]
fn a_later_session_logs_in_in_one_round_trip_as_the_first_was_answered() {
    let server = Scripted::start(&[]);
    let deadline = || Deadline::after(Duration::from_secs(10));
    let (config, profile) = (Arc::new(server.config()), Arc::new(ServerProfile::default()));
    let open = || Session::open(config.clone(), profile.clone(), deadline());
    let asks = || profile.quirks().asks_password;
    server.script.lock().reply = Some(("USER", "331 and the password?"));
    let _first = open().unwrap();
    assert_eq!(asks(), Capability::Yes);
    server.script.lock().seen.clear();
    let mut later = open().unwrap();
    assert!(later.is_ready());
    assert_eq!(server.script.lock().seen[..3], ["USER u", "PASS p", "TYPE I"]);
    // A refusal is one, and no reason to doubt the order.
    server.script.lock().reply = Some(("PASS", "530 too many users"));
    assert!(matches!(open(), Err(LoginError::Failed(_) | LoginError::Full(_))));
    // Another answer than before: the next goes step by step, and sends no PASS that nobody wants.
    server.script.lock().reply = Some(("USER", "230 no password today"));
    let _ = open();
    assert_eq!(asks(), Capability::No);
    server.script.lock().seen.clear();
    assert!(open().unwrap().is_ready());
    assert_eq!(server.script.lock().seen[..2], ["USER u", "TYPE I"]);
}

/// What a session sends that may switch UTF-8 on, after its login.
fn utf8_commands(feat: &'static str, wanted: bool) -> Vec<String> {
    let server = Scripted::start(&[]);
    server.script.lock().reply = Some(("FEAT", feat));
    let config = SessionConfig { utf8: wanted, ..server.config() };
    let deadline = Deadline::after(Duration::from_secs(10));
    drop(Session::open(Arc::new(config), Arc::default(), deadline).unwrap());
    let seen = server.script.lock().seen.clone();
    let login = seen.iter().position(|line| line.starts_with("USER")).unwrap();
    let of_charset = |line: &&String| line.starts_with("CLNT") || line.starts_with("OPTS UTF8");
    seen[login..].iter().filter(of_charset).cloned().collect()
}

#[test]
fn no_place_is_told_from_a_wrong_password() {
    for (text, is_full) in [
        ("530 Sorry, the maximum number of clients (2) for this user are already connected.", true),
        ("530 Too many users logged in, try again later", true),
        ("530 Server is busy", true),
        ("421 Too many connections", true),
        ("530 User lena already connected", true),
        ("530 Login incorrect.", false),
        ("530 Login incorrect, please try again.", false),
        ("530 Authentication failed. Try again.", false),
        ("530 Too many invalid passwords", false),
        ("530 User cannot log in", false),
    ] {
        let reply = ReplyParser::default().push(format!("{text}\r\n").as_bytes()).unwrap().1.unwrap();
        let sorted = sort_refusal(Error::Refused { command: "PASS ***".to_owned(), reply });
        assert_eq!(matches!(sorted, LoginError::Full(_)), is_full, "{text}: {sorted:?}");
    }
}

#[test]
fn a_password_that_the_server_repeats_does_not_show() {
    let server = Scripted::start(&[]);
    server.script.lock().reply = Some(("PASS", "530 PASS hunter2 is not the password"));
    let mut config = server.config();
    config.login.password = Secret::new("hunter2");
    let deadline = Deadline::after(Duration::from_secs(10));
    let error = Session::open(Arc::new(config), Arc::default(), deadline).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("*** is not the password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn utf_8_is_switched_on_where_it_is_offered_and_wanted() {
    let both = "211-Features:\r\n CLNT\r\n UTF8\r\n211 End";
    assert_eq!(utf8_commands(both, true), ["CLNT ftpfs", "OPTS UTF8 ON"]);
    assert_eq!(utf8_commands(both, false), [""; 0]);
    assert_eq!(utf8_commands("211-Features:\r\n UTF8\r\n211 End", true), ["OPTS UTF8 ON"]);
    assert_eq!(utf8_commands("211-Features:\r\n CLNT\r\n211 End", true), [""; 0]);
    assert_eq!(utf8_commands("500 what?", true), [""; 0]);
}
