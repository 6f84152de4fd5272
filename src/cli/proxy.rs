//! What `proxy=` and `ftp_proxy=` say. No error text repeats a part that could be a password.

use super::url;
use crate::ftp::proxy::{Proxy, ProxyKind, ProxyLogin};

/// What is expected of `proxy=`.
const FORM: &str = "socks5://[user[:password]@]host:port or the same with http:// is expected; \
    write / : @ in user or password as %2F %3A %40";

/// What is expected of a login of a SOCKS5 proxy (RFC 1929 s.2).
const TOO_LONG: &str = "SOCKS5 takes users and passwords of at most 255 bytes";

/// What is expected of the user of an HTTP proxy (RFC 7617 s.2).
const COLON: &str = "the user of an HTTP proxy can have no colon";

/// The port of an FTP proxy where none is given.
const FTP_PORT: u16 = 21;

/// Longest user and longest password of a SOCKS5 proxy, in bytes.
const SOCKS5_MAX: usize = 255;

/// A URL of a proxy. `socks5h` is the same as `socks5`: names are resolved by the proxy.
pub(super) fn proxy(text: &[u8]) -> Result<Proxy, String> {
    let form = || FORM.to_owned();
    let at = text.windows(3).position(|window| window == b"://").ok_or_else(form)?;
    let kind = match text[..at].to_ascii_lowercase().as_slice() {
        b"socks5" | b"socks5h" => ProxyKind::Socks5,
        b"http" => ProxyKind::Http,
        _ => return Err(form()),
    };
    let authority = &text[at + 3..];
    let authority = authority.strip_suffix(b"/").unwrap_or(authority);
    let (user_info, address) = match authority.iter().rposition(|&byte| byte == b'@') {
        Some(at) => (&authority[..at], &authority[at + 1..]),
        None => (&b""[..], authority),
    };
    let (user, password) = url::parse_user_info(user_info).map_err(|_| form())?;
    let (host, port) = url::parse_address(address).map_err(|_| form())?;
    let login = user.map(|user| ProxyLogin { user, password: password.unwrap_or_default() });
    match (&login, kind) {
        (Some(login), ProxyKind::Socks5)
            if login.user.len().max(login.password.expose().len()) > SOCKS5_MAX =>
        {
            return Err(TOO_LONG.to_owned());
        }
        (Some(login), ProxyKind::Http) if login.user.contains(&b':') => return Err(COLON.to_owned()),
        _ => {}
    }
    Ok(Proxy { kind, host, port: port.ok_or_else(form)?, login })
}

/// Host and port of an FTP proxy.
pub(super) fn ftp_proxy(text: &[u8]) -> Result<(String, u16), String> {
    let (host, port) = url::parse_address(text).map_err(|_| "host or host:port is expected".to_owned())?;
    Ok((host, port.unwrap_or(FTP_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn proxies_are_read_from_their_urls() {
        for (text, shown, login) in [
            ("socks5://h:1080", "socks5://h:1080", None),
            ("SOCKS5h://[::1]:9050/", "socks5://[::1]:9050", None),
            ("http://u:p%40:@10.0.0.1:3128", "http://10.0.0.1:3128", Some((&b"u"[..], &b"p@:"[..]))),
            ("socks5://a%3Ab@h:1", "socks5://h:1", Some((b"a:b", b""))),
        ] {
            let proxy = proxy(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(proxy.to_string(), shown);
            let found = proxy.login.as_ref().map(|login| (&login.user[..], login.password.expose()));
            assert_eq!(found, login, "{text}");
        }
        assert_eq!(ftp_proxy(b"gate"), Ok(("gate".to_owned(), 21)));
        assert_eq!(ftp_proxy(b"[::1]:2121"), Ok(("::1".to_owned(), 2121)));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_secrets() {
        let long = format!("socks5://u:{}@h:1", "secret".repeat(50));
        for text in [
            "h:1080",
            "socks4://h:1080",
            "https://u:secret@h:443",
            "socks5://h",
            "http://h",
            "socks5://u:secret@:1080",
            "socks5://u:se/cret@h:x",
            "socks5://:secret@h:1",
            "http://a%3Ab:secret@h:1",
            "socks5://u:secret%0a@h:1",
            "http://h:1/path",
            &long,
        ] {
            let error = proxy(text.as_bytes()).unwrap_err();
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        for text in ["", "ftp://h", "u@h", "h:0", "h:x"] {
            assert!(ftp_proxy(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text: Vec<u8>) {
            let _ = (proxy(&text), ftp_proxy(&text));
            let _ = proxy(&[b"socks5://", &text[..]].concat());
        }
    }
}
