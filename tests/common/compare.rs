//! Compares a mount with the directory that its server serves.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::bounded::{head, shell, succeeded, within};
use super::content::{Random, bytes};
use super::server::Kind;

/// Every name and every byte.
pub(crate) fn same_tree(bound: Duration, served: &Path, mounted: &Path) {
    let output = shell(
        bound,
        Path::new("/"),
        "diff -r \"$1\" \"$2\" 2>&1",
        &[served.as_os_str(), mounted.as_os_str()],
    );
    assert!(output.status.success() && output.stdout.is_empty(), "diff -r: {}", head(&output.stdout));
}

/// Every byte of one file.
pub(crate) fn same_file(bound: Duration, served: &Path, mounted: &Path) {
    let output =
        shell(bound, Path::new("/"), "cmp \"$1\" \"$2\" 2>&1", &[served.as_os_str(), mounted.as_os_str()]);
    assert!(output.status.success() && output.stdout.is_empty(), "cmp: {}", head(&output.stdout));
}

/// Every byte of all files, read by 16 processes at a time.
pub(crate) fn same_sums_by_many(bound: Duration, served: &Path, mounted: &Path) {
    let script = "find . -type f -print0 | sort -z | xargs -0 -P 16 -n 25 sha256sum -- | sort";
    let sums = |dir: &Path| succeeded("sha256sum by 16 processes", shell(bound, dir, script, &[]));
    assert_eq!(String::from_utf8_lossy(&sums(mounted)), String::from_utf8_lossy(&sums(served)));
}

/// What find(1) tells of one name.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    kind: String,
    mode: String,
    /// Of files only: what a directory's own size means is each file system's own business.
    size: Option<u64>,
    mtime: i64,
}

/// Names, kinds, sizes, modes, and times as exact as the server tells them.
pub(crate) fn same_attributes(bound: Duration, kind: Kind, served: &Path, mounted: &Path, now: i64) {
    compare_attributes(bound, kind, served, mounted, now, |_| true);
}

/// The same right after changes through the mount, where the time of a directory is the mount's own notion of when
/// something in it changed.
pub(crate) fn same_attributes_after_changes(
    bound: Duration,
    kind: Kind,
    served: &Path,
    mounted: &Path,
    now: i64,
) {
    compare_attributes(bound, kind, served, mounted, now, |found| found.kind != "d");
}

fn compare_attributes(
    bound: Duration,
    kind: Kind,
    served: &Path,
    mounted: &Path,
    now: i64,
    has_time: impl Fn(&Found) -> bool,
) {
    let mut expected = find(bound, served);
    let found = find(bound, mounted);
    let names = |of: &BTreeMap<Vec<u8>, Found>| -> Vec<String> {
        of.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    };
    assert_eq!(names(&found), names(&expected));
    let mut wrong = Vec::new();
    for (name, found) in &found {
        let expected = expected.get_mut(name).unwrap();
        // A client may still ask for the exact time.
        if !has_time(found) {
            expected.mtime = found.mtime;
        } else if found.mtime != expected.mtime {
            expected.mtime = told_time(kind, expected.mtime, now);
        }
        if found != expected {
            wrong.push(format!("{}: {found:?}, the server has {expected:?}", String::from_utf8_lossy(name)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        found.len(),
        head(wrong.join("\n").as_bytes())
    );
}

/// vsftpd 3.0.3 has LIST alone, with minutes, or days of what is older than half a year; the others have MLSD.
fn told_time(kind: Kind, mtime: i64, now: i64) -> i64 {
    match kind {
        Kind::Vsftpd if now - mtime > 182 * 86_400 => mtime - mtime.rem_euclid(86_400),
        Kind::Vsftpd => mtime - mtime.rem_euclid(60),
        Kind::Proftpd | Kind::PureFtpd | Kind::Pyftpdlib => mtime,
    }
}

fn find(bound: Duration, dir: &Path) -> BTreeMap<Vec<u8>, Found> {
    let script = "find . -mindepth 1 -printf '%y %m %s %T@ %P\\0'";
    let output = succeeded("find", shell(bound, dir, script, &[]));
    let parse = |line: &[u8]| {
        let mut fields = line.splitn(5, |&byte| byte == b' ');
        let mut text = || String::from_utf8(fields.next().unwrap().to_vec()).unwrap();
        let (kind, mode, size, mtime) = (text(), text(), text(), text());
        let size = (kind == "f").then(|| size.parse().unwrap());
        let mtime = mtime.split('.').next().unwrap().parse().unwrap();
        (fields.next().unwrap().to_vec(), Found { kind, mode, size, mtime })
    };
    output.split(|&byte| byte == 0).filter(|line| !line.is_empty()).map(parse).collect()
}

/// Several readers, each with its own handle, at random places of one large file at the same time.
pub(crate) fn random_readers(bound: Duration, file: &Path, seed: u64, size: u64, readers: u64, reads: u32) {
    let read = move |path: PathBuf, reader: u64| {
        let mut random = Random::new(seed ^ (reader << 32));
        let file = File::open(&path).expect("open for random reads");
        for _ in 0..reads {
            let len = 1 + random.below(200_000) as usize;
            let offset = random.below(size - len as u64);
            let mut found = vec![0; len];
            file.read_exact_at(&mut found, offset)
                .unwrap_or_else(|error| panic!("reader {reader}: {len} bytes at {offset}: {error}"));
            assert!(found == bytes(seed, offset, len), "reader {reader}: wrong bytes in {len} at {offset}");
        }
    };
    let file = file.to_path_buf();
    within(bound, "random readers", move || {
        let threads: Vec<_> = (0..readers)
            .map(|reader| {
                thread::spawn({
                    let file = file.clone();
                    move || read(file, reader)
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("a random reader failed");
        }
    });
}
