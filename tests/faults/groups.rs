//! Groups: set by what the server has, looked at once, and never at the cost of a file's bytes.

use std::fs::{self, File};
use std::io::{Result, Write};
use std::os::unix::fs::{MetadataExt, chown, fchown};

use crate::common_ftpd::{Quirks, Setting, Tree, Writing, pattern};
use crate::mounted::{Mounted, close};

const GROUP: u32 = 60991;

fn errno(result: &Result<()>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

fn chgrp(mounted: &Mounted, name: &'static str) -> Result<()> {
    mounted.call("chgrp", move |dir| chown(dir.join(name), None, Some(GROUP)))
}

/// The commands that were to set a group.
fn asked(mounted: &Mounted) -> Vec<String> {
    let sets = |line: &&String| line.contains("CHGRP") || line.contains("UNIX.group");
    mounted.server.transcript().concat().iter().filter(sets).cloned().collect()
}

#[test]
fn a_group_is_set_by_what_the_server_has() {
    use Setting::{Lies, Refused, Unknown, Works};
    // MFF UNIX.group, SITE CHGRP; whether it is set, and how many commands three chgrp(1) take.
    let table = [
        (Works, Unknown, true, 3),
        (Works, Works, true, 3),
        (Unknown, Works, true, 3),
        (Lies, Works, true, 4),
        (Refused, Unknown, false, 3),
        (Unknown, Lies, false, 1),
        (Unknown, Unknown, false, 1),
    ];
    for (mff_group, chgrp_setting, works, commands) in table {
        for quiet in [false, true] {
            let what = format!("MFF {mff_group:?}, SITE CHGRP {chgrp_setting:?}, quiet {quiet}");
            let writing = Writing { mff_group, chgrp: chgrp_setting, ..Writing::default() };
            let quirks = Quirks { writing, ..Quirks::default() };
            let options: &[&str] = if quiet { &["quiet"] } else { &[] };
            let mounted = Mounted::start(Tree::sample(), quirks, options);
            let expected = if works || quiet { 0 } else { libc::EPERM };
            for name in ["small", "sub", "small"] {
                assert_eq!(errno(&chgrp(&mounted, name)), expected, "{what}");
                let group = mounted.server.tree().group(&format!("/home/u/{name}"));
                assert_eq!(group, Some(if works { GROUP } else { 0 }), "{what}");
            }
            assert_eq!(asked(&mounted).len(), commands, "{what}: {:?}", asked(&mounted));
            // The mount's own group is shown, and is there already.
            let shown = mounted.call("stat", |dir| fs::metadata(dir.join("small"))).unwrap();
            let same = mounted.call("chgrp", move |dir| chown(dir.join("small"), None, Some(shown.gid())));
            assert_eq!((errno(&same), asked(&mounted).len()), (0, commands), "{what}");
            // Nobody is given a file, nor is a link followed.
            for (name, uid) in [("small", Some(GROUP)), ("link", None)] {
                let given = mounted.call("chown", move |dir| {
                    std::os::unix::fs::lchown(dir.join(name), uid, Some(GROUP + 1))
                });
                assert_eq!(errno(&given), if quiet { 0 } else { libc::EPERM }, "{what}: {name}");
            }
            assert_eq!(asked(&mounted).len(), commands, "{what}: {:?}", asked(&mounted));
        }
    }
}

#[test]
fn a_file_that_is_being_written_is_there_before_its_group() {
    for chgrp in [Setting::Works, Setting::Refused, Setting::Unknown] {
        let writing = Writing { chgrp, ..Writing::default() };
        let mounted = Mounted::start(Tree::bare(), Quirks { writing, ..Quirks::default() }, &[]);
        // As cp -p does: a refusal is told by fchown(2), which it may ignore, and not by close(2).
        let (given, closed) = mounted.call("write", |dir| {
            let mut file = File::create(dir.join("file")).unwrap();
            file.write_all(&pattern(1, 50_000)).unwrap();
            let given = fchown(&file, None, Some(GROUP));
            file.write_all(&pattern(2, 50_000)).unwrap();
            (given, close(file))
        });
        let works = chgrp == Setting::Works;
        assert_eq!(errno(&given), if works { 0 } else { libc::EPERM }, "{chgrp:?}");
        closed.unwrap();
        assert!(
            mounted.landed("file") == Some([pattern(1, 50_000), pattern(2, 50_000)].concat()),
            "{chgrp:?}"
        );
        let group = mounted.server.tree().group("/home/u/file");
        assert_eq!(group, Some(if works { GROUP } else { 0 }), "{chgrp:?}");
    }
}
