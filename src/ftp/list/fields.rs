//! What the line formats share: blank-separated fields and the ways to print a size.

/// Most fields of a line that are looked at; what follows can only be part of the name. An owner and a group
/// with several blanks each fit.
const MAX_FIELDS: usize = 16;

/// The first fields of a line: where they begin and end. No allocation, one pass over the start of the line.
pub(super) struct Fields<'a> {
    text: &'a [u8],
    spans: [(usize, usize); MAX_FIELDS],
    len: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn split(text: &'a [u8]) -> Fields<'a> {
        let mut fields = Fields { text, spans: [(0, 0); MAX_FIELDS], len: 0 };
        let mut at = 0;
        while fields.len < MAX_FIELDS {
            let Some(start) = text[at..].iter().position(|b| !is_blank(*b)) else { break };
            let start = at + start;
            let end = text[start..].iter().position(|b| is_blank(*b)).map_or(text.len(), |len| start + len);
            fields.spans[fields.len] = (start, end);
            fields.len += 1;
            at = end;
        }
        fields
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = *self.spans[..self.len].get(index)?;
        Some(&self.text[start..end])
    }

    /// Where the field begins in the text.
    pub(super) fn start(&self, index: usize) -> Option<usize> {
        self.spans[..self.len].get(index).map(|span| span.0)
    }

    /// Where the field ends in the text.
    pub(super) fn end(&self, index: usize) -> Option<usize> {
        self.spans[..self.len].get(index).map(|span| span.1)
    }

    /// Whether anything follows the field and one blank.
    pub(super) fn has_name_after(&self, index: usize) -> bool {
        self.end(index).is_some_and(|end| end + 1 < self.text.len())
    }
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the blanks behind it; a name may well end with another control character.
pub(super) fn trim_blanks_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| !is_blank(byte)).map_or(0, |last| last + 1);
    &text[..end]
}

/// A plain decimal number; `None` too where it does not fit.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// A size as printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Exact(u64),
    /// Rounded to a unit, or more than 64 bits hold.
    Untold,
}

impl Size {
    /// A whole field: digits, digits with thousands marks, or a number with a unit (`33.5k`, `4M`).
    pub(super) fn parse(field: &[u8]) -> Option<Size> {
        if field.iter().all(u8::is_ascii_digit) && !field.is_empty() {
            return Some(decimal(field).map_or(Size::Untold, Size::Exact));
        }
        Size::grouped(field).or_else(|| is_rounded(field).then_some(Size::Untold))
    }

    /// `9,730`, `9.730` or `9'730`: groups of three digits behind the first.
    fn grouped(field: &[u8]) -> Option<Size> {
        let mark = *field.iter().find(|b| !b.is_ascii_digit())?;
        if !matches!(mark, b',' | b'.' | b'\'') {
            return None;
        }
        let mut groups = field.split(|&b| b == mark);
        let first = groups.next()?;
        if !(1..=3).contains(&first.len()) {
            return None;
        }
        let mut sum = decimal(first)?;
        for group in groups {
            if group.len() != 3 {
                return None;
            }
            let Some(next) = sum.checked_mul(1000).and_then(|s| s.checked_add(decimal(group)?)) else {
                return group.iter().all(u8::is_ascii_digit).then_some(Size::Untold);
            };
            sum = next;
        }
        Some(Size::Exact(sum))
    }

    /// A size that runs into the end of a long group name: the digits at the field's end.
    pub(super) fn glued(field: &[u8]) -> Option<Size> {
        let digits = field.iter().rposition(|b| !b.is_ascii_digit())? + 1;
        let is_marked = matches!(field[digits - 1], b',' | b'.' | b'\'' | b':' | b'-' | b'+' | b'/');
        if digits == field.len() || is_marked {
            return None;
        }
        Some(decimal(&field[digits..]).map_or(Size::Untold, Size::Exact))
    }

    pub(super) fn exact(self) -> Option<u64> {
        match self {
            Size::Exact(size) => Some(size),
            Size::Untold => None,
        }
    }
}

/// `33.5k`, `1,2G`, `4M`, `512KB`, `3MiB`.
fn is_rounded(field: &[u8]) -> bool {
    let number = field.iter().position(|b| !(b.is_ascii_digit() || matches!(b, b'.' | b','))).unwrap_or(0);
    let (number, unit) = field.split_at(number);
    let [letter, rest @ ..] = unit else { return false };
    let mut parts = number.split(|b| matches!(b, b'.' | b','));
    let whole = parts.next().is_some_and(|part| !part.is_empty());
    let fraction = parts.next().is_none_or(|part| !part.is_empty());
    let one_point = parts.next().is_none();
    whole
        && fraction
        && one_point
        && b"KMGTPE".contains(&letter.to_ascii_uppercase())
        && (rest.is_empty() || rest.eq_ignore_ascii_case(b"B") || rest.eq_ignore_ascii_case(b"iB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (field, expected) in [
            ("0", Some(Size::Exact(0))),
            ("6561177600", Some(Size::Exact(6_561_177_600))),
            ("18446744073709551615", Some(Size::Exact(u64::MAX))),
            ("18446744073709551616", Some(Size::Untold)),
            ("9,730", Some(Size::Exact(9_730))),
            ("1.234.567", Some(Size::Exact(1_234_567))),
            ("99,999,999,999,999,999,999", Some(Size::Untold)),
            ("33.5k", Some(Size::Untold)),
            ("1,2G", Some(Size::Untold)),
            ("4M", Some(Size::Untold)),
            ("512KiB", Some(Size::Untold)),
            ("", None),
            ("33.5", None),
            ("9,73", None),
            ("1,234.567", None),
            (".5k", None),
            ("k", None),
            ("5kk", None),
            ("-5", None),
            ("lena", None),
        ] {
            assert_eq!(Size::parse(field.as_bytes()), expected, "{field}");
        }
    }

    #[test]
    fn a_size_at_the_end_of_a_group_name() {
        assert_eq!(Size::glued(b"longgroupnam6561177600"), Some(Size::Exact(6_561_177_600)));
        for field in ["lena", "77", "9,73", "07:41", ""] {
            assert_eq!(Size::glued(field.as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        let long = b"a ".repeat(10_000);
        assert_eq!(Fields::split(&long).len(), MAX_FIELDS);
        let fields = Fields::split(b" a \t bc");
        assert_eq!((fields.get(0), fields.get(1), fields.get(2)), (Some(&b"a"[..]), Some(&b"bc"[..]), None));
        assert_eq!((fields.start(1), fields.end(1)), (Some(5), Some(7)));
    }
}
