//! The `.netrc` file: `machine`, `default`, `login`, `password`, `account`, `macdef` (ftp(1), curl's dialect).
//!
//! Written here because the crates fall short: `netrc` and `netrc-rs` know no quotes, `rust-netrc` takes an
//! empty quoted word for the end of the file, and all three want UTF-8 and leave copies of the passwords in
//! memory. As in curl, a backslash escapes inside quotes only. Words that are not known are skipped: other
//! programs have their own.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// What the file says about one machine. Absent words are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The user.
    pub login: Option<Vec<u8>>,
    /// The password.
    pub password: Option<Secret>,
    /// The account.
    pub account: Option<Secret>,
}

/// The first entry for `host` (compared without case), else for `default`, that fits `user`.
///
/// An entry without a login fits every user; with no `user`, only an entry with a login fits.
pub fn find(text: &[u8], host: &str, user: Option<&[u8]>) -> Option<Entry> {
    let fits = |entry: &Entry| match (user, &entry.login) {
        (Some(user), Some(login)) => user == login,
        (Some(_), None) | (None, Some(_)) => true,
        (None, None) => false,
    };
    let mut fallback = None;
    for (machine, entry) in entries(text) {
        match machine {
            Some(name) if name.eq_ignore_ascii_case(host.as_bytes()) && fits(&entry) => return Some(entry),
            None if fallback.is_none() && fits(&entry) => fallback = Some(entry),
            _ => {}
        }
    }
    fallback
}

/// Machine names (`None` for `default`) with their entries, in order.
fn entries(text: &[u8]) -> Vec<(Option<Vec<u8>>, Entry)> {
    let mut entries: Vec<(Option<Vec<u8>>, Entry)> = Vec::new();
    let mut words = Words { text, at: 0 };
    while let Some(word) = words.keyword() {
        match word.as_slice() {
            b"machine" => match words.word() {
                Some(name) => entries.push((Some(name.to_vec()), Entry::default())),
                None => break,
            },
            b"default" => entries.push((None, Entry::default())),
            b"macdef" => words.skip_macro(),
            b"login" | b"user" => {
                let login = words.word();
                set(&mut entries, |entry| entry.login = login.map(|login| login.to_vec()));
            }
            b"password" | b"passwd" => {
                let password = words.word();
                set(&mut entries, |entry| entry.password = password.map(|word| Secret::new(word.as_slice())));
            }
            b"account" => {
                let account = words.word();
                set(&mut entries, |entry| entry.account = account.map(|word| Secret::new(word.as_slice())));
            }
            _ => {}
        }
    }
    entries
}

fn set(entries: &mut [(Option<Vec<u8>>, Entry)], change: impl FnOnce(&mut Entry)) {
    if let Some((_, entry)) = entries.last_mut() {
        change(entry);
    }
}

struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl Words<'_> {
    /// The next word where a keyword stands: there, and only there, `#` begins a comment.
    fn keyword(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        loop {
            self.skip_blanks();
            if self.peek()? != b'#' {
                return self.word();
            }
            self.skip_line();
        }
    }

    fn word(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        self.skip_blanks();
        // Room for all that can follow on the line: growing would leave pieces of a password behind.
        let rest = &self.text[self.at..];
        let line = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let mut word = Zeroizing::new(Vec::with_capacity(line));
        if self.peek()? == b'"' {
            self.at += 1;
            self.quoted(&mut word);
        } else {
            while let Some(byte) = self.peek().filter(|byte| !byte.is_ascii_whitespace()) {
                word.push(byte);
                self.at += 1;
            }
        }
        Some(word)
    }

    fn quoted(&mut self, word: &mut Vec<u8>) {
        while let Some(byte) = self.next() {
            match byte {
                b'"' => return,
                b'\\' => match self.next() {
                    Some(b'n') => word.push(b'\n'),
                    Some(b'r') => word.push(b'\r'),
                    Some(b't') => word.push(b'\t'),
                    Some(other) => word.push(other),
                    None => {}
                },
                _ => word.push(byte),
            }
        }
    }

    /// A macro goes on to the first empty line.
    fn skip_macro(&mut self) {
        self.skip_line();
        while self.at < self.text.len() {
            let start = self.at;
            self.skip_line();
            if self.text[start..self.at].trim_ascii().is_empty() {
                return;
            }
        }
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|byte| byte != b'\n') {}
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &[u8] = b"# machine h login wrong password wrong\n\
        machine H.example login a password #not-a-comment # comment machine h\n\
        machine h.example\n\tlogin b\r\n\tpassword \"two words \\\"\\\\\"\n\taccount acct\n\
        macdef init\n machine h.example login c password no\n put x\n\n\
        machine h.example login c port 21 passwd back\\slash\n\
        machine empty login e password \"\" machine nologin password np\n\
        default login anonymous password me@here\n\
        machine late login l password \xff\n";

    #[test]
    fn entries_are_found_by_machine_and_user() {
        for (host, user, login, password) in [
            ("h.example", None, "a", &b"#not-a-comment"[..]),
            ("H.EXAMPLE", Some("b"), "b", b"two words \"\\"),
            ("h.example", Some("c"), "c", b"back\\slash"),
            ("empty", None, "e", b""),
            ("other", None, "anonymous", b"me@here"),
            ("other", Some("anonymous"), "anonymous", b"me@here"),
            ("nologin", None, "anonymous", b"me@here"),
            ("late", None, "l", b"\xff"),
        ] {
            let entry = find(FILE, host, user.map(str::as_bytes)).unwrap();
            assert_eq!(entry.login.unwrap(), login.as_bytes(), "{host} {user:?}");
            assert_eq!(entry.password.unwrap().expose(), password, "{host} {user:?}");
        }
        assert_eq!(find(FILE, "nologin", Some(b"x")).unwrap().password, Some(Secret::new("np")));
        assert_eq!(find(FILE, "h.example", Some(b"b")).unwrap().account, Some(Secret::new("acct")));
        assert_eq!(find(FILE, "h.example", Some(b"nobody")), None);
    }

    #[test]
    fn broken_files_say_nothing() {
        for text in ["", "machine", "login x password y", "machine h login", "machine h login \"x", "macdef"]
        {
            let entry = find(text.as_bytes(), "h", None);
            assert!(entry.is_none_or(|entry| entry.password.is_none()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>, words in "(machine|default|login|password|macdef|\"|h|\n| ){0,20}") {
            let _ = find(&text, "h", None);
            let _ = find(words.as_bytes(), "h", Some(b"u"));
        }
    }
}
