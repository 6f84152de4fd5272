//! Questions on their way, and what we changed meanwhile.
//!
//! An answer tells what the server held at some moment after the question was sent. What we changed since
//! then is remembered for as long as a question from before is on its way, apart from the cache, which may
//! forget at any time.

use std::collections::{BTreeMap, HashMap};

use super::known::{Known, Names};
use crate::remote::{Name, RemotePath};

/// The questions on their way, by the directory that they are about.
#[derive(Debug, Default)]
pub(super) struct Transit(HashMap<RemotePath, Journeys>);

#[derive(Debug, Default)]
struct Journeys {
    /// By their stamps; whether their answers may be kept.
    questions: BTreeMap<u64, bool>,
    /// By their stamps, none older than the oldest question.
    changes: BTreeMap<u64, (Name, Known)>,
}

/// What an answer has to be corrected by.
#[derive(Debug)]
pub(super) struct Landed {
    /// Whether it may be kept.
    pub(super) keep: bool,
    /// What we did since its question was sent.
    pub(super) since: Names,
}

impl Transit {
    /// A question about `dir` is being sent.
    pub(super) fn sent(&mut self, dir: &RemotePath, stamp: u64) {
        self.0.entry(dir.clone()).or_default().questions.insert(stamp, true);
    }

    /// A question is answered, or failed. `None` if it is not known what its path means now.
    pub(super) fn landed(&mut self, dir: &RemotePath, stamp: u64) -> Option<Landed> {
        let journeys = self.0.get_mut(dir)?;
        let keep = journeys.questions.remove(&stamp)?;
        // In the order of their stamps, so the youngest change of a name stays.
        let since = journeys.changes.range(stamp..).map(|(_, change)| change.clone()).collect();
        match journeys.questions.first_key_value() {
            Some((oldest, _)) => journeys.changes = journeys.changes.split_off(oldest),
            None => drop(self.0.remove(dir)),
        }
        Some(Landed { keep, since })
    }

    /// We have changed `name` in `dir`.
    pub(super) fn changed(&mut self, dir: &RemotePath, name: &Name, known: &Known) {
        if let Some(journeys) = self.0.get_mut(dir) {
            journeys.changes.insert(known.stamp, (name.clone(), known.clone()));
        }
    }

    /// What is on its way about `dir` is not to be kept.
    pub(super) fn distrust(&mut self, dir: &RemotePath) {
        if let Some(journeys) = self.0.get_mut(dir) {
            journeys.questions.values_mut().for_each(|keep| *keep = false);
        }
    }

    /// Nothing that is on its way is to be kept.
    pub(super) fn distrust_all(&mut self) {
        for journeys in self.0.values_mut() {
            journeys.questions.values_mut().for_each(|keep| *keep = false);
        }
    }

    /// `path`, and all below it, became something else: nobody can say what an answer from before means.
    pub(super) fn lose(&mut self, path: &RemotePath) {
        self.0.retain(|dir, _| dir.below(path).is_none());
    }

    /// As [`Transit::lose`], for the names in `dir` alone.
    pub(super) fn lose_names(&mut self, dir: &RemotePath) {
        self.0.remove(dir);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
