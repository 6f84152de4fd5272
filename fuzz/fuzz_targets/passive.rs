//! Replies to PASV and EPSV.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::passive::passive(data));
