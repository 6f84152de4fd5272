//! Who walks through a tree, and which directories come next. Policy: it asks nobody, and knows no clock.
//!
//! `find`, `ls -R`, `du`, `rsync`, `tar`, `git status` read a directory, then the first directory in it, and so on,
//! depth first, in the order of the listing or by name. After each directory read it is known which would be the
//! next of such a walk. While the guesses come true, the directories of a growing window behind the one that is wanted
//! are listed with it; each guess that does not halves the window, down to none.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::cache::listing::{Frozen, Order};
use crate::cache::prefetch::Prefetch;
use crate::ftp::list::EntryKind;
use crate::remote::{Name, RemotePath};

/// Directories fetched ahead at first, and at most.
const SMALLEST: usize = 8;
const LARGEST: usize = 256;
/// The least that are fetched ahead by who is eager: who waits for one waits for all of them.
const EAGER: usize = 32;

/// Directories that are remembered as read and as fetched ahead.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Guesses that are remembered, for a dozen walks at once. More would be met by chance.
const GUESSES: NonZeroUsize = NonZeroUsize::new(24).unwrap();

/// Entries that are looked at for one guess, so that it costs little in a directory of a million.
const STEPS: usize = 8_192;

/// The listing of a directory where memory has it.
pub(super) type Known<'a> = dyn FnMut(&RemotePath) -> Option<Arc<Frozen>> + 'a;

/// What is remembered of walks.
pub(super) struct Walk {
    /// Directories that somebody has read.
    read: LruCache<RemotePath, ()>,
    /// Directories that may be the next ones of a walk, with the order that leads there.
    guessed: LruCache<RemotePath, Order>,
    /// Directories that were fetched ahead and not read yet.
    ahead: LruCache<RemotePath, ()>,
    /// Directories that cannot be listed with others.
    apart: LruCache<RemotePath, ()>,
    order: Order,
    window: usize,
    prefetch: Prefetch,
}

impl Walk {
    pub(super) fn new(prefetch: Prefetch) -> Walk {
        Walk {
            read: LruCache::new(REMEMBERED),
            guessed: LruCache::new(GUESSES),
            ahead: LruCache::new(REMEMBERED),
            apart: LruCache::new(REMEMBERED),
            order: Order::Listed,
            window: 0,
            prefetch,
        }
    }

    /// Somebody reads `dir`. Where its listing is not in memory, returns the directories that are worth listing with
    /// it, those of which nothing is known yet.
    pub(super) fn reads(&mut self, dir: &RemotePath, known: &mut Known<'_>) -> Vec<RemotePath> {
        let guessed = self.guessed.pop(dir);
        let was_ahead = self.ahead.pop(dir).is_some();
        if let Some(order) = guessed {
            self.order = order;
        }
        let is_eager = self.prefetch == Prefetch::Eager;
        let in_walk = is_eager || dir.parent().is_some_and(|parent| self.read.contains(&parent));
        if guessed.is_some() {
            self.window = (self.window * 2).clamp(SMALLEST, LARGEST);
        } else if in_walk && !was_ahead {
            self.window /= 2;
            // What was guessed wrongly is no reason to guess less of what comes.
            self.ahead.clear();
        }
        if is_eager {
            self.window = self.window.max(EAGER);
        }
        if !in_walk || known(dir).is_some() || self.prefetch == Prefetch::Off {
            return Vec::new();
        }
        let wanted = self.window.saturating_sub(self.ahead.len());
        let mut next = Vec::new();
        self.follow(dir, self.order, known, &mut |dir, is_known| {
            if !is_known && !self.apart.contains(dir) {
                next.push(dir.clone());
            }
            next.len() < wanted
        });
        next.truncate(wanted);
        for dir in &next {
            self.ahead.put(dir.clone(), ());
        }
        next
    }

    /// `dir` has been read, and its listing is known: guesses what comes next.
    pub(super) fn has_read(&mut self, dir: &RemotePath, known: &mut Known<'_>) {
        self.read.put(dir.clone(), ());
        let mut guesses = Vec::new();
        for order in [Order::Sorted, Order::Listed] {
            self.follow(dir, order, known, &mut |dir, _| {
                guesses.push((dir.clone(), order));
                false
            });
        }
        for (guess, order) in guesses {
            self.guessed.put(guess, order);
        }
    }

    /// It could not be listed with others, and is not to be asked for so again.
    pub(super) fn is_apart(&mut self, dir: &RemotePath) {
        self.apart.put(dir.clone(), ());
    }

    /// These were not fetched after all.
    pub(super) fn gave_up(&mut self, dir: &RemotePath) {
        self.ahead.pop(dir);
    }

    /// Goes on from `dir` through the tree as far as it is known, depth first: what is below `dir`, then what comes
    /// behind it, and so on up to where the walk began. `visit` gets each directory and whether its listing is known,
    /// until it returns false.
    fn follow(
        &self,
        dir: &RemotePath,
        order: Order,
        known: &mut Known<'_>,
        visit: &mut dyn FnMut(&RemotePath, bool) -> bool,
    ) {
        let mut steps = STEPS;
        if let Some(listing) = known(dir)
            && !descend(dir, &listing, None, order, known, &mut steps, visit)
        {
            return;
        }
        let mut at = dir.clone();
        while let Some(parent) = at.parent().filter(|parent| self.read.contains(parent)) {
            let Some(listing) = known(&parent) else { return };
            if !descend(&parent, &listing, Some(at.file_name()), order, known, &mut steps, visit) {
                return;
            }
            at = parent;
        }
    }
}

/// Visits the directories in `dir` behind `after`, and all that is known below each. False when it is to end.
fn descend(
    dir: &RemotePath,
    listing: &Frozen,
    after: Option<&[u8]>,
    order: Order,
    known: &mut Known<'_>,
    steps: &mut usize,
    visit: &mut dyn FnMut(&RemotePath, bool) -> bool,
) -> bool {
    for entry in listing.following(after, order) {
        if *steps == 0 {
            return false;
        }
        *steps -= 1;
        let Some(name) = Some(&entry.name).filter(|_| entry.kind == EntryKind::Directory) else { continue };
        let Ok(name) = Name::new(name) else { continue };
        let child = dir.join(&name);
        let below = known(&child);
        if !visit(&child, below.is_some()) {
            return false;
        }
        if let Some(below) = below
            && !descend(&child, &below, None, order, known, steps, visit)
        {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ftp::list::RemoteEntry;
    use crate::remote::Listing;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    /// A server's tree, and what of it is in memory. It counts what is fetched, and how often somebody had to wait.
    #[derive(Default)]
    struct Tree {
        dirs: HashMap<RemotePath, Vec<String>>,
        memory: HashMap<RemotePath, Arc<Frozen>>,
        waits: usize,
        fetched: usize,
    }

    impl Tree {
        /// `wide` directories in each, `deep` levels of them, in an order that is not that of the names.
        fn new(wide: usize, deep: usize) -> Tree {
            let mut tree = Tree::default();
            tree.grow(&path("/"), wide, deep);
            tree
        }

        fn grow(&mut self, dir: &RemotePath, wide: usize, deep: usize) {
            let names: Vec<_> = (0..wide).map(|i| format!("d{:03}", (i * 7 + 3) % wide)).collect();
            let names = if deep == 0 { Vec::new() } else { names };
            for name in &names {
                self.grow(&dir.join(&Name::new(name.as_bytes()).unwrap()), wide, deep - 1);
            }
            self.dirs.insert(dir.clone(), names);
        }

        fn fetch(&mut self, dir: &RemotePath) {
            let entry = |name: &String| RemoteEntry::directory(name.as_bytes());
            let entries = self.dirs[dir].iter().map(entry).collect();
            let frozen = Frozen::new(Listing { own: None, entries, complete: true }, 1);
            self.fetched += 1;
            assert!(self.memory.insert(dir.clone(), Arc::new(frozen)).is_none(), "{dir} was fetched twice");
        }

        fn read(&mut self, walk: &mut Walk, dir: &RemotePath) -> usize {
            let memory = &self.memory;
            let ahead = walk.reads(dir, &mut |dir| memory.get(dir).cloned());
            if !self.memory.contains_key(dir) {
                self.waits += 1;
                self.fetch(dir);
            }
            ahead.iter().for_each(|dir| self.fetch(dir));
            let memory = &self.memory;
            walk.has_read(dir, &mut |dir| memory.get(dir).cloned());
            ahead.len()
        }

        fn walk(&mut self, walk: &mut Walk, dir: &RemotePath, sorted: bool) {
            self.read(walk, dir);
            let mut names = self.dirs[dir].clone();
            if sorted {
                names.sort();
            }
            for name in names {
                self.walk(walk, &dir.join(&Name::new(name.as_bytes()).unwrap()), sorted);
            }
        }
    }

    #[test]
    fn a_walk_waits_seldom_in_either_order() {
        for sorted in [false, true] {
            let mut tree = Tree::new(24, 2);
            tree.walk(&mut Walk::new(Prefetch::Auto), &path("/"), sorted);
            assert_eq!(tree.fetched, tree.dirs.len(), "sorted: {sorted}");
            assert!(
                tree.waits <= 12,
                "sorted: {sorted}: {} waits for {} directories",
                tree.waits,
                tree.fetched
            );
        }
    }

    #[test]
    fn one_directory_or_its_children_at_random_fetch_little() {
        let mut tree = Tree::new(200, 1);
        let mut walk = Walk::new(Prefetch::Auto);
        assert_eq!(tree.read(&mut walk, &path("/")), 0);
        let ahead: usize =
            (0..40).map(|i| tree.read(&mut walk, &path(&format!("/d{:03}", i * 83 % 200)))).sum();
        assert!(ahead <= 24, "{ahead} directories were fetched for nobody");
    }

    #[test]
    fn a_walk_that_shall_fetch_nothing_ahead_waits_for_each_directory() {
        let mut tree = Tree::new(24, 2);
        tree.walk(&mut Walk::new(Prefetch::Off), &path("/"), true);
        assert_eq!((tree.waits, tree.fetched), (tree.dirs.len(), tree.dirs.len()));
    }

    #[test]
    fn an_eager_walk_fetches_ahead_from_the_second_directory_on() {
        let mut tree = Tree::new(24, 2);
        let mut walk = Walk::new(Prefetch::Eager);
        tree.read(&mut walk, &path("/"));
        assert!(tree.read(&mut walk, &path("/d007")) > SMALLEST);
        // Wrong guesses make it guess no less.
        assert!((8..20).any(|i| tree.read(&mut walk, &path(&format!("/d{i:03}"))) > 0));
    }

    #[test]
    fn a_tree_of_a_million_names_costs_a_bounded_number_of_steps() {
        let mut tree = Tree::new(100_000, 0);
        tree.dirs.insert(path("/"), (0..100_000).map(|i| format!("x{i}")).collect());
        let mut walk = Walk::new(Prefetch::Auto);
        tree.fetch(&path("/"));
        let mut asked = 0;
        let memory = &tree.memory;
        walk.has_read(&path("/"), &mut |dir| {
            asked += 1;
            memory.get(dir).cloned()
        });
        assert!(asked <= 2 * STEPS + 2, "{asked}");
    }

    proptest! {
        #[test]
        fn whatever_is_read_nothing_is_fetched_twice_and_the_window_holds(
            reads in prop::collection::vec((0usize..5, 0usize..5, 0usize..5, 0usize..4), 0..60),
        ) {
            let mut tree = Tree::new(5, 3);
            let mut walk = Walk::new(Prefetch::Auto);
            for (a, b, c, depth) in reads {
                let names = [a, b, c].map(|i| format!("/d{i:03}"));
                let dir = path(&format!("/{}", names[..depth].concat().trim_start_matches('/')));
                prop_assert!(tree.read(&mut walk, &dir) <= LARGEST);
                prop_assert!(walk.ahead.len() <= LARGEST);
            }
        }
    }
}
