//! Directories listed ahead of a walk.

use super::*;

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

/// A server whose directories all hold these directories.
fn walked(names: &[&str], gated: bool) -> Bench {
    let bench = bench(true, gated);
    let dir = |name: &&str| RemoteEntry { kind: EntryKind::Directory, ..entry(name.as_bytes(), 4096) };
    *bench.script.entries.lock() = names.iter().map(dir).collect();
    bench.script.together.store(true, Ordering::Relaxed);
    bench
}

impl Bench {
    fn read(&self, dir: &str) -> usize {
        self.cache.read(&path(dir), soon(), self.now).unwrap().0.entries().len()
    }
}

#[test]
fn the_next_directories_of_a_walk_come_with_the_first() {
    let bench = walked(&["a", "b", "c"], false);
    for dir in ["/", "/a", "/b", "/c"] {
        assert_eq!(bench.read(dir), 3);
    }
    assert_eq!(bench.asked(), ["list /", "together /a /b /c"]);
}

#[test]
fn what_is_not_told_with_others_is_asked_for_by_itself() {
    let bench = walked(&["untold", "b", "c-untold"], false);
    for dir in ["/", "/untold", "/b", "/c-untold"] {
        assert_eq!(bench.read(dir), 3);
    }
    let asked = bench.asked();
    assert_eq!(asked[..3], ["list /", "together /untold /b /c-untold", "list /untold"]);
    assert_eq!(asked.iter().filter(|question| *question == "list /c-untold").count(), 1, "{asked:?}");
    assert!(!asked.contains(&"list /b".to_owned()), "{asked:?}");
}

#[test]
fn who_wants_what_is_on_its_way_waits_for_that() {
    let bench = walked(&["a", "b"], true);
    bench.release.send(()).unwrap();
    bench.read("/");
    thread::scope(|scope| {
        let first = scope.spawn(|| bench.read("/a"));
        let questions: Vec<_> = (0..2).map(|_| bench.asked.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(questions, ["list /", "together /a /b"]);
        let second = scope.spawn(|| bench.read("/b"));
        bench.release.send(()).unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (2, 2));
    });
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn a_change_of_ours_is_in_what_came_ahead() {
    let bench = walked(&["a", "b"], true);
    bench.release.send(()).unwrap();
    bench.read("/");
    thread::scope(|scope| {
        let first = scope.spawn(|| bench.read("/a"));
        while bench.asked.recv_timeout(SOON).unwrap() != "together /a /b" {}
        bench.cache.changed(&path("/b"), &Name::new(b"a").unwrap(), None);
        bench.release.send(()).unwrap();
        first.join().unwrap();
    });
    assert_eq!(bench.read("/b"), 1);
}

/// The questions until `count` of them begin with `ahead`.
fn until_ahead(bench: &Bench, count: usize) -> Vec<String> {
    let mut questions: Vec<String> = Vec::new();
    while questions.iter().filter(|question| question.starts_with("ahead")).count() < count {
        questions.push(bench.asked.recv_timeout(SOON).unwrap());
    }
    questions
}

#[test]
fn a_server_that_lists_one_at_a_time_is_asked_for_the_next_ones_beside() {
    let bench = walked(&["a", "b", "c"], false);
    bench.script.together.store(false, Ordering::Relaxed);
    assert_eq!((bench.read("/"), bench.read("/a")), (3, 3));
    let mut questions = until_ahead(&bench, 2);
    for dir in ["/b", "/c"] {
        assert_eq!(bench.read(dir), 3);
    }
    questions.extend(bench.asked());
    for question in ["list /", "list /a", "ahead /b", "ahead /c"] {
        assert_eq!(
            questions.iter().filter(|asked| *asked == question).count(),
            1,
            "{question}: {questions:?}"
        );
    }
    assert!(!questions.iter().any(|asked| asked == "list /b" || asked == "list /c"), "{questions:?}");
}

#[test]
fn who_waits_for_one_that_fails_beside_asks_for_it_himself() {
    asks_for_it_himself("untold");
    asks_for_it_himself("panic");
}

fn asks_for_it_himself(name: &str) {
    let bench = walked(&["a", name], true);
    bench.script.together.store(false, Ordering::Relaxed);
    bench.release.send(()).unwrap();
    bench.read("/");
    thread::scope(|scope| {
        let first = scope.spawn(|| bench.read("/a"));
        until_ahead(&bench, 1);
        let second = scope.spawn(|| bench.read(&format!("/{name}")));
        // One for each question that is on its way, or comes: nobody may be left without an answer.
        (0..8).for_each(|_| bench.release.send(()).unwrap());
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (2, 2));
    });
}
