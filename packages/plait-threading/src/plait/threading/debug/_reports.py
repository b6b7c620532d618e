# SPDX-License-Identifier: MIT
#
# What is told about locks: to the program, as values that do not change any more, and to people, as text.
#
# (No `from __future__ import annotations` here: who asks what the fields are, to save a report say, looks for the names
# where the classes say that they are, in the module around this one.)

import os
from dataclasses import dataclass
from traceback import StackSummary

from ..._thread import report_unraisable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "HeldLock",
    "Inversion",
    "Report",
    "Step",
    "ThreadState",
    "WaitCycle",
    "WaitedLock",
    "tell",
    "write",
]


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


def tell(hook: "Callable[[T], object]", what: "T") -> None:
    """Call a hook of the program, within an acquire() that must not raise what it raises."""
    try:
        hook(what)
    except Exception as error:  # noqa: BLE001
        report_unraisable(error, "Exception ignored in hook for locks", hook)


def write(descriptor: int, text: str) -> None:
    """Write it all."""
    # Not through sys.stderr: a signal handler may have interrupted somebody who is inside of that.
    rest = text.encode("utf-8", "backslashreplace")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
