//! Times as FTP servers write them: RFC 3659 time values here, the dates of LIST in `local`.
//!
//! Nothing here reads a clock or a time zone: what is "now" comes in as a [`ListContext`].

mod local;
mod months;
mod zone;

pub use local::{ListContext, TimeOfDay, month_number, parse_numeric_date};
pub use months::{day_digits, month_named, year_digits};
pub use zone::{FoundZone, ListZone, Sample};

use jiff::civil::Date;
use jiff::tz::Offset;

/// How much of a [`Modified`] the server told. LIST tells minutes for young files and days for old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// Known to the second (or better).
    Second,
    /// Known to the minute.
    Minute,
    /// Only the day is known.
    Day,
}

/// A modification time, UTC, with what the server told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modified {
    /// Seconds since 1970-01-01T00:00:00Z; may be negative.
    pub seconds: i64,
    /// Nanoseconds within the second, below 1_000_000_000.
    pub nanos: u32,
    /// The unit below which `seconds` says nothing.
    pub precision: Precision,
}

/// Parses a time value, `YYYYMMDDHHMMSS[.f...]`, UTC (RFC 3659 s.2.3), as in MDTM replies and `modify` facts.
///
/// Digits of the fraction beyond nanoseconds are dropped. A leap second is read as the second before it, as
/// POSIX time has none. `19100...` (15 digits) is the year 2000: servers that print "19" and the years since
/// 1900. `None` for anything else, and for dates that do not exist.
pub fn parse_time_value(text: &[u8]) -> Option<Modified> {
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let (year, rest) = match whole.len() {
        14 => (number(&whole[..4])?, &whole[4..]),
        15 if whole.starts_with(b"19") => (1900 + number(&whole[2..5])?, &whole[5..]),
        _ => return None,
    };
    let date = Date::new(
        i16::try_from(year).ok()?,
        i8::try_from(number(&rest[..2])?).ok()?,
        i8::try_from(number(&rest[2..4])?).ok()?,
    )
    .ok()?;
    let (hour, minute, second) = (number(&rest[4..6])?, number(&rest[6..8])?, number(&rest[8..])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let of_day = i64::from(hour * 3600 + minute * 60 + second.min(59));
    Some(Modified {
        seconds: midnight(date)? + of_day,
        nanos: nanos(fraction)?,
        precision: Precision::Second,
    })
}

/// A moment as seconds since 1970, to the second. `None` after the year 9999, which no calendar here has.
pub(crate) fn since_1970(seconds: u64) -> Option<Modified> {
    let seconds = i64::try_from(seconds).ok()?;
    jiff::Timestamp::from_second(seconds).ok()?;
    Some(Modified { seconds, nanos: 0, precision: Precision::Second })
}

/// The time value of a moment, whole seconds: fractions are dropped, since pyftpdlib 2.2.0 refuses them.
/// `None` before 1970, which ProFTPD 1.3.8 refuses, and after the year 9999, which has no time value (the last
/// 26 hours of that year are left out too, where a time zone could lead out of it).
pub fn time_value(modified: Modified) -> Option<String> {
    let moment = jiff::Timestamp::from_second(modified.seconds).ok().filter(|_| modified.seconds >= 0)?;
    let t = Offset::UTC.to_datetime(moment);
    let (year, month, day) = (t.year(), t.month(), t.day());
    Some(format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", t.hour(), t.minute(), t.second()))
}

/// Seconds from 1970 to the start of `date`, UTC.
fn midnight(date: Date) -> Option<i64> {
    Some(Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?.as_second())
}

/// The decimal number that all of `digits` (1 to 9 of them) are.
fn number(digits: &[u8]) -> Option<u32> {
    if !(1..=9).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

/// Digits behind a decimal point as nanoseconds; no digits are 0.
fn nanos(fraction: &[u8]) -> Option<u32> {
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((0..9).fold(0, |sum, place| sum * 10 + fraction.get(place).map_or(0, |d| u32::from(d - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_values_of_rfc_3659_and_of_real_servers() {
        for (text, seconds, nanos) in [
            ("19700101000000", 0, 0),
            ("20240309174501", 1_710_006_301, 0),
            ("20240309174501.250", 1_710_006_301, 250_000_000),
            ("20240309174501.", 1_710_006_301, 0),
            ("20240309174501.1234567899", 1_710_006_301, 123_456_789),
            ("20240229235959", 1_709_251_199, 0),
            ("20161231235960", 1_483_228_799, 0),
            ("19691231235959.5", -1, 500_000_000),
            ("191000101000000", 946_684_800, 0),
            ("191240309174501", 1_710_006_301, 0),
        ] {
            let expected = Modified { seconds, nanos, precision: Precision::Second };
            assert_eq!(parse_time_value(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn moments_become_time_values_where_there_is_one() {
        for (seconds, text) in [
            (0, Some("19700101000000")),
            (1_710_006_301, Some("20240309174501")),
            (253_402_207_200, Some("99991230220000")),
            (-1, None),
            (253_402_300_800, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            let moment = Modified { seconds, nanos: 999_999_999, precision: Precision::Second };
            assert_eq!(time_value(moment).as_deref(), text, "{seconds}");
        }
    }

    #[test]
    fn what_is_no_time_value_is_refused() {
        for text in [
            "",
            "2024030917450",
            "202403091745011",
            "20240230000000",
            "20230229000000",
            "20240309240000",
            "20240309176000",
            "20240309174561",
            "20241309174501",
            "2024030917450x",
            "20240309174501.2x",
            " 20240309174501",
            "-2024030917450",
            "20240309174501.-1",
        ] {
            assert_eq!(parse_time_value(text.as_bytes()), None, "{text}");
        }
    }
}
