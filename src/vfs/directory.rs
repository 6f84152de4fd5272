//! Reading directories: a handle is a frozen listing, an offset is a place in it.

use std::time::Instant;

use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::read::Patience;
use crate::remote::Name;
use crate::vfs::handle::DirHandle;
use crate::vfs::inode::ROOT;
use crate::vfs::{Attr, Error, FileSystem, Timed};

/// The number shown where no inode exists yet, as libfuse does (FUSE_UNKNOWN_INO).
const UNKNOWN_INO: u64 = 0xffff_ffff;

/// Offsets 0 and 1 are `.` and `..`.
const DOTS: u64 = 2;

/// An opened directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedDir {
    /// For reading and releasing it.
    pub handle: u64,
    /// Whether the kernel's pages of this directory are of the same listing.
    pub keep_pages: bool,
}

/// One entry as readdir(3) shows it.
#[derive(Clone, Copy, Debug)]
pub struct DirItem<'a> {
    /// Its name, as it is shown.
    pub name: &'a [u8],
    /// Its inode number.
    pub ino: u64,
    /// What it is.
    pub kind: EntryKind,
    /// The offset at which reading goes on after it.
    pub next: u64,
    /// Its attributes and for how long they hold; only where asked for, and not for `.` and `..`. An item
    /// that is taken with attributes counts as a lookup.
    pub attr: Option<Timed<Attr>>,
}

struct Numbered {
    ino: u64,
    attr: Option<Timed<Attr>>,
}

impl FileSystem {
    /// Opens a directory and freezes its listing.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], and those of asking the server.
    pub fn opendir(&self, ino: u64, patience: Patience) -> Result<OpenedDir, Error> {
        let (kind, path) = {
            let table = self.table.lock();
            (table.kind(ino)?, table.path(ino)?)
        };
        if kind != EntryKind::Directory {
            return Err(Error::NotADirectory);
        }
        let now = Instant::now();
        if let Patience::Until(deadline) = patience {
            self.settle_doubts(deadline);
        }
        let (listing, learned) = match patience {
            Patience::CachedOnly => self.directories.read_cached(&path, now).ok_or(Error::WouldBlock)?,
            Patience::Until(deadline) => self.directories.read(&path, deadline, now)?,
        };
        let keep_pages = {
            let mut table = self.table.lock();
            if let (ROOT, Some(own)) = (ino, listing.own()) {
                table.observe_root(own, learned);
            }
            table.open_listing(ino, listing.serial())?
        };
        Ok(OpenedDir { handle: self.handles.open_dir(DirHandle { ino, listing, learned }), keep_pages })
    }

    /// Gives the entries of an open directory from `offset` on to `take`, until that returns false (it had
    /// no room; the item does not count). From memory always.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn readdir(
        &self,
        handle: u64,
        offset: u64,
        mut take: impl FnMut(DirItem<'_>) -> bool,
    ) -> Result<(), Error> {
        self.walk(handle, offset, &mut take, |dir, name, _| {
            let ino = self.table.lock().number(dir.ino, name);
            Numbered { ino: ino.unwrap_or(UNKNOWN_INO), attr: None }
        })
    }

    /// As [`FileSystem::readdir`], with attributes: each item taken with them counts as a lookup.
    ///
    /// # Errors
    /// As there.
    pub fn readdirplus(
        &self,
        handle: u64,
        offset: u64,
        mut take: impl FnMut(DirItem<'_>) -> bool,
    ) -> Result<(), Error> {
        let mut take = |item: DirItem<'_>| {
            let taken = take(item);
            if !taken && item.attr.is_some() {
                self.forget(item.ino, 1);
            }
            taken
        };
        let path = self.table.lock().path(self.handles.dir(handle)?.ino);
        self.walk(handle, offset, &mut take, |dir, name, entry| {
            let gone = path.as_ref().is_ok_and(|path| {
                let known = self.directories.cached(path, name, Instant::now());
                known.is_some_and(|answer| answer.entry.is_none())
            });
            if gone {
                // Removed since the listing was frozen: the kernel must not be told of it once more.
                return Numbered { ino: UNKNOWN_INO, attr: None };
            }
            // It fails where the name is known to have become another kind since.
            match self.observe(dir.ino, name, entry, dir.learned, 1) {
                Ok(seen) => Numbered { ino: seen.ino, attr: Some(self.attr(&seen)) },
                Err(_) => Numbered { ino: UNKNOWN_INO, attr: None },
            }
        })
    }

    fn walk(
        &self,
        handle: u64,
        offset: u64,
        take: &mut dyn FnMut(DirItem<'_>) -> bool,
        item: impl Fn(&DirHandle, &Name, &RemoteEntry) -> Numbered,
    ) -> Result<(), Error> {
        let dir = self.handles.dir(handle)?;
        let parent = self.table.lock().parent(dir.ino);
        let kind = EntryKind::Directory;
        for (name, ino, next) in [(&b"."[..], dir.ino, 1), (b"..", parent, 2)] {
            if offset < next && !take(DirItem { name, ino, kind, next, attr: None }) {
                return Ok(());
            }
        }
        let first = usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX);
        for (next, entry) in (DOTS + 1..).zip(dir.listing.entries()).skip(first) {
            let Some(name) = Name::new(&entry.name).ok().filter(|_| self.is_shown(entry)) else { continue };
            let Numbered { ino, attr } = item(&dir, &name, entry);
            let name = self.config.charset.shown(&entry.name);
            if !take(DirItem { name: &name, ino, kind: entry.kind, next, attr }) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Ends a handle of [`FileSystem::opendir`].
    pub fn releasedir(&self, handle: u64) {
        drop(self.handles.release_dir(handle));
    }
}
