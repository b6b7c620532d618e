# SPDX-License-Identifier: MIT
"""Pools of processes, `multiprocessing.Pool` (rows MP)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .evidence import asleep, brief, must_die, must_say, noted, one_process, raised_by
from .scenario import Impl, Wrong, program, returns, scenario

POOL = ("multiprocessing.Pool",)


class NeedsTwo(Exception):
    """It pickles, but does not unpickle: `args` has fewer entries than __init__ asks for."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{detail} ({code})")


class NotAnException(BaseException):
    """What a task may raise and nobody's `except Exception` sees."""


def kill_self(note: Path) -> None:
    note.write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


def raise_what_does_not_unpickle(code: int) -> None:
    raise NeedsTwo(code, "from the task")


def raise_base() -> None:
    raise NotAnException("from the task")


def leave(code: int) -> None:
    sys.exit(code)


def put_away(pool: Any) -> None:
    returns(5, pool.terminate)
    returns(5, pool.join)


def works_on(pool: Any) -> None:
    """The next task is done."""
    answer = returns(5, pool.apply_async(abs, (-7,)).get)
    if answer != 7:
        raise Wrong(f"the next task returned {answer!r}")


@scenario(
    "MP1",
    "a worker is killed in a task: get() tells, the pool goes on",
    reproduced=True,
    needs=POOL,
    alone=True,
    warm=one_process,
)
def killed_in_a_task(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(2)
    works_on(pool)
    note = Path("killed.pid").absolute()
    result = pool.apply_async(kill_self, (note,))
    pid = noted(note)
    error = raised_by(2, result.get, 10)
    if isinstance(error, impl.multiprocessing.TimeoutError):
        raise Wrong("get() knew of nothing but its timeout")
    must_say(error, pid, ("-9", "SIGKILL"))
    works_on(pool)
    put_away(pool)


@scenario(
    "MP1",
    "a worker is killed in a task of map(): it tells, too",
    reproduced=True,
    needs=POOL,
    alone=True,
    warm=one_process,
)
def killed_in_a_map(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(2)
    works_on(pool)
    note = Path("killed.pid").absolute()
    result = pool.map_async(kill_self, [note], 1)
    pid = noted(note)
    must_say(raised_by(2, result.get), pid, ("-9", "SIGKILL"))
    works_on(pool)
    put_away(pool)


@scenario(
    "MP2",
    "the only idle worker is killed: the next task is done",
    reproduced=True,
    needs=POOL,
    alone=True,
    warm=one_process,
)
def killed_while_idle(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(1)
    pid = pool.apply(os.getpid)
    asleep(pid)
    os.kill(pid, signal.SIGKILL)
    works_on(pool)
    put_away(pool)


@scenario(
    "MP2",
    "the only idle worker is killed: terminate() returns",
    reproduced=True,
    needs=POOL,
    alone=True,
    warm=one_process,
)
def terminated_without_its_worker(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(1)
    pid = pool.apply(os.getpid)
    asleep(pid)
    os.kill(pid, signal.SIGKILL)
    # The pool gets the time to replace its worker: the lock that this one waits for is the dead one's.
    time.sleep(0.5)
    returns(5, pool.terminate)
    returns(5, pool.join)


@scenario(
    "MP3",
    "an exception that does not unpickle is told all the same",
    reproduced=True,
    needs=POOL,
    warm=one_process,
)
def raised_and_not_unpickled(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(2)
    works_on(pool)
    result = pool.map_async(raise_what_does_not_unpickle, [5], 1)
    others = [pool.apply_async(abs, (-number,)) for number in range(20)]
    error = raised_by(5, result.get)
    must_say(error, "NeedsTwo", "from the task (5)", "raise_what_does_not_unpickle")
    got = [returns(5, other.get) for other in others]
    if got != list(range(20)):
        raise Wrong(f"the other tasks returned {got}")
    put_away(pool)


@scenario(
    "MP4",
    "a task that raises a BaseException: apply() raises it",
    reproduced=True,
    needs=POOL,
    warm=one_process,
)
def base_exception(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(1)
    works_on(pool)
    error = raised_by(5, pool.apply, raise_base)
    if not isinstance(error, NotAnException):
        raise Wrong(f"apply() raised {brief(error)!r}")
    works_on(pool)
    put_away(pool)


@scenario(
    "MP4",
    "a task that calls sys.exit(): reported as the worker's exit",
    reproduced=True,
    needs=POOL,
    warm=one_process,
)
def sys_exit(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(1)
    works_on(pool)
    error = raised_by(5, pool.apply, leave, (37,))
    if not isinstance(error, Exception):
        raise Wrong(f"{type(error).__name__} of a worker would end the program")
    must_say(error, "37")
    works_on(pool)
    put_away(pool)


@scenario(
    "MP7",
    "imap() reads no more of its input than buffersize",
    reproduced=True,
    needs=("multiprocessing.pool.Pool.imap(buffersize)",),
    warm=one_process,
)
def imap_is_lazy(impl: Impl) -> None:
    consumed = 0

    def inputs() -> Iterator[int]:
        nonlocal consumed
        while consumed < 10_000:
            consumed += 1
            yield consumed

    pool = impl.multiprocessing.Pool(2)
    bounded = impl.has("multiprocessing.pool.Pool.imap(buffersize)")
    results = pool.imap(abs, inputs(), **({"buffersize": 4} if bounded else {}))
    first = returns(5, next, results)
    # What reads ahead does so in its own time.
    time.sleep(0.5)
    if consumed > 5:
        raise Wrong(f"{consumed} of 10000 inputs were consumed after one next(), allowed 5")
    if [first, *results] != list(range(1, 10_001)):
        raise Wrong("results are missing or in another order")
    put_away(pool)


# Kept by the worker whose task has opened it.
_inner: Any = None


def open_a_pool(impl: Impl) -> list[int]:
    global _inner
    _inner = impl.multiprocessing.Pool(2)
    if _inner.map(abs, range(-9, 0)) != list(range(9, 0, -1)):
        raise Wrong("the inner pool's results are wrong")
    return [child.pid for child in impl.multiprocessing.active_children()]


@scenario("MP10", "a task opens a pool of its own", reproduced=True, needs=POOL, warm=one_process)
def pool_in_a_pool(impl: Impl) -> None:
    pool = impl.multiprocessing.Pool(1)
    try:
        inner = returns(10, pool.apply, open_a_pool, (impl,))
    except Wrong:
        raise
    except Exception as error:
        raise Wrong(f"the task may not: {brief(error)!r}") from error
    if len(inner) < 2:
        raise Wrong(f"the inner pool had {len(inner)} workers")
    put_away(pool)
    must_die(5, inner, "inner workers")


MAP_FOR_LONG = """
import sys, time

def main(method):
    with impl.multiprocessing.get_context(method).Pool(8) as pool:
        assert pool.map(abs, range(100)) == list(range(100))
        print("ready", flush=True)
        pool.map(time.sleep, [60] * 16, 1)

if __name__ == "__main__":
    main(sys.argv[1])
"""


@scenario(
    "MP12",
    "Ctrl-C ends a program in map() within 2 s, with one traceback",
    deadline=40,
    reproduced=True,
    needs=POOL,
    alone=True,
)
def ctrl_c_in_map(impl: Impl) -> None:
    for method in impl.multiprocessing.get_all_start_methods():
        with program(impl, MAP_FOR_LONG, method) as running:
            running.until_out("ready")
            time.sleep(0.5)  # until its workers are in their sleep
            running.group(signal.SIGINT)
            running.wait(2)
            tracebacks = running.err.count("Traceback (most recent call last)")
            if tracebacks > 1:
                lines = len(running.err.splitlines())
                raise Wrong(f"{method}: it printed {tracebacks} tracebacks, {lines} lines in all, allowed 1")


WITH_A_POOL = """
import os, sys, time

def main(method):
    context = impl.multiprocessing.get_context(method)
    pool = context.Pool(2)
    pool.map(abs, range(10))
    pool.map_async(time.sleep, [60, 60], 1)
    print("workers", *(child.pid for child in impl.multiprocessing.active_children()), "end", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    main(sys.argv[1])
"""


@scenario(
    "MP13",
    "a pool's busy workers end with their killed parent",
    deadline=40,
    reproduced=True,
    needs=POOL,
    alone=True,
)
def pool_of_a_killed_parent(impl: Impl) -> None:
    for method in impl.multiprocessing.get_all_start_methods():
        with program(impl, WITH_A_POOL, method) as running:
            pids = [int(pid) for pid in running.until_out(r"workers ((?:\d+ )+)end")[1].split()]
            if len(pids) < 2:
                raise Wrong(f"{method}: {len(pids)} workers")
            for pid in pids:
                asleep(pid)
            running.send(signal.SIGKILL)
            must_die(2, pids, f"workers ({method})")
