//! The program as a user meets it: exit codes, one line per failure, secrets out of sight. Needs no /dev/fuse.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Bound of every wait for the program.
const PATIENCE: Duration = Duration::from_secs(20);

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mnt")).unwrap();
        for name in ["mount.ftpfs", "mount.fuse.ftpfs"] {
            symlink(env!("CARGO_BIN_EXE_ftpfs"), dir.path().join(name)).unwrap();
        }
        Place { dir }
    }

    fn command(&self, program: &str) -> Command {
        let program = match program {
            "ftpfs" => Path::new(env!("CARGO_BIN_EXE_ftpfs")).to_path_buf(),
            name => self.dir.path().join(name),
        };
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env("HOME", self.dir.path()).stdin(Stdio::null());
        for name in ["FTPFS_USER", "FTPFS_PASSWORD", "CREDENTIALS_DIRECTORY"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, line: &str) -> Output {
        let mut words = line.split(' ');
        self.command(words.next().unwrap()).args(words).output().unwrap()
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

/// A server that accepts into its backlog and never says a word.
fn silent_server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn error_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.starts_with("ftpfs: ") && text.lines().count() == 1, "not one line: {text:?}");
    text
}

#[test]
fn a_failure_is_one_line_with_the_exit_code_of_mount() {
    let place = Place::new();
    place.file("open", "username=u\npassword=hunter2\n", 0o644);
    place.file("plain", "", 0o600);
    for (line, code, part) in [
        ("ftpfs", 1, "<URL>"),
        ("ftpfs ftp://h/", 1, "<DIR>"),
        ("ftpfs --wibble ftp://h/ mnt", 1, "--wibble"),
        ("ftpfs http://h/ mnt", 1, "ftp://"),
        ("ftpfs ftps://h/ mnt -o tls=off", 1, "exclude each other"),
        ("ftpfs ftp://h/ mnt -o no_verify_peer", 1, "exclude each other"),
        ("ftpfs ftpes://h/ mnt -o tls_pin=sha256:12", 1, "64 hexadecimal digits"),
        ("ftpfs ftpes://h/ mnt -o cacert=none", 1, "cacert=none"),
        ("ftpfs ftpes://h/ mnt -o key=plain", 1, "key= needs cert="),
        ("ftpfs ftp://h/ mnt -o conections=2", 1, "did you mean \"connections\""),
        ("ftpfs ftp://h/ mnt -o ro,reply_timeout=0", 1, "reply_timeout"),
        ("ftpfs ftp://h/ mnt -o ipv4,ipv6", 1, "exclude each other"),
        ("ftpfs ftp://u@h/ mnt", 1, "credentials=FILE"),
        ("ftpfs ftp://h/ mnt -o credentials=open", 1, "chmod 600 open"),
        ("ftpfs ftp://h/ mnt -o credentials=none", 1, "cannot read none"),
        ("ftpfs ftp://u:hunter2/@h/ mnt", 1, "port"),
        ("ftpfs ftp://u:hunter2@h/ none", 32, "mkdir"),
        ("ftpfs ftp://u:hunter2@h/ plain", 32, "Not a directory"),
        ("mount.ftpfs ftp://h/ mnt -N /none", 2, "namespace"),
        ("mount.ftpfs ftp://h/ mnt -o remount,ro", 1, "remount"),
    ] {
        let output = place.run(line);
        let text = error_line(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(text.contains(part), "{line}: {text}");
        assert!(!text.contains("hunter2"), "{line}: {text}");
    }
}

#[test]
fn a_server_that_refuses_connections_is_a_failed_mount() {
    let place = Place::new();
    let (listener, address) = silent_server();
    drop(listener);
    for flag in ["-o ro", "-f"] {
        let output = place.run(&format!("ftpfs {flag} ftp://u:hunter2@{address}/ mnt"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(32), "{flag}: {text}");
        let line = text.lines().find(|line| line.starts_with("ftpfs: ")).unwrap_or_default();
        assert!(line.contains("127.0.0.1") && !text.contains("hunter2"), "{flag}: {text}");
    }
}

#[test]
fn help_lists_the_options_and_version_the_version() {
    let place = Place::new();
    let help = place.run("ftpfs --help");
    let text = String::from_utf8(help.stdout).unwrap();
    assert_eq!(help.status.code(), Some(0));
    for option in ["--foreground", "credentials=FILE", "mode=auto|active|passive", "[default: 64M]"] {
        assert!(text.contains(option), "{option} missing in:\n{text}");
    }
    let version = place.run("ftpfs --version");
    assert_eq!(version.stdout, format!("ftpfs {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn mount_can_check_a_line_of_fstab_without_mounting() {
    let place = Place::new();
    place.file("ok", "username=u\npassword=p\n", 0o600);
    for line in [
        "mount.ftpfs ftp://h/pub mnt -f -o rw,noauto,nofail,_netdev,user,noexec,nosuid,nodev,x-systemd.automount",
        "mount.ftpfs ftp://h/pub mnt -sfnv -t fuse.ftpfs -o ro,relatime,wibble=1",
        "mount.ftpfs -f ftp://u@h/pub mnt",
        "mount.ftpfs ftp://h/pub mnt -f -o credentials=ok,comment=x,X-a=b",
        "mount.fuse.ftpfs ftp://h/pub mnt -f -o defaults,nonempty,allow_other",
        "mount.ftpfs ftpfs#ftp://h/pub mnt/ -f",
        "mount.ftpfs curlftpfs#ftp://u:p@h/pub mnt -f -o ftp_port=-,skip_pasv_ip,ftpfs_debug",
    ] {
        let output = place.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {:?}", String::from_utf8(output.stderr));
    }
    let output = place.run("mount.ftpfs ftp://h/pub mnt -f -o ro,wibble");
    assert!(output.status.code() == Some(1) && error_line(&output).contains("wibble"));
}

#[test]
fn passwords_leave_the_arguments_and_the_environment() {
    let place = Place::new();
    let (_listener, address) = silent_server();
    for (options, variable) in [
        (vec![format!("ftp://u:hunter2@{address}/"), "mnt".into()], None),
        (vec![format!("ftp://u@{address}/"), "mnt".into(), "-oro,password=hunter2".into()], None),
        (vec![format!("ftp://{address}/"), "mnt".into(), "-o".into(), "user=u:hunter2".into()], None),
        (vec![format!("ftp://u@{address}/"), "mnt".into()], Some("hunter2")),
    ] {
        let mut command = place.command("ftpfs");
        command.arg("-f").args(&options).stderr(Stdio::null());
        if let Some(value) = variable {
            command.env("FTPFS_PASSWORD", value);
        }
        let child = Running(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        let state = loop {
            let state = shown_of(child.0.id());
            // Before exec the child is still this test, with the same words nowhere.
            let started =
                state.windows(address.to_string().len()).any(|w| w == address.to_string().as_bytes());
            let hidden = !state.windows(7).any(|window| window == b"hunter2");
            let blanked = state.windows(7).any(|window| window == b"*******");
            if (started && hidden && blanked) || Instant::now() > deadline {
                break state;
            }
            std::thread::yield_now();
        };
        let text = String::from_utf8_lossy(&state);
        assert!(!text.contains("hunter2") && text.contains("*******"), "{options:?}: {text}");
    }
}

/// What ps and /proc show of a process: arguments and environment.
fn shown_of(process: u32) -> Vec<u8> {
    let mut shown = fs::read(format!("/proc/{process}/cmdline")).unwrap();
    shown.extend(fs::read(format!("/proc/{process}/environ")).unwrap());
    shown
}

#[test]
fn a_killed_command_leaves_no_background_process() {
    let place = Place::new();
    let (listener, address) = silent_server();
    let command = place
        .command("ftpfs")
        .args([&format!("ftp://{address}/"), "mnt"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The background process connects; its end closes the connection.
    let (mut connection, _) = listener.accept().unwrap();
    drop(Running(command));
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let count = std::io::Read::read(&mut connection, &mut [0; 64]);
    assert!(matches!(count, Ok(0)) || count.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
}
