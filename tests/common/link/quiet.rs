//! Whether everybody at both ends waits: told by the kernel's record of their threads, not by a clock, so that a busy
//! machine changes nothing.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The threads that may send something.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Identities of the network namespaces of both ends.
    namespaces: [u64; 2],
    /// The thread of the test: in the calls that it makes it waits for the others.
    driver: String,
    /// All processes of the machine that were seen, and whether they belong here.
    processes: HashMap<u32, bool>,
    /// Who worked when somebody was last seen to, for messages.
    busy: String,
}

/// What the record says of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thread {
    name: String,
    state: u8,
    /// How often it was taken off a processor: the same number means that it did not run in between.
    switches: Vec<String>,
}

impl Crowd {
    /// All processes in these namespaces with their children, and thread `driver` of this process.
    pub(super) fn new(namespaces: [u64; 2], driver: i32) -> Crowd {
        Crowd {
            namespaces,
            driver: format!("/proc/{}/task/{driver}", std::process::id()),
            processes: HashMap::new(),
            busy: String::new(),
        }
    }

    /// Whether there was a moment, after the call began, in which all of them slept.
    ///
    /// Each is looked at twice. Who slept both times and did not run in between slept all that time; and all first
    /// looks lie before all second ones.
    pub(super) fn slept(&mut self) -> bool {
        let Some(first) = self.look() else { return false };
        let Some(second) = self.look() else { return false };
        if let Some(ran) = second.iter().find(|thread| !first.contains(thread)) {
            self.busy = format!("{}, which ran in between", describe(ran));
        }
        first == second
    }

    /// Who worked when somebody was last seen to.
    pub(super) fn busy(&self) -> &str {
        &self.busy
    }

    /// The record of all threads, `None` if one of them works.
    fn look(&mut self) -> Option<Vec<Thread>> {
        let mut threads = Vec::new();
        if let Some(driver) = thread(&self.driver) {
            // In a call to the mount it may wait uninterruptibly.
            if driver.state == b'R' {
                self.busy = "the test".to_owned();
                return None;
            }
            threads.push(driver);
        }
        for process in self.members() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for task in tasks.flatten() {
                let Some(found) = thread(&task.path().to_string_lossy()) else { continue };
                // Waiting for a disk is work.
                if matches!(found.state, b'R' | b'D') {
                    self.busy = describe(&found);
                    return None;
                }
                threads.push(found);
            }
        }
        Some(threads)
    }

    fn members(&mut self) -> Vec<u32> {
        let listed = fs::read_dir("/proc").expect("no /proc").flatten();
        let all: Vec<u32> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let mut known = HashMap::with_capacity(all.len());
        for &process in &all {
            let belongs = match self.processes.get(&process) {
                Some(&belongs) => belongs,
                None => self.belongs(process, &known),
            };
            known.insert(process, belongs);
        }
        self.processes = known;
        all.into_iter().filter(|process| self.processes[process]).collect()
    }

    /// A process of vsftpd has a namespace of its own, but a parent that belongs here. Parents are listed before their
    /// children, but when the numbers of processes start anew.
    fn belongs(&self, process: u32, known: &HashMap<u32, bool>) -> bool {
        let namespace = fs::metadata(format!("/proc/{process}/ns/net")).map(|found| found.ino());
        if namespace.is_ok_and(|namespace| self.namespaces.contains(&namespace)) {
            return true;
        }
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        parent.is_some_and(|parent: u32| {
            known.get(&parent).or_else(|| self.processes.get(&parent)).copied().unwrap_or(false)
        })
    }
}

/// What the kernel tells of a thread that works.
fn describe(thread: &Thread) -> String {
    let read = |name: &str| fs::read_to_string(format!("{}/{name}", thread.name)).unwrap_or_default();
    format!(
        "{} ({}) in state {}, {}",
        thread.name,
        read("comm").trim(),
        char::from(thread.state),
        read("wchan")
    )
}

/// `None` when it has ended, or waits to be buried.
fn thread(path: &str) -> Option<Thread> {
    let status = fs::read_to_string(format!("{path}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let state = *field("State:")?.as_bytes().first()?;
    let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
    let switches = switches.iter().filter_map(|name| field(name)).map(str::to_owned).collect();
    (!matches!(state, b'Z' | b'X')).then(|| Thread { name: path.to_owned(), state, switches })
}
