# SPDX-License-Identifier: MIT
"""Futures, and what consumes them (rows F4, F10, F11, F13, F14, F15, F19).

The name that row F14 asks for without giving it: `ThreadPoolExecutor(inherit_context=False)` opts out of running tasks in
the context of who submitted them.
"""

from __future__ import annotations

import contextvars
import gc
import itertools
import os
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .evidence import asleep_thread, noted, one_process
from .scenario import Impl, Wrong, returns, scenario, until

KINDS = ("ThreadPoolExecutor", "ProcessPoolExecutor")


def executor(impl: Impl, kind: str, workers: int, **options: Any) -> Any:
    return getattr(impl.futures, kind)(workers, **options)


def say_and_wait(note: Path, seconds: float) -> None:
    note.write_text("running")
    time.sleep(seconds)


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ------------------------------------------------------------------------------------------------------------- waiting


def _cancelled_wake(impl: Impl, kind: str, consume: Callable[[Any, list[Any]], Any]) -> None:
    """A thread consumes futures; all but one are cancelled by shutdown(); it must see that at once."""
    pool = executor(impl, kind, 1)
    note = Path("running").absolute()
    first = pool.submit(say_and_wait, note, 4)
    noted(note)
    # A pool of processes has a few calls on the way to its workers; those cannot be cancelled any more.
    others = [pool.submit(abs, -number) for number in range(20)][10:]
    ended: list[float] = []

    def wait() -> None:
        consume(impl.futures, others)
        ended.append(time.monotonic())

    waiter = impl.threading.Thread(target=wait, daemon=True)
    waiter.start()
    asleep_thread(waiter.native_id)
    begun = time.monotonic()
    pool.shutdown(wait=False, cancel_futures=True)
    waiter.join(1)
    if waiter.is_alive():
        cancelled = sum(other.cancelled() for other in others)
        raise Wrong(f"still waiting 1 s after {cancelled} of {len(others)} futures were cancelled")
    if ended[0] - begun > 1:
        raise Wrong(f"it ended {ended[0] - begun:.2f} s after the shutdown, allowed 1 s")
    returns(10, first.result)
    returns(10, pool.shutdown)


def _as_completed(futures: Any, wanted: list[Any]) -> None:
    for _ in futures.as_completed(wanted):
        pass


def _wait(futures: Any, wanted: list[Any]) -> None:
    futures.wait(wanted)


@scenario(
    "F4",
    "shutdown(cancel_futures=True) ends as_completed() within 1 s (threads)",
    reproduced=True,
    alone=True,
)
def cancelled_as_completed_threads(impl: Impl) -> None:
    _cancelled_wake(impl, "ThreadPoolExecutor", _as_completed)


@scenario("F4", "shutdown(cancel_futures=True) ends wait() within 1 s (threads)", reproduced=True, alone=True)
def cancelled_wait_threads(impl: Impl) -> None:
    _cancelled_wake(impl, "ThreadPoolExecutor", _wait)


@scenario(
    "F4",
    "shutdown(cancel_futures=True) ends as_completed() within 1 s (processes)",
    reproduced=True,
    alone=True,
    warm=one_process,
)
def cancelled_as_completed_processes(impl: Impl) -> None:
    _cancelled_wake(impl, "ProcessPoolExecutor", _as_completed)


@scenario(
    "F4",
    "shutdown(cancel_futures=True) ends wait() within 1 s (processes)",
    reproduced=True,
    alone=True,
    warm=one_process,
)
def cancelled_wait_processes(impl: Impl) -> None:
    _cancelled_wake(impl, "ProcessPoolExecutor", _wait)


# Not by wait(): it is given all that are outstanding and gives them back, each time. Nobody can do that in linear time.
@scenario(
    "F15",
    "to consume 20 000 futures one by one by as_completed() costs about linear time",
    deadline=120,
    alone=True,
)
def consumed_by_as_completed(impl: Impl) -> None:
    """Eight times the futures may take eight times as long, and half as much again; the square would be 64 times."""

    def consume(number: int) -> float:
        ahead = [impl.futures.Future() for _ in range(number)]
        completed = impl.futures.as_completed(list(ahead))
        begun = time.process_time()
        while ahead:
            ahead.pop().set_result(None)
            next(completed)
        return time.process_time() - begun

    small, large = min(consume(2_500) for _ in range(3)), consume(20_000)
    if large / small > 12:
        raise Wrong(f"20 000 took {large / small:.0f} times as long as 2 500 ({large:.1f} s), allowed 12")


# ----------------------------------------------------------------------------------------------------------------- map


class Two(ValueError):
    """Unlike its base, it can be referred to weakly."""


def refuse_two(number: int) -> int:
    if number == 2:
        raise Two
    return number


def _map_goes_on(impl: Impl, kind: str, **options: int) -> None:
    with executor(impl, kind, 2) as pool:
        results = pool.map(refuse_two, range(5), **options)
        seen: list[Any] = []
        for _ in range(8):
            try:
                seen.append(returns(10, next, results, "end"))
            except Two:
                seen.append("raised")
    if seen != [0, 1, "raised", 3, 4, "end", "end", "end"]:
        raise Wrong(f"next() gave {seen}")


@scenario("F10", "map() goes on after an exception (threads)", reproduced=True)
def map_goes_on_threads(impl: Impl) -> None:
    _map_goes_on(impl, "ThreadPoolExecutor")


@scenario("F10", "map() goes on after an exception (processes)", reproduced=True, warm=one_process)
def map_goes_on_processes(impl: Impl) -> None:
    _map_goes_on(impl, "ProcessPoolExecutor")


@scenario("F10", "map() in chunks goes on after an exception (processes)", reproduced=True, warm=one_process)
def map_in_chunks_goes_on(impl: Impl) -> None:
    _map_goes_on(impl, "ProcessPoolExecutor", chunksize=4)


@scenario(
    "F10",
    "map(return_exceptions=True) gives exceptions in their places",
    reproduced=True,
    needs=("futures.Executor.map(return_exceptions)",),
    warm=one_process,
)
def map_returns_exceptions(impl: Impl) -> None:
    for kind in KINDS:
        with executor(impl, kind, 2) as pool:
            seen = list(pool.map(refuse_two, range(4), return_exceptions=True))
            if [*seen[:2], repr(seen[2]), *seen[3:]] != [0, 1, "Two()", 3]:
                raise Wrong(f"{kind}: {seen}")


@scenario(
    "F11",
    "map(buffersize=...) takes endless input, and no more of it than that",
    reproduced="<3.14",
    warm=one_process,
)
def map_endless(impl: Impl) -> None:
    for kind in KINDS:
        consumed = 0

        def inputs() -> Iterator[int]:
            nonlocal consumed
            for consumed in itertools.count(1):  # noqa: UP028 - the count is looked at outside
                yield consumed

        with executor(impl, kind, 2) as pool:
            try:
                results = pool.map(abs, inputs(), buffersize=3)
            except TypeError as error:
                raise Wrong(f"{kind}: {error}") from error
            got = [returns(10, next, results) for _ in range(50)]
            if got != list(range(1, 51)):
                raise Wrong(f"{kind}: the results were {got}")
            if consumed > 50 + 3 + 1:
                raise Wrong(f"{kind}: {consumed} inputs were consumed for 50 results, allowed 54")
            results.close()


class Precious:
    """Something that can be seen to be gone."""


def _no_cycle(impl: Impl, kind: str, use: Callable[[Any], BaseException]) -> None:
    with executor(impl, kind, 1) as pool, without_collector():
        error = use(pool)
        gone = weakref.ref(error)
        del error
        # The worker may still be about to let go of it.
        until(
            2,
            "the exception is still there, collector off, after its last user let it go",
            lambda: gone() is None,
        )


def _error_of_map(pool: Any) -> BaseException:
    try:
        list(pool.map(refuse_two, range(4)))
    except Two as error:
        return error
    raise Wrong("map() raised nothing")


def _error_of_result(pool: Any) -> BaseException:
    try:
        pool.submit(refuse_two, 2).result()
    except Two as error:
        return error
    raise Wrong("result() raised nothing")


@scenario("F11", "map() leaves no cycle with an exception (threads)")
def map_leaves_no_cycle_threads(impl: Impl) -> None:
    _no_cycle(impl, "ThreadPoolExecutor", _error_of_map)


@scenario("F11", "map() leaves no cycle with an exception (processes)", warm=one_process)
def map_leaves_no_cycle_processes(impl: Impl) -> None:
    _no_cycle(impl, "ProcessPoolExecutor", _error_of_map)


@scenario("F19", "result() leaves no cycle with an exception (threads)")
def result_leaves_no_cycle_threads(impl: Impl) -> None:
    _no_cycle(impl, "ThreadPoolExecutor", _error_of_result)


@scenario("F19", "result() leaves no cycle with an exception (processes)", warm=one_process)
def result_leaves_no_cycle_processes(impl: Impl) -> None:
    _no_cycle(impl, "ProcessPoolExecutor", _error_of_result)


def make_precious(_: object) -> Precious:
    return Precious()


def _let_go(impl: Impl, kind: str) -> None:
    with executor(impl, kind, 1) as pool, without_collector():
        future = pool.submit(make_precious, None)
        gone = weakref.ref(future.result())
        if gone() is None:
            raise Wrong("the future did not keep its result")
        del future
        until(2, "the result is still there after its future was let go", lambda: gone() is None)


@scenario("F19", "a result is let go with its future, collector off (threads)")
def result_let_go_threads(impl: Impl) -> None:
    _let_go(impl, "ThreadPoolExecutor")


@scenario("F19", "a result is let go with its future, collector off (processes)", warm=one_process)
def result_let_go_processes(impl: Impl) -> None:
    _let_go(impl, "ProcessPoolExecutor")


@scenario("F19", "arguments of a finished call are let go, collector off")
def arguments_let_go(impl: Impl) -> None:
    with executor(impl, "ThreadPoolExecutor", 1) as pool, without_collector():
        precious = Precious()
        gone = weakref.ref(precious)
        future = pool.submit(id, precious)
        del precious
        future.result()
        until(2, "the argument of a finished call is still there", lambda: gone() is None)
        del future


# -------------------------------------------------------------------------------------------------------- what is told


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@scenario("F13", "the futures of a broken pool have distinct exceptions", warm=one_process)
def distinct_exceptions(impl: Impl) -> None:
    pool = executor(impl, "ProcessPoolExecutor", 1)
    futures = [pool.submit(kill_self), *(pool.submit(time.sleep, 0.01) for _ in range(10))]
    errors = [returns(10, future.exception) for future in futures]
    returns(10, pool.shutdown)
    if None in errors:
        raise Wrong("a call that could not be made has no exception")
    if len(set(map(id, errors))) != len(errors):
        raise Wrong(f"{len(errors)} futures share {len(set(map(id, errors)))} exceptions")


COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("COLOUR", default="none")


def colour() -> str:
    return COLOUR.get()


@scenario(
    "F14",
    "a ContextVar of the submitter is seen in the task",
    reproduced=True,
    needs=("futures.ThreadPoolExecutor(inherit_context)",),
)
def context_is_carried(impl: Impl) -> None:
    with executor(impl, "ThreadPoolExecutor", 1) as pool:
        # The worker is there before, and was started in another context.
        pool.submit(abs, -1).result()
        COLOUR.set("green")
        seen = pool.submit(colour).result()
        mapped = list(pool.map(lambda _: colour(), range(2)))
    if [seen, *mapped] != ["green"] * 3:
        raise Wrong(f"the submitter had set 'green', the task saw {seen!r}, those of map() {mapped}")
