//! A tree of files as people have them, the same for the same seed: 2,000 files in 600 directories.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::UID;
use super::content::{Random, bytes, set_mtime};
use super::server::Kind;

pub(crate) const DIRECTORIES: usize = 600;
pub(crate) const FILES: usize = 2000;

const DAY: u64 = 86_400;

/// Names that a careless client gets wrong and that all four servers serve.
pub(crate) const ODD: &[&str] = &[
    " leading",
    "trailing ",
    " both ",
    "-dash",
    "--help",
    "it's",
    "say \"hi\"",
    "*",
    "a*b",
    "what?",
    "[x]",
    "{a,b}",
    "a;b",
    "semi; colon",
    "a -> b",
    "100%",
    "%2F",
    "#hash",
    "a&b|c",
    "$HOME",
    "~",
    "~root",
    "caf\u{e9}",
    "cafe\u{301}",
    "\u{1f980} crab",
    "\u{65e5}\u{672c}\u{8a9e}",
    ".hidden",
    "...",
    "1 file",
    "2024",
    "a,b=c",
    "(x)",
    "!bang",
    "@at",
    "^",
];

/// Fills `root` with the tree. `now` decides which files are recent.
pub(crate) fn make(root: &Path, seed: u64, now: SystemTime) {
    fill(root, seed, now, (DIRECTORIES, FILES), ODD);
}

/// Fills `root` with a tree of so many files, with names that can be created on all four servers: Pure-FTPd 1.0.50
/// makes `_` of a blank at the end, ProFTPD 1.3.8 refuses MKD of a name with `*`.
pub(crate) fn make_creatable(root: &Path, seed: u64, now: SystemTime, files: usize) {
    let creatable: Vec<&str> =
        ODD.iter().copied().filter(|name| !name.ends_with(' ') && !name.contains('*')).collect();
    fill(root, seed, now, (files * DIRECTORIES / FILES, files), &creatable);
}

fn fill(root: &Path, seed: u64, now: SystemTime, (dirs, files): (usize, usize), odd: &[&str]) {
    let mut random = Random::new(seed);
    let mut directories = vec![root.to_path_buf()];
    for number in 0..dirs {
        let parent = loop {
            let parent = &directories[random.below(directories.len() as u64) as usize];
            if parent.components().count() < root.components().count() + 6 {
                break parent;
            }
        };
        let path = parent.join(name(&mut random, number, "d", odd));
        fs::create_dir(&path).unwrap();
        directories.push(path);
    }
    for number in 0..files {
        // The last directories stay empty.
        let filled = directories.len() - dirs / 15;
        let parent = &directories[random.below(filled as u64) as usize];
        let path = parent.join(name(&mut random, number, "f", odd));
        let size = match random.below(20) {
            0 => 0,
            1 => random.below(300_000),
            _ => random.below(12_000),
        };
        fs::write(&path, bytes(random.next(), 0, size as usize)).unwrap();
        finish(&path, &mut random, now, &[0o644, 0o644, 0o644, 0o444, 0o755, 0o664, 0o604, 0o777]);
    }
    // Deepest first, as a change of what is inside would set the time again.
    for path in directories.iter().skip(1).rev() {
        finish(path, &mut random, now, &[0o755, 0o755, 0o775, 0o555, 0o705]);
    }
    chown(root, Some(UID), Some(UID)).unwrap();
}

/// Fills `root` with one file and one directory for each odd name that this kind of server can serve at all.
pub(crate) fn make_odd_names(root: &Path, kind: Kind) {
    let mut names: Vec<OsString> = ODD.iter().map(OsString::from).collect();
    let more: &[&[u8]] = match kind {
        // Refuses backslashes, does not list names with control characters.
        Kind::PureFtpd => &[b"latin\xe9", b"\xff\xfe"],
        // Replaces what is not UTF-8.
        Kind::Pyftpdlib => &[b"back\\slash", b"tab\there"],
        Kind::Vsftpd | Kind::Proftpd => {
            &[b"latin\xe9", b"\xff\xfe", b"back\\slash", b"tab\there", b"\x01\x7f"]
        }
    };
    names.extend(more.iter().map(|name| OsStr::from_bytes(name).to_os_string()));
    names.push("x".repeat(255).into());
    for name in &names {
        let dir = root.join("dirs").join(name);
        fs::create_dir_all(&dir).unwrap();
        for path in [dir.join(name), root.join(name)] {
            fs::write(&path, [b"content of ", name.as_bytes()].concat()).unwrap();
            chown(&path, Some(UID), Some(UID)).unwrap();
        }
    }
}

fn name(random: &mut Random, number: usize, kind: &str, odd: &[&str]) -> PathBuf {
    match random.below(12) {
        // Numbered too, so that no name comes twice in a directory.
        0 => {
            let odd = odd[random.below(odd.len() as u64) as usize];
            if random.below(2) == 0 {
                format!("{odd}{kind}{number}").into()
            } else {
                format!("{kind}{number}{odd}").into()
            }
        }
        _ => format!("{kind}{number:04}.txt").into(),
    }
}

/// Owner, mode and time of last change: half in the last five months, half years old. What lies between is left
/// out: servers change there from a time of day to a year, each on a day of its own.
fn finish(path: &Path, random: &mut Random, now: SystemTime, modes: &[u32]) {
    let age = if random.below(2) == 0 {
        120 + random.below(150 * DAY)
    } else {
        220 * DAY + random.below(4000 * DAY)
    };
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    chown(path, Some(UID), Some(UID)).unwrap();
    set_mtime(path, SystemTime::UNIX_EPOCH + Duration::from_secs(now - age));
    let mode = modes[random.below(modes.len() as u64) as usize];
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
