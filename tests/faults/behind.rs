//! What settles a new small file goes out behind the command that stores it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::common_ftpd::{Tree, Writing, pattern};
use crate::mounted::{Mounted, close, create};

/// One after the other, all of them new.
const FILES: u64 = 8;

/// Stores small files of a mode that no umask gives, and sees that the server has them as they are.
fn store_all(writing: Writing, mode: u16) -> Mounted {
    let mounted = Mounted::plain(Tree::bare());
    mounted.break_by(writing);
    mounted.call("a listing", |dir| fs::read_dir(dir).map(Iterator::count)).unwrap();
    for number in 0..FILES {
        let name = format!("new{number}");
        let bytes = pattern(number, 3000);
        let (of_it, content) = (name.clone(), bytes.clone());
        let modified = mounted.call("store", move |dir| {
            let mut file = create(&dir.join(of_it)).unwrap();
            std::io::Write::write_all(&mut file, &content).unwrap();
            file.set_permissions(fs::Permissions::from_mode(mode.into())).unwrap();
            let modified = file.metadata().unwrap().mtime();
            close(file).unwrap();
            modified
        });
        let tree = mounted.server.tree();
        let path = format!("/home/u/{name}");
        assert!(tree.bytes(&path).unwrap() == bytes, "{name}");
        assert_eq!(tree.mode(&path), Some(mode), "{name}");
        let time = ftpfs::ftp::time::parse_time_value(tree.time(&path).unwrap().as_bytes()).unwrap();
        assert_eq!(time.seconds, modified, "{name}");
    }
    mounted
}

/// The commands of the connection that stored the last file, from that one on.
fn commands_of_the_last(mounted: &Mounted) -> Vec<String> {
    let store = format!("STOR /home/u/new{}", FILES - 1);
    let connections = mounted.server.transcript();
    let commands = connections.iter().find(|commands| commands.contains(&store)).unwrap();
    let at = commands.iter().rposition(|line| *line == store).unwrap();
    commands[at..].iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_small_file_is_settled_with_the_command_that_stores_it() {
    let mounted = store_all(Writing::default(), 0o604);
    let commands = commands_of_the_last(&mounted);
    assert_eq!(commands, ["STOR", "SITE", "MFMT", "MLST", "EPSV"], "{:?}", mounted.server.transcript());
    assert_eq!(mounted.server.count("STOR"), FILES as usize);
    // No more connections are made than can take turns.
    assert!(mounted.server.count("USER") <= 4, "{:?}", mounted.server.transcript());
}

#[test]
fn a_server_that_answers_out_of_turn_is_noticed_and_has_every_file_as_it_is() {
    stores_one_of_them_twice(Writing { out_of_turn: true, ..Writing::default() });
}

#[test]
fn a_server_that_loses_what_comes_during_a_transfer_is_noticed_and_has_every_file_as_it_is() {
    stores_one_of_them_twice(Writing { drops_behind: true, ..Writing::default() });
}

/// Who has to send a file again must still be allowed to.
#[test]
fn files_that_their_owner_may_not_write_are_sent_again_all_the_same() {
    let good = Writing::default();
    for writing in
        [good.clone(), Writing { out_of_turn: true, ..good.clone() }, Writing { drops_behind: true, ..good }]
    {
        store_all(writing, 0o404);
    }
}

fn stores_one_of_them_twice(writing: Writing) {
    let mounted = store_all(writing, 0o604);
    let commands = commands_of_the_last(&mounted);
    assert_eq!(commands, ["STOR", "EPSV", "SITE", "MFMT", "MLST"], "{:?}", mounted.server.transcript());
    assert_eq!(mounted.server.count("STOR"), FILES as usize + 1);
}
