//! EPLF, the easily parsed list format of anonftpd and publicfile (cr.yp.to/ftp/list/eplf.html).
//!
//! ```text
//! +i77.1201,m1709999999,s512,r,up640,<TAB>plan.txt
//! facts, each followed by a comma     TAB  name to the end of the line
//! ```

use super::fields::decimal;
use super::{EntryKind, Line, MAX_UNIQUE, Parsed};
use crate::ftp::time::{ListContext, since_1970};

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
            [b'm', seconds @ ..] => parsed.modified = decimal(seconds).and_then(since_1970),
            [b'u', b'p', octal @ ..] => {
                let octal = std::str::from_utf8(octal).ok()?;
                parsed.mode = u16::from_str_radix(octal, 8).ok().filter(|mode| *mode <= 0o7777);
            }
            [b'i', unique @ ..] => {
                parsed.unique = (1..=MAX_UNIQUE).contains(&unique.len()).then_some(unique);
            }
            // Facts that are not known yet are to be ignored.
            _ => {}
        }
    }
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::{ListZone, Modified, Precision};

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
        let long = format!("+i{},r,m253402300800,\tx", "u".repeat(65));
        assert_eq!(parse(long.as_bytes(), &CONTEXT), Line::Entry(Parsed::new(b"x", EntryKind::File)));
        for line in ["", "+", "+r,s5", "r,\tx", " +r,\tx"] {
            assert_eq!(parse(line.as_bytes(), &CONTEXT), Line::Unknown, "{line}");
        }
    }
}
