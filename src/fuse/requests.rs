//! One short body per request of the kernel.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use super::Adapter;
use super::convert;
use crate::read::Patience;
use crate::vfs::{Attr, DirItem, Error, FileSystem, Seek, SetAttr, Timed};

/// What we want of the kernel, each where it has it. Not the write-back cache: it hides when a write fails. Not
/// O_TRUNC with open: the kernel may refuse an open that has already cut the file (ETXTBSY).
const WANTED: [InitFlags; 7] = [
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_MAX_PAGES,
];

/// Requests that the kernel may send ahead of any reader (readahead), all mounts together.
const MAX_BACKGROUND: u16 = 64;

/// The most that one write request carries, in bytes; also what a request for reading may ask for.
const MAX_WRITE: u32 = 1024 * 1024;

/// How deep file systems are stacked with one below us that is not stacked itself.
const BACKING_DEPTH: u32 = 1;

/// Inode numbers are never used again, so one generation will do.
const GENERATION: Generation = Generation(0);

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for capability in WANTED {
            if config.add_capabilities(capability).is_err() {
                log::debug!("the kernel lacks {capability:?}");
            }
        }
        if let Err(nearest) = config.set_max_write(MAX_WRITE) {
            log::debug!("the kernel's nearest max_write is {nearest}");
        }
        // fuser starts from the largest readahead that the kernel offers.
        if let Err(nearest) = config.set_max_background(MAX_BACKGROUND) {
            log::debug!("the kernel's nearest max_background is {nearest}");
        }
        if self.passthrough {
            // Files of a stacked file system would need more, and are refused one by one.
            let is_there = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
                && config.set_max_stack_depth(BACKING_DEPTH).is_ok();
            match is_there {
                true => self.fs.pass(),
                false => log::info!("the kernel cannot read files from cache_dir= by itself"),
            }
        }
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        self.answer(
            &self.metadata,
            ("lookup", parent),
            reply,
            move |fs, patience| fs.lookup(parent, &name, patience),
            send_entry,
        );
    }

    fn forget(&self, _req: &Request, ino: INodeNo, lookups: u64) {
        self.fs.forget(ino.0, lookups);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(
            &self.metadata,
            ("getattr", ino.0),
            reply,
            move |fs, patience| fs.getattr(ino.0, patience),
            |reply, attr| reply.attr(&attr.ttl, &convert::attr(&attr.value)),
        );
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(
            &self.metadata,
            ("readlink", ino.0),
            reply,
            move |fs, patience| fs.readlink(ino.0, patience),
            |reply, target| reply.data(&target),
        );
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (fs, backings) = (self.fs.clone(), self.backings.clone());
        self.answer(
            &self.metadata,
            ("open", ino.0),
            reply,
            move |fs, patience| fs.open(ino.0, flags.0, patience),
            move |reply, opened| backings.send(&fs, ino.0, reply, opened),
        );
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.answer(
            &self.data,
            ("read", ino.0),
            reply,
            move |fs, patience| fs.read(fh.0, offset, size as usize, patience),
            |reply, bytes| reply.data(&bytes),
        );
    }

    fn flush(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        self.flush_handle("flush", ino, fh, reply);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        // Nobody waits for it; giving up a stream may take a moment, and an upload longer.
        reply.ok();
        let (fs, backings) = (self.fs.clone(), self.backings.clone());
        let release = move || {
            backings.release(fh.0);
            fs.release(fh.0);
        };
        if self.changes.submit(release.clone()).is_err() {
            release();
        }
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.flush_handle("fsync", ino, fh, reply);
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.answer(
            &self.metadata,
            ("opendir", ino.0),
            reply,
            move |fs, patience| fs.opendir(ino.0, patience),
            |reply, opened| reply.opened(FileHandle(opened.handle), convert::dir_flags(&opened)),
        );
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let take = |item: DirItem<'_>| {
            let name = OsStr::from_bytes(item.name);
            !reply.add(INodeNo(item.ino), item.next, convert::kind(item.kind), name)
        };
        let result = self.fs.readdir(fh.0, offset, take);
        self.answer_now(("readdir", ino.0), reply, result, |reply, ()| reply.ok());
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let take = |item: DirItem<'_>| {
            let (node, ttl, attr) = match item.attr {
                Some(attr) => (INodeNo(item.ino), attr.ttl, convert::attr(&attr.value)),
                // Node 0: an entry without attributes, which the kernel does not count as a lookup.
                None => {
                    let bare = convert::absent();
                    let kind = convert::kind(item.kind);
                    (INodeNo(0), Default::default(), fuser::FileAttr { ino: INodeNo(item.ino), kind, ..bare })
                }
            };
            !reply.add(node, item.next, OsStr::from_bytes(item.name), &ttl, &attr, GENERATION)
        };
        let result = self.fs.readdirplus(fh.0, offset, take);
        self.answer_now(("readdirplus", ino.0), reply, result, |reply, ()| reply.ok());
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        self.fs.releasedir(fh.0);
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let space = self.fs.statfs();
        let (blocks, size) = (space.blocks, space.block_size);
        reply.statfs(blocks, blocks, blocks, 0, 0, size, space.name_max, size);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.xattr {
            // For once: the kernel then never asks again. ls -l asks for two attributes of each file, one
            // after the other, which costs more than all else that it does.
            return reply.error(Errno::ENOSYS);
        }
        let name = name.as_bytes().to_vec();
        self.answer(
            &self.metadata,
            ("getxattr", ino.0),
            reply,
            move |fs, patience| fs.getxattr(ino.0, &name, patience).and_then(|value| fitting(value, size)),
            move |reply, value| send_xattr(reply, &value, size),
        );
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.xattr {
            return reply.error(Errno::ENOSYS);
        }
        self.answer(
            &self.metadata,
            ("listxattr", ino.0),
            reply,
            move |fs, patience| fs.listxattr(ino.0, patience).and_then(|names| fitting(names, size)),
            move |reply, names| send_xattr(reply, &names, size),
        );
    }

    fn access(&self, _req: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.answer(
            &self.metadata,
            ("access", ino.0),
            reply,
            move |fs, patience| fs.access(ino.0, mask.bits(), patience),
            |reply, ()| reply.ok(),
        );
    }

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        // The kernel itself does every other whence.
        let to = if whence == libc::SEEK_HOLE { Seek::Hole } else { Seek::Data };
        self.answer(
            &self.metadata,
            ("lseek", ino.0),
            reply,
            move |fs, patience| {
                let offset = u64::try_from(offset).map_err(|_| Error::BeyondEnd)?;
                fs.seek(ino.0, offset, to, patience)
            },
            |reply, offset| reply.offset(offset.cast_signed()),
        );
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _ph: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // The one ENOSYS that is right: the kernel then takes every file as ready, as for local files.
        reply.error(Errno::ENOSYS);
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (modified, handle) = (mtime.map(convert::set_time), fh.map(|fh| fh.0));
        let set = SetAttr { mode, uid, gid, size, modified, handle };
        self.answer(
            &self.changes,
            ("setattr", ino.0),
            reply,
            move |fs, patience| fs.setattr(ino.0, set, patience),
            |reply, attr| reply.attr(&attr.ttl, &convert::attr(&attr.value)),
        );
    }

    fn mknod(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        self.answer(
            &self.changes,
            ("mknod", parent),
            reply,
            move |fs, patience| fs.make_node(parent, &name, mode, patience),
            send_new,
        );
    }

    fn mkdir(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        self.answer(
            &self.metadata,
            ("mkdir", parent),
            reply,
            move |fs, patience| fs.make_directory(parent, &name, mode, patience),
            send_new,
        );
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        let run = move |fs: &FileSystem, patience| fs.unlink(parent, &name, patience);
        self.answer(&self.metadata, ("unlink", parent), reply, run, |reply, ()| reply.ok());
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        let run = move |fs: &FileSystem, patience| fs.remove_directory(parent, &name, patience);
        self.answer(&self.metadata, ("rmdir", parent), reply, run, |reply, ()| reply.ok());
    }

    fn symlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        let target = target.as_os_str().as_bytes().to_vec();
        self.answer(
            &self.metadata,
            ("symlink", parent),
            reply,
            move |fs, patience| fs.make_symlink(parent, &name, &target, patience),
            send_new,
        );
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        let (new_parent, new_name) = (newparent.0, newname.as_bytes().to_vec());
        self.answer(
            &self.changes,
            ("rename", parent),
            reply,
            move |fs, patience| fs.rename((parent, &name), (new_parent, &new_name), flags.bits(), patience),
            |reply, ()| reply.ok(),
        );
    }

    fn link(&self, _req: &Request, ino: INodeNo, _newparent: INodeNo, _newname: &OsStr, reply: ReplyEntry) {
        self.answer_now(("link", ino.0), reply, Err::<(), _>(Error::NotPermitted), |_, ()| {});
    }

    fn create(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        self.answer(
            &self.metadata,
            ("create", parent),
            reply,
            move |fs, patience| fs.create(parent, &name, mode, flags, patience),
            |reply, (attr, opened)| {
                let flags = convert::file_flags(&opened);
                reply.created(
                    &attr.ttl,
                    &convert::attr(&attr.value),
                    GENERATION,
                    FileHandle(opened.handle),
                    flags,
                );
            },
        );
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Dirty pages of a mapping are written where they are, whatever the flags of the handle they come by.
        let appends = flags.0 & libc::O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let send = |reply: ReplyWrite, taken: usize| reply.written(u32::try_from(taken).unwrap_or(u32::MAX));
        match self.fs.write(fh.0, offset, data, appends, Patience::CachedOnly) {
            // Only who has to wait needs a copy.
            Err(Error::WouldBlock) => {
                let data = data.to_vec();
                let run = move |fs: &FileSystem, patience| fs.write(fh.0, offset, &data, appends, patience);
                self.answer_later(&self.changes, ("write", ino.0), reply, run, send);
            }
            result => self.answer_now(("write", ino.0), reply, result, send),
        }
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            // Holes and room beyond the end: programs do without them.
            return reply.error(Errno::EOPNOTSUPP);
        }
        self.answer_now(("fallocate", ino.0), reply, self.fs.allocate(fh.0, offset, length), |reply, ()| {
            reply.ok();
        });
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The kernel then copies by reading and writing, and does not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn setxattr(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }

    fn removexattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EOPNOTSUPP);
    }
}

fn send_new(reply: ReplyEntry, made: Timed<Attr>) {
    reply.entry(&made.ttl, &convert::attr(&made.value), GENERATION);
}

/// An absent entry goes out as inode 0, so that the kernel keeps its absence; one that is not to be kept
/// as ENOENT.
fn send_entry(reply: ReplyEntry, found: Timed<Option<Attr>>) {
    match found.value {
        Some(attr) => reply.entry(&found.ttl, &convert::attr(&attr), GENERATION),
        None if found.ttl.is_zero() => reply.error(Errno::ENOENT),
        None => reply.entry(&found.ttl, &convert::absent(), GENERATION),
    }
}

/// Size 0 asks for the length only; what does not fit is ERANGE (getxattr(2)).
fn fitting(value: Vec<u8>, size: u32) -> Result<Vec<u8>, Error> {
    if size > 0 && value.len() > size as usize { Err(Error::Range) } else { Ok(value) }
}

fn send_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    match size {
        // Paths and facts are far below 4 GiB.
        0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        _ => reply.data(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_or_is_out_of_range() {
        for (len, size, fits) in [(0, 0, true), (9, 0, true), (9, 9, true), (9, 8, false), (0, 8, true)] {
            assert_eq!(fitting(vec![b'x'; len], size).is_ok(), fits, "{len} {size}");
        }
    }
}
