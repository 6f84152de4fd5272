//! The URL of a mount: `ftp://[user[:password]@]host[:port][/path]` (RFC 1738 s.3.2), `ftps://` for implicit and
//! `ftpes://` for explicit TLS.
//!
//! Percent-decoded to bytes, since names on servers are bytes; the `url` crate would normalise them.
//! No error text repeats a part that could be, or could have been meant as, a password.

use std::net::Ipv6Addr;
use std::ops::Range;

use crate::mount::plan::BasePath;
use crate::secret::Secret;

/// The FTP control port (RFC 959 s.8).
pub(super) const DEFAULT_PORT: u16 = 21;

/// The port where TLS begins with the first byte (IANA: ftps).
const IMPLICIT_PORT: u16 = 990;

/// Longest URL, in bytes: room for PATH_MAX with every byte percent-encoded.
const URL_MAX: usize = 16 << 10;

/// Spec prefixes of fstab lines for curlftpfs, and of the form that libfuse's `mount.fuse` takes.
const SPEC_PREFIXES: [&[u8]; 2] = [b"curlftpfs#", b"ftpfs#"];

/// A URL taken apart and decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// What stands before `://`.
    pub scheme: Scheme,
    /// A host name or a numeric address, an IPv6 one without brackets, possibly with `%zone`.
    pub host: String,
    /// The port, 21 or, for `ftps://`, 990 if none was given; never 0.
    pub port: u16,
    /// The user, never empty.
    pub user: Option<Vec<u8>>,
    /// The password, only beside a user, possibly empty.
    pub password: Option<Secret>,
    /// The directory on the server.
    pub path: BasePath,
}

/// How a URL begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `ftp://`: clear text, unless `tls=` says something else.
    Ftp,
    /// `ftps://`: TLS from the first byte.
    Ftps,
    /// `ftpes://`: TLS by AUTH, before anything else.
    Ftpes,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Scheme::Ftp => "ftp",
            Scheme::Ftps => "ftps",
            Scheme::Ftpes => "ftpes",
        }
    }

    fn default_port(self) -> u16 {
        if self == Scheme::Ftps { IMPLICIT_PORT } else { DEFAULT_PORT }
    }
}

/// Why a URL cannot be mounted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `ftp://` or its kin at the front.
    #[error(
        "the URL must have the form ftp://[user@]host[:port][/path], or begin with ftps:// or ftpes:// (over TLS)"
    )]
    Form,
    /// Longer than 16 KiB.
    #[error("the URL is longer than {URL_MAX} bytes")]
    TooLong,
    /// `%` without two hexadecimal digits.
    #[error("a % in the URL is not followed by two hexadecimal digits; write a literal % as %25")]
    Percent,
    /// CR, LF or NUL, which would end an FTP command.
    #[error("the {0} in the URL contains CR, LF or NUL, which cannot be sent to an FTP server")]
    Forbidden(&'static str),
    /// The host is missing or holds characters that no host name has.
    #[error(
        "the URL has no valid host name; write / : @ in a user or password as %2F %3A %40, \
         and a name with other letters in its xn-- form"
    )]
    Host,
    /// Brackets that do not hold an IPv6 address.
    #[error("the brackets in the URL do not hold an IPv6 address")]
    Ipv6,
    /// No number from 1 to 65535.
    #[error("the port in the URL is not a number from 1 to 65535; write / : @ in a password as %2F %3A %40")]
    Port,
    /// `:password@` without a user.
    #[error("the URL has a password but no user")]
    PasswordAlone,
    /// A component `..`.
    #[error("the path in the URL contains \"..\"")]
    DotDot,
}

impl Url {
    /// Takes a URL apart; the prefixes `curlftpfs#` and `ftpfs#` and the suffix `;type=X` are ignored.
    ///
    /// `/path` is relative to the login directory, `//path` and `/%2Fpath` are absolute. Empty components
    /// and `.` are dropped.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &[u8]) -> Result<Url, UrlError> {
        if text.len() > URL_MAX {
            return Err(UrlError::TooLong);
        }
        let text = SPEC_PREFIXES.iter().find_map(|prefix| text.strip_prefix(*prefix)).unwrap_or(text);
        let (scheme, rest) = split_scheme(text)?;
        let (authority, path) = match rest.iter().position(|&byte| byte == b'/') {
            Some(slash) => (&rest[..slash], &rest[slash + 1..]),
            None => (rest, &b""[..]),
        };
        let (user_info, address) = match authority.iter().rposition(|&byte| byte == b'@') {
            Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
            None => (None, authority),
        };
        let (host, port) = parse_address(address)?;
        let port = port.unwrap_or(scheme.default_port());
        let (user, password) = parse_user_info(user_info.unwrap_or_default())?;
        Ok(Url { scheme, host, port, user, password, path: parse_path(path)? })
    }

    /// The form for /proc/mounts and messages: without user and password, the port only if it is not the usual one.
    pub fn display(&self) -> String {
        let mut out = format!("{}://", self.scheme.as_str());
        if self.host.contains(':') {
            out.push_str(&format!("[{}]", self.host.replace('%', "%25")));
        } else {
            out.push_str(&self.host);
        }
        if self.port != self.scheme.default_port() {
            out.push_str(&format!(":{}", self.port));
        }
        out.push_str(if self.path.absolute { "/%2F" } else { "/" });
        encode(&self.path.bytes, &mut out);
        out
    }
}

fn split_scheme(text: &[u8]) -> Result<(Scheme, &[u8]), UrlError> {
    let colon = text.iter().position(|&byte| byte == b':').ok_or(UrlError::Form)?;
    let rest = text[colon..].strip_prefix(b"://").ok_or(UrlError::Form)?;
    match text[..colon].to_ascii_lowercase().as_slice() {
        b"ftp" => Ok((Scheme::Ftp, rest)),
        b"ftps" => Ok((Scheme::Ftps, rest)),
        b"ftpes" => Ok((Scheme::Ftpes, rest)),
        _ => Err(UrlError::Form),
    }
}

/// `host[:port]`, an IPv6 address in brackets.
pub(super) fn parse_address(address: &[u8]) -> Result<(String, Option<u16>), UrlError> {
    let address = std::str::from_utf8(address).map_err(|_| UrlError::Host)?;
    let (host, port) = match address.strip_prefix('[') {
        Some(inside) => {
            let (host, port) = inside.split_once(']').ok_or(UrlError::Ipv6)?;
            (ipv6_literal(host)?, port.strip_prefix(':').or((port.is_empty()).then_some("")))
        }
        None => {
            let (host, port) = address.split_once(':').unwrap_or((address, ""));
            (host_name(host)?, Some(port))
        }
    };
    match port.ok_or(UrlError::Port)? {
        // RFC 3986 s.3.2.3 allows a colon without a port.
        "" => Ok((host, None)),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => Err(UrlError::Port),
            Ok(port) => Ok((host, Some(port))),
        },
        _ => Err(UrlError::Port),
    }
}

fn ipv6_literal(text: &str) -> Result<String, UrlError> {
    // RFC 6874 writes the zone's % as %25; a bare % is what people type.
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().map_err(|_| UrlError::Ipv6)?;
    match zone {
        None => Ok(address.to_owned()),
        Some(zone) if host_name(zone).is_ok() => Ok(format!("{address}%{zone}")),
        Some(_) => Err(UrlError::Ipv6),
    }
}

fn host_name(text: &str) -> Result<String, UrlError> {
    // RFC 1035 s.2.3.4 limits a name to 255 bytes.
    let plausible = (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && !text.starts_with('-');
    if plausible { Ok(text.to_owned()) } else { Err(UrlError::Host) }
}

/// `user[:password]`, with its percent signs.
pub(super) fn parse_user_info(text: &[u8]) -> Result<(Option<Vec<u8>>, Option<Secret>), UrlError> {
    let (user, password) = match text.iter().position(|&byte| byte == b':') {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    let user = decode(user, "user")?;
    let password = password.map(|text| decode(text, "password")).transpose()?.map(Secret::new);
    match (user.is_empty(), password) {
        (false, password) => Ok((Some(user), password)),
        (true, None) => Ok((None, None)),
        (true, Some(password)) if password.expose().is_empty() => Ok((None, None)),
        (true, Some(_)) => Err(UrlError::PasswordAlone),
    }
}

/// `text` is what follows the slash after the host.
fn parse_path(text: &[u8]) -> Result<BasePath, UrlError> {
    let decoded = decode(strip_type(text), "path")?;
    let mut bytes = Vec::with_capacity(decoded.len());
    for component in decoded.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(UrlError::DotDot),
            name => {
                if !bytes.is_empty() {
                    bytes.push(b'/');
                }
                bytes.extend_from_slice(name);
            }
        }
    }
    Ok(BasePath { bytes, absolute: decoded.starts_with(b"/") })
}

/// Removes `;type=a`, `;type=d` or `;type=i` (RFC 1738 s.3.2.2); transfers are always of type I.
fn strip_type(text: &[u8]) -> &[u8] {
    match text.len().checked_sub(b";type=i".len()).map(|at| text.split_at(at)) {
        Some((path, suffix))
            if suffix[..6].eq_ignore_ascii_case(b";type=")
                && matches!(suffix[6].to_ascii_lowercase(), b'a' | b'd' | b'i') =>
        {
            path
        }
        _ => text,
    }
}

/// Where a URL holds a password: from the first colon after `://` to the last `@`: more than the URL's own rules say, so that a password
/// with a stray slash is covered too.
pub(super) fn password(argument: &[u8]) -> Option<Range<usize>> {
    let start = argument.windows(3).position(|window| window == b"://")? + 3;
    let authority = &argument[start..];
    let colon = authority.iter().position(|&byte| byte == b':')?;
    let at = authority.iter().rposition(|&byte| byte == b'@')?;
    // `ftp://host/a:b@c` has its colon behind a slash: a path.
    let in_path = authority[..colon].contains(&b'/');
    (!in_path && colon < at).then_some(start + colon + 1..start + at)
}

fn decode(text: &[u8], what: &'static str) -> Result<Vec<u8>, UrlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|&digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(UrlError::Percent) };
        out.extend(u8::try_from(high * 16 + low));
    }
    if out.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(UrlError::Forbidden(what));
    }
    Ok(out)
}

/// Encodes everything but unreserved characters and `/`. A comma or a backslash would need escaping again in
/// mount options, a blank in /proc/mounts.
fn encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Url {
        Url::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn hosts_and_ports() {
        for (text, host, port, shown) in [
            ("ftp://h", "h", 21, "ftp://h/"),
            ("FTP://h/", "h", 21, "ftp://h/"),
            ("ftp://h:/", "h", 21, "ftp://h/"),
            ("ftp://h:2121/", "h", 2121, "ftp://h:2121/"),
            ("curlftpfs#ftp://h/", "h", 21, "ftp://h/"),
            ("ftpfs#ftp://h/", "h", 21, "ftp://h/"),
            ("ftp://192.0.2.1:65535", "192.0.2.1", 65535, "ftp://192.0.2.1:65535/"),
            ("ftp://[2001:db8::1]/", "2001:db8::1", 21, "ftp://[2001:db8::1]/"),
            ("ftp://[::1]:2121", "::1", 2121, "ftp://[::1]:2121/"),
            ("ftp://[fe80::1%25eth0]/", "fe80::1%eth0", 21, "ftp://[fe80::1%25eth0]/"),
            ("ftp://u:p@[::1]:1/x", "::1", 1, "ftp://[::1]:1/x"),
            ("ftps://h/", "h", 990, "ftps://h/"),
            ("FTPS://h:21/", "h", 21, "ftps://h:21/"),
            ("ftpes://u:p@h/x", "h", 21, "ftpes://h/x"),
        ] {
            let url = parsed(text);
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.display(), shown, "{text}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_bytes_and_never_shown() {
        for (text, user, password) in [
            ("ftp://h/a@b:c", None, None),
            ("ftp://@h/", None, None),
            ("ftp://u@h/", Some(&b"u"[..]), None),
            ("ftp://u:@h/", Some(b"u"), Some(&b""[..])),
            ("ftp://u:p@h/", Some(b"u"), Some(b"p")),
            ("ftp://u:p:q@h/", Some(b"u"), Some(b"p:q")),
            ("ftp://u@corp.example:p@q@h/", Some(b"u@corp.example"), Some(b"p@q")),
            ("ftp://%FF%3a:%2F%40,%25@h/", Some(b"\xff:"), Some(b"/@,%")),
        ] {
            let url = parsed(text);
            assert_eq!(url.user.as_deref(), user, "{text}");
            assert_eq!(url.password.as_ref().map(Secret::expose), password, "{text}");
            assert!(url.display().starts_with("ftp://h/"), "{text}");
        }
    }

    #[test]
    fn paths() {
        for (text, absolute, bytes, shown) in [
            ("ftp://h/pub/a/", false, &b"pub/a"[..], "ftp://h/pub/a"),
            ("ftp://h//pub//./a", true, b"pub/a", "ftp://h/%2Fpub/a"),
            ("ftp://h/%2Fpub", true, b"pub", "ftp://h/%2Fpub"),
            ("ftp://h/%2f", true, b"", "ftp://h/%2F"),
            ("ftp://h/a%2Fb", false, b"a/b", "ftp://h/a/b"),
            ("ftp://h/%E4%20,\\?#*", false, b"\xe4 ,\\?#*", "ftp://h/%E4%20%2C%5C%3F%23%2A"),
            ("ftp://h/f;type=i", false, b"f", "ftp://h/f"),
            ("ftp://h/f;TYPE=A", false, b"f", "ftp://h/f"),
            ("ftp://h/f;type=x", false, b"f;type=x", "ftp://h/f%3Btype%3Dx"),
            ("ftp://h/f%3Btype=i", false, b"f;type=i", "ftp://h/f%3Btype%3Di"),
        ] {
            let url = parsed(text);
            assert_eq!((url.path.absolute, url.path.bytes.as_slice()), (absolute, bytes), "{text}");
            assert_eq!(url.display(), shown, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_mounted_is_refused() {
        for (text, error) in [
            ("", UrlError::Form),
            ("h:/pub", UrlError::Form),
            ("ftp:/h", UrlError::Form),
            ("http://h/", UrlError::Form),
            ("ftpx://h/", UrlError::Form),
            ("ftp://", UrlError::Host),
            ("ftp:///pub", UrlError::Host),
            ("ftp://u@/pub", UrlError::Host),
            ("ftp://-h/", UrlError::Host),
            ("ftp://h h/", UrlError::Host),
            ("ftp://m\u{fc}ller.example/", UrlError::Host),
            ("ftp://u:pass/word@h/", UrlError::Port),
            ("ftp://h:0/", UrlError::Port),
            ("ftp://h:+1/", UrlError::Port),
            ("ftp://h:65536/", UrlError::Port),
            ("ftp://[::1/", UrlError::Ipv6),
            ("ftp://[h]/", UrlError::Ipv6),
            ("ftp://[::1]21/", UrlError::Port),
            ("ftp://::1/", UrlError::Host),
            ("ftp://:p@h/", UrlError::PasswordAlone),
            ("ftp://u:%@h/", UrlError::Percent),
            ("ftp://h/%4", UrlError::Percent),
            ("ftp://h/%+1", UrlError::Percent),
            ("ftp://h/a%0Db", UrlError::Forbidden("path")),
            ("ftp://h/a\nb", UrlError::Forbidden("path")),
            ("ftp://u%00@h/", UrlError::Forbidden("user")),
            ("ftp://u:%0a@h/", UrlError::Forbidden("password")),
            ("ftp://h/a/../b", UrlError::DotDot),
            ("ftp://h/%2e%2E", UrlError::DotDot),
        ] {
            assert_eq!(Url::parse(text.as_bytes()).unwrap_err(), error, "{text}");
        }
        assert_eq!(Url::parse(&[b'a'; URL_MAX + 1]), Err(UrlError::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(text: Vec<u8>) {
            let _ = Url::parse(&text);
            let _ = Url::parse(&[b"ftp://", text.as_slice()].concat());
        }

        #[test]
        fn the_shown_form_leads_to_the_same_directory(
            names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 0..4),
            absolute: bool,
            port in 1u16..,
        ) {
            let names: Vec<Vec<u8>> = names
                .into_iter()
                .filter(|name| !name.iter().any(|byte| b"/\r\n\0".contains(byte)))
                .filter(|name| name != b"." && name != b"..")
                .collect();
            let path = BasePath { bytes: names.join(&b'/'), absolute };
            let url = Url { scheme: Scheme::Ftp, host: "h".into(), port, user: None, password: None, path };
            prop_assert_eq!(Url::parse(url.display().as_bytes()), Ok(url));
        }
    }
}
