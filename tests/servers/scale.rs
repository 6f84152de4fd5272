//! Many names, large files: what they may cost.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use crate::common::bounded::{eventually, finish, shell, succeeded};
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

/// Names that the mount keeps of those that nobody uses (`KNOWN_NAMES` in src/mount.rs), and the share of it by which
/// it is exceeded before the kernel is asked to let go of some.
const KNOWN_NAMES: usize = 256 * 1024;
const SLACK: usize = KNOWN_NAMES / 64;

/// A third more names than that, in directories.
const CROWDED: usize = 7;
const IN_EACH: usize = 50_000;

/// Looks at every name twice, with a working directory, an open file and a mount point from before, which stay what they
/// are. `$1` is the mount, `$2` what every name is to show.
const LOOK_AT_ALL: &str = r#"
look() { find "$1"/crowd? -type f -printf '%P %s\n' | LC_ALL=C sort | cmp - "$2"; }
mount -t tmpfs none "$1/used/over" && echo here > "$1/used/over/file" || exit 1
cd "$1/used/inside" && exec 3< "$1/used/file" || exit 2
before=$(stat -c %i . ../file)
look "$@" && look "$@" || exit 3
test "$(/bin/pwd)" = "$1/used/inside" && test "$(stat -c %i . ../file)" = "$before" || exit 4
test "$(ls)" = leaf && echo text | cmp - leaf || exit 5
test "$(readlink /proc/self/fd/3)" = "$1/used/file" && echo kept | cmp - <(cat <&3) || exit 6
test "$(cat "$1/used/over/file")" = here || exit 7
"#;

#[test]
fn names_that_nobody_uses_are_let_go_of_and_all_answer_right() {
    let served = fresh_dir("served-");
    let mut expected = Vec::with_capacity(CROWDED * IN_EACH);
    for number in 0..CROWDED {
        let dir = served.path().join(format!("crowd{number}"));
        fs::create_dir(&dir).unwrap();
        let first = dir.join("f00000");
        fs::write(&first, b"x".repeat(number)).unwrap();
        for entry in 0..IN_EACH {
            let name = format!("f{entry:05}");
            if entry > 0 {
                fs::hard_link(&first, dir.join(&name)).unwrap();
            }
            expected.push(format!("{name} {number}\n"));
        }
    }
    expected.sort_unstable();
    let used = served.path().join("used");
    fs::create_dir_all(used.join("inside")).unwrap();
    fs::create_dir(used.join("over")).unwrap();
    fs::write(used.join("inside/leaf"), "text\n").unwrap();
    fs::write(used.join("file"), "kept\n").unwrap();
    let list = served.path().join("expected");
    fs::write(&list, expected.concat()).unwrap();

    let server = Server::start(Kind::Vsftpd, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["timezone=UTC"]);
    let mut look = std::process::Command::new("unshare");
    look.args(["--mount", "--propagation", "private", "bash", "-c", LOOK_AT_ALL, "test"]);
    look.arg(mount.path()).arg(&list);
    succeeded("find", finish(BOUND, look));

    // The kernel tells of what it has let go of in its own time.
    let few_enough = || (mount.known_names() <= KNOWN_NAMES + SLACK).then_some(());
    eventually(BOUND, "names are let go of", few_enough);
    assert!(mount.known_names() > KNOWN_NAMES / 2, "{} names known", mount.known_names());
    assert!(mount.peak_rss() < 160 * MIB, "peak memory {} MiB", mount.peak_rss() / MIB);
}
