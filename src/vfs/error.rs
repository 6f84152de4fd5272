//! Why an operation failed, and the one place where that becomes an errno.

use std::io;
use std::sync::Arc;

use crate::read::ReadError;
use crate::remote::{self, Kind, NameError};
use crate::vfs::Inexpressible;

/// Why an operation failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Memory cannot answer, and waiting was not allowed. Never reaches the kernel.
    #[error("the answer is not in memory")]
    WouldBlock,
    /// The server, or the way to it.
    #[error(transparent)]
    Remote(#[from] remote::Error),
    /// Nothing of that name.
    #[error("no such file")]
    NotFound,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// Something other than a directory was needed.
    #[error("is a directory")]
    IsADirectory,
    /// A symbolic link was needed.
    #[error("not a symbolic link")]
    NotALink,
    /// The name can be no file's name on an FTP server.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// The name or a link's target cannot be written in the server's charset.
    #[error(transparent)]
    Inexpressible(#[from] Inexpressible),
    /// Something of that name is there already.
    #[error("the name exists already")]
    Exists,
    /// The directory still holds something.
    #[error("the directory is not empty")]
    NotEmpty,
    /// FTP has no way to do it.
    #[error("FTP servers have no way to do this")]
    NotPermitted,
    /// The arguments make no sense together, or ask for what there is not.
    #[error("no such way of doing this")]
    InvalidArgument,
    /// Beyond what offsets can express.
    #[error("the file would be too large")]
    TooLarge,
    /// The local disk where unsent bytes are staged.
    #[error("the local disk where unsent bytes are staged: {0}")]
    Local(Arc<io::Error>),
    /// The mount takes no changes.
    #[error("the mount is read-only")]
    ReadOnly,
    /// The mode forbids it.
    #[error("the mode forbids it")]
    Denied,
    /// A device, pipe or socket on the server. RETR of one may wait forever, so it is never sent.
    #[error("devices, pipes and sockets of the server cannot be opened")]
    Special,
    /// The link points out of the mount.
    #[error("the link points outside of the mount")]
    LinkLeaves,
    /// The server shows a link but not its target.
    #[error("the server does not tell the target of the link")]
    NoTarget,
    /// The server tells no size, so the end of the file cannot be known.
    #[error("the server does not tell the size of the file")]
    NoSize,
    /// What the handle or inode stood for is gone: another version of the file, or another kind.
    #[error("the file was replaced on the server")]
    Stale,
    /// The file of this name is another inode now: the kernel has the old one read by itself, and cannot have it
    /// written, or read otherwise, at the same time. It asks for the name once more, and never tells its caller.
    #[error("it has another inode now")]
    Parted,
    /// No such handle or inode.
    #[error("unknown handle")]
    BadHandle,
    /// The offset is at or beyond the end of the file.
    #[error("nothing lies at or after that offset")]
    BeyondEnd,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The buffer for an extended attribute is too small.
    #[error("the buffer is too small")]
    Range,
    /// The operation's time was over before it could begin.
    #[error("no time was left to ask the server")]
    TimedOut,
}

impl Error {
    /// The errno for the caller. Never ENOSYS: for many operations the kernel then stops asking for good.
    pub fn errno(&self) -> i32 {
        match self {
            Error::WouldBlock => libc::EAGAIN,
            Error::Remote(error) => match error.kind() {
                Kind::NotFound => libc::ENOENT,
                Kind::Denied => libc::EACCES,
                Kind::NotADirectory => libc::ENOTDIR,
                Kind::IsADirectory => libc::EISDIR,
                Kind::Exists => libc::EEXIST,
                Kind::NotEmpty => libc::ENOTEMPTY,
                Kind::NoSpace => libc::ENOSPC,
                Kind::OverQuota => libc::EDQUOT,
                Kind::ReadOnly => libc::EROFS,
                Kind::BadName => libc::EINVAL,
                Kind::Unsupported => libc::EOPNOTSUPP,
                Kind::Changed => libc::ESTALE,
                Kind::LoginFailed | Kind::Insecure => libc::EACCES,
                Kind::Unreachable => libc::EHOSTUNREACH,
                Kind::DeadlinePassed => libc::ETIMEDOUT,
                Kind::Garbled | Kind::Failed => libc::EIO,
            },
            Error::NotFound => libc::ENOENT,
            Error::NotADirectory => libc::ENOTDIR,
            Error::IsADirectory => libc::EISDIR,
            Error::NotALink => libc::EINVAL,
            Error::BadName(NameError::TooLong) => libc::ENAMETOOLONG,
            Error::BadName(NameError::Reserved | NameError::Forbidden) => libc::EINVAL,
            Error::Inexpressible(Inexpressible) => libc::EILSEQ,
            Error::Exists => libc::EEXIST,
            Error::NotEmpty => libc::ENOTEMPTY,
            Error::NotPermitted => libc::EPERM,
            Error::InvalidArgument => libc::EINVAL,
            Error::TooLarge => libc::EFBIG,
            Error::Local(error) => match error.raw_os_error() {
                Some(errno @ (libc::ENOSPC | libc::EDQUOT | libc::EFBIG)) => errno,
                _ => libc::EIO,
            },
            Error::ReadOnly => libc::EROFS,
            Error::Denied | Error::Special | Error::LinkLeaves => libc::EACCES,
            Error::NoTarget | Error::NoSize => libc::EIO,
            Error::Stale | Error::Parted => libc::ESTALE,
            Error::BadHandle => libc::EBADF,
            Error::BeyondEnd => libc::ENXIO,
            Error::NoAttribute => libc::ENODATA,
            Error::Range => libc::ERANGE,
            Error::TimedOut => libc::ETIMEDOUT,
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::WouldBlock => Error::WouldBlock,
            ReadError::Remote(error) => Error::Remote(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_remote_failure_has_its_errno() {
        for (kind, errno) in [
            (Kind::NotFound, libc::ENOENT),
            (Kind::Denied, libc::EACCES),
            (Kind::NotADirectory, libc::ENOTDIR),
            (Kind::IsADirectory, libc::EISDIR),
            (Kind::Exists, libc::EEXIST),
            (Kind::NotEmpty, libc::ENOTEMPTY),
            (Kind::NoSpace, libc::ENOSPC),
            (Kind::OverQuota, libc::EDQUOT),
            (Kind::ReadOnly, libc::EROFS),
            (Kind::BadName, libc::EINVAL),
            (Kind::Unsupported, libc::EOPNOTSUPP),
            (Kind::Changed, libc::ESTALE),
            (Kind::LoginFailed, libc::EACCES),
            (Kind::Insecure, libc::EACCES),
            (Kind::Unreachable, libc::EHOSTUNREACH),
            (Kind::DeadlinePassed, libc::ETIMEDOUT),
            (Kind::Garbled, libc::EIO),
            (Kind::Failed, libc::EIO),
        ] {
            let error = Error::from(ReadError::Remote(remote::Error::new(kind, "read", "/f", "test", "x")));
            assert_eq!(error.errno(), errno, "{kind:?}");
        }
    }

    #[test]
    fn our_own_refusals_have_theirs() {
        for (error, errno) in [
            (Error::NotFound, libc::ENOENT),
            (Error::BadName(NameError::TooLong), libc::ENAMETOOLONG),
            (Error::BadName(NameError::Forbidden), libc::EINVAL),
            (Error::Inexpressible(Inexpressible), libc::EILSEQ),
            (Error::ReadOnly, libc::EROFS),
            (Error::Special, libc::EACCES),
            (Error::LinkLeaves, libc::EACCES),
            (Error::Stale, libc::ESTALE),
            // What open(2) and truncate(2) look the name up again for.
            (Error::Parted, libc::ESTALE),
            (Error::BadHandle, libc::EBADF),
            (Error::NoAttribute, libc::ENODATA),
            (Error::Range, libc::ERANGE),
            (Error::TimedOut, libc::ETIMEDOUT),
        ] {
            assert_eq!(error.errno(), errno, "{error}");
        }
    }
}
