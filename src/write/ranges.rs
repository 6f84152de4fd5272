//! Sets of byte ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Which bytes of a file are somewhere. Ranges that touch are one; none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// The end of each range by its start.
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds a range; returns how many of its bytes are new.
    pub(super) fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let Range { mut start, mut end } = range;
        let mut known = 0;
        while let Some((&from, &to)) = self.ends.range(..=end).next_back().filter(|&(_, &to)| to >= start) {
            self.ends.remove(&from);
            known += to.min(range.end).saturating_sub(from.max(range.start));
            start = start.min(from);
            end = end.max(to);
        }
        self.ends.insert(start, end);
        range.end - range.start - known
    }

    /// How many bytes of `range` are not in the set.
    pub(super) fn lacks(&self, range: Range<u64>) -> u64 {
        let (mut at, mut lacking) = (range.start, 0);
        while let Some(gap) = self.first_gap(at..range.end) {
            lacking += gap.end - gap.start;
            at = gap.end;
        }
        lacking
    }

    /// Removes everything from `at` on; returns how many bytes that was.
    pub(super) fn cut(&mut self, at: u64) -> u64 {
        let mut removed = 0;
        for (start, end) in self.ends.split_off(&at) {
            removed += end - start;
        }
        if let Some((_, end)) = self.ends.range_mut(..at).next_back()
            && *end > at
        {
            removed += *end - at;
            *end = at;
        }
        removed
    }

    /// How far the bytes from `at` on are in the set (or, where `at` is not, are not), up to `limit`.
    pub(super) fn run(&self, at: u64, limit: u64) -> (bool, u64) {
        match self.ends.range(..=at).next_back() {
            Some((_, &end)) if end > at => (true, end.min(limit)),
            _ => {
                let next = self.ends.range(at..).next().map_or(limit, |(&start, _)| start);
                (false, next.min(limit))
            }
        }
    }

    /// The first part of `range` that is not in the set.
    pub(super) fn first_gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let mut at = range.start;
        while at < range.end {
            let (inside, end) = self.run(at, range.end);
            if !inside {
                return Some(at..end);
            }
            at = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        Cut(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..60u64, 0..20u64).prop_map(|(at, len)| Step::Insert(at, len)),
            1 => (0..80u64).prop_map(Step::Cut),
        ]
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set_of_bytes(steps in prop::collection::vec(step(), 0..30)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 100];
            for step in steps {
                match step {
                    Step::Insert(at, len) => {
                        let place = &mut bytes[at as usize..(at + len) as usize];
                        let new = place.iter().filter(|&&known| !known).count() as u64;
                        place.fill(true);
                        prop_assert_eq!(ranges.lacks(at..at + len), new);
                        prop_assert_eq!(ranges.insert(at..at + len), new);
                    }
                    Step::Cut(at) => {
                        let rest = &mut bytes[at as usize..];
                        let gone = rest.iter().filter(|&&known| known).count() as u64;
                        rest.fill(false);
                        prop_assert_eq!(ranges.cut(at), gone);
                    }
                }
                for at in 0..100 {
                    let (inside, end) = ranges.run(at, 100);
                    prop_assert_eq!(inside, bytes[at as usize]);
                    let run = bytes[at as usize..].iter().take_while(|&&known| known == inside).count();
                    prop_assert_eq!(end, at + run as u64);
                    let gap = ranges.first_gap(at..100).map(|gap| gap.start);
                    prop_assert_eq!(gap, (at..100).find(|&at| !bytes[at as usize]));
                }
            }
        }
    }
}
