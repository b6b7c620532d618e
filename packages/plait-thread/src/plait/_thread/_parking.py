# SPDX-License-Identifier: MIT
#
# Parking: how a thread goes to sleep until another one wakes it.
#
# A Parker is one waiting call's private doorbell: a raw lock that is held while nobody has rung. A WaitQueue is the line
# in which such calls stand, oldest first. What can be waited for (a flag, a count, a turn) is the business of the layers
# above; here is only what they all need.
#
# Guarantees of a Parker
#   - unpark() before park() is remembered, once. Two unparks still buy one wake-up.
#   - park() may return early; callers look at their own condition, and loop.
#   - If an exception of a signal handler ends a park(), a token stays behind: nobody can tell whether the lock had
#     been taken by then, and one wake-up too many is better than one too few.
#   - unpark() never blocks, and may be called in a signal handler or finaliser, wherever that struck, also in the very
#     thread that is inside park().
#   - Where there is one thread and can be no other, park() without a token and without a timeout is an error: it would
#     never end, and on Pyodide take the whole page with it.
#   - A fork copies the token with the rest. A parker of a thread that stayed behind can be unparked; unpark() then tells
#     that this woke nobody.
#
# Guarantees of a WaitQueue
#   - A waiter is struck off exactly once: by the waker that rings it, or by itself, when it gives up. The line is a
#     deque, so that both are one operation on it, and that operation decides who was first. (Only those who give up are
#     looked for in it, and they find themselves near its front, for mostly they have waited long. A dictionary would find
#     them at once, but looking for its oldest key passes all the places where older ones have been.)
#   - Therefore no wake-up is lost: a waiter that times out and finds itself struck off has been woken after all; one
#     that is interrupted by an exception and finds itself struck off passes the wake-up on.
#   - wake(n) wakes those that have waited longest. Waiters that a fork left behind are struck off and not counted.
#   - Struck off first, rung second: whoever is awake and still in line has not been woken by the line. A waker notes
#     whom it has struck off in the same step of C code, so that an exception of a signal handler leaves nobody unrung.
#   - What is done when an exception has struck (to leave the line, to pass the wake-up on, to ring whom one has struck
#     off) is done by C code only, with no place for another signal's to strike before it is done. (If a fork has left the
#     next one behind, Python code passes the wake-up on; three at once may end that.)
#   - What a signal handler raises is raised, whatever it is. A RuntimeError may also be what a lock says that has been
#     released already; one that a handler has raised where that was being caught is told by the handler's frame.
#   - `wait(unless=...)` looks at the condition after the waiter has entered. A waker changes the condition first and
#     wakes second. So one of the two sees the other, and no lock has to be held across both.
#
# Assumes
#   - one operation of a deque or a list, and one of a lock, is whole for other threads and for signal handlers.
#   - nothing about who gets a contended lock, and nothing about the global lock. (Without one, to find a deque empty takes
#     no lock and so orders nothing: who wakes might not see who has entered the line, who did not see what has changed. So
#     it takes the deque's lock first, by rotating the line by nothing.)
#
# The token is the one of the "permit" that Doug Lea's LockSupport gave to Java (2004), the rest follows from it. Unlike
# there, a parker belongs to a call and not to a thread: a late unpark() then reaches a doorbell that nobody listens to
# any more, and not the next, unrelated wait of the same thread. Making one costs a fraction of a microsecond, a switch of
# threads some ten.
#
# Giving way
#   Under a global lock, to be woken is dear: the bell wakes the waiter while the waker still has that lock, so that it
#   goes to sleep a second time, at once, and is woken a second time when the waker lets go. We cannot spin until the
#   bell rings, for the thread we wait for could not run meanwhile. But we can give way, `give_way()`: let go of the
#   global lock, let the system run who is next, and look again. If threads take turns, on one core, the bell has rung then,
#   and nobody has slept: a turn costs a third. (Two-phase waiting: J. K. Ousterhout, "Scheduling techniques for concurrent
#   systems", 1982. Once is often in vain: to let go of the global lock may wake a third thread, which has the processor
#   first. So it is done twice.)
#   In vain it costs a microsecond, and on several idle cores, where threads need not wait for each other's turn, it is in
#   vain more often than not. So every time adds to the hope that it helps, or takes twice as much of it; without hope it is
#   tried now and then (RARELY).
#   Where somebody computes, who will have the core or the global lock for milliseconds if we let go of it, whereas one who
#   sleeps and is woken gets it sooner, it costs more. So turns that take LONG have a budget: of any
#   time, one part in SELDOM, and BURST / SELDOM seconds at once. It is kept as the generic cell rate algorithm does (ITU-T
#   I.371), in one variable, the time at which what has been spent will be paid off.
#   All threads share hope and budget, and may overwrite what another has just stored; nothing depends on them but speed.
#
# What remains: on 3.10 and PyPy an exception of a signal handler can strike between two bytecodes at which nothing can
# catch it (after the last instruction of a `try`; where there are two, at the first one of an `except`). Then a park() may
# end with an exception and without the token. A WaitQueue does not rely on tokens to know who was woken, and is not hurt by
# that; but three at once (on PyPy, two) may leave a waiter in line that has gone, and a wake-up is spent on it.

from __future__ import annotations

import os
import sys
from itertools import repeat, starmap
from math import inf
from time import monotonic

from ._after_fork import fork_generation
from ._platform import TIMEOUT_MAX, allocate_lock, can_start_threads, deque
from ._timeouts import seconds

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Parker", "WaitQueue", "give_way"]

# In seconds. Guesses: threads that take turns need some microseconds, and systems give a turn of milliseconds.
LONG = 0.0005
BURST = 0.5
SELDOM = 20

# Of so many times that it could have been tried without hope, it is tried once. And more hope than this there never is.
RARELY = 32
MOST_HOPE = 32

_accompanied = can_start_threads()
_yield_processor: Callable[[], object] | None = getattr(os, "sched_yield", None)
_paid_off_at = -BURST
_hope = MOST_HOPE  # below zero: how often it is still to be left out
# For starmap: one call without arguments; such calls endlessly.
_ONCE = ((),)
_ALWAYS: Iterator[tuple[()]] = repeat(())

# Without a global lock, looking whether somebody is in line orders nothing.
_UNORDERED = not getattr(sys, "_is_gil_enabled", lambda: True)()

# Locks may be written in Python: where there are no threads, or something has replaced them (as gevent does).
_LOCKS_ARE_IN_C = not any(hasattr(allocate_lock().release, name) for name in ("__func__", "__code__"))

# Where the stack or the memory is used up, to try again for ever would be a hang.
_SEVERAL = range(30)


def _raised_here(error: BaseException) -> bool:
    """Whether the C function that was called in the `try` has raised it, and not a signal handler that struck there: that
    has a frame."""
    trace = error.__traceback__
    return trace is None or trace.tb_next is None or not _LOCKS_ARE_IN_C


def give_way(waits: Callable[[], object] = bool) -> None:
    """Let other threads run for a moment, and if *waits()* is still true after it, once more. For use before going to sleep.

    Whoever waits for another thread, and is about to sleep until that one wakes it, often need not: the other one only
    wants the processor, or the global lock. Where others keep them for long, where it has been in vain lately, and on
    platforms that have no `os.sched_yield`, this does nothing. Callable anywhere. Not in the standard module.
    """
    global _paid_off_at, _hope
    if _hope < 0:
        _hope += 1
    elif _yield_processor is not None:
        since = monotonic()
        if since >= _paid_off_at:
            _yield_processor()
            if waits():
                _yield_processor()
                in_vain = waits()
            else:
                in_vain = False
            taken = monotonic() - since
            if taken > LONG:
                _paid_off_at = max(_paid_off_at, since - BURST) + taken * SELDOM
            if in_vain:
                _hope = _hope - 2 if _hope > 1 else -RARELY
            elif _hope < MOST_HOPE:
                _hope += 1


class Parker:
    """A doorbell for one waiting call: `park()` sleeps until somebody has called `unpark()`.

    An `unpark()` that comes first is remembered, once, and the next `park()` returns at once. `park()` may also return
    for no reason; look at what you wait for, and park again.

        >>> from plait._thread import Parker
        >>> parker = Parker()
        >>> parker.unpark(); parker.unpark()
        True
        True
        >>> parker.park(), parker.park(timeout=0.01)
        (True, False)

    One thread parks; any thread, signal handler or finaliser unparks. Not in the standard module.
    """

    __slots__ = ("__weakref__", "_bell", "_generation")

    def __init__(self) -> None:
        bell = allocate_lock()
        bell.acquire()
        self._bell = bell
        self._generation = fork_generation()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}{'' if self._bell.locked() else ', unparked'}>"

    def park(self, timeout: float | None = None) -> bool:
        """Sleep until `unpark()` was called, at most *timeout* seconds; zero or less only looks.

        True if it was called, which is then forgotten. An exception of a signal handler ends the sleep, and the next
        `park()` returns at once. RuntimeError where no other thread can exist, and it has not been called.

        *timeout* may be any real number, however large. ValueError if it is NaN, TypeError if it is none; then nothing
        has happened.
        """
        bell = self._bell
        if timeout is not None:
            timeout = seconds(timeout, largest=inf)
        try:
            if timeout is None:
                if not _accompanied:
                    return self._park_alone()
                if bell.locked():
                    give_way(bell.locked)
                return bell.acquire()
            if 0 < timeout <= TIMEOUT_MAX:
                return bell.acquire(True, timeout)
            return self._park_for(timeout)
        except BaseException:
            # Not unpark(), at whose beginning another signal's exception could strike; after this one, it may.
            try:
                bell.release()
            except RuntimeError:  # rung already
                pass
            raise

    def _park_alone(self) -> bool:
        if not self._bell.acquire(False):
            raise RuntimeError(
                f"{self!r}: would wait for ever, for this platform has one thread; unpark() it before, or give a timeout"
            )
        return True

    def _park_for(self, timeout: float) -> bool:
        if timeout <= 0:
            return self._bell.acquire(False)
        # Centuries, or infinity: in pieces that the platform can count.
        deadline = monotonic() + timeout
        while not self._bell.acquire(True, min(timeout, TIMEOUT_MAX)):
            timeout = deadline - monotonic()
            if timeout <= 0:
                return False
        return True

    def unpark(self) -> bool:
        """End the current or the next `park()`. Never blocks; calling it twice is calling it once.

        False if the parker was made before a fork of which this process is the child: unless it is the forking thread
        that waits at it, nobody does.
        """
        try:
            self._bell.release()
        except RuntimeError as error:
            if not _raised_here(error):
                raise
            # Otherwise it was rung already.
        return self._generation == fork_generation()


class WaitQueue:
    """A line of waiting calls, woken in the order in which they came.

    There is no lock in it; change what is waited for, then `wake()`. A waiter looks at it once more when it stands in
    line, so it cannot miss the change:

        >>> from plait._thread import WaitQueue, start_joinable_thread
        >>> orders, waiting = [], WaitQueue()
        >>> def serve():
        ...     while not orders:
        ...         waiting.wait(unless=orders.__len__)
        >>> server = start_joinable_thread(serve)
        >>> orders.append("tea")
        >>> _ = waiting.wake()
        >>> server.join(10)
        >>> server.is_done()
        True

    Every method may be called in any thread, signal handler or finaliser, also one that interrupted the same queue. In a
    forked child, waiters that only the parent has are woken into the void, and not counted. Not in the standard module.
    """

    __slots__ = ("__weakref__", "_line", "_struck_off")

    def __init__(self) -> None:
        line: deque[Parker] = deque()
        self._line = line
        self._struck_off: Iterator[Parker] = starmap(line.popleft, _ALWAYS)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}, {len(self._line)} waiting>"

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def __iter__(self) -> Iterator[Parker]:
        """Those who stand in line at this moment, oldest first."""
        return iter([*self._line])

    def enter(self, parker: Parker) -> None:
        """Let *parker* stand in line, at its end. Then look once more at what is waited for, and only then park."""
        self._line.append(parker)

    def leave(self, parker: Parker) -> bool:
        """Take *parker* out of the line. Every call that entered one has to, once, however it ends.

        False if somebody was quicker and has woken it, or is about to: then the wake-up is the caller's, to use or to
        pass on by another `wake()`.
        """
        line = self._line
        # First looked for, as mostly it has been woken: to fail, remove() makes a message, which takes longer, and in which
        # 3.10 forgets what a signal handler raises.
        if parker not in line:
            return False
        try:
            line.remove(parker)
        except ValueError as error:  # at this very moment somebody has struck it off
            if not _raised_here(error):
                raise
            return False
        return True

    def wait(self, timeout: float | None = None, *, unless: Callable[[], object] | None = None) -> bool:
        """Stand in line until woken, at most *timeout* seconds; zero or less does not wait. Return whether woken.

        *unless* is called once, when this call stands in line; if it returns something true there is no waiting, and
        the answer is True. An exception (of *unless*, or a signal handler) passes a wake-up on that came at the same
        time.
        """
        parker = Parker()
        line = self._line
        try:
            line.append(parker)
            if unless is not None and unless():
                if not self.leave(parker):
                    self._pass_on()
                return True
            parker.park(timeout)
            return not self.leave(parker)
        except BaseException:
            # First looked for: to fail, remove() makes a message, and that looks for signals, too.
            waits = parker in line
            if waits:
                try:
                    line.remove(parker)
                except ValueError:  # at this very moment somebody has struck it off
                    waits = False
            if not waits:
                try:
                    for heir in self._struck_off:
                        try:
                            heir._bell.release()
                        except RuntimeError:
                            pass  # unparked by somebody else, and not yet awake
                        if heir._generation != fork_generation():
                            self._pass_on()
                        break
                except IndexError:
                    pass  # nobody is left who could use it
            raise

    def wake(self, n: int = 1) -> int:
        """Wake the *n* calls that have waited longest, or all if there are fewer; return how many. Never blocks."""
        line = self._line
        woken = 0
        if _UNORDERED:
            line.rotate(0)
        while woken < n and line:
            struck_off: list[Parker] = []
            try:
                struck_off += starmap(line.popleft, _ONCE)
                woken += struck_off[0].unpark()
            except BaseException as error:
                # Struck off but perhaps not rung.
                for parker in struck_off:
                    try:
                        parker._bell.release()
                    except RuntimeError:
                        pass  # rung already
                if struck_off or not isinstance(error, IndexError) or not _raised_here(error):
                    raise
                # Otherwise the last one has left, or another waker was quicker.
        return woken

    def wake_all(self) -> int:
        """Wake every call that stands in line at this moment; return how many. Never blocks."""
        if _UNORDERED:
            self._line.rotate(0)
        return self.wake(len(self._line))

    def _pass_on(self) -> None:
        """Give a wake-up that cannot be used to the next in line, whatever strikes meanwhile; raise that afterwards."""
        done: list[int] = []
        struck: BaseException | None = None
        for _ in _SEVERAL:
            try:
                done += starmap(self.wake, ((1,),))
                if not done:
                    raise StopIteration  # it was a handler's, which `+=` takes for the end
            except BaseException as error:  # noqa: BLE001 - raised below
                struck = error
            if done:
                break
        if struck is not None:
            try:
                raise struck
            finally:
                del struck  # this frame is in its traceback
