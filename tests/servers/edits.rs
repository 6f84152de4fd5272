//! Changes inside of files: by stream editors, an editor, patches, appends, truncation, memory maps, a database.

use crate::common::material;
use crate::common::scenario::{Scenario, rehearse, scenario};
use crate::common::server::Kind;
use crate::tools::on_mounts;

on_every_server!(edited_files_are_right, several_handles_see_one_file, a_database_keeps_its_rows);

pub(crate) const EDITS: [Scenario; 8] = [
    scenario(
        "sed-perl",
        r#"
        cp "$1/text" text
        chmod 640 text
        sed -i 's/editors/stream editors/' text
        sed -i.orig '1,10d' text
        perl -pi -e 's/plain/very plain/' text
        perl -i.bak -ne 'print unless /7 of/' text
        ls
        "#,
    ),
    scenario(
        "append",
        r#"
        echo one >log
        for word in two three four; do echo $word >>log; done
        cp "$1/big" big
        cat "$1/text" >>big
        seq 50 | while read -r n; do echo "$n"; done >>log
        # One handle that was open all the time, and others that append beside it.
        { echo first; echo beside >>both; echo last; } >>both
        cat both
        : >empty
        cat "$1/text" >>empty
        "#,
    ),
    scenario(
        "patch",
        r#"
        cp "$1/big" big
        printf middle | dd of=big bs=1 seek=1234567 conv=notrunc status=none
        printf start | dd of=big conv=notrunc status=none
        dd if="$1/text" of=big bs=4096 seek=700 conv=notrunc status=none
        printf beyond | dd of=big bs=1 seek=3500000 conv=notrunc status=none
        printf hole | dd of=sparse bs=1 seek=400000 conv=notrunc status=none
        # In any order, at once, with what lies between left as it is.
        cp "$1/big" parts
        python3 - <<'END'
import os
fd = os.open('parts', os.O_RDWR)
for at in (2999990, 5, 1500000, 700001, 0, 2999999):
    os.pwrite(fd, b'<%d>' % at, at)
    print(os.pread(fd, 30, max(0, at - 10)))
os.fsync(fd)
os.pwrite(fd, b'after fsync', 1000000)
print(os.fstat(fd).st_size)
os.close(fd)
END
        "#,
    ),
    scenario(
        "truncate",
        r#"
        cp "$1/big" big
        truncate -s 1000000 big
        truncate -s 1500000 big
        truncate -s +10 big
        cp "$1/text" text
        truncate -s 0 text
        truncate -s 100000 new
        cp "$1/text" rewritten
        echo short >rewritten
        python3 - <<'END'
import os
fd = os.open('held', os.O_RDWR | os.O_CREAT)
os.write(fd, b'0123456789' * 100)
os.ftruncate(fd, 15)
os.ftruncate(fd, 30)
print(os.pread(fd, 100, 0))
os.lseek(fd, 0, os.SEEK_END)
os.write(fd, b'end')
os.truncate('held', 20)
print(os.fstat(fd).st_size, os.stat('held').st_size)
os.close(fd)
END
        "#,
    ),
    scenario(
        "map",
        r#"
        cp "$1/big" big
        python3 - <<'END'
import mmap, os
fd = os.open('big', os.O_RDWR)
m = mmap.mmap(fd, 0)
m[100:105] = b'first'
m[2000000:2000006] = b'middle'
m.flush()
print(os.pread(fd, 5, 100))
m[2999000:2999004] = b'last'
m.close()
os.close(fd)
print(open('big', 'rb').read()[2999000:2999004])
END
        "#,
    ),
    scenario(
        "editor",
        r#"
        vim=$(command -v vim || command -v vim.tiny)
        edit() { "$vim" -u NONE -i NONE -N -es -c "set backup backupext=~ writebackup swapfile updatecount=200 $1" -c '%s/plain/edited/g' -c 'wq' "$2"; }
        for copy in yes no auto; do
          cp "$1/text" $copy
          chmod 640 $copy
          edit backupcopy=$copy $copy
        done
        edit "backupcopy=no nobackup" yes || true
        ls -A
        grep -c edited yes no auto
        "#,
    ),
    scenario(
        "temporary",
        r#"
        # As many programs save: a new file, synced, renamed over the old one.
        cp "$1/text" text
        python3 - <<'END'
import os
for round in range(5):
    fd = os.open('.text.new', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b'round %d\n' % round * 500)
    os.fchmod(fd, 0o644)
    os.fsync(fd)
    os.close(fd)
    os.rename('.text.new', 'text')
    d = os.open('.', os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(d)
    os.close(d)
    print(open('text').readline().strip())
END
        "#,
    ),
    scenario(
        "space",
        r#"
        python3 - <<'END'
import os
fd = os.open('allocated', os.O_RDWR | os.O_CREAT)
os.posix_fallocate(fd, 0, 50000)
print(os.fstat(fd).st_size)
source = os.open('source', os.O_RDWR | os.O_CREAT)
os.write(source, b'0123456789' * 10000)
try:
    done = 0
    while done < 100000:
        done += os.copy_file_range(source, fd, 100000 - done, done, done)
except OSError:
    os.pwrite(fd, os.pread(source, 100000, 0), 0)
print(os.fstat(fd).st_size)
END
        cp --reflink=auto --sparse=always source copied
        "#,
    ),
];

pub(crate) const HANDLES: [Scenario; 3] = [
    scenario(
        "beside",
        r#"
        python3 - <<'END'
import os
one = os.open('file', os.O_RDWR | os.O_CREAT)
os.write(one, b'unsent')
two = os.open('file', os.O_RDWR)
print(os.read(two, 100), os.stat('file').st_size)
os.pwrite(two, b'TWO', 2)
print(os.pread(one, 100, 0))
end = os.open('file', os.O_WRONLY | os.O_APPEND)
os.write(end, b' end')
print(os.pread(one, 100, 0), os.fstat(two).st_size)
os.close(two)
print(os.pread(one, 100, 0))
os.write(end, b' more')
os.close(one)
os.close(end)
print(open('file', 'rb').read())
late = os.open('file', os.O_RDONLY)
again = os.open('file', os.O_WRONLY | os.O_TRUNC)
os.write(again, b'new content')
print(os.read(late, 100))
os.close(again)
print(os.pread(late, 100, 0))
END
        "#,
    ),
    scenario(
        "locks",
        r#"
        echo 0 >count
        for process in 1 2 3 4; do
          for step in 1 2 3; do
            flock lock bash -c 'read -r n <count; echo $((n + 1)) >count'
          done &
        done
        wait
        cat count
        "#,
    ),
    scenario(
        "kept",
        r#"
        # Modes of files that nobody may write take effect for the next open only.
        python3 - <<'END'
import os
fd = os.open('locked', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
os.write(fd, b'written through the handle that made it')
os.close(fd)
fd = os.open('later', os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b'x')
os.utime(fd, (1000000000, 1000000000))
os.fchmod(fd, 0o600)
os.close(fd)
s = os.stat('later')
print(oct(s.st_mode), int(s.st_mtime))
os.utime('locked', (1100000000, 1100000000))
print(int(os.stat('locked').st_mtime))
END
        "#,
    ),
];

pub(crate) const DATABASE: [Scenario; 1] = [scenario(
    "sqlite",
    r#"
    sqlite3 db 'pragma journal_mode=delete; create table t (id integer primary key, v text); create index i on t (v);'
    { echo 'begin;'; seq 1000 | sed "s/.*/insert into t values (&, 'row & of a thousand');/"; echo 'commit;'; } | sqlite3 db
    seq 1001 1100 | sed "s/.*/insert into t values (&, 'one by one &');/" | sqlite3 db
    sqlite3 db 'begin; delete from t where id < 500; rollback;'
    sqlite3 db 'delete from t where id % 10 = 3; update t set v = v || v where id % 7 = 0;'
    sqlite3 db 'pragma integrity_check; select count(*), sum(length(v)), max(id) from t;'
    sqlite3 db vacuum
    sqlite3 db 'pragma integrity_check;'
    sqlite3 db .dump | sha256sum
    ls
    "#,
)];

fn edited_files_are_right(kind: Kind) {
    on_mounts(kind, 20, &EDITS);
}

fn several_handles_see_one_file(kind: Kind) {
    on_mounts(kind, 20, &HANDLES);
}

fn a_database_keeps_its_rows(kind: Kind) {
    on_mounts(kind, 20, &DATABASE);
}

#[test]
fn the_scenarios_of_edits_are_right_in_a_plain_directory() {
    let material = material::make(20);
    for scenarios in [&EDITS[..], &HANDLES, &DATABASE] {
        rehearse(material.path(), scenarios);
    }
}
