//! TLS in front of the server: takes secured connections and speaks clear text to the server behind it, so that
//! everything which that one does wrong can be done over TLS, too. Not by PASV, and IPv4 only.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::common::pki::Identity;

/// How long the rest of a record is waited for before the other side gets its turn.
const TURN: Duration = Duration::from_millis(2);
/// How long a data connection is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How it behaves; changes take effect with the next connection.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub(crate) identity: Identity,
    /// TLS begins with the first byte.
    pub(crate) implicit: bool,
    /// AUTH TLS is taken.
    pub(crate) offered: bool,
    /// The client must have a certificate of this authority, in PEM.
    pub(crate) clients_of: Option<String>,
    /// A data connection that begins a session of its own is refused with 522.
    pub(crate) demands_resumption: bool,
    /// The next data connections are cut, and the server behind says that all is well.
    pub(crate) cut: Option<Cut>,
    /// Plaintext in one TLS record at most, in bytes.
    pub(crate) fragment: Option<usize>,
    /// Data connections are ended without close_notify.
    pub(crate) ends_silently: bool,
    /// Data of the client that ends without close_notify has ended for the server behind, too.
    pub(crate) believes_any_end: bool,
    /// Sent in clear text right behind the answer to AUTH.
    pub(crate) injected: Option<&'static str>,
    /// 1xx is held back until the data connection has shaken hands.
    pub(crate) handshakes_first: bool,
    /// Versions of TLS, all by default.
    pub(crate) versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl Manners {
    pub(crate) fn new(identity: Identity) -> Manners {
        Manners {
            identity,
            implicit: false,
            offered: true,
            clients_of: None,
            demands_resumption: false,
            cut: None,
            fragment: None,
            ends_silently: false,
            believes_any_end: false,
            injected: None,
            handshakes_first: false,
            versions: rustls::ALL_VERSIONS.to_vec(),
        }
    }
}

/// Where data connections are cut: after so many bytes, TLS records and all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) after: usize,
    /// Of the bytes to the client, else of those from it.
    pub(crate) to_client: bool,
    /// So many connections.
    pub(crate) times: usize,
}

/// A listener in front of a server. Its threads end with the connections.
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behind: SocketAddr,
    manners: Mutex<Manners>,
    resumed: AtomicUsize,
    new: AtomicUsize,
    refused: AtomicUsize,
    /// Bytes of the last data connection that was served to its end, to the client and from it.
    last: Mutex<(usize, usize)>,
    /// Commands that came in clear text.
    clear: Mutex<Vec<String>>,
}

impl Front {
    pub(crate) fn start(behind: SocketAddr, manners: Manners) -> Front {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behind,
            manners: Mutex::new(manners),
            resumed: AtomicUsize::new(0),
            new: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            last: Mutex::default(),
            clear: Mutex::default(),
        });
        let for_connections = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = for_connections.clone();
                std::thread::spawn(move || drop(Control::serve(&shared, stream)));
            }
        });
        Front { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.manners.lock());
    }

    /// Data connections that resumed a session, that began one, and that were refused for that.
    pub(crate) fn data_connections(&self) -> (usize, usize, usize) {
        let of = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (of(&self.shared.resumed), of(&self.shared.new), of(&self.shared.refused))
    }

    /// How many bytes, TLS records and all, the last data connection had that was served to its end: to the client,
    /// and from it.
    pub(crate) fn last_data(&self) -> (usize, usize) {
        *self.shared.last.lock()
    }

    /// What came in clear text.
    pub(crate) fn clear(&self) -> Vec<String> {
        self.shared.clear.lock().clone()
    }
}

impl Shared {
    /// Where the data connection that begins is cut.
    fn next_cut(&self) -> Option<Cut> {
        let mut manners = self.manners.lock();
        let cut = manners.cut.as_mut().filter(|cut| cut.times > 0)?;
        cut.times -= 1;
        Some(*cut)
    }
}

fn config(manners: &Manners) -> Arc<ServerConfig> {
    // For the verifier of clients; whoever comes second finds it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(manners.identity.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(manners.identity.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&manners.versions);
    let config = config.unwrap();
    let config = match &manners.clients_of {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
            config.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
    };
    let mut config = config.with_single_cert(chain, key).unwrap();
    // What rustls counts is with the record's own bytes.
    config.max_fragment_size = manners.fragment;
    Arc::new(config)
}

/// A connection of either kind, from the client.
enum Wire {
    Clear(TcpStream),
    Secured(Box<StreamOwned<ServerConnection, Limited>>),
}

impl Wire {
    fn secure(socket: TcpStream, config: Arc<ServerConfig>, cut: Option<Cut>) -> io::Result<Wire> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(
            ServerConnection::new(config).map_err(io::Error::other)?,
            Limited { socket, cut, sent: 0, received: 0 },
        );
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.sock.socket.set_read_timeout(Some(TURN))?;
        Ok(Wire::Secured(Box::new(stream)))
    }

    fn has_resumed(&self) -> bool {
        match self {
            Wire::Clear(_) => false,
            Wire::Secured(stream) => stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Clear(socket) => socket,
            Wire::Secured(stream) => &stream.sock.socket,
        }
    }

    /// Whether it has bytes that do not show on its socket.
    fn holds_bytes(&mut self) -> bool {
        match self {
            Wire::Clear(_) => false,
            Wire::Secured(stream) => {
                stream.conn.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.read(buffer),
            Wire::Secured(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Clear(socket) => socket.write_all(bytes),
            Wire::Secured(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Says goodbye, unless it ends `silently`, and closes.
    fn end(&mut self, silently: bool) {
        if let Wire::Secured(stream) = self {
            if !silently {
                stream.conn.send_close_notify();
            }
            let _ = stream.flush();
            let _ = stream.sock.socket.shutdown(Shutdown::Write);
        }
    }

    /// Bytes to the client, and from it.
    fn counts(&self) -> (usize, usize) {
        match self {
            Wire::Clear(_) => (0, 0),
            Wire::Secured(stream) => (stream.sock.sent, stream.sock.received),
        }
    }
}

/// Waits until one of two has something to read, or has ended; tells which.
fn wait(client: Option<&mut Wire>, server: &TcpStream) -> io::Result<(bool, bool)> {
    let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
    let of = |socket| PollFd::new(socket, PollFlags::POLLIN);
    let Some(client) = client else {
        poll(&mut [of(server.as_fd())], PollTimeout::NONE)?;
        return Ok((false, true));
    };
    if client.holds_bytes() {
        return Ok((true, false));
    }
    let mut both = [of(client.socket().as_fd()), of(server.as_fd())];
    poll(&mut both, PollTimeout::NONE)?;
    Ok((ready(&both[0]), ready(&both[1])))
}

/// A socket that may break at some place.
struct Limited {
    socket: TcpStream,
    cut: Option<Cut>,
    sent: usize,
    received: usize,
}

impl Limited {
    /// How many more bytes go the one way or the other.
    fn left(&self, to_client: bool) -> usize {
        let gone = if to_client { self.sent } else { self.received };
        let cut = self.cut.filter(|cut| cut.to_client == to_client);
        cut.map_or(usize::MAX, |cut| cut.after - gone)
    }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left(false));
        let received = self.socket.read(&mut buffer[..most])?;
        self.received += received;
        if self.left(false) == 0 {
            // Both sides see an end.
            self.socket.shutdown(Shutdown::Both)?;
        }
        Ok(received)
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.socket.write(&bytes[..bytes.len().min(self.left(true))])?;
        self.sent += sent;
        if self.left(true) == 0 {
            self.socket.shutdown(Shutdown::Write)?;
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Who makes a data connection.
#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Server,
}

/// One control connection.
struct Control<'a> {
    shared: &'a Arc<Shared>,
    /// All of its data connections may resume its session.
    config: Arc<ServerConfig>,
    manners: Manners,
    client: Wire,
    server: TcpStream,
    private: bool,
    /// The data connection that is being made.
    data: Option<std::thread::JoinHandle<bool>>,
    /// What has no answer yet, oldest first: `None` for what the server behind answers, the greeting too.
    unanswered: VecDeque<Option<&'static str>>,
}

impl Control<'_> {
    fn serve(shared: &Arc<Shared>, stream: TcpStream) -> io::Result<()> {
        let manners = shared.manners.lock().clone();
        let config = config(&manners);
        stream.set_read_timeout(Some(TURN))?;
        let server = TcpStream::connect(shared.behind)?;
        let client = match manners.implicit {
            true => Wire::secure(stream, config.clone(), None)?,
            false => Wire::Clear(stream),
        };
        let mut control = Control {
            shared,
            config,
            manners,
            client,
            server,
            private: false,
            data: None,
            unanswered: VecDeque::from([None]),
        };
        control.relay()
    }

    fn relay(&mut self) -> io::Result<()> {
        let (mut commands, mut replies) = (Vec::new(), Vec::new());
        let mut buffer = [0; 4096];
        loop {
            let (by_client, by_server) = wait(Some(&mut self.client), &self.server)?;
            if by_client {
                match self.client.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(n) => commands.extend_from_slice(&buffer[..n]),
                    Err(error) if is_pause(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            while let Some(line) = take_line(&mut commands) {
                self.command(&line)?;
            }
            if by_server {
                match self.server.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(n) => replies.extend_from_slice(&buffer[..n]),
                    Err(error) => return Err(error),
                }
            }
            while let Some(line) = take_line(&mut replies) {
                self.pass_on(&line)?;
            }
        }
    }

    fn command(&mut self, line: &str) -> io::Result<()> {
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let is_clear = matches!(self.client, Wire::Clear(_));
        if is_clear {
            self.shared.clear.lock().push(line.trim_end().to_owned());
        }
        match words[..] {
            ["AUTH", "TLS"] if is_clear && self.manners.offered => {
                let injected = self.manners.injected.unwrap_or_default();
                self.client.write_all(format!("234 go ahead\r\n{injected}").as_bytes())?;
                let Wire::Clear(socket) = &self.client else { return Err(ErrorKind::Other.into()) };
                self.client = Wire::secure(socket.try_clone()?, self.config.clone(), None)?;
                Ok(())
            }
            ["PBSZ", _] => self.answer("200 PBSZ=0\r\n"),
            ["PROT", level] => {
                self.private = level == "P";
                self.answer("200 level set\r\n")
            }
            ["EPRT", address] => {
                let port = address.split('|').nth(3).and_then(|port| port.parse().ok()).unwrap_or(0);
                let ours = self.expect_data(port, Side::Server)?;
                self.pass_to_server(&format!("EPRT |1|127.0.0.1|{ours}|\r\n"))
            }
            ["PORT", address] => {
                let bytes: Vec<u16> = address.split(',').filter_map(|byte| byte.parse().ok()).collect();
                let port = if let [.., high, low] = bytes[..] { high << 8 | low } else { 0 };
                let ours = self.expect_data(port, Side::Server)?;
                self.pass_to_server(&format!("PORT 127,0,0,1,{},{}\r\n", ours >> 8, ours & 255))
            }
            _ => self.pass_to_server(line),
        }
    }

    fn pass_to_server(&mut self, line: &str) -> io::Result<()> {
        self.unanswered.push_back(None);
        self.server.write_all(line.as_bytes())
    }

    /// Waits for a data connection of one side, to carry it on to `port` of the other one; returns where.
    fn expect_data(&mut self, port: u16, comes_from: Side) -> io::Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let ours = listener.local_addr()?.port();
        let shared = self.shared.clone();
        let (config, private) = (self.config.clone(), self.private);
        let manners = self.shared.manners.lock().clone();
        self.data = Some(std::thread::spawn(move || {
            relay_data(&shared, &manners, &listener, (comes_from, port), private.then_some(config))
                .unwrap_or(true)
        }));
        Ok(ours)
    }

    /// Answers a command behind the answers to those before it.
    fn answer(&mut self, reply: &'static str) -> io::Result<()> {
        self.unanswered.push_back(Some(reply));
        self.answer_own()
    }

    fn answer_own(&mut self) -> io::Result<()> {
        while let Some(Some(reply)) = self.unanswered.front() {
            self.client.write_all(reply.as_bytes())?;
            self.unanswered.pop_front();
        }
        Ok(())
    }

    /// Passes on a line of the server behind, and what was only waiting for it.
    fn pass_on(&mut self, line: &str) -> io::Result<()> {
        self.reply(line)?;
        let is_last = !line.starts_with('1') && line.as_bytes().get(3) == Some(&b' ');
        if is_last && line.as_bytes()[..3].iter().all(u8::is_ascii_digit) {
            self.unanswered.pop_front();
            self.answer_own()?;
        }
        Ok(())
    }

    fn reply(&mut self, line: &str) -> io::Result<()> {
        if line.starts_with("229 ") {
            let port = line.split('|').nth(3).and_then(|port| port.parse().ok()).unwrap_or(0);
            let ours = self.expect_data(port, Side::Client)?;
            return self.client.write_all(format!("229 Extended passive (|||{ours}|)\r\n").as_bytes());
        }
        // What the data connection came to is known before the final reply is passed on.
        if line.starts_with("1") && self.manners.handshakes_first {
            std::thread::sleep(Duration::from_millis(3000));
        }
        if (line.starts_with("226") || line.starts_with("426"))
            && self.data.take().is_some_and(|data| !data.join().unwrap_or(true))
        {
            return self.client.write_all(b"522 the data connection must resume the session\r\n");
        }
        self.client.write_all(line.as_bytes())
    }
}

/// One data connection; `false` where it is refused for want of a session.
fn relay_data(
    shared: &Shared,
    manners: &Manners,
    listener: &TcpListener,
    (comes_from, port): (Side, u16),
    config: Option<Arc<ServerConfig>>,
) -> io::Result<bool> {
    socket2::SockRef::from(listener).set_read_timeout(Some(PATIENCE))?;
    let (came, _) = listener.accept()?;
    let made = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let (client, server) = match comes_from {
        Side::Client => (came, made),
        Side::Server => (made, came),
    };
    let relayed = relay_bytes(shared, manners, client, &server, config);
    if relayed.is_err() && !manners.believes_any_end {
        // What ended without a word is broken to the server behind, too.
        socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO))?;
    }
    relayed
}

fn relay_bytes(
    shared: &Shared,
    manners: &Manners,
    client: TcpStream,
    mut server: &TcpStream,
    config: Option<Arc<ServerConfig>>,
) -> io::Result<bool> {
    let mut client = match config {
        Some(config) => Wire::secure(client, config, shared.next_cut())?,
        None => Wire::Clear(client),
    };
    if let Wire::Secured(_) = client {
        let resumed = client.has_resumed();
        if !resumed && manners.demands_resumption {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            return Ok(false);
        }
        let counter = if resumed { &shared.resumed } else { &shared.new };
        counter.fetch_add(1, Ordering::SeqCst);
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut from_client = true;
    loop {
        let (by_client, by_server) = wait(from_client.then_some(&mut client), server)?;
        if by_server {
            match server.read(&mut buffer)? {
                0 => {
                    client.end(manners.ends_silently);
                    *shared.last.lock() = client.counts();
                    return Ok(true);
                }
                n => client.write_all(&buffer[..n])?,
            }
        }
        if !by_client {
            continue;
        }
        match client.read(&mut buffer) {
            Ok(0) => {
                server.shutdown(Shutdown::Write)?;
                from_client = false;
            }
            Ok(n) => server.write_all(&buffer[..n])?,
            Err(error) if is_pause(&error) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && manners.believes_any_end => {
                server.shutdown(Shutdown::Write)?;
                from_client = false;
            }
            Err(error) => return Err(error),
        }
    }
}

fn take_line(bytes: &mut Vec<u8>) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let line: Vec<u8> = bytes.drain(..end).collect();
    Some(String::from_utf8_lossy(&line).into_owned())
}
