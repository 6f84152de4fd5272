//! Which inodes the kernel should let go of, so that their number stays bounded.
//!
//! The kernel keeps what it has looked up until it lacks memory itself, which costs us memory for each. Beyond a limit
//! it is asked to let go of the oldest: a hand goes over the numbers, which are in the order in which they were given.
//! It passes what must stay; and once what was used again since it came by, was opened, or is a directory. What must
//! stay, and what the kernel was asked for and still has, does not count. It is looked at again in the next round,
//! which begins when as many as there are have been asked for.
//! The hand moves a few steps for each lookup, so the price of a lookup does not depend on the size of the table.

use super::node::{Node, Standing};
use super::{ROOT, Table};

/// How far the hand may move for each lookup or open: each makes at most one inode, and at most one that is passed.
const STEPS: usize = 8;

/// How far the hand moves at once, while others wait for the table.
const AT_ONCE: usize = 4096;

/// How much of the limit it may be exceeded by before the kernel is asked, so that it is asked for many at once.
const SLACK: usize = 64;

/// The state of the search.
#[derive(Debug)]
pub(super) struct Oldest {
    limit: usize,
    /// The number to look at next.
    hand: u64,
    /// Steps that the hand may still move.
    steps: usize,
    /// How many the kernel was asked for in this round and not before.
    asked: usize,
    /// How many inodes do not count, see [`Node::passed`].
    passed: usize,
}

impl Oldest {
    /// At most `limit` inodes beside those in use.
    pub(super) fn new(limit: usize) -> Oldest {
        Oldest { limit, hand: ROOT + 1, steps: 0, asked: 0, passed: 0 }
    }

    /// Allows the steps for one lookup or open, if there are any to make.
    fn allow(&mut self, inodes: usize) {
        self.steps = match self.excess(inodes) {
            0 => 0,
            _ => self.steps.saturating_add(STEPS).min(inodes.saturating_mul(STEPS)),
        };
    }

    /// Notes that `node` counts: it was looked up anew, or what it had to stay for has gone.
    pub(super) fn count(&mut self, node: &mut Node) {
        if std::mem::take(&mut node.passed) {
            self.passed -= 1;
        }
    }

    fn excess(&self, inodes: usize) -> usize {
        inodes.saturating_sub(self.limit.saturating_add(self.passed))
    }
}

impl Table {
    /// How many inodes there are.
    pub(in crate::vfs) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it is time to ask [`Table::oldest`].
    pub(in crate::vfs) fn is_crowded(&self) -> bool {
        self.oldest.excess(self.nodes.len()) > self.oldest.limit / SLACK
    }

    /// At most `most` inodes that the kernel should let go of now, oldest first. None is the root, has something
    /// below it, is kept for changes of ours, or has no name; one with an open handle can be among them.
    pub(in crate::vfs) fn oldest(&mut self, most: usize) -> Vec<u64> {
        let mut found = Vec::new();
        // What was given just now has not been used yet. At least one inode of more than the limit is older.
        let young = self.next.saturating_sub(self.oldest.limit as u64 / 2).max(ROOT + 1);
        let steps = self.oldest.steps.min(AT_ONCE);
        for _ in 0..steps {
            if found.len() == most || self.oldest.excess(self.nodes.len()) == 0 {
                break;
            }
            self.oldest.steps -= 1;
            let from = self.oldest.hand.min(young);
            let is_round_over = self.oldest.asked > self.nodes.len();
            let next = self.nodes.range_mut(from..young).next().filter(|_| !is_round_over);
            let Some((&ino, node)) = next else {
                (self.oldest.hand, self.oldest.asked) = (ROOT + 1, 0);
                // Nothing is asked for twice at once.
                match found.is_empty() {
                    true => continue,
                    false => break,
                }
            };
            self.oldest.hand = ino + 1;
            let may_go = node.may_go();
            if may_go && std::mem::take(&mut node.recent) {
                continue;
            }
            if !std::mem::replace(&mut node.passed, true) {
                self.oldest.passed += 1;
                self.oldest.asked += usize::from(may_go);
            }
            if may_go {
                found.push(ino);
            }
        }
        found
    }

    /// Notes that the kernel has looked `ino` up.
    pub(super) fn looked_up(&mut self, ino: u64, lookups: u64) {
        self.oldest.allow(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.recent |= node.lookups > 0;
            node.lookups = node.lookups.saturating_add(lookups);
            self.oldest.count(node);
        }
    }

    /// Notes that `ino` is being opened.
    pub(super) fn used(&mut self, ino: u64) {
        self.oldest.allow(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.recent = true;
        }
    }
}

impl Node {
    /// Whether the kernel has it for its name alone, as far as is known here.
    fn may_go(&self) -> bool {
        let is_named = matches!(self.standing, Standing::Named(..));
        is_named && self.lookups > 0 && self.children == 0 && self.holds == 0
    }
}

#[cfg(test)]
mod tests;
