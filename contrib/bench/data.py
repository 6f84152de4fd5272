"""The files that the work is done on: the same names, sizes and bytes on every machine, from a fixed seed.

A part is made when a row needs it, and stays for the next run where the user gave a directory for it.
"""
import os
import random
import subprocess
from pathlib import Path

MIB = 1 << 20

# Owner of what the servers may change. In no password file but theirs.
UID = 60990


def _big(root, name, mib, seed):
    source = random.Random(seed)
    (root / "big").mkdir(exist_ok=True)
    with open(root / "big" / name, "wb") as file:
        for _ in range(mib):
            file.write(source.randbytes(MIB))


def _flat(root):
    (root / "flat").mkdir(exist_ok=True)
    for i in range(20_000):
        (root / "flat" / f"f{i:05}.txt").write_bytes(b"x" * (i % 100))


def _tree(root):
    source = random.Random(3)
    for d in range(100):
        for e in range(5):
            directory = root / f"tree/d{d:02}/e{e}"
            directory.mkdir(parents=True, exist_ok=True)
            for f in range(4):
                (directory / f"f{f}.txt").write_bytes(source.randbytes(source.randint(200, 16_000)))


def _small(root):
    source = random.Random(4)
    (root / "small").mkdir(exist_ok=True)
    for i in range(500):
        (root / "small" / f"s{i:03}.dat").write_bytes(source.randbytes(source.randint(1_000, 20_000)))


# The last bytes of a sparse file.
END = b"the end."


def name(number):
    """The name of a file of the part `open`."""
    return f"o{number:04}"


def content(number):
    """What is in it: 4,096 bytes at most, of many lengths."""
    return random.Random(number).randbytes(1 + number * 37 % 4096)


def _open(root):
    top = root / "scale/open"
    top.mkdir(parents=True, exist_ok=True)
    for number in range(1024):
        (top / name(number)).write_bytes(content(number))


def _names(root, count):
    top = root / f"scale/names-{count}"
    top.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        os.close(os.open(f"{top}/file-{number:07}.txt", os.O_CREAT | os.O_WRONLY, 0o644))


def _dirs(root, count):
    """`count` directories, ten in each, and a file of one byte in every one."""
    top = root / f"scale/dirs-{count}"
    top.mkdir(parents=True, exist_ok=True)
    places = [str(top)]
    for number in range(count):
        if number:
            # The parent of number n is number (n - 1) // 10.
            places.append(f"{places[(number - 1) // 10]}/d{number % 10}")
            os.mkdir(places[number])
        with open(f"{places[number]}/file", "wb") as file:
            file.write(b"1")


def _sparse(root, size):
    (root / "scale").mkdir(exist_ok=True)
    with open(root / f"scale/sparse-{size}", "wb") as file:
        file.seek(size - len(END))
        file.write(END)


PARTS = {
    **{f"names-{count}": lambda root, count=count: _names(root, count) for count in (10_000, 100_000, 1_000_000)},
    **{f"dirs-{count}": lambda root, count=count: _dirs(root, count) for count in (1_000, 10_000, 100_000)},
    **{f"sparse-{size}": lambda root, size=size: _sparse(root, size) for size in (1 << 30, 100 << 30)},
    "open": _open,
    "big256": lambda root: _big(root, "256m.bin", 256, 1),
    "big1g": lambda root: _big(root, "1g.bin", 1024, 2),
    "flat": _flat,
    "tree": _tree,
    "small": _small,
}


def make(root: Path, parts):
    """Makes those of `parts` that are missing below `root`, and an empty directory `in` that the server may change."""
    made = root.parent / f"{root.name}.made"
    made.mkdir(exist_ok=True)
    for part in sorted(parts):
        if not (made / part).exists():
            PARTS[part](root)
            (made / part).touch()
    subprocess.run(["rm", "-rf", root / "in"], check=True)
    (root / "in").mkdir()
    os.chown(root / "in", UID, UID)


def expect(root: Path, into: Path):
    """Writes what a listing of each directory must say, `path size` in each line, in the order of sort(1) in C."""
    into.mkdir()
    for name in ("flat", "tree", "small"):
        top = root / name
        files = [path for path in top.rglob("*") if path.is_file()] if top.exists() else []
        lines = sorted(f"{path.relative_to(top)} {path.stat().st_size}\n".encode() for path in files)
        (into / name).write_bytes(b"".join(lines))


def warm(root: Path):
    """Reads all once, so that no row waits for the disk of the server; not the scale table's, which was just made or has
    little in it."""
    for top in (path for path in root.iterdir() if path.name != "scale"):
        for path in (path for path in top.rglob("*") if path.is_file()):
            with open(path, "rb") as file:
                while file.read(MIB):
                    pass
