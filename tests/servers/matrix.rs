//! The same tree through every kind of server, data channel, user, address family and connection limit.
//!
//! Without a limit every combination of channel, user and family; with a limit each pair of them.

use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::common::compare::{random_readers, same_attributes, same_file, same_sums_by_many, same_tree};
use crate::common::content::{MIB, link_big_file};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{fresh_dir, tree};

on_every_server!(without_limit, with_one_connection, with_three_connections_and_sixteen_processes);

const LONG: Duration = Duration::from_secs(240);
const BIG_SEED: u64 = 256;
const HUGE_SEED: u64 = 1024;

/// What else differs between two mounts of one server.
#[derive(Clone, Copy, Debug)]
struct Case {
    mode: &'static str,
    user: User,
    ipv6: bool,
}

const fn case(mode: &'static str, user: User, ipv6: bool) -> Case {
    Case { mode, user, ipv6 }
}

const ALL: [Case; 8] = [
    case("passive", User::Tester, false),
    case("active", User::Tester, false),
    case("passive", User::Anonymous, false),
    case("active", User::Anonymous, false),
    case("passive", User::Tester, true),
    case("active", User::Tester, true),
    case("passive", User::Anonymous, true),
    case("active", User::Anonymous, true),
];

/// Each pair of two of the three occurs.
const PAIRS: [Case; 4] = [
    case("passive", User::Tester, false),
    case("passive", User::Anonymous, true),
    case("active", User::Tester, true),
    case("active", User::Anonymous, false),
];

fn without_limit(kind: Kind) {
    on_cases(kind, None, &ALL, |served, mount| {
        same_tree(LONG, &served.path().join("tree"), &mount.path().join("tree"));
    });
}

fn with_one_connection(kind: Kind) {
    on_cases(kind, Some(1), &PAIRS, |served, mount| {
        same_tree(LONG, &served.path().join("tree"), &mount.path().join("tree"));
    });
}

fn with_three_connections_and_sixteen_processes(kind: Kind) {
    on_cases(kind, Some(3), &PAIRS, |served, mount| {
        same_sums_by_many(LONG, &served.path().join("tree"), &mount.path().join("tree"));
    });
}

fn on_cases(kind: Kind, max_clients: Option<u32>, cases: &[Case], read_tree: impl Fn(&TempDir, &Mount)) {
    let now = SystemTime::now();
    let served = fresh_dir("served-");
    std::fs::create_dir(served.path().join("tree")).unwrap();
    tree::make(&served.path().join("tree"), 2000, now);
    link_big_file(&served.path().join("big"), BIG_SEED, 256 * MIB);
    link_big_file(&served.path().join("huge"), HUGE_SEED, 1024 * MIB);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    for ipv6 in [false, true] {
        let server = Server::start(kind, served.path(), &Options { max_clients, ipv6, ..Options::default() });
        for case in cases.iter().filter(|case| case.ipv6 == ipv6) {
            println!("{kind:?}, limit {max_clients:?}, {case:?}");
            let mount = Mount::start(&server.url(case.user, "/"), &[&format!("mode={}", case.mode)]);
            read_tree(&served, &mount);
            same_attributes(LONG, kind, served.path(), mount.path(), now);
            same_file(LONG, &served.path().join("big"), &mount.path().join("big"));
            random_readers(LONG, &mount.path().join("huge"), HUGE_SEED, 1024 * MIB, 8, 12);
        }
    }
}
