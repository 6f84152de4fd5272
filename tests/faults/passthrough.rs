//! Files that are whole on the local disk are read by the kernel itself, and never a byte is another one for that.
//!
//! The proof of each such read is that it ends while no thread of the program runs.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::bounded::{eventually, within};
use crate::common::fresh_dir;
use crate::common::mount::Mount;
use crate::common_ftpd::{Quirks, Server, Tree, pattern};
use crate::mounted::CALL;

const BIG: usize = 3 * 1024 * 1024 + 17;
/// Some time in 2021.
const OLD: i64 = 1_614_834_367;
/// The path of the file on the server.
const AT: &str = "/home/u/big";

fn tree() -> Tree {
    let mut tree = Tree::bare();
    tree.put_at(AT, pattern(1, BIG), OLD);
    tree.put_at("/home/u/small", pattern(2, 1000), OLD);
    tree
}

fn mount(server: &Server, dir: &Path) -> Mount {
    let cache_dir = format!("cache_dir={}", dir.display());
    // What is known of files is asked for at every open.
    let options =
        [cache_dir.as_str(), "cache_disk=64M", "prefetch=auto", "attr_timeout=0", "cache_timeout=0"];
    Mount::start(&format!("ftp://u:secret@{}/", server.address()), &options)
}

/// The files on the disk whose names end so.
fn kept(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let shards = fs::read_dir(dir.join("blocks")).unwrap().map(|entry| entry.unwrap().path());
    let shards = shards.filter(|path| path.is_dir() && !path.ends_with("servers"));
    let files = shards.flat_map(|shard| fs::read_dir(shard).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// A file of the mount that is open.
fn open(mount: &Mount, name: &str) -> File {
    let path = mount.path().join(name);
    within(CALL, "an open", move || File::open(path).unwrap())
}

/// All bytes of an open file, from its start.
fn bytes(file: &File) -> Vec<u8> {
    let file = file.try_clone().unwrap();
    within(CALL, "a read", move || {
        let mut bytes = vec![0; 16 << 20];
        let mut len = 0;
        loop {
            match file.read_at(&mut bytes[len..], len as u64).unwrap() {
                0 => break,
                n => len += n,
            }
        }
        bytes.truncate(len);
        bytes
    })
}

/// As [`bytes`], by the kernel itself.
fn bytes_without(mount: &Mount, file: &File) -> Vec<u8> {
    mount.stopped(|| bytes(file))
}

/// Has the file read once and made a whole one.
fn seal(server: &Server, dir: &Path) {
    let mount = mount(server, dir);
    assert!(bytes(&open(&mount, "big")) == server.tree().bytes(AT).unwrap());
    eventually(CALL, "a whole file on the disk", || (kept(dir, "-index").len() == 1).then_some(()));
    assert!(mount.terminate().success());
    assert_eq!(kept(dir, "").len(), 2, "blocks are left");
}

#[test]
fn a_file_that_was_read_once_is_read_without_us() {
    let dir = fresh_dir("cache-");
    let server = Server::start(tree(), Quirks::default());
    seal(&server, dir.path());
    let whole = kept(dir.path(), "-whole").pop().unwrap();
    assert!(fs::read(&whole).unwrap() == pattern(1, BIG));
    let before = server.count("RETR");
    let mount = mount(&server, dir.path());
    let (first, second) = (open(&mount, "big"), open(&mount, "big"));
    assert!(bytes_without(&mount, &first) == pattern(1, BIG));
    assert!(bytes_without(&mount, &second) == pattern(1, BIG));
    drop((first, second));
    // Again after the last close.
    assert!(bytes_without(&mount, &open(&mount, "big")) == pattern(1, BIG));
    assert_eq!(server.count("RETR"), before);
    assert!(!mount.log().contains("WARN"), "{}", mount.log());
    assert!(mount.terminate().success());
}
