//! Paths on the server.

use ftpfs::remote::{Name, RemotePath};

/// A path is made of names that lead nowhere else and end no command; it reads back as printed.
pub fn paths(data: &[u8]) {
    let (base, rest) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(0));
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let base = RemotePath::parse(base).unwrap_or_else(|_| RemotePath::root());
    let Ok(path) = base.resolve(rest) else { return };
    let bytes = path.as_bytes();
    assert!(bytes.starts_with(b"/"));
    if !path.is_root() {
        assert!(bytes[1..].split(|&byte| byte == b'/').all(|name| Name::new(name).is_ok()), "{path:?}");
    }
    assert_eq!(RemotePath::parse(bytes).as_ref(), Ok(&path));
    if let Some(parent) = path.parent() {
        assert!(bytes.starts_with(parent.as_bytes()) && parent != path);
    }
}
