//! What a bad server, a bad network or an unlucky moment may do to a reader or writer: nothing but a delay or a
//! clean error. Never a panic, never other bytes, never a wait without end, never a success that is none.

#[path = "../common/mod.rs"]
#[cfg(test)]
#[allow(dead_code, reason = "the servers and trees in it are for the tests with real servers")]
mod common;

#[path = "../common_ftpd/mod.rs"]
#[cfg(test)]
mod common_ftpd;

#[cfg(test)]
mod ahead;
#[cfg(test)]
mod attributes;
#[cfg(test)]
mod behind;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod client;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod cuts;
#[cfg(test)]
mod dataways;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod mounted;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod passthrough;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod quirks;
#[cfg(test)]
mod races;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod renames;
#[cfg(test)]
mod replacing;
#[cfg(test)]
mod secured;
#[cfg(test)]
mod segments;
#[cfg(test)]
mod server_itself;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod transfers;
#[cfg(test)]
mod truncation;
#[cfg(test)]
mod unftp;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod warm;
#[cfg(test)]
mod zones;
