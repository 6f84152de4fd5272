//! The TLS sessions of one control connection, for its data connections to resume.

use std::collections::VecDeque;

use parking_lot::Mutex;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Most tickets of TLS 1.3 that are kept. vsftpd, ProFTPD and pyftpdlib give two at the start, and one with a
/// data connection that resumes.
const TICKETS: usize = 32;

/// One server's sessions, so its name is not looked at.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
    /// A ticket of TLS 1.3 was ever given.
    had_tickets: bool,
}

impl Sessions {
    /// Whether there is just one ticket left, which serves once.
    pub(super) fn has_one_left(&self) -> bool {
        let state = self.0.lock();
        state.tls12.is_none() && state.tls13.len() == 1
    }

    /// Whether there were tickets and none is left.
    pub(super) fn has_run_out(&self) -> bool {
        let state = self.0.lock();
        state.had_tickets && state.tls13.is_empty()
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.lock().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.lock().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.lock().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut state = self.0.lock();
        state.had_tickets = true;
        if state.tls13.len() == TICKETS {
            state.tls13.pop_front();
        }
        state.tls13.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().tls13.pop_back()
    }
}
