//! One file, or one look at several, on a spare connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::{DirectoryCache, FileVersion, Inquiry};
use crate::deadline::Deadline;
use crate::ftp::error::Error as FtpError;
use crate::ftp::list::EntryKind;
use crate::ftp::query::Facts;
use crate::ftp::session::Session;
use crate::read::stream::{FINAL_REPLY, SETTLE, UNCHECKED, UNCHECKED_BYTES};
use crate::remote::{Name, Pool, RemotePath};

/// How long the start of a transfer may take; a connection on which it takes longer helps nobody.
const START: Duration = Duration::from_secs(10);
/// No bytes for this long, and the transfer is given up, so that a stalled one does not keep its connection.
const STALL: Duration = Duration::from_secs(4);
/// One file in all: it is small, and nobody waits for it.
const WHOLE: Duration = Duration::from_secs(30);
/// Less than this is waited for, though somebody wants the connection: stopping takes as long.
const REST: usize = 64 * 1024;
/// Received at once.
const CHUNK: usize = 64 * 1024;

/// A file that will be read soon.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its directory.
    pub dir: RemotePath,
    /// Its name.
    pub name: Name,
    /// The version that its next open will read, as far as is known.
    pub version: Arc<FileVersion>,
    /// Whether its bytes are wanted.
    pub bytes: bool,
    /// Whether the server is to be asked if it is still that version.
    pub check: bool,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All bytes of the version, confirmed.
    Whole {
        bytes: Vec<u8>,
        /// Whether they may go to the disk.
        keeps: bool,
    },
    /// The file is another one, or the server does not give it.
    Other,
    /// Somebody else needs the connection.
    GaveWay,
    /// The connection failed.
    Broken(FtpError),
}

impl From<FtpError> for Outcome {
    fn from(error: FtpError) -> Outcome {
        match error {
            FtpError::Refused { .. } => Outcome::Other,
            error => Outcome::Broken(error),
        }
    }
}

impl Wanted {
    pub(super) fn path(&self) -> RemotePath {
        self.dir.join(&self.name)
    }

    /// Tells whether the server's answer is of this version, and makes it known: the next open need not ask.
    fn is_confirmed(&self, facts: Facts, inquiry: Option<Inquiry<'_>>) -> bool {
        let Some(now) = facts.entry(self.name.as_bytes()) else { return false };
        let confirmed = now.kind == EntryKind::File && self.version.confirmed_by(&now);
        match inquiry {
            Some(inquiry) if confirmed => inquiry.confirmed(now.mode),
            Some(inquiry) => inquiry.told(now),
            None => {}
        }
        confirmed
    }
}

/// Fetches one file; `progress` is called when bytes came. `takes` tells whether what is fetched from now on may go to
/// the disk.
pub(super) fn fetch(
    wanted: &Wanted,
    session: &mut Session,
    directories: &DirectoryCache,
    pool: &Pool,
    check: bool,
    progress: impl Fn(),
    takes: impl FnOnce() -> bool,
) -> Outcome {
    let path = wanted.path();
    let inquiry = check.then(|| directories.inquire(&wanted.dir, &wanted.name));
    let began = Instant::now();
    let (mut transfer, facts) = match session.retrieve(path.as_bytes(), 0, check, Deadline::after(START)) {
        Ok(started) => started,
        Err(error) => return error.into(),
    };
    let is_known = facts.is_some();
    let is_another = facts.is_some_and(|facts| !wanted.is_confirmed(facts, inquiry));
    progress();
    if is_another {
        let _ = transfer.abandon(Deadline::after(SETTLE));
        return Outcome::Other;
    }
    let keeps = is_known && takes();
    let size = usize::try_from(wanted.version.size).unwrap_or(usize::MAX);
    let whole = Deadline::after(WHOLE);
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK.min(size.saturating_add(1))];
    loop {
        match transfer.read_by(&mut chunk, whole.at_most(STALL)) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(error) => return error.into(),
        }
        pool.heard();
        progress();
        if bytes.len() > size || (pool.is_wanted() && size - bytes.len() > REST) {
            let _ = transfer.abandon(Deadline::after(SETTLE));
            return if bytes.len() > size { Outcome::Other } else { Outcome::GaveWay };
        }
    }
    if let Err(error) = transfer.finish(Deadline::after(FINAL_REPLY)) {
        return error.into();
    }
    if bytes.len() != size {
        return Outcome::Other;
    }
    if began.elapsed() > UNCHECKED || bytes.len() as u64 > UNCHECKED_BYTES {
        match session.facts(path.as_bytes(), Deadline::after(SETTLE)) {
            Ok(facts) if !wanted.is_confirmed(facts.clone(), None) && facts != Facts::Doubtful => {
                return Outcome::Other;
            }
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
    Outcome::Whole { bytes, keeps }
}

/// Asks whether files are what they were, all at once, and makes the answers known.
pub(super) fn look(
    wanted: &[Wanted],
    session: &mut Session,
    directories: &DirectoryCache,
) -> Result<(), FtpError> {
    let inquiries: Vec<_> =
        wanted.iter().map(|wanted| directories.inquire(&wanted.dir, &wanted.name)).collect();
    let paths: Vec<_> = wanted.iter().map(|wanted| wanted.path().as_bytes().to_vec()).collect();
    let facts = session.facts_of(&paths, Deadline::after(START))?;
    for ((wanted, inquiry), facts) in wanted.iter().zip(inquiries).zip(facts) {
        if let Some(facts) = facts {
            wanted.is_confirmed(facts, Some(inquiry));
        }
    }
    Ok(())
}
