//! Extended attributes that tell what the server told: read-only, under `user.ftp.`.

use std::time::Instant;

use crate::cache::EntryRef;
use crate::ftp::time::Modified;
use crate::read::Patience;
use crate::vfs::inode::Place;
use crate::vfs::{Error, FileSystem};

/// The path on the server.
const PATH: &[u8] = b"user.ftp.path";
/// The `unique` fact (RFC 3659 s.7.5.2), where the server tells it.
const UNIQUE: &[u8] = b"user.ftp.unique";
/// The modification time as a time value (RFC 3659 s.2.3): UTC, `YYYYMMDDHHMMSS[.fraction]`.
const MODIFY: &[u8] = b"user.ftp.modify";

impl FileSystem {
    /// The value of an extended attribute. Names that are not ours never ask the server: programs ask for
    /// `security.capability` and the like on every file.
    ///
    /// # Errors
    /// [`Error::NoAttribute`]; for our own, those of [`FileSystem::getattr`].
    pub fn getxattr(&self, ino: u64, name: &[u8], patience: Patience) -> Result<Vec<u8>, Error> {
        let value = match name {
            PATH => Some(self.table.lock().path(ino)?.as_bytes().to_vec()),
            UNIQUE => {
                self.entry(ino, patience)?.and_then(|entry| entry.unique.as_deref().map(<[u8]>::to_vec))
            }
            MODIFY => self.entry(ino, patience)?.and_then(|entry| entry.modified).and_then(time_value),
            _ => None,
        };
        value.ok_or(Error::NoAttribute)
    }

    /// The names of the extended attributes, each followed by a NUL.
    ///
    /// # Errors
    /// Those of [`FileSystem::getattr`].
    pub fn listxattr(&self, ino: u64, patience: Patience) -> Result<Vec<u8>, Error> {
        let entry = self.entry(ino, patience)?;
        let has_unique = entry.as_ref().is_some_and(|entry| entry.unique.is_some());
        let has_modify = entry.as_ref().is_some_and(|entry| entry.modified.is_some());
        let names = [(PATH, true), (UNIQUE, has_unique), (MODIFY, has_modify)];
        let told = names.into_iter().filter(|&(_, is_told)| is_told);
        Ok(told.flat_map(|(name, _)| [name, b"\0"].concat()).collect())
    }

    /// The entry of `ino`; `None` for the root, which is not listed anywhere.
    fn entry(&self, ino: u64, patience: Patience) -> Result<Option<EntryRef>, Error> {
        let place = self.table.lock().place(ino)?;
        let Place::Entry { dir, name } = place else { return Ok(None) };
        let answer = self.ask(&dir, &name, patience, Instant::now())?;
        Ok(Some(self.observe_inode(ino, &name, &answer)?.0))
    }
}

/// A time as RFC 3659 s.2.3 writes it; `None` outside of the years 0 to 9999.
fn time_value(modified: Modified) -> Option<Vec<u8>> {
    let time = jiff::Timestamp::new(modified.seconds, i32::try_from(modified.nanos).ok()?).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    if time.year() < 0 {
        return None;
    }
    let mut value = time.strftime("%Y%m%d%H%M%S").to_string();
    if modified.nanos > 0 {
        value.push_str(format!(".{:09}", modified.nanos).trim_end_matches('0'));
    }
    Some(value.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::time::Precision;

    #[test]
    fn times_are_written_as_time_values() {
        for (seconds, nanos, value) in [
            (0, 0, Some("19700101000000")),
            (1_709_210_096, 500_000_000, Some("20240229123456.5")),
            (-1, 0, Some("19691231235959")),
            (i64::MAX, 0, None),
            (i64::MIN, 0, None),
        ] {
            let modified = Modified { seconds, nanos, precision: Precision::Second };
            let written = time_value(modified).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(written.as_deref(), value);
        }
    }
}
