//! One TCP connection, in clear text or secured, with a bound on every wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustls::ClientConnection;

use crate::deadline::Deadline;
use crate::ftp::tls;

/// Received at once for the TLS layer, in bytes: it would read 4 KiB at a time.
const CHUNK: usize = 128 * 1024;

/// Lines of no more than so many bytes together travel in one segment: it is below any usual segment size.
pub(crate) const SEGMENT: usize = 1024;

/// Of a TLS connection that just ends.
const NO_GOODBYE: &str =
    "the connection ended without the goodbye of TLS (close_notify), so somebody may have cut it";

/// A connection. All waits end by the deadline given; an error of kind `WouldBlock` or `TimedOut` says that
/// one has passed.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<Secured>>,
    /// A handshake that has begun.
    handshake: Option<Box<Secured>>,
    /// The receive and send timeouts that the socket has, to spare setting them again.
    bounds: (Option<Duration>, Option<Duration>),
}

#[derive(Debug)]
struct Secured {
    connection: ClientConnection,
    /// What was received and not yet handed to `connection` is from `start` to `end`.
    input: Box<[u8]>,
    start: usize,
    end: usize,
    /// The peer has closed the TCP connection.
    ended: bool,
}

/// What a connection has for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// No bytes yet.
    Nothing,
    /// Some bytes.
    Bytes,
    /// No bytes any more: it has ended, or failed.
    End,
}

impl Stream {
    /// A connection in clear text.
    pub(crate) fn plain(socket: TcpStream) -> Stream {
        Stream { socket, tls: None, handshake: None, bounds: (None, None) }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// Sends the first flight of a handshake, which [`Stream::end_handshake`] goes on with. Nothing may have been
    /// received in clear text and not been read.
    pub(crate) fn begin_handshake(
        &mut self,
        connection: ClientConnection,
        deadline: Deadline,
    ) -> io::Result<()> {
        let input = vec![0; CHUNK].into_boxed_slice();
        let mut tls = Box::new(Secured { connection, input, start: 0, end: 0, ended: false });
        self.send_records(&mut tls, deadline)?;
        self.handshake = Some(tls);
        Ok(())
    }

    /// Whether a handshake has begun and not ended.
    pub(crate) fn is_shaking_hands(&self) -> bool {
        self.handshake.is_some()
    }

    /// Ends the handshake that has begun, if any.
    pub(crate) fn end_handshake(&mut self, deadline: Deadline) -> io::Result<()> {
        let Some(mut tls) = self.handshake.take() else { return Ok(()) };
        while tls.connection.is_handshaking() {
            self.send_records(&mut tls, deadline)?;
            if tls.connection.is_handshaking() {
                self.receive_records(&mut tls, deadline)?;
                if tls.ended && tls.connection.is_handshaking() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
        }
        self.send_records(&mut tls, deadline)?;
        self.tls = Some(tls);
        Ok(())
    }

    /// Shakes hands, as [`Stream::begin_handshake`] and [`Stream::end_handshake`] do.
    pub(crate) fn secure(&mut self, connection: ClientConnection, deadline: Deadline) -> io::Result<()> {
        self.begin_handshake(connection, deadline)?;
        self.end_handshake(deadline)
    }

    /// Whether the handshake resumed an earlier session; `false` in clear text.
    pub(crate) fn has_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|tls| tls.connection.handshake_kind());
        kind == Some(rustls::HandshakeKind::Resumed)
    }

    /// What was agreed on, for the log.
    pub(crate) fn protocol(&self) -> Option<rustls::ProtocolVersion> {
        self.tls.as_ref().and_then(|tls| tls.connection.protocol_version())
    }

    /// Receives some bytes; 0 at the end. `UnexpectedEof`: a TLS connection ended without saying so, so
    /// somebody may have cut it (RFC 8446 s.6.1).
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        let Some(mut tls) = self.tls.take() else {
            self.bound_reads(deadline)?;
            return self.socket.read(buffer);
        };
        let read = self.read_secured(&mut tls, buffer, deadline);
        self.tls = Some(tls);
        read
    }

    fn read_secured(
        &mut self,
        tls: &mut Secured,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            match tls.connection.reader().read(&mut buffer[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // It is met again by the next call.
                Err(_) if filled > 0 => return Ok(filled),
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, NO_GOODBYE));
                }
                Err(e) => return Err(e),
            }
            if filled > 0 && (filled == buffer.len() || tls.start == tls.end) {
                return Ok(filled);
            }
            // Answers of the TLS layer, such as new keys.
            self.send_records(tls, deadline)?;
            self.receive_records(tls, deadline)?;
        }
    }

    /// Sends some of `bytes`; returns how many. In TLS they are on their way when it returns, as in clear text.
    pub(crate) fn write(&mut self, bytes: &[u8], deadline: Deadline) -> io::Result<usize> {
        let Some(mut tls) = self.tls.take() else {
            self.bound_writes(deadline)?;
            return self.socket.write(bytes);
        };
        let written = tls
            .connection
            .writer()
            .write(bytes)
            .and_then(|n| self.send_records(&mut tls, deadline).map(|()| n));
        self.tls = Some(tls);
        written
    }

    /// Sends all of `bytes`.
    pub(crate) fn write_all(&mut self, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes, deadline) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Sends whole lines, so that no segment (or record of TLS) ends within one.
    pub(crate) fn write_lines(&mut self, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        while !bytes.is_empty() {
            let most = bytes.len().min(SEGMENT);
            let end = |part: &[u8]| memchr::memrchr(b'\n', part).map(|at| at + 1);
            let first = || memchr::memchr(b'\n', bytes).map(|at| at + 1);
            let length = end(&bytes[..most]).or_else(first).unwrap_or(bytes.len());
            let (piece, rest) = bytes.split_at(length);
            self.write_record(piece, deadline)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Sends bytes that the system adds no others to in one segment.
    fn write_record(&mut self, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        if self.tls.is_some() {
            return self.write_all(bytes, deadline);
        }
        while !bytes.is_empty() {
            self.bound_writes(deadline)?;
            match crate::ftp::transport::send_record(&self.socket, bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Tells the peer that no more bytes come; it may still send.
    pub(crate) fn end_writing(&mut self, deadline: Deadline) -> io::Result<()> {
        self.say_goodbye(deadline)?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// In TLS, tells the peer that the end is one, and no cut.
    pub(crate) fn say_goodbye(&mut self, deadline: Deadline) -> io::Result<()> {
        let Some(mut tls) = self.tls.take() else { return Ok(()) };
        tls.connection.send_close_notify();
        let sent = self.send_records(&mut tls, deadline);
        self.tls = Some(tls);
        sent
    }

    /// Goes back to clear text (CCC, RFC 2228 s.3): both sides end TLS, and keep the connection.
    pub(crate) fn unsecure(&mut self, deadline: Deadline) -> io::Result<()> {
        self.say_goodbye(deadline)?;
        match self.read(&mut [0], deadline)? {
            0 => {}
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        match self.tls.take() {
            Some(tls) if tls.start < tls.end || tls.ended => Err(ErrorKind::InvalidData.into()),
            _ => Ok(()),
        }
    }

    /// Whether the connection is silent, as it should be while nothing is asked: nothing to read, not closed.
    /// What only concerns the TLS layer (the tickets of TLS 1.3 come after the handshake) is taken in.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.waiting() == Waiting::Nothing
    }

    /// What the next [`Stream::read`] would meet; never waits. Of a TLS connection, no more is taken in than its
    /// layer holds.
    pub(crate) fn waiting(&mut self) -> Waiting {
        let Some(mut tls) = self.tls.take() else {
            return match crate::ftp::transport::peek(&self.socket) {
                Ok(1..) => Waiting::Bytes,
                Err(e) if e.kind() == ErrorKind::WouldBlock => Waiting::Nothing,
                _ => Waiting::End,
            };
        };
        let mut waiting = self.waiting_secured(&mut tls);
        if self.socket.set_nonblocking(false).is_err() {
            waiting = Waiting::End;
        }
        self.tls = Some(tls);
        waiting
    }

    /// Leaves the socket in non-blocking mode.
    fn waiting_secured(&mut self, tls: &mut Secured) -> Waiting {
        if self.socket.set_nonblocking(true).is_err() {
            return Waiting::End;
        }
        loop {
            match tls.connection.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => return Waiting::Bytes,
                Ok(state) if state.peer_has_closed() || tls.ended => return Waiting::End,
                Ok(_) => {}
                Err(_) => return Waiting::End,
            }
            match self.receive_now(tls) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Waiting::Nothing,
                Err(_) => return Waiting::End,
            }
        }
    }

    fn send_records(&mut self, tls: &mut Secured, deadline: Deadline) -> io::Result<()> {
        while tls.connection.wants_write() {
            self.bound_writes(deadline)?;
            match tls.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn receive_records(&mut self, tls: &mut Secured, deadline: Deadline) -> io::Result<()> {
        if tls.start == tls.end {
            self.bound_reads(deadline)?;
        }
        let received = self.receive_now(tls);
        if matches!(&received, Err(e) if e.kind() == ErrorKind::InvalidData) {
            // The peer is told why.
            let _ = self.send_records(tls, deadline.at_most(Duration::from_secs(1)));
        }
        received
    }

    /// Hands what is there to the TLS layer, after one receive where nothing is left.
    fn receive_now(&mut self, tls: &mut Secured) -> io::Result<()> {
        if tls.start == tls.end {
            let received = loop {
                match self.socket.read(&mut tls.input) {
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            (tls.start, tls.end) = (0, *received.as_ref().unwrap_or(&0));
            tls.ended = received? == 0;
        }
        let mut rest = &tls.input[tls.start..tls.end];
        let before = rest.len();
        tls.connection.read_tls(&mut rest)?;
        tls.start += before - rest.len();
        tls.connection.process_new_packets().map_err(tls::as_io)?;
        Ok(())
    }

    fn bound_reads(&mut self, deadline: Deadline) -> io::Result<()> {
        let bound = bound(deadline)?;
        if self.bounds.0.is_none_or(|set| !is_near(set, bound)) {
            self.socket.set_read_timeout(Some(bound))?;
            self.bounds.0 = Some(bound);
        }
        Ok(())
    }

    fn bound_writes(&mut self, deadline: Deadline) -> io::Result<()> {
        let bound = bound(deadline)?;
        if self.bounds.1.is_none_or(|set| !is_near(set, bound)) {
            self.socket.set_write_timeout(Some(bound))?;
            self.bounds.1 = Some(bound);
        }
        Ok(())
    }
}

/// The time left, at least a millisecond: none at all would be no bound for the system.
fn bound(deadline: Deadline) -> io::Result<Duration> {
    match deadline.left() {
        left if left.is_zero() => Err(ErrorKind::TimedOut.into()),
        left => Ok(left.max(Duration::from_millis(1))),
    }
}

/// Whether a timeout that is set is as good as another: it differs by a hundredth at most.
fn is_near(set: Duration, wanted: Duration) -> bool {
    set.abs_diff(wanted) < wanted / 100
}
