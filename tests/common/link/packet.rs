//! What a packet on the link carries: just enough of IPv4 and TCP to tell copies from originals, and to be read in the
//! message of a test.

use std::collections::HashMap;

use crate::common::server::PORT as CONTROL_PORT;

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from_port: u16,
    pub(super) to_port: u16,
    sequence: u32,
    flags: u8,
    pub(super) payload: Vec<u8>,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

impl Segment {
    /// `None` for what is no TCP over IPv4.
    pub(super) fn parse(packet: &[u8]) -> Option<Segment> {
        let header = usize::from(packet.first()? & 15) * 4;
        if packet[0] >> 4 != 4 || *packet.get(9)? != 6 {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let tcp = packet.get(header..total)?;
        let two = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
        let sequence = u32::from(two(4)?) << 16 | u32::from(two(6)?);
        let offset = usize::from(tcp.get(12)? >> 4) * 4;
        let payload = tcp.get(offset..)?.to_vec();
        Some(Segment { from_port: two(0)?, to_port: two(2)?, sequence, flags: *tcp.get(13)?, payload })
    }

    /// One line for a trace; the text of a control connection in clear.
    pub(super) fn summary(&self) -> String {
        let marks = [(SYN, " SYN"), (FIN, " FIN"), (RST, " RST")];
        let marks: String =
            marks.iter().filter(|(flag, _)| self.flags & flag != 0).map(|&(_, mark)| mark).collect();
        let text = match std::str::from_utf8(&self.payload) {
            Ok(text) if text.ends_with("\r\n") && self.is_command_or_reply() => {
                format!(" {:?}", text.trim_end())
            }
            _ if self.payload.is_empty() && marks.is_empty() => " ACK".to_owned(),
            _ if self.payload.is_empty() => String::new(),
            _ => format!(" {} bytes", self.payload.len()),
        };
        format!("{}>{}{marks}{text}", self.from_port, self.to_port)
    }

    fn is_command_or_reply(&self) -> bool {
        self.payload.len() < 400 && (self.from_port == CONTROL_PORT || self.to_port == CONTROL_PORT)
    }
}

/// Finds what TCP sends a second time. The link loses nothing, so a copy only says that it took its time; it is not
/// carried.
#[derive(Debug, Default)]
pub(super) struct Originals {
    /// The sequence number after the last byte seen, by ports.
    ends: HashMap<(u16, u16), u32>,
}

impl Originals {
    /// Notes a segment of one direction; whether there is something new in it, or nothing that can be a copy.
    pub(super) fn is_original(&mut self, segment: &Segment) -> bool {
        let marks = u32::from(segment.flags & SYN != 0) + u32::from(segment.flags & FIN != 0);
        let len = segment.payload.len() as u32 + marks;
        if len == 0 || segment.flags & RST != 0 {
            return true;
        }
        let key = (segment.from_port, segment.to_port);
        let end = segment.sequence.wrapping_add(len);
        if segment.flags & SYN != 0 {
            return self.ends.insert(key, end) != Some(end);
        }
        let seen = self.ends.entry(key).or_insert(segment.sequence);
        let is_new = end.wrapping_sub(*seen) as i32 > 0;
        if is_new {
            *seen = end;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, flags: u8, payload: &[u8]) -> Segment {
        Segment { from_port: 1, to_port: 2, sequence, flags, payload: payload.to_vec() }
    }

    #[test]
    fn what_is_sent_again_is_found() {
        let mut originals = Originals::default();
        let mut see =
            |sequence, flags, payload: &[u8]| originals.is_original(&segment(sequence, flags, payload));
        assert!(see(u32::MAX - 1, SYN, b""));
        assert!(!see(u32::MAX - 1, SYN, b""));
        assert!(see(u32::MAX, 0, b"abc"), "across the end of the numbers");
        assert!(!see(u32::MAX, 0, b"abc"));
        assert!(!see(1, 0, b"c"), "the last part of it");
        assert!(see(2, 0, b""), "an ACK");
        assert!(see(2, 0, b""), "an ACK, again");
        assert!(see(2, FIN, b"d"));
        assert!(!see(3, FIN, b""));
        assert!(see(77, SYN, b""), "a new connection from the same port");
        assert!(see(78, 0, b"x"));
    }

    #[test]
    fn a_segment_is_read_from_its_packet() {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0, 21, 0x12, 0x34, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0]);
        packet.extend(b"220 hello\r\n");
        packet[3] = packet.len() as u8;
        let found = Segment::parse(&packet).unwrap();
        assert_eq!((found.from_port, found.to_port, found.sequence), (21, 0x1234, 256));
        assert_eq!(found.payload, b"220 hello\r\n");
        assert_eq!(Segment::parse(&[0x60; 60]), None);
        assert_eq!(Segment::parse(&packet[..30]), None);
    }
}
