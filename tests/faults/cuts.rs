//! Connections that end at every possible moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ftpfs::remote::{Error, Kind};

use crate::client::{Client, LATE, OPERATION, Options, SAMPLE_NAMES, is_clean, watched};
use crate::common_ftpd::{ControlCut, DataCut, DataCutEnd, ListForm, Quirks, Rest, Said, Server, Then, Tree};

/// Tests of one loop that run at the same time; nearly all of their time is waiting.
const TOGETHER: usize = 8;

/// Sessions have fewer replies than this.
const MOST_REPLIES: usize = 200;

/// Each step of a session, with what it gave. Every result that is no error is checked here.
fn session(server: &Server) -> Vec<Result<(), Error>> {
    let big = server.tree().bytes("/home/u/big").unwrap();
    let begun = Instant::now();
    let client = Client::connect(server, Options::default());
    assert!(begun.elapsed() < OPERATION + LATE, "connecting took {:?}", begun.elapsed());
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Err(error)],
    };
    assert_eq!(client.remote.base().as_bytes(), b"/home/u");
    let mut steps = vec![Ok(())];
    let mut step = |result: Result<(), Error>, begun: Instant| {
        assert!(begun.elapsed() < OPERATION + LATE, "step {} took {:?}", steps.len(), begun.elapsed());
        steps.push(result);
    };
    let begun = Instant::now();
    step(client.names("").map(|names| assert_eq!(names, SAMPLE_NAMES)), begun);
    let begun = Instant::now();
    let version = client.version("big");
    step(version.clone().map(|version| assert_eq!(version.size, big.len() as u64)), begun);
    let Ok(version) = version else { return steps };
    let reader = client.open_version("big", version);
    for (offset, len) in [(0, 4096), (200_000, 4096), (100_000, 150_000), (290_000, 100_000)] {
        let begun = Instant::now();
        let expected = &big[offset..big.len().min(offset + len)];
        step(client.read(&reader, offset, len).map(|bytes| assert!(bytes == expected)), begun);
    }
    reader.close();
    steps
}

/// Runs `session` for each point at which the control connection can be cut, until it passes uncut.
fn cut_everywhere(quirks: &Quirks, connections: usize, judge: fn(usize, &[Result<(), Error>])) {
    let next = AtomicUsize::new(0);
    let uncut = AtomicUsize::new(usize::MAX);
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let after = next.fetch_add(1, Ordering::SeqCst);
                    if after > uncut.load(Ordering::SeqCst) {
                        return;
                    }
                    assert!(after < MOST_REPLIES, "the session never passes uncut");
                    let control_cut = Some(ControlCut { after, connections });
                    let quirks = Quirks { control_cut, ..quirks.clone() };
                    let (server, steps) = watched(move || {
                        let server = Server::start(Tree::sample(), quirks);
                        let steps = session(&server);
                        (server, steps)
                    });
                    judge(after, &steps);
                    if server.cuts() == 0 {
                        uncut.fetch_min(after, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(uncut.load(Ordering::SeqCst) > 10, "nothing was ever cut");
}

fn all_right(after: usize, steps: &[Result<(), Error>]) {
    assert_eq!(steps.len(), 7, "cut after reply {after}: {:?}", steps.last());
    for (i, step) in steps.iter().enumerate() {
        assert!(step.is_ok(), "cut after reply {after}, step {i}: {:?}", step);
    }
}

fn all_right_or_clean(after: usize, steps: &[Result<(), Error>]) {
    for (i, step) in steps.iter().enumerate() {
        if let Err(error) = step {
            assert!(is_clean(error), "cut after reply {after}, step {i}: {error:?}");
        }
    }
}

#[test]
fn a_connection_that_ends_after_any_reply_costs_nothing_but_time() {
    cut_everywhere(&Quirks::default(), 1, all_right);
}

#[test]
fn a_connection_that_ends_after_any_reply_costs_nothing_without_mlst_either() {
    let quirks = Quirks { mlst: false, list_form: ListForm::Unix { zone: 0 }, ..Quirks::default() };
    cut_everywhere(&quirks, 1, all_right);
}

#[test]
fn connections_that_all_end_after_any_reply_give_right_results_or_clean_errors() {
    cut_everywhere(&Quirks::default(), usize::MAX, all_right_or_clean);
}

#[test]
fn data_cut_at_any_byte_is_gone_on_with_at_its_offset() {
    let size = 300 * 1024;
    let mut positions: Vec<usize> = (0..32).map(|i| i * size / 32 + 7 * i).collect();
    positions.extend([1, 65_535, 65_536, 131_071, 131_072, 131_073, 262_144, size - 1]);
    for end in [DataCutEnd::Says426, DataCutEnd::Lies226, DataCutEnd::Silent] {
        let positions = positions.clone();
        thread::scope(|scope| {
            for share in positions.chunks(positions.len() / TOGETHER) {
                scope.spawn(move || {
                    for &after in share {
                        watched(move || cut_data(DataCut { after, times: 1, end }));
                    }
                });
            }
        });
    }
}

fn cut_data(cut: DataCut) {
    let server = Server::start(Tree::sample(), Quirks::default());
    let client = Client::of(&server);
    let big = server.tree().bytes("/home/u/big").unwrap();
    let reader = client.open("big").unwrap();
    server.quirks().data_cut = Some(cut);
    let mut bytes = Vec::new();
    while bytes.len() < big.len() {
        let piece = client.read(&reader, bytes.len(), 50_000);
        bytes.extend(piece.unwrap_or_else(|error| panic!("{cut:?}: {error:?}")));
    }
    assert!(bytes == big, "{cut:?}");
    assert_eq!(server.cuts(), 1, "{cut:?}");
    if cut.after > 150_000 {
        assert!(server.count("REST") > 0, "{cut:?}: nothing was gone on with");
    }
}

#[test]
fn a_listing_that_was_cut_is_never_taken_for_whole() {
    for end in [DataCutEnd::Says426, DataCutEnd::Silent] {
        for after in [0, 1, 50, 120, 200] {
            watched(move || {
                let server = Server::start(Tree::sample(), Quirks::default());
                let client = Client::of(&server);
                server.quirks().data_cut = Some(DataCut { after, times: 2, end });
                assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
                server.quirks().data_cut = Some(DataCut { after, times: usize::MAX, end });
                let error = client.names("").unwrap_err();
                assert!(is_clean(&error), "{end:?} after {after}: {error:?}");
            });
        }
    }
}

#[test]
fn a_data_connection_that_stalls_is_given_up_and_gone_on_with() {
    for after in [0, 1000, 200_000] {
        watched(move || cut_data(DataCut { after, times: 1, end: DataCutEnd::Stalls }));
    }
}

#[test]
fn no_call_outlasts_its_deadline_however_long_a_stall_is_allowed() {
    watched(|| {
        let quirks = Quirks { mlst: false, ..Quirks::default() };
        let server = Server::start(Tree::sample(), quirks);
        let mut options = Options { operation: Duration::from_secs(3), ..Options::default() };
        options.timeouts.stall = Duration::from_secs(40);
        options.timeouts.reply = Duration::from_secs(40);
        let client = Client::connect(&server, options).unwrap();
        let reader = client.open("big").unwrap();
        let in_time = |what: &str, call: &dyn Fn() -> Option<Error>| {
            let begun = Instant::now();
            let error = call().unwrap_or_else(|| panic!("{what} succeeded"));
            assert_eq!(error.kind(), Kind::DeadlinePassed, "{what}: {error:?}");
            assert!(begun.elapsed() < Duration::from_secs(3) + LATE, "{what} took {:?}", begun.elapsed());
        };
        for after in [0, 50] {
            server.quirks().data_cut = Some(DataCut { after, times: usize::MAX, end: DataCutEnd::Stalls });
            in_time("a listing", &|| client.list("").err());
            in_time("a read", &|| client.read(&reader, 0, 1000).err());
        }
        server.quirks().data_cut = None;
        server.quirks().said = vec![Said::new("SIZE", usize::MAX, "", Then::Hang)];
        in_time("a stat", &|| client.version("small").err());
        reader.close();
    });
}

#[test]
fn without_rest_a_file_that_is_always_cut_is_an_error_and_the_server_is_left_alone() {
    watched(|| {
        let quirks = Quirks { rest: Rest::Refused, ..Quirks::default() };
        let server = Server::start(Tree::sample(), quirks);
        let client = Client::of(&server);
        let big = server.tree().bytes("/home/u/big").unwrap();
        assert!(client.read_all("big").unwrap() == big);
        let fresh = Client::of(&server);
        server.quirks().data_cut =
            Some(DataCut { after: 150_000, times: usize::MAX, end: DataCutEnd::Says426 });
        let reader = fresh.open("big").unwrap();
        let error = fresh.read(&reader, 250_000, 1000).unwrap_err();
        assert!(is_clean(&error), "{error:?}");
        // What could be had, is.
        assert!(fresh.read(&reader, 0, 1000).unwrap() == big[..1000]);
        thread::sleep(Duration::from_secs(1));
        let (before, pause) = (server.count("RETR"), Duration::from_secs(3));
        thread::sleep(pause);
        assert_eq!(server.count("RETR"), before, "it goes on for ever");
    });
}
