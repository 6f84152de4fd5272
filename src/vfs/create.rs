//! New names: files, directories, links.

use std::time::Instant;

use crate::deadline::Deadline;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::read::Patience;
use crate::remote::{Kind, Name, RemotePath};
use crate::vfs::file::Pages;
use crate::vfs::{Attr, Error, FileSystem, OpenedFile, Timed};
use crate::write::now;

impl FileSystem {
    /// Creates a file and opens it, as open(2) with O_CREAT does; `mode` has the umask applied. An existing
    /// file is opened, or refused with O_EXCL in `flags`. The server gets the file at its first flush.
    ///
    /// # Errors
    /// [`Error::Exists`], those of [`FileSystem::open`] and of asking the server.
    pub fn create(
        &self,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
        patience: Patience,
    ) -> Result<(Timed<Attr>, OpenedFile), Error> {
        let changes = self.changes()?;
        let name = self.name(name)?;
        let dir = self.table.lock().path(parent)?;
        let exclusive = flags & libc::O_EXCL != 0;
        let begun = self.draft_named(parent, &name).is_some();
        let exists = begun || {
            let answer = self.ask(&dir, &name, patience, Instant::now())?;
            answer.entry.is_some_and(|entry| self.is_shown(&entry))
        };
        if exists {
            if exclusive {
                return Err(Error::Exists);
            }
            self.part_named(parent, &name);
            let found = self.lookup_name(parent, &name, patience)?;
            let attr = found.value.ok_or(Error::NotFound)?;
            // The answer to a create gives the kernel nothing to read by itself.
            let opened =
                self.open_as(attr.ino, flags, false, patience).inspect_err(|_| self.forget(attr.ino, 1))?;
            return Ok((Timed { value: attr, ttl: found.ttl }, opened));
        }
        let path = dir.join(&name);
        self.refuse_other_case(&dir, &name, None, patience)?;
        let mode = permissions(mode);
        let draft = changes.writers.create(path, Some(mode))?;
        let entry = fresh(&name, EntryKind::File, mode);
        let mut drafts = self.drafts.lock();
        self.part_named(parent, &name);
        self.directories.pin(&dir, &name, entry.clone());
        let seen = self
            .observe(parent, &name, &entry, Instant::now(), 1)
            .inspect_err(|_| self.directories.unpin(&dir, &name))?;
        self.begin(&mut drafts, seen.ino, draft);
        self.touch(parent);
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let handle = self.handles.open_draft(seen.ino, writable);
        drop(drafts);
        let attr = self.attr(&seen);
        Ok((attr, OpenedFile { handle, pages: Pages::Drop, writable: true, whole: None }))
    }

    /// Makes an empty file without opening it (mknod(2)); it is on the server when this returns.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for devices, pipes and sockets; those of [`FileSystem::create`].
    pub fn make_node(
        &self,
        parent: u64,
        name: &[u8],
        mode: u32,
        patience: Patience,
    ) -> Result<Timed<Attr>, Error> {
        let kind = mode & libc::S_IFMT;
        if kind != libc::S_IFREG && kind != 0 {
            return Err(Error::NotPermitted);
        }
        let Patience::Until(_) = patience else { return Err(Error::WouldBlock) };
        let (attr, opened) = self.create(parent, name, mode, libc::O_EXCL | libc::O_WRONLY, patience)?;
        let flushed = self.flush(opened.handle, patience);
        self.release(opened.handle);
        flushed.inspect_err(|_| self.forget(attr.value.ino, 1))?;
        self.getattr(attr.value.ino, patience)
    }

    /// Makes a directory; `mode` has the umask applied.
    ///
    /// # Errors
    /// [`Error::Exists`], and the server's refusals.
    pub fn make_directory(
        &self,
        parent: u64,
        name: &[u8],
        mode: u32,
        patience: Patience,
    ) -> Result<Timed<Attr>, Error> {
        let (changes, name, path, deadline) = self.new_name(parent, name, patience)?;
        let mut entry = changes.remote.make_directory(&path, Some(permissions(mode)), deadline)?;
        entry.name = name.as_bytes().into();
        entry.modified = entry.modified.or(Some(now()));
        self.directories.made_directory(&path);
        self.appeared(parent, &name, entry)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] where the server cannot, [`Error::Exists`], and the server's refusals.
    pub fn make_symlink(
        &self,
        parent: u64,
        name: &[u8],
        target: &[u8],
        patience: Patience,
    ) -> Result<Timed<Attr>, Error> {
        let (changes, name, path, deadline) = self.new_name(parent, name, patience)?;
        let target = self.config.charset.path_on_server(target)?;
        changes.remote.make_symlink(&target, &path, deadline).map_err(|error| match error.kind() {
            // symlink(2): "the filesystem does not support the creation of symbolic links".
            Kind::Unsupported => Error::NotPermitted,
            _ => Error::Remote(error),
        })?;
        let entry = RemoteEntry {
            size: Some(target.len() as u64),
            link_target: Some(target.into_boxed_slice()),
            ..fresh(&name, EntryKind::Symlink, 0o777)
        };
        self.appeared(parent, &name, entry)
    }

    /// Checks a name that something new shall have.
    fn new_name(
        &self,
        parent: u64,
        name: &[u8],
        patience: Patience,
    ) -> Result<(&crate::vfs::Changes, Name, RemotePath, Deadline), Error> {
        let changes = self.changes()?;
        let name = self.name(name)?;
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        let dir = self.table.lock().path(parent)?;
        let known = self.directories.cached(&dir, &name, Instant::now());
        if known.is_some_and(|answer| answer.entry.is_some()) {
            return Err(Error::Exists);
        }
        self.refuse_other_case(&dir, &name, None, patience)?;
        let path = dir.join(&name);
        Ok((changes, name, path, deadline))
    }

    /// Where the server takes names for one whatever their case, a new name may be that of another file, which
    /// would be written over unseen. `but` is no other file.
    ///
    /// # Errors
    /// [`Error::Exists`] for such a name; those of asking the server.
    pub(super) fn refuse_other_case(
        &self,
        dir: &RemotePath,
        name: &Name,
        but: Option<&Name>,
        patience: Patience,
    ) -> Result<(), Error> {
        let Some((listing, _)) = self.directories.cached_listing(dir, Instant::now()) else { return Ok(()) };
        let differs =
            |other: &[u8]| other != name.as_bytes() && but.is_none_or(|but| but.as_bytes() != other);
        let alike =
            |entry: &RemoteEntry| entry.name.eq_ignore_ascii_case(name.as_bytes()) && differs(&entry.name);
        if !listing.entries().iter().any(alike) {
            return Ok(());
        }
        let Patience::Until(deadline) = patience else { return Err(Error::WouldBlock) };
        match self.changes()?.remote.is_there_in_other_case(&dir.join(name), deadline)? {
            true => Err(Error::Exists),
            false => Ok(()),
        }
    }

    /// What is in a directory has changed by our own doing, and so its time.
    pub(super) fn touch(&self, directory: u64) {
        self.table.lock().touch(directory, now(), Instant::now());
    }

    /// Makes known what we have made; counts as a lookup.
    fn appeared(&self, parent: u64, name: &Name, entry: RemoteEntry) -> Result<Timed<Attr>, Error> {
        let dir = self.table.lock().path(parent)?;
        self.directories.changed(&dir, name, Some(entry.clone()));
        self.touch(parent);
        let seen = self.observe(parent, name, &entry, Instant::now(), 1)?;
        Ok(self.attr(&seen))
    }
}

/// The permission bits of a mode.
fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

/// An entry that has just been made here.
fn fresh(name: &Name, kind: EntryKind, mode: u16) -> RemoteEntry {
    RemoteEntry {
        name: name.as_bytes().into(),
        kind,
        size: Some(0),
        modified: Some(now()),
        mode: Some(mode),
        link_target: None,
        unique: None,
    }
}
