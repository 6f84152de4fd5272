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
