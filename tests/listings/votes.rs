//! The vote on listings of any length, with lines in between that nobody understands.

use std::path::Path;

use ftpfs::ftp::list::ListParser;

use super::{CONTEXT, listing};

/// What servers print among the entries when something goes wrong.
const BAD: [&[u8]; 4] = [
    b"ls: secret: Permission denied",
    b"no such thing here",
    b"Error reading directory entry 17 of 20",
    b"\xff\xfe\x00",
];

/// Each corpus file that is put to the vote: its name, lines and the dialect that must win.
fn corpora() -> Vec<(String, Vec<Vec<u8>>, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/listings");
    let mut found = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let has_vote = !name.starts_with("mlsd-") && !name.starts_with("nlst-");
        if path.extension() != Some("txt".as_ref()) || !has_vote {
            continue;
        }
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap();
        let dialect = expected.lines().next().unwrap().strip_prefix("dialect ").unwrap().to_owned();
        let text = std::fs::read(&path).unwrap();
        let lines = text.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        found.push((name, lines.collect(), dialect));
    }
    found
}

#[test]
fn the_right_dialect_wins_in_listings_of_any_length_with_bad_lines_among_them() {
    let mut checked = std::collections::BTreeSet::new();
    for (name, lines, dialect) in corpora() {
        if dialect == "None" {
            continue;
        }
        for length in [5, 50, 500, 5_000] {
            for bad_every in [usize::MAX, 7, 3] {
                let mut text = Vec::new();
                for (at, line) in lines.iter().cycle().take(length).enumerate() {
                    text.extend_from_slice(line);
                    text.extend_from_slice(b"\r\n");
                    // Two lines of one entry stay together.
                    let is_half = line.contains(&b';') && !line.contains(&b' ');
                    if at % bad_every == bad_every - 1 && !is_half {
                        text.extend_from_slice(BAD[at / bad_every % BAD.len()]);
                        text.extend_from_slice(b"\r\n");
                    }
                }
                let found = listing(ListParser::new(None, CONTEXT), &[&text]).unwrap();
                assert_eq!(format!("{:?}", found.dialect), dialect, "{name}, {length} lines, {bad_every}");
            }
        }
        checked.insert(dialect);
    }
    assert!(checked.len() >= 15, "{checked:?}");
}
