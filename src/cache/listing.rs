//! Directory listings as they are kept: frozen, shared, found by name.

use std::ops::Deref;
use std::sync::Arc;

use super::known::Names;
use super::version::{more_precise, same_time};
use crate::ftp::list::RemoteEntry;
use crate::remote::{Listing, Name};

/// The order in which a program goes through a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// As it is listed: readdir(3).
    Listed,
    /// By the bytes of the names: a shell's `*`, `ls`, `git`.
    Sorted,
}

/// A listing that no longer changes. Directory handles keep it alive while the cache moves on.
#[derive(Debug)]
pub struct Frozen {
    own: Option<RemoteEntry>,
    entries: Box<[RemoteEntry]>,
    /// Indices of `entries` in the order of their names.
    by_name: Box<[u32]>,
    complete: bool,
    serial: u64,
    cost: usize,
}

impl Frozen {
    /// Freezes a listing. Entries whose name could not be a file's name are left out. `serial` tells this
    /// listing from every other.
    pub(super) fn new(listing: Listing, serial: u64) -> Frozen {
        let Listing { own, mut entries, complete } = listing;
        entries.retain(|entry| Name::new(&entry.name).is_ok());
        Frozen::build(own, entries, complete, serial)
    }

    fn build(own: Option<RemoteEntry>, entries: Vec<RemoteEntry>, complete: bool, serial: u64) -> Frozen {
        let entries = entries.into_boxed_slice();
        let mut by_name: Box<[u32]> = (0u32..).zip(&entries).map(|(index, _)| index).collect();
        by_name.sort_unstable_by_key(|&index| &entries[index as usize].name);
        let cost =
            size_of::<Frozen>() + entries.iter().map(|entry| cost(entry) + size_of::<u32>()).sum::<usize>();
        Frozen { own, entries, by_name, complete, serial, cost }
    }

    /// This listing with `changes`: those of known names in their places, new ones at the end, oldest first.
    pub(super) fn patched(self: Arc<Self>, changes: &Names, serial: u64) -> Arc<Frozen> {
        let mut changes: Vec<_> = changes.iter().collect();
        changes.sort_unstable_by_key(|(_, known)| known.stamp);
        let places: Vec<_> = changes.iter().map(|(name, _)| self.index(name.as_bytes())).collect();
        // Entries that nobody else looks at need no copying.
        let (own, entries, complete) = match Arc::try_unwrap(self) {
            Ok(frozen) => (frozen.own, frozen.entries, frozen.complete),
            Err(shared) => (shared.own.clone(), shared.entries.clone(), shared.complete),
        };
        let mut entries: Vec<_> = entries.into_iter().map(Some).collect();
        for ((_, known), place) in changes.into_iter().zip(places) {
            let entry = known.entry.as_deref().cloned();
            match place.and_then(|place| entries.get_mut(place)) {
                Some(place) => *place = entry,
                None => entries.push(entry),
            }
        }
        Arc::new(Frozen::build(own, entries.into_iter().flatten().collect(), complete, serial))
    }

    /// The directory's own entry, where the server told it.
    pub fn own(&self) -> Option<&RemoteEntry> {
        self.own.as_ref()
    }

    /// The entries, in the server's order.
    pub fn entries(&self) -> &[RemoteEntry] {
        &self.entries
    }

    /// Whether an absent name proves that there is no such file.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// What tells this listing from every other one of the same cache.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Bytes of memory.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// The entry of that name.
    pub(super) fn find(self: &Arc<Self>, name: &[u8]) -> Option<EntryRef> {
        let at = u32::try_from(self.index(name)?).ok()?;
        Some(EntryRef(Inner::Listed(self.clone(), at)))
    }

    /// The entries behind that of the name `after`, or all, in the order of `order`; none where there is no such name.
    pub(super) fn following<'a>(
        &'a self,
        after: Option<&[u8]>,
        order: Order,
    ) -> impl Iterator<Item = &'a RemoteEntry> + use<'a> {
        let place = |name: &[u8]| match order {
            Order::Listed => self.index(name),
            Order::Sorted => self.rank(name),
        };
        let from = after.map_or(Some(0), |name| place(name).map(|at| at + 1)).unwrap_or(self.entries.len());
        (from..self.entries.len()).map(move |at| match order {
            Order::Listed => &self.entries[at],
            Order::Sorted => &self.entries[self.by_name[at] as usize],
        })
    }

    /// The place of a name among the sorted ones.
    fn rank(&self, name: &[u8]) -> Option<usize> {
        self.by_name.binary_search_by(|&index| (*self.entries[index as usize].name).cmp(name)).ok()
    }

    fn index(&self, name: &[u8]) -> Option<usize> {
        Some(self.by_name[self.rank(name)?] as usize)
    }
}

/// Takes the facts that `new` leaves open, or tells less exactly, from `old` where both can be of the same
/// version.
pub(super) fn complete(new: &mut RemoteEntry, old: Option<&RemoteEntry>) {
    let Some(old) = old.filter(|old| old.kind == new.kind) else { return };
    new.mode = new.mode.or(old.mode);
    let same_size = new.size.is_none() || old.size.is_none() || new.size == old.size;
    let same_modified = match (new.modified, old.modified) {
        (Some(new), Some(old)) => same_time(new, old),
        _ => true,
    };
    let same_unique = new.unique.is_none() || old.unique.is_none() || new.unique == old.unique;
    if same_size && same_modified && same_unique {
        new.modified = more_precise(new.modified, old.modified);
        new.unique = new.unique.take().or_else(|| old.unique.clone());
        new.link_target = new.link_target.take().or_else(|| old.link_target.clone());
    }
}

/// Bytes that one entry takes, its name and what the allocator adds to each part included.
pub(super) fn cost(entry: &RemoteEntry) -> usize {
    const ALLOCATION: usize = 16;
    let part = |bytes: &Option<Box<[u8]>>| bytes.as_ref().map_or(0, |bytes| bytes.len() + ALLOCATION);
    size_of::<RemoteEntry>() + entry.name.len() + ALLOCATION + part(&entry.link_target) + part(&entry.unique)
}

/// An entry, shared with the listing that holds it.
#[derive(Clone, Debug)]
pub struct EntryRef(Inner);

#[derive(Clone, Debug)]
enum Inner {
    /// The index comes from the listing itself, which never changes.
    Listed(Arc<Frozen>, u32),
    Single(Arc<RemoteEntry>),
}

impl From<Arc<RemoteEntry>> for EntryRef {
    fn from(entry: Arc<RemoteEntry>) -> EntryRef {
        EntryRef(Inner::Single(entry))
    }
}

impl Deref for EntryRef {
    type Target = RemoteEntry;

    fn deref(&self) -> &RemoteEntry {
        match &self.0 {
            Inner::Listed(listing, index) => &listing.entries[*index as usize],
            Inner::Single(entry) => entry,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ftp::list::EntryKind;

    fn entry(name: &[u8]) -> RemoteEntry {
        RemoteEntry {
            name: name.into(),
            kind: EntryKind::File,
            size: Some(1),
            modified: None,
            mode: None,
            link_target: None,
            unique: Some((*b"801U1234567890").into()),
        }
    }

    #[test]
    fn an_entry_costs_less_than_200_bytes_beyond_its_name() {
        assert!(cost(&entry(b"")) + size_of::<u32>() < 200, "{}", cost(&entry(b"")));
    }

    #[test]
    fn names_that_lead_out_of_the_directory_are_left_out() {
        let entries = [&b"ok"[..], b"..", b".", b"", b"a/b", b"x\r\nDELE y"].map(entry).to_vec();
        let frozen = Frozen::new(Listing { own: None, entries, complete: true }, 1);
        assert_eq!(frozen.entries().iter().map(|e| &*e.name).collect::<Vec<_>>(), [b"ok"]);
    }

    proptest! {
        #[test]
        fn every_listed_name_is_found_and_no_other(
            names in prop::collection::hash_set("[a-f.]{3,5}", 0..30),
            other in "[a-f.]{3,5}",
        ) {
            let entries = names.iter().map(|name| entry(name.as_bytes())).collect();
            let frozen = Arc::new(Frozen::new(Listing { own: None, entries, complete: true }, 1));
            for name in names.iter().chain([&other]) {
                let found = frozen.find(name.as_bytes());
                prop_assert_eq!(found.map(|e| e.name.to_vec()), names.get(name).map(|n| n.clone().into_bytes()));
            }
        }
    }
}
