//! Words that are not ours: those of mount(8) and fstab(5), of libfuse, and of curlftpfs 0.9.2.

/// What is done with such a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Handed to the kernel.
    Kernel(&'static str),
    /// The same as this word of ours.
    Ours(&'static str),
    /// Accepted without effect.
    Ignored,
    /// Refused, since leaving it out would change what the user gets.
    Unsupported,
}

/// What holds if nothing else is said: a server must not be able to hand out root's rights or devices.
pub(super) const KERNEL_DEFAULTS: &[&str] = &["nosuid", "nodev"];

/// The words that the kernel gets, each beside its opposite.
const KERNEL: &[(&str, &str)] = &[
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("noatime", "atime"),
    ("sync", "async"),
    ("nosymfollow", "symfollow"),
];

/// Accepted alone, without a value. mount(8) has acted on them before it calls a helper, or they have no
/// meaning for FUSE; the second half is libfuse's and curlftpfs's tuning that we do by ourselves.
const IGNORED: &[&str] = &[
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "_netdev",
    "nofail",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "mand",
    "nomand",
    "iversion",
    "noiversion",
    "silent",
    "loud",
    // libfuse
    "nonempty",
    "big_writes",
    "fuse",
    "kernel_cache",
    "auto_cache",
    "noauto_cache",
    "large_read",
    "hard_remove",
    "use_ino",
    "readdir_ino",
    "async_read",
    "sync_read",
    "atomic_o_trunc",
    "no_remote_lock",
    "intr",
    "nointr",
    "clone_fd",
    "splice_read",
    "splice_write",
    "splice_move",
    "no_splice_read",
    "no_splice_write",
    "no_splice_move",
    // curlftpfs: EPSV and EPRT are tried and, where refused, given up without being told
    "enable_epsv",
    "disable_epsv",
    "disable_eprt",
    "tcp_nodelay",
    "tlsv1",
    "utf8",
];

/// Accepted with a value.
const IGNORED_WITH_VALUE: &[&str] = &[
    "comment",
    "subtype",
    "max_read",
    "max_write",
    "max_readahead",
    "max_background",
    "congestion_threshold",
    "max_idle_threads",
    "max_threads",
    "intr_signal",
    "entry_timeout",
    "negative_timeout",
    "ac_attr_timeout",
    "cache_link_timeout",
];

/// curlftpfs's words in ours.
const TRANSLATED: &[(&str, &str)] = &[
    ("skip_pasv_ip", "pasv_address=peer"),
    ("nomulticonn", "connections=1"),
    ("ssl", "tls=explicit"),
    ("ssl_try", "tls=auto"),
    ("transform_symlinks", "links=contain"),
];

/// Known and refused, with or without a value.
const UNSUPPORTED: &[&str] = &[
    // libfuse
    "auto_unmount",
    "direct_io",
    "blkdev",
    "blksize",
    "modules",
    "subdir",
    "iconv",
    "setuid",
    "drop_privileges",
    "fd",
    "rootmode",
    "user_id",
    "group_id",
    "context",
    "fscontext",
    "defcontext",
    "rootcontext",
    "bind",
    "rbind",
    "move",
    "loop",
    // curlftpfs
    "cert_type",
    "key_type",
    "engine",
    "capath",
    "ciphers",
    "sslv3",
    "krb4",
    "proxytunnel",
    "proxy_anyauth",
    "proxy_basic",
    "proxy_digest",
    "proxy_ntlm",
    "proxy_user",
    "httpproxy",
    "socks4",
    "socks5",
    "custom_list",
    "cache",
];

/// Whether a name is one that any program may have made up (fstab(5)).
pub(super) fn is_free(name: &[u8]) -> bool {
    name.starts_with(b"x-") || name.starts_with(b"X-")
}

/// What a word means that is not in the table of our own; `None` if it is not known here.
pub(super) fn meaning(name: &[u8], has_value: bool) -> Option<Meaning> {
    let name = std::str::from_utf8(name).ok()?;
    if is_free(name.as_bytes()) {
        return Some(Meaning::Ignored);
    }
    if has_value && IGNORED_WITH_VALUE.contains(&name) {
        return Some(Meaning::Ignored);
    }
    if !has_value {
        if let Some(word) = kernel_word(name) {
            return Some(Meaning::Kernel(word));
        }
        if IGNORED.contains(&name) {
            return Some(Meaning::Ignored);
        }
        if let Some((_, ours)) = TRANSLATED.iter().find(|(theirs, _)| *theirs == name) {
            return Some(Meaning::Ours(ours));
        }
    }
    // `bind` alone is mount(8)'s, `bind=` is ours.
    let ours = has_value && name == "bind";
    (UNSUPPORTED.contains(&name) && !ours).then_some(Meaning::Unsupported)
}

fn kernel_word(name: &str) -> Option<&'static str> {
    let words = KERNEL.iter().flat_map(|&(one, other)| [one, other]).chain(["dirsync"]);
    words.into_iter().find(|word| *word == name)
}

/// The word that contradicts a kernel word.
pub(super) fn opposite(word: &str) -> Option<&'static str> {
    KERNEL.iter().find_map(|&(one, other)| match word {
        _ if word == one => Some(other),
        _ if word == other => Some(one),
        _ => None,
    })
}
