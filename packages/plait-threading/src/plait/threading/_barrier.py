# SPDX-License-Identifier: MIT
#
# Barrier: so many threads wait for each other, and then go on together.
#
# Theory of operation
#   Each time the barrier fills is a round, and a round is an object of its own, with as many seats as there are parties.
#   Whoever comes lays down a claim, which everybody can see, and takes a seat into it: one operation of a list, and the
#   seat's number is what wait() returns. Who finds seats left hangs a raw lock of its own (its bell) on its claim and
#   waits for it. Who finds that there are none any more may decide that the round is full, runs the action, and rings
#   all the bells. The next round can begin at once: it shares nothing with the one whose waiters are still waking up.
#
#   But not before it is decided that the round is full: who has the last seat may still be interrupted, and leave it. Who
#   comes at that moment waits for the decision, with a bell and without a seat, and is rung also when one comes back.
#   Except if the seat is its own thread's, and it is called by a signal handler or finaliser: then the decision cannot
#   come before it has gone on, and it begins the next round. Should the interrupted call leave after that, the round it
#   leaves is broken, as nobody would come there any more.
#
# What must always hold
#   - A round's fate is decided once: it is the one element of `fate`, and goes from there, in one operation, into the claim
#     of who decides that the round is full, or into `doomed` if it breaks (a time-out, abort(), reset()). When the action
#     fails it goes on to `doomed`. When it succeeds, or there is none, all claims that have a seat are counted, and the
#     round has `passed`; an exception that strikes who does this does not change that.
#   - Bells are hung up before their owners look whether it has passed or is doomed, and rung after that has been stored,
#     so that none is left out. Bells are used once; ringing them again is harmless, and so is doing again all that is
#     to be done when a round has ended (`_tell`).
#   - A waiter that cannot break the round, because somebody has decided that it is full, waits for its end: it is not
#     broken by a time-out that comes while its action runs.
#   - A waiter that is interrupted by an exception leaves its seat to the next who comes: others are not kept waiting for
#     somebody who has gone, nor counted short. Not when the round is full: then it has been counted. At the very moment
#     when that is decided a seat may come back all the same. Who sits down there before the round has passed belongs to
#     it; who does so later finds its claim not counted and goes to the next round.
#   - Rounds are linked forwards, by one operation of a dictionary; whoever finds a round finished makes the next one or
#     finds it made. So all agree which round comes after which. `_round` may lag behind; it is brought up to date by
#     whoever notices. Nobody leaves a broken round behind but by reset(): if somebody did so before it broke (its seats
#     were taken, and it failed only then), the rounds after it are broken, too, up to the one that reset() has made.
#   - There is no lock to be found held, by a signal handler or in a forked child.
#   - In a forked child the claims of the parent's other threads are void and their seats are free again. If one of them
#     had the fate of a round in hand, our own thread finds that round broken (it can be there only if it forked in a
#     signal handler, while it waited).
#   - What must be done although exceptions of signal handlers strike (`_leave`, `_tell`) can be begun again at any point;
#     see _surely.py.
#
# Seats of large barriers are made some at a time, from an iterator; never by two threads at once, as it is an operation of
# the list of seats.

from __future__ import annotations

from itertools import islice, starmap

from .._thread import allocate_lock, get_ident, give_way, register_after_fork, seconds
from ._copies import Uncopied
from ._reprs import called
from ._surely import elsewhere, raised_here, surely

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

_ONCE: Any = ((),)

# So many seats are made at a time. A guess: it only has to be more than most barriers have.
BATCH = 1024


class BrokenBarrierError(RuntimeError):
    """The barrier was broken, before or while this thread waited there, or was reset while it waited."""


class _Round:
    """One filling of the barrier."""

    __slots__ = ("by_reset", "doomed", "fate", "follows", "late", "passed", "previous", "seats", "unmade")

    def __init__(self, parties: int, by_reset: bool = False) -> None:
        large = parties > BATCH
        self.seats = [] if large else [*range(parties - 1, -1, -1)]
        self.unmade: Iterator[int] | None = iter(range(parties)) if large else None
        self.fate: list[bool] = [True]
        self.doomed: list[bool] = []
        self.passed = False
        self.by_reset = by_reset
        self.late: float | None = None  # the timeout of who broke it by that
        self.previous: _Round | None = None  # while reset() puts it in the place of another
        self.follows: dict[str, _Round] = {}

    def seats_unmade(self) -> int:
        return 0 if self.unmade is None else self.unmade.__length_hint__()  # type: ignore[attr-defined]

    def has_ended(self) -> bool:
        return self.passed or bool(self.doomed)

    def why_doomed(self) -> str:
        return "" if self.late is None else f", because the others did not come within {self.late} s"

    def doom(self) -> bool:
        """Break the round if nothing is decided yet; say whether it was this call that did. Rings nobody."""
        try:
            self.doomed += starmap(self.fate.pop, _ONCE)
        except IndexError as error:
            if not raised_here(error):
                raise
            return False
        return True


class _Claim:
    """Somebody who is at the barrier."""

    __slots__ = ("acted", "bell", "breaks", "counted", "decided", "ident", "round", "seat")

    def __init__(self, current: _Round) -> None:
        self.ident = get_ident()
        self.round = current
        self.seat: list[int] = []
        self.bell: Any = None
        # The fate of a round that is full; whether it has broken the round, or tried to.
        self.decided: Sequence[bool] = ()
        self.acted = False  # the action has succeeded
        self.breaks = False
        self.counted = False  # among those with whom the round has passed


class Barrier(Uncopied):
    """A place where *parties* threads wait for each other: when the last has come, all go on. It can be used repeatedly.

    *action*, if given, is called by one of them before they go on. *timeout* is the default for `wait()`.

    A barrier breaks when a waiter times out, when the action fails, and by `abort()`: then everybody who waits or comes
    gets BrokenBarrierError, until `reset()`.

    Differs from `threading.Barrier`: who comes early for the next round does not wait until the last has left this one;
    a waiter interrupted by an exception (KeyboardInterrupt) leaves its place to another; `abort()` and `reset()` never
    block and may be called in signal handlers; in a forked child, threads of the parent that waited are not counted;
    faster.
    """

    __slots__ = ("__dict__", "__weakref__", "_action", "_claims", "_parties", "_round", "_timeout")

    def __init__(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> None:
        if parties < 1:
            raise ValueError(f"parties must be >= 1, not {parties!r}")
        self._parties = parties
        self._action = action
        self._timeout = timeout
        self._round = _Round(parties)
        self._claims: dict[_Claim, None] = {}
        register_after_fork(self, _forget_the_parents_threads)

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
        if current.has_ended():
            return 0
        return sum(claim.round is current and bool(claim.seat) for claim in [*self._claims])

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken, and `reset()` has to be called before it can be used again."""
        return bool(self._current().doomed)

    def _current(self) -> _Round:
        """The latest round."""
        current = self._round
        while (later := current.follows.get("next")) is not None:
            self._round = current = later
        return current

    def _after(self, current: _Round) -> _Round:
        """The round after one whose seats are taken."""
        fresh = _Round(self._parties)
        if current.doomed:
            fresh.doom()
        later = current.follows.setdefault("next", fresh)
        if current.doomed:
            self._doom_those_after(current)
        self._round = later
        return later

    def _doom_those_after(self, current: _Round) -> None:
        """Break those that have begun already after a round that broke too late."""
        while (later := current.follows.get("next")) is not None and not later.by_reset:
            if later.doom():
                self._ring(later)
            current = later

    def _ring(self, current: _Round, all_of_it: bool = True) -> None:
        """Ring all who are in that round, or those who have no seat there."""
        for claim in [*self._claims]:
            bell = claim.bell
            if claim.round is current and bell is not None and (all_of_it or not claim.seat):
                try:
                    bell.release()
                except RuntimeError as error:  # rung already
                    if not raised_here(error):
                        raise

    def _tell(self, current: _Round) -> None:
        """Let everybody know that a round has ended, if it has."""
        if not current.has_ended():
            return
        self._ring(current)
        if current.doomed:
            self._doom_those_after(current)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties are here; return a number from 0 to parties - 1, another one for each of them.

        After *timeout* seconds (by default the barrier's; zero or less does not wait) without the others, the barrier
        breaks, also for those who wait without a timeout; it does not any more once all are here and the action runs. A
        timeout that is refused breaks nothing. An exception of the action is
        raised in the thread that ran it. BrokenBarrierError if the barrier is broken or breaks.
        """
        if timeout is None:
            timeout = self._timeout
        if timeout is not None:
            timeout = seconds(timeout)
        claim = _Claim(self._round)
        settled = False
        try:
            refusal = self._stay(claim, timeout)
            settled = True
        finally:
            try:
                if not settled:
                    surely(self._leave, claim)
            except BaseException:
                if settled:
                    raise
                elsewhere[self._leave] = (claim,)
        if refusal is None:
            return claim.seat[0]
        try:
            raise refusal
        finally:
            del refusal  # this frame is in its traceback

    def _stay(self, claim: _Claim, timeout: float | None) -> BrokenBarrierError | None:
        """Come, wait, and go. What is returned, and not raised, is what `wait` raises: otherwise what a handler raises
        meanwhile would get lost behind it."""
        self._claims[claim] = None
        refusal: BrokenBarrierError | None = None
        while True:
            current = claim.round if claim.seat else self._sit_down(claim)
            if current is None:
                refusal = BrokenBarrierError(
                    f"{self!r}{claim.round.why_doomed()}; call reset() to use it again"
                )
                break
            if claim.seat and not current.seats and (current.unmade is None or not current.seats_unmade()):
                decided: list[bool] = []
                claim.decided = decided
                try:
                    decided += starmap(current.fate.pop, _ONCE)
                except IndexError as error:  # somebody else has, or it broke at this moment
                    if not raised_here(error):
                        raise
                else:
                    if self._action is not None:
                        self._action()
                        claim.acted = True
                    self._pass(current)
                    break
            if claim.bell is None:
                bell = allocate_lock()
                bell.acquire()
                claim.bell = bell
            self._wait_for_the_end(claim, timeout)
            if current.doomed:
                self._doom_those_after(current)
                how = "broken or reset" if current.late is None else "broken"
                refusal = BrokenBarrierError(
                    f"{self!r}: it was {how} while this thread waited{current.why_doomed()}"
                )
                break
            if claim.counted:
                break
            if current.passed:
                claim.seat.clear()  # It was of somebody who was counted, and left at the last moment.
            claim.bell = None
        self._claims.pop(claim, None)
        return refusal

    def _pass(self, current: _Round) -> None:
        """Let those go on who have a seat in a round that is full. Can be begun again at any point."""
        if not current.passed:
            for other in [*self._claims]:
                if other.round is current and other.seat:
                    other.counted = True
            current.passed = True
        self._ring(current)

    def _sit_down(self, claim: _Claim) -> _Round | None:
        """Take a seat in the round that is being filled; or none, if it may be full. None if the barrier is broken."""
        while True:
            current = claim.round
            if current.doomed:
                later = current.follows.get("next")
                if later is None:
                    return None
                self._doom_those_after(current)
                self._round = claim.round = later
            elif current.passed:
                claim.round = self._after(current)
            else:
                try:
                    claim.seat += starmap(current.seats.pop, _ONCE)
                    return current
                except IndexError as error:
                    if not raised_here(error):
                        raise
                    if current.unmade is not None:
                        current.seats += islice(current.unmade, BATCH)
                        if current.seats:
                            continue
                    if self._is_being_decided(current, claim):
                        return current
                    claim.round = self._after(current)

    def _is_being_decided(self, current: _Round, by_others_than: _Claim) -> bool:
        """Whether other threads, and no call below this one, are about to say that a round is full."""
        seated = {claim.ident for claim in [*self._claims] if claim.round is current and claim.seat}
        return bool(current.fate and seated) and by_others_than.ident not in seated

    def _wait_for_the_end(self, claim: _Claim, timeout: float | None) -> None:
        current, bell = claim.round, claim.bell
        if current.has_ended() or (not claim.seat and (current.seats or not current.fate)):
            return
        if timeout is None:
            give_way(bell.locked)
            bell.acquire()
        elif not (bell.acquire(False) if timeout <= 0 else bell.acquire(True, timeout)):
            claim.breaks = True
            if current.doom():
                current.late = timeout
                self._tell(current)
            elif not current.has_ended():
                bell.acquire()

    def _leave(self, claim: _Claim) -> None:
        """Be gone, and leave nobody waiting for it."""
        current = claim.round
        if claim.decided:
            if claim.acted or self._action is None:
                self._pass(current)
            else:
                claim.breaks = True
                current.doomed += claim.decided
        if claim.breaks:
            current.doom()
            self._tell(current)
        elif current.doomed:
            self._doom_those_after(current)
        elif current.fate:
            try:
                current.seats += starmap(claim.seat.pop, _ONCE)
            except IndexError as error:  # it had none yet
                if not raised_here(error):
                    raise
            if current.follows:
                claim.breaks = True
                current.doom()
                self._tell(current)
            else:
                self._ring(current, all_of_it=False)
        self._claims.pop(claim, None)

    def abort(self) -> None:
        """Break the barrier: whoever waits or comes gets BrokenBarrierError, until `reset()`. Never blocks.

        Those whose round was full already go on.
        """
        settled = False
        try:
            self._abort()
            settled = True
        finally:
            try:
                if not settled:
                    surely(self._abort)
            except BaseException:
                if settled:
                    raise
                elsewhere[self._abort] = ()

    def _abort(self) -> None:
        current = self._current()
        while not current.doom() and not current.doomed:
            current = self._after(current)
        self._tell(current)

    def reset(self) -> None:
        """Begin anew: the barrier is as when it was made. Whoever waits now gets BrokenBarrierError. Never blocks."""
        made: list[_Round] = []
        settled = False
        try:
            self._begin_anew(made)
            settled = True
        finally:
            try:
                if not settled:
                    surely(self._begin_anew, made)
            except BaseException:
                if settled:
                    raise
                elsewhere[self._begin_anew] = (made,)

    def _begin_anew(self, made: list[_Round]) -> None:
        if not made:
            made.append(_Round(self._parties, by_reset=True))
        fresh = made[0]
        while (previous := fresh.previous) is None or previous.follows.get("next") is not fresh:
            fresh.previous = current = self._current()
            current.follows.setdefault("next", fresh)
        self._round = fresh
        previous.doom()
        self._tell(previous)
        # So that rounds do not keep each other alive. Nothing that can strike comes after it, so this is not begun again.
        fresh.previous = None


def _forget_the_parents_threads(barrier: Barrier) -> None:
    claims, me = barrier._claims, get_ident()
    for claim in [*claims]:
        if claim.ident != me:
            claims.pop(claim, None)
    ours = [*claims]
    for current in {barrier._current(), *[claim.round for claim in ours]}:
        here = [claim for claim in ours if claim.round is current]
        if current.has_ended():
            barrier._tell(current)
        elif current.fate:
            taken = {number for claim in here for number in claim.seat}
            made = barrier._parties - current.seats_unmade()
            # In its place: our own thread may be about to take one, in the frame below this signal handler.
            current.seats[:] = [number for number in range(made - 1, -1, -1) if number not in taken]
            barrier._ring(current, all_of_it=False)
        elif here and not any(claim.decided for claim in here):
            current.doomed += (True,)
            barrier._tell(current)
