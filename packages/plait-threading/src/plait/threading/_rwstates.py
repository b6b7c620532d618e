# SPDX-License-Identifier: MIT
#
# The states of an RWLock: who holds it, who waits, and whose turn it is.
#
# A state is never changed once others can see it; the one that follows is made of it, and linked to it by one operation
# of a dictionary. What that is good for, and who is told, is said in _rwlock.py.
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

from __future__ import annotations

from .._thread import allocate_lock, get_ident
from ._surely import raised_here

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["KINDS", "NEXT", "READ", "WRITE", "State", "Step", "Ticket"]

READ, WRITE = 0, 1
KINDS = ("reading", "writing")
NEXT = 0


class Ticket:
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


class State:
    """Who holds the lock (identifier -> how often for reading, for writing) and who waits, at one moment."""

    __slots__ = ("follows", "granted", "holders", "lost", "queue")

    def __init__(
        self, holders: dict[int, tuple[int, int]], queue: tuple[Ticket, ...], lost: bool = False
    ) -> None:
        self.holders = holders
        self.queue = queue
        self.lost = lost
        self.granted: tuple[Ticket, ...] = ()
        self.follows: dict[int, State] = {}

    def is_free_for(self, kind: int) -> bool:
        if self.lost:
            return False
        return not self.holders if kind == WRITE else not any(writes for _, writes in self.holders.values())

    def changed(self, ident: int, kind: int, by: int) -> State:
        """With a hold more or less."""
        counts = [*self.holders.get(ident, (0, 0))]
        counts[kind] += by
        holders = {**self.holders, ident: (counts[READ], counts[WRITE])}
        if not any(counts):
            del holders[ident]
        return State(holders, self.queue, self.lost)

    def with_waiting(self, ticket: Ticket) -> State:
        """With one more in the queue: at its end, or where its thread stands already."""
        queue = self.queue
        places = [place for place, other in enumerate(queue) if other.ident == ticket.ident]
        place = len(queue) if not places else places[0] if ticket.kind == WRITE else places[-1] + 1
        return State(self.holders, (*queue[:place], ticket, *queue[place:]), self.lost)

    def promoted(self) -> State:
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


class Step:
    """One operation: from the state that was found to the one that was made of it. It happens once, if at all."""

    __slots__ = ("after", "before", "refusal")

    def __init__(self) -> None:
        self.before: State | None = None
        self.after: State | None = None
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
