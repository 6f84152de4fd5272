//! Uploads that real servers do not take: close() and fsync() fail, or the server has every byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::bounded::{eventually, output, succeeded, within};
use crate::common::content::{MIB, bytes};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{UID, fresh_dir};

on_every_server!(
    a_server_killed_in_the_middle_of_an_upload_is_never_believed,
    a_server_stopped_in_the_middle_of_an_upload_is_never_believed,
    a_full_disk_is_an_error_at_close_until_there_is_room,
    permission_withdrawn_while_a_file_is_open_is_an_error_at_close,
);

/// Bounds that end within a test.
const SHORT: [&str; 7] = [
    "operation_timeout=4",
    "reply_timeout=2",
    "stall_timeout=2",
    "login_timeout=3",
    "connect_timeout=2",
    "attr_timeout=1",
    "cache_timeout=1",
];

/// No call takes longer, on a loaded machine.
const BOUND: Duration = Duration::from_secs(60);

const SIZE: usize = 6 * MIB as usize;
const STEP: usize = 128 * 1024;
/// What a file has that is appended to.
const OLD: usize = 100_000;
/// Steps before which the server is disturbed: before the first byte, in between, and before close(). Those from
/// which it stays away until close() has returned are fewer, since each costs all of the bounds.
const MOMENTS: [(Away, usize); 6] = [
    (Away::Shortly, 0),
    (Away::Shortly, 1),
    (Away::Shortly, SIZE / STEP / 2),
    (Away::Shortly, SIZE / STEP),
    (Away::UntilClosed, 1),
    (Away::UntilClosed, SIZE / STEP / 2),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Create,
    Append,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// It is back before the program goes on.
    Shortly,
    /// It is back when close() has returned.
    UntilClosed,
}

/// One line of the table: what close() said, and what the server had then.
struct Row {
    point: String,
    close: io::Result<()>,
    complete: bool,
}

fn a_server_killed_in_the_middle_of_an_upload_is_never_believed(kind: Kind) {
    disturbed(kind, "killed", Server::kill, Server::restart);
}

fn a_server_stopped_in_the_middle_of_an_upload_is_never_believed(kind: Kind) {
    disturbed(kind, "stopped", |server| server.stop(), |server| server.cont());
}

/// Disturbs the server at each of the moments of a new file and of an append.
fn disturbed(kind: Kind, how: &str, disturb: fn(&mut Server), mend: fn(&mut Server)) {
    let served = served();
    let mut server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &SHORT);
    let mut rows = Vec::new();
    for deed in [Deed::Create, Deed::Append] {
        for (away, moment) in MOMENTS {
            let point = format!("{how} before step {moment} of {deed:?}, away {away:?}");
            let name = format!("{deed:?}-{away:?}-{moment}");
            let (new, whole) = contents(deed, rows.len() as u64);
            if deed == Deed::Append {
                write_served(&served.path().join(&name), &whole[..OLD]);
            }
            let path = mount.path().join(&name);
            usable(&path, deed);
            let close = interrupted(path.clone(), deed, new, moment, || {
                disturb(&mut server);
                if away == Away::Shortly {
                    mend(&mut server);
                }
            });
            let landed = fs::read(served.path().join(&name)).unwrap_or_default();
            let complete = landed == *whole;
            if away == Away::UntilClosed {
                mend(&mut server);
            }
            println!("{kind:?}: {point:<56} close {close:?}, {} of {}", landed.len(), whole.len());
            if close.is_err() {
                recovered(&point, &path, &served.path().join(&name), &whole);
            }
            assert!(read_back(&path) == *whole, "{point}: the mount shows something else");
            rows.push(Row { point, close, complete });
        }
    }
    judge(kind, &rows);
    let survived = rows.iter().filter(|row| row.close.is_ok()).count();
    assert!(survived > 0, "no upload survived anything");
}

/// The server can be used again, and the mount has noticed.
fn usable(path: &Path, deed: Deed) {
    let path = path.to_owned();
    eventually(BOUND, "the server to be used again", || {
        let path = path.clone();
        let found = within(BOUND, "stat", move || fs::symlink_metadata(path));
        match (deed, found) {
            (Deed::Create, Err(error)) => (error.kind() == io::ErrorKind::NotFound).then_some(()),
            (Deed::Create, Ok(_)) => panic!("it is there already"),
            (Deed::Append, found) => found.is_ok_and(|found| found.len() == OLD as u64).then_some(()),
        }
    });
}

/// What could not be sent is sent by an fsync on a new handle.
fn recovered(point: &str, path: &Path, served: &Path, whole: &[u8]) {
    eventually(BOUND, point, || {
        let path = path.to_owned();
        within(BOUND, "open, fsync, close", move || {
            let file = OpenOptions::new().write(true).open(path)?;
            let synced = file.sync_all();
            close(file).and(synced)
        })
        .ok()
    });
    let landed = fs::read(served).unwrap_or_default();
    assert!(landed == whole, "{point}: synced later, and {} of {} bytes", landed.len(), whole.len());
}

/// Reads a whole file. The session of a server that was stopped may still touch the file when it goes on, so that a
/// reader rightly sees it change.
fn read_back(path: &Path) -> Vec<u8> {
    eventually(BOUND, "a file that holds still", || {
        let path = path.to_owned();
        within(BOUND, "read back", move || fs::read(path)).ok()
    })
}

/// What is written, and what the file is then.
fn contents(deed: Deed, seed: u64) -> (Arc<Vec<u8>>, Arc<Vec<u8>>) {
    let new = bytes(seed + 1000, 0, SIZE);
    let whole = match deed {
        Deed::Create => new.clone(),
        Deed::Append => [&bytes(seed, 0, OLD)[..], &new].concat(),
    };
    (Arc::new(new), Arc::new(whole))
}

/// Writes and closes, with `act` before step `moment`. The first error counts.
fn interrupted(
    path: PathBuf,
    deed: Deed,
    new: Arc<Vec<u8>>,
    moment: usize,
    act: impl FnOnce(),
) -> io::Result<()> {
    let (progress, reached) = mpsc::sync_channel(0);
    let writer = thread::spawn(move || {
        let mut file = match deed {
            Deed::Create => File::create(path)?,
            Deed::Append => OpenOptions::new().append(true).open(path)?,
        };
        let pause = || {
            // Once when there, once more when the server has been disturbed.
            progress.send(()).unwrap();
            progress.send(()).unwrap();
        };
        let mut written = Ok(());
        for (step, piece) in new.chunks(STEP).enumerate() {
            if step == moment {
                pause();
            }
            written = written.and_then(|()| file.write_all(piece));
        }
        if moment >= new.len() / STEP {
            pause();
        }
        close(file).and(written)
    });
    reached.recv_timeout(BOUND).expect("the writer did not get there");
    act();
    reached.recv_timeout(BOUND).unwrap();
    within(2 * BOUND, "writer", move || writer.join()).unwrap()
}

/// No success that is none; the counts are printed.
fn judge(kind: Kind, rows: &[Row]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        let said = match &row.close {
            Ok(()) => "0".to_owned(),
            Err(error) => error.to_string(),
        };
        let state = if row.complete { "complete" } else { "not complete" };
        *counts.entry(format!("close {said}, {state}")).or_default() += 1;
    }
    for (what, count) in counts {
        println!("{kind:?}: {count:>3} x {what}");
    }
    let lies: Vec<_> =
        rows.iter().filter(|row| row.close.is_ok() && !row.complete).map(|row| &row.point).collect();
    assert!(lies.is_empty(), "close() said 0 and the server had less: {lies:#?}");
}

fn a_full_disk_is_an_error_at_close_until_there_is_room(kind: Kind) {
    let disk = SmallDisk::new(8 * MIB);
    let server = Server::start(kind, disk.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &SHORT);
    let mut rows = Vec::new();
    for (deed, size) in [(Deed::Create, 7 * MIB), (Deed::Create, 12 * MIB), (Deed::Append, 20 * MIB)] {
        let name = format!("{deed:?}-{size}");
        let (served, path) = (disk.path().join(&name), mount.path().join(&name));
        let whole = bytes(size, 0, size as usize);
        if deed == Deed::Append {
            write_served(&served, &whole[..OLD]);
        }
        usable(&path, deed);
        let new = Arc::new(if deed == Deed::Append { whole[OLD..].to_vec() } else { whole.clone() });
        let close = interrupted(path.clone(), deed, new, 1, || ());
        let complete = fs::read(&served).unwrap_or_default() == whole;
        let point = format!("{deed:?} of {size}");
        println!("{kind:?}: {point} on a disk of 8 MiB: close {close:?}");
        if size == 7 * MIB {
            assert!(close.is_ok(), "there is room: {close:?}");
            fs::remove_file(&served).unwrap();
        } else {
            let errno = close.as_ref().err().and_then(io::Error::raw_os_error);
            assert!(matches!(errno, Some(libc::ENOSPC | libc::EIO)), "{point}: {close:?}");
            // Where write() has failed already, the file ends there.
            let seen = read_back(&path);
            assert!(whole.starts_with(&seen) && seen.len() > OLD, "{point}: other bytes than were written");
            disk.resize(64 * MIB);
            recovered(&point, &path, &served, &seen);
            fs::remove_file(&served).unwrap();
            disk.resize(8 * MIB);
        }
        rows.push(Row { point, close, complete });
    }
    judge(kind, &rows);
}

fn permission_withdrawn_while_a_file_is_open_is_an_error_at_close(kind: Kind) {
    let served = served();
    let old = bytes(1, 0, OLD);
    write_served(&served.path().join("patched"), &old);
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &SHORT);
    let mut rows = Vec::new();
    for name in ["created", "patched"] {
        let (path, there) = (mount.path().join(name), served.path().join(name));
        let created = name == "created";
        let opened = path.clone();
        let file = within(BOUND, "open", move || {
            OpenOptions::new().write(true).create(created).open(opened).unwrap()
        });
        withdraw(served.path(), &there);
        let close = within(BOUND, "write and close", move || {
            let written = file.write_all_at(b"0123456789", if created { 0 } else { 5000 });
            close(file).and(written)
        });
        println!("{kind:?}: {name}: close {close:?}");
        let mut whole = if created { Vec::new() } else { old.clone() };
        let offset = if created { 0 } else { 5000 };
        whole.resize(whole.len().max(offset + 10), 0);
        whole[offset..offset + 10].copy_from_slice(b"0123456789");
        let complete = fs::read(&there).is_ok_and(|landed| landed == whole);
        let errno = close.as_ref().err().and_then(io::Error::raw_os_error);
        assert!(complete || matches!(errno, Some(libc::EACCES | libc::EPERM)), "{name}: {close:?}");
        if created && close.is_err() {
            // A new file that the server refuses is given up, so that nothing is shown that is not there.
            let refused = path.clone();
            eventually(BOUND, "a refused new file to be gone", || {
                let path = refused.clone();
                let found = within(BOUND, "stat", move || fs::symlink_metadata(path));
                found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound).then_some(())
            });
        }
        give_back(served.path(), &there);
        if close.is_err() {
            if created {
                let again = path.clone();
                within(BOUND, "write again", move || fs::write(again, b"0123456789")).unwrap();
            }
            recovered(name, &path, &there, &whole);
        }
        rows.push(Row { point: name.to_owned(), close, complete });
    }
    judge(kind, &rows);
}

/// The directory and the file become somebody else's, who lets others only read.
fn withdraw(dir: &Path, file: &Path) {
    for (path, mode) in [(dir, 0o555), (file, 0o444)] {
        if path.exists() {
            chown(path, Some(0), Some(0)).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn give_back(dir: &Path, file: &Path) {
    for (path, mode) in [(dir, 0o755), (file, 0o644)] {
        if path.exists() {
            chown(path, Some(UID), Some(UID)).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// Closes a file and tells what close(2) said, which dropping it does not.
fn close(file: File) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

/// A directory that the server may write to.
fn served() -> TempDir {
    let dir = fresh_dir("served-");
    chown(dir.path(), Some(UID), Some(UID)).unwrap();
    dir
}

/// A file in the served directory that the server may write to.
fn write_served(path: &Path, content: &[u8]) {
    File::create(path).unwrap().write_all(content).unwrap();
    chown(path, Some(UID), Some(UID)).unwrap();
}

/// A file system in memory with little room, mounted until it is dropped. A server on it must end before.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn new(size: u64) -> SmallDisk {
        let disk = SmallDisk { dir: fresh_dir("disk-") };
        let options = format!("size={size},uid={UID},gid={UID},mode=755");
        succeeded("mount", disk.mount(&["-t", "tmpfs", "-o", &options, "tmpfs"]));
        disk
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The size is the file system's, not the mount's: the server, whose mounts are its own, has it too. It cannot be less
    /// than what is on it, and a session of the server whose upload was given up may have a removed file open for a while.
    fn resize(&self, size: u64) {
        let options = format!("remount,size={size}");
        eventually(BOUND, "a file system of another size", || {
            self.mount(&["-o", &options]).status.success().then_some(())
        });
    }

    fn mount(&self, arguments: &[&str]) -> Output {
        let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        arguments.push(self.dir.path().as_os_str());
        output(Duration::from_secs(10), "mount", &arguments)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        output(Duration::from_secs(10), "umount", &[OsStr::new("-l"), self.dir.path().as_os_str()]);
    }
}
