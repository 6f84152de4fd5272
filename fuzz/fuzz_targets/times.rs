//! Times of MDTM, MLSx and LIST.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::times::times(data));
