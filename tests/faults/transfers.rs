//! Transfers that do not go by the book, and files that change.

use std::thread;
use std::time::Duration;

use ftpfs::cache::Prefetch;
use ftpfs::ftp::features::Capability;
use ftpfs::remote::Kind;

use crate::client::{Client, Options, SAMPLE_NAMES, eventually, is_clean, watched};
use crate::common_ftpd::{DataCut, DataCutEnd, Late, ListForm, Opening, Quirks, Rest, Server, Tree, pattern};

fn reads_and_lists(server: &Server, client: &Client) {
    let big = server.tree().bytes("/home/u/big").unwrap();
    assert!(client.read_all("big").unwrap() == big);
    let reader = client.open("big").unwrap();
    for offset in [250_000, 10, 131_000, 131_072] {
        assert!(client.read(&reader, offset, 5000).unwrap() == big[offset..offset + 5000], "at {offset}");
    }
    reader.close();
    assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
    assert_eq!(client.names("sub").unwrap(), ["inner"]);
}

#[test]
fn odd_openings_and_ends_of_transfers_change_nothing() {
    let table = [
        Quirks { opening: Opening::Says(125), ..Quirks::default() },
        Quirks { opening: Opening::Missing, ..Quirks::default() },
        Quirks { hang_up_after_transfer: true, ..Quirks::default() },
        Quirks { mlst: false, hang_up_after_transfer: true, ..Quirks::default() },
        Quirks { rest: Rest::Refused, ..Quirks::default() },
        Quirks { rest: Rest::Refused, feat: Some("500 what"), ..Quirks::default() },
        Quirks { rest: Rest::Works1st(1), ..Quirks::default() },
        Quirks { mlst: false, list_form: ListForm::Unix { zone: 19_800 }, ..Quirks::default() },
        Quirks { mlst: false, list_form: ListForm::Dos, ..Quirks::default() },
    ];
    for quirks in table {
        watched(move || {
            let shown = format!("{quirks:?}");
            let mut tree = Tree::sample();
            if quirks.list_form == ListForm::Dos {
                // The form has no links.
                tree.put("/home/u/link", pattern(9, 10));
            }
            let server = Server::start(tree, quirks);
            let client = Client::of(&server);
            println!("{shown}");
            reads_and_lists(&server, &client);
        });
    }
}

#[test]
fn a_reply_that_comes_late_answers_nothing_else() {
    for pause in [0, 20, 200] {
        for late in [&b"226 Transfer complete\r\n"[..], b"250 Directory changed\r\n", b"213 7\r\n"] {
            watched(move || {
                let server = Server::start(Tree::sample(), Quirks::default());
                let client = Client::of(&server);
                {
                    let mut quirks = server.quirks();
                    let pause = Duration::from_millis(pause);
                    quirks.late = Some(Late { pause, bytes: late, failed_only: true });
                    let end = DataCutEnd::Says426;
                    quirks.data_cut = Some(DataCut { after: 100_000, times: 2, end });
                }
                let big = server.tree().bytes("/home/u/big").unwrap();
                assert!(client.read_all("big").unwrap() == big);
                assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
                assert_eq!(client.version("small").unwrap().size, 1000);
                assert_eq!(client.names("sub").unwrap(), ["inner"]);
            });
        }
    }
}

#[test]
fn replies_too_many_after_every_transfer_never_lead_to_wrong_results() {
    for pause in [0, 1, 20] {
        for bytes in [&b"226 Transfer complete\r\n"[..], b"250 Directory changed\r\n", b"213 7\r\n"] {
            for mlst in [true, false] {
                watched(move || {
                    let late = Some(Late { pause: Duration::from_millis(pause), bytes, failed_only: false });
                    let server = Server::start(Tree::sample(), Quirks { mlst, late, ..Quirks::default() });
                    let client = Client::of(&server);
                    let big = server.tree().bytes("/home/u/big").unwrap();
                    for _ in 0..5 {
                        match client.read_all("big") {
                            Ok(bytes) => assert!(bytes == big),
                            Err(error) => assert!(is_clean(&error), "{error:?}"),
                        }
                        for (dir, expected) in [("", &SAMPLE_NAMES[..]), ("sub", &["inner"])] {
                            match client.names(dir) {
                                Ok(names) => assert_eq!(names, expected),
                                Err(error) => assert!(is_clean(&error), "{error:?}"),
                            }
                        }
                        match client.version("small") {
                            Ok(version) => assert_eq!(version.size, 1000),
                            Err(error) => assert!(is_clean(&error), "{error:?}"),
                        }
                    }
                });
            }
        }
    }
}

#[test]
fn what_is_said_while_idle_is_not_taken_for_an_answer() {
    for said in [&b"250 Directory changed\r\n"[..], b"421 Timeout.\r\n", b"213 5\r\n", b"\xff\xfe\r\n", b"x"]
    {
        for mlst in [true, false] {
            watched(move || {
                let server = Server::start(Tree::sample(), Quirks { mlst, ..Quirks::default() });
                let client = Client::plain(&server, Options::default()).unwrap();
                for _ in 0..3 {
                    server.say(said);
                    assert_eq!(client.version("small").unwrap().size, 1000);
                    server.say(said);
                    assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
                    server.say(said);
                    let error = client.version("nothing").unwrap_err();
                    assert_eq!(error.kind(), Kind::NotFound);
                }
            });
        }
    }
}

#[test]
fn a_server_that_sends_fewer_bytes_than_it_said_is_an_error() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks { extra: -5000, ..Quirks::default() });
        let client = Client::of(&server);
        let big = server.tree().bytes("/home/u/big").unwrap();
        let reader = client.open("big").unwrap();
        assert!(client.read(&reader, 1000, 5000).unwrap() == big[1000..6000]);
        let error = client.read(&reader, big.len() - 6000, 6000).unwrap_err();
        assert!(is_clean(&error) || error.kind() == Kind::Changed, "{error:?}");
    });
}

#[test]
fn a_server_that_sends_more_bytes_than_it_said_gives_those_it_said_or_an_error() {
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks { extra: 5000, ..Quirks::default() });
        let client = Client::of(&server);
        let big = server.tree().bytes("/home/u/big").unwrap();
        assert!(client.read_all("big").unwrap() == big);
        let small = client.open("small").unwrap();
        assert!(client.read(&small, 0, 10_000).unwrap() == server.tree().bytes("/home/u/small").unwrap());
        let reader = client.open("small").unwrap();
        match client.read(&reader, 500, 10_000) {
            Ok(bytes) => assert!(bytes == server.tree().bytes("/home/u/small").unwrap()[500..]),
            Err(error) => assert_eq!(error.kind(), Kind::Changed),
        }
    });
}

#[test]
fn a_file_that_changes_between_transfers_is_never_a_mixture() {
    for mlst in [true, false] {
        for (len, time) in [(4 << 20, 1_700_000_000), (3 << 20, 1_614_834_367), (5 << 20, 1_614_834_367)] {
            watched(move || {
                let old = pattern(11, 4 << 20);
                let mut tree = Tree::sample();
                tree.put("/home/u/file", old.clone());
                let server = Server::start(tree, Quirks { mlst, ..Quirks::default() });
                // What is fetched ahead needs no second transfer.
                let options = Options { prefetch: Prefetch::Auto, ..Options::default() };
                let client = Client::connect(&server, options).unwrap();
                let reader = client.open("file").unwrap();
                assert!(client.read(&reader, 1 << 20, 5000).unwrap() == old[1 << 20..(1 << 20) + 5000]);
                server.tree().put_at("/home/u/file", pattern(12, len), time);
                let error = client.read(&reader, 3_000_000, 5000).unwrap_err();
                assert_eq!(error.kind(), Kind::Changed, "{error:?}");
                let error = client.read(&reader, 1 << 20, 5000).unwrap_err();
                assert_eq!(error.kind(), Kind::Changed, "what is cached is not given out after that");
                assert!(client.read_all("file").unwrap() == pattern(12, len));
            });
        }
    }
}

#[test]
fn a_file_replaced_while_its_blocks_are_cached_is_never_a_mixture() {
    watched(|| {
        let (old, new) = (pattern(11, 3 << 20), pattern(12, 3 << 20));
        let mut tree = Tree::sample();
        tree.put("/home/u/file", old.clone());
        let server = Server::start(tree, Quirks::default());
        // The cache keeps the end of the file, not its beginning.
        let client = Client::connect(&server, Options { cache: 2 << 20, ..Options::default() }).unwrap();
        assert!(client.read_all("file").unwrap() == old);
        let version = client.version("file").unwrap();
        server.tree().put_at("/home/u/file", new.clone(), 1_700_000_000);
        // Opened by attributes that are cached, and a little old.
        let reader = client.open_version("file", version);
        let (mut from_old, mut from_new) = (false, false);
        for offset in [0, 2_900_000, 100_000, 2_500_000] {
            match client.read(&reader, offset, 50_000) {
                Ok(piece) => {
                    from_old |= piece == old[offset..offset + 50_000];
                    from_new |= piece == new[offset..offset + 50_000];
                }
                Err(error) => assert_eq!(error.kind(), Kind::Changed),
            }
        }
        assert!(!(from_old && from_new), "a mixture");
    });
}

#[test]
fn a_file_replaced_within_the_minute_that_a_listing_tells_is_never_a_mixture() {
    watched(|| {
        let (old, new) = (pattern(1, 3 << 20), pattern(2, 3 << 20));
        let mut tree = Tree::sample();
        tree.put_at("/home/u/f", old.clone(), 1_614_834_301);
        let server = Server::start(tree, Quirks { mlst: false, ..Quirks::default() });
        let client = Client::of(&server);
        let piece = |reader, offset: usize| match client.read(reader, offset, 50_000) {
            Ok(piece) if piece == old[offset..offset + 50_000] => Some("old"),
            Ok(piece) if piece == new[offset..offset + 50_000] => Some("new"),
            Ok(_) => panic!("neither old nor new"),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Changed);
                None
            }
        };
        let reader = client.open_version("f", client.listed_version("f").unwrap());
        assert_eq!(piece(&reader, 0), Some("old"));
        server.tree().put_at("/home/u/f", new.clone(), 1_614_834_302);
        assert_ne!(piece(&reader, 2 << 20), Some("new"));
        reader.close();
        // What the first reader left in the cache does not stand beside the new bytes either.
        let reader = client.open_version("f", client.listed_version("f").unwrap());
        let seen: Vec<_> = [2 << 20, 0, 1 << 20].iter().filter_map(|&at| piece(&reader, at)).collect();
        assert!(seen.iter().all(|which| *which == seen[0]), "a mixture: {seen:?}");
        reader.close();
    });
}

#[test]
fn a_file_that_grows_is_read_as_it_was_listed_or_not_at_all() {
    watched(|| {
        let mut tree = Tree::sample();
        let whole = pattern(5, 2 << 20);
        tree.put("/home/u/log", whole[..1 << 20].to_vec());
        let slow = Some(Duration::from_millis(5));
        let server = Server::start(tree, Quirks { slow, ..Quirks::default() });
        let client = Client::of(&server);
        let reader = client.open("log").unwrap();
        let mut bytes = Vec::new();
        for grown in (1 << 20..).step_by(50_000) {
            match client.read(&reader, bytes.len(), 100_000) {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => bytes.extend(piece),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Changed);
                    break;
                }
            }
            server.tree().put_at("/home/u/log", whole[..grown.min(2 << 20)].to_vec(), 1_614_834_400);
        }
        assert!(bytes == whole[..bytes.len()]);
        thread::sleep(Duration::from_millis(50));
        let size = server.tree().bytes("/home/u/log").unwrap().len();
        assert!(client.read_all("log").unwrap() == whole[..size]);
    });
}

#[test]
fn a_server_that_says_nothing_of_an_abandoned_download_keeps_its_connections() {
    watched(|| {
        let mut tree = Tree::sample();
        let file = pattern(9, 32 << 20);
        tree.put("/home/u/file", file.clone());
        let server = Server::start(tree, Quirks { silent_abandoned: true, ..Quirks::default() });
        let client = Client::of(&server);
        let reader = client.open("file").unwrap();
        for jump in 0..12_usize {
            let offset = (jump * 7 % 12) * (2 << 20);
            assert!(
                client.read(&reader, offset, 4096).unwrap() == file[offset..offset + 4096],
                "jump {jump}"
            );
        }
        reader.close();
        // Those that were abandoned are given back when it is known that they have ended.
        eventually("the server is found to be silent", || {
            client.remote.profile().quirks().ends_abandoned == Capability::No
        });
        assert_eq!(client.names("").unwrap().len(), 5);
        // With an answer that never comes, each costs its connection.
        let logins = server.count("USER");
        assert!(logins <= Options::default().connections, "{logins} logins: {:?}", server.transcript());
    });
}
