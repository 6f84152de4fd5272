//! Time bounds. A test may fail, it may not hang: every call that touches a mount or a server goes through here.
//!
//! A thread or process stuck in a FUSE request cannot be killed while the file system lives. It is left behind
//! when its bound passes; the test then fails, its `Mount` is dropped, and that sets the stuck one free.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Runs `work` on a thread of its own and fails the test when it takes longer than `bound`.
pub(crate) fn within<T: Send + 'static>(
    bound: Duration,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(bound) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("{what}: no end within {bound:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("{what}: panicked"),
    }
}

/// Asks `probe` again and again until it gives something; fails the test after `bound`.
///
/// The short pause is for conditions that only the outside world knows and that nobody tells us of.
pub(crate) fn eventually<T>(bound: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < bound, "{what}: not within {bound:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program to its end and returns what it wrote.
pub(crate) fn output<S: AsRef<OsStr>>(bound: Duration, program: &str, arguments: &[S]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(bound, command)
}

/// Runs a shell script in directory `dir`, with `arguments` as `$1` and so on.
pub(crate) fn shell(bound: Duration, dir: &Path, script: &str, arguments: &[&OsStr]) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", script, "test"]).args(arguments).current_dir(dir);
    finish(bound, command)
}

/// How much longer whole programs may take over TLS: to ProFTPD over TLS 1.3, each third upload costs a login.
const PATIENCE: u32 = 4;

/// Runs `command` with its outputs caught. `timeout` ends it at the bound; should it be stuck, we go on all the same.
pub(crate) fn finish(bound: Duration, command: Command) -> Output {
    let what = format!("{command:?}");
    let bound = if super::tls_version().is_some() { bound * PATIENCE } else { bound };
    let mut bounded = Command::new("timeout");
    bounded.args(["-k", "5", &bound.as_secs().max(1).to_string()]);
    bounded.arg(command.get_program()).args(command.get_args()).env("LC_ALL", "C");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        bounded.current_dir(dir);
    }
    bounded.stdin(Stdio::null());
    let output = within(bound + Duration::from_secs(10), &what, move || bounded.output());
    let output = output.unwrap_or_else(|error| panic!("cannot run timeout(1): {error}"));
    assert!(!matches!(output.status.code(), Some(124 | 137)), "{what}: no end within {bound:?}");
    output
}

/// Its standard output; fails the test with both outputs when the program failed.
pub(crate) fn succeeded(what: &str, output: Output) -> Vec<u8> {
    assert!(
        output.status.success(),
        "{what}: {}\n{}\n{}",
        output.status,
        head(&output.stdout),
        head(&output.stderr)
    );
    output.stdout
}

/// The first lines of an output, for messages.
pub(crate) fn head(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().take(30).collect::<Vec<_>>().join("\n")
}
