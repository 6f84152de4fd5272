//! Names in another charset than UTF-8 (`charset=`): the one place where a name is translated.
//!
//! Below this layer names are the server's bytes, above it what programs see. With a charset the two differ:
//!
//! - What the charset can express is shown in UTF-8.
//! - A byte 0xNN from 0x80 on that it cannot express is shown as the private character U+F7NN, as the WHATWG's
//!   `x-user-defined` has it. So are the bytes of a sequence that would not come back as it was (several
//!   sequences of Shift_JIS stand for one character), or that stands for one of these private characters.
//!
//! Invariants:
//! 1. [`Charset::on_server`] of [`Charset::shown`] gives the same bytes, whatever they are: every name can be
//!    used, and no two look alike.
//! 2. [`Charset::on_server`] takes only what [`Charset::shown`] gives: nothing is made that would show up under
//!    another name than the one it was given. So `¥` is refused in Shift_JIS, where it would become a backslash.
//! 3. A name of [`NAME_MAX`] bytes is shown in at most three times as many, within the kernel's 1024.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use crate::remote::NAME_MAX;

/// What U+0000 would be if bytes from 0 on were shown as private characters; those from 0x80 on are.
const PRIVATE: u32 = 0xf700;

/// Longest sequence of one character, in bytes (gb18030).
const SEQUENCE_MAX: usize = 4;

/// The charset of the server's names. The default: bytes as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charset(Option<&'static Encoding>);

/// Why there is no such charset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CharsetError {
    /// Not a label of the WHATWG's Encoding standard.
    #[error(
        "a charset of the web is expected, such as koi8-r, shift_jis, windows-1252, gbk, euc-kr or utf-8"
    )]
    Unknown,
    /// UTF-16, ISO-2022-JP and the like.
    #[error("in this charset bytes of ASCII do not always mean ASCII, so FTP servers cannot use it in names")]
    NotAscii,
}

/// The name cannot be written in the server's charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name cannot be written in the charset of the server's names")]
pub struct Inexpressible;

impl Charset {
    /// The charset of a label (WHATWG Encoding s.4.2), in upper or lower case.
    ///
    /// # Errors
    /// [`CharsetError`].
    pub fn named(label: &[u8]) -> Result<Charset, CharsetError> {
        match Encoding::for_label(label).ok_or(CharsetError::Unknown)? {
            encoding if encoding.is_ascii_compatible() => Ok(Charset(Some(encoding))),
            _ => Err(CharsetError::NotAscii),
        }
    }

    /// Whether the server may be told to speak UTF-8.
    pub fn allows_utf8(self) -> bool {
        self.0.is_none_or(|encoding| encoding == UTF_8)
    }

    /// Longest name that is shown, in bytes.
    pub fn longest_shown(self) -> usize {
        if self.0.is_some() { 3 * NAME_MAX } else { NAME_MAX }
    }

    /// What programs see of a name.
    pub fn shown(self, name: &[u8]) -> Cow<'_, [u8]> {
        match self.0 {
            Some(encoding) if !name.is_ascii() => Cow::Owned(text(encoding, name).into_bytes()),
            _ => Cow::Borrowed(name),
        }
    }

    /// What the server calls a name that programs use.
    ///
    /// # Errors
    /// [`Inexpressible`] for what [`Charset::shown`] never gives.
    pub fn on_server(self, name: &[u8]) -> Result<Cow<'_, [u8]>, Inexpressible> {
        let Some(encoding) = self.0.filter(|_| !name.is_ascii()) else { return Ok(Cow::Borrowed(name)) };
        let text = std::str::from_utf8(name).map_err(|_| Inexpressible)?;
        let mut bytes = Vec::with_capacity(name.len());
        for char in text.chars() {
            match private_byte(char) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend(encode(encoding, char.encode_utf8(&mut [0; 4])).ok_or(Inexpressible)?),
            }
        }
        (*self.shown(&bytes) == *name).then_some(Cow::Owned(bytes)).ok_or(Inexpressible)
    }

    /// [`Charset::shown`] of each component of a path.
    pub fn shown_path(self, path: &[u8]) -> Vec<u8> {
        let components: Vec<_> = path.split(|&byte| byte == b'/').map(|name| self.shown(name)).collect();
        components.join(&b'/')
    }

    /// [`Charset::on_server`] of each component of a path.
    ///
    /// # Errors
    /// As there.
    pub fn path_on_server(self, path: &[u8]) -> Result<Vec<u8>, Inexpressible> {
        let components: Vec<_> =
            path.split(|&byte| byte == b'/').map(|name| self.on_server(name)).collect::<Result<_, _>>()?;
        Ok(components.join(&b'/'))
    }
}

/// The text of a name, with private characters where it has none.
fn text(encoding: &'static Encoding, name: &[u8]) -> String {
    if let Some(text) = exact(encoding, name) {
        return text;
    }
    let mut shown = String::with_capacity(3 * name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let (sequence, after) = rest.split_at(first(encoding, rest));
        match exact(encoding, sequence) {
            Some(text) => shown.push_str(&text),
            None => shown.extend(sequence.iter().copied().map(private)),
        }
        rest = after;
    }
    shown
}

/// The length of the sequence that `bytes` begin with; 1 where they begin with none.
fn first(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let is_whole =
        |len: &usize| encoding.decode_without_bom_handling_and_without_replacement(&bytes[..*len]).is_some();
    (1..=bytes.len().min(SEQUENCE_MAX)).find(is_whole).unwrap_or(1)
}

/// The text that means these bytes, and that these bytes mean.
fn exact(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    let is_private = |char| private_byte(char).is_some();
    let comes_back = !text.contains(is_private) && encode(encoding, &text).is_some_and(|back| back == bytes);
    comes_back.then(|| text.into_owned())
}

fn encode(encoding: &'static Encoding, text: &str) -> Option<Vec<u8>> {
    let (bytes, _, has_lost) = encoding.encode(text);
    (!has_lost).then(|| bytes.into_owned())
}

/// How a byte is shown that means nothing; ASCII always means itself.
fn private(byte: u8) -> char {
    match byte {
        0..0x80 => char::from(byte),
        _ => char::from_u32(PRIVATE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// The byte that a private character shows.
fn private_byte(char: char) -> Option<u8> {
    u8::try_from(u32::from(char).checked_sub(PRIVATE)?).ok().filter(|byte| !byte.is_ascii())
}

#[cfg(test)]
mod tests;
