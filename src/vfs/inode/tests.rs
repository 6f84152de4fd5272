use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn entry(kind: EntryKind, size: u64) -> RemoteEntry {
    RemoteEntry {
        name: (*b"unused").into(),
        kind,
        size: Some(size),
        modified: None,
        mode: None,
        link_target: None,
        unique: None,
    }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn table() -> Table {
    Table::new(RemotePath::parse(b"/base").unwrap(), usize::MAX)
}

fn add(table: &mut Table, parent: u64, text: &str, kind: EntryKind) -> u64 {
    table.observe(parent, &name(text), &entry(kind, 1), Instant::now(), 1).unwrap().ino
}

const FILE: EntryKind = EntryKind::File;
const DIR: EntryKind = EntryKind::Directory;

#[test]
fn a_name_keeps_its_number_as_long_as_its_kind() {
    let mut table = table();
    let first = add(&mut table, ROOT, "x", FILE);
    assert_eq!(add(&mut table, ROOT, "x", FILE), first);
    let second = add(&mut table, ROOT, "x", DIR);
    assert_ne!(second, first);
    assert!(matches!(table.path(first), Err(Error::Stale)));
    assert_eq!(table.path(second).unwrap().as_bytes(), b"/base/x");
    table.forget(first, 2);
    assert_eq!(table.path(second).unwrap().as_bytes(), b"/base/x");
    table.forget(second, 1);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_parent_forgotten_first_stays_for_its_children() {
    let mut table = table();
    let dir = add(&mut table, ROOT, "d", DIR);
    let file = add(&mut table, dir, "f", FILE);
    table.forget(dir, 1);
    assert_eq!(table.path(file).unwrap().as_bytes(), b"/base/d/f");
    table.forget(file, 1);
    assert_eq!(table.len(), 1);
    table.forget(ROOT, 100);
    assert_eq!(table.path(ROOT).unwrap().as_bytes(), b"/base");
}

#[test]
fn old_news_do_not_replace_younger_facts() {
    let mut table = table();
    let (old, young) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(1));
    table.observe(ROOT, &name("f"), &entry(FILE, 2), young, 1).unwrap();
    let seen = table.observe(ROOT, &name("f"), &entry(FILE, 1), old, 1).unwrap();
    assert_eq!((seen.facts.size, seen.learned, seen.outdated), (Some(2), young, false));
}

#[test]
fn pages_of_our_own_changes_are_dropped_for_another_version() {
    let mut table = table();
    let ino = add(&mut table, ROOT, "f", FILE);
    table.begin_change(ino);
    let version = Arc::new(FileVersion::new(FileId(7), 1, None, None));
    assert_eq!(table.open(ino, &version).unwrap(), Cached::Other);
}

#[test]
fn another_version_ends_the_right_to_read_the_opened_one() {
    let mut table = table();
    let ino = add(&mut table, ROOT, "f", FILE);
    let now = Instant::now();
    let version = |id| Arc::new(FileVersion::new(FileId(id), 1, None, None));
    assert_eq!(table.open(ino, &version(7)).unwrap(), Cached::Nothing);
    assert_eq!(table.open(ino, &version(7)).unwrap(), Cached::This);
    assert!(!table.observe(ROOT, &name("f"), &entry(FILE, 1), now, 1).unwrap().outdated);
    assert!(table.is_current(ino, FileId(7)));
    assert!(table.observe(ROOT, &name("f"), &entry(FILE, 2), now, 0).unwrap().outdated);
    assert!(!table.is_current(ino, FileId(7)));
    assert!(table.is_kernel_behind(ino));
    assert_eq!(table.open(ino, &version(8)).unwrap(), Cached::Other);
    table.lose(ino, FileId(8));
    assert!(!table.is_current(ino, FileId(8)));
}

fn facts(kind: EntryKind, size: u64) -> Facts {
    Facts::from(&entry(kind, size))
}

fn path_of(table: &Table, ino: u64) -> String {
    table.path(ino).unwrap().to_string()
}

#[test]
fn a_rename_keeps_the_number_and_takes_all_below_along() {
    let mut table = table();
    let (d, e) = (add(&mut table, ROOT, "d", DIR), add(&mut table, ROOT, "e", DIR));
    let sub = add(&mut table, d, "sub", DIR);
    let file = add(&mut table, sub, "f", FILE);
    assert_eq!(table.renamed((d, &name("sub")), (e, &name("moved"))), None);
    assert_eq!(path_of(&table, file), "/base/e/moved/f");
    assert_eq!((table.parent(sub), table.number(d, &name("sub"))), (e, None));
    assert_eq!(table.number(e, &name("moved")), Some(sub));
    table.forget(d, 1);
    table.forget(e, 1);
    assert!(table.path(d).is_err());
    assert_eq!(path_of(&table, e), "/base/e");
    for ino in [sub, file] {
        table.forget(ino, 1);
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn what_a_rename_replaces_loses_its_name_and_keeps_its_facts() {
    let mut table = table();
    let (a, b) = (add(&mut table, ROOT, "a", FILE), add(&mut table, ROOT, "b", FILE));
    table.committed(b, facts(FILE, 77), Instant::now(), None);
    assert_eq!(table.renamed((ROOT, &name("a")), (ROOT, &name("b"))), Some(b));
    assert_eq!(path_of(&table, a), "/base/b");
    assert!(matches!(table.path(b), Err(Error::Stale)) && matches!(table.place(b), Err(Error::Stale)));
    assert_eq!((table.kind(b).unwrap(), table.facts(b).unwrap().0.size), (FILE, Some(77)));
    assert!(table.is_unlinked(b) && !table.is_unlinked(a));
    assert_eq!(add(&mut table, ROOT, "b", FILE), a);
    table.forget(b, 1);
    assert!(table.kind(b).is_err() && !table.is_unlinked(b));
    table.forget(a, 2);
    assert_eq!(table.len(), 1);
}

#[test]
fn renames_of_what_nobody_knows_change_nothing() {
    let mut table = table();
    let dir = add(&mut table, ROOT, "d", DIR);
    let sub = add(&mut table, dir, "sub", DIR);
    assert_eq!(table.renamed((ROOT, &name("x")), (dir, &name("y"))), None);
    assert_eq!(table.renamed((dir, &name("sub")), (dir, &name("sub"))), None);
    assert_eq!(table.renamed((ROOT, &name("d")), (sub, &name("loop"))), None);
    assert_eq!(path_of(&table, sub), "/base/d/sub");
    assert_eq!(table.unlinked(ROOT, &name("x")), None);
    // The name became something that nobody has seen yet.
    assert_eq!(table.renamed((ROOT, &name("x")), (dir, &name("sub"))), Some(sub));
    assert_ne!(add(&mut table, dir, "sub", DIR), sub);
}

#[test]
fn a_name_that_is_parted_from_its_inode_gets_a_new_one_and_the_old_one_keeps_what_was_opened() {
    let mut table = table();
    let old = add(&mut table, ROOT, "f", FILE);
    let opened = FileVersion::new(FileId(7), 5, None, None);
    table.observe(ROOT, &name("f"), &entry(FILE, 9), Instant::now(), 0).unwrap();
    table.parted(old, &opened);
    assert!(table.is_unlinked(old) && matches!(table.path(old), Err(Error::Stale)));
    assert_eq!(table.facts(old).unwrap().0.size, Some(5));
    let new = add(&mut table, ROOT, "f", FILE);
    assert_ne!(new, old);
    assert_eq!(path_of(&table, new), "/base/f");
    // What has no name any more has none to lose.
    table.parted(old, &opened);
    table.hidden(new, (ROOT, &name("hidden")));
    table.parted(new, &opened);
    assert_eq!(path_of(&table, new), "/base/hidden");
    table.forget(old, 1);
    table.forget(new, 1);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_new_file_of_a_removed_name_gets_a_new_number() {
    let mut table = table();
    let old = add(&mut table, ROOT, "f", FILE);
    assert_eq!(table.unlinked(ROOT, &name("f")), Some(old));
    let new = add(&mut table, ROOT, "f", FILE);
    assert_ne!(new, old);
    assert!(table.is_unlinked(old) && !table.is_unlinked(new));
    assert_eq!(table.unlinked(ROOT, &name("f")), Some(new));
    table.forget(old, 1);
    table.forget(new, 1);
    assert_eq!(table.len(), 1);
    let held_by_nobody = table.observe(ROOT, &name("g"), &entry(FILE, 1), Instant::now(), 0).unwrap().ino;
    assert_eq!(table.unlinked(ROOT, &name("g")), None);
    assert!(table.kind(held_by_nobody).is_err());
}

#[test]
fn nothing_comes_to_be_in_a_removed_directory() {
    let mut table = table();
    let dir = add(&mut table, ROOT, "d", DIR);
    let file = add(&mut table, dir, "f", FILE);
    table.unlinked(ROOT, &name("d"));
    assert!(matches!(table.path(file), Err(Error::Stale)));
    let observed = table.observe(dir, &name("new"), &entry(FILE, 1), Instant::now(), 1);
    assert!(matches!(observed, Err(Error::Stale)));
    table.forget(dir, 1);
    table.forget(file, 1);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_hidden_inode_is_gone_for_the_user_and_has_a_place() {
    let mut table = table();
    let dir = add(&mut table, ROOT, "d", DIR);
    let file = add(&mut table, dir, "f", FILE);
    table.hidden(file, (dir, &name(".hidden")));
    assert!(table.is_unlinked(file));
    assert_eq!((table.number(dir, &name("f")), table.number(dir, &name(".hidden"))), (None, None));
    table.renamed((ROOT, &name("d")), (ROOT, &name("e")));
    assert_eq!(path_of(&table, file), "/base/e/.hidden");
    assert_ne!(add(&mut table, dir, "f", FILE), file);
    assert_ne!(add(&mut table, dir, ".hidden", FILE), file);
    assert_eq!(path_of(&table, file), "/base/e/.hidden");

    let replaced = add(&mut table, ROOT, "g", FILE);
    table.unlinked(ROOT, &name("g"));
    table.hidden(replaced, (dir, &name(".other")));
    table.forget(dir, 1);
    assert_eq!(path_of(&table, replaced), "/base/e/.other");
}

#[test]
fn what_we_did_ourselves_is_younger_than_what_was_told_before() {
    let mut table = table();
    let ino = add(&mut table, ROOT, "f", FILE);
    let before = Instant::now();
    let version = Arc::new(FileVersion::new(FileId(7), 5, None, None));
    let later = before + std::time::Duration::from_secs(1);
    table.committed(ino, facts(FILE, 5), later, Some(&version));
    let seen = table.observe(ROOT, &name("f"), &entry(FILE, 1), before, 0).unwrap();
    assert_eq!((seen.facts.size, seen.outdated), (Some(5), false));
    assert!(table.is_current(ino, FileId(7)));
    assert_eq!(table.open(ino, &version).unwrap(), Cached::This, "the kernel's pages are of what it wrote");
}

#[derive(Clone, Debug)]
enum Step {
    See(usize, usize, bool),
    Forget(usize),
    Rename(usize, usize, usize, usize),
    Unlink(usize, usize),
    Hide(usize),
}

/// What the kernel holds of an inode, and where it is: `None` once it has no place.
#[derive(Clone, Debug)]
struct Held {
    path: Option<String>,
    is_dir: bool,
    gone: bool,
    lookups: u64,
}

/// Finds the inode that is shown at a path.
fn at(held: &HashMap<u64, Held>, path: &str) -> Option<u64> {
    held.iter().find(|(_, h)| !h.gone && h.path.as_deref() == Some(path)).map(|(&ino, _)| ino)
}

/// All that is at or below a path is elsewhere now, or nowhere.
fn relocate(held: &mut HashMap<u64, Held>, from: &str, to: Option<&str>) {
    for inode in held.values_mut() {
        let rest = inode.path.as_deref().and_then(|path| path.strip_prefix(from));
        let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) else { continue };
        inode.path = to.map(|to| format!("{to}{rest}"));
    }
}

proptest! {
    /// However lookups, forgets and our own changes come, a number stands for the same thing for ever,
    /// paths stay right, and an empty kernel leaves an empty table.
    #[test]
    fn lookups_forgets_and_renames_balance(steps in prop::collection::vec(prop_oneof![
        4 => (0..8usize, 0..3usize, any::<bool>()).prop_map(|(at, n, dir)| Step::See(at, n, dir)),
        2 => (0..8usize).prop_map(Step::Forget),
        2 => (0..8usize, 0..3usize, 0..8usize, 0..3usize).prop_map(|(a, b, c, d)| Step::Rename(a, b, c, d)),
        1 => (0..8usize, 0..3usize).prop_map(|(at, n)| Step::Unlink(at, n)),
        1 => (0..8usize).prop_map(Step::Hide),
    ], 0..60)) {
        let mut table = table();
        let root = Held { path: Some("/base".to_owned()), is_dir: true, gone: false, lookups: 1 };
        let mut held = HashMap::from([(ROOT, root)]);
        let mut hidden = 0;
        for step in steps {
            let mut dirs: Vec<(u64, String)> = held
                .iter()
                .filter(|(_, h)| h.is_dir && !h.gone)
                .filter_map(|(&ino, h)| Some((ino, h.path.clone()?)))
                .collect();
            dirs.sort();
            match step {
                Step::See(dir, n, is_dir) => {
                    let (parent, path) = &dirs[dir % dirs.len()];
                    let path = format!("{path}/{n}");
                    let ino = add(&mut table, *parent, &n.to_string(), if is_dir { DIR } else { FILE });
                    match held.get_mut(&ino).filter(|h| !h.gone) {
                        Some(known) => {
                            prop_assert_eq!((known.path.as_ref(), known.is_dir), (Some(&path), is_dir));
                            known.lookups += 1;
                        }
                        None => {
                            // Another kind than before: what stood there is replaced.
                            if let Some(old) = at(&held, &path) {
                                relocate(&mut held, &path, None);
                                prop_assert!(table.kind(old).is_err());
                            }
                            let new = Held { path: Some(path), is_dir, gone: false, lookups: 1 };
                            prop_assert!(held.insert(ino, new).is_none(), "{ino} was used before");
                        }
                    }
                }
                Step::Forget(which) => {
                    let mut inos: Vec<u64> = held.keys().copied().filter(|&ino| ino != ROOT).collect();
                    inos.sort_unstable();
                    if !inos.is_empty() {
                        let ino = inos[which % inos.len()];
                        // The kernel forgets a directory after all that it holds below it.
                        let path = held[&ino].path.as_ref().map(|path| format!("{path}/"));
                        let is_needed = path.is_some_and(|path| {
                            held.values().any(|h| h.path.as_ref().is_some_and(|p| p.starts_with(&path)))
                        });
                        if !is_needed {
                            let lookups = held.remove(&ino).map_or(0, |h| h.lookups);
                            table.forget(ino, lookups);
                        }
                    }
                }
                Step::Rename(a, n, b, m) => {
                    let ((from, from_dir), (to, to_dir)) = (&dirs[a % dirs.len()], &dirs[b % dirs.len()]);
                    let (from_path, to_path) = (format!("{from_dir}/{n}"), format!("{to_dir}/{m}"));
                    let is_cycle = format!("{to_path}/").starts_with(&format!("{from_path}/"));
                    let above = format!("{from_path}/").starts_with(&format!("{to_path}/"));
                    if is_cycle || above || at(&held, &from_path).is_none() {
                        continue;
                    }
                    let replaced = at(&held, &to_path);
                    let (n, m) = (name(&n.to_string()), name(&m.to_string()));
                    prop_assert_eq!(table.renamed((*from, &n), (*to, &m)), replaced);
                    relocate(&mut held, &to_path, None);
                    relocate(&mut held, &from_path, Some(&to_path));
                    if let Some(held) = replaced.and_then(|ino| held.get_mut(&ino)) {
                        held.gone = true;
                    }
                }
                Step::Unlink(dir, n) => {
                    let (parent, path) = &dirs[dir % dirs.len()];
                    let path = format!("{path}/{n}");
                    let ino = at(&held, &path);
                    prop_assert_eq!(table.unlinked(*parent, &name(&n.to_string())), ino);
                    relocate(&mut held, &path, None);
                    if let Some(held) = ino.and_then(|ino| held.get_mut(&ino)) {
                        held.gone = true;
                    }
                }
                Step::Hide(which) => {
                    let mut files: Vec<u64> = held
                        .iter()
                        .filter(|(_, h)| !h.is_dir && !h.gone && h.path.is_some())
                        .map(|(&ino, _)| ino)
                        .collect();
                    files.sort_unstable();
                    if !files.is_empty() {
                        let ino = files[which % files.len()];
                        hidden += 1;
                        let to = format!("hidden{hidden}");
                        table.hidden(ino, (ROOT, &name(&to)));
                        if let Some(held) = held.get_mut(&ino) {
                            (held.path, held.gone) = (Some(format!("/base/{to}")), true);
                        }
                    }
                }
            }
            for (&ino, inode) in &held {
                let path = table.path(ino).ok().map(|path| path.to_string());
                prop_assert_eq!(&path, &inode.path, "{}", ino);
                prop_assert_eq!(table.is_unlinked(ino), inode.gone, "{}", ino);
            }
        }
        for (ino, inode) in held.drain().filter(|&(ino, _)| ino != ROOT) {
            table.forget(ino, inode.lookups);
        }
        prop_assert_eq!(table.len(), 1);
        prop_assert_eq!(table.names.len(), 0);
        prop_assert_eq!(table.nodes[&ROOT].children, 0);
    }
}
