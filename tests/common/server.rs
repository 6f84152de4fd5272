//! One real FTP server for one test, over a directory of the test's choice.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use ftpfs::ftp::config::{TlsClient, TlsConfig, TlsMode, TlsSettings};
use tempfile::TempDir;

use super::bounded::eventually;
use super::{PASSWORD, USER, config, fresh_dir, process};

/// Where they listen, but for those on `::1`.
pub(crate) const PORT: u16 = 2121;

/// The servers that every promise is tested with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Vsftpd,
    Proftpd,
    PureFtpd,
    Pyftpdlib,
}

/// Who logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Tester,
    Anonymous,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Most control connections at a time, `None` for more than any test needs.
    pub(crate) max_clients: Option<u32>,
    /// Listen on `::1`, else on an IPv4 address of its own.
    pub(crate) ipv6: bool,
    /// Listen on this address instead: the calling thread is in a network namespace that has it.
    pub(crate) address: Option<IpAddr>,
    /// When the server closes an idle connection; pure-ftpd counts in minutes.
    pub(crate) idle: Duration,
    /// Clear text is refused, and vsftpd and ProFTPD demand that data connections resume the session.
    pub(crate) tls: Tls,
    /// The server lists by LIST only and by the clock of this zone (as the variable TZ has it): ProFTPD.
    pub(crate) zone: Option<&'static str>,
}

/// How a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Off,
    /// By AUTH TLS.
    Explicit,
    /// From the first byte; vsftpd and ProFTPD only.
    Implicit,
    /// By AUTH TLS, with a certificate that nobody vouches for.
    SelfSigned,
}

impl Default for Options {
    fn default() -> Options {
        // `FTPFS_TEST_TLS=1.2` and `1.3` run any test over TLS.
        let tls = if super::tls_version().is_some() { Tls::Explicit } else { Tls::Off };
        Options {
            max_clients: None,
            ipv6: false,
            address: None,
            idle: Duration::from_secs(600),
            tls,
            zone: None,
        }
    }
}

/// A running server. All its processes end when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    address: SocketAddr,
    script: String,
    tls: Tls,
    run: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts a server over `root` and waits until it listens.
    pub(crate) fn start(kind: Kind, root: &Path, options: &Options) -> Server {
        let run = fresh_dir("server-");
        let address = match options.address {
            Some(ip) => SocketAddr::new(ip, PORT),
            None => free_address(options.ipv6),
        };
        let log = run.path().join("log");
        let script = config::prepare(kind, root, address, options, log.to_str().unwrap(), run.path());
        let mut server = Server { kind, address, script, tls: options.tls, run, child: None };
        server.restart();
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the library speaks to it.
    pub(crate) fn tls_config(&self) -> Option<TlsConfig> {
        let mode = match self.tls {
            Tls::Off => return None,
            Tls::Explicit | Tls::SelfSigned => TlsMode::Explicit,
            Tls::Implicit => TlsMode::Implicit,
        };
        let settings = TlsSettings { authorities: Some(super::pki::authority()), ..TlsSettings::default() };
        let client = TlsClient::new(&settings).unwrap();
        Some(TlsConfig {
            mode,
            clear_data: false,
            clear_control: false,
            optional_close_notify: false,
            client,
            known: None,
        })
    }

    /// The URL of `path` (which begins with `/`), with the user's password in it.
    pub(crate) fn url(&self, user: User, path: &str) -> String {
        let scheme = match self.tls {
            Tls::Off => "ftp",
            Tls::Explicit | Tls::SelfSigned => "ftpes",
            Tls::Implicit => "ftps",
        };
        match user {
            User::Tester => format!("{scheme}://{USER}:{PASSWORD}@{}{path}", self.address),
            User::Anonymous => format!("{scheme}://{}{path}", self.address),
        }
    }

    /// Stops all its processes as a server does whose machine has stopped: connections stay open, nothing answers.
    pub(crate) fn stop(&self) {
        // A process that forks while we look is seen in the next round.
        let mut stopped = Vec::new();
        loop {
            let family = self.family();
            if family.iter().all(|pid| stopped.contains(pid)) {
                return;
            }
            process::signal("STOP", &family);
            stopped = family;
        }
    }

    /// Lets a stopped server go on.
    pub(crate) fn cont(&self) {
        process::signal("CONT", &self.family());
    }

    /// Ends it at once, with all its sessions.
    pub(crate) fn kill(&mut self) {
        let family = self.family();
        process::signal("KILL", &family);
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        eventually(Duration::from_secs(10), "server's processes to end", || {
            family.iter().all(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(())
        });
    }

    /// Starts it on the address it had before; it must not be running.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none(), "{:?} is running", self.kind);
        let log = fs::File::options().create(true).append(true).open(self.run.path().join("log")).unwrap();
        // A mount that another test has at this moment would live on in the new namespace: it is dropped there.
        let script = format!("umount -a -l -t fuse.ftpfs,fuse; {}; exit $?", self.script);
        // The namespace of processes ends all sessions with the shell that is its first, and the signal ends that one
        // with the test. The server itself would lose the signal when it changes its user, so it must not be the first.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child=KILL", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .current_dir("/")
            .process_group(0)
            .spawn()
            .expect("cannot run setpriv(1)");
        self.child = Some(child);
        eventually(Duration::from_secs(20), "server to listen", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "{:?} ended: {}", self.kind, self.log());
            is_listening(self.address).then_some(())
        });
    }

    /// What the server wrote, for messages.
    pub(crate) fn log(&self) -> String {
        fs::read(self.run.path().join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn family(&self) -> Vec<u32> {
        self.child.as_ref().map(|child| process::family(child.id())).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("-- {:?} at {} wrote:\n{}", self.kind, self.address, self.log());
            process::signal("KILL", &self.family());
        } else if self.child.is_some() {
            self.kill();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// An IPv4 address that no other server has (all of 127/8 is ours), or a free port of `::1`, which is the only one. The
/// port is none of those that the kernel gives out by itself: one of them would be somebody's data connection before
/// the server listens.
fn free_address(ipv6: bool) -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    if ipv6 {
        let from = u16::from_be_bytes([high, low]);
        let ports = || 10_000 + from.wrapping_add(NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = || SocketAddr::from((Ipv6Addr::LOCALHOST, ports()));
        let free = (0..20_000).map(|_| address()).find(|&address| TcpListener::bind(address).is_ok());
        return free.expect("no IPv6 loopback address here, or no free port");
    }
    let ip = Ipv4Addr::new(127, 1 + high % 250, 1 + low % 250, NEXT.fetch_add(1, Ordering::Relaxed));
    SocketAddr::new(IpAddr::V4(ip), PORT)
}

/// Whether somebody listens there, as the kernel tells: a connection as a probe would use up a server's only slot.
fn is_listening(address: SocketAddr) -> bool {
    let words = |octets: &[u8]| -> String {
        let word = |four: &[u8]| format!("{:08X}", u32::from_ne_bytes([four[0], four[1], four[2], four[3]]));
        octets.chunks(4).map(word).collect()
    };
    let mapped = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let plain = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    };
    let wanted = [plain, words(&mapped.octets())].map(|ip| format!("{ip}:{:04X}", address.port()));
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].iter().any(|table| {
        let table = fs::read_to_string(table).unwrap_or_default();
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().unwrap_or_default();
            // State 0A is LISTEN.
            wanted.iter().any(|wanted| wanted == local) && fields.nth(1) == Some("0A")
        })
    })
}
