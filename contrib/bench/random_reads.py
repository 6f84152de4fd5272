"""random_reads.py FILE REFERENCE: 100 reads of 4 KiB at places that a fixed seed chooses, compared with the reference."""
import os
import random
import sys

PAGE = 4096

source = random.Random(3)
file, reference = (os.open(path, os.O_RDONLY) for path in sys.argv[1:])
pages = os.fstat(reference).st_size // PAGE
for _ in range(100):
    at = source.randrange(pages) * PAGE
    if os.pread(file, PAGE, at) != os.pread(reference, PAGE, at):
        sys.exit(f"wrong bytes at {at}")
