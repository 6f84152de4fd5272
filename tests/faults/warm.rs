//! Data connections that are made before they are needed: what a server may do with them costs no operation.

use std::time::Duration;

use ftpfs::ftp::features::Capability;

use crate::client::{Client, Options, SAMPLE_NAMES, eventually, watched};
use crate::common_ftpd::{Ahead, Quirks, Server, Tree};

/// Reads and lists again and again over one connection at a time; all must be right.
fn use_again_and_again(ahead: Ahead) -> (Server, Client) {
    let server = Server::start(Tree::sample(), Quirks { ahead, ..Quirks::default() });
    let client = Client::connect(&server, Options { connections: 1, ..Options::default() }).unwrap();
    let small = server.tree().bytes("/home/u/small").unwrap();
    for _ in 0..5 {
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES, "{ahead:?}");
        assert!(client.read_all("small").unwrap() == small, "{ahead:?}");
        client.names("absent").unwrap_err();
    }
    (server, client)
}

#[test]
fn the_next_transfer_needs_no_other_command_than_its_own() {
    watched(|| {
        let (server, client) = use_again_and_again(Ahead::Serves);
        client.names("sub").unwrap();
        client.names("").unwrap();
        let quirks = client.remote.profile().quirks();
        assert_eq!((quirks.channel_ahead, quirks.asks_behind_data), (Capability::Yes, Capability::Yes));
        let commands = server.transcript().concat();
        let at = commands.iter().rposition(|line| line == "CWD /home/u").unwrap();
        assert_eq!(commands[at + 1], "MLSD", "{commands:?}");
        // The one before asked for it.
        assert_eq!(commands[at - 2..at], ["MLSD", "EPSV"], "{commands:?}");
    });
}

#[test]
fn a_server_that_has_no_use_for_them_is_noticed_and_costs_no_operation() {
    for ahead in [Ahead::Refuses, Ahead::Closes, Ahead::Hangs] {
        watched(move || {
            let (_server, client) = use_again_and_again(ahead);
            assert_eq!(client.remote.profile().quirks().channel_ahead, Capability::No, "{ahead:?}");
        });
    }
}

#[test]
fn a_server_that_answers_out_of_turn_is_noticed_and_costs_no_operation() {
    watched(|| {
        let (_server, client) = use_again_and_again(Ahead::Swallows);
        assert_eq!(client.remote.profile().quirks().asks_behind_data, Capability::No);
    });
}

#[test]
fn a_connection_that_ends_while_it_waits_costs_no_operation() {
    for words in ["421 Passive data channel timed out.", "421 Timeout."] {
        watched(move || drop(use_again_and_again(Ahead::SaysGoodbye(words))));
    }
}

#[test]
fn they_are_let_go_and_their_sessions_are_kept() {
    watched(|| {
        let (server, client) = use_again_and_again(Ahead::Serves);
        let before = server.count("USER");
        std::thread::sleep(Duration::from_secs(11));
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
        let commands = server.transcript().concat();
        let at = commands.iter().rposition(|line| line == "CWD /home/u").unwrap();
        assert_eq!(commands[at + 1], "EPSV", "{commands:?}");
        assert_eq!(server.count("USER"), before);
    });
}

#[test]
fn one_is_made_when_somebody_asks_for_a_file() {
    watched(|| {
        let (server, client) = use_again_and_again(Ahead::Serves);
        // Until the last one is let go.
        std::thread::sleep(Duration::from_secs(11));
        let asked = server.count("EPSV");
        client.remote.stat(&client.path("small"), client.deadline()).unwrap();
        eventually("it was asked for", || server.count("EPSV") == asked + 1);
        for _ in 0..3 {
            client.remote.stat(&client.path("small"), client.deadline()).unwrap();
        }
        assert_eq!(client.names("").unwrap(), SAMPLE_NAMES);
        let commands = server.transcript().concat();
        let at = commands.iter().rposition(|line| line == "CWD /home/u").unwrap();
        assert_eq!(commands[at - 1..=at + 1], ["MLST /home/u/small", "CWD /home/u", "MLSD"], "{commands:?}");
    });
}
