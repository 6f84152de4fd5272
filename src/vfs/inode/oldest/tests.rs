use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::cache::{FileId, FileVersion};
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::remote::{Name, RemotePath};

fn table(limit: usize) -> Table {
    Table::new(RemotePath::parse(b"/base").unwrap(), limit)
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn add(table: &mut Table, parent: u64, text: &str, kind: EntryKind) -> u64 {
    let entry = RemoteEntry { kind, ..RemoteEntry::directory(b"unused") };
    table.observe(parent, &name(text), &entry, Instant::now(), 1).unwrap().ino
}

fn files(table: &mut Table, parent: u64, prefix: &str, count: usize) -> Vec<u64> {
    (0..count).map(|n| add(table, parent, &format!("{prefix}{n}"), FILE)).collect()
}

fn open(table: &mut Table, ino: u64) {
    let version = std::sync::Arc::new(FileVersion::new(FileId(1), 1, None, None));
    table.open(ino, &version).unwrap();
}

const FILE: EntryKind = EntryKind::File;
const DIR: EntryKind = EntryKind::Directory;

#[test]
fn the_oldest_go_first_and_no_more_than_there_are_too_many() {
    let mut table = table(100);
    let old = files(&mut table, ROOT, "old", 99);
    assert!(!table.is_crowded() && table.oldest(512).is_empty());
    files(&mut table, ROOT, "new", 30);
    assert!(table.is_crowded());
    assert_eq!(table.oldest(10), old[..10]);
    assert_eq!(table.oldest(512), old[10..30]);
    assert!(!table.is_crowded() && table.oldest(512).is_empty(), "each is asked for once");
    old[..30].iter().for_each(|&ino| table.forget(ino, 1));
    assert_eq!(table.len(), 100);
}

#[test]
fn what_was_looked_up_again_or_opened_or_is_a_directory_is_spared_once() {
    let mut table = table(10);
    let (again, opened) = (add(&mut table, ROOT, "again", FILE), add(&mut table, ROOT, "opened", FILE));
    let (dir, plain) = (add(&mut table, ROOT, "dir", DIR), add(&mut table, ROOT, "plain", FILE));
    add(&mut table, ROOT, "again", FILE);
    open(&mut table, opened);
    files(&mut table, ROOT, "f", 7);
    assert_eq!(table.oldest(512)[0], plain);
    table.forget(plain, 1);
    let mut found = Vec::new();
    for n in 0..20 {
        files(&mut table, ROOT, &format!("more{n}-"), 3);
        let oldest = table.oldest(512);
        oldest.iter().for_each(|&ino| table.forget(ino, 2));
        found.extend(oldest);
    }
    assert!([again, opened, dir].iter().all(|ino| found.contains(ino)), "{found:?}");
}

#[test]
fn what_must_stay_is_never_asked_for() {
    let mut table = table(8);
    let dir = add(&mut table, ROOT, "dir", DIR);
    let held = add(&mut table, ROOT, "held", FILE);
    let (hidden, unlinked) = (add(&mut table, ROOT, "hidden", FILE), add(&mut table, ROOT, "unlinked", FILE));
    let inside = add(&mut table, dir, "inside", FILE);
    table.hold(held);
    table.hidden(hidden, (ROOT, &name(".hidden")));
    table.unlinked(ROOT, &name("unlinked"));
    let mut asked = BTreeSet::new();
    let mut more = |table: &mut Table, prefix: &str| {
        for n in 0..100 {
            files(table, ROOT, &format!("{prefix}{n}-"), 4);
            let oldest = table.oldest(512);
            oldest.iter().filter(|&&ino| ino > inside).for_each(|&ino| table.forget(ino, 1));
            asked.extend(oldest);
        }
        asked.clone()
    };
    let asked = more(&mut table, "f");
    assert!([ROOT, dir, held, hidden, unlinked].iter().all(|ino| !asked.contains(ino)));
    assert!(asked.contains(&inside));
    // They go when their reason has gone.
    table.unhold(held);
    table.forget(inside, 1);
    let asked = more(&mut table, "g");
    assert!([dir, held].iter().all(|ino| asked.contains(ino)));
}

#[test]
fn what_the_kernel_keeps_is_asked_for_once_in_a_round_and_does_not_count() {
    let mut table = table(64);
    let kept = files(&mut table, ROOT, "kept", 200);
    let mut asked: BTreeMap<u64, usize> = BTreeMap::new();
    let mut ask = |table: &mut Table| {
        let found = table.oldest(512);
        found.iter().for_each(|&ino| *asked.entry(ino).or_default() += 1);
        found
    };
    assert_eq!(ask(&mut table), kept[..137]);
    assert!(ask(&mut table).is_empty());
    for n in 0..1000 {
        add(&mut table, ROOT, &format!("f{n}"), FILE);
        for ino in ask(&mut table).into_iter().filter(|ino| !kept.contains(ino)) {
            table.forget(ino, 1);
        }
        assert!(table.len() <= 200 + 64 + 2, "{} inodes", table.len());
    }
    let often = kept.iter().map(|ino| asked[ino]).collect::<BTreeSet<_>>();
    assert!(often.len() <= 2, "some were asked for more often than others: {often:?}");
}

#[test]
fn a_name_that_was_just_given_is_not_taken_before_it_can_be_used() {
    let mut table = table(100);
    // All that is older must stay.
    let held = files(&mut table, ROOT, "held", 500);
    held.iter().for_each(|&ino| table.hold(ino));
    for n in 0..500 {
        let new = add(&mut table, ROOT, &format!("f{n}"), FILE);
        let found = table.oldest(512);
        assert!(found.iter().all(|&ino| ino + 50 <= new), "{found:?} at {new}");
        found.iter().for_each(|&ino| table.forget(ino, 1));
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The kernel looks up a name in one of the directories that it knows.
    LookUp(usize, usize, bool),
    Open(usize),
    Hold(usize),
    Unhold(usize),
    Unlink(usize),
    /// The kernel begins or ends to use an inode beside its name.
    Use(usize),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However names are looked up, opened, kept and used, what is asked for may go, and never is there more than
    /// the limit, what is in use, and what the hand had no steps for yet.
    #[test]
    fn the_number_of_inodes_is_bounded(steps in prop::collection::vec(prop_oneof![
        12 => (0..64usize, 0..400usize, prop::bool::weighted(0.1)).prop_map(|(at, n, dir)| Step::LookUp(at, n, dir)),
        2 => (0..1000usize).prop_map(Step::Open),
        1 => (0..1000usize).prop_map(Step::Hold),
        1 => (0..1000usize).prop_map(Step::Unhold),
        1 => (0..1000usize).prop_map(Step::Unlink),
        1 => (0..1000usize).prop_map(Step::Use),
    ], 0..800)) {
        const LIMIT: usize = 40;
        let mut table = table(LIMIT);
        // What the kernel holds: parent, name, lookups.
        let mut kernel: BTreeMap<u64, (u64, String, u64)> = BTreeMap::new();
        let (mut dirs, mut held, mut unlinked) = (vec![ROOT], BTreeSet::new(), BTreeSet::new());
        // What the kernel uses beside names, and what it has used of what it still has.
        let (mut in_use, mut used) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            let pick = |which: usize| kernel.keys().nth(which % kernel.len().max(1)).copied();
            match step {
                Step::LookUp(at, n, is_dir) => {
                    let parent = dirs[at % dirs.len()];
                    let (text, kind) = match is_dir {
                        true => (format!("d{n}"), DIR),
                        false => (format!("f{n}"), FILE),
                    };
                    let ino = add(&mut table, parent, &text, kind);
                    kernel.entry(ino).or_insert((parent, text, 0)).2 += 1;
                    if is_dir && !dirs.contains(&ino) {
                        dirs.push(ino);
                    }
                }
                Step::Open(which) => {
                    if let Some(ino) = pick(which) { open(&mut table, ino) }
                }
                Step::Hold(which) => {
                    if let Some(ino) = pick(which) && held.insert(ino) { table.hold(ino) }
                }
                Step::Unhold(which) => {
                    if let Some(ino) = pick(which) && held.remove(&ino) { table.unhold(ino) }
                }
                Step::Unlink(which) => {
                    if let Some(ino) = pick(which).filter(|ino| !dirs.contains(ino) && !unlinked.contains(ino)) {
                        let (parent, text, _) = &kernel[&ino];
                        table.unlinked(*parent, &name(text));
                        unlinked.insert(ino);
                    }
                }
                Step::Use(which) => {
                    if let Some(ino) = pick(which) {
                        used.insert(ino);
                        if !in_use.insert(ino) { in_use.remove(&ino); }
                    }
                }
            }
            loop {
                let oldest = table.oldest(7);
                if oldest.is_empty() { break }
                prop_assert!(oldest.len() <= 7);
                let named = kernel.iter().filter(|(ino, _)| !unlinked.contains(*ino));
                let parents: BTreeSet<u64> = named.map(|(_, (parent, ..))| *parent).collect();
                for ino in oldest {
                    let is_leaf = !parents.contains(&ino);
                    prop_assert!(ino != ROOT && is_leaf && !held.contains(&ino) && !unlinked.contains(&ino));
                    if !in_use.contains(&ino) {
                        let (_, _, lookups) = kernel.remove(&ino).unwrap();
                        dirs.retain(|&dir| dir != ino);
                        table.forget(ino, lookups);
                        prop_assert!(table.kind(ino).is_err());
                    }
                }
            }
            let parents: BTreeSet<u64> = kernel.values().map(|(parent, ..)| *parent).collect();
            let busy = |ino: &u64| {
                parents.contains(ino) || used.contains(ino) || held.contains(ino) || unlinked.contains(ino)
            };
            let busy = kernel.keys().filter(|&ino| busy(ino)).chain([&ROOT]).count();
            prop_assert!(table.len() <= (LIMIT + busy) * 5 / 4, "{} inodes, {busy} of them in use", table.len());
        }
        // What is not used any more does not stay for having been used.
        held.iter().for_each(|&ino| table.unhold(ino));
        held.clear();
        for n in 0..1000 {
            let ino = add(&mut table, ROOT, &format!("last{n}"), FILE);
            kernel.insert(ino, (ROOT, String::new(), 1));
            for ino in table.oldest(512) {
                let (_, _, lookups) = kernel.remove(&ino).unwrap();
                table.forget(ino, lookups);
            }
        }
        let stays = kernel.keys().filter(|ino| unlinked.contains(ino)).count();
        prop_assert!(table.len() <= (LIMIT + stays) * 5 / 4, "{} inodes, {stays} removed ones", table.len());
        // Every lookup that was given is known: when all are taken back, nothing is left.
        held.iter().for_each(|&ino| table.unhold(ino));
        kernel.iter().rev().for_each(|(&ino, (_, _, lookups))| table.forget(ino, *lookups));
        prop_assert_eq!((table.len(), table.names.len()), (1, 0));
    }
}
