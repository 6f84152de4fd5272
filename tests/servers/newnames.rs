//! Names that servers spell, refuse or replace each in its own way, given to new files and directories.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::common::bounded::within;
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{tree, writable_dir};

on_every_server!(a_new_name_is_that_name_or_an_error);

const BOUND: Duration = Duration::from_secs(120);

/// Pure-FTPd 1.0.50 makes `_` of a blank at the end and of control characters and answers with success; pyftpdlib
/// 2.2.0 makes U+FFFD of what is not UTF-8; ProFTPD 1.3.8 refuses MKD of a name with `*`. Each must be an error here,
/// and leave nothing behind; everything else must be there under its very name.
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
    assert_eq!(listed(&served.path().join("files")), expected[0]);
    assert_eq!(listed(&served.path().join("dirs")), expected[1]);
    for name in &expected[0] {
        assert_eq!(fs::read(served.path().join("files").join(name)).unwrap(), name.as_bytes());
    }
    assert!(refused < 20, "{kind:?}: {refused} of {} refused", 2 * names.len());
}

fn listed(dir: &Path) -> BTreeSet<OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}
