//! Files that are whole on the local disk are read by the kernel itself, and never a byte is another one for that.
//!
//! The proof of each such read is that it ends while no thread of the program runs.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::bounded::{eventually, output, shell, succeeded, within};
use crate::common::fresh_dir;
use crate::common::mount::Mount;
use crate::common::process;
use crate::common_ftpd::{Quirks, Server, Tree, pattern};
use crate::disk::SmallDisk;
use crate::mounted::{CALL, append};

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

/// As [`bytes`], by the kernel itself: no thread of the program runs meanwhile.
fn bytes_without(mount: &Mount, file: &File) -> Vec<u8> {
    /// Lets it run again, whatever happens.
    struct Continues(Vec<u32>);
    impl Drop for Continues {
        fn drop(&mut self) {
            process::signal("CONT", &self.0);
        }
    }
    let programs = process::with_argument(mount.path().to_str().unwrap());
    let pids: Vec<u32> = programs.into_iter().map(|(pid, _)| pid).collect();
    let &[pid] = &pids[..] else { panic!("{pids:?}") };
    let _continues = Continues(pids.clone());
    process::signal("STOP", &pids);
    eventually(CALL, "ftpfs to stop", || is_stopped(pid).then_some(()));
    bytes(file)
}

/// Whether all threads of a process are stopped (proc(5)).
fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let mut states = stats.map(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T')));
    states.all(|stopped| stopped == Some(true))
}

/// Has the file read once and made a whole one.
fn seal(server: &Server, dir: &Path) {
    let mount = mount(server, dir);
    assert!(bytes(&open(&mount, "big")) == server.tree().bytes(AT).unwrap());
    eventually(CALL, "a whole file on the disk", || (kept(dir, "-index").len() == 1).then_some(()));
    assert!(mount.terminate().success());
    assert_eq!(kept(dir, "").len(), 2, "blocks are left");
}

/// Of any place and length, as on any mount: the file system of the file on the disk may not allow that.
#[test]
fn who_opens_with_o_direct_reads_what_he_likes() {
    let dir = fresh_dir("cache-");
    let server = Server::start(tree(), Quirks::default());
    seal(&server, dir.path());
    let mount = mount(&server, dir.path());
    let direct = || {
        let path = mount.path().join("big");
        within(CALL, "an open with O_DIRECT", move || {
            let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
            let mut piece = [0; 77];
            file.read_exact_at(&mut piece, 131_071).unwrap();
            assert!(piece == pattern(1, BIG)[131_071..131_148]);
            file
        })
    };
    let passed = open(&mount, "big");
    let beside = direct();
    assert!(bytes_without(&mount, &passed) == pattern(1, BIG));
    assert!(bytes(&open(&mount, "big")) == pattern(1, BIG), "an ordinary one beside it");
    drop((passed, beside));
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

/// Mounts with the file sealed, and opens it: the kernel reads it by itself.
struct Passed {
    /// Before the mount, which it needs.
    file: File,
    mount: Mount,
    server: Server,
    dir: tempfile::TempDir,
}

impl Passed {
    fn new() -> Passed {
        let dir = fresh_dir("cache-");
        let server = Server::start(tree(), Quirks::default());
        seal(&server, dir.path());
        let mount = mount(&server, dir.path());
        let file = open(&mount, "big");
        let passed = Passed { file, mount, server, dir };
        passed.is_as_opened("at first");
        passed
    }

    /// The handle is still read by the kernel, and has its bytes, size and attributes.
    fn is_as_opened(&self, when: &str) {
        assert!(bytes_without(&self.mount, &self.file) == pattern(1, BIG), "{when}");
        let file = self.file.try_clone().unwrap();
        let size = within(CALL, "a look", move || file.metadata().unwrap().len());
        assert_eq!(size, BIG as u64, "{when}");
    }

    /// Who opens it now has what the server has, which is this.
    fn is_by_now(&self, expected: &[u8], when: &str) {
        assert!(bytes(&open(&self.mount, "big")) == expected, "{when}: a new reader");
        assert!(self.server.tree().bytes(AT).unwrap() == expected, "{when}: the server");
        self.is_as_opened(when);
    }

    /// Runs a script in the mount.
    fn shell(&self, script: &str) {
        succeeded(script, shell(CALL, self.mount.path(), script, &[]));
    }
}

#[test]
fn a_file_that_changes_on_the_server_is_new_for_who_opens_it_and_old_for_who_has_it() {
    let passed = Passed::new();
    let new = pattern(7, BIG + 5);
    passed.server.tree().put_at(AT, new.clone(), OLD + 60);
    passed.is_by_now(&new, "changed");
    let old = passed.file.metadata().unwrap();
    let path = passed.mount.path().join("big");
    let now = within(CALL, "a look", move || fs::metadata(path).unwrap());
    assert_eq!((old.nlink(), now.nlink()), (0, 1));
    assert!(old.ino() != now.ino());
    // Once more, of the new inode, which becomes one that the kernel reads.
    eventually(CALL, "a whole file", || (kept(passed.dir.path(), "-index").len() == 1).then_some(()));
    let again = eventually(CALL, "the new version as a whole", || {
        let whole = kept(passed.dir.path(), "-whole").pop()?;
        (fs::read(whole).ok()? == new).then(|| open(&passed.mount, "big"))
    });
    assert!(bytes_without(&passed.mount, &again) == new);
    passed.server.tree().put_at(AT, pattern(8, BIG), OLD + 120);
    passed.is_by_now(&pattern(8, BIG), "changed twice");
    assert!(bytes_without(&passed.mount, &again) == new);
}

#[test]
fn who_writes_finds_the_file_and_who_reads_keeps_what_he_has() {
    let old = pattern(1, BIG);
    let edited = |at: usize, bytes: &[u8]| {
        let mut new = old.clone();
        let end = new.len().max(at + bytes.len());
        new.resize(end, 0);
        new[at..at + bytes.len()].copy_from_slice(bytes);
        new
    };
    let cases: [(&str, Vec<u8>); 9] = [
        ("printf XYZ | dd of=big bs=1 seek=1000 conv=notrunc status=none", edited(1000, b"XYZ")),
        ("printf XYZ >>big", edited(BIG, b"XYZ")),
        ("printf XYZ >big", b"XYZ".to_vec()),
        ("exec 3<>big; printf XYZ >&3; exec 3>&-", edited(0, b"XYZ")),
        ("truncate -s 100000 big", old[..100_000].to_vec()),
        ("truncate -s 0 big", Vec::new()),
        ("truncate -s $((4 << 20)) big", [&old[..], &vec![0; (4 << 20) - BIG]].concat()),
        ("printf XYZ >new && mv new big", b"XYZ".to_vec()),
        ("cp big other && printf XYZ >>other && sed -i '1s/^/XYZ/' big && mv other big", edited(BIG, b"XYZ")),
    ];
    std::thread::scope(|scope| {
        for some in cases.chunks(3) {
            scope.spawn(move || {
                for (script, expected) in some {
                    let passed = Passed::new();
                    passed.shell(script);
                    passed.is_by_now(expected, script);
                    let warned = passed.mount.log().lines().any(|line| line.contains("WARN"));
                    assert!(!warned, "{script}: {}", passed.mount.log());
                }
            });
        }
    });
}

#[test]
fn names_and_attributes_of_a_file_that_is_open_can_be_changed() {
    let old = pattern(1, BIG);
    for (script, there) in [
        ("chmod 600 big && touch -d @1614834000 big", true),
        ("mv big other && mv other big", true),
        ("mv big other && cat other >/dev/null && printf XYZ >big && cat big && mv other big", true),
        ("rm big", false),
        ("rm big && printf XYZ >big && rm big", false),
    ] {
        let passed = Passed::new();
        passed.shell(script);
        match there {
            true => passed.is_by_now(&old, script),
            false => assert_eq!(passed.server.tree().bytes(AT), None, "{script}"),
        }
        passed.is_as_opened(script);
        let Passed { file, mount, server, .. } = passed;
        drop(file);
        let names = || String::from_utf8(server.tree().mlsd("/home/u")).unwrap();
        eventually(CALL, "no hidden name", || (!names().contains(".ftpfs-hidden")).then_some(()));
        assert!(mount.terminate().success());
    }
}

#[test]
fn a_damaged_file_is_not_given_to_the_kernel() {
    let dir = fresh_dir("cache-");
    let server = Server::start(tree(), Quirks::default());
    for round in 0..6 {
        seal(&server, dir.path());
        let before = server.count("RETR");
        let ending = if round % 2 == 0 { "-whole" } else { "-index" };
        let half = kept(dir.path(), ending).pop().unwrap();
        let file = File::options().read(true).write(true).open(&half).unwrap();
        let len = file.metadata().unwrap().len();
        match round {
            0 | 1 => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, len - 3).unwrap();
                file.write_all_at(&[!byte[0]], len - 3).unwrap();
            }
            2 | 3 => file.set_len(len - 1).unwrap(),
            _ => fs::remove_file(half).unwrap(),
        }
        let mount = mount(&server, dir.path());
        assert!(bytes(&open(&mount, "big")) == pattern(1, BIG), "round {round}");
        assert!(server.count("RETR") > before, "round {round}");
        assert!(mount.terminate().success());
    }
    // Of a mount that has looked it through already, and has it open.
    seal(&server, dir.path());
    let mount = mount(&server, dir.path());
    let before = open(&mount, "big");
    assert!(bytes_without(&mount, &before) == pattern(1, BIG));
    let file = File::options().write(true).open(kept(dir.path(), "-whole").pop().unwrap()).unwrap();
    file.write_all_at(b"damage", 1 << 20).unwrap();
    assert!(bytes(&open(&mount, "big")) == pattern(1, BIG));
    // Who has it open is not told, as with any file of the local disk.
    assert!(bytes_without(&mount, &before) != pattern(1, BIG));
}

#[test]
fn many_readers_and_writers_at_once_see_one_file() {
    const LINES: usize = 6;
    let passed = Passed::new();
    // Each open works. A read may meet the upload of an append, and say so (ESTALE).
    let script = "set -o pipefail
        for n in $(seq $2); do
            printf 'process %02d line %02d\\n' $1 $n >>big || exit 1
            exec 9<big || exit 1
            while ! sum=$(head -c 1000000 2>/dev/null <&9 | md5sum); do
                exec 9<big || exit 1
            done
            echo $sum
        done";
    let path = passed.mount.path().to_owned();
    let head = within(Duration::from_secs(120), "readers and writers", move || {
        let processes: Vec<_> = (0..16)
            .map(|number: usize| {
                let arguments = ["-c", script, "test", &number.to_string(), &LINES.to_string()];
                let mut command = Command::new("bash");
                command.args(arguments).current_dir(&path).stdin(Stdio::null());
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let outputs: Vec<_> =
            processes.into_iter().map(|process| process.wait_with_output().unwrap()).collect();
        let mut heads = Vec::new();
        for output in outputs {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            heads.extend(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned));
        }
        heads.sort();
        heads.dedup();
        heads.len()
    });
    assert_eq!(head, 1, "the bytes that nobody changes");
    let all = passed.server.tree().bytes(AT).unwrap();
    assert!(all[..BIG] == pattern(1, BIG));
    let mut lines: Vec<&str> = std::str::from_utf8(&all[BIG..]).unwrap().lines().collect();
    lines.sort_unstable();
    let expected: Vec<String> = (0..16)
        .flat_map(|process| (1..=LINES).map(move |line| format!("process {process:02} line {line:02}")))
        .collect();
    assert_eq!(lines, expected);
    passed.is_by_now(&all, "after all");
}

#[test]
fn what_is_closed_is_held_by_nobody() {
    let disk = SmallDisk::new("size=160m");
    let dir = disk.dir.path().to_owned();
    let server = Server::start(tree(), Quirks::default());
    let free = || nix::sys::statvfs::statvfs(&dir).unwrap().blocks_available();
    seal(&server, &dir);
    let before = free();
    let mount = mount(&server, &dir);
    let (first, second) = (open(&mount, "big"), open(&mount, "big"));
    // Removed while it is open.
    fs::remove_file(kept(&dir, "-whole").pop().unwrap()).unwrap();
    assert!(bytes_without(&mount, &first) == pattern(1, BIG));
    drop(first);
    assert!(bytes_without(&mount, &second) == pattern(1, BIG));
    assert!(free() <= before, "it still takes its room");
    drop(second);
    eventually(CALL, "its room", || (free() > before).then_some(()));
    // One more, open until the end of the mount.
    assert!(bytes(&open(&mount, "big")) == pattern(1, BIG));
    eventually(CALL, "a whole file", || (kept(&dir, "-whole").len() == 1).then_some(()));
    let last = open(&mount, "big");
    assert!(bytes_without(&mount, &last) == pattern(1, BIG));
    drop(last);
    assert!(mount.terminate().success());
    succeeded("umount", output(Duration::from_secs(10), "umount", &[dir.as_os_str()]));
}

#[test]
fn a_file_on_a_stacked_file_system_is_read_as_ever() {
    let below = fresh_dir("cache-");
    let overlay = Overlay::new(below.path());
    let server = Server::start(tree(), Quirks::default());
    seal(&server, &overlay.dir);
    let mount = mount(&server, &overlay.dir);
    let before = server.count("RETR");
    let (first, second) = (open(&mount, "big"), open(&mount, "big"));
    assert!(bytes(&first) == pattern(1, BIG) && bytes(&second) == pattern(1, BIG));
    assert_eq!(server.count("RETR"), before, "what is on the disk is read");
    let path = mount.path().join("big");
    within(CALL, "an append", move || append(&path, b"XYZ").unwrap());
    assert!(bytes(&open(&mount, "big")).ends_with(b"XYZ"));
    let log = mount.log();
    let told = log.lines().filter(|line| line.contains("WARN") && line.contains("by itself")).count();
    assert_eq!(told, 1, "{log}");
    drop((first, second));
    assert!(mount.terminate().success());
}

/// A file system on another one.
struct Overlay {
    dir: PathBuf,
}

impl Overlay {
    fn new(below: &Path) -> Overlay {
        let [lower, upper, work, dir] = ["lower", "upper", "work", "merged"].map(|name| below.join(name));
        for made in [&lower, &upper, &work, &dir] {
            fs::create_dir(made).unwrap();
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let arguments = ["-t", "overlay", "-o", &options, "overlay"].map(OsStr::new);
        let arguments = [&arguments[..], &[dir.as_os_str()]].concat();
        succeeded("mount", output(Duration::from_secs(10), "mount", &arguments));
        Overlay { dir }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        output(Duration::from_secs(10), "umount", &[OsStr::new("-l"), self.dir.as_os_str()]);
    }
}
