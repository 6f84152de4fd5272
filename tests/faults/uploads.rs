//! Uploads that are cut at every possible moment: close() tells the truth, and nothing is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common_ftpd::{FaultAt, FaultEnd, ReplyCut, Tree, UploadFault, Writing, pattern};
use crate::mounted::{Mounted, create, errno, errno_name, fill, open_end, state, table};

const SIZE: usize = 2_000_000;
const OLD: usize = 100_000;
/// Positions of the data stream.
const POSITIONS: usize = 25;
/// An operation has fewer replies than this.
const MOST_REPLIES: usize = 60;

/// What is done to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Create,
    Append,
}

impl Deed {
    /// What the server had before, what is written, and what it must have in the end.
    fn bytes(self) -> (Option<Vec<u8>>, Vec<u8>, Vec<u8>) {
        let new = pattern(7, SIZE);
        match self {
            Deed::Create => (None, new.clone(), new),
            Deed::Append => {
                let old = pattern(6, OLD);
                let all = [&old[..], &new].concat();
                (Some(old), new, all)
            }
        }
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
    mounted.break_by(point.writing.clone());
    let deed = point.deed;
    let bytes = new.clone();
    let accepted = Arc::new(AtomicBool::new(false));
    let noted = accepted.clone();
    let (closed, took) = mounted.timed(move |dir| {
        let path = dir.join("file");
        let file = match deed {
            Deed::Create => create(&path)?,
            Deed::Append => open_end(&path)?,
        };
        let (written, closed) = fill(file, &bytes);
        noted.store(written.is_ok(), Ordering::SeqCst);
        written.and(closed)
    });
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
    } else if accepted {
        // It was written, and only not sent: so it can be read and sent yet.
        match mounted.read("file") {
            Ok(bytes) if bytes == all => {}
            other => wrong.push(format!("read back: {:?}", other.map(|bytes| state(Some(&bytes), &all)))),
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
        if deed == Deed::Append && !kept.is_some_and(|kept| all.starts_with(&kept) && kept.len() >= OLD) {
            wrong.push("what was there before the append is lost".to_owned());
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
fn data_points(deed: Deed) -> Vec<Point> {
    const ENDS: [FaultEnd; 4] =
        [FaultEnd::Says426, FaultEnd::ControlToo, FaultEnd::Lies226, FaultEnd::NoReply];
    let total = SIZE;
    let mut points = Vec::new();
    for position in 0..POSITIONS {
        let byte = position * total / POSITIONS + 7 * position;
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
fn a_new_file_whose_data_is_cut_is_whole_or_close_says_so() {
    let rows = table(&data_points(Deed::Create), attempt);
    judge("create, data connection", &rows);
    assert!(rows.iter().filter(|row| row.cuts > 0).count() >= 2 * POSITIONS);
    let survived = rows.iter().filter(|row| row.point.ends_with("once") && row.close == "0").count();
    assert!(survived >= POSITIONS, "one cut is survived: {survived} of {POSITIONS}");
}

#[test]
fn an_append_whose_data_is_cut_loses_and_doubles_no_byte() {
    let rows = table(&data_points(Deed::Append), attempt);
    judge("append, data connection", &rows);
    assert!(rows.iter().filter(|row| row.cuts > 0).count() >= POSITIONS);
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

#[test]
fn control_connections_cut_at_any_reply_of_an_upload_lose_nothing() {
    let mut rows = Vec::new();
    for deed in [Deed::Create, Deed::Append] {
        for for_ever in [false, true] {
            rows.extend(reply_points(deed, for_ever));
        }
    }
    judge("create and append, control connection", &rows);
    let survived = rows.iter().filter(|row| row.point.ends_with("once") && row.close == "0").count();
    let once = rows.iter().filter(|row| row.point.ends_with("once")).count();
    assert!(rows.len() >= 24, "only {} points", rows.len());
    assert!(2 * survived > once, "one cut is survived: {survived} of {once}");
}
