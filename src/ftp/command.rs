//! Commands on the control connection: one encoder, which nothing from outside can turn into two commands.

use std::fmt;

use crate::ftp::error::Error;

/// Longest command line sent, in bytes with its CR LF. vsftpd 3.0.3 closes the connection at 4100 and
/// proftpd 1.3.8 does not answer there at all.
const LINE_MAX: usize = 4000;

/// One command with its argument, not yet encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    verb: &'static str,
    argument: Option<Vec<u8>>,
    secret: bool,
}

/// Whether a command makes the server change something.
pub(crate) fn changes_something(words: &str) -> bool {
    let verb = words.split(' ').next().unwrap_or_default();
    matches!(
        verb,
        "DELE" | "RMD" | "MKD" | "RNFR" | "RNTO" | "STOR" | "APPE" | "MFF" | "MFMT" | "MDTM" | "SITE"
    )
}

impl Command {
    /// A command without argument.
    pub fn bare(verb: &'static str) -> Command {
        Command { verb, argument: None, secret: false }
    }

    /// A command with an argument, raw bytes.
    pub fn with(verb: &'static str, argument: impl Into<Vec<u8>>) -> Command {
        Command { verb, argument: Some(argument.into()), secret: false }
    }

    /// A command whose argument never appears in a log or an error.
    pub fn secret(verb: &'static str, argument: impl Into<Vec<u8>>) -> Command {
        Command { verb, argument: Some(argument.into()), secret: true }
    }

    /// The length of the line in bytes, at most.
    pub(crate) fn length(&self, double_iac: bool) -> usize {
        let argument = self.argument.as_deref().unwrap_or(&[]);
        let doubled = if double_iac { argument.iter().filter(|&&b| b == 0xff).count() } else { 0 };
        self.verb.len() + argument.len() + doubled + 3
    }

    /// The argument that nobody may see, where it is one.
    pub(crate) fn hidden(&self) -> Option<&[u8]> {
        self.argument.as_deref().filter(|_| self.secret)
    }

    /// Appends the line. With `double_iac` a byte 0xFF is sent twice, as telnet wants it (RFC 959 s.4.1.3
    /// note, RFC 854); proftpd 1.3.8 needs that, vsftpd, pure-ftpd and pyftpdlib take it literally.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for CR, LF and NUL, which would end the command, and for a line that is longer
    /// than servers take. Nothing is appended then.
    pub fn encode(&self, double_iac: bool, line: &mut Vec<u8>) -> Result<(), Error> {
        let argument = self.argument.as_deref().unwrap_or(&[]);
        if argument.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(Error::BadArgument("a CR, LF or NUL cannot be sent inside an FTP command"));
        }
        if self.verb.len() + argument.len() + 3 > LINE_MAX {
            return Err(Error::BadArgument("the path is longer than FTP servers accept"));
        }
        line.extend_from_slice(self.verb.as_bytes());
        if self.argument.is_some() {
            line.push(b' ');
            for &byte in argument {
                line.push(byte);
                if byte == 0xff && double_iac {
                    line.push(byte);
                }
            }
        }
        line.extend_from_slice(b"\r\n");
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.argument {
            None => write!(f, "{}", self.verb),
            Some(_) if self.secret => write!(f, "{} ***", self.verb),
            Some(argument) => {
                write!(f, "{} {}", self.verb, String::from_utf8_lossy(argument))
            }
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_argument_becomes_a_second_command() {
        for bad in [&b"a\r\nDELE b"[..], b"a\nb", b"a\rb", b"a\0b"] {
            let mut line = Vec::new();
            assert!(matches!(
                Command::with("RETR", bad).encode(false, &mut line),
                Err(Error::BadArgument(_))
            ));
            assert!(line.is_empty());
        }
        assert!(Command::with("RETR", vec![b'x'; 5000]).encode(false, &mut Vec::new()).is_err());
    }

    #[test]
    fn bytes_travel_as_they_are() {
        let mut line = Vec::new();
        Command::with("RETR", &b" -*\xe9\xff"[..]).encode(false, &mut line).unwrap();
        Command::with("RETR", &b"\xff"[..]).encode(true, &mut line).unwrap();
        Command::bare("PWD").encode(false, &mut line).unwrap();
        assert_eq!(line, b"RETR  -*\xe9\xff\r\nRETR \xff\xff\r\nPWD\r\n");
    }

    #[test]
    fn secrets_do_not_show() {
        let command = Command::secret("PASS", &b"hunter2"[..]);
        assert_eq!(command.to_string(), "PASS ***");
        assert!(!format!("{command:?}").contains("hunter2"));
    }
}
