//! Paths on the server: absolute, bytes, and never able to carry a second command.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest name we send or take, in bytes. Every server measured takes 255; NAME_MAX is what the kernel allows.
pub const NAME_MAX: usize = 255;

/// Why some bytes are not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, `.` or `..`.
    #[error("the name is empty, \".\" or \"..\"")]
    Reserved,
    /// Holds `/`, NUL, CR or LF: it would leave its directory or become a second command.
    #[error("the name contains a slash, NUL, CR or LF, which cannot be sent to an FTP server")]
    Forbidden,
    /// Longer than [`NAME_MAX`].
    #[error("the name is longer than 255 bytes")]
    TooLong,
}

/// The name of one directory entry: raw bytes, never empty, `.` or `..`, without `/`, NUL, CR and LF.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Checks the bytes.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn new(bytes: &[u8]) -> Result<Name, NameError> {
        if matches!(bytes, b"" | b"." | b"..") {
            return Err(NameError::Reserved);
        }
        if bytes.iter().any(|b| matches!(b, b'/' | 0 | b'\r' | b'\n')) {
            return Err(NameError::Forbidden);
        }
        if bytes.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Name(bytes.into()))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// An absolute path on the server: starts with `/`, has no trailing `/` (but the root itself), and each of
/// its components is a [`Name`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath(Arc<[u8]>);

impl RemotePath {
    /// The server's root.
    pub fn root() -> RemotePath {
        RemotePath((*b"/").into())
    }

    /// Parses an absolute path; empty and `.` components are dropped, `..` goes up and stops at the root.
    ///
    /// # Errors
    /// The rule that a component breaks.
    pub fn parse(bytes: &[u8]) -> Result<RemotePath, NameError> {
        RemotePath::root().resolve(bytes)
    }

    /// This path followed by `relative` (or replaced by it, where it starts with `/`).
    ///
    /// # Errors
    /// The rule that a component breaks.
    pub fn resolve(&self, relative: &[u8]) -> Result<RemotePath, NameError> {
        let mut path = if relative.first() == Some(&b'/') { RemotePath::root() } else { self.clone() };
        for component in relative.split(|&b| b == b'/') {
            path = match component {
                b"" | b"." => path,
                b".." => path.parent().unwrap_or_else(RemotePath::root),
                name => path.join(&Name::new(name)?),
            };
        }
        Ok(path)
    }

    /// The path of an entry of this directory.
    pub fn join(&self, name: &Name) -> RemotePath {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.as_bytes().len());
        bytes.extend_from_slice(&self.0);
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.as_bytes());
        RemotePath(bytes.into())
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<RemotePath> {
        let cut = self.0.iter().rposition(|&b| b == b'/')?;
        match (self.is_root(), cut) {
            (true, _) => None,
            (false, 0) => Some(RemotePath::root()),
            (false, cut) => Some(RemotePath(self.0[..cut].into())),
        }
    }

    /// The last component; empty for the root.
    pub fn file_name(&self) -> &[u8] {
        self.0.iter().rposition(|&b| b == b'/').map_or(&[], |cut| &self.0[cut + 1..])
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// What remains of this path below `base`, without a leading `/`; `None` where it is not below it.
    pub fn below(&self, base: &RemotePath) -> Option<&[u8]> {
        if base.is_root() {
            return Some(&self.0[1..]);
        }
        match self.0.strip_prefix(&base.0[..])? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    /// Where this path leads after `from` was renamed to `to`; `None` where it is not `from` or below it.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) -> Option<RemotePath> {
        match self.below(from)? {
            b"" => Some(to.clone()),
            rest if to.is_root() => Some(RemotePath([b"/", rest].concat().into())),
            rest => Some(RemotePath([&to.0, &b"/"[..], rest].concat().into())),
        }
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_carry_a_second_command_or_leave_its_directory() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\rb", b"a\nDELE x", b"a\0", &[b'x'; 256]] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        for good in [&b" a "[..], b"-rf", b"*?[]{}", b"\"'\\", b"\xff\xfe", b"...", &[b'x'; 255]] {
            assert_eq!(Name::new(good).unwrap().as_bytes(), good);
        }
    }

    #[test]
    fn paths_resolve_like_a_chroot() {
        let base = RemotePath::parse(b"/home//lena/").unwrap();
        assert_eq!(base.as_bytes(), b"/home/lena");
        assert_eq!(base.resolve(b"a/./b/../c").unwrap().as_bytes(), b"/home/lena/a/c");
        assert_eq!(base.resolve(b"../../../..").unwrap().as_bytes(), b"/");
        assert_eq!(base.resolve(b"/x").unwrap().as_bytes(), b"/x");
        assert!(base.resolve(b"a\r\nb").is_err());
    }

    #[test]
    fn parent_name_and_remainder() {
        let path = RemotePath::parse(b"/a/b").unwrap();
        assert_eq!(path.file_name(), b"b");
        assert_eq!(path.parent().unwrap().parent().unwrap(), RemotePath::root());
        assert_eq!(RemotePath::root().parent(), None);
        assert_eq!(path.below(&RemotePath::parse(b"/a").unwrap()), Some(&b"b"[..]));
        assert_eq!(path.below(&RemotePath::root()), Some(&b"a/b"[..]));
        assert_eq!(RemotePath::parse(b"/ab").unwrap().below(&RemotePath::parse(b"/a").unwrap()), None);
    }
}
