//! The ways in which a data connection is made, and not made.

use std::net::Ipv4Addr;

use ftpfs::ftp::config::{DataConfig, Mode};
use ftpfs::ftp::data::Method;

use crate::client::{Client, Options, SAMPLE_NAMES, is_clean, watched};
use crate::common_ftpd::{Passive, Quirks, Server, Tree};

fn works(quirks: Quirks, mode: Mode) -> (Server, Client) {
    let server = Server::start(Tree::sample(), quirks);
    let data = DataConfig { mode, ..DataConfig::default() };
    let client = Client::plain(&server, Options { data, ..Options::default() }).unwrap();
    assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
    assert!(client.read_all("big").unwrap() == server.tree().bytes("/home/u/big").unwrap());
    (server, client)
}

#[test]
fn the_first_way_that_works_is_found_and_kept() {
    let (works_, refused, dead) = (Passive::Works, Passive::Refused, Passive::Dead);
    let table = [
        (works_, works_, true, Mode::Auto, Method::Epsv),
        (refused, works_, true, Mode::Auto, Method::Pasv),
        (dead, works_, true, Mode::Auto, Method::Pasv),
        (refused, refused, true, Mode::Auto, Method::Eprt),
        (dead, dead, true, Mode::Auto, Method::Eprt),
        (refused, refused, false, Mode::Auto, Method::Port),
        (works_, works_, true, Mode::Active, Method::Eprt),
        (works_, works_, false, Mode::Active, Method::Port),
    ];
    for (epsv, pasv, eprt, mode, method) in table {
        watched(move || {
            let (server, client) = works(Quirks { epsv, pasv, eprt, ..Quirks::default() }, mode);
            assert_eq!(client.remote.profile().method(), Some(method));
            let before = server.transcript().concat().len();
            client.names("sub").unwrap();
            let after = server.transcript().concat();
            let words = [
                (Method::Epsv, "EPSV"),
                (Method::Pasv, "PASV"),
                (Method::Eprt, "EPRT"),
                (Method::Port, "PORT"),
            ];
            let verb = words.iter().find(|(way, _)| *way == method).unwrap().1;
            let is_way = |line: &&String| words.iter().any(|(_, verb)| line.starts_with(verb));
            let asked: Vec<_> = after[before..].iter().filter(is_way).collect();
            // For this listing, if that was not done when the file before had been read, and ahead of the next.
            assert!(asked.iter().all(|line| line.starts_with(verb)), "{after:?}");
        });
    }
}

#[test]
fn an_address_in_a_pasv_reply_is_not_connected_to() {
    watched(|| {
        let foreign = Ipv4Addr::new(127, 0, 0, 5);
        let quirks = Quirks { epsv: Passive::Refused, pasv: Passive::Foreign(foreign), ..Quirks::default() };
        // Nobody listens at the foreign address, so what connects there fails and this does not work.
        let (_, client) = works(quirks, Mode::Passive);
        assert_eq!(client.remote.profile().method(), Some(Method::Pasv));
    });
}

#[test]
fn a_reply_without_a_port_is_a_clean_error() {
    for pasv in [Passive::PortZero, Passive::Refused, Passive::Dead] {
        watched(move || {
            let quirks = Quirks { epsv: Passive::Refused, pasv, ..Quirks::default() };
            let server = Server::start(Tree::sample(), quirks);
            let data = DataConfig { mode: Mode::Passive, ..DataConfig::default() };
            let client = Client::plain(&server, Options { data, ..Options::default() }).unwrap();
            let error = client.list("").unwrap_err();
            assert!(is_clean(&error) || error.kind() == ftpfs::remote::Kind::Unsupported, "{error:?}");
            server.quirks().pasv = Passive::Works;
            assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
        });
    }
}

#[test]
fn a_stranger_on_the_active_port_is_turned_away() {
    for eprt in [true, false] {
        watched(move || {
            works(Quirks { eprt, stranger: true, ..Quirks::default() }, Mode::Active);
        });
    }
}

#[test]
fn a_way_that_stops_working_is_an_error_not_a_hang_and_works_again() {
    watched(|| {
        let (server, client) = works(Quirks::default(), Mode::Auto);
        for broken in [Passive::Dead, Passive::PortZero, Passive::Refused] {
            server.quirks().epsv = broken;
            // The first may have its data connection already.
            let error = client.list("").and_then(|_| client.list("")).unwrap_err();
            assert!(is_clean(&error) || error.kind() == ftpfs::remote::Kind::Unsupported, "{error:?}");
            server.quirks().epsv = Passive::Works;
            assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
        }
    });
}
