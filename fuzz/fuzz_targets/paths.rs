//! Paths on the server.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::names::paths(data));
