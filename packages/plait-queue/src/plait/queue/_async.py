# SPDX-License-Identifier: MIT
# The async face of a queue: the calls that a task awaits.
#
# A task stands in the same lines as threads do, as a Waiter (_waiting.py); what is different is only how it sleeps and is
# rung. Whatever changes the queue happens in synchronous code between two awaits, under the queue's mutex, as for a thread;
# the one await of a call is its sleep. So the state of the queue knows no tasks, loops or libraries, and a cancellation is
# what the exception of a signal handler is to a thread: it strikes the sleeper, and the call abandons its place.
#
# The pieces
#   Bed      where a task sleeps: the only thing that is different from library to library. `sleep(timeout)` is awaited in
#            the task, by the clock of its loop; `rise()` ends it and is called in the loop; `post(letter)` has the loop call
#            *letter* soon, and may be called from anywhere. An asyncio bed is a future, a trio bed a trio.Event; anyio runs
#            on either.
#   Letter   what is posted. It is called once in its loop, and wakes the task. It may also be thrown away unread.
#   TaskWaiter  the Waiter of a task: `ring()` posts a letter.
#   Claim    what the frame of a waiting call holds, to know when it is gone.
#
# What has to be true
#   Whoever is handed an item is either woken, and returns it, or gives it back. An item can be on its way in four places:
#
#   1. in the box of a waiter whose letter is posted and not read yet. Cancelled here, the task wakes from its sleep by the
#      exception, and `_abandon_` gives the item back, into its place or to the next in line. The letter, read later, finds
#      a bed that nobody sleeps in.
#   2. the letter is read, the future has its result, and the task has not had its turn. asyncio then throws the cancellation
#      into the task in spite of the result: the same way out. (trio does not: the call returns its item, and the
#      cancellation comes at the next checkpoint.)
#   3. the loop is closed, and the letter cannot be posted; or it was posted, and the loop is closed or collected without
#      ever looking at it again. Either way the letter is thrown away unread: then its finaliser abandons the call in the
#      task's stead. That may happen in any thread, and inside any operation of the queue, which is what queues allow every
#      finaliser.
#   4. the letter is read and the loop is closed before the task has its turn. Nobody can resume the task; when it is
#      collected, so is the `Claim` that only the frame of the call holds, and its finaliser does the same. (CPython also
#      closes the coroutine, and the GeneratorExit strikes the sleeper as in 1.; PyPy does not.)
#
#   A loop that merely stopped may be run again: what it was given stays given, until it is closed or collected.
#   Tasks that wait, not served yet, when their loop is closed stay in line until the next time somebody looks for whom to
#   serve. `present` is then false, they are struck off, and let go of their loop: so they are collected.
#
# Letters travel by call_soon_threadsafe, which any thread, signal handler or finaliser may call at any moment. Only within a
# task of the very loop no letter is needed: while a task has its turn the loop is not about to sleep, so it will look at who
# is awake, wherever in the task's turn a handler or finaliser woke him.
#
# A child of a fork drops the waiters of tasks (they belong to no thread of its own), for it cannot run its parent's loop.
#
# Nothing of this imports an event loop library: one in which somebody awaits has been imported.

from __future__ import annotations

import sys
from functools import partial
from itertools import chain, starmap

from ._errors import Full, ShutDown
from ._platform import Empty
from ._surely import OVERDUE, elsewhere, surely
from ._waiting import NO_MORE, Waiter, in_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol, SupportsFloat, TypeVar

    from ._engine import Engine
    from ._fifo import Queue

    T = TypeVar("T")

    class Bed(Protocol):
        """Where a task sleeps."""

        def now(self) -> float:
            """The time on the clock of the event loop."""
            raise NotImplementedError

        async def sleep(self, timeout: float | None) -> None:
            """Until rise(), or *timeout* seconds of that clock."""

        def rise(self) -> None:
            """End the sleep; harmless if nobody sleeps. Called in the event loop."""

        def is_here(self) -> bool:
            """Whether this is running within a task of its event loop, so that rise() may be called at once."""
            raise NotImplementedError

        def post(self, letter: Callable[[], object]) -> None:
            """Have the event loop call *letter* soon. RuntimeError if it never will."""

        def stands(self) -> bool:
            """Whether its event loop can still run."""
            raise NotImplementedError


__all__ = ["Items", "get_later", "get_many_later", "join_later", "put_later", "put_many_later"]


class AsyncioBed:
    """Where a task of asyncio sleeps, whatever the loop is made of."""

    __slots__ = ("current_task", "future", "loop", "loop_here", "now")

    def __init__(self, asyncio: Any, loop: Any) -> None:
        self.loop = loop
        self.now = loop.time
        self.loop_here = asyncio._get_running_loop
        self.current_task = asyncio.current_task
        self.future = loop.create_future()

    async def sleep(self, timeout: float | None) -> None:
        if timeout is None:
            await self.future
            return
        timer = self.loop.call_later(timeout, self.rise)
        try:
            await self.future
        finally:
            timer.cancel()

    def rise(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def is_here(self) -> bool:
        # (The loop may go on in another thread than the one in which this was made.)
        return self.loop_here() is self.loop and self.current_task(self.loop) is not None

    def post(self, letter: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(letter)

    def stands(self) -> bool:
        return not self.loop.is_closed()


class TrioBed:
    """Where a task of trio sleeps."""

    __slots__ = ("event", "now", "patience", "token")

    def __init__(self, trio: Any) -> None:
        self.now = trio.current_time
        self.token = trio.lowlevel.current_trio_token()
        self.patience = trio.move_on_after
        self.event = trio.Event()

    async def sleep(self, timeout: float | None) -> None:
        if timeout is None:
            await self.event.wait()
            return
        with self.patience(timeout):
            await self.event.wait()

    def rise(self) -> None:
        self.event.set()

    def is_here(self) -> bool:
        return False  # nothing is lost by asking the loop

    def post(self, letter: Callable[[], object]) -> None:
        self.token.run_sync_soon(letter)

    def stands(self) -> bool:
        return True  # a run does not end before its tasks; if it did all the same, post() would tell


def bed_here() -> Bed:
    """A bed for the task that runs in this thread.

    Both libraries can run in one thread, one as a guest of the other. A task of asyncio is known by being current; a task of
    trio is current as well if it is its own turn, and remains so while a guest asyncio loop has its turn in it.
    """
    asyncio: Any = sys.modules.get("asyncio")
    trio: Any = sys.modules.get("trio")
    loop = None
    if asyncio is not None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            if trio is None or asyncio.current_task() is not None:
                return AsyncioBed(asyncio, loop)
    if trio is not None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            pass
        else:
            return TrioBed(trio)
    if loop is not None:
        return AsyncioBed(asyncio, loop)
    raise RuntimeError(
        "this call has to wait, and there is no event loop: await it in a task of asyncio, trio or anyio, "
        "or use its namesake for threads"
    )


class Letter:
    """Wakes a task, when its loop reads it; if that never happens, gives back what the task was handed."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: TaskWaiter) -> None:
        self.waiter: TaskWaiter | None = waiter

    def __call__(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            if waiter.bed is not None:
                waiter.bed.rise()
            self.waiter = None

    def throw_away(self) -> None:
        """Nobody will ever read it."""
        waiter = self.waiter
        if waiter is not None:
            waiter.forsake()
            self.waiter = None

    def __del__(self) -> None:
        self.throw_away()


class TaskWaiter(Waiter):
    """A waiting call that suspends its task."""

    nests = False  # it does not interrupt what waits in the same thread
    over = False  # the call has ended, and accounted for what it was handed

    def __init__(self, queue: Queue[Any], items: Iterable[Any] | None = None) -> None:
        super().__init__(items)
        self.thread = 0  # not any thread's: it does not live on in the child of a fork
        self.queue = queue
        self.bed: Bed | None = bed_here()

    async def sleep(self, deadline: Deadline) -> None:
        """Wait for the bell, or until the deadline."""
        if self.bed is not None and not self.settled():
            await self.bed.sleep(deadline.left())

    def ring(self) -> None:
        """Wake the task; ringing twice is harmless."""
        self.rung = True
        bed = self.bed
        if bed is None:
            return self.forsake()
        if bed.is_here():
            try:
                return bed.rise()
            except BaseException:
                surely(bed.rise)
                raise
        letter = Letter(self)
        try:
            bed.post(letter)
        except BaseException as problem:
            # Either the loop is closed, or the exception of a signal handler came in between, perhaps before it was done.
            try:
                bed.post(letter)
            except RuntimeError:
                if isinstance(problem, RuntimeError):
                    return letter.throw_away()
            raise

    def nudge(self, queue: Engine) -> bool:
        """Have the event loop settle *queue*."""
        bed = self.bed
        if bed is not None:
            try:
                bed.post(partial(queue._change_, queue._settle_))
                return True
            except RuntimeError:
                pass  # it is closed
        return False

    @property
    def present(self) -> bool:  # type: ignore[override]
        """Whether somebody would hear the bell."""
        if self.bed is None:
            return False
        if self.bed.stands():
            return True
        self.bed = None  # which is what holds the task: now it can be collected, and leave the line
        return False

    def forsake(self) -> None:
        """End the call in its task's stead."""
        if not self.over:
            self.queue._abandon_(self)

    def abandon(self) -> None:
        """End the call, which an exception ends already."""
        if not self.over:
            surely(self._abandon_)

    def _abandon_(self) -> None:
        self.queue._abandon_(self)
        self.over = True


class Claim:
    """A waiting call's claim to what it is handed. It is given up when nobody can resume the call any more."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: TaskWaiter) -> None:
        self.waiter = waiter

    def __del__(self) -> None:
        self.waiter.forsake()


# -- what is left of a call when it has to wait; the rest, and the contracts, are in Queue's methods


class Deadline:
    """When a call ends that may wait *timeout* seconds from now, on the clock of the event loop: which may be a simulated
    one, so no other will do."""

    __slots__ = ("now", "when")

    def __init__(self, waiter: TaskWaiter, timeout: SupportsFloat | None) -> None:
        self.now: Callable[[], float] | None = None
        self.when = 0.0
        if timeout is not None and waiter.bed is not None:
            self.now = waiter.bed.now
            self.when = self.now() + in_seconds(timeout)

    def left(self) -> float | None:
        """So many seconds, or None for any number."""
        return None if self.now is None else max(0.0, self.when - self.now())

    def over(self) -> bool:
        """Whether it has passed."""
        return self.now is not None and self.now() >= self.when


async def get_later(queue: Queue[T], timeout: float | None) -> T:
    """Wait for an item; `Empty` when *timeout* seconds have passed."""
    waiter = TaskWaiter(queue)
    deadline = Deadline(waiter, timeout)
    while True:
        if await _stay(queue._ask_, waiter, deadline):
            return waiter.box[0]  # type: ignore[no-any-return]
        if deadline.over():
            raise queue._no_item_(timeout)
        waiter = TaskWaiter(queue)


async def get_many_later(queue: Queue[T], max_items: int | None, timeout: float | None) -> list[T]:
    """Wait for an item, and take what else there is then, at most *max_items* in all; `Empty` when *timeout* seconds have
    passed."""
    items = [await get_later(queue, timeout)]
    if max_items != 1:
        try:
            # One call of C behind the last place in get_many() where an exception could strike.
            more = None if max_items is None else max_items - 1
            items += chain.from_iterable(starmap(queue.get_many, ((more, False),)))
            if len(items) == 1:  # it was a hook's or a handler's, which `+=` takes for the end
                raise StopIteration(f"raised while items were taken from {queue!r}")
        except (Empty, ShutDown):
            pass  # there is no more than the one
        except BaseException:
            try:
                queue._resettle_(items)
            except BaseException:  # noqa: BLE001 - the first one is raised
                queue._behind_ = (items, *queue._behind_)  # until then nothing may overtake it
                queue._admits_ = queue._takes_ = queue._locked_admits_ = queue._locked_takes_ = NO_MORE
                OVERDUE[:0] = ((queue._locked_, (queue._resettle_now_, items)),)
                try:
                    for _ in elsewhere:
                        break
                except RuntimeError:
                    pass  # no thread can be started
            raise
    return items


async def put_later(queue: Queue[T], rest: list[T], timeout: float | None) -> None:
    """Put what is in *rest* as there is room; what could not be put stays there. `Full` when *timeout* seconds have
    passed."""
    waiter = TaskWaiter(queue, rest)
    deadline = Deadline(waiter, timeout)
    while True:
        try:
            if await _stay(queue._offer_, waiter, deadline):
                return
        finally:
            rest[:] = waiter.box
        if deadline.over():
            raise queue._no_room_(timeout)
        waiter = TaskWaiter(queue, rest)


async def put_many_later(queue: Queue[T], rest: list[T], timeout: float | None) -> None:
    """The same for put_many(), of which the exception tells what remains."""
    try:
        return await put_later(queue, rest, timeout)
    except (Full, ShutDown) as problem:
        problem.remaining = rest
        raise


async def join_later(queue: Queue[T], timeout: float | None) -> bool:
    """Wait until every task is done; false if *timeout* seconds have passed before."""
    waiter = TaskWaiter(queue)
    deadline = Deadline(waiter, timeout)
    while True:
        await _stay(queue._attend_, waiter, deadline)
        if waiter.rung:
            return True
        if deadline.over():
            return False
        waiter = TaskWaiter(queue)


class Items:
    """What `async for` goes through. (An async generator would have to be closed by who leaves the loop early.)"""

    __slots__ = ("queue",)

    def __init__(self, queue: Queue[Any]) -> None:
        self.queue = queue

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.queue.aget()
        except ShutDown:
            raise StopAsyncIteration from None


async def _stay(enter: Callable[[Waiter], object], waiter: TaskWaiter, deadline: Deadline) -> bool:
    """Wait in the line that *enter* leads into, and leave it. Whether the waiter was served.

    If not, it is the deadline's doing; or the bell was rung for nothing, and the call is to be made anew.
    """
    _claim = Claim(waiter)
    try:
        enter(waiter)
        await waiter.sleep(deadline)
        waiter.queue._leave_(waiter)
        # No call between this and what the callers do with the box.
        served = waiter.served()
    except BaseException:
        try:
            waiter.abandon()
        except BaseException:  # noqa: BLE001 - the first one is raised
            queue = waiter.queue
            if not waiter.gives:
                queue._behind_ = (waiter.box, *queue._behind_)  # until then nothing may overtake it
                queue._admits_ = queue._takes_ = queue._locked_admits_ = queue._locked_takes_ = NO_MORE
            OVERDUE[:0] = ((waiter.queue._locked_, (waiter.queue._abandon_now_, waiter)),)
            try:
                for _ in elsewhere:
                    break
            except RuntimeError:
                pass  # no thread can be started
        raise
    waiter.over = True
    if not served and waiter.verdict is not None:
        verdict, waiter.verdict = waiter.verdict, None
        try:
            raise verdict
        finally:
            del verdict  # this frame is in its traceback
    return served
