//! One end of the link: a network namespace of its own with one TUN device in it.
//!
//! The namespace has no name. It lives as long as somebody holds it: this end, and the processes that were started in
//! it. So nothing is left behind, whatever happens to the test.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// What the kernel does by its clock, and what would let a count of round trips depend on the machine's load: it
/// neither probes for lost packets, nor forgets what it learned of a connection that waits, nor remembers it for the
/// next one; and buffers are large from the start instead of growing with the measured delay.
const SYSCTLS: [(&str, &str); 8] = [
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv4/tcp_congestion_control", "reno"),
    ("net/ipv4/tcp_early_retrans", "0"),
    ("net/ipv4/tcp_recovery", "0"),
    ("net/ipv4/tcp_slow_start_after_idle", "0"),
    ("net/ipv4/tcp_no_metrics_save", "1"),
    ("net/ipv4/tcp_rmem", "4096 16777216 33554432"),
    ("net/ipv4/tcp_wmem", "4096 16777216 33554432"),
];

/// The name of the device at both ends.
const DEVICE: &str = "wan0";

/// `struct ifreq` of <linux/if.h> as TUNSETIFF reads it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

mod request {
    nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, super::InterfaceRequest);
}

/// A namespace and its device.
#[derive(Debug)]
pub(super) struct End {
    namespace: File,
    device: File,
}

impl End {
    /// Makes a namespace with `address` in it; `peer` is at the other end.
    pub(super) fn new(address: Ipv4Addr, peer: Ipv4Addr) -> End {
        // A namespace belongs to a thread: this one is used up by it.
        let made = thread::spawn(move || {
            make(address, peer).expect("cannot make a network namespace with a TUN device")
        });
        made.join().expect("cannot make an end of a link")
    }

    /// What tells this namespace from others.
    pub(super) fn identity(&self) -> u64 {
        self.namespace.metadata().expect("an open file has metadata").ino()
    }

    /// Puts the calling thread into it.
    pub(super) fn enter(&self) {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("cannot enter a network namespace");
    }

    /// The next packet that somebody sent from here, `None` when there is none now.
    pub(super) fn receive(&self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 65536];
        loop {
            match (&self.device).read(&mut packet) {
                Ok(len) => {
                    packet.truncate(len);
                    return Some(packet);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => panic!("cannot read from a TUN device: {error}"),
            }
        }
    }

    /// Lets a packet arrive here.
    pub(super) fn deliver(&self, packet: &[u8]) {
        (&self.device).write_all(packet).expect("cannot write to a TUN device");
    }

    /// Readable when somebody has sent a packet.
    pub(super) fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// The namespace that the calling thread is in.
pub(super) fn current() -> File {
    File::open("/proc/thread-self/ns/net").expect("no network namespaces here")
}

fn make(address: Ipv4Addr, peer: Ipv4Addr) -> io::Result<End> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let device =
        File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request = InterfaceRequest { name: [0; libc::IFNAMSIZ], flags: 0, rest: [0; 22] };
    request.name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    request.flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and the request is a whole `struct ifreq` that lives until the call returns.
    #[allow(unsafe_code, reason = "a TUN device is had by an ioctl and by nothing else")]
    unsafe {
        request::set_interface(device.as_raw_fd(), &raw const request)?;
    }
    for (name, value) in SYSCTLS {
        fs::write(format!("/proc/sys/{name}"), value)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    }
    // `quickack`: no ACK waits for a timer. `rto_min`: no packet is sent again because the link took its time.
    let script = format!(
        "ip link set lo up && ip link set {DEVICE} mtu 1500 txqueuelen 100000 up && \
         ip addr add {address}/32 dev {DEVICE} && \
         ip route add {peer}/32 dev {DEVICE} src {address} quickack 1 rto_min 100s"
    );
    let output = Command::new("sh").args(["-ec", &script]).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(End { namespace: current(), device })
}
