# SPDX-License-Identifier: MIT
"""The same calls on ours and on the interpreter's own `queue`, wherever that defines the answer.

Of one thread, so that every call has one right answer; the tests of the interpreter itself are run elsewhere
(`conformance`). Names that the interpreter's own has from 3.13 on (`shutdown`) are compared from there on.
"""

from __future__ import annotations

import heapq
import inspect
import queue as standard
import random

import pytest

import plait.queue as ours

KINDS = ["Queue", "LifoQueue", "PriorityQueue"]
CLOSES = hasattr(standard.Queue, "shutdown")


def outcome(module, q, call, item, immediate):
    """What a call returns, or the name of what it raises."""
    calls = {
        "put": lambda: q.put(item, block=False),
        "put_nowait": lambda: q.put_nowait(item),
        "put, no time": lambda: q.put(item, timeout=0),
        "put, bad time": lambda: q.put(item, timeout=-1),
        "put, no block, bad time": lambda: q.put(item, False, -1),
        "get": lambda: q.get(block=False),
        "get_nowait": q.get_nowait,
        "get, no time": lambda: q.get(timeout=0),
        "get, bad time": lambda: q.get(timeout=-1),
        "get, no block, bad time": lambda: q.get(False, -1),
        "task_done": q.task_done,
        "unfinished": lambda: q.unfinished_tasks,
        "sizes": lambda: (q.qsize(), q.empty(), q.full(), q.maxsize),
        "contents": lambda: list(q.queue),
        "clear by hand": lambda: by_hand(q, q.queue.clear),
        "add by hand": lambda: by_hand(q, lambda: q.queue.append(item)),
        "is_shutdown": lambda: q.is_shutdown,
        "shutdown": lambda: q.shutdown(immediate),
    }
    try:
        return calls[call]()
    except (module.Empty, module.Full, ValueError) as error:
        return type(error).__name__
    except Exception as error:
        if CLOSES and isinstance(error, module.ShutDown):
            return "ShutDown"
        raise


def by_hand(q, change):
    with q.mutex:
        change()
        if isinstance(q, (ours.PriorityQueue, standard.PriorityQueue)):
            heapq.heapify(q.queue)
        q.not_full.notify_all()
        q.not_empty.notify_all()


ORDINARY = [
    "put", "put_nowait", "put, no time", "put, bad time", "put, no block, bad time",
    "get", "get_nowait", "get, no time", "get, bad time", "get, no block, bad time",
    "put", "get", "task_done", "unfinished", "sizes",
]  # fmt: skip
BY_HAND = [*ORDINARY, "contents", "clear by hand", "add by hand"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bound", [-1, 0, 1, 3])
@pytest.mark.parametrize("calls", [ORDINARY, BY_HAND], ids=["ordinary", "by hand"])
def test_random_calls_end_alike(kind, bound, calls):
    for seed in range(6):
        rng = random.Random(seed)
        mine, theirs = getattr(ours, kind)(bound), getattr(standard, kind)(bound)
        for step in range(250):
            call, item, immediate = rng.choice(calls), rng.randrange(50), rng.random() < 0.5
            if CLOSES and step > 200:
                call = rng.choice([call, call, call, "shutdown", "is_shutdown"])
            expected = outcome(standard, theirs, call, item, immediate)
            got = outcome(ours, mine, call, item, immediate)
            assert got == expected, (seed, step, call)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_related_alike(kind):
    def chain(module):
        return [c.__name__ for c in getattr(module, kind).__mro__ if c.__name__ in KINDS]

    assert chain(ours) == chain(standard)


@pytest.mark.parametrize("kind", [*KINDS, "SimpleQueue"])
def test_signatures_are_alike_but_for_what_ours_adds(kind):
    mine, theirs = getattr(ours, kind), getattr(standard, kind)
    for name, member in vars(theirs).items():
        if name.startswith("__") or not callable(member):
            continue
        has = list(inspect.signature(getattr(mine, name)).parameters.values())
        wanted = list(inspect.signature(member).parameters.values())
        for one, other in zip(has, wanted, strict=False):
            assert (one.name, one.default) == (other.name, other.default), name
        assert len(has) >= len(wanted), name
        assert all(extra.default is not inspect.Parameter.empty for extra in has[len(wanted) :]), name


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue"])
@pytest.mark.parametrize("module", [ours, standard], ids=["ours", "standard"])
def test_a_third_partys_subclass_sees_the_hooks_called_alike(kind, module):
    seen = []

    class Unique(getattr(module, kind)):
        """A set of pending items, as many a crawler has it."""

        def _init(self, maxsize):
            seen.append(("init", maxsize))
            super()._init(maxsize)
            self.known = set()

        def _put(self, item):
            seen.append(("put", item))
            if item not in self.known:
                self.known.add(item)
                super()._put(item)

        def _get(self):
            item = super()._get()
            self.known.discard(item)
            seen.append(("get", item))
            return item

    q = Unique(3)
    for item in (1, 2, 2, 1):
        q.put(item, block=False)
    assert q.qsize() == 2
    assert q.unfinished_tasks == 4
    taken = [q.get(timeout=0), q.get_nowait()]
    assert taken == ([1, 2] if kind == "Queue" else [2, 1])
    with pytest.raises(module.Empty):
        q.get(block=False)
    assert seen == [
        ("init", 3), ("put", 1), ("put", 2), ("put", 2), ("put", 1), ("get", taken[0]), ("get", taken[1]),
    ]  # fmt: skip


@pytest.mark.parametrize("module", [ours, standard], ids=["ours", "standard"])
def test_items_that_cannot_be_compared_fail_in_the_put_that_brings_the_second(module):
    q = module.PriorityQueue()
    q.put((1, object()))
    with pytest.raises(TypeError):
        q.put((1, object()))
    with pytest.raises(TypeError):
        q.put((1, object()), block=False)


@pytest.mark.parametrize("module", [ours, standard], ids=["ours", "standard"])
def test_equal_priorities_leave_nothing_behind(module):
    class Job:
        def __init__(self, rank):
            self.rank = rank

        def __lt__(self, other):
            return self.rank < other.rank

    q = module.PriorityQueue()
    jobs = [Job(n % 3) for n in range(30)]
    for job in jobs:
        q.put(job)
    taken = [q.get() for _ in jobs]
    assert [job.rank for job in taken] == sorted(job.rank for job in jobs)
    assert set(taken) == set(jobs)
