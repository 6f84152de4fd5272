//! Mounts that cannot be: exit codes and messages, as mount(8) defines the codes.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use crate::common::bounded::{finish, within};
use crate::common::mount::{Mount, exit_code, mounted, program, trust, unmount_lazily};
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{PASSWORD, USER, fresh_dir};

on_every_server!(a_mount_that_fails_says_why_without_the_password);

const BOUND: Duration = Duration::from_secs(60);

fn a_mount_that_fails_says_why_without_the_password(kind: Kind) {
    let served = fresh_dir("served-");
    fs::write(served.path().join("file"), "content").unwrap();
    let server = Server::start(kind, served.path(), &Options::default());
    let address = server.address();
    let url = server.url(User::Tester, "/");
    let (scheme, _) = url.split_once("://").unwrap();
    let dir = fresh_dir("mount-");
    // Each with a word that tells what is wrong: that the login was refused, where nobody is, what does not exist.
    let cases = [
        (format!("{scheme}://{USER}:wr0ng-{PASSWORD}@{address}/"), "login"),
        (format!("{scheme}://nobody-here:wr0ng-{PASSWORD}@{address}/"), "login"),
        (format!("{scheme}://{USER}:{PASSWORD}@127.0.0.1:1/"), "127.0.0.1"),
        (format!("{scheme}://{USER}:{PASSWORD}@no-such-host.invalid/"), "no-such-host.invalid"),
        (format!("{scheme}://{USER}:{PASSWORD}@{address}/no/such/dir"), "/no/such/dir"),
        (format!("{scheme}://{USER}:{PASSWORD}@{address}/file"), "/file"),
    ];
    for (url, word) in cases {
        let output = mount(&url, dir.path());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(exit_code(output.status), Ok(32), "{word}: {message}");
        assert_eq!(message.lines().count(), 1, "{word}: not one line: {message:?}");
        assert!(message.contains(word), "{message:?} does not name {word}");
        assert!(!message.contains(PASSWORD), "the password is in {message:?}");
        assert!(!mounted(dir.path()));
    }
}

#[test]
fn wrong_usage_is_exit_code_one() {
    let dir = fresh_dir("mount-");
    let dir = dir.path().to_str().unwrap();
    for arguments in [
        vec!["ftp://127.0.0.1/"],
        vec!["gopher://127.0.0.1/", dir],
        vec!["-o", "no_such_option", "ftp://127.0.0.1/", dir],
        vec!["-o", "mode=sideways", "ftp://127.0.0.1/", dir],
    ] {
        let output = run(&arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(exit_code(output.status), Ok(1), "{arguments:?}: {message}");
        assert!(!message.is_empty());
    }
}

#[test]
fn a_daemon_is_usable_when_the_command_returns_and_ends_with_umount() {
    let served = fresh_dir("served-");
    fs::write(served.path().join("file"), "content").unwrap();
    let server = Server::start(Kind::Vsftpd, served.path(), &Options::default());
    let dir = fresh_dir("mount-");
    let path = dir.path().to_path_buf();
    let output = mount(&server.url(User::Tester, "/"), &path);
    assert_eq!(exit_code(output.status), Ok(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(mounted(&path));
    let content = within(BOUND, "read", {
        let path = path.clone();
        move || fs::read(path.join("file"))
    });
    let ended = crate::common::bounded::output(BOUND, "umount", &[path.as_os_str()]);
    unmount_lazily(&path);
    assert_eq!(content.unwrap(), b"content");
    assert!(ended.status.success());
}

#[test]
fn sigterm_unmounts_and_ends_well() {
    let served = fresh_dir("served-");
    let server = Server::start(Kind::Pyftpdlib, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Anonymous, "/"), &[]);
    assert_eq!(exit_code(mount.terminate()), Ok(0));
}

/// Mounts as a user would, who trusts the server.
fn mount(url: &str, dir: &Path) -> Output {
    let options = trust(url, &[]).join(",");
    let told = if options.is_empty() { Vec::new() } else { vec!["-o", &options] };
    run(&[&told[..], &[url, dir.to_str().unwrap()]].concat())
}

fn run(arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).current_dir(Path::new("/"));
    finish(BOUND, command)
}
