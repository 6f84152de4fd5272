//! What a refusal means where its text does not tell: a look at the server, by verb.

use std::time::Duration;

use crate::deadline::Deadline;
use crate::ftp::error::Error as FtpError;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::session::Session;
use crate::remote::error::{Error, Kind};
use crate::remote::path::{Name, RemotePath};
use crate::remote::pool::Lane;
use crate::remote::{Remote, classify};

/// How long the look at a server that explains a refusal may take.
const PROBE: Duration = Duration::from_secs(20);

pub(crate) const REMOVE: &str = "remove";
pub(crate) const MAKE_DIRECTORY: &str = "make directory";
pub(crate) const REMOVE_DIRECTORY: &str = "remove directory";
pub(crate) const RENAME: &str = "rename";
pub(crate) const MAKE_LINK: &str = "make link";
pub(crate) const SET_MODE: &str = "set mode of";
pub(crate) const SET_GROUP: &str = "set group of";
pub(crate) const SET_TIME: &str = "set time of";
pub(crate) const WRITE: &str = "write";

impl Remote {
    /// Makes an error of a failed transfer of `path`, looking at the server where the text of a refusal does
    /// not tell what it means.
    pub fn explain_read(&self, path: &RemotePath, error: &FtpError, deadline: Deadline) -> Error {
        self.explain("read", path, error, deadline)
    }

    /// The same for a failed upload to `path`: [`Kind::IsADirectory`], [`Kind::NotFound`] (its directory is
    /// not there), [`Kind::NoSpace`], [`Kind::OverQuota`], [`Kind::Denied`], and those of a failed connection.
    pub fn explain_write(&self, path: &RemotePath, error: &FtpError, deadline: Deadline) -> Error {
        self.explain(WRITE, path, error, deadline)
    }

    /// Finds out what a refusal means: by its text, else by the directory that should hold the path.
    pub(crate) fn explain(
        &self,
        verb: &'static str,
        path: &RemotePath,
        error: &FtpError,
        deadline: Deadline,
    ) -> Error {
        let kind = classify::kind(error).unwrap_or_else(|| {
            let kind = self.look(verb, path, deadline.at_most(PROBE));
            match error.refusal() {
                Some(reply) => unless_the_name(kind, path, classify::may_mean_the_name(reply)),
                None => kind,
            }
        });
        self.error(kind, verb, path, error)
    }

    /// The same for a rename, which may fail for either of its names.
    pub(crate) fn explain_rename(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        error: &FtpError,
        deadline: Deadline,
    ) -> Error {
        let look = || {
            let kind = self.look_at_rename(from, to, deadline.at_most(PROBE));
            kind.unwrap_or_else(|failed| unseen(&failed))
        };
        let kind = match (classify::kind(error), error.refusal()) {
            // ProFTPD 1.3.8 says "not permitted" to a file onto a directory.
            (Some(Kind::Denied), Some(_)) => match look() {
                kind @ (Kind::IsADirectory | Kind::NotADirectory | Kind::NotEmpty) => kind,
                _ => Kind::Denied,
            },
            (Some(kind), _) => kind,
            (None, Some(reply)) => unless_the_name(look(), to, classify::may_mean_the_name(reply)),
            (None, None) => look(),
        };
        Error::new(kind, RENAME, format_args!("{from} to {to}"), &self.server, error)
    }

    fn look(&self, verb: &'static str, path: &RemotePath, deadline: Deadline) -> Kind {
        let found = match self.find(path, deadline) {
            Ok(Some(entry)) => entry.kind,
            Ok(None) => return self.look_at_absent(verb, path, deadline),
            Err(failed) => return unseen(&failed),
        };
        match (verb, found) {
            ("list" | "enter", EntryKind::File | EntryKind::Special) => Kind::NotADirectory,
            ("read" | WRITE | REMOVE, EntryKind::Directory) => Kind::IsADirectory,
            // A link that cannot be followed on the server.
            ("list" | "enter" | "read" | "stat", EntryKind::Symlink) => Kind::NotFound,
            (MAKE_DIRECTORY | MAKE_LINK, _) => Kind::Exists,
            (REMOVE_DIRECTORY, EntryKind::Directory) => match self.has_entries(path, deadline) {
                Some(true) => Kind::NotEmpty,
                _ => Kind::Denied,
            },
            (REMOVE_DIRECTORY, _) => Kind::NotADirectory,
            // vsftpd 3.0.3 and pyftpdlib 2.2.0 set times of files only.
            (SET_TIME, EntryKind::Directory) => Kind::Unsupported,
            _ => Kind::Denied,
        }
    }

    /// Why something that is not there could not be made, or the like.
    fn look_at_absent(&self, verb: &'static str, path: &RemotePath, deadline: Deadline) -> Kind {
        if !matches!(verb, WRITE | MAKE_DIRECTORY | MAKE_LINK) {
            return Kind::NotFound;
        }
        self.look_at_parent(path, deadline).unwrap_or_else(|failed| unseen(&failed))
    }

    /// Why nothing can be made at `path`, which is not there; [`Kind::Denied`] where its directory is there.
    pub(crate) fn look_at_parent(&self, path: &RemotePath, deadline: Deadline) -> Result<Kind, Error> {
        let Some(parent) = path.parent() else { return Ok(Kind::Denied) };
        let enter = |session: &mut Session, deadline| session.enter(parent.as_bytes(), deadline);
        if self.attempt("enter", &parent, Lane::Metadata, deadline, enter)?.is_ok() {
            return Ok(Kind::Denied);
        }
        Ok(match self.find(&parent, deadline)?.map(|entry| entry.kind) {
            None | Some(EntryKind::Symlink) => Kind::NotFound,
            Some(EntryKind::Directory) => Kind::Denied,
            Some(EntryKind::File | EntryKind::Special) => Kind::NotADirectory,
        })
    }

    fn look_at_rename(&self, from: &RemotePath, to: &RemotePath, deadline: Deadline) -> Result<Kind, Error> {
        use EntryKind::Directory;
        let Some(source) = self.find(from, deadline)? else { return Ok(Kind::NotFound) };
        let Some(target) = self.find(to, deadline)? else { return self.look_at_parent(to, deadline) };
        Ok(match (source.kind, target.kind) {
            (Directory, Directory) => match self.has_entries(to, deadline) {
                Some(true) => Kind::NotEmpty,
                _ => Kind::Denied,
            },
            (Directory, _) => Kind::NotADirectory,
            (_, Directory) => Kind::IsADirectory,
            _ => Kind::Denied,
        })
    }

    /// Whether a directory has entries; `None` where the server does not tell.
    fn has_entries(&self, dir: &RemotePath, deadline: Deadline) -> Option<bool> {
        let listing = self.list(dir, None, deadline).ok()?;
        Some(!listing.entries.is_empty() || !listing.complete)
    }

    /// Looks a path up in the listing of its directory.
    ///
    /// # Errors
    /// [`Kind::NotADirectory`] when something on the way is none, [`Kind::Denied`], [`Kind::Failed`] when the
    /// listing does not tell, and the kinds of a failed connection.
    pub(crate) fn find(&self, path: &RemotePath, deadline: Deadline) -> Result<Option<RemoteEntry>, Error> {
        self.look_up(path, deadline)?
    }

    /// As [`Remote::find`]; a failed connection, of which nothing can be concluded, is the outer error.
    ///
    /// # Errors
    /// As [`Remote::find`].
    pub(crate) fn look_up(
        &self,
        path: &RemotePath,
        deadline: Deadline,
    ) -> Result<Result<Option<RemoteEntry>, Error>, Error> {
        let Some(parent) = path.parent() else {
            // The root has no directory that lists it.
            let root = RemoteEntry::directory(b".");
            return Ok(Ok(Some(root)));
        };
        let list = |session: &mut Session, deadline| self.list_any(session, &parent, None, deadline);
        let listed = match self.attempt("list", &parent, Lane::Metadata, deadline, list)? {
            Ok(listed) => listed,
            Err(refusal) => return Ok(self.find_in_refused(&parent, &refusal, deadline)),
        };
        let found = listed.listing.entries.into_iter().find(|entry| *entry.name == *path.file_name());
        Ok(match (found, listed.truncated) {
            (None, true) => {
                Err(self.error(Kind::Failed, "list", &parent, "the server cut the listing short"))
            }
            (found, _) => Ok(found),
        })
    }

    /// Which of two names a directory has, out of one listing.
    ///
    /// # Errors
    /// As [`Remote::find`].
    pub(crate) fn find_both(
        &self,
        dir: &RemotePath,
        names: [&Name; 2],
        deadline: Deadline,
    ) -> Result<[bool; 2], Error> {
        let list = |session: &mut Session, deadline| self.list_any(session, dir, None, deadline);
        let listed = match self.attempt("list", dir, Lane::Metadata, deadline, list)? {
            Ok(listed) => listed,
            Err(refusal) => return self.find_in_refused(dir, &refusal, deadline).map(|_| [false; 2]),
        };
        let has = |name: &Name| listed.listing.entries.iter().any(|entry| *entry.name == *name.as_bytes());
        let found = names.map(has);
        match listed.truncated && found.contains(&false) {
            true => Err(self.error(Kind::Failed, "list", dir, "the server cut the listing short")),
            false => Ok(found),
        }
    }

    /// What can be said of the entries of a directory that the server does not list. Where it gives no reason
    /// (vsftpd 3.0.3 never does), the directory above tells; each step is one component shorter.
    fn find_in_refused(
        &self,
        dir: &RemotePath,
        refusal: &FtpError,
        deadline: Deadline,
    ) -> Result<Option<RemoteEntry>, Error> {
        let kind = match classify::kind(refusal) {
            Some(kind) => kind,
            None => match self.find(dir, deadline)?.map(|entry| entry.kind) {
                None | Some(EntryKind::Symlink) => Kind::NotFound,
                Some(EntryKind::File | EntryKind::Special) => Kind::NotADirectory,
                Some(EntryKind::Directory) => Kind::Denied,
            },
        };
        match kind {
            Kind::NotFound => Ok(None),
            kind => Err(self.error(kind, "list", dir, refusal)),
        }
    }
}

/// What a look that failed says: nothing about the path, and never "not found".
fn unseen(failed: &Error) -> Kind {
    match failed.kind() {
        kind @ (Kind::NotADirectory | Kind::Denied) => kind,
        _ => Kind::Failed,
    }
}

/// Where nothing else explains a code that may mean the name, a name that a server may dislike does.
fn unless_the_name(kind: Kind, path: &RemotePath, may_mean_the_name: bool) -> Kind {
    let plain = |b: &u8| (b' '..=b'~').contains(b) && !b"\\:*?\"<>|".contains(b);
    let name = path.file_name();
    let odd =
        !name.iter().all(plain) || name.starts_with(b" ") || name.ends_with(b" ") || name.ends_with(b".");
    match kind {
        Kind::Denied if may_mean_the_name && odd => Kind::BadName,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_odd_name_explains_a_refusal_that_nothing_else_does() {
        for (kind, path, may, explained) in [
            (Kind::Denied, &b"/a/plain name-1.txt"[..], true, Kind::Denied),
            (Kind::Denied, b"/a/back\\slash", true, Kind::BadName),
            (Kind::Denied, b"/a/back\\slash", false, Kind::Denied),
            (Kind::Denied, b"/a/tab\t", true, Kind::BadName),
            (Kind::Denied, b"/a/\xe9", true, Kind::BadName),
            (Kind::Denied, b"/a/end ", true, Kind::BadName),
            (Kind::NotFound, b"/a/back\\slash", true, Kind::NotFound),
        ] {
            let path = RemotePath::parse(path).unwrap();
            assert_eq!(unless_the_name(kind, &path, may), explained, "{path}");
        }
    }
}
