//! How the tree changes, and what a test may ask about it. A refusal is the text behind the reply's code.

use jiff::Timestamp;

use super::tree::{Entry, FileId, Landing, Node, Tree, parent};

const ABSENT: &str = "No such file or directory";

type Changed = Result<(), String>;

impl Tree {
    /// Opens a file for an upload by `verb` that begins at `offset`; it is made, or cut when the offset is 0.
    pub(super) fn open(&mut self, verb: &'static str, path: &str, offset: usize) -> Result<FileId, String> {
        self.within_a_directory(path)?;
        let before = match self.entry(path) {
            None => None,
            Some(Entry { mode, .. }) if mode & 0o200 == 0 => return Err("Permission denied".to_owned()),
            Some(Entry { node: Node::File { bytes, .. }, whole, .. }) => Some((bytes.len(), *whole)),
            Some(_) => return Err("Is a directory".to_owned()),
        };
        let time = Timestamp::now().as_second();
        let file = match self.entry(path).map(|entry| entry.id) {
            None => self.insert(path, Node::File { bytes: Vec::new(), time }),
            Some(file) => {
                if verb == "STOR" && offset == 0 {
                    self.cut(file, 0);
                }
                file
            }
        };
        let FileId(number) = file;
        if let Some(entry) = self.by_id(file) {
            entry.whole = false;
            if before.is_none() {
                // As an inode's number: not the one that an older file of this name had.
                entry.unique = entry.unique.wrapping_add(number << 40);
            }
        }
        let path = path.to_owned();
        self.landings.push(Landing { verb, path, offset, bytes: 0, whole: false, before, file });
        Ok(file)
    }

    /// Puts bytes where they belong. False when that would need more than `room` for all files; what fits is kept.
    pub(super) fn write(&mut self, file: FileId, at: usize, bytes: &[u8], room: Option<usize>) -> bool {
        let used = self.used();
        let Some(Entry { node: Node::File { bytes: held, time }, .. }) = self.by_id(file) else {
            return true;
        };
        let grows = (at + bytes.len()).saturating_sub(held.len());
        let fits = room.map_or(grows, |room| grows.min(room.saturating_sub(used)));
        let kept = &bytes[..bytes.len() - (grows - fits)];
        if held.len() < at + kept.len() {
            held.resize(at + kept.len(), 0);
        }
        held[at..at + kept.len()].copy_from_slice(kept);
        *time = Timestamp::now().as_second();
        if let Some(landing) = self.landing(file) {
            landing.bytes += kept.len();
        }
        fits == grows
    }

    /// Cuts a file's end off.
    pub(super) fn cut(&mut self, file: FileId, len: usize) {
        if let Some(Entry { node: Node::File { bytes, time }, .. }) = self.by_id(file) {
            bytes.truncate(len);
            *time = Timestamp::now().as_second();
        }
    }

    /// Notes that the data of an upload ended in order.
    pub(super) fn landed(&mut self, file: FileId) {
        if let Some(entry) = self.by_id(file) {
            entry.whole = true;
        }
        if let Some(landing) = self.landing(file) {
            landing.whole = true;
        }
    }

    pub(super) fn remove_file(&mut self, path: &str) -> Changed {
        match self.nodes.get(path) {
            None => Err(format!("{path}: {ABSENT}")),
            Some(Entry { node: Node::Directory, .. }) => Err(format!("{path}: Is a directory")),
            Some(_) => {
                self.nodes.remove(path);
                Ok(())
            }
        }
    }

    pub(super) fn make_directory(&mut self, path: &str) -> Changed {
        self.within_a_directory(path)?;
        self.insert(path, Node::Directory);
        Ok(())
    }

    pub(super) fn remove_directory(&mut self, path: &str) -> Changed {
        match self.nodes.get(path) {
            None => Err(format!("{path}: {ABSENT}")),
            Some(Entry { node: Node::Directory, .. }) if self.children(path).next().is_some() => {
                Err(format!("{path}: Directory not empty"))
            }
            Some(Entry { node: Node::Directory, .. }) => {
                self.nodes.remove(path);
                Ok(())
            }
            Some(_) => Err(format!("{path}: Not a directory")),
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, replaces: bool) -> Changed {
        self.within_a_directory(to)?;
        match self.nodes.get(to) {
            Some(_) if from == to => return Ok(()),
            Some(_) if !replaces => return Err(format!("{to}: File exists")),
            Some(Entry { node: Node::Directory, .. }) => return Err(format!("{to}: Is a directory")),
            _ => {}
        }
        let entry = self.nodes.remove(from).ok_or_else(|| format!("{from}: {ABSENT}"))?;
        self.nodes.insert(to.to_owned(), entry);
        let prefix = format!("{from}/");
        let below: Vec<String> =
            self.nodes.keys().filter(|path| path.starts_with(&prefix)).cloned().collect();
        for path in below {
            if let Some(entry) = self.nodes.remove(&path) {
                self.nodes.insert(format!("{to}/{}", &path[prefix.len()..]), entry);
            }
        }
        Ok(())
    }

    pub(super) fn make_link(&mut self, target: &str, path: &str) -> Changed {
        self.within_a_directory(path)?;
        if self.exists(path) {
            return Err(format!("{path}: File exists"));
        }
        self.insert(path, Node::Link(target.to_owned()));
        Ok(())
    }

    pub(super) fn set_mode(&mut self, path: &str, mode: u16) -> Changed {
        let id = self.entry(path).map(|entry| entry.id).ok_or_else(|| format!("{path}: {ABSENT}"))?;
        if let Some(entry) = self.by_id(id) {
            entry.mode = mode;
        }
        Ok(())
    }

    pub(super) fn set_group(&mut self, path: &str, group: u32) -> Changed {
        let id = self.entry(path).map(|entry| entry.id).ok_or_else(|| format!("{path}: {ABSENT}"))?;
        if let Some(entry) = self.by_id(id) {
            entry.group = group;
        }
        Ok(())
    }

    /// Files only.
    pub(super) fn set_time(&mut self, path: &str, to: i64) -> Changed {
        let id = self.entry(path).map(|entry| entry.id).ok_or_else(|| format!("{path}: {ABSENT}"))?;
        match self.by_id(id) {
            Some(Entry { node: Node::File { time, .. }, .. }) => {
                *time = to;
                Ok(())
            }
            _ => Err(format!("{path}: not a regular file")),
        }
    }

    /// Whether the name is taken, be it by a link to nowhere.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// The mode bits of what is at `path`.
    pub(crate) fn mode(&self, path: &str) -> Option<u16> {
        self.entry(path).map(|entry| entry.mode)
    }

    /// The number of the group of what is there, 0 if it was never set.
    pub(crate) fn group(&self, path: &str) -> Option<u32> {
        self.entry(path).map(|entry| entry.group)
    }

    /// When a file was last modified, in seconds since 1970.
    pub(crate) fn modified(&self, path: &str) -> Option<i64> {
        match self.at(path)? {
            Node::File { time, .. } => Some(*time),
            _ => None,
        }
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        self.children(dir).map(|(name, _)| name.to_owned()).collect()
    }

    /// All uploads so far that got as far as their file.
    pub(crate) fn landings(&self) -> &[Landing] {
        &self.landings
    }

    /// The bytes of all files.
    pub(crate) fn used(&self) -> usize {
        let size = |entry: &Entry| match &entry.node {
            Node::File { bytes, .. } => bytes.len(),
            _ => 0,
        };
        self.nodes.values().map(size).sum()
    }

    fn by_id(&mut self, file: FileId) -> Option<&mut Entry> {
        self.nodes.values_mut().find(|entry| entry.id == file)
    }

    fn landing(&mut self, file: FileId) -> Option<&mut Landing> {
        self.landings.iter_mut().rev().find(|landing| landing.file == file)
    }

    fn within_a_directory(&self, path: &str) -> Changed {
        match self.at(parent(path)) {
            Some(Node::Directory) => Ok(()),
            Some(_) => Err(format!("{path}: Not a directory")),
            None => Err(format!("{path}: {ABSENT}")),
        }
    }
}
