//! fsx: ten thousand random changes of one file, through read, write and memory maps, checked byte by byte.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::common::bounded::{finish, succeeded};
use crate::common::compare::same_file;
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{fresh_dir, tool, writable_dir};

const BOUND: Duration = Duration::from_secs(280);

/// A file of 1 MiB. Allocation and holes are left out: FTP has neither.
const CONFIG: &str = "\
flen = 1048576\n\
[opsize]\nmax = 65536\n\
[weights]\nread = 10\nwrite = 10\nmapread = 10\nmapwrite = 10\ntruncate = 5\nclose_open = 1\ninvalidate = 1\n\
fsync = 1\nfdatasync = 1\nsendfile = 2\nposix_fadvise = 1\ncopy_file_range = 1\n";

#[test]
fn ten_thousand_random_changes_are_right_on_vsftpd() {
    on_mount(Kind::Vsftpd, None, |mount| (1..=3).for_each(|seed| exercise(mount, seed, 10_000)));
}

#[test]
fn ten_thousand_random_changes_are_right_on_proftpd() {
    on_mount(Kind::Proftpd, None, |mount| (1..=3).for_each(|seed| exercise(mount, seed, 10_000)));
}

#[test]
fn ten_thousand_random_changes_are_right_with_one_connection() {
    on_mount(Kind::Vsftpd, Some(1), |mount| (1..=3).for_each(|seed| exercise(mount, seed, 10_000)));
}

#[test]
fn ten_thousand_random_changes_are_right_with_one_connection_of_proftpd() {
    on_mount(Kind::Proftpd, Some(1), |mount| (1..=3).for_each(|seed| exercise(mount, seed, 10_000)));
}

#[test]
fn sixteen_at_once_are_right_with_three_connections() {
    on_mount(Kind::Proftpd, Some(3), |mount| {
        thread::scope(|scope| {
            for seed in 1..=16 {
                scope.spawn(move || exercise(mount, seed, 500));
            }
        });
    });
}

#[test]
fn the_exerciser_is_content_with_a_plain_directory() {
    let plain = fresh_dir("plain-");
    exercise(plain.path(), 1, 1000);
}

fn on_mount(kind: Kind, max_clients: Option<u32>, work: impl Fn(&Path)) {
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options { max_clients, ..Options::default() });
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    work(mount.path());
    let mut files = 0;
    for file in fs::read_dir(served.path()).unwrap() {
        let name = file.unwrap().file_name();
        same_file(BOUND, &served.path().join(&name), &mount.path().join(&name));
        files += 1;
    }
    assert!(files > 0, "{kind:?}: nothing was written");
}

/// Runs fsx on a file of its own in `dir`; the seed tells which operations.
fn exercise(dir: &Path, seed: u64, operations: u32) {
    let run = fresh_dir("fsx-");
    let config = run.path().join("config");
    fs::write(&config, CONFIG).unwrap();
    let mut command = Command::new(tool("fsx"));
    command.arg("-f").arg(&config).arg("-P").arg(run.path());
    command.args(["-N", &operations.to_string(), "-S", &seed.to_string()]);
    command.arg(dir.join(OsStr::new(&format!("file-{seed}"))));
    succeeded(&format!("fsx, seed {seed}"), finish(BOUND, command));
}
