//! Processes of other programs: who descends from whom, signals, what they use.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Parents by process, for all processes that can be seen.
fn parents() -> HashMap<u32, u32> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold anything, also parentheses: what follows the last one is plain.
        let text = String::from_utf8_lossy(&stat).into_owned();
        let Some((_, rest)) = text.rsplit_once(')') else { continue };
        if let Some(parent) = rest.split_whitespace().nth(1).and_then(|field| field.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    parents
}

/// `pid` and all that descend from it, at this moment.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let parents = parents();
    let descends = |mut one: u32| {
        while one != pid {
            match parents.get(&one) {
                Some(&parent) => one = parent,
                None => return false,
            }
        }
        true
    };
    parents.keys().copied().filter(|&one| descends(one)).collect()
}

/// Sends a signal such as `STOP`. That a process has gone already is no error.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let pids = pids.iter().map(u32::to_string);
    Command::new("kill").arg("-s").arg(name).arg("--").args(pids).output().expect("cannot run kill(1)");
}

/// Peak resident memory in bytes, `None` when the process has gone.
pub(crate) fn peak_rss(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What a process has used of the processors so far, `None` when it has gone.
pub(crate) fn processor_time(pid: u32) -> Option<Duration> {
    /// proc_pid_stat(5) counts in these, 100 in a second wherever Linux runs on this processor.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields 14 and 15, utime and stime; the name, which is the second, may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

/// Processes with `text` in an argument, with their command lines as `ps` shows them.
pub(crate) fn with_argument(text: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push((pid, line));
        }
    }
    found
}
