//! What a server says that it can do (FEAT, RFC 2389).

use std::collections::BTreeMap;

use crate::ftp::reply::Reply;

/// What is known of one capability. Absence from FEAT is no proof for commands that are older than FEAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capability {
    /// Announced, or seen to work.
    Yes,
    /// Refused as unknown.
    No,
    /// Not tried yet.
    #[default]
    Untold,
}

/// The features that a server announced, by name in upper case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(BTreeMap<String, String>);

impl Features {
    /// Reads the answer to FEAT. Some servers put `211-` in front of each line, or two blanks.
    pub fn from_reply(reply: &Reply) -> Features {
        let lines: Vec<&[u8]> = reply.lines().collect();
        let inner = lines.get(1..lines.len().saturating_sub(1)).unwrap_or(&[]);
        let features = inner.iter().filter_map(|line| {
            let line = line.strip_prefix(b"211-").unwrap_or(line);
            let text = String::from_utf8_lossy(line).trim().to_owned();
            let (name, rest) = text.split_once(' ').unwrap_or((&text, ""));
            (!name.is_empty()).then(|| (name.to_ascii_uppercase(), rest.to_owned()))
        });
        Features(features.collect())
    }

    /// The parameters of a feature, empty where it has none.
    pub fn parameters(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether the feature was announced.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The argument of `OPTS MLST` that selects the facts we read, or `None` where all that the server has of them
    /// are on already (marked `*`, RFC 3659 s.7.8), and nothing that makes listings much longer: the owners of ProFTPD
    /// 1.3.8 are a third of them. libunftp 0.24 closes the connection at any OPTS that it does not know, so this is sent
    /// only when it changes something. What OPTS does not name goes off, so the group is named where it is on: it is of
    /// use when it is there, and not worth more bytes in listings.
    pub fn mlst_facts_to_select(&self) -> Option<String> {
        const KEPT: &str = "unix.group";
        const LONG: [&str; 3] = ["unix.owner", "unix.ownername", "unix.groupname"];
        const WANTED: [&str; 7] = ["type", "size", "modify", "perm", "unique", "unix.mode", KEPT];
        let mut facts: Vec<(&str, bool)> = self
            .parameters("MLST")?
            .split(';')
            .filter(|fact| !fact.is_empty())
            .map(|fact| match fact.strip_suffix('*') {
                Some(name) => (name, true),
                None => (fact, false),
            })
            .collect();
        let is_long =
            |&(name, on): &(&str, bool)| on && LONG.iter().any(|long| name.eq_ignore_ascii_case(long));
        let has_long = facts.iter().any(is_long);
        // A fact that is listed again and again would make a command longer than any server takes.
        let mut seen = [false; WANTED.len()];
        facts.retain(|&(name, on)| {
            let place = WANTED.iter().position(|wanted| name.eq_ignore_ascii_case(wanted));
            let place = place.filter(|&place| on || WANTED[place] != KEPT);
            place.is_some_and(|place| !std::mem::replace(&mut seen[place], true))
        });
        let all_on = facts.iter().all(|&(_, on)| on);
        (!facts.is_empty() && (has_long || !all_on))
            .then(|| facts.iter().map(|(name, _)| format!("{name};")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::reply::ReplyParser;

    fn features(text: &str) -> Features {
        Features::from_reply(&ReplyParser::default().push(text.as_bytes()).unwrap().1.unwrap())
    }

    #[test]
    fn feat_in_its_spellings() {
        let f = features(
            "211-Features:\r\n EPRT\r\n  epsv\r\n211-MDTM\r\n MLST type*;size*;unix.mode;x;\r\n211 End\r\n",
        );
        for name in ["EPRT", "EPSV", "MDTM", "MLST"] {
            assert!(f.has(name), "{name}");
        }
        assert!(!f.has("END") && !f.has("FEATURES:"));
        assert_eq!(f.mlst_facts_to_select().as_deref(), Some("type;size;unix.mode;"));
        assert_eq!(features("211 no features\r\n"), Features::default());
    }

    #[test]
    fn opts_mlst_is_sent_only_when_it_changes_something() {
        assert_eq!(features("211-\r\n MLST type*;size*;foo;\r\n211 End\r\n").mlst_facts_to_select(), None);
        let with_group = |group: &str| {
            features(&format!("211-\r\n MLST size;{group};type*;\r\n211 End\r\n")).mlst_facts_to_select()
        };
        assert_eq!(with_group("UNIX.group*").as_deref(), Some("size;UNIX.group;type;"));
        assert_eq!(with_group("UNIX.group").as_deref(), Some("size;type;"));
        let off = "211-\r\n MLST size*;UNIX.group;type*;\r\n211 End\r\n";
        assert_eq!(features(off).mlst_facts_to_select(), None);
        let repeated = features("211-\r\n MLST size;x;Size*;SIZE;type*;\r\n211 End\r\n");
        assert_eq!(repeated.mlst_facts_to_select().as_deref(), Some("size;type;"));
        assert_eq!(features("211-\r\n SIZE\r\n211 End\r\n").mlst_facts_to_select(), None);
        // ProFTPD 1.3.8.
        let all = "211-\r\n MLST modify*;perm*;size*;type*;unique*;UNIX.group*;UNIX.groupname*;UNIX.mode*;UNIX.owner*;\
                   UNIX.ownername*;\r\n211 End\r\n";
        let selected = "modify;perm;size;type;unique;UNIX.group;UNIX.mode;";
        assert_eq!(features(all).mlst_facts_to_select().as_deref(), Some(selected));
        assert_eq!(features("211-\r\n MLST UNIX.owner*;\r\n211 End\r\n").mlst_facts_to_select(), None);
        let off = "211-\r\n MLST type*;UNIX.owner;\r\n211 End\r\n";
        assert_eq!(features(off).mlst_facts_to_select(), None);
    }
}
