//! The content of a changed file: what is staged here, what is still the server's, and what has to be sent.
//!
//! A byte below `size` is staged where `held` has it; else, below `base`, it is the server's byte at that
//! place; else it is zero. `base` never grows: what was cut off once does not come back.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crate::write::ranges::Ranges;
use crate::write::stage::Stage;

/// Where some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// In the stage; zeros count as staged.
    Stage,
    /// In the version of the file that the server had.
    Server,
}

/// How the server's file relates to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// It is this long, and equal to ours as far as it goes.
    Equal(u64),
    /// An upload broke off: it is equal to ours as far as it goes, if its length is one of these.
    Broken { least: u64, most: u64 },
    /// There is none, or it differs.
    Other,
}

/// What a confirmed upload would have to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Nothing: the server has it all.
    Nothing,
    /// What comes after this many bytes, which the server has.
    Tail(u64),
    /// What comes after the server's bytes, if it has as many as this; else all of it.
    Rest {
        /// At least.
        least: u64,
        /// At most.
        most: u64,
    },
    /// All of it.
    Whole,
}

/// A file's content while it differs, or may soon differ, from the server's.
#[derive(Debug)]
pub(super) struct Staged {
    stage: Arc<dyn Stage>,
    held: Ranges,
    size: u64,
    base: u64,
    server: Server,
    /// The lengths that the server's file has had by appends of ours, which leave the base as it is.
    appended: Option<(u64, u64)>,
    /// An upload that runs: it has taken the bytes below this, and whether they have changed since.
    taken: Option<(u64, bool)>,
}

impl Staged {
    /// A file of which the server has nothing.
    pub(super) fn empty(stage: Arc<dyn Stage>) -> Staged {
        Staged {
            stage,
            held: Ranges::default(),
            size: 0,
            base: 0,
            server: Server::Other,
            appended: None,
            taken: None,
        }
    }

    /// A file of which the server has all `size` bytes.
    pub(super) fn unchanged(stage: Arc<dyn Stage>, size: u64) -> Staged {
        Staged {
            stage,
            held: Ranges::default(),
            size,
            base: size,
            server: Server::Equal(size),
            appended: None,
            taken: None,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn stage(&self) -> &Arc<dyn Stage> {
        &self.stage
    }

    /// Takes changed bytes.
    ///
    /// # Errors
    /// The disk; nothing has changed then.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(end) = offset.checked_add(bytes.len() as u64) else {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        };
        self.keep(offset, end, bytes)?;
        self.size = self.size.max(end);
        if !bytes.is_empty() {
            self.touch(offset);
        }
        Ok(())
    }

    /// Keeps bytes of the base that were fetched from the server, where nothing newer is held.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn fill(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = self.base.min(offset.saturating_add(bytes.len() as u64));
        let mut at = offset;
        while let Some(gap) = self.held.first_gap(at.min(end)..end) {
            let within = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
            let Some(piece) = bytes.get(within(gap.start)..within(gap.end)) else { break };
            self.keep(gap.start, gap.end, piece)?;
            at = gap.end;
        }
        Ok(())
    }

    fn keep(&mut self, offset: u64, end: u64, bytes: &[u8]) -> io::Result<()> {
        let new = self.held.lacks(offset..end);
        self.stage.grow(new)?;
        let written = self.stage.write_at(bytes, offset);
        match &written {
            Ok(()) => drop(self.held.insert(offset..end)),
            Err(_) => {
                self.stage.shrink(new);
                // A part may have been written; what lies behind the end must be zeros.
                let _ = self.stage.set_len(self.size);
            }
        }
        written
    }

    /// Cuts off, or adds zeros.
    ///
    /// # Errors
    /// The disk; nothing has changed then.
    pub(super) fn truncate(&mut self, size: u64) -> io::Result<()> {
        if size == self.size {
            return Ok(());
        }
        self.stage.set_len(size)?;
        if size < self.size {
            self.stage.shrink(self.held.cut(size));
            self.base = self.base.min(size);
        }
        self.touch(size.min(self.size));
        self.size = size;
        Ok(())
    }

    /// Notes that bytes from `offset` on have changed.
    fn touch(&mut self, offset: u64) {
        self.server = match self.server {
            Server::Equal(length) if length <= offset => Server::Equal(length),
            Server::Broken { least, most } if least <= offset => {
                Server::Broken { least, most: most.min(offset) }
            }
            _ => Server::Other,
        };
        if let Some((taken, changed)) = &mut self.taken {
            *changed |= offset < *taken;
        }
    }

    /// Where the bytes from `at` on are, and up to which place below `limit` and the end of the file.
    pub(super) fn origin(&self, at: u64, limit: u64) -> (Origin, u64) {
        let limit = limit.min(self.size);
        match self.held.run(at, limit) {
            (true, end) => (Origin::Stage, end),
            (false, end) if at < self.base => (Origin::Server, end.min(self.base)),
            (false, end) => (Origin::Stage, end),
        }
    }

    /// The first part, of at most `most` bytes, that only the server has.
    pub(super) fn missing(&self, from: u64, most: u64) -> Option<Range<u64>> {
        let gap = self.held.first_gap(from.min(self.base)..self.base)?;
        Some(gap.start..gap.end.min(gap.start.saturating_add(most)))
    }

    /// What has to be sent.
    pub(super) fn errand(&self) -> Errand {
        match self.server {
            Server::Equal(length) if length == self.size => Errand::Nothing,
            Server::Equal(length) if length > 0 => Errand::Tail(length),
            Server::Broken { least, most } => Errand::Rest { least, most },
            Server::Equal(_) | Server::Other => Errand::Whole,
        }
    }

    /// The lengths that the server's file may have because of appends of ours since the base was last known.
    pub(super) fn appended(&self) -> Option<RangeInclusive<u64>> {
        self.appended.map(|(least, most)| least..=most)
    }

    /// The base is read as the server has it now.
    pub(super) fn rebased(&mut self) {
        self.appended = None;
    }

    /// What is left to do after a look at the length of the server's file.
    pub(super) fn looked(&mut self, length: Option<u64>) {
        if let Server::Broken { least, most } = self.server {
            self.server = match length {
                Some(length) if (least..=most).contains(&length) => Server::Equal(length),
                _ => Server::Other,
            };
        }
    }

    /// Nothing is known of the server's file any more.
    pub(super) fn distrust(&mut self) {
        self.server = Server::Other;
    }

    /// An upload begins to take the bytes from `from` on.
    pub(super) fn begin(&mut self, from: u64) {
        self.taken = Some((from, false));
        self.appended = match (from, self.appended) {
            (0, _) => None,
            (from, Some((least, most))) => Some((least.min(from), most)),
            (from, None) => Some((from, from)),
        };
    }

    /// The upload takes the bytes up to `to`.
    pub(super) fn take(&mut self, to: u64) {
        if let Some((taken, _)) = &mut self.taken {
            *taken = to;
        }
        if let Some((_, most)) = &mut self.appended {
            *most = to.max(*most);
        }
    }

    /// Whether bytes changed behind the upload that runs: what it sends is not the file.
    pub(super) fn is_overtaken(&self) -> bool {
        self.taken.is_some_and(|(_, changed)| changed)
    }

    /// The upload has ended and the server confirmed it.
    pub(super) fn sent(&mut self) {
        self.server = match self.taken.take() {
            Some((length, false)) => Server::Equal(length),
            _ => Server::Other,
        };
    }

    /// The upload that began has changed nothing.
    pub(super) fn spare(&mut self) {
        self.taken = None;
    }

    /// The upload that began at `from` has ended somewhere.
    pub(super) fn broke(&mut self, from: u64) {
        self.server = match self.taken.take() {
            Some((most, false)) => Server::Broken { least: from, most },
            _ => Server::Other,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::BlockCache;
    use crate::remote::RemotePath;
    use crate::write::stage::{LocalStaging, Staging};

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Truncate(u64),
        Fill(u64, u64),
        Upload(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..80u64, prop::collection::vec(1..=255u8, 0..30)).prop_map(|(at, b)| Step::Write(at, b)),
            1 => (0..120u64).prop_map(Step::Truncate),
            2 => (0..60u64, 0..60u64).prop_map(|(at, len)| Step::Fill(at, len)),
            1 => any::<bool>().prop_map(Step::Upload),
        ]
    }

    /// The whole content, with what is only on the server taken from `server`.
    fn content(staged: &Staged, server: &[u8]) -> Vec<u8> {
        let (mut at, mut all) = (0, Vec::new());
        while at < staged.size() {
            let (origin, end) = staged.origin(at, u64::MAX);
            match origin {
                Origin::Server => all.extend_from_slice(&server[at as usize..end as usize]),
                Origin::Stage => {
                    let mut piece = vec![0; (end - at) as usize];
                    staged.stage().read_at(&mut piece, at).unwrap();
                    all.extend(piece);
                }
            }
            at = end;
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Against a plain vector; and what an errand leaves out is what the server has.
        #[test]
        fn a_staged_file_is_the_file(
            base in prop::collection::vec(any::<u8>(), 0..60),
            steps in prop::collection::vec(step(), 0..25),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let staging = LocalStaging::new(dir.path(), u64::MAX, Arc::new(BlockCache::new(0))).unwrap();
            let stage = staging.create(&RemotePath::root()).unwrap();
            let mut staged = Staged::unchanged(stage, base.len() as u64);
            let mut model = base.clone();
            let mut server = base.clone();
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        staged.write(at, &bytes).unwrap();
                        let end = at as usize + bytes.len();
                        model.resize(model.len().max(end), 0);
                        model[at as usize..end].copy_from_slice(&bytes);
                    }
                    Step::Truncate(size) => {
                        staged.truncate(size).unwrap();
                        model.resize(size as usize, 0);
                    }
                    Step::Fill(at, len) => {
                        let end = base.len().min((at + len) as usize);
                        staged.fill(at, base.get(at as usize..end).unwrap_or(&[])).unwrap();
                    }
                    Step::Upload(works) => {
                        let errand = staged.errand();
                        if let Errand::Whole = errand {
                            while let Some(gap) = staged.missing(0, 7) {
                                staged.fill(gap.start, &base[gap.start as usize..gap.end as usize]).unwrap();
                            }
                        }
                        let from = match errand {
                            Errand::Nothing => continue,
                            Errand::Tail(from) => from,
                            Errand::Rest { .. } => {
                                staged.looked(Some(server.len() as u64));
                                continue;
                            }
                            Errand::Whole => 0,
                        };
                        staged.begin(from);
                        staged.take(staged.size());
                        server.truncate(from as usize);
                        let end = if works { model.len() } else { from as usize + (model.len() - from as usize) / 2 };
                        server.extend_from_slice(&model[from as usize..end]);
                        if works { staged.sent() } else { staged.broke(from) }
                        prop_assert_eq!(staged.errand() == Errand::Nothing, works);
                    }
                }
                prop_assert_eq!(&content(&staged, &base), &model);
                match staged.errand() {
                    Errand::Nothing => prop_assert_eq!(&server, &model),
                    Errand::Tail(from) => prop_assert_eq!(&server[..], &model[..from as usize]),
                    Errand::Rest { least, most } => {
                        let length = server.len() as u64;
                        if (least..=most).contains(&length) {
                            prop_assert_eq!(&server[..], &model[..server.len()]);
                        }
                    }
                    Errand::Whole => {}
                }
            }
        }
    }

    #[test]
    fn a_change_behind_an_upload_leaves_the_file_unsent() {
        let dir = tempfile::tempdir().unwrap();
        let staging = LocalStaging::new(dir.path(), u64::MAX, Arc::new(BlockCache::new(0))).unwrap();
        let mut staged = Staged::empty(staging.create(&RemotePath::root()).unwrap());
        staged.write(0, b"0123456789").unwrap();
        for (at, taken, overtaken) in [(4, 5, true), (5, 5, false), (9, 5, false)] {
            staged.begin(0);
            staged.take(taken);
            staged.write(at, b"x").unwrap();
            assert_eq!(staged.is_overtaken(), overtaken, "{at}");
            staged.take(10);
            staged.sent();
            assert_eq!(staged.errand() == Errand::Nothing, !overtaken, "{at}");
        }
    }
}
