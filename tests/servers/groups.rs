//! chgrp(1) on real servers: ProFTPD sets groups, the others have no command for it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown, fchown};
use std::time::Duration;

use crate::common::bounded::{shell, succeeded, within};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::trace::verbs;
use crate::common::{GROUP, UID, writable_dir};

on_every_server!(a_group_is_set_where_the_server_can);

const BOUND: Duration = Duration::from_secs(60);

/// Of which the servers' user is no member.
const FOREIGN: u32 = 60992;

/// Blanks and quotes that ProFTPD's SITE takes for its own.
const ODD: &str = "dir/a  b \"c\"";

fn a_group_is_set_where_the_server_can(kind: Kind) {
    with(kind, &Options::default(), "MFF", &["file", ODD, "dir"]);
}

/// With `FactsAdvertise off`, there is neither MFF nor MLST.
#[test]
fn proftpd_without_mff_sets_groups_by_site() {
    with(Kind::Proftpd, &Options { zone: Some("UTC0"), ..Options::default() }, "SITE", &["file", "dir"]);
}

fn with(kind: Kind, options: &Options, verb: &str, names: &[&str]) {
    let served = writable_dir("served-");
    let root = served.path().to_owned();
    let group = |name: &str| root.join(name).metadata().unwrap().gid();
    fs::create_dir(root.join("dir")).unwrap();
    for name in ["file", ODD] {
        fs::write(root.join(name), "content").unwrap();
    }
    for name in ["file", ODD, "dir"] {
        chown(root.join(name), Some(UID), Some(UID)).unwrap();
    }
    let server = Server::start(kind, &root, options);
    let works = kind == Kind::Proftpd;
    for quiet in [false, true] {
        let owner = format!("uid={UID}");
        let mut options = vec!["debug", "allow_other", &owner];
        options.extend(quiet.then_some("quiet"));
        let mount = Mount::start(&server.url(User::Tester, "/"), &options);
        let chgrp = |group: u32, name: &str| {
            let path = mount.path().join(name);
            let done = within(BOUND, "chgrp", move || chown(path, None, Some(group)));
            done.err().map_or(0, |error| error.raw_os_error().unwrap())
        };
        let expected = |can: bool| if can || quiet { 0 } else { libc::EPERM };
        for &name in names {
            assert_eq!(chgrp(GROUP, name), expected(works), "{kind:?}, quiet {quiet}: {name}");
            assert_eq!(group(name), if works { GROUP } else { UID }, "{kind:?}, quiet {quiet}: {name}");
            assert_eq!(chgrp(FOREIGN, name), expected(false), "{kind:?}, quiet {quiet}: {name}");
            assert_eq!(group(name), if works { GROUP } else { UID }, "{kind:?}, quiet {quiet}: {name}");
            chown(root.join(name), Some(UID), Some(UID)).unwrap();
        }
        let path = mount.path().join("new");
        let given = within(BOUND, "a new file", move || {
            let mut file = File::create(path).unwrap();
            file.write_all(b"one").unwrap();
            let given = fchown(&file, None, Some(GROUP));
            file.write_all(b"two").unwrap();
            nix::unistd::close(file).unwrap();
            given.err().map_or(0, |error| error.raw_os_error().unwrap())
        });
        assert_eq!(given, expected(works), "{kind:?}, quiet {quiet}");
        assert_eq!(fs::read(root.join("new")).unwrap(), b"onetwo");
        assert_eq!(group("new"), if works { GROUP } else { UID }, "{kind:?}, quiet {quiet}");
        // The programs: chgrp says what is so, and cp -p copies a file of a group that it cannot keep.
        let script = format!("chgrp {GROUP} file");
        assert_eq!(shell(BOUND, mount.path(), &script, &[]).status.success(), works || quiet, "{kind:?}");
        let script = format!(
            "f=$(mktemp) && echo content >$f && chown {UID}:{FOREIGN} $f &&
             setpriv --reuid {UID} --regid {UID} --groups {FOREIGN} cp -p $f copy && cmp $f copy && rm $f copy"
        );
        succeeded("cp -p", shell(BOUND, mount.path(), &script, &[]));
        fs::remove_file(root.join("new")).unwrap();
        let used = verbs(&mount.trace());
        assert!(!works || used.contains_key(verb), "{kind:?}: {used:?}");
    }
}
