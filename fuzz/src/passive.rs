//! Replies to PASV and EPSV.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ftpfs::ftp::config::PasvAddress;
use ftpfs::ftp::data::Method;
use ftpfs::ftp::reply::{Reply, ReplyParser};

const PEERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The input is the text of the reply, without its code.
pub fn passive(data: &[u8]) {
    for (method, code) in
        [(Method::Pasv, "227 "), (Method::Epsv, "229 "), (Method::Port, "227 "), (Method::Eprt, "229 ")]
    {
        let Some(reply) = reply(&[code.as_bytes(), data].concat()) else { return };
        for peer in PEERS {
            let to = |believe| method.passive_address(&reply, peer, believe);
            let (own, told) = (to(PasvAddress::Peer), to(PasvAddress::Reply));
            // The server itself, whatever it says, unless it is to be believed.
            assert!(own.is_none_or(|address| address.ip() == peer && address.port() != 0));
            assert_eq!(own.map(|address| address.port()), told.map(|address| address.port()));
            match (method, own, told) {
                (Method::Epsv, ..) => assert_eq!(own, told),
                (Method::Pasv, _, Some(told)) => check_told(told, peer),
                (Method::Pasv, ..) => {}
                _ => assert_eq!(own, None, "nothing is connected to in active mode"),
            }
        }
    }
    // A code that belongs to another command tells no address.
    let foreign =
        [(Method::Pasv, "229 "), (Method::Epsv, "227 "), (Method::Pasv, "200 "), (Method::Epsv, "229-")];
    for (method, code) in foreign {
        let reply = reply(&[code.as_bytes(), data].concat());
        assert_eq!(
            reply.and_then(|reply| method.passive_address(&reply, PEERS[0], PasvAddress::Reply)),
            None
        );
    }
}

/// An address from a 227 reply reads back from the command and from the reply that name it.
fn check_told(told: SocketAddr, peer: IpAddr) {
    assert!(!told.ip().is_unspecified());
    if told.ip() == peer {
        return;
    }
    let command = Method::Port.command(told).to_string();
    let numbers = command.strip_prefix("PORT ").unwrap_or_else(|| panic!("{command}"));
    for text in [format!("227 Entering Passive Mode ({numbers})."), format!("227 {numbers}")] {
        let again = reply(text.as_bytes())
            .and_then(|reply| Method::Pasv.passive_address(&reply, peer, PasvAddress::Reply));
        assert_eq!(again, Some(told), "{text}");
    }
    let port = told.port();
    let again = reply(format!("229 Entering Extended Passive Mode (|||{port}|)").as_bytes())
        .and_then(|reply| Method::Epsv.passive_address(&reply, peer, PasvAddress::Peer));
    assert_eq!(again, Some(SocketAddr::new(peer, port)));
}

/// The one reply that a line is; `None` where it is more or less than one.
fn reply(line: &[u8]) -> Option<Reply> {
    let line = [line, b"\r\n"].concat();
    let (used, reply) = ReplyParser::default().push(&line).ok()?;
    reply.filter(|_| used == line.len())
}
