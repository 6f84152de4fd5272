use std::collections::BTreeMap;
use std::thread;

use super::*;
use crate::cache::{FileVersion, ListingSource, Prefetch, directory};
use crate::deadline::Deadline;
use crate::ftp::time::{Modified, Precision};
use crate::read::ReadError;
use crate::remote::{self, Kind, Listing};

const HOUR: Duration = Duration::from_secs(3600);
const READ: i32 = libc::O_RDONLY;

/// A server in memory: a flat map of paths below `/base`. Counts questions.
#[derive(Debug)]
struct Server {
    base: RemotePath,
    tree: Mutex<BTreeMap<RemotePath, (RemoteEntry, Vec<u8>)>>,
    questions: Mutex<Vec<String>>,
}

impl Server {
    fn put(&self, at: &str, kind: EntryKind, content: &[u8], seconds: i64) {
        let path = path(at);
        let is_file = kind == EntryKind::File;
        let entry = RemoteEntry {
            name: path.file_name().into(),
            kind,
            size: is_file.then_some(content.len() as u64),
            modified: Some(Modified { seconds, nanos: 0, precision: Precision::Second }),
            mode: None,
            link_target: None,
            unique: is_file.then(|| (*b"u7").into()),
        };
        self.tree.lock().insert(path, (entry, content.to_vec()));
    }

    fn questions(&self) -> Vec<String> {
        std::mem::take(&mut *self.questions.lock())
    }

    fn children(&self, dir: &RemotePath, with_targets: bool) -> Result<Listing, remote::Error> {
        let tree = self.tree.lock();
        let children = tree.iter().filter(|(path, _)| path.parent().as_ref() == Some(dir));
        let mut entries: Vec<_> = children.map(|(_, found)| found.clone()).collect();
        for (entry, content) in &mut entries {
            if with_targets && entry.kind == EntryKind::Symlink {
                entry.link_target = Some(std::mem::take(content).into());
            }
        }
        let entries = entries.into_iter().map(|(entry, _)| entry).collect();
        Ok(Listing { own: None, entries, complete: true })
    }
}

impl ListingSource for Server {
    fn list_together(&self, _: &[RemotePath], _: Deadline) -> Vec<Option<Listing>> {
        Vec::new()
    }

    fn lists_together(&self) -> bool {
        false
    }

    fn list(&self, dir: &RemotePath, _: Option<u64>, _: Deadline) -> Result<Listing, remote::Error> {
        self.questions.lock().push(format!("list {dir}"));
        self.children(dir, false)
    }

    fn list_ahead(&self, dir: &RemotePath, bytes: Option<u64>, deadline: Deadline) -> Option<Listing> {
        self.list(dir, bytes, deadline).ok()
    }

    fn list_with_targets(&self, dir: &RemotePath, _: Deadline) -> Result<Listing, remote::Error> {
        self.questions.lock().push(format!("targets {dir}"));
        self.children(dir, true)
    }

    fn stat(&self, path: &RemotePath, _: Deadline) -> Result<RemoteEntry, remote::Error> {
        self.questions.lock().push(format!("stat {path}"));
        let found = self.tree.lock().get(path).map(|(entry, _)| entry.clone());
        found.ok_or_else(|| remote::Error::new(Kind::NotFound, "stat", path, "test", "550"))
    }

    fn can_stat(&self) -> bool {
        true
    }

    fn base(&self) -> &RemotePath {
        &self.base
    }
}

/// Reads straight from the server, and notices another version by its size only.
struct Files {
    server: Arc<Server>,
    closed: Arc<Mutex<usize>>,
}

#[derive(Debug)]
struct File {
    server: Arc<Server>,
    closed: Arc<Mutex<usize>>,
    path: Mutex<RemotePath>,
    version: Arc<FileVersion>,
}

impl FileSource for Files {
    fn open(&self, path: RemotePath, version: Arc<FileVersion>) -> Arc<dyn OpenFile> {
        let (server, closed) = (self.server.clone(), self.closed.clone());
        Arc::new(File { server, closed, path: Mutex::new(path), version })
    }
}

impl OpenFile for File {
    fn read(&self, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, ReadError> {
        if let Patience::CachedOnly = patience {
            return Err(ReadError::WouldBlock);
        }
        let path = self.path.lock().clone();
        let content = self.server.tree.lock()[&path].1.clone();
        if content.len() as u64 != self.version.size {
            let error = remote::Error::new(Kind::Changed, "read", &path, "test", "another size");
            return Err(ReadError::Remote(error));
        }
        Ok(content.into_iter().skip(offset as usize).take(len).collect())
    }

    fn size(&self) -> u64 {
        self.version.size
    }

    fn moved(&self, path: RemotePath) {
        *self.path.lock() = path;
    }

    fn close(&self) {
        *self.closed.lock() += 1;
    }
}

/// More than the names of all tests but one.
const KNOWN_NAMES: usize = 32;

struct Mounted {
    fs: FileSystem,
    news: Receiver<Invalidation>,
    server: Arc<Server>,
    closed: Arc<Mutex<usize>>,
}

/// A mount of `/base` with a file, a directory with a file, links, and a pipe.
fn mounted(links: LinkPolicy, attr_timeout: Duration) -> Mounted {
    mounted_with(links, attr_timeout, Charset::default())
}

fn mounted_with(links: LinkPolicy, attr_timeout: Duration, charset: Charset) -> Mounted {
    let server = Arc::new(Server {
        base: path("/base"),
        tree: Mutex::new(BTreeMap::new()),
        questions: Mutex::new(Vec::new()),
    });
    server.put("/base/f", EntryKind::File, b"first", 100);
    server.put("/base/d", EntryKind::Directory, b"", 100);
    server.put("/base/d/g", EntryKind::File, b"deep", 100);
    server.put("/base/d/in", EntryKind::Symlink, b"../f", 100);
    server.put("/base/d/out", EntryKind::Symlink, b"/etc/passwd", 100);
    server.put("/base/pipe", EntryKind::Special, b"", 100);
    let directories = DirectoryCache::new(server.clone(), HOUR, directory::DEFAULT_LIMIT);
    let closed = Arc::new(Mutex::new(0));
    let files = Arc::new(Files { server: server.clone(), closed: closed.clone() });
    let ownership = Ownership { uid: 1, gid: 2, file_mask: 0, directory_mask: 0 };
    let operation_timeout = Duration::from_secs(60);
    let config = Config {
        ownership,
        links,
        charset,
        attr_timeout,
        operation_timeout,
        ahead: Limits::of(4, 1 << 20, Prefetch::Auto),
        known_names: KNOWN_NAMES,
    };
    let blocks = Arc::new(BlockCache::new(1 << 20));
    let (fs, news) = FileSystem::new(Arc::new(directories), blocks, files, None, config);
    Mounted { fs, news, server, closed }
}

impl Mounted {
    fn lookup(&self, parent: u64, name: &str) -> Result<Attr, Error> {
        let found = self.fs.lookup(parent, name.as_bytes(), patient())?.value;
        found.ok_or(Error::NotFound)
    }

    fn ino(&self, parent: u64, name: &str) -> u64 {
        self.lookup(parent, name).unwrap().ino
    }

    fn list(&self, ino: u64) -> u64 {
        self.fs.opendir(ino, patient()).unwrap().handle
    }

    fn names(&self, handle: u64, offset: u64) -> Vec<String> {
        let mut names = Vec::new();
        let take = |item: DirItem<'_>| {
            names.push(String::from_utf8(item.name.to_vec()).unwrap());
            true
        };
        self.fs.readdir(handle, offset, take).unwrap();
        names
    }

    fn errno<T>(result: Result<T, Error>) -> i32 {
        result.err().map_or(0, |error| error.errno())
    }
}

fn patient() -> Patience {
    Patience::Until(Deadline::after(Duration::from_secs(10)))
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

#[test]
fn the_root_and_statfs_never_ask_the_server() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let root = m.fs.getattr(ROOT, Patience::CachedOnly).unwrap().value;
    assert_eq!((root.kind, root.mode, root.ino), (EntryKind::Directory, 0o755, ROOT));
    assert_eq!(u64::from(m.fs.statfs().block_size) * m.fs.statfs().blocks, 1 << 40);
    assert!(m.server.questions().is_empty());
}

#[test]
fn what_memory_cannot_answer_would_block_and_asks_nothing() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let cached = Patience::CachedOnly;
    assert!(matches!(m.fs.lookup(ROOT, b"f", cached), Err(Error::WouldBlock)));
    assert!(matches!(m.fs.opendir(ROOT, cached), Err(Error::WouldBlock)));
    assert!(m.server.questions().is_empty());

    let handle = m.list(ROOT);
    assert_eq!(m.fs.lookup(ROOT, b"f", cached).unwrap().value.unwrap().size, 5);
    let absent = m.fs.lookup(ROOT, b"none", cached).unwrap();
    assert!(absent.value.is_none() && absent.ttl > HOUR / 2);
    m.fs.releasedir(handle);
    assert!(m.fs.opendir(ROOT, cached).unwrap().keep_pages);
    assert_eq!(m.server.questions(), ["list /base"]);
}

#[test]
fn one_listing_answers_a_whole_long_listing() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let handle = m.list(ROOT);
    let mut seen = Vec::new();
    let take = |item: DirItem<'_>| {
        seen.push((item.name.to_vec(), item.ino, item.attr));
        true
    };
    m.fs.readdirplus(handle, 0, take).unwrap();
    for (name, ino, attr) in &seen[2..] {
        assert_eq!(m.fs.getattr(*ino, Patience::CachedOnly).unwrap().value, attr.unwrap().value);
        let found = m.fs.lookup(ROOT, name, Patience::CachedOnly).unwrap().value.unwrap();
        assert_eq!(found.ino, *ino);
        assert_eq!(
            m.fs.getxattr(*ino, b"security.capability", Patience::CachedOnly).unwrap_err().errno(),
            61
        );
    }
    assert_eq!(m.server.questions(), ["list /base"]);
}

#[test]
fn directory_offsets_survive_changes_and_rewinding() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let handle = m.list(ROOT);
    let all = m.names(handle, 0);
    assert_eq!(all, [".", "..", "d", "f", "pipe"]);
    m.server.put("/base/a", EntryKind::File, b"", 0);
    for offset in 0..=all.len() {
        assert_eq!(m.names(handle, offset as u64), all[offset..]);
    }
    assert!(m.names(handle, u64::MAX).is_empty());
    assert_eq!(m.names(handle, 0), all);
    assert_eq!(Mounted::errno(m.fs.readdir(99, 0, |_| true)), libc::EBADF);
}

#[test]
fn an_item_without_room_is_not_a_lookup() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let handle = m.list(ROOT);
    let mut inos = Vec::new();
    m.fs.readdirplus(handle, 2, |item| {
        inos.push(item.ino);
        inos.len() == 1
    })
    .unwrap();
    assert!(m.fs.getattr(inos[0], Patience::CachedOnly).is_ok());
    assert_eq!(Mounted::errno(m.fs.getattr(inos[1], Patience::CachedOnly)), libc::ESTALE);
}

#[test]
fn reading_gives_the_bytes_and_the_last_release_closes() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let ino = m.ino(ROOT, "f");
    let (a, b) = (m.fs.open(ino, READ, patient()).unwrap(), m.fs.open(ino, READ, patient()).unwrap());
    assert_eq!((a.pages, b.pages), (Pages::Keep, Pages::Keep));
    assert!(matches!(m.fs.read(a.handle, 0, 9, Patience::CachedOnly), Err(Error::WouldBlock)));
    assert_eq!(m.fs.read(a.handle, 1, 3, patient()).unwrap(), b"irs");
    m.fs.release(a.handle);
    assert_eq!(*m.closed.lock(), 0);
    assert_eq!(m.fs.read(b.handle, 3, 99, patient()).unwrap(), b"st");
    m.fs.release(b.handle);
    assert_eq!(*m.closed.lock(), 1);
    assert_eq!(Mounted::errno(m.fs.read(b.handle, 0, 1, patient())), libc::EBADF);
}

#[test]
fn open_believes_young_attributes_and_checks_old_ones() {
    for (attr_timeout, questions) in [(HOUR, vec![]), (Duration::ZERO, vec!["stat /base/f"])] {
        let m = mounted(LinkPolicy::Contain, attr_timeout);
        let ino = m.ino(ROOT, "f");
        m.server.questions();
        m.fs.open(ino, READ, patient()).unwrap();
        assert_eq!(m.server.questions(), questions);
    }
}

#[test]
fn an_open_that_finds_another_version_ends_the_handles_of_the_old_one() {
    let m = mounted(LinkPolicy::Contain, Duration::ZERO);
    let ino = m.ino(ROOT, "f");
    let old = m.fs.open(ino, READ, patient()).unwrap();
    m.server.put("/base/f", EntryKind::File, b"again", 200);
    let kernel = std::thread::scope(|scope| {
        let news = &m.news;
        let kernel = scope.spawn(move || {
            let told: Vec<_> = (0..2).map(|_| news.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
            told.iter().filter_map(|news| news.done.as_ref()).for_each(|done| done.send(()).unwrap());
            told.iter().map(|news| (news.ino, news.scope)).collect::<Vec<_>>()
        });
        let new = m.fs.open(ino, READ, patient()).unwrap();
        // The pages are shared: what this handle read through them, the old one would be given.
        assert_eq!(new.pages, Pages::Bypass);
        assert_eq!(m.fs.read(new.handle, 0, 9, patient()).unwrap(), b"again");
        kernel.join().unwrap()
    });
    assert_eq!(kernel, [(ino, Scope::Everything), (ino, Scope::Attributes)]);
    assert_eq!(Mounted::errno(m.fs.read(old.handle, 0, 9, patient())), libc::ESTALE);
    assert_eq!(m.fs.open(ino, READ, patient()).unwrap().pages, Pages::Bypass);
    m.fs.release(old.handle);
    assert_eq!(m.fs.open(ino, READ, patient()).unwrap().pages, Pages::Keep);
}

#[test]
fn an_open_does_not_read_through_pages_when_the_kernel_keeps_the_old_size() {
    let Mounted { fs, news, server, .. } = mounted(LinkPolicy::Contain, Duration::ZERO);
    let ino = fs.lookup(ROOT, b"f", patient()).unwrap().value.unwrap().ino;
    drop(news);
    server.put("/base/f", EntryKind::File, b"longer than before", 200);
    assert_eq!(fs.open(ino, READ, patient()).unwrap().pages, Pages::Bypass);
}

#[test]
fn a_change_under_an_open_handle_is_an_error_and_the_next_open_sees_the_new_file() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let ino = m.ino(ROOT, "f");
    let old = m.fs.open(ino, READ, patient()).unwrap();
    m.server.put("/base/f", EntryKind::File, b"much longer", 200);
    assert_eq!(Mounted::errno(m.fs.read(old.handle, 0, 9, patient())), libc::ESTALE);
    assert_eq!(m.news.try_recv().unwrap().scope, Scope::Everything);
    assert_eq!(m.fs.getattr(ino, patient()).unwrap().value.size, 11);
    let new = m.fs.open(ino, READ, patient()).unwrap();
    assert_eq!(m.fs.read(new.handle, 0, 99, patient()).unwrap(), b"much longer");
    assert_eq!(Mounted::errno(m.fs.read(old.handle, 0, 9, patient())), libc::ESTALE);
}

#[test]
fn only_reading_files_is_possible() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let (file, dir, pipe) = (m.ino(ROOT, "f"), m.ino(ROOT, "d"), m.ino(ROOT, "pipe"));
    for (ino, flags, errno) in [
        (file, libc::O_WRONLY, libc::EROFS),
        (file, libc::O_RDWR, libc::EROFS),
        (file, libc::O_RDONLY | libc::O_TRUNC, libc::EROFS),
        (dir, READ, libc::EISDIR),
        (ROOT, READ, libc::EISDIR),
        (pipe, READ, libc::EACCES),
        (99, READ, libc::ESTALE),
    ] {
        assert_eq!(Mounted::errno(m.fs.open(ino, flags, patient())), errno, "{ino} {flags}");
    }
    assert_eq!(Mounted::errno(m.fs.opendir(file, patient())), libc::ENOTDIR);
    for (ino, mask, errno) in [
        (file, 0, 0),
        (file, ACCESS_READ, 0),
        (file, ACCESS_WRITE, libc::EROFS),
        (file, ACCESS_EXECUTE, libc::EACCES),
        (dir, ACCESS_READ | ACCESS_EXECUTE, 0),
        (pipe, ACCESS_READ, libc::EACCES),
    ] {
        assert_eq!(Mounted::errno(m.fs.access(ino, mask, patient())), errno, "{ino} {mask}");
    }
}

#[test]
fn a_name_that_is_gone_or_another_kind_says_so() {
    let m = mounted(LinkPolicy::Contain, Duration::ZERO);
    let ino = m.ino(ROOT, "f");
    m.server.put("/base/f", EntryKind::Directory, b"", 200);
    assert_eq!(Mounted::errno(m.fs.open(ino, READ, patient())), libc::ESTALE);
    assert_ne!(m.ino(ROOT, "f"), ino);

    let dir = m.ino(ROOT, "d");
    let deep = m.ino(dir, "g");
    m.server.tree.lock().remove(&path("/base/d/g"));
    assert_eq!(Mounted::errno(m.fs.open(deep, READ, patient())), libc::ENOENT);
    for (name, errno) in [("a\nb", libc::EINVAL), (&*"x".repeat(256), libc::ENAMETOOLONG)] {
        assert_eq!(Mounted::errno(m.lookup(ROOT, name)), errno);
    }
}

#[test]
fn links_are_contained_shown_raw_or_hidden() {
    for (links, inside, outside) in
        [(LinkPolicy::Contain, Some("../f"), None), (LinkPolicy::Raw, Some("../f"), Some("/etc/passwd"))]
    {
        let m = mounted(links, HOUR);
        let dir = m.ino(ROOT, "d");
        let target = |name| m.fs.readlink(m.ino(dir, name), patient()).map(|t| String::from_utf8(t).unwrap());
        assert_eq!(target("in").ok().as_deref(), inside);
        assert_eq!(target("out").ok().as_deref(), outside);
        assert_eq!(m.server.questions().iter().filter(|q| q.starts_with("targets")).count(), 1);
        assert_eq!(Mounted::errno(m.fs.readlink(m.ino(dir, "g"), patient())), libc::EINVAL);
    }
    let m = mounted(LinkPolicy::Hide, HOUR);
    let dir = m.ino(ROOT, "d");
    assert_eq!(Mounted::errno(m.lookup(dir, "in")), libc::ENOENT);
    assert_eq!(m.names(m.list(dir), 0), [".", "..", "g"]);
}

#[test]
fn extended_attributes_tell_what_the_server_told() {
    let m = mounted(LinkPolicy::Contain, HOUR);
    let (file, dir) = (m.ino(ROOT, "f"), m.ino(ROOT, "d"));
    let get = |ino, name: &str| m.fs.getxattr(ino, name.as_bytes(), patient()).unwrap();
    assert_eq!(get(file, "user.ftp.path"), b"/base/f");
    assert_eq!(get(ROOT, "user.ftp.path"), b"/base");
    assert_eq!(get(file, "user.ftp.unique"), b"u7");
    assert_eq!(get(file, "user.ftp.modify"), b"19700101000140");
    assert_eq!(m.fs.listxattr(dir, patient()).unwrap(), b"user.ftp.path\0user.ftp.modify\0");
    assert_eq!(Mounted::errno(m.fs.getxattr(dir, b"user.ftp.unique", patient())), libc::ENODATA);
}

#[test]
fn names_of_another_charset_are_shown_and_found_by_what_is_shown() {
    let m = mounted_with(LinkPolicy::Contain, HOUR, Charset::named(b"koi8-r").unwrap());
    let put = |name: &[u8], kind, content| {
        let path = RemotePath::parse(&[b"/base/", name].concat()).unwrap();
        let mut tree = m.server.tree.lock();
        let mut entry = tree[&self::path("/base/f")].0.clone();
        (entry.name, entry.kind, entry.size) = (path.file_name().into(), kind, None);
        tree.insert(path, (entry, content));
    };
    put(b"\xff", EntryKind::Directory, Vec::new());
    put(b"\xff/\xc1", EntryKind::Symlink, b"/base/\xc2/f".to_vec());
    let dir = m.ino(ROOT, "Ъ");
    assert_eq!(m.names(m.list(ROOT), 2), ["d", "f", "pipe", "Ъ"]);
    assert_eq!(m.fs.readlink(m.ino(dir, "а"), patient()).unwrap(), "../б/f".as_bytes());
    assert_eq!(m.fs.getxattr(dir, b"user.ftp.path", patient()).unwrap(), b"/base/\xff");
    assert_eq!(m.fs.statfs().name_max, 765);

    // What the server cannot have is not there, which is known without asking.
    m.server.questions();
    for name in [&b"\xff"[..], "é".as_bytes(), "\u{f7ff}".as_bytes()] {
        assert_eq!(m.fs.lookup(ROOT, name, Patience::CachedOnly).unwrap().value, None);
    }
    assert_eq!(m.server.questions(), [""; 0]);
    // One server byte for each letter: 255 of them, 256 are too long.
    assert_eq!(Mounted::errno(m.lookup(ROOT, &"ю".repeat(255))), libc::ENOENT);
    assert_eq!(Mounted::errno(m.lookup(ROOT, &"ю".repeat(256))), libc::ENAMETOOLONG);
}

#[test]
fn too_many_names_are_told_of_and_those_that_nobody_has_open_may_go() {
    let mount = mounted(LinkPolicy::Contain, HOUR);
    (0..40).for_each(|n| mount.server.put(&format!("/base/n{n:02}"), EntryKind::File, b"x", 100));
    let crowded = mount.fs.crowded();
    let opened = mount.ino(ROOT, "n00");
    let handle = mount.fs.open(opened, libc::O_RDONLY, patient()).unwrap().handle;
    assert!(crowded.is_empty() && mount.fs.oldest_names(100).is_empty());
    let inos: Vec<u64> = (1..40).map(|n| mount.ino(ROOT, &format!("n{n:02}"))).collect();
    assert_eq!((crowded.len(), mount.fs.known_names()), (1, 41));
    let oldest = mount.fs.oldest_names(100);
    assert_eq!(oldest, inos[..9]);
    assert_eq!(mount.fs.leaf(oldest[0]), Some((ROOT, b"n01".to_vec())));
    oldest.iter().for_each(|&ino| mount.fs.forget(ino, 1));
    assert_eq!((mount.fs.known_names(), mount.fs.leaf(oldest[0])), (KNOWN_NAMES, None));
    assert_eq!(mount.fs.leaf(mount.ino(ROOT, "d")), None, "a directory");
    assert!(mount.ino(ROOT, "n01") > inos[38], "a number is never used again");
    mount.fs.release(handle);
}

#[test]
fn a_file_that_is_opened_and_then_hidden_stays_until_its_last_close() {
    let mount = mounted(LinkPolicy::Contain, HOUR);
    let (fs, ino) = (&mount.fs, mount.ino(ROOT, "f"));
    let hidden = fs.hidden_name().unwrap();
    let handle = thread::scope(|scope| {
        let mut table = fs.table.lock();
        // Who has closed it before looks whether he was the last one.
        let closer = scope.spawn(|| fs.claim_hidden(ino));
        while !fs.hidden.going.is_locked() && !closer.is_finished() {
            thread::yield_now();
        }
        let handle = fs.handles.open_draft(ino, false);
        table.hidden(ino, (ROOT, &hidden));
        drop(table);
        assert_eq!(closer.join().unwrap(), None);
        handle
    });
    fs.handles.release_file(handle).unwrap();
    assert_eq!(fs.claim_hidden(ino), Some((path("/base"), hidden)));
    assert_eq!(fs.claim_hidden(ino), None, "it is going");
}
