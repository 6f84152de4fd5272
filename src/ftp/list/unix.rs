//! `ls -l` in its many variants.
//!
//! ```text
//! -rw-r-----   1 lena  staff    90210 Feb  3 07:41 ledger.csv
//! mode           anything       size  date         exactly one blank, then the name to the end of the line
//! ```
//!
//! The columns between mode and size differ from server to server (no group, no owner, numeric ids, names with
//! blanks, columns that run into each other). So the line is anchored at its mode and at its date; what is
//! before the date is the size, and what lies between is not needed.

use super::dates::{self, Found};
use super::fields::{Fields, Size, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::ListContext;

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let line = line.trim_ascii_start();
    let Some((kind, mode, rest)) = split_mode(line) else {
        return if is_noise(line) { Line::Noise } else { Line::Unknown };
    };
    let fields = Fields::split(rest);
    let found = dates::find_date(&fields, kind, context).or_else(|| without_date(&fields));
    let Some(found) = found else { return Line::Unknown };
    if rest.get(found.end).is_some_and(|b| *b != b' ') {
        return Line::Unknown;
    }
    let name = rest.get(found.end + 1..).unwrap_or_default();
    let size = exact_size(&found, &fields, kind, line[0]);
    let (name, link_target) = if kind == EntryKind::Symlink { split_link(name, size) } else { (name, None) };
    let (name, marked) = split_mark(name, kind, mode);
    Line::Entry(Parsed {
        size,
        modified: found.modified,
        mode: Some(mode),
        link_target,
        marked,
        ..Parsed::new(name, kind)
    })
}

/// The kind and permission bits of `drwxr-xr-x`, and what follows it and its suffix.
fn split_mode(line: &[u8]) -> Option<(EntryKind, u16, &[u8])> {
    let ([letter, permissions @ ..], rest) = line.split_first_chunk::<10>()?;
    let kind = match letter {
        // C: contiguous (SunOS), M: migrated to tape (Cray).
        b'-' | b'C' | b'M' => EntryKind::File,
        b'd' => EntryKind::Directory,
        b'l' => EntryKind::Symlink,
        // Block, character, pipe, socket, door, event port, network (HP-UX), whiteout (BSD).
        b'b' | b'c' | b'p' | b's' | b'D' | b'P' | b'n' | b'w' => EntryKind::Special,
        _ => return None,
    };
    let mut mode = 0;
    for (class, special) in [(0, 0o4000), (1, 0o2000), (2, 0o1000)] {
        let letters = &permissions[class * 3..class * 3 + 3];
        let read = is_set(letters[0], b'r')?;
        let write = is_set(letters[1], b'w')?;
        let (execute, extra) = match letters[2] {
            b'-' => (false, false),
            b'x' => (true, false),
            b's' if class < 2 => (true, true),
            // l, L: mandatory locking (SunOS) is written as set-group-id without execute.
            b'S' | b'l' | b'L' if class < 2 => (false, true),
            b't' if class == 2 => (true, true),
            b'T' if class == 2 => (false, true),
            _ => return None,
        };
        let bits = u16::from(read) * 4 + u16::from(write) * 2 + u16::from(execute);
        mode |= bits << (6 - 3 * class) | if extra { special } else { 0 };
    }
    let rest = match rest {
        [b'+' | b'.' | b'@', rest @ ..] => rest,
        rest => rest,
    };
    // The link count may run into the mode.
    let is_apart = rest.first().is_some_and(|b| is_blank(*b) || b.is_ascii_digit());
    is_apart.then_some((kind, mode, rest))
}

/// Whether a permission is given; `None` for a letter that does not belong there.
fn is_set(letter: u8, set: u8) -> Option<bool> {
    (letter == set || letter == b'-').then_some(letter == set)
}

/// A line without a date: links, owner, group (or not) and size. Only where nothing looks like a date that is
/// not understood.
fn without_date(fields: &Fields<'_>) -> Option<Found> {
    let is_number = |at| fields.get(at).is_some_and(|field| field.iter().all(u8::is_ascii_digit));
    let at = [3, 2].into_iter().find(|&at| is_number(at) && fields.has_name_after(at))?;
    let name = at + 1..fields.len();
    let has_month = name.clone().any(|at| {
        let next = fields.get(at + 1).and_then(dates::day_of);
        next.is_some() && fields.get(at).and_then(dates::month_of).is_some()
    });
    if !is_number(0) || has_month || dates::has_foreign_date(fields, name) {
        return None;
    }
    let size = Size::parse(fields.get(at)?)?;
    Some(Found { size, modified: None, index: at + 1, end: fields.end(at)? })
}

/// The size in bytes, where it is one.
fn exact_size(found: &Found, fields: &Fields<'_>, kind: EntryKind, letter: u8) -> Option<u64> {
    let size = found.size.exact()?;
    match kind {
        EntryKind::Special if matches!(letter, b'b' | b'c') => None,
        // NetPresenz and WebStar on MacOS: "folder" and the number of entries.
        EntryKind::Directory if fields.get(0) == Some(b"folder") => None,
        // And for a file the lengths of resource fork and data fork, and their sum. What RETR sends of a file
        // with two forks depends on the server's settings.
        EntryKind::File if found.index == 3 => {
            let fork = |at| fields.get(at).and_then(super::fields::decimal);
            let has_two_forks = matches!((fork(0), fork(1)), (Some(resource @ 1..), Some(data))
                if resource.checked_add(data) == Some(size));
            (!has_two_forks).then_some(size)
        }
        _ => Some(size),
    }
}

/// Takes the mark of `ls -F` off a directory, and tells whether the line has one; `None` where such a line
/// would have none. No name holds a `/`; whether a `*` is a mark only the whole listing can tell.
fn split_mark(name: &[u8], kind: EntryKind, mode: u16) -> (&[u8], Option<bool>) {
    match (kind, name) {
        (EntryKind::Directory, [name @ .., b'/']) if !name.is_empty() => (name, Some(true)),
        (EntryKind::Directory, name) => (name, Some(false)),
        (EntryKind::File, name) if mode & 0o111 != 0 => (name, Some(name.ends_with(b"*"))),
        _ => (name, None),
    }
}

/// Name and target of a link. Where there are several arrows, the link's size (the length of its target) tells
/// which one is meant; where it does not, the first.
fn split_link(text: &[u8], size: Option<u64>) -> (&[u8], Option<&[u8]>) {
    const ARROW: &[u8] = b" -> ";
    let by_size = size
        .and_then(|size| text.len().checked_sub(usize::try_from(size).ok()?)?.checked_sub(ARROW.len()))
        .filter(|&at| at > 0 && at + ARROW.len() < text.len() && text[at..].starts_with(ARROW));
    match by_size.or_else(|| memchr::memmem::find(text, ARROW)) {
        Some(at) => {
            let target = &text[at + ARROW.len()..];
            (&text[..at], (!target.is_empty()).then_some(target))
        }
        None => (text, None),
    }
}

/// What stands around the entries: blank lines, `total 40` in any language (one word, one number), and the
/// first and last line of a STAT reply.
fn is_noise(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    if line.is_empty() {
        return true;
    }
    let starts = |word: &[u8]| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts(b"status of ") || starts(b"end of status") {
        return true;
    }
    let fields = Fields::split(line);
    let (Some(word), Some(number), 2) = (fields.get(0), fields.get(1), fields.len()) else { return false };
    let is_word =
        word.strip_suffix(b":").unwrap_or(word).iter().all(|b| b.is_ascii_alphabetic() || !b.is_ascii());
    is_word && Size::parse(number).is_some()
}

#[cfg(test)]
mod tests;
