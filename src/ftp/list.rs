//! Directory listings: what servers print, turned into entries.
//!
//! ```text
//! chunks of the data connection -> lines -> vote -> a dialect's parser -> entries
//! ```
//!
//! A dialect is one file with one function from a line to a `Line`, plus one row in `DIALECTS`. Nothing
//! here does I/O or reads a clock. What a listing does not say is `None`, never a guess.

mod as400;
mod cms;
mod dates;
mod dos;
mod eplf;
mod fields;
mod lines;
mod marks;
mod mlsx;
mod mvs;
mod name_first;
mod names;
mod netware;
mod nonstop;
mod numeric;
mod os2;
mod os9;
mod parser;
mod repeats;
mod size_first;
mod unix;
mod vms;
mod vote;

pub(crate) use mlsx::mlst_group;
pub use mlsx::parse_mlst_line;
pub use parser::ListParser;

use crate::ftp::time::{ListContext, Modified};

/// Longest line that is looked at, in bytes. A name has at most 255 and a link target 4,096; longer lines are
/// dropped and counted.
pub const MAX_LINE: usize = 16 * 1024;

/// Most entries that one directory may have. Real directories end far below; a server that goes on for ever
/// must not take all memory.
pub const MAX_ENTRIES: usize = 4_000_000;

/// Longest listing that is taken, in bytes: [`MAX_ENTRIES`] lines of 256 bytes.
pub const MAX_BYTES: u64 = 256 * MAX_ENTRIES as u64;

/// Longest `unique` fact that is kept, in bytes. Servers send device and inode; a longer one would cost memory for
/// each entry.
const MAX_UNIQUE: usize = 64;

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (its own line, not what it points to).
    Symlink,
    /// A device, pipe, socket or anything else that can be seen but not read.
    Special,
}

/// One entry of a directory as the server told it. Fields are `None` where it told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteEntry {
    /// The name, raw bytes: never empty, never `..`, without `/`, NUL, CR or LF, at most 255 bytes. It is `.`
    /// for a directory's entry for itself ([`ParsedListing::own`], the root in [`parse_mlst_line`]) and there only.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes. `None` too where the server rounds it (`33.5k`): a rounded size would cut files short.
    pub size: Option<u64>,
    /// Last modification.
    pub modified: Option<Modified>,
    /// The permission bits (07777).
    pub mode: Option<u16>,
    /// Where a symbolic link points, as the server printed it.
    pub link_target: Option<Box<[u8]>>,
    /// RFC 3659 s.7.5.2 `unique` fact, at most 64 bytes.
    pub unique: Option<Box<[u8]>>,
}

impl RemoteEntry {
    /// A directory of which nothing else is known.
    pub fn directory(name: &[u8]) -> RemoteEntry {
        RemoteEntry {
            name: name.into(),
            kind: EntryKind::Directory,
            size: None,
            modified: None,
            mode: None,
            link_target: None,
            unique: None,
        }
    }
}

/// A form of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// MLSD and MLST (RFC 3659 s.7.2).
    Mlsd,
    /// `ls -l` in its many variants.
    Unix,
    /// The `dir` of DOS, as IIS prints it.
    Dos,
    /// EPLF: publicfile, anonftpd.
    Eplf,
    /// Mode and time in numbers.
    Numeric,
    /// Novell NetWare.
    NetWare,
    /// AS/400 (IBM i).
    As400,
    /// OpenVMS.
    Vms,
    /// MVS (z/OS): data sets.
    Mvs,
    /// MVS: the members of a partitioned data set. Their lines may be bare names, so they are read as such only
    /// behind their heading.
    MvsMembers,
    /// z/VM CMS.
    Cms,
    /// HP NonStop.
    NonStop,
    /// OS/2.
    Os2,
    /// OS-9.
    Os9,
    /// VxWorks, VShell.
    SizeFirst,
    /// SuperTCP, Chameleon, WFTP.
    NameFirst,
    /// Bare names (NLST, RFC 959 s.4.1.3). Every text is a name, so it never takes part in a vote and is used
    /// only where the caller is certain.
    Names,
}

impl Dialect {
    /// Whether its times are by the server's wall clock.
    pub fn tells_local_time(self) -> bool {
        !matches!(self, Dialect::Mlsd | Dialect::Eplf | Dialect::Numeric | Dialect::Names)
    }
}

/// Why a listing was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// More than [`MAX_ENTRIES`] entries or [`MAX_BYTES`] bytes.
    #[error("the listing is larger than {MAX_ENTRIES} entries or {MAX_BYTES} bytes")]
    TooLarge,
}

/// A whole listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedListing {
    /// The dialect that most lines were in; `None` where no line was understood and the caller was not certain.
    /// Worth remembering per server, as the hint for the next listing.
    pub dialect: Option<Dialect>,
    /// What the directory said of itself: its `cdir` fact entry or its `.` line, with the name `.`.
    pub own: Option<RemoteEntry>,
    /// The entries in the server's order, no name twice, without `.` and `..`.
    pub entries: Vec<RemoteEntry>,
    /// Lines that are missing from `entries`: not understood, too long, or with a name that no local file can
    /// have. Where it is not 0, a name that is absent from `entries` may still exist.
    pub skipped: usize,
    /// Lines dropped because an earlier one had the same name.
    pub repeated: usize,
    /// The start of the first line counted in `skipped`, for the log; at most [`SAMPLE`] bytes.
    pub first_skipped: Option<Box<[u8]>>,
    /// Whether `.`, `..`, `cdir` or `pdir` was listed: the directory exists, and hidden files are shown.
    pub saw_dot_entries: bool,
}

/// Longest [`ParsedListing::first_skipped`], in bytes.
pub const SAMPLE: usize = 128;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line<'a> {
    Entry(Parsed<'a>),
    /// The directory itself, whatever its name looks like.
    Own(Parsed<'a>),
    /// The parent directory.
    Parent,
    /// Part of the form, but no entry: `total 40`, a blank line.
    Noise,
    /// A heading that leaves no doubt in which dialect the rest of the listing is.
    Heading(Dialect),
    /// The first half of an entry: with the next line it is one.
    Begin,
    /// Not of this dialect.
    Unknown,
}

/// An entry whose name was not checked yet, borrowed from its line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parsed<'a> {
    name: &'a [u8],
    kind: EntryKind,
    size: Option<u64>,
    modified: Option<Modified>,
    mode: Option<u16>,
    link_target: Option<&'a [u8]>,
    unique: Option<&'a [u8]>,
    /// Whether the line has the mark of `ls -F`; `None` where one like it would have none.
    marked: Option<bool>,
    /// The version behind the name (OpenVMS); of several, the newest counts.
    version: Option<u64>,
    /// What follows the name behind a point, where the line has it in a column of its own (z/VM).
    name_end: Option<&'a [u8]>,
    /// The path in front of the name: what the entry is in, should that be in the listing too (AS/400).
    inside: Option<&'a [u8]>,
}

impl<'a> Parsed<'a> {
    fn new(name: &'a [u8], kind: EntryKind) -> Parsed<'a> {
        Parsed {
            name,
            kind,
            size: None,
            modified: None,
            mode: None,
            link_target: None,
            unique: None,
            marked: None,
            version: None,
            name_end: None,
            inside: None,
        }
    }

    /// The entry under `name`, which the caller has checked.
    fn into_entry(self, name: &[u8]) -> RemoteEntry {
        RemoteEntry {
            name: name.into(),
            kind: self.kind,
            size: self.size,
            modified: self.modified,
            mode: self.mode,
            link_target: self.link_target.map(Box::from),
            unique: self.unique.map(Box::from),
        }
    }
}

/// One dialect's place in the machinery.
struct Row {
    dialect: Dialect,
    /// Whether lines can be told from other dialects' lines, so that it may be chosen by vote.
    votes: bool,
    parse: for<'a> fn(&'a [u8], &ListContext) -> Line<'a>,
}

/// All dialects, in the order of the enum; the earlier wins a tie.
const DIALECTS: [Row; 17] = [
    Row { dialect: Dialect::Mlsd, votes: true, parse: mlsx::parse },
    Row { dialect: Dialect::Unix, votes: true, parse: unix::parse },
    Row { dialect: Dialect::Dos, votes: true, parse: dos::parse },
    Row { dialect: Dialect::Eplf, votes: true, parse: eplf::parse },
    Row { dialect: Dialect::Numeric, votes: true, parse: numeric::parse },
    Row { dialect: Dialect::NetWare, votes: true, parse: netware::parse },
    Row { dialect: Dialect::As400, votes: true, parse: as400::parse },
    Row { dialect: Dialect::Vms, votes: true, parse: vms::parse },
    Row { dialect: Dialect::Mvs, votes: true, parse: mvs::parse },
    Row { dialect: Dialect::MvsMembers, votes: false, parse: mvs::parse_member },
    Row { dialect: Dialect::Cms, votes: true, parse: cms::parse },
    Row { dialect: Dialect::NonStop, votes: true, parse: nonstop::parse },
    Row { dialect: Dialect::Os2, votes: true, parse: os2::parse },
    Row { dialect: Dialect::Os9, votes: true, parse: os9::parse },
    Row { dialect: Dialect::SizeFirst, votes: true, parse: size_first::parse },
    Row { dialect: Dialect::NameFirst, votes: true, parse: name_first::parse },
    Row { dialect: Dialect::Names, votes: false, parse: names::parse },
];

/// What a listed name may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameClass {
    Usable,
    /// `.`
    Own,
    /// `..`
    Parent,
    /// Empty, too long, or with a byte that would leave the directory or end an FTP command.
    Refused,
}

fn classify_name(name: &[u8]) -> NameClass {
    match name {
        b"." => NameClass::Own,
        b".." => NameClass::Parent,
        _ if name.is_empty() || name.len() > 255 => NameClass::Refused,
        _ if name.iter().any(|b| matches!(b, b'/' | 0 | b'\r' | b'\n')) => NameClass::Refused,
        _ => NameClass::Usable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, row) in DIALECTS.iter().enumerate() {
            assert_eq!(row.dialect as usize, index);
        }
    }
}
