//! Questions about single names that somebody else asks on the way: the answer is kept like one that was asked for.

use std::sync::Arc;
use std::time::Instant;

use super::{DirectoryCache, Sent};
use crate::ftp::list::RemoteEntry;
use crate::remote::{Name, RemotePath};

/// A question about one name that is being sent. Dropped without an answer, it tells nothing.
pub struct Inquiry<'a> {
    cache: &'a DirectoryCache,
    dir: RemotePath,
    name: Name,
    sent: Option<Sent>,
}

impl DirectoryCache {
    /// Notes that somebody is about to ask the server for `name` in `dir`. What we change there from here on holds
    /// against the answer.
    pub fn inquire(&self, dir: &RemotePath, name: &Name) -> Inquiry<'_> {
        let sent = self.state.lock().store.ask(dir, Instant::now());
        Inquiry { cache: self, dir: dir.clone(), name: name.clone(), sent: Some(sent) }
    }

    /// Whether `name` in `dir` is shown as we have changed it, whatever the server has.
    pub fn is_pinned(&self, dir: &RemotePath, name: &Name) -> bool {
        self.state.lock().store.pinned(dir, name).is_some()
    }
}

impl Inquiry<'_> {
    /// The name is this entry, as the server tells now.
    pub fn told(mut self, entry: RemoteEntry) {
        let Some(sent) = self.sent.take() else { return };
        let entry = Some(Arc::new(RemoteEntry { name: self.name.as_bytes().into(), ..entry }));
        self.cache.amend(|state| {
            state.store.told(&self.dir, &self.name, sent, entry, Instant::now());
        });
    }
}

impl Drop for Inquiry<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.cache.state.lock().store.failed(&self.dir, sent);
        }
    }
}
