# SPDX-License-Identifier: MIT
"""Compare plait.subprocess with the interpreter's own module, interleaved in one process."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess as stdlib_subprocess
import sys
import threading
import time
from typing import Any

import plait.subprocess as our_subprocess

STARTS = 15
MEGABYTE = b"x" * (1 << 20)


def run_true(piece: Any) -> None:
    for _ in range(STARTS):
        piece.run(["true"])


def run_true_close_fds_false(piece: Any) -> None:
    for _ in range(STARTS):
        piece.run(["/bin/true"], close_fds=False)


def run_with_timeout(piece: Any) -> None:
    for _ in range(STARTS):
        piece.run(["true"], timeout=5)


def run_in_8_threads(piece: Any) -> None:
    def work() -> None:
        for _ in range(6):
            piece.run(["true"])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check_output(piece: Any) -> None:
    for _ in range(STARTS):
        piece.check_output(["echo", "x"])


def capture_both(piece: Any) -> None:
    for _ in range(STARTS):
        piece.run(["echo", "x"], capture_output=True)


def timed_wait_10_ms(piece: Any) -> None:
    for _ in range(10):
        piece.Popen(["sleep", "0.01"]).wait(5)


def poll_live_child(piece: Any) -> None:
    with piece.Popen(["cat"], stdin=piece.PIPE) as process:
        for _ in range(5000):
            process.poll()
        process.stdin.close()


def in_and_out_50_mb(piece: Any) -> None:
    piece.run(["cat"], input=MEGABYTE * 50, stdout=piece.PIPE)


def out_and_err_20_mb_each(piece: Any) -> None:
    piece.run(
        "head -c 20000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait", shell=True, capture_output=True
    )


def one_stream_100_mb(piece: Any) -> None:
    piece.run(["head", "-c", "100000000", "/dev/zero"], stdout=piece.PIPE)


def import_it(piece: Any) -> None:
    for _ in range(5):
        path = os.pathsep.join(sys.path)
        code = f"import sys; sys.path[:] = {path.split(os.pathsep)!r}; import {piece.__name__}"
        stdlib_subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def nothing(piece: Any) -> None:
    for _ in range(5):
        path = os.pathsep.join(sys.path)
        code = f"import sys; sys.path[:] = {path.split(os.pathsep)!r}"
        stdlib_subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


WORKLOADS = [
    run_true,
    run_true_close_fds_false,
    run_with_timeout,
    run_in_8_threads,
    check_output,
    capture_both,
    timed_wait_10_ms,
    poll_live_child,
    in_and_out_50_mb,
    out_and_err_20_mb_each,
    one_stream_100_mb,
    import_it,
]


def seconds(workload: Any, piece: Any) -> float:
    began = time.perf_counter()
    workload(piece)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these workloads")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    for workload in WORKLOADS:
        name = workload.__name__
        if options.names and name not in options.names:
            continue
        ours, theirs, empty = [], [], [0.0]
        for _ in range(options.rounds):
            ours.append(seconds(workload, our_subprocess))
            theirs.append(seconds(workload, stdlib_subprocess))
            if workload is import_it:
                empty.append(seconds(nothing, None))
        if workload is import_it:  # what remains without the start of the interpreter itself
            start = statistics.median(empty[1:])
            ours, theirs = [value - start for value in ours], [value - start for value in theirs]
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(f"{name:26} {ratio:5.2f}  [{min(theirs) / min(ours):.2f}]")


if __name__ == "__main__":
    main()
