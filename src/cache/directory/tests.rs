mod ahead;
mod own;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::*;
use crate::ftp::list::EntryKind;
use crate::ftp::time::{Modified, Precision};

const SOON: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_secs(30);

fn entry(name: &[u8], size: u64) -> RemoteEntry {
    RemoteEntry {
        name: name.into(),
        kind: EntryKind::File,
        size: Some(size),
        modified: None,
        mode: None,
        link_target: None,
        unique: None,
    }
}

/// A server that holds one directory. Each question goes to `asked`; with a gate, each answer waits there.
struct Script {
    entries: Mutex<Vec<RemoteEntry>>,
    complete: AtomicBool,
    can_stat: bool,
    together: AtomicBool,
    failure: Mutex<Option<Kind>>,
    asked: Sender<String>,
    gate: Option<Receiver<()>>,
    base: RemotePath,
}

impl Script {
    fn ask<T>(&self, question: String, answer: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        // The answer is made before the gate: it tells what was true when the question came.
        let answer = match *self.failure.lock() {
            Some(kind) if question.starts_with("list") => Err(Error::new(kind, "list", "", "test", "no")),
            _ => answer(),
        };
        self.asked.send(question).unwrap();
        if let Some(gate) = &self.gate {
            gate.recv_timeout(SOON).unwrap();
        }
        answer
    }
}

impl ListingSource for Script {
    fn list_together(&self, dirs: &[RemotePath], _: Deadline) -> Vec<Option<Listing>> {
        let question = dirs.iter().map(RemotePath::to_string).collect::<Vec<_>>().join(" ");
        let Ok(listings) = self.ask(format!("together {question}"), || {
            let list = |dir: &RemotePath| {
                let is_told = !dir.as_bytes().ends_with(b"untold");
                is_told.then(|| Listing { own: None, entries: self.entries.lock().clone(), complete: true })
            };
            Ok(dirs.iter().map(list).collect())
        }) else {
            return Vec::new();
        };
        listings
    }

    fn lists_together(&self) -> bool {
        self.together.load(Ordering::Relaxed)
    }

    fn list(&self, dir: &RemotePath, _: Option<u64>, _: Deadline) -> Result<Listing, Error> {
        self.ask(format!("list {dir}"), || {
            let complete = self.complete.load(Ordering::Relaxed);
            Ok(Listing { own: None, entries: self.entries.lock().clone(), complete })
        })
    }

    fn list_ahead(&self, dir: &RemotePath, _: Option<u64>, _: Deadline) -> Option<Listing> {
        let listed = self.ask(format!("ahead {dir}"), || {
            Ok(Listing { own: None, entries: self.entries.lock().clone(), complete: true })
        });
        assert!(!dir.as_bytes().ends_with(b"panic"), "as the test wants");
        listed.ok().filter(|_| !dir.as_bytes().ends_with(b"untold"))
    }

    fn list_with_targets(&self, dir: &RemotePath, _: Deadline) -> Result<Listing, Error> {
        self.ask(format!("targets {dir}"), || {
            let mut entries = self.entries.lock().clone();
            entries[0].link_target = Some((*b"there").into());
            Ok(Listing { own: None, entries, complete: true })
        })
    }

    fn stat(&self, path: &RemotePath, _: Deadline) -> Result<RemoteEntry, Error> {
        self.ask(format!("stat {path}"), || {
            let entries = self.entries.lock();
            let found = entries.iter().find(|entry| *entry.name == *path.file_name()).cloned();
            found.ok_or_else(|| Error::new(Kind::NotFound, "stat", path, "test", "550"))
        })
    }

    fn can_stat(&self) -> bool {
        self.can_stat
    }

    fn base(&self) -> &RemotePath {
        &self.base
    }
}

struct Bench {
    cache: Arc<DirectoryCache>,
    script: Arc<Script>,
    asked: Receiver<String>,
    release: Sender<()>,
    now: Instant,
}

fn bench(can_stat: bool, gated: bool) -> Bench {
    let (asked_sender, asked) = unbounded();
    let (release, gate) = bounded(100);
    let script = Arc::new(Script {
        entries: Mutex::new(vec![entry(b"a", 1), entry(b"b", 2)]),
        complete: AtomicBool::new(true),
        can_stat,
        together: AtomicBool::new(false),
        failure: Mutex::new(None),
        asked: asked_sender,
        gate: gated.then_some(gate),
        base: RemotePath::root(),
    });
    let cache = Arc::new(DirectoryCache::new(script.clone(), TTL, DEFAULT_LIMIT));
    Bench { cache, script, asked, release, now: Instant::now() }
}

impl Bench {
    fn lookup(&self, name: &[u8], now: Instant) -> Option<u64> {
        let answer = self.cache.lookup(&dir(), &Name::new(name).unwrap(), soon(), now).unwrap();
        answer.entry.map(|entry| entry.size.unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

fn dir() -> RemotePath {
    RemotePath::parse(b"/d").unwrap()
}

fn soon() -> Deadline {
    Deadline::after(SOON)
}

#[test]
fn one_listing_answers_all_names_present_and_absent_until_it_expires() {
    let bench = bench(false, false);
    assert_eq!(bench.lookup(b"a", bench.now), Some(1));
    assert_eq!(bench.lookup(b"b", bench.now + TTL / 2), Some(2));
    assert_eq!(bench.lookup(b"none", bench.now + TTL / 2), None);
    assert_eq!(bench.asked(), ["list /d"]);
    assert_eq!(bench.lookup(b"none", bench.now + TTL * 2), None);
    assert_eq!(bench.asked(), ["list /d"]);
}

#[test]
fn the_third_miss_lists_the_directory() {
    let bench = bench(true, false);
    assert_eq!(bench.lookup(b"a", bench.now), Some(1));
    assert_eq!(bench.lookup(b"none", bench.now), None);
    assert_eq!((bench.lookup(b"a", bench.now), bench.lookup(b"none", bench.now)), (Some(1), None));
    assert_eq!(bench.asked(), ["stat /d/a", "stat /d/none"]);
    assert_eq!(bench.lookup(b"b", bench.now), Some(2));
    assert_eq!(bench.lookup(b"other", bench.now), None);
    assert_eq!(bench.asked(), ["list /d"]);
}

#[test]
fn misses_count_only_within_the_timeout() {
    let bench = bench(true, false);
    for step in 0..4 {
        bench.lookup(b"a", bench.now + TTL * 2 * step);
    }
    assert_eq!(bench.asked(), ["stat /d/a"; 4]);
}

#[test]
fn a_name_absent_from_a_cut_listing_is_asked_for() {
    let bench = bench(false, false);
    bench.script.complete.store(false, Ordering::Relaxed);
    assert_eq!(bench.lookup(b"a", bench.now), Some(1));
    assert_eq!(bench.lookup(b"none", bench.now), None);
    assert_eq!(bench.lookup(b"none", bench.now), None);
    assert_eq!(bench.asked(), ["list /d", "stat /d/none"]);
}

#[test]
fn names_in_a_directory_that_may_not_be_listed_are_asked_for_one_by_one() {
    let bench = bench(false, false);
    *bench.script.failure.lock() = Some(Kind::Denied);
    assert_eq!(bench.lookup(b"a", bench.now), Some(1));
    assert_eq!(bench.lookup(b"b", bench.now), Some(2));
    assert_eq!(bench.asked(), ["list /d", "stat /d/a", "stat /d/b"]);
}

#[test]
fn a_failed_listing_is_an_error_and_not_kept() {
    let bench = bench(false, false);
    *bench.script.failure.lock() = Some(Kind::Unreachable);
    let error = bench.cache.list(&dir(), soon(), bench.now).unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    *bench.script.failure.lock() = None;
    assert_eq!(bench.cache.list(&dir(), soon(), bench.now).unwrap().0.entries().len(), 2);
}

#[test]
fn who_comes_second_waits_for_the_first_answer() {
    let bench = bench(false, true);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.lookup(b"b", bench.now))).collect();
        assert_eq!(bench.asked.recv_timeout(SOON).unwrap(), "list /d");
        bench.release.send(()).unwrap();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Some(2));
        }
    });
    assert!(bench.asked().is_empty());
}

#[test]
fn a_waiter_has_its_own_deadline() {
    let bench = bench(false, true);
    thread::scope(|scope| {
        let first = scope.spawn(|| bench.lookup(b"b", bench.now));
        bench.asked.recv_timeout(SOON).unwrap();
        let past = Deadline::after(Duration::ZERO);
        let error = bench.cache.list(&dir(), past, bench.now).unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlinePassed);
        bench.release.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Some(2));
    });
}

#[test]
fn an_answer_older_than_an_invalidation_is_not_kept() {
    let bench = bench(false, true);
    thread::scope(|scope| {
        let old = scope.spawn(|| bench.lookup(b"b", bench.now));
        bench.asked.recv_timeout(SOON).unwrap();
        *bench.script.entries.lock() = vec![entry(b"b", 20)];
        bench.cache.invalidate(&dir());
        bench.release.send(()).unwrap();
        assert_eq!(old.join().unwrap(), Some(2));
    });
    bench.release.send(()).unwrap();
    assert_eq!(bench.lookup(b"b", bench.now), Some(20));
    assert_eq!(bench.asked(), ["list /d"]);
}

#[test]
fn a_request_after_an_invalidation_does_not_wait_for_one_from_before() {
    let bench = bench(false, true);
    thread::scope(|scope| {
        let old = scope.spawn(|| bench.lookup(b"b", bench.now));
        bench.asked.recv_timeout(SOON).unwrap();
        *bench.script.entries.lock() = vec![entry(b"b", 20)];
        bench.cache.invalidate(&dir());
        let new = scope.spawn(|| bench.lookup(b"b", bench.now));
        assert_eq!(bench.asked.recv_timeout(SOON).unwrap(), "list /d");
        bench.release.send(()).unwrap();
        bench.release.send(()).unwrap();
        assert_eq!((old.join().unwrap(), new.join().unwrap()), (Some(2), Some(20)));
    });
    assert_eq!(bench.lookup(b"b", bench.now), Some(20));
}

#[test]
fn a_panic_while_asking_leaves_nobody_waiting() {
    let bench = bench(false, true);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let fetch = |_| {
                bench.asked.recv_timeout(SOON).unwrap();
                panic!("on purpose")
            };
            let key = (dir(), Form::Plain);
            let dir = dir();
            let ask = Question { dir: &dir, subject: &dir, deadline: soon(), now: bench.now };
            let settle = |_: &mut Store, _, listing, learned| (listing, learned);
            bench.cache.once(|state| &mut state.listings, key, ask, fetch, settle)
        });
        while bench.cache.state.lock().listings.is_empty() {
            thread::yield_now();
        }
        let second = scope.spawn(|| bench.cache.list(&dir(), soon(), bench.now).unwrap_err().kind());
        bench.script.asked.send("go".to_owned()).unwrap();
        assert!(first.join().is_err());
        // The second either waited for the broken request, or came after it and asks for itself.
        bench.release.send(()).unwrap();
        if let Ok(kind) = second.join() {
            assert_eq!(kind, Kind::Failed);
        }
    });
}

#[test]
fn a_refresh_is_younger_than_the_listing_and_keeps_what_it_does_not_tell() {
    let bench = bench(true, false);
    let modified = Modified { seconds: 120, nanos: 0, precision: Precision::Minute };
    *bench.script.entries.lock() =
        vec![RemoteEntry { mode: Some(0o640), modified: Some(modified), ..entry(b"a", 1) }];
    bench.cache.list(&dir(), soon(), bench.now).unwrap();

    let exact = Modified { seconds: 125, nanos: 0, precision: Precision::Second };
    *bench.script.entries.lock() = vec![RemoteEntry { modified: Some(exact), ..entry(b"a", 5) }];
    let name = Name::new(b"a").unwrap();
    bench.cache.refresh(&dir(), &name, soon(), bench.now + TTL / 2).unwrap();
    let known = bench.cache.cached(&dir(), &name, bench.now + TTL / 2).unwrap().entry.unwrap();
    assert_eq!((known.size, known.mode, known.modified), (Some(5), Some(0o640), Some(exact)));
}

#[test]
fn all_targets_of_a_directory_cost_one_listing() {
    let bench = bench(true, false);
    let (a, b) = (Name::new(b"a").unwrap(), Name::new(b"b").unwrap());
    assert_eq!(bench.cache.cached_target(&dir(), &a, bench.now), None);
    assert_eq!(bench.cache.target(&dir(), &a, soon(), bench.now).unwrap().as_deref(), Some(&b"there"[..]));
    assert_eq!(bench.cache.target(&dir(), &b, soon(), bench.now).unwrap(), None);
    assert_eq!(bench.cache.cached_target(&dir(), &b, bench.now), Some(None));
    assert_eq!(bench.asked(), ["targets /d"]);
}

#[test]
fn the_limit_holds_and_the_directory_at_hand_stays() {
    let bench = bench(false, false);
    *bench.script.entries.lock() = (0..100).map(|n| entry(format!("file{n}").as_bytes(), n)).collect();
    let cache = DirectoryCache::new(bench.script.clone(), TTL, 50_000);
    for n in 0..20 {
        let dir = RemotePath::parse(format!("/d{n}").as_bytes()).unwrap();
        cache.list(&dir, soon(), bench.now).unwrap();
        assert!(cache.cached_listing(&dir, bench.now).is_some());
        assert!(cache.state.lock().store.used() <= 50_000);
    }
    assert!(cache.cached_listing(&RemotePath::parse(b"/d0").unwrap(), bench.now).is_none());
}
