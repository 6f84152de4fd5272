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

/// What fails, and why it must. A `*` stands for any part of the name.
struct Known {
    test: &'static str,
    on: &'static [Kind],
    #[expect(dead_code, reason = "for the reader of this table")]
    reason: &'static str,
}

const KNOWN: &[Known] = &[];

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
    let known: Vec<&Known> = KNOWN.iter().filter(|known| known.on.contains(&kind)).collect();
    let expected = |test: &str| known.iter().any(|known| matches(known.test, test));
    let failed: Vec<&String> =
        results.iter().filter(|(test, passed)| !**passed && !expected(test)).map(|(test, _)| test).collect();
    let mended: Vec<&String> =
        results.iter().filter(|(test, passed)| **passed && expected(test)).map(|(test, _)| test).collect();
    let stale: Vec<&str> = known
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
