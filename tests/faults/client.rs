//! The library as the tests use it, with short bounds and a watchdog.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ftpfs::cache::{BlockCache, DirectoryCache, FileVersion, Prefetch, Versions};
use ftpfs::deadline::Deadline;
use ftpfs::ftp::config::{Login, SessionConfig, Timeouts, TlsMode};
use ftpfs::read::{Config, Patience, ReadError, Reader, Readers};
use ftpfs::remote::{Error, Kind, Listing, Remote, RemotePath};
use ftpfs::secret::Secret;

use crate::common::pki::{self, Flaw};
use crate::common::{prefetch, tls_version};
use crate::common_ftpd::{Front, Manners, Server};
use crate::secured;

/// The bound of every operation in these tests.
pub(crate) const OPERATION: Duration = Duration::from_secs(8);

/// What may be added to [`OPERATION`] by a busy machine and by winding up.
pub(crate) const LATE: Duration = Duration::from_secs(4);

/// Nothing in these tests takes longer, unless it hangs.
const WATCHDOG: Duration = Duration::from_secs(60);

const CACHE: usize = 16 * 1024 * 1024;

/// Runs `body` in a thread of its own and fails when it does not end.
pub(crate) fn watched<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    let thread = thread::spawn(move || {
        let _ = sender.send(body());
    });
    match receiver.recv_timeout(WATCHDOG) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("it ended without a result"),
        },
    }
}

/// Waits for something that must become true.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "{what} never came true");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How a client differs from the usual one.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) connections: usize,
    pub(crate) cache: usize,
    pub(crate) account: Option<&'static str>,
    pub(crate) operation: Duration,
    pub(crate) timeouts: Timeouts,
    pub(crate) data: ftpfs::ftp::config::DataConfig,
    pub(crate) tls: Option<ftpfs::ftp::config::TlsConfig>,
    pub(crate) list_zone: Option<ftpfs::ftp::time::ListZone>,
    pub(crate) prefetch: Prefetch,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connections: 4,
            cache: CACHE,
            account: None,
            operation: OPERATION,
            timeouts: Timeouts {
                connect: Duration::from_secs(1),
                login: Duration::from_secs(2),
                reply: Duration::from_secs(1),
                stall: Duration::from_secs(1),
            },
            data: Default::default(),
            tls: None,
            list_zone: None,
            prefetch: prefetch().unwrap_or_default(),
        }
    }
}

/// How a session of such a client begins.
pub(crate) fn session_config(address: SocketAddr, options: &Options) -> SessionConfig {
    SessionConfig {
        host: address.ip().to_string(),
        port: address.port(),
        proxy: None,
        family: Default::default(),
        bind: None,
        login: Login {
            user: b"u".to_vec(),
            password: Secret::new("secret"),
            account: options.account.map(Secret::new),
        },
        data: options.data.clone(),
        tls: options.tls.clone(),
        utf8: true,
        list_zone: options.list_zone.clone(),
        timeouts: options.timeouts,
    }
}

/// TLS in front of a server, for as long as the tests run, where `FTPFS_TEST_TLS` asks for it. It insists on resumption.
pub(crate) fn secured_front(server: SocketAddr) -> SocketAddr {
    let mut manners = Manners::new(pki::identity(&["127.0.0.1"], Flaw::None));
    manners.demands_resumption = true;
    Front::start(server, manners).address()
}

/// One mount without a mount.
pub(crate) struct Client {
    pub(crate) remote: Arc<Remote>,
    readers: Readers,
    versions: Versions,
    operation: Duration,
}

impl Client {
    pub(crate) fn connect(server: &Server, options: Options) -> Result<Client, Error> {
        match tls_version().filter(|_| options.tls.is_none()) {
            None => Client::connect_to(server.address(), options),
            Some(version) => Client::connect_to(
                secured_front(server.address()),
                Options { tls: secured::tls(TlsMode::Explicit, &secured::only(&version)).tls, ..options },
            ),
        }
    }

    /// As [`Client::connect`], but always in clear text: for what [`secured_front`] does not pass on (PASV, active mode,
    /// IPv6, the moment at which something is said) and for what is not done over TLS.
    pub(crate) fn plain(server: &Server, options: Options) -> Result<Client, Error> {
        Client::connect_to(server.address(), options)
    }

    pub(crate) fn connect_to(address: SocketAddr, options: Options) -> Result<Client, Error> {
        let config = session_config(address, &options);
        let deadline = Deadline::after(options.operation);
        let remote = Arc::new(Remote::connect(config, b"", false, options.connections, deadline)?);
        let blocks = Arc::new(BlockCache::new(options.cache));
        let directories = DirectoryCache::new(remote.clone(), options.operation, options.cache)
            .prefetching(options.prefetch);
        let Options { connections, cache: cache_size, operation: patience, prefetch, .. } = options;
        let config = Config { cache_size, connections, patience, prefetch };
        let readers = Readers::new(remote.clone(), blocks, Arc::new(directories), config);
        Ok(Client { remote, readers, versions: Versions::default(), operation: options.operation })
    }

    /// The usual client of a server that lets it in.
    pub(crate) fn of(server: &Server) -> Client {
        Client::connect(server, Options::default()).unwrap()
    }

    pub(crate) fn path(&self, relative: &str) -> RemotePath {
        self.remote.base().resolve(relative.as_bytes()).unwrap()
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.operation)
    }

    pub(crate) fn list(&self, path: &str) -> Result<Listing, Error> {
        self.remote.list(&self.path(path), None, self.deadline())
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Error> {
        let listing = self.list(path)?;
        let mut names: Vec<String> =
            listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
        names.sort();
        Ok(names)
    }

    pub(crate) fn version(&self, path: &str) -> Result<Arc<FileVersion>, Error> {
        let path = self.path(path);
        let entry = self.remote.stat(&path, self.deadline())?;
        Ok(self.versions.of(&path, &entry).unwrap())
    }

    /// What the listing of the login directory tells of a file there.
    pub(crate) fn listed_version(&self, name: &str) -> Result<Arc<FileVersion>, Error> {
        let entries = self.list("")?.entries;
        let entry = entries.iter().find(|entry| *entry.name == *name.as_bytes()).unwrap();
        Ok(self.versions.of(&self.path(name), entry).unwrap())
    }

    pub(crate) fn open(&self, path: &str) -> Result<Arc<Reader>, Error> {
        Ok(self.open_version(path, self.version(path)?))
    }

    /// Opens without asking the server, as a file system with cached attributes does.
    pub(crate) fn open_version(&self, path: &str, version: Arc<FileVersion>) -> Arc<Reader> {
        self.readers.open(self.path(path), version)
    }

    pub(crate) fn read(&self, reader: &Arc<Reader>, offset: usize, len: usize) -> Result<Vec<u8>, Error> {
        match reader.read(offset as u64, len, Patience::Until(self.deadline())) {
            Ok(bytes) => Ok(bytes),
            Err(ReadError::Remote(error)) => Err(error),
            Err(ReadError::WouldBlock) => panic!("a read that may wait did not"),
        }
    }

    /// A whole file, in pieces of 100,000 bytes.
    pub(crate) fn read_all(&self, path: &str) -> Result<Vec<u8>, Error> {
        let reader = self.open(path)?;
        let mut bytes = Vec::new();
        loop {
            let piece = self.read(&reader, bytes.len(), 100_000)?;
            if piece.is_empty() {
                reader.close();
                return Ok(bytes);
            }
            bytes.extend_from_slice(&piece);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.remote.close();
    }
}

/// Whether an error is one that a broken connection or a bad server may lead to. Never "not found": nothing
/// is known about the path then.
pub(crate) fn is_clean(error: &Error) -> bool {
    matches!(error.kind(), Kind::Failed | Kind::Garbled | Kind::DeadlinePassed | Kind::Unreachable)
}

/// What the sample tree's login directory lists.
pub(crate) const SAMPLE_NAMES: [&str; 4] = ["big", "link", "small", "sub"];
