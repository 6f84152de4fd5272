//! Listings of several directories at once, and of one without a data connection, where the server answers STAT
//! as it answers LIST (see [`crate::ftp::inline`]).

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Lane, Listing, Remote, RemotePath};
use crate::deadline::Deadline;
use crate::ftp::error::Error as FtpError;
use crate::ftp::features::Capability;
use crate::ftp::fetch::Listed;
use crate::ftp::list::ParsedListing;
use crate::ftp::session::Session;

/// A directory that takes more bytes by itself has more names than STAT is asked for: about 1,000 on ext4.
const LARGE: u64 = 40_000;

/// How long a server that has not shown yet that it answers STAT is waited for.
const TRIAL: Duration = Duration::from_secs(5);

impl Remote {
    /// Whether [`Remote::list_together`] may be of use.
    pub fn lists_together(&self) -> bool {
        self.profile.pipelines() && self.profile.quirks().lists_inline != Capability::No
    }

    /// Lists several directories in as many round trips as one takes: the first is wanted, the others may be of use.
    /// What cannot be listed this way, for whatever reason, is `None` and is to be asked for by [`Remote::list`].
    pub fn list_together(&self, dirs: &[RemotePath], deadline: Deadline) -> Vec<Option<Listing>> {
        let mut listings: Vec<_> = dirs.iter().map(|_| None).collect();
        let paths: Vec<_> = dirs.iter().map(RemotePath::as_bytes).collect();
        let Some(first) = dirs.first() else { return listings };
        // A failure here is none: the ordinary way meets it again, with its retries, and explains it.
        let Ok(mut lease) = self.lease("list", first, Lane::Metadata, deadline) else { return listings };
        let Some(session) = lease.session() else { return listings };
        let mut told: Vec<_> = dirs.iter().map(|_| None).collect();
        // What came before a failure is good.
        let _ = self.inline(session, &paths, deadline, &mut |dir, listing| told[dir] = listing);
        for ((listing, parsed), dir) in listings.iter_mut().zip(told).zip(dirs) {
            *listing = parsed.map(|mut parsed| {
                self.zone.place(session, &self.profile, dir, &mut parsed, deadline);
                self.listing(dir, Listed { listing: parsed, truncated: false })
            });
        }
        listings
    }

    /// Lists one directory without a data connection, where that saves round trips: with LIST. MLSD of one directory
    /// costs no more than STAT and MLST. `bytes` is the size of the directory itself, where its parent tells it.
    ///
    /// # Errors
    /// A failed connection.
    pub(super) fn list_inline(
        &self,
        session: &mut Session,
        dir: &RemotePath,
        bytes: Option<u64>,
        deadline: Deadline,
    ) -> Result<Option<Listed>, FtpError> {
        let is_small = bytes.is_none_or(|bytes| bytes <= LARGE);
        if self.profile.mlst() == Capability::Yes || !is_small || !self.lists_together() {
            return Ok(None);
        }
        let mut told = None;
        self.inline(session, &[dir.as_bytes()], deadline, &mut |_, listing| told = listing)?;
        Ok(told.map(|mut listing| {
            self.zone.place(session, &self.profile, dir, &mut listing, deadline);
            Listed { listing, truncated: false }
        }))
    }

    fn inline(
        &self,
        session: &mut Session,
        paths: &[&[u8]],
        deadline: Deadline,
        each: &mut dyn FnMut(usize, Option<ParsedListing>),
    ) -> Result<(), FtpError> {
        let is_proven = self.profile.quirks().lists_inline == Capability::Yes;
        let bound = if is_proven { deadline } else { deadline.at_most(TRIAL) };
        session.list_inline(paths, &self.zone.context(), bound, each).inspect_err(|error| {
            log::info!("listing by STAT: {error}");
            // The connection may have been dead before; twice is no accident.
            if !is_proven && self.failed_inline.fetch_add(1, Ordering::Relaxed) > 0 {
                self.profile.learn(|quirks| quirks.lists_inline = Capability::No);
            }
        })
    }
}
