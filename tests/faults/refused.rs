//! Uploads that the server does not take, takes in part, or only says that it took.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use crate::common_ftpd::{
    Early, FaultAt, FaultEnd, Quirks, RefusedUpload, RestStor, Tree, UploadFault, Writing, pattern,
};
use crate::mounted::{
    Mounted, append, close, create, errno, errno_name, fill, open_end, state, store, table,
};

const SIZE: usize = 500_000;

fn mounted_with(writing: Writing, options: &[&str]) -> Mounted {
    Mounted::start(Tree::sample(), Quirks { writing, ..Quirks::default() }, options)
}

/// Writes a new file and returns what its calls said and what the server has.
fn new_file(mounted: &Mounted) -> (io::Result<()>, String) {
    let bytes = pattern(3, SIZE);
    let written = bytes.clone();
    let result = mounted.call("open, write, close", move |dir| store(&dir.join("new"), &written));
    (result, state(mounted.landed("new").as_deref(), &bytes))
}

#[test]
fn the_reason_of_the_server_is_the_error_of_close() {
    let table_of_replies = [
        ("452 Insufficient storage space", libc::ENOSPC),
        ("552 Disk full - please upload later", libc::ENOSPC),
        ("451 Error during write to file: No space left on device", libc::ENOSPC),
        ("552 Quota exceeded", libc::EDQUOT),
        ("550 new: Disk quota exceeded", libc::EDQUOT),
        ("553 Could not create file.", libc::EACCES),
        ("553 Can't open that file: Permission denied", libc::EACCES),
        ("550 new: Permission denied", libc::EACCES),
        ("553 new: Read-only file system", libc::EROFS),
    ];
    let points: Vec<_> = table_of_replies
        .iter()
        .flat_map(|&(reply, errno)| [(reply, errno, false), (reply, errno, true)])
        .collect();
    let rows = table(&points, |&(reply, expected, after_data)| {
        let refuses = Some(RefusedUpload { reply, after_data });
        let mounted = mounted_with(Writing { refuses, ..Writing::default() }, &[]);
        let (result, server) = new_file(&mounted);
        let when = if after_data { "after" } else { "before" };
        println!("{when:<7} {reply:<60} {:<10} {server}", errno_name(&result));
        let right = errno(&result) == expected && server != "complete";
        if right && [libc::ENOSPC, libc::EDQUOT].contains(&expected) {
            // There may be room later. Of what was refused after the data, nothing is there to go on with.
            mounted.heal();
            mounted.synced_later("new");
            assert!(mounted.landed("new") == Some(pattern(3, SIZE)), "{reply} {when} the data: synced later");
        }
        (!right).then(|| format!("{reply} {when} the data: {}, {server}", errno_name(&result)))
    });
    let wrong: Vec<_> = rows.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_not_on_the_server_is_never_confirmed() {
    let broken =
        |at, end| Writing { fault: Some(UploadFault { at, end, times: usize::MAX }), ..Writing::default() };
    let early = |early| Writing { early: Some(early), ..Writing::default() };
    let late = Some(Duration::from_secs(3));
    let good = Writing::default;
    // Whether close() must fail; where it need not, the file must be whole when it does not.
    let points = [
        ("one byte is lost", Writing { short_by: 1, ..good() }, true),
        ("half is lost", Writing { short_by: SIZE / 2, ..good() }, true),
        ("all is lost", Writing { short_by: SIZE, ..good() }, true),
        ("226 before the data, which is lost", early(Early::Lost), true),
        ("226 before the data, which is kept", early(Early::Kept), false),
        ("226 later than a reply may take", Writing { late_final: late, ..good() }, false),
        ("226 after a reset", broken(FaultAt::Byte(200_000), FaultEnd::Lies226), false),
        ("226 after a reset at once", broken(FaultAt::Byte(0), FaultEnd::Lies226), true),
        ("no more is read", broken(FaultAt::Byte(200_000), FaultEnd::Stalls), false),
        ("nothing is read", broken(FaultAt::Byte(0), FaultEnd::Stalls), true),
        ("no more is read after the last byte", broken(FaultAt::Byte(SIZE), FaultEnd::Stalls), false),
        ("slow", Writing { slow: Some(Duration::from_millis(20)), ..good() }, false),
    ];
    let rows = table(&points, |(what, writing, fails)| {
        let mounted = mounted_with(writing.clone(), &[]);
        let (result, server) = new_file(&mounted);
        println!("{what:<40} {:<12} {server}", errno_name(&result));
        let right = if *fails { result.is_err() } else { result.is_err() || server == "complete" };
        if !right {
            return Some(format!("{what}: {}, {server}", errno_name(&result)));
        }
        mounted.heal();
        if result.is_err() {
            let expected = pattern(3, SIZE);
            match mounted.read("new") {
                Ok(bytes) if bytes == expected => {}
                other => return Some(format!("{what}: {:?} is read", other.map(|bytes| bytes.len()))),
            }
            mounted.synced_later("new");
            let server = state(mounted.landed("new").as_deref(), &expected);
            return (server != "complete").then(|| format!("{what}: synced later, {server}"));
        }
        None
    });
    let wrong: Vec<_> = rows.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_that_the_server_changes_is_an_error() {
    let mounted = mounted_with(Writing { tidies_names: true, ..Writing::default() }, &[]);
    for (name, size) in [("blank ", 5), ("tab\tinside", 5), ("large ", 1 << 20), ("large\tinside", 1 << 20)] {
        // The second time too, when the bytes have been sent already.
        let results = mounted.call("open, write, fsync twice, close", move |dir| {
            let mut file = create(&dir.join(name)).unwrap();
            let written = file.write_all(&pattern(1, size));
            [written.and_then(|()| file.sync_all()), file.sync_all(), close(file)]
        });
        assert!(mounted.landed(name).is_none());
        assert!(results.iter().all(Result::is_err), "{name:?} is said to be stored: {results:?}");
    }
}

#[test]
fn a_full_server_is_enospc_and_takes_the_rest_when_there_is_room() {
    let mut points = Vec::new();
    for name in ["new", "small", "big"] {
        for size in [SIZE, 6 * SIZE] {
            points.extend([(name, size, true), (name, size, false)]);
        }
    }
    table(&points, |&(name, size, mlst)| {
        let mounted = Mounted::start(Tree::sample(), Quirks { mlst, ..Quirks::default() }, &[]);
        let bytes = pattern(3, size);
        let room = mounted.server.tree().used() + 300_000;
        mounted
            .break_by(Writing { room: Some((room, "452 Insufficient storage space")), ..Writing::default() });
        let expected = [mounted.landed(name).unwrap_or_default(), bytes.clone()].concat();
        // What write() took, and the first error.
        let (written, result) = mounted.call("open, write, close", move |dir| {
            let path = dir.join(name);
            let file = if name == "new" { create(&path) } else { open_end(&path) };
            let (written, closed) = fill(file.unwrap(), &bytes);
            (written.is_ok(), written.and(closed))
        });
        let what = format!("{name}, {size} bytes, MLST {mlst}");
        assert_eq!(errno(&result), libc::ENOSPC, "{what}");
        let kept = mounted.read(name).unwrap_or_else(|error| panic!("{what}: reading back: {error}"));
        assert!(kept == expected || (!written && expected.starts_with(&kept)), "{what}: read back");
        mounted.heal();
        mounted.synced_later(name);
        assert!(mounted.landed(name).unwrap() == kept, "{what}: synced later");
    });
}

#[test]
fn permission_that_is_withdrawn_while_a_file_is_open_is_told_at_close() {
    for reply in ["550 Permission denied", "553 Could not create file."] {
        let mounted = Mounted::good(Tree::sample());
        let bytes = pattern(4, 1000);
        let path = mounted.path("small");
        let written = bytes.clone();
        let mut file = mounted.call("open and write", move |_| {
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            file.write_all(&written[..500]).unwrap();
            file
        });
        mounted.break_by(Writing { denied: Some(reply), ..Writing::default() });
        let rest = bytes[500..].to_vec();
        let (written, closed) = mounted.call("write and close", move |_| {
            let written = file.write_all(&rest);
            (written, close(file))
        });
        assert_eq!(errno(&written.and(closed)), libc::EACCES, "{reply}");
        type Call = fn(&std::path::Path) -> io::Result<()>;
        let calls: [(&str, Call); 5] = [
            ("unlink", |dir| fs::remove_file(dir.join("big"))),
            ("mkdir", |dir| fs::create_dir(dir.join("dir"))),
            ("rename", |dir| fs::rename(dir.join("big"), dir.join("big2"))),
            ("chmod", |dir| fs::set_permissions(dir.join("big"), fs::Permissions::from_mode(0o600))),
            ("new file", |dir| store(&dir.join("new"), b"x")),
        ];
        for (what, call) in calls {
            assert_eq!(errno(&mounted.call(what, call)), libc::EACCES, "{what}: {reply}");
        }
        mounted.heal();
        mounted.synced_later("small");
        assert!(mounted.landed("small").unwrap() == bytes);
        assert!(mounted.landed("big").unwrap() == pattern(2, 300 * 1024));
    }
}

#[test]
fn a_server_without_settings_gets_right_files_and_says_what_it_cannot_do() {
    for (mlst, size) in [(true, true), (false, true), (false, false)] {
        let writing = Writing { size, ..Writing::without_settings() };
        let quirks = Quirks { writing, mlst, ..Quirks::default() };
        let mounted = Mounted::start(Tree::sample(), quirks.clone(), &[]);
        let (result, server) = new_file(&mounted);
        assert_eq!((errno(&result), server.as_str()), (0, "complete"), "MLST {mlst}, SIZE {size}");
        let quiet = Mounted::start(Tree::sample(), quirks, &["quiet"]);
        for (mounted, expected) in [(&mounted, libc::EOPNOTSUPP), (&quiet, 0)] {
            let chmod = mounted.call("chmod", |dir| {
                fs::set_permissions(dir.join("small"), fs::Permissions::from_mode(0o600))
            });
            assert_eq!(errno(&chmod), expected, "chmod, MLST {mlst}");
            let utimens = mounted.call("utimens", |dir| {
                let file = fs::File::open(dir.join("small"))?;
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            });
            assert_eq!(errno(&utimens), expected, "utimens, MLST {mlst}");
        }
    }
}

#[test]
fn files_are_right_whatever_the_server_makes_of_rest_and_appe() {
    for rest_stor in [RestStor::KeepsTail, RestStor::CutsTail, RestStor::Refused] {
        for appe in [true, false] {
            let mounted = mounted_with(Writing { rest_stor, appe, ..Writing::default() }, &[]);
            let mut expected = pattern(2, 300 * 1024);
            let tail = pattern(8, 10_000);
            expected.extend(&tail);
            mounted.call("append", move |dir| append(&dir.join("big"), &tail)).unwrap();
            assert!(mounted.landed("big").unwrap() == expected, "appended, {rest_stor:?}, APPE {appe}");
            mounted.call("patch", |dir| patch(&dir.join("big"))).unwrap();
            expected[150_000..150_010].copy_from_slice(b"0123456789");
            assert!(mounted.landed("big").unwrap() == expected, "patched, {rest_stor:?}, APPE {appe}");
            assert!(mounted.read("big").unwrap() == expected);
        }
    }
}

fn patch(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = OpenOptions::new().write(true).open(path)?;
    let written = file.write_all_at(b"0123456789", 150_000);
    close(file).and(written)
}

#[test]
fn directories_are_made_whatever_mkd_answers() {
    for (mkd_done, mkd_exists) in [
        (None, "550 File exists"),
        (Some("250 Directory created"), "521 exists"),
        (Some("257 done"), "550 no"),
    ] {
        let mounted = mounted_with(Writing { mkd_done, mkd_exists, ..Writing::default() }, &[]);
        let made = mounted.call("mkdir", |dir| fs::create_dir(dir.join("new")));
        assert_eq!(errno(&made), 0, "{mkd_done:?}");
        let again = mounted.call("mkdir", |dir| fs::create_dir(dir.join("sub")));
        assert_eq!(errno(&again), libc::EEXIST, "{mkd_exists}");
        assert!(mounted.server.tree().names("/home/u").contains(&"new".to_owned()));
    }
}
