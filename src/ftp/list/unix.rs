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

use super::fields::{Fields, Size, is_blank};
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, Modified, TimeOfDay, month_number, parse_numeric_date};

pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let line = line.trim_ascii_start();
    let Some((kind, mode, rest)) = split_mode(line) else {
        return if is_noise(line) { Line::Noise } else { Line::Unknown };
    };
    let fields = Fields::split(rest);
    let Some((size, date)) = find_date(&fields, kind, context) else { return Line::Unknown };
    if rest.get(date.end).is_some_and(|b| *b != b' ') {
        return Line::Unknown;
    }
    let name = rest.get(date.end + 1..).unwrap_or_default();
    let is_device = kind == EntryKind::Special && matches!(line[0], b'b' | b'c');
    let size = size.exact().filter(|_| !is_device);
    let (name, link_target) = if kind == EntryKind::Symlink { split_link(name, size) } else { (name, None) };
    Line::Entry(Parsed {
        size,
        modified: date.modified,
        mode: Some(mode),
        link_target,
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

/// Where the date is, as an instant (`None` where it does not exist, as 30 February) and its end in the text.
struct DateField {
    modified: Option<Modified>,
    end: usize,
}

/// The leftmost date that has a size before it: a date in the name is further right.
fn find_date(fields: &Fields<'_>, kind: EntryKind, context: &ListContext) -> Option<(Size, DateField)> {
    (1..fields.len()).find_map(|index| {
        let date = date_at(fields, index, context)?;
        let before = fields.get(index - 1)?;
        let size = match Size::parse(before).or_else(|| Size::glued(before)) {
            Some(size) => size,
            None if kind == EntryKind::Special && before.last()?.is_ascii_hexdigit() => Size::Untold,
            None => return None,
        };
        // An owner named like a month, a numeric group, and a size like a year: the real date follows.
        let is_owner = index == 1 && fields.get(3).and_then(Size::parse).is_some();
        if is_owner && date_at(fields, 4, context).is_some() {
            return None;
        }
        (index <= 4 || !has_foreign_date(fields, index)).then_some((size, date))
    })
}

fn date_at(fields: &Fields<'_>, index: usize, context: &ListContext) -> Option<DateField> {
    let first = fields.get(index)?;
    if let Some(month) = month_number(first) {
        return month_day_date(fields, index, month, context);
    }
    let is_iso = first.len() == 10 && first[4] == b'-';
    let (year, month, day) = parse_numeric_date(first).filter(|_| is_iso)?;
    let Some(time) = fields.get(index + 1).and_then(TimeOfDay::parse) else {
        let modified = context.at(year, month, day, None);
        return Some(DateField { modified, end: fields.end(index)? });
    };
    let zone = fields.get(index + 2).and_then(zone_offset);
    // Only full ISO times have a zone, and a name follows it; otherwise the name looks like a zone.
    if let Some(offset) = zone.filter(|_| time.has_seconds() && fields.has_name_after(index + 2)) {
        let modified = context.at_offset(year, month, day, time, offset);
        return Some(DateField { modified, end: fields.end(index + 2)? });
    }
    let modified = context.at(year, month, day, Some(time));
    Some(DateField { modified, end: fields.end(index + 1)? })
}

/// `Feb  3 07:41`, `Feb  3  2021`, `Feb  3 07:41:10 2021`.
fn month_day_date(fields: &Fields<'_>, index: usize, month: i8, context: &ListContext) -> Option<DateField> {
    let day = small_number(fields.get(index + 1)?, 1..=2).filter(|day| (1..=31).contains(day))?;
    let day = i8::try_from(day).ok()?;
    let third = fields.get(index + 2)?;
    let end = fields.end(index + 2)?;
    if let Some(year) = small_number(third, 4..=4) {
        return Some(DateField { modified: context.at(year, month, day, None), end });
    }
    let time = TimeOfDay::parse(third)?;
    // `ls -lT` of BSD and --full-time of old GNU; a name follows, else the number is the name.
    let year = fields.get(index + 3).and_then(|field| small_number(field, 4..=4));
    if let Some(year) = year.filter(|_| time.has_seconds() && fields.has_name_after(index + 3)) {
        return Some(DateField {
            modified: context.at(year, month, day, Some(time)),
            end: fields.end(index + 3)?,
        });
    }
    Some(DateField { modified: context.at_latest(month, day, time), end })
}

/// Whether something like a date that is not understood (`26. Juli, 20:10`) comes before field `index`. Then
/// the date at `index` belongs to the name, and the line must not be taken for another file.
fn has_foreign_date(fields: &Fields<'_>, index: usize) -> bool {
    let is_day = |field: &[u8]| small_number(field, 1..=2).is_some_and(|day| (1..=31).contains(&day));
    let is_year = |field: &[u8]| small_number(field, 4..=4).is_some_and(|year| (1900..2200).contains(&year));
    let is_word = |field: &[u8]| !field[0].is_ascii_digit();
    (0..index).filter_map(|at| fields.get(at)).any(|field| {
        let has_digit_and_more = field[0].is_ascii_digit() && !field.is_ascii();
        has_digit_and_more || TimeOfDay::parse(field).is_some() || parse_numeric_date(field).is_some()
    }) || (0..index.saturating_sub(2)).any(|at| {
        match (fields.get(at), fields.get(at + 1), fields.get(at + 2)) {
            (Some(month), Some(day), Some(year)) if is_word(month) => is_day(day) && is_year(year),
            // The first field is the link count.
            (Some(day), Some(month), Some(year)) => at > 0 && is_day(day) && is_word(month) && is_year(year),
            _ => false,
        }
    })
}

/// `+0100` or `+01:00` in seconds.
fn zone_offset(field: &[u8]) -> Option<i32> {
    let (sign, digits) = match field {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [hours @ .., b':', a, b] if hours.len() == 2 => (hours, [*a, *b]),
        [hours @ .., a, b] if hours.len() == 2 => (hours, [*a, *b]),
        _ => return None,
    };
    let (hours, minutes) = (small_number(hours, 2..=2)?, small_number(&minutes, 2..=2)?);
    (hours <= 14 && minutes <= 59).then(|| sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
}

fn small_number(field: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<i16> {
    if !digits.contains(&field.len()) {
        return None;
    }
    super::fields::decimal(field).and_then(|number| i16::try_from(number).ok())
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
