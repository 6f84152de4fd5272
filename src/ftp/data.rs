//! The four ways of making a data connection: EPSV, PASV, EPRT, PORT (RFC 959 s.4.1.2, RFC 2428).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::ftp::command::Command;
use crate::ftp::config::{DataConfig, Mode, PasvAddress};
use crate::ftp::reply::Reply;

/// A way of making data connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Extended passive: the reply tells a port only.
    Epsv,
    /// Passive, IPv4: the reply tells an address and a port.
    Pasv,
    /// Extended active.
    Eprt,
    /// Active, IPv4.
    Port,
}

impl Method {
    /// Whether the server connects to us.
    pub fn is_active(self) -> bool {
        matches!(self, Method::Eprt | Method::Port)
    }

    /// The ways to try, in order: the one that has worked, else all that the mode and the address family
    /// allow (RFC 2428 s.2: PASV and PORT cannot speak of IPv6).
    pub fn candidates(config: &DataConfig, peer: IpAddr, proven: Option<Method>) -> Vec<Method> {
        if let Some(method) = proven {
            return vec![method];
        }
        let v4 = peer.to_canonical().is_ipv4();
        [Method::Epsv, Method::Pasv, Method::Eprt, Method::Port]
            .into_iter()
            .filter(|method| match config.mode {
                Mode::Auto => true,
                Mode::Active => method.is_active(),
                Mode::Passive => !method.is_active(),
            })
            .filter(|method| v4 || matches!(method, Method::Epsv | Method::Eprt))
            // A believed address must be told: EPSV tells none.
            .filter(|method| config.pasv_address == PasvAddress::Peer || *method != Method::Epsv)
            .collect()
    }

    /// The command that asks for a data connection; `ours` is where we listen in active mode.
    pub fn command(self, ours: SocketAddr) -> Command {
        let ip = ours.ip().to_canonical();
        match (self, ip) {
            (Method::Epsv, _) => Command::bare("EPSV"),
            (Method::Pasv, _) => Command::bare("PASV"),
            (Method::Port, IpAddr::V4(ip)) => {
                let ([a, b, c, d], port) = (ip.octets(), ours.port());
                Command::with("PORT", format!("{a},{b},{c},{d},{},{}", port >> 8, port & 255))
            }
            (Method::Eprt | Method::Port, ip) => {
                let family = if ip.is_ipv4() { 1 } else { 2 };
                Command::with("EPRT", format!("|{family}|{ip}|{}|", ours.port()))
            }
        }
    }

    /// Where to connect for a passive method, from its 227 or 229 reply: to `peer`, unless the address in the
    /// reply is to be believed.
    pub fn passive_address(self, reply: &Reply, peer: IpAddr, believe: PasvAddress) -> Option<SocketAddr> {
        match (self, reply.code()) {
            (Method::Epsv, 229) => epsv_port(reply.text()).map(|port| SocketAddr::new(peer, port)),
            (Method::Pasv, 227) => {
                let (ip, port) = pasv_address(reply.text())?;
                let ip = match believe {
                    PasvAddress::Reply if !ip.is_unspecified() => IpAddr::V4(ip),
                    _ => peer,
                };
                Some(SocketAddr::new(ip, port))
            }
            _ => None,
        }
    }
}

/// The port in `229 Entering Extended Passive Mode (|||6446|)`. The delimiter is free (RFC 2428 s.3), and
/// some servers leave out the brackets or the last delimiter.
fn epsv_port(text: &[u8]) -> Option<u16> {
    let start = text.windows(3).position(|w| w[0] == w[1] && w[1] == w[2] && w[0].is_ascii_punctuation())?;
    let digits: Vec<u8> = text[start + 3..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok().filter(|&port| port != 0)
}

/// The address and port in a 227 reply: six numbers with commas, wherever they stand; RFC 1123 s.4.1.2.6
/// says not to trust the text around them.
fn pasv_address(text: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let allowed = |b: &u8| b.is_ascii_digit() || matches!(b, b',' | b' ');
    text.split(|b| !allowed(b)).find_map(|run| {
        let run = std::str::from_utf8(run).ok()?;
        let numbers: Vec<u8> = run.split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
        let [a, b, c, d, high, low] = numbers[..] else { return None };
        let port = u16::from(high) << 8 | u16::from(low);
        (port != 0).then_some((Ipv4Addr::new(a, b, c, d), port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passive_replies_as_servers_send_them() {
        let pasv: &[(&str, Option<&str>)] = &[
            ("Entering Passive Mode (192,168,0,7,19,137).", Some("192.168.0.7:5001")),
            ("Entering Passive Mode 192,168,0,7,19,137", Some("192.168.0.7:5001")),
            ("=192,168,0,7,19,137", Some("192.168.0.7:5001")),
            ("on 2 servers (0,0,0,0, 19, 137)", Some("0.0.0.0:5001")),
            ("(192,168,0,7,19)", None),
            ("(192,168,0,7,0,0)", None),
            ("(192,168,0,7,999,137)", None),
            ("", None),
        ];
        for (text, expected) in pasv {
            let got = pasv_address(text.as_bytes()).map(|(ip, port)| format!("{ip}:{port}"));
            assert_eq!(got.as_deref(), *expected, "{text}");
        }
        let epsv: &[(&str, Option<u16>)] = &[
            ("Entering Extended Passive Mode (|||6446|)", Some(6446)),
            ("Extended Passive Mode OK (!!!6446!)", Some(6446)),
            ("ok |||6446", Some(6446)),
            ("(|||0|)", None),
            ("(|||70000|)", None),
            ("(||6446|)", None),
        ];
        for (text, expected) in epsv {
            assert_eq!(epsv_port(text.as_bytes()), *expected, "{text}");
        }
    }

    #[test]
    fn active_commands_name_our_address() {
        let v4: SocketAddr = "10.1.2.3:5001".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:5001".parse().unwrap();
        assert_eq!(Method::Port.command(v4).to_string(), "PORT 10,1,2,3,19,137");
        assert_eq!(Method::Eprt.command(v4).to_string(), "EPRT |1|10.1.2.3|5001|");
        assert_eq!(Method::Eprt.command(v6).to_string(), "EPRT |2|2001:db8::1|5001|");
    }

    #[test]
    fn the_mode_and_the_family_decide_what_is_tried() {
        use Method::{Eprt, Epsv, Pasv, Port};
        let (v4, v6) = ("127.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        let of = |mode, ip| Method::candidates(&DataConfig { mode, ..Default::default() }, ip, None);
        assert_eq!(of(Mode::Auto, v4), [Epsv, Pasv, Eprt, Port]);
        assert_eq!(of(Mode::Auto, v6), [Epsv, Eprt]);
        assert_eq!(of(Mode::Active, v4), [Eprt, Port]);
        assert_eq!(of(Mode::Passive, v4), [Epsv, Pasv]);
        let proven = Method::candidates(&DataConfig::default(), v4, Some(Port));
        assert_eq!(proven, [Port]);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (epsv_port(&text), pasv_address(&text));
        }
    }
}
