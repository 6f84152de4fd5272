//! The files on the local disk that the kernel reads by itself (FUSE passthrough), one for each inode.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use parking_lot::Mutex;

use super::convert;
use crate::vfs::{FileSystem, OpenedFile};

/// What the kernel has been given. It keeps a file for as long as a handle of the inode is open, and fails every open of
/// the inode that names another one meanwhile.
#[derive(Debug, Default)]
pub(super) struct Backings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By inode, with how many handles use it.
    given: HashMap<u64, (Arc<BackingId>, usize)>,
    /// The inode of each of these handles.
    handles: HashMap<u64, u64>,
    /// The kernel has refused one, and is given none any more: an inode must not have handles of both kinds.
    refused: bool,
}

impl Backings {
    /// Answers an open.
    pub(super) fn send(&self, fs: &FileSystem, ino: u64, reply: ReplyOpen, opened: OpenedFile) {
        let (handle, flags) = (FileHandle(opened.handle), convert::file_flags(&opened));
        let Some(whole) = &opened.whole else { return reply.opened(handle, flags) };
        match self.give(ino, opened.handle, || reply.open_backing(whole.as_ref())) {
            // It has nothing to do with pages, and the kernel takes no word on them; it drops those of the inode.
            Some(backing) => {
                reply.opened_passthrough(handle, flags & FopenFlags::FOPEN_NOFLUSH, &backing);
            }
            None => {
                fs.not_passed(opened.handle);
                reply.opened(handle, flags);
            }
        }
    }

    /// The file of `ino` for one handle more; `open` tells it to the kernel if no other handle has.
    fn give(
        &self,
        ino: u64,
        handle: u64,
        open: impl FnOnce() -> io::Result<BackingId>,
    ) -> Option<Arc<BackingId>> {
        let mut state = self.0.lock();
        if !state.given.contains_key(&ino) {
            if state.refused {
                return None;
            }
            match open() {
                Ok(backing) => drop(state.given.insert(ino, (Arc::new(backing), 0))),
                Err(error) => {
                    state.refused = true;
                    log::warn!("the kernel does not read files from cache_dir= by itself: {error}");
                    return None;
                }
            }
        }
        let (backing, handles) = state.given.get_mut(&ino)?;
        *handles += 1;
        let backing = backing.clone();
        state.handles.insert(handle, ino);
        Some(backing)
    }

    /// A handle was released. To be told before the file system is, which may then give another file to the inode.
    pub(super) fn release(&self, handle: u64) {
        let mut state = self.0.lock();
        let Some(ino) = state.handles.remove(&handle) else { return };
        let Some((_, handles)) = state.given.get_mut(&ino) else { return };
        *handles -= 1;
        if *handles == 0 {
            let unused = state.given.remove(&ino);
            drop(state);
            // A call of the kernel.
            drop(unused);
        }
    }
}
