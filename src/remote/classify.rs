//! What a refusal means, as far as its text tells. Pure; the probes for the rest are in `remote`.

use crate::ftp::error::Error as FtpError;
use crate::ftp::reply::Reply;
use crate::remote::error::Kind;

/// The kind of a failure whose meaning does not depend on the path; `None` where only a look at the server
/// can tell (550 without a known text: vsftpd gives no reasons at all).
pub(crate) fn kind(error: &FtpError) -> Option<Kind> {
    match error {
        FtpError::Io { .. } | FtpError::Closed(_) => Some(Kind::Failed),
        FtpError::Deadline { .. } => Some(Kind::DeadlinePassed),
        FtpError::Misbehaved(_) | FtpError::Listing(_) => Some(Kind::Garbled),
        FtpError::BadArgument(_) => Some(Kind::BadName),
        FtpError::Refused { reply, .. } => refusal(reply),
    }
}

fn refusal(reply: &Reply) -> Option<Kind> {
    const TEXTS: [(&str, Kind); 14] = [
        ("no such file", Kind::NotFound),
        ("no such directory", Kind::NotFound),
        ("not found", Kind::NotFound),
        ("does not exist", Kind::NotFound),
        ("cannot find", Kind::NotFound),
        ("not a directory", Kind::NotADirectory),
        ("is a directory", Kind::IsADirectory),
        ("not a regular file", Kind::IsADirectory),
        ("not a plain file", Kind::IsADirectory),
        ("permission denied", Kind::Denied),
        ("access is denied", Kind::Denied),
        ("access denied", Kind::Denied),
        ("not permitted", Kind::Denied),
        ("forbidden", Kind::Denied),
    ];
    match reply.code() {
        500 | 502 | 504 => return Some(Kind::Unsupported),
        530 => return Some(Kind::Denied),
        553 => return Some(Kind::BadName),
        _ => {}
    }
    let told = TEXTS.iter().find(|(words, _)| reply.says(words)).map(|&(_, kind)| kind);
    // 4xx means "not now" (RFC 959 s.4.2.1): it says nothing about the path, and neither would a look at it.
    told.or(reply.is_transient().then_some(Kind::Failed))
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
            ("450 x: No such file or directory", Some(Kind::NotFound)),
            ("426 Connection closed; transfer aborted.", Some(Kind::Failed)),
        ];
        for (text, kind) in table {
            let line = format!("{text}\r\n");
            let reply = ReplyParser::default().push(line.as_bytes()).unwrap().1.unwrap();
            assert_eq!(refusal(&reply), kind, "{text}");
        }
    }
}
