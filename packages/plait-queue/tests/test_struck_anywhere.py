# SPDX-License-Identifier: MIT
"""An exception out of a signal handler, at each place of a call in turn.

CPython looks for signals at the head of a function and behind a call of C code. A profile function is called at just these
places, and may raise in the handler's stead. So no chance is needed, and no place is left out.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import deque
from importlib import import_module

import pytest

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue

PACKAGE = Queue.__module__
SOURCES = os.path.dirname(import_module(PACKAGE).__file__)
is_owned = import_module(PACKAGE + "._waiting").is_owned
UNSORTED = import_module(PACKAGE + "._priority").UNSORTED

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="PyPy looks for signals at nearly every bytecode"
)

KINDS = (Queue, LifoQueue, PriorityQueue)
kinds = pytest.mark.parametrize("kind", KINDS)
bounds = pytest.mark.parametrize("bound", [0, 3])


class Struck(Exception):
    pass


def struck_everywhere(make, call, check):
    """Make a queue, do what is to be done with it, struck at the first place, and check it; then at the second; and so
    on, until it comes to its end. In the code of this file nothing strikes: it stands for that of a user."""
    places = 0
    while True:
        q, left = make(), [places]

        def strike(frame, event, _, left=left):
            if event in ("call", "c_return") and frame.f_code.co_filename != __file__:
                left[0] -= 1
                if left[0] < 0:
                    sys.setprofile(None)
                    raise Struck

        gc.disable()  # what is called in a collection is not what is to be struck
        try:
            sys.setprofile(strike)
            try:
                call(q)
            finally:
                sys.setprofile(None)
        except Struck:
            pass
        finally:
            gc.enable()
        assert not (q._furnished_ and is_owned(q._lock_))
        check(q)
        if left[0] >= 0:
            break
        places += 1
    assert places


def drained(q):
    items = []
    try:
        while True:
            items.append(q.get(block=False))
    except Empty:
        return items


def filled(kind, bound):
    q = kind(bound)
    q.put_many([1, 2])
    return q


@kinds
@bounds
def test_the_container_is_replaced_or_not(kind, bound):
    def check(q):
        replaced = 5 in q.queue
        try:
            q.put(9, block=False)
        except Full:
            assert replaced
            assert bound
        else:
            assert not replaced or not bound
        assert sorted(drained(q)) == ([1, 2, 9] if not replaced else [5, 6, 7] if bound else [5, 6, 7, 9])
        q.put(1)
        assert q.get(block=False) == 1

    def call(q):
        q.queue = [5, 6, 7] if kind is PriorityQueue else type(q.queue)([5, 6, 7])

    struck_everywhere(lambda: filled(kind, bound), call, check)


@kinds
@pytest.mark.parametrize(
    "call", [lambda q: q.clear(), lambda q: q.shutdown(immediate=True)], ids=["clear", "shutdown"]
)
@pytest.mark.parametrize("hooked", [False, True])
def test_what_was_dropped_is_counted(kind, call, hooked):
    class Hooked(kind):
        def _get(self):
            return self.queue.pop(0) if isinstance(self.queue, list) else self.queue.popleft()

    def check(q):
        assert q.unfinished_tasks == q.qsize()
        if not q.is_shutdown:
            q.put(7)
            assert 7 in drained(q)

    struck_everywhere(lambda: filled(Hooked if hooked else kind, 0), call, check)


@kinds
@bounds
@pytest.mark.parametrize("container", [False, True])
def test_hooks_of_a_single_queue_are_there_or_not(kind, bound, container):
    def call(q):
        q._put = q._get = None
        del q._get
        if container:
            q.queue = type(q.queue)([5, 6])
        del q._put

    def check(q):
        if q._own_hooks_:
            q._put = lambda item: kind._put(q, item)
            q._get = lambda: kind._get(q)
        size = q.qsize()
        q.put(7)
        assert len(drained(q)) == size + 1
        seen = []
        q._put = lambda item: (seen.append(item), kind._put(q, item))
        q.put(3)
        assert seen == [3]
        assert q.get(block=False) == 3

    struck_everywhere(lambda: filled(kind, bound), call, check)


@kinds
def test_the_bound_is_changed_or_not(kind):
    def call(q):
        q.maxsize = 2

    def check(q):
        try:
            q.put(7, block=False)
        except Full:
            assert q.maxsize == 2
        else:
            assert q.maxsize == 3
        assert len(drained(q)) == (2 if q.maxsize == 2 else 3)

    struck_everywhere(lambda: filled(kind, 3), call, check)


@pytest.mark.parametrize(
    "call",
    [lambda q: q.get(), lambda q: q.put(0), lambda q: q.peek(), lambda q: q.clear(), lambda q: q.queue],
)
def test_a_list_in_no_order_is_put_in_order_or_not(call):
    def make():
        q = filled(PriorityQueue, 0)
        q.queue[:] = [2, 1]
        q._sifting_ = UNSORTED
        return q

    def check(q):
        left = drained(q)
        assert left == sorted(left)
        assert q.unfinished_tasks - len(left) in ((0, 2 - len(left)) if 0 not in left else (0,))

    struck_everywhere(make, call, check)


NESTED = {
    "get": lambda q, given: given.append(q.get(block=False)),
    "put": lambda q, given: q.put(Item(0)),
    "clear": lambda q, given: q.clear(),
    "peek": lambda q, given: q.peek(),
    "queue": lambda q, given: q.queue,
    "replace": lambda q, given: setattr(q, "queue", sorted(q.queue)),
}


class Item:
    """Its first comparison uses the queue."""

    nested = None

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        nested, Item.nested = Item.nested, None
        if nested:
            nested()
        return self.number < other.number


OUTER = {
    "put": lambda q: q.put(Item(1)) or [],
    "get": lambda q: [q.get(block=False)],
    "get_many": lambda q: q.get_many(block=False),
}


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("nested", NESTED)
def test_what_happens_amid_a_comparison_has_happened_or_not(outer, nested):
    given = []

    def make():
        q = PriorityQueue()
        q.put_many([Item(2), Item(3), Item(4)])
        given.clear()
        Item.nested = lambda: NESTED[nested](q, given)
        return q

    def call(q):
        try:
            given.extend(OUTER[outer](q))
        except Empty:
            pass

    def check(q):
        Item.nested = None
        assert not q._owed_
        left = q.qsize()
        assert q.unfinished_tasks == left + len(given)
        numbers = [item.number for item in drained(q)]
        assert numbers == sorted(numbers)
        assert len(numbers) == left

    struck_everywhere(make, call, check)


class Disguised(ValueError, RuntimeError):
    """Of kinds that are caught for another reason: one who is not in line, a lock that has been released already."""


@pytest.mark.parametrize("act", ["ring", "nudge", "strike", "surely"])
def test_what_a_handler_raises_is_raised_whatever_it_is(act):
    waiting, surely = import_module(PACKAGE + "._waiting"), import_module(PACKAGE + "._surely").surely
    done = []

    def duty():
        done.append(1)
        if len(done) == 1:
            raise StopIteration  # of a handler's: the duty has been cut short
        done.append(2)

    if act == "surely":
        surely(duty)
        assert done == [1, 1, 2]
        return
    for places in range(2, 5):
        waiter, left = waiting.ThreadWaiter([]), [places]
        line = waiting.deque([waiter])
        calls = {
            "ring": waiter.ring,
            "nudge": lambda waiter=waiter: waiter.nudge(None),
            "strike": lambda waiter=waiter, line=line: waiting.strike(line, waiter),
        }

        def strike(frame, event, _, left=left):
            if event in ("call", "c_return") and frame.f_code.co_filename != __file__:
                left[0] -= 1
                if left[0] <= 0:
                    sys.setprofile(None)
                    raise Disguised

        struck = False
        sys.setprofile(strike)
        try:
            calls[act]()
        except Disguised:
            struck = True
        finally:
            sys.setprofile(None)
        assert struck == (left[0] <= 0)


def offered(kind):
    q = kind(1)
    q.put(1)
    waiter = import_module(PACKAGE + "._waiting").ThreadWaiter(deque([2]), True)
    q._offer_(waiter)
    return q


def asked(kind):
    q = kind()
    q._ask_(import_module(PACKAGE + "._waiting").ThreadWaiter([]))
    return q


def get_within_the_mutex(q):
    with q.mutex, pytest.raises(Empty):
        q.get(timeout=0.0001)


def peek_in_vain(q):
    with pytest.raises(Empty):
        q.peek(timeout=0.0001)


@kinds
@pytest.mark.parametrize(
    ("make", "call"),
    [
        (offered, lambda q: q.get()),
        (asked, lambda q: q.put(1)),
        (lambda kind: kind(), get_within_the_mutex),
        (lambda kind: kind(), peek_in_vain),
    ],
    ids=["get", "put", "mutex", "peek"],
)
def test_what_a_handler_raises_comes_out_of_the_call_that_it_struck(kind, make, call, monkeypatch):
    left = [0]

    def strike(frame, event, _):
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(SOURCES):
            left[0] -= 1
            if left[0] < 0:
                sys.setprofile(None)
                raise Disguised

    # Where a comparison might have raised it, handlers are told by their code.
    monkeypatch.setattr(signal, "getsignal", lambda _number: strike)
    places = 0
    while True:
        q, left[0] = make(kind), places
        gc.disable()
        sys.setprofile(strike)
        try:
            call(q)
            struck = False
        except Disguised:
            struck = True
        finally:
            sys.setprofile(None)
            gc.enable()
        assert struck == (left[0] < 0), f"swallowed at place {places}"
        assert not is_owned(q.mutex)
        if not struck:
            break
        places += 1
    assert places > 5
