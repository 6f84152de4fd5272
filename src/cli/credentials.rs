//! Who logs in, and the search for the password.
//!
//! In this order, each value from the first place that has it: the URL and the options, the file of
//! `credentials=`, the environment (FTPFS_USER, FTPFS_PASSWORD), a systemd credential (`ftpfs.password`,
//! systemd.exec(5)), netrc, the terminal. A place that names another user is not asked for the password.
//! Without any user the login is anonymous (RFC 1635).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use uzers::os::unix::UserExt;
use zeroize::Zeroizing;

use super::netrc;
use super::options::Netrc;
use crate::ftp::config::Login;
pub use crate::secret::Secret;

/// The variable that holds a user.
pub const USER_VARIABLE: &str = "FTPFS_USER";
/// The variable that holds a password; removed from the environment as soon as it is read.
pub const PASSWORD_VARIABLE: &str = "FTPFS_PASSWORD";

/// The user of an anonymous login.
const ANONYMOUS: &[u8] = b"anonymous";
/// Its password: something like a mail address; servers that check look for the @ (RFC 1635 s.4).
const ANONYMOUS_PASSWORD: &[u8] = b"ftpfs@";
/// Largest file that is read for credentials, in bytes.
const FILE_MAX: u64 = 64 << 10;
/// Bits of a mode that let group or others read, write or execute.
const OTHERS: u32 = 0o077;

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file with a password that others may use.
    #[error("{0} holds a password and other users can access it; run: chmod 600 {0}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A line that is none of those allowed.
    #[error(
        "line {line} of {} is not username=NAME, password=TEXT, account=TEXT or a # comment",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The credentials file is about somebody else.
    #[error("{} is for another user than the URL or the options name", path.display())]
    OtherUser {
        /// The file.
        path: PathBuf,
    },
    /// CR, LF or NUL in something that is sent to the server.
    #[error("the {0} contains CR, LF or NUL, which cannot be sent to an FTP server")]
    Forbidden(&'static str),
    /// A user and no password.
    #[error(
        "no password for user {user}: put it into a file for credentials=FILE, into ~/.netrc, \
         into the variable FTPFS_PASSWORD, or run ftpfs on a terminal to be asked"
    )]
    NoPassword {
        /// The user, escaped for display.
        user: String,
    },
    /// The terminal gave no password.
    #[error("cannot read the password from the terminal")]
    Prompt(#[source] io::Error),
}

/// What the command line says about the login.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The host that netrc is searched for.
    pub host: String,
    /// From URL or options.
    pub user: Option<Vec<u8>>,
    /// From URL or options.
    pub password: Option<Secret>,
    /// From the options.
    pub account: Option<Secret>,
    /// `credentials=`.
    pub file: Option<PathBuf>,
    /// `netrc=`.
    pub netrc: Netrc,
}

/// What the process was started with.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// FTPFS_USER.
    pub user: Option<OsString>,
    /// FTPFS_PASSWORD.
    pub password: Option<Secret>,
    /// CREDENTIALS_DIRECTORY, set by systemd.
    pub credentials_directory: Option<PathBuf>,
    /// The home directory, also where HOME is unset.
    pub home: Option<PathBuf>,
    /// XDG_CACHE_HOME, where it is an absolute path.
    pub cache_home: Option<PathBuf>,
    /// XDG_STATE_HOME, where it is an absolute path.
    pub state_home: Option<PathBuf>,
    /// Whether somebody can be asked.
    pub terminal: bool,
}

impl Environment {
    /// Copies what is there. Empty variables count as unset.
    pub fn capture() -> Environment {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let directory = |name| variable(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let passwd_home =
            || uzers::get_user_by_uid(uzers::get_current_uid()).map(|user| user.home_dir().to_path_buf());
        Environment {
            user: variable(USER_VARIABLE),
            password: variable(PASSWORD_VARIABLE).map(|value| Secret::new(value.as_bytes())),
            credentials_directory: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            home: variable("HOME").map(PathBuf::from).or_else(passwd_home),
            cache_home: directory("XDG_CACHE_HOME"),
            state_home: directory("XDG_STATE_HOME"),
            terminal: io::stdin().is_terminal(),
        }
    }
}

/// Finds user, password and account. Waits only for the terminal, and for that as long as the user takes.
///
/// # Errors
/// See [`CredentialsError`].
pub fn resolve(given: Given, environment: &Environment) -> Result<Login, CredentialsError> {
    let mut found = Found { user: given.user, password: given.password, account: given.account };
    if let Some(path) = &given.file {
        found.add_file(path)?;
    }
    found.add_environment(environment);
    if found.user.is_some() && found.password.is_none() {
        found.add_systemd(environment)?;
    }
    if found.password.is_none() {
        found.add_netrc(&given.netrc, &given.host, environment)?;
    }
    let Found { user, password, account } = found;
    let user = user.unwrap_or_else(|| ANONYMOUS.to_vec());
    let password = match password {
        Some(password) => password,
        None if is_anonymous(&user) => Secret::new(ANONYMOUS_PASSWORD),
        None if environment.terminal => prompt(&user, &given.host)?,
        None => return Err(CredentialsError::NoPassword { user: shown(&user) }),
    };
    let login = Login { user, password, account };
    check(&login)?;
    Ok(login)
}

#[derive(Default)]
struct Found {
    user: Option<Vec<u8>>,
    password: Option<Secret>,
    account: Option<Secret>,
}

impl Found {
    fn add_file(&mut self, path: &Path) -> Result<(), CredentialsError> {
        let (text, mode) = read(path)?;
        if mode & OTHERS != 0 {
            return Err(CredentialsError::Exposed { path: path.to_path_buf() });
        }
        let file =
            parse_file(&text).map_err(|line| CredentialsError::Line { path: path.to_path_buf(), line })?;
        if let (Some(user), Some(other)) = (&self.user, &file.user)
            && user != other
        {
            return Err(CredentialsError::OtherUser { path: path.to_path_buf() });
        }
        self.user = self.user.take().or(file.user);
        self.password = self.password.take().or(file.password);
        self.account = self.account.take().or(file.account);
        Ok(())
    }

    fn add_environment(&mut self, environment: &Environment) {
        let user = environment.user.as_ref().map(|user| user.as_bytes());
        if self.user.is_none() {
            self.user = user.map(<[u8]>::to_vec);
        }
        // A password beside no user at all would turn an anonymous mount into a failing one.
        let fits = self.user.is_some() && (user.is_none() || self.user.as_deref() == user);
        if self.password.is_none() && fits {
            self.password = environment.password.clone();
        }
    }

    fn add_systemd(&mut self, environment: &Environment) -> Result<(), CredentialsError> {
        let Some(directory) = &environment.credentials_directory else { return Ok(()) };
        // The mode is systemd's affair: it shows an ACL's mask as group bits.
        match read(&directory.join("ftpfs.password")) {
            Ok((text, _)) => {
                let line = text.strip_suffix(b"\n").unwrap_or(&text);
                self.password = Some(Secret::new(line));
                Ok(())
            }
            Err(CredentialsError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn add_netrc(
        &mut self,
        netrc: &Netrc,
        host: &str,
        environment: &Environment,
    ) -> Result<(), CredentialsError> {
        let (path, required) = match (netrc, &environment.home) {
            (Netrc::File(path), _) => (path.clone(), true),
            (Netrc::Home, Some(home)) => (home.join(".netrc"), false),
            (Netrc::Home, None) | (Netrc::Off, _) => return Ok(()),
        };
        let (text, mode) = match read(&path) {
            Ok(file) => file,
            Err(_) if !required => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(entry) = netrc::find(&text, host, self.user.as_deref()) else { return Ok(()) };
        let secret = entry.password.is_some() || entry.account.is_some();
        let public = entry.login.as_deref().is_some_and(is_anonymous);
        if secret && !public && mode & OTHERS != 0 {
            return Err(CredentialsError::Exposed { path });
        }
        self.user = self.user.take().or(entry.login);
        self.password = entry.password;
        self.account = self.account.take().or(entry.account);
        Ok(())
    }
}

/// Lines `key=value` as mount.cifs(8) has them; the value is all that follows, blanks and commas included,
/// but for the CR of a file with DOS line ends. The error is the number of the bad line.
fn parse_file(text: &[u8]) -> Result<Found, usize> {
    let mut found = Found::default();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let equals = line.iter().position(|&byte| byte == b'=').ok_or(number + 1)?;
        let value = &line[equals + 1..];
        match line[..equals].trim_ascii() {
            b"username" | b"user" => found.user = Some(value.to_vec()),
            b"password" | b"pass" => found.password = Some(Secret::new(value)),
            b"account" => found.account = Some(Secret::new(value)),
            // Files shared with mount.cifs have it.
            b"domain" => {}
            _ => return Err(number + 1),
        }
    }
    Ok(found)
}

/// The content of a regular file, and its mode at the time it was opened.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), CredentialsError> {
    let failed = |source| CredentialsError::File { path: path.to_path_buf(), source };
    // Opening a FIFO would wait for its writer.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.len() > FILE_MAX {
        return Err(failed(io::Error::other("larger than 64 KiB")));
    }
    // One byte more than the file has now, so that reading to its end never moves the buffer.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 1));
    file.take(FILE_MAX).read_to_end(&mut text).map_err(failed)?;
    Ok((text, metadata.mode()))
}

fn prompt(user: &[u8], host: &str) -> Result<Secret, CredentialsError> {
    let question = format!("Password for {} at {host}: ", shown(user));
    let answer =
        rpassword::prompt_password(question).map(Zeroizing::new).map_err(CredentialsError::Prompt)?;
    Ok(Secret::new(answer.as_bytes()))
}

fn check(login: &Login) -> Result<(), CredentialsError> {
    let account = login.account.as_ref().map(Secret::expose).unwrap_or_default();
    for (bytes, what) in
        [(login.user.as_slice(), "user"), (login.password.expose(), "password"), (account, "account")]
    {
        if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(CredentialsError::Forbidden(what));
        }
    }
    Ok(())
}

fn is_anonymous(user: &[u8]) -> bool {
    [ANONYMOUS, b"ftp"].iter().any(|name| user.eq_ignore_ascii_case(name))
}

fn shown(user: &[u8]) -> String {
    format!("\"{}\"", user.escape_ascii())
}

#[cfg(test)]
mod tests;
