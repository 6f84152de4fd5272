//! What went wrong with a verb on a server.

use std::fmt;
use std::sync::Arc;

/// What kind of failure it was; the only part that decides an errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing of that name.
    NotFound,
    /// The server or its permissions forbid it.
    Denied,
    /// A directory was needed.
    NotADirectory,
    /// A file was needed.
    IsADirectory,
    /// Something of that name is there already.
    Exists,
    /// The directory has entries.
    NotEmpty,
    /// The server's disk is full.
    NoSpace,
    /// The user's share of the server's disk is full.
    OverQuota,
    /// The server's file system takes no changes.
    ReadOnly,
    /// The name cannot be sent to this server, or the server takes no such name; also a value that FTP has no
    /// word for.
    BadName,
    /// The server has no command for it.
    Unsupported,
    /// The file is no longer the version that was opened.
    Changed,
    /// The server does not accept the login.
    LoginFailed,
    /// The server is not who it should be, or does not speak in secret where it must. The cause names the remedy.
    Insecure,
    /// No connection can be made.
    Unreachable,
    /// The bound of this wait, or of the whole operation, has passed.
    DeadlinePassed,
    /// The server sent what is not FTP, or more than we take.
    Garbled,
    /// The server refused for a reason that it did not tell in words we know, or the connection broke.
    Failed,
}

/// A failed verb: what was tried, on which path of which server, and what came back. Cheap to clone, since
/// everybody who waited for the same answer gets the same error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    verb: &'static str,
    subject: String,
    server: String,
    cause: String,
}

impl Error {
    /// `verb` (such as "list") on `subject` (a path, or empty) at `server` failed; `cause` tells the reply
    /// or the system's error in words and holds no secret.
    pub fn new(
        kind: Kind,
        verb: &'static str,
        subject: impl fmt::Display,
        server: &str,
        cause: impl fmt::Display,
    ) -> Error {
        Error(Arc::new(Inner {
            kind,
            verb,
            subject: subject.to_string(),
            server: server.to_owned(),
            cause: cause.to_string(),
        }))
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { verb, subject, server, cause, .. } = &*self.0;
        match subject.as_str() {
            "" => write!(f, "{verb} on {server}: {cause}"),
            subject => write!(f, "{verb} {subject} on {server}: {cause}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}
