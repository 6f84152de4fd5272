use proptest::prelude::*;

use super::*;

/// One of each kind: UTF-8, single bytes with and without gaps, private characters of its own, and all that
/// have sequences of two to four bytes.
const LABELS: [&str; 14] = [
    "utf-8",
    "koi8-r",
    "windows-1252",
    "windows-1253",
    "iso-8859-8",
    "ibm866",
    "macintosh",
    "x-user-defined",
    "shift_jis",
    "euc-jp",
    "gbk",
    "gb18030",
    "big5",
    "euc-kr",
];

fn charset(label: &str) -> Charset {
    Charset::named(label.as_bytes()).unwrap_or_else(|error| panic!("{label}: {error}"))
}

fn shown(label: &str, name: &[u8]) -> String {
    String::from_utf8(charset(label).shown(name).into_owned()).unwrap()
}

fn on_server(label: &str, name: &str) -> Option<Vec<u8>> {
    charset(label).on_server(name.as_bytes()).ok().map(Cow::into_owned)
}

#[test]
fn labels_are_those_of_the_web_and_stateful_charsets_are_refused() {
    assert_eq!(charset(" KOI8-R "), charset("koi8_r"));
    assert_eq!((charset("sjis"), charset("cp1251")), (charset("shift_jis"), charset("windows-1251")));
    for label in ["iso-2022-jp", "utf-16le", "utf-16", "iso-2022-kr", "hz-gb-2312"] {
        assert_eq!(Charset::named(label.as_bytes()), Err(CharsetError::NotAscii), "{label}");
    }
    for label in [&b"klingon"[..], b"", b"utf-7", b"\xff"] {
        assert_eq!(Charset::named(label), Err(CharsetError::Unknown), "{label:?}");
    }
}

#[test]
fn only_utf_8_and_plain_bytes_let_the_server_speak_utf_8() {
    assert!(Charset::default().allows_utf8() && charset("utf8").allows_utf8());
    assert!(!charset("koi8-r").allows_utf8() && !charset("windows-1252").allows_utf8());
}

#[test]
fn without_a_charset_bytes_stay_as_they_are() {
    let plain = Charset::default();
    for name in [&b"plain"[..], b"\xff\xfe", "ö\u{f7e9}".as_bytes(), b""] {
        assert_eq!(&*plain.shown(name), name);
        assert_eq!(plain.on_server(name).as_deref(), Ok(name));
    }
    assert_eq!((plain.longest_shown(), charset("gbk").longest_shown()), (255, 765));
}

#[test]
fn names_are_shown_as_the_charset_means_them() {
    for (label, bytes, text) in [
        ("koi8-r", &b"\xef\xd4\xde\xa3\xd4.txt"[..], "Отчёт.txt"),
        ("koi8-r", b"\xff", "Ъ"),
        // The second byte of these three is a backslash.
        ("shift_jis", b"\x95\x5c\x83\x5c\x8f\x5c.txt", "表ソ十.txt"),
        ("shift_jis", b"\xb1\xb2", "ｱｲ"),
        ("shift_jis", b"a\\b~", "a\\b~"),
        ("windows-1252", b"caf\xe9 \x80", "café €"),
        ("gbk", b"\xd6\xd0\xce\xc4", "中文"),
        ("gb18030", b"\x81\x30\x84\x36", "\u{a5}"),
        ("euc-kr", b"\xc7\xd1", "한"),
        ("utf-8", "한".as_bytes(), "한"),
    ] {
        assert_eq!(shown(label, bytes), text, "{label}");
        assert_eq!(on_server(label, text).as_deref(), Some(bytes), "{label}");
    }
}

#[test]
fn what_a_charset_cannot_express_is_shown_byte_by_byte() {
    for (label, bytes, text) in [
        ("utf-8", &b"caf\xe9"[..], "caf\u{f7e9}"),
        // A byte order mark is a part of the name.
        ("utf-8", b"\xef\xbb\xbfx", "\u{feff}x"),
        // What is private itself cannot be told from the bytes that it would show.
        ("utf-8", "\u{f7e9}".as_bytes(), "\u{f7ef}\u{f79f}\u{f7a9}"),
        ("x-user-defined", b"\xe9", "\u{f7e9}"),
        ("windows-1253", b"\xaa\xe1", "\u{f7aa}α"),
        // A lead byte without its second, one with a wrong second, and one at the end.
        ("shift_jis", b"\x81 \x83\x5c\x95", "\u{f781} ソ\u{f795}"),
        // NEC's place for a character that is written in IBM's: its two bytes stay together.
        ("shift_jis", b"\xed\x40\x95\x5c", "\u{f7ed}@表"),
        // Two characters for one sequence.
        ("big5", b"\x88\x62", "\u{f788}b"),
        // JIS X 0212 can be read and not written.
        ("euc-jp", b"\x8f\xb0\xa1\xa4\xa2", "\u{f78f}\u{f7b0}\u{f7a1}あ"),
    ] {
        assert_eq!(shown(label, bytes), text, "{label}");
        assert_eq!(on_server(label, text).as_deref(), Some(bytes), "{label}");
    }
}

#[test]
fn what_would_get_another_name_is_refused() {
    for (label, text) in [
        ("koi8-r", "中"),
        ("koi8-r", "é"),
        // The Encoding standard writes these as a backslash, a tilde and a full-width hyphen.
        ("shift_jis", "¥"),
        ("shift_jis", "\u{203e}"),
        ("shift_jis", "\u{2212}"),
        // Private characters for bytes that mean something.
        ("koi8-r", "\u{f7ff}"),
        ("shift_jis", "\u{f795}\\"),
        ("utf-8", "\u{f7c3}\u{f7a9}"),
        // Below 0x80 there are none.
        ("koi8-r", "\u{f72f}"),
        ("koi8-r", "\u{f70a}"),
    ] {
        assert_eq!(on_server(label, text), None, "{label} {text}");
    }
    assert_eq!(charset("koi8-r").on_server(b"\xff"), Err(Inexpressible));
    assert_eq!(charset("utf-8").on_server(b"\xff"), Err(Inexpressible));
}

#[test]
fn paths_are_translated_name_by_name() {
    let koi8 = charset("koi8-r");
    let (bytes, text) = (&b"/\xc1/../\xff"[..], "/а/../Ъ".as_bytes());
    assert_eq!(koi8.shown_path(bytes), text);
    assert_eq!(koi8.path_on_server(text).as_deref(), Ok(bytes));
    assert_eq!((koi8.shown_path(b""), koi8.path_on_server(b"/")), (vec![], Ok(b"/".to_vec())));
    assert_eq!(koi8.path_on_server("а/中".as_bytes()), Err(Inexpressible));
}

#[test]
fn every_single_byte_and_every_pair_comes_back() {
    for label in LABELS {
        let charset = charset(label);
        let single = (0..=u8::MAX).map(|byte| vec![byte]);
        // ASCII does not begin a longer sequence.
        for name in single.chain((0x8000..=u16::MAX).map(|pair| pair.to_be_bytes().to_vec())) {
            let shown = charset.shown(&name);
            assert_eq!(charset.on_server(&shown).as_deref(), Ok(&name[..]), "{label} {name:x?}");
        }
    }
}

/// Bytes as a server has them in names.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no server has it", |byte| !b"/\0\r\n".contains(byte));
    proptest::collection::vec(byte, 0..=NAME_MAX)
}

proptest! {
    #[test]
    fn every_name_comes_back_and_fits(name in name(), label in proptest::sample::select(&LABELS[..])) {
        let charset = charset(label);
        let shown = charset.shown(&name);
        prop_assert!(std::str::from_utf8(&shown).is_ok());
        prop_assert!(!shown.iter().any(|byte| b"/\0\r\n".contains(byte)));
        prop_assert!(shown.len() <= charset.longest_shown());
        let back = charset.on_server(&shown).map(Cow::into_owned);
        prop_assert_eq!(back.as_deref(), Ok(&name[..]));
    }

    #[test]
    fn two_names_never_look_alike(
        one in name(),
        other in name(),
        label in proptest::sample::select(&LABELS[..]),
    ) {
        let charset = charset(label);
        prop_assert_eq!(one == other, charset.shown(&one) == charset.shown(&other));
    }

    #[test]
    fn what_is_taken_shows_up_under_its_name(
        text in "[ -~\u{a0}-\u{ff}а-я一-丠\u{f770}-\u{f810}\u{2212}\u{203e}]{0,8}",
        label in proptest::sample::select(&LABELS[..]),
    ) {
        let charset = charset(label);
        if let Ok(bytes) = charset.on_server(text.as_bytes()) {
            prop_assert_eq!(&*charset.shown(&bytes), text.as_bytes());
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(name: Vec<u8>, label in proptest::sample::select(&LABELS[..])) {
        let charset = charset(label);
        if let Ok(bytes) = charset.on_server(&name) {
            prop_assert_eq!(&*charset.shown(&bytes), &name[..]);
        }
    }
}
