//! What a refusal means, as far as its text and code tell. Pure; the looks for the rest are in `explain`.

use crate::ftp::error::Error as FtpError;
use crate::ftp::proxy::ProxyError;
use crate::ftp::reply::Reply;
use crate::remote::error::Kind;

/// The kind of a failure whose meaning does not depend on the path; `None` where only a look at the server
/// can tell (550 and 553 without a known text: vsftpd gives no reasons at all).
pub(crate) fn kind(error: &FtpError) -> Option<Kind> {
    match error {
        FtpError::Io { .. } | FtpError::Closed(_) | FtpError::SilentEnd => Some(Kind::Failed),
        FtpError::Deadline { .. } | FtpError::Proxy { error: ProxyError::Deadline(_), .. } => {
            Some(Kind::DeadlinePassed)
        }
        FtpError::Proxy { .. } => Some(Kind::Unreachable),
        FtpError::Misbehaved(_) | FtpError::Listing(_) => Some(Kind::Garbled),
        FtpError::BadArgument(_) => Some(Kind::BadName),
        FtpError::Untrusted(_) => Some(Kind::Insecure),
        FtpError::Refused { command, reply } => refusal(command, reply),
    }
}

fn refusal(command: &str, reply: &Reply) -> Option<Kind> {
    // "Command not found" speaks of no file.
    if matches!(reply.code(), 500 | 502 | 504) {
        return Some(Kind::Unsupported);
    }
    told(command, reply).or(match reply.code() {
        452 | 552 => Some(Kind::NoSpace),
        521 => Some(Kind::Exists),
        530 | 532 => Some(Kind::Denied),
        // 4xx means "not now" (RFC 959 s.4.2.1): it says nothing about the path, and neither would a look at it.
        400..500 => Some(Kind::Failed),
        _ => None,
    })
}

/// What the text of a refusal says, whatever its code: pure-ftpd 1.0.50 puts errno's words behind 553 and 451. Words
/// that the path in `command` has as well say nothing: most servers repeat it.
pub(crate) fn told(command: &str, reply: &Reply) -> Option<Kind> {
    const TEXTS: [(&str, Kind); 35] = [
        ("no such file", Kind::NotFound),
        ("no such directory", Kind::NotFound),
        ("not found", Kind::NotFound),
        ("does not exist", Kind::NotFound),
        ("doesn't exist", Kind::NotFound),
        ("cannot find", Kind::NotFound),
        ("not a directory", Kind::NotADirectory),
        ("is a directory", Kind::IsADirectory),
        ("not a regular file", Kind::IsADirectory),
        ("not a plain file", Kind::IsADirectory),
        ("not empty", Kind::NotEmpty),
        ("file exists", Kind::Exists),
        ("already exists", Kind::Exists),
        ("quota", Kind::OverQuota),
        ("no space", Kind::NoSpace),
        ("not enough space", Kind::NoSpace),
        ("insufficient storage", Kind::NoSpace),
        ("insufficient space", Kind::NoSpace),
        ("disk full", Kind::NoSpace),
        ("disk is full", Kind::NoSpace),
        ("read-only file system", Kind::ReadOnly),
        ("read only file system", Kind::ReadOnly),
        ("permission denied", Kind::Denied),
        ("access is denied", Kind::Denied),
        ("access denied", Kind::Denied),
        ("not permitted", Kind::Denied),
        ("privilege", Kind::Denied),
        ("forbidden", Kind::Denied),
        ("file name too long", Kind::BadName),
        ("invalid directory name", Kind::BadName),
        ("invalid file name", Kind::BadName),
        ("invalid filename", Kind::BadName),
        ("name not allowed", Kind::BadName),
        ("illegal file name", Kind::BadName),
        ("illegal filename", Kind::BadName),
    ];
    let path = command.split_once(' ').map(|(_, path)| path.to_ascii_lowercase()).unwrap_or_default();
    TEXTS.iter().find(|(words, _)| reply.says(words) && !path.contains(words)).map(|&(_, kind)| kind)
}

/// Whether a code may mean the name itself where nothing else explains the refusal (RFC 959 s.4.2.2: 553 "file
/// name not allowed", 501 "syntax error in parameters").
pub(crate) fn may_mean_the_name(reply: &Reply) -> bool {
    matches!(reply.code(), 501 | 553)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::ReplyParser;

    #[test]
    fn texts_of_real_servers() {
        let table = [
            ("550 /x: No such file or directory", Some(Kind::NotFound)),
            ("550 Can't change directory to x: Permission denied", Some(Kind::Denied)),
            ("550 x: Not a directory", Some(Kind::NotADirectory)),
            ("550 I can only retrieve regular files; is a directory", Some(Kind::IsADirectory)),
            ("550 Failed to open file.", None),
            ("550 Can't check for file existence", None),
            ("502 Command not implemented", Some(Kind::Unsupported)),
            ("500 Command not found", Some(Kind::Unsupported)),
            ("450 x: No such file or directory", Some(Kind::NotFound)),
            ("426 Connection closed; transfer aborted.", Some(Kind::Failed)),
            ("553 Could not create file.", None),
            ("501 Syntax error in parameters", None),
            ("553 Can't open that file: Permission denied", Some(Kind::Denied)),
            ("553 Can't open that file: Is a directory", Some(Kind::IsADirectory)),
            ("550 x: File exists", Some(Kind::Exists)),
            ("521 \"/x\" directory exists", Some(Kind::Exists)),
            ("550 x: Directory not empty", Some(Kind::NotEmpty)),
            ("451 Rename/move failure: Directory not empty", Some(Kind::NotEmpty)),
            ("452 Insufficient storage", Some(Kind::NoSpace)),
            ("452 x: Disk quota exceeded", Some(Kind::OverQuota)),
            ("552 Disk full - please upload later", Some(Kind::NoSpace)),
            ("552 Quota exceeded: [x] won't be saved", Some(Kind::OverQuota)),
            ("552 Exceeded storage allocation", Some(Kind::NoSpace)),
            ("550 x: No space left on device", Some(Kind::NoSpace)),
            ("550 x: Read-only file system", Some(Kind::ReadOnly)),
            ("550 Not enough privileges.", Some(Kind::Denied)),
            ("530 Not logged in", Some(Kind::Denied)),
            ("553 x: Invalid filename", Some(Kind::BadName)),
            ("550 /*: Invalid directory name", Some(Kind::BadName)),
            ("550 x: File name too long", Some(Kind::BadName)),
            ("451 Failure writing to local file.", Some(Kind::Failed)),
        ];
        for (text, kind) in table {
            let line = format!("{text}\r\n");
            let reply = ReplyParser::default().push(line.as_bytes()).unwrap().1.unwrap();
            assert_eq!(refusal("RETR /x", &reply), kind, "{text}");
        }
    }

    #[test]
    fn words_of_the_path_say_nothing() {
        for (command, text, kind) in [
            ("STOR /Quota/x", "550 /Quota/x: Permission denied", Some(Kind::Denied)),
            ("RETR /not found/x", "550 /not found/x: Permission denied", Some(Kind::Denied)),
            ("RETR /not found/x", "550 /not found/x: Failed to open file.", None),
            ("CWD /not found", "550 /not found: No such file or directory", Some(Kind::NotFound)),
        ] {
            let reply = ReplyParser::default().push(format!("{text}\r\n").as_bytes()).unwrap().1.unwrap();
            assert_eq!(refusal(command, &reply), kind, "{text}");
        }
    }
}
