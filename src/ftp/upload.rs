//! Uploads: STOR, REST + STOR and APPE, and the end of each, which only the server's final reply confirms.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::ftp::channel::Plan;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::stream::Stream;
use crate::ftp::transfer::Transfer;
use crate::ftp::transport;

/// How long the reply to an upload that failed or was given up is waited for. The server that ended it has said it already;
/// pyftpdlib 2.2.0 at times says nothing when its disk is full.
const REASON: Duration = Duration::from_secs(5);

/// How often it is looked whether the last bytes still move while the final reply is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// Where an upload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAt {
    /// At the start, the file is emptied first (STOR). All servers measured write in place.
    Start,
    /// At this byte (REST and STOR); 0 is [`StoreAt::Start`]. What lies behind the written bytes is kept by
    /// vsftpd, ProFTPD and pyftpdlib, and cut off by pure-ftpd. An offset beyond the end of the file is never
    /// safe: pure-ftpd 1.0.50 writes at the end instead and says 226.
    Offset(u64),
    /// Behind the last byte that the file has when the server opens it (APPE). A missing file is created.
    End,
}

/// Bytes on their way to the server. It borrows its session, so that no other command can be sent meanwhile.
/// It must end with [`Upload::finish`] or [`Upload::abandon`]; dropped in between, the connection is broken.
///
/// From the moment that [`Session::store`] has returned one, the server has announced the transfer (1xx; or it
/// is one that announces nothing, and has not refused it for a second): it
/// has opened the file, emptied it where it begins at the start, and the file will begin with what was sent
/// by then, or with a part of it, however the transfer ends.
#[derive(Debug)]
pub struct Upload<'a> {
    transfer: Transfer<'a>,
    stall: Duration,
    failed: Option<Error>,
}

impl Session {
    /// Starts to write a file.
    ///
    /// # Errors
    /// [`Error::Refused`] with the command that was refused: REST, STOR, APPE, or the last way of making a
    /// data connection; nothing was changed then (but ProFTPD 1.3.8 leaves an empty file when it refuses an
    /// offset into a missing one). Else a failed connection; whether the file was opened is not known then.
    pub fn store(&mut self, path: &[u8], at: StoreAt, deadline: Deadline) -> Result<Upload<'_>, Error> {
        self.store_sized(path, at, 0, deadline)
    }

    /// As [`Session::store`], and tells a server that insists on ALLO that the file will have `size` bytes, as far
    /// as that is known.
    ///
    /// # Errors
    /// As [`Session::store`].
    pub fn store_sized(
        &mut self,
        path: &[u8],
        at: StoreAt,
        size: u64,
        deadline: Deadline,
    ) -> Result<Upload<'_>, Error> {
        let (verb, offset) = match at {
            StoreAt::Start => ("STOR", 0),
            StoreAt::Offset(offset) => ("STOR", offset),
            StoreAt::End => ("APPE", 0),
        };
        let transfer = Command::with(verb, path);
        let allocate = (verb == "STOR").then_some(size);
        let plan = Plan { before: Vec::new(), before_must_succeed: false, offset, allocate, transfer };
        let stall = self.config.timeouts.stall;
        let (transfer, _) = self.start_transfer(&plan, deadline)?;
        if transfer.is_ended() {
            // Dropped without an end, it breaks the connection.
            return Err(Error::Misbehaved("an upload was confirmed before it began"));
        }
        Ok(Upload::over(transfer, stall))
    }
}

/// Reads what a server sends on a data connection that is for our bytes: nothing, but for its TLS layer. A
/// server that does not end its side is not waited for any longer; only its reply counts.
fn read_to_end(data: &mut Stream, deadline: Deadline) {
    if !data.is_secured() {
        return;
    }
    let mut nothing = [0; 256];
    while matches!(data.read(&mut nothing, deadline), Ok(1..)) {}
}

impl<'a> Upload<'a> {
    /// Over a transfer that has begun.
    pub(crate) fn over(transfer: Transfer<'a>, stall: Duration) -> Upload<'a> {
        Upload { transfer, stall, failed: None }
    }

    /// Sends all of `bytes`; waits at most the stall time without progress, and not beyond `deadline`. That
    /// they are sent does not mean that the server has them: on a full disk several MiB vanish before it shows.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Io`]. The upload has failed then, and takes nothing more;
    /// [`Upload::finish`] finds out what the server says of it.
    pub fn write(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.send(bytes, deadline).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        let doing = "sending data";
        let data = self.transfer.data().ok_or(Error::Misbehaved("no data connection"))?;
        while !bytes.is_empty() {
            let bound = deadline.left().min(self.stall);
            if bound.is_zero() {
                return Err(Error::Deadline { doing, after: bound });
            }
            match data.write(bytes, deadline.at_most(bound)) {
                Ok(0) => return Err(Error::io(doing, bound, ErrorKind::WriteZero.into())),
                Ok(sent) => bytes = &bytes[sent..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(doing, bound, e)),
            }
        }
        Ok(())
    }

    /// Ends the data and reads the final reply. While bytes that were sent are still on their way, it waits
    /// as long as they move within the stall time; then as long as any reply may take. Never beyond
    /// `deadline`.
    ///
    /// Only a 2xx after all bytes were sent is a success, and even then the size has to be compared:
    /// pyftpdlib 2.2.0 says 226 when the connection was reset.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's reason; after a failed [`Upload::write`] its error where the
    /// server gives none within 5 s; else a failed connection.
    pub fn finish(mut self, deadline: Deadline) -> Result<Reply, Error> {
        if self.failed.is_none() {
            self.failed = self.end_data(deadline).err();
        }
        let Some(failed) = self.failed else {
            // The server may have said something before it has all.
            let unsent = self.unsent();
            let ended = self.transfer.finish(deadline);
            if let (Err(error), Some(socket)) = (&ended, &unsent)
                && error.refusal().is_none()
            {
                transport::reset_at_end(socket);
            }
            return ended;
        };
        if let Some(data) = self.transfer.data() {
            // The kernel would go on to send what it has, for minutes, and it could come when the file was stored anew.
            transport::reset_at_end(data.socket());
        }
        match self.transfer.finish(deadline.at_most(REASON)) {
            Err(error) if error.refusal().is_some() => Err(error),
            _ => Err(failed),
        }
    }

    /// Tells the server that the data has ended, and waits for the last bytes to leave: a send buffer of some
    /// MiB takes a slow link longer than any reply may take.
    ///
    /// In TLS the server's own end is read too: what it has sent (tickets of TLS 1.3) and nobody has read
    /// makes the kernel reset the connection when it is closed, and cut what is still on its way.
    fn end_data(&mut self, deadline: Deadline) -> Result<(), Error> {
        let doing = "sending data";
        let stall = self.stall;
        let Some(data) = self.transfer.data() else { return Ok(()) };
        data.end_writing(deadline.at_most(stall)).map_err(|e| Error::io(doing, stall, e))?;
        let (mut least, mut moved) = (usize::MAX, Instant::now());
        loop {
            let Some(data) = self.transfer.data() else { return Ok(()) };
            let unsent = crate::sys::unsent(data.socket()).map_err(|e| Error::io(doing, stall, e))?;
            if unsent == 0 {
                read_to_end(data, deadline.at_most(REASON));
                return Ok(());
            }
            if unsent < least {
                (least, moved) = (unsent, Instant::now());
            }
            let bound = deadline.left().min(stall.saturating_sub(moved.elapsed())).min(LOOK);
            if bound.is_zero() {
                return Err(Error::Deadline { doing, after: moved.elapsed() });
            }
            if self.transfer.awaits_reply(bound) {
                if let Some(data) = self.transfer.data() {
                    read_to_end(data, deadline.at_most(LOOK));
                }
                return Ok(());
            }
        }
    }

    /// The data connection once more, if something is still on its way over it; what holds a copy does not end with the
    /// other one, so no more can be written from now on.
    fn unsent(&mut self) -> Option<TcpStream> {
        let socket = self.transfer.data()?.socket();
        if crate::sys::unsent(socket).is_ok_and(|unsent| unsent == 0) {
            return None;
        }
        let socket = socket.try_clone().ok()?;
        let _ = socket.shutdown(Shutdown::Write);
        Some(socket)
    }

    /// Stops in the middle; the file on the server is then anything. To the server it looks like the end of
    /// the data: a reset, which would throw away what is still on its way, leaves pyftpdlib 2.2.0 without an
    /// answer. The one reply that ends the transfer is read, whatever its code, for at most 5 s. Where none comes, it is
    /// reset after all: what the kernel would go on to send could come when the file was stored anew.
    ///
    /// # Errors
    /// A failed connection.
    pub fn abandon(mut self, deadline: Deadline) -> Result<(), Error> {
        let unsent = self.unsent();
        let ended = self.transfer.abandon(deadline.at_most(REASON));
        if let (Err(_), Some(socket)) = (&ended, &unsent) {
            transport::reset_at_end(socket);
        }
        ended
    }
}
