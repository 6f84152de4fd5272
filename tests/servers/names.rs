//! Names, links and errors of real servers.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::common::bounded::{shell, succeeded, within};
use crate::common::compare::same_tree;
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{fresh_dir, tree};

on_every_server!(
    what_is_listed_can_be_opened,
    links_are_followed_inside_the_mount,
    missing_denied_and_read_only_are_told_apart,
    extended_attributes_are_there_when_asked_for,
);

const BOUND: Duration = Duration::from_secs(60);

fn what_is_listed_can_be_opened(kind: Kind) {
    let served = fresh_dir("served-");
    tree::make_odd_names(served.path(), kind);
    let server = Server::start(kind, served.path(), &Options::default());
    for mode in ["mode=passive", "mode=active"] {
        let mount = Mount::start(&server.url(User::Tester, "/"), &[mode]);
        assert_eq!(names(mount.path()), names(served.path()));
        same_tree(BOUND, served.path(), mount.path());
    }
}

fn links_are_followed_inside_the_mount(kind: Kind) {
    let served = fresh_dir("served-");
    fs::create_dir(served.path().join("dir")).unwrap();
    fs::write(served.path().join("dir/file"), "inside").unwrap();
    symlink("dir/file", served.path().join("to-file")).unwrap();
    symlink("dir", served.path().join("to-dir")).unwrap();
    symlink("../dir/file", served.path().join("dir/up")).unwrap();
    // The server's view ends at its root, so for it this one points nowhere.
    symlink("/etc/hostname", served.path().join("away")).unwrap();
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    for path in ["to-file", "to-dir/file", "dir/up"] {
        assert_eq!(read(&mount.path().join(path)).unwrap(), b"inside", "{path}");
    }
    // pyftpdlib 2.2.0 lists what a link leads to, never the link.
    if kind != Kind::Pyftpdlib {
        let link = mount.path().join("to-file");
        assert_eq!(within(BOUND, "readlink", move || fs::read_link(link)).unwrap(), Path::new("dir/file"));
    }
    assert!(read(&mount.path().join("away")).is_err(), "a link led out of the mount");
}

fn extended_attributes_are_there_when_asked_for(kind: Kind) {
    const ASK: &str =
        "python3 -c 'import os, sys; print(os.getxattr(sys.argv[1], \"user.ftp.path\").decode())' file";
    let served = fresh_dir("served-");
    fs::write(served.path().join("file"), "x").unwrap();
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["xattr"]);
    let told = succeeded("getxattr", shell(BOUND, mount.path(), ASK, &[]));
    assert_eq!(String::from_utf8_lossy(&told).trim(), "/file");
    drop(mount);
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    assert!(!shell(BOUND, mount.path(), ASK, &[]).status.success());
}

fn missing_denied_and_read_only_are_told_apart(kind: Kind) {
    let served = fresh_dir("served-");
    for (name, mode) in [("open", 0o644), ("secret", 0o600)] {
        fs::write(served.path().join(name), "content").unwrap();
        fs::set_permissions(served.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["ro"]);
    let error = |name: &str| read(&mount.path().join(name)).unwrap_err();
    assert_eq!(error("missing").kind(), ErrorKind::NotFound);
    assert_eq!(error("missing/below").kind(), ErrorKind::NotFound);
    assert_eq!(error("open/below").kind(), ErrorKind::NotADirectory);
    // Owned by root and closed to others, where the server runs as an ordinary user.
    assert_eq!(error("secret").kind(), ErrorKind::PermissionDenied);
    assert_eq!(read(&mount.path().join("open")).unwrap(), b"content");
    let path = mount.path().to_path_buf();
    let refused = within(BOUND, "changes", move || {
        [
            File::create(path.join("new")).map(drop),
            File::options().write(true).open(path.join("open")).map(drop),
            fs::create_dir(path.join("dir")),
            fs::remove_file(path.join("open")),
            fs::rename(path.join("open"), path.join("moved")),
        ]
    });
    for result in refused {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let path = path.to_path_buf();
    within(BOUND, "read", move || {
        let mut content = Vec::new();
        File::open(path)?.read_to_end(&mut content)?;
        Ok(content)
    })
}

fn names(dir: &Path) -> BTreeSet<OsString> {
    let dir = dir.to_path_buf();
    within(BOUND, "ls", move || fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect())
}
