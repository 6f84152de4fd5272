//! Starts a transfer: makes the data connection and sends the commands around it, in as few round trips as
//! is known to be safe with this server.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::data::Method;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::quirks;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::stream::Stream;
use crate::ftp::transfer::{Next, Transfer};
use crate::ftp::transport;
use crate::ftp::warm::{TRIAL, WarmChannel};
use crate::sys::{self, Readable};

/// How long the answer to a transfer command is waited for before the TLS handshake is begun without it, until it
/// is known whether the server answers first.
const ANSWER_FIRST: Duration = Duration::from_secs(2);

/// How long the reason is waited for when a handshake fails.
const REASON: Duration = Duration::from_secs(2);

/// What to send for one transfer.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Commands before the transfer. They are sent with the request for the data connection.
    pub(crate) before: Vec<Command>,
    /// Whether a refusal of one of `before` means that there is no transfer.
    pub(crate) before_must_succeed: bool,
    /// The offset, by REST, where it is not 0.
    pub(crate) offset: u64,
    /// The size to reserve, by ALLO, where the server wants one.
    pub(crate) allocate: Option<u64>,
    /// The transfer command.
    pub(crate) transfer: Command,
}

/// A data connection that is not there yet.
enum Pending {
    /// We connect there.
    Passive(SocketAddr),
    /// The server connects here.
    Active(TcpListener),
    /// It was begun before.
    Ahead(WarmChannel),
}

impl Pending {
    fn is_ahead(&self) -> bool {
        matches!(self, Pending::Ahead(_))
    }
}

/// A transfer that has begun: its data connection, its first reply, the replies to what went before.
type Begun = (Stream, Option<Reply>, Vec<Reply>);

/// Why one way did not lead to a transfer.
enum Failure {
    /// This way of making data connections does not work; another may.
    Method(Error),
    /// No other way would change it.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

impl Session {
    /// Starts a transfer; returns it with the replies to `plan.before`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the command that was refused: one of `plan.before`, REST, the transfer itself,
    /// or the last way of making a data connection. Else a failed connection.
    pub(crate) fn start_transfer(
        &mut self,
        plan: &Plan,
        deadline: Deadline,
    ) -> Result<(Transfer<'_>, Vec<Reply>), Error> {
        if self.lacks_tickets() {
            // vsftpd and ProFTPD would refuse the data connection. Nothing was sent: another session does it.
            self.profile.tls.note_lack_of_tickets();
            self.control.break_off();
            return Err(Error::Closed(None));
        }
        if let Some(channel) = self.take_channel(deadline)? {
            // In one segment with what goes before; it costs one round trip to the first byte.
            match self.begin(Pending::Ahead(channel), None, plan, true, deadline, deadline) {
                Ok((data, first, before)) => return Ok((self.transfer(plan, data, first, true), before)),
                Err(Failure::Final(Error::Refused { reply, .. }))
                    if plan.allocate.is_some() && self.wants_allo(&reply, &plan.transfer) => {}
                Err(Failure::Final(error)) => {
                    if error.is_fatal() && self.profile.quirks().channel_ahead != Capability::Yes {
                        self.profile.lost_channel(&error.to_string());
                    }
                    return Err(error);
                }
                // The server has refused, so nothing has happened yet.
                Err(Failure::Method(error)) => self.profile.lost_channel(&error.to_string()),
            }
        }
        self.profile.learn(|quirks| quirks.chances.was_missed());
        let proven = self.profile.method();
        let mut methods = Method::candidates(&self.config.data, self.server_ip(), proven);
        let unreached = self.profile.quirks().unreached;
        methods.sort_by_key(|&method| unreached.has(method));
        let mut led_nowhere = None;
        let mut last = Error::Misbehaved("no way of making data connections is allowed");
        for (i, &method) in methods.iter().enumerate() {
            let more = i + 1 < methods.len();
            let bound = self.config.timeouts.connect;
            let connect = deadline.at_most(if more { bound.min(TRIAL) } else { bound });
            match self.try_method(method, proven.is_some(), plan, deadline, connect) {
                Ok((data, first, before)) => {
                    if self.profile.learn_method(method) {
                        log::info!("data connections are made by {method:?}");
                    }
                    return Ok((self.transfer(plan, data, first, false), before));
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Method(error)) => {
                    if self.control.is_broken() {
                        return Err(error);
                    }
                    log::info!("{method:?} gives no data connection: {error}");
                    if error.is_fatal() && !unreached.has(method) {
                        self.profile.learn(|quirks| quirks.unreached.add(method));
                        led_nowhere.get_or_insert_with(|| error.clone());
                    }
                    last = error;
                }
            }
        }
        if let Some(error) = led_nowhere {
            // Some servers take no PASV after EPSV: on the next connection the others come first.
            self.control.break_off();
            return Err(error);
        }
        Err(last)
    }

    /// Holds a transfer that has begun.
    pub(crate) fn transfer(
        &mut self,
        plan: &Plan,
        data: Stream,
        first: Option<Reply>,
        was_ahead: bool,
    ) -> Transfer<'_> {
        let asks_by = self.asks_ahead_by();
        self.transfer_asking(plan, data, first, was_ahead, asks_by)
    }

    /// As [`Session::transfer`]; `asks_by` says how the next data connection is asked for at its end, if at all.
    pub(crate) fn transfer_asking(
        &mut self,
        plan: &Plan,
        data: Stream,
        first: Option<Reply>,
        was_ahead: bool,
        asks_by: Option<Method>,
    ) -> Transfer<'_> {
        let (stall, profile) = (self.config.timeouts.stall, self.profile.clone());
        let words = plan.transfer.to_string();
        let is_upload = words.starts_with("STOR ") || words.starts_with("APPE ");
        self.has_transferred = true;
        let next = Next { warm: &mut self.warm, asks_by, is_upload, was_ahead };
        Transfer::new(&mut self.control, data, first, stall, profile, next)
    }

    /// One way.
    fn try_method(
        &mut self,
        method: Method,
        proven: bool,
        plan: &Plan,
        deadline: Deadline,
        connect: Deadline,
    ) -> Result<Begun, Failure> {
        let (pending, before) = self.ask_for_data(method, plan, deadline)?;
        match self.begin(pending, Some(before), plan, proven, deadline, connect) {
            Err(Failure::Final(Error::Refused { reply, .. }))
                if plan.allocate.is_some() && self.wants_allo(&reply, &plan.transfer) =>
            {
                self.try_method(method, proven, plan, deadline, connect)
            }
            other => other,
        }
    }

    /// Sends the transfer command and sees it begin. `before` are the replies to `plan.before` where that was sent
    /// already; else it is sent in the same segment.
    fn begin(
        &mut self,
        pending: Pending,
        before: Option<Vec<Reply>>,
        plan: &Plan,
        proven: bool,
        deadline: Deadline,
        connect: Deadline,
    ) -> Result<Begun, Failure> {
        let is_ahead = pending.is_ahead();
        let restart = self.restart(plan.offset, &plan.transfer);
        // Until the server is known to take REST, and commands sent together, its answer is awaited: a RETR
        // behind a refused REST would send the file from the start.
        let rest_proven = self.profile.rest() == Capability::Yes;
        let rest_first = restart.is_some() && !(rest_proven && self.profile.pipelines());
        let before = match before {
            None if rest_first => {
                let replies = self.exchange_all(plan.before.clone(), deadline)?;
                self.judge_before(plan, &replies)?;
                Some(replies)
            }
            before => before,
        };
        let restarts = match restart {
            Some(restart) if rest_first => {
                let reply = self.control.exchange(restart.clone(), deadline)?;
                self.take_restart(plan.offset, &restart, reply)?;
                None
            }
            restart => restart,
        };
        let unsent = if before.is_some() { &[][..] } else { &plan.before };
        let commands: Vec<_> = unsent.iter().chain(&restarts).chain([&plan.transfer]).cloned().collect();
        // All servers measured take the transfer command before the data connection is made. A way that is
        // not proven yet is tried first, since a server that waits for a connection in vain is stuck.
        let early = match &pending {
            Pending::Passive(to) if !proven => {
                Some(Stream::plain(self.connect_data(*to, connect).map_err(Failure::Method)?))
            }
            _ => None,
        };
        self.control.send(&commands, deadline)?;
        let bound = self.config.timeouts.connect;
        let (made, listener) = match (early, pending) {
            (Some(data), _) => (Some(Ok(data)), None),
            (None, Pending::Passive(to)) => (Some(self.connect_data(to, connect).map(Stream::plain)), None),
            (None, Pending::Ahead(channel)) => {
                (Some(channel.connected(deadline.at_most(bound)).map(Stream::plain)), None)
            }
            (None, Pending::Active(listener)) => (None, Some(listener)),
        };
        // The server waits for it in vain now, some for ever.
        let mut early = made.transpose().inspect_err(|_| self.control.break_off())?;
        if let Some(data) = &mut early {
            self.secure_soon(data, deadline)?;
        }
        let (before, spoilt) = match before {
            Some(before) => (before, Ok(())),
            None => {
                let replies =
                    unsent.iter().map(|_| self.control.reply(deadline)).collect::<Result<Vec<_>, _>>()?;
                let judged = self.judge_before(plan, &replies);
                (replies, judged)
            }
        };
        let restarted = match restarts {
            Some(restart) => {
                let reply = self.control.reply(deadline)?;
                self.take_restart(plan.offset, &restart, reply)
            }
            None => Ok(()),
        };
        // What must not have gone before this transfer, or not have failed, makes it another one.
        let spoilt = spoilt.and(restarted);
        let mut early = match (early, &listener) {
            (None, Some(listener)) => self.early_arrival(listener, connect)?,
            (early, _) => early,
        };
        if let Some(data) = &mut early {
            self.secure_unanswered(data, deadline)?;
        }
        let first = match is_ahead && self.profile.quirks().channel_ahead == Capability::Untold {
            true => self.opening_on_trial(&plan.transfer, early.as_mut(), deadline)?,
            false => self.opening(&plan.transfer, early.as_mut(), deadline)?,
        };
        let is_announced = first.as_ref().is_some_and(Reply::is_preliminary);
        if is_announced && self.protects_data() && early.as_ref().is_some_and(|data| !data.is_secured()) {
            self.profile.tls.learn_answers_first();
        }
        if let Some(first) = first.clone().filter(|first| !first.is_preliminary() && !first.is_completion()) {
            // RFC 959 has 425 for it, some say that the order of commands is wrong.
            let no_connection = match is_ahead {
                true => matches!(first.code(), 425 | 503),
                false => first.code() == 425 && !proven,
            };
            if is_ahead && no_connection && spoilt.is_err() {
                self.profile.lost_channel(&first.to_string());
            }
            spoilt?;
            let error = self.control.refused(plan.transfer.to_string(), first);
            return Err(if no_connection { Failure::Method(error) } else { Failure::Final(error) });
        }
        if first.as_ref().is_some_and(|first| self.lost_type(&plan.transfer, first)) {
            self.control.break_off();
            return Err(Error::Misbehaved("it transfers in ASCII although it was told TYPE I").into());
        }
        if is_ahead && is_announced && self.has_transferred {
            self.learn_kept_type(&plan.transfer);
        }
        let mut data = match (early, listener) {
            (Some(data), _) => data,
            (None, Some(listener)) => {
                let peer = self.control.peer().ip();
                let came = transport::accept(&listener, peer, connect);
                Stream::plain(came.inspect_err(|_| self.control.break_off())?)
            }
            (None, None) => {
                self.control.break_off();
                return Err(Error::Misbehaved("no data connection").into());
            }
        };
        self.secure_data(&mut data, first.as_ref().is_none_or(Reply::is_preliminary), deadline)?;
        if let Err(error) = spoilt {
            // The file comes from its start although REST was refused, or the directory is another one.
            self.transfer(plan, data, first, is_ahead).abandon(deadline)?;
            return Err(error.into());
        }
        Ok((data, first, before))
    }

    /// The server's connection, where it comes before the answer to the transfer command and may have to be used
    /// first: by servers that announce nothing, or not before the TLS handshake.
    fn early_arrival(&mut self, listener: &TcpListener, bound: Deadline) -> Result<Option<Stream>, Error> {
        let announces = self.profile.quirks().announces == Capability::Yes;
        if announces && (!self.protects_data() || self.profile.tls.answers_first() == Capability::Yes) {
            return Ok(None);
        }
        // What concerns the TLS layer alone is no answer.
        while !self.control.has_input() {
            let whole = bound.left();
            let first = sys::first_readable(self.control.socket(), listener, whole);
            match first.map_err(|e| Error::io("waiting for a transfer", whole, e))? {
                Readable::First => {}
                Readable::Second => {
                    let came = transport::accept(listener, self.control.peer().ip(), bound);
                    return came
                        .inspect_err(|_| self.control.break_off())
                        .map(|data| Some(Stream::plain(data)));
                }
                Readable::Neither => break,
            }
        }
        Ok(None)
    }

    /// Begins to shake hands while the answer to the transfer command is on its way, which saves a round trip: a server
    /// that answers first finds the first flight there when it begins.
    fn secure_soon(&mut self, data: &mut Stream, deadline: Deadline) -> Result<(), Error> {
        let Some(tls) = self.tls.as_ref().filter(|_| self.protects_data()) else { return Ok(()) };
        // A refusal would waste the last session, without which there are no more data connections.
        if self.profile.tls.answers_first() != Capability::Yes || tls.has_one_left() {
            return Ok(());
        }
        let stall = self.config.timeouts.stall;
        let connection = tls.connection().map_err(crate::ftp::tls::as_io);
        let begun =
            connection.and_then(|connection| data.begin_handshake(connection, deadline.at_most(stall)));
        // One that has ended already has its reason told on the control connection.
        begun.or_else(|source| match source.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(()),
            _ => {
                self.control.break_off();
                Err(Error::io("TLS handshake on the data connection", stall, source))
            }
        })
    }

    /// Shakes hands before the transfer command is answered, where the server waits for that.
    fn secure_unanswered(&mut self, data: &mut Stream, deadline: Deadline) -> Result<(), Error> {
        if !self.protects_data() {
            return Ok(());
        }
        match self.profile.tls.answers_first() {
            Capability::Yes => return Ok(()),
            // A refusal still comes before, without a handshake.
            Capability::No if self.control.await_input(Duration::from_millis(1)) => return Ok(()),
            // It may be a refusal, which tells nothing of the order.
            Capability::Untold if self.control.await_input(ANSWER_FIRST) => return Ok(()),
            Capability::No | Capability::Untold => {}
        }
        self.secure_data(data, true, deadline)?;
        self.profile.tls.learn_answers_later();
        Ok(())
    }

    /// Shakes hands on a data connection; `awaits` tells whether the server has a reply to the transfer left.
    fn secure_data(&mut self, data: &mut Stream, awaits: bool, deadline: Deadline) -> Result<(), Error> {
        let Some(tls) = self.tls.as_ref().filter(|_| self.protects_data()) else { return Ok(()) };
        if data.is_secured() {
            return Ok(());
        }
        let whole = deadline.left();
        let stall = self.config.timeouts.stall;
        let bound = deadline.at_most(stall);
        let shaken = match data.is_shaking_hands() {
            true => data.end_handshake(bound),
            false => tls
                .connection()
                .map_err(crate::ftp::tls::as_io)
                .and_then(|connection| data.secure(connection, bound)),
        };
        match shaken {
            Ok(()) => {
                self.profile.tls.note_data_handshake(data.has_resumed());
                Ok(())
            }
            Err(source) => {
                let error = Error::io("TLS handshake on the data connection", whole, source);
                // The server may say why: vsftpd 522, ProFTPD 425.
                let told = awaits.then(|| self.control.reply(deadline.at_most(REASON)));
                self.control.break_off();
                match told {
                    Some(Ok(reply)) if reply.code() >= 400 => Err(Error::Closed(Some(reply))),
                    _ => Err(error),
                }
            }
        }
    }

    /// Connects for data to where the server said.
    fn connect_data(&self, to: SocketAddr, deadline: Deadline) -> Result<TcpStream, Error> {
        let bind = self.config.bind;
        let Some(proxy) = &self.config.proxy else {
            return transport::dial("connecting the data connection", to, bind, deadline);
        };
        // The proxy finds the server by the name that it found it by before.
        let host = match to.ip() {
            ip if ip.is_unspecified() => self.config.host.clone(),
            ip => ip.to_string(),
        };
        proxy.connect((&host, to.port()), self.config.family, bind, deadline)
    }

    /// Sends `plan.before` and the request for a data connection.
    fn ask_for_data(
        &mut self,
        method: Method,
        plan: &Plan,
        deadline: Deadline,
    ) -> Result<(Pending, Vec<Reply>), Failure> {
        let local = self.control.local();
        let listener = match method.is_active() {
            true => Some(transport::listen(local.ip(), self.config.data.port_range.as_ref())?),
            false => None,
        };
        let port = match &listener {
            Some(listener) => {
                listener.local_addr().map_err(|e| Error::io("opening a port", Duration::ZERO, e))?.port()
            }
            None => 0,
        };
        let told = SocketAddr::new(self.config.data.active_address.unwrap_or(local.ip()), port);
        let request = method.command(told);
        let words = request.to_string();
        let pret = (self.profile.quirks().wants_pret == Capability::Yes)
            .then(|| Command::with("PRET", plan.transfer.to_string()));
        let mut commands = plan.before.clone();
        let asks_first = pret.is_some();
        let allo = plan.allocate.filter(|_| self.profile.quirks().wants_allo == Capability::Yes);
        let allocates = allo.is_some();
        commands.extend(allo.map(|size| Command::with("ALLO", size.to_string())));
        commands.extend(pret);
        commands.push(request);
        // pyftpdlib 2.2.0 connects before it answers EPRT or PORT, and at times forgets to answer when a
        // transfer of another session ends at that moment.
        let bound =
            if method.is_active() { deadline.at_most(self.config.timeouts.connect) } else { deadline };
        let mut replies = self.exchange_all(commands, bound)?;
        let answer = replies.pop().ok_or(Error::Misbehaved("a reply is missing"))?;
        let told_before = if asks_first { replies.pop() } else { None };
        if allocates {
            replies.pop();
        }
        self.judge_before(plan, &replies)?;
        if let Some(refused) = told_before.filter(|reply| reply.code() == 550) {
            return Err(Failure::Final(self.control.refused(plan.transfer.to_string(), refused)));
        }
        if !answer.is_completion() {
            if self.wants_pret(&answer) {
                return self.ask_for_data(method, plan, deadline);
            }
            return Err(Failure::Method(self.control.refused(words, answer)));
        }
        let pending = match listener {
            Some(listener) => Pending::Active(listener),
            None => {
                let believe = self.config.data.pasv_address;
                let address = method.passive_address(&answer, self.server_ip(), believe);
                Pending::Passive(address.ok_or_else(|| {
                    // An answer to another command, or nonsense: nothing after it can be trusted.
                    self.control.break_off();
                    Error::Misbehaved("the reply to EPSV or PASV tells no port")
                })?)
            }
        };
        Ok((pending, replies))
    }

    /// Whether the transfer may follow what went before it.
    fn judge_before(&mut self, plan: &Plan, replies: &[Reply]) -> Result<(), Error> {
        let refused = plan.before.iter().zip(replies).find(|(_, reply)| !reply.is_completion());
        match refused.filter(|_| plan.before_must_succeed) {
            Some((command, reply)) => Err(self.control.refused(command.to_string(), reply.clone())),
            None => Ok(()),
        }
    }

    /// As [`Session::opening`], over a data connection that was made ahead while it is not known whether the server
    /// sees them: one that waits for another in vain is not waited for as long as any reply.
    fn opening_on_trial(
        &mut self,
        transfer: &Command,
        data: Option<&mut Stream>,
        deadline: Deadline,
    ) -> Result<Option<Reply>, Error> {
        let opening = self.opening(transfer, data, deadline.at_most(TRIAL));
        opening.inspect_err(|error| {
            if matches!(error, Error::Deadline { .. }) {
                self.profile.learn(|quirks| quirks.channel_ahead = Capability::No);
            }
        })
    }

    /// Whether an upload was refused for the want of ALLO, which is sent from now on.
    fn wants_allo(&self, refusal: &Reply, transfer: &Command) -> bool {
        quirks::asks_for_allo(refusal, transfer.to_string().as_bytes())
            && self.profile.learn(|quirks| {
                let was = std::mem::replace(&mut quirks.wants_allo, Capability::Yes);
                was == Capability::Untold
            })
    }

    /// Whether a way is to be asked for again behind PRET: it was refused for the want of it, or by a server that
    /// announces PRET.
    fn wants_pret(&self, refusal: &Reply) -> bool {
        let announced = self.profile.features().is_some_and(|features| features.has("PRET"));
        let asked = quirks::asks_for_pret(refusal) || announced;
        asked
            && self.profile.learn(|quirks| {
                let was = std::mem::replace(&mut quirks.wants_pret, Capability::Yes);
                was == Capability::Untold
            })
    }
}
