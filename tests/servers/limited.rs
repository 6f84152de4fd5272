//! The tools on servers that allow one connection, or three for sixteen processes.
//!
//! The same scenarios as without a limit. The trees are smaller, and the server with one connection is spoken to in
//! one of the two modes only: passive on vsftpd and Pure-FTPd, active on ProFTPD and pyftpdlib.

use std::thread;
use std::time::Duration;

use crate::common::bounded::{shell, succeeded};
use crate::common::mount::Mount;
use crate::common::scenario::{Place, Scenario, options_for_tools, run};
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{material, writable_dir};
use crate::{edits, moves, tools};

on_every_server!(with_one_connection_the_tools_are_right, with_three_connections_sixteen_processes_are_right);

const BOUND: Duration = Duration::from_secs(240);
const PROCESSES: usize = 16;

fn all() -> Vec<Scenario> {
    [&tools::TREES[..], &edits::EDITS, &edits::HANDLES, &edits::DATABASE, &moves::MOVES, &moves::OPEN]
        .concat()
}

fn mode(kind: Kind) -> &'static str {
    match kind {
        Kind::Vsftpd | Kind::PureFtpd => "mode=passive",
        Kind::Proftpd | Kind::Pyftpdlib => "mode=active",
    }
}

fn with_one_connection_the_tools_are_right(kind: Kind) {
    let material = material::make(100);
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options { max_clients: Some(1), ..Options::default() });
    let options = [&[mode(kind)], options_for_tools(kind)].concat();
    let mount = Mount::start(&server.url(User::Tester, "/"), &options);
    run(Place { mounted: mount.path(), served: served.path(), kind: Some(kind) }, material.path(), &all());
}

fn with_three_connections_sixteen_processes_are_right(kind: Kind) {
    let material = material::make(100);
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options { max_clients: Some(3), ..Options::default() });
    let mount = Mount::start(&server.url(User::Tester, "/"), options_for_tools(kind));
    let all = all();
    let shares: Vec<Vec<Scenario>> = (0..PROCESSES)
        .map(|process| all.iter().skip(process).step_by(PROCESSES).copied().collect())
        .collect();
    let place = Place { mounted: mount.path(), served: served.path(), kind: Some(kind) };
    thread::scope(|scope| {
        for share in &shares {
            scope.spawn(|| run(place, material.path(), share));
        }
    });
    // And all sixteen in one directory: names of their own, one file that they share under a lock.
    let script = "
        echo 0 >count
        seq 16 | xargs -P 16 -I % bash -c '
            set -eu
            for step in 1 2 3; do
                flock lock bash -c \"read -r n <count; echo \\$((n + 1)) >count\"
                echo % >new-% && mv new-% file-%-$step
                echo more >>file-%-$step
                flock lock bash -c \"echo % >>log\"
            done'
        cat count
        sort -n log | uniq -c | wc -l
        cat file-* | sort | uniq -c | wc -l
        ls file-* | wc -l";
    let printed = succeeded("sixteen processes", shell(BOUND, mount.path(), script, &[]));
    assert_eq!(String::from_utf8_lossy(&printed), "48\n16\n17\n48\n");
    assert_eq!(std::fs::read_to_string(served.path().join("count")).unwrap(), "48\n");
    assert_eq!(std::fs::read_to_string(served.path().join("log")).unwrap().lines().count(), 48);
}
