# SPDX-License-Identifier: MIT
#
# A picture of all threads at one moment: who holds and who waits for what, and who waits for whom.
#
# The records are read while others write them. So what each thread holds is looked at twice, first everybody's, then
# everybody's once more: what is the same both times was so at one moment between the two.
#
# A wait cycle is a deadlock that has happened: each of its threads waits for a lock that the next one holds.

from __future__ import annotations

from time import monotonic

from ._places import current_frames, stack, walk
from ._reports import HeldLock, Report, ThreadState, WaitCycle, WaitedLock

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._orders import Orders
    from ._people import Hold, Person, Wait

__all__ = ["picture"]


def picture(records: dict[int, Person], orders: Orders, late: Person | None = None) -> Report:
    """Everything at one moment; *late* is the thread that has waited too long.

    Forgets those who are gone and hold nothing.
    """
    now = monotonic()
    frames = current_frames()
    latest = {person.ident: person for person in [*records.values()]}
    # Looked at twice, one after the other: what is the same both times was so at one moment between the two.
    noted = [(person, person.holds.copy()) for person in [*records.values()]]
    people = []
    holds: dict[int, list[Hold]] = {}
    holders: dict[int, list[Person]] = {}
    for person, held in noted:
        alive = person.ident in frames and latest.get(person.ident) is person
        still = [hold for key, hold in held.items() if person.holds.get(key) is hold]
        if not alive and not person.holds:
            records.pop(id(person), None)
        elif still or person.wait is not None:
            people.append((person, alive))
            holds[id(person)] = still
            for hold in still:
                holders.setdefault(id(hold.lock), []).append(person)
    states: dict[int, ThreadState] = {}
    waits: dict[int, Wait] = {}
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
                stack(hold.site),
                hold.lock._mode(person.ident),
            )
            for hold in holds[id(person)]
        )
        frame = frames.get(person.ident) if alive else None
        states[id(person)] = ThreadState(person.name, person.ident, alive, locks, waited, stack(walk(frame)))
    cycles = tuple(
        WaitCycle(tuple(states[id(person)] for person in cycle)) for cycle in _cycles(people, waits, holders)
    )
    return Report(
        tuple(states.values()),
        cycles,
        orders.inversions(),
        states.get(id(late)) if late else None,
        orders.left_out,
    )


def _cycles(
    people: list[tuple[Person, bool]], waits: dict[int, Wait], holders: dict[int, list[Person]]
) -> Iterator[tuple[Person, ...]]:
    """Each circle of threads that wait for each other, once."""
    done: set[frozenset[int]] = set()
    for start, _ in people:
        paths: list[tuple[Person, ...]] = [(start,)] if id(start) in waits else []
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
