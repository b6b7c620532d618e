# SPDX-License-Identifier: MIT
#
# Semaphore: so many may pass; the others wait in line.
#
# Theory of operation
#   The value is a list of tokens: to acquire is to take one out, to release is to append one. Both are single operations
#   of a list, so the common case needs no lock. Whoever finds no token hangs up a raw lock of its own (its bell), taken,
#   in `_line`, looks for a token again, and waits for its bell. release() appends its token first and looks into the
#   line second. So either the waiter sees the token, or the releaser sees the waiter.
#
#   A bell means "there is a token, go and look", not "here is your token": the thread that has just released may run on
#   and acquire again without a switch of threads, which is several times faster when a semaphore is fought over. The
#   price is that a waiter can be overtaken. So it is overtaken once: if it finds nothing when rung, it moves to
#   `_front`, and for those who stand there tokens are put aside (`_kept`), in order, before anything else.
#
#   Not every permit is a token from the beginning. Large numbers of them lie in `_stock`, as iterators that yield so many
#   tokens (`itertools.repeat`, whose state is one number), and are made into tokens some at a time, in one operation.
#
# What must always hold
#   - Waiters are rung in the order in which they came. In the line they are struck off as they are rung, in one step of an
#     iterator that is all C (`_strike`). In front they stay until they have taken a token, and may be rung again.
#   - Tokens move between `_tokens`, `_kept` and the slip of a waiter, each time in one operation of C code. So they are
#     always in one of these places, whatever strikes, and never in a local variable only.
#   - All that has to be done for others is "look at what is there, and ring who should look" (`_announce`). It has no state
#     of its own, and may be begun at any time, by anybody, any number of times: in the middle of another, and again from
#     the start if an exception ended it. Who has made a token available calls it, and so does who leaves without one.
#   - No wake-up is lost: who was rung and leaves without a token (it timed out, it was interrupted) or did not need to be
#     rung passes it on by settling. A waiter that leaves by an exception puts the token back that it has taken.
#   - In a forked child there are bells of threads that it does not have. Who first settles there, or finds no token, rings
#     all of them, which counts for nothing. (They are rung because the thread that forked may have done so in a signal
#     handler, while waiting. It looks, and stands in front.) What was kept for them is free again.
#
# Bounded ones
#   A permit of a BoundedSemaphore that has been had leaves a mark in `_room`, and a release takes one away before it gives
#   anything. So the bound need not be counted, and never be put right again: who finds no mark has been refused, and who
#   finds one has not, in one operation, which tells all others. (A permit on its way to a waiter has no mark, and nobody
#   can give it back yet.) Several marks are taken by one operation, all or none.
#
# What must be done although exceptions of signal handlers strike (`_go_without`, `_pass_on`, `_announce`, `_give`) can be
# begun again at any point; see _surely.py.
#
# Two ways to wait
#   Mostly a waiter is rung once, finds its token, and goes. That is all that `_wait` does itself, without a slip: to take
#   the token is the last thing it does, by an instruction after which no signal is looked for, so there is nothing to
#   remember. For everything else (a token seen at the second look, a time-out, having been overtaken) it makes a slip and
#   goes on as `_wait_carefully` does from the beginning. That is how all wait on 3.10 and PyPy, which look for signals at
#   more places, and without the GIL.

from __future__ import annotations

import sys
from itertools import chain, compress, islice, repeat, starmap
from operator import le
from time import monotonic

from .._thread import LockType, allocate_lock, fork_generation, give_way, register_after_fork, seconds
from ._copies import Uncopied
from ._platform import deque
from ._reprs import called
from ._surely import elsewhere, raised_here, surely

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any

# Without the GIL, finding a deque or list empty takes no lock and so orders nothing; see `_nobody_waits`.
_UNORDERED = not getattr(sys, "_is_gil_enabled", lambda: True)()
# Whether `del tokens[-1]` and `return True` have nothing between them where a signal handler's exception could strike.
_WHOLE = sys.version_info >= (3, 11) and sys.implementation.name == "cpython"
# Whether one may strike between any two bytecodes.
_ANYWHERE = sys.implementation.name != "cpython"
_TOKEN = (None,)
ONCE: Any = ((),)  # for starmap: one call, without arguments
ALWAYS: Any = repeat(())

# So many permits are tokens from the beginning, and so many are made of the stock at a time.
# A guess, not a measurement: a few kilobytes, and one call in a thousand.
BATCH = 1024

_ring: Callable[[Any], None] = LockType.release

# The fork generation, to be read without a call.
_epoch = fork_generation()


def _in_child(_semaphore: object) -> None:
    global _epoch
    _epoch = fork_generation()


class _Stock:
    """Permits that are no tokens yet."""

    __slots__ = ("beyond", "permits")

    def __init__(self, number: Any) -> None:
        # What is beyond counting for C (or endless) nobody will live to use up.
        countable = min(number, sys.maxsize)
        self.permits = repeat(None, int(countable))
        self.beyond = number - countable

    def left(self) -> Any:
        return self.permits.__length_hint__() + self.beyond


class _Slip:
    """A waiter: its bell, and the token it has taken."""

    __slots__ = ("bell", "generation", "ringing", "took")

    def __init__(self, bell: Any) -> None:
        self.bell = bell
        self.ringing: Iterable[None] = ()
        self.generation = _epoch
        self.took: list[None] = []


class Semaphore(Uncopied):
    """So many threads at a time: `acquire()` takes one of *value* permits and waits if there is none; `release()` gives
    one back, or adds one. As a context manager it does one at the start and the other at the end.

    Waiters are woken in the order in which they came. A thread that is running already may overtake one that is just
    being woken, but each waiter only once. A waiter that times out or is interrupted as it is woken passes the wake-up
    on. `release()` never blocks and may be called in signal handlers and finalisers, also in the middle of another
    call of the same semaphore. In a forked child, permits held by threads that are not there stay taken.

    Differs from `threading.Semaphore`: the fairness said above, and several times faster.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_front",
        "_generation",
        "_kept",
        "_line",
        "_stock",
        "_strike",
        "_tokens",
    )

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError(f"semaphore initial value must be >= 0, not {value!r}")
        large = value > BATCH
        self._tokens: list[None] = [] if large else [None] * int(value)
        self._stock: list[_Stock] = [_Stock(value)] if large else []
        self._kept: list[None] = []
        line: deque[Any] = deque()
        self._line = line
        self._front: deque[_Slip] = deque()
        self._strike: Iterator[None] = map(_ring, starmap(line.popleft, ALWAYS))
        self._generation = _epoch

    @property
    def _value(self) -> int:
        while self._stock:
            stocked = self._stocked()
            there = len(self._tokens)
            if stocked == self._stocked():
                value: int = there + stocked
                return value
        return len(self._tokens)

    def _stocked(self) -> Any:
        return sum(stock.left() for stock in [*self._stock])

    def __repr__(self) -> str:
        return f"<{called(self)}: value={self._value}>"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit; wait for one if there is none, at most *timeout* seconds. Return whether it was had.

        With a false *blocking*, or a timeout of zero or less, it looks and does not wait. ValueError for a timeout
        without blocking. An exception of a signal handler ends the wait, and no permit is lost.
        """
        if timeout is not None and not blocking:
            raise ValueError("can't specify timeout for non-blocking acquire; leave out one of the two")
        while True:
            try:
                # Not pop(): after a call, the exception of a signal handler could strike and the token would be lost.
                del self._tokens[-1]
            except IndexError:
                if self._generation != _epoch:
                    self._announce()  # what was kept for threads of the parent is free
                elif not self._stock or not self._draw():
                    break
            else:
                return True
        return self._wait(timeout) if blocking else False

    __enter__ = acquire

    def release(self, n: int = 1) -> None:
        """Give back *n* permits, or add them, and wake those who have waited longest. Never blocks."""
        if n != 1:
            if n < 1:
                raise ValueError(f"n must be one or more, not {n!r}")
            given: list[Any] = []
            try:
                # What can fail, and what must not be done twice, has no call in it, and so no place to strike.
                if not n > BATCH:
                    more = _TOKEN * n
                    self._tokens += more
                    given += more
                self._announce_many(n, given)
            except BaseException:
                if n > BATCH or given:
                    try:
                        surely(self._announce_many, n, given)
                    except BaseException:  # noqa: BLE001 - see _surely.py
                        elsewhere[self._announce_many] = (n, given)
                raise
            return
        try:
            tokens = self._tokens
            tokens += _TOKEN
            if self._line or self._front or (_UNORDERED and not self._nobody_waits()):
                if self._front or self._kept or self._generation != _epoch:
                    self._announce()
                else:
                    try:
                        for _ in self._strike:
                            break
                    except IndexError:  # who waited has left
                        pass
        except BaseException:
            try:
                surely(self._announce)
            except BaseException:  # noqa: BLE001 - see _surely.py
                # There is no call in this, so nothing can strike. Those who are rung see to the rest.
                try:
                    for slip in self._front:
                        for _ in slip.ringing:
                            break
                        break
                except RuntimeError:  # rung already
                    pass
                try:
                    for _ in self._strike:
                        break
                except IndexError:  # nobody there
                    pass
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def _announce_many(self, n: int, given: list[Any]) -> None:
        """There are *n* tokens more: those that have been given, or a stock of them, which is made here."""
        if not given:
            given.append(_Stock(n))
        if n > BATCH and given[0] not in self._stock:
            # If it has been used up meanwhile, and this is done again, it is an empty one.
            self._stock += given
        self._announce(int(min(n, sys.maxsize)))

    def _nobody_waits(self) -> bool:
        # Rotating a deque takes its lock, even by nothing; hanging up a bell did, too. So either that bell is seen here,
        # or the waiter, who looks for a token after that, sees ours.
        self._line.rotate(0)
        self._front.rotate(0)
        return not self._line and not self._front

    def _draw(self) -> bool:
        """Make tokens of the stock; say whether there are any now."""
        tokens = self._tokens
        for stock in [*self._stock]:
            tokens += islice(stock.permits, BATCH)
            if tokens:
                return True
            if not stock.left():
                try:
                    self._stock.remove(stock)
                except ValueError as error:
                    if not raised_here(error):
                        raise
                    continue  # somebody else did
        return bool(tokens)

    def _wait(self, timeout: float | None) -> bool:
        deadline = None
        if timeout is not None:
            timeout = seconds(timeout)
            if timeout <= 0:
                return False
            deadline = monotonic() + timeout
        bell = allocate_lock()
        bell.acquire()
        try:
            self._line.append(bell)
            if self._tokens or self._stock:
                return self._stay(_Slip(bell), deadline, self._look_and_wait)
            if timeout is None:
                give_way(bell.locked)
                bell.acquire()
            elif not bell.acquire(True, timeout):
                return self._stay(_Slip(bell), deadline, self._run_out)
            try:
                del self._tokens[-1]
            except IndexError:
                return self._stay(_Slip(bell), deadline, self._come_forward)
            return True
        except BaseException:
            try:
                surely(self._pass_on, bell)
            except BaseException:  # noqa: BLE001 - see _surely.py
                elsewhere[self._pass_on] = (bell,)
            raise

    def _pass_on(self, bell: Any) -> None:
        """Leave the line; and whatever one was rung for, others may look for it."""
        try:
            self._line.remove(bell)
        except ValueError as error:
            if not raised_here(error):
                raise
            # Otherwise it has been rung.
        self._announce()

    def _wait_carefully(self, timeout: float | None) -> bool:
        deadline = None
        if timeout is not None:
            timeout = seconds(timeout)
            if timeout <= 0:
                return False
            deadline = monotonic() + timeout
        bell = allocate_lock()
        bell.acquire()
        return self._stay(_Slip(bell), deadline, self._stand_in_line)

    def _stay(self, slip: _Slip, deadline: float | None, wait: Callable[[_Slip, float | None], bool]) -> bool:
        settled = False
        try:
            got = wait(slip, deadline)
            settled = True
            return got
        finally:
            try:
                if not settled:
                    surely(self._go_without, slip)
            except BaseException:
                if settled:
                    surely(self._go_without, slip)
                    raise
                elsewhere[self._go_without] = (slip,)

    def _stand_in_line(self, slip: _Slip, deadline: float | None) -> bool:
        self._line.append(slip.bell)
        return self._look_and_wait(slip, deadline)

    def _look_and_wait(self, slip: _Slip, deadline: float | None) -> bool:
        bell = slip.bell
        if (self._tokens or self._stock or _UNORDERED) and self._take(slip, self._tokens):
            try:
                self._line.remove(bell)
            except ValueError as error:
                if not raised_here(error):
                    raise
                self._announce()  # rung, but it was not necessary
            return True
        if deadline is None:
            give_way(bell.locked)
        if bell.acquire() if deadline is None else bell.acquire(True, max(0, deadline - monotonic())):
            return self._come_forward(slip, deadline)
        return self._run_out(slip, deadline)

    def _run_out(self, slip: _Slip, _deadline: float | None) -> bool:
        """Give up; it is time."""
        try:
            self._line.remove(slip.bell)
        except ValueError as error:
            if not raised_here(error):
                raise
            # Rung after all.
            if self._take(slip, self._tokens):
                return True
            self._announce()
        return False

    def _come_forward(self, slip: _Slip, deadline: float | None) -> bool:
        """Having been rung: take a token, or wait in front for the next."""
        if self._take(slip, self._tokens):
            return True
        # Overtaken; not a second time.
        bell, front = slip.bell, self._front
        rung = True
        while rung and not slip.took:
            if slip not in front:
                slip.generation = _epoch
                slip.ringing = map(_ring, repeat(bell))
                front.append(slip)
                self._announce()
            if deadline is None:
                give_way(bell.locked)
                rung = bell.acquire()
            else:
                # At last it looks whether it has been rung: what is kept may be for others.
                rung = bell.acquire(True, max(0, deadline - monotonic())) or bell.acquire(False)
            if rung and not self._take(slip, self._kept):
                self._announce()
        self._leave_the_front(slip)
        self._announce()
        return bool(slip.took)

    def _take(self, slip: _Slip, tokens: list[None]) -> bool:
        while True:
            try:
                slip.took += starmap(tokens.pop, ONCE)
            except IndexError as error:
                if not raised_here(error):
                    raise
                if tokens is self._kept or not self._stock or not self._draw():
                    return False
            else:
                return True

    def _leave_the_front(self, slip: _Slip) -> None:
        try:
            self._front.remove(slip)
        except ValueError as error:  # it is not there, or not any more
            if not raised_here(error):
                raise

    def _go_without(self, slip: _Slip) -> None:
        """Be as if one had never come, wherever one is."""
        try:
            self._line.remove(slip.bell)
        except ValueError as error:  # rung, perhaps
            if not raised_here(error):
                raise
        self._leave_the_front(slip)
        try:
            self._tokens += starmap(slip.took.pop, ONCE)
        except IndexError as error:  # there is none
            if not raised_here(error):
                raise
        self._announce()

    def _announce(self, n: int = 1) -> None:
        """There may be tokens, *n* of them new: see to it that those look for them whose turn it is."""
        tokens, line, front, kept = self._tokens, self._line, self._front, self._kept
        if self._generation != _epoch:
            self._let_strangers_go()
        while front or kept:
            try:
                if len(kept) > len(front):
                    tokens += starmap(kept.pop, ONCE)
                elif len(kept) < len(front):
                    kept += starmap(tokens.pop, ONCE)
                else:
                    break
            except IndexError as error:
                if not raised_here(error):
                    raise
                if not self._stock or not self._draw():
                    break
        for slip in [*front][: len(kept)]:
            self._ring(slip.bell)
        for _ in range(min(n, len(line))):
            if not tokens and not (self._stock and self._draw()):
                break
            try:
                for _ in self._strike:
                    break
            except IndexError as error:
                if not raised_here(error):
                    raise
                break  # others were quicker

    @staticmethod
    def _ring(bell: Any) -> None:
        try:
            bell.release()
        except RuntimeError as error:
            if not raised_here(error):
                raise
            # Otherwise it was rung already, and has not woken up yet.

    def _let_strangers_go(self) -> None:
        """In a forked child: ring everybody who may be of the parent. Who is there after all comes to the front."""
        for slip in [*self._front]:
            if slip.generation != _epoch:
                self._leave_the_front(slip)
                self._ring(slip.bell)
        try:
            for _ in range(len(self._line)):
                for _ in self._strike:
                    break
        except IndexError as error:
            if not raised_here(error):
                raise
        self._generation = _epoch


if _UNORDERED or not _WHOLE:
    Semaphore._wait = Semaphore._wait_carefully  # type: ignore[method-assign]
register_after_fork(Semaphore, _in_child)


class BoundedSemaphore(Semaphore):
    """A `Semaphore` whose permits never become more than the initial *value*: `release()` raises ValueError instead.

    For resources that can be counted: more releases than acquires are a mistake somewhere.
    """

    __slots__ = ("_initial_value", "_room")

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value if value > sys.maxsize else int(value)
        self._room: list[None] = []

    def __repr__(self) -> str:
        return f"<{called(self)}: value={self._value}/{self._initial_value}>"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if timeout is not None and not blocking:
            raise ValueError("can't specify timeout for non-blocking acquire; leave out one of the two")
        while True:
            try:
                del self._tokens[-1]
            except IndexError:
                if self._generation != _epoch:
                    self._announce()  # what was kept for threads of the parent is free
                elif not self._stock or not self._draw():
                    break
            else:
                room = self._room
                room += _TOKEN
                return True
        if blocking and self._wait(timeout):
            room = self._room
            room += _TOKEN
            return True
        return False

    acquire.__doc__ = Semaphore.acquire.__doc__
    __enter__ = acquire

    def release(self, n: int = 1) -> None:
        """Give back *n* permits, and wake those who have waited longest. Never blocks.

        ValueError, and nothing is given back, if that made more than there were at first. Of several calls at the same
        moment as many succeed as there is room for.
        """
        if n != 1 or _ANYWHERE:
            if n >= 1:
                self._release_several(n)
            else:
                super().release(n)  # which refuses it
            return
        try:
            del self._room[-1]
        except IndexError:
            raise self._too_many() from None
        # No call until the permit is a token again, and so no place to strike.
        try:
            tokens = self._tokens
            tokens += _TOKEN
            if self._line or self._front or (_UNORDERED and not self._nobody_waits()):
                if self._front or self._kept or self._generation != _epoch:
                    self._announce()
                else:
                    try:
                        for _ in self._strike:
                            break
                    except IndexError:  # who waited has left
                        pass
        except BaseException:
            try:
                surely(self._announce)
            except BaseException:  # noqa: BLE001 - see _surely.py
                # There is no call in this, so nothing can strike. Those who are rung see to the rest.
                try:
                    for slip in self._front:
                        for _ in slip.ringing:
                            break
                        break
                except RuntimeError:  # rung already
                    pass
                try:
                    for _ in self._strike:
                        break
                except IndexError:  # nobody there
                    pass
            raise

    def _release_several(self, n: Any) -> None:
        room = self._room
        number = n if n <= BATCH else int(min(n, sys.maxsize))
        offer = [repeat((), number)]
        taken: list[None] = []
        # All in one operation: see whether there are so many, and if so take them. Nothing comes between, and the offer
        # tells whether it has happened.
        fits = map(le, (number,), map(len, (room,)))
        out = chain.from_iterable(starmap(offer.pop, compress(ONCE, fits)))
        try:
            taken += starmap(room.pop, out)
            if taken:
                self._give(taken, number)
        except BaseException as error:
            short = isinstance(error, IndexError) and raised_here(error)
            if short:  # without the GIL something has come between
                room += taken
            elif not offer:
                try:
                    surely(self._give, taken, number)
                except BaseException:  # noqa: BLE001 - see _surely.py
                    elsewhere[self._give] = (taken, number)
            if not short:
                raise
        else:
            if not offer:
                return
        raise self._too_many()

    def _give(self, taken: list[None], number: int) -> None:
        """Make tokens of what has been taken out of `_room`. Can be begun again at any point."""
        tokens = self._tokens
        while taken:
            tokens += starmap(taken.pop, repeat((), len(taken)))
        self._announce(number)

    def _too_many(self) -> ValueError:
        return ValueError(f"Semaphore released too many times: {self!r}")
