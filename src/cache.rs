//! What is remembered of the server: directory listings and file blocks, both limited in bytes.
//!
//! Blocks are keyed by [`FileId`], which stands for one version of one file, so bytes of two versions can
//! never be mixed. Where the user wants it they are kept on the local disk too ([`DiskCache`]), whose one
//! thread writes them; else nothing here starts a thread. What waits for the network takes a deadline.

pub mod block;
pub mod directory;
mod disk;
mod flight;
mod known;
mod listing;
mod prefetch;
mod slot;
mod store;
mod transit;
mod version;

pub use block::BlockCache;
pub use directory::{Answer, DirectoryCache, Inquiry, ListingSource};
pub use disk::{DiskCache, DiskFile, Identity, WholeFile};
pub use listing::{EntryRef, Frozen, Order};
pub use prefetch::Prefetch;
pub use version::{FileId, FileVersion, Versions};
