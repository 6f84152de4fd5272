//! The way to a server through a proxy: SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110 s.9.3.6).
//!
//! Control and data connections alike; the proxy is asked for the server by the name that the user gave, which
//! it resolves: it may be a name that only the proxy knows. Written here since the crates for blocking sockets
//! (`socks` 0.3.4) put no bound on their waits.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::deadline::Deadline;
use crate::ftp::error::Error;
use crate::ftp::transport::{self, Family};
use crate::secret::Secret;

/// Longest answer to CONNECT, in bytes. Proxies put whole pages behind a refusal, which are not read.
const HEAD_MAX: usize = 16 * 1024;

/// Most header fields in it.
const FIELDS_MAX: usize = 100;

/// Most that an error repeats of what a proxy said, in characters.
const SAID_MAX: usize = 100;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// RFC 1928.
    Socks5,
    /// The CONNECT method of HTTP.
    Http,
}

/// A proxy between us and the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// Its host name or address, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who uses it, where it wants to know.
    pub login: Option<ProxyLogin>,
}

/// User and password of a proxy, raw bytes. SOCKS5 takes 1 to 255 and up to 255 of them (RFC 1929 s.2); the user
/// of an HTTP proxy has no colon (RFC 7617 s.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The user.
    pub user: Vec<u8>,
    /// The password.
    pub password: Secret,
}

/// Why a proxy gave no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProxyError {
    /// It, or the server behind it, did not answer.
    #[error("no answer within {:.1} s", .0.as_secs_f32())]
    Deadline(Duration),
    /// It cannot be reached, or broke off.
    #[error("{0}")]
    Failed(String),
    /// It does not let this user in.
    #[error("{0}; check user and password in proxy=")]
    Denied(String),
    /// It does not connect to the server.
    #[error("it does not connect to {to}: {said}")]
    Refused {
        /// Host and port of the server, which are the data connection's at times.
        to: String,
        /// What the proxy said.
        said: String,
    },
    /// It is no such proxy.
    #[error("{0}; check the scheme and the port in proxy=")]
    Garbled(&'static str),
}

impl Proxy {
    /// Connects to `port` of `host`, a name or an address without brackets, by way of the proxy. `family` and
    /// `bind` are for the way to the proxy.
    ///
    /// # Errors
    /// [`Error::Proxy`]; by `deadline`, however slowly the proxy answers.
    pub(crate) fn connect(
        &self,
        (host, port): (&str, u16),
        family: Family,
        bind: Option<IpAddr>,
        deadline: Deadline,
    ) -> Result<TcpStream, Error> {
        let whole = deadline.left();
        let way = transport::connect("connecting", (&self.host, self.port), family, bind, deadline);
        let way = way.map_err(|error| match error {
            Error::Deadline { after, .. } => ProxyError::Deadline(after),
            error => ProxyError::Failed(error.to_string()),
        });
        let talked = way.and_then(|stream| {
            let mut talk = Talk { stream, deadline, whole };
            match self.kind {
                ProxyKind::Socks5 => self.socks5(&mut talk, host, port)?,
                ProxyKind::Http => self.http(&mut talk, host, port)?,
            }
            talk.end()
        });
        talked.map_err(|error| Error::Proxy { proxy: self.to_string(), error })
    }

    fn socks5(&self, talk: &mut Talk, host: &str, port: u16) -> Result<(), ProxyError> {
        const NO_SOCKS: ProxyError = ProxyError::Garbled("it does not speak SOCKS5");
        let offer: &[u8] = if self.login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
        talk.send(offer)?;
        match (talk.receive()?, &self.login) {
            ([5, 0], _) => {}
            ([5, 2], Some(login)) => {
                let field = |bytes: &[u8]| {
                    let bytes = &bytes[..bytes.len().min(255)];
                    [&[u8::try_from(bytes.len()).unwrap_or(u8::MAX)], bytes].concat()
                };
                let password = Secret::new(field(login.password.expose()));
                let words = Secret::new([&[1], &field(&login.user)[..], password.expose()].concat());
                talk.send(words.expose())?;
                // The version of this part is 1; some proxies say 5.
                if let [_, status @ 1..=255] = talk.receive()? {
                    return Err(ProxyError::Denied(format!(
                        "it does not accept the login (status {status})"
                    )));
                }
            }
            ([5, 0xff], None) => return Err(ProxyError::Denied("it wants a user and a password".to_owned())),
            ([5, 0xff], Some(_)) => {
                return Err(ProxyError::Denied("it takes no user and password".to_owned()));
            }
            _ => return Err(NO_SOCKS),
        }
        let mut request = vec![5, 1, 0];
        match host.parse() {
            Ok(IpAddr::V4(ip)) => request.extend([&[1], &ip.octets()[..]].concat()),
            Ok(IpAddr::V6(ip)) => request.extend([&[4], &ip.octets()[..]].concat()),
            Err(_) => {
                let len = u8::try_from(host.len());
                let len = len.map_err(|_| ProxyError::Failed("the host name is too long".to_owned()))?;
                request.extend([&[3, len], host.as_bytes()].concat());
            }
        }
        request.extend(port.to_be_bytes());
        talk.send(&request)?;
        let [version, code, _, kind] = talk.receive()?;
        match (version, code) {
            (5, 0) => {}
            (5, code) => return Err(refused(host, port, socks5_reason(code))),
            _ => return Err(NO_SOCKS),
        }
        // Where the proxy connects from, which nobody needs.
        match kind {
            1 => talk.receive::<6>().map(drop),
            4 => talk.receive::<18>().map(drop),
            3 => {
                let [len] = talk.receive()?;
                (0..usize::from(len) + 2).try_for_each(|_| talk.receive::<1>().map(drop))
            }
            _ => Err(NO_SOCKS),
        }
    }

    fn http(&self, talk: &mut Talk, host: &str, port: u16) -> Result<(), ProxyError> {
        const NO_HTTP: ProxyError = ProxyError::Garbled("it does not speak HTTP");
        let to = address(host, port);
        let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
        if let Some(login) = &self.login {
            let words = Secret::new([&login.user, &b":"[..], login.password.expose()].concat());
            request.extend(b"Proxy-Authorization: Basic ");
            request.extend(STANDARD.encode(words.expose()).into_bytes());
            request.extend(b"\r\n");
        }
        request.extend(b"\r\n");
        talk.send(Secret::new(request).expose())?;
        let mut head = Vec::new();
        while !(head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n")) {
            if head.len() == HEAD_MAX || !b"HTTP/".starts_with(&head[..head.len().min(5)]) {
                return Err(NO_HTTP);
            }
            // One at a time: what follows the head is the server's.
            head.extend(talk.receive::<1>()?);
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(&head).map_err(|_| NO_HTTP)?;
        let said = || said(response.code, response.reason);
        match response.code {
            Some(200..300) => Ok(()),
            Some(407) => Err(ProxyError::Denied(format!("it does not accept the login ({})", said()))),
            Some(_) => Err(refused(host, port, said())),
            None => Err(NO_HTTP),
        }
    }
}

/// The form for messages: without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        };
        write!(f, "{scheme}://{}", address(&self.host, self.port))
    }
}

/// An exchange with a proxy that ends in time.
struct Talk {
    stream: TcpStream,
    deadline: Deadline,
    /// What there was left at its start, for messages.
    whole: Duration,
}

impl Talk {
    fn left(&self) -> Result<Duration, ProxyError> {
        let left = self.deadline.left();
        if left.is_zero() { Err(ProxyError::Deadline(self.whole)) } else { Ok(left) }
    }

    fn failed(&self, error: &std::io::Error) -> ProxyError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ProxyError::Deadline(self.whole),
            _ => ProxyError::Failed(error.to_string()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ProxyError> {
        // A few hundred bytes at most, which the system takes at once or not at all.
        let left = self.left()?;
        let sent = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(bytes));
        sent.map_err(|error| self.failed(&error))
    }

    fn receive<const N: usize>(&mut self) -> Result<[u8; N], ProxyError> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            let left = self.left()?;
            let read = self.stream.set_read_timeout(Some(left));
            match read.and_then(|()| self.stream.read(&mut bytes[filled..])) {
                Ok(0) => return Err(ProxyError::Failed("it closed the connection".to_owned())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(bytes)
    }

    /// The connection, as one that was made without a proxy.
    fn end(self) -> Result<TcpStream, ProxyError> {
        let reset = self.stream.set_read_timeout(None).and_then(|()| self.stream.set_write_timeout(None));
        reset.map_err(|error| self.failed(&error))?;
        Ok(self.stream)
    }
}

fn refused(host: &str, port: u16, said: String) -> ProxyError {
    ProxyError::Refused { to: address(host, port), said }
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The replies of RFC 1928 s.6.
fn socks5_reason(code: u8) -> String {
    let words = match code {
        1 => "general failure",
        2 => "its rules forbid it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the packets' time to live expired",
        7 => "it has no CONNECT",
        8 => "it does not know this kind of address",
        _ => "unknown reason",
    };
    format!("{words} (code {code})")
}

fn said(code: Option<u16>, reason: Option<&str>) -> String {
    let reason = reason.unwrap_or_default().chars().filter(|char| !char.is_control()).take(SAID_MAX);
    format!("{} {}", code.unwrap_or_default(), reason.collect::<String>()).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
