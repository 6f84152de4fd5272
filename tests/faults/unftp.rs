//! libunftp 0.24, a real server that keeps the offset of a failed transfer and answers out of order.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use ftpfs::deadline::Deadline;
use ftpfs::ftp::config::{DataConfig, Login, SessionConfig, Timeouts};
use ftpfs::ftp::session::Session;
use ftpfs::remote::{Lane, Remote, RemotePath};
use ftpfs::secret::Secret;

use crate::client::watched;
use crate::common_ftpd::pattern;

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Serves `dir` until the runtime is dropped; returns the port.
fn serve(runtime: &tokio::runtime::Runtime, dir: &Path) -> u16 {
    // A port that was only looked up could be another's by the time that the server listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let dir = dir.to_owned();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let dir = dir.clone();
            let backend = Box::new(move || unftp_sbe_fs::Filesystem::new(dir.clone()).unwrap());
            let server = libunftp::ServerBuilder::new(backend).build().unwrap();
            tokio::spawn(server.service(connection));
        }
    });
    port
}

fn connect(port: u16) -> Remote {
    let bound = Duration::from_secs(10);
    let config = SessionConfig {
        host: "127.0.0.1".to_owned(),
        port,
        family: Default::default(),
        bind: None,
        proxy: None,
        login: Login { user: b"u".to_vec(), password: Secret::new("p"), account: None },
        data: DataConfig::default(),
        timeouts: Timeouts { connect: bound, login: bound, reply: bound, stall: bound },
        tls: None,
        list_zone: None,
        utf8: true,
    };
    Remote::connect(config, b"", true, 1, deadline()).unwrap()
}

/// Reads to the end from `offset`; `None` where the server refuses.
fn read(session: &mut Session, path: &[u8], offset: u64) -> Option<Vec<u8>> {
    let (mut transfer, _) = session.retrieve(path, offset, false, deadline()).ok()?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match transfer.read(&mut chunk).ok()? {
            0 => break,
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    transfer.finish(deadline()).ok()?;
    Some(bytes)
}

#[test]
fn the_offset_of_a_failed_transfer_is_not_that_of_the_next() {
    watched(|| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), pattern(1, 1000)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let remote = connect(serve(&runtime, dir.path()));
        assert!(!remote.profile().pipelines());
        let path = RemotePath::parse(b"/file").unwrap();
        let mut lease = remote.lease("read", &path, Lane::Data, deadline()).unwrap();
        let session = lease.session().unwrap();
        assert_eq!(read(session, b"/file", 100), Some(pattern(1, 1000)[100..].to_vec()));
        assert_eq!(read(session, b"/absent", 100), None);
        assert!(session.is_ready());
        assert_eq!(read(session, b"/file", 0), Some(pattern(1, 1000)));
        assert_eq!(read(session, b"/file", 10), Some(pattern(1, 1000)[10..].to_vec()));
        drop(lease);
        drop(remote);
        runtime.shutdown_background();
    });
}
