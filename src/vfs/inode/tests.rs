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
    Table::new(RemotePath::parse(b"/base").unwrap())
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
fn another_version_ends_the_right_to_read_the_opened_one() {
    let mut table = table();
    let ino = add(&mut table, ROOT, "f", FILE);
    let now = Instant::now();
    let version = |id| Arc::new(FileVersion::new(FileId(id), 1, None, None));
    assert!(!table.open(ino, &version(7)).unwrap());
    assert!(table.open(ino, &version(7)).unwrap());
    assert!(!table.observe(ROOT, &name("f"), &entry(FILE, 1), now, 1).unwrap().outdated);
    assert!(table.is_current(ino, FileId(7)));
    assert!(table.observe(ROOT, &name("f"), &entry(FILE, 2), now, 0).unwrap().outdated);
    assert!(!table.is_current(ino, FileId(7)));
    assert!(table.is_kernel_behind(ino));
    assert!(!table.open(ino, &version(8)).unwrap());
    table.lose(ino, FileId(8));
    assert!(!table.is_current(ino, FileId(8)));
}

#[derive(Clone, Debug)]
enum Step {
    See(usize, usize, bool),
    Forget(usize),
}

proptest! {
    /// However lookups and forgets come, numbers are unique for ever, paths stay right, and an empty
    /// kernel leaves an empty table.
    #[test]
    fn lookups_and_forgets_balance(steps in prop::collection::vec(prop_oneof![
        (0..8usize, 0..3usize, any::<bool>()).prop_map(|(at, n, dir)| Step::See(at, n, dir)),
        (0..8usize).prop_map(Step::Forget),
    ], 0..60)) {
        let mut table = table();
        // What the kernel holds: number, path, whether a directory, lookups.
        let mut held: Vec<(u64, String, bool, u64)> = vec![(ROOT, "/base".to_owned(), true, 1)];
        // What each number ever stood for.
        let mut meanings = HashMap::new();
        for step in steps {
            match step {
                Step::See(at, n, is_dir) => {
                    let dirs: Vec<_> =
                        held.iter().filter(|h| h.2 && table.path(h.0).is_ok()).cloned().collect();
                    let (parent, path, ..) = &dirs[at % dirs.len()];
                    let kind = if is_dir { DIR } else { FILE };
                    let ino = add(&mut table, *parent, &n.to_string(), kind);
                    let path = format!("{path}/{n}");
                    match held.iter_mut().find(|h| h.0 == ino) {
                        Some(known) => {
                            prop_assert_eq!((&known.1, known.2), (&path, is_dir));
                            known.3 += 1;
                        }
                        None => {
                            let meaning = (path.clone(), is_dir);
                            prop_assert_eq!(meanings.entry(ino).or_insert(meaning.clone()), &meaning);
                            held.push((ino, path.clone(), is_dir, 1));
                        }
                    }
                    prop_assert_eq!(table.path(ino).unwrap().to_string(), path);
                }
                Step::Forget(at) => {
                    let at = at % held.len();
                    if at > 0 {
                        let (ino, _, _, lookups) = held.remove(at);
                        table.forget(ino, lookups);
                    }
                }
            }
        }
        for (ino, _, _, lookups) in held.drain(..).skip(1) {
            table.forget(ino, lookups);
        }
        prop_assert_eq!(table.len(), 1);
        prop_assert!(table.names.is_empty());
    }
}
