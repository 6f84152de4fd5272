//! One control connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::data::Way;
use super::quirks::{Ahead, Opening, Passive, Quirks, Refusal, Rest, Then};
use super::server::{Cut, Shared};
use super::tree::{Node, join};
use super::writing::Setting;

/// Ends a connection.
pub(super) struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

pub(super) type Step = Result<(), Over>;

pub(super) struct Connection<'a> {
    pub(super) shared: &'a Arc<Shared>,
    number: usize,
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    /// Replies sent.
    replies: usize,
    refusal: Option<Refusal>,
    logged_in: bool,
    cwd: String,
    pub(super) restart: usize,
    /// TYPE A.
    ascii: bool,
    /// PRET came.
    pret: bool,
    /// EPSV came.
    epsv: bool,
    /// The last command was a transfer.
    after_transfer: bool,
    /// ALLO came.
    pub(super) allocated: bool,
    pub(super) way: Option<Way>,
    /// The argument of RNFR.
    pub(super) renaming: Option<String>,
    /// Replies kept back, to be sent in another order.
    held: Option<Vec<Vec<u8>>>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        number: usize,
        stream: TcpStream,
        refusal: Option<Refusal>,
    ) -> Connection<'a> {
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let cwd = shared.quirks.lock().home.to_owned();
        let (replies, restart, way, renaming, held) = (0, 0, None, None, None);
        let logged_in = false;
        Connection {
            shared,
            number,
            stream,
            reader,
            replies,
            refusal,
            logged_in,
            cwd,
            restart,
            ascii: true,
            pret: false,
            epsv: false,
            after_transfer: false,
            allocated: false,
            way,
            renaming,
            held,
        }
    }

    pub(super) fn serve(&mut self) -> Step {
        self.maybe_cut()?;
        match self.refusal {
            Some(Refusal::Silent) => return Err(Over),
            Some(Refusal::Mute) => loop {
                self.line()?;
            },
            Some(Refusal::Greeting(text)) => {
                self.reply(text)?;
                return Err(Over);
            }
            _ => {}
        }
        if self.say_instead("GREETING")? {
            self.reply("220 mini ready")?;
        }
        loop {
            let mut lines = vec![self.line()?];
            if self.quirks().reorders {
                while self.has_line() {
                    lines.push(self.line()?);
                }
            }
            self.held = (lines.len() > 1).then(Vec::new);
            for line in lines {
                self.obey(&line)?;
            }
            for reply in self.held.take().into_iter().flatten().rev() {
                self.stream.write_all(&reply)?;
            }
        }
    }

    pub(super) fn quirks(&self) -> Quirks {
        self.shared.quirks.lock().clone()
    }

    /// Sends one reply; `text` may be several lines.
    pub(super) fn reply(&mut self, text: &str) -> Step {
        let cut = self.shared.next_reply_is_cut();
        if cut == Some(Cut::Before) {
            return self.cut();
        }
        let bytes = format!("{text}\r\n").into_bytes();
        match &mut self.held {
            Some(held) => held.push(bytes),
            None => self.stream.write_all(&bytes)?,
        }
        self.replies += 1;
        if cut == Some(Cut::After) {
            return self.cut();
        }
        self.maybe_cut()
    }

    /// Sends bytes that are no reply of ours.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Step {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends and receives nothing more until the client goes.
    pub(super) fn hang(&mut self) -> Step {
        let mut sink = [0; 512];
        while self.reader.read(&mut sink)? > 0 {}
        Err(Over)
    }

    /// Answers a command that comes within a while out of turn.
    pub(super) fn swallow(&mut self) -> Step {
        self.stream.set_read_timeout(Some(std::time::Duration::from_millis(200)))?;
        let came = self.line().is_ok();
        self.stream.set_read_timeout(None)?;
        if came { self.reply("500 Unknown command") } else { Ok(()) }
    }

    /// Whether a command has come already.
    pub(super) fn has_line(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    /// Obeys the next command, and tells which it was.
    pub(super) fn obey_next(&mut self) -> Result<String, Over> {
        let line = self.line()?;
        self.obey(&line)?;
        Ok(line)
    }

    /// Reads the next command and does nothing.
    pub(super) fn drop_next(&mut self) -> Step {
        self.line().map(drop)
    }

    fn maybe_cut(&mut self) -> Step {
        let cut = self.shared.quirks.lock().control_cut;
        if cut.is_some_and(|cut| self.replies == cut.after && self.number < cut.connections) {
            return self.cut();
        }
        Ok(())
    }

    fn cut(&mut self) -> Step {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
        self.stream.shutdown(Shutdown::Both)?;
        Err(Over)
    }

    fn line(&mut self) -> Result<String, Over> {
        let mut line = Vec::new();
        if self.reader.by_ref().take(8192).read_until(b'\n', &mut line)? == 0 {
            return Err(Over);
        }
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        let shown = if text.starts_with("PASS ") { "PASS ***".to_owned() } else { text.clone() };
        self.shared.transcript.lock().entry(self.number).or_default().push(shown);
        Ok(text)
    }

    /// Says what the test wants said at `verb`; true when the right reply is to follow.
    fn say_instead(&mut self, verb: &str) -> Result<bool, Over> {
        let said = {
            let mut quirks = self.shared.quirks.lock();
            quirks.said.iter_mut().find(|said| said.verb == verb && said.times > 0).map(|said| {
                said.times -= 1;
                said.clone()
            })
        };
        let Some(said) = said else { return Ok(true) };
        self.raw(&said.bytes)?;
        match said.then {
            Then::GoOn => Ok(false),
            Then::Obey => Ok(true),
            Then::Close => Err(Over),
            Then::Hang => self.hang().map(|()| false),
        }
    }

    fn obey(&mut self, line: &str) -> Step {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        if !self.say_instead(&verb)? {
            return Ok(());
        }
        let quirks = self.quirks();
        let is_transfer =
            self.way.is_some() && ["RETR", "STOR", "APPE", "MLSD", "LIST"].contains(&verb.as_str());
        let is_ahead = std::mem::replace(&mut self.after_transfer, is_transfer)
            && ["EPSV", "PASV"].contains(&verb.as_str());
        if is_ahead && quirks.ahead != Ahead::Serves {
            return self.passive_ahead(quirks.ahead);
        }
        let path = self.resolve(&quirks, &self.cwd, argument);
        if !self.logged_in && !["USER", "PASS", "ACCT", "FEAT", "QUIT"].contains(&verb.as_str()) {
            return self.reply("530 Please login with USER and PASS.");
        }
        if quirks.writing.rnfr_insists
            && self.renaming.is_some()
            && !["RNTO", "NOOP"].contains(&verb.as_str())
        {
            return self.reply("501 Bad sequence of commands");
        }
        let cwd = self.cwd.clone();
        if let Some(step) = self.change(&quirks, &verb, argument, &cwd) {
            return step;
        }
        match verb.as_str() {
            "USER" if quirks.no_password => self.welcome(),
            "USER" => self.reply("331 Password required"),
            "PASS" => match (self.refusal, quirks.account) {
                (Some(Refusal::Pass(text)), _) => {
                    self.reply(text)?;
                    Err(Over)
                }
                (_, Some(_)) => self.reply("332 Need account"),
                _ if argument != "secret" => self.reply("530 Login incorrect."),
                _ => self.welcome(),
            },
            "ACCT" if quirks.account == Some(argument) => self.welcome(),
            "ACCT" => self.reply("530 Login incorrect."),
            "FEAT" => self.features(&quirks),
            "TYPE" => {
                self.ascii = argument.starts_with('A');
                self.reply("200 OK")
            }
            "PRET" if quirks.pret.is_some() => {
                self.pret = true;
                self.reply("200 OK")
            }
            "EPSV" | "PASV" if !self.pret && quirks.pret.is_some() => {
                self.reply(quirks.pret.map_or("", |(said, _)| said))
            }
            "PASV" | "EPRT" | "PORT" if quirks.epsv_only && self.epsv => self.reply("501 Not after EPSV"),
            "ALLO" => {
                self.allocated = true;
                self.reply("202 Superfluous")
            }
            "OPTS" | "NOOP" => self.reply("200 OK"),
            "PWD" => self.reply(&format!("257 \"{}\" is the current directory", self.cwd)),
            "CWD" => match self.node(&path) {
                Some(Node::Directory) => {
                    self.cwd = path;
                    self.reply("250 Directory changed")
                }
                Some(_) => self.reply(&format!("550 {argument}: Not a directory")),
                None => self.absent(argument),
            },
            "SIZE" if quirks.loses_type && self.ascii => self.reply("550 SIZE not allowed in ASCII mode"),
            "SIZE" if quirks.writing.size => match self.node(&path) {
                Some(Node::File { bytes, .. }) => {
                    let sign = if quirks.negative_sizes { "-" } else { "" };
                    self.reply(&format!("213 {sign}{}", bytes.len()))
                }
                Some(_) => self.reply(&format!("550 {argument}: not a regular file")),
                None => self.absent(argument),
            },
            "MDTM" => {
                let time = self.shared.tree.lock().time(&path);
                match time {
                    Some(time) => self.reply(&format!("213 {time}")),
                    None => self.absent(argument),
                }
            }
            "MLST" if quirks.mlst => {
                std::thread::sleep(quirks.writing.slow_facts.unwrap_or_default());
                let tree = self.shared.tree.lock();
                let group = tree.group(&path).filter(|_| quirks.writing.tells_groups());
                let group = group.map(|group| format!("UNIX.group={group};")).unwrap_or_default();
                let facts = tree.facts(&path).map(|facts| match quirks.mlst_globs {
                    true if path.contains(['*', '?', '[']) => "type=file;size=0;".to_owned(),
                    _ => facts + &group,
                });
                drop(tree);
                match facts {
                    Some(facts) => self.reply(&format!("250-Listing\r\n {facts} {path}\r\n250 End")),
                    None => self.absent(argument),
                }
            }
            "REST" => self.rest(argument, quirks.rest),
            "EPSV" => self.passive(quirks.epsv, true),
            "PASV" => self.passive(quirks.pasv, false),
            "EPRT" if quirks.eprt => self.active(eprt_address(argument)),
            "PORT" if quirks.port => self.active(port_address(argument)),
            "MLSD" if quirks.mlst => {
                let bytes = self.listing(&quirks, |tree, dir| tree.mlsd(dir));
                self.transfer(&quirks, &bytes)
            }
            "LIST" => {
                let bytes = self.listing(&quirks, |tree, dir| tree.list(dir, quirks.list_form));
                self.transfer(&quirks, &bytes)
            }
            "RETR" => self.retrieve(&quirks, argument, &path),
            "QUIT" => {
                self.reply("221 Goodbye")?;
                Err(Over)
            }
            _ => self.reply("500 Unknown command"),
        }
    }

    /// The path that `argument` means.
    pub(super) fn resolve(&self, quirks: &Quirks, cwd: &str, argument: &str) -> String {
        let path = join(cwd, argument);
        match quirks.ignores_case {
            true => self.shared.tree.lock().in_its_case(path),
            false => path,
        }
    }

    fn welcome(&mut self) -> Step {
        self.logged_in = true;
        self.reply("230 Logged in")
    }

    fn node(&self, path: &str) -> Option<Node> {
        self.shared.tree.lock().at(path).cloned()
    }

    fn absent(&mut self, argument: &str) -> Step {
        self.reply(&format!("550 {argument}: No such file or directory"))
    }

    fn features(&mut self, quirks: &Quirks) -> Step {
        match quirks.feat {
            Some(text) => self.reply(text),
            None => {
                let writing = &quirks.writing;
                let group = if writing.tells_groups() { "UNIX.group*;" } else { "" };
                let mlst = match quirks.mlst {
                    true => format!(" MLST type*;size*;modify*;unique*;UNIX.mode*;{group}\r\n"),
                    false => String::new(),
                };
                let mfmt = if quirks.writing.mfmt == Setting::Unknown { "" } else { " MFMT\r\n" };
                let mff = match (writing.mff != Setting::Unknown, writing.mff_group != Setting::Unknown) {
                    (true, true) => " MFF modify;UNIX.mode;UNIX.group;\r\n",
                    (true, false) => " MFF modify;UNIX.mode;\r\n",
                    (false, true) => " MFF UNIX.group;\r\n",
                    (false, false) => "",
                };
                let pret = if quirks.pret.is_some_and(|(_, told)| told) { " PRET\r\n" } else { "" };
                self.reply(&format!(
                    "211-Features:\r\n EPRT\r\n EPSV\r\n MDTM\r\n{mfmt}{mff}{pret}{mlst} REST STREAM\r\n SIZE\r\n211 End"
                ))
            }
        }
    }

    fn rest(&mut self, argument: &str, rest: Rest) -> Step {
        let works = match rest {
            Rest::Works => true,
            Rest::Refused | Rest::Works1st(0) => false,
            Rest::Works1st(times) => {
                self.shared.quirks.lock().rest = Rest::Works1st(times - 1);
                true
            }
        };
        match argument.parse() {
            Ok(offset) if works => {
                self.restart = offset;
                self.reply(&format!("350 Restarting at {offset}"))
            }
            _ => self.reply("502 REST not implemented"),
        }
    }

    fn passive(&mut self, kind: Passive, extended: bool) -> Step {
        self.epsv |= extended;
        if kind == Passive::Refused {
            return self.reply("500 Not understood");
        }
        let ip = self.stream.local_addr()?.ip();
        let (way, mut port) = Way::listen(ip)?;
        let mut told = match ip {
            std::net::IpAddr::V4(ip) => ip.octets(),
            std::net::IpAddr::V6(_) => [0; 4],
        };
        match kind {
            // The listener is closed at once: connecting is refused.
            Passive::Dead => {
                drop(way);
                self.way = None;
            }
            Passive::PortZero => port = 0,
            Passive::Foreign(ip) => {
                told = ip.octets();
                self.way = Some(way);
            }
            _ => self.way = Some(way),
        }
        let [a, b, c, d] = told;
        match extended {
            true => self.reply(&format!("229 Entering Extended Passive Mode (|||{port}|)")),
            false => self.reply(&format!(
                "227 Entering Passive Mode ({a},{b},{c},{d},{},{})",
                port >> 8,
                port & 255
            )),
        }
    }

    /// EPSV right behind a transfer, where the server does not like that.
    fn passive_ahead(&mut self, ahead: Ahead) -> Step {
        let (way, port) = Way::listen(self.stream.local_addr()?.ip())?;
        self.way = None;
        match ahead {
            Ahead::Refuses => return self.reply("450 No port is free"),
            Ahead::Closes => {
                let Way::Passive(listener) = way else { return Err(Over) };
                std::thread::spawn(move || drop(listener.accept()));
            }
            Ahead::Hangs => {
                let Way::Passive(listener) = way else { return Err(Over) };
                std::thread::spawn(move || {
                    let connected = listener.accept();
                    std::thread::sleep(std::time::Duration::from_secs(20));
                    drop(connected);
                });
                self.way = Some(Way::Nowhere);
            }
            Ahead::SaysGoodbye(words) => {
                self.reply(&format!("229 Entering Extended Passive Mode (|||{port}|)"))?;
                self.reply(words)?;
                return Err(Over);
            }
            Ahead::Serves | Ahead::Swallows => self.way = Some(way),
        }
        self.reply(&format!("229 Entering Extended Passive Mode (|||{port}|)"))
    }

    fn active(&mut self, address: Option<SocketAddr>) -> Step {
        match address {
            // RFC 2577 s.3: never to anybody but the client.
            Some(address) if Some(address.ip()) == self.stream.peer_addr().ok().map(|peer| peer.ip()) => {
                self.way = Some(Way::Active(address));
                self.reply("200 Command successful")
            }
            _ => self.reply("501 Bad address"),
        }
    }

    fn listing(&self, quirks: &Quirks, print: impl Fn(&super::tree::Tree, &str) -> Vec<u8>) -> Vec<u8> {
        match quirks.listings.get(&self.cwd) {
            Some(raw) => raw.clone(),
            None => print(&self.shared.tree.lock(), &self.cwd),
        }
    }

    fn retrieve(&mut self, quirks: &Quirks, argument: &str, path: &str) -> Step {
        let offset = std::mem::take(&mut self.restart);
        let found = self.shared.tree.lock().bytes(path);
        let Some(mut bytes) = found else {
            if quirks.keeps_rest {
                self.restart = offset;
            }
            return self.absent(argument);
        };
        let sent = i64::try_from(bytes.len()).unwrap() + quirks.extra;
        bytes.resize(usize::try_from(sent.max(0)).unwrap(), b'+');
        if offset > bytes.len() {
            return self.reply("554 Restart offset beyond the end of the file");
        }
        if quirks.loses_type && std::mem::replace(&mut self.ascii, true) {
            bytes = String::from_utf8_lossy(&bytes).replace('\n', "\r\n").into_bytes();
            return self.transfer_in(
                quirks,
                Some("150 Opening ASCII mode data connection"),
                &bytes[offset..],
            );
        }
        self.transfer(quirks, &bytes[offset..])
    }

    /// The announcement of a transfer, where there is one.
    pub(super) fn announce(&mut self, opening: Opening) -> Step {
        self.pret = false;
        match opening {
            Opening::Says(code) => self.reply(&format!("{code} Opening data connection")),
            Opening::Missing => Ok(()),
        }
    }
}

fn eprt_address(argument: &str) -> Option<SocketAddr> {
    let mut parts = argument.split('|').skip(2);
    Some(SocketAddr::new(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn port_address(argument: &str) -> Option<SocketAddr> {
    let numbers: Vec<u8> = argument.split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [a, b, c, d, high, low] = numbers[..] else { return None };
    Some(SocketAddr::from(([a, b, c, d], u16::from(high) << 8 | u16::from(low))))
}
