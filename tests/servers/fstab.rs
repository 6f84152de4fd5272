//! mount(8), umount(8) and lines of an fstab.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;

use crate::common::bounded::{eventually, output, succeeded};
use crate::common::mount::{mount_line, mounted, trust, unmount_lazily};
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{PASSWORD, USER, fresh_dir, process};

on_every_server!(an_fstab_line_mounts_and_unmounts);

const BOUND: Duration = Duration::from_secs(60);
const HELPER: &str = "/sbin/mount.ftpfs";

/// Makes the program known to mount(8) while it lives. One at a time, as there is one /sbin.
struct Helper {
    made: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Helper {
    fn install() -> Helper {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let program = Path::new(env!("CARGO_BIN_EXE_ftpfs"));
        let present = fs::read_link(HELPER).ok();
        // One that a killed run of the tests could not remove is ours too.
        let stale =
            |target: &Path| target != program && target.components().any(|part| part.as_os_str() == "target");
        if present.as_deref().is_some_and(stale) {
            fs::remove_file(HELPER).unwrap();
        }
        match symlink(program, HELPER) {
            Ok(()) => Helper { made: true, _alone: alone },
            Err(_) if present.as_deref() == Some(program) => Helper { made: true, _alone: alone },
            Err(error) => panic!("cannot make {HELPER}, is ftpfs installed here? {error}"),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_file(HELPER);
        }
    }
}

/// A mount point with an fstab of its own, unmounted when dropped.
struct Table {
    run: TempDir,
    dir: PathBuf,
}

impl Table {
    fn new(source: &str, options: &str) -> Table {
        let run = fresh_dir("fstab-");
        let dir = run.path().join("mnt");
        fs::create_dir(&dir).unwrap();
        let options = [vec![options.to_owned()], trust(source, &[])].concat().join(",");
        let line = format!("{source} {} ftpfs {options} 0 0\n", dir.display());
        fs::write(run.path().join("fstab"), line).unwrap();
        Table { run, dir }
    }

    /// Runs mount(8) with this table.
    fn mount(&self, what: &OsStr) -> std::process::Output {
        let table = self.run.path().join("fstab");
        output(BOUND, "mount", &[OsString::from("-T"), table.into(), what.to_os_string()])
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        unmount_lazily(&self.dir);
    }
}

fn an_fstab_line_mounts_and_unmounts(kind: Kind) {
    let _helper = Helper::install();
    let served = fresh_dir("served-");
    fs::create_dir(served.path().join("pub")).unwrap();
    fs::write(served.path().join("pub/file"), "content").unwrap();
    let server = Server::start(kind, served.path(), &Options::default());
    let credentials = served.path().join("credentials");
    fs::write(&credentials, format!("username={USER}\npassword={PASSWORD}\n")).unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    let words = "ro,_netdev,nofail,x-systemd.automount";
    let by_file = format!("{words},credentials={}", credentials.display());
    let table = Table::new(&server.url(User::Anonymous, "/pub"), &by_file);

    for what in [table.dir.as_os_str(), OsStr::new("-a")] {
        succeeded("mount", table.mount(what));
        let line = mount_line(&table.dir).expect("mount(8) came back before the mount was there");
        assert!(!line.contains(PASSWORD), "{line}");
        assert_eq!(fs::read(table.dir.join("file")).unwrap(), b"content");
        succeeded("umount", output(BOUND, "umount", &[table.dir.as_os_str()]));
        assert!(!mounted(&table.dir));
        let dir = table.dir.to_str().unwrap();
        eventually(BOUND, "the program to end after umount", || {
            process::with_argument(dir).is_empty().then_some(())
        });
    }

    // The same with the password in the line itself: it must not show afterwards.
    let table = Table::new(&server.url(User::Tester, "/pub"), words);
    succeeded("mount", table.mount(table.dir.as_os_str()));
    let line = mount_line(&table.dir).expect("not mounted");
    assert!(!line.contains(PASSWORD), "{line}");
    let running = process::with_argument(table.dir.to_str().unwrap());
    assert!(!running.is_empty(), "no process serves the mount");
    for (_, line) in &running {
        assert!(!line.contains(PASSWORD), "{line}");
    }
    succeeded("umount", output(BOUND, "umount", &[table.dir.as_os_str()]));

    // What fails says so through mount(8) too.
    let table = Table::new(&server.url(User::Anonymous, "/no/such/directory"), words);
    let refused = output(
        BOUND,
        "mount",
        &[OsString::from("-T"), table.run.path().join("fstab").into(), table.dir.clone().into_os_string()],
    );
    assert_eq!(refused.status.code(), Some(32), "{}", String::from_utf8_lossy(&refused.stderr));
}
