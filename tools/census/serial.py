# SPDX-License-Identifier: MIT
"""The plain pass: one file after another, in one thread, with no plait and no pool; and the comparison with it.

It runs the same gzip, once a file, but starts it with `os.posix_spawn` instead of `plait.subprocess`, so that a fault
in the latter cannot hide by being on both sides of the comparison.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence

from .measure import GZIP_ARGUMENTS, Compressed, Record, Source, combine, digest, open_source, parse, why

__all__ = ["differences", "measure_serially"]


def _start(argv: Sequence[str], stdin: int, stdout: int) -> int:
    """Start *argv* deaf to Ctrl-C (it ends by itself within milliseconds) and return its process id."""
    if hasattr(os, "posix_spawn"):
        actions = [
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        return os.posix_spawn(
            argv[0], list(argv), os.environ, file_actions=actions, setsigmask=[signal.SIGINT]
        )
    pid = os.fork()  # PyPy has no posix_spawn
    if pid == 0:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            os.dup2(stdin, 0)
            os.dup2(stdout, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.execv(argv[0], list(argv))
        finally:
            os._exit(127)
    return pid


def _compress(source: Source, gzip: str) -> Compressed:
    try:
        stdin = open_source(source.path)
    except OSError as error:
        return Compressed(problem=why(error))
    reader, writer = os.pipe()
    try:
        pid = _start([gzip, *GZIP_ARGUMENTS], stdin, writer)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(stdin)
        os.close(writer)
    size = 0
    try:
        while chunk := os.read(reader, 1 << 16):
            size += len(chunk)
    finally:
        os.close(reader)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        return Compressed(problem=f"gzip ended with code {status}")
    return Compressed(size)


def measure_serially(sources: Sequence[Source], gzip: str, check: Callable[[], None]) -> list[Record]:
    """Measure every file; *check* is called before each and may raise to end the pass."""
    records = []
    for source in sources:
        check()
        records.append(combine(source, digest(source), parse(source), _compress(source, gzip)))
    return records


def differences(concurrent: Sequence[Record], serial: Sequence[Record]) -> list[str]:
    """One line for each figure on which the two passes disagree, and for each file only one of them has."""
    lines = []
    ours, plain = ({record.shown: record for record in records} for records in (concurrent, serial))
    for shown in sorted(ours.keys() | plain.keys()):
        if shown not in ours or shown not in plain:
            lines.append(f"{shown}: measured only by the {'serial' if shown in plain else 'concurrent'} pass")
            continue
        for field in Record._fields:
            left, right = getattr(ours[shown], field), getattr(plain[shown], field)
            if left != right:
                lines.append(f"{shown}: {field} is {left!r} concurrently but {right!r} serially")
    for records, name in ((concurrent, "concurrent"), (serial, "serial")):
        if len(records) != len({record.shown for record in records}):
            lines.append(f"the {name} pass measured some file twice")
    return lines
