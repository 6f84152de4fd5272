//! What the server holds, and how it prints it. How it changes: `contents`.

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
    Link(String),
}

/// A node and what it has besides.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: FileId,
    /// Told by MLSD and MLST.
    pub(super) unique: u64,
    pub(super) mode: u16,
    pub(super) group: u32,
    /// False while an upload runs, and after one that broke.
    pub(super) whole: bool,
    pub(super) node: Node,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(pub(super) u64);

/// One upload that the tree was opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Landing {
    /// STOR or APPE.
    pub(crate) verb: &'static str,
    pub(crate) path: String,
    /// Where its bytes went.
    pub(crate) offset: usize,
    /// How many came.
    pub(crate) bytes: usize,
    /// The client ended the data in order.
    pub(crate) whole: bool,
    /// The size of what was there before, and whether that was whole.
    pub(crate) before: Option<(usize, bool)>,
    pub(super) file: FileId,
}

/// Nodes by absolute path. `/` is always there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(super) nodes: BTreeMap<String, Entry>,
    pub(super) last_id: u64,
    pub(super) landings: Vec<Landing>,
}

impl Tree {
    /// A tree with the login directory `/home/u`, which holds a file `small` (1,000 bytes), `big` (300 KiB),
    /// a directory `sub` with one file, and a link.
    pub(crate) fn sample() -> Tree {
        let mut tree = Tree::bare();
        tree.insert("/home/u/sub", Node::Directory);
        tree.put("/home/u/small", pattern(1, 1000));
        tree.put("/home/u/big", pattern(2, 300 * 1024));
        tree.put("/home/u/sub/inner", pattern(3, 10));
        tree.insert("/home/u/link", Node::Link("small".to_owned()));
        tree
    }

    /// A tree with an empty login directory `/home/u`.
    pub(crate) fn bare() -> Tree {
        let mut tree = Tree::default();
        for dir in ["/", "/home", "/home/u"] {
            tree.insert(dir, Node::Directory);
        }
        tree
    }

    /// Makes or replaces a file, last modified in 2021.
    pub(crate) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.put_at(path, bytes, OLD);
    }

    /// Makes or replaces a file, last modified at `time` (seconds since 1970).
    pub(crate) fn put_at(&mut self, path: &str, bytes: Vec<u8>, time: i64) {
        self.insert(path, Node::File { bytes, time });
    }

    /// The path as it is in the tree, whatever its case; else as it is.
    pub(super) fn in_its_case(&self, path: String) -> String {
        self.nodes.keys().find(|known| known.eq_ignore_ascii_case(&path)).cloned().unwrap_or(path)
    }

    /// Takes one name away.
    pub(crate) fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
    }

    /// Makes a directory.
    pub(crate) fn put_directory(&mut self, path: &str) {
        self.insert(path, Node::Directory);
    }

    /// What is replaced by this stays the same file. Its `unique` is a hash of its first path.
    pub(super) fn insert(&mut self, path: &str, node: Node) -> FileId {
        let mode = if matches!(node, Node::Directory) { 0o755 } else { 0o644 };
        if let Some(entry) = self.nodes.get_mut(path) {
            (entry.node, entry.whole) = (node, true);
            return entry.id;
        }
        self.last_id += 1;
        let id = FileId(self.last_id);
        let unique = path.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        self.nodes.insert(path.to_owned(), Entry { id, unique, mode, group: 0, whole: true, node });
        id
    }

    /// What is at `path`, links followed.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        self.entry(path).map(|entry| &entry.node)
    }

    pub(super) fn entry(&self, path: &str) -> Option<&Entry> {
        match self.nodes.get(path)? {
            Entry { node: Node::Link(target), .. } => self.nodes.get(&join(parent(path), target)),
            entry => Some(entry),
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
        self.entry(path).map(facts)
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
        let lines = self.children(dir).map(|(name, entry)| format!("{} {name}\r\n", facts(entry)));
        let own = format!("type=cdir;unique=d{}; {dir}\r\n", dir.len());
        std::iter::once(own).chain(lines).collect::<String>().into_bytes()
    }

    /// LIST's data.
    pub(crate) fn list(&self, dir: &str, form: ListForm) -> Vec<u8> {
        let lines = self.children(dir).map(|(name, entry)| match form {
            ListForm::Unix { zone } => unix_line(name, entry, zone),
            ListForm::Dos => dos_line(name, &entry.node),
        });
        let total = if form == ListForm::Dos { "" } else { "total 1\r\n" };
        (total.to_owned() + &lines.collect::<String>()).into_bytes()
    }

    pub(super) fn children<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.nodes.iter().filter(|(path, _)| *path != "/").filter_map(move |(path, entry)| {
            let (_, name) = path.rsplit_once('/')?;
            (parent(path) == dir).then_some((name, entry))
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

/// The directory of an absolute path.
pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        None | Some(("", _)) => "/",
        Some((dir, _)) => dir,
    }
}

fn facts(entry: &Entry) -> String {
    let (unique, mode) = (entry.unique, entry.mode);
    match &entry.node {
        Node::File { bytes, time } => format!(
            "type=file;size={};modify={};unique={unique:x};UNIX.mode={mode:04o};",
            bytes.len(),
            time_value(*time)
        ),
        Node::Directory => {
            format!("type=dir;modify={};unique={unique:x};UNIX.mode={mode:04o};", time_value(OLD))
        }
        Node::Link(target) => format!("type=OS.unix=slink:{target};unique={unique:x};"),
    }
}

/// The time that `YYYYMMDDHHMMSS` tells, in seconds since 1970.
pub(super) fn seconds(value: &str) -> Option<i64> {
    if value.len() != 14 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| value[from..to].parse::<i8>().ok();
    let time = DateTime::new(
        value[..4].parse().ok()?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?,
        0,
    );
    Some(Offset::UTC.to_timestamp(time.ok()?).ok()?.as_second())
}

fn civil(seconds: i64) -> DateTime {
    Offset::UTC.to_datetime(Timestamp::from_second(seconds).unwrap())
}

fn time_value(seconds: i64) -> String {
    let t = civil(seconds);
    format!("{:04}{:02}{:02}{:02}{:02}{:02}", t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
}

fn unix_line(name: &str, entry: &Entry, zone: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (kind, size, time, shown) = match &entry.node {
        Node::File { bytes, time } => ('-', bytes.len(), *time, name.to_owned()),
        Node::Directory => ('d', 4096, OLD, name.to_owned()),
        Node::Link(target) => ('l', target.len(), OLD, format!("{name} -> {target}")),
    };
    let bits = (0..9).map(|i| if entry.mode & (0o400 >> i) == 0 { '-' } else { ['r', 'w', 'x'][i % 3] });
    let mode: String = std::iter::once(kind).chain(bits).collect();
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
