//! What is measured: the rows of the table, in their order.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::TempDir;

use super::Bench;
use crate::common::content::{MIB, write_file};
use crate::common::{UID, writable_dir};

/// Size of the small files, and of the large one.
const SMALL: u64 = 4000;
const LARGE: u64 = 8 * MIB;

/// Files in a directory that is listed or read.
const FILES: u64 = 24;

/// What the server serves.
pub(super) fn served() -> TempDir {
    let served = writable_dir("served-");
    let root = served.path();
    for dir in ["deep/er/est", "listed", "read", "many", "written"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    write_file(&root.join("deep/er/est/file"), 1, SMALL);
    for dir in ["listed", "read", "many", "written"] {
        for number in 0..FILES {
            write_file(&root.join(dir).join(format!("f{number:02}")), number, SMALL);
        }
    }
    write_file(&root.join("large"), 100, LARGE);
    write_file(&root.join("head"), 101, LARGE);
    write_file(&root.join("random"), 102, LARGE);
    for (outer, inner) in (0..5).flat_map(|outer| (0..5).map(move |inner| (outer, inner))) {
        let dir = root.join(format!("walk/d{outer}/e{inner}"));
        fs::create_dir_all(&dir).unwrap();
        write_file(&dir.join("one"), 1, SMALL);
        write_file(&dir.join("two"), 2, SMALL);
    }
    own(root);
    served
}

fn own(path: &Path) {
    std::os::unix::fs::chown(path, Some(UID), Some(UID)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| own(&entry.unwrap().path()));
    }
}

/// Does all operations. Each is measured from a settled state: what ran ahead or behind has ended.
pub(super) fn all(bench: &mut Bench) {
    let mount = bench.mount(Some("mount"));
    let at = |name: &str| mount.path().join(name);
    bench
        .measure("stat of a file 3 levels deep, cold", &mount, || at("deep/er/est/file").metadata().unwrap());
    bench.measure("stat of it, again", &mount, || at("deep/er/est/file").metadata().unwrap());
    drop(mount);

    let mount = bench.mount(None);
    let at = |name: &str| mount.path().join(name);
    bench.measure("ls -l of a directory, cold", &mount, || list(&at("listed")));
    bench.measure("ls -l of it, again", &mount, || list(&at("listed")));
    bench.measure("find in 31 directories, cold", &mount, || assert_eq!(find(&at("walk")), 31 + 50 - 1));
    bench.measure("find in them, again", &mount, || assert_eq!(find(&at("walk")), 31 + 50 - 1));
    drop(mount);

    let mount = bench.mount(None);
    let at = |name: &str| mount.path().join(name);
    list(mount.path());
    list(&at("read"));
    list(&at("many"));
    bench.measure("a small file of a listed directory, first", &mount, || read(&at("read/f00")));
    bench.measure("another one", &mount, || read(&at("read/f10")));
    bench.measure("one of them, again", &mount, || read(&at("read/f10")));
    bench.measure("20 small files, one after the other", &mount, || {
        (0..20).for_each(|number| read(&at(&format!("many/f{number:02}"))));
    });
    bench.measure("head -c 1 of 8 MiB", &mount, || {
        File::open(at("head")).unwrap().read_exact(&mut [0]).unwrap();
    });
    let random = File::open(at("random")).unwrap();
    let read_at = |offset: u64| random.read_exact_at(&mut [0; 4096], offset).unwrap();
    bench.measure("4 KiB somewhere in 8 MiB", &mount, || read_at(5 * MIB + 4096));
    bench.measure("4 KiB elsewhere in it", &mount, || read_at(2 * MIB + 8192));
    bench.measure("a third time", &mount, || read_at(7 * MIB + 12288));
    drop(random);
    bench.measure("8 MiB from start to end", &mount, || {
        assert_eq!(fs::read(at("large")).unwrap().len() as u64, LARGE);
    });
    drop(mount);

    let mount = bench.mount(None);
    let at = |name: &str| mount.path().join(name);
    list(mount.path());
    list(&at("written"));
    bench.measure("a new small file, first", &mount, || write(&at("written/new0")));
    bench.measure("another new one", &mount, || write(&at("written/new1")));
    bench.measure("20 new small files, one after the other", &mount, || {
        (0..20).for_each(|number| write(&at(&format!("written/n{number:02}"))));
    });
    bench.measure("20 new files of 13,500 bytes, not quite ten segments", &mount, || {
        (0..20).for_each(|number| fs::write(at(&format!("written/m{number:02}")), [b'm'; 13_500]).unwrap());
    });
    bench.measure("one written over", &mount, || write(&at("written/f01")));
    bench.measure("an append to one", &mount, || {
        let mut file = OpenOptions::new().append(true).open(at("written/f02")).unwrap();
        file.write_all(b"one more line\n").unwrap();
    });
    bench.measure("rename", &mount, || fs::rename(at("written/f03"), at("written/g03")).unwrap());
    bench
        .measure("rename over another", &mount, || fs::rename(at("written/f04"), at("written/f05")).unwrap());
    bench.measure("rm", &mount, || fs::remove_file(at("written/f06")).unwrap());
    bench.measure("mkdir", &mount, || fs::create_dir(at("written/dir")).unwrap());
    bench.measure("rmdir", &mount, || fs::remove_dir(at("written/dir")).unwrap());
    drop(mount);
}

/// What `ls -l` asks.
fn list(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        entry.unwrap().metadata().unwrap();
    }
}

/// What `find` asks: it trusts the types that the directory tells. The number of entries.
fn find(dir: &Path) -> usize {
    dir.symlink_metadata().unwrap();
    let found = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        1 + if entry.file_type().unwrap().is_dir() { find(&entry.path()) } else { 0 }
    });
    found.sum()
}

fn read(path: &Path) {
    assert_eq!(fs::read(path).unwrap().len() as u64, SMALL);
}

fn write(path: &Path) {
    fs::write(path, [7; SMALL as usize]).unwrap();
}
