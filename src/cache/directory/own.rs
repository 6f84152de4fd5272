//! Our own changes: known at once, and not undone by what was on its way.
//!
//! Each is to be told when the server has confirmed it, and before the next change of the same names begins.
//! The moments count, not the clock: an answer to a question that was sent before the call is older than the
//! change, one to a later question is younger.

use std::time::Instant;

use super::DirectoryCache;
use crate::ftp::list::RemoteEntry;
use crate::remote::{Name, RemotePath};

impl DirectoryCache {
    /// Our own change is done on the server: `name` in `dir` is `entry` now, or gone. The entry's own `name`
    /// does not matter. Ends [`DirectoryCache::pin`].
    pub fn changed(&self, dir: &RemotePath, name: &Name, entry: Option<RemoteEntry>) {
        self.amend(|state| state.store.changed(dir, name, entry, Instant::now()));
    }

    /// As [`DirectoryCache::changed`], but the server does not have it yet (a file that was created and not
    /// uploaded): it holds against every listing and answer, whatever their age, and is never thrown out,
    /// until the next `changed` or `unpin` of the name.
    pub fn pin(&self, dir: &RemotePath, name: &Name, entry: RemoteEntry) {
        self.amend(|state| state.store.pin(dir, name, entry, Instant::now()));
    }

    /// Forgets what was pinned; the name is what else is known of it again.
    pub fn unpin(&self, dir: &RemotePath, name: &Name) {
        self.amend(|state| state.store.unpin(dir, name));
    }

    /// A file or directory was renamed, and what stood at `to` is gone: its entry moves with all that it told,
    /// and what is known of and below a directory is kept under its new path, pins included. What was on its
    /// way about the old paths is not kept, and its answer counts as learned when it was asked for: who gets
    /// it asked before.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) {
        self.amend(|state| {
            state.unregister(|dir| dir.below(from).is_some() || dir.below(to).is_some());
            if !state.store.moved(from, to, Instant::now()) {
                let to_dir = to.parent();
                state.unregister(|dir| Some(dir) == to_dir.as_ref());
            }
        });
    }

    /// We have made this directory: its listing is known to be empty. Its own entry in its parent is the
    /// matter of [`DirectoryCache::changed`].
    pub fn made_directory(&self, path: &RemotePath) {
        self.amend(|state| {
            state.unregister(|dir| dir.below(path).is_some());
            state.store.made_directory(path, Instant::now());
        });
    }

    /// We have removed this directory: nothing is known of it or below it any more.
    pub fn removed_directory(&self, path: &RemotePath) {
        self.amend(|state| {
            state.unregister(|dir| dir.below(path).is_some());
            state.store.removed_directory(path);
        });
    }
}
