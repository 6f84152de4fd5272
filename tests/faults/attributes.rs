//! What a program sets on a file that it writes arrives with the file, whatever is cut meanwhile.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use crate::common::bounded::within;
use crate::common_ftpd::{ReplyCut, Setting, Tree, Writing, pattern};
use crate::mounted::{CALL, Mounted, close, create, errno_name, table};

const FILE: &str = "/home/u/file";
const MODE: u16 = 0o640;
const TIME: i64 = 1_000_000_000;
/// More than the replies to one upload.
const REPLIES: usize = 14;

/// Writes as `cp -p` does: a new file with a mode, its bytes, its time.
fn copy(mounted: &Mounted) -> std::io::Result<()> {
    mounted.call("a copy with its attributes", |dir| {
        let path = dir.join("file");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(u32::from(MODE)).open(path)?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME.unsigned_abs());
        let written = file.write_all(&pattern(5, 300_000)).and_then(|()| file.set_modified(time));
        let closed = close(file);
        written.and(closed)
    })
}

#[test]
fn mode_and_time_of_a_new_file_arrive_with_it() {
    let mut points: Vec<Option<ReplyCut>> = vec![None];
    for after in 1..=REPLIES {
        points.extend([false, true].map(|lost| Some(ReplyCut { after, lost, for_ever: false })));
    }
    let rows = table(&points, |&reply_cut| {
        let mounted = Mounted::good(Tree::bare());
        mounted.call("a listing", |dir| std::fs::read_dir(dir).map(Iterator::count)).unwrap();
        mounted.break_by(Writing { reply_cut, ..Writing::default() });
        let result = copy(&mounted);
        let tree = mounted.server.tree();
        let found = (tree.bytes(FILE) == Some(pattern(5, 300_000)), tree.mode(FILE), tree.modified(FILE));
        println!("{reply_cut:?}: {}, {found:?}", errno_name(&result));
        let right = result.is_ok() && found == (true, Some(MODE), Some(TIME));
        (!right).then(|| format!("{reply_cut:?}: {result:?}, {found:?}"))
    });
    let wrong: Vec<_> = rows.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn who_closes_hears_that_a_mode_was_refused_also_of_a_file_that_was_sent_meanwhile() {
    for size in [1000, 6 << 20] {
        let mounted = Mounted::good(Tree::bare());
        mounted.break_by(Writing { mff: Setting::Unknown, chmod: Setting::Refused, ..Writing::default() });
        // It is told once: a child that another test forks meanwhile may hear it instead, when it closes its copy.
        let heard = (0..5).any(|number| {
            let name = format!("file{number}");
            let path = mounted.path(&name);
            let result = within(CALL, "open, fchmod, write, close", move || {
                let mut file = create(&path).unwrap();
                file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
                file.write_all(&pattern(6, size)).unwrap();
                close(file)
            });
            assert!(mounted.landed(&name) == Some(pattern(6, size)), "{size} bytes");
            result.is_err()
        });
        assert!(heard, "{size} bytes: the mode is said to be set");
    }
}

#[test]
fn the_bytes_arrive_also_where_mode_and_time_cannot() {
    let refused = Writing {
        chmod: Setting::Refused,
        mfmt: Setting::Refused,
        utime: Setting::Refused,
        ..Writing::default()
    };
    for writing in [refused, Writing::without_settings()] {
        let mounted = Mounted::good(Tree::bare());
        mounted.break_by(writing);
        let result = copy(&mounted);
        println!("{}", errno_name(&result));
        assert!(mounted.landed("file") == Some(pattern(5, 300_000)), "{result:?}");
    }
}
