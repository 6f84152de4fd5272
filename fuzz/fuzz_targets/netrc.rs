//! The `.netrc` file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::command_line::netrc(data));
