//! TLS data streams that are cut: a short file or listing is never taken as whole.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ftpfs::deadline::Deadline;
use ftpfs::ftp::config::{SessionConfig, Timeouts, TlsMode, TlsSettings, TlsVersions};
use ftpfs::ftp::error::Error;
use ftpfs::ftp::profile::ServerProfile;
use ftpfs::ftp::session::Session;
use ftpfs::ftp::time::{ListContext, ListZone};
use ftpfs::ftp::upload::StoreAt;

use crate::client::{Client, is_clean, session_config, watched};
use crate::common::bounded::within;
use crate::common::mount::Mount;
use crate::common::pki::{self, Flaw};
use crate::common_ftpd::{Cut, Front, Manners, Server, pattern};
use crate::mounted::CALL;
use crate::secured::{behind, tls, trusting};

/// A file of several records.
const SIZE: usize = 1200;
/// Most bytes of a record.
const FRAGMENT: usize = 200;
const FILE: &str = "/home/u/file";
const DIRECTORY: &str = "/home/u/many";
/// Files in the directory. Its listing has as many records as the file.
const FILES: usize = 11;

/// No wait takes longer, unless it is for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// One transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Retrieve,
    List,
    Store,
}

/// Sessions with a server that can be told to cut their data connections.
struct Bench {
    server: Server,
    front: Front,
    config: Arc<SessionConfig>,
    profile: Arc<ServerProfile>,
    session: Option<Session>,
    /// Names may be missing from a listing; those that are there are right.
    may_be_short: bool,
}

impl Bench {
    fn new(versions: TlsVersions, optional_close_notify: bool) -> Bench {
        let mut manners = Manners::new(pki::identity(&["127.0.0.1"], Flaw::None));
        manners.fragment = Some(FRAGMENT);
        let (server, front) = behind(manners);
        server.tree().put(FILE, pattern(1, SIZE));
        server.tree().put_directory(DIRECTORY);
        for i in 0..FILES {
            server.tree().put(&format!("{DIRECTORY}/{}", name(i as u64)), pattern(2, i));
        }
        let mut options = tls(TlsMode::Explicit, &TlsSettings { versions, ..trusting() });
        options.tls.as_mut().unwrap().optional_close_notify = optional_close_notify;
        // No cut is found out by waiting, and a busy machine may need long for a login.
        let Timeouts { connect, login, reply, stall } = &mut options.timeouts;
        [connect, login, reply, stall].into_iter().for_each(|bound| *bound = PATIENCE);
        let config = Arc::new(session_config(front.address(), &options));
        Bench {
            server,
            front,
            config,
            profile: Arc::default(),
            session: None,
            may_be_short: optional_close_notify,
        }
    }

    fn deadline() -> Deadline {
        Deadline::after(PATIENCE)
    }

    /// Does it once; whether it says that it did. What it got, or what the server has, is whole then.
    fn act(&mut self, deed: Deed) -> Result<(), Error> {
        let deadline = Bench::deadline();
        let mut kept = self.session.take();
        let mut session = match kept.take_if(Session::is_ready) {
            Some(session) => session,
            None => Session::open(self.config.clone(), self.profile.clone(), deadline).unwrap(),
        };
        let done = match deed {
            Deed::Retrieve => retrieve(&mut session).map(|bytes| assert!(bytes == pattern(1, SIZE))),
            Deed::List => {
                let context = ListContext { now: 1_700_000_000, zone: ListZone::UTC };
                let listed = session.list(DIRECTORY.as_bytes(), context, deadline);
                listed.map(|listed| {
                    let entries = listed.listing.entries;
                    assert!(entries.len() == FILES || self.may_be_short, "{} names", entries.len());
                    for entry in entries {
                        assert_eq!(entry.size.map(name), String::from_utf8(entry.name.into()).ok());
                    }
                })
            }
            Deed::Store => store(&mut session).map(|()| {
                assert!(
                    self.server.tree().bytes(FILE) == Some(pattern(3, SIZE)),
                    "the server has another file"
                );
            }),
        };
        self.session = Some(session);
        done
    }

    /// Cuts at every byte of the stream, one way.
    fn every_byte(&mut self, deed: Deed, to_client: bool) {
        self.act(deed).unwrap();
        self.act(deed).unwrap();
        let (sent, received) = self.front.last_data();
        let length = if to_client { sent } else { received };
        assert!(length > 100, "{length}");
        for after in 0..length {
            loop {
                let (_, new, _) = self.front.data_connections();
                self.front.change(|manners| manners.cut = Some(Cut { after, to_client, times: 1 }));
                let done = self.act(deed);
                // An upload is whole when the server has all and says so, however the server's own stream ends.
                let may_succeed = (deed == Deed::Store && to_client) || self.may_be_short;
                assert!(may_succeed || done.is_err(), "{deed:?} cut after {after} of {length} bytes");
                // A connection that could not resume has a longer stream: the place was another one.
                if self.front.data_connections().1 == new {
                    break;
                }
                self.session = None;
            }
        }
        self.act(deed).unwrap();
    }
}

/// The name of the file that has so many bytes, long enough to be cut.
fn name(size: u64) -> String {
    format!("{size:060}")
}

fn retrieve(session: &mut Session) -> Result<Vec<u8>, Error> {
    let deadline = Bench::deadline();
    let (mut transfer, _) = session.retrieve(FILE.as_bytes(), 0, false, deadline)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match transfer.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) => {
                let _ = transfer.abandon(deadline);
                return Err(error);
            }
        }
    }
    transfer.finish(deadline).map(|_| bytes)
}

fn store(session: &mut Session) -> Result<(), Error> {
    let deadline = Bench::deadline();
    let mut upload = session.store(FILE.as_bytes(), StoreAt::Start, deadline)?;
    for piece in pattern(3, SIZE).chunks(FRAGMENT) {
        if upload.write(piece, deadline).is_err() {
            break;
        }
    }
    upload.finish(deadline).map(drop)
}

fn every_byte(deed: Deed, to_client: bool) {
    for versions in [TlsVersions::Only12, TlsVersions::Only13] {
        watched(move || Bench::new(versions, false).every_byte(deed, to_client));
    }
}

#[test]
fn a_file_that_is_cut_at_any_byte_is_an_error() {
    every_byte(Deed::Retrieve, true);
}

#[test]
fn a_listing_that_is_cut_at_any_byte_is_an_error() {
    every_byte(Deed::List, true);
}

#[test]
fn an_upload_that_is_cut_at_any_byte_is_whole_or_an_error() {
    every_byte(Deed::Store, false);
    every_byte(Deed::Store, true);
}

/// The server behind takes what came for all there is, and says so each time.
#[test]
fn a_mount_gets_over_a_cut_both_ways() {
    const LARGE: usize = 700_000;
    const CUTS: [usize; 7] = [0, 100, 260, 3000, 17_000, 300_000, 699_990];
    let manners = Manners::new(pki::identity(&["127.0.0.1"], Flaw::None));
    let (server, front) = behind(Manners { believes_any_end: true, ..manners });
    for after in CUTS {
        server.tree().put(&format!("/home/u/old-{after}"), pattern(4, LARGE));
    }
    for version in ["tls_version=1.2", "tls_version=1.3"] {
        let mount = Mount::start(&format!("ftpes://u:secret@{}/", front.address()), &[version]);
        for after in CUTS {
            let cut = |to_client| {
                front.change(|manners| manners.cut = Some(Cut { after, to_client, times: 1 }));
            };
            let dir = mount.path().to_owned();
            // Its directory is known: what is cut is the transfer.
            within(CALL, "listing", move || fs::read_dir(dir).unwrap().count());
            let (new, old) = (format!("new-{version}-{after}"), mount.path().join(format!("old-{after}")));
            let path = mount.path().join(&new);
            cut(false);
            within(CALL, "writing", move || fs::write(path, pattern(5, LARGE))).unwrap();
            let landed = server.tree().bytes(&format!("/home/u/{new}"));
            assert!(landed == Some(pattern(5, LARGE)), "{new}, {:?} bytes", landed.map(|bytes| bytes.len()));
            cut(true);
            let read = within(CALL, "reading", move || fs::read(old)).unwrap();
            assert!(read == pattern(4, LARGE), "{version}, cut after {after}: {} bytes", read.len());
        }
    }
}

/// Where a listing may end without close_notify, a cut can hide names, but no name is half of what it should be.
#[test]
fn half_a_line_is_never_taken_for_a_whole_one() {
    watched(|| Bench::new(TlsVersions::Only13, true).every_byte(Deed::List, true));
}

/// A server that never sends close_notify.
fn silent(optional_close_notify: bool) -> (Server, Front, Client) {
    let manners = Manners::new(pki::identity(&["127.0.0.1"], Flaw::None));
    let (server, front) = behind(Manners { ends_silently: true, ..manners });
    let mut options = tls(TlsMode::Explicit, &trusting());
    options.tls.as_mut().unwrap().optional_close_notify = optional_close_notify;
    let client = Client::connect_to(front.address(), options).unwrap();
    (server, front, client)
}

#[test]
fn a_file_that_has_all_its_bytes_needs_no_close_notify() {
    watched(|| {
        let (server, front, client) = silent(false);
        let big = server.tree().bytes("/home/u/big").unwrap();
        assert!(client.read_all("big").unwrap() == big);
        assert_eq!(server.count("RETR"), 1, "it was not believed at once");
        // The last byte is missing, again and again.
        let after = front.last_data().0 - 1;
        front.change(|manners| manners.cut = Some(Cut { after, to_client: true, times: usize::MAX }));
        server.tree().put("/home/u/other", big.clone());
        match client.read_all("other") {
            Ok(bytes) => assert!(bytes == big, "{} bytes", bytes.len()),
            Err(error) => assert!(is_clean(&error), "{error:?}"),
        }
    });
}

#[test]
fn a_listing_without_close_notify_is_refused_with_its_remedy() {
    watched(|| {
        let (_server, _front, client) = silent(false);
        let error = client.list("sub").expect_err("it is taken as whole");
        assert!(is_clean(&error) && error.to_string().contains("tls_close_notify=optional"), "{error}");
    });
}

#[test]
fn a_listing_needs_no_close_notify_where_it_is_optional_and_the_server_says_that_it_is_whole() {
    watched(|| {
        let (server, _front, client) = silent(true);
        assert_eq!(client.names("sub").unwrap(), ["inner"]);
        server.tree().put_directory("/home/u/empty");
        assert_eq!(client.names("empty").unwrap(), [""; 0]);
        server.quirks().closing = Some("451 Local error in processing");
        let error = client.list("sub").expect_err("the server said that it failed");
        assert!(is_clean(&error), "{error:?}");
    });
}
