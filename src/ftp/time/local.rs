//! The dates of LIST: in the server's local time, often without a year, seconds or zone.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use super::{ListZone, Modified, Precision, midnight, nanos, number};

/// How far in the future a date without a year may lie before it is taken for last year's, in seconds. A day
/// covers a wrong [`ListContext::zone`] and clocks that differ. Servers print a year for files much younger
/// than that (vsftpd 3.0.3) or do not (ProFTPD 1.3.8, pure-ftpd 1.0.50, pyftpdlib), which cannot be told apart.
const FUTURE_TOLERANCE: i64 = 86_400;

/// What the dates of a listing are measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListContext {
    /// The server's present time, seconds since 1970-01-01T00:00:00Z.
    pub now: i64,
    /// The clock that the times in its listings are read from.
    pub zone: ListZone,
}

impl ListContext {
    /// A date with its year, in the server's local time. Without a time of day only the day is known.
    pub fn at(&self, year: i16, month: i8, day: i8, time: Option<TimeOfDay>) -> Option<Modified> {
        place(Date::new(year, month, day).ok()?, time, &self.zone)
    }

    /// A date whose zone was printed: `offset` seconds east of UTC.
    pub fn at_offset(&self, year: i16, month: i8, day: i8, time: TimeOfDay, offset: i32) -> Option<Modified> {
        place(Date::new(year, month, day).ok()?, Some(time), &ListZone::Fixed(offset))
    }

    /// A date without a year: the latest such date that is not more than one day in the future. 29 February
    /// falls in a leap year.
    pub fn at_latest(&self, month: i8, day: i8, time: TimeOfDay) -> Option<Modified> {
        let local = Timestamp::from_second(self.zone.wall(self.now)?).ok()?;
        let year = Offset::UTC.to_datetime(local).year();
        let latest = self.now.saturating_add(FUTURE_TOLERANCE);
        // Leap years are at most eight years apart (1896 and 1904).
        (0..=9)
            .filter_map(|back| self.at(year.checked_add(1)?.checked_sub(back)?, month, day, Some(time)))
            .find(|modified| modified.seconds <= latest)
    }
}

/// A time on the server's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Since midnight; 86_400 for `24:00`.
    seconds: i64,
    nanos: u32,
    precision: Precision,
}

impl TimeOfDay {
    /// Parses `H:MM[:SS[.f...]]`, optionally followed by `AM`, `PM`, `A` or `P` in any case; `24:00` is the end
    /// of the day. `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<TimeOfDay> {
        let digits = text.iter().rposition(u8::is_ascii_digit)? + 1;
        let half = match &text[digits..] {
            [] => Half::None,
            suffix if is_one_of(suffix, [b"AM", b"A"]) => Half::Morning,
            suffix if is_one_of(suffix, [b"PM", b"P"]) => Half::Afternoon,
            _ => return None,
        };
        let mut parts = text[..digits].splitn(3, |&b| b == b':');
        let (hour, minute) = (parts.next()?, parts.next()?);
        if hour.len() > 2 || minute.len() != 2 {
            return None;
        }
        let hour = half.hour(number(hour)?)?;
        let minute = number(minute)?;
        let (second, nanos, precision) = match parts.next() {
            None => (0, 0, Precision::Minute),
            Some(text) => {
                let (second, fraction) = text.split_at_checked(2)?;
                let nanos = match fraction {
                    [] => 0,
                    [b'.' | b',', digits @ ..] => nanos(digits)?,
                    _ => return None,
                };
                (number(second)?, nanos, Precision::Second)
            }
        };
        let midnight = hour == 24 && minute == 0 && second == 0;
        if minute > 59 || second > 60 || (hour > 23 && !midnight) {
            return None;
        }
        Some(TimeOfDay { seconds: i64::from(hour * 3600 + minute * 60 + second.min(59)), nanos, precision })
    }

    /// Whether seconds were printed.
    pub fn has_seconds(&self) -> bool {
        self.precision == Precision::Second
    }
}

#[derive(Clone, Copy)]
enum Half {
    None,
    Morning,
    Afternoon,
}

impl Half {
    /// The hour on a 24-hour clock: 12 AM is 0, 12 PM is 12.
    fn hour(self, printed: u32) -> Option<u32> {
        match (self, printed) {
            (Half::None, hour) => Some(hour),
            (Half::Morning, 12) => Some(0),
            (Half::Afternoon, 12) => Some(12),
            (Half::Morning, hour @ 0..12) => Some(hour),
            (Half::Afternoon, hour @ 1..12) => Some(hour + 12),
            // "17:45PM" is printed by servers that add the mark to a 24-hour clock.
            (Half::Afternoon, hour @ 13..24) => Some(hour),
            _ => None,
        }
    }
}

/// The number of an English month by its first three letters, in any case; [`super::month_named`] knows other
/// languages.
pub fn month_number(name: &[u8]) -> Option<i8> {
    let lower = <[u8; 3]>::try_from(name).ok()?.map(|b| b.to_ascii_lowercase());
    Some(match &lower {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

/// Parses a date in digits into year, month and day: `2024-03-09` (also with `/` or `.`), `03-09-24`,
/// `03/09/2024` (month first, as DOS and IIS), `09.03.2024` (day first, as that mark is used). Two digits are
/// the years 1970 to 2069. The month is 1 to 12 and the day 1 to 31; that the day exists is not checked.
pub fn parse_numeric_date(text: &[u8]) -> Option<(i16, i8, i8)> {
    let mark = *text.iter().find(|b| !b.is_ascii_digit())?;
    if !matches!(mark, b'-' | b'/' | b'.') {
        return None;
    }
    let mut parts = text.splitn(3, |&b| b == mark);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = match (first.len(), second.len(), third.len()) {
        (4, 1..=2, 1..=2) => (first, second, third),
        (1..=2, 1..=2, 2 | 4) if mark == b'.' => (third, second, first),
        (1..=2, 1..=2, 2 | 4) => (third, first, second),
        _ => return None,
    };
    let year = match (number(year)?, year.len()) {
        (short @ 0..70, 2) => 2000 + short,
        (short, 2) => 1900 + short,
        (full, _) => full,
    };
    let (month, day) = (number(month)?, number(day)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some((i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?))
}

fn place(date: Date, time: Option<TimeOfDay>, zone: &ListZone) -> Option<Modified> {
    let time = time.unwrap_or(TimeOfDay { seconds: 0, nanos: 0, precision: Precision::Day });
    let seconds = zone.utc(midnight(date)? + time.seconds)?;
    Some(Modified { seconds, nanos: time.nanos, precision: time.precision })
}

fn is_one_of(text: &[u8], words: [&[u8]; 2]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-09 17:45:01 UTC
    const NOW: i64 = 1_710_006_301;

    fn utc(text: &str) -> i64 {
        let date: Timestamp = text.parse().unwrap();
        date.as_second()
    }

    fn clock(text: &str) -> TimeOfDay {
        TimeOfDay::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_date_without_year_is_the_latest_that_is_not_in_the_future() {
        for (now, offset, month, day, time, expected) in [
            ("2024-03-09T17:45:01Z", 0, 3, 9, "17:45", "2024-03-09T17:45:00Z"),
            ("2024-03-09T17:45:01Z", 0, 3, 9, "23:59", "2024-03-09T23:59:00Z"),
            ("2024-03-09T17:45:01Z", 0, 3, 10, "17:45", "2024-03-10T17:45:00Z"),
            ("2024-03-09T17:45:01Z", 0, 3, 10, "17:46", "2023-03-10T17:46:00Z"),
            ("2024-03-09T17:45:01Z", 0, 12, 31, "23:59", "2023-12-31T23:59:00Z"),
            ("2023-12-31T23:30:00Z", 0, 1, 1, "00:15", "2024-01-01T00:15:00Z"),
            ("2024-01-01T00:10:00Z", 0, 12, 31, "23:59", "2023-12-31T23:59:00Z"),
            ("2024-01-01T00:10:00Z", 0, 12, 31, "24:00", "2024-01-01T00:00:00Z"),
            ("2023-12-31T23:30:00Z", 3600, 1, 1, "00:15", "2023-12-31T23:15:00Z"),
            ("2024-01-01T02:00:00Z", -18000, 12, 31, "21:00", "2024-01-01T02:00:00Z"),
            ("2024-03-09T17:45:01Z", 0, 2, 29, "12:00", "2024-02-29T12:00:00Z"),
            ("2023-03-09T17:45:01Z", 0, 2, 29, "12:00", "2020-02-29T12:00:00Z"),
            ("2024-02-27T00:00:00Z", 0, 2, 29, "12:00", "2020-02-29T12:00:00Z"),
            ("2024-02-28T13:00:00Z", 0, 2, 29, "12:00", "2024-02-29T12:00:00Z"),
            ("1904-01-05T00:00:00Z", 0, 2, 29, "12:00", "1896-02-29T12:00:00Z"),
        ] {
            let context = ListContext { now: utc(now), zone: ListZone::Fixed(offset) };
            let modified = context.at_latest(month, day, clock(time)).unwrap();
            assert_eq!(modified.seconds, utc(expected), "{now} {offset} {month}-{day} {time}");
            assert_eq!(modified.precision, Precision::Minute);
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        let context = ListContext { now: NOW, zone: ListZone::UTC };
        assert_eq!(context.at(2023, 2, 29, None), None);
        assert_eq!(context.at_latest(2, 30, clock("10:00")), None);
        assert_eq!(
            ListContext { now: i64::MAX, zone: ListZone::Fixed(1) }.at_latest(2, 3, clock("10:00")),
            None
        );
    }

    #[test]
    fn a_date_alone_is_the_servers_midnight() {
        let context = ListContext { now: NOW, zone: ListZone::Fixed(3600) };
        let expected = Modified { seconds: utc("2021-02-02T23:00:00Z"), nanos: 0, precision: Precision::Day };
        assert_eq!(context.at(2021, 2, 3, None), Some(expected));
        let zoned = context.at_offset(2021, 2, 3, clock("01:00:00.5"), -7200);
        let expected = Modified {
            seconds: utc("2021-02-03T03:00:00Z"),
            nanos: 500_000_000,
            precision: Precision::Second,
        };
        assert_eq!(zoned, Some(expected));
    }

    #[test]
    fn times_of_day() {
        for (text, seconds) in [
            ("00:00", 0),
            ("7:41", 27_660),
            ("07:41", 27_660),
            ("23:59:59", 86_399),
            ("24:00", 86_400),
            ("24:00:00", 86_400),
            ("12:30AM", 1_800),
            ("12:30PM", 45_000),
            ("12:30am", 1_800),
            ("05:45PM", 63_900),
            ("05:45p", 63_900),
            ("17:45PM", 63_900),
            ("05:45:10a", 20_710),
        ] {
            assert_eq!(clock(text).seconds, seconds, "{text}");
        }
        for text in ["", ":", "1:2", "123:00", "25:00", "24:01", "10:60", "10:00:61", "13:00AM", "10:00XM"] {
            assert_eq!(TimeOfDay::parse(text.as_bytes()), None, "{text}");
        }
        for text in ["10:00:1", "10:00:00.x", "10:00:00:00", "PM", "1a:00", "10:00AM5", "2021"] {
            assert_eq!(TimeOfDay::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numeric_dates() {
        for (text, expected) in [
            ("2024-03-09", Some((2024, 3, 9))),
            ("2024/3/9", Some((2024, 3, 9))),
            ("03-09-24", Some((2024, 3, 9))),
            ("03-09-99", Some((1999, 3, 9))),
            ("03/09/2024", Some((2024, 3, 9))),
            ("09.03.2024", Some((2024, 3, 9))),
            ("13-09-24", None),
            ("03-32-24", None),
            ("03-00-24", None),
            ("03-09/24", None),
            ("03-09", None),
            ("03-09-124", None),
            ("2024-03-09-1", None),
            ("20240309", None),
        ] {
            assert_eq!(parse_numeric_date(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn only_english_months_are_known() {
        assert_eq!(month_number(b"Mar"), Some(3));
        assert_eq!(month_number(b"DEC"), Some(12));
        for name in ["", "Ma", "Mrz", "March", "avr", "M\u{e4}"] {
            assert_eq!(month_number(name.as_bytes()), None, "{name}");
        }
    }
}
