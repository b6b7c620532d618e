# SPDX-License-Identifier: MIT
"""Who holds which lock, who waits for whom, and which locks are taken in both orders.

    >>> from plait.threading import NamedLock, debug
    >>> ledger = NamedLock("ledger")
    >>> debug.enable()
    >>> with ledger:
    ...     [(held.lock, held.count) for thread in debug.report().threads for held in thread.holds]
    [('ledger', 1)]
    >>> debug.disable()

Off unless `enable()` is called, and free until then. It sees the locks that have a name: `NamedLock`, `NamedRLock`,
`RWLock(name)`, and a `Condition` on one of the first two.
"""

# Theory of operation
#   Named locks are switched over to methods that come by here (see _named.py). Each thread writes what it holds and what
#   it waits for into a record of its own, so that no lock is needed; whoever wants a report reads all the records, also
#   in a signal handler in the middle of writing one. Records of threads that have ended stay as long as they hold
#   something: that is a finding.
#
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
#   A wait cycle is a deadlock that has happened: each of its threads waits for a lock that the next one holds.
#
# What must always hold
#   - A lock that is watched answers as it does otherwise. An acquire() that an exception of a signal handler ends has not
#     taken it, and a release() that has begun is finished. So what calls into the lock is one step of C code, which also
#     notes the answer; and what undoes or finishes may be begun again, wherever it has come to (see _surely.py). It cannot
#     be done elsewhere: an RLock is its thread's.
#   - The last thing that acquire() does is a call, in its `try`: a signal that has come meanwhile strikes there and not at
#     the first instruction of release(), where the lock would stay held.
#   - For a Condition, letting go ends with an exception only if the lock has not been let go of. Taking it back may be
#     struck when it has been taken already, for that of an RLock cannot be interrupted; then the Condition calls again, and
#     finds that noted in what was set aside. To forget what was set aside is therefore the very last thing, and no call.
#   - A hold is struck off before the lock is released: as soon as it is, another thread may write that it has it. If the
#     release fails, the hold is put back.
#   - What a thread waited for before it waits for something else (in a signal handler), it waits for again afterwards.
#
# Why nothing is watched from outside: a thread that waits too long finds out itself, by waiting in two parts. So no
# thread is started, and a fork loses none.

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from itertools import count, starmap
from operator import methodcaller
from time import monotonic
from traceback import StackSummary
from weakref import ref

from .._thread import TIMEOUT_MAX, _local, get_ident, register_after_fork, report_unraisable
from . import _named
from ._platform import partial
from ._registry import here, snapshot
from ._rwlock import KINDS, READ, WRITE, RWLock
from ._surely import surely

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    Site = tuple[tuple[str, int, str], ...]
    Attempt = Callable[[bool, float], bool]

__all__ = [
    "HeldLock",
    "Inversion",
    "Report",
    "Step",
    "ThreadState",
    "WaitCycle",
    "WaitedLock",
    "disable",
    "enable",
    "is_enabled",
    "report",
    "report_on_signal",
]

_DEPTH = 30  # frames of a stack that are kept; more than enough to know the place by
_MOST_INVERSIONS = 1000  # who has that many different ones knows enough

# Guesses. A step that was made behind so many different gates has no gate that would protect it; a program in which so
# many ways lead on from a lock, and none that was looked at leads back, is not searched any further.
_MOST_GATES = 30
_MOST_WAYS = 10_000

# For each lock so many sets of others that were held when it was asked for are known by sight. A guess.
_MOST_KNOWN = 1000

# For starmap: one call without arguments.
_ONCE: Any = ((),)

# Where the code of threads and locks lies. At both ends of a stack it says nothing about the program.
_OURS = tuple(
    os.path.dirname(code.co_filename) + os.sep for code in (_named.watch.__code__, report_unraisable.__code__)
)


@dataclass(frozen=True)
class HeldLock:
    """A lock that a thread holds: its name, how often it took it, for how long it has it, and where it took it.

    *stack* is empty if no code of the program did: the lock's own method was what the thread was started with. *mode* is
    ``"reading"`` or ``"writing"`` for an `RWLock`, and empty for others.
    """

    lock: str
    count: int
    seconds: float
    stack: StackSummary
    mode: str = ""

    @property
    def exclusive(self) -> bool:
        """Whether no other thread can have it at the same time."""
        return self.mode != "reading"


@dataclass(frozen=True)
class WaitedLock:
    """A lock that a thread waits for: its name, for how long it has waited, and the names of the threads that hold it.

    *mode* is what it is wanted for: ``"reading"`` or ``"writing"`` for an `RWLock`, and empty for others.
    """

    lock: str
    seconds: float
    held_by: tuple[str, ...]
    mode: str = ""

    @property
    def exclusive(self) -> bool:
        """Whether no other thread can have it at the same time."""
        return self.mode != "reading"


@dataclass(frozen=True)
class ThreadState:
    """A thread that holds or waits for named locks. *stack* is where it is now: empty if it has ended, or
    runs no code of the program."""

    name: str
    ident: int
    alive: bool
    holds: tuple[HeldLock, ...]
    waits_for: WaitedLock | None
    stack: StackSummary

    def __str__(self) -> str:
        lines = [f"Thread {self.name} ({self.ident}){'' if self.alive else ', which has ended,'}"]
        for held in self.holds:
            times = "" if held.count == 1 else f" {held.count} times"
            place = f"taken at {_place(held.stack)}" if held.stack else "taken by what it was started with"
            lines.append(f"  holds {held.lock!r}{_for(held)}{times} for {held.seconds:.3f} s, {place}")
        if self.waits_for is not None:
            wait = self.waits_for
            by = f", held by {', '.join(wait.held_by)}" if wait.held_by else ""
            lines.append(f"  waits for {wait.lock!r}{_for(wait)} for {wait.seconds:.3f} s{by}")
        if self.stack:
            lines.append("  it is at (most recent call last)")
            lines += ["  " + line for line in "".join(self.stack.format()).splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Step:
    """*thread* asked for the lock *second* while it held *first*, at *stack*."""

    first: str
    second: str
    thread: str
    stack: StackSummary

    def __str__(self) -> str:
        place = ", at (most recent call last)" if self.stack else ""
        lines = [f"  {self.thread} asked for {self.second!r} while it held {self.first!r}{place}"]
        lines += ["  " + line for line in "".join(self.stack.format()).splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Inversion:
    """Locks that have been taken in a circle of orders: two steps for two locks taken in opposite orders.

    It is one that threads can come to wait in for each other: not if a further lock, which each held, kept them apart, nor
    if all of them only read. *count* is with how many sets of locks of these names that was done at these places.
    """

    steps: tuple[Step, ...]
    count: int = 1

    def __str__(self) -> str:
        circle = " -> ".join(repr(step.first) for step in (*self.steps, self.steps[0]))
        times = "" if self.count == 1 else f", with {self.count} sets of locks"
        return "\n".join(
            [
                f"Lock order inversion {circle}{times}: threads that do this at once wait for each other",
                *map(str, self.steps),
            ]
        )


@dataclass(frozen=True)
class WaitCycle:
    """Threads that wait for each other: each for a lock that the next one holds, the last for one of the first's."""

    threads: tuple[ThreadState, ...]

    def __str__(self) -> str:
        links = [
            f"  {thread.name} waits for {thread.waits_for.lock!r}{_for(thread.waits_for)}, which {after.name} holds"
            for thread, after in zip(self.threads, (*self.threads[1:], self.threads[0]), strict=True)
            if thread.waits_for is not None
        ]
        return "\n".join(["Deadlock: these threads wait for each other", *links])


@dataclass(frozen=True)
class Report:
    """What is known about named locks at one moment. ``str(report)`` is for people.

    *late* is the thread that has waited longer than the limit, if that is why the report was made.
    *inversions_left_out* is how many were found after the first thousand, which are all that is kept.
    """

    threads: tuple[ThreadState, ...]
    cycles: tuple[WaitCycle, ...]
    inversions: tuple[Inversion, ...]
    late: ThreadState | None = None
    inversions_left_out: int = 0

    def __str__(self) -> str:
        number = len(self.threads)
        who = "1 thread holds or waits" if number == 1 else f"{number or 'no'} threads hold or wait"
        parts = [f"Named locks in process {os.getpid()}: {who} for {'some' if number else 'any'}"]
        if self.late is not None and self.late.waits_for is not None:
            parts.append(f"{self.late.name} has waited long for {self.late.waits_for.lock!r}")
        parts += [str(part) for part in (*self.cycles, *self.threads, *self.inversions)]
        if self.inversions_left_out:
            parts.append(f"Lock order inversions that are not shown: {self.inversions_left_out}")
        return "\n\n".join(parts) + "\n"


def _for(lock: HeldLock | WaitedLock) -> str:
    return lock.mode and f" ({lock.mode})"


def _place(stack: StackSummary) -> str:
    last = stack[-1]
    return f"{last.filename}:{last.lineno} in {last.name}"


def _walk(start: FrameType | None) -> Site:
    """Where the user's code is, innermost first; nowhere, if there is but ours: a thread whose target is a lock's method."""
    frame = start
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    found: list[tuple[str, int, str]] = []
    while frame is not None and len(found) < _DEPTH:
        found.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name))
        frame = frame.f_back
    while found and found[-1][0].startswith(_OURS):
        del found[-1]
    return tuple(found)


def _stack(site: Site) -> StackSummary:
    return StackSummary.from_list([(file, line, name, None) for file, line, name in reversed(site)])


class _Hold:
    __slots__ = ("count", "lock", "number", "since", "site", "varies")

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.number: int = lock._number
        self.varies = isinstance(lock, RWLock)
        self.count = 1
        self.since = monotonic()
        self.site = _walk(sys._getframe())


class _Wait:
    __slots__ = ("lock", "mode", "since")

    def __init__(self, lock: Any, mode: str) -> None:
        self.lock = lock
        self.mode = mode
        self.since = monotonic()


class _Aside:
    """The hold of a thread that waits for a Condition's notification; and whether it has the lock back."""

    __slots__ = ("hold", "outer", "taken", "times")

    def __init__(self, hold: _Hold | None, outer: _Aside | None) -> None:
        self.hold = hold
        self.times = 1 if hold is None else hold.count
        self.outer = outer  # of the wait that the handler interrupted which waits now
        self.taken: list[object] = []


class _Giving:
    """A call of release(), and how far it has come."""

    __slots__ = ("answers", "hold", "person", "refused", "times")

    def __init__(self, person: _Person, hold: _Hold | None) -> None:
        self.person = person
        self.hold = hold
        self.times = 0 if hold is None else hold.count
        self.answers: list[Any] = []
        self.refused: list[BaseException] = []


class _Person:
    """What one thread holds and waits for. Written by that thread."""

    def __init__(self) -> None:
        self.ident = get_ident()
        thread = getattr(here, "thread", None)
        self.made_up = thread is None
        self.thread = thread
        self.holds: dict[int, _Hold] = {}
        self.set_aside: dict[int, _Aside] = {}
        self.wait: _Wait | None = None

    @property
    def name(self) -> str:
        if self.thread is None:
            for thread in snapshot():
                if thread.ident == self.ident:
                    self.thread = thread
                    break
            else:
                return f"thread {self.ident}"
        return str(self.thread.name)


class _Asking:
    """A thread that asks for a lock while it holds others: which of them, and whether each of them to itself alone."""

    __slots__ = ("alone", "held", "lock", "person")

    def __init__(self, person: _Person, lock: Any, mode: str) -> None:
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
        self.site = _walk(sys._getframe())
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
        steps = (Step(first, second, thread, _stack(site)) for first, second, thread, site in self.steps)
        return Inversion(tuple(steps), self.count)


class _Watcher:
    """What named locks call while they are watched."""

    def __init__(
        self,
        limit: float | None,
        on_long_wait: Callable[[Report], object] | None,
        on_inversion: Callable[[Inversion], object] | None,
    ) -> None:
        self.limit = limit
        self.on_long_wait = on_long_wait
        self.on_inversion = on_inversion
        self.me: Any = _local()
        self.people: dict[int, _Person] = {}
        self.order: dict[int, _Node] = {}  # by the number of a lock
        self.circles: dict[tuple[Any, ...], _Circle] = {}
        self.left_out = 0
        register_after_fork(self, _forget_the_parents_threads)

    def person(self) -> _Person:
        try:
            known: _Person = self.me.person
        except AttributeError:
            known = _Person()
            # First where reports look: if an exception strikes between the two, the next call makes another.
            self.people[id(known)] = known
            self.me.person = known
        return known

    def acquire(
        self,
        lock: Any,
        acquire: Attempt,
        release: Callable[[], object],
        mode: str,
        given: Callable[..., tuple[bool, float]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        blocking, timeout = given(*args, **kwargs)
        person = self.person()
        before = self.times_noted(person, lock)
        answers: list[bool] = []
        undone: list[object] = []
        try:
            try:
                if not blocking or timeout == 0:
                    answers += starmap(acquire, ((blocking, timeout),))
                else:
                    if not before:
                        self.note_order(person, lock, mode)
                    answers += starmap(acquire, ((False, -1),))
                    if not answers[-1]:
                        self.wait(person, _Wait(lock, mode), acquire, timeout, answers)
                if answers[-1]:
                    self.holds_now(person, lock)
                return bool(answers[-1])
            except BaseException:
                surely(self.give_up, person, lock, before, answers, release, undone)
                raise
        except BaseException:
            # Once more: a second signal may strike on the way from the first exception to that call.
            surely(self.give_up, person, lock, before, answers, release, undone)
            raise

    def give_up(
        self,
        person: _Person,
        lock: Any,
        before: int,
        answers: list[bool],
        release: Callable[[], object],
        undone: list[object],
    ) -> None:
        """Be as if acquire() had never been called, however far it has come."""
        if not undone and answers and answers[-1] and lock._still_held(before):
            hold = person.holds.get(id(lock))
            if hold is not None and hold.count > before:
                if not before:
                    person.holds.pop(id(lock), None)
                hold.count = before
            undone += starmap(release, _ONCE)

    @staticmethod
    def times_noted(person: _Person, lock: Any) -> int:
        hold = person.holds.get(id(lock))
        return 0 if hold is None else hold.count

    def holds_now(self, person: _Person, lock: Any) -> None:
        hold = person.holds.get(id(lock))
        if hold is None:
            person.holds[id(lock)] = _Hold(lock)
        else:
            hold.count += 1

    def wait(
        self, person: _Person, wait: _Wait, acquire: Attempt, timeout: float, answers: list[bool]
    ) -> None:
        limit = self.limit
        outer = person.wait
        try:
            person.wait = wait
            if limit is None or 0 <= timeout <= limit:
                answers += starmap(acquire, ((True, timeout),))
                return
            answers += starmap(acquire, ((True, limit),))
            if not answers[-1]:
                self.tell_of_long_wait(person)
                left = -1 if timeout < 0 else max(0, wait.since + timeout - monotonic())
                answers += starmap(acquire, ((True, left),))
        finally:
            person.wait = outer

    def release(self, lock: Any, release: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        givings: list[_Giving] = []
        try:
            try:
                self.give_back(givings, lock, release, args, kwargs)
            except BaseException:
                surely(self.give_back, givings, lock, release, args, kwargs)
                raise
        except BaseException:
            # Once more, as in acquire().
            surely(self.give_back, givings, lock, release, args, kwargs)
            raise
        giving = givings[0]
        if giving.refused:
            raise giving.refused.pop()
        return giving.answers[0]

    def give_back(
        self,
        givings: list[_Giving],
        lock: Any,
        release: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Release it, unless that has been done or refused. What it is refused with is in the `_Giving`."""
        if not givings:
            givings.append(self.about_to_release(lock))
        giving = givings[0]
        hold, holds, left = giving.hold, giving.person.holds, giving.times - 1
        if not giving.answers and not giving.refused:
            call = starmap(partial(release, **kwargs) if kwargs else release, (args,))
            if hold is not None:
                hold.count = left
                if not left:
                    holds.pop(id(lock), None)
            try:
                giving.answers += call
            except BaseException as error:  # noqa: BLE001 - which is raised later
                giving.refused += (error,)
        if giving.refused and hold is not None and lock._still_held(left):
            hold.count = giving.times
            holds[id(lock)] = hold

    def about_to_release(self, lock: Any) -> _Giving:
        person = self.person()
        hold = person.holds.get(id(lock))
        if hold is None and isinstance(lock, _named.NamedLock):
            # A plain lock may be released by another thread than took it.
            for other in [*self.people.values()]:
                hold = other.holds.get(id(lock))
                if hold is not None:
                    person = other
                    break
        return _Giving(person, hold)

    def let_go(
        self, lock: Any, let_go: Callable[..., Any], take_back: Callable[..., object], /, *args: Any
    ) -> Any:
        person = self.person()
        aside = _Aside(person.holds.get(id(lock)), person.set_aside.get(id(lock)))
        saved: list[Any] = []
        back: list[object] = []
        try:
            try:
                person.set_aside[id(lock)] = aside
                person.holds.pop(id(lock), None)
                saved += starmap(let_go, (args,))
                return saved[0]
            except BaseException:
                surely(self.hold_on, person, lock, aside, saved, take_back, back)
                raise
        except BaseException:
            # Once more, as in acquire().
            surely(self.hold_on, person, lock, aside, saved, take_back, back)
            raise

    def hold_on(
        self,
        person: _Person,
        lock: Any,
        aside: _Aside,
        saved: list[Any],
        take_back: Callable[..., object],
        back: list[object],
    ) -> None:
        """Be as if let_go() had never been called, however far it has come."""
        if saved and not back:
            back += starmap(take_back, _ONCE if saved[0] is None else (saved,))
        if aside.hold is not None and lock._still_held(0):
            person.holds[id(lock)] = aside.hold
        if person.set_aside.get(id(lock)) is aside:
            if aside.outer is None:
                del person.set_aside[id(lock)]
            else:
                person.set_aside[id(lock)] = aside.outer

    def take_back(self, lock: Any, take_back: Callable[..., object], mode: str, /, *args: Any) -> None:
        person, key = self.person(), id(lock)
        aside = person.set_aside.get(key)
        if aside is None:
            if isinstance(lock, _named.NamedRLock) and lock._is_owned():
                return  # all has been done
            # Let go before it was watched.
            aside = person.set_aside[key] = _Aside(None, None)
        if not aside.taken:
            self.note_order(person, lock, mode)
            outer = person.wait
            try:
                person.wait = _Wait(lock, mode)
                aside.taken += starmap(take_back, (args,))
            finally:
                person.wait = outer
        hold = aside.hold or _Hold(lock)
        hold.count = aside.times
        hold.since = monotonic()
        person.holds[key] = hold
        if aside.outer is None:
            del person.set_aside[key]
        else:
            person.set_aside[key] = aside.outer

    def forget(self, lock: Any) -> None:
        for person in [*self.people.values()]:
            person.holds.pop(id(lock), None)

    def node(self, lock: Any) -> _Node:
        key = lock._number
        node = self.order.get(key)
        if node is None:
            node = self.order[key] = _Node(lock, partial(self.order.pop, key))
        return node

    def note_order(self, person: _Person, lock: Any, mode: str) -> None:
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
            self.call(self.on_inversion, circle.as_inversion())

    def links_after(self, lock: Any) -> list[_Link]:
        node = None if lock is None else self.order.get(lock._number)
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

    def tell_of_long_wait(self, person: _Person) -> None:
        if self.on_long_wait is not None:
            self.call(self.on_long_wait, self.report(late=person))

    @staticmethod
    def call(hook: Callable[[Any], object], argument: object) -> None:
        try:
            hook(argument)
        except Exception as error:  # noqa: BLE001 - it must not be raised by a lock's acquire()
            report_unraisable(error, "Exception ignored in hook for locks", hook)

    def report(self, late: _Person | None = None) -> Report:
        now = monotonic()
        frames = _current_frames()
        latest = {person.ident: person for person in [*self.people.values()]}
        # Looked at twice, one after the other: what is the same both times was so at one moment between the two.
        noted = [(person, person.holds.copy()) for person in [*self.people.values()]]
        people = []
        holds: dict[int, list[_Hold]] = {}
        holders: dict[int, list[_Person]] = {}
        for person, held in noted:
            alive = person.ident in frames and latest.get(person.ident) is person
            still = [hold for key, hold in held.items() if person.holds.get(key) is hold]
            if not alive and not person.holds:
                self.people.pop(id(person), None)
            elif still or person.wait is not None:
                people.append((person, alive))
                holds[id(person)] = still
                for hold in still:
                    holders.setdefault(id(hold.lock), []).append(person)
        states: dict[int, ThreadState] = {}
        waits: dict[int, _Wait] = {}
        for person, alive in people:
            wait = person.wait if alive else None
            waited = None
            if wait is not None:
                waits[id(person)] = wait
                by = tuple(other.name for other in holders.get(id(wait.lock), ()))
                waited = WaitedLock(wait.lock.name, now - wait.since, by, wait.mode)
            locks = tuple(
                HeldLock(
                    hold.lock.name,
                    hold.count,
                    now - hold.since,
                    _stack(hold.site),
                    hold.lock._mode(person.ident),
                )
                for hold in holds[id(person)]
            )
            frame = frames.get(person.ident) if alive else None
            states[id(person)] = ThreadState(
                person.name, person.ident, alive, locks, waited, _stack(_walk(frame))
            )
        cycles = tuple(
            WaitCycle(tuple(states[id(person)] for person in cycle))
            for cycle in _cycles(people, waits, holders)
        )
        return Report(
            tuple(states.values()),
            cycles,
            tuple(circle.as_inversion() for circle in [*self.circles.values()]),
            states.get(id(late)) if late else None,
            self.left_out,
        )


def _cycles(
    people: list[tuple[_Person, bool]], waits: dict[int, _Wait], holders: dict[int, list[_Person]]
) -> Iterator[tuple[_Person, ...]]:
    """Each circle of threads that wait for each other, once."""
    done: set[frozenset[int]] = set()
    for start, _ in people:
        paths: list[tuple[_Person, ...]] = [(start,)] if id(start) in waits else []
        seen: set[int] = set()
        for path in paths:
            for after in holders.get(id(waits[id(path[-1])].lock), ()):
                if after is start:
                    members = frozenset(map(id, path))
                    if members not in done:
                        done.add(members)
                        yield path
                elif id(after) in waits and id(after) not in seen:
                    seen.add(id(after))
                    paths.append((*path, after))


def _forget_the_parents_threads(watcher: _Watcher) -> None:
    mine = getattr(watcher.me, "person", None)
    watcher.people = {} if mine is None else {id(mine): mine}
    if mine is not None:
        mine.ident = get_ident()


def _print(report: Report) -> None:
    _write(2, str(report))


def _write(descriptor: int, text: str) -> None:
    # Not through sys.stderr: a signal handler may have interrupted somebody who is inside of that.
    rest = text.encode("utf-8", "backslashreplace")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


_call = methodcaller("__call__")


def _current_frames() -> dict[int, Any]:
    """What every thread is at.

    Garbage must not be collected meanwhile: 3.11 (seen on 3.11.7) makes frames for it while it holds a lock that the
    destruction of a thread-local takes, too. So that is switched off in the same step of C code.
    """
    collects = gc.isenabled()
    try:
        frames: dict[int, Any] = [*map(_call, (gc.disable, sys._current_frames))][1]
    finally:
        if collects:
            gc.enable()
    return frames


def enable(
    *,
    limit: float | None = None,
    on_long_wait: Callable[[Report], object] | None = _print,
    on_inversion: Callable[[Inversion], object] | None = None,
) -> None:
    """Begin to watch all named locks, with a clean slate.

    A thread that has waited *limit* seconds for one of them calls ``on_long_wait(report)``, once per wait, and waits on;
    by default the report is written to standard error. ``on_inversion(inversion)`` is called when locks are asked for
    in an order that closes a circle, by the thread that does so, before it waits; by default it is kept for the next
    report only. (Not if a further lock, which all who did it held, keeps them apart, nor for readers of an `RWLock` that
    nobody asked to write.) Exceptions of the two go to `sys.unraisablehook`.

    The same inversion of other locks with the same names, asked for at the same places, is counted and not told again.
    The first 1000 different ones are kept; of those that come later only the number is, and they are not told.

    Locks that are held already are seen when they are next taken. Watched locks are 10 to 30 times slower.
    """
    if limit is not None and not isinstance(limit, (int, float)):
        raise TypeError(f"limit must be a number of seconds, or None, not {limit!r}")
    for name, hook in (("on_long_wait", on_long_wait), ("on_inversion", on_inversion)):
        if hook is not None and not callable(hook):
            raise TypeError(f"{name} must be a function to call, or None, not {hook!r}")
    if limit is not None and not 0 < limit <= TIMEOUT_MAX:
        raise ValueError(
            f"limit must be a number of seconds above 0 that locks can wait, or None, not {limit!r}"
        )
    _named.watch(_Watcher(limit, on_long_wait, on_inversion))


def disable() -> None:
    """Watch no more, and forget what was seen."""
    _named.watch(None)


def _watcher() -> _Watcher | None:
    watcher = _named.watcher()
    return watcher if isinstance(watcher, _Watcher) else None


def is_enabled() -> bool:
    """Whether named locks are watched."""
    return _watcher() is not None


def report() -> Report:
    """What is known now: threads with what they hold and wait for, deadlocks, and inversions seen since `enable()`.

    Never blocks; callable in signal handlers. RuntimeError if nothing is watched.
    """
    watcher = _watcher()
    if watcher is None:
        raise RuntimeError(
            "locks are not watched: call enable() first, before what you want to know about happens"
        )
    return watcher.report()


def report_on_signal(signum: int, *, fileno: int = 2) -> Any:
    """Write a report to the descriptor *fileno* whenever the process receives *signum*, say ``signal.SIGUSR2``.

    Signals are handled by the main thread; it does so while it waits for a lock, too. If the report cannot be written,
    that goes to `sys.unraisablehook`. Returns the handler that was there before. To be called in the main thread.
    """
    if not isinstance(fileno, int):
        raise TypeError(f"fileno must be the number of an open file, not {fileno!r}")
    import signal

    def handle(_signum: int, _frame: FrameType | None) -> None:
        watcher = _watcher()
        text = (
            "Named locks are not watched: enable() was not called\n"
            if watcher is None
            else str(watcher.report())
        )
        try:
            _write(fileno, text)
        except OSError as error:
            report_unraisable(error, "Exception ignored in report of locks, on a signal, to file", fileno)

    return signal.signal(signum, handle)
