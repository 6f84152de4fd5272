//! Groups of threads for work that may wait: named, bounded, grown on demand, ended when idle.
//!
//! A job is a closure; what it answers, and by when, is the business of who submits it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::deadline::Deadline;

/// A thread without work for this long ends.
const IDLE: Duration = Duration::from_secs(30);

/// How long dropping a group waits for its running jobs. Jobs have deadlines of their own, so a longer wait
/// would only delay the end of the process.
const JOIN: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// The job was not taken and has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// As many jobs wait as the queue may hold.
    #[error("too many requests are waiting")]
    Full,
    /// No thread runs and none can be started.
    #[error("no thread can be started")]
    NoThread,
}

/// A group of threads. Dropping it abandons the jobs that wait, and waits (5 s at most) for those that run.
#[derive(Debug)]
pub struct Workers {
    group: Arc<Group>,
}

impl Workers {
    /// A group named `name` (its threads are `name-1`, `name-2`, ...) of at most `threads` threads, with at
    /// most `waiting` jobs in its queue. No thread is started before the first job.
    pub fn new(name: &str, threads: usize, waiting: usize) -> Workers {
        let name = name.to_owned();
        let (state, work, ended) = Default::default();
        Workers { group: Arc::new(Group { name, threads: threads.max(1), waiting, state, work, ended }) }
    }

    /// Runs `job` on a thread of the group as soon as one is free. Never waits. A job that panics is logged
    /// and takes nothing else down.
    ///
    /// # Errors
    /// [`Rejected`]; the job is dropped unrun.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Rejected> {
        let mut state = self.group.state.lock();
        if state.queue.len() >= self.group.waiting {
            return Err(Rejected::Full);
        }
        if state.idle <= state.queue.len() && state.running < self.group.threads {
            match self.group.start(state.started + 1) {
                Ok(()) => {
                    state.started += 1;
                    state.running += 1;
                }
                Err(error) => {
                    log::warn!("cannot start a thread of {}: {error}", self.group.name);
                    if state.running == 0 {
                        return Err(Rejected::NoThread);
                    }
                }
            }
        }
        state.queue.push_back(Box::new(job));
        drop(state);
        self.group.work.notify_one();
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let deadline = Deadline::after(JOIN);
        let mut state = self.group.state.lock();
        state.closed = true;
        let abandoned = std::mem::take(&mut state.queue);
        self.group.work.notify_all();
        // A job may hold the last reference to its group; it does not wait for its own thread.
        let prefix = format!("{}-", self.group.name);
        let own = usize::from(thread::current().name().is_some_and(|name| name.starts_with(&prefix)));
        while state.running > own {
            if self.group.ended.wait_until(&mut state, deadline.instant()).timed_out() {
                log::warn!("{} threads of {} are still at work", state.running, self.group.name);
                break;
            }
        }
        // A job's destructor is not ours; it must not run under the lock.
        drop(state);
        drop(abandoned);
    }
}

#[derive(Debug)]
struct Group {
    name: String,
    threads: usize,
    waiting: usize,
    state: Mutex<State>,
    /// A job came, or the group is closed.
    work: Condvar,
    /// A thread ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    started: usize,
    running: usize,
    /// Threads that wait for a job, a subset of `running`.
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { queue, running, idle, closed, .. } = self;
        write!(f, "{} waiting, {running} running, {idle} idle, closed: {closed}", queue.len())
    }
}

impl Group {
    fn start(self: &Arc<Self>, number: usize) -> std::io::Result<()> {
        let group = self.clone();
        thread::Builder::new().name(format!("{}-{number}", self.name)).spawn(move || {
            while let Some(job) = group.next() {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    log::error!("a job of {} panicked", group.name);
                }
            }
        })?;
        Ok(())
    }

    /// The next job; `None` when this thread must end, which is then already counted.
    fn next(&self) -> Option<Job> {
        let deadline = Deadline::after(IDLE);
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            let timed_out = !state.closed && self.work.wait_until(&mut state, deadline.instant()).timed_out();
            state.idle -= 1;
            if state.closed || (timed_out && state.queue.is_empty()) {
                state.running -= 1;
                self.ended.notify_all();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Instant;

    use crossbeam_channel::{RecvTimeoutError, bounded};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn jobs_run_at_the_same_time_up_to_the_bound() {
        let workers = Workers::new("test", 3, 10);
        let meeting = Arc::new(Barrier::new(3));
        let (sender, done) = bounded(3);
        for _ in 0..3 {
            let (meeting, sender) = (meeting.clone(), sender.clone());
            workers
                .submit(move || {
                    meeting.wait();
                    sender.send(thread::current().name().map(str::to_owned)).unwrap();
                })
                .unwrap();
        }
        let mut names: Vec<_> = (0..3).map(|_| done.recv_timeout(SOON).unwrap().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["test-1", "test-2", "test-3"]);
    }

    #[test]
    fn a_job_that_drops_its_own_group_does_not_wait_for_itself() {
        let workers = Arc::new(Mutex::new(Some(Workers::new("test", 1, 1))));
        let (sender, done) = bounded(1);
        let inside = workers.clone();
        let group = workers.lock();
        let job = move || {
            let dropped = inside.lock().take();
            let begun = Instant::now();
            drop(dropped);
            sender.send(begun.elapsed()).unwrap();
        };
        group.as_ref().unwrap().submit(job).unwrap();
        drop(group);
        assert!(done.recv_timeout(SOON).unwrap() < JOIN);
    }

    #[test]
    fn a_full_queue_rejects_and_drops_the_job() {
        let workers = Workers::new("test", 1, 1);
        let (started, at_work) = bounded(1);
        let (release, held) = bounded::<()>(1);
        workers
            .submit(move || {
                started.send(()).unwrap();
                let _ = held.recv_timeout(SOON);
            })
            .unwrap();
        at_work.recv_timeout(SOON).unwrap();
        workers.submit(|| {}).unwrap();
        let (witness, dropped) = bounded::<()>(1);
        assert_eq!(workers.submit(move || drop(witness)), Err(Rejected::Full));
        assert_eq!(dropped.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
        release.send(()).unwrap();
    }

    #[test]
    fn a_panic_is_not_the_end_of_the_group() {
        let workers = Workers::new("test", 1, 10);
        let (sender, done) = bounded(1);
        workers.submit(|| panic!("on purpose")).unwrap();
        workers.submit(move || sender.send(()).unwrap()).unwrap();
        done.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn dropping_waits_for_running_jobs() {
        let workers = Workers::new("test", 2, 10);
        let (started, at_work) = bounded(1);
        let (release, held) = bounded::<()>(1);
        let (sender, done) = bounded(1);
        workers
            .submit(move || {
                started.send(()).unwrap();
                held.recv_timeout(SOON).unwrap();
                sender.send(()).unwrap();
            })
            .unwrap();
        at_work.recv_timeout(SOON).unwrap();
        release.send(()).unwrap();
        drop(workers);
        done.try_recv().unwrap();
    }
}
