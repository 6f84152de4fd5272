//! The FTP protocol, usable without the rest of the crate.

pub mod list;
pub mod time;
