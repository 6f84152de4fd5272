//! Directories that are listed over other connections while somebody reads one, because a walk will come by: for servers
//! that do not list several in one go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::DirectoryCache;
use super::ahead::{Request, Requests};
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
    /// In the order in which the walk comes by.
    queue: Mutex<VecDeque<Wanted>>,
    workers: Workers,
}

/// A directory that is to be listed.
struct Wanted {
    dir: RemotePath,
    /// What the caller's clock told when it was asked for.
    now: Instant,
    asked: Instant,
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
        let asked = Instant::now();
        queue.extend(dirs.iter().map(|dir| Wanted { dir: dir.clone(), now, asked }));
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
        while let Some(Wanted { dir, now, asked }) = self.next_beside() {
            let deadline = Deadline::after(BOUND);
            // The caller's clock goes on.
            let now = now + asked.elapsed();
            let left = self.register(std::iter::once(dir), now).into();
            let mut requests = Requests { cache: self, left, deadline, now };
            let Some(Request { dir, .. }) = requests.left.front() else { continue };
            let started = Instant::now();
            let listing = self.source.list_ahead(dir, self.bytes_of(dir), deadline);
            match (listing, requests.left.pop_front()) {
                (Some(listing), Some(request)) => {
                    self.land(&request, listing, now + started.elapsed(), deadline, now);
                }
                // No connection to spare, or a directory that cannot be listed: who reads it finds out why.
                (_, request) => {
                    requests.left.extend(request);
                    drop(requests);
                    let left = std::mem::take(&mut *self.beside.queue.lock());
                    self.gave_up(left.iter().map(|wanted| &wanted.dir));
                    return;
                }
            }
        }
    }

    fn next_beside(&self) -> Option<Wanted> {
        self.beside.queue.lock().pop_front()
    }

    fn gave_up<'a>(&self, dirs: impl Iterator<Item = &'a RemotePath>) {
        let mut walk = self.walk.lock();
        dirs.for_each(|dir| walk.gave_up(dir));
    }
}
