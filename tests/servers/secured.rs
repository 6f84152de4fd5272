//! TLS with the servers that demand the most: clear text is refused, and on vsftpd and ProFTPD a data connection that
//! does not resume the session of its control connection.

use std::time::Duration;

use crate::common::bounded::finish;
use crate::common::compare::{same_file, same_sums_by_many, same_tree};
use crate::common::content::{MIB, link_big_file};
use crate::common::mount::{Mount, program};
use crate::common::scenario::{Place, options_for_tools, run};
use crate::common::server::{Kind, Options, Server, Tls, User};
use crate::common::{PASSWORD, fresh_dir, material, tree, writable_dir};
use crate::{edits, tools};

const LONG: Duration = Duration::from_secs(240);

/// With TLS and with what the test says.
fn secured(tls: Tls) -> Options {
    Options { tls, ..Options::default() }
}

/// The scenarios of the tools; `FTPFS_TEST_TLS` runs all tests so.
fn files_are_read_and_changed(kind: Kind, mode: &str, version: &str) {
    let (material, served) = (material::make(40), writable_dir("served-"));
    let server = Server::start(kind, served.path(), &secured(Tls::Explicit));
    let (mode, version) = (format!("mode={mode}"), format!("tls_version={version}"));
    let options = [&[&*mode, &*version], options_for_tools(kind)].concat();
    let mount = Mount::start(&server.url(User::Tester, "/"), &options);
    let place = Place { mounted: mount.path(), served: served.path(), kind: Some(kind) };
    let all = [&tools::TREES[..], &edits::EDITS, &edits::HANDLES].concat();
    run(place, material.path(), &all);
}

#[test]
fn files_are_read_and_changed_over_tls_1_2_on_vsftpd() {
    files_are_read_and_changed(Kind::Vsftpd, "active", "1.2");
}

#[test]
fn files_are_read_and_changed_over_tls_1_3_on_vsftpd() {
    files_are_read_and_changed(Kind::Vsftpd, "passive", "1.3");
}

#[test]
fn files_are_read_and_changed_over_tls_1_2_on_proftpd() {
    files_are_read_and_changed(Kind::Proftpd, "passive", "1.2");
}

/// Its uploads bring no new tickets of TLS 1.3.
#[test]
fn files_are_read_and_changed_over_any_tls_on_proftpd() {
    files_are_read_and_changed(Kind::Proftpd, "active", "any");
}

#[test]
fn files_are_read_and_changed_over_tls_on_pure_ftpd() {
    files_are_read_and_changed(Kind::PureFtpd, "passive", "any");
}

#[test]
fn files_are_read_and_changed_over_tls_1_2_on_pyftpdlib() {
    files_are_read_and_changed(Kind::Pyftpdlib, "active", "1.2");
}

#[test]
fn files_are_read_and_changed_over_tls_1_3_on_pyftpdlib() {
    files_are_read_and_changed(Kind::Pyftpdlib, "passive", "1.3");
}

/// 2,000 files by 16 processes over 8 connections, all at work at once, and 256 MiB. No server refuses any of them for
/// want of a session, which it would say with 425 or 522.
fn two_thousand_transfers_resume_their_session(kind: Kind, version: &str) {
    let served = fresh_dir("served-");
    std::fs::create_dir(served.path().join("tree")).unwrap();
    tree::make(&served.path().join("tree"), 2000, std::time::SystemTime::now());
    link_big_file(&served.path().join("big"), 256, 256 * MIB);
    let server = Server::start(kind, served.path(), &secured(Tls::Explicit));
    let options = [&*format!("tls_version={version}"), "connections=8", "debug"];
    let mount = Mount::start(&server.url(User::Tester, "/"), &options);
    same_sums_by_many(LONG, &served.path().join("tree"), &mount.path().join("tree"));
    same_file(LONG, &served.path().join("big"), &mount.path().join("big"));
    let refused: Vec<_> = mount
        .trace()
        .into_iter()
        .filter(|line| !line.sent && (line.text.starts_with("425") || line.text.starts_with("522")))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn two_thousand_transfers_resume_their_session_on_vsftpd() {
    two_thousand_transfers_resume_their_session(Kind::Vsftpd, "1.2");
    two_thousand_transfers_resume_their_session(Kind::Vsftpd, "1.3");
}

#[test]
fn two_thousand_transfers_resume_their_session_on_proftpd() {
    two_thousand_transfers_resume_their_session(Kind::Proftpd, "1.2");
    two_thousand_transfers_resume_their_session(Kind::Proftpd, "any");
}

/// The message of the mount that fails names the pin with which the next one works.
#[test]
fn a_self_signed_server_is_pinned_in_one_step() {
    let material = material::make(20);
    let server = Server::start(Kind::PureFtpd, material.path(), &secured(Tls::SelfSigned));
    let url = server.url(User::Tester, "/");
    let dir = fresh_dir("mount-");
    let mut command = program();
    command.args(["-f", &url]).arg(dir.path());
    let output = finish(Duration::from_secs(30), command);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(32), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(!text.contains("check the user"), "another remedy than the one that helps: {text}");
    let pin = text.split("tls_pin=").nth(1).unwrap_or_else(|| panic!("no pin in: {text}"));
    let pin: String = pin.chars().take("sha256:".len() + 64).collect();
    let mount = Mount::start(&url, &[&format!("tls_pin={pin}")]);
    same_tree(LONG, material.path(), mount.path());
}

/// Behind a firewall that has to read commands: the control connection goes back to clear text, files do not.
#[test]
fn commands_go_on_in_clear_text_after_ccc() {
    let material = material::make(20);
    let server = Server::start(Kind::PureFtpd, material.path(), &secured(Tls::Explicit));
    let mount = Mount::start(&server.url(User::Tester, "/"), &["ccc", "debug"]);
    same_tree(LONG, material.path(), mount.path());
    assert!(mount.trace().iter().any(|line| line.verb().as_deref() == Some("CCC")));
}

#[test]
fn implicit_tls_works_in_both_modes() {
    let material = material::make(40);
    for kind in [Kind::Vsftpd, Kind::Proftpd] {
        let server = Server::start(kind, material.path(), &secured(Tls::Implicit));
        for mode in ["mode=passive", "mode=active"] {
            let mount = Mount::start(&server.url(User::Tester, "/"), &[mode]);
            same_tree(LONG, material.path(), mount.path());
        }
    }
}
