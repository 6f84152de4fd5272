//! A small FTP server for unit tests of what real servers do only once in a while: break the connection
//! behind a command, or take data slowly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::ftp::config::{DataConfig, Login, SessionConfig, Timeouts};
use crate::secret::Secret;

/// When the connection is cut, at one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the command is done.
    Before,
    /// After it was done, instead of the reply.
    Instead,
}

/// What the server holds and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Paths with their contents; `None` for directories. The root is always there.
    pub(crate) tree: BTreeMap<String, Option<Vec<u8>>>,
    /// The next command with this verb loses its connection.
    pub(crate) cut: Option<(&'static str, Cut)>,
    /// The reply to every command with this verb, instead of doing it; none at all where it is empty.
    pub(crate) reply: Option<(&'static str, &'static str)>,
    /// A command that is no transfer closes the port of the data connection.
    pub(crate) forgets_port: bool,
    /// The pause after every 64 KiB of an upload.
    pub(crate) pause: Duration,
    /// The commands that came, with their arguments.
    pub(crate) seen: Vec<String>,
}

/// A running server. Its threads end with the test's process.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
    pub(crate) script: Arc<Mutex<Script>>,
}

impl Scripted {
    pub(crate) fn start(paths: &[(&str, Option<&str>)]) -> Scripted {
        let tree =
            paths.iter().map(|(path, content)| ((*path).to_owned(), content.map(|c| c.into()))).collect();
        let script = Arc::new(Mutex::new(Script { tree, ..Script::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = script.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, script) = (stream.unwrap(), shared.clone());
                std::thread::spawn(move || serve(stream, &script));
            }
        });
        Scripted { address, script }
    }

    /// How to log in, with short bounds: 500 ms for a reply, 2 s for a stall.
    pub(crate) fn config(&self) -> SessionConfig {
        let second = Duration::from_secs(2);
        let reply = Duration::from_millis(500);
        SessionConfig {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            proxy: None,
            family: Default::default(),
            bind: None,
            login: Login { user: b"u".to_vec(), password: Secret::new("p"), account: None },
            data: DataConfig::default(),
            tls: None,
            utf8: true,
            list_zone: None,
            timeouts: Timeouts { connect: second, login: second, reply, stall: second },
        }
    }
}

/// Serves one connection until it is cut or closed.
fn serve(mut control: TcpStream, script: &Mutex<Script>) -> Option<()> {
    control.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(control.try_clone().ok()?).lines();
    control.write_all(b"220 scripted\r\n").ok()?;
    let (mut passive, mut from, mut dir) = (None, None, "/".to_owned());
    while let Some(Ok(line)) = lines.next() {
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        script.lock().seen.push(line.clone());
        let cut = script.lock().cut.take_if(|(wanted, _)| *wanted == verb).map(|(_, cut)| cut);
        if cut == Some(Cut::Before) {
            return None;
        }
        if script.lock().forgets_port && !matches!(verb, "EPSV" | "STOR" | "MLSD") {
            passive = None;
        }
        let forced = script.lock().reply.filter(|(wanted, _)| *wanted == verb);
        let reply = match (forced, verb) {
            (Some((_, reply)), _) => reply.to_owned(),
            (_, "EPSV") => {
                let listener = TcpListener::bind("127.0.0.1:0").ok()?;
                let port = listener.local_addr().ok()?.port();
                passive = Some(listener);
                format!("229 Extended (|||{port}|)")
            }
            (_, "MLSD") => {
                let (mut data, _) = passive.take()?.accept().ok()?;
                control.write_all(b"150 here\r\n").ok()?;
                data.write_all(list(&script.lock(), &dir).as_bytes()).ok()?;
                "226 done".to_owned()
            }
            (_, "STOR") => {
                let (data, _) = passive.take()?.accept().ok()?;
                control.write_all(b"150 send\r\n").ok()?;
                let content = take(data, script);
                script.lock().tree.insert(argument.to_owned(), Some(content));
                "226 done".to_owned()
            }
            (_, "CWD") if is_dir(&script.lock(), argument) => {
                dir = argument.to_owned();
                "250 ok".to_owned()
            }
            (_, "RNFR") if script.lock().tree.contains_key(argument) => {
                from = Some(argument.to_owned());
                "350 to".to_owned()
            }
            (_, "RNTO") => rename(&mut script.lock(), from.take(), argument),
            _ => answer(&mut script.lock(), verb, argument),
        };
        if cut == Some(Cut::Instead) {
            return None;
        }
        if reply.is_empty() {
            continue;
        }
        control.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
    }
    None
}

fn answer(script: &mut Script, verb: &str, argument: &str) -> String {
    let tree = &mut script.tree;
    let parent = argument.rsplit_once('/').map_or("", |(parent, _)| parent);
    let reply = match verb {
        "USER" => "331 and the password?",
        "PASS" => "230 welcome",
        "TYPE" | "NOOP" | "SITE" | "OPTS" => "200 ok",
        "SYST" => "215 UNIX",
        "FEAT" => "211-Features:\r\n MLST type*;size*;\r\n211 End",
        "PWD" => "257 \"/\"",
        "MKD" if tree.contains_key(argument) || !(parent.is_empty() || tree.contains_key(parent)) => {
            "550 No."
        }
        "MKD" => {
            tree.insert(argument.to_owned(), None);
            "257 made"
        }
        "DELE" if tree.get(argument).is_some_and(Option::is_some) => {
            tree.remove(argument);
            "250 done"
        }
        "RMD" if tree.get(argument).is_some_and(Option::is_none) => {
            tree.remove(argument);
            "250 done"
        }
        "MLST" => match tree.get(argument) {
            None => "550 No.",
            Some(None) => return format!("250-\r\n type=dir; {argument}\r\n250 end"),
            Some(Some(content)) => {
                return format!("250-\r\n type=file;size={}; {argument}\r\n250 end", content.len());
            }
        },
        _ => "550 No.",
    };
    reply.to_owned()
}

fn rename(script: &mut Script, from: Option<String>, to: &str) -> String {
    let Some(content) = from.and_then(|from| script.tree.remove(&from)) else {
        return "503 first RNFR".into();
    };
    script.tree.insert(to.to_owned(), content);
    "250 done".into()
}

fn is_dir(script: &Script, path: &str) -> bool {
    path == "/" || script.tree.get(path).is_some_and(Option::is_none)
}

fn list(script: &Script, dir: &str) -> String {
    let start = if dir == "/" { "/".to_owned() } else { format!("{dir}/") };
    let line = |(path, content): (&String, &Option<Vec<u8>>)| {
        let name = path.strip_prefix(&start).filter(|name| !name.contains('/'))?;
        let kind = if content.is_some() { "file" } else { "dir" };
        Some(format!("type={kind}; {name}\r\n"))
    };
    script.tree.iter().filter_map(line).collect()
}

fn take(mut data: TcpStream, script: &Mutex<Script>) -> Vec<u8> {
    let (mut content, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    if !script.lock().pause.is_zero() {
        let _ = socket2::SockRef::from(&data).set_recv_buffer_size(64 * 1024);
    }
    while let Ok(n @ 1..) = data.read(&mut chunk) {
        content.extend_from_slice(&chunk[..n]);
        let pause = script.lock().pause;
        std::thread::sleep(pause);
    }
    content
}
