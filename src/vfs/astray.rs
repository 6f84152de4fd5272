//! What a change that failed has left in doubt: files that it moved to a hidden name, or may have, and files that it may
//! have replaced. They are settled as soon as the server can be asked, before it is asked anything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::deadline::Deadline;
use crate::remote::{self, Kind, Name, RemotePath};
use crate::vfs::FileSystem;
use crate::vfs::draft::Changes;
use crate::vfs::remove::Aside;
use crate::vfs::rename::was_told;
use crate::write::WriteFile;

/// Most of them that wait for the server.
const MOST: usize = 256;

/// When attempts that came to nothing have taken so many times the bound of an operation, each is followed by a pause of
/// so many times what it took: a server that hangs at it alone costs others a fifth of their time at most.
const FREE: u32 = 2;
const PAUSES: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause where the server has answered, and something else has to happen first.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// A file that a failed change has left under a hidden name, or may have.
#[derive(Debug)]
pub(super) struct Stray {
    /// The inode of its directory, and the path that this had.
    pub(super) parent: u64,
    pub(super) dir: RemotePath,
    /// The name that it had and that it gets back.
    pub(super) name: Name,
    pub(super) hidden: Name,
    /// The inode that stands for its name: its own, if it has only perhaps left.
    pub(super) ino: Option<u64>,
    pub(super) left: Left,
}

/// Whether it has left its name.
#[derive(Debug)]
pub(super) enum Left {
    /// It has; somebody had it open.
    Aside(Aside),
    /// It has.
    Surely,
    /// The server has not told. `seen`: it was at home when it was looked for, but the server may be slow.
    Perhaps {
        /// Once.
        seen: bool,
    },
}

/// A file with all its bytes here, unsent perhaps, that a rename may have replaced. Nothing of it is sent meanwhile.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) ino: u64,
    pub(super) draft: Arc<WriteFile>,
    /// The directory and the name that are replaced.
    pub(super) parent: u64,
    pub(super) name: Name,
    /// What was renamed.
    pub(super) from: RemotePath,
    pub(super) to: RemotePath,
}

/// What has to be settled.
#[derive(Debug)]
pub(super) enum Unsettled {
    /// Where is it?
    Stray(Stray),
    /// Was it replaced?
    Doubt(Doubt),
}

/// All that has to be settled.
#[derive(Debug, Default)]
pub(super) struct Astray {
    state: Mutex<State>,
    /// An attempt has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Waiting>,
    /// Somebody tries.
    busy: bool,
    /// The files that he asks about whether they were replaced.
    tried: Vec<u64>,
}

#[derive(Debug)]
struct Waiting {
    what: Unsettled,
    /// What attempts have taken.
    spent: Duration,
    not_before: Instant,
}

/// What came of an attempt.
enum Outcome {
    Settled,
    /// Nothing.
    Later(Unsettled),
    /// Nothing, and another attempt makes no sense before this pause.
    After(Duration, Unsettled),
}

/// The attempt of one caller, until it is dropped.
struct Attempt<'a>(&'a Astray);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        (state.busy, state.tried) = (false, Vec::new());
        drop(state);
        self.0.ended.notify_all();
    }
}

impl Unsettled {
    /// The inode that may have been replaced.
    fn doubted(&self) -> Option<u64> {
        match self {
            Unsettled::Stray(_) => None,
            Unsettled::Doubt(doubt) => Some(doubt.ino),
        }
    }
}

impl Astray {
    /// Adds one; gives it back where there are too many.
    fn add(&self, waiting: Waiting) -> Result<(), Unsettled> {
        let mut state = self.state.lock();
        if state.open.len() >= MOST {
            return Err(waiting.what);
        }
        state.open.push(waiting);
        Ok(())
    }

    /// What is due, for one caller at a time: the others wait for what comes of it, until `deadline`.
    fn take_due(&self, deadline: Deadline) -> Option<(Vec<Waiting>, Attempt<'_>)> {
        let mut state = self.state.lock();
        while state.busy {
            if self.ended.wait_until(&mut state, deadline.instant()).timed_out() {
                return None;
            }
        }
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = state.open.drain(..).partition(|open| open.not_before <= now);
        state.open = later;
        if due.is_empty() {
            return None;
        }
        state.busy = true;
        state.tried = due.iter().filter_map(|open| open.what.doubted()).collect();
        Some((due, Attempt(self)))
    }

    /// Whether this file may have been replaced.
    fn doubts(&self, inode: u64) -> bool {
        let state = self.state.lock();
        state.tried.contains(&inode) || state.open.iter().any(|open| open.what.doubted() == Some(inode))
    }

    fn take_all(&self) -> Vec<Unsettled> {
        std::mem::take(&mut self.state.lock().open).into_iter().map(|open| open.what).collect()
    }

    /// Whether a file of this name may be back soon.
    fn has(&self, parent: u64, name: &Name) -> bool {
        let is_it = |open: &Waiting| match &open.what {
            Unsettled::Stray(stray) => stray.parent == parent && stray.name == *name,
            Unsettled::Doubt(_) => false,
        };
        let state = self.state.lock();
        state.busy || state.open.iter().any(is_it)
    }
}

impl FileSystem {
    /// Settles what a failed change has left, now if `deadline` allows, else later.
    pub(super) fn settle_after_failure(&self, what: Unsettled, deadline: Deadline) {
        let dir = match &what {
            Unsettled::Stray(stray) => Some(stray.dir.clone()),
            Unsettled::Doubt(doubt) => doubt.to.parent(),
        };
        let (spent, not_before) = (Duration::ZERO, Instant::now());
        if let Err(what) = self.astray.add(Waiting { what, spent, not_before }) {
            self.give_up(what, &"too much is in doubt already");
        }
        self.settle_doubts(deadline);
        dir.inspect(|dir| self.directories.invalidate(dir));
    }

    /// Settles all that is in doubt, where that is due. Costs nothing where nothing is.
    pub(super) fn settle_doubts(&self, deadline: Deadline) {
        let Some((due, _attempt)) = self.astray.take_due(deadline) else { return };
        for Waiting { what, spent, .. } in due {
            let start = Instant::now();
            let outcome = self.settle_doubt(what, deadline);
            let took = start.elapsed();
            let (what, pause) = match outcome {
                Outcome::Settled => continue,
                Outcome::Later(what) if spent + took < FREE * self.config.operation_timeout => {
                    (what, Duration::ZERO)
                }
                Outcome::Later(what) => (what, (took * PAUSES).min(LONGEST_PAUSE)),
                Outcome::After(pause, what) => (what, pause),
            };
            let waiting = Waiting { what, spent: spent + took, not_before: Instant::now() + pause };
            if let Err(what) = self.astray.add(waiting) {
                self.give_up(what, &"too much is in doubt already");
            }
        }
    }

    /// Whether `name` may be there soon, though nothing has it now.
    pub(super) fn is_astray(&self, parent: u64, name: &Name) -> bool {
        self.astray.has(parent, name)
    }

    /// A change of `ino` was refused: its bytes are sent again, unless they wait for what became of another one.
    pub(super) fn keep(&self, ino: u64, draft: &WriteFile) {
        if !self.astray.doubts(ino) {
            draft.keep();
        }
    }

    /// At the end of a mount: tells of what could not be settled. Returns how many unsent files are lost with it.
    pub(super) fn tell_of_doubts(&self) -> usize {
        let mut lost = 0;
        for what in self.astray.take_all() {
            // The others were tried with all that is unsent.
            if let Unsettled::Stray(Stray { left: Left::Aside(aside), .. }) = &what {
                lost += usize::from(self.draft(aside.ino).is_some_and(|draft| draft.is_dirty()));
            }
            self.give_up(what, &"the mount has ended");
        }
        lost
    }

    fn settle_doubt(&self, what: Unsettled, deadline: Deadline) -> Outcome {
        let Ok(changes) = self.changes() else { return Outcome::Settled };
        match what {
            Unsettled::Stray(stray) => match self.send_home(changes, stray, deadline) {
                Ok(outcome) => outcome,
                Err((stray, error)) if was_told(&error) => {
                    self.give_up(Unsettled::Stray(stray), &error);
                    Outcome::Settled
                }
                Err((stray, error)) => {
                    log::debug!("what a failed change has left is settled later: {error}");
                    Outcome::Later(Unsettled::Stray(stray))
                }
            },
            Unsettled::Doubt(doubt) => match was_done(changes, &doubt, deadline) {
                Ok(was_done) => {
                    self.resolve(doubt, was_done);
                    Outcome::Settled
                }
                Err(error) => {
                    log::debug!("whether {} was replaced is asked later: {error}", doubt.to);
                    // Who closes it waits for nothing else.
                    let pause = if was_told(&error) { SHORT_PAUSE } else { Duration::ZERO };
                    Outcome::After(pause, Unsettled::Doubt(doubt))
                }
            },
        }
    }

    /// Gives a file its name back, unless something else has it.
    fn send_home(
        &self,
        changes: &Changes,
        stray: Stray,
        deadline: Deadline,
    ) -> Result<Outcome, (Stray, remote::Error)> {
        let dir = self.table.lock().path(stray.parent).unwrap_or_else(|_| stray.dir.clone());
        let (home, hidden) = (dir.join(&stray.name), dir.join(&stray.hidden));
        // Uploads to either name begin before or after it.
        let _moving = (changes.writers.moving(&home), changes.writers.moving(&hidden));
        let names = [&stray.name, &stray.hidden];
        let [at_home, is_hidden] = match changes.remote.find_both(&dir, names, deadline) {
            Ok(found) => found,
            Err(error) if was_told(&error) => {
                return Ok(Outcome::After(SHORT_PAUSE, Unsettled::Stray(stray)));
            }
            Err(error) => return Err((stray, error)),
        };
        if let (true, false, Left::Perhaps { seen: false }) = (at_home, is_hidden, &stray.left) {
            let stray = Stray { left: Left::Perhaps { seen: true }, ..stray };
            return Ok(Outcome::After(LONGEST_PAUSE, Unsettled::Stray(stray)));
        }
        if !at_home {
            let now = self.table.lock().number(stray.parent, &stray.name);
            if now.is_some_and(|ino| stray.ino != now && self.draft(ino).is_some()) {
                // Somebody makes it anew.
                return Ok(Outcome::After(SHORT_PAUSE, Unsettled::Stray(stray)));
            }
            // The server answers. Should it hang at this, there is time left for what the caller wants.
            let half = deadline.at_most(deadline.left() / 2);
            match changes.remote.rename(&hidden, &home, half) {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::NotFound => {
                    if self.table.lock().path(stray.parent).is_ok_and(|now| now != dir) {
                        return Ok(Outcome::Later(Unsettled::Stray(stray)));
                    }
                    self.directories.invalidate(&dir);
                    self.give_up(Unsettled::Stray(stray), &error);
                    return Ok(Outcome::Settled);
                }
                Err(error) => return Err((stray, error)),
            }
        }
        self.directories.invalidate(&dir);
        match (stray.left, at_home && is_hidden) {
            (Left::Aside(aside), false) => {
                self.note_home(aside, (stray.parent, &stray.name), (&hidden, &home));
            }
            (Left::Aside(aside), true) => {
                self.hidden.note_replaced(aside.ino);
                self.leave_aside(aside);
            }
            (Left::Surely | Left::Perhaps { .. }, false) => {}
            (Left::Surely | Left::Perhaps { .. }, true) => {
                if let Err(error) = self.remove_any(&hidden, deadline) {
                    log::debug!("{hidden} is still on the server: {error}");
                    self.remove_later(hidden);
                }
            }
        }
        Ok(Outcome::Settled)
    }

    /// Notes that a file that somebody had open stands for its name again.
    fn note_home(
        &self,
        aside: Aside,
        (parent, name): (u64, &Name),
        (hidden, home): (&RemotePath, &RemotePath),
    ) {
        let ino = aside.ino;
        let other = self.table.lock().number(parent, name).filter(|&other| other != ino);
        if other.is_some_and(|other| self.draft(other).is_some() || self.handles.is_open(other)) {
            log::error!("{home} was opened anew while it could not be told where it was");
            self.let_stay(aside);
            return;
        }
        self.blocks.moved(hidden, home);
        {
            let mut table = self.table.lock();
            if other.is_some() {
                table.unlinked(parent, name);
            }
            table.unhidden(ino, (parent, name));
            table.unhold(ino);
        }
        self.relocate();
        self.versions.moved(hidden, home);
        if let Some(draft) = self.draft(ino) {
            draft.keep();
        }
        self.unpin(aside);
    }

    /// Notes whether a rename has been done that was believed to have failed.
    fn resolve(&self, doubt: Doubt, was_done: bool) {
        let Doubt { ino, draft, parent, name, from, to } = doubt;
        let has_its_name = self.table.lock().number(parent, &name) == Some(ino);
        if !was_done || !has_its_name {
            // It may have been renamed, removed or replaced since.
            if !self.table.lock().is_unlinked(ino) {
                draft.keep();
            }
            self.stop_wanting(Some((ino, draft)));
            return;
        }
        self.files.leave(&from);
        self.files.leave(&to);
        self.versions.forget(&to);
        self.blocks.changed(&to);
        if let Some(dir) = to.parent() {
            self.directories.unpin(&dir, &name);
            self.directories.invalidate(&dir);
        }
        from.parent().inspect(|dir| self.directories.invalidate(dir));
        self.table.lock().unlinked(parent, &name);
        self.lost_its_name(ino);
        self.stop_wanting(Some((ino, draft)));
    }

    /// Nothing more can be done. Who has it open keeps what can be had of it, and nobody removes anything.
    fn give_up(&self, what: Unsettled, why: &dyn std::fmt::Display) {
        match what {
            Unsettled::Stray(Stray { dir, name, hidden, left, .. }) => {
                let (home, hidden) = (dir.join(&name), dir.join(&hidden));
                if !matches!(left, Left::Perhaps { seen: true }) {
                    log::error!("{home} may now be named {hidden}, which could not be taken back: {why}");
                }
                if let Left::Aside(aside) = left {
                    self.let_stay(aside);
                }
            }
            Unsettled::Doubt(Doubt { ino, draft, to, .. }) => {
                log::error!("{to} may have been replaced, and what is unsent of it is not sent: {why}");
                self.stop_wanting(Some((ino, draft)));
            }
        }
    }

    /// Leaves a file under its hidden name for good.
    fn let_stay(&self, aside: Aside) {
        {
            let mut table = self.table.lock();
            table.unhide(aside.ino);
            table.unhold(aside.ino);
        }
        self.unpin(aside);
    }

    /// Ends our own handle of a file, and sends nothing of it: who closed it has been told what became of that.
    fn unpin(&self, aside: Aside) {
        if let Some((_, Some(unused))) = self.handles.release_file(aside.handle) {
            unused.close();
        }
        self.let_go(aside.ino);
    }
}

/// Whether the rename has been done.
fn was_done(changes: &Changes, doubt: &Doubt, deadline: Deadline) -> Result<bool, remote::Error> {
    if changes.remote.find(&doubt.from, deadline)?.is_some() {
        return Ok(false);
    }
    Ok(changes.remote.find(&doubt.to, deadline)?.is_some())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn stray(name: &str, not_before: Instant) -> Waiting {
        let (name, hidden) = (Name::new(name.as_bytes()).unwrap(), Name::new(b"hidden").unwrap());
        let left = Left::Perhaps { seen: false };
        let stray = Stray { parent: 1, dir: RemotePath::root(), name, hidden, ino: None, left };
        Waiting { what: Unsettled::Stray(stray), spent: Duration::ZERO, not_before }
    }

    #[test]
    fn one_caller_settles_what_is_due_and_the_others_wait_for_him() {
        let (astray, now) = (Astray::default(), Instant::now());
        let long = Deadline::after(Duration::from_secs(60));
        assert!(astray.take_due(long).is_none());
        astray.add(stray("due", now)).unwrap();
        astray.add(stray("later", now + Duration::from_secs(3600))).unwrap();
        let name = |name: &str| Name::new(name.as_bytes()).unwrap();
        assert!(
            astray.has(1, &name("later")) && !astray.has(1, &name("other")) && !astray.has(2, &name("due"))
        );
        let (due, attempt) = astray.take_due(long).unwrap();
        assert_eq!(due.len(), 1);
        assert!(astray.take_due(Deadline::after(Duration::from_millis(20))).is_none());
        assert!(astray.has(1, &name("other")), "any may come back at this moment");
        thread::scope(|scope| {
            let other = scope.spawn(|| astray.take_due(long).map(|(due, _)| due.len()));
            for waiting in due {
                astray.add(waiting).unwrap();
            }
            drop(attempt);
            assert_eq!(other.join().unwrap(), Some(1), "it came to nothing, and is tried by the next one");
        });
        assert_eq!(astray.take_all().len(), 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let astray = Astray::default();
        (0..MOST).for_each(|_| astray.add(stray("name", Instant::now())).unwrap());
        assert!(astray.add(stray("name", Instant::now())).is_err());
    }
}
