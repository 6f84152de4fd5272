//! The calls into libc, and all `unsafe` of the crate. Each function is safe to call: what it needs, it checks.
//!
//! Knows nothing of FTP, FUSE or options.
#![allow(unsafe_code)] // fork, prctl and the process's own argument memory have no safe interface in std

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Largest argument or environment area that is looked at, in bytes: the kernel's own limit is 6 MiB
/// (three quarters of `_STK_LIM`, exec(2)).
const AREA_MAX: usize = 6 << 20;

/// Which of the two processes is running after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The one that called; holds the child's process id.
    Parent(i32),
    /// The new one.
    Child,
}

/// A part of the process's own memory that other processes may read through /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// `/proc/PID/cmdline`.
    Arguments,
    /// `/proc/PID/environ`.
    Environment,
}

/// Splits the process in two.
///
/// # Errors
/// `Other` if the process has more than one thread (the child would own locks that nobody releases), and what
/// fork(2) says.
pub fn fork() -> io::Result<Fork> {
    only_thread()?;
    // SAFETY: there is one thread, so the child's copy of every lock is in a state that this thread knows.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        pid if pid > 0 => Ok(Fork::Parent(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves the terminal and the process group of the caller (setsid(2)).
///
/// # Errors
/// EPERM if the process leads its group already.
pub fn new_session() -> io::Result<()> {
    // SAFETY: takes no arguments and touches no memory.
    check(unsafe { libc::setsid() })
}

/// Whether this process gets SIGTERM when the thread that forked it ends (prctl(2), PR_SET_PDEATHSIG).
///
/// # Errors
/// What prctl says.
pub fn end_with_parent(wanted: bool) -> io::Result<()> {
    let signal = if wanted { libc::SIGTERM } else { 0 };
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) })
}

/// Asks a child of this process to end (SIGTERM).
///
/// # Errors
/// ESRCH if it has ended; `InvalidInput` for an id that would mean a group or everybody.
pub fn terminate(pid: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: sends a signal, touches no memory.
    check(unsafe { libc::kill(pid, libc::SIGTERM) })
}

/// Lets the process have as many files open as it may (each changed file needs one).
///
/// # Errors
/// What getrlimit(2) and setrlimit(2) say.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call to write.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid for the call to read.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
}

/// Bytes that an unprivileged user may still write to the file system of `dir` (statvfs(3)).
///
/// # Errors
/// What statvfs(3) says.
pub fn free_space(dir: &Path) -> io::Result<u64> {
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let mut space = MaybeUninit::uninit();
    // SAFETY: `dir` ends with NUL, and `space` has room for what the call writes.
    check(unsafe { libc::statvfs(dir.as_ptr(), space.as_mut_ptr()) })?;
    // SAFETY: the call has filled it.
    let space: libc::statvfs = unsafe { space.assume_init() };
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Waits until nobody else has locked the file, and locks it (flock(2)) until it is closed by all who have it from
/// this process. A signal does not end the wait.
///
/// # Errors
/// ENOLCK, and what the file system says that has no locks.
pub fn lock(file: &File) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for the whole call, which touches no memory.
        match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            locked => return locked,
        }
    }
}

/// Locks the file (flock(2)) if nobody else's lock is against that, else tells false: `alone`, or together with others
/// who do not want it alone. In place of a lock that `file` has already, which is lost where the new one is not given.
///
/// # Errors
/// As [`lock`].
pub fn try_lock(file: &File, alone: bool) -> io::Result<bool> {
    let kind = if alone { libc::LOCK_EX } else { libc::LOCK_SH };
    // SAFETY: the descriptor is open for the whole call, which touches no memory.
    match check(unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) }) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        locked => locked.map(|()| true),
    }
}

/// Has all threads allocate from one place. glibc otherwise gives each thread an arena of its own, and a block
/// that is made by one thread and freed by another leaves a hole in the first one's: a cache of 64 MiB filled by
/// many threads was seen to take 260 MB.
#[cfg(target_env = "gnu")]
pub fn share_one_arena() {
    // SAFETY: sets a number inside the allocator; the process has one thread.
    if unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) } == 0 {
        log::debug!("the allocator keeps an arena for each thread");
    }
}

/// Has all threads allocate from one place: other allocators than glibc's do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn share_one_arena() {}

/// Linux 5.10, include/uapi/linux/mount.h; libc 0.2 does not have it.
const MS_NOSYMFOLLOW: libc::c_ulong = 256;

/// Mounts a FUSE file system of subtype `ftpfs` on `dir` and returns the device that its requests come from.
/// `words` are those of mount(8) for flags, `data` is what fuse takes beyond them, separated by commas.
///
/// The directory is not opened: where systemd's automount waits on it, opening would wait for this very mount.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN; ENOENT where there is no /dev/fuse; what mount(2) says.
pub fn mount_fuse(source: &str, dir: &Path, words: &[&str], data: &str) -> io::Result<OwnedFd> {
    let device: OwnedFd = File::options().read(true).write(true).open("/dev/fuse")?.into();
    let flag = |word: &&str| match *word {
        "ro" => libc::MS_RDONLY,
        "nosuid" => libc::MS_NOSUID,
        "nodev" => libc::MS_NODEV,
        "noexec" => libc::MS_NOEXEC,
        "noatime" => libc::MS_NOATIME,
        "sync" => libc::MS_SYNCHRONOUS,
        "dirsync" => libc::MS_DIRSYNC,
        "nosymfollow" => MS_NOSYMFOLLOW,
        _ => 0,
    };
    let flags = words.iter().map(flag).fold(0, |flags, flag| flags | flag);
    // SAFETY: no memory is touched.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let data = format!("fd={},rootmode=40000,user_id={uid},group_id={gid}{data}", device.as_raw_fd());
    let (source, data) = (CString::new(source)?, CString::new(data)?);
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: all are C strings that live until the call returns; fuse reads `data` as one.
    let result = unsafe {
        libc::mount(source.as_ptr(), dir.as_ptr(), c"fuse.ftpfs".as_ptr(), flags, data.as_ptr().cast())
    };
    check(result)?;
    Ok(device)
}

/// What becomes of a mount that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// It stays, and EBUSY is returned.
    IfUnused,
    /// It leaves the tree now and ends when its last user does.
    Detach,
}

/// Unmounts what is mounted on `dir`, which is not followed if it is a link (umount2(2)).
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EBUSY, EINVAL if nothing is mounted there.
pub fn unmount(dir: &Path, how: Unmount) -> io::Result<()> {
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let detach = if how == Unmount::Detach { libc::MNT_DETACH } else { 0 };
    // SAFETY: the path is a C string that lives until the call returns.
    check(unsafe { libc::umount2(dir.as_ptr(), detach | libc::UMOUNT_NOFOLLOW) })
}

/// Makes standard input, output and error the same as `target`.
///
/// # Errors
/// What dup2(2) says.
pub fn replace_standard_streams(target: &File) -> io::Result<()> {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open; std never closes 0 to 2 and takes what it finds there.
        check(unsafe { libc::dup2(target.as_raw_fd(), stream) })?;
    }
    Ok(())
}

/// Moves the process into the mount namespace that `namespace` (`/proc/PID/ns/mnt` or a bind mount of it) names.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL if it is no mount namespace, and `Other` with more than one thread.
pub fn enter_mount_namespace(namespace: &Path) -> io::Result<()> {
    only_thread()?;
    let file = File::open(namespace)?;
    // SAFETY: the descriptor is open for the whole call.
    check(unsafe { libc::setns(file.as_fd().as_raw_fd(), libc::CLONE_NEWNS) })
}

/// The type and permission bits of `path`, links followed, an automount point not triggered.
///
/// std's `metadata` triggers automount points: under `x-systemd.automount` the mount helper would wait for
/// the mount that it is itself making.
///
/// # Errors
/// What fstatat(2) says: ENOENT, ENOTDIR, EACCES, ENOTCONN for a FUSE mount whose server died.
pub fn mode_without_automount(path: &Path) -> io::Result<u32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` ends in NUL and `stat` is writable, both for the whole call.
    check(unsafe { libc::fstatat(libc::AT_FDCWD, path.as_ptr(), stat.as_mut_ptr(), libc::AT_NO_AUTOMOUNT) })?;
    // SAFETY: fstatat returned 0, so it has filled the structure.
    Ok(unsafe { stat.assume_init() }.st_mode)
}

/// Lets the peer of a TCP socket send no more than about `bytes` beyond what has arrived (TCP_WINDOW_CLAMP, tcp(7)). What
/// was allowed before is not taken back. The system raises the bound again as it gets to know the connection.
///
/// # Errors
/// What setsockopt(2) says: `Unsupported` and the like for what is no socket.
pub fn clamp_window(socket: &TcpStream, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes.max(1)).unwrap_or(libc::c_int::MAX);
    let size = libc::socklen_t::try_from(size_of_val(&bytes)).map_err(io::Error::other)?;
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP);
    // SAFETY: the socket is open and `bytes` is valid for the whole call.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const bytes).cast(), size) })
}

/// How many bytes written to a TCP socket its peer has not confirmed yet (SIOCOUTQ, tcp(7)).
///
/// # Errors
/// What ioctl(2) says: `Unsupported` and the like for what is no socket.
pub fn unsent(socket: &TcpStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the socket is open for the whole call, and TIOCOUTQ (the same number) writes one int.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Which of two sockets has something to read, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// The first, perhaps the second too.
    First,
    /// Only the second.
    Second,
    /// None within the time.
    Neither,
}

/// Waits up to `bound` until one of two sockets can be read (poll(2)); a signal does not end the wait.
///
/// # Errors
/// What poll(2) says.
pub fn first_readable(first: &TcpStream, second: &impl AsRawFd, bound: Duration) -> io::Result<Readable> {
    let of = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut both = [of(first.as_raw_fd()), of(second.as_raw_fd())];
    poll(&mut both, Some(bound))?;
    Ok(match both.map(|socket| socket.revents != 0) {
        [true, _] => Readable::First,
        [false, true] => Readable::Second,
        [false, false] => Readable::Neither,
    })
}

/// Waits up to `bound` until one of many can be read, or has ended; tells which. `None` is no bound.
///
/// # Errors
/// What poll(2) says.
pub fn readable(files: &[BorrowedFd<'_>], bound: Option<Duration>) -> io::Result<Vec<bool>> {
    let of = |file: &BorrowedFd<'_>| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut all: Vec<_> = files.iter().map(of).collect();
    poll(&mut all, bound)?;
    Ok(all.iter().map(|file| file.revents != 0).collect())
}

/// Waits up to `bound` until a socket can be written to, has been connected, or has failed; whether it has.
///
/// # Errors
/// What poll(2) says.
pub fn is_writable(socket: &TcpStream, bound: Duration) -> io::Result<bool> {
    let mut one = [libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
    poll(&mut one, Some(bound))?;
    Ok(one[0].revents != 0)
}

/// poll(2); the descriptors must be open. A signal does not end the wait.
fn poll(files: &mut [libc::pollfd], bound: Option<Duration>) -> io::Result<()> {
    let end = bound.map(|bound| Instant::now() + bound);
    loop {
        let left = match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => -1,
            // Rounded up: it would else spin through the last millisecond.
            Some(left) if left.is_zero() => 0,
            Some(left) => libc::c_int::try_from(left.as_millis() + 1).unwrap_or(libc::c_int::MAX),
        };
        let count = libc::nfds_t::try_from(files.len()).map_err(io::Error::other)?;
        // SAFETY: `files` is valid for the call to read and write.
        match check(unsafe { libc::poll(files.as_mut_ptr(), count, left) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Overwrites parts of the arguments or the environment in place with `*`, so that ps and /proc do not show them.
///
/// `parts` is called for each NUL-terminated string and names the byte ranges to overwrite. Until this has run
/// the bytes are visible: keep what runs before it short. Copies made by std stay as they are.
///
/// # Errors
/// `Other` with more than one thread or when /proc does not tell where the memory is.
pub fn overwrite(area: Area, parts: &dyn Fn(&[u8]) -> Vec<Range<usize>>) -> io::Result<()> {
    only_thread()?;
    let span = span(area)?;
    if span.is_empty() {
        return Ok(());
    }
    // SAFETY: `span` checked that the whole range is mapped readable and writable. Its only other readers are
    // std::env's functions, which copy, and no other thread exists that could be inside one.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut::<u8>(span.start), span.len())
    };
    for string in bytes.split_mut(|&byte| byte == 0) {
        for part in parts(string) {
            if let Some(part) = string.get_mut(part) {
                part.fill(b'*');
            }
        }
    }
    Ok(())
}

/// Removes a variable from the environment that children inherit.
///
/// # Errors
/// `Other` with more than one thread.
pub fn remove_variable(name: &str) -> io::Result<()> {
    only_thread()?;
    // SAFETY: no other thread exists that could read the environment meanwhile.
    unsafe { std::env::remove_var(name) };
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn only_thread() -> io::Result<()> {
    match fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        n => Err(io::Error::other(format!("{n} threads exist already"))),
    }
}

/// Where an area lies (proc(5), /proc/PID/stat fields 48 to 51), checked against the process's own mappings.
fn span(area: Area) -> io::Result<Range<usize>> {
    let unknown = || io::Error::other("/proc/self does not tell where the arguments are");
    let stat = fs::read("/proc/self/stat")?;
    let span = parse_stat(&stat, area).ok_or_else(unknown)?;
    if span.len() > AREA_MAX {
        return Err(unknown());
    }
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mapped = span.is_empty() || maps.lines().any(|line| maps_line_covers(line, &span));
    if mapped { Ok(span) } else { Err(unknown()) }
}

fn parse_stat(stat: &[u8], area: Area) -> Option<Range<usize>> {
    // The command name may hold anything, also blanks and parentheses; the last ')' ends it. Field 3 follows.
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let first = match area {
        Area::Arguments => 48,
        Area::Environment => 50,
    };
    let mut fields = rest.split_ascii_whitespace().skip(first - 3);
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (start > 0 && start <= end).then_some(start..end)
}

fn maps_line_covers(line: &str, span: &Range<usize>) -> bool {
    let mut words = line.split_ascii_whitespace();
    let bounds = words.next().and_then(|bounds| bounds.split_once('-'));
    let writable = words.next().is_some_and(|access| access.starts_with("rw"));
    let Some((start, end)) = bounds else { return false };
    let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)) else {
        return false;
    };
    writable && start <= span.start && span.end <= end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_argument_area_holds_what_cmdline_shows() {
        let span = span(Area::Arguments).unwrap();
        assert_eq!(span.len(), fs::read("/proc/self/cmdline").unwrap().len());
    }

    #[test]
    fn a_command_name_with_parentheses_does_not_move_the_fields() {
        let mut stat = b"7 (a) (b ) S".to_vec();
        for field in 4..=52 {
            stat.extend_from_slice(format!(" {field}").as_bytes());
        }
        assert_eq!(parse_stat(&stat, Area::Arguments), Some(48..49));
        assert_eq!(parse_stat(&stat, Area::Environment), Some(50..51));
        assert_eq!(parse_stat(b"7 (a) S 1 2", Area::Arguments), None);
    }

    #[test]
    fn only_a_writable_mapping_around_the_whole_area_counts() {
        let line = "7ffc1000-7ffc2000 rw-p 00000000 00:00 0 [stack]";
        assert!(maps_line_covers(line, &(0x7ffc1000..0x7ffc2000)));
        assert!(!maps_line_covers(line, &(0x7ffc1000..0x7ffc2001)));
        assert!(!maps_line_covers("7ffc1000-7ffc2000 r--p 0 0 0", &(0x7ffc1000..0x7ffc1001)));
    }

    #[test]
    fn a_signal_never_goes_to_a_group() {
        for pid in [-1, 0, 1] {
            assert!(terminate(pid).is_err());
        }
    }

    #[test]
    fn mode_tells_directories_and_missing_paths() {
        assert_eq!(mode_without_automount(Path::new("/")).unwrap() & libc::S_IFMT, libc::S_IFDIR);
        let missing = mode_without_automount(Path::new("/no such path")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
