//! Directories that are listed over other connections while somebody reads one, because a walk will come by: for servers
//! that do not list several in one go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::DirectoryCache;
use crate::deadline::Deadline;
use crate::remote::RemotePath;
use crate::workers::Workers;

/// Directories that are listed at once; there may be fewer connections. Each keeps one for three round trips (pyftpdlib
/// 2.2.0, with its data connection made ahead).
const THREADS: usize = 15;

/// Directories that wait to be listed. A walk that ends has cost no more than that.
const WAITING: usize = 64;

/// Longest time for one, with the login that it may need.
const BOUND: Duration = Duration::from_secs(20);

/// What is to be listed.
pub(super) struct Beside {
    /// In the order in which the walk comes by, with the time when that was asked.
    queue: Mutex<VecDeque<(RemotePath, Instant)>>,
    workers: Workers,
}

impl Beside {
    pub(super) fn new() -> Beside {
        Beside { queue: Mutex::default(), workers: Workers::new("walk", THREADS, THREADS) }
    }
}

impl DirectoryCache {
    /// Has `dirs` listed by others. None of them counts as asked for before its turn comes, so that who needs one of them
    /// earlier asks for it himself.
    pub(super) fn list_beside(self: &Arc<Self>, dirs: Vec<RemotePath>, now: Instant) {
        let mut queue = self.beside.queue.lock();
        let room = WAITING.saturating_sub(queue.len());
        let (dirs, left) = dirs.split_at(dirs.len().min(room));
        queue.extend(dirs.iter().map(|dir| (dir.clone(), now)));
        drop(queue);
        self.gave_up(left.iter());
        for _ in dirs.iter().take(THREADS) {
            let cache = Arc::downgrade(self);
            // Full, or without a thread: others are at work, or nobody is and nothing is lost.
            let _ = self.beside.workers.submit(move || {
                if let Some(cache) = cache.upgrade() {
                    cache.work_beside();
                }
            });
        }
    }

    fn work_beside(&self) {
        let begun = Instant::now();
        while let Some((dir, asked)) = self.next_beside() {
            // The caller's clock goes on.
            let now = asked + begun.elapsed();
            let Some(request) = self.register(std::iter::once(dir), now).pop() else { continue };
            let deadline = Deadline::after(BOUND);
            let started = Instant::now();
            match self.source.list_ahead(&request.dir, self.bytes_of(&request.dir), deadline) {
                Some(listing) => self.land(&request, listing, now + started.elapsed(), deadline, now),
                // No connection to spare, or a directory that cannot be listed: who reads it finds out why.
                None => {
                    self.give_up(request, deadline, now);
                    let left = std::mem::take(&mut *self.beside.queue.lock());
                    self.gave_up(left.iter().map(|(dir, _)| dir));
                    return;
                }
            }
        }
    }

    fn next_beside(&self) -> Option<(RemotePath, Instant)> {
        self.beside.queue.lock().pop_front()
    }

    fn gave_up<'a>(&self, dirs: impl Iterator<Item = &'a RemotePath>) {
        let mut walk = self.walk.lock();
        dirs.for_each(|dir| walk.gave_up(dir));
    }
}
