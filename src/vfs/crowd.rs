//! When there are more names than there should be: what the kernel should let go of.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::ftp::list::EntryKind;
use crate::vfs::FileSystem;

/// Tells that there are too many names. It holds one such word: what to let go of is asked for by who hears it.
#[derive(Debug)]
pub(super) struct Crowd(Sender<()>, Receiver<()>);

impl Crowd {
    pub(super) fn new() -> Crowd {
        let (sender, receiver) = bounded(1);
        Crowd(sender, receiver)
    }

    /// Says it, unless it has been said and not been heard.
    pub(super) fn tell(&self) {
        let _ = self.0.try_send(());
    }
}

impl FileSystem {
    /// Says when [`FileSystem::oldest_names`] should be asked; ends with the file system.
    pub fn crowded(&self) -> Receiver<()> {
        self.crowd.1.clone()
    }

    /// At most `most` inodes that the kernel should let go of, since there are more than [`Config`](super::Config) allows:
    /// those that it has not looked up for the longest time. None has an open handle on a file, changes of ours, or a known
    /// inode below it; whether it is used otherwise (a working directory, a mount point) only the kernel knows. None
    /// are left when the answer is empty. Who asks the kernel must do so outside of request handlers.
    pub fn oldest_names(&self, most: usize) -> Vec<u64> {
        loop {
            let mut oldest = self.table.lock().oldest(most);
            if oldest.is_empty() {
                return oldest;
            }
            oldest.retain(|&ino| !self.handles.is_open(ino));
            if !oldest.is_empty() {
                return oldest;
            }
        }
    }

    /// The directory and the shown name of an inode that is no directory.
    pub fn leaf(&self, ino: u64) -> Option<(u64, Vec<u8>)> {
        let (parent, name) = {
            let table = self.table.lock();
            if table.kind(ino).ok()? == EntryKind::Directory {
                return None;
            }
            table.name(ino)?
        };
        Some((parent, self.config.charset.shown(name.as_bytes()).into_owned()))
    }

    /// How many names are known because the kernel has looked them up.
    pub fn known_names(&self) -> usize {
        self.table.lock().len()
    }
}
