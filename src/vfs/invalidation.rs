//! News for the kernel: what it should no longer believe.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// How many invalidations may wait. One that finds no room is dropped: open and the kernel's own timeouts
/// correct it later.
const WAITING: usize = 1024;

/// How long an open waits for the kernel to drop outdated attributes.
const CONFIRMATION: Duration = Duration::from_secs(1);

/// What the kernel should drop.
#[derive(Debug)]
pub struct Invalidation {
    /// The inode.
    pub ino: u64,
    /// How much of it.
    pub scope: Scope,
    /// Where somebody waits for it to be done.
    pub done: Option<Sender<()>>,
}

/// How much of an inode the kernel should drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Its attributes.
    Attributes,
    /// Its attributes and all of its pages.
    Everything,
}

/// The sending end. What drains the other end must not do so inside a request handler: the kernel may
/// wait for a page that the handler is asked for.
#[derive(Debug)]
pub(super) struct Invalidations(Sender<Invalidation>);

impl Invalidations {
    pub(super) fn new() -> (Invalidations, Receiver<Invalidation>) {
        let (sender, receiver) = bounded(WAITING);
        (Invalidations(sender), receiver)
    }

    /// Tells the kernel to drop all it has of `ino`, soon.
    pub(super) fn everything(&self, ino: u64) {
        if self.0.try_send(Invalidation { ino, scope: Scope::Everything, done: None }).is_err() {
            log::debug!("no room for an invalidation of inode {ino}");
        }
    }

    /// Tells the kernel to drop the attributes of `ino`, and waits until it has (1 s at most). False if
    /// it did not, or nobody listens.
    pub(super) fn attributes_now(&self, ino: u64) -> bool {
        let (sender, confirmed) = bounded(1);
        let news = Invalidation { ino, scope: Scope::Attributes, done: Some(sender) };
        self.0.try_send(news).is_ok() && confirmed.recv_timeout(CONFIRMATION).is_ok()
    }
}
