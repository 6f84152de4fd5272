//! The queue of files to fetch ahead, and the threads that work it off on spare connections.
//!
//! 1. A thread holds a connection only while there are files to fetch and nobody waits for one.
//! 2. Bytes get into the cache only whole, confirmed, and while nothing was done to the file through this mount.
//! 3. Whoever waits for a file that is on its way is told at its end, or when it makes no progress.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::fetch::{Outcome, Wanted, fetch, look};
use super::policy::Limits;
use crate::cache::block::BLOCK;
use crate::cache::{BlockCache, DirectoryCache, DiskCache, DiskFile, FileId};
use crate::deadline::Deadline;
use crate::ftp::session::Session;
use crate::remote::{Remote, RemotePath};
use crate::workers::Workers;

/// Files in the queue; older ones go.
const QUEUE: usize = 256;
/// What waits for longer is no longer "soon".
const EXPIRED: Duration = Duration::from_secs(5);
/// Files that one round trip looks at.
const LOOKS: usize = 32;
/// How long the making of a connection may take.
const LOGIN: Duration = Duration::from_secs(15);
/// A file on its way that makes no progress for this long is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Nor longer than this in all: its reader has a connection of his own to try.
const LONGEST: Duration = Duration::from_secs(8);
/// After as many failures in a row nothing is fetched ahead for a while.
const FAILURES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(10);

/// Fetches files ahead. Nothing here waits but [`Ahead::settle`].
#[derive(Debug)]
pub(in crate::read) struct Ahead(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    remote: Arc<Remote>,
    blocks: Arc<BlockCache>,
    directories: Arc<DirectoryCache>,
    /// Threads at work at once, each with a connection.
    most: usize,
    /// Bytes on their way at once.
    bytes: u64,
    state: Mutex<State>,
    /// A file is no longer on its way.
    ended: Condvar,
    threads: Workers,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Wanted, Instant)>,
    running: HashMap<RemotePath, Running>,
    /// Bytes on their way.
    bytes: u64,
    /// Threads that take from the queue.
    working: usize,
    failures: u32,
    rest_until: Option<Instant>,
}

/// A file on its way.
#[derive(Debug)]
struct Running {
    id: FileId,
    bytes: bool,
    /// The server was asked whether it is what it was, and has not answered.
    asks: bool,
    heard: Instant,
    waiters: usize,
    /// Something was done to the file through this mount.
    spoiled: bool,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::read) enum Need {
    /// To know whether the file is still what it was.
    Facts,
    /// The bytes of this version.
    Bytes(FileId),
}

impl Ahead {
    /// Threads that fetch for a mount of so many connections, of which two are left for whoever asks.
    pub(in crate::read) fn new(
        remote: Arc<Remote>,
        blocks: Arc<BlockCache>,
        directories: Arc<DirectoryCache>,
        connections: usize,
        limits: Limits,
    ) -> Ahead {
        // One for metadata, one for a reader who comes: for his sake none of them has to give up what it has begun.
        let most = connections.saturating_sub(2).max(1);
        let threads = Workers::new("ahead", most, most);
        let (state, ended) = Default::default();
        Ahead(Arc::new(Shared {
            remote,
            blocks,
            directories,
            most,
            bytes: limits.bytes,
            state,
            ended,
            threads,
        }))
    }

    /// Fetches these files, soon or never. With none, goes on with those that were left.
    pub(in crate::read) fn fetch(&self, wanted: Vec<Wanted>) {
        let shared = &self.0;
        let now = Instant::now();
        let mut state = shared.state.lock();
        if state.rest_until.is_some_and(|until| now < until) {
            state.queue.clear();
            return;
        }
        for wanted in wanted {
            let path = wanted.path();
            if !state.running.contains_key(&path)
                && !state.queue.iter().any(|(queued, _)| queued.path() == path)
            {
                state.queue.push_back((wanted, now));
            }
        }
        let excess = state.queue.len().saturating_sub(QUEUE);
        state.queue.drain(..excess);
        // Twice as many as there are files: the connection is made by the time that the window has grown.
        while state.working < shared.most.min(2 * state.queue.len()) {
            let worker = shared.clone();
            if shared.threads.submit(move || worker.work()).is_err() {
                break;
            }
            state.working += 1;
        }
    }

    /// Waits for a file that is on its way; who comes before it is has it for himself. True if there was something to
    /// wait for.
    pub(in crate::read) fn settle(&self, path: &RemotePath, need: Need, deadline: Deadline) -> bool {
        let mut state = self.0.state.lock();
        if let Need::Bytes(_) = need {
            state.queue.retain(|(queued, _)| queued.path() != *path);
        }
        let mut waited = false;
        let deadline = deadline.at_most(LONGEST);
        loop {
            let helps = |running: &&mut Running| match need {
                Need::Facts => running.asks,
                Need::Bytes(id) => running.bytes && running.id == id,
            };
            let Some(running) = state.running.get_mut(path).filter(helps) else { return waited };
            let until = deadline.instant().min(running.heard + PATIENCE);
            if Instant::now() >= until {
                return waited;
            }
            waited = true;
            running.waiters += 1;
            self.0.ended.wait_until(&mut state, until);
            if let Some(running) = state.running.get_mut(path) {
                running.waiters = running.waiters.saturating_sub(1);
            }
        }
    }

    /// Something is done to `path`, or all below it, through this mount: what is on its way is not kept.
    pub(in crate::read) fn leave(&self, path: &RemotePath) {
        let mut state = self.0.state.lock();
        state.queue.retain(|(queued, _)| queued.dir.join(&queued.name).below(path).is_none());
        let concerned = state.running.iter_mut().filter(|(running, _)| running.below(path).is_some());
        concerned.for_each(|(_, running)| running.spoiled = true);
    }
}

/// What one thread has taken; it is no longer on its way when this is dropped, whatever happens.
struct Taken<'a> {
    shared: &'a Shared,
    files: Vec<Wanted>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        for file in &self.files {
            if state.running.remove(&file.path()).is_some_and(|running| running.bytes) {
                state.bytes -= file.version.size;
            }
        }
        drop(state);
        self.shared.ended.notify_all();
    }
}

/// A thread that takes from the queue.
struct Working<'a>(&'a Shared);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.state.lock().working -= 1;
    }
}

impl Shared {
    fn work(&self) {
        let _working = Working(self);
        let pool = self.remote.pool();
        let Some(mut lease) = pool.try_ahead(Deadline::after(LOGIN)) else { return };
        while let Some(taken) = self.take() {
            let Some(session) = lease.session() else { return };
            let went_on = match taken.files.first() {
                Some(file) if self.wants_bytes(file) => self.get(file, session),
                _ => self.note(look(&taken.files, session, &self.directories).err().is_none()),
            };
            drop(taken);
            if !went_on || pool.is_wanted() {
                return;
            }
        }
    }

    /// Gets the bytes of one file, unless the disk has them. True if the connection goes on.
    fn get(&self, file: &Wanted, session: &mut Session) -> bool {
        let path = file.path();
        let disk = self.blocks.disk().map(|disk| (disk, disk.file(&path)));
        if disk.as_ref().is_some_and(|(disk, place)| disk.holds(place, &file.version)) {
            // What is there counts once the time is known to the second.
            return match file.check || !file.version.is_exact() {
                true => self.note(look(std::slice::from_ref(file), session, &self.directories).is_ok()),
                false => true,
            };
        }
        // It must be seen to be of one version with the bytes that others have, or fetch meanwhile. Where that costs a
        // round trip, only what is there already counts, or may be there in later mounts.
        let check = file.check
            || self.remote.profile().pipelines()
            || !file.version.is_exact()
            || disk.is_some()
            || self.blocks.holds_any(file.version.id);
        let heard = || self.heard(&path);
        let takes = || disk.as_ref().is_some_and(|(disk, _)| disk.takes(&file.version));
        let outcome = fetch(file, session, &self.directories, self.remote.pool(), check, heard, takes);
        self.keep(file, outcome, disk.as_ref())
    }

    fn wants_bytes(&self, file: &Wanted) -> bool {
        file.bytes && !self.blocks.holds(file.version.id, file.version.size)
    }

    /// The next file whose bytes are wanted, or several that are only looked at.
    fn take(&self) -> Option<Taken<'_>> {
        let now = Instant::now();
        let mut taken = Taken { shared: self, files: Vec::new() };
        let mut state = self.state.lock();
        state.queue.retain(|(_, since)| now.saturating_duration_since(*since) < EXPIRED);
        while let Some((file, _)) = state.queue.front() {
            let bytes = self.wants_bytes(file);
            let size = if bytes { file.version.size } else { 0 };
            let fits = state.bytes == 0 || state.bytes + size <= self.bytes;
            if !fits || (bytes && !taken.files.is_empty()) || taken.files.len() >= LOOKS {
                break;
            }
            let Some((file, _)) = state.queue.pop_front() else { break };
            if !bytes && !file.check {
                continue;
            }
            state.bytes += size;
            let running = Running {
                id: file.version.id,
                bytes,
                asks: file.check,
                heard: now,
                waiters: 0,
                spoiled: false,
            };
            state.running.insert(file.path(), running);
            taken.files.push(file);
            if bytes {
                break;
            }
        }
        drop(state);
        (!taken.files.is_empty()).then_some(taken)
    }

    /// The server has answered, or sent bytes.
    fn heard(&self, path: &RemotePath) {
        let mut state = self.state.lock();
        let Some(running) = state.running.get_mut(path) else { return };
        running.heard = Instant::now();
        if std::mem::take(&mut running.asks) {
            drop(state);
            self.ended.notify_all();
        }
    }

    /// Puts what came where readers find it. True if the connection goes on.
    fn keep(&self, file: &Wanted, outcome: Outcome, disk: Option<&(&DiskCache, DiskFile)>) -> bool {
        let (bytes, keeps) = match outcome {
            Outcome::Whole { bytes, keeps } => (bytes, keeps),
            Outcome::Other => return self.note(true),
            Outcome::GaveWay => return false,
            Outcome::Broken(error) => {
                log::debug!("{} is not fetched ahead: {error}", file.path());
                return self.note(false);
            }
        };
        let id = file.version.id;
        // Under the lock: nobody can begin to do something to the file until they are there.
        let state = self.state.lock();
        let running = state.running.get(&file.path()).filter(|running| !running.spoiled);
        let pieces = || (0..).step_by(BLOCK).zip(bytes.chunks(BLOCK));
        match running.map(|running| running.waiters) {
            Some(0) => drop(self.blocks.insert_ahead(id, &bytes)),
            Some(_) => pieces().for_each(|(begin, piece)| self.blocks.insert(id, begin, piece.into())),
            None => {}
        }
        let keeps = keeps && running.is_some();
        MutexGuard::unlock_fair(state);
        if let Some((disk, place)) = disk.filter(|_| keeps) {
            pieces().for_each(|(begin, piece)| disk.put(place, &file.version, begin, piece.into()));
        }
        self.note(true)
    }

    /// Counts failures in a row; returns what it was told.
    fn note(&self, went_well: bool) -> bool {
        let mut state = self.state.lock();
        state.failures = if went_well { 0 } else { state.failures + 1 };
        if state.failures >= FAILURES {
            state.queue.clear();
            state.rest_until = Some(Instant::now() + PAUSE);
            state.failures = 0;
        }
        went_well
    }
}
