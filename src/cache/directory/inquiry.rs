//! Questions about single names that somebody else asks on the way: the answer is kept like one that was asked for.

use std::sync::Arc;
use std::time::Instant;

use super::{DirectoryCache, EntryRef, Sent};
use crate::ftp::list::RemoteEntry;
use crate::remote::{Name, RemotePath};

/// A question about one name that is being sent. Dropped without an answer, it tells nothing.
pub struct Inquiry<'a> {
    cache: &'a DirectoryCache,
    dir: RemotePath,
    name: Name,
    /// What was told last of it when the question was sent, with all changes of ours until then.
    known: Option<EntryRef>,
    sent: Option<Sent>,
}

impl DirectoryCache {
    /// Notes that somebody is about to ask the server for `name` in `dir`. What we change there from here on holds
    /// against the answer.
    pub fn inquire(&self, dir: &RemotePath, name: &Name) -> Inquiry<'_> {
        let mut state = self.state.lock();
        let known = state.store.recall(dir, name);
        let sent = state.store.ask(dir, Instant::now());
        drop(state);
        Inquiry { cache: self, dir: dir.clone(), name: name.clone(), known, sent: Some(sent) }
    }

    /// Whether `name` in `dir` is shown as we have changed it, whatever the server has.
    pub fn is_pinned(&self, dir: &RemotePath, name: &Name) -> bool {
        self.state.lock().store.pinned(dir, name).is_some()
    }
}

impl Inquiry<'_> {
    /// The name is what it was when it was asked for, as the server tells now; `mode` where that was told, too. What was
    /// told more exactly than before would look like a change to who reads it right now.
    pub fn confirmed(self, mode: Option<u16>) {
        if let Some(known) = &self.known {
            let entry = RemoteEntry { mode: mode.or(known.mode), ..RemoteEntry::clone(known) };
            self.told(entry);
        }
    }

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
