//! A server as a handful of verbs over connections that are shared fairly.

mod error;
mod path;

pub use error::{Error, Kind};
pub use path::{Name, NameError, RemotePath};

use crate::deadline::Deadline;
use crate::ftp::list::RemoteEntry;

/// A directory as the server listed it.
#[derive(Debug)]
pub struct Listing {
    /// The directory's own entry, where the listing held one (`cdir` fact, `.` line). Its name is `.`.
    pub own: Option<RemoteEntry>,
    /// The entries, in the server's order, each name once.
    pub entries: Vec<RemoteEntry>,
    /// False when the server said that it cut the listing short: an absent name proves nothing then.
    pub complete: bool,
}

/// One FTP server (one login, one base directory).
#[derive(Debug)]
pub struct Remote {}

impl Remote {
    /// Lists a directory.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::NotADirectory`], [`Kind::Denied`], and the kinds of a failed connection.
    pub fn list(&self, _dir: &RemotePath, _deadline: Deadline) -> Result<Listing, Error> {
        unimplemented!()
    }

    /// What the server tells of one path. Cheap (one round trip) only if [`Remote::can_stat`] says so.
    pub fn stat(&self, _path: &RemotePath, _deadline: Deadline) -> Result<RemoteEntry, Error> {
        unimplemented!()
    }

    /// Whether one name can be asked for with one round trip and all its facts (MLST).
    pub fn can_stat(&self) -> bool {
        unimplemented!()
    }

    /// Lists a directory in the form that shows the targets of symbolic links (LIST, where MLSD hides them).
    pub fn list_with_targets(&self, _dir: &RemotePath, _deadline: Deadline) -> Result<Listing, Error> {
        unimplemented!()
    }

    /// The directory that the mount shows as its root.
    pub fn base(&self) -> &RemotePath {
        unimplemented!()
    }
}
