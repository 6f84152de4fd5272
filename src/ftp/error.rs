//! What can go wrong while talking FTP, sorted by who is to blame.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::ftp::list::ListError;
use crate::ftp::proxy::ProxyError;
use crate::ftp::reply::Reply;
use crate::ftp::tls::{self, Untrusted};

/// A failed exchange. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The system refused or broke the connection.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The bound of a wait passed.
    #[error("{doing}: no answer within {} s", .after.as_secs_f32())]
    Deadline {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        after: Duration,
    },
    /// The server said no; the connection is in step and can go on.
    #[error("{command} was answered with \"{reply}\"")]
    Refused {
        /// The command, without secrets.
        command: String,
        /// The answer.
        reply: Reply,
    },
    /// The server announced that it closes the connection (421, RFC 959 s.5.4), or just closed it.
    #[error("the server closed the connection{}", .0.as_ref().map(|r| format!(": \"{r}\"")).unwrap_or_default())]
    Closed(Option<Reply>),
    /// Data over TLS ended without the word for it (close_notify, RFC 8446 s.6.1): the server never sends one, or
    /// somebody has cut it. The control connection is in step; the final reply is still to come.
    #[error(
        "the data ended without a close_notify of TLS, as if it had been cut; where the server never sends one, \
         tls_close_notify=optional believes its reply instead"
    )]
    SilentEnd,
    /// The server sent what FTP does not allow, or more than we take.
    #[error("the server does not speak FTP as expected: {0}")]
    Misbehaved(&'static str),
    /// The server's certificate is not accepted.
    #[error(transparent)]
    Untrusted(#[from] Box<Untrusted>),
    /// The proxy gave no connection.
    #[error("the proxy {proxy}: {error}")]
    Proxy {
        /// Which one, without user and password.
        proxy: String,
        /// Why.
        error: ProxyError,
    },
    /// Bytes that must not become part of a command.
    #[error("{0}")]
    BadArgument(&'static str),
    /// The listing is larger than we take.
    #[error(transparent)]
    Listing(#[from] ListError),
}

impl Error {
    /// Wraps a failed system call; a timeout of the socket becomes [`Error::Deadline`], a certificate that is not
    /// accepted [`Error::Untrusted`].
    pub(crate) fn io(doing: &'static str, after: Duration, source: io::Error) -> Error {
        if let Some(untrusted) = tls::error_in(&source).and_then(tls::untrusted_in) {
            return Box::new(untrusted).into();
        }
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Deadline { doing, after },
            _ => Error::Io { doing, source: Arc::new(source) },
        }
    }

    /// Whether the connection that it happened on must be closed.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Error::Refused { .. } | Error::BadArgument(_))
    }

    /// The server's refusal, where it is one.
    pub fn refusal(&self) -> Option<&Reply> {
        match self {
            Error::Refused { reply, .. } => Some(reply),
            Error::Closed(reply) => reply.as_ref(),
            _ => None,
        }
    }
}
