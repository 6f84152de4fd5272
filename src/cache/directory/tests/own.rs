//! What holds for our own changes.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

fn at(seconds: i64, precision: Precision) -> Option<Modified> {
    Some(Modified { seconds, nanos: 0, precision })
}

fn link(name: &[u8], target: Option<&[u8]>) -> RemoteEntry {
    RemoteEntry { kind: EntryKind::Symlink, link_target: target.map(Into::into), ..entry(name, 1) }
}

impl Bench {
    fn with_timeout(timeout: Duration, gated: bool) -> Bench {
        let bench = bench(true, gated);
        Bench { cache: Arc::new(DirectoryCache::new(bench.script.clone(), timeout, DEFAULT_LIMIT)), ..bench }
    }

    fn changed(&self, text: &str, size: Option<u64>) {
        let entry = size.map(|size| entry(b"whatever", size));
        self.cache.changed(&dir(), &name(text), entry);
    }

    /// The listing in memory, as names and sizes.
    fn shown(&self) -> Vec<(String, u64)> {
        listed(&self.cache.cached_listing(&dir(), self.now).unwrap().0)
    }
}

fn listed(listing: &Frozen) -> Vec<(String, u64)> {
    let shown = |entry: &RemoteEntry| (String::from_utf8(entry.name.to_vec()).unwrap(), entry.size.unwrap());
    listing.entries().iter().map(shown).collect()
}

fn names(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|&(name, size)| (name.to_owned(), size)).collect()
}

#[test]
fn our_changes_show_at_once_and_cost_no_request() {
    let bench = bench(true, false);
    bench.cache.list(&dir(), soon(), bench.now).unwrap();
    let serial = || bench.cache.cached_listing(&dir(), bench.now).unwrap().0.serial();
    let first = serial();
    bench.changed("new", Some(5));
    bench.changed("a", Some(10));
    bench.changed("b", None);
    for (text, size) in [("new", Some(5)), ("a", Some(10)), ("b", None), ("none", None)] {
        assert_eq!(bench.lookup(text.as_bytes(), bench.now), size, "{text}");
    }
    assert_eq!(bench.shown(), names(&[("a", 10), ("new", 5)]));
    let second = serial();
    assert_ne!(first, second);
    bench.changed("a", Some(10));
    bench.changed("none", None);
    assert_eq!(serial(), second, "nothing has changed");
    assert_eq!(bench.lookup(b"b", bench.now), None);
    assert_eq!(bench.asked(), ["list /d"]);
}

#[test]
fn a_change_in_a_directory_that_was_not_listed_is_known_too() {
    let bench = bench(true, false);
    bench.changed("new", Some(5));
    bench.changed("a", None);
    assert_eq!((bench.lookup(b"new", bench.now), bench.lookup(b"a", bench.now)), (Some(5), None));
    assert!(bench.asked().is_empty());
    assert!(bench.cache.cached_listing(&dir(), bench.now).is_none());
}

#[test]
fn a_handle_keeps_the_listing_that_it_froze() {
    let bench = bench(true, false);
    let (frozen, _) = bench.cache.list(&dir(), soon(), bench.now).unwrap();
    bench.changed("a", None);
    assert_eq!(bench.shown(), names(&[("b", 2)]));
    assert_eq!(listed(&frozen), names(&[("a", 1), ("b", 2)]));
}

/// A rebuilt listing at each change would take minutes here.
#[test]
fn thousands_of_changes_cost_no_rebuilding_of_a_long_listing() {
    let bench = bench(false, false);
    *bench.script.entries.lock() = (0..20_000).map(|n| entry(format!("file{n}").as_bytes(), n)).collect();
    bench.cache.list(&dir(), soon(), bench.now).unwrap();
    let began = Instant::now();
    for n in 0..5_000 {
        let text = format!("new{n}");
        bench.changed(&text, Some(n));
        let known = bench.cache.cached(&dir(), &name(&text), bench.now).unwrap();
        assert_eq!(known.entry.unwrap().size, Some(n));
    }
    assert_eq!(bench.shown().len(), 25_000);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(bench.asked(), ["list /d"]);
}

#[test]
fn an_answer_in_flight_does_not_undo_our_change() {
    for (timeout, question) in
        [(TTL, "list /d"), (TTL, "stat /d/b"), (Duration::ZERO, "list /d"), (Duration::ZERO, "stat /d/b")]
    {
        let bench = Bench::with_timeout(timeout, true);
        thread::scope(|scope| {
            let ask = || match question {
                "list /d" => listed(&bench.cache.list(&dir(), soon(), bench.now).unwrap().0),
                _ => {
                    let answer = bench.cache.refresh(&dir(), &name("b"), soon(), bench.now).unwrap();
                    answer.entry.iter().map(|entry| ("b".to_owned(), entry.size.unwrap())).collect()
                }
            };
            let asker = scope.spawn(ask);
            assert_eq!(bench.asked.recv_timeout(SOON).unwrap(), question);
            *bench.script.entries.lock() = vec![entry(b"b", 20)];
            bench.changed("b", Some(20));
            bench.changed("a", None);
            let waiter = scope.spawn(ask);
            for _ in 0..2 {
                // The waiter may come after the first answer and then asks for itself.
                bench.release.send(()).unwrap();
            }
            assert_eq!(asker.join().unwrap(), names(&[("b", 20)]), "{question}");
            assert_eq!(waiter.join().unwrap(), names(&[("b", 20)]), "{question}");
        });
        if timeout == TTL {
            assert_eq!(bench.lookup(b"b", bench.now), Some(20));
        }
    }
}

#[test]
fn an_answer_to_a_later_question_replaces_our_change() {
    let bench = bench(true, false);
    bench.changed("a", Some(10));
    bench.changed("b", None);
    bench.cache.refresh(&dir(), &name("a"), soon(), bench.now).unwrap();
    assert_eq!(bench.lookup(b"a", bench.now), Some(1));
    bench.cache.list(&dir(), soon(), bench.now).unwrap();
    assert_eq!(bench.lookup(b"b", bench.now), Some(2));
}

#[test]
fn an_exact_time_outlives_listings_that_tell_it_less_exactly() {
    let noon = 1_700_049_600;
    let ours = RemoteEntry {
        modified: at(noon + 37, Precision::Second),
        mode: Some(0o640),
        unique: Some((*b"u1").into()),
        ..entry(b"a", 9)
    };
    let listed = RemoteEntry { modified: at(noon, Precision::Minute), ..entry(b"a", 9) };
    let of_day = RemoteEntry { modified: at(noon - noon % 86_400, Precision::Day), ..listed.clone() };
    let kept = (ours.modified, ours.mode, ours.unique.clone());
    let directory = |entry: &RemoteEntry| RemoteEntry { kind: EntryKind::Directory, ..entry.clone() };
    for (what, ours, later, expected) in [
        ("minutes", ours.clone(), listed.clone(), kept.clone()),
        ("days", ours.clone(), of_day, kept.clone()),
        ("a directory", directory(&ours), directory(&listed), kept.clone()),
        ("another size", ours.clone(), entry(b"a", 8), (None, ours.mode, None)),
        (
            "another minute",
            ours.clone(),
            RemoteEntry { modified: at(noon + 60, Precision::Minute), ..listed.clone() },
            (at(noon + 60, Precision::Minute), ours.mode, None),
        ),
        ("another kind", ours.clone(), directory(&listed), (listed.modified, None, None)),
    ] {
        let bench = bench(false, false);
        bench.cache.list(&dir(), soon(), bench.now).unwrap();
        bench.cache.changed(&dir(), &name("a"), Some(ours));
        *bench.script.entries.lock() = vec![later];
        for expired in 1..4 {
            let now = bench.now + TTL * 2 * expired;
            bench.cache.list(&dir(), soon(), now).unwrap();
            let known = bench.cache.cached(&dir(), &name("a"), now).unwrap().entry.unwrap();
            assert_eq!((known.modified, known.mode, known.unique.clone()), expected, "{what}, {expired}");
        }
        assert_eq!(bench.asked().len(), 4, "{what}");
    }
}

#[test]
fn a_pin_holds_against_everything_and_is_never_thrown_out() {
    let bench = Bench::with_timeout(TTL, false);
    let cache = DirectoryCache::new(bench.script.clone(), TTL, 0);
    let pinned = name("pinned");
    cache.pin(&dir(), &pinned, entry(b"x", 7));
    cache.pin(&dir(), &name("b"), entry(b"x", 8));
    let holds = |dir: &RemotePath| {
        for now in [bench.now, bench.now + TTL * 3] {
            for name in [&pinned, &name("b")] {
                assert!(cache.lookup(dir, name, soon(), now).unwrap().entry.unwrap().size.unwrap() > 6);
                assert!(cache.refresh(dir, name, soon(), now).unwrap().entry.unwrap().size.unwrap() > 6);
                assert!(cache.cached(dir, name, now).unwrap().entry.is_some());
            }
        }
    };
    holds(&dir());
    assert!(bench.asked().is_empty());
    let shown = || listed(&cache.list(&dir(), soon(), bench.now).unwrap().0);
    assert_eq!(shown(), names(&[("a", 1), ("b", 8), ("pinned", 7)]));
    cache.invalidate(&dir());
    cache.clear();
    holds(&dir());
    cache.list(&path("/other"), soon(), bench.now).unwrap();
    holds(&dir());
    cache.moved(&dir(), &path("/e"));
    holds(&path("/e"));
    assert!(cache.lookup(&dir(), &pinned, soon(), bench.now).unwrap().entry.is_none());
    cache.moved(&path("/e"), &dir());
    cache.unpin(&dir(), &name("b"));
    cache.changed(&dir(), &pinned, Some(entry(b"x", 70)));
    assert_eq!(cache.cached(&dir(), &pinned, bench.now).unwrap().entry.unwrap().size, Some(70));
    assert_eq!(shown(), names(&[("a", 1), ("b", 2)]), "a later question is answered as the server does");
}

#[test]
fn a_listing_without_its_pins_is_the_one_from_before() {
    let bench = bench(true, false);
    let (before, _) = bench.cache.list(&dir(), soon(), bench.now).unwrap();
    bench.cache.pin(&dir(), &name("p"), entry(b"p", 7));
    let (with, _) = bench.cache.cached_listing(&dir(), bench.now).unwrap();
    assert_eq!(listed(&with), names(&[("a", 1), ("b", 2), ("p", 7)]));
    bench.cache.pin(&dir(), &name("p"), entry(b"p", 7));
    assert_eq!(bench.cache.cached_listing(&dir(), bench.now).unwrap().0.serial(), with.serial());
    bench.cache.unpin(&dir(), &name("p"));
    assert_eq!(bench.cache.cached_listing(&dir(), bench.now).unwrap().0.serial(), before.serial());
}

#[test]
fn what_is_known_moves_with_the_name() {
    let bench = bench(true, false);
    bench.cache.list(&dir(), soon(), bench.now).unwrap();
    bench.cache.list(&path("/e"), soon(), bench.now).unwrap();
    bench.cache.moved(&path("/d/a"), &path("/e/b"));
    assert_eq!(bench.shown(), names(&[("b", 2)]));
    let (other, _) = bench.cache.cached_listing(&path("/e"), bench.now).unwrap();
    assert_eq!(listed(&other), names(&[("a", 1), ("b", 1)]));
    assert_eq!(bench.asked(), ["list /d", "list /e"]);
}

#[test]
fn a_moved_entry_that_nobody_knows_has_its_directory_listed_again() {
    let bench = bench(false, false);
    bench.cache.list(&path("/e"), soon(), bench.now).unwrap();
    bench.cache.moved(&path("/d/a"), &path("/e/c"));
    assert_eq!(bench.lookup(b"a", bench.now), None);
    assert!(bench.cache.cached_listing(&path("/e"), bench.now).is_none());
    assert!(bench.cache.cached(&path("/e"), &name("c"), bench.now).is_none());
}

#[test]
fn what_is_known_below_a_directory_moves_with_it() {
    let bench = bench(true, false);
    *bench.script.entries.lock() = vec![RemoteEntry { kind: EntryKind::Directory, ..entry(b"s", 1) }];
    for dir in ["/", "/s", "/s/s", "/ss"] {
        bench.cache.list(&path(dir), soon(), bench.now).unwrap();
    }
    let (deep, _) = bench.cache.cached_listing(&path("/s/s"), bench.now).unwrap();
    bench.cache.moved(&path("/s"), &path("/t"));
    let serial = |dir: &str| bench.cache.cached_listing(&path(dir), bench.now).map(|(l, _)| l.serial());
    assert_eq!(serial("/t/s"), Some(deep.serial()));
    assert!(serial("/t").is_some() && serial("/ss").is_some());
    assert!(serial("/s").is_none() && serial("/s/s").is_none());
    let root = bench.cache.cached_listing(&path("/"), bench.now).unwrap().0;
    assert_eq!(listed(&root), names(&[("t", 1)]));
    assert_eq!(bench.asked().len(), 4);
}

#[test]
fn a_made_directory_is_known_to_be_empty_and_a_removed_one_unknown() {
    let bench = bench(false, false);
    bench.cache.made_directory(&dir());
    assert_eq!(bench.shown(), []);
    assert_eq!(bench.lookup(b"a", bench.now), None);
    bench.changed("new", Some(3));
    assert_eq!(bench.shown(), names(&[("new", 3)]));
    assert!(bench.asked().is_empty());
    bench.cache.pin(&dir(), &name("p"), entry(b"p", 1));
    bench.cache.removed_directory(&dir());
    assert_eq!(bench.lookup(b"p", bench.now), None);
    assert_eq!(bench.asked(), ["list /d"]);
}

#[test]
fn an_answer_about_a_path_that_was_renamed_meanwhile_is_not_kept() {
    let bench = bench(false, true);
    thread::scope(|scope| {
        let ask = || bench.cache.list(&dir(), soon(), bench.now).unwrap().1;
        let asker = scope.spawn(ask);
        bench.asked.recv_timeout(SOON).unwrap();
        bench.cache.moved(&dir(), &path("/e"));
        bench.cache.made_directory(&dir());
        bench.release.send(()).unwrap();
        // Not younger than anything that was done since.
        assert!(asker.join().unwrap() < Instant::now());
    });
    assert_eq!(bench.shown(), []);
    assert!(bench.cache.cached_listing(&path("/e"), bench.now).is_none());
}

#[test]
fn link_targets_follow_renames_and_removals() {
    let bench = bench(true, false);
    *bench.script.entries.lock() = vec![link(b"a", None), link(b"b", None)];
    bench.cache.list(&dir(), soon(), bench.now).unwrap();
    let target = |text: &str| bench.cache.cached_target(&dir(), &name(text), bench.now);
    bench.cache.target(&dir(), &name("a"), soon(), bench.now).unwrap();
    bench.changed("plain", Some(1));
    assert!(target("a").flatten().is_some(), "no link was changed");
    bench.cache.moved(&path("/d/a"), &path("/d/c"));
    let moved = bench.cache.cached(&dir(), &name("c"), bench.now).unwrap().entry.unwrap();
    assert_eq!(moved.link_target.as_deref(), Some(&b"there"[..]));
    assert_eq!(target("a").flatten(), None);

    bench.cache.target(&dir(), &name("a"), soon(), bench.now).unwrap();
    bench.cache.changed(&dir(), &name("a"), None);
    assert_eq!(target("a"), None);
    bench.cache.changed(&dir(), &name("a"), Some(link(b"a", Some(b"elsewhere"))));
    let ours = bench.cache.cached(&dir(), &name("a"), bench.now).unwrap().entry.unwrap();
    assert_eq!(ours.link_target.as_deref(), Some(&b"elsewhere"[..]));
}

#[test]
fn targets_on_their_way_do_not_show_a_removed_link() {
    let bench = bench(true, true);
    *bench.script.entries.lock() = vec![link(b"a", None)];
    thread::scope(|scope| {
        let asker = scope.spawn(|| bench.cache.target(&dir(), &name("a"), soon(), bench.now).unwrap());
        bench.asked.recv_timeout(SOON).unwrap();
        bench.changed("a", None);
        bench.release.send(()).unwrap();
        assert_eq!(asker.join().unwrap(), None);
    });
    assert_eq!(bench.cache.cached_target(&dir(), &name("a"), bench.now), None);
}

#[test]
fn who_confirms_a_name_confirms_it_as_it_was_when_he_asked() {
    let bench = bench(true, false);
    bench.cache.list(&dir(), soon(), bench.now).unwrap();
    let set = |mode| {
        let changed = RemoteEntry { mode: Some(mode), ..entry(b"a", 1) };
        bench.cache.changed(&dir(), &name("a"), Some(changed));
    };
    let mode = || bench.cache.cached(&dir(), &name("a"), bench.now).unwrap().entry.unwrap().mode;
    set(0o444);
    set(0o644);
    bench.cache.inquire(&dir(), &name("a")).confirmed(None);
    assert_eq!(mode(), Some(0o644));
    let inquiry = bench.cache.inquire(&dir(), &name("a"));
    set(0o600);
    inquiry.confirmed(None);
    assert_eq!(mode(), Some(0o600));
    bench.cache.inquire(&dir(), &name("a")).confirmed(Some(0o640));
    assert_eq!(mode(), Some(0o640));
}
