//! The URL of a mount.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::command_line::url(data));
