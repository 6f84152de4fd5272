//! Mount an FTP server as a local directory.
//!
//! The layers, from the user to the server. A layer imports only from layers below its own line:
//!
//! - [`cli`]: what the user said: arguments, `-o` options, URL, credentials, made into a plan.
//! - [`mount`]: the life of the process: builds the layers, daemonizes, handles signals, takes them down.
//! - [`fuse`]: translation between the kernel's requests and [`vfs`], nothing else.
//! - [`vfs`]: the file system in POSIX words: inodes, handles, attributes, errors to errno.
//! - [`mod@write`]: the path of changed bytes: staged on the local disk, uploaded and confirmed at flush.
//! - [`read`]: the path of file data: streams that feed the block cache ahead of the reader.
//! - [`cache`]: what is remembered: directory listings and file blocks, both counted in bytes.
//! - [`remote`]: a server as a dozen verbs over a pool of connections; retries and kinds of error.
//! - [`ftp`]: the protocol, usable alone.
//! - ground, without knowledge of the domain: [`deadline`], [`secret`], [`workers`], [`sys`].

pub mod cli;
pub mod mount;

pub mod fuse;

pub mod vfs;

pub mod write;

pub mod read;

pub mod cache;

pub mod remote;

pub mod ftp;

pub mod deadline;
pub mod secret;
pub mod sys;
pub mod workers;
