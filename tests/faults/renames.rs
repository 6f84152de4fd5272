//! Files that are renamed while they are read.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ftpfs::read::Reader;
use ftpfs::remote::Kind;

use crate::client::{Client, Options, eventually, watched};
use crate::common_ftpd::{Quirks, Server, Tree, pattern};

const LEN: usize = 4 << 20;

/// The server's `unique` facts are hashes of paths, which are equal for these two: as for one file.
const OLD: &str = "/home/u/Aa";
const NEW: &str = "/home/u/BB";

/// The sample tree with a file of [`LEN`] bytes.
fn tree_with(path: &str) -> Tree {
    let mut tree = Tree::sample();
    tree.put(path, pattern(21, LEN));
    tree
}

fn check(client: &Client, reader: &Arc<Reader>, offset: usize) {
    let bytes = client.read(reader, offset, 50_000).unwrap();
    assert!(bytes == pattern(21, LEN)[offset..offset + 50_000], "at {offset}");
}

#[test]
fn a_renamed_file_is_read_on_whatever_took_its_place() {
    for mlst in [true, false] {
        for successor in [None, Some(pattern(22, LEN)), Some(pattern(22, 1000))] {
            watched(move || {
                let quirks = Quirks { mlst, slow: Some(Duration::from_millis(2)), ..Quirks::default() };
                let server = Server::start(tree_with(OLD), quirks);
                // Too small a cache to hold what the test reads twice.
                let client =
                    Client::connect(&server, Options { cache: 1 << 20, ..Options::default() }).unwrap();
                let reader = client.open("Aa").unwrap();
                check(&client, &reader, 0);
                *server.tree() = tree_with(NEW);
                reader.moved(client.path("BB"));
                if let Some(bytes) = &successor {
                    // Equal to the file in all that the server tells, but its size perhaps.
                    server.tree().put(OLD, bytes.clone());
                }
                assert_eq!(reader.size(), LEN as u64);
                for offset in [50_000, 3 << 20, 1 << 20, 4_100_000, 2 << 20, 0] {
                    check(&client, &reader, offset);
                }
                reader.close();
            });
        }
    }
}

#[test]
fn a_refusal_that_comes_before_the_answer_to_the_rename_is_no_error() {
    watched(|| {
        let server = Server::start(tree_with(OLD), Quirks::default());
        let client = Client::of(&server);
        let reader = client.open("Aa").unwrap();
        *server.tree() = tree_with(NEW);
        thread::scope(|scope| {
            let reading = scope.spawn(|| check(&client, &reader, 1 << 20));
            eventually("the old path is asked for", || server.count("RETR") > 0);
            reader.moved(client.path("BB"));
            reading.join().unwrap();
        });
        reader.close();
    });
}

#[test]
fn a_file_that_somebody_else_removed_is_an_error() {
    watched(|| {
        let server = Server::start(tree_with(OLD), Quirks::default());
        let client = Client::of(&server);
        let reader = client.open("Aa").unwrap();
        *server.tree() = Tree::sample();
        assert_eq!(client.read(&reader, 1 << 20, 10).unwrap_err().kind(), Kind::NotFound);
        reader.close();
    });
}
