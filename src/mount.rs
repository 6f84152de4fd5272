//! The life of the process: builds the layers, serves until the mount ends, takes the layers down.

pub mod daemon;
pub mod logging;
mod mounted;
pub mod plan;
pub mod signals;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use fuser::{Config, MountOption, Session, SessionACL};

use crate::cache::{BlockCache, DirectoryCache, DiskCache, Identity};
use crate::deadline::Deadline;
use crate::fuse::{Adapter, notify, prune};
use crate::mount::mounted::Mounted;
use crate::mount::plan::{Access, MountPlan};
use crate::mount::signals::Signal;
use crate::read::ahead::Limits;
use crate::read::{self, FileSource, Readers};
use crate::remote::{self, Kind, Remote};
use crate::sys;
use crate::vfs::{self, Changes, FileSystem};
use crate::write::{LocalStaging, Writers};

/// Threads that take requests from the kernel. They answer from memory and never wait.
const EVENT_LOOPS: usize = 4;
/// Memory for directory listings, in bytes: a million entries of ordinary names.
const LISTINGS: usize = 256 * 1024 * 1024;
/// How many names that the kernel has looked up are kept, beside those in use: some 65 MB for names of ordinary length.
const KNOWN_NAMES: usize = 256 * 1024;
/// How long a busy mount may stay after it was detached on a signal, for the programs that use it.
const BUSY: Duration = Duration::from_secs(10);

/// Why there is no mount, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The server cannot be used.
    #[error("{error}{}", hint(error.kind()))]
    Remote {
        /// What was tried and what came back.
        error: remote::Error,
    },
    /// The kernel, or fusermount3, does not mount.
    #[error("cannot mount on {}", .dir.display())]
    Fuse {
        /// The mount point.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No directory for bytes that wait for their upload.
    #[error("cannot keep unsent bytes in {} (choose another directory with -o cache_dir=DIR, or mount with ro)", .dir.display())]
    Staging {
        /// The directory that was tried last.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Threads, signals or the way into the background.
    #[error("{doing}")]
    System {
        /// What failed.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl MountError {
    /// The exit code of mount(8).
    pub fn exit_code(&self) -> u8 {
        match self {
            MountError::Remote { .. } | MountError::Fuse { .. } => daemon::MOUNT_FAILED,
            MountError::Staging { .. } | MountError::System { .. } => SYSTEM_ERROR,
        }
    }
}

/// mount(8): "system error (out of memory, cannot fork, no more loop devices)".
const SYSTEM_ERROR: u8 = 2;

/// What the user can do about it.
fn hint(kind: Kind) -> &'static str {
    match kind {
        Kind::LoginFailed => "; check the user and the password (credentials=FILE, ~/.netrc, or the URL)",
        // The cause says it.
        Kind::Insecure => "",
        Kind::Unreachable | Kind::DeadlinePassed => "; check the host, the port and the network",
        Kind::NotFound | Kind::NotADirectory => "; check the path in the URL (/%2Fpath starts at the root)",
        Kind::Garbled => "; check that an FTP server listens on this port",
        Kind::Denied => "; this login may not enter it",
        Kind::IsADirectory
        | Kind::Exists
        | Kind::NotEmpty
        | Kind::NoSpace
        | Kind::OverQuota
        | Kind::ReadOnly
        | Kind::BadName
        | Kind::Unsupported
        | Kind::Changed
        | Kind::Failed => "",
    }
}

/// Mounts, says so, and serves until the mount ends.
///
/// # Errors
/// [`MountError`]; nothing is left mounted then.
pub fn run(plan: MountPlan, ready: daemon::Ready) -> Result<(), MountError> {
    if let Err(error) = sys::raise_open_files() {
        log::debug!("cannot raise the limit of open files: {error}");
    }
    let launch = Deadline::after(plan.launch_bound());
    let MountPlan { session, base, connections, .. } = plan.clone();
    let remote = Remote::connect(session, &base.bytes, base.absolute, connections, launch)
        .map(Arc::new)
        .map_err(|error| MountError::Remote { error })?;
    let served = serve(&plan, ready, &remote);
    remote.close();
    served
}

fn serve(plan: &MountPlan, ready: daemon::Ready, remote: &Arc<Remote>) -> Result<(), MountError> {
    let system = |doing| move |source| MountError::System { doing, source };
    let cache_size = usize::try_from(plan.caches.bytes).unwrap_or(usize::MAX);
    let blocks = Arc::new(match disk_cache(plan) {
        Some(disk) => BlockCache::with_disk(cache_size, disk),
        None => BlockCache::new(cache_size),
    });
    let directories = Arc::new(
        DirectoryCache::new(remote.clone(), plan.caches.listing, LISTINGS).prefetching(plan.prefetch),
    );
    let reading = read::Config {
        cache_size,
        connections: plan.connections,
        patience: plan.operation_timeout,
        prefetch: plan.prefetch,
    };
    let readers = Readers::new(remote.clone(), blocks.clone(), directories.clone(), reading);
    let config = vfs::Config {
        ownership: plan.ownership,
        links: plan.links,
        charset: plan.charset,
        attr_timeout: plan.caches.attributes,
        operation_timeout: plan.operation_timeout,
        ahead: Limits::of(plan.connections, cache_size, plan.prefetch),
        known_names: KNOWN_NAMES,
    };
    let files: Arc<dyn FileSource> = Arc::new(readers);
    let changes =
        if plan.read_only { None } else { Some(changes(plan, remote, files.clone(), blocks.clone())?) };
    let kept = blocks.clone();
    let (fs, news) = FileSystem::new(directories.clone(), blocks.clone(), files, changes, config);
    let fs = Arc::new(fs);

    // Signals are taken from before the mount on, so that none can leave a dead one behind.
    let mounted = Arc::new(Mounted::new(plan.mountpoint.clone()));
    let (ended, session_end) = crossbeam_channel::bounded::<()>(0);
    let on_signal = {
        let (mounted, remote, fs, session_end) =
            (mounted.clone(), remote.clone(), Arc::downgrade(&fs), session_end.clone());
        move |signal| match signal {
            Signal::Terminate | Signal::Interrupt => {
                mounted.end();
                if session_end.recv_timeout(BUSY) == Err(RecvTimeoutError::Timeout) {
                    log::warn!("programs still use the detached mount; ending without them");
                    if let Some(fs) = fs.upgrade() {
                        fs.finish();
                    }
                    std::process::exit(0);
                }
            }
            Signal::HangUp => {
                log::info!("forgetting all listings and file contents");
                directories.clear();
                blocks.clear();
            }
            Signal::User1 => {
                let on_disk = blocks.disk().map_or(0, DiskCache::used);
                let in_memory = blocks.used();
                let names = fs.upgrade().map_or(0, |fs| fs.known_names());
                log::warn!(
                    "{:?}, {in_memory} bytes of files cached, {on_disk} on the disk, {names} names known",
                    remote.pool()
                );
            }
        }
    };
    let watcher = signals::watch(on_signal).map_err(system("cannot handle signals"))?;

    let fuse = |source| MountError::Fuse { dir: plan.mountpoint.clone(), source: in_one_line(source) };
    // The end of the session drops the adapter, and with it `ended`.
    // The kernel gives files to nobody else to be read without us.
    let passthrough = kept.disk().is_some() && uzers::get_effective_uid() == 0;
    let adapter = Adapter::new(fs.clone(), plan.operation_timeout, (plan.xattr, passthrough), ended);
    let session = mount(plan, adapter).map_err(fuse)?;
    let device = session.as_fd().try_clone_to_owned().map_err(fuse)?;
    let thread = system("cannot start a thread");
    let notifier = notify::start(session.notifier(), news).map_err(thread)?;
    let pruner =
        prune::start(device, session.notifier(), Arc::downgrade(&fs), fs.crowded()).map_err(thread)?;
    // Never dropped: it would unmount by path whatever is mounted there by then, see `mounted`.
    let session = std::mem::ManuallyDrop::new(session.spawn().map_err(fuse)?);
    mounted.note().map_err(fuse)?;
    if let Err(source) = ready.usable() {
        mounted.end();
        return Err(MountError::System { doing: "cannot go into the background", source });
    }
    log::info!("{} is mounted on {}", plan.fsname, plan.mountpoint.display());

    // Nothing is ever sent; the channel closes when the session has ended.
    let _ = session_end.recv();
    match fs.finish() {
        0 => {}
        left => log::error!("{left} files could not be uploaded before the end of the mount"),
    }
    if let Some(disk) = kept.disk() {
        disk.finish();
    }
    log::info!("{} is unmounted", plan.mountpoint.display());
    drop((watcher, session, fs));
    // They end by themselves, with the file system that sent the news.
    drop((notifier, pruner));
    Ok(())
}

/// The blocks on the local disk, if they are wanted. A mount works as well without, so that is no reason to fail.
fn disk_cache(plan: &MountPlan) -> Option<DiskCache> {
    if plan.caches.disk == 0 {
        return None;
    }
    let mut failure = None;
    for dir in &plan.staging.dirs {
        match DiskCache::open(&dir.join("blocks"), plan.caches.disk, Identity::of(&plan.session)) {
            Ok(disk) => return Some(disk),
            Err(error) => failure = Some((dir, error)),
        }
    }
    if let Some((dir, error)) = failure {
        log::warn!("no file contents are kept on the disk, {} cannot be used: {error}", dir.display());
    }
    None
}

/// What changing files needs; the directory for unsent bytes among it.
fn changes(
    plan: &MountPlan,
    remote: &Arc<Remote>,
    files: Arc<dyn FileSource>,
    blocks: Arc<BlockCache>,
) -> Result<Changes, MountError> {
    let mut staging = Err(io::Error::from(io::ErrorKind::NotFound));
    for dir in &plan.staging.dirs {
        staging = LocalStaging::new(dir, plan.staging.bytes, blocks.clone());
        if staging.is_ok() {
            break;
        }
    }
    let dir = plan.staging.dirs.last().map_or(Path::new("cache_dir="), PathBuf::as_path);
    let staging = staging.map_err(|source| MountError::Staging { dir: dir.to_owned(), source })?;
    let writers = Writers::new(remote.clone(), Arc::new(staging), files, plan.operation_timeout, plan.quiet);
    Ok(Changes { remote: remote.clone(), writers, quiet: plan.quiet })
}

/// Mounts by mount(2), or through fusermount3 where that is not allowed.
fn mount(plan: &MountPlan, adapter: Adapter) -> io::Result<Session<Adapter>> {
    let config = fuse_config(plan);
    let mut data = String::new();
    if plan.default_permissions {
        data.push_str(",default_permissions");
    }
    if plan.access != Access::Owner {
        data.push_str(",allow_other");
    }
    match sys::mount_fuse(&plan.fsname, &plan.mountpoint, &plan.kernel_words, &data) {
        Ok(device) => Session::from_fd(adapter, device, config.acl, config).inspect_err(|_| {
            // The kernel did not like the answer to its first request; nobody has used the mount yet.
            let _ = sys::unmount(&plan.mountpoint, sys::Unmount::Detach);
        }),
        // fusermount3 does not know the word, and without it links would be followed.
        Err(error) if plan.kernel_words.contains(&"nosymfollow") => Err(error),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Session::new(adapter, &plan.mountpoint, &config)
        }
        Err(error) => Err(error),
    }
}

/// fusermount3's own words come as the lines that it wrote.
fn in_one_line(error: io::Error) -> io::Error {
    let text = error.to_string();
    if !text.contains('\n') {
        return error;
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    io::Error::new(error.kind(), lines.join("; "))
}

/// What fusermount3 is told.
fn fuse_config(plan: &MountPlan) -> Config {
    let words = plan.kernel_words.iter().filter_map(|word| match *word {
        "ro" => Some(MountOption::RO),
        "rw" => Some(MountOption::RW),
        "suid" => Some(MountOption::Suid),
        "nosuid" => Some(MountOption::NoSuid),
        "dev" => Some(MountOption::Dev),
        "nodev" => Some(MountOption::NoDev),
        "exec" => Some(MountOption::Exec),
        "noexec" => Some(MountOption::NoExec),
        "atime" => Some(MountOption::Atime),
        "noatime" => Some(MountOption::NoAtime),
        "sync" => Some(MountOption::Sync),
        "async" => Some(MountOption::Async),
        "dirsync" => Some(MountOption::DirSync),
        _ => None,
    });
    let mut config = Config::default();
    config.mount_options = words.collect();
    config.mount_options.push(MountOption::FSName(plan.fsname.clone()));
    config.mount_options.push(MountOption::Subtype("ftpfs".to_owned()));
    if plan.default_permissions {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config.acl = match plan.access {
        Access::Owner => SessionACL::Owner,
        Access::OwnerAndRoot => SessionACL::RootAndOwner,
        Access::All => SessionACL::All,
    };
    config.n_threads = Some(EVENT_LOOPS);
    config.clone_fd = true;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fusermount_wrote_is_one_line_of_the_same_kind() {
        for (given, wanted) in [("a: b\na: c\n", "a: b; a: c"), ("a: b\n", "a: b"), ("a: b", "a: b")] {
            let error = in_one_line(io::Error::new(io::ErrorKind::PermissionDenied, given));
            assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::PermissionDenied, wanted));
        }
    }
}
