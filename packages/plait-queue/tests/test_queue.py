# SPDX-License-Identifier: MIT
"""What a Queue does, without adversity. Each statement is checked on the interpreter's own module too, where it has
it."""

from __future__ import annotations

import copy
import gc
import pickle
import queue as stdlib_queue
import sys
import threading
import time
import weakref
from collections import deque

import pytest

from plait.queue import Empty, Full, Queue, ShutDown, select

STDLIB_SHUTS_DOWN = hasattr(stdlib_queue, "ShutDown")


class Flavour:
    def __init__(self, name, module_queue, empty, full, shut_down):
        self.name, self.Queue, self.Empty, self.Full, self.ShutDown = (
            name,
            module_queue,
            empty,
            full,
            shut_down,
        )


OURS = Flavour("ours", Queue, Empty, Full, ShutDown)
THEIRS = Flavour(
    "stdlib",
    stdlib_queue.Queue,
    stdlib_queue.Empty,
    stdlib_queue.Full,
    getattr(stdlib_queue, "ShutDown", None),
)


@pytest.fixture(params=[OURS, THEIRS], ids=lambda flavour: flavour.name)
def flavour(request):
    return request.param


@pytest.fixture
def shutting(flavour):
    if flavour is THEIRS and not STDLIB_SHUTS_DOWN:
        pytest.skip("this Python's queue has no shutdown")
    return flavour


def in_thread(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def eventually(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def waiting(q):
    # Its lines are made when the first one waits; it may be about to.
    return sum(len(vars(q).get(line, ())) for line in ("_getters_", "_putters_", "_joiners_"))


def test_items_come_out_in_the_order_in_which_they_went_in(flavour):
    q = flavour.Queue()
    for n in range(100):
        q.put(n)
    assert [q.get() for _ in range(100)] == list(range(100))


def test_every_value_is_an_item(flavour):
    q = flavour.Queue(1)
    for item in (None, False, (), Exception(), Empty, ...):
        q.put(item)
        assert q.get() is item


def test_a_bounded_queue_is_full_at_its_bound(flavour):
    q = flavour.Queue(2)
    q.put(1)
    assert not q.full()
    q.put(2)
    assert q.full()
    assert q.qsize() == 2
    for refused in (q.put_nowait, lambda x: q.put(x, block=False), lambda x: q.put(x, timeout=0)):
        with pytest.raises(flavour.Full):
            refused(3)
    assert q.qsize() == 2


def test_an_unbounded_queue_is_never_full(flavour):
    for size in (0, -1):
        q = flavour.Queue(size)
        q.put(1, timeout=-1)  # there is never a reason to look at the timeout
        assert not q.full()


def test_an_empty_queue_raises_empty(flavour):
    q = flavour.Queue()
    assert q.empty()
    for refused in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0), lambda: q.get(False, -1)):
        with pytest.raises(flavour.Empty):
            refused()


def test_a_negative_timeout_is_a_value_error(flavour):
    q = flavour.Queue(1)
    q.put(1)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-0.5)
    with pytest.raises(ValueError, match="non-negative"):
        q.put(2, timeout=-0.5)
    assert q.qsize() == 1


@pytest.mark.parametrize("timeout", [0.05, 0.2])
def test_a_timeout_is_not_shorter_and_ends(timeout):
    q, full = Queue(1), Queue(1)
    full.put(1)
    for attempt, error in ((q.get, Empty), (lambda timeout: full.put(2, timeout=timeout), Full)):
        started = time.monotonic()
        with pytest.raises(error):
            attempt(timeout=timeout)
        assert timeout <= time.monotonic() - started + 0.001 < timeout + 30


def test_an_endless_timeout_is_one():
    q = Queue()
    for timeout in (1e10, float("inf")):
        got: list = []
        thread = in_thread(lambda: got.append(q.get(timeout=timeout)))  # noqa: B023
        eventually(lambda: waiting(q))
        q.put(timeout)
        thread.join(10)
        assert got == [timeout]


def test_get_waits_for_put(flavour):
    q = flavour.Queue()
    got = []
    thread = in_thread(lambda: got.append(q.get(timeout=10)))
    q.put("x")
    thread.join(10)
    assert got == ["x"]


def test_put_waits_for_get(flavour):
    q = flavour.Queue(1)
    q.put(1)
    thread = in_thread(lambda: q.put(2, timeout=10))
    assert q.get() == 1
    thread.join(10)
    assert q.get(timeout=10) == 2


def test_waiting_getters_are_served_in_the_order_of_their_calls():
    q = Queue()
    got = []
    threads = []
    for n in range(5):
        threads.append(in_thread(lambda n=n: got.append((n, q.get()))))
        eventually(lambda: waiting(q) == n + 1)  # noqa: B023
    for n in range(5):
        q.put(n)
    for thread in threads:
        thread.join(10)
    assert sorted(got) == [(n, n) for n in range(5)]


def test_waiting_putters_are_admitted_in_the_order_of_their_calls():
    q = Queue(1)
    q.put("first")
    threads = []
    for n in range(5):
        threads.append(in_thread(lambda n=n: q.put(n)))
        eventually(lambda: waiting(q) == n + 1)  # noqa: B023
    assert q.get() == "first"
    assert [q.get(timeout=10) for _ in range(5)] == list(range(5))
    for thread in threads:
        thread.join(10)


def test_a_get_that_times_out_takes_nothing_from_a_later_item():
    q = Queue()
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    q.put(1)
    assert q.get() == 1
    assert waiting(q) == 0


def test_join_waits_for_as_many_task_done_as_there_were_puts(flavour):
    q = flavour.Queue()
    q.join()
    for n in range(3):
        q.put(n)
    assert q.unfinished_tasks == 3
    joined = []
    thread = in_thread(lambda: (q.join(), joined.append(True)))
    for _ in range(3):
        q.get()
        assert not joined
        q.task_done()
    thread.join(10)
    assert joined
    with pytest.raises(ValueError, match="task_done"):
        q.task_done()
    assert q.unfinished_tasks == 0


def test_items_pass_through_the_hooks_of_a_subclass(flavour):
    class LatestFirst(flavour.Queue):
        """Keeps items in a dict, by number; a queue that is neither a deque nor a list."""

        def _get(self):
            _, latest = self.queue.popitem()
            return latest

        def _put(self, item):
            number = len(self.queue)
            self.queue[number] = item

        def _init(self, maxsize):
            assert maxsize == 3
            self.queue = {}

        _qsize = property(lambda self: self.queue.__len__)

    q = LatestFirst(3)
    for n in range(3):
        q.put(n)
    assert q.full()
    with pytest.raises(flavour.Full):
        q.put_nowait(4)
    thread = in_thread(lambda: q.put(3, timeout=10))
    assert [q.get(timeout=10)] == [2]
    thread.join(10)
    assert [q.get(), q.get(), q.get()] == [3, 1, 0]
    got = []
    thread = in_thread(lambda: got.append(q.get(timeout=10)))
    q.put("late")
    thread.join(10)
    assert got == ["late"]
    assert q.unfinished_tasks == 5


def test_a_failing_hook_fails_the_call_it_serves(flavour):
    class Picky(flavour.Queue):
        def _put(self, item):
            if item == "bad":
                raise LookupError(item)
            super()._put(item)

    q = Picky(1)
    with pytest.raises(LookupError):
        q.put("bad")
    assert q.unfinished_tasks == 0
    q.put("good")
    errors = []

    def put():
        try:
            q.put("bad", timeout=10)
        except LookupError as error:
            errors.append(error)

    thread = in_thread(put)
    if flavour is OURS:
        eventually(lambda: waiting(q))
    assert q.get() == "good"
    thread.join(10)
    assert len(errors) == 1
    assert q.qsize() == 0
    q.put("good")


def test_the_well_known_way_to_clear_a_queue_works(flavour):
    q = flavour.Queue(2)
    q.put(1)
    q.put(2)
    thread = in_thread(lambda: q.put(3, timeout=10))
    if flavour is OURS:
        eventually(lambda: waiting(q))
    joiner = in_thread(q.join)
    with q.mutex:
        unfinished = q.unfinished_tasks - len(q.queue)
        q.unfinished_tasks = unfinished
        q.queue.clear()
        q.not_full.notify_all()
    thread.join(10)
    assert q.get(timeout=10) == 3
    q.task_done()
    joiner.join(10)
    assert not joiner.is_alive()


def test_get_finds_the_item_of_a_waiting_putter_after_a_silent_clear():
    q = Queue(1)
    q.put(1)
    thread = in_thread(lambda: q.put(2))
    eventually(lambda: waiting(q))
    with q.mutex:
        q.queue.clear()
    assert q.get(timeout=10) == 2
    thread.join(10)


def test_the_conditions_serve_those_who_wait_in_them(flavour):
    q = flavour.Queue(1)
    seen = []

    def watch():
        with q.not_empty:
            while not q.queue:
                q.not_empty.wait(10)
            seen.append(q.queue[0])
        with q.not_full:
            while q.queue:
                q.not_full.wait(10)
            seen.append("room")
        with q.all_tasks_done:
            while q.unfinished_tasks:
                q.all_tasks_done.wait(10)
            seen.append("done")

    thread = in_thread(watch)
    q.put("x")
    eventually(lambda: seen == ["x"])
    assert q.get() == "x"
    eventually(lambda: seen == ["x", "room"])
    q.task_done()
    thread.join(10)
    assert seen == ["x", "room", "done"]


def test_an_item_added_by_hand_reaches_a_waiting_getter(flavour):
    q = flavour.Queue()
    got = []
    thread = in_thread(lambda: got.append(q.get(timeout=10)))
    if flavour is OURS:
        eventually(lambda: waiting(q))
    with q.mutex:
        q.queue.append("by hand")
        q.not_empty.notify()
    thread.join(10)
    assert got == ["by hand"]


def test_the_container_may_be_replaced(flavour):
    q = flavour.Queue()
    q.put(3)
    q.put(1)
    with q.mutex:
        q.queue = deque(sorted(q.queue))
    assert [q.get(), q.get()] == [1, 3]


def test_the_bound_may_be_changed(flavour):
    q = flavour.Queue(1)
    q.put(1)
    q.maxsize = 2
    q.put_nowait(2)
    assert q.full()


def test_shutdown_lets_getters_take_what_is_left(shutting):
    q = shutting.Queue()
    q.put(1)
    assert not q.is_shutdown
    q.shutdown()
    assert q.is_shutdown
    q.shutdown()
    with pytest.raises(shutting.ShutDown):
        q.put(2)
    with pytest.raises(shutting.ShutDown):
        q.put_nowait(2)
    assert q.get() == 1
    for refused in (q.get, q.get_nowait):
        with pytest.raises(shutting.ShutDown):
            refused()
    assert q.unfinished_tasks == 1
    q.task_done()
    q.join()


def test_an_immediate_shutdown_drops_what_is_left(shutting):
    q = shutting.Queue()
    for n in range(3):
        q.put(n)
    q.get()
    q.shutdown(immediate=True)
    assert q.qsize() == 0
    assert q.unfinished_tasks == 1
    with pytest.raises(shutting.ShutDown):
        q.get()
    q.task_done()
    q.join()


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_everyone(shutting, immediate):
    full, empty = shutting.Queue(1), shutting.Queue()
    full.put(1)
    seen = []

    def attempt(call, *args):
        try:
            call(*args)
        except shutting.ShutDown:
            seen.append(call.__name__)

    threads = [in_thread(lambda: attempt(full.put, 2)), in_thread(lambda: attempt(empty.get))]
    threads += [in_thread(lambda: attempt(full.put, 2)), in_thread(lambda: attempt(empty.get))]
    if shutting is OURS:
        eventually(lambda: waiting(full) == waiting(empty) == 2)
    full.shutdown(immediate)
    empty.shutdown(immediate)
    for thread in threads:
        thread.join(10)
    assert sorted(seen) == ["get", "get", "put", "put"]
    assert full.qsize() == (0 if immediate else 1)


def test_an_immediate_shutdown_ends_join_when_no_task_is_left(shutting):
    q = shutting.Queue()
    q.put(1)
    thread = in_thread(q.join)
    q.shutdown(immediate=True)
    thread.join(10)
    assert not thread.is_alive()


def test_it_is_generic(flavour):
    assert flavour.Queue[int].__origin__ is flavour.Queue
    assert flavour.Queue[int](3).maxsize == 3


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy pickles locks, in a way")
def test_it_cannot_be_copied_or_pickled(flavour):
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(flavour.Queue())


def test_the_exceptions_can_be_pickled():
    for error in (Empty, Full, ShutDown):
        again = pickle.loads(pickle.dumps(error("why")))
        assert type(again) is error
        assert again.args == ("why",)


def test_nothing_keeps_it_alive(flavour):
    q = flavour.Queue()
    q.put(1)
    q.not_empty  # noqa: B018
    gone = weakref.ref(q)
    del q
    gc.collect()
    assert gone() is None


def test_nothing_keeps_a_taken_item_alive(flavour):
    class Item:
        pass

    q = flavour.Queue()
    item = Item()
    gone = weakref.ref(item)
    got = []
    thread = in_thread(lambda: got.append(q.get()))
    if flavour is OURS:
        eventually(lambda: waiting(q))
    q.put(item)
    thread.join(10)
    got.clear()
    del item, thread
    gc.collect()
    assert gone() is None


def test_a_queue_is_no_container_that_is_searched_by_emptying_it():
    queue = Queue()
    queue.put_many([1, 2, 3])
    with pytest.raises(TypeError):
        1 in queue  # noqa: B015
    with pytest.raises(TypeError, match="put it in a list"):
        select(queue, timeout=0)
    assert queue.qsize() == 3
