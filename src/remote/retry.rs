//! Which failed attempts are worth another one, and when. Pure.

use std::time::Duration;

use crate::ftp::error::Error;
use crate::ftp::proxy::ProxyError;
use crate::remote::classify;

/// Attempts at one verb, the first included. All verbs may be repeated: `change` sees to those that would find
/// themselves done.
const ATTEMPTS: u32 = 4;

/// What servers say behind 5xx when they mean "not now".
const TRANSIENT: [&str; 6] =
    ["broken pipe", "timed out", "try again", "try later", "temporarily", "connection reset"];

/// How long to wait before the next attempt; `None` when another would change nothing. `attempt` counts from
/// 1; `fresh` tells whether the connection was made for this attempt.
pub(crate) fn pause_before_next(attempt: u32, fresh: bool, error: &Error) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let backoff = Duration::from_millis(150) * 2_u32.pow(attempt - 1);
    match error {
        Error::BadArgument(_) | Error::Listing(_) | Error::Untrusted(_) => None,
        Error::Proxy { error: ProxyError::Denied(_) | ProxyError::Garbled(_), .. } => None,
        Error::Proxy { .. } => Some(backoff),
        // pure-ftpd 1.0.50 refuses RNTO for good with 451, ProFTPD 1.3.8 much else with 450.
        Error::Refused { command, reply } if classify::told(command, reply).is_some() => None,
        // 5xx is final (RFC 959 s.4.2.1), but for the texts of servers that mean "not now".
        Error::Refused { reply, .. }
            if reply.is_transient() || TRANSIENT.iter().any(|words| reply.says(words)) =>
        {
            Some(backoff)
        }
        Error::Refused { .. } => None,
        // The server, or a box on the way, had dropped the idle connection: nothing is wrong with the server.
        Error::Io { .. } | Error::Closed(_) if !fresh => Some(Duration::ZERO),
        Error::Io { .. } | Error::Closed(_) | Error::SilentEnd | Error::Deadline { .. } => Some(backoff),
        // Something came late that answered an earlier command; another connection is in step.
        Error::Misbehaved(_) if !fresh => Some(Duration::ZERO),
        Error::Misbehaved(_) => (attempt == 1).then_some(backoff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::ReplyParser;

    fn refused(text: &str) -> Error {
        let reply = ReplyParser::default().push(text.as_bytes()).unwrap().1.unwrap();
        Error::Refused { command: "RETR x".into(), reply }
    }

    #[test]
    fn final_answers_are_not_asked_for_again() {
        for text in [
            "550 No.\r\n",
            "500 what\r\n",
            "450 x: No such file or directory\r\n",
            "451 Directory not empty\r\n",
        ] {
            assert_eq!(pause_before_next(1, true, &refused(text)), None, "{text}");
        }
        assert_eq!(pause_before_next(1, true, &Error::BadArgument("x")), None);
    }

    #[test]
    fn what_may_pass_is_tried_again_but_not_for_ever() {
        for error in [
            refused("426 aborted\r\n"),
            refused("550 Connection timed out\r\n"),
            refused("550 x: Broken pipe\r\n"),
            refused("553 Server busy, please try again\r\n"),
            Error::Closed(None),
        ] {
            assert!(pause_before_next(1, true, &error).is_some(), "{error}");
            assert_eq!(pause_before_next(ATTEMPTS, true, &error), None);
        }
        assert_eq!(pause_before_next(1, false, &Error::Closed(None)), Some(Duration::ZERO));
    }
}
