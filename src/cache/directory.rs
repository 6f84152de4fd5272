//! Listings and single entries, read through from the server and kept for a time.
//!
//! Each question is asked once at a time: who comes second waits for the first answer, with a deadline of
//! its own. An answer that was on its way when its directory was invalidated is given to those who wait
//! for it but not kept. One that was on its way when we changed something ourselves (see `own`) is corrected
//! by that before anybody gets it. No lock is held while the server is asked.

mod ahead;
mod beside;
mod inquiry;
mod own;
mod walk;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::flight::Flight;
use super::listing::{EntryRef, Frozen, complete};
use super::prefetch::Prefetch;
use super::store::{Sent, Store};
use crate::deadline::Deadline;
use crate::ftp::list::RemoteEntry;
use crate::remote::{Error, Kind, Listing, Name, Remote, RemotePath};

pub use inquiry::Inquiry;

/// How many bytes of metadata are kept when nothing else is said.
pub const DEFAULT_LIMIT: usize = 64 * 1024 * 1024;

/// The miss in one directory (within the cache's time) that lists it instead of asking for one more name.
const LISTING_MISS: u32 = 3;

/// Where listings come from. [`Remote`] in the program; a script in tests.
pub trait ListingSource: Send + Sync {
    /// As [`Remote::list`].
    ///
    /// # Errors
    /// As there.
    fn list(&self, dir: &RemotePath, bytes: Option<u64>, deadline: Deadline) -> Result<Listing, Error>;
    /// As [`Remote::list_together`].
    fn list_together(&self, dirs: &[RemotePath], deadline: Deadline) -> Vec<Option<Listing>>;
    /// As [`Remote::lists_together`].
    fn lists_together(&self) -> bool;
    /// As [`Remote::list_ahead`].
    fn list_ahead(&self, dir: &RemotePath, bytes: Option<u64>, deadline: Deadline) -> Option<Listing>;
    /// As [`Remote::list_with_targets`].
    ///
    /// # Errors
    /// As there.
    fn list_with_targets(&self, dir: &RemotePath, deadline: Deadline) -> Result<Listing, Error>;
    /// As [`Remote::stat`].
    ///
    /// # Errors
    /// As there.
    fn stat(&self, path: &RemotePath, deadline: Deadline) -> Result<RemoteEntry, Error>;
    /// As [`Remote::can_stat`].
    fn can_stat(&self) -> bool;
    /// As [`Remote::base`].
    fn base(&self) -> &RemotePath;
}

impl ListingSource for Remote {
    fn list(&self, dir: &RemotePath, bytes: Option<u64>, deadline: Deadline) -> Result<Listing, Error> {
        Remote::list(self, dir, bytes, deadline)
    }

    fn list_together(&self, dirs: &[RemotePath], deadline: Deadline) -> Vec<Option<Listing>> {
        Remote::list_together(self, dirs, deadline)
    }

    fn lists_together(&self) -> bool {
        Remote::lists_together(self)
    }

    fn list_ahead(&self, dir: &RemotePath, bytes: Option<u64>, deadline: Deadline) -> Option<Listing> {
        Remote::list_ahead(self, dir, bytes, deadline)
    }

    fn list_with_targets(&self, dir: &RemotePath, deadline: Deadline) -> Result<Listing, Error> {
        Remote::list_with_targets(self, dir, deadline)
    }

    fn stat(&self, path: &RemotePath, deadline: Deadline) -> Result<RemoteEntry, Error> {
        Remote::stat(self, path, deadline)
    }

    fn can_stat(&self) -> bool {
        Remote::can_stat(self)
    }

    fn base(&self) -> &RemotePath {
        Remote::base(self)
    }
}

/// What is known of one name.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The entry; `None` where there is nothing of that name.
    pub entry: Option<EntryRef>,
    /// When the server told it.
    pub learned: Instant,
}

/// The metadata of one server. `now` is the caller's clock in all methods; an answer counts as learned
/// when it has arrived.
pub struct DirectoryCache {
    source: Arc<dyn ListingSource>,
    timeout: Duration,
    state: Mutex<State>,
    walk: Mutex<walk::Walk>,
    beside: beside::Beside,
}

/// What everybody who waits for the same answer gets, and when it was learned.
type Shared<V> = Result<(V, Instant), Error>;
type Flights<K, V> = HashMap<K, Arc<Flight<Shared<V>>>>;

struct State {
    store: Store,
    listings: Flights<(RemotePath, Form), Arc<Frozen>>,
    entries: Flights<(RemotePath, Name), Option<Arc<RemoteEntry>>>,
}

/// A question: the directory that it is about, what it is called in messages, how long its answer may take,
/// and the caller's clock.
#[derive(Clone, Copy)]
struct Question<'a> {
    dir: &'a RemotePath,
    subject: &'a RemotePath,
    deadline: Deadline,
    now: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Plain,
    WithTargets,
}

enum Ask {
    Name,
    Listing,
}

impl DirectoryCache {
    /// Answers stay good for `timeout` (zero: until the call that asked for them ends) and together take
    /// at most `limit` bytes; the directory used last is kept even if it alone takes more, since a listing
    /// is bounded where it is parsed.
    pub fn new(source: Arc<dyn ListingSource>, timeout: Duration, limit: usize) -> DirectoryCache {
        let state =
            State { store: Store::new(timeout, limit), listings: HashMap::new(), entries: HashMap::new() };
        let walk = Mutex::new(walk::Walk::new(Prefetch::Auto));
        let beside = beside::Beside::new();
        DirectoryCache { source, timeout, state: Mutex::new(state), walk, beside }
    }

    /// The same, with directories listed ahead by `prefetch`.
    pub fn prefetching(mut self, prefetch: Prefetch) -> DirectoryCache {
        self.walk = Mutex::new(walk::Walk::new(prefetch));
        self
    }

    /// How long an answer stays good.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The directory that the mount shows as its root.
    pub fn base(&self) -> &RemotePath {
        self.source.base()
    }

    /// The fresh listing of `dir`, if it is in memory, and when it was learned.
    pub fn cached_listing(&self, dir: &RemotePath, now: Instant) -> Option<(Arc<Frozen>, Instant)> {
        self.state.lock().store.listing(dir, now)
    }

    /// The fresh listing of `dir`, if it is in memory, for who only wants to know the order of its names: changes of ours
    /// may be missing. It costs nothing of the listing's length.
    pub fn outline(&self, dir: &RemotePath, now: Instant) -> Option<Arc<Frozen>> {
        self.state.lock().store.outline(dir, now)
    }

    /// What memory knows of `name` in `dir`.
    pub fn cached(&self, dir: &RemotePath, name: &Name, now: Instant) -> Option<Answer> {
        self.state.lock().store.answer(dir, name, now)
    }

    /// The target of the link `name` in `dir`, if memory knows it. The inner `None` says that the server
    /// does not tell it.
    pub fn cached_target(&self, dir: &RemotePath, name: &Name, now: Instant) -> Option<Option<Box<[u8]>>> {
        let targets = self.state.lock().store.targets(dir, now)?;
        Some(targets.find(name.as_bytes()).and_then(|entry| entry.link_target.clone()))
    }

    /// The listing of `dir`, asked for if there is no fresh one, and when it was learned.
    ///
    /// # Errors
    /// As [`Remote::list`]; [`Kind::DeadlinePassed`] also while waiting for another caller's request.
    pub fn list(
        &self,
        dir: &RemotePath,
        deadline: Deadline,
        now: Instant,
    ) -> Result<(Arc<Frozen>, Instant), Error> {
        if let Some(known) = self.cached_listing(dir, now) {
            return Ok(known);
        }
        self.once(
            |state| &mut state.listings,
            (dir.clone(), Form::Plain),
            Question { dir, subject: dir, deadline, now },
            |sent| Ok(self.freeze(dir, self.source.list(dir, self.bytes_of(dir), deadline)?, sent)),
            |store, sent, listing, learned| store.listed(dir, sent, listing, learned),
        )
    }

    /// A listing as it is kept.
    fn freeze(&self, dir: &RemotePath, mut listing: Listing, sent: Sent) -> Arc<Frozen> {
        self.complete(dir, &mut listing);
        Arc::new(Frozen::new(listing, sent.stamp))
    }

    /// The size of a directory itself, as its parent told it last.
    fn bytes_of(&self, dir: &RemotePath) -> Option<u64> {
        let (parent, name) = (dir.parent()?, Name::new(dir.file_name()).ok()?);
        self.state.lock().store.recall(&parent, &name)?.size
    }

    /// What `name` in `dir` is. Where memory cannot tell, asks for that one name if the server can be
    /// asked so and the directory has seen few misses, else for the whole directory.
    ///
    /// # Errors
    /// As [`Remote::stat`] and [`Remote::list`]; an absent name is an answer, not an error.
    pub fn lookup(
        &self,
        dir: &RemotePath,
        name: &Name,
        deadline: Deadline,
        now: Instant,
    ) -> Result<Answer, Error> {
        let can_stat = self.source.can_stat();
        let ask = {
            let mut state = self.state.lock();
            if let Some(answer) = state.store.answer(dir, name, now) {
                return Ok(answer);
            }
            if state.listings.contains_key(&(dir.clone(), Form::Plain)) {
                Ask::Listing
            } else if state.store.has_listing(dir, now) || state.store.is_unlistable(dir, now) {
                // An incomplete listing, or none to be had: only the name itself can be asked for.
                Ask::Name
            } else if can_stat && state.store.count_miss(dir, now) < LISTING_MISS {
                Ask::Name
            } else {
                Ask::Listing
            }
        };
        if let Ask::Name = ask {
            return self.refresh(dir, name, deadline, now);
        }
        match self.list(dir, deadline, now) {
            Ok((listing, learned)) => match listing.find(name.as_bytes()) {
                None if !listing.is_complete() => self.refresh(dir, name, deadline, now),
                entry => Ok(Answer { entry, learned }),
            },
            // A directory that may be entered but not read, such as a drop box.
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::Unsupported) => {
                self.state.lock().store.keep_unlistable(dir, now);
                self.refresh(dir, name, deadline, now)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the server for one name, whatever memory knows, unless it is pinned. What the answer leaves open
    /// and the last one told (a mode, say) is taken from there if both can be of the same version.
    ///
    /// # Errors
    /// As [`Remote::stat`]; an absent name is an answer, not an error.
    pub fn refresh(
        &self,
        dir: &RemotePath,
        name: &Name,
        deadline: Deadline,
        now: Instant,
    ) -> Result<Answer, Error> {
        if let Some(pinned) = self.state.lock().store.pinned(dir, name) {
            return Ok(pinned);
        }
        let path = dir.join(name);
        let (entry, learned) = self.once(
            |state| &mut state.entries,
            (dir.clone(), name.clone()),
            Question { dir, subject: &path, deadline, now },
            |_| match self.source.stat(&path, deadline) {
                Ok(mut entry) => {
                    entry.name = name.as_bytes().into();
                    let known = self.state.lock().store.recall(dir, name);
                    complete(&mut entry, known.as_deref());
                    Ok(Some(Arc::new(entry)))
                }
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            |store, sent, entry, learned| store.told(dir, name, sent, entry, learned),
        )?;
        Ok(Answer { entry: entry.map(EntryRef::from), learned })
    }

    /// Where the symbolic link `name` in `dir` points, as the server printed it: the directory is listed
    /// in the form that shows targets, once for all its links. `None` if even that does not tell it.
    ///
    /// # Errors
    /// As [`Remote::list_with_targets`].
    pub fn target(
        &self,
        dir: &RemotePath,
        name: &Name,
        deadline: Deadline,
        now: Instant,
    ) -> Result<Option<Box<[u8]>>, Error> {
        if let Some(known) = self.cached_target(dir, name, now) {
            return Ok(known);
        }
        let (links, _) = self.once(
            |state| &mut state.listings,
            (dir.clone(), Form::WithTargets),
            Question { dir, subject: dir, deadline, now },
            |sent| {
                let mut listing = self.source.list_with_targets(dir, deadline)?;
                listing.entries.retain(|entry| entry.link_target.is_some());
                Ok(Arc::new(Frozen::new(listing, sent.stamp)))
            },
            |store, sent, links, learned| store.listed_targets(dir, sent, links, learned),
        )?;
        Ok(links.find(name.as_bytes()).and_then(|entry| entry.link_target.clone()))
    }

    /// Forgets all that is known, but what is pinned. Requests in flight that began before are not stored.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.listings.clear();
        state.entries.clear();
        let freed = state.store.clear();
        drop(state);
        drop(freed);
    }

    /// Forgets all that is known of the names in `dir`, what is on its way included, but what is pinned.
    pub fn invalidate(&self, dir: &RemotePath) {
        self.amend(|state| {
            state.unregister(|of| of == dir);
            state.store.forget(dir);
        });
    }

    /// Changes the state; what is thrown out is freed without the lock.
    fn amend(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let freed = state.store.take_freed();
        drop(state);
        drop(freed);
    }

    /// Adds to the entries of a new listing of `dir` what it tells less exactly than was known: LIST tells
    /// minutes where MDTM told seconds.
    fn complete(&self, dir: &RemotePath, listing: &mut Listing) {
        let Some(known) = self.state.lock().store.recollect(dir) else { return };
        for entry in &mut listing.entries {
            known.complete(entry);
        }
    }

    /// Runs `fetch` unless the same is already on its way, then waits for that. `settle` makes of what was
    /// told what is given to all who wait, and keeps it if it may be kept.
    fn once<K: Clone + Eq + Hash, V: Clone>(
        &self,
        register: fn(&mut State) -> &mut Flights<K, V>,
        key: K,
        question: Question<'_>,
        fetch: impl Fn(Sent) -> Result<V, Error>,
        settle: impl Fn(&mut Store, Sent, V, Instant) -> (V, Instant),
    ) -> Shared<V> {
        let Question { dir, subject, deadline, now } = question;
        let started = Instant::now();
        loop {
            let mut state = self.state.lock();
            let running = register(&mut state).get(&key).cloned();
            let Some(running) = running else {
                let flight = Arc::new(Flight::new());
                register(&mut state).insert(key.clone(), flight.clone());
                let sent = state.store.ask(dir, now + started.elapsed());
                drop(state);
                let landing = Landing { cache: self, register, key: &key, flight: &flight, question, sent };
                let answer = fetch(sent).map(|value| (value, now + started.elapsed()));
                return landing.land(answer, settle);
            };
            drop(state);
            match running.wait(deadline) {
                // The one who asked had less time left than this caller has.
                Some(Err(error)) if error.kind() == Kind::DeadlinePassed && !deadline.passed() => {}
                Some(answer) => return answer,
                None => {
                    let cause = "the answer that another request waits for did not come in time";
                    return Err(Error::new(Kind::DeadlinePassed, "wait for", subject, "the server", cause));
                }
            }
        }
    }
}

impl State {
    /// Who asks from now on about the directories that `concerns` tells does not wait for a request from
    /// before.
    fn unregister(&mut self, concerns: impl Fn(&RemotePath) -> bool) {
        self.listings.retain(|(dir, _), _| !concerns(dir));
        self.entries.retain(|(dir, _), _| !concerns(dir));
    }
}

impl std::fmt::Debug for DirectoryCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectoryCache").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The duty of the one who asks: whatever happens, those who wait get an answer.
struct Landing<'a, K: Eq + Hash, V: Clone> {
    cache: &'a DirectoryCache,
    register: fn(&mut State) -> &mut Flights<K, V>,
    key: &'a K,
    flight: &'a Arc<Flight<Shared<V>>>,
    question: Question<'a>,
    sent: Sent,
}

impl<K: Eq + Hash, V: Clone> Landing<'_, K, V> {
    fn land(
        self,
        answer: Shared<V>,
        settle: impl Fn(&mut Store, Sent, V, Instant) -> (V, Instant),
    ) -> Shared<V> {
        let mut state = self.cache.state.lock();
        self.unregister(&mut state);
        let answer = match answer {
            Ok((value, learned)) => Ok(settle(&mut state.store, self.sent, value, learned)),
            Err(error) => {
                state.store.failed(self.question.dir, self.sent);
                Err(error)
            }
        };
        let freed = state.store.take_freed();
        drop(state);
        drop(freed);
        self.flight.land(answer.clone());
        answer
    }

    fn unregister(&self, state: &mut State) {
        let flights = (self.register)(state);
        if flights.get(self.key).is_some_and(|flight| Arc::ptr_eq(flight, self.flight)) {
            flights.remove(self.key);
        }
    }
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<'_, K, V> {
    /// Matters only when the fetch panicked; after an answer, both steps change nothing.
    fn drop(&mut self) {
        let mut state = self.cache.state.lock();
        self.unregister(&mut state);
        state.store.failed(self.question.dir, self.sent);
        drop(state);
        let cause = "the request broke off";
        let subject = self.question.subject;
        self.flight.land(Err(Error::new(Kind::Failed, "ask for", subject, "the server", cause)));
    }
}

#[cfg(test)]
mod tests;
