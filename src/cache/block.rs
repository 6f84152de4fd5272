//! Blocks of file data in memory, least recently used out first, counted in bytes; behind them those on the
//! local disk, if there are any.
//!
//! What was fetched ahead of any reader takes its turn among the others and never more than a share of the cache
//! until it is read, so it drives out no more than that, and nothing that was read after it came.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::cache::{DiskCache, FileId};
use crate::remote::RemotePath;

/// Size of a block in bytes: what the kernel asks for at once without a larger readahead.
pub const BLOCK: usize = 128 * 1024;

/// The limit when the user sets none (`cache_size=`), in bytes.
pub const DEFAULT_LIMIT: usize = 64 * 1024 * 1024;

/// What was fetched ahead and is not read yet takes up to this part of the cache.
const AHEAD_SHARE: usize = 4;

/// What a block costs beside its bytes: key twice, list links, two map slots, reference counts, allocator.
const OVERHEAD: usize = 256;

/// How often a join of two ranges is tried again because somebody else changed the block meanwhile.
const JOINS: usize = 3;

/// The blocks of all files in memory. The limit holds at all times and counts the bookkeeping. The lock is held for
/// map operations only: bytes are joined and freed outside of it.
#[derive(Debug)]
pub struct BlockCache {
    limit: usize,
    blocks: Mutex<Blocks>,
    disk: Option<DiskCache>,
}

#[derive(Debug)]
struct Blocks {
    lru: LruCache<(FileId, u64), Held>,
    /// The blocks of each file, to find them at a purge.
    files: HashMap<FileId, HashSet<u64>>,
    used: usize,
    /// The part of `used` that was fetched ahead and is not read yet.
    ahead: usize,
}

/// What is known of one block: `bytes`, which begin `start` bytes into the block.
#[derive(Clone, Debug)]
struct Held {
    start: usize,
    bytes: Arc<[u8]>,
    /// Fetched ahead, and nobody has read of it.
    unread: bool,
}

impl BlockCache {
    /// A cache of at most `limit` bytes. One below a block's size holds little or nothing, which is legal.
    pub fn new(limit: usize) -> BlockCache {
        let blocks = Blocks { lru: LruCache::unbounded(), files: HashMap::new(), used: 0, ahead: 0 };
        BlockCache { limit, blocks: Mutex::new(blocks), disk: None }
    }

    /// The same in front of the blocks on a disk.
    pub fn with_disk(limit: usize, disk: DiskCache) -> BlockCache {
        BlockCache { disk: Some(disk), ..BlockCache::new(limit) }
    }

    /// The blocks on the disk, if any are kept there.
    pub fn disk(&self) -> Option<&DiskCache> {
        self.disk.as_ref()
    }

    /// What the disk has of the file at `path` is not true any more: it was changed through the mount.
    pub fn changed(&self, path: &RemotePath) {
        if let Some(disk) = &self.disk {
            disk.forget(path);
        }
    }

    /// Gives up blocks on the disk until `free` bytes of it are free, or none is left there.
    pub fn give_way(&self, free: u64) {
        if let Some(disk) = &self.disk {
            disk.give_way(free);
        }
    }

    /// A file was renamed through the mount. What the disk has is known by its path, and goes.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) {
        self.changed(from);
        self.changed(to);
    }

    /// A directory was renamed through the mount, with all that is below it.
    pub fn moved_directory(&self) {
        if let Some(disk) = &self.disk {
            disk.forget_all();
        }
    }

    /// The bytes of `file` from `offset` on, as far as its block holds them: `bytes[range]`, never empty.
    pub fn get(&self, file: FileId, offset: u64) -> Option<(Arc<[u8]>, Range<usize>)> {
        let (block, within) = locate(offset);
        let held = self.blocks.lock().read(&(file, block))?;
        let from = within.checked_sub(held.start).filter(|&from| from < held.bytes.len())?;
        let range = from..held.bytes.len();
        Some((held.bytes, range))
    }

    /// Keeps `bytes` of `file`, which begin at `offset` and must not reach beyond the end of that block
    /// (what does is cut off). If the block already holds another range, both are joined where they touch,
    /// else the longer one stays. All bytes of one [`FileId`] are equal wherever they overlap.
    pub fn insert(&self, file: FileId, offset: u64, bytes: Arc<[u8]>) {
        let (block, start) = locate(offset);
        let bytes = if start + bytes.len() > BLOCK { bytes[..BLOCK - start].into() } else { bytes };
        let mut new = Held { start, bytes, unread: false };
        for _ in 0..JOINS {
            let key = (file, block);
            let mut blocks = self.blocks.lock();
            let old = blocks.lru.peek(&key).cloned();
            match old {
                Some(old) if !old.gains_from(&new) => {
                    blocks.lru.promote(&key);
                    return;
                }
                Some(old) if old.touches(&new) && !new.covers(&old) => {
                    drop(blocks);
                    let joined = old.join(&new);
                    let mut blocks = self.blocks.lock();
                    if blocks.lru.peek(&key).is_some_and(|now| Arc::ptr_eq(&now.bytes, &old.bytes)) {
                        let freed = blocks.put(key, joined, self.limit);
                        drop(blocks);
                        drop(freed);
                        return;
                    }
                    drop(blocks);
                    new = joined;
                }
                _ => {
                    let freed = blocks.put(key, new, self.limit);
                    drop(blocks);
                    drop(freed);
                    return;
                }
            }
        }
    }

    /// Keeps the whole of `file`, which was fetched before anybody asked for it. False, and nothing is kept, where
    /// that would take more than its share.
    pub fn insert_ahead(&self, file: FileId, bytes: &[u8]) -> bool {
        let pieces: Vec<Arc<[u8]>> = bytes.chunks(BLOCK).map(Arc::from).collect();
        let cost = bytes.len() + pieces.len() * OVERHEAD;
        let mut freed = Vec::new();
        let mut blocks = self.blocks.lock();
        let fits = blocks.ahead + cost <= self.limit / AHEAD_SHARE;
        for (block, bytes) in (0..).zip(pieces).take_while(|_| fits) {
            let key = (file, block);
            let unread = blocks.lru.peek(&key).is_none_or(|held| held.unread);
            freed.extend(blocks.put(key, Held { start: 0, bytes, unread }, self.limit));
        }
        drop(blocks);
        drop(freed);
        fits
    }

    /// The block numbered `block` of `file` will not be read again soon: it is the next one to go.
    pub fn demote(&self, file: FileId, block: u64) {
        self.blocks.lock().lru.demote(&(file, block));
    }

    /// The first of the blocks numbered `blocks` of which bytes are held from its start on. Does not count as reading it.
    pub fn first_held(&self, file: FileId, mut blocks: Range<u64>) -> Option<u64> {
        let held = self.blocks.lock();
        blocks.find(|&block| held.lru.peek(&(file, block)).is_some_and(|held| held.start == 0))
    }

    /// Whether all `size` bytes of `file` are held. Does not count as reading it.
    pub fn holds(&self, file: FileId, size: u64) -> bool {
        let blocks = self.blocks.lock();
        (0..size.div_ceil(BLOCK as u64)).all(|block| {
            let len = (size - block * BLOCK as u64).min(BLOCK as u64);
            let held = blocks.lru.peek(&(file, block));
            held.is_some_and(|held| held.start == 0 && held.bytes.len() as u64 >= len)
        })
    }

    /// Drops everything, on the disk too.
    pub fn clear(&self) {
        if let Some(disk) = &self.disk {
            disk.forget_all();
        }
        let mut blocks = self.blocks.lock();
        (blocks.used, blocks.ahead) = (0, 0);
        let freed =
            (std::mem::replace(&mut blocks.lru, LruCache::unbounded()), std::mem::take(&mut blocks.files));
        drop(blocks);
        drop(freed);
    }

    /// Whether any byte of `file` is held.
    pub fn holds_any(&self, file: FileId) -> bool {
        self.blocks.lock().files.contains_key(&file)
    }

    /// Drops all blocks of `file`.
    pub fn purge(&self, file: FileId) {
        self.purge_from(file, 0);
    }

    /// Drops the blocks of `file` from the one numbered `first` on.
    pub fn purge_from(&self, file: FileId, first: u64) {
        let mut blocks = self.blocks.lock();
        let indices = blocks.files.get(&file).into_iter().flatten().copied();
        let indices: Vec<u64> = indices.filter(|&block| block >= first).collect();
        let freed: Vec<Held> = indices.into_iter().filter_map(|block| blocks.remove((file, block))).collect();
        drop(blocks);
        drop(freed);
    }

    /// Bytes in use, bookkeeping included; never above the limit.
    pub fn used(&self) -> usize {
        self.blocks.lock().used
    }
}

impl Blocks {
    /// A block that is being read.
    fn read(&mut self, key: &(FileId, u64)) -> Option<Held> {
        let held = self.lru.get_mut(key)?;
        if std::mem::take(&mut held.unread) {
            self.ahead -= held.cost();
        }
        Some(held.clone())
    }

    fn discount(&mut self, held: &Held) {
        self.used -= held.cost();
        if held.unread {
            self.ahead -= held.cost();
        }
    }

    /// Stores one block and returns what had to go for it, to be freed without the lock.
    fn put(&mut self, key: (FileId, u64), held: Held, limit: usize) -> Vec<Held> {
        let mut freed = Vec::new();
        freed.extend(self.remove(key));
        if held.bytes.is_empty() || held.cost() > limit {
            return freed;
        }
        while self.used + held.cost() > limit {
            let Some((&oldest, _)) = self.lru.peek_lru() else { break };
            freed.extend(self.remove(oldest));
        }
        self.used += held.cost();
        if held.unread {
            self.ahead += held.cost();
        }
        self.files.entry(key.0).or_default().insert(key.1);
        self.lru.put(key, held);
        freed
    }

    fn remove(&mut self, key: (FileId, u64)) -> Option<Held> {
        let held = self.lru.pop(&key)?;
        self.discount(&held);
        if let Some(indices) = self.files.get_mut(&key.0) {
            indices.remove(&key.1);
            if indices.is_empty() {
                self.files.remove(&key.0);
            }
        }
        Some(held)
    }
}

impl Held {
    fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }

    fn covers(&self, other: &Held) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    fn touches(&self, other: &Held) -> bool {
        self.start <= other.end() && other.start <= self.end()
    }

    fn gains_from(&self, other: &Held) -> bool {
        if self.touches(other) { !self.covers(other) } else { other.bytes.len() >= self.bytes.len() }
    }

    /// Both ranges as one; they must touch.
    fn join(&self, other: &Held) -> Held {
        let (first, second) = if self.start <= other.start { (self, other) } else { (other, self) };
        let known = first.end() - second.start;
        let rest = second.bytes.get(known..).unwrap_or(&[]);
        Held { start: first.start, bytes: [&first.bytes[..], rest].concat().into(), unread: false }
    }
}

/// The block of an offset, and the place within it.
fn locate(offset: u64) -> (u64, usize) {
    let block = BLOCK as u64;
    (offset / block, (offset % block) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a file holds, so that every byte can be checked wherever it comes from.
    fn content(file: FileId, range: Range<u64>) -> Arc<[u8]> {
        range.map(|at| (at.wrapping_mul(31) ^ (at >> 7) ^ file.0) as u8).collect()
    }

    fn insert(cache: &BlockCache, file: FileId, range: Range<u64>) {
        cache.insert(file, range.start, content(file, range));
    }

    fn held(cache: &BlockCache, file: FileId, offset: u64) -> Option<usize> {
        let (bytes, range) = cache.get(file, offset)?;
        let end = offset + range.len() as u64;
        assert_eq!(bytes[range.clone()], content(file, offset..end)[..]);
        Some(range.len())
    }

    const F: FileId = FileId(9);
    const B: u64 = BLOCK as u64;

    #[test]
    fn ranges_of_a_block_are_joined_where_they_touch() {
        let cache = BlockCache::new(DEFAULT_LIMIT);
        insert(&cache, F, B + 1000..B + 2000);
        assert_eq!(held(&cache, F, B + 999), None);
        assert_eq!(held(&cache, F, B + 1000), Some(1000));
        insert(&cache, F, B + 500..B + 1000);
        assert_eq!(held(&cache, F, B + 500), Some(1500));
        insert(&cache, F, B + 1900..B + 2500);
        assert_eq!(held(&cache, F, B + 500), Some(2000));
        insert(&cache, F, B + 9000..B + 9010);
        assert_eq!(held(&cache, F, B + 9000), None, "the shorter of two distant ranges is not worth it");
        insert(&cache, F, B..2 * B);
        assert_eq!(held(&cache, F, B), Some(BLOCK));
        insert(&cache, F, B + 5..B + 6);
        assert_eq!(held(&cache, F, B), Some(BLOCK));
        assert_eq!(held(&cache, F, 2 * B), None);
    }

    #[test]
    fn the_block_used_last_stays() {
        let cache = BlockCache::new(2 * (BLOCK + OVERHEAD));
        insert(&cache, F, 0..B);
        insert(&cache, F, B..2 * B);
        assert!(held(&cache, F, 0).is_some());
        insert(&cache, F, 2 * B..3 * B);
        assert_eq!((0..3).map(|b| held(&cache, F, b * B).is_some()).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn purge_takes_all_of_one_file_and_nothing_else() {
        let cache = BlockCache::new(DEFAULT_LIMIT);
        insert(&cache, F, 0..B);
        insert(&cache, F, 7 * B..7 * B + 3);
        insert(&cache, FileId(1), 0..10);
        cache.purge(F);
        assert_eq!((held(&cache, F, 0), held(&cache, F, 7 * B)), (None, None));
        assert_eq!(held(&cache, FileId(1), 0), Some(10));
        cache.purge(FileId(1));
        assert_eq!(cache.used(), 0);
        for block in 0..4 {
            insert(&cache, F, block * B..(block + 1) * B);
        }
        assert_eq!((cache.first_held(F, 2..9), cache.first_held(F, 4..9)), (Some(2), None));
        cache.purge_from(F, 2);
        assert_eq!(
            (0..4).map(|b| held(&cache, F, b * B).is_some()).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(cache.used(), 2 * (BLOCK + OVERHEAD));
    }

    #[test]
    fn what_will_not_be_read_again_goes_first() {
        let cache = BlockCache::new(3 * (BLOCK + OVERHEAD));
        for block in 0..3 {
            insert(&cache, F, block * B..(block + 1) * B);
        }
        cache.demote(F, 2);
        cache.demote(F, 77);
        insert(&cache, F, 3 * B..4 * B);
        assert_eq!(
            (0..4).map(|b| held(&cache, F, b * B).is_some()).collect::<Vec<_>>(),
            [true, true, false, true]
        );
    }

    #[test]
    fn what_was_fetched_ahead_takes_its_share_and_gives_way_to_what_was_read_since() {
        let cache = BlockCache::new(8 * (BLOCK + OVERHEAD));
        let ahead = |file: u64| cache.insert_ahead(FileId(file), &content(FileId(file), 0..B));
        for block in 0..6 {
            insert(&cache, F, block * B..(block + 1) * B);
        }
        assert!(ahead(1) && ahead(2));
        assert!(!ahead(3), "more than a quarter");
        assert!(cache.holds(FileId(1), B) && !cache.holds(FileId(3), 1));
        // Looking does not count as reading; what is read makes room for more.
        assert!(!ahead(3));
        assert_eq!(held(&cache, FileId(2), 0), Some(BLOCK));
        assert!(ahead(3));
        assert_eq!(held(&cache, F, 0), None, "the oldest went for it");
        for block in 1..6 {
            assert!(held(&cache, F, block * B).is_some());
        }
        // All of these were read after file 1 came, and it goes first.
        insert(&cache, F, 9 * B..10 * B);
        assert!(!cache.holds(FileId(1), B) && cache.holds(FileId(2), B));
        cache.purge(FileId(3));
        cache.clear();
        assert!(ahead(4));
        assert_eq!(cache.used(), BLOCK + OVERHEAD);
    }

    #[test]
    fn a_file_is_held_when_all_of_its_blocks_are() {
        let cache = BlockCache::new(DEFAULT_LIMIT);
        insert(&cache, F, 0..B);
        insert(&cache, F, B..B + 10);
        assert!(cache.holds(F, 0) && cache.holds(F, B) && cache.holds(F, B + 10) && !cache.holds(F, B + 11));
        insert(&cache, F, 2 * B + 1..3 * B);
        assert!(!cache.holds(F, 3 * B));
        assert!(cache.insert_ahead(F, &content(F, 0..3 * B)));
        assert!(cache.holds(F, 3 * B) && held(&cache, F, B + 5) == Some(BLOCK - 5));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ahead(u64, usize),
        Insert(u64, u64, usize),
        Get(u64, u64),
        Purge(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let offset = (0..6u64, 0..BLOCK).prop_map(|(block, within)| block * B + within as u64);
        prop_oneof![
            2 => (3..6u64, 0..BLOCK * 2).prop_map(|(f, n)| Step::Ahead(f, n)),
            4 => (0..3u64, offset.clone(), 0..BLOCK * 2).prop_map(|(f, o, n)| Step::Insert(f, o, n)),
            4 => (0..6u64, offset).prop_map(|(f, o)| Step::Get(f, o)),
            1 => (0..6u64).prop_map(Step::Purge),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a plain map: what is found was inserted since the last purge, byte by byte, and the
        /// limit holds after each step.
        #[test]
        fn holds_what_was_inserted_and_never_more_than_its_limit(
            limit in 0..5 * BLOCK,
            steps in prop::collection::vec(step(), 1..40),
        ) {
            let cache = BlockCache::new(limit);
            let mut inserted: HashMap<(u64, u64), Vec<Range<u64>>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Ahead(file, len) => {
                        let bytes = content(FileId(file), 0..len as u64);
                        if cache.insert_ahead(FileId(file), &bytes) {
                            for block in 0..(len as u64).div_ceil(B) {
                                let range = block * B..(len as u64).min((block + 1) * B);
                                inserted.entry((file, block)).or_default().push(range);
                            }
                        }
                    }
                    Step::Insert(file, offset, len) => {
                        let end = (offset + len as u64).min((offset / B + 1) * B);
                        cache.insert(FileId(file), offset, content(FileId(file), offset..offset + len as u64));
                        inserted.entry((file, offset / B)).or_default().push(offset..end);
                    }
                    Step::Get(file, offset) => {
                        if let Some(len) = held(&cache, FileId(file), offset) {
                            prop_assert!(len > 0);
                            let ranges = inserted.get(&(file, offset / B)).cloned().unwrap_or_default();
                            let mut at = offset;
                            while at < offset + len as u64 {
                                let next = ranges.iter().filter(|r| r.contains(&at)).map(|r| r.end).max();
                                prop_assert!(next.is_some(), "byte {at} was never inserted");
                                at = next.unwrap();
                            }
                        }
                    }
                    Step::Purge(file) => {
                        cache.purge(FileId(file));
                        inserted.retain(|&(of, _), _| of != file);
                    }
                }
                prop_assert!(cache.used() <= limit);
                prop_assert!(cache.blocks.lock().ahead <= limit / AHEAD_SHARE);
            }
        }
    }
}
