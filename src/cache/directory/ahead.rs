//! Directories that are listed together with one that somebody waits for, because a walk will come by.

use std::sync::Arc;
use std::time::Instant;

use super::{DirectoryCache, Flight, Form, Frozen, Landing, Question, Sent, Shared, State};
use crate::deadline::Deadline;
use crate::remote::{Error, Kind, Listing, RemotePath};

impl DirectoryCache {
    /// The listing of `dir` for somebody who reads the directory, as [`DirectoryCache::list`]; also learns from that
    /// who walks through the tree, and lists the directories that come next in the same round trips, or else over other
    /// connections at the same time.
    ///
    /// # Errors
    /// As [`DirectoryCache::list`].
    pub fn read(
        self: &Arc<Self>,
        dir: &RemotePath,
        deadline: Deadline,
        now: Instant,
    ) -> Result<(Arc<Frozen>, Instant), Error> {
        let ahead = self.walks(|walk, known| walk.reads(dir, known), now);
        if !ahead.is_empty() {
            match self.source.lists_together() {
                true => self.list_together(dir, ahead, deadline, now),
                false => self.list_beside(ahead, now),
            }
        }
        let read = self.list(dir, deadline, now)?;
        self.walks(|walk, known| walk.has_read(dir, known), now);
        Ok(read)
    }

    /// As [`DirectoryCache::read`], from memory only.
    pub fn read_cached(&self, dir: &RemotePath, now: Instant) -> Option<(Arc<Frozen>, Instant)> {
        let known = self.cached_listing(dir, now)?;
        self.walks(|walk, known| walk.reads(dir, known), now);
        self.walks(|walk, known| walk.has_read(dir, known), now);
        Some(known)
    }

    fn walks<T>(
        &self,
        step: impl FnOnce(&mut super::walk::Walk, &mut super::walk::Known<'_>) -> T,
        now: Instant,
    ) -> T {
        // Lock order: this, then the state, which is held for one listing at a time.
        let mut walk = self.walk.lock();
        step(&mut walk, &mut |dir| Some(self.cached_listing(dir, now)?.0))
    }

    /// Lists `dir` and those of `ahead` that nobody has asked for. What could not be listed so is as if it had not
    /// been asked for, and is listed by itself, over another connection.
    fn list_together(
        self: &Arc<Self>,
        dir: &RemotePath,
        ahead: Vec<RemotePath>,
        deadline: Deadline,
        now: Instant,
    ) {
        let started = Instant::now();
        let requests = self.register(std::iter::once(dir.clone()).chain(ahead), now);
        if requests.first().is_none_or(|request| request.dir != *dir) {
            // Somebody else asks for it already.
            requests.into_iter().for_each(|request| self.give_up(request, deadline, now));
            return;
        }
        let dirs: Vec<_> = requests.iter().map(|request| request.dir.clone()).collect();
        let mut requests = Requests { cache: self, left: requests.into(), deadline, now };
        let listings = self.source.list_together(&dirs, deadline);
        let learned = now + started.elapsed();
        let mut apart = Vec::new();
        for listing in listings {
            let Some(request) = requests.left.pop_front() else { break };
            match listing {
                Some(listing) => self.land(&request, listing, learned, deadline, now),
                None => {
                    self.walk.lock().is_apart(&request.dir);
                    apart.extend((request.dir != *dir).then(|| request.dir.clone()));
                    self.give_up(request, deadline, now);
                }
            }
        }
        if !apart.is_empty() {
            self.list_beside(apart, now);
        }
    }

    /// Registers requests for those directories that are neither known nor asked for.
    pub(super) fn register(&self, dirs: impl Iterator<Item = RemotePath>, now: Instant) -> Vec<Request> {
        let mut state = self.state.lock();
        let mut requests = Vec::new();
        for dir in dirs {
            let key = (dir.clone(), Form::Plain);
            if state.store.has_listing(&dir, now) || state.listings.contains_key(&key) {
                continue;
            }
            let flight = Arc::new(Flight::new());
            state.listings.insert(key.clone(), flight.clone());
            let sent = state.store.ask(&dir, now);
            requests.push(Request { dir, key, flight, sent });
        }
        requests
    }

    pub(super) fn land(
        &self,
        request: &Request,
        listing: Listing,
        learned: Instant,
        deadline: Deadline,
        now: Instant,
    ) {
        let frozen = self.freeze(&request.dir, listing, request.sent);
        let answer = Ok((frozen, learned));
        let _ = self
            .landing(request, deadline, now)
            .land(answer, |store, sent, listing, learned| store.listed(&request.dir, sent, listing, learned));
    }

    /// Lets those who wait ask for themselves.
    pub(super) fn give_up(&self, request: Request, deadline: Deadline, now: Instant) {
        self.walk.lock().gave_up(&request.dir);
        let cause = "it was not listed with others";
        let error = Error::new(Kind::DeadlinePassed, "list", &request.dir, "the server", cause);
        let _ = self.landing(&request, deadline, now).land(Err(error), |_, _, listing, at| (listing, at));
    }

    fn landing<'a>(
        &'a self,
        request: &'a Request,
        deadline: Deadline,
        now: Instant,
    ) -> Landing<'a, (RemotePath, Form), Arc<Frozen>> {
        Landing {
            cache: self,
            register: |state: &mut State| &mut state.listings,
            key: &request.key,
            flight: &request.flight,
            question: Question { dir: &request.dir, subject: &request.dir, deadline, now },
            sent: request.sent,
        }
    }
}

/// A listing that is asked for.
pub(super) struct Request {
    pub(super) dir: RemotePath,
    key: (RemotePath, Form),
    flight: Arc<Flight<Shared<Arc<Frozen>>>>,
    sent: Sent,
}

/// The requests that have no answer yet: whatever happens, those who wait for them get one.
pub(super) struct Requests<'a> {
    pub(super) cache: &'a DirectoryCache,
    pub(super) left: std::collections::VecDeque<Request>,
    pub(super) deadline: Deadline,
    pub(super) now: Instant,
}

impl Drop for Requests<'_> {
    fn drop(&mut self) {
        for request in self.left.drain(..) {
            self.cache.give_up(request, self.deadline, self.now);
        }
    }
}
