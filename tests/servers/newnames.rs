//! Names that servers spell, refuse or replace each in its own way, given to new files and directories.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use crate::common::bounded::within;
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{tree, writable_dir};

on_every_server!(a_new_name_is_that_name_or_an_error);

const BOUND: Duration = Duration::from_secs(120);

/// ProFTPD 1.3.8 refuses MKD of a name with `*`, Pure-FTPd 1.0.50 a backslash: that is an error, and nothing is left
/// behind; a name that a server replaces of its own accord is an error too, though Pure-FTPd leaves what it made.
/// Everything else is there under its very name.
fn a_new_name_is_that_name_or_an_error(kind: Kind) {
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    let raw: [&[u8]; 7] =
        [b"latin\xe9", b"\xff\xfe", b"back\\slash", b"tab\there", b"\x01\x7f", b"cr\rinside", b"cr\r"];
    let names = tree::ODD.iter().map(OsStr::new).chain(raw.map(OsStr::from_bytes));
    let mut names: Vec<OsString> = names.map(OsStr::to_os_string).collect();
    names.push("x".repeat(255).into());
    let (mounted, all) = (mount.path().to_path_buf(), names.clone());
    let results = within(BOUND, "new names", move || {
        fs::create_dir(mounted.join("files")).unwrap();
        fs::create_dir(mounted.join("dirs")).unwrap();
        let make = |name: &OsString| -> (io::Result<()>, io::Result<()>) {
            let file = mounted.join("files").join(name);
            let dir = mounted.join("dirs").join(name);
            let file = fs::write(&file, name.as_bytes()).and_then(|()| {
                let moved = file.with_file_name("moved");
                fs::rename(&file, &moved).and_then(|()| fs::rename(&moved, &file))
            });
            (file, fs::create_dir(&dir).and_then(|()| fs::write(dir.join("inside"), "inside")))
        };
        all.iter().map(make).collect::<Vec<_>>()
    });
    let mut expected = [BTreeSet::new(), BTreeSet::new()];
    let mut refused = 0;
    for (name, (file, dir)) in names.iter().zip(&results) {
        for (result, expected) in [file, dir].into_iter().zip(&mut expected) {
            match result {
                Ok(()) => _ = expected.insert(name.clone()),
                Err(error) => {
                    println!("{kind:?}: {name:?}: {error}");
                    refused += 1;
                }
            }
        }
    }
    for (dir, expected) in ["files", "dirs"].into_iter().zip(&expected) {
        let replaced: Vec<_> = names.iter().filter_map(|name| replaced(kind, name)).collect();
        let mut found = listed(&served.path().join(dir));
        found.retain(|name| !replaced.contains(name));
        assert_eq!(&found, expected, "{kind:?}, {dir}");
    }
    for name in &expected[0] {
        assert_eq!(fs::read(served.path().join("files").join(name)).unwrap(), name.as_bytes());
    }
    assert!(refused < 20, "{kind:?}: {refused} of {} refused", 2 * names.len());
}

/// The name that this server makes of another while it tells of success: Pure-FTPd 1.0.50 replaces control characters
/// and a blank at the end by `_`, pyftpdlib 2.2.0 what is not UTF-8 by U+FFFD. It does so in each command, so that the
/// file is there for who asks by the first name; only a listing shows the other one.
fn replaced(kind: Kind, name: &OsStr) -> Option<OsString> {
    let bytes = name.as_bytes();
    let told = match kind {
        Kind::Vsftpd | Kind::Proftpd => return None,
        Kind::PureFtpd => {
            let last = bytes.len() - 1;
            let told = |(at, &byte): (usize, &u8)| match byte {
                0..32 | 127 => b'_',
                b' ' if at == last => b'_',
                _ => byte,
            };
            bytes.iter().enumerate().map(told).collect()
        }
        Kind::Pyftpdlib => String::from_utf8_lossy(bytes).into_owned().into_bytes(),
    };
    (told != bytes).then(|| OsString::from_vec(told))
}

fn listed(dir: &Path) -> BTreeSet<OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}
