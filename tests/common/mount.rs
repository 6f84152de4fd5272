//! A real mount by the real program, unmounted when dropped whatever happened.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use tempfile::TempDir;

use super::bounded::{eventually, output};
use super::trace::{self, Line};
use super::{fresh_dir, pki, prefetch, process, tls_version};

/// What is mounted (proc(5)).
const TABLE: &str = "/proc/self/mounts";

/// Nothing of the user's own settings: no netrc, no log filter.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("HOME", "/nonexistent"),
    // Nothing can be kept there: a later test may have a port that was one of a server with TLS.
    ("XDG_STATE_HOME", "/proc"),
    ("RUST_LOG", ""),
    ("LC_ALL", "C"),
];

/// The options with which a mount of `url` trusts the servers of the tests, beside those that are told; none in clear
/// text.
pub(crate) fn trust(url: &str, told: &[String]) -> Vec<String> {
    let is_secured = url.starts_with("ftpes://") || url.starts_with("ftps://");
    let is_told = |name: &str| told.iter().any(|option| option.starts_with(name));
    if !is_secured || is_told("cacert=") || is_told("tls_pin=") {
        return Vec::new();
    }
    let mut options = vec![format!("cacert={}", pki::authority().display())];
    options.extend(
        tls_version().filter(|_| !is_told("tls_version=")).map(|version| format!("tls_version={version}")),
    );
    options
}

/// The option that `FTPFS_TEST_CONNECTIONS` asks for, for all mounts that do not set it: with 1 nothing can be fetched
/// ahead.
fn connections() -> Option<String> {
    let number = std::env::var("FTPFS_TEST_CONNECTIONS").ok().filter(|number| !number.is_empty())?;
    assert!(
        number.parse::<u16>().is_ok_and(|number| number > 0),
        "FTPFS_TEST_CONNECTIONS is a number from 1"
    );
    Some(format!("connections={number}"))
}

/// A mount, with the program in the foreground.
#[derive(Debug)]
pub(crate) struct Mount {
    child: Child,
    dir: PathBuf,
    run: TempDir,
}

impl Mount {
    /// Mounts `url` with these `-o` options and waits until the mount is usable.
    pub(crate) fn start(url: &str, options: &[&str]) -> Mount {
        assert!(Path::new("/dev/fuse").exists(), "the tests need /dev/fuse");
        let run = fresh_dir("mount-");
        let dir = run.path().join("mnt");
        fs::create_dir(&dir).unwrap();
        let log = fs::File::create(run.path().join("log")).unwrap();
        // Should the test be killed, its mount goes too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", env!("CARGO_BIN_EXE_ftpfs")]).envs(ENVIRONMENT);
        command.args(["-f", url]).arg(&dir).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        options.extend(trust(url, &options));
        let prefetch = prefetch().map(|prefetch| format!("prefetch={prefetch:?}").to_lowercase());
        for asked in [connections(), prefetch].into_iter().flatten() {
            let name = &asked[..=asked.find('=').unwrap()];
            if !options.iter().any(|told| told.starts_with(name)) {
                options.push(asked);
            }
        }
        if !options.is_empty() {
            command.args(["-o", &options.join(",")]);
        }
        let child = command.process_group(0).spawn().expect("cannot run the program");
        let mut mount = Mount { child, dir, run };
        let table = fs::File::open(TABLE).unwrap();
        let start = Instant::now();
        while !mounted(&mount.dir) {
            let ended = mount.child.try_wait().unwrap();
            assert!(ended.is_none(), "ftpfs ended with {ended:?}: {}", mount.log());
            assert!(start.elapsed() < Duration::from_secs(60), "not mounted within 60 s: {}", mount.log());
            // The kernel tells at once when something is mounted, but nothing tells that the program has ended.
            let _ = poll(&mut [PollFd::new(table.as_fd(), PollFlags::POLLPRI)], 100u8);
        }
        mount
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// What the program wrote so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.run.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// The protocol lines so far; needs the option `debug`.
    pub(crate) fn trace(&self) -> Vec<Line> {
        trace::parse(&self.log())
    }

    /// Peak resident memory of the program so far, in bytes.
    pub(crate) fn peak_rss(&self) -> u64 {
        process::peak_rss(self.child.id()).expect("ftpfs is not running")
    }

    /// What the program has used of the processors so far.
    pub(crate) fn processor_time(&self) -> Duration {
        process::processor_time(self.child.id()).expect("ftpfs is not running")
    }

    /// How many names the program knows because the kernel has looked them up, as it tells on SIGUSR1.
    pub(crate) fn known_names(&self) -> usize {
        let told = || self.log().lines().filter(|line| line.ends_with(" names known")).count();
        let before = told();
        process::signal("USR1", &[self.child.id()]);
        eventually(Duration::from_secs(20), "the status in the log", || (told() > before).then_some(()));
        let log = self.log();
        let line = log.lines().rfind(|line| line.ends_with(" names known")).unwrap();
        line.rsplit(' ').nth(2).unwrap().parse().unwrap()
    }

    /// Ends it with SIGTERM, as an administrator would, and returns how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        process::signal("TERM", &[self.child.id()]);
        let ended =
            eventually(Duration::from_secs(20), "ftpfs to end on SIGTERM", || self.child.try_wait().unwrap());
        assert!(!mounted(&self.dir), "still mounted after the program ended");
        ended
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("-- last lines of ftpfs:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            process::signal("TERM", &[self.child.id()]);
            let patience = Duration::from_secs(if thread::panicking() { 2 } else { 20 });
            let start = Instant::now();
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && start.elapsed() < patience {
                thread::sleep(Duration::from_millis(10));
            }
        }
        // Killing it ends the connection to the kernel, which sets free whoever is stuck in the mount.
        let ended_itself = self.child.try_wait().is_ok_and(|ended| ended.is_some());
        if !ended_itself {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        unmount_lazily(&self.dir);
        if !ended_itself && !thread::panicking() {
            panic!("ftpfs did not end on SIGTERM");
        }
    }
}

/// The program under test, in a neutral environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftpfs"));
    command.envs(ENVIRONMENT);
    command
}

/// Whether a FUSE file system is mounted there.
pub(crate) fn mounted(dir: &Path) -> bool {
    mount_line(dir).is_some()
}

/// The line of /proc/mounts for `dir`, when it is a FUSE mount.
pub(crate) fn mount_line(dir: &Path) -> Option<String> {
    let table = fs::read_to_string(TABLE).unwrap();
    let dir = dir.to_str().unwrap();
    let found = table.lines().find(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(dir) && fields.next().is_some_and(|kind| kind.starts_with("fuse"))
    });
    found.map(str::to_owned)
}

/// The last resort, for a mount that nobody serves any more.
pub(crate) fn unmount_lazily(dir: &Path) {
    if mounted(dir) {
        output(Duration::from_secs(10), "umount", &[OsStr::new("-l"), dir.as_os_str()]);
    }
}

/// The exit code, or what killed it.
pub(crate) fn exit_code(status: ExitStatus) -> Result<i32, Option<i32>> {
    status.code().ok_or(status.signal())
}
