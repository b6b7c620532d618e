# SPDX-License-Identifier: MIT
#
# Semaphore: so many may pass; the others wait in line.
#
# Theory of operation
#   The value is a list of tokens: to acquire is to pop one, to release is to append one. Both are single operations of a
#   list, so the common case needs no lock. Whoever finds no token hangs up a raw lock of its own (its bell), taken, in
#   `_line`, looks for a token again, and waits for its bell. release() appends its token first and looks into the line
#   second. So either the waiter sees the token, or the releaser sees the waiter.
#
#   A bell means "there is a token, go and look", not "here is your token": the thread that has just released may run on
#   and acquire again without a switch of threads, which is several times faster when a semaphore is fought over. The
#   price is that a waiter can be overtaken. So it is overtaken once: if it finds nothing when rung, it moves to
#   `_front`, and whoever releases hands tokens to those who stand there, in order, before anything else.
#
# What must always hold
#   - Bells are struck off exactly once, by whoever rings them or by the waiter who gives up; the dictionaries, ordered
#     by arrival, decide who was first. Waiters are rung in the order in which they came.
#   - No wake-up is lost: who was rung and does not need it (it found a token before it looked, it timed out, it was
#     interrupted) passes it on by calling `_announce`; who was handed a token and cannot keep it releases it.
#   - A token that somebody was handed is in its slip (the value in `_front`) before its bell rings. A waiter that times
#     out finds out from the slip whether it has got one after all.
#   - What a signal handler or finaliser interrupts, it may re-enter: there is no lock to be found held, and every step
#     leaves tokens, line and front such that another release() or acquire() can begin between any two of them.
#     If the handler raises in the middle of a release(), the token has been appended and those who wait are told.
#   - A forked child inherits bells of threads that it does not have. Slips carry the fork generation; a token is never
#     handed to another generation, and ringing it does not count. (It is rung all the same, because the thread that
#     forked may have done so in a signal handler, while waiting.)

from __future__ import annotations

import sys
from itertools import starmap
from time import monotonic

from .._thread import allocate_lock, fork_generation
from ._copies import Uncopied
from ._reprs import called

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

# Without the GIL, finding a dictionary empty takes no lock and so orders nothing; see `_nobody_waits`.
_UNORDERED = not getattr(sys, "_is_gil_enabled", lambda: True)()
_TOKEN = (None,)
ONCE: Any = ((),)  # for starmap: one call, without arguments


class _Slip:
    """What a waiter has been handed, and in which process it waits."""

    __slots__ = ("generation", "left", "token", "took")

    def __init__(self) -> None:
        self.generation = fork_generation()
        self.token = False
        # A token that the waiter took itself; whether it was still in its place when it left. Notes, for when the
        # exception of a signal handler strikes: they are made by the C code that does the thing.
        self.took: list[None] = []
        self.left: list[_Slip | None] = []


class Semaphore(Uncopied):
    """So many threads at a time: `acquire()` takes one of *value* permits and waits if there is none; `release()` gives
    one back, or adds one. As a context manager it does one at the start and the other at the end.

    Waiters are woken in the order in which they came. A thread that is running already may overtake one that is just
    being woken, but each waiter only once. A waiter that times out or is interrupted as it is woken passes the wake-up
    on. `release()` never blocks and may be called in signal handlers and finalisers, also in the middle of another
    call of the same semaphore. In a forked child, permits held by threads that are not there stay taken.

    Differs from `threading.Semaphore`: the fairness said above, and several times faster.
    """

    __slots__ = ("__dict__", "__weakref__", "_front", "_line", "_tokens")

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError(f"semaphore initial value must be >= 0, not {value!r}")
        self._tokens: list[None] = [None] * int(value)
        self._line: dict[Any, _Slip] = {}
        self._front: dict[Any, _Slip] = {}

    @property
    def _value(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"<{called(self)}: value={self._value}>"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit; wait for one if there is none, at most *timeout* seconds. Return whether it was had.

        With a false *blocking*, or a timeout of zero or less, it looks and does not wait. ValueError for a timeout
        without blocking.
        """
        if timeout is not None and not blocking:
            raise ValueError("can't specify timeout for non-blocking acquire; leave out one of the two")
        try:
            # Not pop(): after a call, the exception of a signal handler could strike and the token would be lost.
            del self._tokens[-1]
        except IndexError:
            return self._wait(timeout) if blocking else False
        return True

    __enter__ = acquire

    def release(self, n: int = 1) -> None:
        """Give back *n* permits, or add them, and wake those who have waited longest. Never blocks."""
        if n != 1:
            return self._release_many(n)
        try:
            tokens = self._tokens
            tokens += _TOKEN
            if self._line or self._front or (_UNORDERED and not self._nobody_waits()):
                self._announce()
        except BaseException:
            self._announce()
            raise
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def _release_many(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n must be one or more, not {n!r}")
        try:
            self._tokens += _TOKEN * n
            for _ in range(n):
                self._announce()
        except BaseException:
            for _ in range(n):
                self._announce()
            raise

    def _nobody_waits(self) -> bool:
        # Taking something out of a dictionary takes its lock, even if it is not there; putting a bell in did, too. So
        # either that bell is seen here, or the waiter, who looks for a token after that, sees ours.
        self._line.pop(None, None)
        self._front.pop(None, None)
        return not self._line and not self._front

    def _wait(self, timeout: float | None) -> bool:
        if timeout is None:
            deadline = None
        elif timeout <= 0:
            return False
        elif timeout > 0:
            deadline = monotonic() + timeout
        else:
            raise ValueError(f"timeout must be a number of seconds, or None, not {timeout!r}")
        slip = _Slip()
        bell = allocate_lock()
        bell.acquire()
        tokens = self._tokens
        place = self._line
        try:
            place[bell] = slip
            while True:
                try:
                    slip.took += starmap(tokens.pop, ONCE)
                except IndexError:
                    pass
                else:
                    return self._leave(place, bell, slip)
                if deadline is None:
                    bell.acquire()
                elif not bell.acquire(True, max(0, deadline - monotonic())):
                    return self._leave(place, bell, slip)
                if slip.token:
                    return True
                if bell not in place:
                    try:
                        slip.took += starmap(tokens.pop, ONCE)
                    except IndexError:
                        # Overtaken; not a second time.
                        slip.generation = fork_generation()
                        place = self._front
                        place[bell] = slip
                    else:
                        return True
        except BaseException:
            if self._leave(place, bell, slip):
                self.release()
            raise

    def _leave(self, place: dict[Any, _Slip], bell: Any, slip: _Slip) -> bool:
        """Stop waiting, with a token taken or without; say whether there is one to go home with."""
        has_one = bool(slip.took)
        if not slip.left:
            slip.left += starmap(place.pop, ((bell, None),))
        if slip.left[0] is None:
            # Struck off by somebody who is about to ring, or has rung.
            if slip.token or (place is self._front and slip.generation == fork_generation()):
                if has_one:
                    self.release()
                return True
            if not has_one:
                try:
                    slip.took += starmap(self._tokens.pop, ONCE)
                except IndexError:
                    pass
                else:
                    has_one = True
            self._announce()
        return has_one

    def _announce(self) -> None:
        """There may be tokens: hand them to the front; if there are more than that takes, ring the first in line."""
        tokens, line, front = self._tokens, self._line, self._front
        here_and_now = fork_generation()
        while tokens and (front or line):
            in_hand = False
            slip = None
            bell: Any = None
            place = front or line
            try:
                try:
                    for bell in place:  # noqa: B007 - the oldest, without a call at which a signal could strike
                        break
                    else:
                        continue
                except RuntimeError:
                    continue  # a re-entrant call changed it under our eyes
                if place is front:
                    try:
                        del tokens[-1]
                    except IndexError:
                        return
                    in_hand = True
                slip = place.pop(bell, None)
                if slip is None:
                    continue  # gone, or a re-entrant call was quicker
                if slip.generation == here_and_now:
                    if place is front:
                        slip.token = True
                        in_hand = False
                    bell.release()
                    if place is line:
                        return
                else:
                    bell.release()
            except BaseException:
                if bell is not None and bell not in place and bell.locked():
                    # Struck off, and perhaps not rung.
                    if in_hand and slip is not None and slip.generation == here_and_now:
                        slip.token = True
                        in_hand = False
                    bell.release()
                raise
            finally:
                if in_hand:
                    tokens += _TOKEN


class BoundedSemaphore(Semaphore):
    """A `Semaphore` whose permits never become more than the initial *value*: `release()` raises ValueError instead.

    For resources that can be counted: more releases than acquires are a mistake somewhere.
    """

    __slots__ = ("_initial_value",)

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = int(value)

    def __repr__(self) -> str:
        return f"<{called(self)}: value={self._value}/{self._initial_value}>"

    def release(self, n: int = 1) -> None:
        """Give back *n* permits, and wake those who have waited longest. Never blocks.

        ValueError, and nothing is given back, if that made more than there were at first.
        """
        if n != 1:
            if n > 1 and len(self._tokens) + n > self._initial_value:
                raise self._too_many()
            return self._release_many(n)
        try:
            tokens = self._tokens
            tokens += _TOKEN
            if len(tokens) > self._initial_value:
                # Of several who are here at once, those find the surplus who made it.
                try:
                    del tokens[self._initial_value]
                except IndexError:
                    pass
                else:
                    raise self._too_many()
            if self._line or self._front or (_UNORDERED and not self._nobody_waits()):
                self._announce()
        except BaseException:
            self._announce()
            raise
        return None

    def _too_many(self) -> ValueError:
        return ValueError(f"Semaphore released too many times: {self!r}")
