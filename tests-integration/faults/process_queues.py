# SPDX-License-Identifier: MIT
"""Queues between processes (rows MQ1 to MQ8)."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

from .evidence import asleep, brief, is_a, must_say, noted, one_process, raised_by
from .scenario import Impl, Wrong, program, returns, scenario, until

MEGABYTE = 1 << 20


class Broken:
    """Pickles to something that raises when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, ("this item does not unpickle",)


def explode(text: str) -> None:
    raise LookupError(text)


def get_one(queue: Any, note: Path) -> None:
    note.write_text(str(os.getpid()))
    queue.get()


def get_until_shutdown(queue: Any, note: Path) -> None:
    note.with_suffix(".part").write_text(str(os.getpid()))
    note.with_suffix(".part").rename(note)
    try:
        queue.get()
    except BaseException as error:
        Path(f"{note}.end").write_text(brief(error))
    else:
        Path(f"{note}.end").write_text("returned")


def put_a_megabyte(queue: Any) -> None:
    queue.put(b"x" * MEGABYTE)


def started(impl: Impl, target: Any, *args: Any) -> Any:
    process = impl.multiprocessing.Process(target=target, args=args)
    process.start()
    return process


def put_away(process: Any) -> None:
    process.kill()
    process.join()
    # A thread that was left in join() may have had the exit code first, and be about to note it.
    until(5, "the end of a killed child is noted", lambda: process.exitcode is not None)
    process.close()


def close(queue: Any) -> None:
    """Its descriptors are given back when this returns, and its thread has ended."""
    queue.close()
    returns(5, queue.join_thread)


@scenario(
    "MQ1",
    "put() of what cannot be pickled raises PicklingError in the caller",
    reproduced=True,
    warm=one_process,
)
def put_a_lambda(impl: Impl) -> None:
    queue = impl.multiprocessing.Queue()
    try:
        error = raised_by(5, queue.put, lambda: 0)
        if not isinstance(error, pickle.PicklingError):
            raise Wrong(f"put() raised {brief(error)!r}")
        if queue.qsize() != 0:
            raise Wrong(f"qsize() is {queue.qsize()} after a put() that raised")
        queue.put("good")
        if returns(5, queue.get) != "good":
            raise Wrong("the queue gave another item")
    finally:
        close(queue)


@scenario(
    "MQ1",
    "put() of what cannot be pickled takes no place in a bounded queue",
    reproduced=True,
    warm=one_process,
)
def put_a_lambda_bounded(impl: Impl) -> None:
    queue = impl.multiprocessing.Queue(1)
    try:
        for _ in range(3):
            error = raised_by(5, queue.put, lambda: 0)
            if not isinstance(error, pickle.PicklingError):
                raise Wrong(f"put() raised {brief(error)!r}")
        returns(5, queue.put, "good")
        if returns(5, queue.get) != "good":
            raise Wrong("the queue gave another item")
    finally:
        close(queue)


@scenario("MQ2", "an item that does not unpickle raises once, the next get() works", warm=one_process)
def get_what_does_not_unpickle(impl: Impl) -> None:
    queue = impl.multiprocessing.Queue()
    queue.put(Broken())
    queue.put("good")
    error = raised_by(5, queue.get)
    must_say(error, "this item does not unpickle")
    if returns(5, queue.get) != "good":
        raise Wrong("the next get() gave another item")
    close(queue)


@scenario(
    "MQ3", "a child that put 1 MB is joined before the item is taken", reproduced=True, warm=one_process
)
def join_before_get(impl: Impl) -> None:
    queue = impl.multiprocessing.Queue()
    child = started(impl, put_a_megabyte, queue)
    try:
        returns(8, child.join)
        item = returns(5, queue.get)
        if len(item) != MEGABYTE:
            raise Wrong(f"{len(item)} bytes arrived")
    finally:
        put_away(child)
        close(queue)


# The whole program must be one in which nobody else could still put or get: its main thread waits, and no other lives.
PARENT_WAITS = """
import os, signal, sys, time

def idle(queue, pid_of):
    pid_of.send(os.getpid())
    time.sleep(60)

def main(what):
    mp = impl.multiprocessing
    queue = mp.Queue(1)
    here, there = mp.Pipe()
    child = mp.Process(target=idle, args=(queue, there))
    child.start()
    pid = here.recv()
    if what == "put":
        queue.put(0)
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    try:
        queue.put(1) if what == "put" else queue.get()
    except (OSError, EOFError) as error:
        print(f"raised after {time.monotonic() - begun:.2f} s:", repr(error), flush=True)
    else:
        print("returned", flush=True)
    child.join()

if __name__ == "__main__":
    main(sys.argv[1])
"""

CHILD_WAITS = """
import os, signal, sys, time

def wait(queue, what):
    if what == "put":
        queue.put(0)
    print("waits", os.getpid(), "now", flush=True)
    begun = time.monotonic()
    try:
        queue.put(1) if what == "put" else queue.get()
    except (OSError, EOFError) as error:
        print("raised", repr(error), flush=True)
    else:
        print("returned", flush=True)

def main(what):
    mp = impl.multiprocessing
    queue = mp.Queue(1)
    mp.Process(target=wait, args=(queue, what)).start()
    time.sleep(60)

if __name__ == "__main__":
    main(sys.argv[1])
"""


def _parent_waits(impl: Impl, what: str) -> None:
    with program(impl, PARENT_WAITS, what) as running:
        found = running.until_out(r"raised after|returned", 8)
        if found[0] == "returned":
            raise Wrong(f"{what}() returned")
        after = float(running.until_out(r"after ([\d.]+) s")[1])
        if after > 2:
            raise Wrong(f"{what}() raised after {after} s, allowed 2 s")
        running.wait(5)


def _child_waits(impl: Impl, what: str) -> None:
    with program(impl, CHILD_WAITS, what) as running:
        pid = int(running.until_out(r"waits (\d+) now")[1])
        asleep(pid)
        running.send(signal.SIGKILL)
        until(2, f"{what}() in the child of a killed parent did not raise", lambda: "raised" in running.out)


@scenario("MQ4", "get() raises when the only process that could put has died", alone=True)
def get_from_the_dead(impl: Impl) -> None:
    _parent_waits(impl, "get")


@scenario("MQ4", "put() raises when the only process that could get has died", alone=True)
def put_to_the_dead(impl: Impl) -> None:
    _parent_waits(impl, "put")


@scenario("MQ4", "get() of a child raises when its parent was killed", alone=True)
def get_from_a_dead_parent(impl: Impl) -> None:
    _child_waits(impl, "get")


@scenario("MQ4", "put() of a child raises when its parent was killed", alone=True)
def put_to_a_dead_parent(impl: Impl) -> None:
    _child_waits(impl, "put")


@scenario(
    "MQ5", "a process is killed in get(): another get() still receives", reproduced=True, warm=one_process
)
def killed_in_get(impl: Impl) -> None:
    queue = impl.multiprocessing.Queue()
    note = Path("getter.pid").absolute()
    child = started(impl, get_one, queue, note)
    asleep(int(noted(note)))
    put_away(child)
    for number in range(10):
        queue.put(number)
    got = [returns(5, queue.get) for _ in range(10)]
    if got != list(range(10)):
        raise Wrong(f"it received {got}")
    close(queue)


@scenario("MQ6", "get_nowait() right after put() returns the item", reproduced=True, warm=one_process)
def get_nowait_after_put(impl: Impl) -> None:
    queue = impl.multiprocessing.Queue()
    missing = 0
    for number in range(200):
        queue.put(number)
        try:
            queue.get_nowait()
        except impl.module("multiprocessing.queues").Empty:
            missing += 1
            returns(5, queue.get)
    close(queue)
    if missing:
        raise Wrong(f"{missing} of 200 get_nowait() raised Empty")


@scenario(
    "MQ8",
    "shutdown() wakes every process that is blocked",
    reproduced=True,
    needs=("multiprocessing.queues.Queue.shutdown",),
    warm=one_process,
)
def shutdown_wakes_all(impl: Impl) -> None:
    queue = impl.multiprocessing.Queue()
    notes = [Path(f"getter{number}").absolute() for number in range(3)]
    children = [started(impl, get_until_shutdown, queue, note) for note in notes]
    try:
        for note in notes:
            asleep(int(noted(note)))
        if not hasattr(queue, "shutdown"):
            raise Wrong("the queue has no shutdown()")
        queue.shutdown()
        for note in notes:
            end = noted(Path(f"{note}.end"), 5)
            if "ShutDown" not in end:
                raise Wrong(f"get() ended with {end!r}")
        for child in children:
            returns(5, child.join)
        if not is_a(error := raised_by(5, queue.put, 1), "ShutDown"):
            raise Wrong(f"put() after shutdown() raised {brief(error)!r}")
    finally:
        for child in children:
            put_away(child)
        close(queue)
