# SPDX-License-Identifier: MIT
#
# Which locks are taken in both orders.
#
# Theory of operation
#   Before a thread waits for a lock, "this one after those that I hold" is noted once, with the stack. If there is a
#   way back along such notes, some threads could take these locks in opposite orders and wait for each other for ever,
#   even if they never have so far: an inversion. Attempts that do not wait are not noted: they cannot wait for ever.
#   Locks are told apart as objects, not by name, and held weakly; what is known of the order of a lock goes with it.
#   An inversion stays. It is found at most once for the same locks; if others of the same names are taken at the same
#   places, it is the same mistake, and is counted.
#
#   Not every way back is one. A note also says what else was held: threads that both held a third lock, a gate, cannot
#   have been there at the same time. (So what was held is compared in pairs all round the circle, as in "Detecting
#   potential deadlocks with static analysis and run-time monitoring", Bensalem, Havelund, 2005.) The same step is
#   noted again when less was held. And who wants to read waits for no reader, unless a writer stands between them, as
#   an RWLock is fair: readers alone wait for each other only if somebody ever asked for one of their locks for writing.
#   When that happens for the first time, the ways through that lock are looked at once more.
#
# There is no lock here, either: notes are added by single operations, and two threads that note the same at the same time
# note it twice, which says nothing new. What is done when a lock has gone is done by C code: an exception that strikes a
# weak reference's callback is lost.

from __future__ import annotations

import sys
from itertools import count
from weakref import ref

from .._platform import partial
from .._rwstates import KINDS, READ, WRITE
from ._places import stack, walk
from ._reports import Inversion, Step, tell

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._people import Person

__all__ = ["Orders"]

_MOST_INVERSIONS = 1000  # who has that many different ones knows enough

# Guesses. A step that was made behind so many different gates has no gate that would protect it; a program in which so
# many ways lead on from a lock, and none that was looked at leads back, is not searched any further.
_MOST_GATES = 30
_MOST_WAYS = 10_000

# For each lock so many sets of others that were held when it was asked for are known by sight. A guess.
_MOST_KNOWN = 1000


class _Asking:
    """A thread that asks for a lock while it holds others: which of them, and whether each of them to itself alone."""

    __slots__ = ("alone", "held", "lock", "person")

    def __init__(self, person: Person, lock: Any, mode: str) -> None:
        self.person = person
        self.lock = lock
        self.alone = mode != KINDS[READ]
        self.held: dict[int, tuple[Any, bool]] = {
            id(hold.lock): (hold.lock, hold.lock._mode(person.ident) != KINDS[READ])
            for hold in [*person.holds.values()]
        }


class _Edge:
    """A lock that was asked for while another was held: how that was, one of the times."""

    __slots__ = ("first", "held", "held_alone", "link", "names", "site", "thread", "wanted_alone")

    def __init__(self, first: Any, link: _Link, asking: _Asking) -> None:
        self.first = ref(first)
        self.link = link
        self.names = (first.name, asking.lock.name)
        self.thread = asking.person.name
        self.site = walk(sys._getframe())
        self.wanted_alone = asking.alone
        self.held_alone = asking.held[id(first)][1]
        self.held = [(ref(lock), alone) for lock, alone in asking.held.values()]

    def holds(self) -> dict[int, bool]:
        """The locks that were held, of those that are still there: by id, whether alone."""
        return {id(lock): alone for held, alone in self.held if (lock := held()) is not None}

    def says_all_of(self, first: Any, asking: _Asking) -> bool:
        """Whether each circle that is one with that step would be one with this."""
        now = asking.held
        return (
            self.wanted_alone >= asking.alone
            and self.held_alone >= now[id(first)][1]
            and all(
                key in now and alone <= now[key][1] for key, alone in self.holds().items() if key != id(first)
            )
        )

    def excludes(self, other: _Edge) -> bool:
        """Whether no two threads can be there at the same time, for a lock that both would hold."""
        mine, its = self.holds(), other.holds()
        return any(alone or its[key] for key, alone in mine.items() if key in its)


class _Link:
    """That a lock was asked for while another was held, and the different ways in which that was."""

    __slots__ = ("edges", "number", "second", "told")
    numbers = count()

    def __init__(self, second: Any, forget: Callable[[Any], object]) -> None:
        self.second = ref(second, forget)
        self.number = next(self.numbers)
        self.edges: list[_Edge] = []
        self.told: set[frozenset[int]] = set()  # the numbers of the links of each circle that this one is in


class _Node:
    """What was asked for while a lock was held: by the number of the lock asked for."""

    __slots__ = ("after", "known", "lock", "written")

    def __init__(self, lock: Any, forget: Callable[[Any], object]) -> None:
        self.lock = ref(lock, forget)
        self.after: dict[int, _Link] = {}
        self.written = False  # whether somebody asked for it for writing
        self.known: set[tuple[Any, ...]] = (
            set()
        )  # what was held when it was asked for, once that has been noted


class _Circle:
    """An inversion, with the times it was found."""

    __slots__ = ("count", "counter", "steps")

    def __init__(self, edges: tuple[_Edge, ...]) -> None:
        self.steps = [(*edge.names, edge.thread, edge.site) for edge in edges]
        self.counter = count(1)
        self.count = 0

    def key(self) -> tuple[Any, ...]:
        """The same for the same names and places, wherever in the circle one begins."""
        # A name can be anything, and such as cannot be compared, or hashed.
        places = [(repr(first), repr(second), site) for first, second, _, site in self.steps]
        begin = places.index(min(places))
        return (*places[begin:], *places[:begin])

    def as_inversion(self) -> Inversion:
        steps = (Step(first, second, thread, stack(site)) for first, second, thread, site in self.steps)
        return Inversion(tuple(steps), self.count)


class Orders:
    """The orders in which locks were asked for, and the inversions among them."""

    def __init__(self, on_inversion: Callable[[Inversion], object] | None) -> None:
        self.on_inversion = on_inversion
        self.nodes: dict[int, _Node] = {}  # by the number of a lock
        self.circles: dict[tuple[Any, ...], _Circle] = {}
        self.left_out = 0

    def inversions(self) -> tuple[Inversion, ...]:
        return tuple(circle.as_inversion() for circle in [*self.circles.values()])

    def node(self, lock: Any) -> _Node:
        key = lock._number
        node = self.nodes.get(key)
        if node is None:
            node = self.nodes[key] = _Node(lock, partial(self.nodes.pop, key))
        return node

    def note(self, person: Person, lock: Any, mode: str) -> None:
        """*person* is about to wait for *lock*."""
        if person.holds:
            known = self.node(lock).known
            held = [
                (hold.number, hold.lock._mode(person.ident)) if hold.varies else hold.number
                for hold in [*person.holds.values()]
            ]
            key = (mode, *held)
            if key not in known:
                asking = _Asking(person, lock, mode)
                for first, _ in asking.held.values():
                    self.note_step(first, asking)
                if len(known) >= _MOST_KNOWN:
                    known.clear()
                known.add(key)
        if mode == KINDS[WRITE] and not (node := self.node(lock)).written:
            node.written = True
            for link in [*node.after.values()]:
                for edge in link.edges:
                    self.look_for_circle(edge)

    def note_step(self, first: Any, asking: _Asking) -> None:
        lock, after = asking.lock, self.node(first).after
        key = lock._number
        link = after.get(key)
        if link is None:
            link = after[key] = _Link(lock, partial(after.pop, key))
        edges = link.edges
        if len(edges) < _MOST_GATES and not any(edge.says_all_of(first, asking) for edge in edges):
            edge = _Edge(first, link, asking)
            edges.append(edge)
            self.look_for_circle(edge)

    def look_for_circle(self, edge: _Edge) -> None:
        circle = self.circle(edge)
        if circle is not None:
            links = frozenset(step.link.number for step in circle)
            if links not in edge.link.told:
                for step in circle:
                    step.link.told.add(links)
                self.note_inversion(_Circle(circle))

    def note_inversion(self, circle: _Circle) -> None:
        key = circle.key()
        if key not in self.circles and len(self.circles) >= _MOST_INVERSIONS:
            self.left_out += 1
            return
        known = self.circles.setdefault(key, circle)
        known.count = next(known.counter)
        if known is circle and self.on_inversion is not None:
            tell(self.on_inversion, circle.as_inversion())

    def links_after(self, lock: Any) -> list[_Link]:
        node = None if lock is None else self.nodes.get(lock._number)
        return [] if node is None else [*node.after.values()]

    def leads_back(self, edge: _Edge) -> bool:
        """Whether the orders that were seen lead back at all, whoever may be kept from going there."""
        first, locks = edge.first(), [edge.link.second()]
        seen = {id(locks[0])}
        for lock in locks:
            for link in self.links_after(lock):
                then = link.second()
                if then is first:
                    return first is not None
                if then is not None and id(then) not in seen:
                    seen.add(id(then))
                    locks.append(then)
        return False

    def circle(self, edge: _Edge) -> tuple[_Edge, ...] | None:
        """The shortest circle along such orders, beginning with *edge*, in which threads can wait for each other."""
        if not self.leads_back(edge):
            return None
        first = edge.first()
        ways: list[tuple[_Edge, ...]] = [(edge,)]
        for way in ways:
            for link in self.links_after(way[-1].link.second()):
                then = link.second()
                if then is None or (then is not first and any(then is step.first() for step in way)):
                    continue
                for step in link.edges:
                    if not self.waits_for(way[-1], step) or any(step.excludes(other) for other in way):
                        continue
                    if then is not first:
                        ways.append((*way, step))
                    elif self.waits_for(step, edge):
                        return (*way, step)
            if len(ways) > _MOST_WAYS:
                return None
        return None

    def waits_for(self, step: _Edge, holder: _Edge) -> bool:
        """Whether who takes a step can wait for the lock because of who takes another, holding that lock."""
        if step.wanted_alone or holder.held_alone:
            return True
        lock = holder.first()
        return lock is not None and self.node(lock).written
