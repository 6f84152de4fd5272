//! The file system in POSIX words: names to inodes, attributes, links, errors. Knows neither FUSE nor FTP.
//!
//! Every operation takes a [`Patience`]: with `CachedOnly` it answers from memory or says
//! [`Error::WouldBlock`] and can be asked again; with `Until` it may wait for the server that long.
//! The root's attributes and [`FileSystem::statfs`] never wait. Lock order: inode table, then handles, then
//! the caches' own; none is held while the server is asked.

mod astray;
mod attr;
mod charset;
mod create;
mod crowd;
mod directory;
mod draft;
mod error;
mod file;
mod foresight;
mod handle;
mod inode;
mod invalidation;
mod links;
mod passing;
mod remove;
mod rename;
mod reopening;
mod setattr;
mod xattr;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use crate::cache::{Answer, BlockCache, DirectoryCache, EntryRef, Versions};
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::read::Patience;
use crate::read::ahead::{Limits, Policy};
use crate::remote::{Name, RemotePath};

pub use attr::{Attr, Facts, Ownership};
pub use charset::{Charset, CharsetError, Inexpressible};
pub use directory::{DirItem, OpenedDir};
pub use draft::Changes;
pub use error::Error;
pub use file::{OpenedFile, Pages, Seek};
pub use inode::ROOT;
pub use invalidation::{Invalidation, Scope};
pub use links::LinkPolicy;
pub use setattr::{SetAttr, SetTime};

pub use crate::read::{FileSource, OpenFile};

use astray::Astray;
use crowd::Crowd;
use draft::Drafts;
use handle::Handles;
use inode::{Place, Seen, Table};
use invalidation::Invalidations;
use passing::Unpassed;
use remove::HiddenNames;
use reopening::Reopening;

/// What the user decides about the file system.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Owner and modes.
    pub ownership: Ownership,
    /// Symbolic links.
    pub links: LinkPolicy,
    /// The charset of the server's names.
    pub charset: Charset,
    /// Open trusts attributes younger than this and checks older ones.
    pub attr_timeout: Duration,
    /// The bound of what is done when nobody waits for it.
    pub operation_timeout: Duration,
    /// What may be fetched ahead of its readers.
    pub ahead: Limits,
    /// How many names that the kernel has looked up are kept, beside those that are in use; see
    /// [`FileSystem::oldest_names`].
    pub known_names: usize,
}

/// One mounted tree.
pub struct FileSystem {
    config: Config,
    directories: Arc<DirectoryCache>,
    blocks: Arc<BlockCache>,
    versions: Versions,
    files: Arc<dyn FileSource>,
    foresight: Mutex<Policy>,
    table: Mutex<Table>,
    handles: Handles,
    /// `None` where nothing may be changed.
    changes: Option<Changes>,
    drafts: Drafts,
    hidden: HiddenNames,
    /// Hidden files that are still on the server.
    leftovers: Mutex<Vec<RemotePath>>,
    /// Names that the kernel is about to look up and open again.
    reopening: Reopening,
    /// What a change that failed has left in doubt.
    astray: Astray,
    invalidations: Invalidations,
    crowd: Crowd,
    /// Versions that somebody wanted to write while the kernel read them by itself.
    unpassed: Mutex<Unpassed>,
}

/// An answer and for how long it may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed<T> {
    /// The answer.
    pub value: T,
    /// What is left of its freshness; zero where it is gone.
    pub ttl: Duration,
}

/// What statfs(2) shows. FTP has no general way to ask, so it is a plain large size that stops no program
/// and that nobody takes for a real disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in all; all are shown as free.
    pub blocks: u64,
    /// Longest name in bytes.
    pub name_max: u32,
}

/// 1 TiB in blocks of 4 KiB.
const BLOCK_SIZE: u32 = 4096;
const BLOCKS: u64 = 1 << 28;

/// R_OK, W_OK and X_OK of access(2).
const ACCESS_READ: i32 = 4;
const ACCESS_WRITE: i32 = 2;
const ACCESS_EXECUTE: i32 = 1;

impl FileSystem {
    /// A file system over the caches and `files`, read-only without `changes`, and the news that it has for the kernel. Who drains
    /// them must do so outside of request handlers; dropping the receiver is allowed.
    pub fn new(
        directories: Arc<DirectoryCache>,
        blocks: Arc<BlockCache>,
        files: Arc<dyn FileSource>,
        changes: Option<Changes>,
        config: Config,
    ) -> (FileSystem, Receiver<Invalidation>) {
        let (invalidations, news) = Invalidations::new();
        let table = Mutex::new(Table::new(directories.base().clone(), config.known_names));
        let (versions, handles, drafts, hidden, leftovers, astray, unpassed, reopening) = Default::default();
        let fs = FileSystem {
            config,
            directories,
            blocks,
            versions,
            files,
            foresight: Mutex::new(Policy::new(config.ahead)),
            table,
            handles,
            changes,
            drafts,
            hidden,
            leftovers,
            reopening,
            astray,
            invalidations,
            crowd: Crowd::new(),
            unpassed,
        };
        (fs, news)
    }

    /// Finds `name` in the directory `parent`. A found entry counts as one lookup, to be given back by
    /// [`FileSystem::forget`]; `None` is the knowledge that there is none.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::Stale`], and those of asking the server.
    pub fn lookup(&self, parent: u64, name: &[u8], patience: Patience) -> Result<Timed<Option<Attr>>, Error> {
        match self.name(name) {
            Ok(name) => self.lookup_name(parent, &name, patience),
            // The server can have no such name.
            Err(Error::Inexpressible(_)) => Ok(Timed { value: None, ttl: self.directories.timeout() }),
            Err(error) => Err(error),
        }
    }

    /// What [`FileSystem::lookup`] does, by the server's name.
    fn lookup_name(
        &self,
        parent: u64,
        name: &Name,
        patience: Patience,
    ) -> Result<Timed<Option<Attr>>, Error> {
        if let Some(found) = self.lookup_draft(parent, name) {
            return Ok(found);
        }
        let dir = self.table.lock().path(parent)?;
        let now = Instant::now();
        let answer = self.ask(&dir, name, patience, now)?;
        if self.table.lock().path(parent)? != dir {
            // Renamed meanwhile: the answer speaks of another directory, or of none.
            return self.lookup_name(parent, name, patience);
        }
        match answer.entry {
            Some(entry) if self.is_shown(&entry) => {
                let seen = self.observe(parent, name, &entry, answer.learned, 1)?;
                let Timed { value, ttl } = self.attr(&seen);
                Ok(Timed { value: Some(value), ttl })
            }
            // The kernel must not believe that longer than it is true.
            _ if self.is_astray(parent, name) => Ok(Timed { value: None, ttl: Duration::ZERO }),
            _ => Ok(self.timed(None, answer.learned, now)),
        }
    }

    /// A name that has changes of ours is there, whatever the server says or does not say; counts as a lookup.
    fn lookup_draft(&self, parent: u64, name: &Name) -> Option<Timed<Option<Attr>>> {
        let ino = self.table.lock().number(parent, name)?;
        self.draft(ino)?;
        let (facts, learned) = {
            let mut table = self.table.lock();
            let known = table.facts(ino)?;
            table.look_up(ino);
            known
        };
        let Timed { value, ttl } = self.attr(&Seen { ino, facts, learned, outdated: false });
        Some(Timed { value: Some(value), ttl })
    }

    /// Takes back `lookups` lookups of an inode.
    pub fn forget(&self, ino: u64, lookups: u64) {
        self.table.lock().forget(ino, lookups);
    }

    /// The attributes of an inode. Those of the root never wait.
    ///
    /// # Errors
    /// [`Error::NotFound`] if its name is gone, [`Error::Stale`] if it is another kind now, and those of
    /// asking the server.
    pub fn getattr(&self, ino: u64, patience: Patience) -> Result<Timed<Attr>, Error> {
        let now = Instant::now();
        // Before the facts: when changes end, what came of them has been noted.
        let has_draft = self.draft(ino).is_some();
        let known = self.table.lock().facts(ino);
        if let Some((facts, learned)) = known
            && (has_draft || self.table.lock().is_unlinked(ino))
        {
            return Ok(self.attr(&Seen { ino, facts, learned, outdated: false }));
        }
        let Place::Entry { dir, name } = self.table.lock().place(ino)? else {
            let unknown = Facts { kind: EntryKind::Directory, size: None, modified: None, mode: None };
            let facts = known.map_or(unknown, |(facts, _)| facts);
            return Ok(self.timed(self.config.ownership.attr(ino, &facts), now, now));
        };
        let (facts, learned) = match known {
            Some((facts, at)) if now.saturating_duration_since(at) < self.directories.timeout() => {
                (facts, at)
            }
            _ => {
                let answer = self.ask(&dir, &name, patience, now)?;
                let (_, seen) = self.observe_inode(ino, &name, &answer)?;
                (seen.facts, seen.learned)
            }
        };
        self.table.lock().tell(ino, facts);
        Ok(self.timed(self.config.ownership.attr(ino, &facts), learned, now))
    }

    /// The target of a symbolic link, as [`LinkPolicy`] wants it shown.
    ///
    /// # Errors
    /// [`Error::NotALink`], [`Error::LinkLeaves`], [`Error::NoTarget`], and those of asking the server.
    pub fn readlink(&self, ino: u64, patience: Patience) -> Result<Vec<u8>, Error> {
        let Place::Entry { dir, name } = self.table.lock().place(ino)? else { return Err(Error::NotALink) };
        let now = Instant::now();
        let (entry, _) = self.observe_inode(ino, &name, &self.ask(&dir, &name, patience, now)?)?;
        if entry.kind != EntryKind::Symlink {
            return Err(Error::NotALink);
        }
        let target = match (&entry.link_target, patience) {
            (Some(target), _) => Some(target.clone()),
            (None, Patience::CachedOnly) => {
                self.directories.cached_target(&dir, &name, now).ok_or(Error::WouldBlock)?
            }
            (None, Patience::Until(deadline)) => self.directories.target(&dir, &name, deadline, now)?,
        };
        let target = target.ok_or(Error::NoTarget)?;
        let target = match self.config.links {
            LinkPolicy::Contain | LinkPolicy::Hide => {
                links::contained(&target, &dir, self.directories.base())?
            }
            LinkPolicy::Raw => target.to_vec(),
        };
        links::raw(&self.config.charset.shown_path(&target))
    }

    /// Whether `mask` (R_OK, W_OK, X_OK of access(2)) is allowed to anybody at all. Who may do what is the
    /// server's decision, or the kernel's with `default_permissions`.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Denied`], and those of [`FileSystem::getattr`].
    pub fn access(&self, ino: u64, mask: i32, patience: Patience) -> Result<(), Error> {
        if mask & ACCESS_WRITE != 0 {
            self.changes()?;
        }
        let attr = self.getattr(ino, patience)?.value;
        let forbids = |asked: i32, bits: u16| mask & asked != 0 && attr.mode & bits == 0;
        if forbids(ACCESS_READ, 0o444) || forbids(ACCESS_WRITE, 0o222) || forbids(ACCESS_EXECUTE, 0o111) {
            return Err(Error::Denied);
        }
        Ok(())
    }

    /// The space of the file system, from memory.
    pub fn statfs(&self) -> Space {
        let name_max = u32::try_from(self.config.charset.longest_shown()).unwrap_or(u32::MAX);
        Space { block_size: BLOCK_SIZE, blocks: BLOCKS, name_max }
    }

    /// The path of an inode on the server, as long as it has one. For messages.
    pub fn path(&self, ino: u64) -> Option<RemotePath> {
        self.table.lock().path(ino).ok()
    }

    /// The server's name for what programs call `name`.
    fn name(&self, name: &[u8]) -> Result<Name, Error> {
        Ok(Name::new(&self.config.charset.on_server(name)?)?)
    }

    /// The same for what must be there already: what the server cannot name it does not have.
    fn name_of_old(&self, name: &[u8]) -> Result<Name, Error> {
        self.name(name).map_err(|error| match error {
            Error::Inexpressible(_) => Error::NotFound,
            error => error,
        })
    }

    /// What memory, or with patience the server, knows of `name` in `dir`.
    fn ask(&self, dir: &RemotePath, name: &Name, patience: Patience, now: Instant) -> Result<Answer, Error> {
        match patience {
            Patience::CachedOnly => self.directories.cached(dir, name, now).ok_or(Error::WouldBlock),
            Patience::Until(deadline) => {
                self.settle_doubts(deadline);
                Ok(self.directories.lookup(dir, name, deadline, now)?)
            }
        }
    }

    /// Notes what the server told of the name of `ino`, which must still be what it was.
    fn observe_inode(&self, ino: u64, name: &Name, answer: &Answer) -> Result<(EntryRef, Seen), Error> {
        let entry = answer.entry.as_ref().filter(|entry| self.is_shown(entry)).ok_or(Error::NotFound)?;
        // It may have lost this name meanwhile, or the directory: what is told is not of what has its name there.
        let stands = self.table.lock().name(ino);
        let (parent, _) = stands.filter(|(_, now)| now == name).ok_or(Error::Stale)?;
        let seen = self.observe(parent, name, entry, answer.learned, 0)?;
        if seen.ino != ino {
            self.forget(seen.ino, 0);
            return Err(Error::Stale);
        }
        Ok((entry.clone(), seen))
    }

    /// Notes what the server told of a name and tells the kernel if it believes otherwise.
    fn observe(
        &self,
        parent: u64,
        name: &Name,
        entry: &RemoteEntry,
        learned: Instant,
        lookups: u64,
    ) -> Result<Seen, Error> {
        let (seen, is_crowded) = {
            let mut table = self.table.lock();
            (table.observe(parent, name, entry, learned, lookups)?, table.is_crowded())
        };
        if is_crowded {
            self.crowd.tell();
        }
        if seen.outdated {
            self.invalidations.everything(seen.ino);
        }
        Ok(seen)
    }

    /// What stat(2) shows of an inode, our own changes included; those are asked for each time.
    fn attr(&self, seen: &Seen) -> Timed<Attr> {
        let (mut facts, mut learned) = (seen.facts, seen.learned);
        let draft = self.draft(seen.ino);
        if draft.is_none()
            && let Some(now) = self.table.lock().facts(seen.ino)
        {
            // They may have ended since `seen`, and what came of them was noted before.
            (facts, learned) = now;
        }
        if let Some(changed) = draft.as_ref().map(|draft| draft.attributes()) {
            facts.size = Some(changed.size);
            facts.modified = changed.modified.or(facts.modified);
            facts.mode = changed.mode.or(facts.mode);
        }
        let mut attr = self.config.ownership.attr(seen.ino, &facts);
        if self.table.lock().is_unlinked(seen.ino) {
            attr.nlink = 0;
        }
        match draft {
            Some(_) => Timed { value: attr, ttl: Duration::ZERO },
            None => self.timed(attr, learned, Instant::now()),
        }
    }

    fn is_shown(&self, entry: &RemoteEntry) -> bool {
        let hidden_link = entry.kind == EntryKind::Symlink && self.config.links == LinkPolicy::Hide;
        !hidden_link && !self.hidden.contain(&entry.name)
    }

    fn timed<T>(&self, value: T, learned: Instant, now: Instant) -> Timed<T> {
        let age = now.saturating_duration_since(learned);
        Timed { value, ttl: self.directories.timeout().saturating_sub(age) }
    }
}

impl std::fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSystem").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
