//! File contents that can be checked at any offset without a second copy: byte ranges of an endless sequence.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::{STATE, UID};

pub(crate) const MIB: u64 = 1 << 20;

/// A small deterministic generator (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Less than `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The bytes `offset..offset + len` of the content with this seed.
pub(crate) fn bytes(seed: u64, offset: u64, len: usize) -> Vec<u8> {
    let first = offset / 8;
    let skip = (offset % 8) as usize;
    let mut bytes = Vec::with_capacity(len + 16);
    let mut word = first;
    while bytes.len() < skip + len {
        bytes.extend_from_slice(&mix(seed.wrapping_add(word)).to_le_bytes());
        word += 1;
    }
    bytes.drain(..skip);
    bytes.truncate(len);
    bytes
}

/// Writes a file of `size` bytes of this content, owned by the tests' user.
pub(crate) fn write_file(path: &Path, seed: u64, size: u64) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut offset = 0;
    while offset < size {
        let len = MIB.min(size - offset);
        file.write_all(&bytes(seed, offset, len as usize)).unwrap();
        offset += len;
    }
    file.flush().unwrap();
    chown(path, Some(UID), Some(UID)).unwrap();
}

/// Puts a large file at `path`: made once, kept for later runs, and linked from there.
pub(crate) fn link_big_file(path: &Path, seed: u64, size: u64) {
    static MAKING: Mutex<()> = Mutex::new(());
    let kept = Path::new(STATE).join(format!("content-{seed}-{size}"));
    {
        let _one_at_a_time = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if fs::metadata(&kept).map(|kept| kept.len()).ok() != Some(size) {
            let mut making: PathBuf = kept.clone();
            making.set_extension(std::process::id().to_string());
            fs::create_dir_all(STATE).expect("the tests need root: cannot make /var/lib/ftpfs-test");
            write_file(&making, seed, size);
            fs::set_permissions(&making, fs::Permissions::from_mode(0o644)).unwrap();
            set_mtime(&making, SystemTime::UNIX_EPOCH + Duration::from_secs(1_400_000_000));
            fs::rename(&making, &kept).unwrap();
        }
    }
    fs::hard_link(&kept, path).unwrap();
}

/// Sets the time of last change of a file or directory.
pub(crate) fn set_mtime(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_times(fs::FileTimes::new().set_modified(time)).unwrap();
}
