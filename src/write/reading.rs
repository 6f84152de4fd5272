//! Reading a file that is being changed: from the stage what is there, from the server what only it has.

use std::sync::Arc;

use crate::read::{OpenFile, Patience, ReadError};
use crate::remote::{Error, Kind};
use crate::write::WriteError;
use crate::write::file::{Busy, WriteFile};
use crate::write::staged::Origin;

/// How often a read of the server's bytes follows an append of ours that makes its file longer meanwhile.
const RENEWALS: usize = 3;

impl WriteFile {
    /// Reads `len` bytes at `offset`, fewer only at the end of the file.
    ///
    /// # Errors
    /// [`WriteError`]; of bytes that only the server has, as [`OpenFile::read`].
    pub fn read(&self, offset: u64, len: usize, patience: Patience) -> Result<Vec<u8>, WriteError> {
        let mut out: Vec<u8> = Vec::new();
        loop {
            let at = offset.saturating_add(out.len() as u64);
            let state = self.state.lock();
            let end = offset.saturating_add(len as u64).min(state.staged.size());
            if at >= end {
                return Ok(out);
            }
            let (origin, to) = state.staged.origin(at, end);
            let stage = state.staged.stage().clone();
            let base = state.base.clone();
            drop(state);
            let count = usize::try_from(to - at).unwrap_or(usize::MAX).min(len);
            match (origin, base) {
                (Origin::Server, Some(base)) => {
                    let bytes = self.read_server(base, at, count, patience)?;
                    if bytes.is_empty() {
                        return Err(self.lost(at));
                    }
                    out.extend_from_slice(&bytes);
                }
                (Origin::Server, None) => return Err(self.lost(at)),
                (Origin::Stage, _) => {
                    let from = out.len();
                    out.resize(from + count, 0);
                    stage.read_at(&mut out[from..], at)?;
                }
            }
        }
    }

    /// Reads bytes that only the server has, for somebody else than the upload. One that makes the server's
    /// file longer at this moment pauses for it.
    fn read_server(
        &self,
        base: Arc<dyn OpenFile>,
        at: u64,
        len: usize,
        patience: Patience,
    ) -> Result<Vec<u8>, WriteError> {
        // Without a wait first: the upload that runs may itself wait for a server that is gone.
        let error = match self.read_base(base.clone(), at, len, patience) {
            Err(WriteError::Remote(error)) if error.kind() == Kind::Changed => error,
            other => return other,
        };
        let Patience::Until(deadline) = patience else { return Err(WriteError::WouldBlock) };
        let mut state = self.state.lock();
        // Where appends follow each other faster than the server is read from, it is theirs that was read.
        let is_ours =
            |now: &Option<Arc<dyn OpenFile>>| now.as_ref().is_some_and(|now| !Arc::ptr_eq(now, &base));
        if state.staged.appended().is_none() && !is_ours(&state.base) {
            return Err(error.into());
        }
        while state.busy {
            // Once: others who wait here would tell us in turn.
            if let Some(stream) = state.stream.as_mut().filter(|stream| !stream.revoked) {
                stream.revoked = true;
                self.changed.notify_all();
            }
            if self.changed.wait_until(&mut state, deadline.instant()).timed_out() {
                let cause = format!("an append to it did not pause in time: {error}");
                return Err(self.error(&state, Kind::DeadlinePassed, "read", cause).into());
            }
        }
        state.busy = true;
        let base = state.base.clone().unwrap_or(base);
        drop(state);
        let _busy = Busy(self);
        self.read_base(base, at, len, patience)
    }

    /// Reads bytes that only the server has. If the server's file is no longer what the base reads because an
    /// append of ours has made it longer, they are still where they were.
    pub(super) fn read_base(
        &self,
        mut base: Arc<dyn OpenFile>,
        at: u64,
        len: usize,
        patience: Patience,
    ) -> Result<Vec<u8>, WriteError> {
        for _ in 0..RENEWALS {
            match base.read(at, len, patience) {
                Err(ReadError::Remote(error)) if error.kind() == Kind::Changed => {
                    base = self.renew_base(&base, error, patience)?;
                }
                other => return Ok(other?),
            }
        }
        Ok(base.read(at, len, patience)?)
    }

    fn renew_base(
        &self,
        base: &Arc<dyn OpenFile>,
        error: Error,
        patience: Patience,
    ) -> Result<Arc<dyn OpenFile>, WriteError> {
        let state = self.state.lock();
        if let Some(now) = state.base.as_ref().filter(|now| !Arc::ptr_eq(now, base)) {
            // Somebody else has renewed it.
            return Ok(now.clone());
        }
        let (path, lengths) = (state.path.clone(), state.staged.appended());
        drop(state);
        let Some(lengths) = lengths else { return Err(error.into()) };
        let Patience::Until(deadline) = patience else { return Err(WriteError::WouldBlock) };
        let entry = self.shared.remote.stat(&path, deadline)?;
        let ours = entry.size.is_some_and(|size| lengths.contains(&size));
        let Some(version) = self.shared.leaving(&entry).filter(|_| ours) else { return Err(error.into()) };
        let renewed = self.shared.files.open(path, version);
        let mut state = self.state.lock();
        if let Some(now) = state.base.clone().filter(|now| !Arc::ptr_eq(now, base)) {
            // Meanwhile. To replace that one too would end the reads that others have begun.
            drop(state);
            renewed.close();
            return Ok(now);
        }
        let outdated = state.base.replace(renewed.clone());
        drop(state);
        if let Some(outdated) = outdated {
            outdated.close();
        }
        Ok(renewed)
    }

    fn lost(&self, at: u64) -> WriteError {
        let state = self.state.lock();
        let cause = format!("the server no longer has the byte at {at}");
        self.error(&state, Kind::Changed, "read", cause).into()
    }
}
