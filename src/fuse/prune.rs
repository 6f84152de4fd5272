//! Has the kernel let go of names that it has not used for long, on a thread of its own: the kernel may wait for a
//! request that one of our handlers works on, and news that somebody waits for must not wait with it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Weak;
use std::thread::{self, JoinHandle};

use crossbeam_channel::Receiver;
use fuser::{INodeNo, Notifier};

use crate::vfs::FileSystem;

/// How many names the kernel is asked for at once; also how many it works on at once itself.
const BATCH: usize = 512;

/// FUSE_NOTIFY_PRUNE (Linux 6.18, fuse_kernel.h 7.45), which fuser 0.18 does not know.
const PRUNE: i32 = 9;

/// How the kernel is asked.
struct Kernel {
    device: File,
    notifier: Notifier,
    /// It knows FUSE_NOTIFY_PRUNE, as far as is known.
    prunes: bool,
}

/// Starts the thread, which writes to the FUSE `device`. It ends when the file system is dropped.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(
    device: OwnedFd,
    notifier: Notifier,
    fs: Weak<FileSystem>,
    crowded: Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let mut kernel = Kernel { device: device.into(), notifier, prunes: true };
    thread::Builder::new().name("prune".to_owned()).spawn(move || {
        for () in crowded {
            // Not held while the kernel works: it may be the last one.
            while let Some(oldest) = fs.upgrade().map(|fs| fs.oldest_names(BATCH))
                && !oldest.is_empty()
            {
                if let Err(error) = kernel.ask(&fs, &oldest) {
                    log::debug!("the kernel lets go of no names: {error}");
                    break;
                }
            }
        }
    })
}

impl Kernel {
    /// Asks it to let go of these inodes. It keeps those that it uses.
    fn ask(&mut self, fs: &Weak<FileSystem>, oldest: &[u64]) -> io::Result<()> {
        if self.prunes {
            match self.device.write_all(&prune(oldest)) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    log::debug!("the kernel cannot let go of inodes, and is asked to forget names: {error}");
                    self.prunes = false;
                }
                other => return other,
            }
        }
        self.ask_by_names(fs, oldest)
    }

    /// Before Linux 6.18 it can only be told that a name is not valid any more. Not for directories: it would take
    /// them away also from who works in them, and unmount what is mounted there.
    fn ask_by_names(&self, fs: &Weak<FileSystem>, oldest: &[u64]) -> io::Result<()> {
        for &ino in oldest {
            if let Some((parent, name)) = fs.upgrade().and_then(|fs| fs.leaf(ino)) {
                self.notifier.inval_entry(INodeNo(parent), OsStr::from_bytes(&name))?;
            }
        }
        Ok(())
    }
}

/// fuse_out_header and fuse_notify_prune_out, followed by the inodes.
fn prune(inodes: &[u64]) -> Vec<u8> {
    const HEADERS: usize = 32;
    let len = HEADERS + size_of_val(inodes);
    let mut message = Vec::with_capacity(len);
    // No more than BATCH inodes: both fit.
    message.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend_from_slice(&PRUNE.to_ne_bytes());
    // No request is answered.
    message.extend_from_slice(&0u64.to_ne_bytes());
    message.extend_from_slice(&u32::try_from(inodes.len()).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend_from_slice(&[0; 12]);
    inodes.iter().for_each(|ino| message.extend_from_slice(&ino.to_ne_bytes()));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_the_kernel_defines_it() {
        let message = prune(&[7, u64::MAX]);
        let word = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
        assert_eq!((message.len(), word(0), word(4), word(16)), (48, 48, 9, 2));
        assert_eq!(message[8..16], [0; 8]);
        assert_eq!(message[20..32], [0; 12]);
        assert_eq!(message[32..40], 7u64.to_ne_bytes());
        assert_eq!(message[40..48], [0xff; 8]);
    }
}
