//! Month names in the languages that `ls` speaks, in UTF-8 and in the charsets that were usual before it.
//!
//! The bytes of every name are made once, by encoding_rs. What would mean two months, in two languages or two
//! charsets, means none: a guess could be silently wrong.

use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, IBM866, ISO_8859_2, ISO_8859_5, KOI8_R, MACINTOSH, SHIFT_JIS,
    WINDOWS_1250, WINDOWS_1251, WINDOWS_1252,
};

const WESTERN: &[&Encoding] = &[WINDOWS_1252, MACINTOSH];
const CENTRAL: &[&Encoding] = &[ISO_8859_2, WINDOWS_1250];
const RUSSIAN: &[&Encoding] = &[KOI8_R, WINDOWS_1251, ISO_8859_5, IBM866];
const EASTERN: &[&Encoding] = &[SHIFT_JIS, EUC_JP, GB18030, BIG5, EUC_KR];

/// By language: its charsets and the names of its months, January first, in lower case.
const LANGUAGES: [(&[&Encoding], [&str; 12]); 10] = [
    // German, Austrian
    (
        WESTERN,
        [
            "jan januar jän jänner",
            "feb februar",
            "mär märz mrz maerz",
            "apr april",
            "mai",
            "jun juni",
            "jul juli",
            "aug august",
            "sep sept september",
            "okt oktober",
            "nov november",
            "dez dezember",
        ],
    ),
    // French
    (
        WESTERN,
        [
            "janv janvier",
            "fév févr février fev fevr",
            "mars",
            "avr avril",
            "mai",
            "juin",
            "juil juillet",
            "aoû août aout",
            "sept septembre",
            "oct octobre",
            "nov novembre",
            "déc décembre dec",
        ],
    ),
    // Spanish
    (
        WESTERN,
        [
            "ene enero",
            "feb febrero",
            "mar marzo",
            "abr abril",
            "may mayo",
            "jun junio",
            "jul julio",
            "ago agosto",
            "sep sept septiembre",
            "oct octubre",
            "nov noviembre",
            "dic diciembre",
        ],
    ),
    // Italian
    (
        WESTERN,
        [
            "gen gennaio",
            "feb febbraio",
            "mar marzo",
            "apr aprile",
            "mag maggio",
            "giu giugno",
            "lug luglio",
            "ago agosto",
            "set settembre",
            "ott ottobre",
            "nov novembre",
            "dic dicembre",
        ],
    ),
    // Polish
    (
        CENTRAL,
        [
            "sty stycznia",
            "lut lutego",
            "mar marca",
            "kwi kwietnia",
            "maj maja",
            "cze czerwca",
            "lip lipca",
            "sie sierpnia",
            "wrz września",
            "paź października",
            "lis listopada",
            "gru grudnia",
        ],
    ),
    // Hungarian
    (
        CENTRAL,
        [
            "jan január",
            "feb febr február",
            "márc március",
            "ápr április",
            "máj május",
            "jún június",
            "júl július",
            "aug augusztus",
            "szept szeptember",
            "okt október",
            "nov november",
            "dec december",
        ],
    ),
    // Czech
    (
        CENTRAL,
        [
            "led ledna",
            "úno února",
            "bře března",
            "dub dubna",
            "kvě května",
            "čen června",
            "čec července",
            "srp srpna",
            "zář září",
            "říj října",
            "lis listopadu",
            "pro prosince",
        ],
    ),
    // Russian
    (
        RUSSIAN,
        [
            "янв января",
            "фев февр февраля",
            "мар марта",
            "апр апреля",
            "мая май",
            "июн июня",
            "июл июля",
            "авг августа",
            "сен сент сентября",
            "окт октября",
            "ноя нояб ноября",
            "дек декабря",
        ],
    ),
    // Japanese, Chinese
    (
        EASTERN,
        [
            "1月 01月 一月",
            "2月 02月 二月",
            "3月 03月 三月",
            "4月 04月 四月",
            "5月 05月 五月",
            "6月 06月 六月",
            "7月 07月 七月",
            "8月 08月 八月",
            "9月 09月 九月",
            "10月 十月",
            "11月 十一月",
            "12月 十二月",
        ],
    ),
    // Korean
    (
        &[EUC_KR],
        [
            "1월 01월",
            "2월 02월",
            "3월 03월",
            "4월 04월",
            "5월 05월",
            "6월 06월",
            "7월 07월",
            "8월 08월",
            "9월 09월",
            "10월",
            "11월",
            "12월",
        ],
    ),
];

/// What stands behind the number of a day, and of a year, in Japanese, Chinese and Korean.
const DAY_MARKS: &str = "日 일";
const YEAR_MARKS: &str = "年 년";

/// By name; `None` for one that would mean two months.
static MONTHS: LazyLock<HashMap<Vec<u8>, Option<i8>>> = LazyLock::new(|| {
    let mut months: HashMap<Vec<u8>, Option<i8>> = HashMap::new();
    for (charsets, names) in LANGUAGES {
        for (month, names) in (1..).zip(names) {
            for bytes in names.split(' ').flat_map(cases).flat_map(|name| spellings(&name, charsets)) {
                let known = months.entry(bytes).or_insert(Some(month));
                *known = known.filter(|&other| other == month);
            }
        }
    }
    months
});

static MARKS: LazyLock<[Vec<Vec<u8>>; 2]> = LazyLock::new(|| {
    [DAY_MARKS, YEAR_MARKS]
        .map(|marks| marks.split(' ').flat_map(|mark| spellings(mark, EASTERN)).collect::<Vec<_>>())
});

/// The number of a month by its name in any of the languages; a comma or point behind it does not matter.
pub fn month_named(name: &[u8]) -> Option<i8> {
    *MONTHS.get(without_point(name))?
}

/// The digits of a day of the month: `9`, `09`, `9.`, `9,` or with the eastern mark for a day.
pub fn day_digits(field: &[u8]) -> &[u8] {
    without_mark(without_point(field), &MARKS[0])
}

/// The digits of a year: `2024`, or with the eastern mark for a year.
pub fn year_digits(field: &[u8]) -> &[u8] {
    without_mark(field, &MARKS[1])
}

fn without_point(field: &[u8]) -> &[u8] {
    field.strip_suffix(b",").or_else(|| field.strip_suffix(b".")).unwrap_or(field)
}

fn without_mark<'a>(field: &'a [u8], marks: &[Vec<u8>]) -> &'a [u8] {
    // Every mark has a byte beyond ASCII, and few fields do.
    if field.is_ascii() || !field[0].is_ascii_digit() {
        return field;
    }
    marks.iter().find_map(|mark| field.strip_suffix(&mark[..])).unwrap_or(field)
}

/// `mai`, `Mai` and `MAI`.
fn cases(name: &str) -> [String; 3] {
    let first = name.chars().next().map_or(0, char::len_utf8);
    [name.to_owned(), name[..first].to_uppercase() + &name[first..], name.to_uppercase()]
}

/// The bytes in UTF-8 and in each charset that has all the letters.
fn spellings(text: &str, charsets: &[&'static Encoding]) -> Vec<Vec<u8>> {
    let encoded = charsets.iter().filter_map(|charset| {
        let (bytes, _, unmappable) = charset.encode(text);
        (!unmappable).then(|| bytes.into_owned())
    });
    std::iter::once(text.as_bytes().to_vec()).chain(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_in_every_language_and_charset() {
        for (name, month) in [
            (&b"Juli,"[..], 7),
            (b"M\xe4r", 3),
            (b"M\x8arz", 3),
            ("März".as_bytes(), 3),
            ("mär".as_bytes(), 3),
            ("MÄR".as_bytes(), 3),
            ("janv.".as_bytes(), 1),
            (b"ao\xfbt", 8),
            ("déc.".as_bytes(), 12),
            (b"ene", 1),
            (b"giu", 6),
            ("paź".as_bytes(), 10),
            (b"pa\xbc", 10),
            (b"pa\x9f", 10),
            ("szept.".as_bytes(), 9),
            ("říj".as_bytes(), 10),
            (b"\xf8\xedj", 10),
            ("июл".as_bytes(), 7),
            (b"\xc9\xc0\xcc", 7),
            (b"\xe8\xfe\xeb", 7),
            (b"\xd8\xee\xdb", 7),
            (b"\xa8\xee\xab", 7),
            ("3月".as_bytes(), 3),
            (b"3\x8c\x8e", 3),
            (b"3\xb7\xee", 3),
            (b"3\xd4\xc2", 3),
            (b"3\xa4\xeb", 3),
            ("12월".as_bytes(), 12),
            (b"12\xbf\xf9", 12),
        ] {
            assert_eq!(month_named(name), Some(month), "{}", name.escape_ascii());
        }
        for name in [&b""[..], b"lena", b"13\xbf\xf9", b".", b"\xff"] {
            assert_eq!(month_named(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn every_month_of_every_language_has_a_name_of_its_own() {
        for (_, names) in LANGUAGES {
            for (month, names) in (1..).zip(names) {
                assert!(
                    names.split(' ').any(|name| month_named(name.as_bytes()) == Some(month)),
                    "{names} of month {month}"
                );
            }
        }
    }

    #[test]
    fn marks_behind_days_and_years() {
        for (field, digits) in [
            (&b"9"[..], &b"9"[..]),
            (b"26.", b"26"),
            (b"9,", b"9"),
            ("9日".as_bytes(), b"9"),
            (b"9\x93\xfa", b"9"),
            (b"9\xc0\xcf", b"9"),
            (b"9x", b"9x"),
        ] {
            assert_eq!(day_digits(field), digits, "{}", field.escape_ascii());
        }
        assert_eq!(year_digits("2024年".as_bytes()), b"2024");
        assert_eq!(year_digits(b"2024\x94\x4e"), b"2024");
        assert_eq!(year_digits(b"2024."), b"2024.");
    }
}
