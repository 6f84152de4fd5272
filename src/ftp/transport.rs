//! TCP sockets with the settings and bounds that both kinds of FTP connection need.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::deadline::Deadline;
use crate::ftp::error::Error;

/// Silence after which the kernel probes a connection, so that a NAT box keeps it and a dead peer shows.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// Where the next search for a free port of a range begins.
static NEXT_PORT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Which address family may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both, in the resolver's order.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// Resolves `host` to the addresses of the wanted family.
///
/// # Errors
/// [`Error::Io`] when the resolver fails or knows no address of that family. The system's resolver has
/// bounds of its own (resolv.conf: 5 s, 2 attempts).
fn resolve(host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, Error> {
    let doing = "looking up the host name";
    let found = (host, port).to_socket_addrs().map_err(|e| Error::io(doing, Duration::ZERO, e))?;
    let addresses: Vec<_> = found
        .filter(|address| match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        })
        .collect();
    match addresses.is_empty() {
        true => Err(Error::io(
            doing,
            Duration::ZERO,
            io::Error::new(io::ErrorKind::NotFound, "the host has no address of the wanted family"),
        )),
        false => Ok(addresses),
    }
}

/// Connects to `port` of `host`, from `bind` where given, by the first of its addresses that answers.
///
/// # Errors
/// Those of [`resolve`], and of [`dial`] for the last address.
pub(crate) fn connect(
    doing: &'static str,
    (host, port): (&str, u16),
    family: Family,
    bind: Option<IpAddr>,
    deadline: Deadline,
) -> Result<TcpStream, Error> {
    let addresses = resolve(host, port, family)?;
    let mut last = Error::Misbehaved("no address");
    for (i, &address) in addresses.iter().enumerate() {
        // An address that swallows packets must leave time for the next one.
        let share = deadline.left() / u32::try_from(addresses.len() - i).unwrap_or(1);
        match dial(doing, address, bind, deadline.at_most(share)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to `to`, from `bind` where given.
///
/// # Errors
/// [`Error::Deadline`] or [`Error::Io`].
pub(crate) fn dial(
    doing: &'static str,
    to: SocketAddr,
    bind: Option<IpAddr>,
    deadline: Deadline,
) -> Result<TcpStream, Error> {
    let left = deadline.left();
    if left.is_zero() {
        return Err(Error::Deadline { doing, after: left });
    }
    let fail = |e| Error::io(doing, left, e);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).map_err(fail)?;
    if let Some(ip) = bind.filter(|ip| ip.is_ipv4() == to.is_ipv4()) {
        socket.bind(&SocketAddr::new(ip, 0).into()).map_err(fail)?;
    }
    socket.connect_timeout(&to.into(), left).map_err(fail)?;
    tune(&socket).map_err(fail)?;
    Ok(socket.into())
}

/// Begins to connect to `to`, from `bind` where given, and does not wait for it: [`end_dial`] does. The socket does
/// not block.
///
/// # Errors
/// What socket(2), bind(2) and connect(2) say at once.
pub(crate) fn begin_dial(to: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(ip) = bind.filter(|ip| ip.is_ipv4() == to.is_ipv4()) {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    tune(&socket)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(socket.into()),
    }
}

/// Waits until a connection is there that [`begin_dial`] has begun.
///
/// # Errors
/// As [`dial`].
pub(crate) fn end_dial(stream: TcpStream, deadline: Deadline) -> Result<TcpStream, Error> {
    let doing = "connecting the data connection";
    let left = deadline.left();
    let fail = |e| Error::io(doing, left, e);
    if !crate::sys::is_writable(&stream, left).map_err(fail)? {
        return Err(Error::Deadline { doing, after: left });
    }
    if let Some(error) = stream.take_error().map_err(fail)? {
        return Err(fail(error));
    }
    stream.set_nonblocking(false).map_err(fail)?;
    Ok(stream)
}

/// Listens on `ip`, on a free port of `ports` where given.
///
/// # Errors
/// [`Error::Io`] when no port can be had.
pub(crate) fn listen(ip: IpAddr, ports: Option<&RangeInclusive<u16>>) -> Result<TcpListener, Error> {
    let fail = |e| Error::io("opening a port for active mode", Duration::ZERO, e);
    let bind = |port: u16| -> io::Result<TcpListener> {
        let address = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(port != 0)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(4)?;
        Ok(socket.into())
    };
    let Some(ports) = ports else { return bind(0).map_err(fail) };
    // Starting at another port each time keeps a port in TIME_WAIT from being asked for at once again.
    let count = u32::from(ports.end() - ports.start()) + 1;
    let start = NEXT_PORT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for i in 0..count {
        let step = start.wrapping_add(i) % count;
        let port = u16::try_from(u32::from(*ports.start()) + step).unwrap_or(*ports.end());
        match bind(port) {
            Ok(listener) => return Ok(listener),
            Err(e) => last = e,
        }
    }
    Err(fail(last))
}

/// Waits for the connection of `peer`; anybody else who connects is turned away (RFC 2577 s.3).
///
/// # Errors
/// [`Error::Deadline`] when the peer does not come.
pub(crate) fn accept(listener: &TcpListener, peer: IpAddr, deadline: Deadline) -> Result<TcpStream, Error> {
    let doing = "waiting for the server's data connection";
    let whole = deadline.left();
    loop {
        let left = deadline.left();
        if left.is_zero() {
            return Err(Error::Deadline { doing, after: whole });
        }
        // On Linux the receive timeout of a listening socket bounds accept(2), see socket(7).
        let socket = socket2::SockRef::from(listener);
        // A timeout that is rounded to zero would be none at all.
        let bound = left.max(Duration::from_millis(1));
        socket.set_read_timeout(Some(bound)).map_err(|e| Error::io(doing, whole, e))?;
        let (stream, from) = listener.accept().map_err(|e| Error::io(doing, whole, e))?;
        if from.ip().to_canonical() != peer.to_canonical() {
            log::warn!("turned away {from}, which connected to a data port meant for {peer}");
            continue;
        }
        tune(&socket2::SockRef::from(&stream)).map_err(|e| Error::io(doing, whole, e))?;
        return Ok(stream);
    }
}

/// Whether there is something to read: 1, or 0 at the end. Takes nothing and never waits.
///
/// # Errors
/// `WouldBlock` where the connection is silent; else it has failed.
pub(crate) fn peek(stream: &TcpStream) -> io::Result<usize> {
    let mut byte = [std::mem::MaybeUninit::uninit(); 1];
    socket2::SockRef::from(stream).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT)
}

/// Sends some of `bytes`, and sees to it that no later ones travel in the same segment.
///
/// # Errors
/// As write(2).
pub(crate) fn send_record(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    socket2::SockRef::from(stream).send_with_flags(bytes, libc::MSG_EOR | libc::MSG_NOSIGNAL)
}

/// Has the last bytes of `stream` wait for its end, which follows them at once: both travel in one segment then. An end of
/// its own is one more, and waits for a round trip where ten, the most that Linux sends at first, are on their way. It is
/// tried only, what is sent is the same.
pub(crate) fn send_last_with_end(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_cork(true);
}

/// Makes the end of `stream` a reset, which throws away what is on its way to the peer. It is tried only: a socket that has
/// failed has nothing on its way.
pub(crate) fn reset_at_end(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn tune(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY))
}
