//! Which dialect a listing is in: the one that understands most of its lines.

use super::{DIALECTS, Dialect, Line};
use crate::ftp::time::ListContext;

/// Lines after which a vote may be clear.
pub(super) const CLEAR_AFTER: usize = 64;

/// The score of each dialect, and the leader. A caller that is certain ends the vote before it begins.
#[derive(Debug)]
pub(super) struct Vote {
    understood: [usize; DIALECTS.len()],
    leader: usize,
    certain: bool,
    /// Calls of dialect parsers, the measure of work.
    #[cfg(test)]
    pub(super) calls: usize,
}

impl Vote {
    /// A vote in which `hint` wins ties.
    pub(super) fn new(hint: Option<Dialect>) -> Vote {
        let hint = hint.map(|dialect| dialect as usize).filter(|&index| DIALECTS[index].votes);
        Vote::led_by(hint.unwrap_or(0), false)
    }

    /// No vote: lines that are not of `dialect` are not understood.
    pub(super) fn certain(dialect: Dialect) -> Vote {
        Vote::led_by(dialect as usize, true)
    }

    fn led_by(leader: usize, certain: bool) -> Vote {
        Vote {
            understood: [0; DIALECTS.len()],
            leader,
            certain,
            #[cfg(test)]
            calls: 0,
        }
    }

    pub(super) fn is_certain(&self) -> bool {
        self.certain
    }

    /// Moves the lead to the dialect that understands most of `lines`, without counting them. It ends early
    /// where one understands most lines and no other any: asking all of them for each line is what costs.
    pub(super) fn poll<'a>(&mut self, lines: impl Iterator<Item = &'a [u8]>, context: &ListContext) {
        let mut scores = [0usize; DIALECTS.len()];
        for (seen, line) in (0..).zip(lines) {
            let spoken = scores.iter().filter(|&&score| score > 0).count();
            if seen == CLEAR_AFTER && spoken == 1 && scores.iter().any(|&score| score > seen / 2) {
                break;
            }
            for (index, score) in scores.iter_mut().enumerate().filter(|(index, _)| DIALECTS[*index].votes) {
                let answer = self.ask(index, line, context);
                *score += usize::from(is_entry(&answer) || matches!(answer, Line::Begin));
            }
        }
        self.leader = best(&scores, self.leader);
    }

    /// What `line` says in the leader's words, else in another's. Each entry counts for the dialect that
    /// understood it, and the lead moves with the score.
    pub(super) fn parse<'a>(&mut self, line: &'a [u8], context: &ListContext) -> Line<'a> {
        let leader = self.leader;
        let mut outcome = self.ask(leader, line, context);
        let mut speaker = leader;
        if matches!(outcome, Line::Unknown) && !self.certain {
            for index in (0..DIALECTS.len()).filter(|&index| DIALECTS[index].votes && index != leader) {
                let other = self.ask(index, line, context);
                let decided = is_entry(&other) || matches!(other, Line::Heading(_));
                if !matches!(other, Line::Unknown) {
                    (outcome, speaker) = (other, index);
                }
                if decided {
                    break;
                }
            }
        }
        if let Line::Heading(dialect) = outcome {
            // A line in the middle that looks like a heading turns nothing over.
            if self.understood.iter().all(|&entries| entries == 0) {
                (self.leader, self.certain) = (dialect as usize, true);
            }
        } else if is_entry(&outcome) {
            self.understood[speaker] += 1;
            if !self.certain {
                self.leader = best(&self.understood, leader);
            }
        }
        outcome
    }

    fn ask<'a>(&mut self, index: usize, line: &'a [u8], context: &ListContext) -> Line<'a> {
        #[cfg(test)]
        {
            self.calls += 1;
        }
        (DIALECTS[index].parse)(line, context)
    }

    /// The winner; `None` where no line was understood and nobody was certain.
    pub(super) fn winner(&self) -> Option<Dialect> {
        (self.certain || self.understood[self.leader] > 0).then(|| DIALECTS[self.leader].dialect)
    }
}

/// The index of the highest score; `leader` unless another is truly higher.
fn best(scores: &[usize; DIALECTS.len()], leader: usize) -> usize {
    (0..scores.len()).fold(leader, |best, index| if scores[index] > scores[best] { index } else { best })
}

fn is_entry(line: &Line<'_>) -> bool {
    matches!(line, Line::Entry(_) | Line::Own(_) | Line::Parent)
}
