//! Listings of the dialect `As400`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftpfs_fuzz::listings::certain(
    ftpfs::ftp::list::Dialect::As400,
    data
));
