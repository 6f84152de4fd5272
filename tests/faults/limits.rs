//! Servers with few places.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, LATE, Options, SAMPLE_NAMES, eventually, watched};
use crate::common_ftpd::{Quirks, Refusal, Rest, Server, Tree, pattern};

const STYLES: [Refusal; 9] = [
    Refusal::Greeting("421 There are too many connected users, please try later."),
    Refusal::Greeting("421 There are too many connections from your internet address."),
    Refusal::Silent,
    Refusal::Pass("530 Sorry, the maximum number of clients (1) from your host are already connected."),
    Refusal::Greeting(
        "530 Sorry, the maximum number of connections (2) for your host are already connected.",
    ),
    Refusal::Greeting("421 2 users (the maximum) are already logged in, sorry"),
    Refusal::Greeting("421 Too many connections (2) from this IP"),
    Refusal::Pass("421 I can't accept more than 2 connections as the same user"),
    Refusal::Greeting("421 Too many connections. Service temporarily unavailable."),
];

fn tree() -> Tree {
    let mut tree = Tree::sample();
    for i in 0..4 {
        tree.put(&format!("/home/u/sub/f{i}"), pattern(i, 1 << 20));
    }
    tree
}

/// 16 threads read random ranges of 4 files, another lists, all against `places`; all must be right.
fn crowd(places: usize, refusal: Refusal, rounds: usize) {
    let quirks = Quirks { places: Some((places, refusal)), ..Quirks::default() };
    let server = Arc::new(Server::start(tree(), quirks));
    let operation = Duration::from_secs(50);
    let options = Options { connections: 8, operation, ..Options::default() };
    let client = Arc::new(Client::connect(&server, options).unwrap());
    let readers: Vec<_> = (0..4).map(|i| client.open(&format!("sub/f{i}")).unwrap()).collect();
    let reading = Arc::new(AtomicBool::new(true));
    let lister = {
        let (client, reading) = (client.clone(), reading.clone());
        thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while reading.load(Ordering::SeqCst) {
                let begun = Instant::now();
                assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
                longest = longest.max(begun.elapsed());
            }
            longest
        })
    };
    thread::scope(|scope| {
        for thread in 0..16_u64 {
            let (client, readers) = (&client, &readers);
            scope.spawn(move || {
                let random = pattern(thread + 100, rounds * 8);
                for (round, bytes) in random.chunks(8).enumerate() {
                    let number = u64::from_le_bytes(bytes.try_into().unwrap());
                    let file = (number % 4) as usize;
                    let offset = (number >> 8) as usize % (1 << 20);
                    let len = 1 + (number >> 40) as usize % 100_000;
                    let got = client.read(&readers[file], offset, len).unwrap();
                    let whole = pattern(file as u64, 1 << 20);
                    assert!(got == whole[offset..whole.len().min(offset + len)], "{thread} {round}");
                }
            });
        }
    });
    reading.store(false, Ordering::SeqCst);
    let longest = lister.join().unwrap();
    assert!(longest < Duration::from_secs(15), "a listing waited {longest:?}");
    assert!(server.most_seated() <= places);
    assert!(server.turned_away() <= 10, "{} connections were turned away", server.turned_away());
    drop(readers);
    drop(client);
    eventually("all connections are closed", || server.connections() == 0);
}

#[test]
fn one_place_serves_16_readers_and_a_lister() {
    watched(|| crowd(1, STYLES[0], 8));
}

#[test]
fn three_places_serve_16_readers_and_a_lister() {
    watched(|| crowd(3, STYLES[3], 8));
}

#[test]
fn every_style_of_refusal_is_understood() {
    thread::scope(|scope| {
        for style in STYLES {
            scope.spawn(move || watched(move || crowd(2, style, 1)));
        }
    });
}

#[test]
fn a_place_that_becomes_free_is_waited_for() {
    for style in [STYLES[0], STYLES[2], STYLES[3]] {
        watched(move || {
            let quirks = Quirks { places: Some((1, style)), ..Quirks::default() };
            let server = Server::start(Tree::sample(), quirks);
            let first = Client::of(&server);
            let leaving = thread::spawn(move || {
                thread::sleep(Duration::from_secs(1));
                drop(first);
            });
            let second = Client::of(&server);
            assert_eq!(second.names("").unwrap(), SAMPLE_NAMES);
            leaving.join().unwrap();
        });
    }
}

#[test]
fn an_idle_stream_gives_its_only_connection_up_at_once_and_goes_on_later() {
    watched(|| {
        let mut tree = Tree::sample();
        let huge = pattern(7, 16 << 20);
        tree.put("/home/u/sub/huge", huge.clone());
        let server = Server::start(tree, Quirks::default());
        let options = Options { connections: 1, cache: 4 << 20, ..Options::default() };
        let client = Client::connect(&server, options).unwrap();
        let reader = client.open("sub/huge").unwrap();
        let mut at = 0;
        for _ in 0..20 {
            for _ in 0..3 {
                assert!(client.read(&reader, at, 200_000).unwrap() == huge[at..at + 200_000]);
                at += 200_000;
            }
            let begun = Instant::now();
            assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
            assert!(begun.elapsed() < Duration::from_secs(1), "the listing waited {:?}", begun.elapsed());
        }
        reader.close();
        assert_eq!(server.most_seated(), 1);
    });
}

#[test]
fn two_files_are_read_by_one_connection_without_rest() {
    watched(|| {
        // Each takes several turns of the connection, and a turn that is cut short begins at 0 again.
        let (slow, rest) = (Some(Duration::from_millis(10)), Rest::Refused);
        let mut tree = tree();
        tree.put("/home/u/sub/f0", pattern(0, 4 << 20));
        tree.put("/home/u/sub/f1", pattern(1, 4 << 20));
        let server = Server::start(tree, Quirks { slow, rest, ..Quirks::default() });
        let options = Options { connections: 1, operation: Duration::from_secs(30), ..Options::default() };
        let client = Client::connect(&server, options).unwrap();
        thread::scope(|scope| {
            for i in 0..2 {
                let client = &client;
                scope.spawn(move || {
                    let reader = client.open(&format!("sub/f{i}")).unwrap();
                    let offset = (4 << 20) - 300_000;
                    let whole = pattern(i, 4 << 20);
                    assert!(
                        client.read(&reader, offset, 100_000).unwrap() == whole[offset..offset + 100_000]
                    );
                    reader.close();
                });
            }
        });
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
    });
}

#[test]
fn a_listing_does_not_wait_for_a_reader_that_never_pauses() {
    watched(|| {
        let mut tree = Tree::sample();
        tree.put("/home/u/sub/huge", pattern(7, 16 << 20));
        let slow = Some(Duration::from_millis(10));
        let server = Server::start(tree, Quirks { slow, ..Quirks::default() });
        let options = Options { connections: 1, ..Options::default() };
        let client = Arc::new(Client::connect(&server, options).unwrap());
        let other = client.clone();
        let reading =
            thread::spawn(move || assert!(other.read_all("sub/huge").unwrap() == pattern(7, 16 << 20)));
        for _ in 0..10 {
            let begun = Instant::now();
            assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
            assert!(begun.elapsed() < LATE, "the listing waited {:?}", begun.elapsed());
        }
        reading.join().unwrap();
    });
}

#[test]
fn connections_that_cannot_be_made_do_not_harm_those_that_work() {
    // Longer than it takes to give up a server that cannot be reached.
    let table = [
        (Refusal::Mute, Duration::from_secs(18)),
        (Refusal::Pass("530 User cannot log in."), Duration::from_secs(1)),
    ];
    for (refusal, time) in table {
        watched(move || {
            let quirks = Quirks { places: Some((2, refusal)), ..Quirks::default() };
            let server = Server::start(tree(), quirks);
            let client = Client::of(&server);
            let end = Instant::now() + time;
            thread::scope(|scope| {
                for i in 0..6 {
                    let client = &client;
                    scope.spawn(move || {
                        let file = format!("sub/f{}", i % 4);
                        while Instant::now() < end {
                            assert!(
                                client.read_all(&file).unwrap() == pattern(i % 4, 1 << 20),
                                "{refusal:?}"
                            );
                            assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
                        }
                    });
                }
            });
        });
    }
}
