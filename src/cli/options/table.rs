//! The table of our own options: the one source for the parser, `--help` and the defaults.

use log::LevelFilter;

use super::values::{
    BOUND, YEAR, address, bytes, bytes_or_none, choice, count, mask, member, owner, path, ports, seconds,
    text, zone,
};
use super::{Netrc, Options};
use crate::cache::Prefetch;
use crate::cli::proxy::{ftp_proxy, proxy};
use crate::ftp::config::{Mode, PasvAddress, TlsMode, TlsVersions};
use crate::secret::Secret;
use crate::vfs::{Charset, LinkPolicy};

/// What may follow the name of an option.
#[derive(Debug)]
pub(super) enum Takes {
    /// Nothing.
    Nothing,
    /// `=value`.
    Value(&'static str),
    /// `=value` or nothing.
    Maybe(&'static str),
    /// `=value` that nobody may see.
    Secret(&'static str),
}

/// One option.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) takes: Takes,
    /// Set before the lists are read.
    pub(super) default: Option<&'static str>,
    pub(super) help: &'static str,
    /// Reads the value; the error says what is expected and does not repeat a secret.
    pub(super) set: fn(&mut Options, &[u8]) -> Result<(), String>,
}

impl Spec {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    pub(super) fn usage(&self) -> String {
        match self.takes {
            Takes::Nothing => self.name.to_owned(),
            Takes::Value(placeholder) | Takes::Secret(placeholder) => format!("{}={placeholder}", self.name),
            Takes::Maybe(placeholder) => format!("{}[={placeholder}]", self.name),
        }
    }
}

use Takes::{Maybe, Nothing, Value};

fn on(flag: &mut bool) -> Result<(), String> {
    *flag = true;
    Ok(())
}

const PLAIN: Spec =
    Spec { name: "", aliases: &[], takes: Nothing, default: None, help: "", set: |_, _| Ok(()) };

/// All options, in the order of `--help`.
pub(super) const TABLE: &[Spec] = &[
    Spec {
        name: "user",
        takes: Value("NAME"),
        help: "log in as NAME; NAME:PASSWORD is taken apart",
        set: |o, v| {
            match v.iter().position(|&byte| byte == b':') {
                Some(colon) => {
                    o.user = Some(v[..colon].to_vec());
                    o.password = Some(Secret::new(&v[colon + 1..]));
                }
                None => o.user = Some(v.to_vec()),
            }
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "username",
        takes: Value("NAME"),
        help: "log in as NAME, which may hold a colon",
        set: |o, v| {
            o.user = Some(v.to_vec());
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "password",
        aliases: &["pass"],
        takes: Takes::Secret("TEXT"),
        help: "the password; prefer credentials=, which is never visible to others",
        set: |o, v| {
            o.password = Some(Secret::new(v));
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "account",
        takes: Takes::Secret("TEXT"),
        help: "the account, for servers that ask for one (ACCT)",
        set: |o, v| {
            o.account = Some(Secret::new(v));
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "credentials",
        aliases: &["cred"],
        takes: Value("FILE"),
        help: "read username=, password=, account= lines from FILE",
        set: |o, v| path(v).map(|path| o.credentials = Some(path)),
        ..PLAIN
    },
    Spec {
        name: "netrc",
        takes: Maybe("FILE"),
        help: "look the password up in FILE; without FILE in ~/.netrc, as is the default",
        set: |o, v| {
            o.netrc = if v.is_empty() { Netrc::Home } else { Netrc::File(path(v)?) };
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "no_netrc",
        help: "do not read ~/.netrc",
        set: |o, _| {
            o.netrc = Netrc::Off;
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "mode",
        takes: Value("auto|active|passive"),
        default: Some("auto"),
        help: "who connects for data",
        set: |o, v| {
            let modes = [("auto", Mode::Auto), ("active", Mode::Active), ("passive", Mode::Passive)];
            choice(v, &modes).map(|mode| o.mode = mode)
        },
        ..PLAIN
    },
    Spec {
        name: "port_range",
        takes: Value("A-B"),
        help: "listen on ports A to B in active mode",
        set: |o, v| ports(v).map(|range| o.port_range = Some(range)),
        ..PLAIN
    },
    Spec {
        name: "active_address",
        takes: Value("ADDRESS"),
        help: "tell the server this address in active mode (behind NAT)",
        set: |o, v| address(v).map(|address| o.active_address = Some(address)),
        ..PLAIN
    },
    Spec {
        name: "ftp_port",
        takes: Value("-|ADDRESS"),
        help: "active mode, as curlftpfs words it",
        set: |o, v| {
            o.active_address = if v == b"-" { None } else { Some(address(v)?) };
            o.mode = Mode::Active;
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "bind",
        aliases: &["interface"],
        takes: Value("ADDRESS"),
        help: "connect from this local address",
        set: |o, v| address(v).map(|address| o.bind = Some(address)),
        ..PLAIN
    },
    Spec {
        name: "proxy",
        takes: Value("URL"),
        help: "connect through socks5://[user[:password]@]host:port, or http://... (CONNECT)",
        set: |o, v| proxy(v).map(|proxy| o.proxy = Some(proxy)),
        ..PLAIN
    },
    Spec {
        name: "ftp_proxy",
        takes: Value("HOST[:PORT]"),
        help: "log in at this FTP proxy as user@host",
        set: |o, v| ftp_proxy(v).map(|proxy| o.ftp_proxy = Some(proxy)),
        ..PLAIN
    },
    Spec {
        name: "pasv_address",
        takes: Value("peer|reply"),
        default: Some("peer"),
        help: "connect for data to the server itself, or to the address in its reply",
        set: |o, v| {
            choice(v, &[("peer", PasvAddress::Peer), ("reply", PasvAddress::Reply)])
                .map(|address| o.pasv_address = address)
        },
        ..PLAIN
    },
    Spec {
        name: "tls",
        takes: Value("auto|explicit|implicit|off"),
        help: "encrypt: if the server can, by AUTH TLS (as ftpes://), from the start (as ftps://), or not at all",
        set: |o, v| {
            let modes = [
                ("auto", TlsMode::Auto),
                ("explicit", TlsMode::Explicit),
                ("implicit", TlsMode::Implicit),
                ("off", TlsMode::Off),
            ];
            choice(v, &modes).map(|mode| o.tls = Some(mode))
        },
        ..PLAIN
    },
    Spec {
        name: "cacert",
        takes: Value("FILE"),
        help: "PEM file with the authorities, or the server's own certificate, to trust [default: the system's]",
        set: |o, v| path(v).map(|path| o.tls_settings.authorities = Some(path)),
        ..PLAIN
    },
    Spec {
        name: "tls_pin",
        takes: Value("sha256:HEX"),
        help: "trust exactly the certificate with this fingerprint; may be given again for another",
        set: |o, v| {
            let text = text(v)?;
            text.parse().map(|pin| o.tls_settings.pins.push(pin)).map_err(str::to_owned)
        },
        ..PLAIN
    },
    Spec {
        name: "cert",
        takes: Value("FILE"),
        help: "PEM file with the client's certificate",
        set: |o, v| path(v).map(|path| o.tls_settings.certificate = Some(path)),
        ..PLAIN
    },
    Spec {
        name: "key",
        takes: Value("FILE"),
        help: "PEM file with its key, not encrypted [default: in the file of cert=]",
        set: |o, v| path(v).map(|path| o.tls_settings.key = Some(path)),
        ..PLAIN
    },
    Spec {
        name: "tls_version",
        takes: Value("any|1.2|1.3"),
        default: Some("any"),
        help: "versions of TLS to offer",
        set: |o, v| {
            let versions =
                [("any", TlsVersions::Both), ("1.2", TlsVersions::Only12), ("1.3", TlsVersions::Only13)];
            choice(v, &versions).map(|versions| o.tls_settings.versions = versions)
        },
        ..PLAIN
    },
    Spec {
        name: "tls_close_notify",
        takes: Value("required|optional"),
        default: Some("required"),
        help: "whether a listing must end with TLS's word for it; optional for servers that never send one: last resort",
        set: |o, v| {
            choice(v, &[("required", false), ("optional", true)])
                .map(|optional| o.optional_close_notify = optional)
        },
        ..PLAIN
    },
    Spec {
        name: "no_verify_hostname",
        help: "take a valid certificate of any other host; last resort, tls_pin= is better",
        set: |o, _| on(&mut o.tls_settings.any_hostname),
        ..PLAIN
    },
    Spec {
        name: "no_verify_peer",
        help: "take any certificate at all; last resort, tls_pin= is better",
        set: |o, _| on(&mut o.tls_settings.any_peer),
        ..PLAIN
    },
    Spec {
        name: "prot",
        takes: Value("private|clear"),
        default: Some("private"),
        help: "encrypt files and listings too, or only the commands",
        set: |o, v| choice(v, &[("private", false), ("clear", true)]).map(|clear| o.clear_data = clear),
        ..PLAIN
    },
    Spec {
        name: "ssl_control",
        help: "encrypt only the commands, as curlftpfs words it",
        set: |o, _| {
            o.tls = o.tls.or(Some(TlsMode::Explicit));
            o.clear_data = true;
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "ccc",
        help: "go on in clear text after the login (CCC), for firewalls that must read commands",
        set: |o, _| on(&mut o.clear_control),
        ..PLAIN
    },
    Spec {
        name: "timezone",
        takes: Value("detect|ZONE"),
        default: Some("detect"),
        help: "the zone of LIST's times: UTC, +02:00, Europe/Berlin; found by MDTM if not told",
        set: |o, v| zone(v).map(|zone| o.list_zone = zone),
        ..PLAIN
    },
    Spec { name: "ipv4", help: "use IPv4 only", set: |o, _| on(&mut o.ipv4), ..PLAIN },
    Spec { name: "ipv6", help: "use IPv6 only", set: |o, _| on(&mut o.ipv6), ..PLAIN },
    Spec {
        name: "connections",
        takes: Value("N"),
        default: Some("16"),
        help: "most connections to the server, 1 to 64",
        set: |o, v| count(v, 1..=64).map(|count| o.connections = count),
        ..PLAIN
    },
    Spec {
        name: "prefetch",
        takes: Value("off|auto|eager"),
        default: Some("auto"),
        help: "fetch nothing ahead, what a reader will want, or all that may come next",
        set: |o, v| {
            choice(v, &[("off", Prefetch::Off), ("auto", Prefetch::Auto), ("eager", Prefetch::Eager)])
                .map(|prefetch| o.prefetch = prefetch)
        },
        ..PLAIN
    },
    Spec {
        name: "cache_size",
        takes: Value("SIZE"),
        default: Some("64M"),
        help: "memory for file contents; bytes or with K, M, G; at least 1M",
        set: |o, v| bytes(v).map(|size| o.cache_size = size),
        ..PLAIN
    },
    Spec {
        name: "cache_disk",
        takes: Value("SIZE"),
        default: Some("0"),
        help: "keep file contents on the local disk too, for later mounts; 128 MiB of it are left free",
        set: |o, v| bytes_or_none(v).map(|size| o.cache_disk = size),
        ..PLAIN
    },
    Spec {
        name: "cache_dir",
        takes: Value("DIR"),
        help: "keep that, and unsent bytes, in DIR [default: /var/cache/ftpfs, ~/.cache/ftpfs]",
        set: |o, v| path(v).map(|path| o.cache_dir = Some(path)),
        ..PLAIN
    },
    Spec {
        name: "stage_size",
        takes: Value("SIZE"),
        default: Some("1024G"),
        help: "most unsent bytes on the local disk at a time; 128 MiB of it are left free in any case",
        set: |o, v| bytes(v).map(|bytes| o.stage_size = bytes),
        ..PLAIN
    },
    Spec {
        name: "quiet",
        help: "owners, modes and times that the server cannot set are no error",
        set: |o, _| on(&mut o.quiet),
        ..PLAIN
    },
    Spec {
        name: "cache_timeout",
        aliases: &["cache_dir_timeout"],
        takes: Value("SECONDS"),
        default: Some("30"),
        help: "believe a listing for so long; 0 for not at all",
        set: |o, v| seconds(v, 0.0..=YEAR).map(|time| o.cache_timeout = time),
    },
    Spec {
        name: "attr_timeout",
        aliases: &["cache_stat_timeout"],
        takes: Value("SECONDS"),
        default: Some("10"),
        help: "open a file without asking the server again for so long",
        set: |o, v| seconds(v, 0.0..=YEAR).map(|time| o.attr_timeout = time),
    },
    Spec {
        name: "connect_timeout",
        takes: Value("SECONDS"),
        default: Some("10"),
        help: "longest wait for a connection, 1 to 3600",
        set: |o, v| seconds(v, BOUND).map(|time| o.connect_timeout = time),
        ..PLAIN
    },
    Spec {
        name: "login_timeout",
        takes: Value("SECONDS"),
        default: Some("15"),
        help: "longest login",
        set: |o, v| seconds(v, BOUND).map(|time| o.login_timeout = time),
        ..PLAIN
    },
    Spec {
        name: "reply_timeout",
        takes: Value("SECONDS"),
        default: Some("30"),
        help: "longest wait for a reply",
        set: |o, v| seconds(v, BOUND).map(|time| o.reply_timeout = time),
        ..PLAIN
    },
    Spec {
        name: "stall_timeout",
        takes: Value("SECONDS"),
        default: Some("30"),
        help: "longest time without a byte in a transfer",
        set: |o, v| seconds(v, BOUND).map(|time| o.stall_timeout = time),
        ..PLAIN
    },
    Spec {
        name: "operation_timeout",
        takes: Value("SECONDS"),
        default: Some("60"),
        help: "longest operation on a file, with all retries",
        set: |o, v| seconds(v, BOUND).map(|time| o.operation_timeout = time),
        ..PLAIN
    },
    Spec {
        name: "uid",
        takes: Value("USER"),
        help: "owner of all files, name or number [default: you]",
        set: |o, v| owner(v).map(|uid| o.uid = Some(uid)),
        ..PLAIN
    },
    Spec {
        name: "gid",
        takes: Value("GROUP"),
        help: "group of all files, name or number [default: yours]",
        set: |o, v| member(v).map(|gid| o.gid = Some(gid)),
        ..PLAIN
    },
    Spec {
        name: "umask",
        takes: Value("OCTAL"),
        help: "permission bits to remove from everything",
        set: |o, v| mask(v).map(|mask| o.umask = Some(mask)),
        ..PLAIN
    },
    Spec {
        name: "fmask",
        takes: Value("OCTAL"),
        help: "the same for files, instead of umask",
        set: |o, v| mask(v).map(|mask| o.fmask = Some(mask)),
        ..PLAIN
    },
    Spec {
        name: "dmask",
        takes: Value("OCTAL"),
        help: "the same for directories, instead of umask",
        set: |o, v| mask(v).map(|mask| o.dmask = Some(mask)),
        ..PLAIN
    },
    Spec {
        name: "allow_other",
        help: "let everybody in; turns default_permissions on",
        set: |o, _| on(&mut o.allow_other),
        ..PLAIN
    },
    Spec { name: "allow_root", help: "let root in", set: |o, _| on(&mut o.allow_root), ..PLAIN },
    Spec {
        name: "default_permissions",
        help: "let the kernel check permission bits",
        set: |o, _| on(&mut o.default_permissions),
        ..PLAIN
    },
    Spec {
        name: "xattr",
        help: "show what the server told as user.ftp.* (ls -l then asks twice for each file)",
        set: |o, _| on(&mut o.xattr),
        ..PLAIN
    },
    Spec {
        name: "links",
        takes: Value("contain|raw|hide"),
        default: Some("contain"),
        help: "symbolic links: kept inside the mount, as they are, or not shown",
        set: |o, v| {
            choice(
                v,
                &[("contain", LinkPolicy::Contain), ("raw", LinkPolicy::Raw), ("hide", LinkPolicy::Hide)],
            )
            .map(|links| o.links = links)
        },
        ..PLAIN
    },
    Spec {
        name: "charset",
        aliases: &["codepage"],
        takes: Value("NAME"),
        help: "the charset of the server's names, such as koi8-r; without it, bytes stay as they are",
        set: |o, v| match Charset::named(v) {
            Ok(charset) => {
                o.charset = charset;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        },
        ..PLAIN
    },
    Spec {
        name: "iocharset",
        takes: Value("utf8"),
        help: "the charset of this machine, as curlftpfs words it",
        set: |_, v| choice(v, &[("utf8", ()), ("utf-8", ()), ("UTF8", ()), ("UTF-8", ())]),
        ..PLAIN
    },
    Spec {
        name: "debug",
        aliases: &["ftpfs_debug"],
        help: "log the protocol; the same as log_level=debug",
        set: |o, _| {
            o.log_level = Some(LevelFilter::Debug);
            Ok(())
        },
        ..PLAIN
    },
    Spec {
        name: "log_level",
        takes: Value("LEVEL"),
        help: "error, warn, info, debug or trace [default: warn]",
        set: |o, v| {
            let levels = [
                ("error", LevelFilter::Error),
                ("warn", LevelFilter::Warn),
                ("info", LevelFilter::Info),
                ("debug", LevelFilter::Debug),
                ("trace", LevelFilter::Trace),
            ];
            choice(v, &levels).map(|level| o.log_level = Some(level))
        },
        ..PLAIN
    },
    Spec {
        name: "fsname",
        takes: Value("TEXT"),
        help: "the source to show in /proc/mounts [default: the URL without user]",
        set: |o, v| text(v).map(|text| o.fsname = Some(text)),
        ..PLAIN
    },
    Spec {
        name: "remount",
        help: "refused: unmount and mount again",
        set: |o, _| on(&mut o.remount),
        ..PLAIN
    },
];
