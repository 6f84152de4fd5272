//! TLS with servers that are not who they should be, with those who stand in between, and with connections that are cut.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use ftpfs::ftp::config::{KnownServers, Mode, Pin, TlsClient, TlsConfig, TlsMode, TlsSettings, TlsVersions};
use ftpfs::ftp::features::Capability;
use ftpfs::ftp::upload::StoreAt;
use ftpfs::remote::{Error, Kind, Lane};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::client::{Client, Options, is_clean, watched};
use crate::common::bounded::within;
use crate::common::mount::Mount;
use crate::common::pki::{self, Flaw, Identity};
use crate::common_ftpd::{Cut, Front, Manners, Opening, Quirks, Server, Tree, pattern};
use crate::mounted::CALL;

/// A server that behaves, behind TLS with a good certificate.
fn good() -> (Server, Front) {
    behind(Manners::new(pki::identity(&["127.0.0.1"], Flaw::None)))
}

pub(crate) fn behind(manners: Manners) -> (Server, Front) {
    let server = Server::start(Tree::sample(), Quirks::default());
    let front = Front::start(server.address(), manners);
    (server, front)
}

/// Trusts the tests' authority.
pub(crate) fn trusting() -> TlsSettings {
    TlsSettings { authorities: Some(pki::authority()), ..TlsSettings::default() }
}

/// The same with one version of TLS, `1.2` or `1.3`.
pub(crate) fn only(version: &str) -> TlsSettings {
    let versions = if version == "1.2" { TlsVersions::Only12 } else { TlsVersions::Only13 };
    TlsSettings { versions, ..trusting() }
}

pub(crate) fn tls(mode: TlsMode, settings: &TlsSettings) -> Options {
    let client = TlsClient::new(settings).unwrap();
    let tls = TlsConfig {
        mode,
        clear_data: false,
        clear_control: false,
        optional_close_notify: false,
        client,
        known: None,
    };
    Options { tls: Some(tls), ..Options::default() }
}

fn pin(identity: &Identity) -> Pin {
    Pin::of(&CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap())
}

fn connect(front: &Front, mode: TlsMode, settings: &TlsSettings) -> Result<Client, Error> {
    Client::connect_to(front.address(), tls(mode, settings))
}

/// What a client does who is not let in; nobody may have seen its name or password.
fn refused(server: &Server, front: &Front, mode: TlsMode, settings: &TlsSettings) -> String {
    let error = connect(front, mode, settings).err().expect("it is trusted");
    assert_eq!(error.kind(), Kind::Insecure, "{error}");
    assert_eq!((server.count("USER"), server.count("PASS")), (0, 0));
    assert!(front.clear().iter().all(|line| line == "AUTH TLS"), "{:?}", front.clear());
    error.to_string()
}

#[test]
fn files_are_read_over_both_versions_and_each_data_connection_resumes() {
    for (mode, versions, data) in [
        (TlsMode::Explicit, TlsVersions::Only12, Mode::Passive),
        (TlsMode::Explicit, TlsVersions::Only13, Mode::Passive),
        (TlsMode::Explicit, TlsVersions::Only12, Mode::Active),
        (TlsMode::Explicit, TlsVersions::Only13, Mode::Active),
        (TlsMode::Implicit, TlsVersions::Both, Mode::Passive),
        (TlsMode::Implicit, TlsVersions::Both, Mode::Active),
        (TlsMode::Auto, TlsVersions::Both, Mode::Auto),
    ] {
        watched(move || {
            let mut manners = Manners::new(pki::identity(&["127.0.0.1"], Flaw::None));
            (manners.implicit, manners.demands_resumption) = (mode == TlsMode::Implicit, true);
            let (_server, front) = behind(manners);
            let mut options = tls(mode, &TlsSettings { versions, ..trusting() });
            options.data.mode = data;
            let client = Arc::new(Client::connect_to(front.address(), options).unwrap());
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let client = client.clone();
                    thread::spawn(move || {
                        for _ in 0..5 {
                            assert!(client.read_all("big").unwrap() == pattern(2, 300 * 1024));
                            assert_eq!(client.names("sub").unwrap(), ["inner"]);
                        }
                    })
                })
                .collect();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            let (resumed, new, refused) = front.data_connections();
            assert!(resumed >= 20 && (new, refused) == (0, 0), "{resumed} {new} {refused}");
            assert!(mode == TlsMode::Implicit || front.clear() == vec!["AUTH TLS"; front.clear().len()]);
        });
    }
}

#[test]
fn files_are_changed_over_tls() {
    let (server, front) = good();
    front.change(|manners| manners.demands_resumption = true);
    for version in
        ["tls_version=1.2", "tls_version=1.3", "tls_version=1.2,mode=active", "tls_version=1.3,mode=active"]
    {
        let mount = Mount::start(&format!("ftpes://u:secret@{}/", front.address()), &[version]);
        let dir = mount.path().to_owned();
        within(CALL, "writing", move || {
            for round in 0..8 {
                fs::write(dir.join(format!("new-{round}")), pattern(round, 700_000)).unwrap();
            }
        });
        for round in 0..8 {
            let landed = server.tree().bytes(&format!("/home/u/new-{round}")).unwrap();
            assert!(landed == pattern(round, 700_000), "{version}, file {round}");
        }
    }
    assert_eq!(front.data_connections().2, 0, "a data connection did not resume");
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_with_its_remedy() {
    for (names, flaw, reason) in [
        (["127.0.0.1"], Flaw::Expired, "expired"),
        (["other.example"], Flaw::None, "it is not for 127.0.0.1, but for other.example"),
        (["127.0.0.1"], Flaw::SelfSigned, "it signs itself"),
    ] {
        let identity = pki::identity(&names, flaw);
        let pin = pin(&identity);
        let (server, front) = behind(Manners::new(identity));
        let text = refused(&server, &front, TlsMode::Explicit, &trusting());
        assert!(text.contains(reason) && text.contains(&format!("tls_pin={pin}")), "{text}");
        // One step further: the pin that the message names.
        let pinned = TlsSettings { pins: vec![pin], ..TlsSettings::default() };
        let client = connect(&front, TlsMode::Explicit, &pinned).unwrap();
        assert_eq!(client.names("sub").unwrap(), ["inner"]);
    }
}

#[test]
fn a_self_signed_certificate_can_be_named_as_its_own_authority() {
    let identity = pki::identity(&["127.0.0.1"], Flaw::SelfSigned);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &identity.certificate).unwrap();
    let (_server, front) = behind(Manners::new(identity));
    let settings = TlsSettings { authorities: Some(file.path().to_owned()), ..TlsSettings::default() };
    assert!(connect(&front, TlsMode::Explicit, &settings).is_ok());
}

#[test]
fn an_unknown_authority_and_a_changed_certificate_are_refused() {
    let other = pki::identity(&["127.0.0.1"], Flaw::SelfSigned);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &other.certificate).unwrap();
    let (server, front) = good();
    let stranger = TlsSettings { authorities: Some(file.path().to_owned()), ..TlsSettings::default() };
    let text = refused(&server, &front, TlsMode::Explicit, &stranger);
    assert!(text.contains("no authority that is known here") && text.contains("tls_pin="), "{text}");
    let pinned = TlsSettings { pins: vec![pin(&other)], ..trusting() };
    let text = refused(&server, &front, TlsMode::Explicit, &pinned);
    assert!(text.contains("not the pinned one"), "{text}");
}

#[test]
fn checks_that_are_switched_off_are_not_made() {
    let wrong_host = pki::identity(&["other.example"], Flaw::None);
    let (_server, front) = behind(Manners::new(wrong_host));
    assert!(connect(&front, TlsMode::Explicit, &TlsSettings { any_hostname: true, ..trusting() }).is_ok());
    let (_server, front) = behind(Manners::new(pki::identity(&["x"], Flaw::Expired)));
    let nobody = TlsSettings { any_hostname: true, ..trusting() };
    assert!(connect(&front, TlsMode::Explicit, &nobody).is_err(), "no_verify_hostname is about names only");
    let anybody = TlsSettings { any_peer: true, ..TlsSettings::default() };
    assert!(connect(&front, TlsMode::Explicit, &anybody).is_ok());
}

#[test]
fn a_client_shows_its_certificate() {
    let ours = pki::identity(&["client.example"], Flaw::None);
    let (certificate, key) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(certificate.path(), &ours.certificate).unwrap();
    fs::write(key.path(), &ours.key).unwrap();
    let (_server, front) = good();
    let authority = fs::read_to_string(pki::authority()).unwrap();
    front.change(|manners| manners.clients_of = Some(authority));
    let settings = TlsSettings {
        certificate: Some(certificate.path().to_owned()),
        key: Some(key.path().to_owned()),
        ..trusting()
    };
    let client = connect(&front, TlsMode::Explicit, &settings).unwrap();
    assert_eq!(client.names("sub").unwrap(), ["inner"]);
    assert!(connect(&front, TlsMode::Explicit, &trusting()).is_err(), "a client without one is let in");
}

#[test]
fn who_takes_tls_away_gets_no_password() {
    let (server, front) = good();
    front.change(|manners| manners.offered = false);
    let text = refused(&server, &front, TlsMode::Explicit, &trusting());
    assert!(text.contains("offers no TLS"), "{text}");
    // Who does not insist goes on in clear text, but never with a server that had it.
    let client = connect(&front, TlsMode::Auto, &trusting()).unwrap();
    assert_eq!(client.names("sub").unwrap(), ["inner"]);
    drop(client);
    let (server, front) = good();
    let client = connect(&front, TlsMode::Auto, &trusting()).unwrap();
    front.change(|manners| manners.offered = false);
    server.say(b"421 the connection ends\r\n");
    let error = client.list("sub").expect_err("it went on in clear text");
    assert!(error.to_string().contains("had TLS before"), "{error}");
    assert!(front.clear().iter().all(|line| line == "AUTH TLS"), "{:?}", front.clear());
}

#[test]
fn a_server_that_had_tls_must_have_it_in_the_next_mount_too() {
    for first in [TlsMode::Auto, TlsMode::Explicit] {
        let state = tempfile::tempdir().unwrap();
        let remembering = |mode| {
            let mut options = tls(mode, &trusting());
            options.tls.as_mut().unwrap().known = Some(KnownServers::new(state.path()));
            options
        };
        let (server, front) = good();
        drop(Client::connect_to(front.address(), remembering(first)).unwrap());
        assert_eq!(server.count("PASS"), 1);
        front.change(|manners| manners.offered = false);
        let error =
            Client::connect_to(front.address(), remembering(TlsMode::Auto)).err().expect("it is let down");
        assert_eq!((error.kind(), server.count("USER")), (Kind::Insecure, 1), "{error}");
        let file = state.path().join(front.address().to_string());
        let remedy = format!("remove the file {}", file.display());
        assert!(error.to_string().contains(&remedy), "{error}");
        fs::remove_file(file).unwrap();
        assert!(Client::connect_to(front.address(), remembering(TlsMode::Auto)).is_ok());
    }
}

/// Who stands in between may say yes to AUTH; only a handshake with a certificate that is trusted is remembered.
#[test]
fn a_handshake_that_fails_is_not_remembered() {
    let state = tempfile::tempdir().unwrap();
    let (_server, front) = behind(Manners::new(pki::identity(&["127.0.0.1"], Flaw::Expired)));
    let mut options = tls(TlsMode::Auto, &trusting());
    options.tls.as_mut().unwrap().known = Some(KnownServers::new(state.path()));
    assert!(Client::connect_to(front.address(), options).is_err());
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn a_handshake_that_cannot_work_is_told_with_its_remedy() {
    let (server, front) = good();
    let authority = fs::read_to_string(pki::authority()).unwrap();
    front.change(|manners| manners.clients_of = Some(authority));
    // With TLS 1.3 the alert comes behind the handshake, and may be lost where the connection ends with it.
    let settings = TlsSettings { versions: TlsVersions::Only12, ..trusting() };
    let text = refused(&server, &front, TlsMode::Explicit, &settings);
    assert!(text.contains("cert=FILE"), "{text}");
    front.change(|manners| {
        (manners.clients_of, manners.versions) = (None, vec![&rustls::version::TLS13]);
    });
    let text = refused(&server, &front, TlsMode::Explicit, &settings);
    assert!(text.contains("no version of TLS in common"), "{text}");
    let error = connect(&front, TlsMode::Implicit, &trusting()).err().expect("it does not begin with TLS");
    assert!(error.kind() == Kind::Insecure && error.to_string().contains("ftpes://"), "{error}");
}

/// A server on port 990 waits for TLS before it greets, and says nothing to who does not begin with it.
#[test]
fn silence_on_the_port_of_implicit_tls_is_told_with_its_remedy() {
    watched(|| {
        // Its backlog takes the connections; nobody answers them.
        let _silent = TcpListener::bind("127.0.99.0:990").unwrap();
        let address = "127.0.99.0:990".parse().unwrap();
        for options in [tls(TlsMode::Explicit, &trusting()), Options::default()] {
            let error = Client::connect_to(address, options).err().expect("nobody is there");
            assert!(is_clean(&error) && error.to_string().contains("ftps://"), "{error}");
        }
    });
}

#[test]
fn clear_text_behind_the_answer_to_auth_is_not_believed() {
    watched(|| {
        let (server, front) = good();
        front.change(|manners| manners.injected = Some("230 you are logged in\r\n"));
        let error = connect(&front, TlsMode::Explicit, &trusting()).err().expect("it is believed");
        assert!(is_clean(&error), "{error:?}");
        assert_eq!((server.count("USER"), front.clear().len()), (0, front.clear().len()));
        assert!(front.clear().iter().all(|line| line == "AUTH TLS"), "{:?}", front.clear());
    });
}

/// Every place within the handshake and the first records, then some. The server says 226 each time.
#[test]
fn a_data_stream_that_is_cut_anywhere_is_never_a_whole_file() {
    watched(|| {
        let expected = pattern(2, 300 * 1024);
        let (_server, front) = good();
        for version in [TlsVersions::Only12, TlsVersions::Only13] {
            let settings = TlsSettings { versions: version, ..trusting() };
            let client = connect(&front, TlsMode::Explicit, &settings).unwrap();
            let cuts = [1, 5, 60, 130, 200, 300, 1000, 16_000, 17_000, 100_000, 307_000, 307_300, 307_700];
            let (mut whole, mut errors) = (0, 0);
            for cut in cuts {
                front.change(|manners| {
                    manners.cut = Some(Cut { after: cut, to_client: true, times: usize::MAX })
                });
                match client.read_all("big") {
                    Ok(bytes) => {
                        assert!(bytes == expected, "{} bytes after a cut at {cut}", bytes.len());
                        whole += 1;
                    }
                    Err(error) => {
                        assert!(is_clean(&error), "{cut}: {error:?}");
                        errors += 1;
                    }
                }
                match client.list("sub") {
                    Ok(listing) => assert_eq!(listing.entries.len(), 1, "cut at {cut}"),
                    Err(error) => assert!(is_clean(&error), "{cut}: {error:?}"),
                }
                front.change(|manners| manners.cut = None);
            }
            assert!(whole > 0 && errors > 0, "{whole} whole, {errors} errors");
            assert!(client.read_all("big").unwrap() == expected);
        }
    });
}

#[test]
fn a_server_that_shakes_hands_before_it_answers_is_waited_for() {
    watched(|| {
        let (_server, front) = good();
        front.change(|manners| manners.handshakes_first = true);
        let mut options = tls(TlsMode::Explicit, &trusting());
        options.timeouts.reply = std::time::Duration::from_secs(6);
        options.timeouts.stall = std::time::Duration::from_secs(6);
        options.operation = std::time::Duration::from_secs(20);
        let client = Client::connect_to(front.address(), options).unwrap();
        assert_eq!(client.names("sub").unwrap(), ["inner"]);
    });
}

#[test]
fn data_in_clear_text_is_what_prot_clear_asks_for() {
    let (_server, front) = good();
    let client = TlsClient::new(&trusting()).unwrap();
    let tls = TlsConfig {
        mode: TlsMode::Explicit,
        clear_data: true,
        clear_control: false,
        optional_close_notify: false,
        client,
        known: None,
    };
    let client =
        Client::connect_to(front.address(), Options { tls: Some(tls), ..Options::default() }).unwrap();
    assert!(client.read_all("big").unwrap() == pattern(2, 300 * 1024));
    assert_eq!(front.data_connections(), (0, 0, 0));
}

#[test]
fn a_server_that_announces_nothing_gives_and_takes_large_files() {
    for clear_data in [false, true] {
        watched(move || {
            let mut tree = Tree::sample();
            // More than the buffers between it and us: it would wait for us to read, and we for its reply.
            tree.put("/home/u/large", pattern(5, 24 << 20));
            let server = Server::start(tree, Quirks { opening: Opening::Missing, ..Quirks::default() });
            let manners = Manners::new(pki::identity(&["127.0.0.1"], Flaw::None));
            let front = Front::start(server.address(), manners);
            let mut options = tls(TlsMode::Explicit, &trusting());
            options.tls.as_mut().unwrap().clear_data = clear_data;
            let client = Client::connect_to(front.address(), options).unwrap();
            assert!(client.read_all("large").unwrap() == pattern(5, 24 << 20));
            client.names("").unwrap();
            assert_eq!(client.remote.profile().quirks().announces, Capability::No);
            let path = client.path("new");
            let mut lease = client.remote.lease("write", &path, Lane::Data, client.deadline()).unwrap();
            let session = lease.session().unwrap();
            let mut upload = session.store(path.as_bytes(), StoreAt::Start, client.deadline()).unwrap();
            upload.write(&pattern(6, 100_000), client.deadline()).unwrap();
            upload.finish(client.deadline()).unwrap();
            drop(lease);
            assert_eq!(server.tree().bytes("/home/u/new"), Some(pattern(6, 100_000)));
        });
    }
}
