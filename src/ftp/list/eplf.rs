//! EPLF, the easily parsed list format of anonftpd and publicfile (cr.yp.to/ftp/list/eplf.html).
//!
//! ```text
//! +i77.1201,m1709999999,s512,r,up640,<TAB>plan.txt
//! facts, each followed by a comma     TAB  name to the end of the line
//! ```

use super::fields::decimal;
use super::{EntryKind, Line, Parsed};
use crate::ftp::time::{ListContext, Modified, Precision};

pub(super) fn parse<'a>(line: &'a [u8], _: &ListContext) -> Line<'a> {
    parse_entry(line).map_or(Line::Unknown, Line::Entry)
}

fn parse_entry(line: &[u8]) -> Option<Parsed<'_>> {
    let facts = line.strip_prefix(b"+")?;
    let tab = memchr::memchr(b'\t', facts)?;
    let (facts, name) = (&facts[..tab], &facts[tab + 1..]);
    // What can neither be retrieved nor entered.
    let mut parsed = Parsed::new(name, EntryKind::Special);
    for fact in facts.split(|&b| b == b',') {
        match fact {
            b"/" => parsed.kind = EntryKind::Directory,
            b"r" if parsed.kind != EntryKind::Directory => parsed.kind = EntryKind::File,
            [b's', size @ ..] => parsed.size = decimal(size),
            [b'm', seconds @ ..] => {
                let seconds = decimal(seconds).and_then(|seconds| i64::try_from(seconds).ok());
                parsed.modified =
                    seconds.map(|seconds| Modified { seconds, nanos: 0, precision: Precision::Second });
            }
            [b'u', b'p', octal @ ..] => {
                let octal = std::str::from_utf8(octal).ok()?;
                parsed.mode = u16::from_str_radix(octal, 8).ok().filter(|mode| *mode <= 0o7777);
            }
            [b'i', unique @ ..] => parsed.unique = (!unique.is_empty()).then_some(unique),
            // Facts that are not known yet are to be ignored.
            _ => {}
        }
    }
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::ListZone;

    const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::Fixed(3600) };

    #[test]
    fn facts_in_any_order() {
        let at = |seconds| Some(Modified { seconds, nanos: 0, precision: Precision::Second });
        for (line, expected) in [
            (
                "+i77.1201,m1709999999,s512,r,up640,\tplan.txt",
                Parsed {
                    size: Some(512),
                    modified: at(1_709_999_999),
                    mode: Some(0o640),
                    unique: Some(b"77.1201"),
                    ..Parsed::new(b"plan.txt", EntryKind::File)
                },
            ),
            ("+m0,/,\t\tbox ", Parsed { modified: at(0), ..Parsed::new(b"\tbox ", EntryKind::Directory) }),
            ("+r,/,i,s,mx,\ta, b", Parsed::new(b"a, b", EntryKind::Directory)),
            ("+\tlocked", Parsed::new(b"locked", EntryKind::Special)),
            ("+r,zwhat,\t+r,\tb", Parsed::new(b"+r,\tb", EntryKind::File)),
        ] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Entry(expected), "{line}");
        }
        for line in ["", "+", "+r,s5", "r,\tx", " +r,\tx"] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
