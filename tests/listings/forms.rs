//! How each dialect prints an entry. For the property tests here, and for the targets in `fuzz/`.

use ftpfs::ftp::list::{EntryKind, RemoteEntry};
use ftpfs::ftp::time::Precision;

pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The entry's time as a UTC clock and calendar show it.
pub(crate) fn civil(entry: &RemoteEntry) -> jiff::civil::DateTime {
    let seconds = entry.modified.map_or(0, |modified| modified.seconds);
    let instant = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    jiff::tz::Offset::UTC.to_datetime(instant)
}

pub(crate) fn month(entry: &RemoteEntry) -> &'static str {
    MONTHS[usize::from(civil(entry).month().unsigned_abs()) - 1]
}

/// The time of day, with seconds where they are known.
fn clock(entry: &RemoteEntry) -> String {
    let has_seconds = entry.modified.is_some_and(|modified| modified.precision == Precision::Second);
    civil(entry).strftime(if has_seconds { "%H:%M:%S" } else { "%H:%M" }).to_string()
}

fn is_directory(entry: &RemoteEntry) -> bool {
    entry.kind == EntryKind::Directory
}

fn size(entry: &RemoteEntry) -> u64 {
    entry.size.unwrap_or_default()
}

fn named(start: String, entry: &RemoteEntry) -> Vec<u8> {
    [start.as_bytes(), &entry.name].concat()
}

/// With each fact that is known.
pub(crate) fn mlsd(entry: &RemoteEntry) -> Vec<u8> {
    let kind = match entry.kind {
        EntryKind::Directory => "dir",
        EntryKind::Symlink => "OS.unix=symlink",
        EntryKind::File => "file",
        EntryKind::Special => "OS.unix=chr-4/7",
    };
    let mut line = format!("type={kind};").into_bytes();
    if let Some(size) = entry.size {
        line.extend(format!("size={size};").into_bytes());
    }
    if let Some(modified) = entry.modified {
        let whole = civil(entry).strftime("%Y%m%d%H%M%S");
        line.extend(format!("modify={whole}.{:09};", modified.nanos).into_bytes());
    }
    if let Some(mode) = entry.mode {
        line.extend(format!("UNIX.mode={mode:04o};").into_bytes());
    }
    if let Some(unique) = &entry.unique {
        line.extend([b"unique=", &unique[..], b";"].concat());
    }
    [&line, &b" "[..], &entry.name].concat()
}

fn mode(entry: &RemoteEntry) -> String {
    let mode = entry.mode.unwrap_or_default();
    let mut text = String::from(match entry.kind {
        EntryKind::Directory => "d",
        EntryKind::Symlink => "l",
        EntryKind::File | EntryKind::Special => "-",
    });
    for (shift, special, marks) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push_str(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => &marks[..1],
            (false, true) => &marks[1..],
            (true, false) => "x",
            (false, false) => "-",
        });
    }
    text
}

/// `owners` is what stands between mode and size.
pub(crate) fn unix(entry: &RemoteEntry, owners: &str) -> Vec<u8> {
    let shown = match entry.modified.map_or(Precision::Day, |modified| modified.precision) {
        Precision::Day => format!("{} {:2}  {}", month(entry), civil(entry).day(), civil(entry).year()),
        Precision::Minute => civil(entry).strftime("%Y-%m-%d %H:%M").to_string(),
        Precision::Second => {
            let nanos = entry.modified.map_or(0, |modified| modified.nanos);
            format!("{}.{nanos:09} +0000", civil(entry).strftime("%Y-%m-%d %H:%M:%S"))
        }
    };
    let mut line = named(format!("{} {owners} {:8} {shown} ", mode(entry), size(entry)), entry);
    if let Some(target) = &entry.link_target {
        line.extend_from_slice(b" -> ");
        line.extend_from_slice(target);
    }
    line
}

pub(crate) fn dos(entry: &RemoteEntry) -> Vec<u8> {
    let date = civil(entry);
    let (half, hour) = (if date.hour() < 12 { "AM" } else { "PM" }, (date.hour() + 11) % 12 + 1);
    let mark = match is_directory(entry) {
        true => "      <DIR>          ".to_owned(),
        false => format!("{:20} ", size(entry)),
    };
    named(format!("{}  {hour:02}:{:02}{half} {mark}", date.strftime("%m-%d-%y"), date.minute()), entry)
}

pub(crate) fn eplf(entry: &RemoteEntry) -> Vec<u8> {
    let mut line = b"+".to_vec();
    if let Some(unique) = &entry.unique {
        line.extend([b"i", &unique[..], b","].concat());
    }
    let kind = match entry.kind {
        EntryKind::Directory => "/,",
        EntryKind::Special => "",
        EntryKind::File | EntryKind::Symlink => "r,",
    };
    let modified = entry.modified.map(|modified| format!("m{},", modified.seconds));
    let size = entry.size.map(|size| format!("s{size},"));
    let mode = entry.mode.map(|mode| format!("up{mode:o},"));
    for fact in [modified, Some(kind.to_owned()), size, mode].into_iter().flatten() {
        line.extend(fact.into_bytes());
    }
    [&line, &b"\t"[..], &entry.name].concat()
}

pub(crate) fn numeric(entry: &RemoteEntry) -> Vec<u8> {
    let kind = match entry.kind {
        EntryKind::Directory => 0o040_000,
        EntryKind::Symlink => 0o120_000,
        EntryKind::File => 0o100_000,
        EntryKind::Special => 0o010_000,
    };
    let mode = kind | u32::from(entry.mode.unwrap_or_default());
    let seconds = entry.modified.map_or(0, |modified| modified.seconds);
    named(format!("0{mode:o} 1001 100 {} {seconds} ", size(entry)), entry)
}

/// `gap` is what stands before the name.
pub(crate) fn netware(entry: &RemoteEntry, gap: &str) -> Vec<u8> {
    let letter = if is_directory(entry) { 'd' } else { '-' };
    let (date, month, size) = (civil(entry), month(entry), size(entry));
    named(
        format!("{letter} [RWCEAFMS] clerk {size:15} {month} {:02}  {}{gap}", date.day(), date.year()),
        entry,
    )
}

pub(crate) fn as400(entry: &RemoteEntry) -> Vec<u8> {
    let (kind, mark) = match entry.kind {
        EntryKind::Directory => ("*DIR", "/"),
        EntryKind::Symlink => ("*SYMLNK", ""),
        EntryKind::File => ("*STMF", ""),
        EntryKind::Special => ("*USRSPC", ""),
    };
    let date = civil(entry).strftime("%y-%m-%d");
    let start = format!("LENA {:15} {date} {} {kind:10} ", size(entry), clock(entry));
    [&named(start, entry), mark.as_bytes()].concat()
}

/// Without its version in the name; a directory's name has no `.DIR`.
pub(crate) fn vms(entry: &RemoteEntry, version: u16, two_lines: bool) -> Vec<u8> {
    let letters = |shift: u16| {
        let bits = entry.mode.unwrap_or_default() >> shift;
        [(4, "R"), (2, "W"), (1, "E")].map(|(bit, letter)| if bits & bit != 0 { letter } else { "" }).concat()
    };
    let (mark, end) = (if is_directory(entry) { ".DIR" } else { "" }, if two_lines { "\r\n" } else { "" });
    let date = civil(entry);
    let time = match entry.modified.map(|modified| modified.precision) {
        Some(Precision::Minute | Precision::Second) => clock(entry),
        Some(Precision::Day) | None => String::new(),
    };
    let protection = match entry.mode {
        Some(_) => format!("(RWED,{},{},{})", letters(6), letters(3), letters(0)),
        None => String::new(),
    };
    let month = month(entry).to_uppercase();
    let facts = format!("12/15  {}-{month}-{:04} {time}  [LENA]  {protection}", date.day(), date.year());
    [&entry.name[..], format!("{mark};{version}{end}  {facts}").as_bytes()].concat()
}

/// With three digits of the year where `century`: those since 1900.
pub(crate) fn os2(entry: &RemoteEntry, century: bool) -> Vec<u8> {
    let (date, mark) = (civil(entry), if is_directory(entry) { "DIR" } else { "A" });
    let year = date.year() - if century || date.year() < 2000 { 1900 } else { 2000 };
    let shown = format!("{}-{year:02}   {}", date.strftime("%m-%d"), clock(entry));
    named(format!("{:8} {mark:>10}   {shown}  ", size(entry)), entry)
}

pub(crate) fn vxworks(entry: &RemoteEntry) -> Vec<u8> {
    let (date, month) = (civil(entry), month(entry).to_uppercase());
    let mark = if is_directory(entry) { "    <DIR>" } else { "" };
    let start = format!("{:8} {month}-{}  {} ", size(entry), date.strftime("%d-%Y"), clock(entry));
    [&named(start, entry), mark.as_bytes()].concat()
}

pub(crate) fn vshell(entry: &RemoteEntry) -> Vec<u8> {
    let (date, month) = (civil(entry), month(entry));
    let mark = if is_directory(entry) { "/" } else { "" };
    let start = format!("{:8} {month} {} {} ", size(entry), date.strftime("%d, %Y"), clock(entry));
    [&named(start, entry), mark.as_bytes()].concat()
}

/// The month in letters where `chameleon`.
pub(crate) fn name_first(entry: &RemoteEntry, chameleon: bool) -> Vec<u8> {
    let size = if is_directory(entry) { "<DIR>".to_owned() } else { size(entry).to_string() };
    let date = match chameleon {
        true => format!("{} {}", month(entry), civil(entry).strftime("%d %Y")),
        false => civil(entry).strftime("%m-%d-%y     ").to_string(),
    };
    [&entry.name[..], format!("  {size:>10}   {date} {}", clock(entry)).as_bytes()].concat()
}

pub(crate) fn os9(entry: &RemoteEntry, sector: u32) -> Vec<u8> {
    let attributes = if is_directory(entry) { "d-ewrewr" } else { "----r-wr" };
    let date = civil(entry).strftime("%y/%m/%d %H%M");
    named(format!("   1.0   {date}   {attributes}  {sector:6X} {:9} ", size(entry)), entry)
}

/// Name and type are what the file's name is made of, with a point.
pub(crate) fn cms(entry: &RemoteEntry, name: &[u8], file_type: &[u8]) -> Vec<u8> {
    let facts = format!(" A1 V 80 21 1 {} {} LENA1", civil(entry).strftime("%Y-%m-%d"), clock(entry));
    [name, b"  ", file_type, facts.as_bytes()].concat()
}

pub(crate) fn mvs(entry: &RemoteEntry) -> Vec<u8> {
    let organization = match entry.kind {
        EntryKind::Directory => "PO",
        EntryKind::File | EntryKind::Symlink => "PS",
        EntryKind::Special => "VSAM",
    };
    let date = match entry.modified {
        Some(_) => civil(entry).strftime("%Y/%m/%d").to_string(),
        None => "**NONE**".to_owned(),
    };
    named(format!("VOL123 3390   {date}  1   15  FB  80 27920  {organization}  "), entry)
}

/// A member without its time is a bare name.
pub(crate) fn mvs_member(entry: &RemoteEntry) -> Vec<u8> {
    let (date, time) = (civil(entry).strftime("%Y/%m/%d"), clock(entry));
    let statistics = match entry.modified {
        Some(_) => format!("  01.02 2024/03/01 {date} {time}  10  10  0 LENA"),
        None => String::new(),
    };
    [&entry.name[..], statistics.as_bytes()].concat()
}

pub(crate) fn nonstop(entry: &RemoteEntry) -> Vec<u8> {
    let (date, month) = (civil(entry), month(entry));
    let shown = format!("{}-{month}-{} {}", date.day(), date.strftime("%y"), clock(entry));
    [&entry.name[..], format!("  101 {} {shown} 255,  4 \"oooo\"", size(entry)).as_bytes()].concat()
}

/// A path in front, and the mark of directories, as NLST may have them.
pub(crate) fn nlst(entry: &RemoteEntry, path: &str) -> Vec<u8> {
    [path.as_bytes(), &entry.name, if is_directory(entry) { b"/" } else { b"" }].concat()
}
