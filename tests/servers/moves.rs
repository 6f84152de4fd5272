//! Names that change: moves within, into and out of the mount, also under open handles.

use std::time::Duration;

use crate::common::bounded::shell;
use crate::common::mount::Mount;
use crate::common::scenario::{Scenario, rehearse, scenario};
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{material, writable_dir};
use crate::tools::on_mounts;

on_every_server!(
    moved_names_are_right,
    open_files_outlive_their_names,
    links_that_the_server_cannot_make_are_refused,
);

const BOUND: Duration = Duration::from_secs(60);

pub(crate) const MOVES: [Scenario; 4] = [
    scenario(
        "mv",
        r#"
        cp -r "$1/tree" one
        mv one two
        mkdir dir
        mv two dir/three
        # One of its files, then one of its directories.
        file=$(find dir/three -type f | LC_ALL=C sort | sed -n 1p)
        mv "$file" "out of it"
        below=$(find dir/three -mindepth 1 -type d | LC_ALL=C sort | tail -n 1)
        mv "$below" .
        echo old >old
        echo new >new
        mv new old
        cat old
        echo kept >kept
        echo other >other
        mv -n other kept || true
        cat kept other
        mkdir full empty
        touch full/file
        mv -T full empty
        mkdir over
        mv -T empty over
        mkdir full
        touch full/other
        mv -T over full 2>/dev/null || echo not empty
        mv -T dir old 2>/dev/null || echo not a directory
        mv -T old dir 2>/dev/null || echo is a directory
        mv dir dir/three/inside 2>/dev/null || echo into itself
        ls -A
        "#,
    ),
    scenario(
        "into",
        r#"
        cp -a "$1/tree" "$2/tree"
        cp -a "$1/big" "$2/big"
        mv "$2/tree" "$2/big" .
        ls -A "$2"
        diff -r "$1/tree" tree
        "#,
    ),
    scenario(
        "out-of",
        r#"
        cp -a "$1/tree" "$1/big" .
        chmod -R u+w tree
        mv tree big "$2/"
        diff -r "$1/tree" "$2/tree"
        cmp "$1/big" "$2/big"
        cd "$2"
        # Of files alone: not every server can set the times of directories.
        find . -type f -printf '%P %m %s %T@\n' | sed 's/\.[0-9]*$//' | LC_ALL=C sort
        "#,
    ),
    scenario(
        "exchange",
        r#"
        echo a >a
        echo b >b
        mv a c
        mv b a
        mv c b
        cat a b
        for n in 1 2 3 4 5 6; do mv a "a$n"; mv "a$n" a; done
        echo again >a1
        rm a1
        echo and again >a1
        ln a hard 2>/dev/null && rm hard || true
        ls -A
        "#,
    ),
];

pub(crate) const OPEN: [Scenario; 4] = [
    scenario(
        "renamed-over",
        r#"
        cp "$1/big" big
        echo old content >old
        python3 - "$1" <<'END'
import os, sys, hashlib
reader = os.open('old', os.O_RDONLY)
large = os.open('big', os.O_RDONLY)
first = os.read(large, 1000)
for name, content in (('new', b'new content'), ('new big', b'small')):
    with open(name, 'wb') as f:
        f.write(content)
os.rename('new', 'old')
os.rename('new big', 'big')
print(os.pread(reader, 100, 0))
rest = b''
while part := os.read(large, 1 << 20):
    rest += part
print(hashlib.sha256(first + rest).hexdigest() == hashlib.sha256(open(sys.argv[1] + '/big', 'rb').read()).hexdigest())
print(open('old', 'rb').read(), open('big', 'rb').read(), sorted(os.listdir('.')))
os.close(reader)
os.close(large)
# The same with a writer of the old file, whose bytes are for nobody afterwards.
writer = os.open('old', os.O_RDWR)
os.pwrite(writer, b'NEVER SEEN', 0)
with open('third', 'wb') as f:
    f.write(b'third content')
os.rename('third', 'old')
os.pwrite(writer, b' BY NAME', 10)
print(os.pread(writer, 100, 0), open('old', 'rb').read())
os.fsync(writer)
os.close(writer)
print(open('old', 'rb').read(), sorted(os.listdir('.')))
END
        "#,
    ),
    scenario(
        "unlinked",
        r#"
        cp "$1/big" big
        python3 - "$1" <<'END'
import os, sys
big = os.open('big', os.O_RDWR)
os.unlink('big')
print(os.path.exists('big'), os.fstat(big).st_size)
original = open(sys.argv[1] + '/big', 'rb').read()
print(os.pread(big, 3000, 2000000) == original[2000000:2003000])
os.pwrite(big, b'changed', 1000)
os.pwrite(big, b'grown', 3000000)
print(os.pread(big, 7, 1000), os.pread(big, 100, 3000000), os.fstat(big).st_size)
os.ftruncate(big, 2000)
print(os.fstat(big).st_size, os.listdir('.'))
os.fsync(big)
# The name is free meanwhile.
with open('big', 'wb') as f:
    f.write(b'another file')
os.pwrite(big, b'not in the other', 0)
print(open('big', 'rb').read(), os.pread(big, 16, 0))
os.close(big)
print(open('big', 'rb').read(), os.listdir('.'))
# A file that never was on the server.
new = os.open('new', os.O_RDWR | os.O_CREAT)
os.write(new, b'never sent')
os.unlink('new')
os.write(new, b' at all')
print(os.pread(new, 100, 0), os.listdir('.'))
os.close(new)
print(os.listdir('.'))
END
        "#,
    ),
    scenario(
        "renamed",
        r#"
        mkdir dir
        python3 - <<'END'
import os
fd = os.open('file', os.O_RDWR | os.O_CREAT)
os.write(fd, b'before ')
os.rename('file', 'moved')
os.write(fd, b'between ')
os.fsync(fd)
os.rename('moved', 'dir/moved')
os.write(fd, b'after ')
os.rename('dir', 'other')
os.write(fd, b'last')
print(open('other/moved', 'rb').read(), os.listdir('.'))
os.close(fd)
print(open('other/moved', 'rb').read())
reader = os.open('other/moved', os.O_RDONLY)
os.rename('other', 'third')
print(os.read(reader, 100))
os.chmod('third/moved', 0o600)
print(oct(os.fstat(reader).st_mode))
END
        "#,
    ),
    scenario(
        "in-the-shell",
        r#"
        echo content >file
        exec 3<file
        rm file
        cat <&3
        exec 3<&-
        exec 4>out
        echo one >&4
        mv out renamed
        echo two >&4
        exec 4>&-
        cat renamed
        # The input is the output, as sort -o and sponge do it.
        seq 100 >numbers
        sort -r -o numbers numbers
        ls -A
        "#,
    ),
];

/// A link that leads nowhere is left out: ProFTPD 1.3.8 does not list it.
const LINKS: [Scenario; 1] = [scenario(
    "links",
    r#"
    echo content >file
    mkdir dir
    echo inside >dir/inside
    ln -s file link
    ln -s dir to-dir
    ln -s ../file dir/up
    cat link to-dir/inside dir/up
    readlink link to-dir dir/up
    ln -s file link 2>/dev/null || echo is there
    ln -sf dir/inside link
    cat link
    mv link moved
    echo through >moved
    cat dir/inside
    rm moved
    rm to-dir
    rm -r dir
    ln -s file link
    ls -A
    "#,
)];

#[test]
fn links_are_made_where_the_server_can() {
    on_mounts(Kind::Proftpd, 20, &LINKS);
}

fn links_that_the_server_cannot_make_are_refused(kind: Kind) {
    let served = writable_dir("served-");
    let server = Server::start(kind, served.path(), &Options::default());
    let mount = Mount::start(&server.url(User::Tester, "/"), &[]);
    let script = "echo content >file; ln -s file link 2>&1; ln file hard 2>&1; ls -A";
    let told = shell(BOUND, mount.path(), script, &[]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let hard = "ln: failed to create hard link 'hard' => 'file': Operation not permitted\n";
    match kind {
        Kind::Proftpd => assert_eq!(told, format!("{hard}file\nlink\n")),
        Kind::Vsftpd | Kind::PureFtpd | Kind::Pyftpdlib => {
            let refused = "ln: failed to create symbolic link 'link': Operation not permitted\n";
            assert_eq!(told, format!("{refused}{hard}file\n"));
        }
    }
}

fn moved_names_are_right(kind: Kind) {
    on_mounts(kind, 100, &MOVES);
}

fn open_files_outlive_their_names(kind: Kind) {
    on_mounts(kind, 20, &OPEN);
}

#[test]
fn the_scenarios_of_moves_are_right_in_a_plain_directory() {
    let material = material::make(100);
    rehearse(material.path(), &MOVES);
    rehearse(material.path(), &OPEN);
    rehearse(material.path(), &LINKS);
}
