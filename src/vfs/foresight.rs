//! Tells the policy of files fetched ahead what is opened and read, and what it asks for to who fetches.

use std::sync::Arc;
use std::time::Instant;

use crate::cache::{DirectoryCache, FileVersion, Frozen};
use crate::read::ahead::{Next, Opened, Tree, Wanted};
use crate::remote::{Name, RemotePath};
use crate::vfs::FileSystem;
use crate::vfs::inode::Place;

/// What is known of a file counts as young for this part of `attr_timeout`; older than that, the server is asked on
/// the way, so that the open need not.
const YOUNG: u32 = 4;

impl Tree for DirectoryCache {
    fn listing(&self, dir: &RemotePath) -> Option<Arc<Frozen>> {
        self.outline(dir, Instant::now())
    }
}

impl FileSystem {
    /// A file was opened for reading; the kernel has its bytes where `kept`.
    pub(super) fn foresee_by_open(&self, dir: &RemotePath, name: &Name, version: &FileVersion, kept: bool) {
        let file = Opened { dir, name: name.as_bytes(), size: version.size, kept };
        let next = self.foresight.lock().opened(&*self.directories, file);
        self.fetch_ahead(next);
    }

    /// Bytes of a file were read, up to `end`.
    pub(super) fn foresee_by_read(&self, ino: u64, version: &FileVersion, end: u64) {
        if end < version.size {
            return;
        }
        let Ok(Place::Entry { dir, name }) = self.table.lock().place(ino) else { return };
        let next = self.foresight.lock().read_to_end(&*self.directories, &dir, name.as_bytes());
        self.fetch_ahead(next);
    }

    fn fetch_ahead(&self, next: Vec<Next>) {
        self.files.fetch_ahead(next.into_iter().filter_map(|next| self.wanted(next)).collect());
    }

    /// What is to be fetched of a file. `None` where its next open will not ask the server for it.
    fn wanted(&self, next: Next) -> Option<Wanted> {
        let Next { dir, entry: listed, bytes } = next;
        let name = Name::new(&listed.name).ok()?;
        if !self.is_shown(&listed) || self.directories.is_pinned(&dir, &name) {
            return None;
        }
        let now = Instant::now();
        let answer = self.directories.cached(&dir, &name, now)?;
        let entry = answer.entry.filter(|entry| entry.kind == listed.kind)?;
        let version = self.versions.of(&dir.join(&name), &entry)?;
        // The listing that was looked at may be older than what is known of the file.
        if bytes && version.size > self.foresight.lock().largest() {
            return None;
        }
        let check = now.saturating_duration_since(answer.learned) >= self.config.attr_timeout / YOUNG;
        Some(Wanted { dir, name, version, bytes, check })
    }
}
