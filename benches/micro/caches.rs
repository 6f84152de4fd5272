//! The caches: what a read, a lookup and a listing find there, and what it costs to keep them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ftpfs::cache::block::BLOCK;
use ftpfs::cache::{BlockCache, DirectoryCache, FileId, ListingSource};
use ftpfs::deadline::Deadline;
use ftpfs::ftp::list::{EntryKind, RemoteEntry};
use ftpfs::ftp::time::{Modified, Precision};
use ftpfs::remote::{Error, Kind, Listing, Name, RemotePath};

/// As many blocks as fit, with what they cost beside their bytes.
const BLOCKS: u64 = 500;
const LIMIT: usize = 64 * 1024 * 1024;
const ENTRIES: usize = 20_000;
/// Lookups in one round.
const LOOKUPS: usize = 1_000;

/// A cache that holds [`BLOCKS`] blocks of one file.
fn filled(block: &Arc<[u8]>) -> BlockCache {
    let cache = BlockCache::new(LIMIT);
    for at in 0..BLOCKS {
        cache.insert(FileId(1), at * BLOCK as u64, block.clone());
    }
    cache
}

fn block() -> Arc<[u8]> {
    vec![7; BLOCK].into()
}

#[divan::bench]
fn block_hit(bencher: Bencher<'_, '_>) {
    let cache = filled(&block());
    bencher.counter(ItemsCount::new(BLOCKS)).bench(|| {
        for at in 0..BLOCKS {
            assert!(cache.get(FileId(1), black_box(at * BLOCK as u64)).is_some());
        }
    });
}

#[divan::bench]
fn block_miss(bencher: Bencher<'_, '_>) {
    let cache = filled(&block());
    bencher.counter(ItemsCount::new(BLOCKS)).bench(|| {
        for at in 0..BLOCKS {
            assert!(cache.get(FileId(2), black_box(at * BLOCK as u64)).is_none());
        }
    });
}

/// Each block drives out the one that was used longest ago; no bytes are copied.
#[divan::bench]
fn block_insert_evicting(bencher: Bencher<'_, '_>) {
    let block = block();
    let cache = filled(&block);
    let mut file = 1;
    bencher.counter(ItemsCount::new(BLOCKS)).bench_local(|| {
        file += 1;
        for at in 0..BLOCKS {
            cache.insert(FileId(file), at * BLOCK as u64, block.clone());
        }
    });
    assert!(cache.used() <= LIMIT);
}

/// One block that arrives in pieces of 16 KiB, each joined with those before it.
#[divan::bench]
fn block_insert_in_pieces(bencher: Bencher<'_, '_>) {
    let piece: Arc<[u8]> = vec![7; 16 * 1024].into();
    let bencher = bencher.counter(BytesCount::new(BLOCK)).with_inputs(|| BlockCache::new(LIMIT));
    bencher.bench_refs(|cache| {
        for at in (0..BLOCK).step_by(piece.len()) {
            cache.insert(FileId(1), at as u64, piece.clone());
        }
        assert!(cache.holds(FileId(1), BLOCK as u64));
    });
}

/// A server with one directory, which nothing but listings can be asked of.
struct OneDirectory {
    root: RemotePath,
    entries: Vec<RemoteEntry>,
}

impl ListingSource for OneDirectory {
    fn list(&self, _: &RemotePath, _: Option<u64>, _: Deadline) -> Result<Listing, Error> {
        Ok(Listing { own: None, entries: self.entries.clone(), complete: true })
    }

    fn list_together(&self, dirs: &[RemotePath], _: Deadline) -> Vec<Option<Listing>> {
        dirs.iter().map(|_| None).collect()
    }

    fn lists_together(&self) -> bool {
        false
    }

    fn list_ahead(&self, _: &RemotePath, _: Option<u64>, _: Deadline) -> Option<Listing> {
        None
    }

    fn list_with_targets(&self, dir: &RemotePath, deadline: Deadline) -> Result<Listing, Error> {
        self.list(dir, None, deadline)
    }

    fn stat(&self, path: &RemotePath, _: Deadline) -> Result<RemoteEntry, Error> {
        Err(Error::new(Kind::Unsupported, "stat", path, "bench", "only listings"))
    }

    fn can_stat(&self) -> bool {
        false
    }

    fn base(&self) -> &RemotePath {
        &self.root
    }
}

fn file_name(number: usize) -> String {
    format!("f{number:05}.txt")
}

fn directory() -> DirectoryCache {
    let modified = Modified { seconds: 1_767_322_800, nanos: 0, precision: Precision::Second };
    let entry = |number| RemoteEntry {
        name: file_name(number).into_bytes().into(),
        kind: EntryKind::File,
        size: Some(number as u64 % 100),
        modified: Some(modified),
        mode: Some(0o644),
        link_target: None,
        unique: None,
    };
    let source = OneDirectory { root: RemotePath::root(), entries: (0..ENTRIES).map(entry).collect() };
    DirectoryCache::new(Arc::new(source), Duration::from_secs(3600), LIMIT)
}

/// Lists the root, from memory if it is there; how many entries it has.
fn list(cache: &DirectoryCache) -> usize {
    let deadline = Deadline::after(Duration::from_secs(60));
    match cache.list(&RemotePath::root(), deadline, Instant::now()) {
        Ok((listing, _)) => listing.entries().len(),
        Err(error) => panic!("{error}"),
    }
}

/// Names of 1,000 files all over the directory, or of as many that are not there.
fn names(there: bool) -> Vec<Name> {
    let from = if there { 0 } else { ENTRIES };
    let name = |at: usize| Name::new(file_name(from + at * (ENTRIES / LOOKUPS)).as_bytes());
    (0..LOOKUPS).map(name).filter_map(Result::ok).collect()
}

fn lookups(bencher: Bencher<'_, '_>, there: bool) {
    let (cache, root, names) = (directory(), RemotePath::root(), names(there));
    assert_eq!((list(&cache), names.len()), (ENTRIES, LOOKUPS));
    let now = Instant::now();
    bencher.counter(ItemsCount::new(LOOKUPS)).bench(|| {
        for name in &names {
            let answer = cache.cached(black_box(&root), name, now);
            assert_eq!(answer.map(|answer| answer.entry.is_some()), Some(there));
        }
    });
}

/// A name of a directory of 20,000.
#[divan::bench]
fn directory_lookup(bencher: Bencher<'_, '_>) {
    lookups(bencher, true);
}

/// A name that is known not to be there.
#[divan::bench]
fn directory_lookup_absent(bencher: Bencher<'_, '_>) {
    lookups(bencher, false);
}

/// The whole listing of 20,000, shared.
#[divan::bench]
fn directory_listing(bencher: Bencher<'_, '_>) {
    let cache = directory();
    list(&cache);
    bencher.bench(|| assert_eq!(list(&cache), ENTRIES));
}

/// 20,000 entries are put in order and kept, those before them thrown out; the copy that the source makes counts too.
#[divan::bench]
fn directory_insert(bencher: Bencher<'_, '_>) {
    let cache = directory();
    bencher.counter(ItemsCount::new(ENTRIES)).bench(|| {
        cache.invalidate(&RemotePath::root());
        assert_eq!(list(&cache), ENTRIES);
    });
}
