use proptest::prelude::*;

use super::*;

fn parsed(list: &str) -> Options {
    Options::parse([list.as_bytes()], Unknown::Refuse).unwrap_or_else(|error| panic!("{list}: {error}"))
}

fn refused(list: &str) -> String {
    Options::parse([list.as_bytes()], Unknown::Refuse).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_table() {
    let options = parsed("");
    assert_eq!(options.connections, 16);
    assert_eq!(options.cache_size, 64 << 20);
    assert_eq!(options.cache_timeout, Duration::from_secs(30));
    assert_eq!(options.attr_timeout, Duration::from_secs(10));
    assert_eq!(options.connect_timeout, Duration::from_secs(10));
    assert_eq!(options.login_timeout, Duration::from_secs(15));
    assert_eq!(options.reply_timeout, Duration::from_secs(30));
    assert_eq!(options.stall_timeout, Duration::from_secs(30));
    assert_eq!(options.operation_timeout, Duration::from_secs(60));
    assert_eq!((options.mode, options.links), (Mode::Auto, LinkPolicy::Contain));
    assert_eq!(options.kernel_words, ["nosuid", "nodev"]);
}

#[test]
fn every_word_of_mount_and_fstab_is_accepted() {
    let words = "ro rw suid nosuid dev nodev exec noexec atime noatime diratime nodiratime relatime \
        norelatime strictatime nostrictatime lazytime nolazytime sync async dirsync mand nomand iversion silent \
        loud auto noauto user nouser users nousers group owner defaults remount _netdev nofail comment=a=b \
        x-systemd.automount x-gvfs-show X-mount.mkdir=0755 x-systemd.requires=a\\,b subtype=ftpfs fsname=x \
        nonempty big_writes fuse kernel_cache";
    for word in words.split_ascii_whitespace() {
        parsed(word);
    }
    parsed(&words.split_ascii_whitespace().collect::<Vec<_>>().join(","));
}

#[test]
fn the_last_of_two_opposite_words_reaches_the_kernel() {
    for (list, words) in [
        ("ro", &["nosuid", "nodev", "ro"][..]),
        ("ro,rw", &["nosuid", "nodev", "rw"]),
        ("rw,noexec,ro,exec", &["nosuid", "nodev", "ro", "exec"]),
        ("suid,dev,ro,ro", &["suid", "dev", "ro"]),
        ("sync,dirsync,noatime", &["nosuid", "nodev", "sync", "dirsync", "noatime"]),
    ] {
        assert_eq!(parsed(list).kernel_words, words, "{list}");
    }
}

#[test]
fn a_backslash_keeps_a_comma_in_a_value() {
    for (list, password) in [
        (r"password=a\,b,ro", r"a,b"),
        (r"password=a\\,ro", r"a\"),
        (r"password=a\\\,b", r"a\,b"),
        (r"password=a=b:c ", r"a=b:c "),
        (r"password=end\", r"end\"),
        (r"password=,ro", r""),
        (r"user=u:p\,q", r"p,q"),
    ] {
        let options = parsed(list);
        assert_eq!(options.password.unwrap().expose(), password.as_bytes(), "{list}");
    }
    assert_eq!(parsed("username=a:b").user.unwrap(), b"a:b");
}

#[test]
fn values() {
    assert_eq!(parsed("cache_timeout=0.25").cache_timeout, Duration::from_millis(250));
    assert_eq!(parsed("cache_timeout=0").cache_timeout, Duration::ZERO);
    assert_eq!(parsed("port_range=50000-50100").port_range, Some(50000..=50100));
    assert_eq!(parsed("port_range=50000:50000").port_range, Some(50000..=50000));
    assert_eq!(parsed("cache_size=1048576").cache_size, 1 << 20);
    assert_eq!(parsed("cache_size=2g").cache_size, 2 << 30);
    assert_eq!(parsed("umask=022,fmask=0777").fmask, Some(0o777));
    assert_eq!(
        (parsed("uid=0").uid, parsed("uid=root").uid, parsed("gid=root").gid),
        (Some(0), Some(0), Some(0))
    );
    assert_eq!(parsed("netrc=/etc/n").netrc, Netrc::File("/etc/n".into()));
    assert_eq!((parsed("netrc").netrc, parsed("no_netrc").netrc), (Netrc::Home, Netrc::Off));
    assert_eq!(parsed("log_level=error,debug").log_level, Some(LevelFilter::Debug));
    assert_eq!((parsed("ro").prefetch, parsed("prefetch=off").prefetch), (Prefetch::Auto, Prefetch::Off));
    assert_eq!(parsed("bind=::1").bind, "::1".parse().ok());
    assert_eq!(parsed("charset=KOI8-R").charset, Charset::named(b"koi8").unwrap());
}

#[test]
fn words_of_curlftpfs_mean_the_same_here() {
    assert_eq!(parsed("ftp_port=-").mode, Mode::Active);
    assert_eq!(parsed("ftp_port=192.0.2.1").active_address, "192.0.2.1".parse().ok());
    assert_eq!(parsed("pasv_address=reply,skip_pasv_ip").pasv_address, PasvAddress::Peer);
    assert_eq!(parsed("nomulticonn").connections, 1);
    assert_eq!(parsed("codepage=cp1251,iocharset=utf8").charset, Charset::named(b"windows-1251").unwrap());
    assert_eq!(parsed("cache_stat_timeout=3").attr_timeout, Duration::from_secs(3));
    parsed("enable_epsv,disable_epsv,tcp_nodelay,utf8,transform_symlinks,connect_timeout=5,user=a");
}

#[test]
fn bad_options_are_named_with_a_remedy() {
    for (list, parts) in [
        ("conections=4", &["unknown option \"conections\"", "\"connections\""][..]),
        ("allow_others", &["allow_other"]),
        ("wibble", &["wibble", "--help"]),
        ("cert_type=PEM", &["cert_type", "not supported in this version"]),
        ("key_type=PEM", &["key_type", "not supported"]),
        ("engine", &["engine", "not supported in this version"]),
        ("ciphers=x", &["ciphers", "not supported"]),
        ("auto_unmount", &["auto_unmount", "not supported"]),
        ("bind", &["bind", "not supported"]),
        ("allow_other=1", &["allow_other", "takes no value"]),
        ("connections", &["connections=N"]),
        ("connections=0", &["connections", "1 to 64"]),
        ("connections=65", &["1 to 64"]),
        ("connections=+4", &["1 to 64"]),
        ("mode=pasv", &["auto, active, passive"]),
        ("port_range=2-1", &["port_range", "lower one first"]),
        ("port_range=0-1", &["port_range"]),
        ("port_range=1-65536", &["port_range"]),
        ("prefetch=on", &["prefetch", "off, auto, eager"]),
        ("cache_size=1023K", &["1M"]),
        ("cache_size=99999999999999999999G", &["cache_size"]),
        ("cache_timeout=-1", &["cache_timeout"]),
        ("cache_timeout=nan", &["cache_timeout"]),
        ("cache_timeout=inf", &["cache_timeout"]),
        ("cache_timeout=1e3", &["cache_timeout"]),
        ("reply_timeout=0.5", &["1 to 3600"]),
        ("reply_timeout=3601", &["1 to 3600"]),
        ("fmask=1000", &["fmask", "0777"]),
        ("umask=8", &["octal"]),
        ("uid=no such user", &["uid", "no such user"]),
        ("uid=4294967295", &["uid"]),
        ("active_address=host", &["numeric"]),
        ("credentials=~/x", &["credentials", "whole path"]),
        ("fsname=", &["fsname"]),
        ("proxy=h:1080", &["proxy", "socks5://"]),
        ("ftp_proxy=u@h", &["ftp_proxy", "host:port"]),
        ("charset=klingon", &["charset", "koi8-r"]),
        ("charset=iso-2022-jp", &["charset", "ASCII"]),
        ("charset=utf-16", &["charset", "ASCII"]),
        ("iocharset=koi8-r", &["iocharset", "utf8"]),
    ] {
        let text = refused(list);
        assert!(parts.iter().all(|part| text.contains(part)), "{list}: {text}");
    }
}

#[test]
fn sloppy_ignores_unknown_options_and_nothing_else() {
    let options = Options::parse([&b"wibble=1,ro"[..]], Unknown::Ignore).unwrap();
    assert!(options.kernel_words.contains(&"ro") && options.notes[0].contains("wibble"));
    assert!(Options::parse([&b"connections=x"[..]], Unknown::Ignore).is_err());
}

#[test]
fn secrets_are_found_where_they_stand() {
    for (list, found) in [
        (r"ro,password=a\,b,nosuid", &[r"a\,b"][..]),
        ("pass=x,account=y", &["x", "y"]),
        ("user=me:secret,uid=0", &["secret"]),
        ("fsname=ftp://x/y,proxy=socks5://u:p@q@h:1,ro", &["p@q"]),
        ("proxy=http://h:3128,user=a@b", &[]),
        ("user=me,username=a:b,fsname=password", &[]),
        ("password", &[]),
        // The comma was meant to be part of the password.
        ("password=a,b,ro", &["a", "b"]),
        ("user=me:a,,x-b=c,d,uid=0,e", &["a", "x-b=c", "d"]),
        ("proxy=http://me:a,b@h:1", &["b@h:1"]),
        (r"pass\word=\a,ro", &[r"\a"]),
        (r"password\=\,a\b,ro", &[r"\,a\b"]),
    ] {
        let texts: Vec<&str> = secrets(list.as_bytes()).into_iter().map(|range| &list[range]).collect();
        assert_eq!(texts, found, "{list}");
    }
}

#[test]
fn the_rest_of_a_password_with_a_comma_is_never_shown() {
    for list in ["password=a,tail", "ro,pass=a,,tail=x,ro", "user=me:a,tail", "password=a,x-tail=1,tail"] {
        let text = refused(list);
        assert!(!text.contains("tail") && text.contains(r"\,"), "{list}: {text}");
        let notes = Options::parse([list.as_bytes()], Unknown::Ignore).unwrap().notes.join(" ");
        assert!(!notes.contains("tail") && notes.contains("behind"), "{list}: {notes}");
    }
    assert!(!parsed("password=a,x-tail").notes.join(" ").contains("tail"));
    assert!(refused("password=a,ro,conections=4").contains("connections"));
}

#[test]
fn help_lists_every_option_in_ascii() {
    let help = help();
    for spec in TABLE {
        assert!(help.contains(&format!("  {}", spec.usage())) && !spec.help.is_empty(), "{}", spec.name);
    }
    assert!(help.is_ascii());
}

#[test]
fn no_name_stands_twice_or_hides_behind_a_foreign_word() {
    let names: Vec<&str> = TABLE.iter().flat_map(Spec::names).collect();
    for (at, name) in names.iter().enumerate() {
        assert!(!names[..at].contains(name), "{name}");
        let has_value = !matches!(find(name.as_bytes()).unwrap().takes, Takes::Nothing);
        assert_eq!(words::meaning(name.as_bytes(), has_value), None, "{name}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(list: Vec<u8>) {
        let _ = Options::parse([list.as_slice()], Unknown::Refuse);
        let _ = Options::parse([list.as_slice()], Unknown::Ignore);
        let _ = secrets(&list);
    }

    #[test]
    fn any_value_survives_escaping(value: Vec<u8>) {
        let mut list = b"password=".to_vec();
        for byte in &value {
            if matches!(byte, b',' | b'\\') {
                list.push(b'\\');
            }
            list.push(*byte);
        }
        list.extend_from_slice(b",ro");
        let options = Options::parse([list.as_slice()], Unknown::Refuse).unwrap();
        prop_assert_eq!(options.password, Some(Secret::new(value)));
        prop_assert_eq!(secrets(&list), vec![9..list.len() - 3]);
    }
}
