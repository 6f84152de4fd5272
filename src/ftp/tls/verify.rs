//! Whether a server is who it says it is, and what to do about one that is not.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::TlsSettings;
use super::failure::{OLD, is_old};

/// The SHA-256 of a server's certificate in DER form, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of this certificate.
    pub fn of(certificate: &[u8]) -> Pin {
        let mut pin = [0; 32];
        pin.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref());
        Pin(pin)
    }
}

impl FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Pin, &'static str> {
        const FORM: &str = "expected sha256: and 64 hexadecimal digits, with or without colons";
        let hex = text.strip_prefix("sha256:").ok_or(FORM)?;
        let digits: Vec<u8> = hex
            .chars()
            .filter(|&c| c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(FORM))
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair.last().unwrap_or(&0)).collect();
        (digits.len() == 64).then_some(bytes).and_then(|bytes| bytes.try_into().ok()).map(Pin).ok_or(FORM)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// A certificate that is not accepted: why, and the remedy.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the server's certificate is not trusted: {reason}; {remedy}")]
pub struct Untrusted {
    /// What is wrong with it.
    pub reason: String,
    /// What the user can do.
    pub remedy: String,
    /// The certificate.
    pub pin: Pin,
}

/// Checks certificates as the settings say.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None`: nobody has to vouch for the certificate.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that the user has named, which may be a server's own.
    named: Vec<CertificateDer<'static>>,
    pins: Vec<Pin>,
    any_hostname: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(
        roots: Option<RootCertStore>,
        named: Vec<CertificateDer<'static>>,
        settings: &TlsSettings,
        provider: Arc<CryptoProvider>,
    ) -> Result<Verifier, rustls::Error> {
        let build = |roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))
        };
        Ok(Verifier {
            authorities: roots.map(build).transpose()?,
            named,
            pins: settings.pins.clone(),
            any_hostname: settings.any_hostname,
            provider,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pin = Pin::of(certificate);
        if !self.pins.is_empty() {
            return match self.pins.contains(&pin) {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(refuse(changed(pin))),
            };
        }
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(certificate, chain, name, ocsp, now) {
            Ok(verified) => Ok(verified),
            Err(rustls::Error::InvalidCertificate(error)) => {
                if self.any_hostname && is_about_the_name(&error) {
                    return Ok(ServerCertVerified::assertion());
                }
                // webpki takes no authority's certificate for a server's, but many servers have just one
                // that signs itself, as `openssl req -x509` makes it.
                if signs_itself(&error) && self.named.iter().any(|named| named == certificate) {
                    return match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
                        Err(_) if !self.any_hostname => {
                            Err(refuse(untrusted(&CertificateError::NotValidForName, name, pin)))
                        }
                        _ => Ok(ServerCertVerified::assertion()),
                    };
                }
                Err(refuse(untrusted(&error, name, pin)))
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_about_the_name(error: &CertificateError) -> bool {
    matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}

/// Whether it is an authority's certificate in the place of a server's.
fn signs_itself(error: &CertificateError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

fn changed(pin: Pin) -> Untrusted {
    Untrusted {
        reason: format!("it is not the pinned one, but {pin}"),
        remedy: "somebody may stand in between, or the server has a new certificate: \
                 ask its administrator before you change tls_pin="
            .to_owned(),
        pin,
    }
}

fn untrusted(error: &CertificateError, name: &ServerName<'_>, pin: Pin) -> Untrusted {
    let pinned = format!("to trust exactly this certificate: tls_pin={pin}");
    let (reason, remedy) = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("it has expired".to_owned(), format!("have it renewed, or, {pinned}"))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("it is not valid yet".to_owned(), format!("check the clock here, or, {pinned}"))
        }
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("it is not for {}, but for {}", name.to_str(), named(presented)),
            format!("use such a name in the URL; or, {pinned}; or no_verify_hostname"),
        ),
        CertificateError::NotValidForName => (
            format!("it is not for {}", name.to_str()),
            format!("use another name in the URL; or, {pinned}; or no_verify_hostname"),
        ),
        CertificateError::UnknownIssuer => (
            "no authority that is known here vouches for it".to_owned(),
            format!("cacert=FILE names another authority; or, {pinned}"),
        ),
        CertificateError::Revoked => ("it has been revoked".to_owned(), "ask its administrator".to_owned()),
        other if is_old(other) => ("it cannot be used".to_owned(), OLD.to_owned()),
        other if signs_itself(other) => (
            "it signs itself, no authority vouches for it".to_owned(),
            format!("{pinned}; or cacert=FILE with this certificate in it"),
        ),
        other => (other.to_string(), pinned),
    };
    Untrusted { reason, remedy, pin }
}

/// The first of the names in a certificate; a server has chosen them, so they are bounded.
fn named(presented: &[String]) -> String {
    // They come as `DnsName("ftp.example")`.
    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let all = presented.iter().map(bare).collect::<Vec<_>>().join(", ");
    let shown: String = all.chars().filter(|c| !c.is_control()).take(200).collect();
    if shown.is_empty() { "no name at all".to_owned() } else { shown }
}

fn refuse(untrusted: Untrusted) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
}

/// The reason in an error of rustls, where it is one of ours.
pub(crate) fn untrusted_in(error: &rustls::Error) -> Option<Untrusted> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            other.downcast_ref::<Untrusted>().cloned()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_is_printed() {
        let pin = Pin::of(b"a certificate");
        assert_eq!(pin.to_string().parse(), Ok(pin));
        let upper = pin.to_string()[7..].to_ascii_uppercase();
        let pairs: Vec<&str> = (0..32).map(|i| &upper[2 * i..2 * i + 2]).collect();
        assert_eq!(format!("sha256:{}", pairs.join(":")).parse(), Ok(pin));
        for bad in
            ["", "sha256:", "sha256:ab", "md5:00", &pin.to_string()[7..], &format!("{pin}0"), "sha256:é"]
        {
            assert!(bad.parse::<Pin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_refusal_names_a_remedy() {
        let name = ServerName::try_from("ftp.example").unwrap();
        for error in [
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::NotValidForName,
            CertificateError::UnknownIssuer,
            CertificateError::BadSignature,
        ] {
            let text = untrusted(&error, &name, Pin::of(b"x")).to_string();
            assert!(text.contains("tls_pin=sha256:"), "{text}");
        }
    }
}
