//! The control connection: commands out, replies in, each reply bound to its command.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::ClientConnection;

use crate::deadline::Deadline;
use crate::ftp::command::{Command, changes_something};
use crate::ftp::error::Error;
use crate::ftp::quirks;
use crate::ftp::reply::{Lines, Reply, ReplyParser};
use crate::ftp::stream::{SEGMENT, Stream, Waiting};
use crate::ftp::transport;
use crate::secret::Secret;

/// The bound of a receive that finds its bytes here already.
const INSTANT: Duration = Duration::from_secs(1);

/// A control connection. Once a reply is late, missing or malformed it is broken for good: a later reply
/// could otherwise be taken as the answer to another command.
#[derive(Debug)]
pub struct ControlConnection {
    stream: Stream,
    local: SocketAddr,
    peer: SocketAddr,
    /// Shown in the protocol trace.
    number: u32,
    parser: ReplyParser,
    /// Received and not yet parsed.
    input: Vec<u8>,
    /// What has been sent and not been answered yet, oldest first.
    expected: VecDeque<Expected>,
    /// The reply to the command that was sent ahead.
    told_ahead: Option<Reply>,
    reply_timeout: Duration,
    double_iac: bool,
    broken: bool,
    /// The command sent last, or one sent with it, was answered by a 1xx.
    announced: bool,
    /// REST was taken, and no transfer has ended well since.
    holds_offset: bool,
    /// Commands handed to the network so far.
    sent: u64,
    /// What the last command had that nobody may see; its reply may repeat it.
    hidden: Secret,
}

/// A command that has not been answered yet.
#[derive(Debug)]
struct Expected {
    /// In words fit for an error.
    words: String,
    /// Nobody waits for the reply; see [`ControlConnection::send_ahead`].
    is_ahead: bool,
}

impl ControlConnection {
    /// Takes over a connected socket. `number` names it in the trace.
    ///
    /// # Errors
    /// [`Error::Io`] when the socket is no longer connected.
    pub fn new(stream: TcpStream, number: u32, reply_timeout: Duration) -> Result<Self, Error> {
        let fail = |e| Error::io("connecting", Duration::ZERO, e);
        Ok(ControlConnection {
            local: stream.local_addr().map_err(fail)?,
            peer: stream.peer_addr().map_err(fail)?,
            stream: Stream::plain(stream),
            number,
            parser: ReplyParser::default(),
            input: Vec::new(),
            expected: VecDeque::from([Expected { words: "the greeting".to_owned(), is_ahead: false }]),
            told_ahead: None,
            reply_timeout,
            double_iac: false,
            broken: false,
            announced: false,
            holds_offset: false,
            sent: 0,
            hidden: Secret::default(),
        })
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The server's end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The length of a command as it is sent, in bytes.
    pub(crate) fn length(&self, command: &Command) -> usize {
        command.length(self.double_iac)
    }

    /// Whether 0xFF must be sent twice from now on.
    pub fn set_double_iac(&mut self, double: bool) {
        self.double_iac = double;
    }

    /// Counts the command that was last answered by a 1xx as ended: pure-ftpd 1.0.50 ends a transfer that
    /// the client closed with a 150.
    pub(crate) fn settle(&mut self) {
        self.expected.pop_front();
    }

    /// Makes the connection unusable.
    pub fn break_off(&mut self) {
        self.broken = true;
    }

    /// Whether the connection can carry another command: in step, every reply read but for that to a command
    /// sent ahead, nothing unasked waiting.
    pub fn is_ready(&mut self) -> bool {
        self.absorb();
        if self.broken || self.is_awaited() {
            return false;
        }
        match self.is_ahead_awaited() {
            // What has come since is its answer, or the beginning of it.
            true => self.stream.waiting() != Waiting::End,
            false => self.input.is_empty() && !self.parser.is_inside() && self.stream.is_quiet(),
        }
    }

    /// Whether somebody waits for a reply that has not come.
    fn is_awaited(&self) -> bool {
        self.expected.iter().any(|expected| !expected.is_ahead)
    }

    /// Whether nothing more can be done with it.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the last transfer was announced by a 1xx.
    pub(crate) fn was_announced(&self) -> bool {
        self.announced
    }

    /// Whether the server may keep an offset for the next transfer.
    pub(crate) fn may_hold_offset(&self) -> bool {
        self.holds_offset
    }

    /// Whether a reply has begun to come, or the connection has ended; never waits.
    pub(crate) fn has_input(&mut self) -> bool {
        !self.input.is_empty() || self.broken || !self.stream.is_quiet()
    }

    /// The socket below, to wait on. What [`ControlConnection::has_input`] has found does not show on it.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// How many commands may have reached the server: the difference tells whether a failed exchange left
    /// anything open.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Waits up to `bound` for a reply to begin; whether one has, or the connection has ended.
    pub(crate) fn await_input(&mut self, bound: Duration) -> bool {
        if !self.input.is_empty() || self.broken {
            return true;
        }
        let passed = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
        self.receive(Deadline::after(bound)).map_or_else(|error| !passed.contains(&error.kind()), |_| true)
    }

    /// Receives some bytes of replies; 0 at the end of the connection.
    fn receive(&mut self, deadline: Deadline) -> std::io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let received = self.stream.read(&mut chunk, deadline)?;
        self.input.extend_from_slice(&chunk[..received]);
        Ok(received)
    }

    /// Shakes hands (RFC 4217 s.4). The connection must be in step, and nothing may have come in clear text
    /// behind the last reply: somebody could have put it there (pyftpdlib 2.2.0 takes commands so, too).
    ///
    /// # Errors
    /// The connection is broken after each.
    pub(crate) fn secure(&mut self, connection: ClientConnection, deadline: Deadline) -> Result<(), Error> {
        // A server that speaks TLS from the start greets behind the handshake.
        let greeted = self.expected.is_empty();
        if self.broken || (greeted && !self.is_ready()) {
            self.broken = true;
            return Err(Error::Misbehaved("clear text came behind the answer to AUTH; it is not believed"));
        }
        let (doing, whole) = ("TLS handshake", deadline.left());
        let secured = self.stream.secure(connection, deadline).map_err(|e| Error::io(doing, whole, e));
        secured.inspect_err(|_| self.broken = true)?;
        log::debug!("#{} secured by {:?}", self.number, self.stream.protocol());
        Ok(())
    }

    /// Goes back to clear text after CCC (RFC 2228 s.3).
    ///
    /// # Errors
    /// The connection is broken after each.
    pub(crate) fn unsecure(&mut self, deadline: Deadline) -> Result<(), Error> {
        let whole = deadline.left();
        let done = self.stream.unsecure(deadline).map_err(|e| Error::io("ending TLS after CCC", whole, e));
        done.inspect_err(|_| self.broken = true)
    }

    /// Sends commands in one segment. Each must be answered by [`ControlConnection::reply`], in this order.
    ///
    /// # Errors
    /// [`Error::BadArgument`] with nothing sent; [`Error::Closed`] with nothing sent where the server has
    /// closed the connection or said something unasked; else a failed connection.
    pub fn send(&mut self, commands: &[Command], deadline: Deadline) -> Result<(), Error> {
        self.send_with(commands, None, deadline)
    }

    /// As [`ControlConnection::send`], with a command behind them whose reply nobody waits for, as
    /// [`ControlConnection::send_ahead`] would send it.
    ///
    /// # Errors
    /// As [`ControlConnection::send`].
    pub(crate) fn send_with(
        &mut self,
        commands: &[Command],
        ahead: Option<&Command>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if self.broken || (ahead.is_some() && self.is_ahead_awaited()) {
            return Err(Error::Closed(None));
        }
        let mut bytes = Vec::new();
        for command in commands.iter().chain(ahead) {
            command.encode(self.double_iac, &mut bytes)?;
        }
        // What lies here already would be taken for the answer.
        if !self.is_awaited() && !self.is_ready() {
            self.broken = true;
            return Err(Error::Closed(None));
        }
        self.announced = false;
        self.sent += commands.len() as u64;
        self.hidden = commands.iter().find_map(Command::hidden).map(Secret::new).unwrap_or_default();
        for command in commands {
            self.expected.push_back(Expected { words: command.to_string(), is_ahead: false });
        }
        if let Some(ahead) = ahead {
            self.told_ahead = None;
            self.expected.push_back(Expected { words: ahead.to_string(), is_ahead: true });
        }
        self.put(commands.iter().chain(ahead), &bytes, deadline)
    }

    /// Whether commands go out in one segment.
    pub(crate) fn fits_segment<'a>(&self, commands: impl IntoIterator<Item = &'a Command>) -> bool {
        commands.into_iter().map(|command| self.length(command)).sum::<usize>() <= SEGMENT
    }

    /// Sends a command whose reply nobody waits for. It must be one that changes nothing, and of which only the
    /// last one counts: PASV, EPSV. What is sent after it can be asked for its replies as if it were not there; its own
    /// is told by [`ControlConnection::take_ahead`]. There is one at a time.
    ///
    /// # Errors
    /// As [`ControlConnection::send`].
    pub(crate) fn send_ahead(&mut self, command: &Command, deadline: Deadline) -> Result<(), Error> {
        if self.broken || self.is_ahead_awaited() {
            return Err(Error::Closed(None));
        }
        let mut bytes = Vec::new();
        command.encode(self.double_iac, &mut bytes)?;
        self.told_ahead = None;
        self.expected.push_back(Expected { words: command.to_string(), is_ahead: true });
        self.put([command], &bytes, deadline)
    }

    /// Whether the command that was sent ahead has no reply yet.
    pub(crate) fn is_ahead_awaited(&self) -> bool {
        self.expected.iter().any(|expected| expected.is_ahead)
    }

    /// The reply to the command that was sent ahead, once, if it has come; never waits.
    pub(crate) fn take_ahead(&mut self) -> Option<Reply> {
        self.absorb();
        self.told_ahead.take()
    }

    /// Waits for the reply to the command that was sent ahead. Nothing else may be unanswered.
    ///
    /// # Errors
    /// As [`ControlConnection::reply`].
    pub(crate) fn await_ahead(&mut self, deadline: Deadline) -> Result<Option<Reply>, Error> {
        while self.is_ahead_awaited() && self.told_ahead.is_none() {
            self.next_reply(deadline, None)?;
        }
        Ok(self.told_ahead.take())
    }

    /// Takes in the reply to the command that was sent ahead, as far as it is here.
    fn absorb(&mut self) {
        while !self.broken && self.expected.front().is_some_and(|expected| expected.is_ahead) {
            let result = match self.parsed(None) {
                Ok(Some(reply)) => self.judge(reply).map(drop),
                Ok(None) if self.stream.waiting() != Waiting::Bytes => return,
                Ok(None) => self
                    .receive(Deadline::after(INSTANT))
                    .map(drop)
                    .map_err(|e| Error::io("reading what is here", INSTANT, e)),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                log::debug!("#{} ! {error}", self.number);
                self.broken = true;
            }
        }
    }

    /// Hands encoded commands to the network.
    fn put<'a>(
        &mut self,
        commands: impl IntoIterator<Item = &'a Command>,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let doing = "sending a command";
        let bound = deadline.left().min(self.reply_timeout);
        let sent = match bound.is_zero() {
            true => Err(Error::Deadline { doing, after: bound }),
            false => self
                .stream
                .write_lines(bytes, deadline.at_most(bound))
                .map_err(|e| Error::io(doing, bound, e)),
        };
        for command in commands {
            log::debug!("#{} > {command}", self.number);
        }
        sent.inspect_err(|_| self.broken = true)
    }

    /// Reads the reply to the oldest unanswered command.
    ///
    /// # Errors
    /// [`Error::Closed`] for 421 and end of file, [`Error::Deadline`], [`Error::Misbehaved`]: the connection
    /// is broken after each of them. A refusal is an `Ok` here.
    pub fn reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        self.reply_lines(deadline, None)
    }

    /// As [`ControlConnection::reply`], but the lines between the first and the last of the reply are given to `inner`
    /// instead of kept, however many they are.
    ///
    /// # Errors
    /// As [`ControlConnection::reply`].
    pub(crate) fn reply_lines(
        &mut self,
        deadline: Deadline,
        inner: Option<&mut Lines<'_>>,
    ) -> Result<Reply, Error> {
        while self.expected.front().is_some_and(|expected| expected.is_ahead) {
            self.next_reply(deadline, None)?;
        }
        let reply = self.next_reply(deadline, inner)?;
        reply.ok_or(Error::Misbehaved("a reply is missing"))
    }

    /// The next reply; `None` if it answered the command that was sent ahead, and was kept.
    fn next_reply(
        &mut self,
        deadline: Deadline,
        inner: Option<&mut Lines<'_>>,
    ) -> Result<Option<Reply>, Error> {
        if self.broken {
            return Err(Error::Closed(None));
        }
        let result = self.read_reply(deadline.at_most(self.reply_timeout), inner);
        result.and_then(|reply| self.judge(reply)).inspect_err(|error| {
            log::debug!("#{} ! {error}", self.number);
            self.broken = true;
        })
    }

    /// Binds a reply to the oldest unanswered command; `None` if that was the one sent ahead.
    fn judge(&mut self, mut reply: Reply) -> Result<Option<Reply>, Error> {
        reply.hide(self.hidden.expose());
        if log::log_enabled!(log::Level::Debug) {
            let more = if reply.lines().count() > 1 { " (last of several lines)" } else { "" };
            log::debug!("#{} < {reply}{more}", self.number);
        }
        // RFC 959 s.5.4: 421 may answer anything, and the connection is closed then. libunftp 0.24
        // says 221 when a session was idle for too long.
        if matches!(reply.code(), 221 | 421) {
            return Err(Error::Closed(Some(reply)));
        }
        let Some(Expected { words, is_ahead }) = self.expected.front() else {
            return Err(Error::Misbehaved("a reply came that answers no command"));
        };
        let (verb, argument) = words.split_once(' ').unwrap_or((words, ""));
        if !fits(reply.code(), verb) {
            return Err(Error::Misbehaved("a reply does not fit its command"));
        }
        if quirks::forgot_login(&reply) && !precedes_login(verb) {
            return Err(Error::Closed(Some(reply)));
        }
        match verb {
            "REST" if reply.is_intermediate() => self.holds_offset = argument != "0",
            "RETR" | "STOR" | "APPE" if reply.is_completion() => self.holds_offset = false,
            _ => {}
        }
        let is_ahead = *is_ahead;
        if reply.is_preliminary() {
            self.announced = true;
        } else {
            self.expected.pop_front();
        }
        if is_ahead {
            self.told_ahead = Some(reply);
            return Ok(None);
        }
        Ok(Some(reply))
    }

    /// Sends one command and reads its reply.
    ///
    /// # Errors
    /// As [`ControlConnection::send`] and [`ControlConnection::reply`].
    pub fn exchange(&mut self, command: Command, deadline: Deadline) -> Result<Reply, Error> {
        self.send(std::slice::from_ref(&command), deadline)?;
        self.reply(deadline)
    }

    /// Sends one command and expects 2xx.
    ///
    /// # Errors
    /// [`Error::Refused`] for any other code, else as [`ControlConnection::exchange`].
    pub fn perform(&mut self, command: Command, deadline: Deadline) -> Result<Reply, Error> {
        let words = command.to_string();
        let reply = self.exchange(command, deadline)?;
        match reply.is_completion() {
            true => Ok(reply),
            false => Err(self.refused(words, reply)),
        }
    }

    /// The error of a command whose reply is not what it needs: a refusal for 4xx and 5xx. Any other code
    /// belongs to another command, and so may all that follows: the connection is broken then.
    pub(crate) fn refused(&mut self, command: String, reply: Reply) -> Error {
        if reply.code() < 400 {
            log::debug!("#{} ! {command} was answered with \"{reply}\"", self.number);
            self.broken = true;
            return Error::Misbehaved("a reply does not fit its command");
        }
        Error::Refused { command, reply }
    }

    /// Says QUIT and does not wait for the answer.
    pub fn quit(mut self) {
        if !self.broken {
            let _ = self.send(&[Command::bare("QUIT")], Deadline::after(Duration::from_secs(1)));
        }
    }

    /// The next whole reply of what was received.
    fn parsed(&mut self, inner: Option<&mut Lines<'_>>) -> Result<Option<Reply>, Error> {
        let pushed = self.parser.push_lines(&self.input, inner);
        let (used, reply) = pushed.map_err(|e| Error::Misbehaved(e.as_str()))?;
        self.input.drain(..used);
        Ok(reply)
    }

    fn read_reply(&mut self, deadline: Deadline, mut inner: Option<&mut Lines<'_>>) -> Result<Reply, Error> {
        let whole = deadline.left();
        let doing = "waiting for a reply";
        if self.expected.is_empty() {
            return Err(Error::Misbehaved("a reply came that answers no command"));
        }
        loop {
            let lines: Option<&mut Lines<'_>> = match &mut inner {
                Some(inner) => Some(&mut **inner),
                None => None,
            };
            if let Some(reply) = self.parsed(lines)? {
                return Ok(reply);
            }
            match self.receive(deadline) {
                Ok(0) => return Err(Error::Closed(None)),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A TLS connection that ends without a word ends all the same.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(Error::Closed(None)),
                Err(e) => return Err(Error::io(doing, whole, e)),
            }
        }
    }
}

impl Drop for ControlConnection {
    fn drop(&mut self) {
        let socket = self.stream.socket();
        let changes = self.expected.iter().any(|expected| changes_something(&expected.words));
        if self.broken && changes && crate::sys::unsent(socket).is_ok_and(|unsent| unsent > 0) {
            // Whoever sent a command was told that it failed: it is not to be done when the link is back.
            transport::reset_at_end(socket);
        }
        // Somebody may still watch the socket for a reply; the server is told all the same.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Whether a command may be refused for want of a login.
fn precedes_login(verb: &str) -> bool {
    matches!(
        verb,
        "the" | "USER" | "PASS" | "ACCT" | "AUTH" | "PBSZ" | "PROT" | "FEAT" | "HOST" | "CLNT" | "SYST"
    )
}

/// Whether a code can answer a command. Only codes that belong to few commands tell (RFC 959 s.4.2.2 and
/// s.5.4, RFC 3659, RFC 2428): a reply that came late or twice shows by them, 200, 250 and refusals do not.
fn fits(code: u16, verb: &str) -> bool {
    let greets = verb == "the";
    let transfers = matches!(verb, "RETR" | "LIST" | "NLST" | "MLSD" | "STOR" | "STOU" | "APPE");
    match code {
        100..200 => transfers || greets,
        // pure-ftpd 1.0.50 answers SITE UTIME with it.
        213 => matches!(verb, "SIZE" | "MDTM" | "STAT" | "MFMT" | "MFF" | "SITE" | "HASH" | "AVBL"),
        220 => greets,
        226 => transfers || verb == "ABOR",
        227 => verb == "PASV",
        229 => verb == "EPSV",
        230..233 | 331 | 332 => matches!(verb, "USER" | "PASS" | "ACCT"),
        257 => matches!(verb, "PWD" | "MKD"),
        350 => matches!(verb, "REST" | "RNFR" | "RANG" | "SITE"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_another_command_shows_where_its_code_tells() {
        let good = [
            (220, "the greeting"),
            (120, "the greeting"),
            (230, "USER"),
            (331, "USER"),
            (332, "PASS"),
            (202, "ACCT"),
            (125, "RETR"),
            (150, "RETR"),
            (226, "RETR"),
            (250, "RETR"),
            (226, "MLSD"),
            (250, "CWD"),
            (200, "CWD"),
            (213, "SIZE"),
            (213, "MDTM"),
            (213, "MFMT"),
            (213, "MFF"),
            (213, "SITE"),
            (200, "SITE"),
            (226, "APPE"),
            (257, "MKD"),
            (250, "MKD"),
            (350, "RNFR"),
            (250, "RNTO"),
            (227, "PASV"),
            (229, "EPSV"),
            (200, "EPRT"),
            (257, "PWD"),
            (350, "REST"),
            (550, "PASV"),
            (425, "LIST"),
        ];
        for (code, words) in good {
            assert!(fits(code, words.split(' ').next().unwrap()), "{code} {words}");
        }
        let bad = [
            (226, "CWD"),
            (213, "CWD"),
            (150, "SIZE"),
            (220, "USER"),
            (227, "EPSV"),
            (350, "RETR"),
            (213, "DELE"),
            (257, "DELE"),
        ];
        for (code, verb) in bad {
            assert!(!fits(code, verb), "{code} {verb}");
        }
    }
}
