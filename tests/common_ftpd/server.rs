//! The server as the tests hold it: starts, counts, remembers, stops.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::connection::Connection;
use super::quirks::{Quirks, Refusal};
use super::tree::Tree;

/// How long a port is waited for.
const PORT_IN_USE: Duration = Duration::from_secs(20);

/// A running server; dropping it closes all of its connections.
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

pub(super) struct Shared {
    pub(super) tree: Mutex<Tree>,
    pub(super) quirks: Mutex<Quirks>,
    pub(super) transcript: Mutex<BTreeMap<usize, Vec<String>>>,
    /// Control connections that live, to be cut from outside.
    controls: Mutex<BTreeMap<usize, TcpStream>>,
    /// Places taken: connections that were not turned away.
    pub(super) seated: AtomicUsize,
    pub(super) most_seated: AtomicUsize,
    pub(super) turned_away: AtomicUsize,
    pub(super) cuts: AtomicUsize,
    /// Bytes written to data connections.
    pub(super) sent: AtomicUsize,
    /// Transfers to the client that are running, and the most of them at one time.
    pub(super) sending: AtomicUsize,
    pub(super) most_sending: AtomicUsize,
    accepted: AtomicUsize,
    stopping: AtomicBool,
}

/// When a connection is cut: before or after its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Before,
    After,
}

/// A port that was free may be the other end of somebody's connection for a while: another test's, on this machine.
fn listen(address: SocketAddr) -> TcpListener {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < PORT_IN_USE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            listener => return listener.unwrap(),
        }
    }
}

impl Server {
    /// A server on a free port of 127.0.0.1.
    pub(crate) fn start(tree: Tree, quirks: Quirks) -> Server {
        Server::start_at((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into(), tree, quirks)
    }

    pub(crate) fn start_at(address: SocketAddr, tree: Tree, quirks: Quirks) -> Server {
        let listener = listen(address);
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            tree: Mutex::new(tree),
            quirks: Mutex::new(quirks),
            transcript: Mutex::default(),
            controls: Mutex::default(),
            seated: AtomicUsize::new(0),
            most_seated: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            most_sending: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        let for_acceptor = shared.clone();
        let acceptor = std::thread::spawn(move || for_acceptor.accept(&listener));
        Server { shared, address, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn quirks(&self) -> MutexGuard<'_, Quirks> {
        self.shared.quirks.lock()
    }

    pub(crate) fn tree(&self) -> MutexGuard<'_, Tree> {
        self.shared.tree.lock()
    }

    /// Writes into a file, of which running downloads send the new bytes from here on. No other file is served then.
    pub(crate) fn overwrite(&self, path: &str, bytes: Vec<u8>, time: i64) {
        self.quirks().overwritten = Some(Arc::new(bytes.clone()));
        self.tree().put_at(path, bytes, time);
    }

    /// All commands so far, by connection.
    pub(crate) fn transcript(&self) -> Vec<Vec<String>> {
        self.shared.transcript.lock().values().cloned().collect()
    }

    /// How often a command with this verb came.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.transcript().iter().flatten().filter(|line| line.split(' ').next() == Some(verb)).count()
    }

    /// Connections that live now.
    pub(crate) fn connections(&self) -> usize {
        self.shared.controls.lock().len()
    }

    /// The most connections that had a place at one time.
    pub(crate) fn most_seated(&self) -> usize {
        self.shared.most_seated.load(Ordering::SeqCst)
    }

    /// Connections that found no place.
    pub(crate) fn turned_away(&self) -> usize {
        self.shared.turned_away.load(Ordering::SeqCst)
    }

    /// Control and data connections that were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Bytes of files and listings that were sent.
    pub(crate) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Files and listings that are being sent now.
    pub(crate) fn sending(&self) -> usize {
        self.shared.sending.load(Ordering::SeqCst)
    }

    /// The most files and listings that were being sent at one time, since this was asked last.
    pub(crate) fn most_sending(&self) -> usize {
        self.shared.most_sending.swap(0, Ordering::SeqCst)
    }

    /// Says something that nobody asked for, on all connections.
    pub(crate) fn say(&self, bytes: &[u8]) {
        for stream in self.shared.controls.lock().values_mut() {
            // The client may just have closed this one.
            let _ = stream.write_all(bytes);
        }
    }

    /// Closes everything; a new server can have the port.
    pub(crate) fn stop(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.shared.controls.lock().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept() else { continue };
            if self.is_stopping() {
                return;
            }
            let number = self.accepted.fetch_add(1, Ordering::SeqCst);
            self.transcript.lock().insert(number, Vec::new());
            self.controls.lock().insert(number, stream.try_clone().unwrap());
            let seat = self.seat();
            let shared = self.clone();
            std::thread::spawn(move || {
                let is_seated = seat.is_none();
                let _ = Connection::new(&shared, number, stream, seat).serve();
                if let Some(stream) = shared.controls.lock().remove(&number) {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                if is_seated {
                    shared.seated.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    }

    /// Whether the connection that is about to send a reply is to be cut.
    pub(super) fn next_reply_is_cut(&self) -> Option<Cut> {
        let mut quirks = self.quirks.lock();
        let cut = quirks.writing.reply_cut.as_mut()?;
        if cut.after == 0 {
            return Some(Cut::Before);
        }
        cut.after -= 1;
        if cut.after > 0 {
            return None;
        }
        let now = if cut.lost { Cut::Before } else { Cut::After };
        if !cut.for_ever {
            quirks.writing.reply_cut = None;
        }
        Some(now)
    }

    /// Takes a place; the refusal when there is none.
    fn seat(&self) -> Option<Refusal> {
        let places = self.quirks.lock().places;
        let taken = self.seated.load(Ordering::SeqCst);
        if let Some((limit, refusal)) = places
            && taken >= limit
        {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
            return Some(refusal);
        }
        let seated = self.seated.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_seated.fetch_max(seated, Ordering::SeqCst);
        None
    }
}
