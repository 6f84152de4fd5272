//! The verbs that change names and attributes.
//!
//! A connection that breaks after the command was sent leaves it open whether it was done. All verbs here may
//! be repeated: after such an attempt, and only then, a server that finds it done already is believed.

use crate::deadline::Deadline;
use crate::ftp::change::{Granted, Settled, Wishes};
use crate::ftp::error::Error as FtpError;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::query::Facts;
use crate::ftp::session::Session;
use crate::ftp::setters::Setter;
use crate::remote::error::{Error, Kind};
use crate::remote::explain::{
    MAKE_DIRECTORY, MAKE_LINK, REMOVE, REMOVE_DIRECTORY, RENAME, SET_GROUP, SET_MODE, SET_TIME,
};
use crate::remote::path::RemotePath;
use crate::remote::pool::Lane;
use crate::remote::{Doubt, Remote, classify};

impl Remote {
    /// Deletes a file or a symbolic link. One round trip.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::IsADirectory`], [`Kind::Denied`], [`Kind::ReadOnly`], and the kinds of a
    /// failed connection: it may have been done then.
    pub fn remove(&self, path: &RemotePath, deadline: Deadline) -> Result<(), Error> {
        let work = |session: &mut Session, deadline| session.remove_file(path.as_bytes(), deadline);
        self.remove_by(REMOVE, path, deadline, work)
    }

    /// Removes an empty directory. One round trip.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::NotADirectory`], [`Kind::NotEmpty`], [`Kind::Denied`],
    /// [`Kind::ReadOnly`], and the kinds of a failed connection: it may have been done then.
    pub fn remove_directory(&self, path: &RemotePath, deadline: Deadline) -> Result<(), Error> {
        let work = |session: &mut Session, deadline| session.remove_directory(path.as_bytes(), deadline);
        self.remove_by(REMOVE_DIRECTORY, path, deadline, work)
    }

    fn remove_by(
        &self,
        verb: &'static str,
        path: &RemotePath,
        deadline: Deadline,
        work: impl Fn(&mut Session, Deadline) -> Result<(), FtpError>,
    ) -> Result<(), Error> {
        let (result, doubt) = self.attempt_change(verb, path, Lane::Metadata, deadline, work)?;
        let Err(refusal) = result else { return Ok(()) };
        let error = self.explain(verb, path, &refusal, deadline);
        match (doubt, error.kind()) {
            (Doubt::MayBeDone, Kind::NotFound) => Ok(()),
            _ => Err(error),
        }
    }

    /// Makes a directory, and gives it `mode` where the server can and has not given it already: one round
    /// trip, or two. A mode that the server does not set is no error: the entry tells what is known.
    ///
    /// # Errors
    /// [`Kind::Exists`], [`Kind::NotFound`] or [`Kind::NotADirectory`] for what should hold it,
    /// [`Kind::NoSpace`], [`Kind::OverQuota`], [`Kind::ReadOnly`], [`Kind::Denied`]; [`Kind::BadName`] also
    /// when the server made one of another name (pure-ftpd 1.0.50 replaces control characters by `_`); and the
    /// kinds of a failed connection: it may have been made then.
    pub fn make_directory(
        &self,
        path: &RemotePath,
        mode: Option<u16>,
        deadline: Deadline,
    ) -> Result<RemoteEntry, Error> {
        let make =
            |session: &mut Session, deadline| session.make_and_see_directory(path.as_bytes(), deadline);
        let (result, doubt) = self.attempt_change(MAKE_DIRECTORY, path, Lane::Metadata, deadline, make)?;
        let mut entry = match result {
            Ok(Some(Ok(Facts::Whole(entry)))) => {
                RemoteEntry { name: path.file_name().into(), kind: EntryKind::Directory, ..entry }
            }
            Ok(Some(Err(refusal))) if self.is_absent(path, &refusal, deadline) => {
                let cause = "the server made a directory of another name";
                return Err(self.error(Kind::BadName, MAKE_DIRECTORY, path, cause));
            }
            Ok(_) => plain(path, EntryKind::Directory),
            Err(refusal) => {
                let error = self.explain(MAKE_DIRECTORY, path, &refusal, deadline);
                let made = (doubt, error.kind()) == (Doubt::MayBeDone, Kind::Exists);
                let found = if made { self.stat(path, deadline).ok() } else { None };
                found.filter(|entry| entry.kind == EntryKind::Directory).ok_or(error)?
            }
        };
        if !self.keeps_name(path, deadline)? {
            return Err(self.replaced(MAKE_DIRECTORY, path, self.remove_directory(path, deadline)));
        }
        if let Some(mode) = mode.filter(|&mode| entry.mode != Some(mode)) {
            let wishes = Wishes { mode: Some(mode), ..Wishes::default() };
            let settle = |session: &mut Session, deadline| session.settle(path.as_bytes(), &wishes, deadline);
            match self.attempt(SET_MODE, path, Lane::Metadata, deadline, settle) {
                Ok(Ok(settled)) => match (settled.mode, settled.facts) {
                    (Granted::Yes, Ok(Facts::Whole(told))) => entry.mode = told.mode.or(Some(mode)),
                    (Granted::Yes, _) => entry.mode = Some(mode),
                    (refused, _) => log::info!("{path} keeps the mode that the server gave it: {refused:?}"),
                },
                Ok(Err(error)) => log::warn!("{path} keeps the mode that the server gave it: {error}"),
                Err(error) => log::warn!("{path} keeps the mode that the server gave it: {error}"),
            }
        }
        Ok(entry)
    }

    /// Renames; an existing file and an empty directory are replaced, on servers that do. One round trip, or
    /// two where commands cannot be sent together.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for the source or the target's directory, [`Kind::NotEmpty`], [`Kind::Exists`],
    /// [`Kind::IsADirectory`], [`Kind::NotADirectory`] for the target, [`Kind::NoSpace`],
    /// [`Kind::OverQuota`], [`Kind::ReadOnly`], [`Kind::Denied`], [`Kind::BadName`], and the kinds of a failed
    /// connection: it may have been done then.
    pub fn rename(&self, from: &RemotePath, to: &RemotePath, deadline: Deadline) -> Result<(), Error> {
        self.rename_once(from, to, deadline)?;
        match self.keeps_name(to, deadline)? {
            true => Ok(()),
            false => Err(self.replaced(RENAME, to, self.rename_once(to, from, deadline))),
        }
    }

    fn rename_once(&self, from: &RemotePath, to: &RemotePath, deadline: Deadline) -> Result<(), Error> {
        let work = |session: &mut Session, deadline| session.rename(from.as_bytes(), to.as_bytes(), deadline);
        let (result, doubt) = self.attempt_change(RENAME, from, Lane::Metadata, deadline, work)?;
        let Err(refusal) = result else { return Ok(()) };
        let error = self.explain_rename(from, to, &refusal, deadline);
        let gone = (doubt, error.kind()) == (Doubt::MayBeDone, Kind::NotFound);
        if gone && self.find(from, deadline)?.is_none() && self.find(to, deadline)?.is_some() {
            return Ok(());
        }
        Err(error)
    }

    /// Makes a symbolic link at `path` to `target`: a path on the server, absolute or relative to the link's
    /// directory. ProFTPD 1.3.8, the one server known to make links, takes relative ones from its working
    /// directory and stores an absolute path, so that is what it is given. One round trip.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where the server has no SITE SYMLINK, where the target does not exist (ProFTPD
    /// refuses it), or where one of the paths has a blank, quote or backslash; [`Kind::Exists`],
    /// [`Kind::NotFound`], [`Kind::NotADirectory`], [`Kind::Denied`] and the like; the kinds of a failed
    /// connection: it may have been made then.
    pub fn make_symlink(&self, target: &[u8], path: &RemotePath, deadline: Deadline) -> Result<(), Error> {
        let dir = path.parent().unwrap_or_else(RemotePath::root);
        let target = dir.resolve(target).map_err(|e| self.error(Kind::BadName, MAKE_LINK, path, e))?;
        let work = |session: &mut Session, deadline| {
            session.make_symlink(target.as_bytes(), path.as_bytes(), deadline)
        };
        let (result, doubt) = self.attempt_change(MAKE_LINK, path, Lane::Metadata, deadline, work)?;
        let refusal = match result {
            Ok(true) if self.profile.is_proven(Setter::SiteSymlink) => return Ok(()),
            Ok(true) => {
                if matches!(self.find(path, deadline), Ok(None)) {
                    self.profile.learn_setter(Setter::SiteSymlink, false);
                    let cause = "the server says that it makes links, and does not";
                    return Err(self.error(Kind::Unsupported, MAKE_LINK, path, cause));
                }
                self.profile.prove(Setter::SiteSymlink);
                return Ok(());
            }
            Ok(false) => {
                let cause = "the server has no command that makes this link";
                return Err(self.error(Kind::Unsupported, MAKE_LINK, path, cause));
            }
            Err(refusal) => refusal,
        };
        let error = self.explain(MAKE_LINK, path, &refusal, deadline);
        let exists = (doubt, error.kind()) == (Doubt::MayBeDone, Kind::Exists);
        let is_link = |entry: RemoteEntry| entry.kind == EntryKind::Symlink;
        if exists && self.find(path, deadline)?.is_some_and(is_link) {
            return Ok(());
        }
        // "No such file" may speak of the target.
        if error.kind() == Kind::NotFound && self.look_at_parent(path, deadline)? == Kind::Denied {
            return Err(self.error(Kind::Unsupported, MAKE_LINK, path, refusal));
        }
        Err(error)
    }

    /// Sets what is wished of something that exists, and returns what it is then, as far as the server tells:
    /// `None` where it does not even tell whether it is a file. One round trip, more while the server's ways
    /// are not known.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where the server has no command for a wish (or none for directories),
    /// [`Kind::BadName`] for a time that FTP has no word for; [`Kind::NotFound`], [`Kind::Denied`] and the
    /// like. Where there are more wishes, the others may have been granted.
    pub fn set(
        &self,
        path: &RemotePath,
        wishes: &Wishes,
        deadline: Deadline,
    ) -> Result<Option<RemoteEntry>, Error> {
        let verb = match wishes {
            Wishes { group: Some(_), .. } => SET_GROUP,
            Wishes { mode: Some(_), .. } => SET_MODE,
            _ => SET_TIME,
        };
        let settle = |session: &mut Session, deadline| session.settle(path.as_bytes(), wishes, deadline);
        let settled = self
            .attempt(verb, path, Lane::Metadata, deadline, settle)?
            .map_err(|refusal| self.explain(verb, path, &refusal, deadline))?;
        let Settled { mode, modified, group, .. } = &settled;
        for (verb, granted) in [(SET_GROUP, group), (SET_MODE, mode), (SET_TIME, modified)] {
            match granted {
                Granted::NotAsked | Granted::Yes => {}
                Granted::Unsupported => {
                    let cause = "the server has no command for it";
                    return Err(self.error(Kind::Unsupported, verb, path, cause));
                }
                Granted::Refused(refusal) => return Err(self.explain(verb, path, refusal, deadline)),
            }
        }
        if let (Some(setter), Some(mode)) = (settled.unseen_mode, wishes.mode)
            && !self.sets_mode(setter, path, mode, deadline)
        {
            // Now by another way, if there is one.
            return self.set(path, wishes, deadline);
        }
        Ok(match settled.facts {
            Ok(Facts::Whole(entry)) => Some(RemoteEntry { name: path.file_name().into(), ..entry }),
            Ok(Facts::File { size, modified }) => {
                let file = plain(path, EntryKind::File);
                Some(RemoteEntry { size: Some(size), modified, mode: wishes.mode, ..file })
            }
            Ok(Facts::Doubtful) | Err(_) => None,
        })
    }

    /// Looks once per server, where only a listing tells modes, whether it sets them: some say yes and do nothing.
    fn sets_mode(&self, setter: Setter, path: &RemotePath, mode: u16, deadline: Deadline) -> bool {
        // A listing that does not tell is not asked for again either.
        let told = self.find(path, deadline).ok().flatten().and_then(|entry| entry.mode);
        if told.is_some_and(|told| (told ^ mode) & 0o777 != 0) {
            log::info!("the server says that it sets modes, and does not");
            self.profile.learn_setter(setter, false);
            return false;
        }
        self.profile.prove(setter);
        true
    }

    /// Whether what was just made as `path` is listed under that name. Pure-FTPd 1.0.50 replaces control characters
    /// and blanks at the end by `_`, pyftpdlib 2.2.0 what is not UTF-8 by U+FFFD, and both answer to the name that
    /// was sent as if it were there. Names that no server is known to replace are not looked for.
    ///
    /// # Errors
    /// As [`Remote::list`] of its directory.
    pub fn keeps_name(&self, path: &RemotePath, deadline: Deadline) -> Result<bool, Error> {
        Ok(!is_odd(path.file_name()) || self.find(path, deadline)?.is_some())
    }

    /// The error of a name that the server replaces by another; what it has made is removed.
    fn replaced(&self, verb: &'static str, path: &RemotePath, undone: Result<(), Error>) -> Error {
        if let Err(error) = undone {
            log::warn!("{path} is on the server under another name, and could not be removed: {error}");
        }
        self.error(Kind::BadName, verb, path, "the server replaces this name by another")
    }

    /// As [`Remote::keeps_name`] for a file that was just uploaded for the first time; if it is not, the file is
    /// removed again.
    ///
    /// # Errors
    /// [`Kind::BadName`], and those of [`Remote::keeps_name`].
    pub fn check_new_file(&self, path: &RemotePath, deadline: Deadline) -> Result<(), Error> {
        match self.keeps_name(path, deadline)? {
            true => Ok(()),
            false => Err(self.replaced("write", path, self.remove(path, deadline))),
        }
    }

    /// Whether a refused question means that nothing of that name is there.
    fn is_absent(&self, path: &RemotePath, refusal: &FtpError, deadline: Deadline) -> bool {
        match classify::kind(refusal) {
            Some(kind) => kind == Kind::NotFound,
            None => matches!(self.find(path, deadline), Ok(None)),
        }
    }
}

/// Whether a server may replace this name: bytes that are no UTF-8, control characters, blanks at an end.
fn is_odd(name: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| byte == Some(&b' ');
    blank(name.first())
        || blank(name.last())
        || name.iter().any(u8::is_ascii_control)
        || std::str::from_utf8(name).is_err()
}

/// An entry of which only its name and kind are known.
fn plain(path: &RemotePath, kind: EntryKind) -> RemoteEntry {
    RemoteEntry {
        name: path.file_name().into(),
        kind,
        size: None,
        modified: None,
        mode: None,
        link_target: None,
        unique: None,
    }
}

#[cfg(test)]
mod tests;
