//! The FTP protocol, usable without the rest of the crate.
//!
//! A connection's life: [`session::Session::open`] connects, logs in and learns what the server can do
//! (kept in a [`profile::ServerProfile`] that all connections share); then [`session::Session`] asks for
//! facts, listings and files, and changes them. A [`transfer::Transfer`] borrows its session until its final reply is read,
//! so a second command during a transfer does not compile.

pub mod change;
pub mod command;
pub mod config;
pub mod control;
pub mod data;
pub mod error;
pub mod features;
pub mod fetch;
pub mod inline;
pub mod list;
pub mod profile;
pub mod proxy;
pub mod query;
pub mod quirks;
pub mod reply;
pub mod session;
pub(crate) mod setters;
pub mod small;
pub(crate) mod stream;
pub mod time;
pub mod tls;
pub mod transfer;
pub mod upload;
pub mod warm;

mod abandon;
mod channel;
mod flow;
mod home;
mod opening;
mod restart;
#[cfg(test)]
pub(crate) mod scripted;
mod transport;
