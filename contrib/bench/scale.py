"""Work of the scale table that a shell cannot do: `scale.py sparse FILE SIZE`, `open DIR COUNT`, `processes DIR COUNT`.

Fails when a byte is not what data.py has written.
"""
import os
import sys

import data

PAGE = 4096


def sparse(file, size):
    """The first and last page, and 98 between, of a file that is nothing but zeros and its last eight bytes."""
    descriptor = os.open(file, os.O_RDONLY)
    assert os.fstat(descriptor).st_size == size, "another size"
    pages = size // PAGE
    for number in range(100):
        at = (pages - 1) * number // 99 * PAGE
        wanted = bytes(PAGE) if number < 99 else bytes(PAGE - 8) + data.END
        assert os.pread(descriptor, PAGE, at) == wanted, f"wrong bytes at {at}"


def opened(directory, count):
    """Reads `count` files with all of them open."""
    files = [os.open(f"{directory}/{data.name(number)}", os.O_RDONLY) for number in range(count)]
    for number, descriptor in enumerate(files):
        assert os.pread(descriptor, PAGE, 0) == data.content(number), data.name(number)


def processes(directory, count):
    """Has `count` processes read 1,024 files, each its share."""
    children = []
    for process in range(count):
        child = os.fork()
        if not child:
            failed = 1
            try:
                for number in range(process, 1024, count):
                    with open(f"{directory}/{data.name(number)}", "rb") as file:
                        assert file.read() == data.content(number), data.name(number)
                failed = 0
            finally:
                os._exit(failed)
        children.append(child)
    assert not any([os.waitpid(child, 0)[1] for child in children]), "a process has read other bytes"


if __name__ == "__main__":
    what, where, number = sys.argv[1:]
    {"sparse": sparse, "open": opened, "processes": processes}[what](where, int(number))
