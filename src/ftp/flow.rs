//! How many bytes of commands may be on their way without an answer.
//!
//! More than a server reads at once may be cut anywhere, and ProFTPD 1.3.8 takes two commands for one when a read of it
//! (4,097 bytes) ends between CR and LF: `CWD /a`, `STAT -a .` becomes a CWD into `/a\r\nSTAT -a .`. So fewer bytes
//! than that are on their way at a time, and each segment ends with a line; see [`super::stream::Stream::write_lines`].
//! It also keeps both sides from filling each other's buffers while neither reads.

use std::collections::VecDeque;

/// Bytes of commands without an answer, at most, but for a single command.
const LIMIT: usize = 4096;

/// The commands that have no answer yet. Pure.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    lengths: VecDeque<usize>,
    bytes: usize,
}

impl InFlight {
    /// How many of the commands with these lengths may be sent now. Half of what may be on its way has to be answered
    /// first, so that commands travel in groups.
    pub(crate) fn allows(&self, lengths: impl Iterator<Item = usize>) -> usize {
        if self.bytes > LIMIT / 2 {
            return 0;
        }
        let mut bytes = self.bytes;
        let fits = lengths.take_while(|length| {
            let is_first = bytes == 0;
            bytes += length;
            is_first || bytes <= LIMIT
        });
        fits.count()
    }

    /// A command was sent.
    pub(crate) fn sent(&mut self, length: usize) {
        self.lengths.push_back(length);
        self.bytes += length;
    }

    /// The oldest was answered.
    pub(crate) fn answered(&mut self) {
        self.bytes -= self.lengths.pop_front().unwrap_or_default();
    }

    /// Whether all are answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_are_sent_and_never_too_much_at_once(lengths in prop::collection::vec(1usize..5000, 0..200)) {
            let (mut flow, mut at, mut answers) = (InFlight::default(), 0, 0);
            loop {
                let allowed = flow.allows(lengths[at..].iter().copied());
                lengths[at..at + allowed].iter().for_each(|&length| flow.sent(length));
                at += allowed;
                prop_assert!(flow.bytes <= LIMIT || flow.lengths.len() == 1);
                if flow.is_empty() {
                    break;
                }
                flow.answered();
                answers += 1;
            }
            prop_assert_eq!((at, answers), (lengths.len(), lengths.len()));
        }
    }
}
