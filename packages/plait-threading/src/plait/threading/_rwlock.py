# SPDX-License-Identifier: MIT
#
# RWLock: many may read, or one may write.
#
# Theory of operation
#   All there is to know (who holds, who waits) is in a `_State` that is never changed. An operation looks at the latest
#   state, makes the one that follows from it, and links it to its predecessor by one operation of a dictionary
#   (`setdefault`): if another thread was quicker, that tells so, and the operation looks again. So every operation
#   happens whole or not at all, in one order, without a lock: a signal handler can come between any two steps, and do
#   the same; a fork leaves nothing half done; an exception that strikes can find out, by looking at the link, whether
#   what it struck had happened already (see `_Step`).
#   `_state` may lag behind the latest state; the links lead there. Nobody who waits holds a state: it would keep all that
#   follow from it.
#
#   A thread that cannot have the lock at once is in the state's queue with a raw lock of its own, taken (its bell).
#   Whoever makes a state in which it does hold the lock rings it, after that state has been linked. A call that has been
#   interrupted between the two may have to wait for the handler, which waits for this lock; so whoever is going to sleep
#   rings all who have left the queue, before. To be rung for nothing does no harm: one looks, and sleeps on.
#
# Who gets it
#   - Strictly in order of arrival: who comes while others wait, waits behind them. Readers who stand next to each other
#     get it together. So writers do not starve, nor do readers.
#   - Except that who holds it already, for reading or writing, gets it again at once for the same or for reading: it
#     would wait for itself otherwise.
#   - Except that a reader who wants to write is refused: two of them would wait for each other for ever. It has to let
#     go first, and look again at what it read.
#   - A thread can be in the queue several times, if a signal handler or finaliser asks for the lock while its own thread
#     waits for it. The outer call cannot go on before the inner one has. So all of a thread stand together, where the
#     first of them was, those who want to write before those who want to read; and as soon as one has the lock, so have
#     those behind it.
#
# What a thread holds is a number of holds for reading and one of holds for writing. downgrade() changes the kind of its
# holds, and not their number. So leaving a `with lock.write:` block can always give back one hold: for writing if there
# is one, and else the one for reading that downgrade() has made of it.
#
# For a Condition the writing side can be let go of altogether and taken back. A wait() must not end without the lock; so
# letting go that is interrupted by an exception takes it back, and taking it back is repeated until it is had. A second
# call finds that, and does nothing. Of neither is anything ever left to another thread (see below), which would come to it
# when the wait is over, and take the lock away or hold it again. What remains: on 3.10 and PyPy an exception of a signal
# handler may strike when a function has done all but return, where it cannot catch it; there, a wait() may very rarely
# end without the lock.
#
# In a forked child the threads of the parent are gone from the queue, and so are its readers, who have changed nothing.
# A writer may have: its lock is lost, and who asks for it, or waited for it when it forked in a signal handler, gets an
# error instead of waiting for ever. (The writer itself is forgotten, too: a thread of the child may get its identifier.)
#
# Exceptions of signal handlers
#   What must be done in spite of them is a step, which is done at most once, or ringing bells, which may be done again;
#   so both can be begun again at any point (see _surely.py). A call of acquire() that has been struck undoes what it has
#   done, which its `_Wish` tells; a step of release() or downgrade() that has begun is finished.

from __future__ import annotations

from itertools import repeat, starmap
from time import monotonic

from .._thread import allocate_lock, get_ident, register_after_fork, seconds
from . import _named
from ._copies import Uncopied
from ._surely import SEVERAL, elsewhere, raised_here, surely

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

READ, WRITE = 0, 1
FOR_EVER = "-1 for ever"  # what a lock has in the place of None
KINDS = ("reading", "writing")
NEXT = 0
# Who is asking, again and again; without state, and so for all threads.
IDENTS: Iterator[int] = starmap(get_ident, repeat(()))


class _Ticket:
    """Somebody who wants the lock."""

    __slots__ = ("bell", "ident", "kind", "refused")

    def __init__(self, kind: int) -> None:
        self.ident = get_ident()
        self.kind = kind
        self.refused = False
        self.bell: Any = allocate_lock()
        self.bell.acquire()

    def ring(self) -> None:
        try:
            self.bell.release()
        except RuntimeError as error:  # rung already
            if not raised_here(error):
                raise


class _State:
    """Who holds the lock (identifier -> how often for reading, for writing) and who waits, at one moment."""

    __slots__ = ("follows", "granted", "holders", "lost", "queue")

    def __init__(
        self, holders: dict[int, tuple[int, int]], queue: tuple[_Ticket, ...], lost: bool = False
    ) -> None:
        self.holders = holders
        self.queue = queue
        self.lost = lost
        self.granted: tuple[_Ticket, ...] = ()
        self.follows: dict[int, _State] = {}

    def is_free_for(self, kind: int) -> bool:
        if self.lost:
            return False
        return not self.holders if kind == WRITE else not any(writes for _, writes in self.holders.values())

    def changed(self, ident: int, kind: int, by: int) -> _State:
        """With a hold more or less."""
        counts = [*self.holders.get(ident, (0, 0))]
        counts[kind] += by
        holders = {**self.holders, ident: (counts[READ], counts[WRITE])}
        if not any(counts):
            del holders[ident]
        return _State(holders, self.queue, self.lost)

    def with_waiting(self, ticket: _Ticket) -> _State:
        """With one more in the queue: at its end, or where its thread stands already."""
        queue = self.queue
        places = [place for place, other in enumerate(queue) if other.ident == ticket.ident]
        place = len(queue) if not places else places[0] if ticket.kind == WRITE else places[-1] + 1
        return _State(self.holders, (*queue[:place], ticket, *queue[place:]), self.lost)

    def promoted(self) -> _State:
        """With the lock given to those whose turn it is. For who makes a state; it is nobody else's yet."""
        granted = 0
        for ticket in self.queue:
            reads, writes = self.holders.get(ticket.ident, (0, 0))
            # A reader who wants to write is not free to: it holds the lock. The other three may.
            if not self.is_free_for(ticket.kind) and not writes and not (reads and ticket.kind == READ):
                break
            counts = (reads + (ticket.kind == READ), writes + (ticket.kind == WRITE))
            self.holders = {**self.holders, ticket.ident: counts}
            granted += 1
        self.granted, self.queue = self.queue[:granted], self.queue[granted:]
        return self


class _Step:
    """One operation: from the state that was found to the one that was made of it. It happens once, if at all."""

    __slots__ = ("after", "before", "refusal")

    def __init__(self) -> None:
        self.before: _State | None = None
        self.after: _State | None = None
        self.refusal: Exception | None = None

    def happened(self) -> bool:
        before, after = self.before, self.after
        return after is not None and before is not None and before.follows.get(NEXT) is after

    def refuse(self) -> None:
        """Raise the refusal. It is kept nowhere then, for its traceback has the frames that know this step."""
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            try:
                raise refusal
            finally:
                del refusal


class _Wish:
    """A call of acquire(), and how far it has come."""

    __slots__ = ("asking", "ident", "leaving", "queued", "refused", "returning", "ticket")

    def __init__(self) -> None:
        self.ident = get_ident()
        self.asking = _Step()
        self.ticket: _Ticket | None = None
        # Whether it is or was in the queue. From then on, what `asking` was does not matter.
        self.queued = False
        # Whether `_have_again` was answered by an error, which it would be the next time, too.
        self.refused = False
        self.leaving: _Step | None = None
        self.returning: _Step | None = None


class _Side(Uncopied):
    """The reading or the writing side of an `RWLock`; used like a lock of its own."""

    __slots__ = ("_kind", "_lock")

    def __init__(self, lock: RWLock, kind: int) -> None:
        self._lock = lock
        self._kind = kind

    def __repr__(self) -> str:
        return f"<{KINDS[self._kind]} side of {self._lock!r}>"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Get the lock, wait for it at most *timeout* seconds (-1: for ever); return whether it was had.

        With a false *blocking*, or a timeout of zero, it does not wait.
        ValueError for a timeout without *blocking*. RuntimeError for writing if this thread holds it for reading only.
        """
        if type(timeout) is not int or timeout != -1:
            if not blocking:
                raise ValueError("can't specify a timeout for a non-blocking call; leave out one of the two")
            timeout = seconds(timeout, FOR_EVER)
            if timeout < 0 and timeout != -1:
                raise ValueError(
                    f"timeout value must be a non-negative number, or {FOR_EVER}, not {timeout!r}"
                )
        watcher = _named.watcher() if self._lock.name is not None else None
        if watcher is None:
            return self._lock._acquire(self._kind, blocking, timeout)
        return watcher.acquire(
            self._lock,
            lambda b, t: self._lock._acquire(self._kind, b, t),
            lambda: self._lock._release(self._kind),
            KINDS[self._kind],
            _named.given,
            blocking,
            timeout,
        )

    def release(self) -> None:
        """Give it back. Never blocks. RuntimeError if this thread does not hold it in this way."""
        # From here on, whatever strikes, it is given back.
        lock, way = self._lock, self._kind
        me = 0
        steps: list[_Step] = []
        noted: list[_named.Giving] = []
        settled = False
        try:
            for me in IDENTS:  # not a call, after which something could strike before it is noted  # noqa: B007
                break
            lock._give_back(steps, noted, me, way)
            settled = True
        finally:
            try:
                if not settled:
                    surely(lock._give_back, steps, noted, me, way)
            except BaseException:
                if settled:
                    raise
                elsewhere[lock._give_back] = (steps, noted, me, way)
        if steps[0].refusal is not None:
            steps[0].refuse()

    def locked(self) -> bool:
        """Whether some thread holds the lock in this way."""
        state = self._lock._latest()
        return any(counts[self._kind] for counts in state.holders.values()) or (
            state.lost and self._kind == WRITE
        )

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # As in release(), which is not called because it could be struck before it begins. (By now it may be a reader.)
        lock, way = self._lock, self._kind
        me = 0
        steps: list[_Step] = []
        noted: list[_named.Giving] = []
        settled = False
        try:
            for me in IDENTS:  # not a call, after which something could strike before it is noted  # noqa: B007
                break
            lock._give_back(steps, noted, me, way, way == WRITE)
            settled = True
        finally:
            try:
                if not settled:
                    surely(lock._give_back, steps, noted, me, way, way == WRITE)
            except BaseException:
                if settled:
                    raise
                elsewhere[lock._give_back] = (steps, noted, me, way, way == WRITE)
        if steps[0].refusal is not None:
            steps[0].refuse()


class _ReadSide(_Side):
    """The reading side of an `RWLock`; used like a lock of its own."""

    __slots__ = ()

    def _is_owned(self) -> bool:
        # Asked by a Condition, before it waits or notifies. With several readers none of them can change anything that
        # another waits for; and whoever does change it would not be kept from doing so between a look and a wait.
        raise RuntimeError(
            f"{self!r}: a Condition needs a lock that one thread holds alone; give it the writing side"
        )


class WriteSide(_Side):
    """The writing side of an `RWLock`; used like a lock of its own, also by a `Condition`."""

    __slots__ = ()

    # What a Condition asks of a lock that can be held several times over.

    def _is_owned(self) -> bool:
        return bool(self._lock._mine()[WRITE])

    def _release_save(self) -> tuple[int, int]:
        watcher = _named.watcher() if self._lock.name is not None else None
        if watcher is None:
            return self._lock._let_go()
        held: tuple[int, int] = watcher.let_go(self._lock, self._lock._let_go, self._lock._take_back)
        return held

    def _acquire_restore(self, held: tuple[int, int]) -> None:
        watcher = _named.watcher() if self._lock.name is not None else None
        if watcher is None:
            self._lock._take_back(held)
        else:
            watcher.take_back(self._lock, self._lock._take_back, KINDS[WRITE], held)


class RWLock(Uncopied):
    """A lock that many threads can hold for reading at the same time, or one for writing.

    `read` and `write` are its two sides; each is used like a lock: ``with lock.read:``, ``lock.write.acquire(timeout=1)``.

    Fair: threads get it in the order in which they asked, neighbouring readers together, so that neither side starves.
    A thread that holds it may take it again, in the same way or for reading. A reader who asks to write is refused with
    RuntimeError (two of them would wait for each other for ever): release it first, then read again what you based your
    decision on. A writer becomes a reader, without letting another writer in between, by `downgrade()`.

    A signal handler or finaliser may ask for it while its own thread waits for it; when it is that thread's turn, both
    have it.

    A `Condition` can be made of the writing side: its waiters let go of the lock altogether, so that readers come in, too.

    With a *name*, `debug` can watch it. In a forked child readers and waiters that only the parent has are gone; if a
    thread of the parent was writing, the lock cannot be had, and asking for it raises RuntimeError.

    Not in the standard module.

        >>> lock = RWLock()
        >>> with lock.read, lock.read:
        ...     lock.write.locked()
        False
    """

    __slots__ = ("__weakref__", "_number", "_state", "_tickets", "name", "read", "write")

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self._number = next(_named.numbers)
        self._state = _State({}, ())
        self._tickets: dict[_Ticket, None] = {}  # of all who wait; for the child of a fork
        self.read = _ReadSide(self, READ)
        self.write = WriteSide(self, WRITE)
        register_after_fork(self, _forget_the_parents_threads)

    def __repr__(self) -> str:
        state = self._latest()
        named = "" if self.name is None else f" {self.name!r}"
        if state.lost:
            how = "lost with a thread of the parent process"
        elif not state.holders:
            how = "free"
        elif self.write.locked():
            how = "held for writing"
        else:
            how = f"held by {len(state.holders)} for reading"
        return f"<{type(self).__name__}{named}: {how}, {len(state.queue)} waiting>"

    def locked(self) -> bool:
        """Whether some thread holds it, in whatever way."""
        state = self._latest()
        return bool(state.holders) or state.lost

    if not TYPE_CHECKING:  # so that checkers refuse it, too

        def __enter__(self):
            raise TypeError(f"{self!r} has two sides: write `with lock.read:` or `with lock.write:`")

        def __exit__(self, *_exception):
            pass  # never reached, but looked for first

    def downgrade(self) -> None:
        """Go on as a reader, once for each time this thread has it for writing; other readers may come in, too.

        No writer comes in between. RuntimeError if this thread does not hold it for writing. Never blocks.

        Release `read`, not `write`, from then on; but the end of a ``with lock.write:`` block gives back what there is.

            >>> lock, table = RWLock(), {}
            >>> with lock.write:
            ...     table["key"] = "value"
            ...     lock.downgrade()
            ...     lock.read.locked(), table["key"]  # others may read it now, too, and nobody change it
            (True, 'value')
            >>> lock.locked()
            False
        """

        me = get_ident()

        def downgraded(state: _State) -> _State | Exception:
            reads, writes = state.holders.get(me, (0, 0))
            if not writes:
                return RuntimeError(
                    f"{self!r}: this thread does not hold it for writing; there is nothing to downgrade"
                )
            return _State({me: (reads + writes, 0)}, state.queue, state.lost).promoted()

        self._whatever_strikes(downgraded)

    def _mine(self) -> tuple[int, int]:
        """How often this thread holds it for reading, and for writing."""
        return self._latest().holders.get(get_ident(), (0, 0))

    # What `debug` asks.

    def _still_held(self, times: int) -> bool:
        return sum(self._mine()) > times

    def _mode(self, ident: int) -> str:
        return KINDS[bool(self._latest().holders.get(ident, (0, 0))[WRITE])]

    def _latest(self) -> _State:
        state = self._state
        while (later := state.follows.get(NEXT)) is not None:
            self._state = state = later
        return state

    def _take(self, step: _Step, change: Callable[[_State], _State | Exception]) -> None:
        """Do a step unless it has happened, and ring for those who have the lock by it. Or have it refused."""
        while not step.happened():
            step.after = None
            step.before = before = self._latest()
            after = change(before)
            if isinstance(after, Exception):
                step.refusal = after
                return
            step.after = after
            before.follows.setdefault(NEXT, after)
        made = step.after
        if made is not None:
            self._state = made
            self._ring(made)

    @staticmethod
    def _ring(state: _State) -> None:
        for ticket in state.granted:
            ticket.ring()

    def _whatever_strikes(self, change: Callable[[_State], _State | Exception]) -> None:
        """The step of a public method, which must not be left undone. Raises what it has been refused with."""
        step = _Step()
        settled = False
        try:
            self._take(step, change)
            settled = True
        finally:
            try:
                if not settled:
                    surely(self._take, step, change)
            except BaseException:
                if settled:
                    raise
                elsewhere[self._take] = (step, change)
        if step.refusal is not None:
            step.refuse()

    def _acquire(self, kind: int, blocking: bool, timeout: float) -> bool:
        wish = _Wish()
        settled = False
        try:
            got = self._get(wish, kind, blocking, timeout)
            if wish.ticket is not None:
                self._tickets.pop(wish.ticket, None)
            settled = True
            if got is True or got is False:  # in the call of a function something could strike
                return got
            wish.asking.refusal = None
            try:
                raise got
            finally:
                del got  # this frame is in its traceback
        finally:
            try:
                if not settled:
                    surely(self._go_without, wish, kind)
            except BaseException:
                if settled:
                    surely(self._go_without, wish, kind)
                    raise
                elsewhere[self._go_without] = (wish, kind)

    def _get(self, wish: _Wish, kind: int, blocking: bool, timeout: float) -> bool | Exception:
        """Whether it was had, or, if it cannot be, why. (That is not raised here: see `_acquire`.)

        Called again with the same wish, if it has been struck, it goes on where it was.
        """
        me = wish.ident

        def asked(state: _State) -> _State | Exception:
            reads, writes = state.holders.get(me, (0, 0))
            if kind == WRITE and reads and not writes:
                return RuntimeError(
                    f"{self!r}: this thread holds it for reading, and a reader cannot become the writer: "
                    "release the reading side first, or take the writing side from the start and downgrade()"
                )
            if reads or writes or (not state.queue and state.is_free_for(kind)):
                return state.changed(me, kind, +1)
            if state.lost:
                return self._is_lost()
            if not blocking or timeout == 0:
                return _NotNow()
            if wish.ticket is None:
                wish.ticket = _Ticket(kind)
                self._tickets[wish.ticket] = None
            return state.with_waiting(wish.ticket)

        asking = wish.asking
        if not wish.queued:
            self._take(asking, asked)
            if asking.refusal is not None:
                if isinstance(asking.refusal, _NotNow):
                    return False
                return asking.refusal
        ticket = wish.ticket
        if ticket is None or not self._is_queued(wish):
            return True
        asking.before = asking.after = None
        deadline = monotonic() + timeout if timeout > 0 else 0.0
        while True:
            self._ring_whoever_has_left_the_queue()
            if not ticket.bell.acquire(True, timeout) and not self._withdraw(wish):
                return False
            if ticket.refused:
                return self._is_lost()
            if ticket not in self._latest().queue:
                return True
            # Rung to be on the safe side: in a forked child, or by who could not see that it was about to enter the queue.
            if timeout > 0:
                timeout = max(0, deadline - monotonic())

    def _ring_whoever_has_left_the_queue(self) -> None:
        tickets = {*self._tickets}
        if len(tickets) > 1:
            for ticket in tickets.difference(self._latest().queue):
                ticket.ring()

    def _is_lost(self) -> RuntimeError:
        return RuntimeError(
            f"{self!r}: a thread of the parent process was writing; make a new lock after fork"
        )

    @staticmethod
    def _is_queued(wish: _Wish) -> bool:
        """Whether what has been asked led into the queue. (A ticket alone says only that it looked so for a moment.)"""
        made = wish.asking.after
        if made is not None and wish.asking.happened() and wish.ticket in made.queue:
            wish.queued = True
        return wish.queued

    def _withdraw(self, wish: _Wish) -> bool:
        """Leave the queue; say whether the lock has been granted meanwhile (or refused)."""
        ticket = wish.ticket

        def left(state: _State) -> _State:
            return _State(
                state.holders, tuple([other for other in state.queue if other is not ticket]), state.lost
            ).promoted()

        if wish.leaving is None:
            wish.leaving = _Step()
        self._take(wish.leaving, left)
        found = wish.leaving.before
        return found is not None and ticket not in found.queue

    def _go_without(self, wish: _Wish, kind: int) -> None:
        """Be as if it had never been called, however far it has come."""
        ticket = wish.ticket
        if self._is_queued(wish):
            holds = self._withdraw(wish) and ticket is not None and not ticket.refused
        else:
            holds = wish.asking.happened()
        if holds:
            if wish.returning is None:
                wish.returning = _Step()
            self._take(wish.returning, self._released(kind, wish.ident))
        if ticket is not None:
            self._tickets.pop(ticket, None)

    def _released(
        self, kind: int, me: int, downgraded_too: bool = False
    ) -> Callable[[_State], _State | Exception]:
        def released(state: _State) -> _State | Exception:
            held = state.holders.get(me, (0, 0))
            if held[kind]:
                return state.changed(me, kind, -1).promoted()
            if downgraded_too and held[READ]:
                return state.changed(me, READ, -1).promoted()
            return self._not_held(kind)

        return released

    def _give_back(
        self,
        steps: list[_Step],
        noted: list[_named.Giving],
        me: int,
        kind: int,
        downgraded_too: bool = False,
    ) -> None:
        """Release it for that thread, unless it has happened. Refusals are in the step."""
        if not steps:
            watcher = _named.watcher() if self.name is not None else None
            if watcher is not None and not noted:
                noted.append(watcher.giving(self, me or get_ident()))
            steps.append(_Step())
        step = steps[0]
        if not step.happened():
            for giving in noted:
                giving.strike_off()
        self._take(step, self._released(kind, me or get_ident(), downgraded_too))
        if step.refusal is not None:
            for giving in noted:
                giving.put_back()

    def _release(self, kind: int, downgraded_too: bool = False) -> None:
        self._whatever_strikes(self._released(kind, get_ident(), downgraded_too))

    def _not_held(self, kind: int) -> RuntimeError:
        return RuntimeError(f"{self!r}: this thread does not hold it for {KINDS[kind]}")

    def _let_go(self) -> tuple[int, int]:
        """Give back every hold of this thread, which has to hold it for writing; return how many of each kind."""
        me = get_ident()
        held = (0, 0)

        def let_go(state: _State) -> _State | Exception:
            nonlocal held
            held = state.holders.get(me, (0, 0))
            if not held[WRITE]:
                return self._not_held(WRITE)
            others = {ident: counts for ident, counts in state.holders.items() if ident != me}
            return _State(others, state.queue, state.lost).promoted()

        step = _Step()
        settled = False
        try:
            self._take(step, let_go)
            settled = True
        finally:
            try:
                if not settled:
                    self._take_back(held)
            except BaseException:
                # Struck on the way there; here it may be struck once more.
                try:
                    self._take_back(held)
                except BaseException:
                    self._take_back(held)
                    raise
                raise
        if step.refusal is not None:
            step.refuse()
        return held

    def _take_back(self, held: tuple[int, int]) -> None:
        """Wait until this thread has as many holds again as `_let_go` said, whatever strikes meanwhile."""
        if not held[WRITE]:
            return  # it has not got as far as letting go
        wish, restoring = _Wish(), _Step()
        struck: BaseException | None = None
        patience = [*SEVERAL]
        while True:
            try:
                while True:
                    try:
                        self._have_again(wish, restoring, held)
                        break
                    except (RecursionError, MemoryError) as error:
                        if not patience:
                            raise
                        del patience[-1]
                        struck = error
                    except BaseException as error:
                        if wish.refused:
                            raise
                        struck = error
                break
            except BaseException as error:  # of a signal, where this jumps back
                if wish.refused or not patience:
                    raise
                struck = error
        if struck is not None:
            try:
                raise struck
            finally:
                del struck  # this frame is in its traceback

    def _have_again(self, wish: _Wish, restoring: _Step, held: tuple[int, int]) -> None:
        """What `_take_back` begins again until it has come to its end."""
        me = wish.ident

        def as_before(state: _State) -> _State:
            return _State({me: held}, state.queue, state.lost)

        if not self._mine()[WRITE]:
            got = self._get(wish, WRITE, True, -1)
            if got is not True and got is not False:
                wish.refused = True
                wish.asking.refusal = None
                try:
                    raise got
                finally:
                    del got  # this frame is in its traceback
        if wish.ticket is not None:
            self._tickets.pop(wish.ticket, None)
        if self._mine() != held:
            self._take(restoring, as_before)


class _NotNow(Exception):
    """It cannot be had without waiting."""


def _forget_the_parents_threads(lock: RWLock) -> None:
    me = get_ident()
    while True:
        state = lock._latest()
        holders = {ident: counts for ident, counts in state.holders.items() if ident == me}
        lost = state.lost or any(writes and ident != me for ident, (_, writes) in state.holders.items())
        ours = tuple([ticket for ticket in state.queue if ticket.ident == me])
        mended = _State(holders, () if lost else ours, lost).promoted()
        # Linked like any other: this may be a signal handler of the forking thread, in the middle of an operation.
        if state.follows.setdefault(NEXT, mended) is mended:
            break
    for ticket in [*lock._tickets]:
        if ticket.ident != me:
            lock._tickets.pop(ticket, None)
        elif ticket not in mended.queue:
            # Granted, now or by a thread that was going to ring for it and is not there; or refused. (Or it is not yet
            # in the queue; then it finds out.)
            ticket.refused |= ticket in ours and lost
            ticket.ring()
