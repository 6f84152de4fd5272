//! The kinds of option values, from bytes to types. Errors say what is expected.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::ftp::time::ListZone;

/// Smallest block cache, in bytes: less could not hold one read-ahead window.
const CACHE_MIN: u64 = 1 << 20;

/// Largest block cache, in bytes.
const CACHE_MAX: u64 = 1 << 40;

/// The range of every timeout, in seconds.
pub(super) const BOUND: RangeInclusive<f64> = 1.0..=3600.0;

/// Longest time for which anything is believed, in seconds.
pub(super) const YEAR: f64 = 365.0 * 86_400.0;

pub(super) fn text(value: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(value) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err("a text without control characters is expected".into()),
    }
}

/// Shells leave `~` alone behind `credentials=`, so it would be looked for literally.
pub(super) fn path(value: &[u8]) -> Result<PathBuf, String> {
    if value.is_empty() || value.contains(&0) {
        return Err("a path is expected".into());
    }
    if value.starts_with(b"~") {
        return Err("~ is not expanded here; write the whole path".into());
    }
    Ok(PathBuf::from(OsStr::from_bytes(value)))
}

pub(super) fn choice<T: Copy>(value: &[u8], choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| name.as_bytes() == value).map(|&(_, choice)| choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("one of {} is expected", names.join(", "))
    })
}

pub(super) fn address(value: &[u8]) -> Result<IpAddr, String> {
    parsed(value).ok_or_else(|| "a numeric IPv4 or IPv6 address is expected".into())
}

/// `None` for `detect`.
pub(super) fn zone(value: &[u8]) -> Result<Option<ListZone>, String> {
    if value == b"detect" {
        return Ok(None);
    }
    let zone = std::str::from_utf8(value).ok().and_then(ListZone::parse);
    let expected = "detect, UTC, an offset such as +02:00 or a zone such as Europe/Berlin is expected";
    zone.map(Some).ok_or_else(|| expected.into())
}

pub(super) fn count(value: &[u8], range: RangeInclusive<usize>) -> Result<usize, String> {
    digits(value)
        .filter(|count| range.contains(count))
        .ok_or_else(|| format!("a number from {} to {} is expected", range.start(), range.end()))
}

pub(super) fn ports(value: &[u8]) -> Result<RangeInclusive<u16>, String> {
    let range = || {
        let separator = value.iter().position(|byte| matches!(byte, b'-' | b':'))?;
        let first: u16 = digits(&value[..separator])?;
        let last: u16 = digits(&value[separator + 1..])?;
        (1 <= first && first <= last).then_some(first..=last)
    };
    range().ok_or_else(|| "two ports are expected, the lower one first, such as 50000-50100".into())
}

pub(super) fn seconds(value: &[u8], range: RangeInclusive<f64>) -> Result<Duration, String> {
    let plain = value.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    parsed::<f64>(value)
        .filter(|seconds| plain && range.contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("seconds from {} to {} are expected", range.start(), range.end()))
}

pub(super) fn bytes(value: &[u8]) -> Result<u64, String> {
    let (number, shift) = match value.split_last() {
        Some((b'k' | b'K', number)) => (number, 10),
        Some((b'm' | b'M', number)) => (number, 20),
        Some((b'g' | b'G', number)) => (number, 30),
        _ => (value, 0),
    };
    digits::<u64>(number)
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|size| (CACHE_MIN..=CACHE_MAX).contains(size))
        .ok_or_else(|| "a size from 1M to 1024G is expected".into())
}

/// As [`bytes`], or 0.
pub(super) fn bytes_or_none(value: &[u8]) -> Result<u64, String> {
    if value == b"0" { Ok(0) } else { bytes(value).map_err(|expected| format!("0, or {expected}")) }
}

pub(super) fn mask(value: &[u8]) -> Result<u16, String> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| u16::from_str_radix(text, 8).ok())
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(|| "an octal number from 0 to 0777 is expected".into())
}

pub(super) fn owner(value: &[u8]) -> Result<u32, String> {
    let by_name = || uzers::get_user_by_name(OsStr::from_bytes(value)).map(|user| user.uid());
    id(value).or_else(|| name(value).then(by_name)?).ok_or_else(|| "no such user".into())
}

pub(super) fn member(value: &[u8]) -> Result<u32, String> {
    let by_name = || uzers::get_group_by_name(OsStr::from_bytes(value)).map(|group| group.gid());
    id(value).or_else(|| name(value).then(by_name)?).ok_or_else(|| "no such group".into())
}

/// The largest number is not an id but means "none" to chown(2) and the kernel.
fn id(value: &[u8]) -> Option<u32> {
    digits(value).filter(|&id| id != u32::MAX)
}

fn name(value: &[u8]) -> bool {
    !value.is_empty() && !value.contains(&0)
}

fn digits<T: FromStr>(value: &[u8]) -> Option<T> {
    // FromStr also takes a sign.
    parsed(value).filter(|_| value.iter().all(u8::is_ascii_digit))
}

fn parsed<T: FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
