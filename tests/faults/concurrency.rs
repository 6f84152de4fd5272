//! Many readers at once.

use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use crate::client::{Client, Options, watched};
use crate::common_ftpd::{Quirks, Server, Tree, pattern};

const SIZE: usize = 4 << 20;

/// Threads, each with its reads.
fn reads() -> impl Strategy<Value = Vec<Vec<(usize, usize)>>> {
    let read = (0..SIZE + 1000, 1..300_000_usize);
    prop::collection::vec(prop::collection::vec(read, 1..12), 2..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn readers_of_one_file_get_its_bytes_however_small_the_cache(reads in reads(), connections in 1..6_usize) {
        watched(move || {
            let mut tree = Tree::sample();
            let file = Arc::new(pattern(21, SIZE));
            tree.put("/home/u/file", file.to_vec());
            let server = Server::start(tree, Quirks::default());
            let operation = std::time::Duration::from_secs(40);
            let options = Options { connections, cache: 1 << 20, operation, ..Options::default() };
            let client = Client::connect(&server, options).unwrap();
            let reader = client.open("file").unwrap();
            thread::scope(|scope| {
                for reads in &reads {
                    let (client, reader, file) = (&client, &reader, &file);
                    scope.spawn(move || {
                        for &(offset, len) in reads {
                            let got = client.read(reader, offset, len).unwrap();
                            let from = offset.min(SIZE);
                            assert!(got == file[from..SIZE.min(offset + len)], "{offset} {len}");
                        }
                    });
                }
            });
            reader.close();
        });
    }
}

/// Runs `alone` in a process of its own, where no other test has threads.
#[test]
fn nothing_is_left_running_when_a_client_is_gone() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "concurrency::alone", "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "counts the threads of its process; run by nothing_is_left_running_when_a_client_is_gone"]
fn alone() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    watched(move || {
        let server = Server::start(Tree::sample(), Quirks::default());
        let before = threads();
        let client = Client::plain(&server, Options::default()).unwrap();
        let readers: Vec<_> = (0..3).map(|_| client.open("big").unwrap()).collect();
        for reader in &readers {
            client.read(reader, 100_000, 10).unwrap();
        }
        readers.iter().for_each(|reader| reader.close());
        drop(client);
        drop(readers);
        crate::client::eventually("the threads of a client end", || threads() <= before);
        // Nor does one whose login was refused, or that nobody closed.
        server.quirks().account = Some("money");
        assert!(Client::plain(&server, Options::default()).is_err());
        crate::client::eventually("the threads of a refused login end", || threads() <= before);
    });
}
