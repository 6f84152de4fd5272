//! From what was typed to what is done: arguments, options, URL and environment become a [`MountPlan`].
//! Whatever contradicts itself is refused here, so that nothing below has to.

use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use log::LevelFilter;

use super::args::{Args, Verbosity};
use super::credentials::{self, CredentialsError, Environment, Given, Secret};
use super::options::{OptionError, Options, Unknown};
use super::url::{DEFAULT_PORT, Scheme, Url, UrlError};
use crate::ftp::config::{
    DataConfig, Family, KnownServers, Login, Mode, PasvAddress, SessionConfig, Timeouts, TlsClient,
    TlsConfig, TlsMode, TlsSettings, TlsSetupError,
};
use crate::mount::plan::{Access, BasePath, Caches, MountPlan, StagingPlan};
use crate::sys;
use crate::vfs::{Inexpressible, Ownership};

/// A plan, and what to say about it once there is a log.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What is done.
    pub plan: MountPlan,
    /// Words that were accepted without effect, for the debug log.
    pub notes: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// An option by itself.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The login.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Two things that exclude each other.
    #[error("{0} and {1} exclude each other; leave one out")]
    Conflict(&'static str, &'static str),
    /// The files and settings for TLS.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The path of the URL beside `charset=`.
    #[error(
        "the path in the URL cannot be written in the charset of charset=; write it in UTF-8, as the mount shows it"
    )]
    Charset(#[from] Inexpressible),
    /// `remount`.
    #[error("remount is not supported; unmount and mount again")]
    Remount,
    /// The mount point.
    #[error("cannot mount on {}{hint}", path.display())]
    Mountpoint {
        /// As typed.
        path: PathBuf,
        /// Empty, or the remedy.
        hint: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Decides everything. May ask for the password on the terminal, which a fake mount does not.
///
/// # Errors
/// See [`PlanError`].
pub fn decide(args: &Args, environment: &Environment) -> Result<Decided, PlanError> {
    let unknown = if args.sloppy { Unknown::Ignore } else { Unknown::Refuse };
    let mut options = Options::parse(args.options.iter().map(|list| list.as_bytes()), unknown)?;
    let url = Url::parse(args.url.as_bytes())?;
    if options.remount {
        return Err(PlanError::Remount);
    }
    let family = family(&url, &options)?;
    let data = data_channel(&options)?;
    let tls = tls(&url, &options, environment)?;
    let access = access(&options)?;
    let mountpoint = mountpoint(&args.dir)?;
    let login = login(args, &url, &mut options, environment)?;
    let shown = url.display();
    let (host, port, login) = match options.ftp_proxy.take() {
        Some((host, port)) => (host, port, Login { user: at_host(&login.user, &url), ..login }),
        None => (url.host, url.port, login),
    };
    let charset = options.charset;
    let base = BasePath { bytes: charset.path_on_server(&url.path.bytes)?, ..url.path };
    let plan = MountPlan {
        session: SessionConfig {
            host,
            port,
            proxy: options.proxy.take(),
            family,
            bind: options.bind,
            login,
            data,
            tls,
            utf8: charset.allows_utf8(),
            list_zone: options.list_zone.clone(),
            timeouts: Timeouts {
                connect: options.connect_timeout,
                login: options.login_timeout,
                reply: options.reply_timeout,
                stall: options.stall_timeout,
            },
        },
        operation_timeout: options.operation_timeout,
        connections: options.connections,
        prefetch: options.prefetch,
        caches: Caches {
            bytes: options.cache_size,
            disk: options.cache_disk,
            listing: options.cache_timeout,
            attributes: options.attr_timeout,
        },
        staging: staging(&options, environment),
        quiet: options.quiet,
        ownership: ownership(&options),
        access,
        default_permissions: options.default_permissions || access == Access::All,
        xattr: options.xattr,
        links: options.links,
        charset,
        read_only: options.kernel_words.contains(&"ro"),
        kernel_words: options.kernel_words,
        fsname: options.fsname.unwrap_or(shown),
        mountpoint,
        foreground: args.foreground,
        log_level: log_level(options.log_level, args.verbosity),
        fake: args.fake,
        base,
    };
    Ok(Decided { plan, notes: options.notes })
}

/// The login at an FTP proxy: it connects to what stands behind the last `@`.
fn at_host(user: &[u8], url: &Url) -> Vec<u8> {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let port = if url.port == DEFAULT_PORT { String::new() } else { format!(":{}", url.port) };
    [user, format!("@{host}{port}").as_bytes()].concat()
}

fn family(url: &Url, options: &Options) -> Result<Family, PlanError> {
    if options.proxy.is_some() || options.ftp_proxy.is_some() {
        // How the proxy gets to the server is its own affair.
        let to_proxy = options.proxy.as_ref().map(|proxy| &proxy.host);
        let host = to_proxy.or(options.ftp_proxy.as_ref().map(|(host, _)| host)).unwrap_or(&url.host);
        return family_to(host, "an IPv6 address of the proxy", "an IPv4 address of the proxy", options);
    }
    family_to(&url.host, "an IPv6 address in the URL", "an IPv4 address in the URL", options)
}

fn family_to(
    host: &str,
    ipv6: &'static str,
    ipv4: &'static str,
    options: &Options,
) -> Result<Family, PlanError> {
    let host_is_ipv6 = host.contains(':');
    let host_is_ipv4 = matches!(host.parse(), Ok(IpAddr::V4(_)));
    match (options.ipv4, options.ipv6) {
        (true, true) => return Err(PlanError::Conflict("ipv4", "ipv6")),
        (true, _) if host_is_ipv6 => return Err(PlanError::Conflict("ipv4", ipv6)),
        (_, true) if host_is_ipv4 => return Err(PlanError::Conflict("ipv6", ipv4)),
        _ => {}
    }
    let only_ipv4 = options.ipv4 || host_is_ipv4;
    let only_ipv6 = options.ipv6 || host_is_ipv6;
    match options.bind {
        Some(IpAddr::V6(_)) if only_ipv4 => {
            Err(PlanError::Conflict("an IPv6 address in bind=", "a connection over IPv4"))
        }
        Some(IpAddr::V4(_)) if only_ipv6 => {
            Err(PlanError::Conflict("an IPv4 address in bind=", "a connection over IPv6"))
        }
        Some(IpAddr::V4(_)) => Ok(Family::V4),
        Some(IpAddr::V6(_)) => Ok(Family::V6),
        None if only_ipv4 => Ok(Family::V4),
        None if only_ipv6 => Ok(Family::V6),
        None => Ok(Family::Any),
    }
}

fn data_channel(options: &Options) -> Result<DataConfig, PlanError> {
    // A server cannot connect to us through a proxy.
    let (proxied, mode) = match (&options.proxy, options.mode) {
        (Some(_), Mode::Active) => return Err(PlanError::Conflict("proxy=", "mode=active")),
        (Some(_), Mode::Auto | Mode::Passive) => ("proxy=", Mode::Passive),
        (None, mode) => ("mode=passive", mode),
    };
    match mode {
        Mode::Passive if options.port_range.is_some() => Err(PlanError::Conflict(proxied, "port_range")),
        Mode::Passive if options.active_address.is_some() => {
            Err(PlanError::Conflict(proxied, "active_address"))
        }
        Mode::Active if options.pasv_address == PasvAddress::Reply => {
            Err(PlanError::Conflict("mode=active", "pasv_address=reply"))
        }
        mode => Ok(DataConfig {
            mode,
            port_range: options.port_range.clone(),
            active_address: options.active_address,
            pasv_address: options.pasv_address,
        }),
    }
}

/// How TLS is used: as the URL says, or for `ftp://` as `tls=` says.
fn tls(url: &Url, options: &Options, environment: &Environment) -> Result<Option<TlsConfig>, PlanError> {
    let mode = match (url.scheme, options.tls) {
        (Scheme::Ftp, tls) => tls.unwrap_or_default(),
        (Scheme::Ftps, None | Some(TlsMode::Implicit)) => TlsMode::Implicit,
        (Scheme::Ftpes, None | Some(TlsMode::Explicit)) => TlsMode::Explicit,
        (Scheme::Ftps, Some(_)) => return Err(PlanError::Conflict("ftps:// in the URL", "this tls=")),
        (Scheme::Ftpes, Some(_)) => return Err(PlanError::Conflict("ftpes:// in the URL", "this tls=")),
    };
    if mode == TlsMode::Off {
        // Whoever names an authority or a pin believes that the connection is secured.
        let none = options.tls_settings == TlsSettings::default()
            && !options.clear_control
            && !options.optional_close_notify;
        return match none {
            true => Ok(None),
            false => {
                Err(PlanError::Conflict("options for TLS", "a connection without it (ftp:// without tls=)"))
            }
        };
    }
    if mode == TlsMode::Auto && !options.tls_settings.pins.is_empty() {
        // Whoever knows the certificate knows that the server has TLS.
        return Err(PlanError::Conflict("tls=auto", "tls_pin= (which is for tls=explicit)"));
    }
    if options.optional_close_notify {
        log::warn!("tls_close_notify=optional: who can cut connections can hide names from listings");
    }
    Ok(Some(TlsConfig {
        mode,
        clear_data: options.clear_data,
        clear_control: options.clear_control,
        optional_close_notify: options.optional_close_notify,
        client: TlsClient::new(&options.tls_settings)?,
        known: state(environment).map(|dir| KnownServers::new(dir.join("tls-servers"))),
    }))
}

/// Where is kept what later mounts must know (FHS s.5.8, XDG base directories).
fn state(environment: &Environment) -> Option<PathBuf> {
    let home = || match uzers::get_effective_uid() {
        0 => Some(PathBuf::from("/var/lib")),
        _ => environment.home.as_ref().map(|home| home.join(".local/state")),
    };
    environment.state_home.clone().or_else(home).map(|dir| dir.join("ftpfs"))
}

fn access(options: &Options) -> Result<Access, PlanError> {
    match (options.allow_other, options.allow_root) {
        (true, true) => Err(PlanError::Conflict("allow_other", "allow_root")),
        (true, false) => Ok(Access::All),
        (false, true) => Ok(Access::OwnerAndRoot),
        (false, false) => Ok(Access::Owner),
    }
}

fn ownership(options: &Options) -> Ownership {
    let both = options.umask.unwrap_or(0);
    Ownership {
        uid: options.uid.unwrap_or_else(uzers::get_current_uid),
        gid: options.gid.unwrap_or_else(uzers::get_current_gid),
        file_mask: options.fmask.unwrap_or(both),
        directory_mask: options.dmask.unwrap_or(both),
    }
}

/// Where unsent bytes are kept: where the user says, else where the system's rules say (FHS s.5.5, XDG base
/// directories), else beside them.
fn staging(options: &Options, environment: &Environment) -> StagingPlan {
    let uid = uzers::get_effective_uid();
    let dirs = match (&options.cache_dir, uid) {
        (Some(dir), _) => vec![dir.clone()],
        (None, 0) => vec![PathBuf::from("/var/cache/ftpfs"), PathBuf::from("/var/tmp/ftpfs-0")],
        (None, _) => {
            let home = environment.home.as_ref().map(|home| home.join(".cache"));
            let cache = environment.cache_home.clone().or(home).map(|dir| dir.join("ftpfs"));
            cache.into_iter().chain([PathBuf::from(format!("/var/tmp/ftpfs-{uid}"))]).collect()
        }
    };
    StagingPlan { dirs, bytes: options.stage_size }
}

fn log_level(asked: Option<LevelFilter>, verbosity: Verbosity) -> LevelFilter {
    let least = match verbosity {
        Verbosity::Normal => LevelFilter::Error,
        Verbosity::Verbose => LevelFilter::Info,
        Verbosity::Debug => LevelFilter::Debug,
    };
    asked.unwrap_or(LevelFilter::Warn).max(least)
}

/// Checks the mount point without triggering an automount on it.
fn mountpoint(typed: &Path) -> Result<PathBuf, PlanError> {
    let failed = |source: io::Error| {
        let hint = match source.raw_os_error() {
            Some(libc::ENOENT) => " (make it with mkdir)".to_owned(),
            Some(libc::ENOTCONN) => {
                format!(" (a mount whose program has died is there; run: fusermount3 -u {})", typed.display())
            }
            _ => String::new(),
        };
        PlanError::Mountpoint { path: typed.to_path_buf(), hint, source }
    };
    // A slash at the end would trigger an automount.
    let path: PathBuf = typed.components().collect();
    let mode = sys::mode_without_automount(&path).map_err(failed)?;
    if mode & libc::S_IFMT != libc::S_IFDIR {
        return Err(failed(io::Error::from_raw_os_error(libc::ENOTDIR)));
    }
    path.canonicalize().map_err(failed)
}

fn login(
    args: &Args,
    url: &Url,
    options: &mut Options,
    environment: &Environment,
) -> Result<Login, PlanError> {
    if let (Some(one), Some(other)) = (&url.user, &options.user)
        && one != other
    {
        return Err(PlanError::Conflict("the user in the URL", "user="));
    }
    if url.password.is_some() && options.password.is_some() {
        return Err(PlanError::Conflict("the password in the URL", "password="));
    }
    let user = url.user.clone().or_else(|| options.user.take());
    let given = Given {
        host: url.host.clone(),
        user: user.clone().filter(|user| !user.is_empty()),
        password: url.password.clone().or_else(|| options.password.take()),
        account: options.account.take(),
        file: options.credentials.take(),
        netrc: options.netrc.clone(),
    };
    if !args.fake {
        return Ok(credentials::resolve(given, environment)?);
    }
    let silent = Environment { terminal: false, ..environment.clone() };
    match credentials::resolve(given, &silent) {
        // A real mount would ask.
        Err(CredentialsError::NoPassword { .. }) => {
            Ok(Login { user: user.unwrap_or_default(), password: Secret::default(), account: None })
        }
        login => Ok(login?),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::chain;

    fn decide_for(url: &str, options: &str) -> Result<MountPlan, PlanError> {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            url: url.into(),
            dir: dir.path().into(),
            options: vec![options.into()],
            ..Args::default()
        };
        decide(&args, &Environment::default()).map(|decided| decided.plan)
    }

    fn plan(url: &str, options: &str) -> MountPlan {
        decide_for(url, options).unwrap_or_else(|error| panic!("{url} {options}: {error}"))
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_both_names() {
        for (url, options, parts) in [
            ("ftp://h/", "ipv4,ipv6", ["ipv4", "ipv6"]),
            ("ftp://[::1]/", "ipv4", ["ipv4", "URL"]),
            ("ftp://127.0.0.1/", "ipv6", ["ipv6", "URL"]),
            ("ftp://h/", "ipv6,bind=127.0.0.1", ["bind", "IPv6"]),
            ("ftp://[::1]/", "bind=127.0.0.1", ["bind", "IPv6"]),
            ("ftp://h/", "mode=passive,port_range=1-2", ["mode=passive", "port_range"]),
            ("ftp://h/", "active_address=::1,mode=passive", ["mode=passive", "active_address"]),
            ("ftp://h/", "mode=active,pasv_address=reply", ["mode=active", "pasv_address"]),
            ("ftp://h/", "allow_other,allow_root", ["allow_other", "allow_root"]),
            ("ftp://h/", "proxy=socks5://p:1,mode=active", ["proxy=", "mode=active"]),
            ("ftp://h/", "proxy=socks5://p:1,ftp_port=-", ["proxy=", "mode=active"]),
            ("ftp://h/", "proxy=http://p:1,port_range=1-2", ["proxy=", "port_range"]),
            ("ftp://h/", "proxy=http://[::1]:1,ipv4", ["ipv4", "proxy"]),
            ("ftp://h/", "ftp_proxy=10.0.0.1,ipv6", ["ipv6", "proxy"]),
            ("ftp://u@h/", "user=v,password=p", ["URL", "user="]),
            ("ftp://u:p@h/", "password=p", ["URL", "password="]),
            ("ftp://h/", "remount,ro", ["remount", "unmount"]),
            ("ftp://h/", &format!("tls=auto,tls_pin=sha256:{}", "00".repeat(32)), ["tls=auto", "tls_pin="]),
        ] {
            let text = decide_for(url, options).unwrap_err().to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{url} {options}: {text}");
        }
    }

    #[test]
    fn a_plain_url_gives_the_documented_defaults() {
        let plan = plan("ftp://h/pub", "");
        assert_eq!((plan.session.host.as_str(), plan.session.port, plan.connections), ("h", 21, 16));
        assert_eq!(plan.session.login.user, b"anonymous");
        assert_eq!((plan.access, plan.default_permissions, plan.read_only), (Access::Owner, false, false));
        assert_eq!(plan.fsname, "ftp://h/pub");
        assert_eq!((plan.log_level, plan.session.family), (LevelFilter::Warn, Family::Any));
        assert_eq!(plan.ownership.uid, uzers::get_current_uid());
        assert!(plan.mountpoint.is_absolute() && !plan.foreground && !plan.fake);
        assert_eq!(plan.launch_bound(), Duration::from_secs(145));
    }

    #[test]
    fn options_reach_the_plan() {
        let plan = plan("ftp://u:p@h:2121//x", "allow_other,umask=027,dmask=0,ro,uid=7,bind=::1");
        assert_eq!((plan.access, plan.default_permissions, plan.read_only), (Access::All, true, true));
        let ownership = plan.ownership;
        assert_eq!((ownership.uid, ownership.file_mask, ownership.directory_mask), (7, 0o027, 0));
        assert_eq!(plan.kernel_words, ["nosuid", "nodev", "ro"]);
        assert_eq!(plan.fsname, "ftp://h:2121/%2Fx");
        assert_eq!((plan.base.absolute, plan.session.family), (true, Family::V6));
        assert_eq!(plan.session.login.password.expose(), b"p");
    }

    #[test]
    fn a_proxy_is_passive_and_has_its_own_address_family() {
        let plan = plan("ftp://[::1]/", "proxy=socks5://u:p@10.0.0.1:1080");
        assert_eq!((plan.session.data.mode, plan.session.family), (Mode::Passive, Family::V4));
        assert_eq!((plan.session.host.as_str(), plan.session.port), ("::1", 21));
        assert_eq!(plan.session.proxy.unwrap().to_string(), "socks5://10.0.0.1:1080");
    }

    #[test]
    fn an_ftp_proxy_is_told_the_server_with_the_user() {
        for (url, user) in [
            ("ftp://me:p@far/x", "me@far"),
            ("ftp://me:p@far:2121/", "me@far:2121"),
            ("ftp://me%40home:p@[::1]/", "me@home@[::1]"),
            ("ftp://far/", "anonymous@far"),
        ] {
            let plan = plan(url, "ftp_proxy=gate:2100");
            assert_eq!((plan.session.host.as_str(), plan.session.port), ("gate", 2100));
            assert_eq!(String::from_utf8(plan.session.login.user).unwrap(), user);
            assert!(plan.fsname.starts_with("ftp://") && !plan.fsname.contains("gate"));
        }
    }

    #[test]
    fn the_path_of_the_url_is_in_the_servers_charset() {
        let of = |options: &str| plan("ftp://h/%D0%AA/a", options);
        assert_eq!(of("charset=koi8-r").base.bytes, b"\xff/a");
        assert_eq!(of("").base.bytes, "Ъ/a".as_bytes());
        assert_eq!(of("charset=koi8-r").fsname, "ftp://h/%D0%AA/a");
        assert!(of("charset=utf-8").session.utf8 && of("").session.utf8);
        assert!(!of("charset=koi8-r").session.utf8);
        for path in ["%FF", "%E9", "caf%C3%A9"] {
            let error = decide_for(&format!("ftp://h/{path}"), "charset=koi8-r").unwrap_err();
            assert!(error.to_string().contains("UTF-8"), "{error}");
        }
    }

    #[test]
    fn servers_with_tls_are_remembered_where_state_belongs() {
        for (state, home, expected) in [
            (Some("/s"), None, Some("/s/ftpfs")),
            (Some("/s"), Some("/h"), Some("/s/ftpfs")),
            (
                None,
                Some("/h"),
                Some(if uzers::get_effective_uid() == 0 {
                    "/var/lib/ftpfs"
                } else {
                    "/h/.local/state/ftpfs"
                }),
            ),
        ] {
            let path = |text: Option<&str>| text.map(PathBuf::from);
            let environment =
                Environment { state_home: path(state), home: path(home), ..Environment::default() };
            assert_eq!(super::state(&environment), path(expected));
        }
        let tls = plan("ftp://h/", "tls=auto,no_verify_peer").session.tls.unwrap();
        assert_eq!(tls.known.is_some(), uzers::get_effective_uid() == 0);
    }

    #[test]
    fn a_bad_mount_point_is_told_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (path, part) in
            [(dir.path().join("none"), "mkdir"), (file, "Not a directory"), ("".into(), "No such")]
        {
            let text = chain(&mountpoint(&path).unwrap_err());
            assert!(text.contains(part), "{text}");
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert_eq!(mountpoint(&link.join("")).unwrap(), dir.path().canonicalize().unwrap());
    }

    #[test]
    fn a_fake_mount_needs_no_password() {
        let dir = tempfile::tempdir().unwrap();
        let mut args =
            Args { url: "ftp://u@h/".into(), dir: dir.path().into(), fake: true, ..Args::default() };
        let environment = Environment::default();
        assert!(decide(&args, &environment).is_ok());
        args.fake = false;
        assert!(matches!(
            decide(&args, &environment),
            Err(PlanError::Credentials(CredentialsError::NoPassword { .. }))
        ));
    }

    #[test]
    fn the_more_talkative_of_option_and_flag_wins() {
        for (asked, verbosity, level) in [
            (None, Verbosity::Normal, LevelFilter::Warn),
            (Some(LevelFilter::Error), Verbosity::Normal, LevelFilter::Error),
            (None, Verbosity::Verbose, LevelFilter::Info),
            (Some(LevelFilter::Trace), Verbosity::Debug, LevelFilter::Trace),
        ] {
            assert_eq!(log_level(asked, verbosity), level);
        }
    }
}
