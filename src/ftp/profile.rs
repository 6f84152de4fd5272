//! What has been learned of a server, shared by all its connections.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::ftp::data::Method;
use crate::ftp::features::{Capability, Features};
use crate::ftp::list::Dialect;
use crate::ftp::quirks::Quirks;
use crate::ftp::reply::Reply;
use crate::ftp::setters::{GROUP_SETTERS, SETTERS, Setter, TIME_SETTERS};
use crate::ftp::tls::TlsFacts;

/// The command that lists a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListCommand {
    /// RFC 3659 s.7.
    Mlsd,
    /// `LIST -a`: vsftpd 3.0.3 and pure-ftpd 1.0.50 leave dot files out without it.
    ListAll,
    /// `LIST`: pyftpdlib 2.2.0 refuses options.
    List,
}

/// Learned facts. Each is a fact of the server, not of a connection; reading one never waits.
#[derive(Debug, Default)]
pub struct ServerProfile {
    facts: Mutex<Facts>,
    connections: AtomicU32,
    /// 0xFF must be doubled in commands: ProFTPD 1.3.8 takes it as the start of a telnet command.
    doubles_iac: AtomicBool,
    /// MLST of a symbolic link tells the target's type with the link's size: ProFTPD 1.3.8, libunftp 0.24.
    mlst_confuses_links: AtomicBool,
    pub(crate) tls: TlsFacts,
}

#[derive(Debug, Default)]
struct Facts {
    features: Option<Features>,
    pipelining: Option<bool>,
    home: Option<Vec<u8>>,
    mlst: Capability,
    mdtm: Capability,
    rest: Capability,
    method: Option<Method>,
    list_command: Option<ListCommand>,
    dialect: Option<Dialect>,
    system_told: bool,
    quirks: Quirks,
    /// By [`Setter`].
    setters: [Capability; SETTERS],
    /// The ways whose effect was seen once.
    proven: [bool; SETTERS],
    /// How many seconds later than it was told each way sets times: of servers that take local time.
    shifts: [i64; SETTERS],
}

impl ServerProfile {
    /// A number for a new connection, counted from 1.
    pub(crate) fn next_connection(&self) -> u32 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Learns from the greeting what only the server's name tells, or what costs too much to find out.
    pub(crate) fn learn_greeting(&self, greeting: &Reply) {
        if greeting.says("pyftpdlib") {
            // To try it ends the session, and then at times 2.2.0 reads nothing from the next connection.
            self.learn(|quirks| quirks.settles_behind = Capability::No);
        }
        if greeting.says("ProFTPD") {
            self.doubles_iac.store(true, Ordering::Relaxed);
        }
        if greeting.says("ProFTPD") || greeting.says("libunftp") {
            self.mlst_confuses_links.store(true, Ordering::Relaxed);
        }
    }

    /// How many data connections resumed the TLS session of their control connection, and how many began one.
    pub fn data_handshakes(&self) -> (u64, u64) {
        self.tls.data_handshakes()
    }

    /// Whether 0xFF is sent twice.
    pub fn doubles_iac(&self) -> bool {
        self.doubles_iac.load(Ordering::Relaxed)
    }

    /// Whether MLST cannot be believed for what may be a symbolic link.
    pub fn mlst_confuses_links(&self) -> bool {
        self.mlst_confuses_links.load(Ordering::Relaxed)
    }

    /// The features, once FEAT has been answered.
    pub fn features(&self) -> Option<Features> {
        self.facts.lock().features.clone()
    }

    /// Keeps the answer to FEAT (an empty set where it was refused).
    pub(crate) fn learn_features(&self, features: Features) {
        let mut facts = self.facts.lock();
        let told = |name| if features.has(name) { Capability::Yes } else { Capability::Untold };
        // MLSD is as young as FEAT itself: a server that has it says so (RFC 3659 s.7.8).
        facts.mlst =
            if features.has("MLST") || features.has("MLSD") { Capability::Yes } else { Capability::No };
        facts.mdtm = told("MDTM");
        facts.rest = told("REST");
        // As young as MLST. vsftpd 3.0.3 announces MDTM, which does not tell whether it sets.
        let announced = |yes: bool| if yes { Capability::Yes } else { Capability::No };
        facts.setters[Setter::Mfmt as usize] = announced(features.has("MFMT"));
        let mff = features.parameters("MFF").unwrap_or_default().to_ascii_lowercase();
        facts.setters[Setter::MffMode as usize] = announced(mff.contains("unix.mode"));
        // Not UNIX.groupname.
        let sets_group = mff.split(';').any(|fact| fact.trim() == "unix.group");
        facts.setters[Setter::MffGroup as usize] = announced(sets_group);
        facts.setters[Setter::MffModify as usize] = announced(mff.contains("modify"));
        if !features.has("MDTM") {
            facts.setters[Setter::Mdtm as usize] = Capability::No;
        }
        facts.features = Some(features);
    }

    /// Whether commands may be sent before earlier ones are answered. Unknown is no.
    pub fn pipelines(&self) -> bool {
        self.facts.lock().pipelining == Some(true)
    }

    /// Whether [`ServerProfile::pipelines`] is known.
    pub(crate) fn is_order_probed(&self) -> bool {
        self.facts.lock().pipelining.is_some()
    }

    /// Keeps the outcome of the order probe.
    pub(crate) fn learn_pipelining(&self, safe: bool) {
        self.facts.lock().pipelining.get_or_insert(safe);
    }

    /// The login directory as PWD told it.
    pub fn home(&self) -> Option<Vec<u8>> {
        self.facts.lock().home.clone()
    }

    /// Keeps the login directory.
    pub(crate) fn learn_home(&self, home: Vec<u8>) {
        self.facts.lock().home.get_or_insert(home);
    }

    /// MLST and MLSD.
    pub fn mlst(&self) -> Capability {
        self.facts.lock().mlst
    }

    /// Notes that MLST or MLSD is unknown to the server, whatever FEAT said.
    pub(crate) fn no_mlst(&self) {
        self.facts.lock().mlst = Capability::No;
    }

    /// MDTM.
    pub fn mdtm(&self) -> Capability {
        self.facts.lock().mdtm
    }

    /// Notes that MDTM is unknown to the server.
    pub(crate) fn no_mdtm(&self) {
        self.facts.lock().mdtm = Capability::No;
    }

    /// REST before RETR.
    pub fn rest(&self) -> Capability {
        self.facts.lock().rest
    }

    /// Notes whether REST is taken.
    pub(crate) fn learn_rest(&self, works: bool) {
        self.facts.lock().rest = if works { Capability::Yes } else { Capability::No };
    }

    /// Setting a mode.
    pub fn chmod(&self) -> Capability {
        self.any_of(&[Setter::SiteChmod, Setter::MffMode])
    }

    /// Setting a modification time.
    pub fn set_time(&self) -> Capability {
        self.any_of(&TIME_SETTERS)
    }

    /// Setting a group.
    pub fn chgrp(&self) -> Capability {
        self.any_of(&GROUP_SETTERS)
    }

    /// Making symbolic links.
    pub fn symlink(&self) -> Capability {
        self.any_of(&[Setter::SiteSymlink])
    }

    fn any_of(&self, setters: &[Setter]) -> Capability {
        let facts = self.facts.lock();
        let known = |wanted| setters.iter().any(|&setter| facts.setters[setter as usize] == wanted);
        match (known(Capability::Yes), known(Capability::Untold)) {
            (true, _) => Capability::Yes,
            (false, true) => Capability::Untold,
            (false, false) => Capability::No,
        }
    }

    /// Whether one way of setting something works.
    pub(crate) fn setter(&self, setter: Setter) -> Capability {
        self.facts.lock().setters[setter as usize]
    }

    /// Notes whether it does.
    pub(crate) fn learn_setter(&self, setter: Setter, works: bool) {
        let known = if works { Capability::Yes } else { Capability::No };
        let before = std::mem::replace(&mut self.facts.lock().setters[setter as usize], known);
        if before != known && !works {
            log::info!("the server cannot do {setter:?}");
        }
    }

    /// What replies have shown of the server's ways.
    pub fn quirks(&self) -> Quirks {
        self.facts.lock().quirks
    }

    /// Keeps something that a reply has shown.
    pub(crate) fn learn<T>(&self, change: impl FnOnce(&mut Quirks) -> T) -> T {
        change(&mut self.facts.lock().quirks)
    }

    /// Whether a way of setting something was seen to do it.
    pub(crate) fn is_proven(&self, setter: Setter) -> bool {
        self.facts.lock().proven[setter as usize]
    }

    /// Notes that it was.
    pub(crate) fn prove(&self, setter: Setter) {
        let mut facts = self.facts.lock();
        facts.proven[setter as usize] = true;
        facts.setters[setter as usize] = Capability::Yes;
    }

    /// How many seconds later than told a way sets times; 0 is right.
    pub(crate) fn shift(&self, setter: Setter) -> i64 {
        self.facts.lock().shifts[setter as usize]
    }

    /// Keeps that.
    pub(crate) fn learn_shift(&self, setter: Setter, seconds: i64) {
        log::info!("{setter:?} sets times that are {seconds} s off, as of a server that takes local time");
        self.facts.lock().shifts[setter as usize] = seconds;
    }

    /// The way of making data connections that has worked.
    pub fn method(&self) -> Option<Method> {
        self.facts.lock().method
    }

    /// Keeps the way that worked; true if it is news.
    pub(crate) fn learn_method(&self, method: Method) -> bool {
        self.facts.lock().method.replace(method) != Some(method)
    }

    /// The command that lists, once one has worked.
    pub fn list_command(&self) -> Option<ListCommand> {
        self.facts.lock().list_command
    }

    /// Keeps the command that listed.
    pub(crate) fn learn_list_command(&self, command: ListCommand) {
        self.facts.lock().list_command = Some(command);
    }

    /// Whether SYST has been answered.
    pub(crate) fn is_system_told(&self) -> bool {
        self.facts.lock().system_told
    }

    /// Learns from the answer to SYST (RFC 959 s.4.1.3) which dialect LIST may speak: a hint, the listing
    /// itself decides. IIS calls itself Windows_NT also when it is set to list as Unix does.
    pub(crate) fn learn_system(&self, reply: &Reply) {
        let mut facts = self.facts.lock();
        facts.system_told = true;
        // What is emulated comes first: "UNIX emulated by FileZilla".
        const SYSTEMS: [(&str, Dialect); 12] = [
            ("Windows_NT", Dialect::Dos),
            ("UNIX", Dialect::Unix),
            ("OS/400", Dialect::As400),
            ("NetWare", Dialect::NetWare),
            ("VMS", Dialect::Vms),
            ("z/VM", Dialect::Cms),
            ("VM/ESA", Dialect::Cms),
            ("MVS", Dialect::Mvs),
            ("NonStop", Dialect::NonStop),
            ("OS/2", Dialect::Os2),
            ("OS-9", Dialect::Os9),
            ("VxWorks", Dialect::SizeFirst),
        ];
        let dialect = SYSTEMS.iter().find(|(name, _)| reply.says(name)).map(|&(_, dialect)| dialect);
        facts.dialect = facts.dialect.or(dialect.filter(|_| reply.code() == 215));
    }

    /// The dialect that the last LIST was in, or that SYST hints at before the first.
    pub fn dialect(&self) -> Option<Dialect> {
        self.facts.lock().dialect
    }

    /// Keeps the dialect of a LIST.
    pub(crate) fn learn_dialect(&self, dialect: Dialect) {
        self.facts.lock().dialect = Some(dialect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::ReplyParser;

    #[test]
    fn the_system_hints_at_the_dialect() {
        for (answer, dialect) in [
            ("215 UNIX Type: L8", Some(Dialect::Unix)),
            ("215 UNIX emulated by FileZilla", Some(Dialect::Unix)),
            ("215 Windows_NT", Some(Dialect::Dos)),
            (
                "215  OS/400 is the remote operating system. The TCP/IP version is \"V7R4M0\".",
                Some(Dialect::As400),
            ),
            (
                "215 MVS is the operating system of this server. FTP Server is running on z/OS.",
                Some(Dialect::Mvs),
            ),
            (
                "215-z/VM Version 7 Release 2.0, service level 2101\r\n215 VM is the operating system",
                Some(Dialect::Cms),
            ),
            ("215 VMS MultiNet Unix Emulation V5.5", Some(Dialect::Unix)),
            ("215 VMS OpenVMS V8.4", Some(Dialect::Vms)),
            ("215 NETWARE Type : L8", Some(Dialect::NetWare)),
            ("215 Nonstop OS", Some(Dialect::NonStop)),
            ("215 OS/2 operating system", Some(Dialect::Os2)),
            ("215 what", None),
            ("500 UNIX what", None),
        ] {
            let profile = ServerProfile::default();
            let text = format!("{answer}\r\n");
            let reply = ReplyParser::default().push(text.as_bytes()).unwrap().1.unwrap();
            profile.learn_system(&reply);
            assert_eq!(profile.dialect(), dialect, "{answer}");
        }
    }

    #[test]
    fn a_server_that_answers_out_of_turn_is_known_by_its_name() {
        for (greeting, known) in [
            ("220 pyftpdlib 2.2.0 ready.\r\n", Capability::No),
            ("220 (vsFTPd 3.0.3)\r\n", Capability::Untold),
        ] {
            let profile = ServerProfile::default();
            let reply = ReplyParser::default().push(greeting.as_bytes()).unwrap().1.unwrap();
            profile.learn_greeting(&reply);
            assert_eq!(profile.quirks().settles_behind, known, "{greeting}");
        }
    }
}
