# SPDX-License-Identifier: MIT
# Waiting calls, and the small parts that cannot be torn.
#
# The waiting line protocol
#   A call that has to wait is a `Waiter` in one of a queue's lines. Threads and tasks stand in the same lines: what
#   they differ in is what `ring()` does. Five methods of a queue take a waiter; all may be called from any thread,
#   take the mutex themselves, never block for longer than others hold it, and leave nothing to be undone if they
#   raise before the waiter stands in line:
#
#     queue._ask_(waiter)      wants items: it is served at once if it can be, else it stands in line
#     queue._offer_(waiter)    the same for one that brings items
#     queue._attend_(waiter)   the same for one that waits until all tasks are done
#     queue._leave_(waiter)    stands in line no more. From here on nobody touches it, and its `box` tells how it ended
#     queue._abandon_(waiter)  the same, and what was handed over meanwhile goes back to its place in the queue: for a
#                             call that ends with an exception
#
#   So a waiting call is: enter; unless `settled()`, sleep until rung; leave; look at `verdict`, then at `box`; and
#   abandon, if an exception strikes anywhere on the way, even if another one strikes there (_surely.py). A thread can
#   leave out `_leave_` if it has been served: who is served has been struck off.
#
#   `ring()` wakes the caller. It comes once the waiter is settled, possibly more than once, from any thread, signal
#   handler or finaliser, with the mutex held: it must neither block, nor raise, nor use the queue.
#   `present` is asked before anything is handed over. Once it is false (a loop that was closed, say), for good, the
#   waiter is struck off, and gets and gives nothing. It may be a property.
#
# Where an interruption can strike
#   CPython runs signal handlers, pending finalisers and (from 3.12) the garbage collector, and lets other threads run,
#   after calls, at the head of functions and on backward jumps, and nowhere else: 3.11 to 3.15 agree in this. 3.10 does it
#   also where a conditional jump forward is taken: behind an `if` whose condition was false, or an `or` in a condition of
#   which the left side was true (not where `and`, `or` and `not` make a value that is stored). tests/test_interruptions.py
#   asks each of them. The handler may use the very object it interrupts (nesting), or raise (KeyboardInterrupt), or both.
#
#   So no piece goes through an `if` that is false: it is written to look for what is mostly true, and what has to be
#   looked at as part of the piece is looked at last. Where it cannot be, a value is chosen without a jump:
#   `(NO_MORE, way)[is_open]`.
#
#   A single call of a C function is never torn. But a result that a call has just left on the evaluation stack is lost
#   when a handler raises at that moment: `item = d.popleft()` can lose an item. `for item in pops:`, where `pops` is a
#   C iterator whose step is that popleft, cannot: the loop is no call, so the name is stored, and whatever follows up to
#   and into the next call is done, before anybody looks for handlers or other threads. So
#
#       for item in pops:
#           if waiter.wants:
#               waiter.box.append(item)
#
#   is one piece: a step, a look, and a call. Steps that must not be torn are written like that. Another way to one piece
#   is one call of C, as in `stock.extend(starmap(box.popleft, ...))`. A lock is taken in this way, too: `for held in
#   enters:` cannot take it without saying so in `held`, while on 3.14 (neither before nor after it) an exception can
#   strike between the __enter__ of a lock and the body of its `with`. It is also the faster of the two.
#
#   PyPy looks for handlers at nearly every bytecode. What is said above about exceptions out of handlers does not hold
#   there; nesting and threads are safe all the same, as everything then happens under the mutex.
#   A tracer (sys.settrace) adds a place to each line. What then can happen between a step and its call is said where it
#   matters.

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain, compress, count, repeat, starmap
from math import inf
from operator import attrgetter
from time import monotonic

from .._thread import TIMEOUT_MAX, RLock, allocate_lock, get_ident
from ._platform import is_owned, raised_here
from ._surely import OVERDUE, elsewhere, surely

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, SupportsFloat

    from ._engine import Engine

__all__ = [
    "ENDLESS",
    "IN_BOX",
    "NOBODY",
    "NOTHING",
    "NO_MORE",
    "ONCE",
    "TICKETS",
    "ThreadWaiter",
    "Waiter",
    "Watcher",
    "check_timeout",
    "deadline_of",
    "dismiss",
    "enlist_nested",
    "first_present",
    "in_seconds",
    "leaves_time",
    "may_wait",
    "steps_of",
    "strike",
    "take_out",
]

NOTHING: Any = object()  # no item: every value can be one
IN_BOX: Any = object()  # none either; but what was taken, if anything was, is in a box
ENDLESS: Any = repeat(())  # for starmap: a call without arguments, as often as one likes
ONCE: Any = ((),)  # the same, once
NO_MORE: Iterator[Any] = iter(())  # a way that is closed
NOBODY: deque[Any] = deque(maxlen=0)  # a line that is always empty

# Of what is handed over, and of what is given back: in the order in which it was taken.
TICKETS: Iterator[int] = count()


def steps_of(call: Callable[[], Any]) -> Iterator[Any]:
    """An endless iterator, wholly in C, each step of which is one `call()`; an exception passes through and ends
    nothing."""
    return starmap(call, ENDLESS)


def in_seconds(timeout: SupportsFloat) -> float:
    """Of any kind of number a float, which is what clocks and locks can take."""
    try:
        return float(timeout)
    except OverflowError:
        return inf


def may_wait(timeout: Any) -> bool:
    """Whether it is not negative. TypeError if it is no number."""
    try:
        return timeout >= 0  # type: ignore[no-any-return]
    except TypeError:
        raise _no_number(timeout) from None


def leaves_time(timeout: Any) -> bool:
    """Whether it is more than nothing. TypeError if it is no number."""
    try:
        return timeout > 0  # type: ignore[no-any-return]
    except TypeError:
        raise _no_number(timeout) from None


def _no_number(timeout: Any) -> TypeError:
    return TypeError(f"'timeout' must be a number of seconds, or None to wait for ever, not {timeout!r}")


def check_timeout(timeout: Any) -> None:
    """TypeError or ValueError if it cannot be one, other than None."""
    if not may_wait(timeout):
        raise ValueError(f"'timeout' must be a non-negative number, not {timeout!r}")


def deadline_of(timeout: SupportsFloat | None) -> float | None:
    """When a call ends, on the monotonic clock, that may wait so many seconds from now."""
    return None if timeout is None else monotonic() + in_seconds(timeout)


class Waiter:
    """One waiting call, and a box through which items pass.

    One that wants items comes with an empty box and is served by filling it (*wants* items, or none: then it is only
    rung when there is something to take). One that brings items comes with them in the box, and is served by emptying
    it, from the left. A *verdict* is an exception for the caller to raise instead, for instance since the queue was
    shut down. *ticket* says which of several items was taken first; those behind the first in a box may have *later* ones.

    Subclasses say how to `ring()`.
    """

    # Most of it is the same for most: kept in the class, which makes a waiter cheaper to build than __slots__ would.
    box: Any
    gives = False  # it brings items
    wants = 1
    gone = False  # its caller does not wait any more
    busy = False  # it is being served at this moment, by somebody whom whoever reads this has interrupted
    rung = False
    nudged = False  # woken to settle the queue, and not because it is settled itself
    nests = False  # it blocks its thread, which may wait in this line already, below a handler, say
    present = True  # somebody would hear the bell
    verdict: Exception | None = None
    ticket = 0
    later: Any = ()
    line: deque[Waiter] = NOBODY

    def __init__(self, items: Iterable[Any] | None = None) -> None:
        if items is None:
            self.box = []
        else:
            self.box = deque(items)
            self.gives = True
        self.thread = get_ident()

    def ring(self) -> None:
        """Wake the caller; ringing twice is harmless."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to ring()")

    def nudge(self, queue: Engine) -> bool:  # noqa: ARG002
        """Wake the caller, or somebody in its stead, to settle *queue* as soon as the mutex is free. Whether that can be.
        Called with the mutex held; it must neither block nor raise."""
        return False

    def served(self) -> bool:
        """Whether all items have passed."""
        return not self.box if self.gives else bool(self.box)

    def settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.rung or self.verdict is not None or self.served()


class ThreadWaiter(Waiter):
    """A waiting call that blocks its thread."""

    nests = True
    until = inf  # when its time is up, if it has slept

    def __init__(self, box: Any, gives: bool = False) -> None:
        # What super() does with items, in fewer steps.
        self.box = box
        if gives:
            self.gives = True
        self.thread = get_ident()
        self.bell = bell = allocate_lock()
        bell.acquire()

    def ring(self) -> None:
        """Wake the caller; ringing twice is harmless."""
        self.rung = True
        try:
            self.bell.release()
        except RuntimeError as problem:  # it rang before
            if not raised_here(problem):
                raise

    def nudge(self, queue: Engine) -> bool:  # noqa: ARG002
        """Wake the caller, who finds that its bell has not been rung."""
        self.nudged = True
        try:
            self.bell.release()
        except RuntimeError as problem:  # it is about to wake
            if not raised_here(problem):
                raise
        return True

    def stay(self, queue: Engine, timeout: SupportsFloat | None) -> None:
        """Stand in line until rung, or until *timeout* seconds have passed, and leave it then."""
        if timeout is None and not is_owned(queue._lock_):
            self.bell.acquire()
        else:
            self.sleep(queue, timeout)
        if not self.rung:
            if self.nudged:
                self.sleep_on(queue, timeout)
            queue._leave_(self)

    def sleep_on(self, queue: Engine, timeout: SupportsFloat | None) -> None:
        """Having been nudged, and not rung: settle *queue*, and go on sleeping.

        Nudged twice, before this was noted, it wakes twice: so that it has not been nudged says nothing about the time.
        """
        while not self.rung:
            self.nudged = False
            queue._locked_(queue._settle_)
            left = None if timeout is None else self.until - monotonic()
            if left is not None and left <= 0:
                break
            if not self.rung:
                self.sleep(queue, left)

    def sleep(self, queue: Engine, timeout: SupportsFloat | None = None) -> None:
        """Wait for the bell of *queue*, or until *timeout* seconds have passed.

        Whoever calls this from within the mutex (a signal handler that interrupted an operation of the same queue, or
        a user's `with q.mutex: q.get()`) lets go of it meanwhile, as in `Condition.wait`: else nobody could ever
        ring. And it rings those first whom the interrupted operation has served and not rung yet, for that one goes on
        only when this has been rung, perhaps by one of them.
        """
        mutex = queue._lock_
        if is_owned(mutex):
            queue._settle_()
            self._outside(mutex, partial(self.sleep, queue, timeout))
        elif timeout is None:
            self.bell.acquire()
        else:
            seconds = in_seconds(timeout)
            self.until = monotonic() + seconds
            self._sleep(seconds)

    def _sleep(self, timeout: float | None) -> None:
        if timeout is None:
            self.bell.acquire()
        elif timeout <= TIMEOUT_MAX:
            self.bell.acquire(True, max(timeout, 0))
        else:
            self._sleep_long(timeout)

    def _outside(self, mutex: RLock, sleep: Callable[[], None]) -> None:
        levels: list[Any] = [None]

        def regain() -> None:
            while len(levels) > 1:
                # One piece: the lock is taken and a level struck off (acquire() returns True, which is index 1).
                for _ in map(levels.pop, starmap(mutex.acquire, ONCE)):
                    break
                else:
                    raise StopIteration("raised while the mutex of a queue was taken again")

        settled = False
        try:
            while is_owned(mutex):
                levels += starmap(mutex.release, ONCE)
            sleep()
            regain()
            settled = True
        finally:
            # (Only this thread can: no other can do this duty.)
            try:
                if not settled:
                    surely(regain)
            except BaseException:
                try:
                    surely(regain)
                except BaseException:
                    surely(regain)
                    raise
                raise

    def _sleep_long(self, timeout: float) -> None:
        # Centuries, or infinity: in pieces that the platform can count.
        deadline = monotonic() + timeout
        while timeout > 0 and not self.bell.acquire(True, min(timeout, TIMEOUT_MAX)):
            timeout = deadline - monotonic()


class Watcher(ThreadWaiter):
    """A call that waits until there is something to get from one of *queues*, but gets nothing.

    It stands among the getters of each. Where its turn comes and there is stock, or the queue is shut down, it is rung
    and struck off, and the line moves on; so watching holds nobody up. What it was rung for may be gone when it looks:
    then another watcher has to stand in line, at the end.
    """

    wants = 0

    def __init__(self, queues: Iterable[Engine]) -> None:
        super().__init__([])
        self.queues = [*dict.fromkeys(queues)]

    def watch(self, timeout: float | None) -> None:
        """Wait until one of the queues has something, at most *timeout* seconds."""
        settled = False
        try:
            for queue in self.queues:
                queue._ask_(self)
                if self.rung:
                    break
            else:
                self._sleep_outside_all([queue._lock_ for queue in self.queues], timeout)
            self._leave_all()
            settled = True
        finally:
            try:
                if not settled:
                    surely(self._leave_all)
            except BaseException:
                if not settled:
                    OVERDUE[:0] = ((self._leave_all, ()),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
                raise

    def _sleep_outside_all(self, mutexes: list[RLock], timeout: float | None) -> None:
        for place, mutex in enumerate(mutexes):
            if is_owned(mutex):
                self._outside(mutex, partial(self._sleep_outside_all, mutexes[place + 1 :], timeout))
                return
        self._sleep(timeout)

    def _leave_all(self) -> None:
        self.gone = True
        for queue in self.queues:
            if queue._furnished_:
                queue._locked_(strike, queue._getters_, self)


# -- lines; the mutex is held ------------------------------------------------------------------------------------------


def first_present(line: deque[Waiter]) -> Waiter | None:
    """Who waits longest of those who would hear the bell, have not gone, and are not being served at this moment (by
    somebody whom we have interrupted), unless that has got as far as that they only have to be rung. Who would not hear
    it is taken out of the line, and looked at once only."""
    for waiter in tuple(line):
        if not waiter.present:
            strike(line, waiter)
        elif not waiter.gone and (not waiter.busy or waiter.settled()):
            return waiter
    return None


_thread_of = attrgetter("thread")


def enlist_nested(line: deque[Waiter], waiter: Waiter) -> None:
    """Let a call that blocks its thread stand in line: ahead of a call of the same thread, for that was interrupted by
    this one (in a signal handler, or, in any thread, in a finaliser), and waits for it."""
    # (Whoever does not block a thread, as a task, has not the number of any.)
    if waiter.thread in map(_thread_of, tuple(line)):
        others = chain.from_iterable(starmap(line.copy, ONCE))
        # One piece: the step copies the line and looks through it.
        for place in compress(count(), map(waiter.thread.__eq__, map(_thread_of, others))):
            line.insert(place, waiter)
            return
    line.append(waiter)


def strike(line: deque[Waiter], waiter: Waiter) -> None:
    """Take a call out of a line, if it is in it."""
    try:
        line.remove(waiter)
    except ValueError as problem:
        if not raised_here(problem):
            raise


def dismiss(line: deque[Waiter], waiter: Waiter) -> None:
    """Wake a call that is settled. Rung first: if an exception strikes between the two, it is found in the line."""
    waiter.ring()
    strike(line, waiter)


def take_out(stock: Any, place: int, item: Any) -> bool:
    """Delete *item* from *stock* if it is at *place*, in one piece."""
    try:
        if stock[place] is item:
            del stock[place]
            return True
    except IndexError:
        pass
    return False
