//! Listings of the dialect `Mlsd`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::listings::certain(
    ftpfs::ftp::list::Dialect::Mlsd,
    data
));
