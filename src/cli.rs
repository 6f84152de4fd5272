//! What the user said, made into a plan and run; one line on standard error and mount(8)'s exit code if it
//! cannot be done.

pub mod args;
pub mod credentials;
pub mod netrc;
pub mod options;
pub mod plan;
mod proxy;
pub mod url;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::mount::daemon::{self, Ready, Reporter, Role, say};
use crate::mount::logging::{self, Destination};
use crate::mount::plan::MountPlan;
use crate::{mount, sys};
use args::{Args, Request};
use credentials::{Environment, PASSWORD_VARIABLE};
use plan::{Decided, PlanError};

/// Exit code for a command line that makes no sense, and for missing permissions (mount(8)).
const USAGE: u8 = 1;
/// Exit code for a failure of the system (mount(8)).
const SYSTEM: u8 = 2;

/// Why the command ends before it could mount.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Usage(#[from] args::UsageError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("cannot enter the mount namespace {}", path.display())]
    Namespace { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Daemon(#[from] daemon::DaemonError),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => USAGE,
            CliError::Plan(PlanError::Mountpoint { .. }) => daemon::MOUNT_FAILED,
            CliError::Plan(_) => USAGE,
            CliError::Namespace { .. } | CliError::Daemon(_) | CliError::Output(_) => SYSTEM,
        }
    }
}

/// Does what the command line says. Returns when the mount is usable, or, in the foreground, when it ends.
///
/// Must be called before the process has a second thread.
pub fn run() -> ExitCode {
    sys::share_one_arena();
    let code = launch().unwrap_or_else(|error| {
        say(&chain(&error));
        error.exit_code()
    });
    ExitCode::from(code)
}

fn launch() -> Result<u8, CliError> {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let environment = Environment::capture();
    hide(&argv, &environment);
    let args = match args::parse(&argv)? {
        Request::Mount(args) => args,
        Request::Print(text) => {
            io::stdout().write_all(text.as_bytes()).map_err(CliError::Output)?;
            return Ok(0);
        }
    };
    enter_namespace(&args)?;
    let Decided { plan, notes } = plan::decide(&args, &environment)?;
    // The child inherits no second copy of a password.
    drop((argv, args, environment));
    if plan.fake {
        return Ok(0);
    }
    if plan.foreground {
        let (ready, reporter) = daemon::stay();
        return Ok(serve(plan, &notes, ready, reporter));
    }
    match daemon::detach(plan.launch_bound())? {
        Role::Command(outcome) => {
            if let Some(text) = outcome.text {
                say(&text);
            }
            Ok(outcome.code)
        }
        Role::Server(ready, reporter) => Ok(serve(plan, &notes, ready, reporter)),
    }
}

fn serve(plan: MountPlan, notes: &[String], ready: Ready, reporter: Reporter) -> u8 {
    let destination = if plan.foreground { Destination::Stderr } else { Destination::SystemLog };
    // Fails only if logging runs already, and then lines are not lost.
    let _ = logging::start(destination, plan.log_level);
    for note in notes {
        log::debug!("{note}");
    }
    match mount::run(plan, ready) {
        Ok(()) => 0,
        Err(error) => {
            reporter.failed(error.exit_code(), &chain(&error));
            error.exit_code()
        }
    }
}

/// Removes passwords from what other processes can read of this one, as early as can be. Between exec and
/// here they are visible; starting the program anew without them would only make that time longer.
fn hide(argv: &[OsString], environment: &Environment) {
    let mut failed = Ok(());
    if argv.iter().any(|argument| !args::secrets(argument.as_bytes()).is_empty()) {
        failed = failed.and(sys::overwrite(sys::Area::Arguments, &args::secrets));
    }
    if environment.password.is_some() {
        let value = |variable: &[u8]| {
            let (name, value) = variable.split_at(PASSWORD_VARIABLE.len().min(variable.len()));
            let found = name == PASSWORD_VARIABLE.as_bytes() && value.starts_with(b"=");
            if found { std::iter::once(name.len() + 1..variable.len()).collect() } else { Vec::new() }
        };
        failed = failed.and(sys::overwrite(sys::Area::Environment, &value));
        failed = failed.and(sys::remove_variable(PASSWORD_VARIABLE));
    }
    if let Err(error) = failed {
        say(&format!("warning: other users can see the password ({error}); use credentials=FILE"));
    }
}

fn enter_namespace(args: &Args) -> Result<(), CliError> {
    match &args.namespace {
        Some(path) if !args.fake => sys::enter_mount_namespace(path)
            .map_err(|source| CliError::Namespace { path: path.clone(), source }),
        _ => Ok(()),
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
