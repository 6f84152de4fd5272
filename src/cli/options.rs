//! Parsing of `-o` lists into [`Options`]; the options themselves are those of the table in `table.rs`.
//!
//! A list is words separated by commas; a backslash takes the next byte literally (`password=a\,b`).
//! Of an option given twice the last one holds.

mod list;
mod table;
mod values;
mod words;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::cache::Prefetch;
use crate::ftp::config::{Mode, PasvAddress, TlsMode, TlsSettings};
use crate::ftp::proxy::Proxy;
use crate::ftp::time::ListZone;
use crate::secret::Secret;
use crate::vfs::{Charset, LinkPolicy};
pub use list::secrets;
use table::{Spec, TABLE, Takes};
use words::Meaning;

/// Longest list, in bytes: far above the one page that mount(8) itself can hand to a file system.
const LIST_MAX: usize = 64 << 10;

/// Least similarity (Jaro-Winkler, 0 to 1) at which a known option is suggested for an unknown one.
const SUGGEST_FROM: f64 = 0.84;

/// Longest line of the list for `--help`, in columns.
const HELP_WIDTH: usize = 80;

/// What the option lists say. What was not said holds the table's default, or `None`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `user=`, `username=`.
    pub user: Option<Vec<u8>>,
    /// `password=`, or what follows the colon of curlftpfs's `user=name:password`.
    pub password: Option<Secret>,
    /// `account=`.
    pub account: Option<Secret>,
    /// `credentials=`.
    pub credentials: Option<PathBuf>,
    /// `netrc`, `netrc=`, `no_netrc`.
    pub netrc: Netrc,
    /// `mode=`.
    pub mode: Mode,
    /// `port_range=`.
    pub port_range: Option<RangeInclusive<u16>>,
    /// `active_address=`.
    pub active_address: Option<IpAddr>,
    /// `bind=`.
    pub bind: Option<IpAddr>,
    /// `proxy=`.
    pub proxy: Option<Proxy>,
    /// `ftp_proxy=`, host and port.
    pub ftp_proxy: Option<(String, u16)>,
    /// `pasv_address=`.
    pub pasv_address: PasvAddress,
    /// `tls=`; `None`: as the URL says.
    pub tls: Option<TlsMode>,
    /// `cacert=`, `cert=`, `key=`, `tls_pin=`, `tls_version=`, `no_verify_hostname`, `no_verify_peer`.
    pub tls_settings: TlsSettings,
    /// `prot=clear`.
    pub clear_data: bool,
    /// `ccc`.
    pub clear_control: bool,
    /// `tls_close_notify=optional`.
    pub optional_close_notify: bool,
    /// `timezone=`; `None` to find it.
    pub list_zone: Option<ListZone>,
    /// `ipv4`.
    pub ipv4: bool,
    /// `ipv6`.
    pub ipv6: bool,
    /// `connections=`, 1 to 64.
    pub connections: usize,
    /// `prefetch=`.
    pub prefetch: Prefetch,
    /// `cache_size=` in bytes.
    pub cache_size: u64,
    /// `cache_disk=` in bytes, 0 for off.
    pub cache_disk: u64,
    /// `cache_dir=`.
    pub cache_dir: Option<PathBuf>,
    /// `stage_size=` in bytes.
    pub stage_size: u64,
    /// `quiet`.
    pub quiet: bool,
    /// `cache_timeout=`.
    pub cache_timeout: Duration,
    /// `attr_timeout=`.
    pub attr_timeout: Duration,
    /// `connect_timeout=`.
    pub connect_timeout: Duration,
    /// `login_timeout=`.
    pub login_timeout: Duration,
    /// `reply_timeout=`.
    pub reply_timeout: Duration,
    /// `stall_timeout=`.
    pub stall_timeout: Duration,
    /// `operation_timeout=`.
    pub operation_timeout: Duration,
    /// `uid=`.
    pub uid: Option<u32>,
    /// `gid=`.
    pub gid: Option<u32>,
    /// `umask=`.
    pub umask: Option<u16>,
    /// `fmask=`.
    pub fmask: Option<u16>,
    /// `dmask=`.
    pub dmask: Option<u16>,
    /// `allow_other`.
    pub allow_other: bool,
    /// `allow_root`.
    pub allow_root: bool,
    /// `default_permissions`.
    pub default_permissions: bool,
    /// `xattr`.
    pub xattr: bool,
    /// `links=`.
    pub links: LinkPolicy,
    /// `charset=`.
    pub charset: Charset,
    /// `log_level=`, `debug`.
    pub log_level: Option<LevelFilter>,
    /// `fsname=`.
    pub fsname: Option<String>,
    /// `remount`, which only a kernel file system can do.
    pub remount: bool,
    /// Words for the kernel, see [`crate::mount::plan::MountPlan::kernel_words`].
    pub kernel_words: Vec<&'static str>,
    /// What was accepted without effect, for the log.
    pub notes: Vec<String>,
}

/// Where passwords are looked up by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Netrc {
    /// `.netrc` in the home directory, if there is one.
    #[default]
    Home,
    /// This file, which must be there.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// Whether unknown options are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are.
    Refuse,
    /// They are noted and ignored (`mount -s`).
    Ignore,
}

/// Why an option list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Longer than 64 KiB.
    #[error("the list of options is longer than {LIST_MAX} bytes")]
    TooLong,
    /// No such option; holds the hint that ends the message.
    #[error("unknown option \"{name}\"{hint}")]
    Unknown {
        /// As it was typed.
        name: String,
        /// Empty, or the near match.
        hint: String,
    },
    /// No such option, and perhaps the rest of this option's secret: not shown.
    #[error("an unknown option follows \"{0}\"; if it belongs to the value, write its comma as \\,")]
    MayBeSecret(&'static str),
    /// An option of other programs, or of a later version.
    #[error("the option \"{0}\" is not supported in this version")]
    Unsupported(String),
    /// `name` without `=value`.
    #[error("the option \"{0}\" needs a value: {0}={1}")]
    NeedsValue(&'static str, &'static str),
    /// `name=value` where no value belongs.
    #[error("the option \"{0}\" takes no value")]
    TakesNoValue(&'static str),
    /// The value cannot be used.
    #[error("the option \"{name}\" has no usable value: {reason}")]
    Value {
        /// The option.
        name: &'static str,
        /// What is wrong or expected; never the value of a secret.
        reason: String,
    },
}

impl Options {
    /// Reads lists in the order given.
    ///
    /// # Errors
    /// The first word that cannot be taken.
    pub fn parse<'a>(
        lists: impl IntoIterator<Item = &'a [u8]>,
        unknown: Unknown,
    ) -> Result<Options, OptionError> {
        let mut options = Options { kernel_words: words::KERNEL_DEFAULTS.to_vec(), ..Options::default() };
        for spec in TABLE {
            if let Some(default) = spec.default {
                options.set(spec, default.as_bytes())?;
            }
        }
        for list in lists {
            if list.len() > LIST_MAX {
                return Err(OptionError::TooLong);
            }
            for (word, secret) in list::words(list) {
                match (secret, unknown) {
                    (None, _) => options.take(&word.text, unknown)?,
                    (Some(option), Unknown::Refuse) if !words::is_free(word.parts().0) => {
                        return Err(OptionError::MayBeSecret(option));
                    }
                    (Some(option), _) => {
                        options.notes.push(format!("the option behind \"{option}\" has no effect here"));
                    }
                }
            }
        }
        Ok(options)
    }

    fn take(&mut self, word: &[u8], unknown: Unknown) -> Result<(), OptionError> {
        let (name, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&word[..equals], Some(&word[equals + 1..])),
            None => (word, None),
        };
        if word.is_empty() {
            return Ok(());
        }
        // The words come first: `user` alone belongs to fstab, `user=` to us.
        let shown = String::from_utf8_lossy(name).into_owned();
        match words::meaning(name, value.is_some()) {
            Some(Meaning::Kernel(word)) => self.tell_kernel(word),
            Some(Meaning::Ours(word)) => self.take(word.as_bytes(), unknown)?,
            Some(Meaning::Ignored) => self.notes.push(format!("option \"{shown}\" has no effect here")),
            Some(Meaning::Unsupported) => return Err(OptionError::Unsupported(shown)),
            None => match find(name) {
                Some(spec) => self.take_own(spec, value)?,
                None if unknown == Unknown::Ignore => {
                    self.notes.push(format!("unknown option \"{shown}\" ignored"));
                }
                None => return Err(OptionError::Unknown { hint: hint(&shown), name: shown }),
            },
        }
        Ok(())
    }

    fn take_own(&mut self, spec: &'static Spec, value: Option<&[u8]>) -> Result<(), OptionError> {
        match (&spec.takes, value) {
            (Takes::Nothing, Some(_)) => Err(OptionError::TakesNoValue(spec.name)),
            (Takes::Value(placeholder) | Takes::Secret(placeholder), None) => {
                Err(OptionError::NeedsValue(spec.name, placeholder))
            }
            (_, value) => self.set(spec, value.unwrap_or_default()),
        }
    }

    fn set(&mut self, spec: &'static Spec, value: &[u8]) -> Result<(), OptionError> {
        (spec.set)(self, value).map_err(|reason| OptionError::Value { name: spec.name, reason })
    }

    fn tell_kernel(&mut self, word: &'static str) {
        let opposite = words::opposite(word);
        self.kernel_words.retain(|&known| known != word && Some(known) != opposite);
        self.kernel_words.push(word);
    }
}

fn find(name: &[u8]) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.names().any(|known| known.as_bytes() == name))
}

fn hint(name: &str) -> String {
    TABLE
        .iter()
        .flat_map(Spec::names)
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(similarity, _)| *similarity >= SUGGEST_FROM)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!(" (did you mean \"{known}\"?)"))
        .unwrap_or_else(|| " (ftpfs --help lists all)".to_owned())
}

/// The options as a list for `--help`, no line longer than 80 columns.
pub fn help() -> String {
    let mut out =
        String::from("Options for -o, separated by commas; a backslash keeps a comma in a value:\n");
    for spec in TABLE {
        let default = spec.default.map(|text| format!("[default: {text}]"));
        let aliases = spec.aliases.iter().map(|alias| format!("(also {alias})"));
        let words = spec.help.split(' ').map(str::to_owned).chain(default).chain(aliases);
        let mut line = format!("  {:<28}", spec.usage());
        for word in words {
            if line.len() + 1 + word.len() > HELP_WIDTH {
                out.push_str(&format!("{line}\n"));
                line = " ".repeat(30);
            }
            line.push_str(&format!(" {word}"));
        }
        out.push_str(&format!("{line}\n"));
    }
    out.push_str("\nThe words of mount(8) and fstab(5) (ro, nosuid, _netdev, nofail, x-*) are accepted.\n");
    out
}

#[cfg(test)]
mod tests;
