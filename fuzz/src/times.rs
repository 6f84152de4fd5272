//! Times as servers write them.

use ftpfs::ftp::time::{
    ListContext, ListZone, Modified, Precision, TimeOfDay, day_digits, month_named, month_number,
    parse_numeric_date, parse_time_value, time_value, year_digits,
};

/// From the year -9999 to the year 9999, in seconds since 1970: what a time may be.
const YEARS: std::ops::RangeInclusive<i64> = -377_705_116_800..=253_402_300_799;

/// A time that is one, and says no more than its precision.
pub fn check(modified: Modified) {
    assert!(YEARS.contains(&modified.seconds) && modified.nanos < 1_000_000_000, "{modified:?}");
    assert!(modified.precision == Precision::Second || modified.nanos == 0, "{modified:?}");
}

/// Every form of a time is read or refused; time values read back as printed.
pub fn times(data: &[u8]) {
    if let Some(modified) = parse_time_value(data) {
        check(modified);
        assert_eq!(modified.precision, Precision::Second);
        if let Some(text) = time_value(modified) {
            assert_eq!(parse_time_value(text.as_bytes()), Some(Modified { nanos: 0, ..modified }));
        }
    }
    let month = month_number(data).or_else(|| month_named(data));
    assert!(month.is_none_or(|month| (1..=12).contains(&month)));
    assert!(data.starts_with(day_digits(data)) && data.starts_with(year_digits(data)));
    // A date and a time of day, as columns of a listing.
    let mut fields = data.splitn(3, |&byte| byte == b' ');
    let (date, time) = (fields.next().and_then(parse_numeric_date), fields.next().and_then(TimeOfDay::parse));
    if let Some((year, month, day)) = date {
        assert!((0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day));
    }
    let zones = [ListZone::UTC, ListZone::Fixed(-14 * 3600), ListZone::Fixed(14 * 3600)];
    for (zone, now) in
        zones.into_iter().flat_map(|zone| [0, 1_710_006_301, i64::MAX].map(|now| (zone.clone(), now)))
    {
        let context = ListContext { now, zone };
        if let Some((year, month, day)) = date {
            context.at(year, month, day, time).into_iter().for_each(check);
            if let Some(time) = time {
                context.at_latest(month, day, time).into_iter().for_each(check);
                context.at_offset(year, month, day, time, 14 * 3600).into_iter().for_each(check);
            }
        }
    }
}
