//! Ways into a server.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use ftpfs::remote::Kind;

use crate::client::{Client, LATE, OPERATION, Options, SAMPLE_NAMES, eventually, watched};
use crate::common_ftpd::{Quirks, Said, Server, Then, Tree};

fn works(quirks: Quirks, options: Options) -> Server {
    watched(move || {
        let server = Server::start(Tree::sample(), quirks);
        let client = Client::connect(&server, options).unwrap();
        assert_eq!(client.remote.base().as_bytes(), b"/home/u");
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
        assert!(client.read_all("big").unwrap() == server.tree().bytes("/home/u/big").unwrap());
        server
    })
}

#[test]
fn every_form_of_login_and_feat_leads_in() {
    let feats = [
        None,
        Some("500 Unknown command"),
        Some("211 no features"),
        Some("211-Extensions supported\r\n MLST type*;size*;modify*;\r\n211 END"),
        Some("211-Extensions supported\r\n211-MLST type*;size*;modify*;\r\n211-REST STREAM\r\n211 END"),
        Some("211-x\r\n  mlst Type*;Size*;Modify*;\r\n\trest stream\r\n\r\n211 end"),
        Some("211-x\n MLST size;type;\n211 end"),
    ];
    for feat in feats {
        works(Quirks { feat, ..Quirks::default() }, Options::default());
    }
    works(Quirks { feat: None, mlst: false, ..Quirks::default() }, Options::default());
    let server = works(Quirks { no_password: true, ..Quirks::default() }, Options::default());
    assert_eq!(server.count("PASS"), 0);
    let account = Quirks { account: Some("money"), ..Quirks::default() };
    works(account, Options { account: Some("money"), ..Options::default() });
}

#[test]
fn a_login_that_is_refused_is_told_at_once_and_leaves_nothing_behind() {
    let accounts = Quirks { account: Some("money"), ..Quirks::default() };
    let wrong = Quirks {
        said: vec![Said::new("PASS", usize::MAX, "530 Login incorrect.\r\n", Then::GoOn)],
        ..Quirks::default()
    };
    for quirks in [accounts, wrong] {
        watched(move || {
            let server = Server::start(Tree::sample(), quirks);
            let begun = Instant::now();
            let error = Client::connect(&server, Options::default()).err().unwrap();
            assert_eq!(error.kind(), Kind::LoginFailed, "{error}");
            assert!(begun.elapsed() < LATE);
            assert!(!error.to_string().contains("secret"));
            eventually("no connection is left", || server.connections() == 0);
        });
    }
}

#[test]
fn ipv6_works_passive_and_active() {
    for epsv in [crate::common_ftpd::Passive::Works, crate::common_ftpd::Passive::Refused] {
        watched(move || {
            let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
            let server = Server::start_at(address, Tree::sample(), Quirks { epsv, ..Quirks::default() });
            let client = Client::plain(&server, Options::default()).unwrap();
            assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
            assert!(client.read_all("big").unwrap() == server.tree().bytes("/home/u/big").unwrap());
            assert_eq!(server.count("PASV") + server.count("PORT"), 0);
        });
    }
}

#[test]
fn a_server_that_never_answers_costs_the_deadline_and_no_more() {
    std::thread::scope(|scope| {
        for verb in ["GREETING", "USER", "PASS", "FEAT", "TYPE"] {
            scope.spawn(move || watched(move || never_answers(verb)));
        }
    });
}

fn never_answers(verb: &'static str) {
    let said = vec![Said::new(verb, usize::MAX, "", Then::Hang)];
    let server = Server::start(Tree::sample(), Quirks { said, ..Quirks::default() });
    let begun = Instant::now();
    let error = Client::connect(&server, Options::default()).err().unwrap();
    assert!(matches!(error.kind(), Kind::DeadlinePassed | Kind::Unreachable), "{verb}: {error:?}");
    assert!(begun.elapsed() < OPERATION + LATE, "{verb}");
    eventually("no connection is left", || server.connections() == 0);
}

#[test]
fn a_server_that_loses_commands_sent_together_is_served_one_at_a_time() {
    watched(|| {
        let quirks = Quirks { reorders: true, ..Quirks::default() };
        let server = Server::start(Tree::sample(), quirks);
        let client = Client::of(&server);
        assert!(!client.remote.profile().pipelines());
        let big = server.tree().bytes("/home/u/big").unwrap();
        let reader = client.open("big").unwrap();
        for offset in [200_000, 5, 100_000, 0] {
            assert!(client.read(&reader, offset, 5000).unwrap() == big[offset..offset + 5000]);
        }
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
    });
    // The probe itself is too much for this one: it answers the first command and closes.
    watched(|| {
        let said = vec![Said::new("NOOP", usize::MAX, "", Then::Close)];
        let server = Server::start(Tree::sample(), Quirks { said, ..Quirks::default() });
        let client = Client::of(&server);
        assert_eq!(client.remote.base().as_bytes(), b"/home/u");
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
    });
}
