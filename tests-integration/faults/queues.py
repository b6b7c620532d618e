# SPDX-License-Identifier: MIT
"""Queues between threads (rows Q)."""

from __future__ import annotations

import gc
import random
import signal
import time
from typing import Any

from .scenario import Impl, Wrong, returns, scenario, until, within


@scenario("Q1", "a signal handler puts while its thread is inside put()", deadline=6, reproduced=True)
def put_in_a_handler(impl: Impl) -> None:
    """The handler strikes where it hurts, by way of the documented hook that put() calls."""

    class Interrupted(impl.queue.Queue):  # type: ignore[misc, name-defined]
        def _put(self, item: object) -> None:
            if item == "first":
                signal.raise_signal(signal.SIGUSR1)
            super()._put(item)

    queue: Any = Interrupted()
    signal.signal(signal.SIGUSR1, lambda *_: queue.put("from the handler"))
    queue.put("first")
    arrived = [queue.get(timeout=1) for _ in range(queue.qsize())]
    if sorted(arrived) != ["first", "from the handler"]:
        raise Wrong(f"only {arrived} arrived")


@scenario(
    "Q1", "signal handlers put anywhere in put() and get() of the plain queue", deadline=15, reproduced=True
)
def put_in_handlers_anywhere(impl: Impl) -> None:
    """Like the above, but without a hook: signals at random until 3000 have struck; nothing is lost or doubled."""
    queue = impl.queue.Queue()
    from_handler: list[int] = []

    def handler(*_: object) -> None:
        queue.put(-1 - len(from_handler))
        from_handler.append(1)
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-4))

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-4)
    got, sent = [], 0
    while len(from_handler) < 3000:
        for _ in range(10):
            queue.put(sent)
            sent += 1
        got += [queue.get() for _ in range(10)]
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    got += [queue.get(timeout=1) for _ in range(queue.qsize())]
    wanted = list(range(-len(from_handler), sent))
    if sorted(got) != wanted:
        raise Wrong(f"{len(wanted)} items were put, {len(got)} came out, {len(set(got))} different ones")


class Parting:
    """An object whose finaliser puts."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __del__(self) -> None:
        self.queue.put("from __del__")


@scenario("Q1", "a finaliser puts while its thread is inside put()", deadline=6, reproduced=True)
def put_in_a_finaliser(impl: Impl) -> None:
    class Finalising(impl.queue.Queue):  # type: ignore[misc, name-defined]
        def _put(self, item: object) -> None:
            if item == "first":
                Parting(self)
                gc.collect()  # where there is no reference counting
            super()._put(item)

    queue: Any = Finalising()
    queue.put("first")
    arrived = [queue.get(timeout=1) for _ in range(2)]
    if sorted(arrived) != ["first", "from __del__"]:
        raise Wrong(f"only {arrived} arrived")


@scenario(
    "Q2", "join(timeout) of a queue with unfinished tasks ends on time", needs=("queue.Queue.join(timeout)",)
)
def join_with_timeout(impl: Impl) -> None:
    queue = impl.queue.Queue()
    queue.put("never done")
    with within(0.2, "join(timeout=0.1)"):
        try:
            answer = returns(5, queue.join, timeout=0.1)
        except TimeoutError:
            return
    if answer is not False:
        raise Wrong(f"join(timeout=0.1) with an unfinished task returned {answer!r}")


@scenario(
    "Q5",
    "shutdown() wakes getters, putters and join(), and drains as 3.13 does",
    needs=("queue.Queue.shutdown",),
)
def shutdown_drains(impl: Impl) -> None:
    """Who waits when it comes is woken; what is there can still be taken; join() counts what is taken."""
    module = impl.queue
    queue, empty = module.Queue(2), module.Queue()
    queue.put("a")
    queue.put("b")
    woken: list[str] = []

    def wait(what: str, call: Any, *args: Any) -> None:
        try:
            call(*args)
        except module.ShutDown:
            woken.append(what)

    threads = [
        impl.threading.Thread(target=wait, args=("put", queue.put, "c"), daemon=True),
        impl.threading.Thread(target=wait, args=("get", empty.get), daemon=True),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # no matter if they are not there yet: they must be refused then
    queue.shutdown()
    empty.shutdown()
    for thread in threads:
        returns(5, thread.join)
    if sorted(woken) != ["get", "put"]:
        raise Wrong(f"of a blocked put() and get(), ShutDown was raised in {woken}")
    if [queue.get(), queue.get()] != ["a", "b"]:
        raise Wrong("what was in the queue did not come out after shutdown()")
    for call, args in ((queue.get, ()), (queue.put, ("late",)), (empty.get_nowait, ())):
        try:
            returns(5, call, *args)
            raise Wrong(f"{call.__name__}() after shutdown() returned")
        except module.ShutDown:
            pass
    queue.task_done()
    queue.task_done()
    returns(5, queue.join)


@scenario(
    "Q5",
    "after shutdown(immediate=True) join() waits for none but items already taken",
    needs=("queue.Queue.shutdown",),
)
def join_after_hard_shutdown(impl: Impl) -> None:
    queue = impl.queue.Queue()
    for item in "abc":
        queue.put(item)
    queue.get()
    joined: list[bool] = []

    def join() -> None:
        queue.join()
        joined.append(True)

    thread = impl.threading.Thread(target=join, daemon=True)
    thread.start()
    queue.shutdown(immediate=True)
    time.sleep(0.2)
    early = bool(joined)
    queue.task_done()
    until(5, "join() returns when the one item taken is done", lambda: joined)
    returns(5, thread.join)
    if early:
        raise Wrong("join() returned before the item that had been taken was done")


@scenario("Q8", "SimpleQueue.get(block=False, timeout=...) ignores the timeout")
def no_timeout_without_blocking(impl: Impl) -> None:
    queue = impl.queue.SimpleQueue()
    for timeout in (5, 0, -1):
        with within(0.5, f"get(block=False, timeout={timeout})"):
            try:
                returns(10, queue.get, block=False, timeout=timeout)
            except impl.queue.Empty:
                continue
            except ValueError as error:
                raise Wrong(f"get(block=False, timeout={timeout}) raised {error!r}") from None
            raise Wrong(f"get(block=False, timeout={timeout}) of an empty queue returned")
