//! What servers do that RFC 959 does not foresee: learned from their replies, and served all the same.

use std::fs;
use std::io::Write;

use ftpfs::ftp::config::{DataConfig, Mode};
use ftpfs::ftp::data::Method;
use ftpfs::ftp::features::Capability;
use ftpfs::ftp::upload::StoreAt;
use ftpfs::remote::{Kind, Lane};

use crate::client::{Client, Options, SAMPLE_NAMES, watched};
use crate::common_ftpd::{
    ListForm, Opening, Passive, Quirks, RefusedUpload, Rest, Said, Server, Then, Tree, Writing, pattern,
};
use crate::mounted::{Mounted, close, errno};

/// More than the socket buffers between two ends take.
const LARGE: usize = 24 << 20;

/// Reads, lists and asks, and finds everything as it is.
fn all_is_right(server: &Server, client: &Client) {
    let big = server.tree().bytes("/home/u/big").unwrap();
    for _ in 0..2 {
        assert!(client.read_all("big").unwrap() == big);
        assert!(client.read_all("small").unwrap() == server.tree().bytes("/home/u/small").unwrap());
        let reader = client.open("big").unwrap();
        for offset in [250_000, 10, 131_000] {
            assert!(client.read(&reader, offset, 5000).unwrap() == big[offset..offset + 5000], "at {offset}");
        }
        reader.close();
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
        assert_eq!(client.names("sub").unwrap(), ["inner"]);
        assert_eq!(client.version("small").unwrap().size, 1000);
        assert_eq!(client.version("nothing").unwrap_err().kind(), Kind::NotFound);
    }
}

fn without_cache() -> Options {
    Options { cache: 1 << 20, ..Options::default() }
}

/// Stores a file by STOR, without the machinery above it.
fn store(client: &Client, name: &str, bytes: &[u8]) {
    let path = client.path(name);
    let mut lease = client.remote.lease("write", &path, Lane::Data, client.deadline()).unwrap();
    let session = lease.session().unwrap();
    let mut upload = session.store(path.as_bytes(), StoreAt::Start, client.deadline()).unwrap();
    upload.write(bytes, client.deadline()).unwrap();
    upload.finish(client.deadline()).unwrap();
}

#[test]
fn a_server_that_announces_nothing_gives_and_takes_large_files() {
    for (mlst, mode) in [(true, Mode::Passive), (false, Mode::Passive), (true, Mode::Active)] {
        watched(move || {
            let mut tree = Tree::sample();
            tree.put("/home/u/large", pattern(5, LARGE));
            let quirks = Quirks { opening: Opening::Missing, mlst, ..Quirks::default() };
            let server = Server::start(tree, quirks);
            let data = DataConfig { mode, ..DataConfig::default() };
            let client = Client::plain(&server, Options { data, ..Options::default() }).unwrap();
            // The first transfer, of which nothing is known.
            assert!(client.read_all("large").unwrap() == pattern(5, LARGE));
            client.names("").unwrap();
            assert_eq!(client.remote.profile().quirks().announces, Capability::No);
            store(&client, "new", &pattern(6, 100_000));
            assert_eq!(server.tree().bytes("/home/u/new"), Some(pattern(6, 100_000)));
            server.tree().remove("/home/u/new");
            server.tree().remove("/home/u/large");
            all_is_right(&server, &client);
        });
    }
}

#[test]
fn a_refused_upload_is_seen_by_a_server_that_announces_nothing() {
    watched(|| {
        let reply = "553 Permission denied";
        let writing =
            Writing { refuses: Some(RefusedUpload { reply, after_data: false }), ..Writing::default() };
        let mounted = Mounted::start(
            Tree::sample(),
            Quirks { opening: Opening::Missing, writing, ..Quirks::default() },
            &[],
        );
        mounted.call("ls", |dir| fs::read_dir(dir).map(Iterator::count)).unwrap();
        assert_eq!(errno(&write(&mounted, "new", pattern(3, 200_000))), libc::EACCES);
    });
}

#[test]
fn a_new_name_is_no_other_file_in_another_case() {
    watched(|| {
        let mounted = Mounted::start(
            Tree::sample(),
            Quirks { ignores_case: true, ..Quirks::default() },
            &["cache_timeout=60"],
        );
        mounted.call("ls", |dir| fs::read_dir(dir).map(Iterator::count)).unwrap();
        assert_eq!(errno(&write(&mounted, "SMALL", b"other".to_vec())), libc::EEXIST);
        let renamed = mounted.call("mv", |dir| fs::rename(dir.join("big"), dir.join("Small")));
        assert_eq!(errno(&renamed), libc::EEXIST);
        assert!(mounted.landed("small").unwrap() == pattern(1, 1000));
        let renamed = mounted.call("mv", |dir| fs::rename(dir.join("small"), dir.join("Small")));
        assert_eq!(errno(&renamed), 0);
        assert!(mounted.server.tree().names("/home/u").contains(&"Small".to_owned()));
    });
    watched(|| {
        let mounted = Mounted::start(Tree::sample(), Quirks::default(), &["cache_timeout=60"]);
        mounted.call("ls", |dir| fs::read_dir(dir).map(Iterator::count)).unwrap();
        write(&mounted, "SMALL", b"other".to_vec()).unwrap();
        assert!(mounted.landed("SMALL").as_deref() == Some(b"other"));
        assert!(mounted.landed("small").unwrap() == pattern(1, 1000));
    });
}

#[test]
fn any_final_2xx_ends_a_transfer() {
    for closing in ["250 Requested file action okay", "200 OK", "226-\r\n226 two lines"] {
        watched(move || {
            let quirks = Quirks { closing: Some(closing), ..Quirks::default() };
            let server = Server::start(Tree::sample(), quirks);
            all_is_right(&server, &Client::of(&server));
        });
    }
}

#[test]
fn pret_is_sent_where_it_is_asked_for_or_announced() {
    let asks = "500 You need to use a client supporting PRET (PRE Transfer) to use PASV";
    for (pret, mlst) in [((asks, false), true), (("500 No.", true), true), ((asks, false), false)] {
        watched(move || {
            let server =
                Server::start(Tree::sample(), Quirks { pret: Some(pret), mlst, ..Quirks::default() });
            let client = Client::of(&server);
            all_is_right(&server, &client);
            assert_eq!(client.remote.profile().quirks().wants_pret, Capability::Yes);
            store(&client, "new", b"bytes");
            assert_eq!(server.tree().bytes("/home/u/new").as_deref(), Some(&b"bytes"[..]));
            let lines = server.transcript().concat();
            for argument in ["RETR /home/u/big", "STOR /home/u/new", if mlst { "MLSD" } else { "LIST -a" }] {
                assert!(lines.contains(&format!("PRET {argument}")), "{argument}: {lines:?}");
            }
        });
    }
    watched(|| {
        let server = Server::start(Tree::sample(), Quirks::default());
        all_is_right(&server, &Client::of(&server));
        assert_eq!(server.count("PRET"), 0);
    });
}

#[test]
fn type_i_is_sent_again_where_it_gets_lost() {
    for mlst in [true, false] {
        watched(move || {
            let server =
                Server::start(Tree::sample(), Quirks { loses_type: true, mlst, ..Quirks::default() });
            let client = Client::connect(&server, without_cache()).unwrap();
            all_is_right(&server, &client);
            assert_eq!(client.remote.profile().quirks().keeps_type, Capability::No);
        });
    }
}

#[test]
fn an_offset_that_the_server_keeps_is_taken_back() {
    for (reorders, mlst) in [(false, true), (true, true), (true, false)] {
        watched(move || {
            let quirks = Quirks { keeps_rest: true, reorders, mlst, ..Quirks::default() };
            let server = Server::start(Tree::sample(), quirks);
            let client = Client::connect(&server, Options { connections: 1, ..without_cache() }).unwrap();
            let small = server.tree().bytes("/home/u/small").unwrap();
            for _ in 0..2 {
                let path = client.path("gone");
                let mut lease = client.remote.lease("read", &path, Lane::Data, client.deadline()).unwrap();
                let session = lease.session().unwrap();
                let refused = session.retrieve(path.as_bytes(), 100, false, client.deadline()).map(drop);
                assert_eq!(refused.unwrap_err().refusal().unwrap().code(), 550);
                assert!(session.is_ready());
                drop(lease);
                assert!(client.read_all("small").unwrap() == small);
                let path = client.path("gone");
                let mut lease = client.remote.lease("read", &path, Lane::Data, client.deadline()).unwrap();
                let session = lease.session().unwrap();
                session.retrieve(path.as_bytes(), 50, false, client.deadline()).map(drop).unwrap_err();
                drop(lease);
                store(&client, "new", b"bytes");
                assert_eq!(server.tree().bytes("/home/u/new").as_deref(), Some(&b"bytes"[..]));
                server.tree().remove("/home/u/new");
            }
        });
    }
}

#[test]
fn what_answers_epsv_and_leads_nowhere_is_asked_for_last() {
    watched(|| {
        let quirks =
            Quirks { epsv: Passive::Dead, epsv_only: true, eprt: false, port: false, ..Quirks::default() };
        let server = Server::start(Tree::sample(), quirks);
        let data = DataConfig { mode: Mode::Auto, ..DataConfig::default() };
        let client = Client::plain(&server, Options { data, ..Options::default() }).unwrap();
        all_is_right(&server, &client);
        let profile = client.remote.profile();
        assert_eq!(profile.method(), Some(Method::Pasv));
        assert!(profile.quirks().unreached.has(Method::Epsv));
        assert_eq!(server.count("EPSV"), 1);
    });
}

#[test]
fn a_login_that_the_server_forgot_is_made_again() {
    for verb in ["MLST", "MLSD", "RETR", "EPSV", "CWD"] {
        watched(move || {
            let server = Server::start(Tree::sample(), Quirks::default());
            let client = Client::of(&server);
            for said in ["530 Please login with USER and PASS.\r\n", "530 Not logged in\r\n"] {
                server.quirks().said = vec![Said::new(verb, 2, said, Then::GoOn)];
                all_is_right(&server, &client);
            }
            server.quirks().said = vec![Said::new("MKD", usize::MAX, "530 Access denied\r\n", Then::GoOn)];
            let made = client.remote.make_directory(&client.path("new"), None, client.deadline());
            assert_eq!(made.unwrap_err().kind(), Kind::Denied);
        });
    }
}

#[test]
fn some_5xx_pass_and_some_4xx_are_final() {
    for said in ["550 big: Broken pipe\r\n", "553 Please try again later\r\n", "425 No.\r\n", "450 Busy\r\n"]
    {
        watched(move || {
            let server = Server::start(Tree::sample(), Quirks::default());
            let client = Client::of(&server);
            for verb in ["RETR", "MLSD", "MLST", "DELE"] {
                server.quirks().said = vec![Said::new(verb, 1, said, Then::GoOn)];
                server.tree().put("/home/u/goes", Vec::new());
                client.remote.remove(&client.path("goes"), client.deadline()).unwrap();
                all_is_right(&server, &client);
            }
        });
    }
    for (said, kind) in [
        ("450 x: No such file or directory\r\n", Kind::NotFound),
        ("450 x: Permission denied\r\n", Kind::Denied),
    ] {
        watched(move || {
            let server = Server::start(Tree::sample(), Quirks::default());
            let client = Client::of(&server);
            server.quirks().said = vec![Said::new("DELE", usize::MAX, said, Then::GoOn)];
            let removed = client.remote.remove(&client.path("small"), client.deadline());
            assert_eq!(removed.unwrap_err().kind(), kind);
            assert_eq!(server.count("DELE"), 1);
        });
    }
}

#[test]
fn the_login_directory_is_found_in_every_notation() {
    for pwd in [
        "257 \"/home/u\"",
        "257 /home/u is the current directory",
        "257 \"\\home\\u\" is current directory.",
        "257 \"C:\\home\\u\"",
        "257 \"HOME:[U]\" is current directory.",
        "257 nonsense",
        "500 PWD not understood",
    ] {
        watched(move || {
            let said = vec![Said::new("PWD", usize::MAX, format!("{pwd}\r\n"), Then::GoOn)];
            let mut tree = Tree::sample();
            tree.put_directory("/HOME");
            tree.put_directory("/HOME/U");
            let server = Server::start(tree, Quirks { said, ..Quirks::default() });
            let client = Client::of(&server);
            let expected = match pwd {
                "257 nonsense" | "500 PWD not understood" => "/",
                vms if vms.contains('[') => "/HOME/U",
                _ => "/home/u",
            };
            assert_eq!(client.remote.base().to_string(), expected, "{pwd}");
        });
    }
}

#[test]
fn a_listing_that_the_server_cut_hides_nothing() {
    for mlst in [true, false] {
        watched(move || {
            let closing = Some("226 Output truncated to 2 matches");
            let server = Server::start(Tree::sample(), Quirks { mlst, closing, ..Quirks::default() });
            server.quirks().listings.insert(
                "/home/u".to_owned(),
                if mlst {
                    b"type=file;size=1000; small\r\n".to_vec()
                } else {
                    b"-rw-r--r-- 1 o g 1000 Mar 04 2021 small\r\n".to_vec()
                },
            );
            let client = Client::of(&server);
            let listing = client.list("").unwrap();
            assert!(!listing.complete);
            assert_eq!(listing.entries.len(), 1);
            assert_eq!(client.version("big").unwrap().size, 300 * 1024);
            let sub = client.remote.stat(&client.path("sub"), client.deadline()).unwrap();
            assert_eq!(sub.kind, ftpfs::ftp::list::EntryKind::Directory);
            assert_eq!(client.version("absent").unwrap_err().kind(), Kind::NotFound);
        });
    }
}

#[test]
fn an_absent_directory_is_told_from_an_empty_one() {
    watched(|| {
        let quirks = Quirks { mlst: false, list_form: ListForm::Unix { zone: 0 }, ..Quirks::default() };
        let mut tree = Tree::sample();
        tree.put_directory("/home/u/empty");
        let server = Server::start(tree, quirks);
        // LIST gives 226 and nothing for both.
        for dir in ["/home/u", "/home/u/empty"] {
            server.quirks().listings.insert(dir.to_owned(), Vec::new());
        }
        let client = Client::of(&server);
        assert!(client.names("empty").unwrap().is_empty());
        assert_eq!(client.list("absent").unwrap_err().kind(), Kind::NotFound);
    });
}

#[test]
fn names_that_could_be_wildcards_keep_their_size() {
    watched(|| {
        let mut tree = Tree::sample();
        for name in ["a*", "what?", "[x]"] {
            tree.put(&format!("/home/u/{name}"), pattern(4, 777));
        }
        let server = Server::start(tree, Quirks { mlst_globs: true, ..Quirks::default() });
        let client = Client::of(&server);
        for name in ["a*", "what?", "[x]"] {
            assert_eq!(client.version(name).unwrap().size, 777);
            assert!(client.read_all(name).unwrap() == pattern(4, 777));
        }
    });
}

#[test]
fn a_size_that_does_not_fit_its_server_is_asked_of_the_listing() {
    watched(|| {
        let quirks = Quirks { mlst: false, negative_sizes: true, ..Quirks::default() };
        let server = Server::start(Tree::sample(), quirks);
        let client = Client::of(&server);
        assert_eq!(client.version("big").unwrap().size, 300 * 1024);
        assert!(client.read_all("big").unwrap() == pattern(2, 300 * 1024));
    });
}

#[test]
fn a_server_that_is_refused_rest_0_is_left() {
    watched(|| {
        let quirks = Quirks { keeps_rest: true, rest: Rest::Works1st(1), ..Quirks::default() };
        let server = Server::start(Tree::sample(), quirks);
        let client = Client::connect(&server, Options { connections: 1, ..without_cache() }).unwrap();
        let path = client.path("gone");
        let mut lease = client.remote.lease("read", &path, Lane::Data, client.deadline()).unwrap();
        let session = lease.session().unwrap();
        session.retrieve(path.as_bytes(), 100, false, client.deadline()).map(drop).unwrap_err();
        drop(lease);
        assert!(client.read_all("small").unwrap() == pattern(1, 1000));
    });
}

#[test]
fn allo_is_sent_where_it_is_demanded() {
    watched(|| {
        let mounted = with(Writing { allo: true, ..Writing::default() });
        write(&mounted, "new", pattern(3, 200_000)).unwrap();
        write(&mounted, "small", pattern(4, 10)).unwrap();
        assert!(mounted.landed("new").unwrap() == pattern(3, 200_000));
        assert!(mounted.landed("small").unwrap() == pattern(4, 10));
        assert!(mounted.server.count("ALLO") >= 2);
    });
}

#[test]
fn a_file_is_replaced_where_stor_writes_over_none() {
    watched(|| {
        let mounted = with(Writing { write_once: true, ..Writing::default() });
        write(&mounted, "new", pattern(3, 200_000)).unwrap();
        write(&mounted, "small", pattern(4, 10)).unwrap();
        assert!(mounted.landed("new").unwrap() == pattern(3, 200_000));
        assert!(mounted.landed("small").unwrap() == pattern(4, 10));
        // A drop box proper: nothing is deleted either.
        let keeps = Some("550 Permission denied");
        mounted.break_by(Writing { write_once: true, keeps, ..Writing::default() });
        assert_eq!(errno(&write(&mounted, "big", b"other".to_vec())), libc::EEXIST);
        assert!(mounted.landed("big").unwrap() == pattern(2, 300 * 1024));
        write(&mounted, "newer", b"bytes".to_vec()).unwrap();
    });
}

#[test]
fn an_upload_that_is_not_there_afterwards_is_no_success() {
    for (writing, content) in [
        (Writing { drops_empty: true, ..Writing::default() }, Vec::new()),
        (Writing { renames_uploads: true, ..Writing::default() }, pattern(3, 5000)),
    ] {
        watched(move || {
            let mounted = with(writing);
            let result = write(&mounted, "new", content);
            assert!(result.is_err(), "a file that is not there is said to be");
            assert!(mounted.landed("new").is_none());
        });
    }
}

fn with(writing: Writing) -> Mounted {
    Mounted::start(Tree::sample(), Quirks { writing, ..Quirks::default() }, &[])
}

fn write(mounted: &Mounted, name: &'static str, bytes: Vec<u8>) -> std::io::Result<()> {
    mounted.call("open, write, close", move |dir| {
        let mut file = fs::File::create(dir.join(name))?;
        let written = file.write_all(&bytes);
        close(file).and(written)
    })
}

#[test]
fn a_silent_server_takes_files_through_a_mount() {
    watched(|| {
        let quirks = Quirks { opening: Opening::Missing, ..Quirks::default() };
        let mounted = Mounted::start(Tree::sample(), quirks, &[]);
        mounted.call("ls", |dir| fs::read_dir(dir).map(Iterator::count)).unwrap();
        write(&mounted, "new", pattern(3, 3 << 20)).unwrap();
        assert!(mounted.landed("new").unwrap() == pattern(3, 3 << 20));
    });
}
