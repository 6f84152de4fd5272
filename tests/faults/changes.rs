//! The verbs that change names and attributes, cut at each of their replies: done when they say so.

use std::time::Duration;

use ftpfs::ftp::change::Wishes;
use ftpfs::ftp::time::{Modified, Precision};
use ftpfs::remote::{Error, Kind};

use crate::client::{Client, Options, is_clean, watched};
use crate::common_ftpd::{Quirks, ReplyCut, Server, Setting, Tree, Writing, pattern};
use crate::mounted::table;

/// A verb has fewer replies than this, the look that follows a cut and a new login included.
const MOST_REPLIES: usize = 20;

struct Verb {
    name: &'static str,
    call: fn(&Client) -> Result<(), Error>,
    done: fn(&Tree) -> bool,
}

const TIME: i64 = 1_234_567_890;

fn wishes() -> Wishes {
    let modified = Modified { seconds: TIME, nanos: 0, precision: Precision::Second };
    Wishes { mode: Some(0o600), modified: Some(modified), group: None }
}

const VERBS: [Verb; 7] = [
    Verb {
        name: "remove",
        call: |client| client.remote.remove(&client.path("small"), client.deadline()),
        done: |tree| !tree.exists("/home/u/small"),
    },
    Verb {
        name: "make_directory",
        call: |client| {
            client.remote.make_directory(&client.path("new"), Some(0o700), client.deadline()).map(drop)
        },
        done: |tree| tree.exists("/home/u/new"),
    },
    Verb {
        name: "remove_directory",
        call: |client| client.remote.remove_directory(&client.path("empty"), client.deadline()),
        done: |tree| !tree.exists("/home/u/empty"),
    },
    Verb {
        name: "rename",
        call: |client| client.remote.rename(&client.path("small"), &client.path("moved"), client.deadline()),
        done: |tree| !tree.exists("/home/u/small") && tree.bytes("/home/u/moved") == Some(pattern(1, 1000)),
    },
    Verb {
        name: "rename over a file",
        call: |client| client.remote.rename(&client.path("small"), &client.path("big"), client.deadline()),
        done: |tree| !tree.exists("/home/u/small") && tree.bytes("/home/u/big") == Some(pattern(1, 1000)),
    },
    Verb {
        name: "make_symlink",
        call: |client| client.remote.make_symlink(b"big", &client.path("to-big"), client.deadline()),
        done: |tree| tree.bytes("/home/u/to-big") == Some(pattern(2, 300 * 1024)),
    },
    Verb {
        name: "set",
        call: |client| client.remote.set(&client.path("small"), &wishes(), client.deadline()).map(drop),
        done: |tree| {
            (tree.mode("/home/u/small"), tree.modified("/home/u/small")) == (Some(0o600), Some(TIME))
        },
    },
];

fn tree() -> Tree {
    let mut tree = Tree::sample();
    tree.put_directory("/home/u/empty");
    tree
}

#[test]
fn a_change_cut_at_any_reply_is_done_when_it_says_so() {
    let series: Vec<_> = VERBS
        .iter()
        .flat_map(|verb| [(verb, false, false), (verb, true, false), (verb, true, true)])
        .collect();
    table(&series, |&(&Verb { name, call, done }, lost, for_ever)| {
        for after in 1..=MOST_REPLIES {
            let cut = ReplyCut { after, lost, for_ever };
            let cuts = watched(move || {
                let server = Server::start(tree(), Quirks::default());
                let options = Options { operation: Duration::from_secs(4), ..Options::default() };
                let client = Client::connect(&server, options).unwrap();
                server.quirks().writing.reply_cut = Some(cut);
                let result = call(&client);
                match &result {
                    Ok(()) => assert!(done(&server.tree()), "{name}, {cut:?}: said to be done"),
                    Err(error) => assert!(is_clean(error) && for_ever, "{name}, {cut:?}: {error:?}"),
                }
                server.cuts()
            });
            if cuts == 0 {
                return;
            }
        }
        panic!("{name} never passes uncut");
    });
}

#[test]
fn a_clean_refusal_is_never_taken_for_done() {
    type Call = fn(&Client) -> Result<(), Error>;
    let table: [(&str, Call, Kind); 6] = [
        ("remove", |c| c.remote.remove(&c.path("absent"), c.deadline()), Kind::NotFound),
        ("mkdir", |c| c.remote.make_directory(&c.path("sub"), None, c.deadline()).map(drop), Kind::Exists),
        ("rmdir", |c| c.remote.remove_directory(&c.path("sub"), c.deadline()), Kind::NotEmpty),
        (
            "rmdir of a file",
            |c| c.remote.remove_directory(&c.path("small"), c.deadline()),
            Kind::NotADirectory,
        ),
        ("rename", |c| c.remote.rename(&c.path("absent"), &c.path("small"), c.deadline()), Kind::NotFound),
        ("symlink", |c| c.remote.make_symlink(b"x", &c.path("link"), c.deadline()), Kind::Exists),
    ];
    watched(move || {
        let server = Server::start(tree(), Quirks::default());
        let client = Client::of(&server);
        for (what, call, kind) in table {
            assert_eq!(call(&client).map_err(|error| error.kind()), Err(kind), "{what}");
        }
    });
}

#[test]
fn mode_and_time_are_set_by_what_the_server_has() {
    let unset = Writing::without_settings;
    let good = Writing::default;
    // The way to set a time, and what comes of mode and time.
    let table = [
        ("all", good(), None),
        ("no MFMT, but SITE UTIME", Writing { mfmt: Setting::Unknown, ..good() }, None),
        (
            "MDTM",
            Writing { mfmt: Setting::Unknown, utime: Setting::Unknown, mdtm_sets: true, ..good() },
            None,
        ),
        ("nothing", unset(), Some(Kind::Unsupported)),
        ("chmod refused", Writing { chmod: Setting::Refused, ..good() }, Some(Kind::Denied)),
        (
            "MFMT refused",
            Writing { mfmt: Setting::Refused, utime: Setting::Refused, ..good() },
            Some(Kind::Denied),
        ),
    ];
    for (what, writing, kind) in table {
        watched(move || {
            let server = Server::start(tree(), Quirks { writing, ..Quirks::default() });
            let client = Client::of(&server);
            for _ in 0..2 {
                let result = client.remote.set(&client.path("small"), &wishes(), client.deadline());
                assert_eq!(result.as_ref().err().map(Error::kind), kind, "{what}: {result:?}");
                if kind.is_none() {
                    let tree = server.tree();
                    let set = (tree.mode("/home/u/small"), tree.modified("/home/u/small"));
                    assert_eq!(set, (Some(0o600), Some(TIME)), "{what}");
                }
            }
            assert!(!server.tree().names("/home/u").iter().any(|name| name.contains("2009")), "{what}");
        });
    }
}

#[test]
fn every_way_of_setting_is_used_and_its_effect_looked_at_once() {
    let none = Writing::without_settings;
    let local = |seconds| Setting::Local(seconds);
    let set = (Some(0o600), Some(TIME));
    let untouched = (Some(0o644), None);
    // What is on the server afterwards; `None` for a time: the old one.
    let table = [
        ("MFF", Writing { mff: Setting::Works, ..none() }, set),
        ("SITE UTIME of one time", Writing { chmod: Setting::Works, utime: Setting::Works, ..none() }, set),
        (
            "SITE UTIME of three",
            Writing { chmod: Setting::Works, utime: Setting::Works, utime_of_three: true, ..none() },
            set,
        ),
        ("MFMT says 200", Writing { mfmt_done: Some("200 ok"), ..Writing::default() }, set),
        ("MFMT says 250", Writing { mfmt_done: Some("250 ok"), ..Writing::default() }, set),
        ("MFMT lies, SITE UTIME works", Writing { mfmt: Setting::Lies, ..Writing::default() }, set),
        ("MFMT takes local time", Writing { mfmt: local(7200), ..Writing::default() }, set),
        ("MFMT takes Indian time", Writing { mfmt: local(19_800), ..Writing::default() }, set),
        ("MFMT takes any time", Writing { mfmt: local(1234), ..Writing::default() }, set),
        ("MFF lies, SITE CHMOD works", Writing { mff: Setting::Lies, ..Writing::default() }, set),
        ("all lie", Writing { mfmt: Setting::Lies, chmod: Setting::Lies, ..none() }, untouched),
    ];
    for mlst in [true, false] {
        for (what, writing, expected) in table.clone() {
            watched(move || {
                let server = Server::start(tree(), Quirks { writing, mlst, ..Quirks::default() });
                let client = Client::of(&server);
                let before = server.tree().modified("/home/u/small");
                for _ in 0..3 {
                    let result = client.remote.set(&client.path("small"), &wishes(), client.deadline());
                    let kind = result.as_ref().err().map(Error::kind);
                    let right = if expected == set { None } else { Some(Kind::Unsupported) };
                    assert_eq!(kind, right, "{what}, MLST {mlst}: {result:?}");
                }
                let tree = server.tree();
                let found = (tree.mode("/home/u/small"), tree.modified("/home/u/small"));
                assert_eq!(found, (expected.0, expected.1.or(before)), "{what}, MLST {mlst}");
            });
        }
    }
}
