//! Who gets a connection, and who has to wait.

use super::*;
use crate::ftp::command::Command;
use crate::ftp::data::Method;
use crate::ftp::features::Capability;
use crate::ftp::scripted::{Script, Scripted};
use crate::ftp::warm::{Warm, When};

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn pool(server: &Scripted, connections: usize) -> Pool {
    Pool::new(Arc::new(server.config()), Arc::new(ServerProfile::default()), connections).unwrap()
}

#[test]
fn what_is_fetched_ahead_leaves_one_connection() {
    let server = Scripted::start(&[]);
    let pool = pool(&server, 3);
    let held = [pool.try_ahead(deadline()).unwrap(), pool.try_ahead(deadline()).unwrap()];
    assert!(pool.try_ahead(deadline()).is_none(), "it took the last one");
    let asked = pool.lease(Lane::Metadata, deadline()).unwrap();
    drop(held);
    assert!(pool.try_ahead(deadline()).is_some(), "it was not given back");
    drop(asked);
    assert!(self::pool(&server, 1).try_ahead(deadline()).is_none(), "it took the only one");
}

#[test]
fn what_is_fetched_ahead_gives_way_to_who_waits() {
    let server = Scripted::start(&[]);
    let pool = pool(&server, 2);
    let ahead = pool.try_ahead(deadline()).unwrap();
    let asked = pool.lease(Lane::Metadata, deadline()).unwrap();
    assert!(!pool.is_wanted());
    let waiting = pool.clone();
    let waiter = std::thread::spawn(move || waiting.lease(Lane::Metadata, deadline()).map(drop));
    while !pool.is_wanted() {
        std::thread::yield_now();
    }
    assert!(pool.try_ahead(deadline()).is_none(), "it went before one who waits");
    drop(ahead);
    waiter.join().unwrap().unwrap();
    drop(asked);
}

#[test]
fn a_connection_that_is_about_to_be_given_back_is_waited_for() {
    let server = Scripted::start(&[]);
    let pool = pool(&server, 4);
    let mut held = pool.lease(Lane::Data, deadline()).unwrap();
    let ending = pool.ends_soon();
    let waiting = pool.clone();
    let waiter =
        std::thread::spawn(move || waiting.lease(Lane::Data, deadline()).map(|lease| lease.is_fresh()));
    while !pool.is_wanted() {
        std::thread::yield_now();
    }
    held.keep(ending);
    drop(held);
    assert!(!waiter.join().unwrap().unwrap(), "another one was made");
    assert_eq!(pool.0.state.lock().open, 1);
    assert_eq!(pool.0.state.lock().ending, 0);
}

/// More than one may wait, and it may not come back: they are not kept waiting for long.
#[test]
fn who_is_not_served_soon_gets_another_connection() {
    let server = Scripted::start(&[]);
    let pool = pool(&server, 4);
    let _held = pool.lease(Lane::Data, deadline()).unwrap();
    let _ending = pool.ends_soon();
    let lease = pool.lease(Lane::Data, deadline()).unwrap();
    assert!(lease.is_fresh());
}

#[test]
fn another_connection_is_prepared_but_not_the_last_one_and_not_many() {
    let server = Scripted::start(&[]);
    for (allowed, made) in [(1, 1), (2, 1), (3, 2), (16, 5)] {
        let pool = pool(&server, allowed);
        let held = pool.lease(Lane::Data, deadline()).unwrap();
        for _ in 0..8 {
            pool.prepare_another();
            while pool.0.state.lock().prepares > 0 {
                std::thread::yield_now();
            }
            // What is idle is made ready first.
            pool.0.state.lock().idle.iter_mut().for_each(|idle| idle.session.warm = Some(asked()));
        }
        assert_eq!(pool.0.state.lock().open, made, "of {allowed}");
        drop(held);
    }
}

#[test]
fn a_connection_that_was_not_used_says_nothing_of_the_server() {
    let server = Scripted::start(&[]);
    let pool = pool(&server, 1);
    let fail = || {
        let now = Instant::now();
        let outage = LoginError::Failed(FtpError::Closed(None));
        pool.0.state.lock().breaker.failed(now, now + Duration::from_secs(60), outage);
    };
    let unused = pool.lease(Lane::Metadata, deadline()).unwrap();
    fail();
    drop(unused);
    assert!(matches!(pool.lease(Lane::Metadata, deadline()), Err(Unavailable::Login(_))));
    pool.0.state.lock().breaker.succeeded();
    let mut used = pool.lease(Lane::Metadata, deadline()).unwrap();
    used.session().unwrap().enter(b"/", deadline()).unwrap();
    fail();
    drop(used);
    assert!(pool.lease(Lane::Metadata, deadline()).is_ok(), "it has answered");
}

/// Twenty answers without a transfer, of a server where data connections made ahead were of use; how many logins and how
/// many EPSV they took.
fn looked_at(behave: impl Fn(&mut Script)) -> (usize, usize) {
    let server = Scripted::start(&[]);
    let profile = Arc::new(ServerProfile::default());
    let pool = Pool::new(Arc::new(server.config()), profile.clone(), 1).unwrap();
    drop(pool.lease(Lane::Metadata, deadline()).unwrap());
    profile.learn_method(Method::Epsv);
    profile.learn(|quirks| quirks.channel_ahead = Capability::Yes);
    behave(&mut server.script.lock());
    server.script.lock().seen.clear();
    for _ in 0..20 {
        let answered = || {
            let mut lease = pool.lease(Lane::Metadata, deadline()).unwrap();
            lease.session().unwrap().control.exchange(Command::bare("NOOP"), deadline()).is_ok()
        };
        while !answered() {}
    }
    assert_eq!(profile.quirks().channel_ahead, Capability::Yes, "it says nothing of those used at once");
    let seen = server.script.lock().seen.clone();
    let count = |verb: &str| seen.iter().filter(|line| line.split(' ').next() == Some(verb)).count();
    (count("USER"), count("EPSV"))
}

#[test]
fn what_is_asked_for_on_chance_in_vain_is_not_asked_for_at_each_answer() {
    assert_eq!(looked_at(|_| {}), (0, 1));
    assert_eq!(looked_at(|script| script.forgets_port = true), (0, 1));
    assert_eq!(looked_at(|script| script.reply = Some(("EPSV", "450 No port is free"))), (0, 1));
    assert_eq!(looked_at(|script| script.reply = Some(("EPSV", "421 No port is free"))), (1, 1));
    assert_eq!(looked_at(|script| script.reply = Some(("EPSV", ""))), (1, 1), "it never answers");
}

fn asked() -> Warm {
    Warm::Asked { method: Method::Epsv, when: When::AfterTransfer }
}
