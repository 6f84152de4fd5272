//! The disk tier against a model: whatever is put, thrown out, damaged, forgotten or opened again, what comes back
//! is right and the limits hold.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::cache::version::FileId;
use crate::ftp::time::{Modified, Precision};

mod whole;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

const B: u64 = BLOCK as u64;
/// What a whole block counts.
const WHOLE: u64 = B + 4096;
const OLD: i64 = 1_600_000_000;
/// Size of the files of the model.
const SIZE: u64 = 5 * B - 100;

fn version(size: u64, seconds: i64, precision: Precision) -> FileVersion {
    FileVersion::new(FileId(1), size, Some(Modified { seconds, nanos: 0, precision }), None)
}

fn exact(seconds: i64) -> FileVersion {
    version(64 * B, seconds, Precision::Second)
}

fn path(name: &str) -> RemotePath {
    RemotePath::root().resolve(name.as_bytes()).unwrap()
}

/// The bytes of a file, different for each file, version and offset.
fn content(seed: u64, range: std::ops::Range<u64>) -> Arc<[u8]> {
    range.map(|at| (at.wrapping_mul(31) ^ (at >> 9) ^ seed.wrapping_mul(0x9e37_79b9) >> 3) as u8).collect()
}

fn open_at(dir: &TempDir, limit: u64, server: &str) -> DiskCache {
    let cache = DiskCache::with_floor(&dir.path().join("blocks"), limit, 0, Identity::named(server)).unwrap();
    cache.finish();
    cache
}

fn put(cache: &DiskCache, name: &str, of: &FileVersion, seed: u64, range: std::ops::Range<u64>) {
    cache.put(&cache.file(&path(name)), of, range.start, content(seed, range));
    cache.finish();
}

/// How many bytes of a block are there, all of them checked.
fn found(cache: &DiskCache, name: &str, of: &FileVersion, seed: u64, block: u64) -> Option<usize> {
    let (begin, bytes) = cache.get(&cache.file(&path(name)), of, block, || false)?;
    assert_eq!(begin / B, block);
    assert!(*bytes == *content(seed, begin..begin + bytes.len() as u64), "other bytes of {name}, {block}");
    Some(bytes.len())
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for shard in 0..oldest::SHARDS {
        let shard = dir.path().join("blocks").join(oldest::shard_name(shard));
        oldest::each(&shard, usize::MAX, |path, _| files.push(path)).unwrap();
    }
    files
}

/// What the file system says that all blocks take.
fn taken(dir: &TempDir) -> u64 {
    files(dir).iter().map(|file| fs::metadata(file).unwrap().blocks() * 512).sum()
}

#[test]
fn blocks_outlast_the_cache_and_are_of_one_path_version_and_server() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (exact(OLD), exact(OLD + 1));
    {
        let cache = open_at(&dir, 1 << 30, "server");
        put(&cache, "a", &old, 1, 0..B);
        put(&cache, "a", &old, 1, 2 * B + 100..2 * B + 300);
    }
    let cache = open_at(&dir, 1 << 30, "server");
    assert_eq!(found(&cache, "a", &old, 1, 0), Some(BLOCK));
    assert_eq!(found(&cache, "a", &old, 1, 2), Some(200));
    assert_eq!(found(&cache, "a", &old, 1, 1), None);
    assert!(cache.holds_block(&cache.file(&path("a")), &old, 0));
    assert!(!cache.holds_block(&cache.file(&path("a")), &old, 2), "a part only");
    assert_eq!(found(&cache, "b", &old, 1, 0), None);
    assert_eq!(found(&cache, "a", &new, 1, 0), None);
    assert_eq!(found(&open_at(&dir, 1 << 30, "another"), "a", &old, 1, 0), None);

    // The other version takes the place, and the first one does not come back.
    put(&cache, "a", &new, 2, 0..B);
    assert_eq!(found(&cache, "a", &new, 2, 0), Some(BLOCK));
    assert_eq!(found(&cache, "a", &old, 1, 0), None);
    assert_eq!(found(&cache, "a", &old, 1, 2), Some(200));
}

#[test]
fn a_time_that_is_not_exact_is_believed_only_when_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    let listed = |minute| version(64 * B, minute, Precision::Minute);
    assert!(!cache.takes(&listed(OLD - OLD % 60)));
    put(&cache, "a", &listed(OLD - OLD % 60), 1, 0..B);
    assert_eq!(files(&dir).len(), 0, "a minute may have two versions");
    put(&cache, "a", &exact(OLD), 1, 0..B);

    let file = cache.file(&path("a"));
    let asked = |of: &FileVersion, answer| {
        let mut asked = false;
        let bytes = cache.get(&file, of, 0, || {
            asked = true;
            answer
        });
        (asked, bytes.is_some())
    };
    // What cannot be the same version is not asked about; who is not told better does not believe.
    assert_eq!(asked(&listed(OLD - OLD % 60 + 120), true), (false, false));
    assert_eq!(asked(&version(7, OLD - OLD % 60, Precision::Minute), true), (false, false));
    assert_eq!(asked(&listed(OLD - OLD % 60), false), (true, false));
    assert_eq!(asked(&listed(OLD - OLD % 60), true), (true, false), "confirmed without being told");
    let told = |seconds| {
        let of = listed(OLD - OLD % 60);
        let known = of.clone();
        let entry = crate::ftp::list::RemoteEntry {
            name: Box::default(),
            kind: crate::ftp::list::EntryKind::File,
            size: Some(of.size),
            modified: Some(Modified { seconds, nanos: 0, precision: Precision::Second }),
            mode: None,
            link_target: None,
            unique: None,
        };
        cache.get(&file, &of, 0, || known.confirmed_by(&entry)).is_some()
    };
    assert!(told(OLD));
    assert!(!told(OLD + 1), "the other version of that minute");
}

#[test]
fn what_was_changed_just_now_or_is_not_told_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    for (seconds, taken) in
        [(now, false), (now - 60, false), (now + 4000, false), (now - 300, true), (-5, true)]
    {
        assert_eq!(cache.takes(&exact(seconds)), taken, "{}", seconds - now);
    }
    assert!(!cache.takes(&FileVersion::new(FileId(1), 7, None, None)));
}

#[test]
fn unique_and_fractions_count_where_both_sides_tell_them() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    let told = |nanos, unique: Option<&[u8]>| {
        let modified = Modified { seconds: OLD, nanos, precision: Precision::Second };
        FileVersion::new(FileId(1), 64 * B, Some(modified), unique.map(Into::into))
    };
    put(&cache, "a", &told(5, Some(b"u1")), 1, 0..B);
    for (of, same) in [
        (told(5, Some(b"u1")), true),
        (told(0, None), true),
        (told(5, Some(b"u2")), false),
        (told(6, Some(b"u1")), false),
    ] {
        assert_eq!(found(&cache, "a", &of, 1, 0).is_some(), same, "{of:?}");
    }
}

#[test]
fn what_is_forgotten_does_not_come_back_from_who_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    let of = exact(OLD);
    let open = cache.file(&path("a"));
    put(&cache, "a", &of, 1, 0..B);
    put(&cache, "b", &of, 2, 0..B);
    cache.forget(&path("a"));
    assert_eq!(found(&cache, "a", &of, 1, 0), None);
    // The old handle neither writes nor reads, whatever somebody else puts there.
    cache.put(&open, &of, B, content(1, B..2 * B));
    put(&cache, "a", &of, 3, 0..B);
    assert!(cache.get(&open, &of, 0, || false).is_none());
    assert_eq!(found(&cache, "a", &of, 3, 1), None);
    assert_eq!(found(&cache, "a", &of, 3, 0), Some(BLOCK));
    cache.forget_all();
    assert_eq!((found(&cache, "a", &of, 3, 0), found(&cache, "b", &of, 2, 0)), (None, None));
    drop(cache);
    let cache = open_at(&dir, 1 << 30, "server");
    assert_eq!((found(&cache, "a", &of, 3, 0), found(&cache, "b", &of, 2, 0)), (None, None));
}

#[test]
fn the_oldest_goes_first_and_a_smaller_limit_holds_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let of = exact(OLD);
    let cache = open_at(&dir, 4 * WHOLE, "server");
    let now = SystemTime::now();
    for block in 0..4 {
        put(&cache, "a", &of, 1, block * B..(block + 1) * B);
    }
    assert_eq!(cache.used(), 4 * WHOLE);
    // Used one after the other, hours ago, the last one first.
    for file in files(&dir) {
        let block: u32 = file.to_str().unwrap().rsplit_once('-').unwrap().1.parse().unwrap();
        let hours = Duration::from_secs(3600) * (block + 2);
        fs::File::open(file).unwrap().set_modified(now - hours).unwrap();
    }
    // A use counts.
    assert_eq!(found(&cache, "a", &of, 1, 3), Some(BLOCK));
    let there = |cache: &DiskCache| -> Vec<u64> {
        let file = cache.file(&path("a"));
        (0..8).filter(|&block| cache.holds_block(&file, &of, block)).collect()
    };
    put(&cache, "a", &of, 1, 4 * B..5 * B);
    assert_eq!(there(&cache), [0, 1, 3, 4]);
    put(&cache, "a", &of, 1, 5 * B..6 * B);
    assert_eq!(there(&cache), [0, 3, 4, 5]);
    drop(cache);
    let cache = open_at(&dir, 2 * WHOLE, "server");
    assert_eq!(there(&cache).len(), 2);
    assert!(!there(&cache).contains(&0));
    assert_eq!(cache.used(), 2 * WHOLE);
    drop(cache);
    let cache = open_at(&dir, WHOLE - 1, "server");
    put(&cache, "a", &of, 1, 0..B);
    assert_eq!((files(&dir).len(), cache.used()), (0, 0), "too large for the limit");
}

#[test]
fn the_floor_of_free_space_is_kept_by_throwing_out() {
    let dir = tempfile::tempdir().unwrap();
    let of = exact(OLD);
    {
        let cache = open_at(&dir, 1 << 30, "server");
        put(&cache, "a", &of, 1, 0..B);
    }
    // More than any disk has.
    let at = dir.path().join("blocks");
    let cache = DiskCache::with_floor(&at, 1 << 30, u64::MAX / 2, Identity::named("server")).unwrap();
    cache.finish();
    assert_eq!(files(&dir).len(), 0);
    put(&cache, "a", &of, 1, 0..B);
    assert_eq!((files(&dir).len(), cache.used()), (0, 0));
}

#[test]
fn directory_and_files_are_private_and_names_tell_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("blocks");
    fs::create_dir(&at).unwrap();
    fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let cache = open_at(&dir, 1 << 30, "secret.example");
    put(&cache, "very/../secret/name", &exact(OLD), 1, 0..B);
    let mut all = vec![at];
    while let Some(next) = all.pop() {
        let metadata = fs::symlink_metadata(&next).unwrap();
        assert_eq!(metadata.mode() & 0o077, 0, "{next:?}");
        let name = next.file_name().unwrap().to_str().unwrap();
        assert!(!name.contains("secret") && !name.contains("name"), "{name}");
        if metadata.is_dir() {
            all.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    // What somebody else has put there is not followed.
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), dir.path().join("link")).unwrap();
    assert!(DiskCache::open(&dir.path().join("link"), 1 << 30, Identity::named("x")).is_err());
}

#[test]
fn nobody_else_can_put_another_directory_in_its_place() {
    let [dir, other, links] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    // A link is followed once.
    let link = links.path().join("link");
    symlink(dir.path(), &link).unwrap();
    let open = || DiskCache::with_floor(&link.join("blocks"), 1 << 30, 0, Identity::named("server"));
    let cache = open().unwrap();
    fs::remove_file(&link).unwrap();
    symlink(other.path(), &link).unwrap();
    put(&cache, "a", &exact(OLD), 1, 0..B);
    assert_eq!((files(&dir).len(), fs::read_dir(other.path()).unwrap().count()), (1, 0));
    // Only root can give directories away.
    if uzers::get_effective_uid() == 0 {
        std::os::unix::fs::chown(other.path(), Some(12345), None).unwrap();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}

#[test]
fn what_cannot_be_removed_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    put(&cache, "a", &exact(OLD), 1, 0..B);
    // Its directory cannot be read for a while.
    let shard = files(&dir)[0].parent().unwrap().to_owned();
    let aside = dir.path().join("aside");
    fs::rename(&shard, &aside).unwrap();
    fs::write(&shard, b"in the way").unwrap();
    cache.forget(&path("a"));
    fs::remove_file(&shard).unwrap();
    fs::rename(&aside, &shard).unwrap();
    assert_eq!(found(&cache, "a", &exact(OLD), 1, 0), None);
    drop(cache);
    assert_eq!(found(&open_at(&dir, 1 << 30, "server"), "a", &exact(OLD), 1, 0), None);
}

#[test]
fn who_needs_the_room_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    put(&cache, "a", &exact(OLD), 1, 0..B);
    put(&cache, "a", &exact(OLD), 1, B..2 * B);
    cache.give_way(0);
    assert_eq!(files(&dir).len(), 2);
    // More than any disk has.
    cache.give_way(u64::MAX);
    assert_eq!(files(&dir).len(), 0);
    put(&cache, "a", &exact(OLD), 1, 0..B);
    assert_eq!(cache.used(), WHOLE);
}

#[test]
fn an_error_of_the_disk_ends_the_keeping_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    let of = exact(OLD);
    put(&cache, "a", &of, 1, 0..B);
    // Nothing can be written to where the block would come.
    fs::create_dir(dir.path().join("blocks/incoming")).unwrap();
    assert!(cache.takes(&of));
    put(&cache, "a", &of, 1, B..2 * B);
    assert!(!cache.takes(&of));
    assert_eq!(found(&cache, "a", &of, 1, 0), Some(BLOCK));
    assert_eq!(found(&cache, "a", &of, 1, 1), None);
}

#[test]
fn a_full_queue_drops_blocks_and_makes_nobody_wait() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    let of = version(4096 * B, OLD, Precision::Second);
    let file = cache.file(&path("a"));
    let held = ledger::Ledger::lock(&dir.path().join("blocks/ledger")).unwrap();
    let block = content(1, 0..B);
    // The writer waits for the lock; who puts does not.
    for number in 0..4 * QUEUE as u64 {
        cache.put(&file, &of, number * B, block.clone());
    }
    assert!(Arc::strong_count(&block) <= QUEUE + 2, "the queue is bounded");
    drop(held);
    cache.finish();
    assert!((QUEUE..=QUEUE + 1).contains(&files(&dir).len()));
}

#[test]
fn two_at_once_in_one_directory_share_it_and_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 10 * WHOLE;
    let caches = [open_at(&dir, limit, "one"), open_at(&dir, limit, "one"), open_at(&dir, limit, "two")];
    let of = exact(OLD);
    std::thread::scope(|scope| {
        for (number, cache) in caches.iter().enumerate() {
            let (dir, of) = (&dir, &of);
            let seed = if number == 2 { 2 } else { 1 };
            scope.spawn(move || {
                for round in 0..40 {
                    let block = (round * 7 + number as u64) % 16;
                    put(cache, "a", of, seed, block * B..(block + 1) * B);
                    found(cache, "a", of, seed, (block + 3) % 16);
                    if round % 9 == 0 {
                        cache.forget(&path("a"));
                    }
                    assert!(taken_at_most(dir) <= limit);
                }
            });
        }
    });
    let counted: u64 = files(&dir).len() as u64 * WHOLE;
    assert!(caches[0].used() >= counted && caches[0].used() <= limit, "{} of {counted}", caches[0].used());
    drop(caches);
    assert_eq!(open_at(&dir, limit, "one").used(), counted);
}

/// As [`taken`], while others remove files.
fn taken_at_most(dir: &TempDir) -> u64 {
    files(dir).iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.blocks() * 512).sum()
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        file: u8,
        version: u8,
        offset: u64,
        len: u64,
    },
    Get {
        file: u8,
        version: u8,
        block: u64,
    },
    /// All of the file.
    PutAll {
        file: u8,
        version: u8,
    },
    Seal {
        file: u8,
        version: u8,
    },
    Open {
        file: u8,
        version: u8,
    },
    Forget(u8),
    ForgetAll,
    Reopen {
        limit: u64,
    },
    /// Damages one file: a byte flipped, cut short, or zeros from somewhere on, as after a power cut.
    Damage {
        file: prop::sample::Index,
        at: prop::sample::Index,
        how: u8,
    },
    /// The ledger is lost or wrong.
    LoseLedger,
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..3u8, 0..3u8, 0..5 * B, 1..B).prop_map(|(file, version, offset, len)| Step::Put {
        file,
        version,
        offset,
        len,
    });
    let get = (0..3u8, 0..3u8, 0..5u64).prop_map(|(file, version, block)| Step::Get { file, version, block });
    let put_all = (0..3u8, 0..3u8).prop_map(|(file, version)| Step::PutAll { file, version });
    let seal = (0..3u8, 0..3u8).prop_map(|(file, version)| Step::Seal { file, version });
    let open = (0..3u8, 0..3u8).prop_map(|(file, version)| Step::Open { file, version });
    let damage = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3u8)
        .prop_map(|(file, at, how)| Step::Damage { file, at, how });
    prop_oneof![
        8 => put,
        8 => get,
        4 => put_all,
        4 => seal,
        4 => open,
        1 => (0..3u8).prop_map(Step::Forget),
        1 => Just(Step::ForgetAll),
        2 => (0..8 * WHOLE).prop_map(|limit| Step::Reopen { limit }),
        3 => damage,
        1 => Just(Step::LoseLedger),
    ]
}

fn damage(path: &PathBuf, at: prop::sample::Index, how: u8) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    if len == 0 {
        return;
    }
    let at = at.index(len as usize) as u64;
    match how {
        0 => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[!byte[0]], at).unwrap();
        }
        1 => file.set_len(at).unwrap(),
        _ => file.write_all_at(&vec![0; (len - at) as usize], at).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_comes_back_that_was_not_put_and_the_limit_always_holds(
        first_limit in 0..8 * WHOLE,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let versions: Vec<FileVersion> =
            (0..3).map(|number| version(SIZE, OLD + number, Precision::Second)).collect();
        let name = |file: u8| format!("file{file}");
        let seed = |file: u8, version: u8| u64::from(file) * 10 + u64::from(version);
        let mut limit = first_limit;
        let mut cache = open_at(&dir, limit, "server");
        // What was put of each version of each block since it was forgotten.
        let mut model: HashMap<(u8, u8, u64), Vec<std::ops::Range<u64>>> = HashMap::new();
        for step in steps {
            match step {
                Step::Put { file, version, offset, len } => {
                    let end = (offset + len).min((offset / B + 1) * B);
                    put(&cache, &name(file), &versions[usize::from(version)], seed(file, version), offset..end);
                    model.entry((file, version, offset / B)).or_default().push(offset..end);
                }
                Step::Get { file, version, block } => {
                    let of = &versions[usize::from(version)];
                    let open = cache.file(&path(&name(file)));
                    if let Some((begin, bytes)) = cache.get(&open, of, block, || false) {
                        let range = begin..begin + bytes.len() as u64;
                        prop_assert!(*bytes == *content(seed(file, version), range.clone()));
                        let ranges = model.get(&(file, version, block));
                        prop_assert!(ranges.is_some_and(|ranges| ranges.contains(&range)), "{range:?} of {ranges:?}");
                    }
                }
                Step::PutAll { file, version } => {
                    for block in 0..SIZE.div_ceil(B) {
                        let range = block * B..SIZE.min((block + 1) * B);
                        let of = &versions[usize::from(version)];
                        put(&cache, &name(file), of, seed(file, version), range.clone());
                        model.entry((file, version, block)).or_default().push(range);
                    }
                }
                Step::Seal { file, version } => {
                    cache.set_passing(true);
                    cache.seal(&cache.file(&path(&name(file))), &versions[usize::from(version)]);
                    cache.finish();
                }
                Step::Open { file, version } => {
                    let open = cache.file(&path(&name(file)));
                    if let Some(whole) = cache.whole(&open, &versions[usize::from(version)], soon(), || false) {
                        prop_assert!(whole::bytes(&whole) == *content(seed(file, version), 0..SIZE));
                        prop_assert!(model.contains_key(&(file, version, 0)));
                    }
                }
                Step::Forget(file) => {
                    cache.forget(&path(&name(file)));
                    model.retain(|&(of, ..), _| of != file);
                }
                Step::ForgetAll => {
                    cache.forget_all();
                    model.clear();
                }
                Step::Reopen { limit: next } => {
                    limit = next;
                    drop(cache);
                    cache = open_at(&dir, limit, "server");
                }
                Step::Damage { file, at, how } => {
                    let files = files(&dir);
                    if !files.is_empty() {
                        damage(file.get(&files), at, how);
                    }
                }
                Step::LoseLedger => {
                    drop(cache);
                    fs::write(dir.path().join("blocks/ledger"), b"\xffnonsense").unwrap();
                    cache = open_at(&dir, limit, "server");
                }
            }
            prop_assert!(taken(&dir) <= limit, "{} of {limit}", taken(&dir));
            prop_assert!(cache.used() <= limit);
        }
    }
}
