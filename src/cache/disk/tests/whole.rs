//! Whole files: they hold what the blocks held, take no more room at any moment, and nothing that is left of them
//! after a crash, a damage or a removal is believed.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::path::Path;

use super::*;

const SIZE: u64 = 5 * B - 1000;
/// What the two files of a whole one count beyond its bytes, at most.
const HALVES: u64 = 32 * 1024;

fn of(seconds: i64) -> FileVersion {
    version(SIZE, seconds, Precision::Second)
}

fn open_passing(dir: &TempDir, limit: u64) -> DiskCache {
    let cache = open_at(dir, limit, "server");
    cache.set_passing(true);
    cache
}

fn put_all(cache: &DiskCache, name: &str, of: &FileVersion, seed: u64) {
    for block in 0..of.size.div_ceil(B) {
        put(cache, name, of, seed, block * B..of.size.min((block + 1) * B));
    }
}

fn seal(cache: &DiskCache, name: &str, of: &FileVersion) {
    cache.seal(&cache.file(&path(name)), of);
    cache.finish();
}

/// The whole file, if there is one.
fn whole(cache: &DiskCache, name: &str, of: &FileVersion) -> Option<Arc<WholeFile>> {
    cache.whole(&cache.file(&path(name)), of, soon(), || false)
}

/// What the kernel would read.
pub(super) fn bytes(whole: &WholeFile) -> Vec<u8> {
    let file = fs::File::from(whole.as_fd().try_clone_to_owned().unwrap());
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn named(dir: &TempDir, ending: &str) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|file| file.to_str().unwrap().ends_with(ending)).collect()
}

/// The half of a whole file.
fn half(dir: &TempDir, cache: &DiskCache, name: &str, ending: &str) -> PathBuf {
    let key: String = cache.file(&path(name)).key[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    named(dir, &format!("{key}{ending}")).pop().unwrap()
}

/// What all files in the directory count.
fn counted(dir: &TempDir) -> u64 {
    let cost = |file: &PathBuf| fs::metadata(file).unwrap().len().next_multiple_of(4096).max(16 * 1024);
    files(dir).iter().map(cost).sum()
}

fn age(file: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(3600 * hours);
    fs::File::open(file).unwrap().set_modified(then).unwrap();
}

#[test]
fn a_whole_file_has_the_bytes_of_its_blocks_and_outlasts_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    {
        let cache = open_passing(&dir, 1 << 30);
        put_all(&cache, "a", &of(OLD), 1);
        assert!(whole(&cache, "a", &of(OLD)).is_none(), "not made yet");
        seal(&cache, "a", &of(OLD));
        assert_eq!(files(&dir).len(), 2);
        assert_eq!(cache.used(), counted(&dir));
    }
    let cache = open_passing(&dir, 1 << 30);
    assert!(bytes(&whole(&cache, "a", &of(OLD)).unwrap()) == *content(1, 0..SIZE));
    for block in 0..5 {
        let len = if block == 4 { BLOCK - 1000 } else { BLOCK };
        assert_eq!(found(&cache, "a", &of(OLD), 1, block), Some(len));
    }
    assert_eq!(found(&cache, "a", &of(OLD), 1, 5), None);
    let file = cache.file(&path("a"));
    assert!(cache.holds(&file, &of(OLD)) && !cache.holds(&file, &of(OLD + 1)));
    assert!(whole(&cache, "a", &of(OLD + 1)).is_none() && whole(&cache, "b", &of(OLD)).is_none());
    // What comes again is not kept beside it.
    put(&cache, "a", &of(OLD), 1, 0..B);
    assert_eq!(files(&dir).len(), 2);
    // Another version takes the place; who has the old one open keeps it.
    let old = whole(&cache, "a", &of(OLD)).unwrap();
    put_all(&cache, "a", &of(OLD + 1), 2);
    seal(&cache, "a", &of(OLD + 1));
    assert_eq!(files(&dir).len(), 2);
    assert!(bytes(&whole(&cache, "a", &of(OLD + 1)).unwrap()) == *content(2, 0..SIZE));
    assert!(bytes(&old) == *content(1, 0..SIZE));
}

#[test]
fn a_time_that_is_not_exact_is_asked_for_before_a_whole_file_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_passing(&dir, 1 << 30);
    put_all(&cache, "a", &of(OLD), 1);
    seal(&cache, "a", &of(OLD));
    let listed = version(SIZE, OLD - OLD % 60, Precision::Minute);
    let file = cache.file(&path("a"));
    assert!(cache.whole(&file, &listed, soon(), || false).is_none());
    assert!(cache.whole(&file, &listed, soon(), || true).is_none(), "confirmed without being told");
    let other = version(SIZE, OLD - OLD % 60 + 120, Precision::Minute);
    assert!(cache.whole(&file, &other, soon(), || panic!("it cannot be that")).is_none());
}

#[test]
fn only_complete_files_are_made_and_only_where_the_kernel_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_at(&dir, 1 << 30, "server");
    put_all(&cache, "a", &of(OLD), 1);
    seal(&cache, "a", &of(OLD));
    assert_eq!(files(&dir).len(), 5, "the kernel does not take them");
    cache.set_passing(true);
    fs::remove_file(&named(&dir, "-3")[0]).unwrap();
    seal(&cache, "a", &of(OLD));
    assert_eq!(files(&dir).len(), 4, "a block is missing");
    put(&cache, "a", &of(OLD + 1), 1, 3 * B..4 * B);
    seal(&cache, "a", &of(OLD));
    assert_eq!(files(&dir).len(), 5, "a block is of another version");
    let small = version(B, OLD, Precision::Second);
    put(&cache, "small", &small, 1, 0..B);
    seal(&cache, "small", &small);
    assert_eq!(files(&dir).len(), 6, "one block stays one");
    assert!(whole(&cache, "small", &small).is_none());
}

#[test]
fn the_limit_holds_at_every_step_of_making_one() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 5 * WHOLE + HALVES;
    let cache = open_passing(&dir, limit);
    put_all(&cache, "a", &of(OLD), 1);
    let (file, facts) = (cache.file(&path("a")), Facts::of(&of(OLD)).unwrap());
    let steps = Cell::new(0);
    let check = || {
        assert!(taken(&dir) <= limit, "{}", taken(&dir));
        assert_eq!(cache.used(), counted(&dir));
        assert!(cache.used() <= limit);
        steps.set(steps.get() + 1);
        false
    };
    assert!(cache.store.seal(&file.key, &facts, check, || Some(())).unwrap());
    check();
    assert_eq!(steps.get(), 6);
    assert!(bytes(&whole(&cache, "a", &of(OLD)).unwrap()) == *content(1, 0..SIZE));
    // Where there is no room for the index, blocks stay blocks.
    let dir = tempfile::tempdir().unwrap();
    let cache = open_passing(&dir, 5 * WHOLE - 4096);
    put_all(&cache, "a", &of(OLD), 1);
    seal(&cache, "a", &of(OLD));
    assert!(whole(&cache, "a", &of(OLD)).is_none());
    assert_eq!(cache.used(), counted(&dir));
    assert!(!files(&dir).is_empty());
}

#[test]
fn what_ends_it_in_the_middle_leaves_nothing_but_the_rest_of_the_blocks() {
    for by_forgetting in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open_passing(&dir, 1 << 30);
        put_all(&cache, "a", &of(OLD), 1);
        let (file, facts) = (cache.file(&path("a")), Facts::of(&of(OLD)).unwrap());
        let left = Cell::new(3);
        let stops = || {
            left.set(left.get() - 1);
            if by_forgetting && left.get() == 0 {
                cache.forget(&path("a"));
                return false;
            }
            left.get() == 0
        };
        let permit = || (!file.is_forgotten()).then_some(());
        assert!(!cache.store.seal(&file.key, &facts, stops, permit).unwrap());
        assert_eq!(files(&dir).len(), if by_forgetting { 0 } else { 3 });
        // What was forgotten is taken out with the next block.
        put(&cache, "b", &of(OLD), 1, 0..B);
        assert_eq!(cache.used(), counted(&dir));
        assert!(whole(&cache, "a", &of(OLD)).is_none());
        assert_eq!(found(&cache, "a", &of(OLD), 1, 0), None);
    }
    // Forgotten at the last moment.
    let dir = tempfile::tempdir().unwrap();
    let cache = open_passing(&dir, 1 << 30);
    put_all(&cache, "a", &of(OLD), 1);
    let (file, facts) = (cache.file(&path("a")), Facts::of(&of(OLD)).unwrap());
    assert!(!cache.store.seal(&file.key, &facts, || false, || None::<()>).unwrap());
    assert_eq!((files(&dir).len(), cache.used()), (0, 0));
}

#[test]
fn any_damage_of_a_whole_file_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_passing(&dir, 1 << 30);
    type Damage = fn(&fs::File);
    let damages: [(&str, Damage); 8] = [
        ("-whole", |file| file.write_all_at(b"\x55", 3 * B + 7).unwrap()),
        ("-whole", |file| file.set_len(SIZE - 1).unwrap()),
        ("-whole", |file| file.set_len(SIZE + 1).unwrap()),
        ("-whole", |file| file.write_all_at(&[0; BLOCK], 3 * B).unwrap()),
        ("-index", |file| file.write_all_at(b"\x55", 100 + 3 * 8).unwrap()),
        ("-index", |file| file.write_all_at(b"\x55", 30).unwrap()),
        ("-index", |file| file.write_all_at(b"\x55", 70).unwrap()),
        ("-index", |file| file.set_len(100).unwrap()),
    ];
    let read_all =
        |name, seed| (0..5).filter(|&block| found(&cache, name, &of(OLD), seed, block).is_some()).count();
    for (number, (ending, damage)) in damages.into_iter().enumerate() {
        for (looked_through, read_before) in [(false, false), (true, false), (false, true)] {
            put_all(&cache, "a", &of(OLD), 1);
            seal(&cache, "a", &of(OLD));
            assert!(!looked_through || whole(&cache, "a", &of(OLD)).is_some(), "{number}");
            let half = half(&dir, &cache, "a", ending);
            damage(&fs::File::options().write(true).open(half).unwrap());
            if read_before {
                read_all("a", 1);
            }
            let found = whole(&cache, "a", &of(OLD));
            // What the kernel does not read may be damaged unseen, once all was found good.
            let is_index = ending == "-index" && looked_through;
            assert!(found.is_none() || is_index, "{number}, looked through: {looked_through}");
            read_all("a", 1);
            cache.forget(&path("a"));
            drop(found);
            assert_eq!(files(&dir).len(), 0);
        }
    }
    // Another file's half.
    for (name, seed) in [("a", 1), ("b", 2)] {
        put_all(&cache, name, &of(OLD), seed);
        seal(&cache, name, &of(OLD));
    }
    fs::copy(half(&dir, &cache, "a", "-index"), half(&dir, &cache, "b", "-index")).unwrap();
    assert!(whole(&cache, "b", &of(OLD)).is_none());
    assert_eq!(found(&cache, "b", &of(OLD), 2, 0), None);
    assert!(whole(&cache, "a", &of(OLD)).is_some());
}

#[test]
fn what_a_crash_leaves_of_a_whole_file_is_a_miss_is_counted_and_goes_by_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_passing(&dir, 1 << 30);
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        put_all(&cache, name, &of(OLD), seed);
        seal(&cache, name, &of(OLD));
    }
    // Of one only the bytes, of one only the index, of one the parts.
    let lone = half(&dir, &cache, "a", "-whole");
    fs::remove_file(half(&dir, &cache, "a", "-index")).unwrap();
    fs::remove_file(half(&dir, &cache, "b", "-whole")).unwrap();
    let third = half(&dir, &cache, "c", "-whole");
    let part = PathBuf::from(third.to_str().unwrap().replace("-whole", "-part-1-a"));
    fs::rename(&third, &part).unwrap();
    fs::remove_file(half(&dir, &cache, "c", "-index")).unwrap();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        assert!(whole(&cache, name, &of(OLD)).is_none(), "{name}");
        assert_eq!(found(&cache, name, &of(OLD), seed, 0), None, "{name}");
    }
    drop(cache);
    files(&dir).iter().for_each(|file| age(file, 2));
    let cache = open_passing(&dir, 1 << 30);
    assert_eq!(cache.used(), counted(&dir));
    drop(cache);
    // A file of now stays, those go.
    let cache = open_passing(&dir, 6 * WHOLE);
    put_all(&cache, "d", &of(OLD), 4);
    seal(&cache, "d", &of(OLD));
    assert!(whole(&cache, "d", &of(OLD)).is_some());
    assert!(taken(&dir) <= 6 * WHOLE && !part.exists() && !lone.exists(), "{:?}", files(&dir));
}

#[test]
fn the_whole_file_used_longest_ago_goes_unless_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 3 * (5 * B + HALVES);
    let cache = open_passing(&dir, limit);
    for (name, seed, hours) in [("a", 1, 3), ("b", 2, 4), ("c", 3, 5)] {
        put_all(&cache, name, &of(OLD), seed);
        seal(&cache, name, &of(OLD));
        // The bytes are older than their last use.
        age(&half(&dir, &cache, name, "-whole"), 50);
        age(&half(&dir, &cache, name, "-index"), hours);
    }
    let open = whole(&cache, "c", &of(OLD)).unwrap();
    age(&half(&dir, &cache, "c", "-index"), 5);
    put_all(&cache, "d", &of(OLD), 4);
    assert!(whole(&cache, "b", &of(OLD)).is_none(), "the oldest that is not open");
    assert!(whole(&cache, "a", &of(OLD)).is_some() && whole(&cache, "c", &of(OLD)).is_some());
    assert_eq!((named(&dir, "-whole").len(), named(&dir, "-index").len()), (2, 2));
    assert!(cache.used() <= limit);
    assert_eq!(cache.used(), counted(&dir));
    // Removed while it is open, it takes its room until it is closed.
    cache.forget(&path("c"));
    assert!(!open.is_good());
    put(&cache, "d", &of(OLD), 4, 0..B);
    put(&cache, "e", &of(OLD), 5, 0..B);
    assert!(cache.used() >= counted(&dir) + SIZE && cache.used() <= limit);
    assert!(bytes(&open) == *content(3, 0..SIZE));
    drop(open);
    put(&cache, "e", &of(OLD), 5, B..2 * B);
    assert_eq!(cache.used(), counted(&dir));
}

#[test]
fn a_disk_full_of_files_that_are_open_takes_nothing_more_until_they_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_passing(&dir, 5 * WHOLE + HALVES);
    put_all(&cache, "a", &of(OLD), 1);
    seal(&cache, "a", &of(OLD));
    let open = whole(&cache, "a", &of(OLD)).unwrap();
    for half in files(&dir) {
        age(&half, 5);
    }
    put_all(&cache, "b", &of(OLD), 2);
    assert!(whole(&cache, "a", &of(OLD)).is_some());
    assert!(cache.used() <= 5 * WHOLE + HALVES);
    drop(open);
    put_all(&cache, "b", &of(OLD), 2);
    assert!(whole(&cache, "a", &of(OLD)).is_none());
    assert_eq!(found(&cache, "b", &of(OLD), 2, 4), Some(BLOCK - 1000));
    assert_eq!(cache.used(), counted(&dir));
}

#[test]
fn several_mounts_that_make_the_same_file_garble_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let caches: Vec<DiskCache> = (0..3).map(|_| open_passing(&dir, 1 << 30)).collect();
    for round in 0..8 {
        put_all(&caches[0], "a", &of(OLD), 1);
        std::thread::scope(|scope| {
            for cache in &caches {
                scope.spawn(|| seal(cache, "a", &of(OLD)));
            }
        });
        // Who comes second finds no first block, and leaves the rest to the other one.
        assert_eq!((named(&dir, "-whole").len(), files(&dir).len()), (1, 2), "round {round}");
        assert!(bytes(&whole(&caches[1], "a", &of(OLD)).unwrap()) == *content(1, 0..SIZE));
        (0..3).for_each(|number| caches[number].forget(&path("a")));
        assert_eq!(files(&dir).len(), 0);
    }
    put_all(&caches[0], "a", &of(OLD), 1);
    assert!(caches[0].used() >= counted(&dir));
    assert_eq!(open_passing(&dir, 1 << 30).used(), counted(&dir));
}

#[test]
fn a_large_file_is_looked_through_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_passing(&dir, 1 << 30);
    let large = version(64 * 1024 * 1024 + 1, OLD, Precision::Second);
    // All blocks begin alike, which saves time.
    let block = content(1, 0..B);
    for number in 0..large.size.div_ceil(B) {
        let len = (large.size - number * B).min(B);
        cache.put(&cache.file(&path("a")), &large, number * B, block[..len as usize].into());
        cache.finish();
    }
    seal(&cache, "a", &large);
    assert_eq!(named(&dir, "-index").len(), 1);
    assert!(whole(&cache, "a", &large).is_none(), "not for now");
    while !cache.passing.is_idle() {
        std::thread::yield_now();
    }
    assert!(bytes(&whole(&cache, "a", &large).unwrap())[..BLOCK] == *block);
}
