//! What a bad server, a bad network or an unlucky moment may do to a reader: nothing but a delay or a clean
//! error. Never a panic, never other bytes, never a wait without end.

#[path = "../common_ftpd/mod.rs"]
#[cfg(test)]
mod common_ftpd;

#[cfg(test)]
mod client;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod cuts;
#[cfg(test)]
mod dataways;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod server_itself;
#[cfg(test)]
mod transfers;
