# SPDX-License-Identifier: MIT
#
# Barrier: so many threads wait for each other, and then go on together.
#
# Theory of operation
#   Each time the barrier fills is a round, and a round is an object of its own, with as many seats as there are parties.
#   Whoever comes takes a seat: popping it from a list is one operation, and its number is what wait() returns. Who takes
#   a seat that is not the last hangs up a raw lock of its own (its bell) and waits for it. Who takes the last one decides
#   that the round is full, runs the action, and rings all the bells. The next round can begin at once: it shares nothing
#   with the one whose waiters are still waking up.
#
# What must always hold
#   - A round's fate is decided once: full, or broken (a time-out, abort(), reset(), an action that failed). Who decides
#     is who pops the one element of `fate`. The verdict is stored before the first bell is rung, and waiters hang their
#     bells up before they look for a verdict, so that none is left out.
#   - A waiter that cannot decide because somebody else just has, waits for that verdict: a round that is full is not
#     broken by a time-out that comes while its action runs.
#   - A waiter that is interrupted by an exception leaves its seat to the next who comes: others are not kept waiting for
#     somebody who has gone, nor counted short.
#   - Rounds are linked forwards, by one operation of a dictionary; whoever finds a round finished makes the next one or
#     finds it made. So all agree which round comes after which. `_round` may lag behind; it is brought up to date by
#     whoever notices. Nobody leaves a broken round behind but by reset(): if somebody did so before it broke (its seats
#     were taken, and it failed only then), the rounds after it are broken, too, up to the one that reset() has made.
#   - There is no lock to be found held, by a signal handler or in a forked child.

from __future__ import annotations

from itertools import starmap

from .._thread import allocate_lock
from ._copies import Uncopied
from ._reprs import called

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ONCE: Any = ((),)
PASSED, BROKEN = "passed", "broken"


class BrokenBarrierError(RuntimeError):
    """The barrier was broken, before or while this thread waited there, or was reset while it waited."""


class _Round:
    """One filling of the barrier."""

    __slots__ = ("bells", "by_reset", "fate", "follows", "seats", "verdict")

    def __init__(self, parties: int, by_reset: bool = False) -> None:
        # Number 0 on top. The last seat stays at the bottom, so that it is taken only when all others are.
        self.seats = [*range(parties - 1, -1, -1)]
        self.bells: dict[Any, None] = {}
        self.fate: list[bool] = [True]
        self.verdict = ""
        self.by_reset = by_reset
        self.follows: dict[str, _Round] = {}

    def tell(self, verdict: str) -> None:
        """For who has popped the fate."""
        try:
            self.verdict = verdict
            self.ring()
        except BaseException:
            self.verdict = verdict
            self.ring()
            raise

    def ring(self) -> None:
        for bell in [*self.bells]:
            try:
                bell.release()
            except RuntimeError:  # rung already: bells are used once
                continue

    def break_up(self) -> bool:
        """Break the round if nothing is decided yet; say whether it was this call that did."""
        popped: list[bool] = []
        try:
            popped += starmap(self.fate.pop, _ONCE)
            self.tell(BROKEN)
        except IndexError:
            return False
        except BaseException:
            if popped:
                self.tell(BROKEN)
            raise
        return True


class Barrier(Uncopied):
    """A place where *parties* threads wait for each other: when the last has come, all go on. It can be used repeatedly.

    *action*, if given, is called by one of them before they go on. *timeout* is the default for `wait()`.

    A barrier breaks when a waiter times out, when the action fails, and by `abort()`: then everybody who waits or comes
    gets BrokenBarrierError, until `reset()`.

    Differs from `threading.Barrier`: who comes early for the next round does not wait until the last has left this one;
    a waiter interrupted by an exception (KeyboardInterrupt) leaves its place to another; `abort()` and `reset()` never
    block and may be called in signal handlers; faster.
    """

    __slots__ = ("__dict__", "__weakref__", "_action", "_parties", "_round", "_timeout")

    def __init__(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> None:
        if parties < 1:
            raise ValueError(f"parties must be >= 1, not {parties!r}")
        self._parties = parties
        self._action = action
        self._timeout = timeout
        self._round = _Round(parties)

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self._parties}"
        return f"<{called(self)}: {state}>"

    @property
    def parties(self) -> int:
        """How many threads it takes."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many threads wait for the others now."""
        current = self._current()
        return 0 if current.verdict else self._parties - len(current.seats)

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken, and `reset()` has to be called before it can be used again."""
        return self._current().verdict is BROKEN

    def _current(self) -> _Round:
        """The latest round."""
        current = self._round
        while (later := current.follows.get("next")) is not None:
            self._round = current = later
        return current

    def _after(self, current: _Round) -> _Round:
        """The round after one whose seats are taken."""
        later = current.follows.setdefault("next", _Round(self._parties))
        self._round = later
        if current.verdict is BROKEN and not later.by_reset:
            later.break_up()
        return later

    def _break_after(self, current: _Round) -> None:
        """Break those that have begun already after a round that broke too late."""
        while (later := current.follows.get("next")) is not None and not later.by_reset:
            later.break_up()
            current = later

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties are here; return a number from 0 to parties - 1, another one for each of them.

        After *timeout* seconds (by default the barrier's) without the others, the barrier breaks, also for those who
        wait without a timeout; it does not any more once all are here and the action runs. An exception of the action is
        raised in the thread that ran it. BrokenBarrierError if the barrier is broken or breaks.
        """
        if timeout is None:
            timeout = self._timeout
        current = self._round
        seat: list[int] = []
        decided: list[bool] = []
        bell = None
        try:
            while True:
                if current.verdict is BROKEN:
                    later = current.follows.get("next")
                    if later is None:
                        raise BrokenBarrierError(f"{self!r}; call reset() to use it again")
                    self._round = current = later
                    continue
                try:
                    seat += starmap(current.seats.pop, _ONCE)
                    break
                except IndexError:
                    current = self._after(current)
            number = seat[0]
            if number == self._parties - 1:
                try:
                    decided += starmap(current.fate.pop, _ONCE)
                except IndexError:
                    pass  # it broke at this moment
                else:
                    if self._action is not None:
                        self._action()
                    current.tell(PASSED)
                    return number
            bell = allocate_lock()
            bell.acquire()
            current.bells[bell] = None
            if not current.verdict:
                if timeout is None:
                    bell.acquire()
                elif not (bell.acquire(False) if timeout <= 0 else bell.acquire(True, timeout)):
                    if current.break_up():
                        self._break_after(current)
                    else:
                        bell.acquire()
        except BaseException:
            if decided:
                if not current.verdict:
                    current.tell(BROKEN)
                    self._break_after(current)
            elif seat and not current.verdict:
                if seat[0] == self._parties - 1:
                    current.seats.insert(0, seat[0])
                else:
                    current.seats += seat
            if bell is not None:
                current.bells.pop(bell, None)
            raise
        if current.verdict is BROKEN:
            raise BrokenBarrierError(f"{self!r}: it was broken or reset while this thread waited")
        return number

    def abort(self) -> None:
        """Break the barrier: whoever waits or comes gets BrokenBarrierError, until `reset()`. Never blocks.

        Those whose round was full already go on.
        """
        current = self._current()
        while not current.break_up() and current.verdict is not BROKEN:
            current = self._after(current)

    def reset(self) -> None:
        """Begin anew: the barrier is as when it was made. Whoever waits now gets BrokenBarrierError. Never blocks."""
        fresh = _Round(self._parties, by_reset=True)
        while True:
            current = self._current()
            if current.follows.setdefault("next", fresh) is fresh:
                break
        self._round = fresh
        current.break_up()
