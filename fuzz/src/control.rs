//! The control connection: replies, FEAT, MLST.

use ftpfs::ftp::command::Command;
use ftpfs::ftp::features::Features;
use ftpfs::ftp::list::parse_mlst_line;
use ftpfs::ftp::reply::{Reply, ReplyError, ReplyParser};

use crate::listings::check_entry;
use crate::{chance, pieces, within};

/// Largest reply, in bytes: as src/ftp/reply.rs has it.
const REPLY_MAX: usize = 256 * 1024;

/// What a reply may take of memory: a line costs two bytes of the reply and a pointer with its length, and a
/// vector that grows holds up to three times what is in it.
const MEMORY: usize = 3 * (REPLY_MAX / 2) * 16 + (1 << 20);

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, Result<bool, ReplyError>) {
    let (mut parser, mut replies) = (ReplyParser::default(), Vec::new());
    for mut chunk in chunks {
        while !chunk.is_empty() {
            match parser.push(chunk) {
                Ok((used, reply)) => {
                    assert!(0 < used && used <= chunk.len());
                    assert!(reply.is_some() || used == chunk.len(), "bytes were left without a reply");
                    replies.extend(reply);
                    chunk = &chunk[used..];
                }
                Err(error) => return (replies, Err(error)),
            }
        }
    }
    let inside = parser.is_inside();
    (replies, Ok(inside))
}

/// Replies do not depend on how the network cuts them, are well-formed and bounded, and read back as printed.
pub fn replies(data: &[u8]) {
    let (whole, end) = within(MEMORY + 8 * data.len(), || read(std::iter::once(data)));
    let (cut, cut_end) = read(pieces(data));
    assert_eq!((&whole, end), (&cut, cut_end));
    for reply in &whole {
        check_reply(reply);
        let printed = print(reply);
        assert_eq!(read(std::iter::once(&printed[..])), (vec![reply.clone()], Ok(false)));
    }
    // A server that goes on and on: the replies above are dropped as they come, an endless one is refused.
    if chance(data) >> 58 == 0 {
        within(MEMORY, || {
            let mut parser = ReplyParser::default();
            for _ in 0..1 + REPLY_MAX * 2 / data.len().max(64) {
                let mut rest = data;
                while let Some((used, _)) = (!rest.is_empty()).then(|| parser.push(rest).ok()).flatten() {
                    rest = &rest[used..];
                }
            }
        });
    }
}

fn check_reply(reply: &Reply) {
    assert!((100..600).contains(&reply.code()));
    let lines: Vec<&[u8]> = reply.lines().collect();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    let code = reply.code().to_string();
    assert!(first.starts_with(code.as_bytes()) && last.starts_with(code.as_bytes()));
    assert_eq!(first.get(3) == Some(&b'-'), lines.len() > 1);
    assert_ne!(last.get(3), Some(&b'-'));
    assert!(lines.iter().all(|line| !line.contains(&b'\n')));
    assert!(lines.iter().map(|line| line.len() + 2).sum::<usize>() <= REPLY_MAX);
    assert!(reply.to_string().chars().count() <= 300);
    let classes =
        [reply.is_preliminary(), reply.is_completion(), reply.is_intermediate(), reply.is_transient()];
    assert!(classes.iter().filter(|is| **is).count() <= 1);
}

/// As a server writes it that keeps to telnet (RFC 854): a 0xFF twice, a NUL behind a CR.
fn print(reply: &Reply) -> Vec<u8> {
    let mut text = Vec::new();
    for line in reply.lines() {
        for &byte in line {
            match byte {
                0xff => text.extend_from_slice(b"\xff\xff"),
                b'\r' => text.extend_from_slice(b"\r\0"),
                _ => text.push(byte),
            }
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Each feature line is found again under its name, and what is sent because of them is a command.
pub fn feat(data: &[u8]) {
    for reply in read(std::iter::once(data)).0 {
        let features = Features::from_reply(&reply);
        assert!(!features.has(""));
        let lines: Vec<&[u8]> = reply.lines().collect();
        for line in &lines[1.min(lines.len() - 1)..lines.len() - 1] {
            let line = String::from_utf8_lossy(line.strip_prefix(b"211-").unwrap_or(line)).into_owned();
            let name = line.trim().split(' ').next().unwrap_or_default();
            assert!(name.is_empty() || features.has(&name.to_ascii_uppercase()), "{name:?}");
        }
        if let Some(facts) = features.mlst_facts_to_select() {
            let mut sent = Vec::new();
            assert!(Command::with("OPTS", format!("MLST {facts}")).encode(false, &mut sent).is_ok());
            let lower = facts.to_ascii_lowercase();
            let mut names: Vec<&str> = lower.split_terminator(';').collect();
            let known = ["type", "size", "modify", "perm", "unique", "unix.mode", "unix.group"];
            assert!(names.iter().all(|name| known.contains(name)), "{facts:?}");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), facts.split_terminator(';').count(), "a fact twice: {facts:?}");
            // Once they are on, nothing is left to be switched on.
            let on = facts.replace(';', "*;");
            let reply = read(std::iter::once(format!("211-x\r\n MLST {on}\r\n211 x\r\n").as_bytes())).0;
            assert_eq!(Features::from_reply(&reply[0]).mlst_facts_to_select(), None);
        }
    }
}

/// The line of an MLST reply: the entry is one that may be used, and is named as the path ends.
pub fn mlst(data: &[u8]) {
    let data = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let Some((entry, path)) = within((1 << 16) + 4 * data.len(), || parse_mlst_line(data)) else { return };
    assert!(data.ends_with(&path));
    if &*entry.name == b"." {
        let last = path.split(|&byte| byte == b'/').rfind(|part| !part.is_empty());
        assert!(last.is_none_or(|last| last == b"."));
    } else {
        let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        assert!(path[..end].ends_with(&entry.name));
        check_entry(&entry);
    }
    // The blank in front is part of the reply, not of the facts.
    if !data.starts_with(b" ") {
        assert_eq!(parse_mlst_line(&[b" ", data].concat()), Some((entry, path)));
    }
}
