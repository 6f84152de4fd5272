"""The rows of the table: everyday work on a mount, and the same by tools that need no mount, where they can.

Each is a piece of bash, with MNT (the mount), URL (the server), DATA (what the server shows, on its own disk), EXPECTED
(what listings must say), OUT (an empty directory) and PYTHON. It fails when a byte is wrong, itself or in `check`.
"""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Work:
    needs: tuple  # parts of the data
    run: dict  # what is timed, by kind of peer
    before: dict = field(default_factory=dict)  # done first, by kind of peer, not timed
    check: str = ""  # done afterwards, not timed


# Functions for all of them. lftp(1) moves eight files at once, and gives up where it would wait for minutes.
PRELUDE = r"""
set -euo pipefail
fetch() { curl --no-progress-meter --fail ${AUTHORITY:+--ssl-reqd --cacert "$AUTHORITY"} "$@"; }
lftp_do() {
  lftp -c "set cmd:fail-exit yes; set net:timeout 30; set net:max-retries 2; set mirror:parallel-transfer-count 8
    ${AUTHORITY:+set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ssl:ca-file $AUTHORITY}
    open $URL; $1"
}
files() { find "$1" -type f -printf '%P %s\n' | sort; }
names_and_sizes() { tr -d '\r' | awk 'NF >= 9 { print $9, $5 }' | sort; }
size() { stat -c %s "$1"; }
# Until the server has all of it: who answers close() early is not faster for it.
landed() { until [ "$(size "$1" 2>/dev/null)" = "$(size "$2")" ]; do sleep .02; done; }
all_landed() { until files "$1" 2>/dev/null | cmp -s - "$2"; do sleep .02; done; }
"""

_BIG = '"$DATA/big/256m.bin"'
_DEEP = "tree/d50/e3/f2.txt"

WORKS = {
    "seqread256": Work(("big256",), {
        "mount": f'cmp "$MNT/big/256m.bin" {_BIG}',
        "curl": f'fetch "$URL/big/256m.bin" | cmp - {_BIG}',
        "lftp": f'lftp_do "cat big/256m.bin" | cmp - {_BIG}',
    }),
    "rand4k_100": Work(("big1g",), {
        "mount": '"$PYTHON" "$HERE/random_reads.py" "$MNT/big/1g.bin" "$DATA/big/1g.bin"',
    }),
    "ls_flat20k": Work(("flat",), {
        "mount": 'ls -l "$MNT/flat" | names_and_sizes | cmp - "$EXPECTED/flat"',
        "curl": 'fetch "$URL/flat/" | names_and_sizes | cmp - "$EXPECTED/flat"',
        "lftp": 'lftp_do "ls flat" | names_and_sizes | cmp - "$EXPECTED/flat"',
    }),
    "find_600dirs": Work(("tree",), {
        "mount": 'files "$MNT/tree" | cmp - "$EXPECTED/tree"',
        # It shows no sizes.
        "lftp": 'lftp_do "find tree" | sed -n "s|^tree/||; /txt$/p" | sort | cmp - <(cut -d" " -f1 "$EXPECTED/tree")',
    }),
    "stat_one_deep": Work(("tree",), {
        "mount": f'test "$(size "$MNT/{_DEEP}")" = "$(size "$DATA/{_DEEP}")"',
        "curl": f'fetch --head "$URL/{_DEEP}" | tr -d "\\r" | grep -x "Content-Length: $(size "$DATA/{_DEEP}")"',
    }),
    "read500small": Work(("small",), {
        "mount": 'diff -r "$MNT/small" "$DATA/small"',
        "curl": 'mkdir "$OUT/small"; fetch --parallel --parallel-max 8 -o "$OUT/small/s#1.dat" "$URL/small/s[000-499].dat"'
                ' && diff -r "$OUT/small" "$DATA/small"',
        "lftp": 'lftp_do "mirror small $OUT/small" && diff -r "$OUT/small" "$DATA/small"',
    }),
    "tar_tree2000": Work(("tree",), {
        "mount": 'mkdir "$OUT/tree"; tar -C "$MNT/tree" -cf - . | tar -C "$OUT/tree" -xf -',
        "lftp": 'lftp_do "mirror tree $OUT/tree"',
    }, check='diff -r "$OUT/tree" "$DATA/tree"'),
    "write256": Work(("big256",), {
        "mount": f'cp {_BIG} "$MNT/in/w.bin"; landed "$DATA/in/w.bin" {_BIG}',
        "curl": f'fetch -T {_BIG} "$URL/in/w.bin"',
        "lftp": 'lftp_do "put $DATA/big/256m.bin -o in/w.bin"',
    }, check=f'cmp "$DATA/in/w.bin" {_BIG}'),
    "write500small": Work(("small",), {
        "mount": 'cp -r "$DATA/small" "$MNT/in/small"; all_landed "$DATA/in/small" "$EXPECTED/small"',
        "lftp": 'lftp_do "mirror -R $DATA/small in/small"',
    }, check='diff -r "$DATA/in/small" "$DATA/small"'),
    "reread256": Work(("big256",), {
        "mount": f'cmp "$MNT/big/256m.bin" {_BIG}',
    }, before={"mount": f'cmp "$MNT/big/256m.bin" {_BIG}'}),
}

# How cost grows: the same work on ten times as much, and much of other things. `--scale` runs these.
_LIST = 'ls -l "$MNT/scale/{0}" > "$OUT/listed"'
_LISTED = """find "$DATA/scale/{0}" -type f -printf '%f %s\\n' | sort | cmp - <(names_and_sizes < "$OUT/listed")"""
_FIND = """find "$MNT/scale/{0}" -printf '%y %P %s\\n' > "$OUT/found"
  test "$(grep -c '^d' "$OUT/found")" = {1} && test "$(grep -c '^f .* 1$' "$OUT/found")" = {1}"""

SCALE = {
    **{f"ls_{name}": Work((f"names-{count}",), {"mount": _LIST.format(f"names-{count}")},
                          check=_LISTED.format(f"names-{count}"))
       for name, count in (("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000))},
    **{f"find_{name}dirs": Work((f"dirs-{count}",), {"mount": _FIND.format(f"dirs-{count}", count)})
       for name, count in (("1k", 1_000), ("10k", 10_000), ("100k", 100_000))},
    **{f"sparse_{name}": Work((f"sparse-{size}",),
                              {"mount": f'"$PYTHON" "$HERE/scale.py" sparse "$MNT/scale/sparse-{size}" {size}'})
       for name, size in (("1g", 1 << 30), ("100g", 100 << 30))},
    **{f"open_{count}": Work(("open",),
                             {"mount": f'"$PYTHON" "$HERE/scale.py" open "$MNT/scale/open" {count}'})
       for count in (10, 100, 1_000)},
    **{f"processes_{count}": Work(("open",),
                                  {"mount": f'"$PYTHON" "$HERE/scale.py" processes "$MNT/scale/open" {count}'})
       for count in (1, 8, 64)},
}
