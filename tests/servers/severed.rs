//! A link that loses every packet for a while.

use std::fs;
use std::time::Duration;

use crate::common::bounded::{eventually, within};
use crate::common::link::{Link, Pace, Side};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, PORT, Server, User};
use crate::common::writable_dir;

on_every_server!(what_failed_while_the_link_was_cut_is_not_done_afterwards);

const BOUND: Duration = Duration::from_secs(30);
const HEALING: Duration = Duration::from_secs(60);

/// The kernel would go on to send a command for minutes after close(2): what a program removed in vain, and then wrote
/// anew, would be gone.
fn what_failed_while_the_link_was_cut_is_not_done_afterwards(kind: Kind) {
    let served = writable_dir("served-");
    for dir in ["known", "other"] {
        fs::create_dir(served.path().join(dir)).unwrap();
    }
    let kept = served.path().join("kept");
    fs::write(&kept, "kept").unwrap();
    let link = Link::start(Pace::Delay(Duration::from_millis(5)));
    let options = Options { address: Some(link.server_address().into()), ..Options::default() };
    let server = {
        let _inside = link.enter(Side::Server);
        Server::start(kind, served.path(), &options)
    };
    let mount = {
        let _inside = link.enter(Side::Client);
        let bounds = ["connect_timeout=2", "login_timeout=5", "reply_timeout=2", "operation_timeout=6"];
        Mount::start(&server.url(User::Tester, "/"), &bounds)
    };
    let at = |name: &str| mount.path().join(name);
    let (known, doomed) = (at("known"), at("kept"));
    within(BOUND, "ls and stat", move || {
        fs::read_dir(known).unwrap().count();
        fs::metadata(doomed).unwrap();
    });

    link.sever(true);
    let doomed = at("kept");
    within(BOUND, "rm", move || fs::remove_file(doomed)).unwrap_err();
    link.sever(false);
    eventually(HEALING, "the mount to work again by itself", || {
        let other = at("other");
        within(BOUND, "ls", move || fs::read_dir(other).map(Iterator::count)).ok()
    });
    assert_eq!(on_their_way(&link), [""; 0], "sockets that are closed have something to send");
    assert!(kept.exists(), "it was removed after all");
    assert!(mount.terminate().success());
}

/// The control connections that are closed at the client's end and have something to deliver beyond that (FIN_WAIT1 with
/// more than one in the queue), as the kernel shows them: it would try for some minutes.
fn on_their_way(link: &Link) -> Vec<String> {
    let _inside = link.enter(Side::Client);
    let all = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    assert!(all.contains("local_address"), "{all}");
    let control = format!(":{PORT:04X}");
    let is_one = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has_more = words.get(4).is_some_and(|queues| !queues.starts_with("00000001:"));
        words.get(2).is_some_and(|server| server.ends_with(&control))
            && words.get(3) == Some(&"04")
            && has_more
    };
    all.lines().filter(is_one).map(str::to_owned).collect()
}
