//! The program on a real mount of the misbehaving server, and a writer that looks at every result.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::secured_front;
use crate::common::bounded::{eventually, within};
use crate::common::mount::Mount;
use crate::common::tls_version;
use crate::common_ftpd::{Quirks, Server, Tree, Writing};

/// The bound of one operation on a file, told to the mount.
pub(crate) const OPERATION: Duration = Duration::from_secs(4);

/// No call takes longer: its bound, and what a busy machine adds.
pub(crate) const CALL: Duration = Duration::from_secs(20);

/// No upload takes longer that breaks again and again: the bound counts from the last byte that arrived.
const UPLOAD: Duration = Duration::from_secs(60);

/// Until a server that is whole again is believed to be.
pub(crate) const HEALING: Duration = Duration::from_secs(40);

/// Bounds short enough for tests. Nothing is believed longer than it must be.
const OPTIONS: [&str; 7] = [
    "connect_timeout=1",
    "login_timeout=2",
    "reply_timeout=1",
    "stall_timeout=1",
    "operation_timeout=4",
    "attr_timeout=1",
    "cache_timeout=5",
];

/// Threads of one table; nearly all of their time is waiting.
const TOGETHER: usize = 8;

/// A mount of a server in this process. The mount goes first.
pub(crate) struct Mounted {
    pub(crate) mount: Mount,
    pub(crate) server: Server,
}

impl Mounted {
    /// Mounts a server that is good until the test says otherwise.
    pub(crate) fn good(tree: Tree) -> Mounted {
        Mounted::start(tree, Quirks::default(), &[])
    }

    pub(crate) fn start(tree: Tree, quirks: Quirks, more: &[&str]) -> Mounted {
        let server = Server::start(tree, quirks);
        let url = match tls_version() {
            None => format!("ftp://u:secret@{}/", server.address()),
            Some(_) => format!("ftpes://u:secret@{}/", secured_front(server.address())),
        };
        Mounted::at(&url, server, more)
    }

    /// A good server, in clear text whatever `FTPFS_TEST_TLS` says: for what is not done over TLS.
    pub(crate) fn plain(tree: Tree) -> Mounted {
        let server = Server::start(tree, Quirks::default());
        Mounted::at(&format!("ftp://u:secret@{}/", server.address()), server, &[])
    }

    fn at(url: &str, server: Server, more: &[&str]) -> Mounted {
        let mount = Mount::start(url, &[&OPTIONS[..], more].concat());
        Mounted { mount, server }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    /// Runs something on the mount, in the bound of [`CALL`].
    pub(crate) fn call<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> T {
        let dir = self.mount.path().to_owned();
        within(CALL, what, move || work(&dir))
    }

    /// Runs an upload; one that does not end is a timeout, for a table to tell of.
    pub(crate) fn timed(
        &self,
        work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> (io::Result<()>, Duration) {
        let dir = self.mount.path().to_owned();
        let (sender, receiver) = channel();
        let begun = Instant::now();
        thread::spawn(move || sender.send(work(&dir)));
        let result = receiver.recv_timeout(UPLOAD);
        let endless = Err(io::Error::new(io::ErrorKind::TimedOut, "no end"));
        (result.unwrap_or(endless), begun.elapsed())
    }

    /// What the server has under a name of the login directory.
    pub(crate) fn landed(&self, name: &str) -> Option<Vec<u8>> {
        self.server.tree().bytes(&format!("/home/u/{name}"))
    }

    /// A good server from now on.
    pub(crate) fn heal(&self) {
        self.server.quirks().writing = Writing::default();
    }

    pub(crate) fn break_by(&self, writing: Writing) {
        self.server.quirks().writing = writing;
    }

    /// Reads a whole file through the mount.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let name = name.to_owned();
        self.call("a read", move |dir| fs::read(dir.join(name)))
    }

    /// The same after the server was bad: it may take the mount a moment to find that it is good again.
    pub(crate) fn read_later(&self, name: &str) -> Vec<u8> {
        eventually(HEALING, "a read", || self.read(name).ok())
    }

    /// That what could not be sent before is sent by an fsync on a new handle, now that the server is good.
    pub(crate) fn synced_later(&self, name: &str) {
        eventually(HEALING, "an fsync on a new handle", || {
            let name = name.to_owned();
            self.call("open, fsync, close", move |dir| sync(&dir.join(name))).ok()
        });
    }
}

/// Opens a file, syncs and closes it.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let synced = file.sync_all();
    close(file).and(synced)
}

/// Closes a file and tells what close(2) said, which dropping it does not.
pub(crate) fn close(file: File) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

/// Writes a new or replaced file as cp(1) does. The first error counts; the file is always closed.
pub(crate) fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (written, closed) = fill(create(path)?, bytes);
    written.and(closed)
}

/// Appends as a shell's `>>` does.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (written, closed) = fill(open_end(path)?, bytes);
    written.and(closed)
}

pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

pub(crate) fn open_end(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

/// Writes and closes, and tells what became of each.
pub(crate) fn fill(mut file: File, bytes: &[u8]) -> (io::Result<()>, io::Result<()>) {
    let written = bytes.chunks(100_000).try_for_each(|piece| file.write_all(piece));
    (written, close(file))
}

/// The error number, 0 for success.
pub(crate) fn errno<T>(result: &io::Result<T>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

/// Its name, for tables.
pub(crate) fn errno_name<T>(result: &io::Result<T>) -> String {
    match errno(result) {
        0 => "0".to_owned(),
        -1 => "no end".to_owned(),
        number => nix::errno::Errno::from_raw(number).to_string().split(':').next().unwrap_or("?").to_owned(),
    }
}

/// How what landed relates to what should have.
pub(crate) fn state(landed: Option<&[u8]>, expected: &[u8]) -> String {
    match landed {
        None => "absent".to_owned(),
        Some(bytes) if bytes == expected => "complete".to_owned(),
        Some(bytes) if expected.starts_with(bytes) => format!("first {} of {}", bytes.len(), expected.len()),
        Some(bytes) => format!("other {} bytes", bytes.len()),
    }
}

/// Runs `row` for each point, several at a time, and returns what they gave in the order of the points.
pub(crate) fn table<P: Sync, R: Send>(points: &[P], row: impl Fn(&P) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut rows: Vec<(usize, R)> = thread::scope(|scope| {
        let work = || {
            let mut rows = Vec::new();
            while let number = next.fetch_add(1, Ordering::SeqCst)
                && let Some(point) = points.get(number)
            {
                rows.push((number, row(point)));
            }
            rows
        };
        let threads: Vec<_> = (0..TOGETHER).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    rows.sort_by_key(|&(number, _)| number);
    rows.into_iter().map(|(_, row)| row).collect()
}
