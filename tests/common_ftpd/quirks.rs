//! How the server departs from what a client hopes for. The default is a good server with MLSD and EPSV.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::writing::Writing;

/// All switches. They can be changed while the server runs; each takes effect at the next command.
#[derive(Clone, Debug)]
pub(crate) struct Quirks {
    /// The login directory.
    pub(crate) home: &'static str,
    /// USER alone suffices.
    pub(crate) no_password: bool,
    /// PASS is answered with 332, and only this account gets in.
    pub(crate) account: Option<&'static str>,
    /// MLSD and MLST exist.
    pub(crate) mlst: bool,
    /// The whole answer to FEAT, instead of the right one.
    pub(crate) feat: Option<&'static str>,
    /// What LIST prints.
    pub(crate) list_form: ListForm,
    /// EPSV.
    pub(crate) epsv: Passive,
    /// PASV.
    pub(crate) pasv: Passive,
    /// What becomes of a data connection that is asked for right behind a transfer.
    pub(crate) ahead: Ahead,
    /// EPRT exists.
    pub(crate) eprt: bool,
    /// PORT exists.
    pub(crate) port: bool,
    /// How a transfer is announced.
    pub(crate) opening: Opening,
    /// REST.
    pub(crate) rest: Rest,
    /// Closes control connections.
    pub(crate) control_cut: Option<ControlCut>,
    /// Closes data connections.
    pub(crate) data_cut: Option<DataCut>,
    /// Bytes said instead of, or in front of, the right reply.
    pub(crate) said: Vec<Said>,
    /// Most connections at once, and how a further one is turned away.
    pub(crate) places: Option<(usize, Refusal)>,
    /// Said some time after the final reply of transfers.
    pub(crate) late: Option<Late>,
    /// The control connection is closed after the final reply of each transfer.
    pub(crate) hang_up_after_transfer: bool,
    /// A download whose data connection the client closes has no other end (pure-ftpd 1.0.50).
    pub(crate) silent_abandoned: bool,
    /// Somebody else connects to the client's data port first and sends other bytes.
    pub(crate) stranger: bool,
    /// This many bytes more (or fewer) than SIZE says are sent by RETR.
    pub(crate) extra: i64,
    /// Raw listings, by directory.
    pub(crate) listings: BTreeMap<String, Vec<u8>>,
    /// Listings never end.
    pub(crate) endless_listings: bool,
    /// Replies to commands that came in one segment are sent in reversed order.
    pub(crate) reorders: bool,
    /// Pause after each 64 KiB of a RETR.
    pub(crate) slow: Option<Duration>,
    /// What downloads send that run, from now on: somebody writes into their file, which keeps its size.
    pub(crate) overwritten: Option<Arc<Vec<u8>>>,
    /// What ends a download or listing that went well, instead of a 226.
    pub(crate) closing: Option<&'static str>,
    /// EPSV and PASV are refused, unless PRET came since the last transfer (drftpd); this is said, and whether
    /// FEAT announces PRET.
    pub(crate) pret: Option<(&'static str, bool)>,
    /// TYPE A after each transfer: the next one is sent with CR LF, and SIZE refused.
    pub(crate) loses_type: bool,
    /// The offset of a RETR that fails is kept for the next (libunftp 0.24).
    pub(crate) keeps_rest: bool,
    /// After an EPSV, PASV and the active ways are refused on that connection.
    pub(crate) epsv_only: bool,
    /// MLST tells a size of 0 for names that could be wildcards.
    pub(crate) mlst_globs: bool,
    /// Names are one whatever their case (IIS, FileZilla Server).
    pub(crate) ignores_case: bool,
    /// SIZE is told as if it had 32 bits and a sign.
    pub(crate) negative_sizes: bool,
    /// Everything that changes the tree.
    pub(crate) writing: Writing,
}

impl Default for Quirks {
    fn default() -> Quirks {
        Quirks {
            home: "/home/u",
            no_password: false,
            account: None,
            mlst: true,
            feat: None,
            list_form: ListForm::Unix { zone: 0 },
            epsv: Passive::Works,
            pasv: Passive::Works,
            ahead: Ahead::Serves,
            eprt: true,
            port: true,
            opening: Opening::Says(150),
            rest: Rest::Works,
            control_cut: None,
            data_cut: None,
            said: Vec::new(),
            places: None,
            late: None,
            hang_up_after_transfer: false,
            silent_abandoned: false,
            stranger: false,
            extra: 0,
            listings: BTreeMap::new(),
            endless_listings: false,
            reorders: false,
            slow: None,
            overwritten: None,
            closing: None,
            pret: None,
            loses_type: false,
            keeps_rest: false,
            epsv_only: false,
            mlst_globs: false,
            ignores_case: false,
            negative_sizes: false,
            writing: Writing::default(),
        }
    }
}

/// What LIST prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListForm {
    /// `ls -l`, with times this many seconds east of UTC.
    Unix { zone: i64 },
    /// `dir`, as IIS prints it.
    Dos,
}

/// EPSV or PASV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passive {
    Works,
    /// 500.
    Refused,
    /// Tells a port where nobody listens.
    Dead,
    /// PASV only: tells this address with the right port.
    Foreign(Ipv4Addr),
    /// Tells port 0.
    PortZero,
}

/// A data connection that is asked for right behind a transfer, for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// As any other.
    Serves,
    /// 450.
    Refuses,
    /// Takes the connection and closes it.
    Closes,
    /// Announces the transfer that is to use it, and sends nothing.
    Hangs,
    /// Answers before the transfer is confirmed (pure-ftpd 1.0.50 while the transfer runs).
    Swallows,
    /// Closes the control connection with these words (pyftpdlib 2.2.0, 30 s later, leaves it open).
    SaysGoodbye(&'static str),
}

/// What is said before the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Says(u16),
    /// Only the final reply comes.
    Missing,
}

/// REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Works,
    /// Works that often, then 502.
    Works1st(usize),
    /// 502.
    Refused,
}

/// The control connection ends right after its reply number `after` (0: before the greeting), on the first
/// `connections` connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ControlCut {
    pub(crate) after: usize,
    pub(crate) connections: usize,
}

/// The data connection ends after `after` bytes, `times` times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataCut {
    pub(crate) after: usize,
    pub(crate) times: usize,
    pub(crate) end: DataCutEnd,
}

/// One reply too many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    pub(crate) pause: Duration,
    pub(crate) bytes: &'static [u8],
    /// Only after 426.
    pub(crate) failed_only: bool,
}

/// What follows the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataCutEnd {
    /// 426.
    Says426,
    /// 226, as if all were well.
    Lies226,
    /// The control connection ends too, without a word.
    Silent,
    /// No byte and no reply comes any more, nothing is closed.
    Stalls,
}

/// Bytes said at a command.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// The command, or `GREETING`.
    pub(crate) verb: &'static str,
    /// How often.
    pub(crate) times: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

impl Said {
    pub(crate) fn new(verb: &'static str, times: usize, bytes: impl Into<Vec<u8>>, then: Then) -> Said {
        Said { verb, times, bytes: bytes.into(), then }
    }
}

/// What follows [`Said::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next command.
    GoOn,
    /// The right reply.
    Obey,
    /// The end of the connection.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// How a connection beyond the limit is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// At the greeting: vsftpd 3.0.3, pure-ftpd 1.0.50, pyftpdlib 2.2.0 (421), ProFTPD 1.3.8 (530).
    Greeting(&'static str),
    /// Closed without a byte (ProFTPD 1.3.8, MaxInstances).
    Silent,
    /// Taken and never answered (a firewall that drops, a full super-server).
    Mute,
    /// At PASS (ProFTPD 1.3.8 530, pure-ftpd 1.0.50 421).
    Pass(&'static str),
}
