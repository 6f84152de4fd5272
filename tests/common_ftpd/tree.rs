//! What the server holds, and how it prints it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::quirks::ListForm;

/// A time of the tree's files that is not young: 2021-03-04 05:06:07 UTC.
const OLD: i64 = 1_614_834_367;

/// One thing in the tree.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File { bytes: Vec<u8>, time: i64 },
    Directory,
    Link(&'static str),
}

/// Nodes by absolute path. `/` is always there.
#[derive(Clone, Debug)]
pub(crate) struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// A tree with the login directory `/home/u`, which holds a file `small` (1,000 bytes), `big` (300 KiB),
    /// a directory `sub` with one file, and a link.
    pub(crate) fn sample() -> Tree {
        let mut tree = Tree(BTreeMap::new());
        for dir in ["/", "/home", "/home/u", "/home/u/sub"] {
            tree.0.insert(dir.to_owned(), Node::Directory);
        }
        tree.put("/home/u/small", pattern(1, 1000));
        tree.put("/home/u/big", pattern(2, 300 * 1024));
        tree.put("/home/u/sub/inner", pattern(3, 10));
        tree.0.insert("/home/u/link".to_owned(), Node::Link("small"));
        tree
    }

    /// Makes or replaces a file, last modified in 2021.
    pub(crate) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.put_at(path, bytes, OLD);
    }

    /// Makes or replaces a file, last modified at `time` (seconds since 1970).
    pub(crate) fn put_at(&mut self, path: &str, bytes: Vec<u8>, time: i64) {
        self.0.insert(path.to_owned(), Node::File { bytes, time });
    }

    /// What is at `path`, links followed.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        match self.0.get(path)? {
            Node::Link(target) => self.0.get(&join(parent(path), target)),
            node => Some(node),
        }
    }

    /// A file's bytes.
    pub(crate) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        match self.at(path)? {
            Node::File { bytes, .. } => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The facts of `path`, without its name.
    pub(crate) fn facts(&self, path: &str) -> Option<String> {
        self.at(path).map(|node| facts(path, node))
    }

    /// MDTM's answer.
    pub(crate) fn time(&self, path: &str) -> Option<String> {
        match self.at(path)? {
            Node::File { time, .. } => Some(time_value(*time)),
            _ => None,
        }
    }

    /// MLSD's data.
    pub(crate) fn mlsd(&self, dir: &str) -> Vec<u8> {
        let lines = self.children(dir).map(|(path, name, node)| format!("{} {name}\r\n", facts(path, node)));
        let own = format!("type=cdir;unique=d{}; {dir}\r\n", dir.len());
        std::iter::once(own).chain(lines).collect::<String>().into_bytes()
    }

    /// LIST's data.
    pub(crate) fn list(&self, dir: &str, form: ListForm) -> Vec<u8> {
        let lines = self.children(dir).map(|(_, name, node)| match form {
            ListForm::Unix { zone } => unix_line(name, node, zone),
            ListForm::Dos => dos_line(name, node),
        });
        let total = if form == ListForm::Dos { "" } else { "total 1\r\n" };
        (total.to_owned() + &lines.collect::<String>()).into_bytes()
    }

    fn children<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a Node)> {
        self.0.iter().filter(|(path, _)| *path != "/").filter_map(move |(path, node)| {
            let (holder, name) = path.rsplit_once('/')?;
            let holder = if holder.is_empty() { "/" } else { holder };
            (holder == dir).then_some((path.as_str(), name, node))
        })
    }
}

/// `len` bytes that differ between seeds and between offsets.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// `path` seen from `dir`, which is absolute.
pub(crate) fn join(dir: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") };
    let mut parts = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(dir, _)| dir)
}

fn facts(path: &str, node: &Node) -> String {
    let unique: u64 = path.bytes().fold(7, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    match node {
        Node::File { bytes, time } => format!(
            "type=file;size={};modify={};unique={unique:x};UNIX.mode=0644;",
            bytes.len(),
            time_value(*time)
        ),
        Node::Directory => format!("type=dir;modify={};unique={unique:x};UNIX.mode=0755;", time_value(OLD)),
        Node::Link(target) => format!("type=OS.unix=slink:{target};unique={unique:x};"),
    }
}

fn civil(seconds: i64) -> DateTime {
    Offset::UTC.to_datetime(Timestamp::from_second(seconds).unwrap())
}

fn time_value(seconds: i64) -> String {
    let t = civil(seconds);
    format!("{:04}{:02}{:02}{:02}{:02}{:02}", t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
}

fn unix_line(name: &str, node: &Node, zone: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (mode, size, time, shown) = match node {
        Node::File { bytes, time } => ("-rw-r--r--", bytes.len(), *time, name.to_owned()),
        Node::Directory => ("drwxr-xr-x", 4096, OLD, name.to_owned()),
        Node::Link(target) => ("lrwxrwxrwx", target.len(), OLD, format!("{name} -> {target}")),
    };
    let t = civil(time + zone);
    let month = MONTHS[usize::try_from(t.month() - 1).unwrap()];
    let young = Timestamp::now().as_second() - time < 180 * 86_400;
    let when = match young {
        true => format!("{:02}:{:02}", t.hour(), t.minute()),
        false => format!(" {:04}", t.year()),
    };
    format!("{mode}   1 owner group {size:>10} {month} {:>2} {when} {shown}\r\n", t.day())
}

fn dos_line(name: &str, node: &Node) -> String {
    let (time, column) = match node {
        Node::File { bytes, time } => (*time, format!("{:>20}", bytes.len())),
        _ => (OLD, format!("{:<20}", "      <DIR>")),
    };
    let t = civil(time);
    let (hour, half) = match t.hour() {
        0 => (12, "AM"),
        hour @ 1..12 => (hour, "AM"),
        12 => (12, "PM"),
        hour => (hour - 12, "PM"),
    };
    let (month, day, year, minute) = (t.month(), t.day(), t.year() % 100, t.minute());
    format!("{month:02}-{day:02}-{year:02}  {hour:02}:{minute:02}{half} {column} {name}\r\n")
}
