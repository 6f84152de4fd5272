//! TLS for control and data connections (RFC 4217): who is trusted, and what one control connection shares
//! with its data connections.
//!
//! Servers that demand it take a data connection only when it resumes the TLS session of its control
//! connection. So each control connection has a session store of its own, which its data connections use.

mod facts;
mod failure;
mod known;
mod sessions;
mod verify;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

pub(crate) use facts::TlsFacts;
pub(crate) use failure::told as failure_told;
pub use known::KnownServers;
pub(crate) use verify::untrusted_in;
pub use verify::{Pin, Untrusted};

use sessions::Sessions;
use verify::Verifier;

/// When a control connection is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    #[default]
    Off,
    /// When the server takes AUTH TLS. A server that once did must do so ever after ([`TlsConfig::known`]).
    Auto,
    /// By AUTH TLS, before anything secret is sent (RFC 4217 s.4).
    Explicit,
    /// From the first byte, on port 990 by custom.
    Implicit,
}

/// Which versions of TLS are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 alone.
    Only12,
    /// 1.3 alone.
    Only13,
}

/// What the user says of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file with the authorities to trust; those of the system where `None`.
    pub authorities: Option<PathBuf>,
    /// PEM file with the client's certificate and those above it.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key; in the same file where `None`.
    pub key: Option<PathBuf>,
    /// The server's certificate must be one of these; nothing else is asked of it then.
    pub pins: Vec<Pin>,
    /// Do not ask whether the certificate is for this host.
    pub any_hostname: bool,
    /// Do not ask whether anybody vouches for the certificate.
    pub any_peer: bool,
    /// Which versions are offered.
    pub versions: TlsVersions,
}

/// Why there can be no TLS with these settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file cannot be read, or does not hold what it should.
    #[error("{option}={}: {problem}", path.display())]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system has no authorities.
    #[error(
        "the system has no certificates of authorities ({0}); install ca-certificates, or use cacert=FILE"
    )]
    NoRoots(String),
    /// `key=` without `cert=`.
    #[error("key= needs cert=")]
    KeyAlone,
    /// What rustls refuses.
    #[error("the client certificate cannot be used: {0}")]
    ClientCertificate(rustls::Error),
    /// What rustls refuses.
    #[error("TLS cannot be set up: {0}")]
    Refused(#[from] rustls::Error),
}

/// How TLS is used with one server.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// When; never [`TlsMode::Off`].
    pub mode: TlsMode,
    /// Data connections stay in clear (PROT C), for firewalls that must read them.
    pub clear_data: bool,
    /// The control connection goes back to clear text after the login (CCC), for firewalls that must read it.
    pub clear_control: bool,
    /// A listing may end without close_notify when the server's reply says that it is whole, for servers that never
    /// send one. A file needs none that has all bytes of its size.
    pub optional_close_notify: bool,
    /// Who is trusted.
    pub client: TlsClient,
    /// The servers that have had TLS; `None`: they are not remembered beyond the mount.
    pub known: Option<KnownServers>,
}

/// What all connections to one server have in common.
#[derive(Clone)]
pub struct TlsClient {
    newest: Arc<ClientConfig>,
    /// TLS 1.2 alone, where that may be used too.
    older: Option<Arc<ClientConfig>>,
    is_believing: bool,
}

impl TlsClient {
    /// Reads the files and prepares everything.
    ///
    /// # Errors
    /// See [`TlsSetupError`].
    pub fn new(settings: &TlsSettings) -> Result<TlsClient, TlsSetupError> {
        if settings.any_peer && settings.pins.is_empty() {
            log::warn!("no_verify_peer: anybody can pose as the server; tls_pin= is as easy, and safe");
        } else if settings.any_hostname && settings.pins.is_empty() {
            log::warn!("no_verify_hostname: any server with a valid certificate can pose as this one");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let named = settings.authorities.as_ref().map(|path| certificates("cacert", path)).transpose()?;
        let roots = match settings.pins.is_empty() && !settings.any_peer {
            true => Some(roots(settings, named.as_deref())?),
            false => None,
        };
        let named = named.unwrap_or_default();
        let verifier = Arc::new(Verifier::new(roots, named, settings, provider.clone())?);
        let identity = identity(settings)?;
        let build =
            |versions: &[&'static SupportedProtocolVersion]| -> Result<Arc<ClientConfig>, TlsSetupError> {
                let builder = ClientConfig::builder_with_provider(provider.clone())
                    .with_protocol_versions(versions)?
                    .dangerous()
                    .with_custom_certificate_verifier(verifier.clone());
                Ok(Arc::new(match &identity {
                    Some((chain, key)) => builder
                        .with_client_auth_cert(chain.clone(), key.clone_key())
                        .map_err(TlsSetupError::ClientCertificate)?,
                    None => builder.with_no_client_auth(),
                }))
            };
        let (v12, v13) = (&rustls::version::TLS12, &rustls::version::TLS13);
        let (newest, older) = match settings.versions {
            TlsVersions::Both => (build(&[v13, v12])?, Some(build(&[v12])?)),
            TlsVersions::Only12 => (build(&[v12])?, None),
            TlsVersions::Only13 => (build(&[v13])?, None),
        };
        let is_believing = settings.pins.is_empty() && (settings.any_peer || settings.any_hostname);
        Ok(TlsClient { newest, older, is_believing })
    }

    /// Whether somebody else can pose as the server, as the user has allowed (`no_verify_peer`, `no_verify_hostname`).
    pub fn is_believing(&self) -> bool {
        self.is_believing
    }

    /// Whether TLS 1.2 can be offered alone.
    pub(crate) fn has_older(&self) -> bool {
        self.older.is_some()
    }

    /// What one control connection to `host` and its data connections share. With `older`, TLS 1.2 alone is
    /// offered where it may be.
    pub(crate) fn context(&self, host: &str, older: bool) -> Result<TlsContext, rustls::Error> {
        // A zone (`fe80::1%eth0`) is no part of what a certificate can name.
        let host = host.split('%').next().unwrap_or_default();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| rustls::Error::General("the host name cannot be in a certificate".into()))?;
        let sessions = Arc::new(Sessions::default());
        let base = self.older.as_ref().filter(|_| older).unwrap_or(&self.newest);
        let mut config = ClientConfig::clone(base);
        config.resumption = Resumption::store(sessions.clone());
        Ok(TlsContext { config: Arc::new(config), name, sessions })
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsClient")
    }
}

/// One control connection and its data connections.
#[derive(Debug)]
pub(crate) struct TlsContext {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    sessions: Arc<Sessions>,
}

impl TlsContext {
    /// A connection that has not shaken hands yet.
    pub(crate) fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(self.config.clone(), self.name.clone())
    }

    /// Whether just one data connection could resume the session.
    pub(crate) fn has_one_left(&self) -> bool {
        self.sessions.has_one_left()
    }

    /// Whether the next data connection could not resume the session although earlier ones could: a ticket of
    /// TLS 1.3 serves once, and ProFTPD 1.3.8 hands out none with an upload.
    pub(crate) fn has_run_out(&self) -> bool {
        self.sessions.has_run_out()
    }
}

/// The authorities: those `named` in the settings' file, else the system's.
fn roots(
    settings: &TlsSettings,
    named: Option<&[CertificateDer<'static>]>,
) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    if let (Some(path), Some(named)) = (&settings.authorities, named) {
        for certificate in named {
            roots.add(certificate.clone()).map_err(|e| file("cacert", path, e))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        false => Ok(roots),
        true => {
            let reason = found.errors.first().map_or_else(|| "none found".to_owned(), |e| e.to_string());
            Err(TlsSetupError::NoRoots(reason))
        }
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(settings: &TlsSettings) -> Result<Option<Identity>, TlsSetupError> {
    let Some(path) = &settings.certificate else {
        return if settings.key.is_some() { Err(TlsSetupError::KeyAlone) } else { Ok(None) };
    };
    let chain = certificates("cert", path)?;
    let (option, path) = settings.key.as_ref().map_or(("cert", path), |key| ("key", key));
    let key = PrivateKeyDer::from_pem_file(path)
        .map_err(|e| file(option, path, format!("no private key in PEM form that is not encrypted ({e})")))?;
    Ok(Some((chain, key)))
}

fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|e| file(option, path, e))?;
    match found.is_empty() {
        true => Err(file(option, path, "no certificate in PEM form")),
        false => Ok(found),
    }
}

fn file(option: &'static str, path: &Path, problem: impl fmt::Display) -> TlsSetupError {
    TlsSetupError::File { option, path: path.to_owned(), problem: problem.to_string() }
}

/// What rustls says, as an error of the socket that it was said on.
pub(crate) fn as_io(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What rustls said, in such an error.
pub(crate) fn error_in(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
