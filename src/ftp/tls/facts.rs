//! What has been learned of a server's TLS, shared by all its connections.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::ftp::features::Capability;
use crate::ftp::reply::Reply;

/// Learned facts; reading one never waits.
#[derive(Debug, Default)]
pub(crate) struct TlsFacts {
    /// It was spoken once: a server that has lost it since is not the same, or somebody stands in between.
    seen: AtomicBool,
    /// A control connection was secured.
    secured: AtomicBool,
    /// Tickets of TLS 1.3 ran out. A session of 1.2 can be resumed for ever.
    prefers_12: AtomicBool,
    /// The server does not take 1.2 alone.
    lacks_12: AtomicBool,
    learned: Mutex<Learned>,
    /// Data connections that resumed the session of their control connection, and that did not.
    resumed: AtomicU64,
    new: AtomicU64,
}

#[derive(Debug, Default)]
struct Learned {
    /// Whether data connections may begin a new session. vsftpd (522) and ProFTPD (425) refuse that.
    takes_new_sessions: Capability,
    /// Whether a transfer command is answered (1xx) before the handshake on the data connection.
    answers_first: Capability,
}

impl TlsFacts {
    /// Whether the server has ever taken AUTH TLS.
    pub(crate) fn is_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    /// Notes that it has.
    pub(crate) fn note_seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }

    /// Notes that a control connection was secured; whether it is the first.
    pub(crate) fn is_first_handshake(&self) -> bool {
        !self.secured.swap(true, Ordering::Relaxed)
    }

    /// Whether TLS 1.2 alone should be offered.
    pub(crate) fn prefers_12(&self) -> bool {
        self.prefers_12.load(Ordering::Relaxed) && !self.lacks_12.load(Ordering::Relaxed)
    }

    /// Notes that tickets of TLS 1.3 run out.
    pub(crate) fn note_lack_of_tickets(&self) {
        if !self.prefers_12.swap(true, Ordering::Relaxed) {
            log::info!("the server gives too few tickets of TLS 1.3; new connections use TLS 1.2");
        }
    }

    /// Notes that a handshake with TLS 1.2 alone has failed.
    pub(crate) fn no_12(&self) {
        self.lacks_12.store(true, Ordering::Relaxed);
    }

    /// Whether a control connection without tickets is of no use for data connections.
    pub(crate) fn needs_tickets(&self, older_is_possible: bool) -> bool {
        match self.learned.lock().takes_new_sessions {
            Capability::Yes => false,
            Capability::No => true,
            Capability::Untold => older_is_possible && !self.lacks_12.load(Ordering::Relaxed),
        }
    }

    /// Counts a data connection.
    pub(crate) fn note_data_handshake(&self, resumed: bool) {
        let counter = if resumed { &self.resumed } else { &self.new };
        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
            let what = if resumed {
                "resume the session of their control connection"
            } else {
                "begin a new TLS session"
            };
            log::info!("data connections {what}");
        }
    }

    /// Data connections that resumed the session of their control connection, and that did not.
    pub(crate) fn data_handshakes(&self) -> (u64, u64) {
        (self.resumed.load(Ordering::Relaxed), self.new.load(Ordering::Relaxed))
    }

    /// Learns from the final reply to a transfer whose data connection began a new session; whether it was
    /// refused for that.
    pub(crate) fn learn_from_new_session(&self, reply: &Reply) -> bool {
        let mut learned = self.learned.lock();
        match reply.code() {
            200..300 => learned.takes_new_sessions = Capability::Yes,
            425 | 522 if learned.takes_new_sessions != Capability::Yes => {
                if learned.takes_new_sessions == Capability::Untold {
                    log::info!(
                        "the server takes no data connection that begins a new TLS session: \"{reply}\""
                    );
                }
                learned.takes_new_sessions = Capability::No;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Whether a transfer command is answered before the handshake.
    pub(crate) fn answers_first(&self) -> Capability {
        self.learned.lock().answers_first
    }

    /// It was.
    pub(crate) fn learn_answers_first(&self) {
        self.learned.lock().answers_first = Capability::Yes;
    }

    /// It was not, and the handshake went on.
    pub(crate) fn learn_answers_later(&self) {
        self.learned.lock().answers_first = Capability::No;
    }
}
