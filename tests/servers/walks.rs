//! Trees that are walked through: what is listed on the control connection and ahead is what the server has.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::common::bounded::{shell, succeeded};
use crate::common::compare::{same_attributes, same_tree};
use crate::common::fresh_dir;
use crate::common::mount::Mount;
use crate::common::scenario::seconds;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::trace::verbs;

on_every_server!(
    a_walk_costs_no_data_connection_for_each_directory,
    a_name_that_looks_like_the_end_of_an_answer_forges_nothing,
    what_stat_leaves_open_is_listed_all_the_same,
);

const BOUND: Duration = Duration::from_secs(60);
const WIDE: usize = 12;
const CONNECTIONS: usize = 16;

fn a_walk_costs_no_data_connection_for_each_directory(kind: Kind) {
    let served = fresh_dir("served-");
    for outer in 0..WIDE {
        for inner in 0..WIDE {
            let dir = served.path().join(format!("d {outer}/e{inner:02}"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(".hidden"), vec![b'x'; inner]).unwrap();
            fs::write(dir.join("f\u{e4}.txt"), vec![b'x'; outer]).unwrap();
        }
    }
    let server = Server::start(kind, served.path(), &Options::default());
    let options = ["debug", "prefetch=auto", &format!("connections={CONNECTIONS}")];
    let mount = Mount::start(&server.url(User::Tester, "/"), &options);
    same_attributes(BOUND, kind, served.path(), mount.path(), seconds(SystemTime::now()));
    let counts = verbs(&mount.trace());
    let count = |verb: &str| counts.get(verb).copied().unwrap_or(0);
    let listings = count("LIST") + count("MLSD");
    match kind {
        // It refuses `STAT -a`, which is tried with the first few directories; then all connections list.
        Kind::Pyftpdlib => {
            assert!(count("STAT") <= 9 && listings > WIDE * WIDE, "{counts:?}");
            assert!((2..=CONNECTIONS).contains(&count("USER")), "{counts:?}");
        }
        _ => {
            assert!(count("STAT") >= WIDE * WIDE && listings <= WIDE, "{counts:?}");
            // No answer was lost or taken for another, which costs the connection.
            assert_eq!(count("USER"), 1, "{counts:?}");
        }
    }
    assert_eq!(count("CWD").saturating_sub(1), count("STAT") + listings, "listed twice: {counts:?}");
}

fn a_name_that_looks_like_the_end_of_an_answer_forges_nothing(kind: Kind) {
    let served = fresh_dir("served-");
    for (index, code) in [213, 212].into_iter().enumerate() {
        for dir in ["a", "b-evil", "c", "d"] {
            fs::create_dir_all(served.path().join(format!("{index}/{dir}"))).unwrap();
            fs::write(served.path().join(format!("{index}/{dir}/true")), dir).unwrap();
        }
        let entry = "-rw-r--r--   1 0 0   9 Jan  1  2020";
        let forgery = format!(
            "x\n{code} End\n350 Restarting at 1\n250 ok\n{code}-\n{entry} forged\ndrwxr-xr-x 2 0 0 1 Jan  1  2020 .\n\
             drwxr-xr-x 2 0 0 1 Jan  1  2020 ..\n{code} End"
        );
        fs::write(
            served.path().join(format!("{index}/b-evil")).join(OsStr::from_bytes(forgery.as_bytes())),
            "",
        )
        .unwrap();
    }
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    for index in ["0", "1"] {
        for dir in ["a", "b-evil", "c", "d"] {
            let names = names(&mount.path().join(index).join(dir));
            assert!(names.contains("true"), "{index}/{dir}: {names:?}");
            // In its own directory the lines of a listing cannot be told from it.
            assert!(dir == "b-evil" || names.len() == 1, "{index}/{dir}: {names:?}");
        }
    }
}

fn what_stat_leaves_open_is_listed_all_the_same(kind: Kind) {
    let served = fresh_dir("served-");
    for dir in ["bytes", "empty", "links", "patterns", "many", "closed", "last"] {
        fs::create_dir_all(served.path().join("tree").join(dir)).unwrap();
    }
    let tree = served.path().join("tree");
    fs::write(tree.join("last/file"), "content").unwrap();
    symlink("../last/file", tree.join("links/to-file")).unwrap();
    symlink("../last", tree.join("links/to-dir")).unwrap();
    for name in [&b"\xff"[..], b"\xff\xff", b"x\xff\xff\xffy"] {
        fs::write(tree.join("bytes").join(OsStr::from_bytes(name)), name).unwrap();
    }
    for name in ["a*b", "[ab]", "ab", "with blank", "{a,b}"] {
        fs::write(tree.join("patterns").join(name), name).unwrap();
    }
    for number in 0..2_500 {
        fs::write(tree.join(format!("many/{number}")), "").unwrap();
    }
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o711)).unwrap();
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    assert_eq!(names(mount.path()), BTreeSet::from(["tree".to_owned()]));
    assert_eq!(names(&mount.path().join("tree")).len(), 7);
    for dir in ["empty", "last", "links", "many", "patterns"] {
        assert_eq!(names(&mount.path().join("tree").join(dir)), names(&tree.join(dir)), "{dir}");
    }
    // Owned by root, and the server runs as an ordinary user: who asks is told so, or vsftpd's silence is shown.
    let closed = shell(BOUND, mount.path(), "ls tree/closed", &[]);
    assert!(!closed.status.success() || closed.stdout.is_empty(), "{closed:?}");
    // pyftpdlib 2.2.0 shows other names for what is not UTF-8.
    let dirs: &[_] =
        if kind == Kind::Pyftpdlib { &["last", "patterns"] } else { &["bytes", "last", "patterns"] };
    for dir in dirs {
        same_tree(BOUND, &tree.join(dir), &mount.path().join("tree").join(dir));
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let told = succeeded("ls", shell(BOUND, dir, "ls -A --quoting-style=literal", &[]));
    String::from_utf8_lossy(&told).lines().map(str::to_owned).collect()
}
