//! The server of these tests, by a client that is nothing but a socket: that each of its switches does what it says.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::watched;
use crate::common_ftpd::{
    Early, FaultAt, FaultEnd, Quirks, RefusedUpload, ReplyCut, RestStor, Server, Setting, Tree, UploadFault,
    Writing, pattern,
};

/// Longer than the server's pauses, shorter than the watchdog.
const SILENCE: Duration = Duration::from_millis(500);

struct Raw {
    control: BufReader<TcpStream>,
    ip: IpAddr,
}

impl Raw {
    fn login(server: &Server) -> Raw {
        let control = TcpStream::connect(server.address()).unwrap();
        let mut raw = Raw { ip: server.address().ip(), control: BufReader::new(control) };
        assert_eq!(raw.code(), 220);
        assert_eq!((raw.say("USER u"), raw.say("PASS secret")), (331, 230));
        raw
    }

    /// The code of the next reply; 0 when the connection ends or is silent.
    fn code(&mut self) -> u16 {
        self.control.get_ref().set_read_timeout(Some(SILENCE)).unwrap();
        loop {
            let mut line = String::new();
            match self.control.read_line(&mut line) {
                Ok(n) if n > 3 => {}
                _ => return 0,
            }
            if line.as_bytes()[3] == b' ' && !line.starts_with(' ') {
                return line[..3].parse().unwrap();
            }
        }
    }

    fn say(&mut self, command: &str) -> u16 {
        write!(self.control.get_mut(), "{command}\r\n").unwrap();
        self.code()
    }

    /// The replies to an upload: that to its command, and the final one.
    fn upload(&mut self, command: &str, bytes: &[u8]) -> (u16, u16) {
        write!(self.control.get_mut(), "EPSV\r\n").unwrap();
        let mut line = String::new();
        self.control.read_line(&mut line).unwrap();
        let port = line.split('|').nth(3).unwrap().parse().unwrap();
        let mut data = TcpStream::connect(SocketAddr::new(self.ip, port)).unwrap();
        data.set_write_timeout(Some(SILENCE)).unwrap();
        let first = self.say(command);
        if first != 150 {
            return (first, 0);
        }
        // The server may reset the connection, or not read.
        let _ = data.write_all(bytes);
        drop(data);
        (150, self.code())
    }
}

fn with(writing: Writing) -> Server {
    Server::start(Tree::sample(), Quirks { writing, ..Quirks::default() })
}

#[test]
fn a_good_server_takes_everything() {
    watched(|| {
        let server = with(Writing::default());
        let mut raw = Raw::login(&server);
        let bytes = pattern(9, 200_000);
        assert_eq!(raw.upload("STOR new", &bytes[..150_000]), (150, 226));
        assert_eq!(raw.upload("APPE new", &bytes[150_000..]), (150, 226));
        assert!(server.tree().bytes("/home/u/new").unwrap() == bytes);
        assert_eq!(raw.say("REST 10"), 350);
        assert_eq!(raw.upload("STOR small", b"0123456789"), (150, 226));
        let patched = [&pattern(1, 10)[..], b"0123456789", &pattern(1, 1000)[20..]].concat();
        assert!(server.tree().bytes("/home/u/small").unwrap() == patched);
        for (command, code) in [
            ("SITE CHMOD 600 new", 200),
            ("MFMT 20200102030405 new", 213),
            ("MKD dir", 257),
            ("MKD dir", 550),
            ("RNFR dir", 350),
            ("RNTO sub/dir", 250),
            ("RMD sub", 550),
            ("RMD sub/dir", 250),
            ("RNFR small", 350),
            ("RNTO big", 250),
            ("DELE small", 550),
            ("DELE link", 250),
            ("SITE SYMLINK new link2", 200),
            ("RETR absent/file", 550),
        ] {
            assert_eq!(raw.say(command), code, "{command}");
        }
        let tree = server.tree();
        assert_eq!(
            (tree.mode("/home/u/new"), tree.modified("/home/u/new")),
            (Some(0o600), Some(1_577_934_245))
        );
        assert_eq!(tree.names("/home/u"), ["big", "link2", "new", "sub"]);
        assert!(tree.bytes("/home/u/big").unwrap() == patched);
        let landings: Vec<_> = tree
            .landings()
            .iter()
            .map(|landing| (landing.verb, landing.offset, landing.bytes, landing.before))
            .collect();
        let expected = [
            ("STOR", 0, 150_000, None),
            ("APPE", 150_000, 50_000, Some((150_000, true))),
            ("STOR", 10, 10, Some((1000, true))),
        ];
        assert_eq!(landings, expected);
    });
}

#[test]
fn commands_are_refused_as_told() {
    let unset = Writing::without_settings();
    let refused = RefusedUpload { reply: "553 Could not create file.", after_data: false };
    type Commands = &'static [(&'static str, u16)];
    let table: [(&str, Writing, Commands); 9] = [
        ("no settings", unset, &[("SITE CHMOD 600 big", 500), ("MFMT 20200102030405 big", 500)]),
        (
            "chmod refused",
            Writing { chmod: Setting::Refused, ..Writing::default() },
            &[("SITE CHMOD 600 big", 550)],
        ),
        (
            "SITE CHGRP refused",
            Writing { chgrp: Setting::Refused, mff_group: Setting::Works, ..Writing::default() },
            &[("SITE CHGRP 7 big", 550), ("MFF UNIX.group=7; big", 200), ("MFF UNIX.group=x; big", 501)],
        ),
        ("no APPE", Writing { appe: false, ..Writing::default() }, &[("APPE big", 502)]),
        ("no SIZE", Writing { size: false, ..Writing::default() }, &[("SIZE big", 500)]),
        (
            "no replacing",
            Writing { rnto_replaces: false, rnfr_insists: true, ..Writing::default() },
            &[("RNFR big", 350), ("SIZE big", 501), ("RNTO small", 550), ("SIZE small", 213)],
        ),
        (
            "other replies to MKD",
            Writing { mkd_done: Some("250 ok"), mkd_exists: "521 exists", ..Writing::default() },
            &[("MKD a", 250), ("MKD a", 521)],
        ),
        ("refused", Writing { refuses: Some(refused), ..Writing::default() }, &[("STOR a", 553)]),
        (
            "denied",
            Writing { denied: Some("550 Permission denied"), ..Writing::default() },
            &[("DELE big", 550), ("MKD a", 550), ("STOR a", 550), ("SIZE big", 213)],
        ),
    ];
    for (what, writing, commands) in table {
        watched(move || {
            let server = with(writing);
            let mut raw = Raw::login(&server);
            for &(command, code) in commands {
                assert_eq!(raw.say(command), code, "{what}: {command}");
            }
        });
    }
}

#[test]
fn uploads_break_as_told() {
    let fault = |at, end| Writing { fault: Some(UploadFault { at, end, times: 1 }), ..Writing::default() };
    let after = RefusedUpload { reply: "552 Disk full", after_data: true };
    let cut = |after, lost| {
        let reply_cut = Some(ReplyCut { after, lost, for_ever: false });
        Writing { reply_cut, ..Writing::default() }
    };
    let full = Some((Tree::sample().used() + 70_000, "452 Full"));
    // The final reply, and what has landed of 100,000 bytes.
    let table: [(&str, Writing, u16, Option<usize>); 15] = [
        ("426", fault(FaultAt::Byte(70_000), FaultEnd::Says426), 426, Some(70_000)),
        ("426 at the first byte", fault(FaultAt::Byte(0), FaultEnd::Says426), 426, Some(0)),
        ("no reply", fault(FaultAt::Byte(70_000), FaultEnd::NoReply), 0, Some(70_000)),
        ("a lie", fault(FaultAt::Byte(70_000), FaultEnd::Lies226), 226, Some(70_000)),
        ("control too", fault(FaultAt::Byte(70_000), FaultEnd::ControlToo), 0, Some(70_000)),
        ("no 226", fault(FaultAt::End, FaultEnd::ControlToo), 0, Some(100_000)),
        ("a stall", fault(FaultAt::Byte(70_000), FaultEnd::Stalls), 0, Some(70_000)),
        ("beyond the end", fault(FaultAt::Byte(200_000), FaultEnd::Says426), 226, Some(100_000)),
        ("short", Writing { short_by: 7, ..Writing::default() }, 226, Some(99_993)),
        ("early", Writing { early: Some(Early::Kept), ..Writing::default() }, 226, None),
        ("refused after the data", Writing { refuses: Some(after), ..Writing::default() }, 552, None),
        ("full", Writing { room: full, ..Writing::default() }, 452, Some(70_000)),
        // After the greeting, two replies to the login, and that to EPSV come the 150 and the 226.
        ("226 lost", cut(6, true), 0, Some(100_000)),
        ("cut after the 226", cut(6, false), 226, Some(100_000)),
        ("slow", Writing { slow: Some(Duration::from_millis(10)), ..Writing::default() }, 226, Some(100_000)),
    ];
    for (what, writing, code, landed) in table {
        watched(move || {
            let server = with(writing);
            let mut raw = Raw::login(&server);
            assert_eq!(raw.upload("STOR new", &pattern(5, 100_000)), (150, code), "{what}");
            if landed.is_some() {
                let size = server.tree().bytes("/home/u/new").map(|bytes| bytes.len());
                assert_eq!(size, landed, "{what}");
            }
        });
    }
}

#[test]
fn uploads_with_an_offset_keep_or_cut_the_tail() {
    for (rest_stor, first, size) in
        [(RestStor::KeepsTail, 150, 1000), (RestStor::CutsTail, 150, 20), (RestStor::Refused, 501, 1000)]
    {
        watched(move || {
            let server = with(Writing { rest_stor, ..Writing::default() });
            let mut raw = Raw::login(&server);
            assert_eq!(raw.say("REST 10"), 350);
            assert_eq!(raw.upload("STOR small", &[1; 10]).0, first);
            assert_eq!(server.tree().bytes("/home/u/small").unwrap().len(), size);
        });
    }
}
