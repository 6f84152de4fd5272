//! The inodes that the kernel knows, or that lead to one it knows.
//!
//! Invariants:
//! 1. A number stands for one file, directory or link and its kind, and is never used again. It has one name
//!    at a time, which only a rename through our mount changes, or ends where the kernel has to be given a new number
//!    for the name; once it has none it never gets one again.
//! 2. An inode stays while the kernel holds lookups of it or an inode below it stays, so a path can always
//!    be built by walking up. The root stays forever.
//! 3. `names` leads to the inode that stands for a name now. Those that stand for none stay for the kernel's
//!    sake: what was removed through our mount with its facts, what the server replaced by another kind
//!    with nothing.
//! 4. `children` counts the inodes whose standing names this one, by whichever name.

mod names;
mod node;
mod oldest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::{FileId, FileVersion};
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::time::Modified;
use crate::remote::{Name, RemotePath};
use crate::vfs::Error;
use crate::vfs::attr::Facts;

use names::Names;
use node::{Node, Standing};
use oldest::Oldest;

/// The number of the root (FUSE_ROOT_ID).
pub const ROOT: u64 = 1;

/// Inodes by number and by place. Plain data: the caller brings lock and clock.
#[derive(Debug)]
pub(super) struct Table {
    base: RemotePath,
    next: u64,
    /// In the order of their numbers, that is of their age. Boxed, since a tree has up to twice as many places as inodes.
    nodes: BTreeMap<u64, Box<Node>>,
    names: Names,
    oldest: Oldest,
}

/// What pages of a file the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// None that were there before, so that there are none to drop. To have them dropped after the reply could drop
    /// those of a write that came in between before it has reached us, and a reader beside it would bring the old
    /// bytes back.
    Nothing,
    /// Of the version that is opened.
    This,
    /// Maybe of another one.
    Other,
}

/// Where an inode is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// It is the root.
    Root,
    /// It is an entry of `dir`.
    Entry { dir: RemotePath, name: Name },
}

/// The outcome of [`Table::observe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) ino: u64,
    /// The youngest facts known, which may be younger than those observed.
    pub(super) facts: Facts,
    pub(super) learned: Instant,
    /// The kernel's pages (or its copy of a link's target) can no longer be right.
    pub(super) outdated: bool,
}

impl Table {
    /// A table that holds the root of a mount that shows `base`. It should have at most `limit` inodes beside those
    /// in use, see [`Table::oldest`].
    pub(super) fn new(base: RemotePath, limit: usize) -> Table {
        let root = Box::new(Node::new(Standing::Root, EntryKind::Directory));
        let nodes = BTreeMap::from([(ROOT, root)]);
        Table { base, next: ROOT + 1, nodes, names: Names::default(), oldest: Oldest::new(limit) }
    }

    /// Notes what the server told of `name` in `parent`, finds or makes its inode, and adds `lookups` to
    /// its count. Facts older than those known change nothing.
    ///
    /// # Errors
    /// [`Error::Stale`] if there is no such parent, or the name is known to have become another kind since.
    pub(super) fn observe(
        &mut self,
        parent: u64,
        name: &Name,
        entry: &RemoteEntry,
        learned: Instant,
        lookups: u64,
    ) -> Result<Seen, Error> {
        let ino = self.inode_for(parent, name, entry.kind, learned)?;
        if lookups > 0 {
            self.looked_up(ino, lookups);
        }
        let node = self.node_mut(ino)?;
        let facts = Facts::from(entry);
        let mut outdated = false;
        let (facts, learned) = match node.facts() {
            Some((known, at)) if at > learned => (known, at),
            known => {
                let replaced = node.opened.as_mut().is_some_and(|opened| opened.contradicts(entry));
                let link_moved =
                    facts.kind == EntryKind::Symlink && known.is_some_and(|(known, _)| known != facts);
                outdated = replaced || link_moved;
                node.learn(Some((facts, learned)));
                (facts, learned)
            }
        };
        if lookups > 0 {
            node.tell(facts);
        }
        Ok(Seen { ino, facts, learned, outdated })
    }

    fn inode_for(
        &mut self,
        parent: u64,
        name: &Name,
        kind: EntryKind,
        learned: Instant,
    ) -> Result<u64, Error> {
        if let Some(ino) = self.number(parent, name) {
            let node = self.node_mut(ino)?;
            if node.kind == kind {
                return Ok(ino);
            }
            if node.facts().is_some_and(|(_, at)| at > learned) {
                return Err(Error::Stale);
            }
            self.detach(ino, Standing::Replaced);
        }
        let node = self.node_mut(parent)?;
        if node.standing.parent().is_none() && parent != ROOT {
            return Err(Error::Stale);
        }
        node.children += 1;
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, Box::new(Node::new(Standing::Named(parent, name.clone()), kind)));
        self.names.insert(parent, name, ino);
        Ok(ino)
    }

    /// Notes that the entry `from` is `to` now, by a rename through our mount. Its inode keeps its number.
    /// What stood at `to` loses its name, as by [`Table::unlinked`]; its number is returned if the kernel, or
    /// an open handle, may still use it. Nothing happens where an entry became itself.
    pub(super) fn renamed(&mut self, from: (u64, &Name), to: (u64, &Name)) -> Option<u64> {
        if from == to {
            return None;
        }
        let moved = self.number(from.0, from.1);
        if moved.is_some_and(|ino| self.is_above(ino, to.0)) {
            // No server does that, and paths must end.
            return None;
        }
        let replaced = self.unlinked(to.0, to.1);
        if let Some(ino) = moved {
            let standing = match self.nodes.contains_key(&to.0) {
                true => Standing::Named(to.0, to.1.clone()),
                false => Standing::Unlinked,
            };
            self.detach(ino, standing);
        }
        replaced
    }

    /// Notes that `name` in `parent` is gone, by our own doing. The inode that stood for it is returned if
    /// the kernel may still use it: it keeps its number, kind and facts until the kernel forgets it.
    pub(super) fn unlinked(&mut self, parent: u64, name: &Name) -> Option<u64> {
        let ino = self.number(parent, name)?;
        self.detach(ino, Standing::Unlinked);
        self.nodes.contains_key(&ino).then_some(ino)
    }

    /// Notes that the name of `ino` stands for another file, and for no inode yet: it keeps what is open of it, which is
    /// `version`.
    pub(super) fn parted(&mut self, ino: u64, version: &FileVersion) {
        let Some(node) = self.nodes.get_mut(&ino).filter(|node| matches!(node.standing, Standing::Named(..)))
        else {
            return;
        };
        let facts = node.facts().map(|(facts, learned)| {
            (Facts { size: Some(version.size), modified: version.modified, ..facts }, learned)
        });
        node.learn(facts);
        self.detach(ino, Standing::Unlinked);
    }

    /// Notes that `ino` is gone for the user, but is kept on the server as `to`, where [`Table::path`] and
    /// [`Table::place`] lead to.
    pub(super) fn hidden(&mut self, ino: u64, to: (u64, &Name)) {
        if ino != ROOT && self.nodes.contains_key(&to.0) && !self.is_above(ino, to.0) {
            self.detach(ino, Standing::Hidden(to.0, to.1.clone()));
        }
    }

    /// Takes [`Table::hidden`] back: `ino` stands for this name again.
    pub(super) fn unhidden(&mut self, ino: u64, to: (u64, &Name)) {
        if self.nodes.contains_key(&to.0) && self.number(to.0, to.1).is_none() {
            self.detach(ino, Standing::Named(to.0, to.1.clone()));
        }
    }

    /// Notes that what is kept under a hidden name is gone from the server too.
    pub(super) fn unhide(&mut self, ino: u64) {
        if self.nodes.get(&ino).is_some_and(|node| matches!(node.standing, Standing::Hidden(..))) {
            self.detach(ino, Standing::Unlinked);
        }
    }

    /// What is hidden in the directory `dir`.
    pub(super) fn hidden_in(&self, dir: u64) -> Vec<(u64, Name)> {
        let hidden = self.nodes.iter().filter_map(|(&ino, node)| match &node.standing {
            Standing::Hidden(parent, name) if *parent == dir => Some((ino, name.clone())),
            _ => None,
        });
        hidden.collect()
    }

    /// Notes that our own changes of `ino` begin: what the server tells of it contradicts nothing until
    /// [`Table::committed`].
    pub(super) fn begin_change(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            let opened = node.opened.get_or_insert_default();
            (opened.version, opened.used) = (None, true);
        }
    }

    /// Keeps `ino`, also when the kernel forgets it, until [`Table::unhold`].
    pub(super) fn hold(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.holds = node.holds.saturating_add(1);
        }
    }

    /// Takes one [`Table::hold`] back.
    pub(super) fn unhold(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.holds = node.holds.saturating_sub(1);
            self.oldest.count(node);
            self.collect(ino);
        }
    }

    /// Counts a lookup of `ino` that no answer of the server led to.
    pub(super) fn look_up(&mut self, ino: u64) {
        self.looked_up(ino, 1);
    }

    /// Notes that our own doing has changed what is in directory `ino`, at `now` and as of `learned`.
    pub(super) fn touch(&mut self, ino: u64, now: Modified, learned: Instant) {
        if let Some(node) = self.nodes.get_mut(&ino)
            && let Some((facts, _)) = node.facts()
        {
            node.learn(Some((Facts { modified: Some(now), ..facts }, learned)));
        }
    }

    /// The version that handles of `ino` may read, and where it is.
    pub(super) fn version(&self, ino: u64) -> Option<(RemotePath, Arc<FileVersion>)> {
        let version = self.nodes.get(&ino)?.opened.as_ref()?.version.clone()?;
        Some((self.path(ino).ok()?, version))
    }

    /// Whether `ino` was removed through our mount (nlink 0), hidden or not.
    pub(super) fn is_unlinked(&self, ino: u64) -> bool {
        let standing = self.nodes.get(&ino).map(|node| &node.standing);
        matches!(standing, Some(Standing::Unlinked | Standing::Hidden(..)))
    }

    /// Notes what we know of `ino` by our own doing: facts that are younger than all that the server told
    /// before `learned`, and for a file the version that we made, of which the kernel's pages are.
    pub(super) fn committed(
        &mut self,
        ino: u64,
        facts: Facts,
        learned: Instant,
        version: Option<&Arc<FileVersion>>,
    ) {
        let Ok(node) = self.node_mut(ino) else { return };
        let facts = Facts { kind: node.kind, ..facts };
        node.learn(Some((facts, learned)));
        // The kernel took part in it, and asks for the attributes anew.
        node.tell(facts);
        if let Some(version) = version {
            let opened = node.opened.get_or_insert_default();
            opened.version = Some(version.clone());
            (opened.pages, opened.used) = (Some(version.id), true);
        }
    }

    /// Takes `ino` from where it stands to `standing`, and collects what nothing needs any more.
    fn detach(&mut self, ino: u64, standing: Standing) {
        if let Some(parent) = standing.parent().and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children += 1;
        }
        if let Standing::Named(parent, name) = &standing {
            self.names.insert(*parent, name, ino);
        }
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        let old = std::mem::replace(&mut node.standing, standing);
        self.leave(ino, &old);
        self.collect(ino);
    }

    /// Undoes what `standing` of `ino` holds; the directory is collected if nothing needs it any more.
    fn leave(&mut self, ino: u64, standing: &Standing) {
        let (Standing::Named(parent, name) | Standing::Hidden(parent, name)) = standing else { return };
        if matches!(standing, Standing::Named(..)) {
            self.names.remove(*parent, name, ino);
        }
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children -= 1;
            if node.children == 0 {
                self.oldest.count(node);
            }
            self.collect(*parent);
        }
    }

    /// Whether `ino` is `below`, or a directory above it.
    fn is_above(&self, ino: u64, mut below: u64) -> bool {
        while below != ino {
            match self.nodes.get(&below).and_then(|node| node.standing.parent()) {
                Some(parent) => below = parent,
                None => return false,
            }
        }
        true
    }

    /// Takes back `lookups` lookups; the inode goes when none is left and nothing is below it.
    pub(super) fn forget(&mut self, ino: u64, lookups: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(lookups);
            self.collect(ino);
        }
    }

    /// Removes `ino` if nothing needs it, and then what stayed only for its sake.
    fn collect(&mut self, ino: u64) {
        if self.nodes.get(&ino).is_some_and(|node| node.is_unused())
            && let Some(mut node) = self.nodes.remove(&ino)
        {
            self.oldest.count(&mut node);
            self.leave(ino, &node.standing);
        }
    }

    /// Where `ino` is now.
    ///
    /// # Errors
    /// [`Error::Stale`] if the inode, or a directory above it, is unknown, was removed or became another kind.
    pub(super) fn place(&self, ino: u64) -> Result<Place, Error> {
        match &self.node(ino)?.standing {
            Standing::Root => Ok(Place::Root),
            Standing::Named(parent, name) | Standing::Hidden(parent, name) => {
                Ok(Place::Entry { dir: self.path(*parent)?, name: name.clone() })
            }
            Standing::Unlinked | Standing::Replaced => Err(Error::Stale),
        }
    }

    /// The path of `ino` on the server.
    ///
    /// # Errors
    /// As [`Table::place`].
    pub(super) fn path(&self, ino: u64) -> Result<RemotePath, Error> {
        let mut names = Vec::new();
        let mut at = ino;
        loop {
            match &self.node(at)?.standing {
                Standing::Root => break,
                Standing::Named(parent, name) | Standing::Hidden(parent, name) => {
                    names.push(name);
                    at = *parent;
                }
                Standing::Unlinked | Standing::Replaced => return Err(Error::Stale),
            }
        }
        Ok(names.into_iter().rev().fold(self.base.clone(), |path, name| path.join(name)))
    }

    /// The inode of the directory that holds `ino`; the root's is the root, and so is that of an inode that
    /// no directory holds.
    pub(super) fn parent(&self, ino: u64) -> u64 {
        self.nodes.get(&ino).and_then(|node| node.standing.parent()).unwrap_or(ROOT)
    }

    /// The directory and the name that `ino` stands for.
    pub(super) fn name(&self, ino: u64) -> Option<(u64, Name)> {
        match &self.nodes.get(&ino)?.standing {
            Standing::Named(parent, name) => Some((*parent, name.clone())),
            Standing::Root | Standing::Hidden(..) | Standing::Unlinked | Standing::Replaced => None,
        }
    }

    /// The inode that stands for `name` in `parent`, if there is one.
    pub(super) fn number(&self, parent: u64, name: &Name) -> Option<u64> {
        let is = |ino| self.nodes.get(&ino).is_some_and(|node| node.standing.is(parent, name));
        self.names.find(parent, name, is)
    }

    /// What `ino` is.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is unknown or became another kind.
    pub(super) fn kind(&self, ino: u64) -> Result<EntryKind, Error> {
        Ok(self.node(ino)?.kind)
    }

    /// The facts known of `ino`, however old, and when they were learned.
    pub(super) fn facts(&self, ino: u64) -> Option<(Facts, Instant)> {
        self.nodes.get(&ino)?.facts()
    }

    /// Notes what a listing told of the root itself.
    pub(super) fn observe_root(&mut self, own: &RemoteEntry, learned: Instant) {
        if let Some(root) = self.nodes.get_mut(&ROOT) {
            root.learn(Some((Facts { kind: EntryKind::Directory, ..Facts::from(own) }, learned)));
        }
    }

    /// Notes that the kernel gets these attributes of `ino` now.
    pub(super) fn tell(&mut self, ino: u64, facts: Facts) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.tell(facts);
        }
    }

    /// Whether the kernel may believe in a size or time of `ino` that is no longer right.
    pub(super) fn is_kernel_behind(&self, ino: u64) -> bool {
        self.nodes.get(&ino).is_some_and(|node| node.is_kernel_behind())
    }

    /// Notes that the kernel has dropped its attributes of `ino`.
    pub(super) fn untell(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.untell();
        }
    }

    /// Makes `version` the one that handles of `ino` may read; tells what pages of it the kernel has.
    pub(super) fn open(&mut self, ino: u64, version: &Arc<FileVersion>) -> Result<Cached, Error> {
        self.used(ino);
        let opened = self.node_mut(ino)?.opened.get_or_insert_default();
        let cached = match opened.used {
            false => Cached::Nothing,
            true if opened.pages == Some(version.id) => Cached::This,
            true => Cached::Other,
        };
        opened.version = Some(version.clone());
        (opened.pages, opened.used) = (Some(version.id), true);
        Ok(cached)
    }

    /// Notes the listing that the kernel is about to read; tells whether its directory pages are of it.
    pub(super) fn open_listing(&mut self, ino: u64, serial: u64) -> Result<bool, Error> {
        self.used(ino);
        let opened = self.node_mut(ino)?.opened.get_or_insert_default();
        Ok(opened.listing.replace(serial) == Some(serial))
    }

    /// Whether handles of version `id` may read.
    pub(super) fn is_current(&self, ino: u64, id: FileId) -> bool {
        let opened = self.nodes.get(&ino).and_then(|node| node.opened.as_ref());
        opened.and_then(|opened| opened.version.as_ref()).is_some_and(|version| version.id == id)
    }

    /// Notes that version `id` is gone: its handles may no longer read, and what was known of the inode
    /// is not to be trusted.
    pub(super) fn lose(&mut self, ino: u64, id: FileId) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.learn(None);
            if let Some(opened) = &mut node.opened {
                opened.version.take_if(|version| version.id == id);
            }
        }
    }

    fn node(&self, ino: u64) -> Result<&Node, Error> {
        self.nodes.get(&ino).map(Box::as_ref).filter(|node| !node.is_replaced()).ok_or(Error::Stale)
    }

    fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Error> {
        self.nodes.get_mut(&ino).map(Box::as_mut).filter(|node| !node.is_replaced()).ok_or(Error::Stale)
    }
}

#[cfg(test)]
mod tests;
