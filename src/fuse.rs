//! Translation between the kernel's requests and [`vfs`](crate::vfs), nothing else.
//!
//! ```text
//! kernel -> event loop: from memory? --yes-> reply
//!                         no
//!                         `-> worker: ask the server, until the deadline -> reply
//! ```
//! So event loops never wait, and what is cached is answered while a thousand reads hang. Reads have
//! workers of their own, and uploads too: stalled transfers do not stop names and attributes.

mod backing;
mod convert;
pub mod notify;
pub mod prune;
mod reply;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use fuser::{Errno, FileHandle, INodeNo, ReplyEmpty};

use crate::deadline::Deadline;
use crate::read::Patience;
use crate::vfs::{Error, FileSystem};
use crate::workers::Workers;

use backing::Backings;
use reply::{FailureLog, Refuse};

/// Threads that may wait for file data, for uploads and changes that take as long, and for other metadata.
/// Each waiting request of the kernel needs one; a mount has far fewer connections than this.
const DATA_THREADS: usize = 64;
const CHANGE_THREADS: usize = 64;
const METADATA_THREADS: usize = 32;

/// Requests that may wait for a thread. Beyond it they fail with EIO at once.
const WAITING: usize = 4096;

/// What fuser drives.
#[derive(Debug)]
pub struct Adapter {
    fs: Arc<FileSystem>,
    operation_timeout: Duration,
    /// Whether extended attributes are answered at all.
    xattr: bool,
    /// Whether the kernel may read files on the local disk by itself.
    passthrough: bool,
    backings: Arc<Backings>,
    data: Workers,
    changes: Workers,
    metadata: Workers,
    failures: Arc<FailureLog>,
    /// Tells the end of the session by being dropped.
    _alive: Sender<()>,
}

/// A request, for the log.
#[derive(Clone, Copy, Debug)]
struct Request {
    operation: &'static str,
    ino: u64,
}

impl Adapter {
    /// An adapter of `fs`. Each operation is answered within `operation_timeout`, counted from the
    /// request's arrival. Without `xattr` there are no extended attributes; with `passthrough` the kernel reads whole files
    /// on the local disk by itself, if it can. `alive` is dropped at the end of the session.
    pub fn new(
        fs: Arc<FileSystem>,
        operation_timeout: Duration,
        (xattr, passthrough): (bool, bool),
        alive: Sender<()>,
    ) -> Adapter {
        let data = Workers::new("data", DATA_THREADS, WAITING);
        let changes = Workers::new("change", CHANGE_THREADS, WAITING);
        let metadata = Workers::new("meta", METADATA_THREADS, WAITING);
        Adapter {
            fs,
            operation_timeout,
            xattr,
            passthrough,
            backings: Arc::default(),
            data,
            changes,
            metadata,
            failures: Arc::default(),
            _alive: alive,
        }
    }

    /// Answers one request: runs `run` with what memory holds, and if that is not enough once more on
    /// `workers` with patience until the deadline. `send` sends a success.
    fn answer<R: Refuse, T>(
        &self,
        workers: &Workers,
        (operation, ino): (&'static str, u64),
        reply: R,
        run: impl Fn(&FileSystem, Patience) -> Result<T, Error> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        match run(&self.fs, Patience::CachedOnly) {
            Ok(value) => send(reply, value),
            Err(Error::WouldBlock) => self.answer_later(workers, (operation, ino), reply, run, send),
            Err(error) => refuse(&self.fs, &self.failures, Request { operation, ino }, reply, &error),
        }
    }

    /// As [`Adapter::answer`], for what memory could not answer.
    fn answer_later<R: Refuse, T>(
        &self,
        workers: &Workers,
        (operation, ino): (&'static str, u64),
        reply: R,
        run: impl Fn(&FileSystem, Patience) -> Result<T, Error> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        let deadline = Deadline::after(self.operation_timeout);
        let request = Request { operation, ino };
        let (fs, failures) = (self.fs.clone(), self.failures.clone());
        let submitted = workers.submit(move || {
            let result = match deadline.passed() {
                true => Err(Error::TimedOut),
                false => run(&fs, Patience::Until(deadline)),
            };
            match result {
                Ok(value) => send(reply, value),
                Err(error) => refuse(&fs, &failures, request, reply, &error),
            }
        });
        if let Err(rejected) = submitted {
            // The reply went with the job; fuser answers EIO for it.
            log::warn!("{operation}: {rejected}");
        }
    }

    /// Answers a request that can need nothing but memory.
    fn answer_now<R: Refuse, T>(
        &self,
        (operation, ino): (&'static str, u64),
        reply: R,
        result: Result<T, Error>,
        send: impl FnOnce(R, T),
    ) {
        match result {
            Ok(value) => send(reply, value),
            Err(error) => refuse(&self.fs, &self.failures, Request { operation, ino }, reply, &error),
        }
    }

    fn flush_handle(&self, operation: &'static str, ino: INodeNo, handle: FileHandle, reply: ReplyEmpty) {
        let run = move |fs: &FileSystem, patience| fs.flush(handle.0, patience);
        self.answer(&self.changes, (operation, ino.0), reply, run, |reply, ()| reply.ok());
    }
}

fn refuse<R: Refuse>(fs: &FileSystem, failures: &FailureLog, request: Request, reply: R, error: &Error) {
    // The answer first: whoever asked should not wait for the log.
    reply.refuse(Errno::from_i32(error.errno()));
    failures.note(request.operation, fs.path(request.ino), error);
}
