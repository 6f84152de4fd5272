//! A logged-in session: from the address to the state in which files can be asked for.

use std::sync::Arc;

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::config::SessionConfig;
use crate::ftp::control::ControlConnection;
use crate::ftp::error::Error;
use crate::ftp::features::{Capability, Features};
use crate::ftp::profile::ServerProfile;
use crate::ftp::reply::Reply;
use crate::ftp::transport;

/// A name that no server has, asked for by the order probe.
const ABSENT: &str = "/.ftpfs-order-probe";

/// A session that is logged in, with TYPE I set.
#[derive(Debug)]
pub struct Session {
    pub(crate) control: ControlConnection,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) profile: Arc<ServerProfile>,
}

/// Why there is no session.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// The server takes no more connections at the moment.
    #[error("the server takes no more connections: {0}")]
    Full(Error),
    /// User, password or account are not accepted.
    #[error("the server does not accept the login: {0}")]
    Denied(Error),
    /// No connection, or not to an FTP server.
    #[error(transparent)]
    Failed(#[from] Error),
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
        let addresses = transport::resolve(&config.host, config.port, config.family)?;
        let mut stream = None;
        for (i, &address) in addresses.iter().enumerate() {
            // An address that swallows packets must leave time for the next one.
            let share = connect.left() / u32::try_from(addresses.len() - i).unwrap_or(1);
            stream = Some(transport::dial("connecting", address, config.bind, connect.at_most(share)));
            if matches!(stream, Some(Ok(_))) {
                break;
            }
        }
        let stream = stream.unwrap_or(Err(Error::Misbehaved("no address")))?;
        let deadline = deadline.at_most(config.timeouts.login);
        let number = profile.next_connection();
        let control = ControlConnection::new(stream, number, config.timeouts.reply)?;
        let mut session = Session { control, config, profile };
        session.greet(deadline)?;
        session.log_in(deadline)?;
        session.set_up(deadline)?;
        Ok(session)
    }

    /// Whether the session can carry another command.
    pub fn is_ready(&self) -> bool {
        self.control.is_ready()
    }

    /// How many commands may have reached the server in this session.
    pub fn commands_sent(&self) -> u64 {
        self.control.sent()
    }

    /// Says goodbye without waiting.
    pub fn quit(self) {
        self.control.quit();
    }

    fn greet(&mut self, deadline: Deadline) -> Result<(), LoginError> {
        let greeting = loop {
            let reply = match self.control.reply(deadline) {
                // ProFTPD 1.3.8 at MaxInstances closes without a byte.
                Err(error @ Error::Closed(_)) => return Err(LoginError::Full(error)),
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

    fn log_in(&mut self, deadline: Deadline) -> Result<(), LoginError> {
        let login = self.config.login.clone();
        let mut reply = self.step(Command::with("USER", login.user), deadline)?;
        if reply.code() == 331 {
            reply = self.step(Command::secret("PASS", login.password.expose()), deadline)?;
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

    /// One command of the login; 2xx and 3xx are good.
    fn step(&mut self, command: Command, deadline: Deadline) -> Result<Reply, LoginError> {
        let words = command.to_string();
        match self.control.exchange(command, deadline) {
            Ok(reply) if reply.is_completion() || reply.is_intermediate() => Ok(reply),
            Ok(reply) => Err(sort_refusal(Error::Refused { command: words, reply })),
            Err(error @ Error::Closed(_)) => Err(LoginError::Full(error)),
            Err(error) => Err(error.into()),
        }
    }

    fn set_up(&mut self, deadline: Deadline) -> Result<(), Error> {
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
        let mut commands = vec![Command::with("TYPE", "I")];
        if features.has("UTF8") {
            commands.push(Command::with("OPTS", "UTF8 ON"));
        }
        if let Some(facts) = features.mlst_facts_to_enable() {
            commands.push(Command::with("OPTS", format!("MLST {facts}")));
        }
        let asks_system = !self.profile.is_system_told();
        if asks_system {
            commands.push(Command::bare("SYST"));
        }
        let replies = self.exchange_all(commands, deadline)?;
        if let Some(system) = replies.last().filter(|_| asks_system) {
            self.profile.learn_system(system);
        }
        match &replies[0] {
            reply if reply.is_completion() => Ok(()),
            reply => Err(Error::Refused { command: "TYPE I".to_owned(), reply: reply.clone() }),
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
            self.control.send(&commands, deadline)?;
            return commands.iter().map(|_| self.control.reply(deadline)).collect();
        }
        commands.into_iter().map(|command| self.control.exchange(command, deadline)).collect()
    }
}

/// Tells "no more places" from "wrong password": both come as 530 (ProFTPD MaxClients at PASS), so the text
/// decides.
fn sort_refusal(error: Error) -> LoginError {
    const FULL: [&str; 8] =
        ["too many", "maximum", "try again", "try later", "simultaneous", "already logged", "limit", "busy"];
    match error.refusal() {
        Some(reply) if FULL.iter().any(|words| reply.says(words)) => LoginError::Full(error),
        Some(reply) if reply.is_transient() => LoginError::Full(error),
        Some(_) => LoginError::Denied(error),
        None => LoginError::Failed(error),
    }
}
