//! One inode, kept small: there are as many as the kernel knows names.

use std::sync::Arc;
use std::time::Instant;

use crate::cache::{FileId, FileVersion};
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::time::{Modified, Precision};
use crate::remote::Name;
use crate::vfs::attr::Facts;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) standing: Standing,
    pub(super) lookups: u64,
    known: Option<(Known, Instant)>,
    /// What the kernel was told, where that is something else than what is known now. Boxed, since it is rare.
    other: Option<Box<Known>>,
    /// What only opened inodes have.
    pub(super) opened: Option<Box<Opened>>,
    pub(super) children: u32,
    /// Our own reasons to keep it, beside the kernel's.
    pub(super) holds: u32,
    pub(super) kind: EntryKind,
    /// The kernel may believe in what is known, or in `other`.
    told: bool,
    /// It was used since the kernel was last asked for older ones, or is worth more than others.
    pub(super) recent: bool,
    /// It is none of those that are too many: it must stay, or the kernel was asked to let go of it.
    pub(super) passed: bool,
}

/// What an inode stands for.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    Root,
    /// This name in this directory.
    Named(u64, Name),
    /// Nothing that the user sees: it was removed, and is kept on the server under this name of ours.
    Hidden(u64, Name),
    /// Nothing: it was removed through our mount.
    Unlinked,
    /// Nothing: the server has another kind in its place.
    Replaced,
}

#[derive(Debug, Default)]
pub(super) struct Opened {
    /// The version that handles may read; `None` once it is known to be gone.
    pub(super) version: Option<Arc<FileVersion>>,
    /// The version that the kernel's pages are of.
    pub(super) pages: Option<FileId>,
    /// The kernel may have pages: somebody has had the file open.
    pub(super) used: bool,
    /// The listing that the kernel's directory pages are of.
    pub(super) listing: Option<u64>,
}

/// [`Facts`] in 24 bytes, without the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    size: u64,
    seconds: i64,
    nanos: u32,
    /// `NO_MODE` where none was told.
    mode: u16,
    /// `None` where no time was told.
    precision: Option<Precision>,
    has_size: bool,
}

/// No permission bits (07777).
const NO_MODE: u16 = u16::MAX;

impl Node {
    pub(super) fn new(standing: Standing, kind: EntryKind) -> Node {
        Node {
            standing,
            lookups: 0,
            known: None,
            other: None,
            opened: None,
            children: 0,
            holds: 0,
            kind,
            told: false,
            // Programs come back to a directory after all that is in it, and rely on its number then (fts(3)).
            recent: kind == EntryKind::Directory,
            passed: false,
        }
    }

    /// The facts known, and when they were learned.
    pub(super) fn facts(&self) -> Option<(Facts, Instant)> {
        self.known.map(|(known, learned)| (known.facts(self.kind), learned))
    }

    /// Takes `facts` for what is known from now on; those of another kind are none of this inode.
    pub(super) fn learn(&mut self, facts: Option<(Facts, Instant)>) {
        let old =
            std::mem::replace(&mut self.known, facts.map(|(facts, learned)| (Known::from(&facts), learned)));
        let changed = old.map(|(old, _)| old) != self.known.map(|(new, _)| new);
        if let Some((old, _)) = old.filter(|_| self.told && changed)
            && self.other.is_none()
        {
            self.other = Some(Box::new(old));
        }
    }

    /// Notes that the kernel gets `facts` now.
    pub(super) fn tell(&mut self, facts: Facts) {
        let told = Known::from(&facts);
        self.told = true;
        self.other = match self.known {
            Some((known, _)) if known == told => None,
            _ => Some(Box::new(told)),
        };
    }

    /// Notes that the kernel believes nothing any more.
    pub(super) fn untell(&mut self) {
        (self.told, self.other) = (false, None);
    }

    /// Whether the kernel may believe in another size or time than what is known.
    pub(super) fn is_kernel_behind(&self) -> bool {
        match (self.known, &self.other) {
            (Some((known, _)), Some(told)) => known.version() != told.version(),
            _ => false,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        let held = self.lookups > 0 || self.holds > 0 || self.children > 0;
        !held && !matches!(self.standing, Standing::Root)
    }

    pub(super) fn is_replaced(&self) -> bool {
        matches!(self.standing, Standing::Replaced)
    }
}

impl Standing {
    /// The directory that a path leads through.
    pub(super) fn parent(&self) -> Option<u64> {
        match self {
            Standing::Named(parent, _) | Standing::Hidden(parent, _) => Some(*parent),
            Standing::Root | Standing::Unlinked | Standing::Replaced => None,
        }
    }

    /// Whether it is this name in this directory.
    pub(super) fn is(&self, parent: u64, name: &Name) -> bool {
        matches!(self, Standing::Named(dir, known) if *dir == parent && known == name)
    }
}

impl Opened {
    /// Whether `entry` tells of another version than the one that was opened, which is then gone.
    pub(super) fn contradicts(&mut self, entry: &RemoteEntry) -> bool {
        self.version.take_if(|version| !version.same_file_as(entry)).is_some()
    }
}

impl Known {
    fn facts(&self, kind: EntryKind) -> Facts {
        let Known { size, seconds, nanos, mode, precision, has_size } = *self;
        Facts {
            kind,
            size: has_size.then_some(size),
            modified: precision.map(|precision| Modified { seconds, nanos, precision }),
            mode: (mode != NO_MODE).then_some(mode),
        }
    }

    /// What pages and a size in the kernel depend on.
    fn version(&self) -> impl PartialEq + use<> {
        (self.has_size, self.size, self.seconds, self.nanos, self.precision)
    }
}

impl From<&Facts> for Known {
    fn from(facts: &Facts) -> Known {
        let (seconds, nanos) = facts.modified.map_or((0, 0), |time| (time.seconds, time.nanos));
        Known {
            size: facts.size.unwrap_or(0),
            seconds,
            nanos,
            mode: facts.mode.unwrap_or(NO_MODE),
            precision: facts.modified.map(|time| time.precision),
            has_size: facts.size.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_takes_112_bytes_beside_its_name() {
        assert_eq!((size_of::<Known>(), size_of::<Node>()), (24, 112));
    }

    #[test]
    fn facts_come_back_as_they_were() {
        let now = Instant::now();
        let modified = Modified { seconds: -1, nanos: 999_999_999, precision: Precision::Day };
        for (size, modified, mode) in
            [(None, None, None), (Some(0), None, Some(0o7777)), (Some(u64::MAX), Some(modified), Some(0))]
        {
            let facts = Facts { kind: EntryKind::File, size, modified, mode };
            let mut node = Node::new(Standing::Root, EntryKind::File);
            node.learn(Some((facts, now)));
            assert_eq!(node.facts(), Some((facts, now)));
        }
    }

    #[test]
    fn the_kernel_is_behind_until_it_is_told_or_has_dropped_what_it_was_told() {
        let now = Instant::now();
        let facts = |size| Facts { kind: EntryKind::File, size: Some(size), modified: None, mode: None };
        let mut node = Node::new(Standing::Root, EntryKind::File);
        node.learn(Some((facts(1), now)));
        assert!(!node.is_kernel_behind(), "it was told nothing");
        node.tell(facts(1));
        node.learn(Some((facts(2), now)));
        assert!(node.is_kernel_behind());
        node.learn(Some((facts(3), now)));
        node.learn(Some((facts(1), now)));
        assert!(!node.is_kernel_behind(), "it was told this size");
        node.learn(None);
        assert!(!node.is_kernel_behind(), "nothing is known");
        node.learn(Some((facts(2), now)));
        assert!(node.is_kernel_behind());
        node.tell(facts(2));
        assert!(!node.is_kernel_behind());
        node.learn(Some((Facts { mode: Some(0), ..facts(2) }, now)));
        assert!(!node.is_kernel_behind(), "a mode makes no other version");
        node.learn(Some((facts(4), now)));
        assert!(node.is_kernel_behind());
        node.untell();
        assert!(!node.is_kernel_behind());
    }
}
