//! Where log lines go: standard error in the foreground, the system log (`/dev/log`, RFC 3164) as a daemon.
//!
//! The datagrams are written here and not by the crate `syslog` because that one connects once, so a restart
//! of the log daemon silences it, and sends blocking, so a stopped log daemon would stop the file system.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use parking_lot::Mutex;

/// Longest datagram, in bytes (RFC 3164 s.4.1).
const DATAGRAM_MAX: usize = 1024;

/// Facility `daemon` (RFC 3164 s.4.1.1).
const FACILITY: u8 = 3 << 3;

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error, with timestamps.
    Stderr,
    /// The system log; what it does not take at once is dropped.
    SystemLog,
}

/// Starts logging, once per process and after the fork.
///
/// `level` holds for this crate; other crates log warnings, and up to debug only when it is `Trace`.
///
/// # Errors
/// Logging was started already.
pub fn start(destination: Destination, level: LevelFilter) -> Result<(), SetLoggerError> {
    match destination {
        Destination::Stderr => env_logger::Builder::new()
            .filter_level(others(level))
            .filter_module(env!("CARGO_PKG_NAME"), level)
            .format(|out, record| {
                let text = escape_controls(&record.args().to_string());
                writeln!(out, "{} {:5} {text}", out.timestamp_millis(), record.level())
            })
            .try_init(),
        Destination::SystemLog => {
            log::set_boxed_logger(Box::new(SystemLog::new("/dev/log", level)))?;
            log::set_max_level(level);
            Ok(())
        }
    }
}

/// The text with control characters shown as `\n`, `\u{1b}` and so on: what a server says cannot forge a line.
pub fn escape_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

fn others(level: LevelFilter) -> LevelFilter {
    let most = if level == LevelFilter::Trace { LevelFilter::Debug } else { LevelFilter::Warn };
    level.min(most)
}

struct SystemLog {
    path: PathBuf,
    level: LevelFilter,
    socket: Mutex<Option<UnixDatagram>>,
}

impl SystemLog {
    fn new(path: impl AsRef<Path>, level: LevelFilter) -> SystemLog {
        SystemLog { path: path.as_ref().to_path_buf(), level, socket: Mutex::new(None) }
    }

    fn connect(&self) -> std::io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }

    fn send(&self, datagram: &[u8]) {
        let mut socket = self.socket.lock();
        // The second round is for a log daemon that was restarted since the last line.
        for _ in 0..2 {
            if socket.is_none() {
                *socket = self.connect().ok();
            }
            match socket.as_ref().map(|socket| socket.send(datagram)) {
                Some(Err(error)) if error.kind() != std::io::ErrorKind::WouldBlock => *socket = None,
                _ => return,
            }
        }
    }
}

impl Log for SystemLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.target().split("::").next() == Some(env!("CARGO_PKG_NAME"));
        metadata.level() <= if own { self.level } else { others(self.level) }
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.send(&datagram(record.level(), std::process::id(), &record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// One message without a timestamp: the receiver adds its own (RFC 3164 s.4.3.2), in the right time zone.
fn datagram(level: Level, process: u32, text: &str) -> Vec<u8> {
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = write!(line, "<{}>ftpfs[{process}]: {}", FACILITY | severity, escape_controls(text));
    let end = (0..=DATAGRAM_MAX.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    line.truncate(end.unwrap_or(0));
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(log: &SystemLog, target: &str, level: Level, text: &str) {
        log.log(&Record::builder().target(target).level(level).args(format_args!("{text}")).build());
    }

    #[test]
    fn a_missing_or_restarted_log_daemon_costs_lines_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = SystemLog::new(&path, LevelFilter::Warn);
        record(&log, "ftpfs::ftp", Level::Warn, "nobody listens");
        for text in ["first", "after restart"] {
            let daemon = UnixDatagram::bind(&path).unwrap();
            record(&log, "ftpfs::ftp", Level::Warn, text);
            let mut buffer = [0; 128];
            let count = daemon.recv(&mut buffer).unwrap();
            let line = String::from_utf8(buffer[..count].to_vec()).unwrap();
            assert!(line.starts_with("<28>ftpfs[") && line.ends_with(text), "{line}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_full_queue_never_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let log = SystemLog::new(&path, LevelFilter::Warn);
        for _ in 0..10_000 {
            record(&log, "ftpfs", Level::Error, "text");
        }
    }

    #[test]
    fn levels_are_those_asked_for_and_other_crates_stay_quiet() {
        let log = SystemLog::new("/dev/null", LevelFilter::Debug);
        for (target, level, wanted) in [
            ("ftpfs::ftp::control", Level::Debug, true),
            ("ftpfs", Level::Trace, false),
            ("ftpfsx", Level::Debug, false),
            ("fuser::session", Level::Debug, false),
            ("fuser::session", Level::Warn, true),
        ] {
            let metadata = Metadata::builder().target(target).level(level).build();
            assert_eq!(log.enabled(&metadata), wanted, "{target} {level}");
        }
    }

    #[test]
    fn a_line_is_one_line_and_bounded() {
        let text = format!("a\r\n<0>forged\u{1b}{}", "\u{e4}".repeat(2000));
        let line = String::from_utf8(datagram(Level::Info, 1, &text)).unwrap();
        assert!(line.starts_with(r"<30>ftpfs[1]: a\r\n<0>forged\u{1b}"), "{line}");
        assert!(line.len() <= DATAGRAM_MAX);
    }
}
