//! Listings whose dialect is found by vote.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::listings::vote(data));
