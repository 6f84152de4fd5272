//! The login directory, from the many forms of the answer to PWD.

use crate::deadline::Deadline;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;

impl Session {
    /// Keeps what PWD told, where it is a path from the root.
    pub(crate) fn learn_home(&self, pwd: &Reply) {
        if let Some(path) = told(pwd).filter(|path| path.starts_with(b"/")) {
            self.profile.learn_home(path);
        }
    }

    /// Asks for the login directory. A path in another notation (Windows, VMS) is tried in the spellings that such
    /// servers take for the same directory; where none can be entered, paths begin at the root.
    ///
    /// # Errors
    /// A failed connection.
    pub(crate) fn find_home(&mut self, deadline: Deadline) -> Result<(), Error> {
        let pwd = self.control.exchange(Command::bare("PWD"), deadline)?;
        self.learn_home(&pwd);
        if self.profile.home().is_some() {
            return Ok(());
        }
        for path in told(&pwd).map(|path| spellings(&path)).unwrap_or_default() {
            if self.control.exchange(Command::with("CWD", &path[..]), deadline)?.is_completion() {
                log::info!("the login directory {pwd} is {}", String::from_utf8_lossy(&path));
                self.profile.learn_home(path);
                return Ok(());
            }
        }
        self.profile.learn_home(b"/".to_vec());
        Ok(())
    }
}

/// The path in a 257 reply, in whatever notation: in quotes with doubled quotes inside (RFC 959 app. II; pure-ftpd
/// 1.0.50 does not double them, so the last quote that is not doubled ends the path), or the first word.
fn told(pwd: &Reply) -> Option<Vec<u8>> {
    if pwd.code() != 257 {
        return None;
    }
    let text = pwd.text();
    let Some(start) = text.iter().position(|&b| b == b'"') else {
        let word = text.split(|&b| b == b' ').find(|word| !word.is_empty())?;
        return Some(word.to_vec());
    };
    let mut path = Vec::new();
    let mut rest = text[start + 1..].iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte == b'"' && rest.next_if_eq(&b'"').is_none() {
            return Some(path);
        }
        path.push(byte);
    }
    None
}

/// How a path that does not begin at `/` may be spelled so that it does.
fn spellings(path: &[u8]) -> Vec<Vec<u8>> {
    let slashed: Vec<u8> = path.iter().map(|&b| if b == b'\\' { b'/' } else { b }).collect();
    match path {
        // `\home\lena`
        [b'\\', ..] => vec![slashed],
        // `C:\lena`: with the drive as a directory (Serv-U), or without.
        [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic() => {
            vec![[b"/", &slashed[..]].concat(), slashed[2..].to_vec()]
        }
        _ => vms(path).into_iter().collect(),
    }
}

/// `DISK:[DIR.SUB]` as VMS servers take it from Unix clients: `/DISK/DIR/SUB`.
fn vms(path: &[u8]) -> Option<Vec<u8>> {
    let (disk, dirs) = path.strip_suffix(b"]")?.split_at(path.windows(2).position(|two| two == b":[")?);
    let dirs = &dirs[2..];
    if disk.is_empty() || path.contains(&b'/') {
        return None;
    }
    let mut spelled = [b"/", disk].concat();
    for dir in dirs.split(|&b| b == b'.') {
        spelled.push(b'/');
        spelled.extend_from_slice(dir);
    }
    Some(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::ReplyParser;

    #[test]
    fn the_login_directory_is_read_from_its_quotes_or_without() {
        for (text, path) in [
            ("257 \"/home/lena\" is the current directory", Some("/home/lena")),
            ("257 \"/a \"\"b\"\"\"", Some("/a \"b\"")),
            ("257 /no/quotes is current directory", Some("/no/quotes")),
            ("257 \"C:\\lena\"", Some("C:\\lena")),
            ("257 \"/open", None),
            ("257 ", None),
            ("550 /x", None),
        ] {
            let reply = ReplyParser::default().push(format!("{text}\r\n").as_bytes()).unwrap().1.unwrap();
            assert_eq!(told(&reply).as_deref(), path.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn other_notations_have_their_spellings() {
        for (path, expected) in [
            ("\\home\\lena", &["/home/lena"][..]),
            ("C:\\lena\\x", &["/C:/lena/x", "/lena/x"]),
            ("d:/x", &["/d:/x", "/x"]),
            ("DISK$USER:[LENA.WORK]", &["/DISK$USER/LENA/WORK"]),
            ("'LENA.DATA'", &[]),
            ("", &[]),
            ("]", &[]),
            (":[]", &[]),
            ("a:", &[]),
        ] {
            let expected: Vec<Vec<u8>> = expected.iter().map(|path| path.as_bytes().to_vec()).collect();
            assert_eq!(spellings(path.as_bytes()), expected, "{path}");
        }
    }
}
