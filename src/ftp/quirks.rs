//! How a server departs from what RFC 959 lets a client expect, as far as its replies have shown it.
//!
//! Nothing here is guessed from a server's name, but for what is in `ServerProfile::learn_greeting`. `Untold` is the state
//! of a server that has not been seen in the situation; it is then treated as a good one.

use std::time::{Duration, Instant};

use crate::ftp::data::Method;
use crate::ftp::features::Capability;
use crate::ftp::reply::Reply;

/// What replies have shown; part of a [`crate::ftp::profile::ServerProfile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Transfers are announced by a 1xx (RFC 959 s.5.4). `No`: uploads do not wait for one.
    pub announces: Capability,
    /// TYPE I lasts as long as the session. `No`: it is sent again before each transfer and each SIZE.
    pub keeps_type: Capability,
    /// PRET must come before EPSV and PASV (drftpd and others that choose another host for each file).
    pub wants_pret: Capability,
    /// ALLO must come before STOR (RFC 959 s.4.1.3).
    pub wants_allo: Capability,
    /// REST works beyond [`FAR`]. `No`: the server counts with 32 bits, and would send other bytes.
    pub restarts_far: Capability,
    /// The data connection may be made before the transfer that it is for is asked for. `No`: it was refused,
    /// closed, or a transfer failed over it, again and again.
    pub channel_ahead: Capability,
    /// How often it was of no use since it was the last time.
    pub channels_lost: u8,
    /// When that was counted last.
    pub channel_lost_at: Option<Instant>,
    /// What came of those that were asked for on the chance that one is needed.
    pub chances: Chances,
    /// The last login with all commands together failed without a reason.
    pub login_lost: bool,
    /// USER is answered with 331 and PASS with 230: later sessions send both together, and their settings with them.
    pub asks_password: Capability,
    /// EPSV and PASV may follow the end of a transfer's data before the transfer is confirmed.
    pub asks_behind_data: Capability,
    /// Commands that come in one segment with STOR, behind it, are answered in their turn when its data has ended
    /// (vsftpd 3.0.3, ProFTPD 1.3.8, pure-ftpd 1.0.50; pyftpdlib 2.2.0 answers them at once, and EPSV ends the
    /// transfer).
    pub settles_behind: Capability,
    /// A download whose data connection is closed by us is ended by a reply. `No`: pure-ftpd 1.0.50.
    pub ends_abandoned: Capability,
    /// Where it is not, how long the answer to a question behind it took at best.
    pub abandoned_answer: Duration,
    /// Names that differ only in the case of letters are one (IIS, FileZilla Server).
    pub ignores_case: Capability,
    /// STAT lists whole directories on the control connection; see [`crate::ftp::inline`].
    pub lists_inline: Capability,
    /// Ways of making data connections that were answered well and then led nowhere, as behind a firewall.
    pub unreached: Unreached,
}

/// After so many data connections that were made ahead in vain they are made when they are needed. A server that is
/// restarted takes one or two with it.
const ENOUGH_LOST: u8 = 3;

/// Where they have been of use, those that are lost within this time are lost together, by one trouble of the network.
const TOGETHER: Duration = Duration::from_secs(10);

/// How often data connections are asked for on the chance that one is needed. Each counts as asked for in vain until a
/// transfer takes one, whatever became of it: the pause doubles, so that neither ports nor logins are spent on a mount that
/// is only looked at, or by a server that closes for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chances {
    in_vain: u8,
    rests_until: Option<Instant>,
}

impl Chances {
    /// The pause after the first.
    const PAUSE: Duration = Duration::from_secs(10);

    /// It doubles so often, to 21 minutes.
    const DOUBLED: u8 = 7;

    /// Whether one may be asked for; it counts.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        self.rests_until = Some(now + Chances::PAUSE * (1 << self.in_vain));
        self.in_vain = (self.in_vain + 1).min(Chances::DOUBLED);
        true
    }

    /// A transfer has taken one.
    pub(crate) fn was_of_use(&mut self) {
        *self = Chances::default();
    }

    /// A transfer had none: the next one is not waited for.
    pub(crate) fn was_missed(&mut self) {
        self.rests_until = None;
    }
}

impl Quirks {
    /// Counts a data connection that was made ahead and was of use, or of none; whether no more are to be made is
    /// news.
    pub(crate) fn note_channel(&mut self, was_of_use: bool, now: Instant) -> bool {
        if was_of_use {
            self.channels_lost = 0;
            if self.channel_ahead == Capability::Untold {
                self.channel_ahead = Capability::Yes;
            }
            return false;
        }
        let is_one_of_many = self.channel_ahead == Capability::Yes
            && self.channel_lost_at.is_some_and(|at| now.saturating_duration_since(at) < TOGETHER);
        if is_one_of_many {
            return false;
        }
        self.channel_lost_at = Some(now);
        self.channels_lost = self.channels_lost.saturating_add(1);
        let is_news = self.channels_lost == ENOUGH_LOST;
        if is_news {
            self.channel_ahead = Capability::No;
        }
        is_news
    }

    /// Counts a login with all commands together that failed without a reason (a reset, a timeout, an end without a
    /// word); whether it is the second one in a row, and later sessions go step by step.
    pub(crate) fn note_lost_login(&mut self) -> bool {
        let again = std::mem::replace(&mut self.login_lost, true);
        if again {
            self.asks_password = Capability::No;
        }
        again
    }
}

/// Offsets from here on do not fit into a signed number of 32 bits.
pub const FAR: u64 = 1 << 31;

/// A set of [`Method`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreached([bool; 4]);

impl Unreached {
    /// Whether the set has `method`.
    pub fn has(self, method: Method) -> bool {
        self.0[method as usize]
    }

    /// Adds one.
    pub(crate) fn add(&mut self, method: Method) {
        self.0[method as usize] = true;
    }
}

/// Whether the answer to a transfer of `path` tells that it is done in ASCII (TYPE A), which changes line ends.
pub(crate) fn tells_ascii(reply: &Reply, path: &[u8]) -> bool {
    speaks_of(reply, "ascii mode", path) && !reply.says("binary")
}

/// Whether SIZE was refused because of TYPE A: ProFTPD 1.3.8 and pyftpdlib 2.2.0 refuse it there.
pub(crate) fn refuses_for_ascii(reply: &Reply, path: &[u8]) -> bool {
    matches!(reply.code(), 500..=504 | 550) && speaks_of(reply, "ascii", path)
}

/// Whether a refusal of EPSV or PASV asks for PRET.
pub(crate) fn asks_for_pret(reply: &Reply) -> bool {
    reply.says("PRET")
}

/// Whether a refusal of STOR asks for ALLO: the word by itself, since "not allowed" has its letters.
pub(crate) fn asks_for_allo(reply: &Reply, path: &[u8]) -> bool {
    let has_word = |line: &[u8]| line.split(|b| !b.is_ascii_alphanumeric()).any(|word| word == b"ALLO");
    reply.code() >= 500 && reply.lines().any(has_word) && !has_word(path)
}

/// Whether a 530 means that the server has forgotten the login (an idle session, a restarted backend), and not
/// that this user may not do this.
pub(crate) fn forgot_login(reply: &Reply) -> bool {
    const TEXTS: [&str; 5] = ["not logged", "log in", "login", "logged in", "user and pass"];
    reply.code() == 530 && TEXTS.iter().any(|words| reply.says(words))
}

/// Whether a reply has these words (in lower case) other than by quoting the path.
fn speaks_of(reply: &Reply, words: &str, path: &[u8]) -> bool {
    reply.says(words)
        && !path.to_ascii_lowercase().windows(words.len()).any(|window| window == words.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_chances_doubles_until_one_is_taken() {
        let begin = Instant::now();
        let mut chances = Chances::default();
        let taken = |chances: &mut Chances, until: u64| -> Vec<u64> {
            let seconds = (0..until).step_by(10);
            seconds.filter(|&second| chances.take(begin + Duration::from_secs(second))).collect()
        };
        assert_eq!(taken(&mut chances, 6400), [0, 10, 30, 70, 150, 310, 630, 1270, 2550, 3830, 5110, 6390]);
        chances.was_missed();
        assert_eq!(taken(&mut chances, 100), [0], "one more, and no second one");
        chances.was_of_use();
        assert_eq!(taken(&mut chances, 100), [0, 10, 30, 70]);
    }

    #[test]
    fn channels_that_are_lost_together_count_once_where_they_were_of_use() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut new = Quirks::default();
        assert_eq!([0, 0, 0].map(|second| new.note_channel(false, at(second))), [false, false, true]);
        assert_eq!(new.channel_ahead, Capability::No);
        let mut proven = Quirks::default();
        proven.note_channel(true, at(0));
        let told = [1, 2, 10, 12, 13, 30].map(|second| proven.note_channel(false, at(second)));
        assert_eq!(told, [false, false, false, false, false, true]);
        let mut useful = Quirks::default();
        useful.note_channel(true, at(0));
        for second in (0..100).step_by(20) {
            assert!(!useful.note_channel(false, at(second)));
            useful.note_channel(true, at(second + 1));
        }
        assert_eq!(useful.channel_ahead, Capability::Yes);
    }

    #[test]
    fn two_logins_that_are_lost_in_a_row_are_not_the_networks_fault() {
        let mut quirks = Quirks { asks_password: Capability::Yes, ..Quirks::default() };
        assert!(!quirks.note_lost_login());
        quirks.login_lost = false;
        assert!(!quirks.note_lost_login());
        assert_eq!(quirks.asks_password, Capability::Yes);
        assert!(quirks.note_lost_login());
        assert_eq!(quirks.asks_password, Capability::No);
    }
    use crate::ftp::reply::ReplyParser;

    fn reply(text: &str) -> Reply {
        ReplyParser::default().push(format!("{text}\r\n").as_bytes()).unwrap().1.unwrap()
    }

    #[test]
    fn ascii_is_seen_unless_the_name_says_it() {
        for (text, path, told) in [
            ("150 Opening ASCII mode data connection for x (5 bytes)", "/x", true),
            ("150 Opening BINARY mode data connection for x", "/x", false),
            ("150 Opening BINARY mode data connection for ascii mode", "/ascii mode", false),
            ("150 Opening data connection for ASCII mode.txt", "/ASCII mode.txt", false),
            ("150 ok", "/x", false),
        ] {
            assert_eq!(tells_ascii(&reply(text), path.as_bytes()), told, "{text}");
        }
        for (text, path, told) in [
            ("550 SIZE not allowed in ASCII mode", "/x", true),
            ("550 SIZE not allowed in ASCII mode.", "/ascii", false),
            ("550 x: No such file", "/x", false),
            ("213 7", "/x", false),
        ] {
            assert_eq!(refuses_for_ascii(&reply(text), path.as_bytes()), told, "{text}");
        }
    }

    #[test]
    fn what_is_asked_for_is_read_from_the_word_itself() {
        for (text, pret) in [
            ("500 You need to use a client supporting PRET (PRE Transfer) to use PASV", true),
            ("500 Unknown command", false),
        ] {
            assert_eq!(asks_for_pret(&reply(text)), pret, "{text}");
        }
        for (text, path, allo) in [
            ("503 ALLO required before STOR", "/x", true),
            ("550 Not allowed", "/x", false),
            ("550 ALLO: File exists", "/ALLO", false),
            ("226 ALLO", "/x", false),
        ] {
            assert_eq!(asks_for_allo(&reply(text), path.as_bytes()), allo, "{text}");
        }
    }

    #[test]
    fn a_lost_login_is_not_a_missing_right() {
        for (text, lost) in [
            ("530 Please login with USER and PASS.", true),
            ("530 Not logged in", true),
            ("530 Access denied", false),
            ("550 Please login", false),
        ] {
            assert_eq!(forgot_login(&reply(text)), lost, "{text}");
        }
    }
}
