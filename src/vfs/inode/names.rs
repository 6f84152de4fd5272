//! Which inode stands for a name, without the names: those are in the inodes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::remote::Name;

/// Inodes by directory and name, 17 bytes for a place. Names come from the server, so the hash is one that nobody can
/// aim at.
#[derive(Debug, Default)]
pub(super) struct Names {
    places: HashTable<Slot>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    ino: u64,
}

impl Names {
    /// The inode that `name` in `parent` leads to; `is` tells whether an inode has that place.
    pub(super) fn find(&self, parent: u64, name: &Name, is: impl Fn(u64) -> bool) -> Option<u64> {
        let hash = self.hash(parent, name);
        self.places.find(hash, |slot| slot.hash == hash && is(slot.ino)).map(|slot| slot.ino)
    }

    /// `name` in `parent` leads to `ino` from now on; it leads nowhere yet.
    pub(super) fn insert(&mut self, parent: u64, name: &Name, ino: u64) {
        let hash = self.hash(parent, name);
        self.places.insert_unique(hash, Slot { hash, ino }, |slot| slot.hash);
    }

    /// `name` in `parent` leads to `ino` no more, if it did.
    pub(super) fn remove(&mut self, parent: u64, name: &Name, ino: u64) {
        let hash = self.hash(parent, name);
        if let Ok(slot) = self.places.find_entry(hash, |slot| slot.hash == hash && slot.ino == ino) {
            slot.remove();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn hash(&self, parent: u64, name: &Name) -> u64 {
        self.hasher.hash_one((parent, name))
    }
}
