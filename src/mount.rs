//! The life of the process: builds the layers, daemonizes, handles signals, takes them down.

pub mod daemon;
pub mod logging;
pub mod plan;
pub mod signals;

use std::io::{self, Read};
use std::net::TcpStream;

use plan::MountPlan;

/// Why there is no mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The server cannot be reached.
    #[error("cannot reach {host}")]
    Unreachable {
        /// The host of the URL.
        host: String,
        /// What the system says.
        source: io::Error,
    },
}

impl MountError {
    /// The exit code of mount(8).
    pub fn exit_code(&self) -> u8 {
        daemon::MOUNT_FAILED
    }
}

/// Mounts, says so, and serves until the mount ends.
///
/// # Errors
/// [`MountError::Unreachable`].
pub fn run(plan: MountPlan, ready: daemon::Ready) -> Result<(), MountError> {
    let unreachable = |source| MountError::Unreachable { host: plan.host.clone(), source };
    let mut stream = TcpStream::connect((plan.host.as_str(), plan.port)).map_err(unreachable)?;
    stream.set_read_timeout(Some(plan.timeouts.reply)).map_err(unreachable)?;
    stream.read_exact(&mut [0]).map_err(unreachable)?;
    ready.usable().map_err(unreachable)
}
