//! The inodes that the kernel knows, or that lead to one it knows.
//!
//! Invariants:
//! 1. A number stands for one name and one kind, and is never used again.
//! 2. An inode stays while the kernel holds lookups of it or an inode below it stays, so a path can always
//!    be built by walking up. The root stays forever.
//! 3. `names` leads to the inode that stands for a name now. One whose name became another kind is
//!    detached: it stays for the kernel's sake, but has no path.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::{FileId, FileVersion};
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::remote::{Name, RemotePath};
use crate::vfs::Error;
use crate::vfs::attr::Facts;

/// The number of the root (FUSE_ROOT_ID).
pub const ROOT: u64 = 1;

/// Inodes by number and by place. Plain data: the caller brings lock and clock.
#[derive(Debug)]
pub(super) struct Table {
    base: RemotePath,
    next: u64,
    nodes: HashMap<u64, Node>,
    names: HashMap<(u64, Name), u64>,
}

#[derive(Debug)]
struct Node {
    /// `None` for the root.
    place: Option<(u64, Name)>,
    kind: EntryKind,
    detached: bool,
    lookups: u64,
    /// Inodes whose `place` names this one.
    children: usize,
    facts: Option<(Facts, Instant)>,
    /// What the kernel may still believe, until it is told otherwise.
    told: Option<Facts>,
    /// What only opened inodes have.
    opened: Option<Box<Opened>>,
}

#[derive(Debug, Default)]
struct Opened {
    /// The version that handles may read; `None` once it is known to be gone.
    version: Option<Arc<FileVersion>>,
    /// The version that the kernel's pages are of.
    pages: Option<FileId>,
    /// The listing that the kernel's directory pages are of.
    listing: Option<u64>,
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
    /// A table that holds the root of a mount that shows `base`.
    pub(super) fn new(base: RemotePath) -> Table {
        let root = Node::new(None, EntryKind::Directory);
        Table { base, next: ROOT + 1, nodes: HashMap::from([(ROOT, root)]), names: HashMap::new() }
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
        let node = self.node_mut(ino)?;
        node.lookups = node.lookups.saturating_add(lookups);
        let facts = Facts::from(entry);
        let mut outdated = false;
        let (facts, learned) = match node.facts {
            Some((known, at)) if at > learned => (known, at),
            known => {
                let replaced = node.opened.as_mut().is_some_and(|opened| opened.contradicts(entry));
                let link_moved =
                    facts.kind == EntryKind::Symlink && known.is_some_and(|(known, _)| known != facts);
                outdated = replaced || link_moved;
                node.facts = Some((facts, learned));
                (facts, learned)
            }
        };
        if lookups > 0 {
            node.told = Some(facts);
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
        let key = (parent, name.clone());
        if let Some(&ino) = self.names.get(&key) {
            let node = self.node_mut(ino)?;
            if node.kind == kind {
                return Ok(ino);
            }
            if node.facts.is_some_and(|(_, at)| at > learned) {
                return Err(Error::Stale);
            }
            node.detached = true;
            self.names.remove(&key);
            self.collect(ino);
        }
        self.node_mut(parent)?.children += 1;
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, Node::new(Some(key.clone()), kind));
        self.names.insert(key, ino);
        Ok(ino)
    }

    /// Takes back `lookups` lookups; the inode goes when none is left and nothing is below it.
    pub(super) fn forget(&mut self, ino: u64, lookups: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(lookups);
            self.collect(ino);
        }
    }

    /// Removes `ino` and then what stayed only for its sake.
    fn collect(&mut self, mut ino: u64) {
        while let Some(node) = self.nodes.get(&ino).filter(|node| node.is_unused()) {
            let Some((parent, name)) = node.place.clone() else { return };
            let key = (parent, name);
            if self.names.get(&key) == Some(&ino) {
                self.names.remove(&key);
            }
            self.nodes.remove(&ino);
            if let Some(parent) = self.nodes.get_mut(&parent) {
                parent.children -= 1;
            }
            ino = parent;
        }
    }

    /// Where `ino` is now.
    ///
    /// # Errors
    /// [`Error::Stale`] if the inode, or a directory above it, is unknown or became another kind.
    pub(super) fn place(&self, ino: u64) -> Result<Place, Error> {
        match &self.node(ino)?.place {
            None => Ok(Place::Root),
            Some((parent, name)) => Ok(Place::Entry { dir: self.path(*parent)?, name: name.clone() }),
        }
    }

    /// The path of `ino` on the server.
    ///
    /// # Errors
    /// As [`Table::place`].
    pub(super) fn path(&self, ino: u64) -> Result<RemotePath, Error> {
        let mut names = Vec::new();
        let mut node = self.node(ino)?;
        while let Some((parent, name)) = &node.place {
            names.push(name);
            node = self.node(*parent)?;
        }
        Ok(names.into_iter().rev().fold(self.base.clone(), |path, name| path.join(name)))
    }

    /// The inode of the directory that holds `ino`; the root's is the root.
    pub(super) fn parent(&self, ino: u64) -> u64 {
        let place = self.nodes.get(&ino).and_then(|node| node.place.as_ref());
        place.map_or(ROOT, |(parent, _)| *parent)
    }

    /// The inode that stands for `name` in `parent`, if there is one.
    pub(super) fn number(&self, parent: u64, name: &Name) -> Option<u64> {
        self.names.get(&(parent, name.clone())).copied()
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
        self.nodes.get(&ino)?.facts
    }

    /// Notes what a listing told of the root itself.
    pub(super) fn observe_root(&mut self, own: &RemoteEntry, learned: Instant) {
        if let Some(root) = self.nodes.get_mut(&ROOT) {
            root.facts = Some((Facts { kind: EntryKind::Directory, ..Facts::from(own) }, learned));
        }
    }

    /// Notes that the kernel gets these attributes of `ino` now.
    pub(super) fn tell(&mut self, ino: u64, facts: Facts) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.told = Some(facts);
        }
    }

    /// Whether the kernel may believe in a size or time of `ino` that is no longer right.
    pub(super) fn is_kernel_behind(&self, ino: u64) -> bool {
        self.nodes.get(&ino).is_some_and(|node| {
            let now = node.facts.map(|(facts, _)| (facts.size, facts.modified));
            node.told.is_some_and(|told| now.is_some_and(|now| now != (told.size, told.modified)))
        })
    }

    /// Notes that the kernel has dropped its attributes of `ino`.
    pub(super) fn untell(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.told = None;
        }
    }

    /// Makes `version` the one that handles of `ino` may read; tells whether the kernel's pages are of it.
    pub(super) fn open(&mut self, ino: u64, version: &Arc<FileVersion>) -> Result<bool, Error> {
        let opened = self.node_mut(ino)?.opened.get_or_insert_default();
        let keep = opened.pages == Some(version.id);
        opened.version = Some(version.clone());
        opened.pages = Some(version.id);
        Ok(keep)
    }

    /// Notes the listing that the kernel is about to read; tells whether its directory pages are of it.
    pub(super) fn open_listing(&mut self, ino: u64, serial: u64) -> Result<bool, Error> {
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
            node.facts = None;
            if let Some(opened) = &mut node.opened {
                opened.version.take_if(|version| version.id == id);
            }
        }
    }

    fn node(&self, ino: u64) -> Result<&Node, Error> {
        self.nodes.get(&ino).filter(|node| !node.detached).ok_or(Error::Stale)
    }

    fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Error> {
        self.nodes.get_mut(&ino).filter(|node| !node.detached).ok_or(Error::Stale)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        assert!(self.names.len() < self.nodes.len());
        self.nodes.len()
    }
}

impl Node {
    fn new(place: Option<(u64, Name)>, kind: EntryKind) -> Node {
        let (facts, told, opened) = (None, None, None);
        Node { place, kind, detached: false, lookups: 0, children: 0, facts, told, opened }
    }

    fn is_unused(&self) -> bool {
        self.lookups == 0 && self.children == 0
    }
}

impl Opened {
    /// Whether `entry` tells of another version than the one that was opened, which is then gone.
    fn contradicts(&mut self, entry: &RemoteEntry) -> bool {
        self.version.take_if(|version| !version.same_file_as(entry)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(kind: EntryKind, size: u64) -> RemoteEntry {
        RemoteEntry {
            name: (*b"unused").into(),
            kind,
            size: Some(size),
            modified: None,
            mode: None,
            link_target: None,
            unique: None,
        }
    }

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn table() -> Table {
        Table::new(RemotePath::parse(b"/base").unwrap())
    }

    fn add(table: &mut Table, parent: u64, text: &str, kind: EntryKind) -> u64 {
        table.observe(parent, &name(text), &entry(kind, 1), Instant::now(), 1).unwrap().ino
    }

    const FILE: EntryKind = EntryKind::File;
    const DIR: EntryKind = EntryKind::Directory;

    #[test]
    fn a_name_keeps_its_number_as_long_as_its_kind() {
        let mut table = table();
        let first = add(&mut table, ROOT, "x", FILE);
        assert_eq!(add(&mut table, ROOT, "x", FILE), first);
        let second = add(&mut table, ROOT, "x", DIR);
        assert_ne!(second, first);
        assert!(matches!(table.path(first), Err(Error::Stale)));
        assert_eq!(table.path(second).unwrap().as_bytes(), b"/base/x");
        table.forget(first, 2);
        assert_eq!(table.path(second).unwrap().as_bytes(), b"/base/x");
        table.forget(second, 1);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_parent_forgotten_first_stays_for_its_children() {
        let mut table = table();
        let dir = add(&mut table, ROOT, "d", DIR);
        let file = add(&mut table, dir, "f", FILE);
        table.forget(dir, 1);
        assert_eq!(table.path(file).unwrap().as_bytes(), b"/base/d/f");
        table.forget(file, 1);
        assert_eq!(table.len(), 1);
        table.forget(ROOT, 100);
        assert_eq!(table.path(ROOT).unwrap().as_bytes(), b"/base");
    }

    #[test]
    fn old_news_do_not_replace_younger_facts() {
        let mut table = table();
        let (old, young) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(1));
        table.observe(ROOT, &name("f"), &entry(FILE, 2), young, 1).unwrap();
        let seen = table.observe(ROOT, &name("f"), &entry(FILE, 1), old, 1).unwrap();
        assert_eq!((seen.facts.size, seen.learned, seen.outdated), (Some(2), young, false));
    }

    #[test]
    fn another_version_ends_the_right_to_read_the_opened_one() {
        let mut table = table();
        let ino = add(&mut table, ROOT, "f", FILE);
        let now = Instant::now();
        let version = |id| Arc::new(FileVersion::new(FileId(id), 1, None, None));
        assert!(!table.open(ino, &version(7)).unwrap());
        assert!(table.open(ino, &version(7)).unwrap());
        assert!(!table.observe(ROOT, &name("f"), &entry(FILE, 1), now, 1).unwrap().outdated);
        assert!(table.is_current(ino, FileId(7)));
        assert!(table.observe(ROOT, &name("f"), &entry(FILE, 2), now, 0).unwrap().outdated);
        assert!(!table.is_current(ino, FileId(7)));
        assert!(table.is_kernel_behind(ino));
        assert!(!table.open(ino, &version(8)).unwrap());
        table.lose(ino, FileId(8));
        assert!(!table.is_current(ino, FileId(8)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        See(usize, usize, bool),
        Forget(usize),
    }

    proptest! {
        /// However lookups and forgets come, numbers are unique for ever, paths stay right, and an empty
        /// kernel leaves an empty table.
        #[test]
        fn lookups_and_forgets_balance(steps in prop::collection::vec(prop_oneof![
            (0..8usize, 0..3usize, any::<bool>()).prop_map(|(at, n, dir)| Step::See(at, n, dir)),
            (0..8usize).prop_map(Step::Forget),
        ], 0..60)) {
            let mut table = table();
            // What the kernel holds: number, path, whether a directory, lookups.
            let mut held: Vec<(u64, String, bool, u64)> = vec![(ROOT, "/base".to_owned(), true, 1)];
            // What each number ever stood for.
            let mut meanings = HashMap::new();
            for step in steps {
                match step {
                    Step::See(at, n, is_dir) => {
                        let dirs: Vec<_> =
                            held.iter().filter(|h| h.2 && table.path(h.0).is_ok()).cloned().collect();
                        let (parent, path, ..) = &dirs[at % dirs.len()];
                        let kind = if is_dir { DIR } else { FILE };
                        let ino = add(&mut table, *parent, &n.to_string(), kind);
                        let path = format!("{path}/{n}");
                        match held.iter_mut().find(|h| h.0 == ino) {
                            Some(known) => {
                                prop_assert_eq!((&known.1, known.2), (&path, is_dir));
                                known.3 += 1;
                            }
                            None => {
                                let meaning = (path.clone(), is_dir);
                                prop_assert_eq!(meanings.entry(ino).or_insert(meaning.clone()), &meaning);
                                held.push((ino, path.clone(), is_dir, 1));
                            }
                        }
                        prop_assert_eq!(table.path(ino).unwrap().to_string(), path);
                    }
                    Step::Forget(at) => {
                        let at = at % held.len();
                        if at > 0 {
                            let (ino, _, _, lookups) = held.remove(at);
                            table.forget(ino, lookups);
                        }
                    }
                }
            }
            for (ino, _, _, lookups) in held.drain(..).skip(1) {
                table.forget(ino, lookups);
            }
            prop_assert_eq!(table.len(), 1);
            prop_assert!(table.names.is_empty());
        }
    }
}
