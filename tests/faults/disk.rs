//! Blocks on the local disk: they save transfers in later mounts, and never a byte is another one for that.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::common::bounded::{eventually, output, succeeded, within};
use crate::common::fresh_dir;
use crate::common::mount::Mount;
use crate::common_ftpd::{DataCut, DataCutEnd, ListForm, Quirks, Said, Server, Then, Tree, pattern};
use crate::mounted::{CALL, store};

const BIG: usize = 3 * 1024 * 1024 + 17;
/// Some time in 2021.
const OLD: i64 = 1_614_834_367;
const MIB: u64 = 1024 * 1024;

/// MLSD, and what is left without it.
const FORMS: [bool; 2] = [true, false];

fn tree() -> Tree {
    let mut tree = Tree::bare();
    tree.put("/home/u/big", pattern(1, BIG));
    tree.put("/home/u/small", pattern(2, 1000));
    tree.put("/home/u/empty", Vec::new());
    tree
}

fn quirks(mlst: bool) -> Quirks {
    Quirks { mlst, ..Quirks::default() }
}

fn mount(server: &Server, dir: &Path, size: &str) -> Mount {
    let cache_dir = format!("cache_dir={}", dir.display());
    let cache_disk = format!("cache_disk={size}");
    Mount::start(
        &format!("ftp://u:secret@{}/", server.address()),
        &[&cache_dir, &cache_disk, "prefetch=auto"],
    )
}

/// Reads a file through the mount, in order.
fn read(mount: &Mount, name: &str) -> Vec<u8> {
    let path = mount.path().join(name);
    within(CALL, "a read", move || fs::read(path).unwrap())
}

/// Mounts, reads the files, and unmounts; tells how many transfers that took.
fn transfers(server: &Server, dir: &Path, names: &[&str]) -> usize {
    let before = server.count("RETR");
    let mount = mount(server, dir, "64M");
    for name in names {
        let expected = server.tree().bytes(&format!("/home/u/{name}")).unwrap();
        assert!(read(&mount, name) == expected, "{name} has other bytes");
    }
    assert!(mount.terminate().success());
    server.count("RETR") - before
}

fn blocks(dir: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(dir.join("blocks")).unwrap().map(|entry| entry.unwrap().path());
    let shards = shards.filter(|path| path.is_dir() && !path.ends_with("servers"));
    shards.flat_map(|shard| fs::read_dir(shard).unwrap().map(|entry| entry.unwrap().path())).collect()
}

fn taken(dir: &Path) -> u64 {
    blocks(dir).iter().map(|block| fs::metadata(block).unwrap().blocks() * 512).sum()
}

#[test]
fn what_was_read_needs_no_byte_of_the_server_after_a_remount() {
    for mlst in FORMS {
        let dir = fresh_dir("cache-");
        let server = Server::start(tree(), quirks(mlst));
        let names = ["big", "small", "empty"];
        assert!(transfers(&server, dir.path(), &names) >= 2, "MLSD: {mlst}");
        assert_eq!(transfers(&server, dir.path(), &names), 0, "MLSD: {mlst}");
        // Off by default, and what is there is not used then.
        let before = server.count("RETR");
        let plain = Mount::start(&format!("ftp://u:secret@{}/", server.address()), &[]);
        assert!(read(&plain, "small") == pattern(2, 1000));
        assert_eq!(server.count("RETR"), before + 1);
    }
}

#[test]
fn a_time_that_is_not_told_to_the_second_proves_nothing() {
    let dir = fresh_dir("cache-");
    let refused = Said::new("MDTM", usize::MAX, "502 no MDTM\r\n", Then::GoOn);
    let feat = Some("211-Features:\r\n EPSV\r\n REST STREAM\r\n SIZE\r\n211 End");
    let server = Server::start(tree(), Quirks { feat, said: vec![refused], ..quirks(false) });
    assert!(transfers(&server, dir.path(), &["big", "small"]) >= 2);
    assert_eq!(blocks(dir.path()).len(), 0);
    server.tree().put("/home/u/small", pattern(9, 1000));
    assert!(transfers(&server, dir.path(), &["big", "small"]) >= 2);
}

#[test]
fn a_file_that_changed_between_two_mounts_has_its_new_bytes() {
    for mlst in FORMS {
        // The day, which is all that LIST tells, and the size stay the same.
        for form in [ListForm::Unix { zone: 0 }, ListForm::Dos] {
            let dir = fresh_dir("cache-");
            let server = Server::start(tree(), Quirks { list_form: form, ..quirks(mlst) });
            transfers(&server, dir.path(), &["big", "small"]);
            server.tree().put_at("/home/u/big", pattern(11, BIG), OLD + 1);
            server.tree().put_at("/home/u/small", pattern(12, 1000), OLD + 1);
            assert!(transfers(&server, dir.path(), &["big", "small"]) >= 2, "MLSD: {mlst}");
            assert_eq!(transfers(&server, dir.path(), &["big", "small"]), 0, "MLSD: {mlst}");
            // Back to what it was: what is there of that is true again, or gone.
            server.tree().put_at("/home/u/small", pattern(2, 1000), OLD);
            transfers(&server, dir.path(), &["small"]);
        }
    }
}

#[test]
fn damaged_blocks_are_fetched_again() {
    let dir = fresh_dir("cache-");
    let server = Server::start(tree(), Quirks::default());
    for round in 0..4 {
        transfers(&server, dir.path(), &["big", "small"]);
        assert_eq!(transfers(&server, dir.path(), &["big", "small"]), 0);
        let all = blocks(dir.path());
        assert!(all.len() >= 3);
        for (number, block) in all.iter().enumerate() {
            let file = File::options().read(true).write(true).open(block).unwrap();
            let len = file.metadata().unwrap().len();
            let at = (number as u64 * 7919 + 121) % len;
            match round {
                0 => {
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, at).unwrap();
                    file.write_all_at(&[!byte[0]], at).unwrap();
                }
                1 => file.set_len(at).unwrap(),
                2 => {
                    file.set_len(0).unwrap();
                    file.set_len(len).unwrap();
                }
                // A whole block in the place of another one.
                _ => drop(fs::copy(&all[(number + 1) % all.len()], block).unwrap()),
            }
        }
        assert!(transfers(&server, dir.path(), &["big", "small"]) >= 2, "round {round}");
    }
}

#[test]
fn what_we_change_ourselves_is_not_found_again_as_it_was() {
    let dir = fresh_dir("cache-");
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    let mut tree = tree();
    tree.put("/home/u/other", pattern(3, 1000));
    tree.put_directory("/home/u/one");
    tree.put_directory("/home/u/two");
    tree.put("/home/u/one/file", pattern(4, 1000));
    tree.put("/home/u/two/file", pattern(5, 1000));
    let server = Server::start(tree, quirks(false));
    let names = ["small", "other", "one/file", "two/file"];
    transfers(&server, dir.path(), &names);
    assert_eq!(transfers(&server, dir.path(), &names), 0);
    {
        // Other bytes, but size and time as before: nothing that the server tells shows it.
        let mount = mount(&server, dir.path(), "64M");
        let at = mount.path().to_owned();
        within(CALL, "changes", move || {
            store(&at.join("small"), &pattern(21, 1000)).unwrap();
            File::options().write(true).open(at.join("small")).unwrap().set_modified(time(OLD)).unwrap();
            fs::rename(at.join("one"), at.join("three")).unwrap();
            fs::rename(at.join("two"), at.join("one")).unwrap();
        });
        assert!(mount.terminate().success());
        assert_eq!(server.tree().time("/home/u/small").as_deref(), Some("20210304050607"));
    }
    transfers(&server, dir.path(), &["small", "other", "one/file", "three/file"]);
    assert_eq!(transfers(&server, dir.path(), &["small", "other", "one/file"]), 0);
    {
        let mount = mount(&server, dir.path(), "64M");
        let at = mount.path().to_owned();
        within(CALL, "a rename", move || fs::rename(at.join("other"), at.join("small")).unwrap());
        assert!(read(&mount, "small") == pattern(3, 1000));
        assert!(mount.terminate().success());
    }
    transfers(&server, dir.path(), &["small", "one/file"]);
}

#[test]
fn a_rename_of_which_nobody_knows_if_it_was_done_forgets_both_files() {
    let dir = fresh_dir("cache-");
    let mut tree = tree();
    tree.put("/home/u/other", pattern(3, 1000));
    let server = Server::start(tree, quirks(false));
    transfers(&server, dir.path(), &["small", "other"]);
    {
        server.quirks().said.push(Said::new("RNTO", usize::MAX, "", Then::Hang));
        let cache_dir = format!("cache_dir={}", dir.path().display());
        let bounds = ["cache_disk=64M", "reply_timeout=1", "operation_timeout=4"];
        let options = [&[cache_dir.as_str()][..], &bounds].concat();
        let mount = Mount::start(&format!("ftp://u:secret@{}/", server.address()), &options);
        let at = mount.path().to_owned();
        within(CALL, "a rename", move || fs::rename(at.join("other"), at.join("small")).unwrap_err());
        assert!(mount.terminate().success());
        server.quirks().said.clear();
    }
    // It was: size and time are those of the file that was there before.
    let mut tree = server.tree();
    tree.remove("/home/u/other");
    tree.put("/home/u/small", pattern(3, 1000));
    drop(tree);
    assert_eq!(transfers(&server, dir.path(), &["small"]), 1);
}

#[test]
fn mounts_of_two_servers_share_a_directory_and_its_limit() {
    let dir = fresh_dir("cache-");
    let mut other = Tree::bare();
    other.put("/home/u/big", pattern(7, BIG));
    other.put("/home/u/small", pattern(8, 1000));
    let servers = [Server::start(tree(), Quirks::default()), Server::start(other, Quirks::default())];
    for _ in 0..2 {
        let mounts: Vec<Mount> = servers.iter().map(|server| mount(server, dir.path(), "4M")).collect();
        std::thread::scope(|scope| {
            for (mount, server) in mounts.iter().zip(&servers) {
                scope.spawn(move || {
                    for name in ["big", "small"] {
                        let expected = server.tree().bytes(&format!("/home/u/{name}")).unwrap();
                        assert!(read(mount, name) == expected);
                    }
                });
            }
        });
        mounts.into_iter().for_each(|mount| assert!(mount.terminate().success()));
        let taken = taken(dir.path());
        assert!(taken <= 4 * MIB && taken > 2 * MIB, "{taken}");
    }
}

#[test]
fn a_mount_finds_what_another_one_keeps_meanwhile() {
    let dir = fresh_dir("cache-");
    let server = Server::start(tree(), Quirks::default());
    let (first, second) = (mount(&server, dir.path(), "64M"), mount(&server, dir.path(), "64M"));
    assert!(read(&first, "big") == pattern(1, BIG));
    // All blocks become one file, which the kernel can read; while that is made, what was copied is nowhere else.
    eventually(CALL, "all of the file on the disk", || {
        let names = blocks(dir.path());
        names.iter().any(|name| name.to_str().unwrap().ends_with("-index")).then_some(())
    });
    let before = server.count("RETR");
    assert!(read(&second, "big") == pattern(1, BIG));
    assert_eq!(server.count("RETR"), before);
}

#[test]
fn what_is_fetched_ahead_is_kept_and_what_is_kept_is_not_fetched_ahead() {
    const FILES: u64 = 60;
    for mlst in FORMS {
        let dir = fresh_dir("cache-");
        let mut tree = Tree::bare();
        tree.put_directory("/home/u/d");
        for number in 0..FILES {
            tree.put(&format!("/home/u/d/{number:04}"), pattern(number, 3000));
        }
        let server = Server::start(tree, quirks(mlst));
        let read_all = || {
            let before = server.count("RETR");
            let mount = mount(&server, dir.path(), "64M");
            let at = mount.path().join("d");
            within(CALL, "a listing", move || assert_eq!(fs::read_dir(at).unwrap().count() as u64, FILES));
            for number in 0..FILES {
                assert!(read(&mount, &format!("d/{number:04}")) == pattern(number, 3000), "file {number}");
            }
            assert!(mount.terminate().success());
            server.count("RETR") - before
        };
        assert!(read_all() as u64 >= FILES, "MLSD: {mlst}");
        assert_eq!(read_all(), 0, "MLSD: {mlst}");
    }
}

#[test]
fn a_block_that_two_transfers_brought_is_kept_if_both_began_with_a_look() {
    let dir = fresh_dir("cache-");
    let server = Server::start(tree(), Quirks::default());
    let mount_it = mount(&server, dir.path(), "64M");
    let at = mount_it.path().to_owned();
    within(CALL, "a listing", move || fs::read_dir(at).unwrap().count());
    {
        // The first transfer is not told what the file is, and breaks within the first block.
        let mut quirks = server.quirks();
        quirks.said.push(Said::new("MLST", 1, "550 Not now.\r\n", Then::GoOn));
        quirks.data_cut = Some(DataCut { after: 100_000, times: 1, end: DataCutEnd::Says426 });
    }
    assert!(read(&mount_it, "big") == pattern(1, BIG));
    assert!(mount_it.terminate().success());
    assert_eq!(server.cuts(), 1);
    assert_eq!(blocks(dir.path()).len(), BIG / (128 * 1024), "all but the first");
}

#[test]
fn what_is_to_be_sent_has_the_room_that_blocks_take() {
    let mut tree = tree();
    tree.put("/home/u/huge", pattern(6, 40 << 20));
    let server = Server::start(tree, Quirks::default());
    // Blocks take all that is above the floor.
    let disk = SmallDisk::new("size=160m");
    for _ in 0..5 {
        // Those that the queue had no place for come the next time.
        transfers(&server, disk.dir.path(), &["huge"]);
    }
    assert!(taken(disk.dir.path()) > 28 * MIB);
    let mount = mount(&server, disk.dir.path(), "64M");
    let new = pattern(7, 20 << 20);
    let (at, bytes) = (mount.path().join("new"), new.clone());
    within(CALL, "an upload", move || store(&at, &bytes)).unwrap();
    assert!(server.tree().bytes("/home/u/new").unwrap() == new);
    assert!(mount.terminate().success());
}

#[test]
fn a_full_disk_costs_the_cache_and_nothing_else() {
    const FLOOR: u64 = 128 * MIB;
    let mut tree = tree();
    tree.put("/home/u/huge", pattern(6, 24 << 20));
    let server = Server::start(tree, Quirks::default());

    // Room for a few MiB above the floor.
    let disk = SmallDisk::new("size=136m");
    transfers(&server, disk.dir.path(), &["huge", "big", "small"]);
    transfers(&server, disk.dir.path(), &["huge", "big", "small"]);
    let taken = taken(disk.dir.path());
    assert!(taken > 4 * MIB && taken <= 8 * MIB, "{taken}");
    let space = nix::sys::statvfs::statvfs(disk.dir.path()).unwrap();
    assert!(space.blocks_available() * space.fragment_size() >= FLOOR);
    drop(disk);

    // Room, but no more files.
    let disk = SmallDisk::new("size=1g,nr_inodes=20");
    let mount = mount(&server, disk.dir.path(), "64M");
    for name in ["huge", "big", "small"] {
        let expected = server.tree().bytes(&format!("/home/u/{name}")).unwrap();
        assert!(read(&mount, name) == expected, "{name}");
    }
    let log = mount.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("cache_disk"), "{warnings:?}");
}

#[test]
fn without_a_usable_directory_a_read_only_mount_works_without() {
    let dir = fresh_dir("cache-");
    fs::write(dir.path().join("blocks"), b"in the way").unwrap();
    let server = Server::start(tree(), Quirks::default());
    let mount = mount(&server, dir.path(), "64M");
    assert!(read(&mount, "small") == pattern(2, 1000));
    assert!(mount.log().contains("no file contents are kept on the disk"), "{}", mount.log());
}

/// A file system in memory, mounted until it is dropped. A mount that uses it must end before.
pub(crate) struct SmallDisk {
    pub(crate) dir: TempDir,
}

impl SmallDisk {
    pub(crate) fn new(options: &str) -> SmallDisk {
        let disk = SmallDisk { dir: fresh_dir("disk-") };
        let arguments = ["-t", "tmpfs", "-o", options, "tmpfs"].map(OsStr::new);
        let arguments = [&arguments[..], &[disk.dir.path().as_os_str()]].concat();
        succeeded("mount", output(Duration::from_secs(10), "mount", &arguments));
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        output(Duration::from_secs(10), "umount", &[OsStr::new("-l"), self.dir.path().as_os_str()]);
    }
}
