//! The verbs that change the server, without a mount: done as told, checked in the server's own directory; and
//! each refusal with its kind, also by vsftpd, which gives no reasons.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftpfs::deadline::Deadline;
use ftpfs::ftp::change::{Granted, Wishes};
use ftpfs::ftp::config::{DataConfig, Login, Mode, SessionConfig};
use ftpfs::ftp::error::Error as FtpError;
use ftpfs::ftp::features::Capability;
use ftpfs::ftp::list::EntryKind;
use ftpfs::ftp::query::Facts;
use ftpfs::ftp::time::{Modified, Precision};
use ftpfs::ftp::upload::StoreAt;
use ftpfs::remote::{self, Kind as Failure, Lane, Remote, RemotePath};
use ftpfs::secret::Secret;

use crate::common::bounded::{succeeded, within};
use crate::common::server::{Kind, Options, Server};
use crate::common::{PASSWORD, UID, USER, writable_dir};

on_every_server!(
    names_change_as_told,
    modes_and_times_are_set,
    uploads_begin_where_they_should,
    a_rename_replaces_what_it_may,
    each_refusal_has_its_kind,
    what_is_in_the_way_has_its_kind,
    odd_names_are_changed_themselves_or_not_at_all,
    a_full_disk_fails_the_upload,
);

const BOUND: Duration = Duration::from_secs(60);

/// 2024-03-09 17:45:01 UTC.
const MOMENT: i64 = 1_710_006_301;

struct Bench {
    kind: Kind,
    remote: Remote,
    root: PathBuf,
    _server: Server,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(kind: Kind) -> Bench {
        Bench::with(kind, Mode::Passive, |_| {})
    }

    /// `prepare` fills the served directory before the server starts.
    fn with(kind: Kind, mode: Mode, prepare: impl FnOnce(&Path)) -> Bench {
        let dir = writable_dir("served-");
        let root = dir.path().to_owned();
        prepare(&root);
        let server = Server::start(kind, &root, &Options::default());
        let config = SessionConfig {
            host: server.address().ip().to_string(),
            port: server.address().port(),
            proxy: None,
            family: Default::default(),
            bind: None,
            login: Login { user: USER.into(), password: Secret::new(PASSWORD), account: None },
            data: DataConfig { mode, ..DataConfig::default() },
            tls: server.tls_config(),
            utf8: true,
            list_zone: None,
            timeouts: Default::default(),
        };
        let remote = Remote::connect(config, b"", false, 2, Deadline::after(BOUND)).unwrap();
        Bench { kind, remote, root, _server: server, _dir: dir }
    }

    /// The path of something in the served directory, as the server names it (pyftpdlib and the others chroot).
    fn path(&self, relative: impl AsRef<[u8]>) -> RemotePath {
        self.remote.base().resolve(relative.as_ref()).unwrap()
    }

    fn local(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A file of the server's user.
    fn file(&self, relative: &str, content: &[u8]) {
        fs::write(self.local(relative), content).unwrap();
        chown(self.local(relative), Some(UID), Some(UID)).unwrap();
    }

    fn dir(&self, relative: &str) {
        fs::create_dir(self.local(relative)).unwrap();
        chown(self.local(relative), Some(UID), Some(UID)).unwrap();
    }

    fn read(&self, relative: &str) -> Vec<u8> {
        fs::read(self.local(relative)).unwrap()
    }

    fn exists(&self, relative: &str) -> bool {
        self.local(relative).symlink_metadata().is_ok()
    }

    fn mode(&self, relative: &str) -> u32 {
        self.local(relative).metadata().unwrap().permissions().mode() & 0o7777
    }

    fn modified(&self, relative: &str) -> i64 {
        self.local(relative).metadata().unwrap().mtime()
    }

    fn store(&self, relative: impl AsRef<[u8]>, at: StoreAt, content: &[u8]) -> Result<(), FtpError> {
        let path = self.path(relative);
        let mut lease = self.remote.lease("write", &path, Lane::Data, deadline()).unwrap();
        let session = lease.session().unwrap();
        let mut upload = session.store(path.as_bytes(), at, deadline())?;
        for piece in content.chunks(100_000) {
            if upload.write(piece, deadline()).is_err() {
                break;
            }
        }
        upload.finish(deadline()).map(drop)
    }

    /// What kind of failure an upload is, explained.
    fn store_failure(&self, relative: &str) -> Failure {
        let error = self.store(relative, StoreAt::Start, b"new").unwrap_err();
        self.remote.explain_write(&self.path(relative), &error, deadline()).kind()
    }
}

fn deadline() -> Deadline {
    Deadline::after(BOUND)
}

fn at(seconds: i64) -> Modified {
    Modified { seconds, nanos: 999_999_999, precision: Precision::Second }
}

fn failure<T: std::fmt::Debug>(result: Result<T, remote::Error>) -> Failure {
    result.unwrap_err().kind()
}

fn names_change_as_told(kind: Kind) {
    let b = Bench::new(kind);
    for mode in [None, Some(0o755), Some(0o700)] {
        let name = format!("dir {mode:?}");
        let entry = b.remote.make_directory(&b.path(&name), mode, deadline()).unwrap();
        assert_eq!(entry.kind, EntryKind::Directory);
        assert_eq!(*entry.name, *name.as_bytes());
        if let Some(mode) = mode {
            assert_eq!(entry.mode, Some(mode));
            assert_eq!(b.mode(&name), u32::from(mode));
        }
        b.remote.remove_directory(&b.path(&name), deadline()).unwrap();
        assert!(!b.exists(&name));
    }
    b.file("one", b"1");
    b.remote.rename(&b.path("one"), &b.path("two"), deadline()).unwrap();
    assert!(!b.exists("one"));
    assert_eq!(b.read("two"), b"1");
    b.remote.remove(&b.path("two"), deadline()).unwrap();
    assert!(!b.exists("two"));
    b.dir("sub");
    b.file("sub/file", b"1");
    let make_link = |target: &[u8], path: &str| b.remote.make_symlink(target, &b.path(path), deadline());
    let link = make_link(b"../sub/file", "sub/link");
    match kind {
        Kind::Proftpd => {
            link.unwrap();
            // As seen from the root that the server gives its user.
            assert_eq!(b.local("sub/link").read_link().unwrap().as_os_str(), "/sub/file");
            b.remote.make_symlink(b"sub", &b.path("link"), deadline()).unwrap();
            for (target, path, expected) in [
                (&b"sub"[..], "link", Failure::Exists),
                (b"sub", "missing/link", Failure::NotFound),
                (b"missing", "dangling", Failure::Unsupported),
                (b"a b", "split", Failure::Unsupported),
            ] {
                assert_eq!(failure(make_link(target, path)), expected, "{path}");
            }
            b.remote.remove(&b.path("link"), deadline()).unwrap();
            assert!(!b.exists("link"));
        }
        _ => {
            assert_eq!(failure(link), Failure::Unsupported);
            assert_eq!(b.remote.profile().symlink(), Capability::No);
        }
    }
}

fn modes_and_times_are_set(kind: Kind) {
    let b = Bench::new(kind);
    b.file("file", b"content");
    b.dir("dir");
    let path = b.path("file");
    // The first time the server's ways are found out, the second time they are known.
    for round in 0..2 {
        // pure-ftpd opens what it changes, so its owner must be able to read it.
        for mode in [0o600, if kind == Kind::PureFtpd { 0o400 } else { 0o7 }, 0o644] {
            let wishes = Wishes { mode: Some(mode), modified: Some(at(MOMENT + round)), group: None };
            let entry = b.remote.set(&path, &wishes, deadline()).unwrap().unwrap();
            assert_eq!(b.mode("file"), u32::from(mode));
            assert_eq!(b.modified("file"), MOMENT + round);
            assert_eq!((entry.mode, entry.size), (Some(mode), Some(7)));
            assert_eq!(entry.modified.map(|m| m.seconds), Some(MOMENT + round));
        }
    }
    assert_eq!(b.remote.profile().chmod(), Capability::Yes);
    assert_eq!(b.remote.profile().set_time(), Capability::Yes);
    // In one session, as after an upload.
    {
        let mut lease = b.remote.lease("set", &path, Lane::Metadata, deadline()).unwrap();
        let session = lease.session().unwrap();
        let wishes = Wishes { mode: Some(0o640), ..Wishes::default() };
        let settled = session.settle(path.as_bytes(), &wishes, deadline()).unwrap();
        assert!(
            matches!((&settled.mode, &settled.modified), (Granted::Yes, Granted::NotAsked)),
            "{settled:?}"
        );
        let size = match settled.facts.unwrap() {
            Facts::Whole(entry) => entry.size,
            Facts::File { size, .. } => Some(size),
            Facts::Doubtful => None,
        };
        assert_eq!(size, Some(7));
        assert_eq!(session.size(path.as_bytes(), deadline()).unwrap(), Some(7));
        assert!(session.size(b"/nothing-here", deadline()).unwrap_err().refusal().is_some());
    }
    // Directories: a mode everywhere, a time where the server can.
    let dir = b.path("dir");
    b.remote.set(&dir, &Wishes { mode: Some(0o711), ..Wishes::default() }, deadline()).unwrap();
    assert_eq!(b.mode("dir"), 0o711);
    let touched = b.remote.set(&dir, &Wishes { modified: Some(at(MOMENT)), ..Wishes::default() }, deadline());
    match kind {
        Kind::Proftpd | Kind::PureFtpd => {
            touched.unwrap();
            assert_eq!(b.modified("dir"), MOMENT);
        }
        Kind::Vsftpd | Kind::Pyftpdlib => assert_eq!(failure(touched), Failure::Unsupported),
    }
    // What cannot be said is refused, and changes nothing.
    for seconds in [-1, i64::MAX] {
        let wishes = Wishes { modified: Some(at(seconds)), ..Wishes::default() };
        assert_eq!(failure(b.remote.set(&path, &wishes, deadline())), Failure::BadName);
    }
    assert_eq!(b.modified("file"), MOMENT + 1);
    assert_eq!(b.remote.profile().set_time(), Capability::Yes);
}

fn uploads_begin_where_they_should(kind: Kind) {
    for mode in [Mode::Passive, Mode::Active] {
        let b = Bench::with(kind, mode, |_| {});
        let long: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        for content in [&b""[..], b"short", &long, b"cut to this"] {
            b.store("file", StoreAt::Start, content).unwrap();
            assert_eq!(b.read("file"), content, "{mode:?}");
        }
        b.store("file", StoreAt::End, b", and more").unwrap();
        assert_eq!(b.read("file"), b"cut to this, and more");
        b.store("created", StoreAt::End, b"by APPE").unwrap();
        assert_eq!(b.read("created"), b"by APPE");
        let end = StoreAt::Offset(b.read("file").len() as u64);
        b.store("file", end, b" still").unwrap();
        assert_eq!(b.read("file"), b"cut to this, and more still");
        b.store("file", StoreAt::Offset(4), b"IN").unwrap();
        let kept = if kind == Kind::PureFtpd { &b"cut IN"[..] } else { b"cut IN this, and more still" };
        assert_eq!(b.read("file"), kept);
        // A session whose upload was given up goes on.
        let path = b.path("given up");
        let mut lease = b.remote.lease("write", &path, Lane::Data, deadline()).unwrap();
        let session = lease.session().unwrap();
        let mut upload = session.store(path.as_bytes(), StoreAt::Start, deadline()).unwrap();
        upload.write(&long, deadline()).unwrap();
        upload.abandon(deadline()).unwrap();
        assert!(session.is_ready());
        assert!(session.size(path.as_bytes(), deadline()).unwrap().is_some_and(|size| size <= 3_000_000));
    }
}

fn a_rename_replaces_what_it_may(kind: Kind) {
    let b = Bench::new(kind);
    let rename = |from: &str, to: &str| b.remote.rename(&b.path(from), &b.path(to), deadline());
    b.file("new", b"new");
    b.file("old", b"old");
    rename("new", "old").unwrap();
    assert!(!b.exists("new"));
    assert_eq!(b.read("old"), b"new");
    b.dir("full");
    b.file("full/inside", b"x");
    b.dir("empty");
    rename("full", "empty").unwrap();
    assert_eq!(b.read("empty/inside"), b"x");
    b.dir("other");
    assert!(matches!(failure(rename("other", "empty")), Failure::NotEmpty | Failure::Exists));
    assert_eq!(failure(rename("other", "old")), Failure::NotADirectory);
    assert_eq!(failure(rename("old", "other")), Failure::IsADirectory);
    assert_eq!(failure(rename("missing", "elsewhere")), Failure::NotFound);
    assert_eq!(failure(rename("old", "missing/elsewhere")), Failure::NotFound);
    assert_eq!(b.read("old"), b"new");
    // A session that was refused a rename takes other commands.
    b.remote.stat(&b.path("old"), deadline()).unwrap();
}

fn each_refusal_has_its_kind(kind: Kind) {
    let b = Bench::new(kind);
    b.file("file", b"1");
    b.dir("dir");
    b.file("dir/inside", b"2");
    fs::create_dir(b.local("locked")).unwrap();
    fs::write(b.local("locked/file"), b"3").unwrap();
    fs::create_dir(b.local("locked/dir")).unwrap();
    let (r, p) = (&b.remote, |name: &str| b.path(name));
    let mkdir = |name: &str| failure(r.make_directory(&p(name), Some(0o700), deadline()));
    for (got, expected, what) in [
        (failure(r.remove(&p("missing"), deadline())), Failure::NotFound, "remove missing"),
        (failure(r.remove(&p("no/dir"), deadline())), Failure::NotFound, "remove in a missing directory"),
        (failure(r.remove(&p("file/x"), deadline())), Failure::NotADirectory, "remove below a file"),
        (failure(r.remove(&p("locked/file"), deadline())), Failure::Denied, "remove without permission"),
        (failure(r.remove_directory(&p("missing"), deadline())), Failure::NotFound, "rmdir missing"),
        (failure(r.remove_directory(&p("file"), deadline())), Failure::NotADirectory, "rmdir a file"),
        (failure(r.remove_directory(&p("dir"), deadline())), Failure::NotEmpty, "rmdir not empty"),
        (
            failure(r.remove_directory(&p("locked/dir"), deadline())),
            Failure::Denied,
            "rmdir without permission",
        ),
        (mkdir("dir"), Failure::Exists, "mkdir onto a directory"),
        (mkdir("file"), Failure::Exists, "mkdir onto a file"),
        (mkdir("missing/dir"), Failure::NotFound, "mkdir in a missing directory"),
        (mkdir("file/dir"), Failure::NotADirectory, "mkdir below a file"),
        (mkdir("locked/new"), Failure::Denied, "mkdir without permission"),
        (b.store_failure("dir"), Failure::IsADirectory, "store over a directory"),
        (b.store_failure("missing/file"), Failure::NotFound, "store in a missing directory"),
        (b.store_failure("locked/file"), Failure::Denied, "store without permission"),
        (b.store_failure("locked/new"), Failure::Denied, "create without permission"),
        (
            failure(r.rename(&p("file"), &p("locked/file"), deadline())),
            Failure::Denied,
            "rename without permission",
        ),
        (
            failure(r.set(&p("missing"), &Wishes { mode: Some(0o600), ..Wishes::default() }, deadline())),
            Failure::NotFound,
            "chmod missing",
        ),
        (
            failure(r.set(&p("locked/file"), &Wishes { mode: Some(0o600), ..Wishes::default() }, deadline())),
            Failure::Denied,
            "chmod without permission",
        ),
        (
            failure(r.set(
                &p("missing"),
                &Wishes { modified: Some(at(MOMENT)), ..Wishes::default() },
                deadline(),
            )),
            Failure::NotFound,
            "touch missing",
        ),
        (
            failure(r.set(
                &p("locked/file"),
                &Wishes { modified: Some(at(MOMENT)), ..Wishes::default() },
                deadline(),
            )),
            Failure::Denied,
            "touch without permission",
        ),
    ] {
        assert_eq!(got, expected, "{what}");
    }
    let removed_directory = failure(r.remove(&p("dir"), deadline()));
    assert_eq!(removed_directory, Failure::IsADirectory);
    assert_eq!(
        (b.read("file"), b.read("dir/inside"), b.read("locked/file")),
        (vec![b'1'], vec![b'2'], vec![b'3'])
    );
    assert_eq!(b.mode("dir"), 0o755, "a refused mkdir changed the mode of what was there");
}

fn what_is_in_the_way_has_its_kind(kind: Kind) {
    let b = Bench::new(kind);
    b.file("was-a-directory", b"now a file");
    for (path, expected) in [
        ("was-a-directory/file", Failure::NotADirectory),
        ("gone/file", Failure::NotFound),
        ("gone/deeper/file", Failure::NotFound),
    ] {
        let got = failure(b.remote.stat(&b.path(path), deadline()));
        // A server with a reason of its own may call a path through a file "not found".
        let told = kind != Kind::Vsftpd && got == Failure::NotFound;
        assert!(got == expected || told, "{path}: {got:?}");
    }
    assert_eq!(failure(b.remote.list(&b.path("was-a-directory"), None, deadline())), Failure::NotADirectory);
}

fn odd_names_are_changed_themselves_or_not_at_all(kind: Kind) {
    let b = Bench::new(kind);
    let names: [&[u8]; 14] = [
        b" leading",
        b"trailing ",
        b"two  blanks",
        b"-rf",
        b"*",
        b"[a]?",
        b"\"quoted\"",
        b"it's",
        b"back\\slash",
        b"tab\there",
        b"20240101000000 x",
        b"~",
        b"\xff\xfe",
        "\u{e9}\u{4e2d}".as_bytes(),
    ];
    for name in names {
        let shown = String::from_utf8_lossy(name).into_owned();
        let before = listed(&b.root);
        let stored = b.store(name, StoreAt::Start, b"x").is_ok();
        let local = b.root.join(std::ffi::OsStr::from_bytes(name));
        if !stored || !local.exists() {
            eprintln!("{:?} cannot store {shown:?}", b.kind);
            for extra in listed(&b.root).iter().filter(|name| !before.contains(name)) {
                fs::remove_file(b.root.join(extra)).unwrap();
            }
            continue;
        }
        let path = b.path(name);
        let wishes = Wishes { mode: Some(0o604), modified: Some(at(MOMENT)), group: None };
        match b.remote.set(&path, &wishes, deadline()) {
            Ok(_) => {
                let is = local.metadata().unwrap();
                assert_eq!((is.mode() & 0o7777, is.mtime()), (0o604, MOMENT), "{shown:?}");
            }
            Err(error) => eprintln!("{:?} cannot set {shown:?}: {error:?}", b.kind),
        }
        let to = b.path([name, b"2"].concat());
        b.remote.rename(&path, &to, deadline()).unwrap_or_else(|e| panic!("{shown:?}: {e:?}"));
        b.remote.remove(&to, deadline()).unwrap_or_else(|e| panic!("{shown:?}: {e:?}"));
        match b.remote.make_directory(&path, Some(0o705), deadline()) {
            Ok(_) => {
                assert_eq!(local.metadata().unwrap().mode() & 0o7777, 0o705, "{shown:?}");
                b.remote.remove_directory(&path, deadline()).unwrap_or_else(|e| panic!("{shown:?}: {e:?}"));
            }
            Err(error) => eprintln!("{:?} cannot make {shown:?}: {error:?}", b.kind),
        }
        assert_eq!(listed(&b.root), before, "{shown:?}");
    }
}

fn listed(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn a_full_disk_fails_the_upload(kind: Kind) {
    let disk = Disk::default();
    let b = Bench::with(kind, Mode::Passive, |root| disk.mount(&root.join("small")));
    // Unmounted before the directory that it is in is removed.
    let _disk = disk;
    let content = vec![7; 8 << 20];
    let error = within(BOUND, "upload", {
        let remote = b.path("small/file");
        move || {
            let error = b.store("small/file", StoreAt::Start, &content).unwrap_err();
            let kind = b.remote.explain_write(&remote, &error, deadline()).kind();
            // The connection that failed is gone or of use, and others are not harmed.
            b.remote.list(&b.path("small"), None, deadline()).unwrap();
            (kind, error.to_string())
        }
    });
    assert!(matches!(error.0, Failure::NoSpace | Failure::Failed), "{error:?}");
}

/// A file system of 1 MiB, unmounted at the end.
#[derive(Default)]
struct Disk(std::cell::RefCell<Option<PathBuf>>);

impl Disk {
    fn mount(&self, at: &Path) {
        fs::create_dir(at).unwrap();
        let options = format!("size=1m,uid={UID},gid={UID},mode=0755");
        let arguments = ["-t", "tmpfs", "-o", &options, "tmpfs", at.to_str().unwrap()];
        succeeded("mount", crate::common::bounded::output(BOUND, "mount", &arguments));
        *self.0.borrow_mut() = Some(at.to_owned());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(at) = self.0.borrow().as_ref() {
            let _ = crate::common::bounded::output(BOUND, "umount", &["-l", at.to_str().unwrap_or("")]);
        }
    }
}
