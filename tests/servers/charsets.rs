//! Servers whose names are in another charset than UTF-8 (`charset=`), down to the bytes in the server's directory.
//!
//! Not on pyftpdlib, which knows UTF-8 only and replaces everything else.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::bounded::{output, shell, succeeded, within};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{UID, fresh_dir, writable_dir};

const BOUND: Duration = Duration::from_secs(120);

/// A charset with names in the server's bytes and as they are shown: those of files and directories that are there,
/// those to be made, and what the charset cannot express.
struct Charset {
    label: &'static str,
    old: &'static [(&'static [u8], &'static str)],
    new: &'static [(&'static [u8], &'static str)],
    foreign: &'static str,
}

const KOI8_R: Charset = Charset {
    label: "koi8-r",
    old: &[
        (b"\xef\xd4\xde\xa3\xd4 2024.txt", "Отчёт 2024.txt"),
        // Telnet's own byte.
        (b"\xff\xff", "ЪЪ"),
        (b"plain", "plain"),
        // Pseudographics, which no Russian name has: every byte means something here.
        (b"\x80\x9f\xff\xa0", "─÷Ъ═"),
    ],
    new: &[(b"\xce\xcf\xd7\xd9\xca", "новый"), (b"a\xffb", "aЪb"), (b"\xc1 'b' *", "а 'b' *")],
    foreign: "中",
};

const SHIFT_JIS: Charset = Charset {
    label: "shift_jis",
    old: &[
        // The second byte of each is a backslash.
        (b"\x95\x5c\x83\x5c.txt", "表ソ.txt"),
        (b"\x93\xfa\x96\x7b\x8c\xea", "日本語"),
        (b"\xb1\xb2\xb3", "ｱｲｳ"),
        // Valid in no charset: a lead byte alone, and bytes that begin nothing.
        (b"\x81 lone\x81", "\u{f781} lone\u{f781}"),
        (b"\xfd\xfe\xff", "\u{f7fd}\u{f7fe}\u{f7ff}"),
        // Another way to write a character that has one.
        (b"\xed\x40", "\u{f7ed}@"),
    ],
    new: &[(b"\x90\x56\x82\xb5\x82\xa2", "新しい"), (b"\x8f\x5c", "十"), (b"new\xff", "new\u{f7ff}")],
    foreign: "¥",
};

const UTF_8: Charset = Charset {
    label: "utf-8",
    old: &[
        ("日本語".as_bytes(), "日本語"),
        (b"caf\xe9", "caf\u{f7e9}"),
        (b"\xff\xfe", "\u{f7ff}\u{f7fe}"),
        ("\u{f7e9}".as_bytes(), "\u{f7ef}\u{f79f}\u{f7a9}"),
    ],
    new: &[("новый".as_bytes(), "новый"), (b"\xe9t\xe9", "\u{f7e9}t\u{f7e9}")],
    foreign: "\u{f7c3}\u{f7a9}",
};

macro_rules! on_servers_that_take_bytes {
    ($($function:ident($charset:expr)),+ $(,)?) => {$(
        mod $function {
            use crate::common::server::Kind;

            #[test]
            fn vsftpd() {
                super::a_tree_can_be_used(Kind::Vsftpd, &$charset);
            }

            #[test]
            fn proftpd() {
                super::a_tree_can_be_used(Kind::Proftpd, &$charset);
            }

            #[test]
            fn pure_ftpd() {
                super::a_tree_can_be_used(Kind::PureFtpd, &$charset);
            }
        }
    )+};
}

on_servers_that_take_bytes!(koi8_r(super::KOI8_R), shift_jis(super::SHIFT_JIS), utf_8(super::UTF_8));

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// What a server can have at all: Pure-FTPd 1.0.50 refuses backslashes, ProFTPD 1.3.8 MKD of a name with `*`.
fn names(
    kind: Kind,
    names: &[(&'static [u8], &'static str)],
) -> impl Iterator<Item = (&'static OsStr, &'static str)> {
    let refused = match kind {
        Kind::PureFtpd => b'\\',
        _ => b'*',
    };
    names.iter().filter(move |(bytes, _)| !bytes.contains(&refused)).map(|(bytes, text)| (os(bytes), *text))
}

fn a_tree_can_be_used(kind: Kind, charset: &Charset) {
    let served = writable_dir("served-");
    let old: Vec<_> = names(kind, charset.old).collect();
    let new: Vec<_> = names(kind, charset.new).collect();
    for (name, _) in &old {
        let dir = served.path().join("dirs").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), name.as_bytes()).unwrap();
        fs::write(served.path().join(name), name.as_bytes()).unwrap();
        let link = served.path().join(os(&[b"to ", name.as_bytes()].concat()));
        symlink(Path::new("dirs").join(name).join(name), link).unwrap();
    }
    give_away(served.path());
    let server = Server::start(kind, served.path(), &Options::default());
    let option = format!("charset={}", charset.label);

    // Listed and read as it is.
    let mount = Mount::start(&server.url(User::Tester, "/"), &[&option]);
    let mut expected: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for (bytes, text) in &old {
        for path in
            [PathBuf::from(text), Path::new("dirs").join(text).join(text), format!("to {text}").into()]
        {
            expected.insert(path, bytes.as_bytes().to_vec());
        }
    }
    let root = mount.path().to_path_buf();
    assert_eq!(within(BOUND, "list", move || tree(&root)), expected, "{kind:?}");
    let target = mount.path().join(format!("to {}", old[0].1));
    let target = within(BOUND, "readlink", move || fs::read_link(target)).unwrap();
    assert_eq!(target, Path::new("dirs").join(old[0].1).join(old[0].1));

    // What the server cannot have.
    let foreign = mount.path().join(charset.foreign);
    within(BOUND, "foreign names", move || {
        assert_eq!(fs::metadata(&foreign).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::remove_file(&foreign).unwrap_err().kind(), io::ErrorKind::NotFound);
        let plain = foreign.with_file_name("plain file");
        fs::write(&plain, "x").unwrap();
        for refused in [
            fs::write(&foreign, "x"),
            fs::create_dir(&foreign),
            fs::rename(&plain, &foreign),
            fs::write(foreign.with_file_name(os(b"\xff")), "x"),
        ] {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(nix::libc::EILSEQ));
        }
        fs::remove_file(&plain).unwrap();
    });

    // Written, renamed, removed.
    let (root, changed, made) = (mount.path().to_path_buf(), old.clone(), new.clone());
    within(BOUND, "changes", move || {
        for (_, text) in &changed {
            fs::write(root.join(format!("to {text}")), "new").unwrap();
            append(&root.join(text), " more");
            fs::rename(
                root.join("dirs").join(text).join(text),
                root.join("dirs").join(format!("moved {text}")),
            )
            .unwrap();
            fs::rename(root.join("dirs").join(text), root.join(format!("dir {text}"))).unwrap();
            fs::remove_file(root.join(format!("to {text}"))).unwrap();
        }
        for (bytes, text) in &made {
            fs::create_dir(root.join(text)).unwrap();
            fs::write(root.join(text).join(text), bytes.as_bytes()).unwrap();
            fs::write(root.join(text).join("gone"), "gone").unwrap();
            fs::rename(root.join(text).join("gone"), root.join(text).join(format!("gone {text}"))).unwrap();
            fs::remove_file(root.join(text).join(format!("gone {text}"))).unwrap();
            fs::create_dir(root.join(text).join(format!("dir {text}"))).unwrap();
            fs::remove_dir(root.join(text).join(format!("dir {text}"))).unwrap();
        }
    });
    let mut wanted: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for (name, _) in &old {
        let prefixed = |prefix: &[u8]| PathBuf::from(os(&[prefix, name.as_bytes()].concat()));
        wanted.insert(PathBuf::from(name), [name.as_bytes(), b" more"].concat());
        wanted.insert(Path::new("dirs").join(prefixed(b"moved ")), b"new".to_vec());
        wanted.insert(prefixed(b"dir "), Vec::new());
    }
    for (name, _) in &new {
        wanted.insert(Path::new(name).join(name), name.as_bytes().to_vec());
    }
    assert_eq!(tree(served.path()), wanted, "{kind:?}");

    // And all of it away, by a program that knows nothing of charsets.
    let away = "cp -r . \"$1\"/copy && rm -rf -- * && test -z \"$(ls -A)\"";
    let copy = fresh_dir("copy-");
    succeeded("rm", shell(BOUND, mount.path(), away, &[copy.path().as_os_str()]));
    assert_eq!(tree(served.path()), BTreeMap::new());
    assert_eq!(tree(&copy.path().join("copy")).len(), wanted.len());
}

/// A name of 255 bytes on the server is longer in UTF-8, which the kernel takes and programs too.
#[test]
fn long_names_can_be_used() {
    let served = writable_dir("served-");
    let koi8: Vec<u8> = [b"\xc0".repeat(127), b"\x80".repeat(128)].concat();
    let shown = "ю".repeat(127) + &"─".repeat(128);
    fs::write(served.path().join(os(&koi8)), "content").unwrap();
    give_away(served.path());
    let server = Server::start(Kind::Proftpd, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["charset=koi8-r"]);
    let script = "test \"$(ls)\" = \"$1\" && cat -- * && mv -- * new && mv new \"$1\" && cp -- \"$1\" \"$2\" && \
        python3 -c 'import os; print(os.pathconf(\".\", \"PC_NAME_MAX\"))'";
    let other = "я".repeat(255);
    let printed = shell(BOUND, mount.path(), script, &[OsStr::new(&shown), OsStr::new(&other)]);
    assert_eq!(String::from_utf8_lossy(&succeeded("ls", printed)), "content765\n");
    let wanted = [os(&koi8), os(&b"\xd1".repeat(255))].map(|name| (name.into(), b"content".to_vec()));
    assert_eq!(tree(served.path()), BTreeMap::from(wanted));
    let too_long = mount.path().join("я".repeat(256));
    let refused = within(BOUND, "create", move || fs::write(too_long, "x")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(nix::libc::ENAMETOOLONG));
}

#[test]
fn the_url_names_a_directory_as_it_is_shown() {
    let served = writable_dir("served-");
    let dir = served.path().join(os(b"\x95\x5c")).join(os(b"\x81"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(os(b"\x8f\x5c")), "content").unwrap();
    give_away(served.path());
    let server = Server::start(Kind::Vsftpd, served.path(), &Options::default());
    for start in ["/", "/%2F"] {
        // 表, and U+F781 for the byte 0x81.
        let url = server.url(User::Tester, &format!("{start}%E8%A1%A8/%EF%9E%81"));
        let mount = Mount::start(&url, &["charset=sjis"]);
        let root = mount.path().to_path_buf();
        let found = within(BOUND, "list", move || tree(&root));
        assert_eq!(found, BTreeMap::from([("十".into(), b"content".to_vec())]));
    }
}

/// ProFTPD 1.3.8 alone makes links.
#[test]
fn a_new_link_has_its_target_in_the_servers_bytes() {
    let served = writable_dir("served-");
    fs::create_dir(served.path().join(os(b"\xff"))).unwrap();
    fs::write(served.path().join(os(b"\xff/\xc1")), "content").unwrap();
    give_away(served.path());
    let server = Server::start(Kind::Proftpd, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["charset=koi8-r"]);
    let root = mount.path().to_path_buf();
    within(BOUND, "links", move || {
        symlink("Ъ/а", root.join("ссылка")).unwrap();
        assert_eq!(fs::read(root.join("ссылка")).unwrap(), b"content");
        assert_eq!(fs::read_link(root.join("ссылка")).unwrap(), Path::new("Ъ/а"));
        let refused = symlink("中", root.join("link")).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EILSEQ));
    });
    let target = fs::read_link(served.path().join(os(b"\xd3\xd3\xd9\xcc\xcb\xc1"))).unwrap();
    assert!(target.ends_with(os(b"\xff/\xc1")), "{target:?}");
}

/// Files and links with the bytes that are read by their names, and empty directories, by their paths below `root`.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut below = vec![root.to_path_buf()];
    while let Some(dir) = below.pop() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        if entries.is_empty() && dir != root {
            found.insert(dir.strip_prefix(root).unwrap().to_path_buf(), Vec::new());
        }
        entries.retain(|path| {
            let is_dir = fs::symlink_metadata(path).unwrap().is_dir();
            if !is_dir {
                found.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(path).unwrap());
            }
            is_dir
        });
        below.extend(entries);
    }
    found
}

fn append(path: &Path, more: &str) {
    fs::File::options().append(true).open(path).unwrap().write_all(more.as_bytes()).unwrap();
}

/// Makes everything below `root` the property of the servers' user.
fn give_away(root: &Path) {
    let arguments =
        [OsStr::new("-hR"), OsStr::new(&format!("{UID}:{UID}")), root.as_os_str()].map(OsString::from);
    succeeded("chown", output(BOUND, "chown", &arguments));
}
