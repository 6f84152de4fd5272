//! An FTP server inside the test process: plain threads, a tree in memory, and a switch for each fault and
//! quirk that a client must survive. It speaks only to loopback addresses.
//!
//! ```text
//! Server (accept loop, counters, transcript) -> Connection (one thread each, commands) -> data connections
//!                                                  change: what alters the tree       -> upload: STOR, APPE
//! Front (TLS) -> Server
//! ```

mod change;
mod connection;
mod contents;
mod data;
mod quirks;
mod secured;
mod server;
mod tree;
mod upload;
mod writing;

pub(crate) use quirks::{
    Ahead, ControlCut, DataCut, DataCutEnd, Late, ListForm, Opening, Passive, Quirks, Refusal, Rest, Said,
    Then,
};
pub(crate) use secured::{Cut, Front, Manners};
pub(crate) use server::Server;
pub(crate) use tree::{Tree, pattern};
pub(crate) use writing::{
    Early, FaultAt, FaultEnd, RefusedUpload, ReplyCut, RestStor, Setting, UploadFault, Writing,
};
