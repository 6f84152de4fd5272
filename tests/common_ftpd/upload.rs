//! Uploads, and the ways in which they go wrong.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;

use super::connection::{Connection, Over, Step};
use super::quirks::Quirks;
use super::tree::FileId;
use super::writing::{Early, FaultAt, FaultEnd, RestStor, Writing};

/// Read at once.
const CHUNK: usize = 64 * 1024;

/// How long the server waits for the next byte.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the data of an upload ended.
enum End {
    Whole,
    Broken,
    Full(&'static str),
    Fault(FaultEnd),
}

impl Connection<'_> {
    /// STOR or APPE.
    pub(super) fn store(&mut self, quirks: &Quirks, verb: &'static str, path: &str) -> Step {
        let writing = &quirks.writing;
        let restart = std::mem::take(&mut self.restart);
        if let Some(refused) = writing.refuses.filter(|refused| !refused.after_data) {
            return self.reply(refused.reply);
        }
        if verb == "APPE" && !writing.appe {
            return self.reply("502 APPE not implemented");
        }
        if restart > 0 && writing.rest_stor == RestStor::Refused {
            return self.reply("501 REST not compatible with STOR");
        }
        let size = self.shared.tree.lock().bytes(path).map_or(0, |bytes| bytes.len());
        let offset = if verb == "APPE" { size } else { restart };
        if offset > size {
            return self.reply("554 Restart offset beyond the end of the file");
        }
        let Some(way) = self.way.take() else { return self.reply("425 Use EPSV or PORT first") };
        let beside = (writing.beside && verb == "STOR" && restart == 0).then(|| format!("{path}.in"));
        let place = beside.as_deref().unwrap_or(path);
        let opened = match writing.refuses {
            Some(_) => Ok(None),
            None => self.shared.tree.lock().open(verb, place, offset).map(Some),
        };
        let file = match opened {
            Ok(file) => file,
            Err(reason) => return self.reply(&format!("553 {reason}")),
        };
        self.announce(quirks.opening)?;
        let Ok(mut data) = self.connect(way, quirks) else {
            return self.reply("425 Can't open data connection");
        };
        data.set_read_timeout(Some(PATIENCE))?;
        while writing.out_of_turn && self.has_line() {
            if self.obey_next()? == "EPSV" {
                return Ok(());
            }
        }
        while writing.drops_behind && self.has_line() {
            self.drop_next()?;
        }
        if let Some(early) = writing.early {
            self.reply("226 Transfer complete")?;
            match early {
                Early::Lost => return reset(&data),
                Early::Kept => drop(self.receive(&mut data, file, offset)),
            }
            return Ok(());
        }
        let end = self.receive(&mut data, file, offset);
        if writing.drops_empty && self.shared.tree.lock().bytes(place).is_some_and(|bytes| bytes.is_empty()) {
            let _ = self.shared.tree.lock().remove_file(place);
        }
        if let Some(beside) = beside {
            let mut tree = self.shared.tree.lock();
            // What broke off is thrown away.
            let _ = match end {
                End::Whole => tree.rename(&beside, path, true),
                _ => tree.remove_file(&beside),
            };
        }
        self.conclude(writing, data, file, &end)?;
        self.after_transfer(quirks, matches!(end, End::Whole))
    }

    fn receive(&mut self, data: &mut TcpStream, file: Option<FileId>, mut at: usize) -> End {
        let mut buffer = vec![0; CHUNK];
        let mut received = 0;
        loop {
            // The switches may change while the upload runs.
            let writing = self.quirks().writing;
            let mut most = CHUNK;
            if let Some(fault) = writing.fault
                && let FaultAt::Byte(n) = fault.at
                && fault.times > 0
            {
                if received >= n && self.claim_fault() {
                    return End::Fault(fault.end);
                }
                most = most.min(n.saturating_sub(received).max(1));
            }
            match data.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(n) => {
                    if let Some(file) = file {
                        let room = writing.room.map(|(room, _)| room);
                        let fits = self.shared.tree.lock().write(file, at, &buffer[..n], room);
                        if let (false, Some((_, reply))) = (fits, writing.room) {
                            return End::Full(reply);
                        }
                    }
                    (at, received) = (at + n, received + n);
                }
                Err(_) => return End::Broken,
            }
            if let Some(pause) = writing.slow {
                std::thread::sleep(pause);
            }
        }
        let writing = self.quirks().writing;
        if let Some(file) = file {
            let mut tree = self.shared.tree.lock();
            if writing.rest_stor == RestStor::CutsTail {
                tree.cut(file, at);
            }
            if writing.short_by > 0 {
                tree.cut(file, at.saturating_sub(writing.short_by));
            }
            tree.landed(file);
        }
        match writing.fault {
            Some(fault) if fault.at == FaultAt::End && self.claim_fault() => End::Fault(fault.end),
            _ => End::Whole,
        }
    }

    fn claim_fault(&self) -> bool {
        let mut quirks = self.shared.quirks.lock();
        match &mut quirks.writing.fault {
            Some(fault) if fault.times > 0 => {
                fault.times -= 1;
                self.shared.cuts.fetch_add(1, Ordering::SeqCst);
                true
            }
            _ => false,
        }
    }

    fn conclude(&mut self, writing: &Writing, data: TcpStream, file: Option<FileId>, end: &End) -> Step {
        match *end {
            End::Whole => {
                let _ = data.shutdown(Shutdown::Both);
                drop(data);
                if let Some(pause) = writing.late_final {
                    std::thread::sleep(pause);
                }
                match (file, writing.refuses) {
                    (None, Some(refused)) => self.reply(refused.reply),
                    _ => self.reply("226 Transfer complete"),
                }
            }
            End::Broken => self.reply("426 Connection closed; transfer aborted"),
            End::Full(reply) => {
                reset(&data)?;
                drop(data);
                self.reply(reply)
            }
            End::Fault(FaultEnd::Stalls) => self.hang(),
            End::Fault(how) => {
                reset(&data)?;
                drop(data);
                match how {
                    FaultEnd::Says426 => self.reply("426 Connection closed; transfer aborted"),
                    FaultEnd::Lies226 => self.reply("226 Transfer complete"),
                    FaultEnd::NoReply => self.hang(),
                    FaultEnd::ControlToo | FaultEnd::Stalls => Err(Over),
                }
            }
        }
    }
}

/// Makes the closing of `data` a reset.
fn reset(data: &TcpStream) -> Step {
    Ok(SockRef::from(data).set_linger(Some(Duration::ZERO))?)
}
