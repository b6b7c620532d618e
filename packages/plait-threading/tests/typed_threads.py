# SPDX-License-Identifier: MIT
"""What type checkers make of what users write: mypy and pyright read this file (`tools/run.py types`), nobody runs it."""

from __future__ import annotations

import threading as standard
from typing import TYPE_CHECKING, Any, Protocol

from plait import threading
from plait.threading import Condition, Lock, NamedLock, NamedRLock, RLock, RWLock, Semaphore, Thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import assert_type


def everything_that_is_held_can_be_entered(lock: Lock, again: RLock, cond: Condition) -> None:
    with lock as held:
        assert_type(held, bool)
    with again as held:
        assert_type(held, bool)
    with cond as held:
        assert_type(held, bool)
        cond.notify()
    with NamedLock("a") as held, NamedRLock("b"), RWLock().read, RWLock().write, Semaphore():
        assert_type(held, bool)


everything_that_is_held_can_be_entered(Lock(), RLock(), Condition(Lock()))


def locks_are_the_standard_ones(lock: standard.Lock) -> None: ...


locks_are_the_standard_ones(Lock())


class HasLock(Protocol):
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


def whatever_can_be_locked_will_do(lock: HasLock) -> None:
    lock.acquire()
    lock.release()


whatever_can_be_locked_will_do(Lock())
whatever_can_be_locked_will_do(RLock())
whatever_can_be_locked_will_do(NamedLock("a"))
whatever_can_be_locked_will_do(NamedRLock("a"))
whatever_can_be_locked_will_do(Condition())


def their_methods_have_types(named: NamedLock, cond: Condition) -> None:
    assert_type(named.acquire(timeout=1), bool)
    assert_type(named.locked(), bool)
    named.release()
    assert_type(cond.acquire(True, 1), bool)
    cond.release()
    assert_type(cond.locked(), bool)
    assert_type(cond.wait(1), bool)
    assert_type(cond.wait_for(lambda: "x", 1), str)


class Counted(Condition):
    entered = 0

    def __enter__(self) -> bool:
        self.entered += 1
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return super().acquire(blocking, timeout)

    def release(self) -> None:
        super().release()


class Worker(Thread):
    daemon = True
    name = "worker"

    def run(self) -> None:
        self.value = 3


def threads_have_attributes(worker: Worker) -> None:
    worker.daemon = False
    worker.name = "another"
    assert_type(worker.ident, int | None)
    assert_type(worker.is_alive(), bool)
    worker.join(1)
    thread: Thread = threading.Timer(1, print)
    assert_type(thread.name, str)
    assert_type(thread.daemon, bool)
    assert_type(threading.enumerate(), list[Thread])


def hook(args: threading.ExceptHookArgs) -> None:
    assert_type(args.exc_type, type[BaseException])
    assert_type(args.exc_value, BaseException | None)
    assert_type(args.exc_traceback, TracebackType | None)
    print(args.thread.name)


def standard_hook(args: standard.ExceptHookArgs) -> None: ...


threading.excepthook = hook
threading.excepthook = standard_hook


def total(numbers: threading.serialize_iterator[int]) -> int:
    return sum(numbers)


@threading.synchronized_iterator
def count_to(limit: int) -> Iterator[int]:
    yield from range(limit)


class PerThread(threading.local):
    count: int = 0


def report(args: threading.ExceptHookArgs) -> None:
    assert_type(PerThread().count, int)
    assert_type(args.exc_value, BaseException | None)


threading.excepthook = report


def iterators_know_their_items() -> None:
    assert_type(count_to(3), threading.serialize_iterator[int])
    assert_type(next(count_to(limit=3)), int)
    assert_type(total(threading.serialize_iterator([1])), int)
    total(threading.serialize_iterator(["a"]))  # type: ignore[list-item]
    count_to("a")  # type: ignore[arg-type]
    copies = threading.concurrent_tee(["a"], 3)
    assert_type(copies, tuple[Iterator[str], ...])
    assert_type([*threading.serialize_iterator(copies[0])], list[str])
    anything: threading.serialize_iterator[Any] = count_to(3)
    assert_type(next(anything), Any)
