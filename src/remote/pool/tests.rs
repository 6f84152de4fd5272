//! Who gets a connection, and who has to wait.

use super::*;
use crate::ftp::scripted::Scripted;

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

/// The kernel asks again at once for what it did not get: it is not to wait as long again.
#[test]
fn a_server_that_says_nothing_while_others_wait_in_vain_is_given_up() {
    let server = Scripted::start(&[]);
    let pool = pool(&server, 1);
    let mut held = pool.lease(Lane::Metadata, deadline()).unwrap();
    let (began, second) = (Instant::now(), Duration::from_secs(1));
    let is_given_up = |after: Duration| {
        let mut state = pool.0.state.lock();
        pool.0.note_wait_in_vain(&mut state, began, began + after);
        state.breaker.open().is_some()
    };
    assert!(!is_given_up(second * 10), "it may be slow");
    pool.0.heard.store(pool.0.millis(began + second * 10), Ordering::Relaxed);
    assert!(!is_given_up(second * 20), "it was heard of");
    assert!(is_given_up(second * 30));
    assert!(pool.lease(Lane::Metadata, deadline()).is_err(), "one more waits for it");
    held.session().unwrap().enter(b"/", deadline()).unwrap();
    drop(held);
    let unused = pool.lease(Lane::Metadata, deadline()).expect("it has answered");
    pool.0.state.lock().breaker.failed(
        began,
        began + second * 30,
        LoginError::Failed(FtpError::Closed(None)),
    );
    drop(unused);
    assert!(pool.lease(Lane::Metadata, deadline()).is_err(), "a connection that was not used says nothing");
}

fn asked() -> crate::ftp::warm::Warm {
    crate::ftp::warm::Warm::Asked { method: crate::ftp::data::Method::Epsv, behind_data: false }
}
