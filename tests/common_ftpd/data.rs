//! Data connections, and the ways in which they go wrong.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::connection::{Connection, Over, Step};
use super::quirks::{Ahead, DataCutEnd, Quirks};
use super::server::Shared;

/// How long the server waits for a data connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Written at once.
const CHUNK: usize = 64 * 1024;

/// Where the next data connection comes from.
pub(super) enum Way {
    Passive(TcpListener),
    Active(SocketAddr),
    /// Announced, and never used.
    Nowhere,
}

/// A transfer to the client, from its first byte to its last.
struct Sending<'a>(&'a Shared);

impl<'a> Sending<'a> {
    fn new(shared: &'a Shared) -> Sending<'a> {
        let now = shared.sending.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_sending.fetch_max(now, Ordering::SeqCst);
        Sending(shared)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sending.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Way {
    pub(super) fn listen(ip: IpAddr) -> std::io::Result<(Way, u16)> {
        let listener = TcpListener::bind((ip, 0))?;
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
        let port = listener.local_addr()?.port();
        Ok((Way::Passive(listener), port))
    }
}

impl Connection<'_> {
    /// Sends `bytes` over the data connection, with everything that goes before and after.
    pub(super) fn transfer(&mut self, quirks: &Quirks, bytes: &[u8]) -> Step {
        self.transfer_in(quirks, None, bytes)
    }

    /// The same, announced by other words than the usual ones.
    pub(super) fn transfer_in(&mut self, quirks: &Quirks, opening: Option<&str>, bytes: &[u8]) -> Step {
        let Some(way) = self.way.take() else { return self.reply("425 Use EPSV or PORT first") };
        match opening {
            Some(opening) => self.reply(opening)?,
            None => self.announce(quirks.opening)?,
        }
        if matches!(way, Way::Nowhere) {
            return self.hang();
        }
        let connected = self.connect(way, quirks);
        let Ok(mut data) = connected else { return self.reply("425 Can't open data connection") };
        data.set_write_timeout(Some(Duration::from_secs(30)))?;
        let cut = {
            let mut quirks = self.shared.quirks.lock();
            quirks.data_cut.as_mut().filter(|cut| cut.times > 0 && cut.after < bytes.len()).map(|cut| {
                cut.times -= 1;
                *cut
            })
        };
        let sent = match cut {
            Some(cut) => &bytes[..cut.after],
            None => bytes,
        };
        let sending = Sending::new(self.shared);
        for (number, chunk) in sent.chunks(CHUNK).enumerate() {
            let overwritten = self.shared.quirks.lock().overwritten.clone();
            // The end of the file is that of all of its transfers, wherever they begin.
            let from =
                overwritten.as_ref().and_then(|now| (now.len() + number * CHUNK).checked_sub(bytes.len()));
            let now =
                overwritten.as_ref().zip(from).and_then(|(now, from)| now.get(from..from + chunk.len()));
            let chunk = now.unwrap_or(chunk);
            if data.write_all(chunk).is_err() {
                if quirks.silent_abandoned {
                    return Ok(());
                }
                return self.reply("426 Connection closed; transfer aborted");
            }
            self.shared.sent.fetch_add(chunk.len(), Ordering::SeqCst);
            if let Some(pause) = quirks.slow {
                std::thread::sleep(pause);
            }
        }
        drop(sending);
        while quirks.endless_listings && !self.shared.is_stopping() {
            if data.write_all(&b"\x01garbage without meaning\r\n".repeat(1000)).is_err() {
                return self.reply("426 Connection closed; transfer aborted");
            }
        }
        if let Some(cut) = cut {
            self.shared.cuts.fetch_add(1, Ordering::SeqCst);
            match cut.end {
                DataCutEnd::Says426 => {
                    drop(data);
                    self.reply("426 Connection closed; transfer aborted")?;
                    return self.after_transfer(quirks, false);
                }
                DataCutEnd::Lies226 => {}
                DataCutEnd::Silent => return Err(Over),
                DataCutEnd::Stalls => return self.hang(),
            }
        }
        let _ = data.shutdown(Shutdown::Write);
        drop(data);
        if quirks.ahead == Ahead::Swallows {
            self.swallow()?;
        }
        self.reply(quirks.closing.unwrap_or("226 Transfer complete"))?;
        self.after_transfer(quirks, true)
    }

    /// Takes or makes the data connection.
    pub(super) fn connect(&self, way: Way, quirks: &Quirks) -> std::io::Result<TcpStream> {
        match way {
            Way::Passive(listener) => listener.accept().map(|(stream, _)| stream),
            Way::Nowhere => Err(std::io::ErrorKind::NotConnected.into()),
            Way::Active(address) => {
                if quirks.stranger {
                    intrude(address);
                }
                TcpStream::connect_timeout(&address, PATIENCE)
            }
        }
    }

    pub(super) fn after_transfer(&mut self, quirks: &Quirks, succeeded: bool) -> Step {
        if let Some(late) = quirks.late.filter(|late| !(late.failed_only && succeeded)) {
            std::thread::sleep(late.pause);
            self.raw(late.bytes)?;
        }
        if quirks.hang_up_after_transfer { Err(Over) } else { Ok(()) }
    }
}

/// Connects to the client's data port from another address and sends something else.
fn intrude(address: SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 0));
    socket.bind(&from.into()).unwrap();
    if socket.connect_timeout(&address.into(), PATIENCE).is_ok() {
        let _ = (&socket).write_all(b"bytes of somebody else");
    }
}
