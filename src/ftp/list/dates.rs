//! The dates of `ls -l` and of what imitates it, in all their orders and languages.

use super::EntryKind;
use super::fields::{Fields, Size, decimal};
use crate::ftp::time::{
    ListContext, Modified, TimeOfDay, day_digits, month_named, month_number, parse_numeric_date, year_digits,
};

/// Where a line's date is, and what stands before it.
pub(super) struct Found {
    pub(super) size: Size,
    /// `None` where the date does not exist, as 30 February.
    pub(super) modified: Option<Modified>,
    /// The number of its first field.
    pub(super) index: usize,
    /// Where it ends in the text.
    pub(super) end: usize,
}

/// The leftmost date that has a size before it: a date in the name is further right.
pub(super) fn find_date(fields: &Fields<'_>, kind: EntryKind, context: &ListContext) -> Option<Found> {
    (1..fields.len()).find_map(|index| {
        let (modified, end) = date_at(fields, index, context)?;
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
        let found = Found { size, modified, index, end };
        (index <= 4 || !has_foreign_date(fields, 0..index)).then_some(found)
    })
}

/// A date as an instant, and its end in the text.
type Dated = (Option<Modified>, usize);

fn date_at(fields: &Fields<'_>, index: usize, context: &ListContext) -> Option<Dated> {
    let first = fields.get(index)?;
    if let Some(day) = fields.get(index + 1).and_then(day_of)
        && let Some(month) = month_of(first)
    {
        return month_day_date(fields, index, month, day, context);
    }
    if !first[0].is_ascii_digit() {
        return None;
    }
    numeric_date(fields, index, context)
        .or_else(|| day_month_date(fields, index, context))
        .or_else(|| year_month_date(fields, index, context))
}

/// `Feb  3 07:41`, `Feb  3  2021`, `Feb  3 07:41:10 2021`.
fn month_day_date(
    fields: &Fields<'_>,
    index: usize,
    month: i8,
    day: i8,
    context: &ListContext,
) -> Option<Dated> {
    let third = fields.get(index + 2)?;
    let end = fields.end(index + 2)?;
    if let Some(year) = year_of(third) {
        return Some((context.at(year, month, day, None), end));
    }
    let time = TimeOfDay::parse(third)?;
    // `ls -lT` of BSD and --full-time of old GNU; a name follows, else the number is the name.
    let year = fields.get(index + 3).and_then(|field| small_number(field, 4..=4));
    if let Some(year) = year.filter(|_| time.has_seconds() && fields.has_name_after(index + 3)) {
        return Some((context.at(year, month, day, Some(time)), fields.end(index + 3)?));
    }
    Some((context.at_latest(month, day, time), end))
}

/// `2024-03-09 17:45[:01 [+0100]]`, `2024.03.09`, `09.03.2024 17:45`, `03-09 17:45`, `03-09 2024`.
fn numeric_date(fields: &Fields<'_>, index: usize, context: &ListContext) -> Option<Dated> {
    let first = fields.get(index)?;
    if let [m1, m2, b'-', d1, d2] = *first {
        let (month, day) = (small_number(&[m1, m2], 2..=2)?, day_of(&[d1, d2])?);
        let month = i8::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
        return month_day_date(fields, index.checked_sub(1)?, month, day, context);
    }
    // Month and day of `03/09/2024` cannot be told apart: DOS and Europe differ.
    let (year, month, day) = match *first {
        [_, _, _, _, b'-', ..] if first.len() == 10 => parse_numeric_date(first)?,
        [_, _, _, _, b'.' | b'/', ..] | [_, _, b'.', ..] | [_, b'.', ..] => parse_numeric_date(first)?,
        _ => return None,
    };
    // Only the ISO form has always a time, so that a name cannot look like one.
    let time = fields.get(index + 1).filter(|_| first.contains(&b'-') || fields.has_name_after(index + 1));
    let Some(time) = time.and_then(TimeOfDay::parse) else {
        return Some((context.at(year, month, day, None), fields.end(index)?));
    };
    let zone = fields.get(index + 2).and_then(zone_offset);
    // Only full ISO times have a zone, and a name follows it; otherwise the name looks like a zone.
    if let Some(offset) = zone.filter(|_| time.has_seconds() && fields.has_name_after(index + 2)) {
        return Some((context.at_offset(year, month, day, time, offset), fields.end(index + 2)?));
    }
    Some((context.at(year, month, day, Some(time)), fields.end(index + 1)?))
}

/// `9 mar 2024`, `26. Juli, 20:10`.
fn day_month_date(fields: &Fields<'_>, index: usize, context: &ListContext) -> Option<Dated> {
    let day = day_of(fields.get(index)?)?;
    let third = fields.get(index + 2)?;
    let month = month_of(fields.get(index + 1)?)?;
    let end = fields.end(index + 2)?;
    if let Some(year) = year_of(third) {
        return Some((context.at(year, month, day, None), end));
    }
    Some((context.at_latest(month, day, TimeOfDay::parse(third)?), end))
}

/// `2024 Mar  9`. Where a date without a year follows the number, the number is a size.
fn year_month_date(fields: &Fields<'_>, index: usize, context: &ListContext) -> Option<Dated> {
    let first = fields.get(index)?;
    let year = year_of(first).filter(|year| (1900..2200).contains(year))?;
    let day = day_of(fields.get(index + 2)?)?;
    let month = month_of(fields.get(index + 1)?)?;
    let may_be_size = first.len() == 4 && fields.has_name_after(index + 3);
    if may_be_size && month_day_date(fields, index + 1, month, day, context).is_some() {
        return None;
    }
    Some((context.at(year, month, day, None), fields.end(index + 2)?))
}

/// Whether something like a date that is not understood (`26. Foo, 20:10`) is among these fields. Then a date
/// behind them belongs to the name, and the line must not be taken for another file.
pub(super) fn has_foreign_date(fields: &Fields<'_>, range: std::ops::Range<usize>) -> bool {
    let is_year = |field: &[u8]| year_of(field).is_some_and(|year| (1900..2200).contains(&year));
    let is_word = |field: &[u8]| !field[0].is_ascii_digit();
    let is_clock = |field: &[u8]| field[0].is_ascii_digit() && field.contains(&b':');
    range.clone().filter_map(|at| fields.get(at)).any(|field| {
        let has_digit_and_more = field[0].is_ascii_digit() && !field.is_ascii();
        has_digit_and_more || is_clock(field) || parse_numeric_date(field).is_some()
    }) || (range.start..range.end.saturating_sub(2)).any(|at| {
        match (fields.get(at), fields.get(at + 1), fields.get(at + 2)) {
            (Some(month), Some(day), Some(year)) if is_word(month) => day_of(day).is_some() && is_year(year),
            // The first field is the link count.
            (Some(day), Some(month), Some(year)) => {
                at > 0 && day_of(day).is_some() && is_word(month) && is_year(year)
            }
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

/// The month that a field names.
pub(super) fn month_of(field: &[u8]) -> Option<i8> {
    month_number(field).or_else(|| month_named(field))
}

/// The day of the month that a field is, 1 to 31.
pub(super) fn day_of(field: &[u8]) -> Option<i8> {
    let day = small_number(day_digits(field), 1..=2).filter(|day| (1..=31).contains(day))?;
    i8::try_from(day).ok()
}

/// The year that a field of four digits is.
pub(super) fn year_of(field: &[u8]) -> Option<i16> {
    small_number(year_digits(field), 4..=4)
}

fn small_number(field: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<i16> {
    if !digits.contains(&field.len()) {
        return None;
    }
    decimal(field).and_then(|number| i16::try_from(number).ok())
}
