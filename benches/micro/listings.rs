//! The parsers of listings: a directory of 20,000 files, in chunks as a data connection brings them.

use std::fmt::Write;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use ftpfs::ftp::list::{Dialect, ListParser, ParsedListing};
use ftpfs::ftp::time::{ListContext, ListZone};

const ENTRIES: usize = 20_000;

/// Bytes that one read of a data connection brings.
const CHUNK: usize = 16 * 1024;

fn context() -> ListContext {
    // 2026-01-10T00:00:00Z
    ListContext { now: 1_768_003_200, zone: ListZone::UTC }
}

/// As ProFTPD 1.3.8 prints it.
fn mlsd_text() -> String {
    let mut text = String::new();
    for i in 0..ENTRIES {
        let _ = write!(
            text,
            "modify=20260102030405;perm=adfrw;size={};type=file;unique=801U{i:X};UNIX.group=1000;\
             UNIX.groupname=users;UNIX.mode=0644;UNIX.owner=1000;UNIX.ownername=user; f{i:05}.txt\r\n",
            i % 100
        );
    }
    text
}

/// As vsftpd 3.0.3 prints it.
fn unix_text() -> String {
    let mut text = String::new();
    for i in 0..ENTRIES {
        let _ =
            write!(text, "-rw-r--r--    1 1000     1000     {:>10} Jan 02 03:04 f{i:05}.txt\r\n", i % 100);
    }
    text
}

fn parse(mut parser: ListParser, text: &str) -> ParsedListing {
    for chunk in text.as_bytes().chunks(CHUNK) {
        assert!(parser.push(chunk).is_ok());
    }
    let listing = parser.finish();
    assert_eq!((listing.entries.len(), listing.skipped), (ENTRIES, 0));
    listing
}

fn bench(bencher: Bencher<'_, '_>, text: &str, parser: impl Fn() -> ListParser + Sync) {
    let bencher = bencher.counter(ItemsCount::new(ENTRIES)).counter(BytesCount::of_str(text));
    bencher.with_inputs(parser).bench_values(|parser| parse(parser, text));
}

#[divan::bench]
fn mlsd(bencher: Bencher<'_, '_>) {
    bench(bencher, &mlsd_text(), || ListParser::certain(Dialect::Mlsd, context()));
}

/// By a vote of all dialects, as the first listing of a mount.
#[divan::bench]
fn list_unix_voted(bencher: Bencher<'_, '_>) {
    bench(bencher, &unix_text(), || ListParser::new(None, context()));
}

/// As every later listing: the vote begins with a hint.
#[divan::bench]
fn list_unix_hinted(bencher: Bencher<'_, '_>) {
    bench(bencher, &unix_text(), || ListParser::new(Some(Dialect::Unix), context()));
}
