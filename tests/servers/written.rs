//! Many new names, large new files: what they may cost.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::bounded::{shell, succeeded};
use crate::common::compare::same_file;
use crate::common::content::{MIB, link_big_file};
use crate::common::mount::Mount;
use crate::common::server::{Kind, Options, Server, User};
use crate::common::trace::verbs;
use crate::common::{fresh_dir, tls_version, writable_dir};

on_every_server!(five_thousand_new_names_cost_one_listing, a_gigabyte_written_stays_in_its_memory);

const BOUND: Duration = Duration::from_secs(240);

fn five_thousand_new_names_cost_one_listing(kind: Kind) {
    // ProFTPD 1.3.8 gives two tickets of TLS 1.3 with a login and none with an upload, so that each second new file costs
    // a login; and it does not accept one for 200 ms after each session that ends. More would take ten minutes.
    let few = kind == Kind::Proftpd && tls_version().as_deref() == Some("1.3");
    let names = if few { 500 } else { 5000 };
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options::default());
    // On a slow machine this takes longer than a listing is believed by default.
    let mount = Mount::start(&server.url(User::Tester, "/"), &["debug", "cache_timeout=600"]);
    succeeded("mkdir", shell(BOUND, mount.path(), "mkdir flat; ls flat", &[]));
    let before = mount.trace().len();
    assert!(before > 0, "no protocol trace: {}", mount.log());
    // Written by a program that looks at close(2), which the shell does not.
    let script = r#"
        cd flat
        perl -e 'for (1..shift) { open(F, ">", "f$_") && print(F "$_\n") && close(F) or die "f$_: $!" }' "$1" || exit
        for number in $(seq 1 50 "$1"); do
            [ -s "f$number" ]
            [ ! -e "absent$number" ]
            rm "f$((number + 1))"
        done
        perl -e 'for ($n = 1, $end = shift; $n <= $end; $n += 50) { rename("f$n", "m$n") or die }' "$1"
        mkdir dir
        ls | wc -l
        ls -l | awk '$5 > 0 && /^-/' | wc -l"#;
    let argument = names.to_string();
    let told = succeeded("create", shell(BOUND, mount.path(), script, &[argument.as_ref()]));
    let left = names - names / 50;
    assert_eq!(String::from_utf8_lossy(&told), format!("{}\n{left}\n", left + 1));
    let sent = verbs(&mount.trace()[before..]);
    let listings: usize = ["LIST", "MLSD", "NLST", "STAT"].iter().filter_map(|verb| sent.get(*verb)).sum();
    assert!(listings <= 1, "{sent:?}");
    assert_eq!(fs::read_dir(served.path().join("flat")).unwrap().count(), left + 1);
    let last = names - 49;
    assert_eq!(fs::read_to_string(served.path().join(format!("flat/m{last}"))).unwrap(), format!("{last}\n"));
}

fn a_gigabyte_written_stays_in_its_memory(kind: Kind) {
    let source = fresh_dir("source-");
    link_big_file(&source.path().join("huge"), 1024, 1024 * MIB);
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &["cache_size=32M"]);
    succeeded(
        "cp",
        shell(
            BOUND,
            Path::new("/"),
            "cp \"$1\" \"$2\"",
            &[source.path().join("huge").as_os_str(), mount.path().join("huge").as_os_str()],
        ),
    );
    same_file(BOUND, &served.path().join("huge"), &source.path().join("huge"));
    // Not in order, so that none of it can be sent before the end.
    let script = "
        dd if=\"$1\" of=back bs=1M count=128 skip=128 seek=128 status=none
        dd if=\"$1\" of=back bs=1M count=128 conv=notrunc status=none";
    let huge = source.path().join("huge");
    succeeded("dd", shell(BOUND, mount.path(), script, &[huge.as_os_str()]));
    let compared = "cmp -n 268435456 \"$1\" \"$2\"";
    let back = served.path().join("back");
    succeeded("cmp", shell(BOUND, Path::new("/"), compared, &[huge.as_os_str(), back.as_os_str()]));
    assert!(mount.peak_rss() < (64 + 32) * MIB, "peak memory {} MiB", mount.peak_rss() / MIB);
}
