//! Random operations on a mount and on a plain directory: the same results, the same errors, the same bytes.
//!
//! Directories are given no times: that a file which is open appears on, or leaves, the server later than it does here
//! changes its directory's time there.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::common::bounded::within;
use crate::common::content::bytes;
use crate::common::mount::Mount;
use crate::common::scenario::{Place, same_result, seconds};
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{fresh_dir, writable_dir};

on_every_server!(random_operations_do_what_a_plain_directory_does, one_connection_does_for_random_operations);

/// Of one sequence of operations.
const BOUND: Duration = Duration::from_secs(60);

/// Sequences, and most operations in each.
const CASES: u32 = 12;
const STEPS: usize = 60;

const HANDLES: usize = 3;

/// Few, so that operations meet: files and directories in one another's places.
const PATHS: [&str; 9] = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "e/a"];

#[derive(Clone, Debug)]
enum Step {
    Create { path: &'static str, len: usize },
    Exclusive { path: &'static str },
    Patch { path: &'static str, offset: u64, len: usize },
    Append { path: &'static str, len: usize },
    Read { path: &'static str },
    Truncate { path: &'static str, size: u64 },
    Rename { from: &'static str, to: &'static str },
    Unlink { path: &'static str },
    Mkdir { path: &'static str },
    Rmdir { path: &'static str },
    List { path: &'static str },
    Chmod { path: &'static str, mode: u32 },
    SetTime { path: &'static str, time: u64 },
    Open { handle: usize, path: &'static str, how: How },
    WriteAt { handle: usize, offset: u64, len: usize },
    ReadAt { handle: usize, offset: u64, len: usize },
    Resize { handle: usize, size: u64 },
    Sync { handle: usize },
    Close { handle: usize },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Read,
    Write,
    Both,
    Append,
}

fn step() -> impl Strategy<Value = Step> {
    let path = || prop::sample::select(&PATHS[..]);
    let handle = || 0..HANDLES;
    let offset = || prop_oneof![Just(0), 0..100u64, 0..150_000u64];
    let len = || prop_oneof![0..50usize, 0..70_000usize];
    let how =
        prop::sample::select(&[How::Read, How::Write, How::Both, How::Both, How::Append, How::Append][..]);
    prop_oneof![
        4 => (path(), len()).prop_map(|(path, len)| Step::Create { path, len }),
        1 => path().prop_map(|path| Step::Exclusive { path }),
        3 => (path(), offset(), len()).prop_map(|(path, offset, len)| Step::Patch { path, offset, len }),
        3 => (path(), len()).prop_map(|(path, len)| Step::Append { path, len }),
        3 => path().prop_map(|path| Step::Read { path }),
        2 => (path(), offset()).prop_map(|(path, size)| Step::Truncate { path, size }),
        5 => (path(), path()).prop_map(|(from, to)| Step::Rename { from, to }),
        3 => path().prop_map(|path| Step::Unlink { path }),
        3 => path().prop_map(|path| Step::Mkdir { path }),
        2 => path().prop_map(|path| Step::Rmdir { path }),
        2 => path().prop_map(|path| Step::List { path }),
        // The owner stays able to read and write: here that is root, who may do so anyway.
        1 => (path(), prop::sample::select(&[0o600, 0o640, 0o755, 0o700][..]))
            .prop_map(|(path, mode)| Step::Chmod { path, mode }),
        1 => (path(), 1_000_000_000..1_500_000_000u64).prop_map(|(path, time)| Step::SetTime { path, time }),
        4 => (handle(), path(), how).prop_map(|(handle, path, how)| Step::Open { handle, path, how }),
        4 => (handle(), offset(), len()).prop_map(|(handle, offset, len)| Step::WriteAt { handle, offset, len }),
        4 => (handle(), offset(), len()).prop_map(|(handle, offset, len)| Step::ReadAt { handle, offset, len }),
        1 => (handle(), offset()).prop_map(|(handle, size)| Step::Resize { handle, size }),
        1 => handle().prop_map(|handle| Step::Sync { handle }),
        2 => handle().prop_map(|handle| Step::Close { handle }),
    ]
}

/// One of the two directories, with the files that are open in it.
#[derive(Debug)]
struct Side {
    root: PathBuf,
    open: [Option<File>; HANDLES],
}

impl Side {
    fn new(root: PathBuf) -> Side {
        Side { root, open: [const { None }; HANDLES] }
    }

    /// Does it, and returns what can be seen of it, or the error's number. `seed` tells which bytes are written.
    fn apply(&mut self, step: &Step, seed: u64) -> Result<String, i32> {
        self.result(step, seed).map_err(|error| match error.raw_os_error() {
            // POSIX allows both for a directory that is not empty.
            Some(libc::EEXIST) => libc::ENOTEMPTY,
            number => number.unwrap_or(-1),
        })
    }

    fn result(&mut self, step: &Step, seed: u64) -> io::Result<String> {
        let at = |path: &str| self.root.join(path);
        let done = String::new();
        match *step {
            Step::Create { path, len } => {
                fs::write(at(path), bytes(seed, 0, len))?;
                seen(&at(path))
            }
            Step::Exclusive { path } => {
                OpenOptions::new().write(true).create_new(true).mode(0o640).open(at(path))?;
                seen(&at(path))
            }
            Step::Patch { path, offset, len } => {
                let file = OpenOptions::new().read(true).write(true).open(at(path))?;
                file.write_all_at(&bytes(seed, 0, len), offset)?;
                drop(file);
                seen(&at(path))
            }
            Step::Append { path, len } => {
                let mut file = OpenOptions::new().append(true).create(true).open(at(path))?;
                file.write_all(&bytes(seed, 0, len))?;
                drop(file);
                seen(&at(path))
            }
            Step::Read { path } => {
                let mut content = Vec::new();
                File::open(at(path))?.read_to_end(&mut content)?;
                Ok(short(&content))
            }
            Step::Truncate { path, size } => {
                OpenOptions::new().write(true).open(at(path))?.set_len(size)?;
                seen(&at(path))
            }
            Step::Rename { from, to } => {
                fs::rename(at(from), at(to))?;
                seen(&at(to))
            }
            Step::Unlink { path } => fs::remove_file(at(path)).map(|()| done),
            Step::Mkdir { path } => fs::create_dir(at(path)).map(|()| done),
            Step::Rmdir { path } => fs::remove_dir(at(path)).map(|()| done),
            Step::List { path } => {
                let mut names = Vec::new();
                for entry in fs::read_dir(at(path))? {
                    let entry = entry?;
                    names.push(format!("{:?} {}", entry.file_name(), seen(&entry.path())?));
                }
                names.sort();
                Ok(names.join(", "))
            }
            Step::Chmod { path, mode } => {
                let mode = if fs::metadata(at(path))?.is_dir() { mode | 0o700 } else { mode };
                fs::set_permissions(at(path), Permissions::from_mode(mode))?;
                seen(&at(path))
            }
            Step::SetTime { path, time } => {
                if fs::metadata(at(path))?.is_dir() {
                    return Ok(done);
                }
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
                File::open(at(path))?.set_times(FileTimes::new().set_modified(time))?;
                Ok(format!("{} {}", seen(&at(path))?, fs::metadata(at(path))?.mtime()))
            }
            Step::Open { handle, path, how } => {
                let (read, write) = (!matches!(how, How::Write), matches!(how, How::Write | How::Both));
                let append = matches!(how, How::Append);
                let file = OpenOptions::new()
                    .read(read)
                    .write(write)
                    .append(append)
                    .create(append)
                    .open(at(path))?;
                // A directory can be opened, but is no file to read or write.
                self.open[handle] = file.metadata()?.is_file().then_some(file);
                Ok(done)
            }
            Step::WriteAt { handle, offset, len } => self.with(handle, |file| {
                let written = file.write_at(&bytes(seed, 0, len), offset)?;
                Ok(format!("{written} of {}", file.metadata()?.size()))
            }),
            Step::ReadAt { handle, offset, len } => self.with(handle, |file| {
                let mut content = vec![0; len];
                let read = file.read_at(&mut content, offset)?;
                Ok(short(&content[..read]))
            }),
            Step::Resize { handle, size } => self.with(handle, |file| {
                file.set_len(size)?;
                Ok(file.metadata()?.size().to_string())
            }),
            Step::Sync { handle } => self.with(handle, |file| file.sync_all().map(|()| done.clone())),
            Step::Close { handle } => {
                self.open[handle] = None;
                Ok(done)
            }
        }
    }

    fn with(&self, handle: usize, act: impl FnOnce(&File) -> io::Result<String>) -> io::Result<String> {
        self.open[handle].as_ref().map_or_else(|| Ok("closed".into()), act)
    }
}

/// What stat(2) tells, without times.
fn seen(path: &Path) -> io::Result<String> {
    let told = fs::symlink_metadata(path)?;
    let size = if told.is_dir() { 0 } else { told.len() };
    Ok(format!("{:o} {size}", told.mode()))
}

/// Content in few words.
fn short(content: &[u8]) -> String {
    let sum = content.iter().fold(0_u64, |sum, &byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    format!("{} bytes, {sum:x}", content.len())
}

/// Runs the steps on both sides at once and returns the first difference.
fn differ(plain: PathBuf, mounted: PathBuf, steps: &[Step]) -> Option<String> {
    let mut sides = [Side::new(plain), Side::new(mounted)];
    for (number, step) in steps.iter().enumerate() {
        let [expected, found] = sides.each_mut().map(|side| side.apply(step, number as u64));
        if expected != found {
            return Some(format!("step {number}, {step:?}: {found:?}, a plain directory: {expected:?}"));
        }
    }
    None
}

fn check(place: Place<'_>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("case-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let reference = fresh_dir("reference-");
    let (plain, mounted) = (reference.path().join(&name), place.mounted.join(&name));
    let started = seconds(SystemTime::now());
    let difference = within(BOUND, "random operations", {
        let (plain, mounted) = (plain.clone(), mounted);
        move || {
            fs::create_dir(&plain).unwrap();
            fs::create_dir(&mounted).unwrap();
            differ(plain, mounted, &steps)
        }
    });
    if let Some(difference) = difference {
        return Err(TestCaseError::fail(difference));
    }
    same_result(place, &plain, started, started, &name, &[]);
    Ok(())
}

/// Fails with the shortest sequence that was found to go wrong.
fn run(place: Place<'_>, cases: u32) {
    let seed = 2026;
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    println!("{:?}: {cases} sequences, seed {seed}", place.kind);
    let steps = prop::collection::vec(step(), 1..STEPS);
    if let Err(error) = TestRunner::new(config).run(&steps, |steps| check(place, steps)) {
        panic!("{:?}, seed {seed}: {error}", place.kind);
    }
}

fn random_operations_do_what_a_plain_directory_does(kind: Kind) {
    random_operations(kind, &Options::default(), CASES);
}

fn one_connection_does_for_random_operations(kind: Kind) {
    random_operations(kind, &Options { max_clients: Some(1), ..Options::default() }, CASES / 3);
}

fn random_operations(kind: Kind, options: &Options, cases: u32) {
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), options);
    let mount = Mount::start(&server.url(User::Tester, "/"), &["debug"]);
    run(Place { mounted: mount.path(), served: served.path(), kind: Some(kind) }, cases);
}

#[test]
fn two_plain_directories_do_the_same() {
    let plain = fresh_dir("plain-");
    run(Place { mounted: plain.path(), served: plain.path(), kind: None }, 200);
}
