//! The zone of LIST's times: told by the user, or found by comparing them with MDTM's.

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};

use super::{Modified, Precision};

/// Local times lie at most 14 h from UTC, in either direction (Kiribati), in steps of a quarter of an hour.
const FARTHEST: i64 = 14 * 3600;
const STEP: i64 = 15 * 60;

/// How the wall clock that a listing is printed by goes. Times on a wall clock are given as seconds since
/// 1970-01-01T00:00:00 on the same clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListZone {
    /// This many seconds east of UTC, always.
    Fixed(i32),
    /// As the time zone database has it.
    Named(TimeZone),
}

impl ListZone {
    /// The clock of MDTM and MLSD.
    pub const UTC: ListZone = ListZone::Fixed(0);

    /// `UTC`, an offset such as `+02:00`, `-0530` or `+2`, or a name of the IANA database such as
    /// `Europe/Berlin`; the system's database, else the one built in.
    pub fn parse(text: &str) -> Option<ListZone> {
        if text.eq_ignore_ascii_case("UTC") || text.eq_ignore_ascii_case("GMT") {
            return Some(ListZone::UTC);
        }
        match text.as_bytes() {
            [b'+', digits @ ..] => Some(ListZone::Fixed(offset(digits)?)),
            [b'-', digits @ ..] => Some(ListZone::Fixed(-offset(digits)?)),
            _ => TimeZone::get(text).ok().map(ListZone::Named),
        }
    }

    /// The moment, in seconds since 1970 UTC, that a wall clock showed as `wall`. An hour that the clock showed
    /// twice is the first, one that it left out is taken as if it had not.
    pub(crate) fn utc(&self, wall: i64) -> Option<i64> {
        match self {
            ListZone::Fixed(offset) => wall.checked_sub(i64::from(*offset)),
            ListZone::Named(zone) => {
                let shown = Offset::UTC.to_datetime(Timestamp::from_second(wall).ok()?);
                Some(zone.to_timestamp(shown).ok()?.as_second())
            }
        }
    }

    /// What the wall clock shows at a moment.
    pub(crate) fn wall(&self, utc: i64) -> Option<i64> {
        let offset = match self {
            ListZone::Fixed(offset) => *offset,
            ListZone::Named(zone) => zone.to_offset(Timestamp::from_second(utc).ok()?).seconds(),
        };
        utc.checked_add(i64::from(offset))
    }
}

/// `2`, `02`, `0200` or `02:00` in seconds, at most 14 h.
fn offset(digits: &[u8]) -> Option<i32> {
    let (hours, minutes) = match digits {
        [h] => ([b'0', *h], [b'0', b'0']),
        [h1, h2] => ([*h1, *h2], [b'0', b'0']),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => ([*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (super::number(&hours)?, super::number(&minutes)?);
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
    (minutes < 60 && seconds <= FARTHEST).then_some(i32::try_from(seconds).ok()?)
}

/// When clocks are put forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// From the last Sunday of March to the last of October.
    Europe,
    /// From the second Sunday of March to the first of November.
    America,
    /// From the first Sunday of October to the first of April.
    South,
}

impl Rule {
    /// The rule that is usual at an offset. Where there is no daylight saving time it does no harm.
    fn at(offset: i32) -> Rule {
        match offset {
            ..-5400 => Rule::America,
            -5400..14_400 => Rule::Europe,
            _ => Rule::South,
        }
    }

    fn is_daylight(self, wall: i64) -> bool {
        let Ok(moment) = Timestamp::from_second(wall) else { return false };
        let date = Offset::UTC.to_datetime(moment).date();
        let sunday = |month, nth| {
            let first = Date::new(date.year(), month, 1).ok()?;
            first.nth_weekday_of_month(nth, Weekday::Sunday).ok()
        };
        let between = |from: Option<Date>, to: Option<Date>| {
            from.is_some_and(|from| date >= from) && to.is_some_and(|to| date < to)
        };
        match self {
            Rule::Europe => between(sunday(3, -1), sunday(10, -1)),
            Rule::America => between(sunday(3, 2), sunday(11, 1)),
            Rule::South => !between(sunday(4, 1), sunday(10, 1)),
        }
    }
}

/// A time on the wall clock and, where it was told, the same time in UTC.
pub type Sample = (Modified, Option<Modified>);

/// What was found of a zone that nobody told. Standard and daylight time are found apart, as some servers put
/// their clocks forward and others have one offset all year.
///
/// A season is decided once, by its first samples, and for good: were it decided anew, files that are known
/// would look changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundZone {
    rule: Option<Rule>,
    /// By [`Rule::is_daylight`].
    offsets: [Option<i32>; 2],
}

impl FoundZone {
    /// Whether the season of a time is decided.
    pub fn knows(&self, wall: i64) -> bool {
        self.rule.is_some_and(|rule| self.offsets[usize::from(rule.is_daylight(wall))].is_some())
    }

    /// Decides the seasons of the samples that are not decided: by the offset that most of them have, or as in
    /// the other season, or as UTC, where no sample is good.
    pub fn decide(&mut self, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        let all = samples.iter().filter_map(|(listed, exact)| offset_between(*listed, (*exact)?));
        let rule = *self.rule.get_or_insert_with(|| Rule::at(most(all).unwrap_or_default()));
        let before = self.offsets;
        let mut found = [None; 2];
        for season in [0, 1] {
            let mut of_season = samples
                .iter()
                .filter(|(listed, _)| usize::from(rule.is_daylight(listed.seconds)) == season)
                .peekable();
            if of_season.peek().is_some() {
                let offsets = of_season.filter_map(|(listed, exact)| offset_between(*listed, (*exact)?));
                found[season] = Some(most(offsets));
            }
        }
        for season in [0, 1] {
            let other = before[1 - season].or(found[1 - season].flatten());
            self.offsets[season] =
                before[season].or(found[season].map(|offset| offset.or(other).unwrap_or_default()));
        }
    }

    /// The moment that the wall clock showed as `wall`; a season that is not decided is as the other, or UTC.
    pub fn utc(&self, wall: i64) -> i64 {
        let Some(rule) = self.rule else { return wall };
        let season = usize::from(rule.is_daylight(wall));
        let offset = self.offsets[season].or(self.offsets[1 - season]).unwrap_or_default();
        wall.saturating_sub(i64::from(offset))
    }
}

/// How far the wall clock was ahead when it showed `listed` for `exact`, in seconds. `None` where the day alone
/// is told, or the two are of no common moment: the file was changed in between.
fn offset_between(listed: Modified, exact: Modified) -> Option<i32> {
    let unit = match (listed.precision, exact.precision) {
        (Precision::Second, Precision::Second) => 1,
        (Precision::Minute, Precision::Second) => 60,
        _ => return None,
    };
    let ahead = listed.seconds.checked_sub(exact.seconds - exact.seconds.rem_euclid(unit))?;
    (ahead % STEP == 0 && ahead.checked_abs()? <= FARTHEST).then_some(i32::try_from(ahead).ok()?)
}

/// The most frequent; of several, the first.
fn most(offsets: impl Iterator<Item = i32>) -> Option<i32> {
    let offsets: Vec<i32> = offsets.collect();
    let count = |offset: i32| offsets.iter().filter(|&&other| other == offset).count();
    offsets.iter().copied().rev().max_by_key(|&offset| count(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn told(text: &str, precision: Precision) -> Modified {
        Modified { seconds: at(text), nanos: 0, precision }
    }

    /// A minute on a wall clock, and the exact time.
    fn sample(listed: &str, exact: &str) -> Sample {
        (told(listed, Precision::Minute), Some(told(exact, Precision::Second)))
    }

    #[test]
    fn zones_that_can_be_told() {
        let winter = at("2024-01-15T12:00:00Z");
        let summer = at("2024-07-15T12:00:00Z");
        for (text, in_winter, in_summer) in [
            ("UTC", 0, 0),
            ("gmt", 0, 0),
            ("+02:00", 7200, 7200),
            ("-0530", -19_800, -19_800),
            ("+2", 7200, 7200),
            ("+14", 50_400, 50_400),
            ("Europe/Berlin", 3600, 7200),
            ("America/New_York", -18_000, -14_400),
            ("Asia/Kolkata", 19_800, 19_800),
        ] {
            let zone = ListZone::parse(text).unwrap();
            for (moment, offset) in [(winter, in_winter), (summer, in_summer)] {
                assert_eq!(zone.wall(moment), Some(moment + offset), "{text}");
                assert_eq!(zone.utc(moment + offset), Some(moment), "{text}");
            }
        }
        for text in ["+02:00", "Europe/Berlin"] {
            let zone = ListZone::parse(text).unwrap();
            assert_eq!((zone.wall(i64::MAX), zone.utc(i64::MIN)), (None, None), "{text}");
        }
        for text in ["", "Europe/Nowhere", "+", "+15", "+14:01", "+02:60", "+200", "2", "../etc/passwd"] {
            assert_eq!(ListZone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_offset_is_whole_quarters_of_an_hour_or_none() {
        for (listed, exact, offset) in [
            ("2024-01-15T13:00:00Z", "2024-01-15T12:00:59Z", Some(3600)),
            ("2024-01-15T17:45:00Z", "2024-01-15T12:00:00Z", Some(20_700)),
            ("2024-01-15T07:00:00Z", "2024-01-15T12:00:30Z", Some(-18_000)),
            ("2024-01-15T12:00:00Z", "2024-01-15T12:00:30Z", Some(0)),
            ("2024-01-15T13:00:00Z", "2024-01-15T12:01:00Z", None),
            ("2024-01-16T12:00:00Z", "2024-01-15T12:00:00Z", None),
        ] {
            let (listed, exact) = (told(listed, Precision::Minute), told(exact, Precision::Second));
            assert_eq!(offset_between(listed, exact), offset, "{listed:?} {exact:?}");
        }
        let day = told("2024-01-15T00:00:00Z", Precision::Day);
        assert_eq!(offset_between(day, told("2024-01-15T00:00:00Z", Precision::Second)), None);
        let second = told("2024-01-15T13:00:01Z", Precision::Second);
        assert_eq!(offset_between(second, told("2024-01-15T12:00:01Z", Precision::Second)), Some(3600));
        assert_eq!(offset_between(second, told("2024-01-15T12:00:00Z", Precision::Second)), None);
    }

    #[test]
    fn seasons_are_found_apart() {
        let winter = |offset| match offset {
            1 => sample("2024-01-15T13:00:00Z", "2024-01-15T12:00:30Z"),
            _ => sample("2024-01-15T07:00:00Z", "2024-01-15T12:00:30Z"),
        };
        let summer = sample("2023-08-15T14:00:00Z", "2023-08-15T12:00:30Z");
        // Clocks are put forward.
        let mut zone = FoundZone::default();
        zone.decide(&[summer, winter(1)]);
        assert_eq!(zone.utc(at("2024-02-01T10:00:00Z")), at("2024-02-01T09:00:00Z"));
        assert_eq!(zone.utc(at("2024-06-01T10:00:00Z")), at("2024-06-01T08:00:00Z"));
        assert_eq!(zone.utc(at("2024-03-30T10:00:00Z")), at("2024-03-30T09:00:00Z"));
        assert_eq!(zone.utc(at("2024-03-31T10:00:00Z")), at("2024-03-31T08:00:00Z"));
        // One offset all year.
        let mut zone = FoundZone::default();
        zone.decide(&[sample("2023-08-15T13:00:00Z", "2023-08-15T12:00:30Z"), winter(1)]);
        assert_eq!(zone.utc(at("2024-06-01T10:00:00Z")), at("2024-06-01T09:00:00Z"));
        // Only one season is known: the other is taken to be alike, until it is known too.
        let mut zone = FoundZone::default();
        zone.decide(&[winter(1)]);
        assert!(zone.knows(at("2024-02-01T10:00:00Z")) && !zone.knows(at("2024-06-01T10:00:00Z")));
        assert_eq!(zone.utc(at("2024-06-01T10:00:00Z")), at("2024-06-01T09:00:00Z"));
        zone.decide(&[summer]);
        assert_eq!(zone.utc(at("2024-06-01T10:00:00Z")), at("2024-06-01T08:00:00Z"));
        // The rule goes with the offset: in America the clocks are put forward two weeks earlier.
        let mut zone = FoundZone::default();
        zone.decide(&[winter(-5), sample("2023-08-15T08:00:00Z", "2023-08-15T12:00:30Z")]);
        assert_eq!(zone.utc(at("2024-03-12T10:00:00Z")), at("2024-03-12T14:00:00Z"));
        // And in the south in October.
        let mut zone = FoundZone::default();
        zone.decide(&[
            sample("2024-01-15T23:00:00Z", "2024-01-15T12:00:30Z"),
            sample("2023-08-15T22:00:00Z", "2023-08-15T12:00:30Z"),
        ]);
        assert_eq!(zone.utc(at("2024-03-01T10:00:00Z")), at("2024-02-29T23:00:00Z"));
        assert_eq!(zone.utc(at("2024-05-01T10:00:00Z")), at("2024-05-01T00:00:00Z"));
    }

    #[test]
    fn most_samples_decide_and_doubtful_ones_do_not() {
        let good = sample("2024-01-15T13:00:00Z", "2024-01-15T12:00:30Z");
        let rewritten = sample("2024-01-15T13:00:00Z", "2024-03-01T08:07:30Z");
        let unlucky = sample("2024-01-15T13:00:00Z", "2024-01-15T13:15:30Z");
        let untold = (good.0, None);
        let wall = at("2024-02-01T10:00:00Z");
        for (samples, offset) in [
            (&[good][..], 3600),
            (&[rewritten, good], 3600),
            (&[untold, good], 3600),
            (&[unlucky, good, good], 3600),
            (&[rewritten], 0),
            (&[untold], 0),
        ] {
            let mut zone = FoundZone::default();
            zone.decide(samples);
            assert!(zone.knows(wall), "{samples:?}");
            assert_eq!(zone.utc(wall), wall - offset, "{samples:?}");
        }
        let mut zone = FoundZone::default();
        zone.decide(&[]);
        assert!(!zone.knows(wall));
        assert_eq!(zone.utc(wall), wall);
    }

    #[test]
    fn what_is_decided_stays() {
        let mut zone = FoundZone::default();
        zone.decide(&[(sample("2024-01-15T13:00:00Z", "2024-01-15T12:00:30Z").0, None)]);
        let decided = zone;
        zone.decide(&[sample("2024-01-15T13:00:00Z", "2024-01-15T12:00:30Z")]);
        assert_eq!(zone, decided);
        assert_eq!(zone.utc(at("2024-02-01T10:00:00Z")), at("2024-02-01T10:00:00Z"));
    }
}
