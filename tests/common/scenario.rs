//! Scripts that are run twice, in a plain directory and in a mount, and must come to the same in both.
//!
//! What the script prints must be equal. Then the server's own directory is compared with the plain one: names,
//! kinds, bytes, sizes, modes, link targets and times; and the mount with the server's directory.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::bounded::{eventually, head, shell, succeeded};
use super::compare::{same_attributes_after_changes, same_tree};
use super::fresh_dir;
use super::server::Kind;

/// What is done, with ordinary tools.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Also the directory that it runs in.
    pub(crate) name: &'static str,
    /// Bash, run in an empty directory. `$1` is a directory with material to read, `$2` an empty one elsewhere.
    pub(crate) script: &'static str,
    /// Whose bytes and sizes differ between two runs of the tools: paths that begin so.
    pub(crate) unlike: &'static [&'static str],
}

pub(crate) const fn scenario(name: &'static str, script: &'static str) -> Scenario {
    Scenario { name, script, unlike: &[] }
}

/// Where scenarios run, and where their effect must be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) mounted: &'a Path,
    pub(crate) served: &'a Path,
    /// `None`: a plain directory in place of a mount.
    pub(crate) kind: Option<Kind>,
}

const BOUND: Duration = Duration::from_secs(240);

const PRELUDE: &str = "set -eu -o pipefail\numask 022\n";

/// Runs all of them, one after the other, each in a directory of its own, and fails with all that went wrong.
pub(crate) fn run(place: Place<'_>, material: &Path, scenarios: &[Scenario]) {
    let failed: Vec<String> = scenarios
        .iter()
        .filter_map(|scenario| {
            let outcome = catch_unwind(AssertUnwindSafe(|| run_one(place, material, scenario)));
            outcome.err().map(|panic| format!("{}: {}", scenario.name, said(panic.as_ref())))
        })
        .collect();
    assert!(failed.is_empty(), "{:?}: {} are wrong:\n{}", place.kind, failed.len(), failed.join("\n\n"));
}

/// What a panic said: the end of a test's output is often all that one gets to see.
fn said(panic: &(dyn Any + Send)) -> &str {
    let literal = || panic.downcast_ref::<&str>().copied();
    panic.downcast_ref::<String>().map(String::as_str).or_else(literal).unwrap_or("it panicked without words")
}

/// Checks that the harness itself is right: two plain directories.
pub(crate) fn rehearse(material: &Path, scenarios: &[Scenario]) {
    let plain = fresh_dir("plain-");
    run(Place { mounted: plain.path(), served: plain.path(), kind: None }, material, scenarios);
}

fn run_one(place: Place<'_>, material: &Path, scenario: &Scenario) {
    let reference = fresh_dir("reference-");
    let expected = reference.path().join(scenario.name);
    let (printed, started) = play(&expected, material, scenario);
    let (found, began) = play(&place.mounted.join(scenario.name), material, scenario);
    assert_eq!(
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(&printed),
        "{}: it prints something else",
        scenario.name
    );
    same_result(place, &expected, started, began, scenario.name, scenario.unlike);
}

/// Runs the script in `dir`, which it makes, and returns what it printed and when it started.
fn play(dir: &Path, material: &Path, scenario: &Scenario) -> (Vec<u8>, i64) {
    let started = seconds(SystemTime::now());
    let elsewhere = fresh_dir("elsewhere-");
    let script = format!("{PRELUDE}mkdir \"$3\"; cd \"$3\"\n{}", scenario.script);
    let arguments: [&OsStr; 3] = [material.as_os_str(), elsewhere.path().as_os_str(), dir.as_os_str()];
    (succeeded(scenario.name, shell(BOUND, Path::new("/"), &script, &arguments)), started)
}

/// Compares the directory `name` of the place with a plain one. `started` and `began` tell when each was made: a time
/// since then must be one since then on the server, an older one must be equal. What begins as one of `unlike` says is
/// not compared by its bytes.
pub(crate) fn same_result(
    place: Place<'_>,
    expected: &Path,
    started: i64,
    began: i64,
    name: &str,
    unlike: &[&str],
) {
    let served = place.served.join(name);
    // The last close() of a file without a name is told to a file system after the program has ended.
    let expected_names: Vec<PathBuf> = facts(expected).into_keys().collect();
    let names = |found: &BTreeMap<PathBuf, Facts>| found.keys().cloned().collect::<Vec<_>>();
    let same_names = catch_unwind(AssertUnwindSafe(|| {
        let patience = Duration::from_secs(if place.kind.is_some() { 5 } else { 0 });
        eventually(patience, name, || (names(&facts(&served)) == expected_names).then_some(()));
    }));
    let (expected, found) = (facts(expected), facts(&served));
    assert!(
        same_names.is_ok(),
        "{name}: the server has {:?}, lacks {:?}",
        less(&names(&found), &names(&expected)),
        less(&names(&expected), &names(&found))
    );
    let ended = seconds(SystemTime::now());
    let mut wrong = Vec::new();
    for (path, expected) in &expected {
        let mut found = found[path].clone();
        let mut expected = expected.clone();
        // A file system takes its times from a clock that may be some milliseconds behind.
        if expected.mtime >= started - 1 {
            // Set by the run itself, so the server's is of its run.
            if (began - 1..=ended + 1).contains(&found.mtime) {
                found.mtime = expected.mtime;
            }
        } else if expected.kind == 'd' && !sets_times_of_directories(place.kind) {
            found.mtime = expected.mtime;
        }
        if expected.kind == 'l' {
            found.mtime = expected.mtime;
        }
        if unlike.iter().any(|unlike| path.as_os_str().as_bytes().starts_with(unlike.as_bytes())) {
            found.content.clone_from(&expected.content);
            (found.size, found.mtime) = (expected.size, expected.mtime);
        }
        if found != expected {
            // Not the bytes: they may be many.
            let same_bytes = found.content == expected.content;
            (found.content, expected.content) = (Vec::new(), Vec::new());
            wrong.push(format!(
                "{}: the server has {found:?}, should have {expected:?}, same bytes: {same_bytes}",
                path.display()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{name}: {} of {} are wrong:\n{}",
        wrong.len(),
        expected.len(),
        head(wrong.join("\n").as_bytes())
    );
    if let Some(kind) = place.kind {
        same_tree(BOUND, &served, &place.mounted.join(name));
        same_attributes_after_changes(BOUND, kind, &served, &place.mounted.join(name), ended);
    }
}

/// vsftpd 3.0.3 and pyftpdlib 2.2.0 have no command that sets the time of a directory.
fn sets_times_of_directories(kind: Option<Kind>) -> bool {
    !matches!(kind, Some(Kind::Vsftpd | Kind::Pyftpdlib))
}

/// Mount options with which tools that set the times of directories, too, do not fail where the server cannot.
pub(crate) fn options_for_tools(kind: Kind) -> &'static [&'static str] {
    if sets_times_of_directories(Some(kind)) { &[] } else { &["quiet"] }
}

fn less<'a>(these: &'a [PathBuf], those: &[PathBuf]) -> Vec<&'a PathBuf> {
    these.iter().filter(|name| !those.contains(name)).take(20).collect()
}

/// All that is compared of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    kind: char,
    mode: u32,
    size: u64,
    mtime: i64,
    /// Of a link: its target.
    content: Vec<u8>,
}

/// Everything below `dir`, a directory that is no mount.
fn facts(dir: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut below = vec![dir.to_path_buf()];
    while let Some(next) = below.pop() {
        // What vanishes while we look is not there.
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(told) = fs::symlink_metadata(&path) else { continue };
            let (kind, size, content) = if told.is_dir() {
                below.push(path.clone());
                ('d', 0, Vec::new())
            } else if told.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                ('l', 0, target.as_os_str().as_bytes().to_vec())
            } else {
                ('f', told.len(), fs::read(&path).unwrap_or_default())
            };
            let facts =
                Facts { kind, mode: told.permissions().mode() & 0o7777, size, mtime: told.mtime(), content };
            found.insert(path.strip_prefix(dir).unwrap().to_path_buf(), facts);
        }
    }
    found
}

/// Whole seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64
}

#[test]
fn whatever_differs_is_noticed() {
    use super::content::set_mtime;
    type Change = fn(&Path);
    let changes: [(&str, Change); 7] = [
        ("one byte", |dir| fs::write(dir.join("file"), "Content").unwrap()),
        ("a size", |dir| fs::write(dir.join("file"), "content ").unwrap()),
        ("a name too many", |dir| fs::write(dir.join(".ftpfs-hidden-1"), "").unwrap()),
        ("a missing name", |dir| fs::remove_dir(dir.join("dir")).unwrap()),
        ("a mode", |dir| fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o755)).unwrap()),
        ("a time", |dir| set_mtime(&dir.join("old"), SystemTime::UNIX_EPOCH + Duration::from_secs(1))),
        ("another target", |dir| {
            fs::remove_file(dir.join("link")).unwrap();
            std::os::unix::fs::symlink("elsewhere", dir.join("link")).unwrap();
        }),
    ];
    let started = seconds(SystemTime::now());
    let plain = fresh_dir("plain-");
    let place = Place { mounted: plain.path(), served: plain.path(), kind: None };
    let make = |name: &str| {
        let dir = plain.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::create_dir(dir.join("dir")).unwrap();
        fs::write(dir.join("file"), "content").unwrap();
        fs::write(dir.join("old"), "old").unwrap();
        set_mtime(&dir.join("old"), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        dir
    };
    let expected = make("expected");
    make("same");
    same_result(place, &expected, started, started, "same", &[]);
    for (what, change) in changes {
        let dir = make(what);
        change(&dir);
        let compared = catch_unwind(AssertUnwindSafe(|| {
            same_result(place, &expected, started, started, what, &[]);
        }));
        assert!(compared.is_err(), "{what} is not noticed");
    }
}
