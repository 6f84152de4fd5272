//! Our own changes: known at once, and older answers do not undo them.

use std::sync::Arc;
use std::time::Instant;

use super::Store;
use crate::cache::known::{Known, Names};
use crate::cache::listing::Frozen;
use crate::cache::slot::Slot;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::remote::{Listing, Name, RemotePath};

impl Store {
    /// `name` in `dir` is `entry` now, or gone; no longer pinned.
    pub(in crate::cache) fn changed(
        &mut self,
        dir: &RemotePath,
        name: &Name,
        entry: Option<RemoteEntry>,
        now: Instant,
    ) {
        self.unpin(dir, name);
        let entry = entry.map(|entry| Arc::new(RemoteEntry { name: name.as_bytes().into(), ..entry }));
        self.note(dir, name, entry, now);
    }

    fn note(&mut self, dir: &RemotePath, name: &Name, entry: Option<Arc<RemoteEntry>>, learned: Instant) {
        let known = Known { entry, learned, stamp: self.next_stamp() };
        self.transit.changed(dir, name, &known);
        self.amend(dir, learned, |slot, serial| slot.change(name, known, serial));
    }

    /// `name` in `dir` is shown as `entry`, whatever else comes to be known.
    pub(in crate::cache) fn pin(&mut self, dir: &RemotePath, name: &Name, entry: RemoteEntry, now: Instant) {
        let entry = Some(Arc::new(RemoteEntry { name: name.as_bytes().into(), ..entry }));
        let stamp = self.next_stamp();
        let pins = self.pins.entry(dir.clone()).or_default();
        let is_told = pins.get(name.as_bytes()).is_some_and(|pinned| pinned.entry == entry);
        self.pinned -= pins.cost();
        pins.insert(name.clone(), Known { entry, learned: now, stamp });
        self.pinned += pins.cost();
        if !is_told {
            self.repinned(dir);
        }
    }

    /// Ends [`Store::pin`].
    pub(in crate::cache) fn unpin(&mut self, dir: &RemotePath, name: &Name) {
        self.take_pin(dir, name);
    }

    fn take_pin(&mut self, dir: &RemotePath, name: &Name) -> Option<Known> {
        let pins = self.pins.get_mut(dir)?;
        let cost = pins.cost();
        let pinned = pins.remove(name)?;
        self.pinned -= cost - pins.cost();
        if pins.is_empty() {
            self.pins.remove(dir);
        }
        self.repinned(dir);
        Some(pinned)
    }

    fn repinned(&mut self, dir: &RemotePath) {
        if let Some(slot) = self.slots.peek_mut(dir) {
            slot.repin();
        }
        self.settle(dir);
    }

    /// `from` is `to` now, with all that is known of it and below it. False if nothing is, so that the
    /// directory of `to` had to be forgotten.
    pub(in crate::cache) fn moved(&mut self, from: &RemotePath, to: &RemotePath, now: Instant) -> bool {
        let (Some((from_dir, from_name)), Some((to_dir, to_name))) = (place(from), place(to)) else {
            return true;
        };
        if to.below(from).is_some() {
            return true;
        }
        let replaced = self.slots.peek(&to_dir).and_then(|slot| slot.recall(&to_name));
        if replaced.is_none_or(|known| known.entry.is_some_and(|entry| entry.kind == EntryKind::Directory)) {
            self.drop_below(to);
        }
        let known = self.slots.peek(&from_dir).and_then(|slot| slot.recall(&from_name));
        let target = self.slots.peek(&from_dir).and_then(Slot::targets).and_then(|(targets, _)| {
            targets.find(from_name.as_bytes()).and_then(|entry| entry.link_target.clone())
        });
        let pinned = self.take_pin(&from_dir, &from_name);
        self.unpin(&to_dir, &to_name);
        let entry =
            pinned.as_ref().map_or(known.as_ref().and_then(|known| known.entry.as_deref()), |pinned| {
                pinned.entry.as_deref()
            });
        if entry.is_none_or(|entry| entry.kind == EntryKind::Directory) {
            self.move_below(from, to);
        }
        self.transit.lose(from);
        self.transit.lose(to);

        self.note(&from_dir, &from_name, None, now);
        let name = Box::from(to_name.as_bytes());
        if let Some(Known { entry: Some(entry), .. }) = pinned {
            self.pin(&to_dir, &to_name, RemoteEntry { name, ..(*entry).clone() }, now);
            return true;
        }
        match known.and_then(|known| Some((known.entry?, known.learned))) {
            Some((entry, learned)) => {
                let mut entry = RemoteEntry { name, ..(*entry).clone() };
                entry.link_target = entry.link_target.or(target);
                self.note(&to_dir, &to_name, Some(Arc::new(entry)), learned);
                true
            }
            // Something is there now, and nothing that is known tells what.
            None => {
                self.transit.lose_names(&to_dir);
                self.drop_slot(&to_dir);
                false
            }
        }
    }

    /// `path` is a directory that nothing is in.
    pub(in crate::cache) fn made_directory(&mut self, path: &RemotePath, now: Instant) {
        self.removed_directory(path);
        let stamp = self.next_stamp();
        let empty = Listing { own: None, entries: Vec::new(), complete: true };
        let empty = Arc::new(Frozen::new(empty, stamp));
        self.amend(path, now, |slot, _| slot.keep_listing(empty, stamp, now, Names::default()));
    }

    /// `path` is a directory no more.
    pub(in crate::cache) fn removed_directory(&mut self, path: &RemotePath) {
        self.drop_below(path);
        self.transit.lose(path);
    }

    /// Forgets what is known in `path` and below it, pins included.
    fn drop_below(&mut self, path: &RemotePath) {
        for dir in self.slots_below(path) {
            self.drop_slot(&dir);
        }
        self.pins.retain(|dir, pins| {
            let stays = dir.below(path).is_none();
            self.pinned -= if stays { 0 } else { pins.cost() };
            stays
        });
    }

    /// Keeps what is known in `from` and below it under the paths that these have now.
    fn move_below(&mut self, from: &RemotePath, to: &RemotePath) {
        for dir in self.slots_below(from) {
            let Some(path) = dir.moved(from, to) else { continue };
            if let Some(slot) = self.slots.pop(&dir) {
                if let Some(old) = self.slots.put(path.clone(), slot) {
                    self.used -= old.cost;
                    self.freed.push(old);
                }
                self.settle(&path);
            }
        }
        let moved: Vec<RemotePath> =
            self.pins.keys().filter(|dir| dir.below(from).is_some()).cloned().collect();
        for dir in moved {
            if let (Some(pins), Some(path)) = (self.pins.remove(&dir), dir.moved(from, to)) {
                self.pins.insert(path, pins);
            }
        }
    }

    /// The directories at and below `path`, least recently used first.
    fn slots_below(&self, path: &RemotePath) -> Vec<RemotePath> {
        let dirs = self.slots.iter().rev().map(|(dir, _)| dir);
        dirs.filter(|dir| dir.below(path).is_some()).cloned().collect()
    }
}

/// The directory and the name that make up a path; `None` for the root.
fn place(path: &RemotePath) -> Option<(RemotePath, Name)> {
    Some((path.parent()?, Name::new(path.file_name()).ok()?))
}
