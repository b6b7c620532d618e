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
#   Locks are told apart as objects, not by name, and held weakly.
#
#   A wait cycle is a deadlock that has happened: each of its threads waits for a lock that the next one holds.
#
# Why nothing is watched from outside: a thread that waits too long finds out itself, by waiting in two parts. So no
# thread is started, and a fork loses none.

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from time import monotonic
from traceback import StackSummary
from weakref import ref

from .._thread import _local, get_ident, register_after_fork, report_unraisable
from . import _named
from ._registry import here, snapshot

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    Site = tuple[tuple[str, int, str], ...]

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

_FOLDER = os.path.dirname(__file__) + os.sep
_DEPTH = 30  # frames of a stack that are kept; more than enough to know the place by


@dataclass(frozen=True)
class HeldLock:
    """A lock that a thread holds: its name, how often it took it, for how long it has it, and where it took it."""

    lock: str
    count: int
    seconds: float
    stack: StackSummary


@dataclass(frozen=True)
class WaitedLock:
    """A lock that a thread waits for: its name, for how long it has waited, and the names of the threads that hold it."""

    lock: str
    seconds: float
    held_by: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True)
class ThreadState:
    """A thread that holds or waits for named locks. *stack* is where it is now (empty if it has ended)."""

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
            place = f", taken at {_place(held.stack)}" if held.stack else ""
            lines.append(f"  holds {held.lock!r}{times} for {held.seconds:.3f} s{place}")
        if self.waits_for is not None:
            wait = self.waits_for
            by = f", held by {', '.join(wait.held_by)}" if wait.held_by else ""
            lines.append(f"  waits for {wait.lock!r} for {wait.seconds:.3f} s{by}")
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
        lines = [
            f"  {self.thread} took {self.second!r} while it held {self.first!r}, at (most recent call last)"
        ]
        lines += ["  " + line for line in "".join(self.stack.format()).splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Inversion:
    """Locks that have been taken in a circle of orders: two steps for two locks taken in opposite orders."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        circle = " -> ".join(repr(step.first) for step in (*self.steps, self.steps[0]))
        return "\n".join(
            [
                f"Lock order inversion {circle}: threads that do this at once wait for each other",
                *map(str, self.steps),
            ]
        )


@dataclass(frozen=True)
class WaitCycle:
    """Threads that wait for each other: each for a lock that the next one holds, the last for one of the first's."""

    threads: tuple[ThreadState, ...]

    def __str__(self) -> str:
        links = [
            f"  {thread.name} waits for {thread.waits_for.lock!r}, which {after.name} holds"
            for thread, after in zip(self.threads, (*self.threads[1:], self.threads[0]), strict=True)
            if thread.waits_for is not None
        ]
        return "\n".join(["Deadlock: these threads wait for each other", *links])


@dataclass(frozen=True)
class Report:
    """What is known about named locks at one moment. ``str(report)`` is for people.

    *late* is the thread that has waited longer than the limit, if that is why the report was made.
    """

    threads: tuple[ThreadState, ...]
    cycles: tuple[WaitCycle, ...]
    inversions: tuple[Inversion, ...]
    late: ThreadState | None = None

    def __str__(self) -> str:
        parts = [f"Named locks in process {os.getpid()}: {len(self.threads)} threads hold or wait for some"]
        if self.late is not None and self.late.waits_for is not None:
            parts.append(f"{self.late.name} has waited long for {self.late.waits_for.lock!r}")
        parts += [str(part) for part in (*self.cycles, *self.threads, *self.inversions)]
        return "\n\n".join(parts) + "\n"


def _place(stack: StackSummary) -> str:
    last = stack[-1]
    return f"{last.filename}:{last.lineno} in {last.name}"


def _site() -> Site:
    """Where the user's code is now, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_FOLDER):
        frame = frame.f_back
    return _walk(frame)


def _walk(frame: FrameType | None) -> Site:
    found: list[tuple[str, int, str]] = []
    while frame is not None and len(found) < _DEPTH:
        found.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(found)


def _stack(site: Site) -> StackSummary:
    return StackSummary.from_list([(file, line, name, None) for file, line, name in reversed(site)])


class _Hold:
    __slots__ = ("count", "lock", "since", "site")

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.count = 1
        self.since = monotonic()
        self.site = _site()


class _Wait:
    __slots__ = ("exclusive", "lock", "since")

    def __init__(self, lock: Any, exclusive: bool) -> None:
        self.lock = lock
        self.exclusive = exclusive
        self.since = monotonic()


class _Person:
    """What one thread holds and waits for. Written by that thread."""

    def __init__(self) -> None:
        self.ident = get_ident()
        thread = getattr(here, "thread", None)
        self.made_up = thread is None
        self.thread = thread
        self.holds: dict[int, _Hold] = {}
        self.set_aside: dict[int, _Hold] = {}
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


class _Edge:
    """A lock that was asked for while another was held."""

    __slots__ = ("first", "names", "second", "site", "thread")

    def __init__(self, first: Any, second: Any, thread: str) -> None:
        self.first, self.second = ref(first), ref(second)
        self.names = (first.name, second.name)
        self.thread = thread
        self.site = _site()

    def as_step(self) -> Step:
        return Step(*self.names, self.thread, _stack(self.site))


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
        # id of a lock -> id of a lock asked for while the first was held
        self.order: dict[int, dict[int, _Edge]] = {}
        self.inversions: list[tuple[_Edge, ...]] = []
        register_after_fork(self, _forget_the_parents_threads)

    def person(self) -> _Person:
        try:
            known: _Person = self.me.person
        except AttributeError:
            known = self.me.person = _Person()
            self.people[id(known)] = known
        return known

    def acquire(
        self,
        lock: Any,
        acquire: Callable[[bool, float], bool],
        blocking: bool,
        timeout: float,
        exclusive: bool,
    ) -> bool:
        person = self.person()
        if not blocking or timeout == 0:
            got = acquire(blocking, timeout)
        else:
            if person.holds and id(lock) not in person.holds:
                self.note_order(person, lock)
            got = acquire(False, -1) or self.wait(person, _Wait(lock, exclusive), acquire, timeout)
        if got:
            self.holds_now(person, lock)
        return got

    def holds_now(self, person: _Person, lock: Any) -> None:
        hold = person.holds.get(id(lock))
        if hold is None:
            person.holds[id(lock)] = _Hold(lock)
        else:
            hold.count += 1

    def wait(
        self, person: _Person, wait: _Wait, acquire: Callable[[bool, float], bool], timeout: float
    ) -> bool:
        limit, person.wait = self.limit, wait
        try:
            if limit is None or 0 <= timeout <= limit:
                return acquire(True, timeout)
            if acquire(True, limit):
                return True
            self.tell_of_long_wait(person)
            return acquire(True, -1 if timeout < 0 else max(0, wait.since + timeout - monotonic()))
        finally:
            person.wait = None

    def release(self, lock: Any, release: Callable[[], Any], wholly: bool = False) -> Any:
        # Struck off first: as soon as it is released, another thread may write that it has it.
        person = self.person()
        hold = person.holds.get(id(lock))
        if hold is None and isinstance(lock, _named.NamedLock):
            # A plain lock may be released by another thread than took it.
            for other in [*self.people.values()]:
                hold = hold or other.holds.pop(id(lock), None)
        elif hold is not None:
            if wholly:
                person.set_aside[id(lock)] = hold
            else:
                hold.count -= 1
            if wholly or not hold.count:
                person.holds.pop(id(lock), None)
        return release()

    def restore(self, lock: Any, restore: Callable[[], object]) -> None:
        person = self.person()
        if person.holds:
            self.note_order(person, lock)
        person.wait = _Wait(lock, True)
        try:
            restore()
        finally:
            person.wait = None
        hold = person.set_aside.pop(id(lock)) if id(lock) in person.set_aside else _Hold(lock)
        person.holds[id(lock)] = hold

    def note_order(self, person: _Person, lock: Any) -> None:
        for hold in [*person.holds.values()]:
            after = self.order.setdefault(id(hold.lock), {})
            edge = after.get(id(lock))
            if edge is not None and edge.first() is hold.lock and edge.second() is lock:
                continue
            edge = after[id(lock)] = _Edge(hold.lock, lock, person.name)
            way_back = self.way(lock, hold.lock)
            if way_back is not None:
                self.inversions.append((edge, *way_back))
                if self.on_inversion is not None:
                    self.call(self.on_inversion, Inversion(tuple(e.as_step() for e in (edge, *way_back))))

    def way(self, start: Any, end: Any) -> tuple[_Edge, ...] | None:
        """How one gets from a lock to another along the orders that were seen; the shortest."""
        ways: list[tuple[_Edge, ...]] = [()]
        seen = {id(start)}
        for way in ways:
            at = way[-1].second() if way else start
            if at is end:
                return way
            for edge in [*self.order.get(id(at), {}).values()]:
                then = edge.second()
                if edge.first() is at and then is not None and id(then) not in seen:
                    seen.add(id(then))
                    ways.append((*way, edge))
        return None

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
        frames = sys._current_frames()
        latest = {person.ident: person for person in [*self.people.values()]}
        people = []
        for person in [*self.people.values()]:
            alive = person.ident in frames and latest[person.ident] is person
            if not alive and not person.holds:
                self.people.pop(id(person), None)
            elif person.holds or person.wait is not None:
                people.append((person, alive))
        holders: dict[int, list[_Person]] = {}
        for person, _ in people:
            for key in [*person.holds]:
                holders.setdefault(key, []).append(person)
        states: dict[int, ThreadState] = {}
        waits: dict[int, _Wait] = {}
        for person, alive in people:
            wait = person.wait if alive else None
            waited = None
            if wait is not None:
                waits[id(person)] = wait
                by = tuple(other.name for other in holders.get(id(wait.lock), ()))
                waited = WaitedLock(wait.lock.name, now - wait.since, by, wait.exclusive)
            held = tuple(
                HeldLock(hold.lock.name, hold.count, now - hold.since, _stack(hold.site))
                for hold in [*person.holds.values()]
            )
            frame = _outside(frames.get(person.ident)) if alive else None
            states[id(person)] = ThreadState(
                person.name, person.ident, alive, held, waited, _stack(_walk(frame))
            )
        cycles = tuple(
            WaitCycle(tuple(states[id(person)] for person in cycle))
            for cycle in _cycles(people, waits, holders)
        )
        inversions = tuple(Inversion(tuple(e.as_step() for e in edges)) for edges in [*self.inversions])
        return Report(tuple(states.values()), cycles, inversions, states.get(id(late)) if late else None)


def _outside(frame: FrameType | None) -> FrameType | None:
    """The first frame that is not of this package."""
    while frame is not None and frame.f_code.co_filename.startswith(_FOLDER) and frame.f_back is not None:
        frame = frame.f_back
    return frame


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
    report only. Exceptions of the two go to `sys.unraisablehook`.

    Locks that are held already are seen when they are next taken. Watched locks are 10 to 30 times slower.
    """
    if limit is not None and limit <= 0:
        raise ValueError(f"limit must be a number of seconds above 0, or None, not {limit!r}")
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

    Signals are handled by the main thread; it does so while it waits for a lock, too. Returns the handler that was
    there before. To be called in the main thread.
    """
    import signal

    def handle(_signum: int, _frame: FrameType | None) -> None:
        _write(
            fileno,
            str(report()) if is_enabled() else "Named locks are not watched: enable() was not called\n",
        )

    return signal.signal(signum, handle)
