//! A list as its words, and where secrets stand in it.

use std::ops::Range;

use super::table::Takes;
use super::{find, words};
use crate::cli::url;

/// A word of a list.
#[derive(Debug)]
pub(super) struct Word {
    /// Its bytes, without the backslashes that keep them.
    pub(super) text: Vec<u8>,
    /// Where each of them begins in the list, with its backslash.
    starts: Vec<usize>,
    /// Where it ends in the list.
    end: usize,
}

impl Word {
    /// The name, and the value behind `=` where there is one.
    pub(super) fn parts(&self) -> (&[u8], Option<&[u8]>) {
        match self.text.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&self.text[..equals], Some(&self.text[equals + 1..])),
            None => (&self.text, None),
        }
    }

    /// The option that has a secret in this word, and where in the text it is.
    fn secret(&self) -> Option<(&'static str, Range<usize>)> {
        let (name, value) = self.parts();
        let (spec, value) = (find(name)?, value?);
        let start = name.len() + 1;
        let part = match spec.takes {
            Takes::Secret(_) => 0..value.len(),
            _ if spec.name == "proxy" => url::password(value)?,
            _ if spec.name == "user" => value.iter().position(|&byte| byte == b':')? + 1..value.len(),
            _ => return None,
        };
        Some((spec.name, start + part.start..start + part.end))
    }

    /// The option whose secret may go on in the next word. That of a proxy may have its comma anywhere.
    fn may_go_on(&self) -> Option<&'static str> {
        let name = find(self.parts().0).map(|spec| spec.name);
        self.secret().map(|(option, _)| option).or(name.filter(|name| *name == "proxy"))
    }

    /// Whether it may be the rest of a secret that it stands behind: nothing that we know, or `x-` and anything.
    fn may_be_anything(&self) -> bool {
        let (name, value) = self.parts();
        let is_ours = find(name).is_some();
        let is_foreign = !words::is_free(name) && words::meaning(name, value.is_some()).is_some();
        !self.text.is_empty() && !is_ours && !is_foreign
    }

    fn place(&self, part: Range<usize>) -> Range<usize> {
        let place = |at: usize| self.starts.get(at).copied().unwrap_or(self.end);
        place(part.start)..place(part.end)
    }
}

/// The words of a list, each with the option whose secret it may be a part of: `b` of `password=a,b`, where
/// `password=a\,b` was meant.
pub(super) fn words(list: &[u8]) -> Vec<(Word, Option<&'static str>)> {
    let mut behind = None;
    let mut found = Vec::new();
    for word in split(list) {
        let may_belong = behind.filter(|_| word.may_be_anything());
        if may_belong.is_none() && !word.text.is_empty() {
            behind = word.may_go_on();
        }
        found.push((word, may_belong));
    }
    found
}

fn split(list: &[u8]) -> Vec<Word> {
    let empty = || Word { text: Vec::new(), starts: Vec::new(), end: 0 };
    let (mut words, mut word) = (Vec::new(), empty());
    let mut at = 0;
    while at < list.len() {
        let (byte, next) = match (list[at], list.get(at + 1)) {
            (b',', _) => {
                words.push(Word { end: at, ..std::mem::replace(&mut word, empty()) });
                at += 1;
                continue;
            }
            (b'\\', Some(&kept)) => (kept, at + 2),
            // A backslash at the very end stands for itself.
            (byte, _) => (byte, at + 1),
        };
        word.text.push(byte);
        word.starts.push(at);
        at = next;
    }
    words.push(Word { end: at, ..word });
    words
}

/// Where a list holds secrets, as ranges of it: what must not stay in the process's arguments.
pub fn secrets(list: &[u8]) -> Vec<Range<usize>> {
    let secret = |(word, rest): (Word, Option<&str>)| match rest {
        Some(_) => Some(word.place(0..word.text.len())),
        None => word.secret().map(|(_, part)| word.place(part)),
    };
    words(list).into_iter().filter_map(secret).collect()
}
