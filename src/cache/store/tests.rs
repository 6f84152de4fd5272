//! A model of the truth: a server that only we change. Whatever is in flight and however it is delayed, all
//! that memory tells must be true.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ftp::list::EntryKind;
use crate::remote::Listing;

const TTL: Duration = Duration::from_secs(30);
const NAMES: [&str; 4] = ["a", "b", "c", "s"];
const TOPS: [&str; 3] = ["/d", "/e", "/d2"];

/// Sizes tell every state of a name from every other.
type Tree = BTreeMap<RemotePath, BTreeMap<Name, u64>>;

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn entry(name: &Name, size: u64) -> RemoteEntry {
    RemoteEntry {
        name: name.as_bytes().into(),
        kind: if size == 0 { EntryKind::Directory } else { EntryKind::File },
        size: (size > 0).then_some(size),
        modified: None,
        mode: None,
        link_target: None,
        unique: None,
    }
}

fn size(entry: &RemoteEntry) -> u64 {
    entry.size.unwrap_or(0)
}

#[derive(Clone, Debug)]
enum Step {
    AskListing(usize),
    AskName(usize, usize),
    /// The server answers a question that is on its way.
    Answer(usize, bool),
    /// An answer arrives.
    Arrive(usize),
    Change(usize, usize, bool),
    Pin(usize, usize),
    Unpin(usize, usize),
    MoveFile(usize, usize, usize, usize),
    MoveDirectory(usize, usize),
    MakeDirectory(usize),
    RemoveDirectory(usize),
    Invalidate(usize),
    Clear,
    /// What was learned before is stale.
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let dir = 0..6usize;
    let name = 0..3usize;
    prop_oneof![
        4 => dir.clone().prop_map(Step::AskListing),
        3 => (dir.clone(), name.clone()).prop_map(|(d, n)| Step::AskName(d, n)),
        7 => (0..8usize, any::<bool>()).prop_map(|(at, complete)| Step::Answer(at, complete)),
        7 => (0..8usize).prop_map(Step::Arrive),
        6 => (dir.clone(), name.clone(), any::<bool>()).prop_map(|(d, n, gone)| Step::Change(d, n, gone)),
        2 => (dir.clone(), name.clone()).prop_map(|(d, n)| Step::Pin(d, n)),
        2 => (dir.clone(), name.clone()).prop_map(|(d, n)| Step::Unpin(d, n)),
        3 => (dir.clone(), name.clone(), dir.clone(), name.clone())
            .prop_map(|(d, n, e, m)| Step::MoveFile(d, n, e, m)),
        2 => (0..3usize, 0..3usize).prop_map(|(from, to)| Step::MoveDirectory(from, to)),
        1 => (0..3usize).prop_map(Step::MakeDirectory),
        1 => (0..3usize).prop_map(Step::RemoveDirectory),
        1 => dir.prop_map(Step::Invalidate),
        1 => Just(Step::Clear),
        1 => Just(Step::Expire),
    ]
}

/// A question on its way, and what the server answered once it did.
struct Question {
    dir: RemotePath,
    name: Option<Name>,
    sent: Sent,
    /// Its path was renamed or removed meanwhile, so its answer may tell of the past.
    lost: bool,
    answer: Option<Answered>,
}

enum Answered {
    Listing(Listing),
    Name(Option<RemoteEntry>),
    Refused,
}

/// A name as a listing shows it, and its size.
type Shown = (Box<[u8]>, u64);

struct Model {
    store: Store,
    now: Instant,
    truth: Tree,
    pins: Tree,
    questions: Vec<Question>,
    sizes: u64,
    /// What each serial stood for.
    serials: BTreeMap<u64, Vec<Shown>>,
}

impl Model {
    fn new(timeout: Duration, limit: usize) -> Model {
        let root = NAMES[..1].iter().map(|_| (name("d"), 0)).collect();
        let d = [(name("a"), 1), (name("s"), 0)].into();
        let truth = [(path("/"), root), (path("/d"), d), (path("/d/s"), [(name("b"), 2)].into())].into();
        Model {
            store: Store::new(timeout, limit),
            now: Instant::now(),
            truth,
            pins: Tree::new(),
            questions: Vec::new(),
            sizes: 2,
            serials: BTreeMap::new(),
        }
    }

    /// A directory that exists.
    fn dir(&self, at: usize) -> RemotePath {
        self.truth.keys().nth(at % self.truth.len()).unwrap().clone()
    }

    fn is_below(&self, at: usize) -> Option<RemotePath> {
        Some(self.dir(at)).filter(|dir| !dir.is_root())
    }

    fn expected(&self, dir: &RemotePath, name: &Name) -> Option<u64> {
        let of = |tree: &Tree| tree.get(dir).and_then(|names| names.get(name).copied());
        of(&self.pins).or_else(|| of(&self.truth))
    }

    fn ask(&mut self, dir: RemotePath, name: Option<Name>) {
        let sent = self.store.ask(&dir, self.now);
        self.questions.push(Question { dir, name, sent, lost: false, answer: None });
    }

    fn lose(&mut self, path: &RemotePath) {
        for question in &mut self.questions {
            question.lost |= question.dir.below(path).is_some();
        }
    }

    fn lose_names(&mut self, dir: &RemotePath) {
        self.questions.iter_mut().filter(|question| question.dir == *dir).for_each(|q| q.lost = true);
    }

    fn run(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::AskListing(at) => self.ask(self.dir(at), None),
            Step::AskName(at, n) => self.ask(self.dir(at), Some(name(NAMES[n]))),
            Step::Answer(at, complete) => {
                let unanswered: Vec<_> =
                    self.questions.iter_mut().filter(|question| question.answer.is_none()).collect();
                let count = unanswered.len().max(1);
                let Some(question) = unanswered.into_iter().nth(at % count) else { return };
                let names = self.truth.get(&question.dir);
                question.answer = Some(match (&question.name, names) {
                    (_, None) => Answered::Refused,
                    (Some(name), Some(names)) => {
                        Answered::Name(names.get(name).map(|&size| entry(name, size)))
                    }
                    (None, Some(names)) => {
                        let left_out = usize::from(!complete);
                        let entries = names.iter().skip(left_out).map(|(name, &size)| entry(name, size));
                        Answered::Listing(Listing { own: None, entries: entries.collect(), complete })
                    }
                });
            }
            Step::Arrive(at) => {
                let answered: Vec<_> =
                    (0..self.questions.len()).filter(|&at| self.questions[at].answer.is_some()).collect();
                if answered.is_empty() {
                    return;
                }
                let question = self.questions.remove(answered[at % answered.len()]);
                self.arrive(question);
            }
            Step::Change(at, n, gone) => {
                let Some(dir) = self.is_below(at) else { return };
                let name = name(NAMES[n]);
                self.sizes += 1;
                let size = (!gone).then_some(self.sizes);
                let names = self.truth.get_mut(&dir).unwrap();
                match size {
                    Some(size) => drop(names.insert(name.clone(), size)),
                    None => drop(names.remove(&name)),
                }
                self.unpin(&dir, &name);
                self.store.changed(&dir, &name, size.map(|size| entry(&name, size)), now);
            }
            Step::Pin(at, n) => {
                let Some(dir) = self.is_below(at) else { return };
                let name = name(NAMES[n]);
                self.sizes += 1;
                self.pins.entry(dir.clone()).or_default().insert(name.clone(), self.sizes);
                self.store.pin(&dir, &name, entry(&name, self.sizes), now);
            }
            Step::Unpin(at, n) => {
                let (dir, name) = (self.dir(at), name(NAMES[n]));
                self.unpin(&dir, &name);
                self.store.unpin(&dir, &name);
            }
            Step::MoveFile(at, n, to, m) => {
                let (Some(dir), Some(to_dir)) = (self.is_below(at), self.is_below(to)) else { return };
                let (from, to) = (name(NAMES[n]), name(NAMES[m]));
                let (from_path, to_path) = (dir.join(&from), to_dir.join(&to));
                if self.expected(&dir, &from).is_none() || from_path == to_path {
                    return;
                }
                let pinned = self.pins.get_mut(&dir).and_then(|pins| pins.remove(&from));
                self.unpin(&to_dir, &to);
                let moved = self.truth.get_mut(&dir).unwrap().remove(&from);
                match (pinned, moved) {
                    (Some(size), _) => {
                        self.pins.entry(to_dir).or_default().insert(to, size);
                    }
                    (None, Some(size)) => {
                        self.truth.get_mut(&to_dir).unwrap().insert(to, size);
                    }
                    (None, None) => {}
                }
                if !self.store.moved(&from_path, &to_path, now) {
                    self.lose_names(&to_path.parent().unwrap());
                }
            }
            Step::MoveDirectory(from, to) => {
                let (from, to) = (path(TOPS[from]), path(TOPS[to]));
                if !self.truth.contains_key(&from) || self.truth.contains_key(&to) {
                    return;
                }
                for tree in [&mut self.truth, &mut self.pins] {
                    let moved = std::mem::take(tree).into_iter();
                    *tree = moved.map(|(dir, names)| (dir.moved(&from, &to).unwrap_or(dir), names)).collect();
                }
                let root = self.truth.get_mut(&path("/")).unwrap();
                root.remove(&Name::new(from.file_name()).unwrap());
                root.insert(Name::new(to.file_name()).unwrap(), 0);
                if !self.store.moved(&from, &to, now) {
                    self.lose_names(&path("/"));
                }
                self.lose(&from);
                self.lose(&to);
            }
            Step::MakeDirectory(at) => {
                let made = path(TOPS[at]);
                if self.truth.contains_key(&made) {
                    return;
                }
                let name = Name::new(made.file_name()).unwrap();
                self.truth.insert(made.clone(), BTreeMap::new());
                self.truth.get_mut(&path("/")).unwrap().insert(name.clone(), 0);
                self.store.made_directory(&made, now);
                self.store.changed(&path("/"), &name, Some(entry(&name, 0)), now);
                self.lose(&made);
            }
            Step::RemoveDirectory(at) => {
                let gone = path(TOPS[at]);
                if !self.truth.contains_key(&gone) {
                    return;
                }
                for tree in [&mut self.truth, &mut self.pins] {
                    tree.retain(|dir, _| dir.below(&gone).is_none());
                }
                let name = Name::new(gone.file_name()).unwrap();
                self.truth.get_mut(&path("/")).unwrap().remove(&name);
                self.store.removed_directory(&gone);
                self.store.changed(&path("/"), &name, None, now);
                self.lose(&gone);
            }
            Step::Invalidate(at) => {
                let dir = self.dir(at);
                self.store.forget(&dir);
            }
            Step::Clear => drop(self.store.clear()),
            Step::Expire => self.now += TTL * 2,
        }
    }

    fn unpin(&mut self, dir: &RemotePath, name: &Name) {
        if let Some(pins) = self.pins.get_mut(dir) {
            pins.remove(name);
        }
    }

    /// Those who wait for an answer get the truth of the moment when it arrives.
    fn arrive(&mut self, question: Question) {
        let Question { dir, name, sent, lost, answer } = question;
        match (answer, name) {
            (Some(Answered::Listing(mut listing)), _) => {
                if let Some(known) = self.store.recollect(&dir) {
                    listing.entries.iter_mut().for_each(|entry| known.complete(entry));
                }
                let frozen = Arc::new(Frozen::new(listing, sent.stamp));
                let (listing, _) = self.store.listed(&dir, sent, frozen, self.now);
                if !lost {
                    self.check_listing(&dir, &listing);
                }
            }
            (Some(Answered::Name(entry)), Some(name)) => {
                let (entry, _) = self.store.told(&dir, &name, sent, entry.map(Arc::new), self.now);
                if !lost {
                    assert_eq!(entry.as_deref().map(size), self.expected(&dir, &name), "{dir} {name:?}");
                }
            }
            _ => self.store.failed(&dir, sent),
        }
    }

    fn check_listing(&self, dir: &RemotePath, listing: &Arc<Frozen>) {
        let mut expected = self.truth.get(dir).cloned().unwrap_or_default();
        expected.extend(self.pins.get(dir).cloned().unwrap_or_default());
        for shown in listing.entries() {
            let name = Name::new(&shown.name).unwrap();
            assert_eq!(expected.get(&name).copied(), Some(size(shown)), "{name:?} in {dir}");
            assert!(listing.find(&shown.name).is_some());
        }
        if listing.is_complete() {
            assert_eq!(listing.entries().len(), expected.len(), "{dir}");
        }
        for name in self.pins.get(dir).into_iter().flat_map(BTreeMap::keys) {
            assert!(listing.find(name.as_bytes()).is_some(), "{name:?} is pinned in {dir}");
        }
    }

    fn check(&mut self) {
        let dirs: Vec<_> = TOPS.iter().flat_map(|top| [path(top), path(&format!("{top}/s"))]).collect();
        for dir in dirs.into_iter().chain([path("/")]) {
            for name in NAMES.map(name).into_iter().chain([name("d")]) {
                let expected = self.expected(&dir, &name);
                if let Some(answer) = self.store.answer(&dir, &name, self.now) {
                    assert_eq!(answer.entry.as_deref().map(size), expected, "{name:?} in {dir}");
                }
                if self.pins.get(&dir).is_some_and(|pins| pins.contains_key(&name)) {
                    assert!(self.store.answer(&dir, &name, self.now).is_some(), "pinned {name:?} in {dir}");
                }
            }
            if let Some((listing, _)) = self.store.listing(&dir, self.now) {
                self.check_listing(&dir, &listing);
                let content =
                    listing.entries().iter().map(|shown| (shown.name.clone(), size(shown))).collect();
                let known = self.serials.entry(listing.serial()).or_insert_with(|| Vec::clone(&content));
                assert_eq!(*known, content, "a serial stands for one content");
                let again = self.store.listing(&dir, self.now).map(|(again, _)| again.serial());
                assert!(again == Some(listing.serial()), "nothing has changed");
            }
        }
        assert_eq!(self.store.used(), self.store.recount());
        assert!(self.store.used() <= self.store.limit || self.store.slots.len() <= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn memory_tells_the_truth_whatever_is_in_flight(
        timeout in prop_oneof![4 => Just(TTL), 1 => Just(Duration::ZERO)],
        limit in prop_oneof![3 => Just(1 << 20), 1 => 0..4000usize],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut model = Model::new(timeout, limit);
        for step in steps {
            model.run(step);
            model.check();
        }
        for question in std::mem::take(&mut model.questions) {
            model.arrive(question);
        }
        model.check();
        prop_assert!(model.store.transit.is_empty());
    }
}
