//! What users write: URLs, options, netrc.

use std::ops::Range;

use ftpfs::cli::args;
use ftpfs::cli::netrc;
use ftpfs::cli::options::{self, Options, Unknown};
use ftpfs::cli::url::Url;
use ftpfs::secret::Secret;

use crate::{MARKER, chance, contains, within};

/// Room for what is parsed, several times.
fn memory(len: usize) -> usize {
    64 * len + (1 << 20)
}

/// A URL means the same after it was shown, and shows no password.
pub fn url(data: &[u8]) {
    if let Ok(url) = within(memory(data.len()), || Url::parse(data)) {
        check_url(&url);
        let shown = url.display();
        let again = Url::parse(shown.as_bytes());
        assert_eq!(again, Ok(Url { user: None, password: None, ..url.clone() }), "{shown}");
        if let Some(password) = url.password.as_ref().filter(|password| !password.expose().is_empty()) {
            check_wiped(data, password);
        }
    }
    if contains(data, MARKER) {
        return;
    }
    // The input as a password, in the middle of a URL and wherever a slip of the hand may put it.
    for (front, back) in
        [("ftp://lena:", "@h/pub"), ("ftp://", "@h"), ("ftp://:", "@h:21/a"), ("ftps://[::1]:", "/")]
    {
        let text = [front.as_bytes(), data, MARKER, back.as_bytes()].concat();
        match Url::parse(&text) {
            Err(error) => {
                assert!(!contains(format!("{error}{error:?}").as_bytes(), MARKER), "{error}");
            }
            Ok(url) if url.password.as_ref().is_some_and(|password| contains(password.expose(), MARKER)) => {
                let user = url.user.clone();
                let shown = format!("{}{:?}", url.display(), Url { user: None, ..url });
                // A colon may stand anywhere in a password; what is in front of an @ never shows.
                assert!(!contains(shown.as_bytes(), MARKER), "{shown} {user:?}");
            }
            Ok(_) => {}
        }
    }
}

fn check_url(url: &Url) {
    assert!(!url.host.is_empty() && url.host.is_ascii() && url.port != 0);
    assert!(!url.host.contains(['/', '@', ' ', '[', ']']) && !url.host.contains(char::is_control));
    let is_clean = |bytes: &[u8]| !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    assert!(url.user.as_ref().is_none_or(|user| !user.is_empty() && is_clean(user)));
    assert!(url.password.as_ref().is_none_or(|password| url.user.is_some() && is_clean(password.expose())));
    let path = &url.path.bytes;
    assert!(is_clean(path));
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    assert!(path.is_empty() || path.split(|&byte| byte == b'/').all(is_name));
}

/// What is wiped from the process's arguments takes the whole password along.
fn check_wiped(argument: &[u8], password: &Secret) {
    let wiped = wiped(argument, args::secrets(argument));
    let left = Url::parse(&wiped).ok().and_then(|url| url.password);
    let stars = left.as_ref().is_none_or(|left| left.expose().iter().all(|&byte| byte == b'*'));
    assert!(stars, "{} {:?}", wiped.escape_ascii(), password);
}

fn wiped(text: &[u8], parts: Vec<Range<usize>>) -> Vec<u8> {
    let mut text = text.to_vec();
    for part in parts {
        text[part].fill(b'*');
    }
    text
}

/// Options are within their ranges, and neither messages nor what is left of the arguments show a password.
pub fn options(data: &[u8]) {
    for unknown in [Unknown::Refuse, Unknown::Ignore] {
        if let Ok(options) = within(memory(data.len()), || Options::parse([data], unknown)) {
            check_options(&options);
        }
    }
    check_secrets(data);
    if let Ok(Some(password)) = Options::parse([data], Unknown::Ignore).map(|options| options.password) {
        let wiped = wiped(data, options::secrets(data));
        let left = Options::parse([&wiped[..]], Unknown::Ignore).ok().and_then(|options| options.password);
        let is_gone = left.is_none_or(|left| left.expose().iter().all(|&byte| byte == b'*'));
        assert!(is_gone, "{} {password:?}", wiped.escape_ascii());
    }
    // A value of any bytes is taken as it is where backslashes keep its commas.
    let value: Vec<u8> = data.iter().flat_map(|&byte| [b'\\', byte]).collect();
    let list = [b"username=", &value[..], b",password=", &value].concat();
    if let Ok(options) = Options::parse([&list[..]], Unknown::Refuse) {
        assert_eq!(options.user.as_deref(), Some(data));
        assert_eq!(options.password.as_ref().map(Secret::expose), Some(data));
    }
}

fn check_options(options: &Options) {
    assert!((1..=64).contains(&options.connections));
    assert!((1 << 20..=1 << 40).contains(&options.cache_size));
    assert!((1 << 20..=1 << 40).contains(&options.stage_size));
    let year = 365 * 86_400;
    assert!(options.cache_timeout.as_secs() <= year && options.attr_timeout.as_secs() <= year);
    let bounds = [
        options.connect_timeout,
        options.login_timeout,
        options.reply_timeout,
        options.stall_timeout,
        options.operation_timeout,
    ];
    assert!(bounds.iter().all(|bound| (1.0..=3600.0).contains(&bound.as_secs_f64())));
    let masks = [options.umask, options.fmask, options.dmask];
    assert!(masks.iter().flatten().all(|&mask| mask <= 0o777));
    assert!([options.uid, options.gid].iter().flatten().all(|&id| id != u32::MAX));
    let ports = options.port_range.as_ref();
    assert!(ports.is_none_or(|ports| 0 < *ports.start() && ports.start() <= ports.end()));
    assert!(options.proxy.as_ref().is_none_or(|proxy| !proxy.host.is_empty() && proxy.port != 0));
    assert!(options.ftp_proxy.as_ref().is_none_or(|(host, port)| !host.is_empty() && *port != 0));
    // Of two words that contradict each other the kernel gets one.
    let words = &options.kernel_words;
    for (one, other) in [("ro", "rw"), ("suid", "nosuid"), ("dev", "nodev"), ("sync", "async")] {
        assert!(!(words.contains(&one) && words.contains(&other)));
    }
    assert!(options.fsname.as_ref().is_none_or(|name| !name.is_empty() && !name.contains(char::is_control)));
}

/// A password in its place, with the input in front of it and as its start: with a backslash before a comma as it
/// should be, and without one.
fn check_secrets(data: &[u8]) {
    const STARTS: [&str; 6] =
        ["password=", "pass=", "account=", "user=lena:", "proxy=http://lena:", "proxy=socks5://x:"];
    let half = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len() / 2);
    let front = &data[..half];
    let head = data[half..].split(|&byte| byte == b',').next().unwrap_or_default();
    // A backslash at the end would take the comma behind it.
    if contains(data, MARKER) || front.ends_with(b"\\") {
        return;
    }
    // One of all combinations: an input differs from the next by little.
    let choice = chance(data) >> 32;
    let start = STARTS[choice as usize % STARTS.len()];
    let comma = ["", ",", ",,", "\\,"][(choice >> 8) as usize % 4];
    let end = if start.starts_with("proxy") { "@h:1" } else { "" };
    let around = [front, b",", start.as_bytes()].concat();
    let list = [&around, head, comma.as_bytes(), MARKER, end.as_bytes()].concat();
    for unknown in [Unknown::Refuse, Unknown::Ignore] {
        let shown = match Options::parse([&list[..]], unknown) {
            Ok(options) => {
                let notes = options.notes.join(" ");
                // An option behind the password may hold what it likes.
                format!("{notes} {:?}", Options { user: None, fsname: None, ..options })
            }
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!contains(shown.as_bytes(), MARKER), "{shown} {}", list.escape_ascii());
    }
    let wiped = wiped(&list, options::secrets(&list));
    assert!(!contains(&wiped[around.len()..], MARKER), "{} {}", list.escape_ascii(), wiped.escape_ascii());
}

/// What is found for a host and a user is what a file with that entry alone says.
pub fn netrc(data: &[u8]) {
    for (host, user) in [("h", None), ("h", Some(&b"lena"[..])), ("", None), ("ftp.example.org", None)] {
        let found = within(memory(data.len()), || netrc::find(data, host, user));
        let Some(entry) = found else { continue };
        match (user, &entry.login) {
            (Some(user), Some(login)) => assert_eq!(user, &login[..]),
            (None, login) => assert!(login.is_some(), "an entry without a login for nobody"),
            (Some(_), None) => {}
        }
        let longest =
            [&entry.password, &entry.account].into_iter().flatten().map(|secret| secret.expose().len());
        assert!(longest.max().unwrap_or(0).max(entry.login.as_ref().map_or(0, Vec::len)) <= data.len());
        let mut file = [b"machine other login x password y\nmachine ", &quoted(host.as_bytes())[..]].concat();
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_vec());
        let words = [
            (" login ", entry.login.clone()),
            (" password ", secret(&entry.password)),
            (" account ", secret(&entry.account)),
        ];
        for (word, value) in words {
            if let Some(value) = value {
                file.extend([word.as_bytes(), &quoted(&value)].concat());
            }
        }
        assert_eq!(netrc::find(&file, host, user), Some(entry), "{}", file.escape_ascii());
    }
}

fn quoted(word: &[u8]) -> Vec<u8> {
    let escaped = word.iter().flat_map(|&byte| match byte {
        b'"' | b'\\' => vec![b'\\', byte],
        b'\n' => b"\\n".to_vec(),
        _ => vec![byte],
    });
    [b'"'].into_iter().chain(escaped).chain([b'"']).collect()
}
