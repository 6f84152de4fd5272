//! What was typed: `ftpfs [-fd] [-o opts] URL DIR`, and the calling convention of mount(8)'s helpers for a
//! program named `mount.ftpfs` or `mount.fuse.ftpfs`.

use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use super::{options, url};

/// A command line, taken apart but not judged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// The URL as typed.
    pub url: OsString,
    /// The mount point as typed.
    pub dir: PathBuf,
    /// The `-o` lists in order.
    pub options: Vec<OsString>,
    /// `-f` of ftpfs, also by `-d`.
    pub foreground: bool,
    /// `-d` of ftpfs, `-v` of mount(8).
    pub verbosity: Verbosity,
    /// `-f` of mount(8): check everything, mount nothing.
    pub fake: bool,
    /// `-s` of mount(8): unknown options are no error.
    pub sloppy: bool,
    /// `-N` of mount(8): the mount namespace to mount in.
    pub namespace: Option<PathBuf>,
}

impl fmt::Debug for Args {
    /// Without the URL and the options, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// How much the user wants to be told, apart from the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// What the options say.
    #[default]
    Normal,
    /// At least `info`.
    Verbose,
    /// At least `debug`.
    Debug,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A mount.
    Mount(Args),
    /// A text on standard output.
    Print(String),
}

/// A command line that makes no sense; one line, no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Mount an FTP server as a local directory.
#[derive(Parser)]
#[command(name = "ftpfs", version, after_help = options::help())]
struct Direct {
    /// Stay in the foreground and log to standard error
    #[arg(short, long)]
    foreground: bool,
    /// Log the protocol, in the foreground
    #[arg(short, long)]
    debug: bool,
    #[command(flatten)]
    common: Common,
}

/// Mount an FTP server; called by mount(8).
#[derive(Parser)]
#[command(name = "mount.ftpfs", version, after_help = options::help())]
struct Helper {
    /// Ignore unknown options
    #[arg(short = 's')]
    sloppy: bool,
    /// Check everything, mount nothing
    #[arg(short = 'f')]
    fake: bool,
    /// Accepted without effect
    #[arg(short = 'n')]
    _no_mtab: bool,
    /// Log more
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    verbose: u8,
    /// Mount in another mount namespace
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<PathBuf>,
    /// Accepted without effect
    #[arg(short = 't', value_name = "TYPE")]
    _kind: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Common {
    /// Options, see below; may be given several times
    #[arg(short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    options: Vec<OsString>,
    #[arg(
        value_name = "URL",
        help = "ftp://[user@]host[:port][/path]; /path is relative to the login directory, //path absolute"
    )]
    url: OsString,
    /// The directory to mount on
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Reads a command line; the first argument is the name that the program was called by.
///
/// # Errors
/// [`UsageError`], worded for the user.
pub fn parse(argv: &[OsString]) -> Result<Request, UsageError> {
    let name = argv.first().map(|name| Path::new(name).file_name().unwrap_or_default());
    let helper = name.is_some_and(|name| name == "mount.ftpfs" || name == "mount.fuse.ftpfs");
    let parsed = if helper { typed(argv).map(from_helper) } else { typed(argv).map(from_direct) };
    match parsed {
        Ok(args) => Ok(Request::Mount(args)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Request::Print(error.render().to_string()))
            }
            _ => Err(UsageError(one_line(&error, argv, if helper { "mount.ftpfs" } else { "ftpfs" }))),
        },
    }
}

fn typed<T: Parser>(argv: &[OsString]) -> Result<T, clap::Error> {
    T::try_parse_from(argv)
}

fn from_direct(direct: Direct) -> Args {
    Args {
        url: direct.common.url,
        dir: direct.common.dir,
        options: direct.common.options,
        foreground: direct.foreground || direct.debug,
        verbosity: if direct.debug { Verbosity::Debug } else { Verbosity::Normal },
        ..Args::default()
    }
}

fn from_helper(helper: Helper) -> Args {
    Args {
        url: helper.common.url,
        dir: helper.common.dir,
        options: helper.common.options,
        verbosity: if helper.verbose > 0 { Verbosity::Verbose } else { Verbosity::Normal },
        fake: helper.fake,
        sloppy: helper.sloppy,
        namespace: helper.namespace,
        ..Args::default()
    }
}

/// clap's message without its usage block, and without the secrets of an argument that it quotes.
fn one_line(error: &clap::Error, argv: &[OsString], program: &str) -> String {
    let text = error.render().to_string();
    let mut text = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    for argument in argv {
        let bytes = argument.as_bytes();
        for part in secrets(bytes) {
            let secret = String::from_utf8_lossy(&bytes[part]).into_owned();
            if !secret.is_empty() {
                text = text.replace(&secret, "***");
            }
        }
    }
    let words: Vec<&str> = text.trim_start_matches("error: ").split_ascii_whitespace().collect();
    format!("{}; see {program} --help", words.join(" "))
}

/// Where an argument holds secrets, as ranges of it: the password of a URL, and those of an `-o` list,
/// with or without the `-o` in the same argument.
pub fn secrets(argument: &[u8]) -> Vec<Range<usize>> {
    let attached = argument.starts_with(b"-").then(|| argument.iter().position(|&byte| byte == b'o'));
    let list = match attached {
        Some(Some(o)) => o + 1,
        _ => 0,
    };
    let in_list = options::secrets(&argument[list..]);
    let moved = in_list.into_iter().map(|range| range.start + list..range.end + list);
    url::password(argument).into_iter().chain(moved).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use clap::CommandFactory;
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn mount(line: &str) -> Args {
        match parse(&words(line)) {
            Ok(Request::Mount(args)) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        let wanted = Args {
            url: "ftp://h/".into(),
            dir: "/mnt".into(),
            options: vec!["ro".into(), "uid=0,gid=0".into()],
            ..Args::default()
        };
        for line in [
            "ftpfs ftp://h/ /mnt -o ro -o uid=0,gid=0",
            "ftpfs -o ro ftp://h/ -ouid=0,gid=0 /mnt",
            "/usr/bin/ftpfs -o ro -o uid=0,gid=0 ftp://h/ /mnt",
            "/sbin/mount.ftpfs ftp://h/ /mnt -o ro -o uid=0,gid=0",
            "mount.fuse.ftpfs ftp://h/ /mnt -n -t ftpfs -o ro -o uid=0,gid=0",
        ] {
            assert_eq!(mount(line), wanted, "{line}");
        }
    }

    #[test]
    fn the_same_letters_mean_other_things_to_mount() {
        let direct = mount("ftpfs -f ftp://h/ /mnt");
        assert!(direct.foreground && !direct.fake);
        let debug = mount("ftpfs -d ftp://h/ /mnt");
        assert!(debug.foreground && debug.verbosity == Verbosity::Debug);
        let helper = mount("mount.ftpfs ftp://h/ /mnt -sfnv -N /proc/1/ns/mnt -t fuse.ftpfs -o ro");
        assert!(helper.fake && helper.sloppy && !helper.foreground);
        assert_eq!(helper.verbosity, Verbosity::Verbose);
        assert_eq!(helper.namespace.as_deref(), Some(Path::new("/proc/1/ns/mnt")));
    }

    #[test]
    fn a_usage_error_is_one_line_without_secrets() {
        for (line, part) in [
            ("ftpfs", "<URL>"),
            ("ftpfs ftp://h/", "<DIR>"),
            ("ftpfs --wibble ftp://h/ /mnt", "--wibble"),
            ("ftpfs ftp://h/ /mnt ftp://u:hunter2@h/", "unexpected argument"),
            ("ftpfs -z=password=hunter2 ftp://h/ /mnt", "--help"),
            ("mount.ftpfs -d ftp://h/ /mnt", "mount.ftpfs --help"),
        ] {
            let text = parse(&words(line)).unwrap_err().to_string();
            assert!(
                text.contains(part) && !text.contains('\n') && !text.contains("hunter2"),
                "{line}: {text}"
            );
        }
    }

    #[test]
    fn help_and_version_are_printed() {
        for (line, part) in [
            ("ftpfs --help", "cache_size=SIZE"),
            ("ftpfs -V", env!("CARGO_PKG_VERSION")),
            ("mount.ftpfs --help", "Ignore unknown options"),
        ] {
            let Ok(Request::Print(text)) = parse(&words(line)) else { panic!("{line}") };
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn secrets_are_found_in_every_form_of_argument() {
        for (argument, found) in [
            ("ftp://u:p@h/", &["p"][..]),
            ("ftpfs#ftp://u:a/b:c@d@h/x", &["a/b:c@d"]),
            ("ftp://h:21/x", &[]),
            ("ftp://h/a:b@c", &[]),
            ("-opassword=p,ro", &["p"]),
            ("-fo", &[]),
            ("-dfouser=u:p", &["p"]),
            ("ro,password=p", &["p"]),
            ("/mnt/password", &[]),
        ] {
            let texts: Vec<&str> =
                secrets(argument.as_bytes()).into_iter().map(|range| &argument[range]).collect();
            assert_eq!(texts, found, "{argument}");
        }
    }

    #[test]
    fn the_definitions_are_consistent() {
        Direct::command().debug_assert();
        Helper::command().debug_assert();
    }

    proptest! {
        #[test]
        fn any_arguments_are_parsed_or_refused(arguments: Vec<Vec<u8>>) {
            let mut argv = words("ftpfs");
            argv.extend(arguments.iter().map(|bytes| OsStr::from_bytes(bytes).to_owned()));
            let _ = parse(&argv);
            argv[0] = "mount.ftpfs".into();
            let _ = parse(&argv);
        }
    }
}
