//! Carries news of the file system to the kernel, on a thread of its own: the kernel may wait for a page
//! that one of our handlers is asked for, so a handler must never do it.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::Receiver;
use fuser::{INodeNo, Notifier};

use crate::vfs::{Invalidation, Scope};

/// Starts the thread. It ends when the file system that sends the news is dropped.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(notifier: Notifier, news: Receiver<Invalidation>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("notify".to_owned()).spawn(move || {
        for Invalidation { ino, scope, done } in news {
            // A negative offset leaves the pages alone; length 0 is all that follows.
            let offset = match scope {
                Scope::Attributes => -1,
                Scope::Everything => 0,
            };
            match notifier.inval_inode(INodeNo(ino), offset, 0) {
                // Who waits may be gone.
                Ok(()) => drop(done.map(|done| done.try_send(()))),
                Err(error) => log::debug!("cannot invalidate inode {ino}: {error}"),
            }
        }
    })
}
