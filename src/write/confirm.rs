//! What counts as uploaded: the server must tell as many bytes as were sent.

use std::io;
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::ftp::change::{Granted, Settled, Wishes};
use crate::ftp::error::Error as FtpError;
use crate::ftp::list::{EntryKind, RemoteEntry};
use crate::ftp::query::Facts;
use crate::ftp::session::Session;
use crate::remote::{Kind, RemotePath};
use crate::write::file::{Bound, Replaces, State, WriteFile};
use crate::write::staged::Errand;
use crate::write::upload::{End, SETTLE, server_length};

/// What was sent and wished.
pub(super) struct Sending {
    /// Where it began, if anything was sent.
    pub(super) from: Option<u64>,
    /// The length that the server's file must have now.
    pub(super) sent: u64,
    pub(super) wishes: Wishes,
}

/// Compares with what the server has, which it told when the attributes were set.
pub(super) fn confirm(
    file: &WriteFile,
    session: &mut Session,
    path: &RemotePath,
    sending: Sending,
    settled: Result<Settled, FtpError>,
    bound: &Bound,
) -> End {
    let deadline = bound.deadline();
    let told = settled.and_then(|settled| {
        let entry = match &settled.facts {
            Ok(Facts::Whole(entry)) if entry.kind == EntryKind::File => entry.clone(),
            Ok(Facts::File { size, modified }) => RemoteEntry { modified: *modified, ..plain(Some(*size)) },
            // The target of a link, or a server that tells nothing here: SIZE speaks of the file itself.
            Ok(_) | Err(_) => plain(server_length(session, path, deadline)?),
        };
        Ok((settled, entry))
    });
    match told {
        Ok((settled, entry)) if entry.size.is_none() => End::Blind(Box::new((sending, settled))),
        Ok((settled, entry)) => conclude(file, path, &sending, settled, Some(entry)),
        Err(error) => {
            if let Some(from) = sending.from {
                file.state.lock().staged.broke(from);
            }
            error.into()
        }
    }
}

/// Believes an upload, or not: the server must tell as many bytes as were sent.
pub(super) fn conclude(
    file: &WriteFile,
    path: &RemotePath,
    sending: &Sending,
    settled: Settled,
    told: Option<RemoteEntry>,
) -> End {
    let Sending { from, sent, wishes } = sending;
    let size = told.as_ref().and_then(|entry| entry.size);
    let Some(mut entry) = told.filter(|_| size == Some(*sent)) else {
        let mut state = file.state.lock();
        match *from {
            Some(from) => state.staged.broke(from),
            // The server had all of it, and has not any more.
            None if state.unconfirmed => state.staged.distrust(),
            None => {}
        }
        drop(state);
        let has = size.map_or("an unknown number".to_owned(), |size| size.to_string());
        let text = format!("the server has {has} of {sent} bytes");
        let source = Arc::new(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        return End::Broken(FtpError::Io { doing: "uploading", source });
    };
    entry.name = path.file_name().into();
    if let Granted::Yes = settled.mode {
        entry.mode = wishes.mode.or(entry.mode);
    }
    if let Granted::Yes = settled.modified {
        entry.modified = entry.modified.or(wishes.modified);
    }
    let mut state = file.state.lock();
    if from.is_some() {
        state.staged.sent();
        state.safe = state.goal.map(|goal| goal.changes);
    }
    let failed = state.settled(&entry, wishes, settled.mode, settled.modified);
    drop(state);
    match failed.filter(|_| !file.shared.quiet) {
        None => End::Confirmed,
        Some(Granted::Refused(error)) => {
            End::Failed(file.shared.remote.explain_write(path, &error, Deadline::after(SETTLE)))
        }
        Some(_) => {
            let cause = "the server has no command for it (-o quiet ignores that)";
            End::Failed(file.shared.remote.error(Kind::Unsupported, "set mode or time of", path, cause))
        }
    }
}

pub(super) fn plain(size: Option<u64>) -> RemoteEntry {
    RemoteEntry {
        name: (*b".").into(),
        kind: EntryKind::File,
        size,
        modified: None,
        mode: None,
        link_target: None,
        unique: None,
    }
}

impl State {
    /// The server has confirmed the file as `entry`. Returns what a program that has set an attribute must hear
    /// of; it hears it once.
    fn settled(
        &mut self,
        entry: &RemoteEntry,
        wishes: &Wishes,
        mode: Granted,
        modified: Granted,
    ) -> Option<Granted> {
        let failed = |granted: Granted, was_set: bool| match granted {
            Granted::NotAsked | Granted::Yes => None,
            granted => was_set.then_some(granted),
        };
        let is_same = self.staged.errand() == Errand::Nothing;
        // A stream has nobody to tell: what it is refused is asked for once more by who flushes.
        let hears = self.stream.is_none();
        let attributes = &mut self.attributes;
        let mut disappointment = None;
        if wishes.mode.is_some() && attributes.mode == wishes.mode {
            disappointment = failed(mode, attributes.mode_is_set);
            if hears || disappointment.is_none() {
                attributes.mode = entry.mode;
                (attributes.mode_is_wanted, attributes.mode_is_set) = (false, false);
            }
        }
        let set_since = attributes.time_is_set && attributes.modified != wishes.modified;
        if !set_since {
            let refused = failed(modified, attributes.time_is_set);
            attributes.time_is_set = refused.is_some() && !hears;
            disappointment = disappointment.or(refused);
            if is_same && !attributes.time_is_set {
                // What the server keeps is what is true from now on.
                attributes.modified = entry.modified.or(attributes.modified);
            }
        }
        self.unsteady = false;
        self.unconfirmed = false;
        self.replaces = entry.size.map(Replaces::Length);
        self.known = entry.modified;
        self.news = Some(entry.clone());
        disappointment.filter(|_| hears)
    }
}
