//! What is remembered of the server: directory listings and file blocks, both limited in bytes.
//!
//! Blocks are keyed by [`FileId`], which stands for one version of one file, so bytes of two versions can
//! never be mixed. Nothing here starts a thread; what waits for the network takes a deadline.

pub mod block;
pub mod directory;
mod flight;
mod known;
mod listing;
mod slot;
mod store;
mod transit;
mod version;

pub use block::BlockCache;
pub use directory::{Answer, DirectoryCache, Inquiry, ListingSource};
pub use listing::{EntryRef, Frozen, Order};
pub use version::{FileId, FileVersion, Versions};
