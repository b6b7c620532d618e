# SPDX-License-Identifier: MIT
"""Shared memory that has a name (rows MS)."""

from __future__ import annotations

import signal
import time

from .scenario import Impl, Program, Wrong, program, scenario

MEMORY = ("multiprocessing.shared_memory.SharedMemory",)
SHAREABLE = ("multiprocessing.shared_memory.ShareableList",)

# It says the segment's name, holds it until it is told to go on, and then does what its argument says.
CREATOR = """
import signal, sys

memory = impl.module("multiprocessing.shared_memory")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
segment = memory.SharedMemory(create=True, size=100)
segment.buf[0] = 77
print("named", segment.name, "so", flush=True)
signal.sigwait([signal.SIGUSR1])
if sys.argv[1] == "attach":
    try:
        again = memory.SharedMemory(segment.name)
        print("attached", again.buf[0], flush=True)
        again.close()
    except FileNotFoundError:
        print("not found", flush=True)
segment.close()
try:
    segment.unlink()
except FileNotFoundError:
    print("nothing to unlink", flush=True)
"""

STRANGER = """
import sys

memory = impl.module("multiprocessing.shared_memory")
segment = memory.SharedMemory(sys.argv[1])
print("read", segment.buf[0], flush=True)
segment.close()
"""


def _create_and_attach(impl: Impl, then: str) -> tuple[Program, Program]:
    with program(impl, CREATOR, then) as creator:
        name = creator.until_out(r"named (\S+) so")[1]
        with program(impl, STRANGER, name) as stranger:
            code = stranger.wait(10)
            if code or "read 77" not in stranger.out:
                raise Wrong(f"the stranger ended with {code}: {stranger.err[-200:]}")
        # A tracker that the stranger had may act after its end.
        time.sleep(1)
        creator.send(signal.SIGUSR1)
        creator.wait(10)
    return creator, stranger


def _first(text: str) -> str:
    """The end of the first line that is not blank: warnings begin with the place where they were made."""
    return next((line[-160:] for line in text.splitlines() if line.strip()), "")


@scenario(
    "MS1",
    "attach and close in an unrelated process: the creator can still attach",
    reproduced=True,
    needs=MEMORY,
)
def attached_by_a_stranger(impl: Impl) -> None:
    creator, stranger = _create_and_attach(impl, "attach")
    if "attached 77" not in creator.out:
        raise Wrong("the segment was gone once the other process had ended")
    if creator.err or stranger.err:
        raise Wrong(f"it printed {_first(creator.err or stranger.err)!r}")


@scenario("MS2", "a correct close and unlink prints nothing in any process", reproduced=True, needs=MEMORY)
def silent_at_exit(impl: Impl) -> None:
    creator, stranger = _create_and_attach(impl, "unlink")
    for who, run in (("the creator", creator), ("the other process", stranger)):
        if run.err:
            raise Wrong(f"{who} printed {_first(run.err)!r}")
    if "nothing to unlink" in creator.out:
        raise Wrong("there was nothing left to unlink")


def _round_trip(impl: Impl, item: bytes | str) -> None:
    shared = impl.module("multiprocessing.shared_memory").ShareableList([item, "end"])
    try:
        try:
            got = [shared[0], shared[1]]
        except UnicodeDecodeError as error:
            raise Wrong(f"{item!r} came back as {error}") from error
        if got != [item, "end"]:
            raise Wrong(f"{[item, 'end']!r} came back as {got!r}")
    finally:
        shared.shm.close()
        shared.shm.unlink()


def _start_a_tracker(impl: Impl) -> None:
    """It lives as long as the program does, where there is one."""
    segment = impl.module("multiprocessing.shared_memory").SharedMemory(create=True, size=1)
    segment.close()
    segment.unlink()


@scenario(
    "MS4", "a ShareableList keeps trailing NULs", reproduced=True, needs=SHAREABLE, warm=_start_a_tracker
)
def trailing_nuls(impl: Impl) -> None:
    _round_trip(impl, b"a\0")


@scenario(
    "MS4",
    "a ShareableList keeps characters outside the BMP",
    reproduced=True,
    needs=SHAREABLE,
    warm=_start_a_tracker,
)
def wide_characters(impl: Impl) -> None:
    _round_trip(impl, "0\U00010000\U00010000")
