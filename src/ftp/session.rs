//! A logged-in session: from the address to the state in which files can be asked for.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::config::SessionConfig;
use crate::ftp::control::ControlConnection;
use crate::ftp::error::Error;
use crate::ftp::features::{Capability, Features};
use crate::ftp::flow::InFlight;
use crate::ftp::profile::ServerProfile;
use crate::ftp::quirks::Quirks;
use crate::ftp::reply::Reply;
use crate::ftp::tls::{self, TlsContext, TlsMode};
use crate::ftp::transport;
use crate::ftp::warm::Warm;

/// A name that no server has, asked for by the order probe.
const ABSENT: &str = "/.ftpfs-order-probe";

/// What CLNT tells of us.
const CLIENT: &str = "ftpfs";

/// What a silent port 990 is told with.
const SILENT_990: &str =
    "waiting for a greeting on port 990, where servers mostly begin with TLS, as ftps:// does";

/// A session that is logged in, with TYPE I set.
#[derive(Debug)]
pub struct Session {
    pub(crate) control: ControlConnection,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) profile: Arc<ServerProfile>,
    /// What the data connections share with the control connection; `None` in clear text.
    pub(crate) tls: Option<TlsContext>,
    /// The data connection of the next transfer.
    pub(crate) warm: Option<Warm>,
    /// It has had a transfer.
    pub(crate) has_transferred: bool,
}

/// Why there is no session.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// The server takes no more connections at the moment.
    #[error("the server takes no more connections: {0}")]
    Full(Error),
    /// The server is not who it should be, or cannot be spoken to in secret.
    #[error("no secure connection: {0}")]
    Insecure(String),
    /// User, password or account are not accepted.
    #[error("the server does not accept the login: {0}")]
    Denied(Error),
    /// No connection, or not to an FTP server.
    #[error(transparent)]
    Failed(Error),
}

impl From<Error> for LoginError {
    fn from(error: Error) -> LoginError {
        match error {
            Error::Untrusted(untrusted) => LoginError::Insecure(untrusted.to_string()),
            // A client's certificate is asked for in the handshake and missed behind it (TLS 1.3).
            Error::Io { ref source, .. } => match tls::error_in(source).and_then(tls::failure_told) {
                Some(why) => LoginError::Insecure(format!("{error}: {why}")),
                None => LoginError::Failed(error),
            },
            error => LoginError::Failed(error),
        }
    }
}

impl Session {
    /// Connects and logs in. The first session of a profile also learns the features, the login directory
    /// and whether commands may be sent together.
    ///
    /// # Errors
    /// By what can be done about it: wait for a free place, other credentials, or neither.
    pub fn open(
        config: Arc<SessionConfig>,
        profile: Arc<ServerProfile>,
        deadline: Deadline,
    ) -> Result<Session, LoginError> {
        let connect = deadline.at_most(config.timeouts.connect);
        let server = (config.host.as_str(), config.port);
        let stream = match &config.proxy {
            Some(proxy) => proxy.connect(server, config.family, config.bind, connect)?,
            None => transport::connect("connecting", server, config.family, config.bind, connect)?,
        };
        let deadline = deadline.at_most(config.timeouts.login);
        let number = profile.next_connection();
        let control = ControlConnection::new(stream, number, config.timeouts.reply)?;
        let mut session = Session { control, config, profile, tls: None, warm: None, has_transferred: false };
        let mode = session.config.tls.as_ref().map_or(TlsMode::Off, |tls| tls.mode);
        if mode == TlsMode::Implicit {
            session.secure(deadline)?;
        }
        session.greet(deadline)?;
        if matches!(mode, TlsMode::Explicit | TlsMode::Auto) {
            session.authenticate(mode, deadline)?;
        }
        if session.may_log_in_at_once() {
            session.log_in_at_once(deadline).inspect_err(|error| session.doubt_login(error))?;
        } else {
            session.log_in(deadline)?;
            session.set_up(deadline)?;
        }
        Ok(session)
    }

    /// Whether the session can carry another command. Its next data connection is seen to.
    pub fn is_ready(&mut self) -> bool {
        if self.lacks_tickets() {
            self.profile.tls.note_lack_of_tickets();
            return false;
        }
        let is_ready = self.control.is_ready();
        self.tend_channel();
        is_ready && !self.control.is_broken()
    }

    /// Whether data connections are secured.
    pub(crate) fn protects_data(&self) -> bool {
        self.tls.is_some() && self.config.tls.as_ref().is_some_and(|tls| !tls.clear_data)
    }

    /// Whether data connections would be refused, since nothing is left that they could resume.
    pub(crate) fn lacks_tickets(&self) -> bool {
        let has_older = self.config.tls.as_ref().is_some_and(|tls| tls.client.has_older());
        self.protects_data()
            && self.tls.as_ref().is_some_and(TlsContext::has_run_out)
            && self.profile.tls.needs_tickets(has_older)
    }

    /// How many commands may have reached the server in this session.
    pub fn commands_sent(&self) -> u64 {
        self.control.sent()
    }

    /// Says goodbye without waiting.
    pub fn quit(self) {
        self.control.quit();
    }

    /// The server's address; unspecified (0.0.0.0) where only the proxy knows it.
    pub(crate) fn server_ip(&self) -> IpAddr {
        match &self.config.proxy {
            Some(_) => self.config.host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            None => self.control.peer().ip(),
        }
    }

    fn greet(&mut self, deadline: Deadline) -> Result<(), LoginError> {
        let greeting = loop {
            let reply = match self.control.reply(deadline) {
                // ProFTPD 1.3.8 at MaxInstances closes without a byte.
                Err(error @ Error::Closed(_)) => return Err(LoginError::Full(error)),
                Err(Error::Deadline { after, .. }) if self.may_want_tls_first() => {
                    return Err(Error::Deadline { doing: SILENT_990, after }.into());
                }
                other => other?,
            };
            // 120: ready in some minutes (RFC 959 s.5.4).
            if !reply.is_preliminary() {
                break reply;
            }
        };
        if !greeting.is_completion() {
            let error = Error::Refused { command: "the connection".to_owned(), reply: greeting };
            return Err(sort_refusal(error));
        }
        self.profile.learn_greeting(&greeting);
        self.control.set_double_iac(self.profile.doubles_iac());
        Ok(())
    }

    /// Whether a server that says nothing may wait for TLS, as they do on port 990 (IANA: ftps).
    fn may_want_tls_first(&self) -> bool {
        let begins = self.config.tls.as_ref().is_some_and(|tls| tls.mode == TlsMode::Implicit);
        self.config.port == 990 && !begins
    }

    /// Asks for TLS and secures the connection (RFC 4217 s.4). Nothing is sent together with AUTH: pyftpdlib
    /// 2.2.0 would take it after the handshake, vsftpd 3.0.3 for a part of it.
    fn authenticate(&mut self, mode: TlsMode, deadline: Deadline) -> Result<(), LoginError> {
        let mut reply = self.control.exchange(Command::with("AUTH", "TLS"), deadline)?;
        if reply.code() == 504 {
            // Servers older than RFC 4217.
            reply = self.control.exchange(Command::with("AUTH", "SSL"), deadline)?;
        }
        if matches!(reply.code(), 234 | 334) {
            self.profile.tls.note_seen();
            self.secure(deadline)?;
            self.remember_tls();
            return Ok(());
        }
        let known = self.known_for_tls();
        if mode == TlsMode::Auto && !self.profile.tls.is_seen() && known.is_none() {
            log::warn!(
                "the server offers no TLS (AUTH TLS was answered with \"{reply}\"): \
                 the password and all files travel in clear text"
            );
            return Ok(());
        }
        let text = match (known, self.profile.tls.is_seen()) {
            (Some(file), _) => format!(
                "the server had TLS before and does not offer it now; somebody may stand in between. If it has \
                 really given it up, remove the file {}",
                file.display()
            ),
            (None, true) => {
                "the server had TLS before and does not offer it now; somebody may stand in between"
                    .to_owned()
            }
            (None, false) => {
                "the server offers no TLS; ftp:// or tls=auto would send the password in clear text"
                    .to_owned()
            }
        };
        Err(LoginError::Insecure(format!("AUTH TLS was answered with \"{reply}\": {text}")))
    }

    /// Notes that the server has TLS, for this mount's connections and for later mounts.
    fn remember_tls(&self) {
        let Some(known) = self.config.tls.as_ref().and_then(|tls| tls.known.as_ref()) else { return };
        if !self.profile.tls.is_first_handshake() {
            return;
        }
        if let Err(error) = known.add(&self.config.host, self.config.port) {
            log::info!("that the server has TLS cannot be remembered for later mounts: {error}");
        }
    }

    /// The file that says that the server had TLS in an earlier mount.
    fn known_for_tls(&self) -> Option<PathBuf> {
        let known = self.config.tls.as_ref()?.known.as_ref()?;
        let (host, port) = (&self.config.host, self.config.port);
        let is_known = known.has(host, port).unwrap_or_else(|error| {
            log::warn!("whether the server had TLS before cannot be looked up: {error}");
            false
        });
        known.file(host, port).filter(|_| is_known)
    }

    /// Shakes hands on the control connection.
    fn secure(&mut self, deadline: Deadline) -> Result<(), LoginError> {
        let Some(config) = &self.config.tls else { return Ok(()) };
        let older = config.client.has_older() && self.profile.tls.prefers_12();
        let fail = |e| Error::io("TLS handshake", deadline.left(), tls::as_io(e));
        let context = config.client.context(&self.config.host, older).map_err(fail)?;
        let connection = context.connection().map_err(fail)?;
        let secured = self.control.secure(connection, deadline).inspect_err(|_| {
            if older {
                self.profile.tls.no_12();
            }
        });
        secured.map_err(|error| match error {
            // Another connection offers more.
            error @ Error::Io { .. } if older => LoginError::Failed(error),
            error => Session::no_handshake(config.mode, error),
        })?;
        self.tls = Some(context);
        Ok(())
    }

    /// What it means that the server answered the handshake with something else than TLS.
    fn no_handshake(mode: TlsMode, error: Error) -> LoginError {
        let Error::Io { source, .. } = &error else { return error.into() };
        match (tls::error_in(source), mode) {
            (Some(rustls::Error::InvalidMessage(_)), TlsMode::Implicit) => LoginError::Insecure(
                "the server does not begin with TLS on this port; ftpes:// asks it for TLS, ftps:// mostly needs \
                 port 990"
                    .to_owned(),
            ),
            // libunftp 0.24 at times takes the handshake for a command.
            (Some(rustls::Error::InvalidMessage(_)), _) => {
                Error::Misbehaved("clear text came where it had promised TLS; it is not believed").into()
            }
            _ => error.into(),
        }
    }

    /// What a secured session needs besides: the protection of data connections (RFC 4217 s.9).
    fn protection(&self) -> Vec<Command> {
        let Some(tls) = self.config.tls.as_ref().filter(|_| self.tls.is_some()) else { return Vec::new() };
        let level = if tls.clear_data { "C" } else { "P" };
        vec![Command::with("PBSZ", "0"), Command::with("PROT", level)]
    }

    /// Judges the answers to [`Session::protection`].
    fn take_protection(&mut self, replies: &[Reply], deadline: Deadline) -> Result<(), LoginError> {
        let (Some(prot), Some(tls)) = (replies.last(), &self.config.tls) else { return Ok(()) };
        if !prot.is_completion() {
            let (asked, remedy) = match tls.clear_data {
                false => ("P", "prot=clear would send files and listings in clear text"),
                true => ("C", "leave prot=clear out"),
            };
            return Err(LoginError::Insecure(format!("PROT {asked} was answered with \"{prot}\"; {remedy}")));
        }
        if tls.clear_control {
            self.control.perform(Command::bare("CCC"), deadline)?;
            self.control.unsecure(deadline)?;
        }
        Ok(())
    }

    fn log_in(&mut self, deadline: Deadline) -> Result<(), LoginError> {
        let login = self.config.login.clone();
        let mut reply = self.step(Command::with("USER", login.user), deadline)?;
        if reply.code() == 331 {
            reply = self.step(Command::secret("PASS", login.password.expose()), deadline)?;
            if reply.code() == 230 {
                self.profile.learn(|quirks| match quirks.asks_password {
                    Capability::Untold => quirks.asks_password = Capability::Yes,
                    Capability::Yes | Capability::No => {}
                });
            }
        }
        if reply.code() == 332 {
            let account = login.account.ok_or_else(|| {
                let command = "USER without account= (the server asks for one)".to_owned();
                LoginError::Denied(Error::Refused { command, reply: reply.clone() })
            })?;
            reply = self.step(Command::secret("ACCT", account.expose()), deadline)?;
        }
        match reply.is_completion() {
            true => Ok(()),
            false => Err(LoginError::Denied(Error::Refused { command: "the login".to_owned(), reply })),
        }
    }

    /// Whether the login and all settings may go out together: an earlier session has shown how the server answers
    /// them. Not through a proxy, which may have a dialogue of its own.
    fn may_log_in_at_once(&self) -> bool {
        let is_clear_later = self.config.tls.as_ref().is_some_and(|tls| tls.clear_control);
        self.profile.pipelines()
            && self.profile.features().is_some()
            && self.profile.home().is_some()
            && self.profile.is_system_told()
            && self.profile.quirks().asks_password == Capability::Yes
            && self.config.proxy.is_none()
            // So are FTP proxies told where to go.
            && !self.config.login.user.contains(&b'@')
            && !is_clear_later
    }

    /// Logs in and sets up in one round trip. An answer that is another than the first session got is no reason to
    /// guess: the session ends, and the next one goes step by step.
    fn log_in_at_once(&mut self, deadline: Deadline) -> Result<(), LoginError> {
        let login = &self.config.login;
        let user = Command::with("USER", &login.user[..]);
        let (words, password) = (user.to_string(), Command::secret("PASS", login.password.expose()));
        let features = self.profile.features().unwrap_or_default();
        let mut commands = vec![user, password];
        commands.extend(self.settings(&features));
        self.control.send(&commands, deadline)?;
        for (words, code) in [(&words[..], 331), ("PASS ***", 230)] {
            let reply = self.control.reply(deadline);
            let reply = judge_step(words, reply)?;
            if reply.code() != code {
                self.control.break_off();
                return Err(LoginError::Failed(Error::Closed(Some(reply))));
            }
        }
        self.profile.learn(|quirks| quirks.login_lost = false);
        let replies =
            commands[2..].iter().map(|_| self.control.reply(deadline)).collect::<Result<Vec<_>, _>>()?;
        self.take_settings(&replies, deadline)
    }

    /// Goes step by step from now on, unless the server gave a reason for its refusal. What may as well be a trouble of
    /// the network has to come twice.
    fn doubt_login(&self, error: &LoginError) {
        let doubts = match error {
            LoginError::Full(Error::Closed(Some(_))) | LoginError::Denied(_) | LoginError::Insecure(_) => {
                false
            }
            LoginError::Failed(Error::Closed(Some(_)) | Error::Misbehaved(_)) => {
                self.profile.learn(|quirks| quirks.asks_password = Capability::No);
                true
            }
            LoginError::Full(Error::Closed(None)) | LoginError::Failed(_) => {
                self.profile.learn(Quirks::note_lost_login)
            }
            LoginError::Full(_) => false,
        };
        if doubts {
            log::info!("logging in step by step from now on: {error}");
        }
    }

    /// One command of the login; 2xx and 3xx are good.
    fn step(&mut self, command: Command, deadline: Deadline) -> Result<Reply, LoginError> {
        let words = command.to_string();
        judge_step(&words, self.control.exchange(command, deadline))
    }

    fn set_up(&mut self, deadline: Deadline) -> Result<(), LoginError> {
        let features = match self.profile.features() {
            Some(features) => features,
            None => {
                let reply = self.control.exchange(Command::bare("FEAT"), deadline)?;
                let features = match reply.is_completion() {
                    true => Features::from_reply(&reply),
                    false => Features::default(),
                };
                self.profile.learn_features(features.clone());
                features
            }
        };
        if !self.profile.is_order_probed() {
            // A connection that does not survive the probe shows a server that cannot be asked that way.
            self.probe_order(deadline).inspect_err(|_| self.profile.learn_pipelining(false))?;
        }
        if self.profile.home().is_none() {
            self.find_home(deadline)?;
        }
        let commands = self.settings(&features);
        let replies = self.exchange_all(commands, deadline)?;
        self.take_settings(&replies, deadline)
    }

    /// What a session has to be told after its login; [`Session::take_settings`] judges the answers.
    fn settings(&self, features: &Features) -> Vec<Command> {
        let mut commands = self.protection();
        commands.push(Command::with("TYPE", "I"));
        if self.config.utf8 && features.has("UTF8") {
            // Some servers take OPTS UTF8 only from a client that has told its name.
            if features.has("CLNT") {
                commands.push(Command::with("CLNT", CLIENT));
            }
            // After the login: pyftpdlib 2.2.0 refuses it before. A refusal changes nothing.
            commands.push(Command::with("OPTS", "UTF8 ON"));
        }
        if let Some(facts) = features.mlst_facts_to_select() {
            commands.push(Command::with("OPTS", format!("MLST {facts}")));
        }
        if !self.profile.is_system_told() {
            commands.push(Command::bare("SYST"));
        }
        commands
    }

    fn take_settings(&mut self, replies: &[Reply], deadline: Deadline) -> Result<(), LoginError> {
        let protection = self.protection().len();
        if let Some(system) = replies.last().filter(|_| !self.profile.is_system_told()) {
            self.profile.learn_system(system);
        }
        self.take_protection(&replies[..protection], deadline)?;
        match &replies[protection] {
            reply if reply.is_completion() => Ok(()),
            reply => Err(Error::Refused { command: "TYPE I".to_owned(), reply: reply.clone() }.into()),
        }
    }

    /// Finds out whether commands may be sent together: four whose answers differ, in one segment.
    /// vsftpd, ProFTPD, pure-ftpd and pyftpdlib answer 550, 200, 550, 257; libunftp 0.24 never in order.
    fn probe_order(&mut self, deadline: Deadline) -> Result<(), Error> {
        let size = || Command::with("SIZE", ABSENT);
        let commands = [size(), Command::bare("NOOP"), size(), Command::bare("PWD")];
        self.control.send(&commands, deadline)?;
        let mut codes = Vec::new();
        let mut pwd = None;
        for _ in &commands {
            let reply = self.control.reply(deadline)?;
            codes.push(reply.code());
            if reply.code() == 257 {
                pwd = Some(reply);
            }
        }
        let refused = |code: u16| code / 100 == 5;
        let in_order = refused(codes[0]) && codes[1] / 100 == 2 && refused(codes[2]) && codes[3] == 257;
        self.profile.learn_pipelining(in_order);
        if let Some(reply) = pwd {
            self.learn_home(&reply);
        }
        Ok(())
    }

    /// Sends commands, together where that is safe, and returns their replies, refusals among them.
    pub(crate) fn exchange_all(
        &mut self,
        commands: Vec<Command>,
        deadline: Deadline,
    ) -> Result<Vec<Reply>, Error> {
        const NEED_TYPE: [&str; 5] = ["SIZE", "EPSV", "PASV", "EPRT", "PORT"];
        let needs_type =
            |command: &Command| NEED_TYPE.contains(&command.to_string().split(' ').next().unwrap_or(""));
        if self.profile.quirks().keeps_type == Capability::No && commands.iter().any(needs_type) {
            self.control.perform(Command::with("TYPE", "I"), deadline)?;
        }
        if self.profile.pipelines() {
            let mut flow = InFlight::default();
            let (mut rest, mut replies) = (&commands[..], Vec::with_capacity(commands.len()));
            loop {
                let now;
                (now, rest) = rest.split_at(flow.allows(rest.iter().map(|c| self.control.length(c))));
                if !now.is_empty() {
                    now.iter().for_each(|command| flow.sent(self.control.length(command)));
                    self.control.send(now, deadline)?;
                }
                if flow.is_empty() {
                    return Ok(replies);
                }
                replies.push(self.control.reply(deadline)?);
                flow.answered();
            }
        }
        commands.into_iter().map(|command| self.control.exchange(command, deadline)).collect()
    }
}

/// What the answer to a command of the login means; 2xx and 3xx are good.
fn judge_step(words: &str, answer: Result<Reply, Error>) -> Result<Reply, LoginError> {
    match answer {
        Ok(reply) if reply.is_completion() || reply.is_intermediate() => Ok(reply),
        Ok(reply) => Err(sort_refusal(Error::Refused { command: words.to_owned(), reply })),
        Err(error @ Error::Closed(_)) => Err(LoginError::Full(error)),
        Err(error) => Err(error.into()),
    }
}

/// Tells "no more places" from "wrong password": both come as 530 (ProFTPD MaxClients at PASS), so the text
/// decides. A wrong password is not tried again, whatever the server advises: it locks out who does.
fn sort_refusal(error: Error) -> LoginError {
    const FULL: [&str; 9] = [
        "too many",
        "maximum",
        "try again",
        "try later",
        "simultaneous",
        "already logged",
        "already connected",
        "limit",
        "busy",
    ];
    const WRONG: [&str; 6] = ["incorrect", "invalid", "password", "authentication", "credential", "failed"];
    let is_wrong = |reply: &Reply| reply.code() == 530 && WRONG.iter().any(|words| reply.says(words));
    match error.refusal() {
        Some(reply) if is_wrong(reply) => LoginError::Denied(error),
        Some(reply) if FULL.iter().any(|words| reply.says(words)) => LoginError::Full(error),
        Some(reply) if reply.is_transient() => LoginError::Full(error),
        Some(_) => LoginError::Denied(error),
        None => LoginError::Failed(error),
    }
}

#[cfg(test)]
mod tests;
