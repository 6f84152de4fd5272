//! Which files to fetch ahead. Pure.
//!
//! Who opens files of a tree one after the other, in an order that its listings tell, and reads them to their ends,
//! is on a run. Each file read so is a credit for one fetched ahead, so that what is fetched and never used is never
//! more than what was read; one that is passed over costs half of the credit. Many may read at once (make -j, rg),
//! so what comes next need not be the very next.

use std::collections::VecDeque;

use super::order::{Spot, Tree, WAYS};
use crate::cache::{EntryRef, Prefetch};
use crate::ftp::list::EntryKind;
use crate::remote::RemotePath;

/// Runs that are remembered: readers at work at the same time.
const RUNS: usize = 8;
/// Files opened last that a run remembers.
const RECENT: usize = 32;
/// A run begins with this many files read in order.
const FIRST: usize = 2;
/// How far behind the last file the next one may be that a run was not prepared for: files are left out that are
/// empty or too large, or that another thread has taken.
const NEAR: usize = 4;
/// Files that may be open and not read to their ends; more, and nobody reads.
const UNREAD: usize = 4;
/// Files passed by this many that were asked for later are not going to be used.
const PASSED: u64 = 16;
/// A file of this size costs nothing that a reader of its first byte would not: its own stream fetches as much.
const FREE: u64 = 256 * 1024;

/// How much is fetched ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files at once, on their way or not read yet.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The largest file that is fetched whole, in bytes.
    pub file: u64,
    /// A run begins with its first file, and has all credit whatever becomes of what is fetched.
    pub eager: bool,
}

impl Limits {
    /// For a mount of so many connections and a block cache of `cache_size` bytes.
    pub fn of(connections: usize, cache_size: usize, prefetch: Prefetch) -> Limits {
        const MOST: u64 = 16 * 1024 * 1024;
        let quarter = u64::try_from(cache_size / 4).unwrap_or(u64::MAX);
        let may = connections > 1 && prefetch != Prefetch::Off;
        let files = if may { (connections * 4).clamp(8, 64) } else { 0 };
        let eager = prefetch == Prefetch::Eager;
        Limits { files, bytes: quarter.min(MOST), file: (quarter / 4).min(MOST / 8), eager }
    }
}

/// A file that was opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Its directory.
    pub dir: &'a RemotePath,
    /// Its name.
    pub name: &'a [u8],
    /// Its size in bytes.
    pub size: u64,
    /// Whether the kernel has its bytes, and will not ask for them.
    pub kept: bool,
}

/// A file that will be opened soon.
#[derive(Clone, Debug)]
pub struct Next {
    /// Its directory.
    pub dir: RemotePath,
    /// What its listing tells of it.
    pub entry: EntryRef,
    /// Whether its bytes will be asked for, too.
    pub bytes: bool,
}

/// Sees what is opened and read, tells what will be.
#[derive(Debug)]
pub struct Policy {
    limits: Limits,
    /// The one that went on last comes first.
    runs: VecDeque<Run>,
}

impl Policy {
    /// Knows nothing yet.
    pub fn new(limits: Limits) -> Policy {
        Policy { limits, runs: VecDeque::new() }
    }

    /// The largest file that is fetched whole, in bytes.
    pub fn largest(&self) -> u64 {
        self.limits.file
    }

    /// A file was opened; returns what to fetch now.
    pub fn opened(&mut self, tree: &dyn Tree, file: Opened<'_>) -> Vec<Next> {
        if self.limits.files == 0 {
            return Vec::new();
        }
        if self.runs.iter().any(|run| run.has_seen(&file)) {
            return Vec::new();
        }
        let expected = self.runs.iter().position(|run| run.expects(&file).is_some());
        let place = expected.or_else(|| self.runs.iter_mut().position(|run| run.leads_to(tree, &file)));
        let run = match place.and_then(|place| self.runs.remove(place)) {
            Some(mut run) => {
                run.go_on(&file);
                run
            }
            None => Run::new(&file),
        };
        self.runs.push_front(run);
        self.runs.truncate(RUNS);
        self.runs[0].extend(tree, self.limits)
    }

    /// The last byte of an open file was read; returns what to fetch now.
    pub fn read_to_end(&mut self, tree: &dyn Tree, dir: &RemotePath, name: &[u8]) -> Vec<Next> {
        let limits = self.limits;
        let place = self.runs.iter_mut().position(|run| run.note_read(dir, name));
        let run = place.and_then(|place| self.runs.get_mut(place));
        run.map(|run| run.extend(tree, limits)).unwrap_or_default()
    }
}

/// A file that was opened on a run.
#[derive(Debug)]
struct Seen {
    spot: Spot,
    size: u64,
    read: bool,
}

/// A file that was asked for on a run and not opened yet.
#[derive(Debug)]
struct Asked {
    spot: Spot,
    size: u64,
    number: u64,
}

#[derive(Debug)]
struct Run {
    /// The file that is furthest in the order.
    last: Spot,
    /// An index of [`WAYS`].
    way: usize,
    /// The last ones opened, the youngest at the end.
    seen: VecDeque<Seen>,
    credit: usize,
    /// Bytes of files read to their ends, and the largest of them.
    bytes: u64,
    largest: u64,
    /// The kernel had the bytes of the file opened last.
    kept: bool,
    /// In the order in which they were asked for.
    asked: VecDeque<Asked>,
    asked_bytes: u64,
    number: u64,
    /// The number of the furthest file that was opened.
    reached: u64,
    /// Files opened since then that were not asked for.
    strays: u64,
    /// Up to where was looked for files.
    cursor: Option<Spot>,
}

impl Run {
    fn new(file: &Opened<'_>) -> Run {
        let mut run = Run {
            last: Spot { dir: file.dir.clone(), name: file.name.into() },
            way: 0,
            seen: VecDeque::new(),
            credit: 0,
            bytes: 0,
            largest: 0,
            kept: false,
            asked: VecDeque::new(),
            asked_bytes: 0,
            number: 0,
            reached: 0,
            strays: 0,
            cursor: None,
        };
        run.see(file);
        run
    }

    /// Whether the file was opened on this run before.
    fn has_seen(&self, file: &Opened<'_>) -> bool {
        self.seen.iter().any(|seen| seen.spot.is(file.dir, file.name))
    }

    fn expects(&self, file: &Opened<'_>) -> Option<usize> {
        self.asked.iter().position(|asked| asked.spot.is(file.dir, file.name))
    }

    /// Whether the file is one of the next in some way, which is taken for the run's then.
    fn leads_to(&mut self, tree: &dyn Tree, file: &Opened<'_>) -> bool {
        let near = if self.credit < FIRST { FIRST } else { NEAR };
        let fits = |way: &usize| {
            let walk = WAYS[*way].after(tree, &self.last);
            let files = walk.filter(|(_, entry)| entry.size != Some(0) || *entry.name == *file.name);
            files.take(near).any(|(dir, entry)| *entry.name == *file.name && dir == *file.dir)
        };
        let all = 0..WAYS.len();
        let Some(way) = [self.way].into_iter().chain(all).find(fits) else { return false };
        if way != self.way {
            self.way = way;
            self.cursor = None;
        }
        true
    }

    /// The file is opened, as expected or nearly so.
    fn go_on(&mut self, file: &Opened<'_>) {
        if self.seen.iter().rev().take_while(|seen| !seen.read).count() >= UNREAD {
            self.credit = 0;
        }
        let mut is_furthest = true;
        self.strays += 1;
        if let Some(asked) = self.expects(file).and_then(|at| self.asked.remove(at)) {
            self.asked_bytes -= asked.size;
            self.strays = 0;
            is_furthest = asked.number > self.reached;
            self.reached = self.reached.max(asked.number);
            while self.asked.front().is_some_and(|asked| asked.number + PASSED < self.reached) {
                let unused = self.asked.pop_front();
                self.asked_bytes -= unused.map_or(0, |unused| unused.size);
                self.credit /= 2;
            }
        }
        if self.strays > PASSED && !self.asked.is_empty() {
            self.asked.clear();
            (self.asked_bytes, self.strays) = (0, 0);
            self.credit /= 2;
        }
        if is_furthest {
            self.last = Spot { dir: file.dir.clone(), name: file.name.into() };
        }
        self.see(file);
    }

    fn see(&mut self, file: &Opened<'_>) {
        let spot = Spot { dir: file.dir.clone(), name: file.name.into() };
        self.seen.push_back(Seen { spot, size: file.size, read: file.size == 0 || file.kept });
        self.kept = file.kept;
        if file.kept {
            self.count(file.size);
        }
        if self.seen.len() > RECENT {
            self.seen.pop_front();
        }
    }

    /// Whether the file, of which the end was read now, is on this run and was not known to be read.
    fn note_read(&mut self, dir: &RemotePath, name: &[u8]) -> bool {
        let Some(seen) = self.seen.iter_mut().rev().find(|seen| seen.spot.is(dir, name)) else {
            return false;
        };
        if std::mem::replace(&mut seen.read, true) {
            return false;
        }
        let size = seen.size;
        self.count(size);
        true
    }

    fn count(&mut self, size: u64) {
        self.credit += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.largest = self.largest.max(size);
    }

    /// Looks for files until there are as many as the run has earned.
    fn extend(&mut self, tree: &dyn Tree, limits: Limits) -> Vec<Next> {
        self.credit = if limits.eager { limits.files } else { self.credit.min(limits.files) };
        let mut next = Vec::new();
        if self.credit < FIRST || self.asked.len() >= self.credit {
            return next;
        }
        let (bytes, largest) = match limits.eager {
            true => (limits.bytes, limits.file),
            false => (limits.bytes.min(self.bytes.max(FREE)), limits.file.min((2 * self.largest).max(FREE))),
        };
        let from = self.cursor.take().filter(|_| !self.asked.is_empty()).unwrap_or_else(|| self.last.clone());
        let mut cursor = from.clone();
        for (dir, entry) in WAYS[self.way].after(tree, &from) {
            if self.asked.len() >= self.credit {
                break;
            }
            let size = entry.size.unwrap_or(0);
            let spot = Spot { dir, name: entry.name.clone() };
            let is_known = |of: &Spot| *of == spot;
            let is_new = !self.asked.iter().any(|asked| is_known(&asked.spot))
                && !self.seen.iter().any(|seen| is_known(&seen.spot));
            if size > 0 && is_new && (self.kept || size <= largest) && entry.kind == EntryKind::File {
                // The kernel has the bytes of those around; only their attributes may be wanted.
                let size = if self.kept { 0 } else { size };
                if self.asked_bytes + size > bytes {
                    break;
                }
                self.number += 1;
                self.asked_bytes += size;
                self.asked.push_back(Asked { spot: spot.clone(), size, number: self.number });
                next.push(Next { dir: spot.dir.clone(), entry, bytes: !self.kept });
            }
            cursor = spot;
        }
        self.cursor = Some(cursor);
        next
    }
}

#[cfg(test)]
mod tests;
