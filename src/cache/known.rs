//! What is known of single names, and when it was asked for or done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::directory::Answer;
use super::listing::{EntryRef, cost};
use crate::ftp::list::RemoteEntry;
use crate::remote::Name;

/// What a name costs in memory beside its bytes and its entry's.
const OVERHEAD: usize = 128;

/// What one name is. Stamps count questions (when they are sent) and our own changes (when they are done)
/// in one row: of two answers, the one of the higher stamp is younger, whichever came first.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// `None`: there is nothing of that name.
    pub(super) entry: Option<Arc<RemoteEntry>>,
    pub(super) learned: Instant,
    pub(super) stamp: u64,
}

impl Known {
    pub(super) fn answer(&self) -> Answer {
        Answer { entry: self.entry.clone().map(EntryRef::from), learned: self.learned }
    }
}

/// Names of one directory, and what they cost in bytes of memory.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Name, Known>,
    cost: usize,
}

impl Names {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Known> {
        self.known.get(name)
    }

    pub(super) fn insert(&mut self, name: Name, known: Known) {
        self.cost += single_cost(&name, &known);
        let key_cost = name.as_bytes().len();
        if let Some(old) = self.known.insert(name, known) {
            self.cost -= key_cost + OVERHEAD + old.entry.as_deref().map_or(0, cost);
        }
    }

    pub(super) fn remove(&mut self, name: &Name) -> Option<Known> {
        let known = self.known.remove(name)?;
        self.cost -= single_cost(name, &known);
        Some(known)
    }

    /// Keeps only what is younger than `stamp`.
    pub(super) fn drop_until(&mut self, stamp: u64) {
        self.known.retain(|_, known| known.stamp > stamp);
        self.cost = self.known.iter().map(|(name, known)| single_cost(name, known)).sum();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Known)> {
        self.known.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Bytes of memory.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }
}

impl FromIterator<(Name, Known)> for Names {
    fn from_iter<I: IntoIterator<Item = (Name, Known)>>(items: I) -> Names {
        let mut names = Names::default();
        items.into_iter().for_each(|(name, known)| names.insert(name, known));
        names
    }
}

fn single_cost(name: &Name, known: &Known) -> usize {
    name.as_bytes().len() + OVERHEAD + known.entry.as_deref().map_or(0, cost)
}
