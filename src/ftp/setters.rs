//! The ways of setting a mode, a time or a group, and what becomes of one.

use crate::ftp::change::Granted;
use crate::ftp::command::Command;
use crate::ftp::error::Error;
use crate::ftp::features::Capability;
use crate::ftp::profile::ServerProfile;
use crate::ftp::query::Facts;
use crate::ftp::reply::Reply;
use crate::ftp::time::{self, Modified};

/// A command that sets something of a path, and that not every server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setter {
    /// `MFMT time path` (draft-somers-ftp-mfxx-04 s.3).
    Mfmt,
    /// `MFF modify=time; path` (draft-somers-ftp-mfxx-04 s.6).
    MffModify,
    /// `MDTM time path`: vsftpd 3.0.3, Serv-U. Others take it as the name of a file.
    Mdtm,
    /// `SITE UTIME time path`.
    SiteUtime,
    /// `SITE UTIME path atime mtime ctime UTC`.
    SiteUtimes,
    /// `SITE CHMOD mode path`.
    SiteChmod,
    /// `MFF UNIX.mode=mode; path` (draft-somers-ftp-mfxx-04 s.6).
    MffMode,
    /// `SITE SYMLINK target path`: ProFTPD with mod_site_misc.
    SiteSymlink,
    /// `SITE CHGRP group path`: ProFTPD.
    SiteChgrp,
    /// `MFF UNIX.group=group; path`: ProFTPD 1.3.8.
    MffGroup,
}

/// How many [`Setter`]s there are.
pub(crate) const SETTERS: usize = 10;

/// The ways of setting a time, the best first.
pub(crate) const TIME_SETTERS: [Setter; 5] =
    [Setter::Mfmt, Setter::MffModify, Setter::Mdtm, Setter::SiteUtime, Setter::SiteUtimes];

/// The ways of setting a mode. ProFTPD 1.3.8 drops blanks at the end of SITE CHMOD's path, and quotes in it:
/// another file gets the mode.
const MODE_SETTERS: [Setter; 2] = [Setter::MffMode, Setter::SiteChmod];

/// The ways of setting a group. What ProFTPD 1.3.8 does with SITE CHMOD's path, it does with SITE CHGRP's.
pub(crate) const GROUP_SETTERS: [Setter; 2] = [Setter::MffGroup, Setter::SiteChgrp];

/// Servers' clocks are wrong by whole quarters of an hour where they take local time, up to this many seconds.
const FARTHEST_ZONE: u64 = 14 * 3600;
const ZONE_STEP: i64 = 900;

/// Times on FAT are even.
const ROUNDED: u64 = 2;

impl Setter {
    /// Whether it sets modes.
    pub(crate) fn is_of_modes(self) -> bool {
        MODE_SETTERS.contains(&self)
    }

    /// Whether it sets groups.
    pub(crate) fn is_of_groups(self) -> bool {
        GROUP_SETTERS.contains(&self)
    }
}

/// What is to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Permission bits, 07777.
    Mode(u16),
    /// A modification time.
    Time(Modified),
    /// The number of a group on the server.
    Group(u32),
}

impl Value {
    /// In the words of `setter`; `None` for a time that has none.
    fn words(self, shift: i64) -> Option<String> {
        match self {
            // Three octal digits, or four where the upper bits are set. Letters are never sent: vsftpd 3.0.3 and
            // pure-ftpd 1.0.50 take `u+x` as mode 0.
            Value::Mode(mode) => Some(format!("{:03o}", mode & 0o7777)),
            // The number is the server's, and so would a name be: as text it could be anything.
            Value::Group(group) => Some(group.to_string()),
            Value::Time(time) => {
                let seconds = time.seconds.checked_sub(shift)?;
                time::time_value(Modified { seconds, ..time })
            }
        }
    }
}

/// One wish on its way: the value to send, and what became of it.
pub(crate) struct Wish {
    value: Option<Value>,
    granted: Option<Granted>,
    /// Ways that refused, where another may be meant.
    passed_over: Vec<Setter>,
    /// The first refusal.
    refusal: Option<Error>,
    done_by: Option<Setter>,
    shifted: bool,
}

/// What the reply to one way of setting means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is set, and that was seen.
    Seen,
    /// It is said to be set.
    Done,
    /// The server does not have this way, or it does not do what it says.
    Unknown,
    /// This is the time that came out, by so many seconds later: a local time.
    Shifted(i64),
    /// Refused, perhaps because the server has another form of the command.
    Elsewhere,
    /// Refused.
    Refused,
}

impl Wish {
    /// `None` for no wish.
    pub(crate) fn new(value: Option<Value>) -> Wish {
        let granted = value.is_none().then_some(Granted::NotAsked);
        Wish { value, granted, passed_over: Vec::new(), refusal: None, done_by: None, shifted: false }
    }

    /// The way to try next, with the value in its words; `None` where it is settled.
    pub(crate) fn next(&mut self, profile: &ServerProfile) -> Option<(Setter, String)> {
        let value = self.value.filter(|_| self.granted.is_none())?;
        let ways = match value {
            Value::Mode(_) => &MODE_SETTERS[..],
            Value::Time(_) => &TIME_SETTERS[..],
            Value::Group(_) => &GROUP_SETTERS[..],
        };
        let possible = |&setter: &Setter| {
            profile.setter(setter) != Capability::No && !self.passed_over.contains(&setter)
        };
        let Some(setter) = ways.iter().copied().find(possible) else {
            let refused = self.refusal.take().map(Granted::Refused);
            self.granted = Some(refused.unwrap_or(Granted::Unsupported));
            return None;
        };
        let words = value.words(profile.shift(setter));
        if words.is_none() {
            let error = Error::BadArgument("FTP has no word for a time before 1970 or after the year 9999");
            self.granted = Some(Granted::Refused(error));
        }
        Some((setter, words?))
    }

    /// What a reply, and what the path was told to be after it (`group`: by the fact `UNIX.group`), say of a way.
    pub(crate) fn judge(
        &self,
        setter: Setter,
        profile: &ServerProfile,
        reply: &Reply,
        facts: &Result<Facts, Error>,
        group: Option<u32>,
    ) -> Outcome {
        let known = profile.setter(setter);
        if is_unknown(reply.code(), known) {
            return Outcome::Unknown;
        }
        if !reply.is_completion() {
            return match setter {
                // vsftpd 3.0.3: "Could not set file modification time." where it sets, "Could not get" where not.
                Setter::Mdtm if known == Capability::Untold => {
                    let sets = reply.says("not set") || reply.is_transient();
                    if sets { Outcome::Refused } else { Outcome::Unknown }
                }
                Setter::SiteUtime if known == Capability::Untold => Outcome::Elsewhere,
                _ => Outcome::Refused,
            };
        }
        if profile.is_proven(setter) {
            return Outcome::Done;
        }
        match self.value {
            Some(Value::Mode(mode)) => match facts {
                Ok(Facts::Whole(entry)) if entry.mode.is_some_and(|told| (told ^ mode) & 0o777 != 0) => {
                    Outcome::Unknown
                }
                Ok(Facts::Whole(entry)) if entry.mode.is_some() => Outcome::Seen,
                _ => Outcome::Done,
            },
            Some(Value::Time(wished)) => {
                let told = match facts {
                    Ok(Facts::Whole(entry)) => entry.modified,
                    Ok(Facts::File { modified, .. }) => *modified,
                    Ok(Facts::Doubtful) | Err(_) => None,
                };
                // A server that only tells times has taken the time for a part of the name.
                let in_reply = || time::parse_time_value(reply.text().trim_ascii());
                let told = told.or_else(|| if setter == Setter::Mdtm { in_reply() } else { None });
                told.map_or(Outcome::Done, |told| compare(told.seconds, wished.seconds))
            }
            Some(Value::Group(wished)) => match group {
                Some(told) if told == wished => Outcome::Seen,
                Some(_) => Outcome::Unknown,
                None => Outcome::Done,
            },
            None => Outcome::Done,
        }
    }

    /// Keeps a refusal by `setter`.
    pub(crate) fn was_refused(&mut self, setter: Setter, error: Error) {
        self.passed_over.push(setter);
        self.refusal.get_or_insert(error);
    }

    /// Settles the wish, or has it tried again: whether it is.
    pub(crate) fn take(&mut self, setter: Setter, outcome: Outcome, profile: &ServerProfile) -> bool {
        match outcome {
            Outcome::Seen | Outcome::Done => {
                self.granted = Some(Granted::Yes);
                self.done_by = Some(setter);
                profile.learn_setter(setter, true);
                // A local time is looked at each time: it is another one in summer.
                if outcome == Outcome::Seen && profile.shift(setter) == 0 {
                    profile.prove(setter);
                }
                for &other in &self.passed_over {
                    profile.learn_setter(other, false);
                }
                false
            }
            Outcome::Shifted(by) if !self.shifted => {
                self.shifted = true;
                profile.learn_shift(setter, profile.shift(setter) + by);
                true
            }
            Outcome::Unknown | Outcome::Shifted(_) => {
                profile.learn_setter(setter, false);
                true
            }
            Outcome::Elsewhere => true,
            Outcome::Refused => {
                self.granted = self.refusal.take().map(Granted::Refused);
                false
            }
        }
    }

    /// The way that is only said to have set it.
    pub(crate) fn unseen(&self, profile: &ServerProfile) -> Option<Setter> {
        self.done_by.filter(|&setter| !profile.is_proven(setter))
    }

    /// What became of it.
    pub(crate) fn outcome(self) -> Granted {
        self.granted.unwrap_or(Granted::Unsupported)
    }
}

fn compare(told: i64, wished: i64) -> Outcome {
    match told.saturating_sub(wished) {
        by if by.unsigned_abs() <= ROUNDED => Outcome::Seen,
        by if by % ZONE_STEP == 0 && by.unsigned_abs() <= FARTHEST_ZONE => Outcome::Shifted(by),
        _ => Outcome::Unknown,
    }
}

/// The command that sets `value` by `setter`.
pub(crate) fn setting(setter: Setter, value: &str, path: &[u8]) -> Command {
    let (verb, start) = match setter {
        Setter::Mfmt => ("MFMT", format!("{value} ")),
        Setter::MffModify => ("MFF", format!("modify={value}; ")),
        Setter::Mdtm => ("MDTM", format!("{value} ")),
        Setter::SiteUtime => ("SITE", format!("UTIME {value} ")),
        Setter::SiteUtimes => {
            let times = format!(" {value} {value} {value} UTC");
            return Command::with("SITE", [b"UTIME ", path, times.as_bytes()].concat());
        }
        Setter::SiteChmod => ("SITE", format!("CHMOD {value} ")),
        Setter::MffMode => ("MFF", format!("UNIX.mode={value}; ")),
        Setter::SiteSymlink => ("SITE", format!("SYMLINK {value} ")),
        Setter::SiteChgrp => ("SITE", format!("CHGRP {value} ")),
        Setter::MffGroup => ("MFF", format!("UNIX.group={value}; ")),
    };
    Command::with(verb, [start.as_bytes(), path].concat())
}

/// Whether a code says that there is no such command. 501 may also mean the name where the command is known.
pub(crate) fn is_unknown(code: u16, known: Capability) -> bool {
    matches!(code, 500 | 502 | 504) || (code == 501 && known == Capability::Untold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::features::Features;
    use crate::ftp::list::{EntryKind, RemoteEntry};
    use crate::ftp::reply::ReplyParser;
    use crate::ftp::time::Precision;

    const SECONDS: i64 = 1_710_006_301;

    fn reply(text: &str) -> Reply {
        ReplyParser::default().push(format!("{text}\r\n").as_bytes()).unwrap().1.unwrap()
    }

    fn at(seconds: i64) -> Modified {
        Modified { seconds, nanos: 0, precision: Precision::Second }
    }

    fn with_mode(mode: u16) -> Result<Facts, Error> {
        Ok(Facts::Whole(RemoteEntry {
            name: b"x"[..].into(),
            kind: EntryKind::File,
            size: Some(0),
            modified: None,
            mode: Some(mode),
            link_target: None,
            unique: None,
        }))
    }

    #[test]
    fn each_way_of_setting_has_its_words() {
        let path = b"/ a  b\xff";
        let modes = [(0o644, "644"), (0o7, "007"), (0, "000"), (0o4755, "4755"), (0o10_644, "644")];
        for (mode, digits) in modes {
            assert_eq!(Value::Mode(mode).words(0).as_deref(), Some(digits));
        }
        assert_eq!(Value::Time(at(SECONDS)).words(3600).as_deref(), Some("20240309164501"));
        assert_eq!(Value::Time(at(-1)).words(0), None);
        assert_eq!(Value::Group(4_294_967_294).words(0).as_deref(), Some("4294967294"));
        let time = "20240309174501";
        for (setter, value, line) in [
            (Setter::Mfmt, time, &b"MFMT 20240309174501 / a  b\xff\r\n"[..]),
            (Setter::MffModify, time, b"MFF modify=20240309174501; / a  b\xff\r\n"),
            (Setter::Mdtm, time, b"MDTM 20240309174501 / a  b\xff\r\n"),
            (Setter::SiteUtime, time, b"SITE UTIME 20240309174501 / a  b\xff\r\n"),
            (
                Setter::SiteUtimes,
                time,
                b"SITE UTIME / a  b\xff 20240309174501 20240309174501 20240309174501 UTC\r\n",
            ),
            (Setter::SiteChmod, "644", b"SITE CHMOD 644 / a  b\xff\r\n"),
            (Setter::MffMode, "644", b"MFF UNIX.mode=644; / a  b\xff\r\n"),
            (Setter::SiteChgrp, "60991", b"SITE CHGRP 60991 / a  b\xff\r\n"),
            (Setter::MffGroup, "60991", b"MFF UNIX.group=60991; / a  b\xff\r\n"),
        ] {
            let mut encoded = Vec::new();
            setting(setter, value, path).encode(false, &mut encoded).unwrap();
            assert_eq!(encoded, line, "{setter:?}");
        }
    }

    #[test]
    fn what_a_reply_says_of_a_setter() {
        use Capability::{Untold, Yes};
        use Outcome::{Done, Elsewhere, Refused, Seen, Shifted, Unknown};
        let file = |seconds| Ok(Facts::File { size: 0, modified: Some(at(seconds)) });
        let silent = || Err(Error::BadArgument("a directory"));
        let set = "213 File modification time set.";
        for (setter, known, text, facts, outcome) in [
            (Setter::SiteChmod, Untold, "200 SITE CHMOD command ok.", silent(), Done),
            (Setter::SiteChmod, Untold, "200 SITE CHMOD command ok.", with_mode(0o640), Seen),
            (Setter::SiteChmod, Untold, "200 SITE CHMOD command ok.", with_mode(0o644), Unknown),
            (Setter::SiteChmod, Untold, "500 Unknown SITE command.", silent(), Unknown),
            (Setter::SiteChmod, Untold, "501 what", silent(), Unknown),
            (Setter::SiteChmod, Yes, "501 what", silent(), Refused),
            (Setter::SiteChmod, Yes, "550 SITE CHMOD command failed.", silent(), Refused),
            (Setter::SiteUtime, Untold, "213 UTIME OK", silent(), Done),
            (Setter::SiteUtime, Untold, "550 20240309174501: No such file", silent(), Elsewhere),
            (Setter::SiteUtime, Yes, "550 x: No such file", silent(), Refused),
            (Setter::Mfmt, Yes, "502 Unknown", silent(), Unknown),
            (Setter::Mfmt, Yes, "213 Modify=20240309174501; /x", file(5), Unknown),
            (Setter::Mfmt, Yes, "200 ok", file(SECONDS), Seen),
            (Setter::Mfmt, Yes, "250 ok", file(SECONDS - 1), Seen),
            (Setter::Mfmt, Yes, "253 ok", file(SECONDS + 7200), Shifted(7200)),
            (Setter::Mfmt, Yes, "213 ok", file(SECONDS - 20_700), Shifted(-20_700)),
            (Setter::Mfmt, Yes, "213 ok", file(SECONDS + 86_400), Unknown),
            (Setter::Mdtm, Untold, set, file(SECONDS), Seen),
            (Setter::Mdtm, Untold, set, silent(), Done),
            (Setter::Mdtm, Untold, set, file(5), Unknown),
            (Setter::Mdtm, Untold, "213 20200101000000", silent(), Unknown),
            (Setter::Mdtm, Untold, "550 Could not set file modification time.", silent(), Refused),
            (Setter::Mdtm, Untold, "550 Could not get file modification time.", file(5), Unknown),
        ] {
            let profile = ServerProfile::default();
            if known == Yes {
                profile.learn_setter(setter, true);
            }
            let value = if setter.is_of_modes() { Value::Mode(0o640) } else { Value::Time(at(SECONDS)) };
            let wish = Wish::new(Some(value));
            assert_eq!(
                wish.judge(setter, &profile, &reply(text), &facts, None),
                outcome,
                "{setter:?}: {text}"
            );
        }
    }

    #[test]
    fn a_group_is_seen_in_the_fact_of_that_name() {
        use Outcome::{Done, Refused, Seen, Unknown};
        for (text, group, outcome) in [
            ("200 SITE CHGRP command successful", Some(7), Seen),
            ("200 SITE CHGRP command successful", Some(8), Unknown),
            ("200 SITE CHGRP command successful", None, Done),
            ("500 'SITE CHGRP' not understood", None, Unknown),
            ("550 x: Operation not permitted", Some(8), Refused),
        ] {
            let (profile, wish) = (ServerProfile::default(), Wish::new(Some(Value::Group(7))));
            let judged = wish.judge(Setter::SiteChgrp, &profile, &reply(text), &with_mode(0o644), group);
            assert_eq!(judged, outcome, "{text}, {group:?}");
        }
    }

    #[test]
    fn a_group_goes_by_mff_where_it_is_announced_and_nowhere_a_second_time_where_nothing_works() {
        for (mff, first) in [
            ("MFF modify;UNIX.group;UNIX.mode;", Setter::MffGroup),
            ("MFF UNIX.groupname;UNIX.mode;", Setter::SiteChgrp),
        ] {
            let profile = ServerProfile::default();
            profile.learn_features(Features::from_reply(&reply(&format!("211-x\r\n {mff}\r\n211 End"))));
            let mut wish = Wish::new(Some(Value::Group(7)));
            assert_eq!(wish.next(&profile), Some((first, "7".to_owned())), "{mff}");
            assert!(wish.take(first, Outcome::Unknown, &profile));
            while let Some((setter, _)) = wish.next(&profile) {
                assert!(wish.take(setter, Outcome::Unknown, &profile));
            }
            assert!(matches!(wish.outcome(), Granted::Unsupported));
            assert_eq!(profile.chgrp(), Capability::No);
        }
    }

    #[test]
    fn what_was_seen_once_is_believed() {
        let profile = ServerProfile::default();
        let mut wish = Wish::new(Some(Value::Mode(0o640)));
        let (setter, _) = wish.next(&profile).unwrap();
        assert!(!wish.take(setter, Outcome::Seen, &profile));
        assert!(profile.is_proven(setter));
        let wish = Wish::new(Some(Value::Mode(0o600)));
        assert_eq!(wish.judge(setter, &profile, &reply("200 ok"), &with_mode(0o640), None), Outcome::Done);
    }

    #[test]
    fn a_refused_form_gives_way_to_the_other_and_its_error_is_kept() {
        let profile = ServerProfile::default();
        for setter in [Setter::Mfmt, Setter::MffModify, Setter::Mdtm] {
            profile.learn_setter(setter, false);
        }
        let refused = || Error::Refused { command: "SITE".to_owned(), reply: reply("550 No.") };
        let mut wish = Wish::new(Some(Value::Time(at(SECONDS))));
        assert_eq!(wish.next(&profile).unwrap().0, Setter::SiteUtime);
        wish.was_refused(Setter::SiteUtime, refused());
        assert!(wish.take(Setter::SiteUtime, Outcome::Elsewhere, &profile));
        assert_eq!(wish.next(&profile).unwrap().0, Setter::SiteUtimes);
        wish.was_refused(Setter::SiteUtimes, refused());
        assert!(!wish.take(Setter::SiteUtimes, Outcome::Refused, &profile));
        assert!(matches!(wish.outcome(), Granted::Refused(_)));
        assert_eq!(profile.setter(Setter::SiteUtime), Capability::Untold);
    }
}
