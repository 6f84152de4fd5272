//! Files fetched before they are asked for.
//!
//! ```text
//! open, read of a file -> Policy: who reads file after file, in which order, how far ahead may we be?   (pure)
//!                              -> Next files -> Ahead: a queue, a few threads with spare connections     (runner)
//!                                                   -> fetch: one file, whole and confirmed -> block cache
//! ```
//! Nobody ever waits for what is fetched ahead, but for the one file that he is about to read and that is on its way.

mod fetch;
mod order;
mod policy;
mod runner;

pub use fetch::Wanted;
pub use order::Tree;
pub use policy::{Limits, Next, Opened, Policy};
pub(super) use runner::Ahead;
pub(super) use runner::Need;
