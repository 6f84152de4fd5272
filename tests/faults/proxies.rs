//! Mounts that reach their server through a proxy.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::SAMPLE_NAMES;
use crate::common::bounded::{eventually, finish, within};
use crate::common::fresh_dir;
use crate::common::mount::{Mount, mount_line, program};
use crate::common_ftpd::{Passive, Quirks, Server, Tree};

/// A name that only the proxy can resolve.
const HOST: &str = "ftp.behind.test";

/// User and password of the proxy: for its URL, by themselves, and for HTTP.
const LOGIN_IN_URL: &str = "me:pa%3Ass%40word";
const USER: &str = "me";
const PASSWORD: &str = "pa:ss@word";
const LOGIN_OF_HTTP: &str = "Proxy-Authorization: Basic bWU6cGE6c3NAd29yZA==";

const BOUND: Duration = Duration::from_secs(60);

const OPTIONS: [&str; 5] =
    ["connect_timeout=2", "login_timeout=4", "reply_timeout=2", "stall_timeout=2", "operation_timeout=8"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socks5,
    Http,
}

/// A proxy that knows one server by its name, and one user. Its threads end with the test's process.
struct Relay {
    kind: Kind,
    address: SocketAddr,
    /// Where clients wanted to go.
    asked: Arc<Mutex<Vec<String>>>,
    /// The ways to the server that are or were open.
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn start(kind: Kind, server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Relay { kind, address, asked: Arc::default(), open: Arc::default() };
        let (asked, open) = (relay.asked.clone(), relay.open.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, asked, open) = (client.unwrap(), asked.clone(), open.clone());
                thread::spawn(move || relay_one(kind, client, server, &asked, &open));
            }
        });
        relay
    }

    fn option(&self, login: &str) -> String {
        let scheme = if self.kind == Kind::Socks5 { "socks5" } else { "http" };
        format!("proxy={scheme}://{login}@{}", self.address)
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn relay_one(
    kind: Kind,
    mut client: TcpStream,
    server: SocketAddr,
    asked: &Mutex<Vec<String>>,
    open: &Mutex<Vec<TcpStream>>,
) -> io::Result<()> {
    let Some((host, port)) = (match kind {
        Kind::Socks5 => socks5_request(&mut client)?,
        Kind::Http => http_request(&mut client)?,
    }) else {
        return Ok(());
    };
    asked.lock().unwrap().push(format!("{host}:{port}"));
    let (yes, no): (&[u8], &[u8]) = match kind {
        Kind::Socks5 => (b"\x05\0\0\x03\x04gate\0\x01", b"\x05\x04\0\x01\0\0\0\0\0\0"),
        Kind::Http => (b"HTTP/1.1 200 Go on\r\nVia: 1.1 gate\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
    };
    if host != HOST {
        return client.write_all(no);
    }
    let there = match TcpStream::connect((server.ip(), port)) {
        Ok(there) => there,
        Err(_) => return client.write_all(no),
    };
    client.write_all(yes)?;
    open.lock().unwrap().push(there.try_clone()?);
    let (mut from_server, mut to_client) = (there.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let mut to_server = there;
    let _ = io::copy(&mut client, &mut to_server);
    to_server.shutdown(Shutdown::Write)
}

fn socks5_request(client: &mut TcpStream) -> io::Result<Option<(String, u16)>> {
    let mut head = [0; 2];
    client.read_exact(&mut head)?;
    let mut methods = vec![0; head[1].into()];
    client.read_exact(&mut methods)?;
    if head[0] != 5 || !methods.contains(&2) {
        client.write_all(&[5, 0xff])?;
        return Ok(None);
    }
    client.write_all(&[5, 2])?;
    let mut version = [0];
    client.read_exact(&mut version)?;
    let (user, password) = (counted(client)?, counted(client)?);
    if (version, &user[..], &password[..]) != ([1], USER.as_bytes(), PASSWORD.as_bytes()) {
        client.write_all(&[1, 1])?;
        return Ok(None);
    }
    client.write_all(&[1, 0])?;
    let mut request = [0; 4];
    client.read_exact(&mut request)?;
    let host = match request {
        [5, 1, 0, 3] => String::from_utf8(counted(client)?).unwrap(),
        [5, 1, 0, 1] => {
            let mut ip = [0; 4];
            client.read_exact(&mut ip)?;
            Ipv4Addr::from(ip).to_string()
        }
        other => panic!("{other:?}"),
    };
    let mut port = [0; 2];
    client.read_exact(&mut port)?;
    Ok(Some((host, u16::from_be_bytes(port))))
}

/// Bytes behind their number.
fn counted(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0];
    client.read_exact(&mut len)?;
    let mut bytes = vec![0; len[0].into()];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn http_request(client: &mut TcpStream) -> io::Result<Option<(String, u16)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    if !head.lines().any(|line| line == LOGIN_OF_HTTP) {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")?;
        return Ok(None);
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    let (host, port) = target.rsplit_once(':').unwrap();
    Ok(Some((host.to_owned(), port.parse().unwrap())))
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_mount_works_through_a_proxy_which_alone_knows_the_server() {
    // The address in the answer to PASV is nobody's; the proxy is asked for the server by its name all the same.
    let foreign = Passive::Foreign(Ipv4Addr::new(127, 0, 0, 5));
    let no_epsv = || Quirks { epsv: Passive::Refused, pasv: foreign, ..Quirks::default() };
    for (kind, quirks) in [
        (Kind::Socks5, Quirks::default()),
        (Kind::Socks5, no_epsv()),
        (Kind::Http, Quirks::default()),
        (Kind::Http, no_epsv()),
    ] {
        let server = Server::start(Tree::sample(), quirks);
        let relay = Relay::start(kind, server.address());
        let proxy = relay.option(LOGIN_IN_URL);
        let options = [&OPTIONS[..], &[&proxy, "debug"]].concat();
        let url = format!("ftp://u:secret@{HOST}:{}/", server.address().port());
        let mount = Mount::start(&url, &options);
        let dir = mount.path().to_owned();
        let big = server.tree().bytes("/home/u/big").unwrap();
        let is_same = move |dir: &Path| fs::read(dir.join("big")).is_ok_and(|bytes| bytes == big);
        let (root, reads) = (dir.clone(), is_same.clone());
        within(BOUND, "reading and writing", move || {
            assert_eq!(names(&root), SAMPLE_NAMES.iter().map(|&name| name.to_owned()).collect());
            assert!(reads(&root), "other bytes");
            fs::write(root.join("new"), "new content").unwrap();
            fs::rename(root.join("new"), root.join("renamed")).unwrap();
            fs::remove_file(root.join("big")).unwrap();
        });
        assert_eq!(server.tree().bytes("/home/u/renamed").unwrap(), b"new content");
        assert!(server.tree().bytes("/home/u/big").is_none());

        let asked = relay.asked.lock().unwrap().clone();
        assert!(asked.len() > 3 && asked.iter().all(|to| to.starts_with("ftp.behind.test:")), "{asked:?}");
        assert_eq!(server.count("EPRT") + server.count("PORT"), 0);

        // What is cut on its way through is made anew.
        relay.cut();
        let root = dir.clone();
        eventually(BOUND, "the mount to work again", || {
            let path = root.join("after");
            within(BOUND, "a write", move || fs::write(path, "after")).ok()
        });
        assert_eq!(server.tree().bytes("/home/u/after").unwrap(), b"after");

        // Nobody is told the password.
        assert!(!mount.log().contains(PASSWORD) && !mount.log().contains("pa%3A"), "{}", mount.log());
        assert!(!mount_line(&dir).unwrap().contains("pa"), "{:?}", mount_line(&dir));
        let shown = command_lines(&dir);
        assert!(!shown.is_empty() && shown.iter().all(|line| !line.contains("pa%3A")), "{shown:?}");
    }
}

/// What everybody can see of the programs that have `dir` among their arguments.
fn command_lines(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(dir.to_str().unwrap())).collect()
}

/// What the program says when it cannot mount.
fn refused(url: &str, options: &[&str]) -> String {
    let dir = fresh_dir("refused-");
    let mut command = program();
    command.args(["-f", url]).arg(dir.path()).args(["-o", &options.join(",")]);
    let output = finish(BOUND, command);
    assert_eq!(output.status.code(), Some(32));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_proxy_that_does_not_lead_to_the_server_is_named_with_what_it_says() {
    let server = Server::start(Tree::sample(), Quirks::default());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.address().port();
    let known = format!("ftp://u:secret@{HOST}:{port}/");
    let unknown = format!("ftp://u:secret@elsewhere.test:{port}/");
    for kind in [Kind::Socks5, Kind::Http] {
        let relay = Relay::start(kind, server.address());
        let mute =
            Relay { kind, address: silent.local_addr().unwrap(), ..Relay::start(kind, server.address()) };
        for (relay, login, url, words) in [
            (&relay, "me:wrong-one", &known, "does not accept the login"),
            (&relay, "me:wr%3Aong-longer-one", &known, "does not accept the login"),
            (&relay, LOGIN_IN_URL, &unknown, "does not connect to elsewhere.test"),
            (&mute, LOGIN_IN_URL, &known, "no answer within"),
        ] {
            let option = relay.option(login);
            let said = refused(url, &[&OPTIONS[..], &[&option]].concat());
            let scheme = option.strip_prefix("proxy=").unwrap().split("://").next().unwrap();
            let named = format!("the proxy {scheme}://{}: ", relay.address);
            assert!(said.contains(&named) && said.contains(words), "{said}");
            assert!(!said.contains("wrong") && !said.contains("wr%3A") && !said.contains("pa%3A"), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    assert_eq!(server.transcript().len(), 0, "the server was reached");
}

#[test]
fn an_ftp_proxy_is_told_the_server_behind_the_user() {
    let server = Server::start(Tree::sample(), Quirks::default());
    let option = format!("ftp_proxy={}", server.address());
    let options = [&OPTIONS[..], &[&option]].concat();
    let mount = Mount::start("ftp://u:secret@far.example:2100/", &options);
    let dir = mount.path().to_owned();
    let found = within(BOUND, "list", move || names(&dir));
    assert_eq!(found, SAMPLE_NAMES.iter().map(|&name| name.to_owned()).collect());
    assert!(mount_line(mount.path()).unwrap().starts_with("ftp://far.example:2100/ "));
    let users: BTreeSet<String> =
        server.transcript().concat().into_iter().filter(|line| line.starts_with("USER")).collect();
    assert_eq!(users, BTreeSet::from(["USER u@far.example:2100".to_owned()]));
}
