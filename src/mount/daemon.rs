//! The way into the background: one fork before any thread exists, and one message back to the command.
//!
//! ```text
//! command                      server
//!    |---- fork ----------------->|  ends with the command until it is usable
//!    |  waits on a socket pair    |  connects, logs in, mounts
//!    |<--- usable | code + text --|  own session, /, /dev/null on 0 to 2
//!    exit                         |  serves
//! ```

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::deadline::Deadline;
use crate::sys::{self, Fork};

/// Exit code of a mount that failed (mount(8)).
pub const MOUNT_FAILED: u8 = 32;

/// Longest error text that goes to the command, in bytes.
const TEXT_MAX: usize = 4096;

/// What went wrong while going into the background.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The process could not be split or connected to its other half.
    #[error("cannot start a background process")]
    Start(#[source] io::Error),
}

/// What this process is from now on.
#[derive(Debug)]
pub enum Role {
    /// The command: all is done, it only ends with this.
    Command(Outcome),
    /// The server: it mounts, tells so with [`Ready`], and reports a failure with [`Reporter`].
    Server(Ready, Reporter),
}

/// How the command ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code, 0 for a usable mount.
    pub code: u8,
    /// One line for standard error.
    pub text: Option<String>,
}

/// The server's promise that the mount can be used.
#[derive(Debug)]
#[must_use = "the command waits until it is told that the mount is usable"]
pub struct Ready(Arc<Link>);

/// Takes the failure of the mount, before or after it was usable.
#[derive(Debug)]
pub struct Reporter(Arc<Link>);

#[derive(Debug)]
enum Link {
    Foreground,
    /// Empty once the one message is sent.
    Background(Mutex<Option<UnixStream>>),
}

/// The process stays as it is: nothing is printed when it becomes usable, a failure goes to standard error.
pub fn stay() -> (Ready, Reporter) {
    let link = Arc::new(Link::Foreground);
    (Ready(Arc::clone(&link)), Reporter(link))
}

/// Splits the process. The command's side waits at most `bound` for the server's, then ends it.
///
/// If the command is killed while it waits, the server gets SIGTERM.
///
/// # Errors
/// [`DaemonError::Start`], also if there are threads already.
pub fn detach(bound: Duration) -> Result<Role, DaemonError> {
    let (command, server) = UnixStream::pair().map_err(DaemonError::Start)?;
    let command_id = std::process::id();
    match sys::fork().map_err(DaemonError::Start)? {
        Fork::Parent(child) => {
            drop(server);
            Ok(Role::Command(wait(command, child, bound)))
        }
        Fork::Child => {
            drop(command);
            let (ready, reporter) = pair(server);
            let bound_to_command = sys::end_with_parent(true).is_ok() && parent_id() == command_id;
            if !bound_to_command {
                return Err(DaemonError::Start(io::Error::other("the command has ended already")));
            }
            Ok(Role::Server(ready, reporter))
        }
    }
}

fn pair(stream: UnixStream) -> (Ready, Reporter) {
    let link = Arc::new(Link::Background(Mutex::new(Some(stream))));
    (Ready(Arc::clone(&link)), Reporter(link))
}

impl Ready {
    /// The mount works: lets the command end with success and leaves its terminal, directory and streams.
    ///
    /// # Errors
    /// The background could not be entered, or the command was killed meanwhile: nobody wants the mount any
    /// more, so take it down.
    pub fn usable(self) -> io::Result<()> {
        let Link::Background(stream) = &*self.0 else { return Ok(()) };
        let mut stream = stream.lock();
        if stream.is_some() {
            let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
            sys::new_session()?;
            std::env::set_current_dir("/")?;
            sys::replace_standard_streams(&null)?;
            sys::end_with_parent(false)?;
        }
        match stream.take() {
            Some(mut stream) => stream.write_all(&[0]),
            None => Ok(()),
        }
    }
}

impl Reporter {
    /// Says why the mount failed: to the command that still waits, else to standard error in the foreground,
    /// else to the log.
    pub fn failed(self, code: u8, text: &str) {
        match &*self.0 {
            Link::Foreground => say(text),
            Link::Background(stream) => match stream.lock().take() {
                Some(mut stream) => {
                    let code = if code == 0 { MOUNT_FAILED } else { code };
                    let mut message = vec![code];
                    message.extend(text.bytes().take(TEXT_MAX));
                    // A command that has gone away cannot be told anything.
                    let _ = stream.write_all(&message);
                }
                None => log::error!("{text}"),
            },
        }
    }
}

/// Writes `ftpfs: text` as one line to standard error; control characters are shown escaped.
pub fn say(text: &str) {
    let line = format!("ftpfs: {}\n", super::logging::escape_controls(text));
    // Where standard error is closed there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

fn wait(stream: UnixStream, child: i32, bound: Duration) -> Outcome {
    match receive(stream, Deadline::after(bound)) {
        Ok(message) => outcome(&message),
        Err(error) => {
            // Nothing is lost if it has ended by itself.
            let _ = sys::terminate(child);
            let text = match error.kind() {
                io::ErrorKind::TimedOut => format!("the mount was not usable after {} s", bound.as_secs()),
                _ => format!("lost contact with the background process: {error}"),
            };
            Outcome { code: MOUNT_FAILED, text: Some(text) }
        }
    }
}

fn receive(mut stream: UnixStream, deadline: Deadline) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    let mut chunk = [0; 512];
    loop {
        let left = deadline.left();
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(message),
            Ok(count) => message.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
        // The server closes its end after a failure only, so success must not wait for the end of the stream.
        if message.first() == Some(&0) || message.len() > TEXT_MAX {
            return Ok(message);
        }
    }
}

fn outcome(message: &[u8]) -> Outcome {
    match message.split_first() {
        Some((0, _)) => Outcome { code: 0, text: None },
        Some((&code, text)) => Outcome { code, text: Some(String::from_utf8_lossy(text).into_owned()) },
        None => Outcome {
            code: MOUNT_FAILED,
            text: Some("the background process ended unexpectedly; run again with -f to see why".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(5);

    #[test]
    fn a_failure_reaches_the_command_with_code_and_text() {
        let (command, server) = UnixStream::pair().unwrap();
        let (ready, reporter) = pair(server);
        drop(ready);
        reporter.failed(32, "login refused");
        let message = receive(command, Deadline::after(BOUND)).unwrap();
        assert_eq!(outcome(&message), Outcome { code: 32, text: Some("login refused".into()) });
    }

    #[test]
    fn a_server_that_dies_silently_is_a_failed_mount() {
        let (command, server) = UnixStream::pair().unwrap();
        drop(pair(server));
        let message = receive(command, Deadline::after(BOUND)).unwrap();
        assert_eq!(outcome(&message).code, MOUNT_FAILED);
    }

    #[test]
    fn success_does_not_wait_for_the_end_of_the_stream() {
        let (command, mut server) = UnixStream::pair().unwrap();
        server.write_all(&[0]).unwrap();
        let message = receive(command, Deadline::after(BOUND)).unwrap();
        assert_eq!(outcome(&message), Outcome { code: 0, text: None });
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let (command, _server) = UnixStream::pair().unwrap();
        let error = receive(command, Deadline::after(Duration::from_millis(20))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_endless_error_text_is_cut() {
        let (command, server) = UnixStream::pair().unwrap();
        let (_ready, reporter) = pair(server);
        reporter.failed(0, &"x".repeat(TEXT_MAX * 4));
        let outcome = outcome(&receive(command, Deadline::after(BOUND)).unwrap());
        assert_eq!(outcome.code, MOUNT_FAILED);
        assert_eq!(outcome.text.unwrap().len(), TEXT_MAX);
    }
}
