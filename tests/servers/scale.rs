//! Many names, large files: what they may cost.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use crate::common::bounded::{shell, succeeded};
use crate::common::compare::random_readers;
use crate::common::content::{MIB, bytes, link_big_file};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::trace::verbs;
use crate::common::{UID, fresh_dir};

on_every_server!(twenty_thousand_names_cost_one_listing, a_gigabyte_read_stays_in_its_memory);

const BOUND: Duration = Duration::from_secs(180);

/// What may come with the listing: its data channel, its directory, and the login of another connection.
const BESIDES: [&str; 17] = [
    "CWD", "EPSV", "PASV", "EPRT", "PORT", "PRET", "TYPE", "USER", "PASS", "ACCT", "FEAT", "OPTS", "SYST",
    "PWD", "CLNT", "NOOP", "QUIT",
];

fn twenty_thousand_names_cost_one_listing(kind: Kind) {
    let served = fresh_dir("served-");
    let flat = served.path().join("flat");
    fs::create_dir(&flat).unwrap();
    for number in 0..20_000 {
        fs::write(flat.join(format!("f{number:05}.txt")), b"x".repeat(number % 100)).unwrap();
    }
    chown(&flat, Some(UID), Some(UID)).unwrap();
    let server = Server::start(kind, served.path(), &Options::default());
    // Finding the zone would ask for the times of three files.
    let mount = Mount::start(&server.url(User::Tester, "/"), &["debug", "timezone=UTC"]);
    succeeded("stat", shell(BOUND, mount.path(), "stat flat", &[]));
    let before = mount.trace().len();

    let script = "ls -l flat | awk 'NR > 1 { print $5, $NF }'";
    let listed = succeeded("ls -l", shell(BOUND, mount.path(), script, &[]));
    let trace = mount.trace();
    assert!(before > 0, "no protocol trace: {}", mount.log());
    let expected: String = (0..20_000).map(|number| format!("{} f{number:05}.txt\n", number % 100)).collect();
    assert!(String::from_utf8_lossy(&listed) == expected, "ls -l shows other names or sizes");

    let sent = verbs(&trace[before..]);
    let listings: usize = ["LIST", "MLSD", "NLST", "STAT"].iter().filter_map(|verb| sent.get(*verb)).sum();
    assert_eq!(listings, 1, "{sent:?}");
    let more: Vec<_> = sent
        .iter()
        .filter(|(verb, _)| !["LIST", "MLSD"].contains(&verb.as_str()) && !BESIDES.contains(&verb.as_str()))
        .collect();
    assert!(more.is_empty(), "more than the listing was asked for: {sent:?}");
    assert!(sent.values().sum::<usize>() < 40, "too many commands for one listing: {sent:?}");

    let before = trace.len();
    succeeded("ls -l again", shell(BOUND, mount.path(), script, &[]));
    assert_eq!(verbs(&mount.trace()[before..]).keys().collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(mount.peak_rss() < 100 * MIB, "peak memory {} MiB", mount.peak_rss() / MIB);
}

fn a_gigabyte_read_stays_in_its_memory(kind: Kind) {
    let served = fresh_dir("served-");
    link_big_file(&served.path().join("huge"), 1024, 1024 * MIB);
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["cache_size=32M"]);
    succeeded(
        "cmp",
        shell(
            BOUND,
            Path::new("/"),
            "cmp \"$1\" \"$2\"",
            &[served.path().join("huge").as_os_str(), mount.path().join("huge").as_os_str()],
        ),
    );
    let last = succeeded("tail", shell(BOUND, mount.path(), "tail -c 1000 huge", &[]));
    assert!(last == bytes(1024, 1024 * MIB - 1000, 1000), "wrong last bytes");
    // Blocks that many threads make and others free.
    random_readers(BOUND, &mount.path().join("huge"), 1024, 1024 * MIB, 8, 60);
    assert!(mount.peak_rss() < (64 + 32) * MIB, "peak memory {} MiB", mount.peak_rss() / MIB);
}
