//! The line of an MLST reply.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::control::mlst(data));
