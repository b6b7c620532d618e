# SPDX-License-Identifier: MIT
#
# RWLock: many may read, or one may write.
#
# Three modules: what can be true of it, and whose turn it is, is in _rwstates.py; here is how it comes to be true, and how
# one waits for it; its two sides, which are what one uses, are in _rwsides.py.
#
# Theory of operation
#   All there is to know (who holds, who waits) is in a `State` that is never changed. An operation looks at the latest
#   state, makes the one that follows from it, and links it to its predecessor by one operation of a dictionary
#   (`setdefault`): if another thread was quicker, that tells so, and the operation looks again. So every operation
#   happens whole or not at all, in one order, without a lock: a signal handler can come between any two steps, and do
#   the same; a fork leaves nothing half done; an exception that strikes can find out, by looking at the link, whether
#   what it struck had happened already (see `Step`).
#   `_state` may lag behind the latest state; the links lead there. Nobody who waits holds a state: it would keep all that
#   follow from it.
#
#   A thread that cannot have the lock at once is in the state's queue with a raw lock of its own, taken (its bell).
#   Whoever makes a state in which it does hold the lock rings it, after that state has been linked. A call that has been
#   interrupted between the two may have to wait for the handler, which waits for this lock; so whoever is going to sleep
#   rings all who have left the queue, before. To be rung for nothing does no harm: one looks, and sleeps on.
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

from time import monotonic

from .._thread import get_ident, register_after_fork
from . import _named
from ._copies import Uncopied
from ._rwsides import ReadSide, WriteSide
from ._rwstates import KINDS, NEXT, READ, WRITE, State, Step, Ticket
from ._surely import SEVERAL, elsewhere, surely

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RWLock"]


class _Wish:
    """A call of acquire(), and how far it has come."""

    __slots__ = ("asking", "ident", "leaving", "queued", "refused", "returning", "ticket")

    def __init__(self) -> None:
        self.ident = get_ident()
        self.asking = Step()
        self.ticket: Ticket | None = None
        # Whether it is or was in the queue. From then on, what `asking` was does not matter.
        self.queued = False
        # Whether `_have_again` was answered by an error, which it would be the next time, too.
        self.refused = False
        self.leaving: Step | None = None
        self.returning: Step | None = None


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
        self._state = State({}, ())
        self._tickets: dict[Ticket, None] = {}  # of all who wait; for the child of a fork
        self.read = ReadSide(self, READ)
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

        def downgraded(state: State) -> State | Exception:
            reads, writes = state.holders.get(me, (0, 0))
            if not writes:
                return RuntimeError(
                    f"{self!r}: this thread does not hold it for writing; there is nothing to downgrade"
                )
            return State({me: (reads + writes, 0)}, state.queue, state.lost).promoted()

        self._whatever_strikes(downgraded)

    def _mine(self) -> tuple[int, int]:
        """How often this thread holds it for reading, and for writing."""
        return self._latest().holders.get(get_ident(), (0, 0))

    # What `debug` asks.

    def _still_held(self, times: int) -> bool:
        return sum(self._mine()) > times

    def _mode(self, ident: int) -> str:
        return KINDS[bool(self._latest().holders.get(ident, (0, 0))[WRITE])]

    def _latest(self) -> State:
        state = self._state
        while (later := state.follows.get(NEXT)) is not None:
            self._state = state = later
        return state

    def _take(self, step: Step, change: Callable[[State], State | Exception]) -> None:
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
    def _ring(state: State) -> None:
        for ticket in state.granted:
            ticket.ring()

    def _whatever_strikes(self, change: Callable[[State], State | Exception]) -> None:
        """The step of a public method, which must not be left undone. Raises what it has been refused with."""
        step = Step()
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

        def asked(state: State) -> State | Exception:
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
                wish.ticket = Ticket(kind)
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

        def left(state: State) -> State:
            return State(
                state.holders, tuple([other for other in state.queue if other is not ticket]), state.lost
            ).promoted()

        if wish.leaving is None:
            wish.leaving = Step()
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
                wish.returning = Step()
            self._take(wish.returning, self._released(kind, wish.ident))
        if ticket is not None:
            self._tickets.pop(ticket, None)

    def _released(
        self, kind: int, me: int, downgraded_too: bool = False
    ) -> Callable[[State], State | Exception]:
        def released(state: State) -> State | Exception:
            held = state.holders.get(me, (0, 0))
            if held[kind]:
                return state.changed(me, kind, -1).promoted()
            if downgraded_too and held[READ]:
                return state.changed(me, READ, -1).promoted()
            return self._not_held(kind)

        return released

    def _give_back(
        self,
        steps: list[Step],
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
            steps.append(Step())
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

        def let_go(state: State) -> State | Exception:
            nonlocal held
            held = state.holders.get(me, (0, 0))
            if not held[WRITE]:
                return self._not_held(WRITE)
            others = {ident: counts for ident, counts in state.holders.items() if ident != me}
            return State(others, state.queue, state.lost).promoted()

        step = Step()
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
        wish, restoring = _Wish(), Step()
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

    def _have_again(self, wish: _Wish, restoring: Step, held: tuple[int, int]) -> None:
        """What `_take_back` begins again until it has come to its end."""
        me = wish.ident

        def as_before(state: State) -> State:
            return State({me: held}, state.queue, state.lost)

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
        mended = State(holders, () if lost else ours, lost).promoted()
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
