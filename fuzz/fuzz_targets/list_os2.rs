//! Listings of the dialect `Os2`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::listings::certain(
    ftpfs::ftp::list::Dialect::Os2,
    data
));
