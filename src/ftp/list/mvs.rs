//! MVS (z/OS): data sets, and the members of partitioned ones.
//!
//! ```text
//! Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname
//! VOL123 3390   2024/03/09  1   15  FB      80 27920  PS   LENA.DATA
//! Migrated                                                 LENA.OLD
//! VOL124 Tape                                              LENA.TAPE
//!
//!  Name     VV.MM   Created       Changed      Size  Init   Mod   Id
//! MEMB1     01.02 2024/03/01 2024/03/09 17:45    10    10     0 LENA
//! MEMB2
//! ```
//!
//! Sizes are in tracks or records, so the size in bytes is not told. The heading tells what follows: a member
//! without statistics is a bare name, which nothing else could tell from garbage.

use super::fields::Fields;
use super::{Dialect, EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, TimeOfDay, parse_numeric_date};

/// Longest name of a data set.
const DATA_SET_NAME: usize = 44;

/// A data set's line, or a heading.
pub(super) fn parse<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let fields = Fields::split(line);
    match (fields.get(0), fields.get(1)) {
        (Some(b"Volume"), Some(b"Unit")) => return Line::Heading(Dialect::Mvs),
        (Some(b"Name"), Some(b"VV.MM" | b"Size")) => return Line::Heading(Dialect::MvsMembers),
        _ => {}
    }
    data_set(&fields, context).map_or(Line::Unknown, Line::Entry)
}

fn data_set<'a>(fields: &Fields<'a>, context: &ListContext) -> Option<Parsed<'a>> {
    let name = fields.get(fields.len().checked_sub(1)?).filter(|name| is_data_set(name))?;
    let file = Parsed::new(name, EntryKind::File);
    let first = fields.get(0)?;
    match fields.len() {
        2 if first.eq_ignore_ascii_case(b"Migrated") || first == b"ARCIVE" || first == b"MIGRAT" => {
            return Some(file);
        }
        3 if first == b"Pseudo" && fields.get(1)? == b"Directory" => {
            return Some(Parsed::new(name, EntryKind::Directory));
        }
        3 if fields.get(1)?.eq_ignore_ascii_case(b"Tape") && is_name(first) => return Some(file),
        // A VSAM cluster or path has no space of its own, and is not transferred.
        2..=6 if fields.get(fields.len() - 2)? == b"VSAM" => {
            return Some(Parsed::new(name, EntryKind::Special));
        }
        _ => {}
    }
    // Volume, unit, referred, extents, used, format, record length, block size, organization, name; columns
    // that run into each other may leave one less.
    let organization = fields.get(fields.len().checked_sub(2)?)?;
    if !(8..=10).contains(&fields.len()) || !is_name(first) {
        return None;
    }
    let referred = fields.get(2)?;
    let modified = match referred {
        b"**NONE**" => None,
        date => {
            let (year, month, day) = parse_numeric_date(date)?;
            context.at(year, month, day, None)
        }
    };
    let kind = match organization {
        b"PO" | b"PO-E" | b"POU" => EntryKind::Directory,
        b"PS" | b"PS-E" | b"PSU" | b"DA" | b"DAU" | b"IS" => EntryKind::File,
        b"VSAM" | b"VS" | b"GDG" | b"??" => EntryKind::Special,
        _ => return None,
    };
    Some(Parsed { kind, modified, ..file })
}

/// A line behind the heading of members, with statistics, without, or of a load library.
pub(super) fn parse_member<'a>(line: &'a [u8], context: &ListContext) -> Line<'a> {
    let fields = Fields::split(line);
    let Some(name) = fields.get(0) else { return Line::Noise };
    if !is_name(name) || name.len() > 8 {
        return Line::Unknown;
    }
    let date = |at| fields.get(at).and_then(parse_numeric_date);
    let time = fields.get(4).and_then(TimeOfDay::parse);
    // Version, created, changed with its time.
    let modified = date(3)
        .filter(|_| date(2).is_some())
        .and_then(|(year, month, day)| context.at(year, month, day, time));
    Line::Entry(Parsed { modified, ..Parsed::new(name, EntryKind::File) })
}

/// Qualifiers of up to eight characters, joined by points.
fn is_data_set(name: &[u8]) -> bool {
    name.len() <= DATA_SET_NAME && name.split(|&b| b == b'.').all(|part| part.len() <= 8 && is_name(part))
}

fn is_name(name: &[u8]) -> bool {
    let is_letter = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'#' | b'@' | b'$');
    name.first().is_some_and(is_letter)
        && name.iter().all(|b| is_letter(b) || b.is_ascii_digit() || matches!(b, b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

    #[test]
    fn data_sets() {
        let day = Some(1_709_942_400);
        for (line, name, kind, seconds) in [
            (
                "VOL123 3390   2024/03/09  1   15  FB      80 27920  PS  LENA.DATA",
                "LENA.DATA",
                EntryKind::File,
                day,
            ),
            (
                "VOL123 3390   2024/03/09  1   15  FB      80 27920  PO  LENA.SRC",
                "LENA.SRC",
                EntryKind::Directory,
                day,
            ),
            (
                "VOL123 3390   2024/03/09  1 ????  U        0 27998  PO-E LENA.LOAD",
                "LENA.LOAD",
                EntryKind::Directory,
                day,
            ),
            (
                "VOL123 3390   2024/03/09  1 ++++  FB      80 27920  PS  LENA.BIG",
                "LENA.BIG",
                EntryKind::File,
                day,
            ),
            (
                "VOL123 3390   **NONE**    1   15  FB      80 27920  PS  LENA.NEW",
                "LENA.NEW",
                EntryKind::File,
                None,
            ),
            ("Migrated                                          LENA.OLD", "LENA.OLD", EntryKind::File, None),
            (
                "VOL124 Tape                                       LENA.TAPE",
                "LENA.TAPE",
                EntryKind::File,
                None,
            ),
            ("Pseudo Directory                                  LENA", "LENA", EntryKind::Directory, None),
            ("VOL123 3390   VSAM LENA.CLUSTER", "LENA.CLUSTER", EntryKind::Special, None),
        ] {
            let Line::Entry(parsed) = parse(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!((parsed.name, parsed.kind, parsed.size), (name.as_bytes(), kind, None), "{line}");
            assert_eq!(parsed.modified.map(|m| m.seconds), seconds, "{line}");
        }
        for line in [
            "",
            "total 40",
            "Migrated",
            "Migrated lower.case",
            "VOL123 3390 2024/03/09 1 15 FB 80 27920 XX LENA.DATA",
            "VOL123 3390 yesterday 1 15 FB 80 27920 PS LENA.DATA",
            "-rw-r--r-- 1 lena staff 5 Feb  3 07:41 A.B",
            "ERROR IN A.B",
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }

    #[test]
    fn members() {
        for (line, name, seconds) in [
            (
                "MEMB1     01.02 2024/03/01 2024/03/09 17:45    10    10     0 LENA",
                "MEMB1",
                Some(1_710_006_300),
            ),
            ("MEMB2", "MEMB2", None),
            (" MEMB3   ", "MEMB3", None),
            ("LOADMOD   00019D78   00010F               00 FO             31    ANY", "LOADMOD", None),
        ] {
            let Line::Entry(parsed) = parse_member(line.as_bytes(), &CONTEXT) else { panic!("{line}") };
            assert_eq!(
                (parsed.name, parsed.kind, parsed.size),
                (name.as_bytes(), EntryKind::File, None),
                "{line}"
            );
            assert_eq!(parsed.modified.map(|m| m.seconds), seconds, "{line}");
        }
        for line in ["lower", "TOOLONGNAME", "1MEMB", "-rw-r--r-- 1 lena staff 5 Feb  3 07:41 A"] {
            assert_eq!(parse_member(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }

    #[test]
    fn headings() {
        for (line, dialect) in [
            ("Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname", Dialect::Mvs),
            (" Name     VV.MM   Created       Changed      Size  Init   Mod   Id", Dialect::MvsMembers),
            (
                " Name      Size     TTR   Alias-of AC--------- Attributes ---------Amode Rmode",
                Dialect::MvsMembers,
            ),
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Heading(dialect), "{line}");
        }
    }
}
