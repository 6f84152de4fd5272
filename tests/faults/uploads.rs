//! Uploads that are cut at every possible moment: close() tells the truth, and nothing is lost.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::bounded::eventually;
use crate::common_ftpd::{FaultAt, FaultEnd, RefusedUpload, ReplyCut, Tree, UploadFault, Writing, pattern};
use crate::mounted::{HEALING, Mounted, close, create, errno, errno_name, fill, open_end, state, table};

const SIZE: usize = 2_000_000;
const OLD: usize = 100_000;
/// A file that goes out with the command that announces it.
const SMALL: usize = 3000;
/// Where a patch begins.
const PATCHED: usize = 1_000_000;
/// Positions of the data stream.
const POSITIONS: usize = 25;
/// An operation has fewer replies than this.
const MOST_REPLIES: usize = 60;

/// What is done to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Create,
    /// A small one, over a connection that has sent others.
    CreateSmall,
    Append,
    /// Another content in place of a shorter one, by O_TRUNC.
    Replace,
    /// Some bytes in the middle, of a file that was never read.
    Patch,
}

impl Deed {
    /// What the server had before, what is written, and what it must have in the end.
    fn bytes(self) -> (Option<Vec<u8>>, Vec<u8>, Vec<u8>) {
        let (old, new) = (pattern(6, OLD), pattern(7, SIZE));
        match self {
            Deed::Create => (None, new.clone(), new),
            Deed::CreateSmall => (None, pattern(8, SMALL), pattern(8, SMALL)),
            Deed::Append => {
                let all = [&old[..], &new].concat();
                (Some(old), new, all)
            }
            Deed::Replace => (Some(old), new.clone(), new),
            Deed::Patch => {
                let mut all = new.clone();
                all[PATCHED..PATCHED + OLD].copy_from_slice(&old);
                (Some(new), old, all)
            }
        }
    }

    /// Opens, writes and closes. The first error counts; notes whether open() and write() took it all.
    fn act(self, path: &Path, bytes: &[u8], accepted: &AtomicBool) -> io::Result<()> {
        let (written, closed) = match self {
            Deed::Create | Deed::CreateSmall | Deed::Replace => fill(create(path)?, bytes),
            Deed::Append => fill(open_end(path)?, bytes),
            Deed::Patch => {
                let file = OpenOptions::new().write(true).open(path)?;
                (file.write_all_at(bytes, PATCHED as u64), close(file))
            }
        };
        accepted.store(written.is_ok(), Ordering::SeqCst);
        written.and(closed)
    }
}

/// One cut of one deed.
#[derive(Clone, Debug)]
struct Point {
    deed: Deed,
    what: String,
    writing: Writing,
}

#[derive(Debug)]
struct Row {
    point: String,
    close: String,
    server: String,
    cuts: usize,
    took: Duration,
    wrong: Option<String>,
}

/// Does the deed while the server fails, judges what close() said, then lets the server be good and looks again.
fn attempt(point: &Point) -> Row {
    let (old, new, all) = point.deed.bytes();
    let mut tree = Tree::bare();
    if let Some(old) = &old {
        tree.put("/home/u/file", old.clone());
    }
    let mounted = Mounted::good(tree);
    // The name is known, or known to be absent: what is cut is the upload.
    mounted.call("a listing", |dir| std::fs::read_dir(dir).map(Iterator::count)).unwrap();
    if point.deed == Deed::CreateSmall {
        for number in 0..3 {
            mounted
                .call("others", move |dir| std::fs::write(dir.join(format!("w{number}")), "small"))
                .unwrap();
        }
    }
    mounted.break_by(point.writing.clone());
    let deed = point.deed;
    let bytes = new.clone();
    let accepted = Arc::new(AtomicBool::new(false));
    let noted = accepted.clone();
    let (closed, took) = mounted.timed(move |dir| deed.act(&dir.join("file"), &bytes, &noted));
    let accepted = accepted.load(Ordering::SeqCst);
    let server = state(mounted.landed("file").as_deref(), &all);
    let cuts = mounted.server.cuts();
    let mut wrong = Vec::new();
    if closed.is_ok() && server != "complete" {
        wrong.push("close() said 0".to_owned());
    }
    if errno(&closed) == -1 {
        wrong.push("no end".to_owned());
    }
    mounted.heal();
    if errno(&closed) == -1 {
        // Whatever it does, it must not go on for ever.
    } else if closed.is_ok() {
        match mounted.read("file") {
            Ok(bytes) if bytes == all => {}
            other => wrong.push(format!("read back: {:?}", other.map(|bytes| state(Some(&bytes), &all)))),
        }
    } else if deed == Deed::CreateSmall && errno(&closed) == libc::EACCES {
        // A new file that the server refuses to have is given up with its last close, unless it is taken by then.
        let found = eventually(HEALING, "the file, or none", || match mounted.read("file") {
            Ok(bytes) => Some(Some(bytes)),
            Err(error) => (error.raw_os_error() == Some(libc::ENOENT)).then_some(None),
        });
        if found.is_some_and(|bytes| bytes != all) {
            wrong.push("another file is shown".to_owned());
        }
    } else if accepted {
        // It was written, and only not sent: so it can be read and sent yet.
        let bytes = mounted.read_later("file");
        if bytes != all {
            wrong.push(format!("read back: {}", state(Some(&bytes), &all)));
        }
        mounted.synced_later("file");
        let after = state(mounted.landed("file").as_deref(), &all);
        if after != "complete" {
            wrong.push(format!("a later fsync() said 0 with {after}"));
        }
    } else {
        // A program that was told by open() or write() has its own copy of what it wanted to write, and starts
        // anew. What it did not touch must still be there.
        let kept = mounted.landed("file");
        let is_there = match deed {
            Deed::Create | Deed::CreateSmall | Deed::Replace => true,
            Deed::Append => kept.is_some_and(|kept| all.starts_with(&kept) && kept.len() >= OLD),
            Deed::Patch => kept == old,
        };
        if !is_there {
            wrong.push("what was there before is lost".to_owned());
        }
    }
    let wrong = (!wrong.is_empty()).then(|| wrong.join("; "));
    Row { point: point.what.clone(), close: errno_name(&closed), server, cuts, took, wrong }
}

/// Prints the table and its summary, and fails on each row that is wrong.
fn judge(title: &str, rows: &[Row]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    println!("\n{title}\n{:<52} {:<12} {:>7}  server", "point", "close", "took");
    for row in rows {
        let mark = row.wrong.as_ref().map(|wrong| format!("   WRONG: {wrong}")).unwrap_or_default();
        let took = row.took.as_secs_f32();
        println!("{:<52} {:<12} {:>5.1} s  {}{mark}", row.point, row.close, took, row.server);
        let kind = if row.server == "complete" { "complete" } else { "not complete" };
        *counts.entry(format!("close {}, {kind}", row.close)).or_default() += 1;
    }
    for (kind, count) in counts {
        println!("{count:>4} x {kind}");
    }
    let wrong = rows.iter().filter(|row| row.wrong.is_some()).count();
    assert_eq!(wrong, 0, "{wrong} of {} rows are wrong", rows.len());
}

/// Each position with each of these ends, once (which an upload survives) and for ever.
fn data_points(deed: Deed, positions: usize) -> Vec<Point> {
    const ENDS: [FaultEnd; 4] =
        [FaultEnd::Says426, FaultEnd::ControlToo, FaultEnd::Lies226, FaultEnd::NoReply];
    let mut points = Vec::new();
    for position in 0..positions {
        let size = if deed == Deed::CreateSmall { SMALL } else { SIZE };
        let byte = position * size / positions + 7 * position;
        for (times, often) in [(1, "once"), (usize::MAX, "always")] {
            let end = ENDS[(position + times % 2) % ENDS.len()];
            let fault = Some(UploadFault { at: FaultAt::Byte(byte), end, times });
            let what = format!("{deed:?}: data, byte {byte}, {end:?}, {often}");
            points.push(Point { deed, what, writing: Writing { fault, ..Writing::default() } });
        }
    }
    for end in ENDS {
        for (times, often) in [(1, "once"), (usize::MAX, "always")] {
            let fault = Some(UploadFault { at: FaultAt::End, end, times });
            let what = format!("{deed:?}: behind the last byte, {end:?}, {often}");
            points.push(Point { deed, what, writing: Writing { fault, ..Writing::default() } });
        }
    }
    points
}

#[test]
fn a_new_small_file_whose_data_is_cut_is_whole_or_close_says_so() {
    let mut points = data_points(Deed::CreateSmall, POSITIONS / 4);
    for (after_data, reply) in [
        (false, "550 x: Permission denied"),
        (false, "553 Not today"),
        (false, "425 No data connection"),
        (false, "421 Going down"),
        (false, "452 Disk full"),
        (true, "552 Quota exceeded"),
        (true, "451 Trouble"),
    ] {
        let writing = Writing { refuses: Some(RefusedUpload { after_data, reply }), ..Writing::default() };
        points.push(Point { deed: Deed::CreateSmall, what: format!("{reply}, {after_data}"), writing });
    }
    let rows = table(&points, attempt);
    judge("create, a small one", &rows);
    let survived = rows.iter().filter(|row| row.point.ends_with("once") && row.close == "0").count();
    assert!(survived >= POSITIONS / 4, "one cut is survived: {survived}");
}

#[test]
fn a_new_file_whose_data_is_cut_is_whole_or_close_says_so() {
    let rows = table(&data_points(Deed::Create, POSITIONS), attempt);
    judge("create, data connection", &rows);
    assert!(rows.iter().filter(|row| row.cuts > 0).count() >= 2 * POSITIONS);
    let survived = rows.iter().filter(|row| row.point.ends_with("once") && row.close == "0").count();
    assert!(survived >= POSITIONS, "one cut is survived: {survived} of {POSITIONS}");
}

#[test]
fn an_append_whose_data_is_cut_loses_and_doubles_no_byte() {
    let rows = table(&data_points(Deed::Append, POSITIONS), attempt);
    judge("append, data connection", &rows);
    assert!(rows.iter().filter(|row| row.cuts > 0).count() >= POSITIONS);
}

#[test]
fn a_changed_file_whose_data_is_cut_is_neither_old_nor_mixed_when_close_says_0() {
    for deed in [Deed::Replace, Deed::Patch] {
        let rows = table(&data_points(deed, 10), attempt);
        judge(&format!("{deed:?}, data connection"), &rows);
    }
}

/// A cut at each reply until one comes too late to be noticed.
fn reply_points(deed: Deed, for_ever: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in (1..=MOST_REPLIES).collect::<Vec<_>>().chunks(6) {
        let point = |after: usize, lost: bool| {
            let reply_cut = Some(ReplyCut { after, lost, for_ever });
            let when = if lost { "instead of" } else { "after" };
            let often = if for_ever { "for ever" } else { "once" };
            let what = format!("{deed:?}: control, {when} reply {after}, {often}");
            Point { deed, what, writing: Writing { reply_cut, ..Writing::default() } }
        };
        let points: Vec<_> =
            batch.iter().flat_map(|&after| [point(after, false), point(after, true)]).collect();
        let more = table(&points, attempt);
        let over = more.iter().any(|row| row.cuts == 0);
        rows.extend(more.into_iter().filter(|row| row.cuts > 0));
        if over {
            return rows;
        }
    }
    panic!("the deed never passes uncut");
}

/// All cuts of control connections during one deed.
fn cut_control(deed: Deed) {
    let mut rows = reply_points(deed, false);
    let once = rows.len();
    let survived = rows.iter().filter(|row| row.close == "0").count();
    rows.extend(reply_points(deed, true));
    judge(&format!("{deed:?}, control connection"), &rows);
    assert!(rows.len() >= 12, "only {} points", rows.len());
    assert!(2 * survived > once, "one cut is survived: {survived} of {once}");
}

mod control_connections_cut_at_any_reply_of_an_upload_lose_nothing {
    use super::{Deed, cut_control};

    #[test]
    fn new_file() {
        cut_control(Deed::Create);
    }

    #[test]
    fn new_small_file() {
        cut_control(Deed::CreateSmall);
    }

    #[test]
    fn append() {
        cut_control(Deed::Append);
    }

    #[test]
    fn replacement() {
        cut_control(Deed::Replace);
    }

    #[test]
    fn patch() {
        cut_control(Deed::Patch);
    }
}
