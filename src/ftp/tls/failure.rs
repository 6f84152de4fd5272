//! Why there is no TLS with a server, where trying again would change nothing, and what to do about it.

use rustls::{AlertDescription, CertificateError, Error};

/// The reason and the remedy; `None` where it may have been a mishap.
pub(crate) fn told(error: &Error) -> Option<&'static str> {
    use AlertDescription as Alert;
    Some(match error {
        Error::AlertReceived(Alert::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the server and we have no version of TLS in common: 1.2 and 1.3 are spoken here, fewer with \
             tls_version=; an older server needs an update"
        }
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) => {
            "the server breaks the handshake off: it wants a certificate of the client (cert=FILE), or has only \
             ciphers that are too weak"
        }
        Error::AlertReceived(Alert::CertificateRequired) => {
            "the server wants a certificate of the client; cert=FILE names it"
        }
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => "the server does not accept the certificate of the client; check cert=",
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "the server's certificate does not fit its signature, or its key is too short (RSA of less than 2048 \
             bits); it needs a new certificate"
        }
        Error::InvalidCertificate(error) if is_old(error) => OLD,
        _ => return None,
    })
}

/// What there is to say of a certificate for which [`is_old`].
pub(super) const OLD: &str = "the server's certificate is of X.509 version 1, which has no place for names and is not \
                              taken, pinned or not; it needs a new certificate";

/// Whether a certificate cannot be used even where it is pinned: webpki reads version 3 alone.
pub(super) fn is_old(error: &CertificateError) -> bool {
    error.to_string().contains("UnsupportedCertVersion")
}
