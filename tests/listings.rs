//! Listings of many servers against what they mean, and properties of the parser.
//!
//! Each `tests/data/listings/NAME.txt` is a listing byte by byte, read at 2024-03-09 17:45:01 UTC on a server
//! whose local time is UTC. `NAME.expected` says what must come out: `key value` lines, then one line per entry:
//! kind, size, mode, time, name and target, `-` for what is not told, bytes that are not printable escaped. A
//! name that starts with `mlsd-` or `nlst-` fixes the dialect, as the command does; the others are put to the
//! vote. A new server is a new pair of files. `UPDATE_LISTINGS=1` writes the `.expected` files anew.

#[path = "listings/forms.rs"]
mod forms;
#[cfg(test)]
#[path = "listings/printers.rs"]
mod printers;
#[path = "listings/properties.rs"]
mod properties;
#[cfg(test)]
#[path = "listings/votes.rs"]
mod votes;

use std::fmt::Write as _;
use std::path::Path;

use ftpfs::ftp::list::{Dialect, EntryKind, ListError, ListParser, ParsedListing, RemoteEntry};
use ftpfs::ftp::time::{ListContext, ListZone, Modified, Precision};

/// 2024-03-09 17:45:01 UTC
const CONTEXT: ListContext = ListContext { now: 1_710_006_301, zone: ListZone::UTC };

#[test]
fn every_listing_of_the_corpus_reads_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/listings");
    let mut seen = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension() != Some("txt".as_ref()) {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let parser = match name.split('-').next() {
            Some("mlsd") => ListParser::certain(Dialect::Mlsd, CONTEXT),
            Some("nlst") => ListParser::certain(Dialect::Names, CONTEXT),
            _ => ListParser::new(None, CONTEXT),
        };
        let found = show(&listing(parser, &[&std::fs::read(&path).unwrap()]).unwrap());
        let expected_path = path.with_extension("expected");
        if std::env::var_os("UPDATE_LISTINGS").is_some() {
            std::fs::write(&expected_path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap();
        assert_eq!(found, expected, "{name}");
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} listings in {}", directory.display());
}

fn listing(mut parser: ListParser, chunks: &[&[u8]]) -> Result<ParsedListing, ListError> {
    for chunk in chunks {
        parser.push(chunk)?;
    }
    Ok(parser.finish())
}

fn show(listing: &ParsedListing) -> String {
    let mut text = format!(
        "dialect {:?}\nskipped {}\nrepeated {}\ndots {}\n",
        listing.dialect, listing.skipped, listing.repeated, listing.saw_dot_entries
    );
    let mut line = |prefix: &str, entry: &RemoteEntry| {
        let _infallible = writeln!(text, "{prefix}{}", show_entry(entry));
    };
    listing.own.iter().for_each(|own| line("own ", own));
    listing.entries.iter().for_each(|entry| line("", entry));
    text
}

fn show_entry(entry: &RemoteEntry) -> String {
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "dir",
        EntryKind::Symlink => "link",
        EntryKind::Special => "special",
    };
    let told = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let mut line = format!(
        "{kind} {} {} {} \"{}\"",
        told(entry.size.map(|size| size.to_string())),
        told(entry.mode.map(|mode| format!("{mode:04o}"))),
        told(entry.modified.map(show_time)),
        entry.name.escape_ascii(),
    );
    if let Some(target) = &entry.link_target {
        let _infallible = write!(line, " -> \"{}\"", target.escape_ascii());
    }
    if let Some(unique) = &entry.unique {
        let _infallible = write!(line, " unique {}", unique.escape_ascii());
    }
    line
}

fn show_time(modified: Modified) -> String {
    let nanos = i32::try_from(modified.nanos).unwrap_or(-1);
    let Ok(instant) = jiff::Timestamp::new(modified.seconds, nanos) else { return "bad".into() };
    match modified.precision {
        Precision::Second => instant.to_string(),
        Precision::Minute => instant.strftime("%Y-%m-%dT%H:%M").to_string(),
        Precision::Day => instant.strftime("%Y-%m-%d").to_string(),
    }
}
