//! Servers that go away and come back.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ftpfs::remote::Kind;

use crate::client::{Client, LATE, OPERATION, Options, SAMPLE_NAMES, eventually, is_clean, watched};
use crate::common_ftpd::{DataCut, DataCutEnd, Quirks, Refusal, Said, Server, Then, Tree};

#[test]
fn a_dead_server_fails_calls_in_time_then_at_once_and_is_found_again_by_itself() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks::default());
        let operation = Duration::from_secs(25);
        let client = Client::connect(&server, Options { operation, ..Options::default() }).unwrap();
        let big = server.tree().bytes("/home/u/big").unwrap();
        let reader = client.open("big").unwrap();
        assert!(client.read(&reader, 0, 1000).unwrap() == big[..1000]);
        let address = server.stop();
        let begun = Instant::now();
        let error = client.names("").unwrap_err();
        assert!(is_clean(&error), "{error:?}");
        assert!(begun.elapsed() < operation + LATE);
        let begun = Instant::now();
        assert!(client.names("").is_err() && client.version("small").is_err());
        assert!(begun.elapsed() < Duration::from_secs(1), "it is not given up: {:?}", begun.elapsed());
        // What is in memory needs no server.
        assert!(client.read(&reader, 0, 1000).unwrap() == big[..1000]);
        let server = Server::start_at(address, Tree::sample(), Quirks::default());
        eventually("the server is found again", || client.names("").is_ok());
        assert!(client.read_all("big").unwrap() == big);
        drop(client);
        eventually("all connections are closed", || server.connections() == 0);
    });
}

#[test]
fn a_restart_under_a_reader_is_only_a_pause() {
    watched(|| {
        let mut tree = Tree::sample();
        let file = crate::common_ftpd::pattern(4, 8 << 20);
        tree.put("/home/u/file", file.clone());
        let slow = Some(Duration::from_millis(10));
        let server = Server::start(tree.clone(), Quirks { slow, ..Quirks::default() });
        let client = Arc::new(Client::of(&server));
        let other = client.clone();
        let reading = thread::spawn(move || other.read_all("file").unwrap());
        eventually("the reading has begun", || server.count("RETR") > 0);
        let address = server.stop();
        thread::sleep(Duration::from_secs(1));
        let _server = Server::start_at(address, tree, Quirks::default());
        assert!(reading.join().unwrap() == file);
        assert_eq!(client.names("").unwrap(), [&["big", "file"][..], &SAMPLE_NAMES[1..]].concat());
    });
}

#[test]
fn closing_frees_those_who_wait() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks::default());
        let client = Arc::new(Client::of(&server));
        let _address = server.stop();
        let other = client.clone();
        let waiting = thread::spawn(move || other.names(""));
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        client.remote.close();
        assert!(waiting.join().unwrap().is_err());
        assert!(begun.elapsed() < LATE.min(OPERATION), "{:?}", begun.elapsed());
    });
}

/// The time that is left after one failure may be too short for another login; that is not what went wrong.
#[test]
fn what_failed_is_told_when_no_time_is_left_for_another_attempt() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks::default());
        let operation = Duration::from_millis(1500);
        let client = Client::connect(&server, Options { operation, ..Options::default() }).unwrap();
        {
            let mut quirks = server.quirks();
            for verb in ["STAT", "MLSD", "EPSV"] {
                quirks.said.push(Said::new(verb, 1, "421 The disk has failed.\r\n", Then::Close));
            }
            quirks.places = Some((0, Refusal::Mute));
        }
        let error = client.names("").unwrap_err();
        assert!(error.to_string().contains("421 The disk has failed."), "{error}");
        assert_ne!(error.kind(), Kind::DeadlinePassed, "{error}");
    });
}

/// Only the user can know how long a directory may take.
#[test]
fn a_listing_that_takes_too_long_tells_what_allows_more_time() {
    watched(|| {
        let mut tree = Tree::sample();
        tree.put_directory("/home/u/many");
        for number in 0..20_000 {
            tree.put(&format!("/home/u/many/file-{number:06}"), Vec::new());
        }
        let slow = Some(Duration::from_millis(300));
        let server = Server::start(tree, Quirks { slow, ..Quirks::default() });
        let operation = Duration::from_secs(3);
        let client = Client::connect(&server, Options { operation, ..Options::default() }).unwrap();
        let error = client.names("many").unwrap_err();
        assert!(error.to_string().contains("operation_timeout="), "{error}");
        server.quirks().slow = None;
        eventually("it is listed", || client.names("many").is_ok_and(|names| names.len() == 20_000));
    });
}

/// The kernel asks once more, at once, for a page that it did not get.
#[test]
fn who_reads_of_a_silent_server_waits_once() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks::default());
        let operation = Duration::from_secs(3);
        let client = Client::connect(&server, Options { operation, ..Options::default() }).unwrap();
        let big = server.tree().bytes("/home/u/big").unwrap();
        let reader = client.open("big").unwrap();
        server.quirks().data_cut = Some(DataCut { after: 0, times: usize::MAX, end: DataCutEnd::Stalls });
        let error = client.read(&reader, 0, 1000).unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlinePassed, "{error}");
        let begun = Instant::now();
        assert!(client.read(&reader, 0, 1000).is_err());
        assert!(begun.elapsed() < operation / 2, "it waited again: {:?}", begun.elapsed());
        server.quirks().data_cut = None;
        eventually("it is read again", || {
            client.read(&reader, 0, 1000).is_ok_and(|bytes| bytes == big[..1000])
        });
    });
}
