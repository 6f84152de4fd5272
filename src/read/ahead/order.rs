//! The orders in which programs read the files of a tree. Pure.

use std::sync::Arc;

use crate::cache::{EntryRef, Frozen, Order};
use crate::ftp::list::EntryKind;
use crate::remote::{Name, RemotePath};

/// Entries looked at for one answer; a longer way to the next file is not gone.
const STEPS: usize = 512;

/// The directories that memory knows.
pub trait Tree {
    /// The listing of `dir`, if it is known. Never asks the server.
    fn listing(&self, dir: &RemotePath) -> Option<Arc<Frozen>>;
}

/// A file in its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) dir: RemotePath,
    pub(super) name: Box<[u8]>,
}

impl Spot {
    /// From the file looked for most often is the name the part that differs.
    pub(super) fn is(&self, dir: &RemotePath, name: &[u8]) -> bool {
        *self.name == *name && self.dir == *dir
    }
}

/// One way through a tree, depth first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    order: Order,
    /// All files of a directory come before its subdirectories (rsync), not each where its name stands.
    files_first: bool,
}

/// All that are told apart, the likeliest first: tar, cp -r and grep -r read as listed; diff -r and globs sort.
pub(super) const WAYS: [Way; 4] = [
    Way { order: Order::Listed, files_first: false },
    Way { order: Order::Sorted, files_first: false },
    Way { order: Order::Listed, files_first: true },
    Way { order: Order::Sorted, files_first: true },
];

impl Way {
    /// The files that come after `spot`, as far as memory knows the way to them.
    pub(super) fn after<'a>(self, tree: &'a dyn Tree, spot: &Spot) -> Walk<'a> {
        let stage = if self.files_first { Stage::Files } else { Stage::All };
        let place = tree.listing(&spot.dir).and_then(|listing| {
            let next = listing.place(&spot.name, self.order)? + 1;
            Some(Place { dir: spot.dir.clone(), listing, next, stage })
        });
        Walk { tree, way: self, place, steps: STEPS }
    }
}

/// Which entries of a directory are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    All,
    Files,
    Directories,
}

#[derive(Debug)]
struct Place {
    dir: RemotePath,
    listing: Arc<Frozen>,
    next: usize,
    stage: Stage,
}

/// The files on a way.
pub(super) struct Walk<'a> {
    tree: &'a dyn Tree,
    way: Way,
    place: Option<Place>,
    steps: usize,
}

impl Iterator for Walk<'_> {
    type Item = (RemotePath, EntryRef);

    fn next(&mut self) -> Option<(RemotePath, EntryRef)> {
        loop {
            self.steps = self.steps.checked_sub(1)?;
            let place = self.place.as_mut()?;
            let Some(entry) = place.listing.at(place.next, self.way.order) else {
                self.leave();
                continue;
            };
            place.next += 1;
            match entry.kind {
                EntryKind::File if place.stage != Stage::Directories => {
                    return Some((place.dir.clone(), entry));
                }
                // What comes in a directory that is not known comes first.
                EntryKind::Directory if place.stage != Stage::Files => self.place = self.enter(&entry.name),
                _ => {}
            }
        }
    }
}

impl Walk<'_> {
    fn enter(&self, name: &[u8]) -> Option<Place> {
        let dir = self.place.as_ref()?.dir.join(&Name::new(name).ok()?);
        let listing = self.tree.listing(&dir)?;
        let stage = if self.way.files_first { Stage::Files } else { Stage::All };
        Some(Place { dir, listing, next: 0, stage })
    }

    /// Goes on behind the end of a directory.
    fn leave(&mut self) {
        let Some(place) = &mut self.place else { return };
        if place.stage == Stage::Files {
            (place.stage, place.next) = (Stage::Directories, 0);
            return;
        }
        self.place = self.above();
    }

    fn above(&self) -> Option<Place> {
        let below = &self.place.as_ref()?.dir;
        let dir = below.parent()?;
        let listing = self.tree.listing(&dir)?;
        let next = listing.place(below.file_name(), self.way.order)? + 1;
        let stage = if self.way.files_first { Stage::Directories } else { Stage::All };
        Some(Place { dir, listing, next, stage })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ftp::list::RemoteEntry;
    use crate::remote::Listing;

    /// Directories by their paths.
    #[derive(Default)]
    pub(in crate::read::ahead) struct Known(HashMap<RemotePath, Arc<Frozen>>);

    impl Tree for Known {
        fn listing(&self, dir: &RemotePath) -> Option<Arc<Frozen>> {
            self.0.get(dir).cloned()
        }
    }

    pub(in crate::read::ahead) fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    impl Known {
        /// A directory; names that end in a slash are directories, others files of `size` bytes.
        pub(in crate::read::ahead) fn with(mut self, dir: &str, names: &[&str], size: u64) -> Known {
            let entry = |name: &&str| RemoteEntry {
                name: name.trim_end_matches('/').as_bytes().into(),
                kind: if name.ends_with('/') { EntryKind::Directory } else { EntryKind::File },
                size: (!name.ends_with('/')).then_some(size),
                modified: None,
                mode: None,
                link_target: None,
                unique: None,
            };
            let entries = names.iter().map(entry).collect();
            self.0
                .insert(path(dir), Arc::new(Frozen::new(Listing { own: None, entries, complete: true }, 1)));
            self
        }
    }

    fn after(tree: &Known, way: Way, dir: &str, name: &str) -> Vec<String> {
        let spot = Spot { dir: path(dir), name: name.as_bytes().into() };
        let shown =
            |(dir, entry): (RemotePath, EntryRef)| dir.join(&Name::new(&entry.name).unwrap()).to_string();
        way.after(tree, &spot).map(shown).collect()
    }

    #[test]
    fn each_order_leads_through_the_tree_as_its_programs_go() {
        let tree = Known::default()
            .with("/t", &["z", "b/", "a", "c/", "y"], 1)
            .with("/t/b", &["2", "1"], 1)
            .with("/t/c", &["d/"], 1)
            .with("/t/c/d", &["x"], 1);
        let [listed, sorted, listed_files, sorted_files] = WAYS;
        assert_eq!(after(&tree, listed, "/t", "z"), ["/t/b/2", "/t/b/1", "/t/a", "/t/c/d/x", "/t/y"]);
        assert_eq!(after(&tree, sorted, "/t", "a"), ["/t/b/1", "/t/b/2", "/t/c/d/x", "/t/y", "/t/z"]);
        assert_eq!(after(&tree, listed_files, "/t", "a"), ["/t/y", "/t/b/2", "/t/b/1", "/t/c/d/x"]);
        assert_eq!(after(&tree, sorted_files, "/t/b", "1"), ["/t/b/2", "/t/c/d/x"]);
    }

    #[test]
    fn a_way_ends_where_memory_does() {
        let tree = Known::default().with("/t/b", &["1", "2", "u/", "3"], 1);
        assert_eq!(after(&tree, WAYS[0], "/t/b", "1"), ["/t/b/2"]);
        assert_eq!(after(&tree, WAYS[0], "/t/b", "3"), [""; 0]);
        assert_eq!(after(&tree, WAYS[0], "/t/b", "gone"), [""; 0]);
        assert_eq!(after(&tree, WAYS[0], "/t", "x"), [""; 0]);
    }
}
