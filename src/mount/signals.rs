//! Signals as calls on one thread.
//!
//! signal-hook's handlers belong to the process, so it does not matter which thread a signal meets; before
//! [`watch`] the defaults hold, so call it before there is anything to clean up.

use std::io;
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

/// A signal that means something to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: unmount and end.
    Terminate,
    /// SIGINT: the same, from the keyboard.
    Interrupt,
    /// SIGHUP: forget what is cached.
    HangUp,
    /// SIGUSR1: write the status to the log.
    User1,
}

impl Signal {
    fn from_number(number: i32) -> Option<Signal> {
        match number {
            SIGTERM => Some(Signal::Terminate),
            SIGINT => Some(Signal::Interrupt),
            SIGHUP => Some(Signal::HangUp),
            SIGUSR1 => Some(Signal::User1),
            _ => None,
        }
    }
}

/// The thread that waits for signals; ends, and is waited for, when this is dropped.
#[derive(Debug)]
#[must_use = "signals are watched only as long as this lives"]
pub struct Watcher {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Calls `callback` for each signal, one after the other, on a thread of its own named `signals`.
///
/// Until the watcher is dropped none of these signals ends the process by itself, so the callback must not
/// wait without bound.
///
/// # Errors
/// The handlers or the thread could not be set up.
pub fn watch(mut callback: impl FnMut(Signal) + Send + 'static) -> io::Result<Watcher> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    let handle = signals.handle();
    let thread = thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever().filter_map(Signal::from_number) {
            callback(signal);
        }
    })?;
    Ok(Watcher { handle, thread: Some(thread) })
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic in the callback was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_signal_arrives_by_its_name_and_dropping_ends_the_thread() {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let watcher = watch(move |signal| sender.send(signal).unwrap()).unwrap();
        for (number, signal) in [
            (SIGTERM, Signal::Terminate),
            (SIGINT, Signal::Interrupt),
            (SIGHUP, Signal::HangUp),
            (SIGUSR1, Signal::User1),
        ] {
            signal_hook::low_level::raise(number).unwrap();
            assert_eq!(receiver.recv_timeout(Duration::from_secs(5)), Ok(signal));
        }
        drop(watcher);
        assert!(receiver.recv().is_err());
    }
}
