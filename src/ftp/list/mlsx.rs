//! MLSD and MLST: facts, one blank, a name (RFC 3659 s.7.2 and s.7.5).

use super::fields::decimal;
use super::{EntryKind, Line, MAX_UNIQUE, NameClass, Parsed, RemoteEntry, classify_name};
use crate::ftp::time::{ListContext, Modified, parse_time_value};

pub(super) fn parse<'a>(line: &'a [u8], _: &ListContext) -> Line<'a> {
    if line.is_empty() {
        return Line::Noise;
    }
    let Some((facts, name)) = split(line) else { return Line::Unknown };
    let Some(facts) = Facts::parse(facts) else { return Line::Unknown };
    match facts.class {
        Some(Class::Own) => Line::Own(facts.into_parsed(name)),
        Some(Class::Parent) => Line::Parent,
        _ => Line::Entry(facts.into_parsed(name)),
    }
}

/// Parses the line of an MLST reply that holds the facts, with or without its leading blank (RFC 3659 s.7.2).
///
/// Returns the entry and the path as the server sent it: absolute on ProFTPD 1.3.8 and pyftpdlib, what was asked
/// for on pure-ftpd 1.0.50. The entry's name is the last component of the path, or `.` for the root, an empty
/// path and `.` itself. `cdir` and `pdir` (pure-ftpd, for `/`) are directories like others. `None` for what is
/// no such line and for a name that no entry can have.
pub fn parse_mlst_line(line: &[u8]) -> Option<(RemoteEntry, Box<[u8]>)> {
    let line = line.strip_prefix(b" ").unwrap_or(line);
    let (facts, path) = split(line)?;
    let facts = Facts::parse(facts)?;
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1);
    let name = path[..end].rsplit(|&b| b == b'/').next().unwrap_or_default();
    let name = if name.is_empty() { b"." } else { name };
    match classify_name(name) {
        NameClass::Usable | NameClass::Own => Some((facts.into_parsed(name).into_entry(name), path.into())),
        NameClass::Parent | NameClass::Refused => None,
    }
}

/// Cuts at the first blank. Where a link's target has a blank itself (ProFTPD 1.3.8 with `FactsOptions
/// UseSlink`), the facts are not over before `; `.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = memchr::memchr(b' ', line)?;
    let facts = &line[..blank];
    let last = facts.rsplit(|&b| b == b';').next().unwrap_or_default();
    let cut = match slink_fact(last).and_then(|_| memchr::memmem::find(&line[blank..], b"; ")) {
        Some(semicolon) => blank + semicolon + 1,
        None => blank,
    };
    Some((&line[..cut], &line[cut + 1..]))
}

/// The target in a `type=OS.unix=slink:target` fact.
fn slink_fact(fact: &[u8]) -> Option<&[u8]> {
    const START: &[u8] = b"type=OS.unix=slink:";
    let (start, target) = fact.split_at_checked(START.len())?;
    start.eq_ignore_ascii_case(START).then_some(target)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    File,
    Directory,
    Own,
    Parent,
    Symlink,
    Other,
}

#[derive(Default)]
struct Facts<'a> {
    class: Option<Class>,
    size: Option<u64>,
    /// `sizd`: the size of a directory.
    directory_size: Option<u64>,
    modified: Option<Modified>,
    perm: Option<&'a [u8]>,
    mode: Option<u32>,
    link_target: Option<&'a [u8]>,
    unique: Option<&'a [u8]>,
}

impl<'a> Facts<'a> {
    /// `None` where the text does not begin with `name=`: then the line is not MLSx.
    fn parse(text: &'a [u8]) -> Option<Facts<'a>> {
        let first = &text[..memchr::memchr(b'=', text)?];
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if first.is_empty() || !first.iter().all(is_name) {
            return None;
        }
        let mut facts = Facts::default();
        // Where a link's target begins, while what follows may still belong to it.
        let mut target_start = None;
        let mut start = 0;
        for fact in text.split(|&b| b == b';') {
            let end = start + fact.len();
            match (memchr::memchr(b'=', fact), target_start) {
                (None, Some(target)) if !fact.is_empty() => facts.link_target = Some(&text[target..end]),
                (None, _) => target_start = None,
                (Some(equals), _) => {
                    facts.take(&fact[..equals], &fact[equals + 1..]);
                    target_start = slink_fact(fact).map(|target| end - target.len());
                }
            }
            start = end + 1;
        }
        Some(facts)
    }

    fn take(&mut self, name: &[u8], value: &'a [u8]) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"type") {
            (self.class, self.link_target) = class(value);
        } else if is(b"size") {
            self.size = decimal(value);
        } else if is(b"sizd") {
            self.directory_size = decimal(value);
        } else if is(b"modify") {
            self.modified = parse_time_value(value);
        } else if is(b"perm") {
            self.perm = Some(value);
        } else if is(b"UNIX.mode") {
            self.mode = octal(value);
        } else if is(b"unique") && !value.is_empty() && value.len() <= MAX_UNIQUE {
            self.unique = Some(value);
        }
    }

    fn into_parsed(self, name: &'a [u8]) -> Parsed<'a> {
        let kind = match self.class {
            Some(Class::File) => EntryKind::File,
            Some(Class::Directory | Class::Own | Class::Parent) => EntryKind::Directory,
            Some(Class::Symlink) => EntryKind::Symlink,
            Some(Class::Other) => EntryKind::Special,
            None => self.untold_kind(),
        };
        // Mode bits above 07777 are the file type, which has its own fact.
        let told = self.mode.and_then(|mode| u16::try_from(mode & 0o7777).ok());
        Parsed {
            size: self.size.or(self.directory_size),
            modified: self.modified,
            mode: told.or_else(|| self.perm.and_then(|perm| perm_mode(perm, kind))),
            link_target: self.link_target.filter(|target| !target.is_empty()),
            unique: self.unique,
            ..Parsed::new(name, kind)
        }
    }

    /// Some servers send no type for what is neither file nor directory; others send no type at all.
    fn untold_kind(&self) -> EntryKind {
        let letters = self.perm.unwrap_or_default();
        if self.directory_size.is_some() || letters.iter().any(|b| b"lecmpLECMP".contains(b)) {
            EntryKind::Directory
        } else if self.size.is_some() {
            EntryKind::File
        } else {
            EntryKind::Special
        }
    }
}

/// RFC 3659 s.7.5.1. Links have two spellings: `OS.unix=slink:target` and `OS.unix=symlink`.
fn class(value: &[u8]) -> (Option<Class>, Option<&[u8]>) {
    let is = |known: &[u8]| value.eq_ignore_ascii_case(known);
    let starts = |known: &[u8]| value.get(..known.len()).is_some_and(|v| v.eq_ignore_ascii_case(known));
    const SLINK: &[u8] = b"OS.unix=slink:";
    if is(b"file") {
        (Some(Class::File), None)
    } else if is(b"dir") {
        (Some(Class::Directory), None)
    } else if is(b"cdir") {
        (Some(Class::Own), None)
    } else if is(b"pdir") {
        (Some(Class::Parent), None)
    } else if starts(SLINK) {
        (Some(Class::Symlink), Some(&value[SLINK.len()..]))
    } else if is(b"OS.unix=slink") || is(b"OS.unix=symlink") {
        (Some(Class::Symlink), None)
    } else {
        (Some(Class::Other), None)
    }
}

/// What the login may do (RFC 3659 s.7.5.5) as permission bits. An empty fact tells nothing: some servers send
/// it for what they serve without question.
fn perm_mode(perm: &[u8], kind: EntryKind) -> Option<u16> {
    if perm.is_empty() {
        return None;
    }
    let any = |letters: &[u8]| perm.iter().any(|b| letters.contains(&b.to_ascii_lowercase()));
    let (read, write) = match kind {
        EntryKind::File | EntryKind::Special => (u16::from(any(b"r")) * 0o444, u16::from(any(b"wa")) * 0o200),
        EntryKind::Directory => (u16::from(any(b"le")) * 0o555, u16::from(any(b"cmp")) * 0o200),
        EntryKind::Symlink => return None,
    };
    Some(read | write)
}

/// `0644`, `644`, `00` (pure-ftpd 1.0.50 for 0) or `0o755` (pyftpdlib).
fn octal(value: &[u8]) -> Option<u32> {
    let digits = value.strip_prefix(b"0o").unwrap_or(value);
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(|b| matches!(b, b'0'..=b'7')) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 8 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
