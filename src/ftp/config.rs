//! What a session has to be told.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::ftp::proxy::Proxy;
use crate::ftp::time::ListZone;
pub use crate::ftp::tls::{
    KnownServers, Pin, TlsClient, TlsConfig, TlsMode, TlsSettings, TlsSetupError, TlsVersions,
};
pub use crate::ftp::transport::Family;
use crate::secret::Secret;

/// Where to connect, as whom, and how.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Host name or address.
    pub host: String,
    /// Control port, 21 by default (RFC 959 s.5.2).
    pub port: u16,
    /// The proxy that leads there.
    pub proxy: Option<Proxy>,
    /// Which address family may be used on our own way, to the server or the proxy.
    pub family: Family,
    /// Local address for control and data connections.
    pub bind: Option<IpAddr>,
    /// Who logs in.
    pub login: Login,
    /// How data connections are made.
    pub data: DataConfig,
    /// How TLS is used; `None`: not at all.
    pub tls: Option<TlsConfig>,
    /// Whether a server that offers it is told to use UTF-8 (RFC 2640, OPTS UTF8 ON); not where its names are
    /// known to be in another charset.
    pub utf8: bool,
    /// The clock of LIST's times; found by comparing them with MDTM's where `None`.
    pub list_zone: Option<ListZone>,
    /// The bounds of all waits.
    pub timeouts: Timeouts,
}

/// User, password and account (RFC 959 s.4.1.1), raw bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Argument of USER; `anonymous` if none was given (RFC 1635).
    pub user: Vec<u8>,
    /// Argument of PASS.
    pub password: Secret,
    /// Argument of ACCT, for servers that ask for one (332).
    pub account: Option<Secret>,
}

/// Who opens the data connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Passive first, then active; what works is remembered.
    #[default]
    Auto,
    /// The server connects to us (EPRT, PORT).
    Active,
    /// We connect to the server (EPSV, PASV).
    Passive,
}

/// Which address of a PASV reply is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasvAddress {
    /// None: always the address of the control connection's peer. Right behind NAT, and safe.
    #[default]
    Peer,
    /// The one in the reply, for servers that really transfer from another host.
    Reply,
}

/// How data connections are made.
#[derive(Clone, Debug, Default)]
pub struct DataConfig {
    /// Who opens them.
    pub mode: Mode,
    /// Local ports for active mode; any where `None`.
    pub port_range: Option<RangeInclusive<u16>>,
    /// The address told to the server in active mode, for clients behind NAT; the control connection's own
    /// where `None`.
    pub active_address: Option<IpAddr>,
    /// Which address of a PASV reply is believed.
    pub pasv_address: PasvAddress,
}

/// The bounds of all waits on the network.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Connecting, control or data, all addresses together.
    pub connect: Duration,
    /// From the connection to the end of login.
    pub login: Duration,
    /// One reply.
    pub reply: Duration,
    /// No byte on a data connection.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            login: Duration::from_secs(15),
            reply: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}
