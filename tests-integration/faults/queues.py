# SPDX-License-Identifier: MIT
"""Queues between threads (rows Q)."""

from __future__ import annotations

import gc
import random
import resource
import signal
import sys
import time
from typing import Any

from .scenario import Impl, Wrong, program, returns, scenario, until, within


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


@scenario(
    "Q1",
    "signal handlers use the LifoQueue and the PriorityQueue that they interrupt",
    deadline=15,
    reproduced=True,
    needs=("queue.LifoQueue", "queue.PriorityQueue"),
)
def use_others_in_handlers(impl: Impl) -> None:
    """The handler puts and gets, until 1500 have struck; a heap that is half sifted when it comes must not be harmed."""
    for kind, bound in (("LifoQueue", 0), ("PriorityQueue", 0), ("PriorityQueue", 64)):
        queue = getattr(impl.queue, kind)(bound)
        put, got, struck = [], [], []
        numbers = iter(range(10**9))

        def handler(
            *_: object, queue: Any = queue, put: Any = put, got: Any = got, struck: Any = struck
        ) -> None:
            mine = random.randrange(1000) + next(numbers) / 1e9  # noqa: B023 - of this round
            try:
                queue.put(mine, block=False)
                put.append(mine)
            except impl.queue.Full:
                pass
            if random.random() < 0.7:
                try:
                    got.append(queue.get(block=False))
                except impl.queue.Empty:
                    pass
            struck.append(1)
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-4))

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
        while len(struck) < 500:
            for _ in range(10):
                mine = random.randrange(1000) + next(numbers) / 1e9
                queue.put(mine, timeout=5)
                put.append(mine)
            for _ in range(10):
                try:
                    got.append(queue.get(block=False))
                except impl.queue.Empty:
                    break
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        rest = [queue.get(timeout=1) for _ in range(queue.qsize())]
        if sorted(got + rest) != sorted(put):
            raise Wrong(
                f"{kind}: {len(put)} items were put, {len(got + rest)} came out, {len({*got, *rest})} different"
            )
        if kind == "PriorityQueue" and rest != sorted(rest):
            raise Wrong("the PriorityQueue's last items did not come out in order")


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
    "Q2", "join(timeout) returns as soon as the last task is done", needs=("queue.Queue.join(timeout)",)
)
def join_with_timeout_that_is_not_needed(impl: Impl) -> None:
    queue = impl.queue.Queue()
    queue.put("soon done")
    thread = impl.threading.Timer(0.1, queue.task_done)
    thread.start()
    with within(5, "join(timeout=10)"):
        answer = returns(10, queue.join, timeout=10)
    returns(5, thread.join)
    if answer is not True:
        raise Wrong(f"join(timeout=10) returned {answer!r} when the last task was done")


@scenario("Q3", "peek() shows the next item and takes nothing", needs=("queue.Queue.peek", "queue.LifoQueue"))
def peek(impl: Impl) -> None:
    for kind, first in (("Queue", 2), ("LifoQueue", 1), ("PriorityQueue", 1)):
        queue = getattr(impl.queue, kind)()
        queue.put(2)
        queue.put(3)
        queue.put(1)
        seen = [queue.peek(), queue.peek(block=False), queue.peek(timeout=1), queue.get(), queue.qsize()]
        if seen != [first, first, first, first, 2]:
            raise Wrong(f"three times peek(), get() and qsize() of a {kind} gave {seen}")


@scenario("Q3", "peek() waits, and its timeout ends on time", needs=("queue.Queue.peek",))
def peek_waits(impl: Impl) -> None:
    queue = impl.queue.Queue()
    with within(0.5, "peek(timeout=0.1)"):
        try:
            returns(5, queue.peek, timeout=0.1)
            raise Wrong("peek() of an empty queue returned")
        except impl.queue.Empty:
            pass
    thread = impl.threading.Timer(0.1, queue.put, ("item",))
    thread.start()
    seen = [returns(5, queue.peek), queue.get(timeout=5)]
    returns(5, thread.join)
    if seen != ["item", "item"]:
        raise Wrong(f"peek() and get() gave {seen}")


def a_waiting_putter(impl: Impl, queue: Any) -> Any:
    thread = impl.threading.Thread(target=queue.put, args=("waited",), daemon=True)
    thread.start()
    time.sleep(0.2)  # no matter if it does not wait yet
    return thread


@scenario("Q3", "clear() wakes a waiting put(), and join()", needs=("queue.Queue.clear",))
def clear_wakes(impl: Impl) -> None:
    queue = impl.queue.Queue(2)
    queue.put(1)
    queue.put(2)
    thread = a_waiting_putter(impl, queue)
    dropped = queue.clear()
    returns(2, thread.join)
    if dropped != 2 or queue.get(timeout=1) != "waited":
        raise Wrong(f"clear() of two items returned {dropped}, or lost the item of the put() that waited")
    queue.task_done()
    returns(5, queue.join)


@scenario("Q3", "a growing maxsize wakes a waiting put()", reproduced=True)
def maxsize_wakes(impl: Impl) -> None:
    for bound in (2, 0):
        queue = impl.queue.Queue(1)
        queue.put(1)
        thread = a_waiting_putter(impl, queue)
        queue.maxsize = bound
        try:
            returns(2, thread.join)
        except Wrong:
            queue.get()  # let it go
            returns(5, thread.join)
            raise Wrong(f"a put() slept on for 2 s when maxsize grew from 1 to {bound}") from None


@scenario("Q4", "select() returns the queues that are ready", needs=("queue.select",))
def select_ready(impl: Impl) -> None:
    module = impl.queue
    one, other, closed = module.Queue(), module.LifoQueue(), module.PriorityQueue()
    with within(0.5, "select(timeout=0.1)"):
        if returns(5, module.select, [one, other, closed], timeout=0.1) != []:
            raise Wrong("select() of empty queues returned some of them")
    thread = impl.threading.Timer(0.1, other.put, (1,))
    thread.start()
    with within(2, "select() of a queue that was put to"):
        if returns(5, module.select, [one, other, closed]) != [other]:
            raise Wrong("select() did not return the one queue that was put to")
    returns(5, thread.join)
    one.put(2)
    closed.shutdown()
    if returns(5, module.select, [closed, one, other], timeout=1) != [closed, one, other]:
        raise Wrong("select() did not return all three, one of which is shut down")
    if [one.get(block=False), other.get(block=False)] != [2, 1]:
        raise Wrong("select() took something out")


@scenario("Q4", "select() sleeps until it is woken", needs=("queue.select",), alone=True)
def select_sleeps(impl: Impl) -> None:
    queues = [impl.queue.Queue() for _ in range(5)]

    def switches() -> int:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        impl.queue.select(queues, timeout=1)
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

    slept = returns(5, switches)
    if slept > 20:
        raise Wrong(f"select(timeout=1) gave up the processor {slept} times, allowed 20")


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


WITH_ASYNCIO = """
import asyncio, time
q, back = impl.queue.Queue(3), impl.queue.Queue()
threads = []

def start(work, *args):
    threads.append(impl.threading.Thread(target=work, args=args, daemon=True))
    threads[-1].start()

async def asquare():
    async for n in q:
        await back.aput(n * n)

def square():
    for n in q:
        back.put(n * n)

async def main():
    for n in range(200):
        await q.aput(n)
    got = [await back.aget(timeout=10) for _ in range(200)]
    cancelled = asyncio.ensure_future(back.aget())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    back.put("kept")
    cancelled.cancel()
    await asyncio.wait([cancelled])
    got.append(await back.aget(timeout=10))
    return got

start(asyncio.run, asquare())
start(asyncio.run, asquare())
start(square)
got = asyncio.run(main())
begun = time.process_time()
time.sleep(1)
spent = time.process_time() - begun
q.shutdown()
for thread in threads:
    thread.join(10)
right = got[-1] == "kept" and sorted(got[:-1]) == [n * n for n in range(200)]
print("alive", sum(thread.is_alive() for thread in threads), "right", right, "idle", spent < 0.2, flush=True)
"""


@scenario(
    "Q6",
    "threads and the tasks of three event loops share one queue",
    deadline=30,
    needs=("queue.Queue.aget", "queue.Queue.aput"),
)
def with_asyncio(impl: Impl) -> None:
    """In a program of its own, because asyncio brings the standard threading with it."""
    impl.queue.Queue.aget  # noqa: B018
    with program(impl, WITH_ASYNCIO) as running:
        said = running.until_out("alive.*", 20)[0]
        if said != "alive 0 right True idle True":
            raise Wrong(f"the program said {said!r}")
        running.wait(5)


WITH_A_DEAD_LOOP = """
import asyncio, gc
q = impl.queue.Queue()
got = []
for served in (False, True):
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(q.aget())
    loop.run_until_complete(asyncio.sleep(0))
    if served:
        q.put(served)
    loop.close()
    if not served:
        q.put(served)
    got.append(q.get(timeout=5))
print("got", got, flush=True)
"""


@scenario(
    "Q6",
    "an event loop that was closed with a waiting task takes no item with it",
    needs=("queue.Queue.aget",),
)
def with_a_dead_loop(impl: Impl) -> None:
    impl.queue.Queue.aget  # noqa: B018
    with program(impl, WITH_A_DEAD_LOOP) as running:
        said = running.until_out("got.*", 15)[0]
        if said != "got [False, True]":
            raise Wrong(f"the program said {said!r}")
        running.wait(5)


@scenario(
    "Q7",
    "put_many() and get_many() move many at once, and nobody comes between",
    needs=("queue.Queue.put_many", "queue.Queue.get_many"),
)
def many_at_once(impl: Impl) -> None:
    queue = impl.queue.Queue()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def give(name: int) -> None:
        for n in range(300):
            queue.put_many([(name, n, k) for k in range(7)])

    threads = [impl.threading.Thread(target=give, args=(name,), daemon=True) for name in range(4)]
    for thread in threads:
        thread.start()
    got: list[Any] = []
    while len(got) < 4 * 300 * 7:
        got += returns(10, queue.get_many, timeout=5)
    for thread in threads:
        returns(5, thread.join)
    sys.setswitchinterval(before)
    for start in range(0, len(got), 7):
        name, n, _ = got[start]
        if got[start : start + 7] != [(name, n, k) for k in range(7)]:
            raise Wrong(f"seven neighbours came out as {got[start : start + 7]}")
    if len(set(got)) != len(got):
        raise Wrong("some items came twice")


@scenario("Q7", "put_many() into a bounded queue says what it could not put", needs=("queue.Queue.put_many",))
def many_into_a_bounded_queue(impl: Impl) -> None:
    queue = impl.queue.Queue(3)
    with within(1, "put_many(timeout=0.1)"):
        try:
            returns(5, queue.put_many, range(5), timeout=0.1)
            raise Wrong("put_many() of five items into a queue of three returned")
        except impl.queue.Full as refused:
            rest = refused.remaining
    got = queue.get_many(2, block=False) + queue.get_many(block=False)
    if (got, rest) != ([0, 1, 2], [3, 4]):
        raise Wrong(f"{got} was put and {rest} was not")


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


@scenario(
    "Q9",
    "the queues written in Python keep every item with eight threads and no help of the interpreter's C",
    deadline=40,
    needs=("queue.LifoQueue", "queue.PriorityQueue"),
)
def in_python(impl: Impl) -> None:
    """Threads are switched as often as can be; on a Python without the global lock they really run at once."""
    fallbacks = filter(impl.has, ("queue._simple.SimpleQueue", "queue._PySimpleQueue"))
    makers = [
        impl.queue.Queue,
        lambda: impl.queue.Queue(2),
        impl.queue.LifoQueue,
        impl.queue.PriorityQueue,
        *map(impl.find, fallbacks),
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for make in makers:
        queue, taken, each = make(), [[] for _ in range(4)], 1000

        def give(name: int, queue: Any = queue, each: int = each) -> None:
            for n in range(each):
                queue.put(n * 8 + name)

        def take(mine: list[int], queue: Any = queue) -> None:
            mine.extend(iter(queue.get, -1))

        givers = [impl.threading.Thread(target=give, args=(name,), daemon=True) for name in range(4)]
        takers = [impl.threading.Thread(target=take, args=(mine,), daemon=True) for mine in taken]
        for thread in givers + takers:
            thread.start()
        for thread in givers:
            returns(20, thread.join)
        until(10, "the queue is empty", queue.empty)
        for _ in takers:
            queue.put(-1)
        for thread in takers:
            returns(10, thread.join)
        got = [item for mine in taken for item in mine]
        if sorted(got) != sorted(n * 8 + name for n in range(each) for name in range(4)):
            raise Wrong(
                f"{type(queue).__name__}: {len(got)} items came out, {len(set(got))} different, of {4 * each}"
            )
    sys.setswitchinterval(before)
