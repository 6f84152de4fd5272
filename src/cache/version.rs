//! Which version of a file some bytes belong to.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;

use crate::ftp::list::RemoteEntry;
use crate::ftp::time::{Modified, Precision};
use crate::remote::RemotePath;

/// How many files' versions are remembered. One that is forgotten costs its cached blocks, nothing else;
/// this many cost about 4 MiB, and 64 MiB of blocks rarely hold more files.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// One version of one file, for the life of a mount; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// What identifies one version of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// The key of its blocks.
    pub id: FileId,
    /// Size in bytes.
    pub size: u64,
    /// Last modification, in the most precise form that was told.
    pub modified: Option<Modified>,
    /// The `unique` fact (RFC 3659 s.7.5.2), where told.
    pub unique: Option<Box<[u8]>>,
    /// The time to the second, once it was told; shared by all who hold this version, since a listing may
    /// tell minutes only and a file may be replaced within one.
    exact: Arc<OnceLock<Modified>>,
}

impl FileVersion {
    /// What a listing, or a question about one file, tells of a version.
    pub fn new(id: FileId, size: u64, modified: Option<Modified>, unique: Option<Box<[u8]>>) -> FileVersion {
        let version = FileVersion { id, size, modified, unique, exact: Arc::default() };
        version.learn(modified);
        version
    }

    /// Whether what the server tells now can be the same version: equal size, times equal as far as the
    /// coarser of both tells, the same `unique`. What either side does not tell contradicts nothing.
    pub fn same_file_as(&self, entry: &RemoteEntry) -> bool {
        let told = |a: &Option<Box<[u8]>>, b: &Option<Box<[u8]>>| match (a, b) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        entry.size.is_none_or(|size| size == self.size)
            && [self.modified, self.exact.get().copied()]
                .into_iter()
                .flatten()
                .all(|known| entry.modified.is_none_or(|modified| same_time(known, modified)))
            && told(&self.unique, &entry.unique)
    }

    /// As [`FileVersion::same_file_as`]; an exact time is kept, and later ones are compared with it.
    pub fn confirmed_by(&self, entry: &RemoteEntry) -> bool {
        if !self.same_file_as(entry) {
            return false;
        }
        self.learn(entry.modified);
        // Somebody else may have learned another time meanwhile.
        self.same_file_as(entry)
    }

    /// Whether another version would show by its time, whenever it was made.
    pub fn is_exact(&self) -> bool {
        self.exact.get().is_some()
    }

    /// The time to the second, once it was told.
    pub(super) fn exact(&self) -> Option<Modified> {
        self.exact.get().copied()
    }

    fn learn(&self, modified: Option<Modified>) {
        if let Some(exact) = modified.filter(|modified| modified.precision == Precision::Second) {
            self.exact.get_or_init(|| exact);
        }
    }

    /// This version with what `entry` tells more precisely; `None` where it adds nothing.
    fn refined(&self, entry: &RemoteEntry) -> Option<FileVersion> {
        let modified = more_precise(self.modified, entry.modified);
        let unique = self.unique.as_ref().or(entry.unique.as_ref());
        (modified != self.modified || unique != self.unique.as_ref()).then(|| FileVersion {
            id: self.id,
            size: self.size,
            modified,
            unique: unique.cloned(),
            exact: self.exact.clone(),
        })
    }
}

/// Whether two tellings can be of one moment. The coarser one stands for its unit's beginning (a LIST
/// without seconds, or without the time of day), so the finer one must lie within that unit; or as far from
/// it as time zones can be, since LIST speaks in the server's local time and the zone is not told.
pub(super) fn same_time(a: Modified, b: Modified) -> bool {
    let (fine, coarse) = if a.precision <= b.precision { (a, b) } else { (b, a) };
    let unit = match coarse.precision {
        // MDTM may tell no fraction where MLSD does.
        Precision::Second => {
            return a.seconds == b.seconds && (a.nanos == b.nanos || a.nanos == 0 || b.nanos == 0);
        }
        Precision::Minute => 60,
        Precision::Day => 86_400,
    };
    if fine.precision == coarse.precision && coarse.precision != Precision::Day {
        return fine.seconds == coarse.seconds;
    }
    let Some(after) = fine.seconds.checked_sub(coarse.seconds) else { return false };
    match coarse.precision {
        // A zone that is found later moves days too; the next day is farther away.
        Precision::Day if fine.precision == Precision::Day => after.unsigned_abs() <= ZONES.unsigned_abs(),
        Precision::Day => (-ZONES..unit + ZONES).contains(&after),
        _ => after.unsigned_abs() <= ZONES.unsigned_abs() && after.rem_euclid(ZONE_STEP) < unit,
    }
}

/// Local times lie at most 14 h from UTC, in either direction, in steps of a quarter of an hour.
const ZONES: i64 = 14 * 3600 + 60;
const ZONE_STEP: i64 = 15 * 60;

/// The more precise of two tellings of one time; the first where they are alike.
pub(super) fn more_precise(a: Option<Modified>, b: Option<Modified>) -> Option<Modified> {
    match (a, b) {
        (Some(a), Some(b)) if (b.precision, b.nanos == 0) < (a.precision, a.nanos == 0) => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

/// The versions last seen, by path. A file keeps its id as long as the server tells the same of it.
#[derive(Debug)]
pub struct Versions {
    next: AtomicU64,
    seen: Mutex<LruCache<RemotePath, Arc<FileVersion>>>,
}

impl Default for Versions {
    fn default() -> Self {
        Versions { next: AtomicU64::new(1), seen: Mutex::new(LruCache::new(REMEMBERED)) }
    }
}

impl Versions {
    /// The version that `entry` (the entry of `path`) tells of: the one seen last if it agrees, else a new
    /// one. `None` if the entry tells no size, since nothing can then be said about the bytes.
    pub fn of(&self, path: &RemotePath, entry: &RemoteEntry) -> Option<Arc<FileVersion>> {
        let size = entry.size?;
        let mut seen = self.seen.lock();
        let version = match seen.get(path).filter(|known| known.confirmed_by(entry)) {
            Some(known) => match known.refined(entry) {
                None => return Some(known.clone()),
                Some(refined) => Arc::new(refined),
            },
            None => {
                let id = FileId(self.next.fetch_add(1, Ordering::Relaxed));
                Arc::new(FileVersion::new(id, size, entry.modified, entry.unique.clone()))
            }
        };
        seen.put(path.clone(), version.clone());
        Some(version)
    }

    /// The version that we have just made ourselves at `path`: a new one whatever was known, and from now on
    /// the one seen last. `None` (and nothing is known of `path` then) if `entry` tells no size.
    pub fn written(&self, path: &RemotePath, entry: &RemoteEntry) -> Option<Arc<FileVersion>> {
        let mut seen = self.seen.lock();
        let Some(size) = entry.size else {
            seen.pop(path);
            return None;
        };
        let id = FileId(self.next.fetch_add(1, Ordering::Relaxed));
        let version = Arc::new(FileVersion::new(id, size, entry.modified, entry.unique.clone()));
        seen.put(path.clone(), version.clone());
        Some(version)
    }

    /// A file, or a directory with all below it, was renamed: what was seen there is known under the new
    /// path, and what stood there before is forgotten.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) {
        if from == to {
            return;
        }
        let mut seen = self.seen.lock();
        seen.pop(to);
        if let Some(version) = seen.pop(from) {
            // A file; nothing is below one.
            seen.put(to.clone(), version);
            return;
        }
        let below = |path: &&RemotePath, dir: &RemotePath| path.below(dir).is_some();
        let concerned = seen.iter().map(|(path, _)| path).filter(|path| below(path, from) || below(path, to));
        // The one used last comes first; put back in the other order, they keep it.
        let concerned: Vec<RemotePath> = concerned.cloned().collect();
        for path in concerned.into_iter().rev() {
            let version = seen.pop(&path);
            if let (Some(version), Some(path)) = (version, path.moved(from, to)) {
                seen.put(path, version);
            }
        }
    }

    /// Whether nothing newer than version `id` was seen of `path`, as far as is remembered.
    pub fn is_latest(&self, path: &RemotePath, id: FileId) -> bool {
        self.seen.lock().peek(path).is_none_or(|known| known.id == id)
    }

    /// Forgets the version of `path`: the next one seen gets a new id, whatever the server tells.
    pub fn forget(&self, path: &RemotePath) {
        self.seen.lock().pop(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::list::EntryKind;

    fn at(seconds: i64, precision: Precision) -> Option<Modified> {
        Some(Modified { seconds, nanos: 0, precision })
    }

    fn entry(size: u64, modified: Option<Modified>, unique: Option<&[u8]>) -> RemoteEntry {
        RemoteEntry {
            name: (*b"f").into(),
            kind: EntryKind::File,
            size: Some(size),
            modified,
            mode: None,
            link_target: None,
            unique: unique.map(Into::into),
        }
    }

    #[test]
    fn two_tellings_agree_as_far_as_the_coarser_tells() {
        use Precision::{Day, Minute, Second};
        let noon = 1_700_049_600;
        for (a, b, same) in [
            (at(noon, Second), at(noon, Second), true),
            (at(noon, Second), at(noon + 1, Second), false),
            (at(noon + 59, Second), at(noon, Minute), true),
            (at(noon + 60, Second), at(noon, Minute), false),
            (at(noon - 1, Second), at(noon, Minute), false),
            (at(noon, Minute), at(noon + 59, Second), true),
            (at(noon + 86_399, Second), at(noon, Day), true),
            (at(noon + 3 * 86_400, Minute), at(noon, Day), false),
            (at(noon + 2 * 3600 + 5, Second), at(noon, Minute), true),
            (at(noon - 5 * 3600 - 1800 + 5, Second), at(noon, Minute), true),
            (at(noon + 2 * 3600 + 65, Second), at(noon, Minute), false),
            (at(noon + 20 * 3600, Second), at(noon, Minute), false),
            (at(noon, Day), at(noon, Day), true),
            (at(noon, Day), at(noon - 5 * 3600, Day), true),
            (at(noon, Day), at(noon + 86_400, Day), false),
            (at(noon, Minute), at(noon + 60, Minute), false),
            (at(i64::MIN, Minute), at(i64::MAX, Day), false),
            (None, at(noon, Second), true),
            (at(noon, Second), None, true),
        ] {
            let version = FileVersion::new(FileId(1), 7, a, None);
            assert_eq!(version.same_file_as(&entry(7, b, None)), same, "{a:?} {b:?}");
        }
    }

    #[test]
    fn size_and_unique_decide_too() {
        let unique = Some(Box::from(&b"u1"[..]));
        let version = FileVersion::new(FileId(1), 7, None, unique);
        assert!(version.same_file_as(&entry(7, None, Some(b"u1"))));
        assert!(version.same_file_as(&entry(7, None, None)));
        assert!(!version.same_file_as(&entry(7, None, Some(b"u2"))));
        assert!(!version.same_file_as(&entry(8, None, Some(b"u1"))));
    }

    #[test]
    fn an_exact_time_learned_by_one_holder_of_a_version_binds_them_all() {
        let versions = Versions::default();
        let path = RemotePath::parse(b"/f").unwrap();
        let listed = entry(7, at(60, Precision::Minute), None);
        let (first, second) = (versions.of(&path, &listed).unwrap(), versions.of(&path, &listed).unwrap());
        assert!(!first.is_exact());
        assert!(first.confirmed_by(&entry(7, at(61, Precision::Second), None)));
        assert!(!second.confirmed_by(&entry(7, at(62, Precision::Second), None)));
        assert_eq!(versions.of(&path, &listed).unwrap().id, first.id);
        let replaced = versions.of(&path, &entry(7, at(62, Precision::Second), None)).unwrap();
        assert_ne!(replaced.id, first.id);
    }

    #[test]
    fn an_id_lasts_as_long_as_its_version_and_keeps_the_precise_time() {
        let versions = Versions::default();
        let path = RemotePath::parse(b"/f").unwrap();
        let listed = versions.of(&path, &entry(7, at(60, Precision::Minute), None)).unwrap();
        let asked = versions.of(&path, &entry(7, at(61, Precision::Second), None)).unwrap();
        let listed_again = versions.of(&path, &entry(7, at(60, Precision::Minute), None)).unwrap();
        assert_eq!(listed.id, asked.id);
        assert_eq!(listed_again, asked);
        assert_eq!(asked.modified, at(61, Precision::Second));

        let changed = versions.of(&path, &entry(7, at(62, Precision::Second), None)).unwrap();
        assert_ne!(changed.id, asked.id);
        versions.forget(&path);
        assert_ne!(versions.of(&path, &entry(7, at(62, Precision::Second), None)).unwrap().id, changed.id);
    }

    #[test]
    fn what_we_wrote_is_a_new_version_even_if_all_facts_are_the_same() {
        let versions = Versions::default();
        let path = RemotePath::parse(b"/f").unwrap();
        let told = entry(7, at(60, Precision::Second), Some(b"u"));
        let before = versions.of(&path, &told).unwrap();
        let written = versions.written(&path, &told).unwrap();
        assert_ne!(written.id, before.id);
        assert_eq!(versions.of(&path, &told).unwrap().id, written.id);
        let sizeless = RemoteEntry { size: None, ..told.clone() };
        assert_eq!(versions.written(&path, &sizeless), None);
        assert_ne!(versions.of(&path, &told).unwrap().id, written.id);
    }

    #[test]
    fn a_version_follows_its_file_and_what_it_replaced_is_forgotten() {
        let path = |text: &str| RemotePath::parse(text.as_bytes()).unwrap();
        let told = entry(7, at(60, Precision::Second), None);
        for (seen, from, to, now) in [
            ("/a", "/a", "/b", Some("/b")),
            ("/d/a", "/d", "/e", Some("/e/a")),
            ("/d/e/a", "/d", "/x/y", Some("/x/y/e/a")),
            ("/dd/a", "/d", "/e", Some("/dd/a")),
            ("/b", "/a", "/b", None),
            ("/e/a", "/d", "/e", None),
            ("/a", "/a", "/a", Some("/a")),
            ("/a", "/", "/", Some("/a")),
        ] {
            let versions = Versions::default();
            let id = versions.of(&path(seen), &told).unwrap().id;
            versions.moved(&path(from), &path(to));
            let known: Vec<_> = ["/a", "/b", "/d/a", "/d/e/a", "/dd/a", "/e/a", "/x/y/e/a"]
                .into_iter()
                .filter(|at| versions.of(&path(at), &told).unwrap().id == id)
                .collect();
            assert_eq!(known, now.into_iter().collect::<Vec<_>>(), "{seen}: {from} -> {to}");
        }
    }
}
