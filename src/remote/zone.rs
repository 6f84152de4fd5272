//! Times of LIST put on the scale of MDTM and MLSD, which is UTC.
//!
//! A listing tells times by the server's wall clock. Where no zone was given, the first listing that holds
//! files of a season (standard or daylight time) has some of them compared with MDTM before anybody sees it:
//! one round trip, at most two in the life of a mount. Listings by MLSD cost nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::deadline::Deadline;
use crate::ftp::features::Capability;
use crate::ftp::list::{Dialect, EntryKind, ParsedListing, RemoteEntry};
use crate::ftp::profile::ServerProfile;
use crate::ftp::session::Session;
use crate::ftp::time::{FoundZone, ListContext, ListZone, Modified, Precision, Sample};
use crate::remote::path::{Name, RemotePath};

/// Files compared of each half of the year, where all can be asked together: one may be written to just now.
const SAMPLES: usize = 3;

/// How long the comparison may take; times that are an hour off are better than a listing that is late.
const PATIENCE: Duration = Duration::from_secs(10);

/// The zone of a server's listings.
#[derive(Debug)]
pub(super) struct ServerZone {
    told: Option<ListZone>,
    found: Mutex<FoundZone>,
}

impl ServerZone {
    pub(super) fn new(told: Option<ListZone>) -> ServerZone {
        ServerZone { told, found: Mutex::default() }
    }

    /// What the reading of a listing depends on besides its bytes. A zone that has to be found is not in it:
    /// [`ServerZone::place`] moves the times afterwards.
    pub(super) fn context(&self) -> ListContext {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        ListContext { now, zone: self.told.clone().unwrap_or(ListZone::UTC) }
    }

    /// Moves the times of a listing from the server's wall clock to UTC, unless they are there.
    pub(super) fn place(
        &self,
        session: &mut Session,
        profile: &ServerProfile,
        dir: &RemotePath,
        listing: &mut ParsedListing,
        deadline: Deadline,
    ) {
        if self.told.is_some() || !listing.dialect.is_some_and(Dialect::tells_local_time) {
            return;
        }
        let (together, asks) = (profile.pipelines(), profile.mdtm() != Capability::No);
        let found = *self.found.lock();
        let wanted = samples(&listing.entries, &found, if together { SAMPLES } else { 1 });
        if !wanted.is_empty() {
            let paths: Vec<_> = wanted.iter().filter_map(|(name, _)| below(dir, name)).collect();
            let told = match asks && paths.len() == wanted.len() {
                true => session.moments(&paths, deadline.at_most(PATIENCE)).unwrap_or_default(),
                false => Vec::new(),
            };
            let told = told.into_iter().chain(std::iter::repeat(None));
            let samples: Vec<Sample> = wanted.iter().map(|(_, listed)| *listed).zip(told).collect();
            let mut known = self.found.lock();
            known.decide(&samples);
            log::info!("the zone of the listings, from {} files: {:?}", samples.len(), *known);
        }
        let found = *self.found.lock();
        for entry in listing.own.iter_mut().chain(&mut listing.entries) {
            if let Some(modified) = &mut entry.modified {
                modified.seconds = found.utc(modified.seconds);
            }
        }
    }
}

fn below(dir: &RemotePath, name: &[u8]) -> Option<Vec<u8>> {
    Some(dir.join(&Name::new(name).ok()?).as_bytes().to_vec())
}

/// Names and times of files that tell the zone of seasons that are not decided: at most `most` of each half of
/// the year. Names that no server takes for a pattern go first.
fn samples(entries: &[RemoteEntry], found: &FoundZone, most: usize) -> Vec<(Box<[u8]>, Modified)> {
    let is_plain =
        |name: &[u8]| name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let mut halves = [Vec::new(), Vec::new()];
    for plain in [true, false] {
        for entry in entries.iter().filter(|entry| is_plain(&entry.name) == plain) {
            let Some(modified) = entry.modified.filter(|modified| modified.precision != Precision::Day)
            else {
                continue;
            };
            let half = &mut halves[usize::from(is_summer(modified.seconds))];
            if entry.kind == EntryKind::File && half.len() < most && !found.knows(modified.seconds) {
                half.push((entry.name.clone(), modified));
            }
        }
    }
    halves.concat()
}

/// Whether a time is in April to October, by the average year.
fn is_summer(seconds: i64) -> bool {
    const YEAR: i64 = 31_556_952;
    const DAY: i64 = 86_400;
    (90 * DAY..304 * DAY).contains(&seconds.rem_euclid(YEAR))
}
