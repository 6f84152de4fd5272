//! Listings of the dialect `NetWare`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::listings::certain(
    ftpfs::ftp::list::Dialect::NetWare,
    data
));
