//! Certificates for the servers of the tests. Their authority is the one in `tests/data/tls`, whose key is no secret.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It has expired.
    Expired,
    /// Nobody vouches for it but itself, as an authority: what `openssl req -x509` makes.
    SelfSigned,
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// The authority's certificate, for `cacert=`.
pub(crate) fn authority() -> PathBuf {
    data("authority.pem")
}

/// A certificate for these names or addresses.
pub(crate) fn identity(names: &[&str], flaw: Flaw) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "ftpfs test server");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if flaw == Flaw::Expired {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let certificate = match flaw {
        Flaw::SelfSigned => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.self_signed(&key).unwrap()
        }
        Flaw::None | Flaw::Expired => {
            let mut ours = CertificateParams::default();
            ours.distinguished_name = rcgen::DistinguishedName::new();
            ours.distinguished_name.push(DnType::CommonName, "ftpfs test authority");
            let secret = std::fs::read_to_string(data("authority.key")).unwrap();
            let issuer = Issuer::new(ours, KeyPair::from_pem(&secret).unwrap());
            params.signed_by(&key, &issuer).unwrap()
        }
    };
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}
