//! pjdfstest 0.2.2: what POSIX says of open, mkdir, rmdir, unlink, rename, truncate, ftruncate, chmod, utimensat and
//! symlink. What FTP or one of its servers cannot do is listed here with its reason; the list must stay true.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::common::bounded::finish;
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{fresh_dir, tool, writable_dir};

const BOUND: Duration = Duration::from_secs(240);

/// Run at the same time, as most of the time is spent waiting for the clock.
const GROUPS: [&[&str]; 4] = [
    &["open::"],
    &["mkdir::", "rmdir::", "unlink::", "symlink::"],
    &["rename::"],
    &["truncate::", "chmod::", "utimensat::"],
];

/// Servers tell whole seconds, so a change is seen in a time after more than one. Changes of owner are no part of
/// this; the two accounts exist on every Debian.
const CONFIG: &str = "\
[features]\nutime_now = {}\nutimensat = {}\n\
[settings]\nnaptime = 1.1\n\
[dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"games\", \"games\"]]\n";

/// What fails on both servers, and why it must. A `*` stands for any part of the name.
struct Known {
    test: &'static str,
    reason: &'static str,
}

const fn known(test: &'static str, reason: &'static str) -> Known {
    Known { test, reason }
}

const SPECIAL: &str = "FTP makes no pipes, devices and sockets";
const LINKS: &str = "vsftpd makes no symbolic links; ProFTPD only to what exists below the mounted directory";
const OWNER: &str = "FTP gives a file to nobody else: chown is refused";
const HARD: &str = "FTP makes no hard links";
const COUNT: &str = "FTP tells no link counts: they are 2 for every directory";
const TIME: &str = "FTP has one time: access and status change are that of the last change";
const SECONDS: &str = "FTP tells whole seconds";

const KNOWN: &[Known] = &[
    known("*::fifo", SPECIAL),
    known("*::block", SPECIAL),
    known("*::char", SPECIAL),
    known("*::socket", SPECIAL),
    known("open::fifo_nonblock_wronly", SPECIAL),
    known("open::socket_error", SPECIAL),
    known("*::eloop_comp", LINKS),
    known("chmod::eloop_final_comp", LINKS),
    known("chmod::enoent_symlink", LINKS),
    known("*::eexist_file_exists::symlink", LINKS),
    known("open::open_nofollow", LINKS),
    known("rename::*::symlink", LINKS),
    known("rename::preserve_metadata_symlink", LINKS),
    known("rmdir::*::symlink", LINKS),
    known("symlink::changed_parent_time_success", LINKS),
    known("symlink::create_symlink::dir", LINKS),
    known("symlink::create_symlink::regular", LINKS),
    known("symlink::create_symlink_to_symlink", LINKS),
    known("unlink::*::symlink", LINKS),
    known("utimensat::follow_symlink", LINKS),
    known("chmod::change_perm::dir", OWNER),
    known("chmod::change_perm::regular", OWNER),
    known("chmod::clear_isgid_bit", OWNER),
    known("*::uid_gid_eq_euid_egid", OWNER),
    known("rename::preserve_metadata::regular", OWNER),
    known("rename::to_multiply_linked::regular", HARD),
    known("unlink::unchanged_ctime_failed::regular", HARD),
    known("unlink::update_ctime_success::regular", HARD),
    known("rename::updates_link_parent", COUNT),
    known("chmod::update_ctime::dir", TIME),
    known("chmod::update_ctime::regular", TIME),
    known("utimensat::changes_timestamps::dir", TIME),
    known("utimensat::changes_timestamps::regular", TIME),
    known("utimensat::utime_omit", TIME),
    known("utimensat::y2038", TIME),
    known("utimensat::subsecond", SECONDS),
];

#[test]
fn posix_says_so_on_proftpd() {
    on_mount(Kind::Proftpd);
}

#[test]
fn posix_says_so_on_vsftpd() {
    on_mount(Kind::Vsftpd);
}

#[test]
fn posix_says_so_of_a_plain_directory() {
    let plain = fresh_dir("plain-");
    let results = results(plain.path(), "0.02");
    let failed: Vec<_> = results.iter().filter(|(_, passed)| !**passed).collect();
    assert!(results.len() > 200 && failed.is_empty(), "{} ran, these failed: {failed:?}", results.len());
}

fn on_mount(kind: Kind) {
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["allow_other", "default_permissions"]);
    let results = results(mount.path(), "1.1");
    assert!(results.len() > 200, "{} tests ran", results.len());
    let reason = |test: &str| KNOWN.iter().find(|known| matches(known.test, test)).map(|known| known.reason);
    for (test, reason) in results.keys().filter_map(|test| Some((test, reason(test)?))) {
        println!("{test}: {reason}");
    }
    let expected = |test: &str| reason(test).is_some();
    let failed: Vec<&String> =
        results.iter().filter(|(test, passed)| !**passed && !expected(test)).map(|(test, _)| test).collect();
    let mended: Vec<&String> =
        results.iter().filter(|(test, passed)| **passed && expected(test)).map(|(test, _)| test).collect();
    let stale: Vec<&str> = KNOWN
        .iter()
        .filter(|known| !results.keys().any(|test| matches(known.test, test)))
        .map(|known| known.test)
        .collect();
    assert!(
        failed.is_empty() && mended.is_empty() && stale.is_empty(),
        "{kind:?}: of {}\nfailed: {failed:#?}\npassed, though listed: {mended:#?}\nlisted, but not run: {stale:#?}",
        results.len()
    );
}

fn matches(pattern: &str, test: &str) -> bool {
    match pattern.split_once('*') {
        Some((first, last)) => {
            test.len() >= first.len() + last.len() && test.starts_with(first) && test.ends_with(last)
        }
        None => pattern == test,
    }
}

/// Which tests ran, and whether each passed.
fn results(dir: &Path, naptime: &str) -> BTreeMap<String, bool> {
    let run = fresh_dir("pjdfstest-");
    let config = run.path().join("config");
    fs::write(&config, CONFIG.replace("1.1", naptime)).unwrap();
    let run_group = |group: &[&str]| {
        let mut command = Command::new(tool("pjdfstest"));
        command.arg("-c").arg(&config).arg("-p").arg(dir).args(group).env("NO_COLOR", "1");
        let output = finish(BOUND, command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Summary"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        println!("{text}");
        text
    };
    let texts: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = GROUPS.iter().map(|group| scope.spawn(|| run_group(group))).collect();
        threads.into_iter().map(|thread| thread.join().expect("pjdfstest did not run")).collect()
    });
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with(['\t', ' ']));
    lines
        .filter_map(|line| {
            let (test, told) = line.split_once(char::is_whitespace)?;
            match told.trim() {
                "ok" => Some((test.to_owned(), true)),
                "FAILED" => Some((test.to_owned(), false)),
                _ => None,
            }
        })
        .collect()
}
