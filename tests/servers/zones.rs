//! Listings by a server's wall clock.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ftpfs::deadline::Deadline;
use ftpfs::ftp::config::{Login, SessionConfig};
use ftpfs::ftp::time::ListZone;
use ftpfs::remote::Remote;
use ftpfs::secret::Secret;

use crate::common::server::{Kind, Options, Server};
use crate::common::{PASSWORD, USER, writable_dir};

const BOUND: Duration = Duration::from_secs(30);

/// Central Europe and New York, with their daylight saving time, and India without.
const ZONES: [&str; 3] = ["CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "IST-5:30"];

/// Ages of files in days: young enough to be listed with a time of day, and in two seasons for most of the year.
const AGES: [u64; 5] = [2, 40, 80, 120, 160];

#[test]
fn proftpd_by_local_time_shows_what_its_times_mean() {
    for zone in ZONES {
        let dir = writable_dir("served-");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Noon is far from the hours in which clocks are changed.
        let time = |age: u64| now - now % 86_400 + 12 * 3600 - age * 86_400 + 17;
        for age in AGES {
            let path = dir.path().join(format!("{age}"));
            fs::write(&path, b"bytes").unwrap();
            File::open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(time(age))).unwrap();
        }
        let server =
            Server::start(Kind::Proftpd, dir.path(), &Options { zone: Some(zone), ..Options::default() });
        for told in [None, ListZone::parse("UTC")] {
            let config = SessionConfig {
                host: server.address().ip().to_string(),
                port: server.address().port(),
                family: Default::default(),
                bind: None,
                login: Login { user: USER.into(), password: Secret::new(PASSWORD), account: None },
                data: Default::default(),
                proxy: None,
                tls: server.tls_config(),
                utf8: true,
                list_zone: told.clone(),
                timeouts: Default::default(),
            };
            let remote = Remote::connect(config, b"", false, 2, Deadline::after(BOUND)).unwrap();
            assert!(!remote.can_stat(), "this server must have no MLSD here");
            let listing = remote.list(remote.base(), None, Deadline::after(BOUND)).unwrap();
            for age in AGES {
                let name = age.to_string();
                let entry = listing.entries.iter().find(|entry| *entry.name == *name.as_bytes()).unwrap();
                let is_right = entry.modified.unwrap().seconds == i64::try_from(time(age) - 17).unwrap();
                // Read as UTC they are wrong, or the test would prove nothing.
                assert_eq!(is_right, told.is_none(), "{name} days, {zone}, {:?}", entry.modified);
            }
        }
    }
}
