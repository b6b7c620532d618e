# SPDX-License-Identifier: MIT
"""Much data through a child and back, with callbacks, in little memory.

    python tests/streaming.py --mebibytes 1024        the full size

The suite runs it small (test_stress.py). The input is a file that is mapped, not read; the output goes to on_stdout only.
Prints how much the peak of this process's own memory has grown (without the mapped pages, which are the kernel's cache
and are counted apart), and checks that what came back is what went in.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import sys
import tempfile
import time

from plait.subprocess import run

MIB = 1 << 20


def anonymous() -> int:
    """This process's own memory now, in bytes: all that is resident and not a page of a file."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mebibytes", type=int, default=1024)
    # A collector that works at intervals lets a nursery of garbage gather, however much streams through.
    usual = 8.0 if sys.implementation.name == "cpython" else 96.0
    parser.add_argument("--bound", type=float, default=usual, help="MiB by which memory may grow")
    options = parser.parse_args()
    with tempfile.TemporaryFile() as file:
        block = b"".join(b"%0255d\n" % number for number in range(MIB // 256))
        for _ in range(options.mebibytes):
            file.write(block)
        file.flush()
        wanted = hashlib.blake2b()
        for _ in range(options.mebibytes):
            wanted.update(block)
        seen, size, calls, peak = hashlib.blake2b(), 0, 0, 0

        def listen(piece: bytes) -> None:
            nonlocal size, calls, peak
            seen.update(piece)
            size += len(piece)
            calls += 1
            if not calls % 1024:
                peak = max(peak, anonymous())

        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        run(["cat"], input=b"warm", on_stdout=listen)
        seen, size, calls = hashlib.blake2b(), 0, 0
        at_first, begun = anonymous(), time.monotonic()
        done = run(["cat"], input=data, on_stdout=listen)
        took, grown = time.monotonic() - begun, (max(peak, anonymous()) - at_first) / MIB
        data.close()
    print(
        f"{size / MIB:.0f} MiB in and out, {calls} lines, {took:.1f} s, memory grew by {grown:.1f} MiB at most; "
        f"{'the same' if seen.digest() == wanted.digest() else 'NOT the same'} came back"
    )
    return int(done.returncode or grown > options.bound or seen.digest() != wanted.digest())


if __name__ == "__main__":
    sys.exit(main() if os.path.exists("/proc/self/status") else "needs /proc")
