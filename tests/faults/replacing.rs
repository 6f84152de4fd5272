//! Names that change while the server fails or refuses: neither the old nor the new content is ever lost.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::common::bounded::eventually;
use crate::common_ftpd::{Quirks, ReplyCut, Tree, Writing, pattern};
use crate::mounted::{HEALING, Mounted, close, errno, errno_name, table};

const MOST_REPLIES: usize = 40;

fn old() -> Vec<u8> {
    pattern(31, 1000)
}

fn new() -> Vec<u8> {
    pattern(32, 2000)
}

/// `target` with the old content and `source` with the new one.
fn tree() -> Tree {
    let mut tree = Tree::bare();
    tree.put("/home/u/target", old());
    tree.put("/home/u/source", new());
    tree
}

fn mounted(replaces: bool) -> Mounted {
    let writing = Writing { rnto_replaces: replaces, rnfr_insists: true, ..Writing::default() };
    let mounted = Mounted::start(tree(), Quirks { writing, ..Quirks::default() }, &[]);
    mounted.call("a listing", |dir| fs::read_dir(dir).map(Iterator::count)).unwrap();
    mounted
}

fn rename(mounted: &Mounted) -> io::Result<()> {
    mounted.call("rename", |dir| fs::rename(dir.join("source"), dir.join("target")))
}

/// Files of the login directory with this content.
fn holders(mounted: &Mounted, content: &[u8]) -> Vec<String> {
    let names = mounted.server.tree().names("/home/u");
    names.into_iter().filter(|name| mounted.landed(name).is_some_and(|bytes| bytes == content)).collect()
}

#[test]
fn a_rename_replaces_also_where_rnto_refuses() {
    for replaces in [true, false] {
        let mounted = mounted(replaces);
        rename(&mounted).unwrap();
        assert_eq!(mounted.server.tree().names("/home/u"), ["target"], "RNTO replaces: {replaces}");
        assert!(mounted.landed("target").unwrap() == new());
        assert!(mounted.read("target").unwrap() == new());
        assert_eq!(errno(&mounted.read("source")), libc::ENOENT);
    }
}

#[test]
fn a_rename_that_is_refused_changes_nothing() {
    let mounted = mounted(false);
    mounted.server.quirks().writing.denied = Some("550 Permission denied");
    assert_eq!(errno(&rename(&mounted)), libc::EACCES);
    assert_eq!(mounted.server.tree().names("/home/u"), ["source", "target"]);
    assert!(mounted.read("target").unwrap() == old() && mounted.read("source").unwrap() == new());
}

#[test]
fn a_rename_cut_at_any_reply_loses_neither_content() {
    struct Point {
        replaces: bool,
        cut: ReplyCut,
    }
    let mut points = Vec::new();
    for replaces in [true, false] {
        for for_ever in [false, true] {
            for lost in [false, true] {
                points.extend(
                    (1..=MOST_REPLIES)
                        .map(|after| Point { replaces, cut: ReplyCut { after, lost, for_ever } }),
                );
            }
        }
    }
    // Most of the points are behind the last reply of a rename: these are not worth a mount.
    let replies = |replaces| {
        let mounted = mounted(replaces);
        mounted.server.quirks().writing.reply_cut =
            Some(ReplyCut { after: 1000, lost: false, for_ever: false });
        rename(&mounted).unwrap();
        let left = mounted.server.quirks().writing.reply_cut.map_or(0, |cut| cut.after);
        1000 - left
    };
    let (direct, detour) = (replies(true), replies(false));
    assert!(direct >= 2 && detour > direct && detour < MOST_REPLIES, "{direct} and {detour} replies");
    points.retain(|point| point.cut.after <= if point.replaces { direct } else { detour });
    let rows = table(&points, |point| {
        let mounted = mounted(point.replaces);
        mounted.server.quirks().writing.reply_cut = Some(point.cut);
        let result = rename(&mounted);
        let names = mounted.server.tree().names("/home/u").join(" ");
        let (held_old, held_new) = (holders(&mounted, &old()), holders(&mounted, &new()));
        println!(
            "replaces {:<5} {:?}: {:<12} {names}; old in {held_old:?}, new in {held_new:?}",
            point.replaces,
            point.cut,
            errno_name(&result)
        );
        let in_target = mounted.landed("target");
        let right = match &result {
            Ok(()) => in_target == Some(new()) && !names.contains("source"),
            // Nothing is lost, and without the detour the target is never without content.
            Err(_) => {
                !held_new.is_empty()
                    && (in_target == Some(new()) || !held_old.is_empty())
                    && (!point.replaces || in_target.is_some())
            }
        };
        if !right {
            return Some(format!("replaces {}, {:?}: {result:?}, {names}", point.replaces, point.cut));
        }
        // Told of the error, a program tries again.
        mounted.server.quirks().writing.reply_cut = None;
        let again = eventually(HEALING, "a second rename", || match rename(&mounted) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => None,
            other => Some(other.is_ok()),
        });
        let done = mounted.landed("target") == Some(new());
        (!done).then(|| format!("{}, {:?}: after a second one ({again}) {names}", point.replaces, point.cut))
    });
    let wrong: Vec<_> = rows.iter().flatten().collect();
    println!("{} points, {} wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_change_of_an_open_file_cut_at_any_reply_loses_neither_content() {
    #[derive(Debug, Clone, Copy)]
    struct Point {
        unlinks: bool,
        replaces: bool,
        /// The reader closes it only when the server is back.
        stays: bool,
        cut: ReplyCut,
    }
    let change = |mounted: &Mounted, unlinks: bool| match unlinks {
        true => mounted.call("unlink", |dir| fs::remove_file(dir.join("target"))),
        false => rename(mounted),
    };
    let open = |mounted: &Mounted| mounted.call("open", |dir| fs::File::open(dir.join("target"))).unwrap();
    let mut points = Vec::new();
    for (unlinks, replaces) in [(true, true), (false, true), (false, false)] {
        let replies = {
            let mounted = mounted(replaces);
            let reader = open(&mounted);
            mounted.server.quirks().writing.reply_cut =
                Some(ReplyCut { after: 1000, lost: false, for_ever: false });
            change(&mounted, unlinks).unwrap();
            let left = mounted.server.quirks().writing.reply_cut.map_or(0, |cut| cut.after);
            mounted.call("close", move |_| drop(reader));
            1000 - left
        };
        assert!((2..MOST_REPLIES).contains(&replies), "{replies} replies");
        for (for_ever, lost) in [(false, false), (false, true), (true, false), (true, true)] {
            let cut = |after| ReplyCut { after, lost, for_ever };
            // Every other point, and the others of them where the reply alone is lost.
            let stays = |after: usize| for_ever && after.is_multiple_of(2) != lost;
            let point = |after| Point { unlinks, replaces, stays: stays(after), cut: cut(after) };
            points.extend((1..=replies).map(point));
        }
    }
    let rows = table(&points, |&point| {
        let mounted = mounted(point.replaces);
        let mut reader = Some(open(&mounted));
        mounted.server.quirks().writing.reply_cut = Some(point.cut);
        let result = change(&mounted, point.unlinks);
        if !point.stays {
            let reader = reader.take();
            mounted.call("close", move |_| drop(reader));
        }
        mounted.server.quirks().writing.reply_cut = None;
        // What a look at the directory shows once the server is back.
        let shown = eventually(HEALING, "what is there", || {
            let names = mounted.call("ls", |dir| {
                let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().unwrap()));
                let mut names = names.collect::<io::Result<Vec<_>>>()?;
                names.sort();
                Ok::<_, io::Error>(names)
            });
            names.ok()
        });
        let read = reader.map_or(Ok(old()), |mut reader| {
            mounted.call("read, close", move |_| {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| bytes)
            })
        });
        // A file that nobody has open any more goes with its last close, whose end nobody is told.
        let hides = || mounted.server.tree().names("/home/u").iter().any(|name| name.starts_with(".ftpfs"));
        eventually(HEALING, "no hidden file", || (!hides()).then_some(()));
        let (source, target) = (mounted.landed("source"), mounted.landed("target"));
        println!("{point:?}: {:<12} {shown:?}", errno_name(&result));
        let done = match point.unlinks {
            true => source == Some(new()) && target.is_none(),
            false => source.is_none() && target == Some(new()),
        };
        let undone = source == Some(new()) && target == Some(old());
        let is_shown = shown == mounted.server.tree().names("/home/u");
        let is_read = read.as_ref().is_ok_and(|bytes| *bytes == old());
        let right = (done || undone && result.is_err()) && is_shown && is_read;
        (!right).then(|| {
            let names = mounted.server.tree().names("/home/u");
            format!("{point:?}: {result:?}, {names:?}, shown {shown:?}, read {:?}", read.map(|r| r.len()))
        })
    });
    let wrong: Vec<_> = rows.iter().flatten().collect();
    println!("{} points, {} wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_change_of_a_file_that_is_being_written_cut_for_good_loses_no_byte_that_was_confirmed() {
    #[derive(Debug, Clone, Copy)]
    struct Point {
        /// Of the file, all is written anew; else a part.
        whole: bool,
        unlinks: bool,
        cut: ReplyCut,
    }
    let mut patched = old();
    patched[500..506].copy_from_slice(b"unsent");
    let written = |whole: bool| if whole { b"all of it".to_vec() } else { patched.clone() };
    let points: Vec<_> =
        [(false, true), (false, false), (true, true), (true, false)]
            .into_iter()
            .flat_map(|(whole, unlinks)| {
                let cuts = (1..=4).flat_map(move |after| [false, true].map(|lost| (after, lost)));
                cuts.map(move |(after, lost)| ReplyCut { after, lost, for_ever: true })
                    .map(move |cut| Point { whole, unlinks, cut })
            })
            .filter(|point| point.cut.after <= if point.unlinks { 2 } else { 4 })
            .collect();
    let rows = table(&points, |&point| {
        let mounted = mounted(true);
        let whole = point.whole;
        let writer = mounted.call("open, write", move |dir| {
            let mut options = OpenOptions::new();
            let mut writer = options.read(true).write(true).truncate(whole).open(dir.join("target")).unwrap();
            let (at, bytes) = if whole { (0, &b"all of it"[..]) } else { (500, &b"unsent"[..]) };
            writer.seek(SeekFrom::Start(at)).unwrap();
            writer.write_all(bytes).unwrap();
            writer
        });
        mounted.server.quirks().writing.reply_cut = Some(point.cut);
        let result = match point.unlinks {
            true => mounted.call("unlink", |dir| fs::remove_file(dir.join("target"))),
            false => rename(&mounted),
        };
        mounted.server.quirks().writing.reply_cut = None;
        // A program that is told of an error tries again.
        eventually(HEALING, "fsync", || {
            let writer = writer.try_clone().unwrap();
            mounted.call("fsync", move |_| writer.sync_all()).ok()
        });
        mounted.call("close", move |_| drop(writer));
        let hides = || mounted.server.tree().names("/home/u").iter().any(|name| name.starts_with(".ftpfs"));
        eventually(HEALING, "no hidden file", || (!hides()).then_some(()));
        let (source, target) = (mounted.landed("source"), mounted.landed("target"));
        let names = mounted.server.tree().names("/home/u");
        println!("{point:?}: {:<12} {names:?}", errno_name(&result));
        let done = match point.unlinks {
            true => source == Some(new()) && target.is_none(),
            false => source.is_none() && target == Some(new()),
        };
        // fsync() has said that it is there.
        let undone = source == Some(new()) && target == Some(written(whole));
        let right = done || undone && result.is_err();
        (!right).then(|| format!("{point:?}: {result:?}, {names:?}"))
    });
    let wrong: Vec<_> = rows.iter().flatten().collect();
    println!("{} points, {} wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_file_that_the_server_does_not_give_back_yet_comes_back_later_and_stops_nobody() {
    let mounted = mounted(true);
    let reader = mounted.call("open", |dir| fs::File::open(dir.join("target"))).unwrap();
    mounted.server.quirks().writing.reply_cut = Some(ReplyCut { after: 2, lost: true, for_ever: true });
    mounted.call("unlink", |dir| fs::remove_file(dir.join("target"))).unwrap_err();
    assert_eq!(mounted.server.tree().names("/home/u").len(), 2, "one is hidden");
    mounted.server.quirks().writing.denied = Some("450 The file is being used");
    mounted.server.quirks().writing.reply_cut = None;
    let list = |mounted: &Mounted| {
        mounted.call("ls", |dir| {
            let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().unwrap()));
            names.collect::<io::Result<Vec<_>>>()
        })
    };
    let shown = eventually(HEALING, "a listing", || list(&mounted).ok());
    assert_eq!(shown, ["source"]);
    for _ in 0..5 {
        assert!(mounted.read("source").unwrap() == new());
        assert_eq!(list(&mounted).unwrap(), ["source"]);
    }
    mounted.server.quirks().writing.denied = None;
    eventually(HEALING, "the file", || list(&mounted).unwrap().contains(&"target".to_owned()).then_some(()));
    assert_eq!(mounted.server.tree().names("/home/u"), ["source", "target"]);
    assert!(mounted.read("target").unwrap() == old());
    mounted.call("close", move |_| drop(reader));
    assert!(mounted.landed("target").unwrap() == old());
}

#[test]
fn a_file_that_is_unlinked_or_replaced_while_open_stays_with_those_who_have_it() {
    for (what, replaces, unlinks) in [
        ("unlink", true, true),
        ("rename over it", true, false),
        ("rename over it, the long way", false, false),
    ] {
        let mounted = mounted(replaces);
        mounted.call(what, move |dir| {
            let mut reader = fs::File::open(dir.join("target")).unwrap();
            let mut writer = OpenOptions::new().read(true).write(true).open(dir.join("target")).unwrap();
            writer.seek(SeekFrom::Start(500)).unwrap();
            writer.write_all(b"unsent").unwrap();
            match unlinks {
                true => fs::remove_file(dir.join("target")).unwrap(),
                false => fs::rename(dir.join("source"), dir.join("target")).unwrap(),
            }
            let mut expected = old();
            expected[500..506].copy_from_slice(b"unsent");
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            assert!(bytes == expected, "{what}: a reader");
            writer.write_all(b" more").unwrap();
            expected[506..511].copy_from_slice(b" more");
            bytes.clear();
            writer.seek(SeekFrom::Start(0)).unwrap();
            writer.read_to_end(&mut bytes).unwrap();
            assert!(bytes == expected, "{what}: a writer");
            close(writer).unwrap();
            close(reader).unwrap();
        });
        let left: &[&str] = if unlinks { &["source"] } else { &["target"] };
        eventually(HEALING, "the hidden file to go", || {
            (mounted.server.tree().names("/home/u") == left).then_some(())
        });
        if !unlinks {
            assert!(mounted.landed("target").unwrap() == new(), "{what}");
        }
    }
}

#[test]
fn a_new_file_that_is_unlinked_while_open_leaves_nothing() {
    let mounted = mounted(true);
    mounted.call("create, unlink, write, close", |dir| {
        let path = dir.join("temporary");
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all(b"some").unwrap();
        fs::remove_file(&path).unwrap();
        file.write_all(b" bytes").unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"some bytes");
        assert!(fs::metadata(&path).is_err());
        close(file).unwrap();
    });
    eventually(HEALING, "nothing but what was there before", || {
        (mounted.server.tree().names("/home/u") == ["source", "target"]).then_some(())
    });
}

#[test]
fn a_file_renamed_with_unsent_data_arrives_under_its_new_name() {
    for replaces in [true, false] {
        let mounted = mounted(replaces);
        mounted.call("write, rename, close", |dir| {
            let mut file = fs::File::create(dir.join("fresh")).unwrap();
            file.write_all(b"unsent ").unwrap();
            fs::rename(dir.join("fresh"), dir.join("target")).unwrap();
            file.write_all(b"data").unwrap();
            close(file).unwrap();
        });
        assert_eq!(mounted.landed("target").as_deref(), Some(&b"unsent data"[..]), "{replaces}");
        eventually(HEALING, "no other name", || {
            (mounted.server.tree().names("/home/u") == ["source", "target"]).then_some(())
        });
    }
}
