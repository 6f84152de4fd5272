//! Promises kept on real servers, through real mounts: what `contrib/test.sh` runs.
//!
//! Every test starts its own server and its own mount and has a bound on each step. One module per theme; in it,
//! one test per kind of server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "../common/mod.rs"]
mod common;

/// Makes one test of each kind of server from a function of the kind, named `function::kind`.
macro_rules! on_every_server {
    ($($function:ident),+ $(,)?) => {$(
        mod $function {
            use crate::common::server::Kind;

            #[test]
            fn vsftpd() {
                super::$function(Kind::Vsftpd);
            }

            #[test]
            fn proftpd() {
                super::$function(Kind::Proftpd);
            }

            #[test]
            fn pure_ftpd() {
                super::$function(Kind::PureFtpd);
            }

            #[test]
            fn pyftpdlib() {
                super::$function(Kind::Pyftpdlib);
            }
        }
    )+};
}

mod charsets;
mod edits;
mod fstab;
mod groups;
mod limited;
mod matrix;
mod model;
mod moves;
mod names;
mod newnames;
mod posix;
mod random;
mod refusals;
mod replaced;
mod roundtrips;
mod scale;
mod secured;
mod severed;
mod stopped;
mod tools;
mod uploads;
mod verbs;
mod walks;
mod written;
mod zones;
