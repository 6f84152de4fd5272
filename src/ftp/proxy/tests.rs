use std::net::TcpListener;
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::*;

/// A listener that answers each request of a known length, then says `behind` and hangs up once the other side
/// does. It returns what it was sent.
fn proxy(
    kind: ProxyKind,
    steps: Vec<(usize, Vec<u8>)>,
    behind: &'static [u8],
) -> (Proxy, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let last = steps.len();
        for (number, (len, answer)) in steps.into_iter().enumerate() {
            let mut request = vec![0; len];
            if stream.read_exact(&mut request).is_err() {
                return seen;
            }
            seen.extend(request);
            let answer = if number + 1 == last { [&answer, behind].concat() } else { answer };
            let _ = stream.write_all(&answer);
        }
        let _ = stream.read_to_end(&mut seen);
        seen
    });
    (Proxy { kind, host: "127.0.0.1".to_owned(), port, login: None }, thread)
}

fn with_login(proxy: Proxy) -> Proxy {
    let login = ProxyLogin { user: b"me".to_vec(), password: Secret::new("pass word") };
    Proxy { login: Some(login), ..proxy }
}

fn connect(proxy: &Proxy, host: &str, bound: Duration) -> Result<TcpStream, ProxyError> {
    match proxy.connect((host, 2121), Family::Any, None, Deadline::after(bound)) {
        Ok(stream) => Ok(stream),
        Err(Error::Proxy { proxy: named, error }) => {
            assert_eq!(named, proxy.to_string());
            assert!(!format!("{error} {error:?} {proxy:?}").contains("pass word"));
            Err(error)
        }
        Err(other) => panic!("{other}"),
    }
}

const LONG: Duration = Duration::from_secs(20);

/// The answer to a good request, with an address of each kind.
const BOUND_V4: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 4, 0];

#[test]
fn socks5_names_the_server_and_passes_on_what_it_says() {
    let v6 = [&[5, 0, 0, 4][..], &[0; 18]].concat();
    let name = b"\x05\0\0\x03\x05proxy\x04\0".to_vec();
    for (host, address, answer) in [
        ("ftp.example", b"\x05\x01\0\x03\x0bftp.example\x08\x49".to_vec(), BOUND_V4.to_vec()),
        ("10.1.2.3", b"\x05\x01\0\x01\x0a\x01\x02\x03\x08\x49".to_vec(), v6),
        ("::1", [&[5, 1, 0, 4][..], &[0; 15], &[1, 8, 0x49]].concat(), name),
    ] {
        let steps = vec![(3, vec![5, 0]), (address.len(), answer)];
        let (proxy, thread) = proxy(ProxyKind::Socks5, steps, b"220 hello");
        let mut stream = connect(&proxy, host, LONG).unwrap();
        let mut greeting = [0; 9];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 hello");
        drop(stream);
        assert_eq!(thread.join().unwrap(), [&[5, 1, 0], &address[..]].concat());
    }
}

#[test]
fn socks5_logs_in_where_it_is_asked_to() {
    let words = b"\x01\x02me\x09pass word";
    let steps = |status| vec![(4, vec![5, 2]), (words.len(), vec![1, status]), (18, BOUND_V4.to_vec())];
    let (good, thread) = proxy(ProxyKind::Socks5, steps(0), b"");
    drop(connect(&with_login(good), "ftp.example", LONG).unwrap());
    assert_eq!(thread.join().unwrap()[4..][..words.len()], words[..]);

    let (bad, thread) = proxy(ProxyKind::Socks5, steps(7), b"");
    let error = connect(&with_login(bad), "ftp.example", LONG).unwrap_err();
    assert!(matches!(error, ProxyError::Denied(_)) && error.to_string().contains("status 7"), "{error}");
    drop(thread);

    let (wants, _thread) = proxy(ProxyKind::Socks5, vec![(3, vec![5, 0xff])], b"");
    assert!(matches!(connect(&wants, "h", LONG), Err(ProxyError::Denied(_))));
}

#[test]
fn socks5_refusals_have_their_words() {
    for (code, words) in [(2, "rules"), (4, "host is unreachable"), (5, "refused"), (99, "code 99")] {
        let steps = vec![(3, vec![5, 0]), (8, vec![5, code, 0, 1])];
        let (proxy, _thread) = proxy(ProxyKind::Socks5, steps, b"");
        let error = connect(&proxy, "h", LONG).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("h:2121"), "{error}");
    }
}

#[test]
fn http_connects_and_passes_on_what_the_server_says() {
    for (host, to, answer) in [
        ("ftp.example", "ftp.example:2121", "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"),
        ("::1", "[::1]:2121", "HTTP/1.0 200\r\n\r\n"),
        ("h", "h:2121", "HTTP/1.1 204 fine\n\n"),
    ] {
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
        let steps = vec![(request.len(), answer.as_bytes().to_vec())];
        let (proxy, thread) = proxy(ProxyKind::Http, steps, b"220 hello");
        let mut stream = connect(&proxy, host, LONG).unwrap();
        let mut greeting = [0; 9];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 hello");
        drop(stream);
        assert_eq!(String::from_utf8(thread.join().unwrap()).unwrap(), request);
    }
    let request = "CONNECT h:2121 HTTP/1.1\r\nHost: h:2121\r\n\
        Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n\r\n";
    let (proxy, thread) =
        proxy(ProxyKind::Http, vec![(request.len(), b"HTTP/1.1 200 ok\r\n\r\n".to_vec())], b"");
    drop(connect(&with_login(proxy), "h", LONG).unwrap());
    assert_eq!(String::from_utf8(thread.join().unwrap()).unwrap(), request);
}

#[test]
fn http_refusals_are_told() {
    type Wanted = fn(&ProxyError) -> bool;
    let denied: Wanted = |error| matches!(error, ProxyError::Denied(_));
    let refused: Wanted = |error| matches!(error, ProxyError::Refused { .. });
    let garbled: Wanted = |error| matches!(error, ProxyError::Garbled(_));
    let endless = format!("HTTP/1.1 200 ok\r\n{}", "X: y\r\n".repeat(4000));
    let fields = format!("HTTP/1.1 200 ok\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (answer, wanted, words) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", denied, "407 Proxy Auth"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello", refused, "h:2121: 403 Forbidden"),
        ("HTTP/1.1 503 \u{1b}[2J\r\n\r\n", garbled, "HTTP"),
        ("220 FTP server ready\r\n\r\n", garbled, "scheme"),
        ("SSH-2.0-x\r\n", garbled, "HTTP"),
        ("HTTP/1.1 abc\r\n\r\n", garbled, "HTTP"),
        (&endless, garbled, "HTTP"),
        (&fields, garbled, "HTTP"),
    ] {
        let (proxy, _thread) = proxy(ProxyKind::Http, vec![(41, answer.as_bytes().to_vec())], b"");
        let error = connect(&proxy, "h", LONG).unwrap_err();
        assert!(wanted(&error) && error.to_string().contains(words), "{answer:.40}: {error}");
    }
}

#[test]
fn a_proxy_that_says_nothing_or_too_little_costs_no_more_than_the_bound() {
    for kind in [ProxyKind::Socks5, ProxyKind::Http] {
        for said in [&b""[..], b"\x05", b"HTTP/1.1 200"] {
            let (proxy, _thread) = proxy(kind, vec![(3, said.to_vec())], b"");
            let error = connect(&proxy, "h", Duration::from_millis(200)).unwrap_err();
            let is_late = matches!(error, ProxyError::Deadline(_));
            assert!(is_late || matches!(error, ProxyError::Garbled(_)), "{kind:?} {said:?}: {error}");
        }
    }
}

/// Each byte comes in time, and all of them never do.
#[test]
fn a_proxy_that_drips_costs_no_more_than_the_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for byte in b"HTTP/1.1 200 ok\r\nX: ".iter().chain(std::iter::repeat(&b'y')) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let proxy = Proxy { kind: ProxyKind::Http, host: "127.0.0.1".to_owned(), port, login: None };
    assert!(matches!(connect(&proxy, "h", Duration::from_millis(300)), Err(ProxyError::Deadline(_))));
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = Proxy { kind: ProxyKind::Socks5, host: "127.0.0.1".to_owned(), port, login: None };
    let error = proxy.connect(("h", 21), Family::Any, None, Deadline::after(LONG)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("the proxy socks5://127.0.0.1:{port}: ")), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_or_a_connection(
        first in proptest::collection::vec(any::<u8>(), 0..20),
        rest in proptest::collection::vec(any::<u8>(), 0..100),
        is_socks: bool,
        is_polite: bool,
    ) {
        let kind = if is_socks { ProxyKind::Socks5 } else { ProxyKind::Http };
        let polite: &[u8] = if is_socks { &[5, 0] } else { b"HTTP/1.1 200 " };
        let first = if is_polite { [polite, &first].concat() } else { first };
        let (proxy, _thread) = proxy(kind, vec![(3, first), (8, rest)], b"");
        let _ = connect(&proxy, "h", Duration::from_millis(50));
    }
}
