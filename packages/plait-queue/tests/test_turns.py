# SPDX-License-Identifier: MIT
"""Who has to wait lets others run first, and what that must not change."""

from __future__ import annotations

import threading
import time
from importlib import import_module

import pytest

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown

PACKAGE = Queue.__module__
blocking = import_module(PACKAGE + "._blocking")


@pytest.fixture(params=[Queue, LifoQueue, PriorityQueue])
def kind(request):
    return request.param


@pytest.fixture
def asides(monkeypatch):
    """What happens while a call gives way: calls, the last first. Whoever gives way with none left is told so."""
    calls = []

    def give_way(waits):
        for _ in range(2):
            assert calls, "gave way"
            calls.pop()()
            if not waits():
                return

    monkeypatch.setattr(blocking, "give_way", give_way)
    return calls


def nothing():
    pass


def waiting(line, number=1):
    end = time.monotonic() + 10
    while len(line) < number:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("vain", [0, 1])
def test_an_item_that_comes_meanwhile_is_taken_without_standing_in_line(kind, asides, vain):
    q = kind()
    asides[:] = [lambda: q.put("item"), *[nothing] * vain]
    assert q.get() == "item"
    assert not asides
    asides[:] = [lambda: q.put("another"), *[nothing] * vain]
    assert q.get(timeout=10) == "another"


@pytest.mark.parametrize("vain", [0, 1])
def test_room_that_comes_meanwhile_is_taken(kind, asides, vain):
    q = kind(1)
    q.put(1)
    asides[:] = [q.get, *[nothing] * vain]
    q.put(2)
    assert not asides
    asides[:] = [q.get, *[nothing] * vain]
    q.put_many([3], timeout=10)
    assert q.get_many() == [3]
    assert q.unfinished_tasks == 3


def test_of_many_those_for_which_room_comes_are_put_and_the_others_wait(kind, asides):
    q = kind(2)
    q.put_many([1, 2])
    asides[:] = [q.get]
    thread = threading.Thread(target=q.put_many, args=([3, 4],))
    thread.start()
    waiting(q._putters_)
    assert len({q.get(), q.get(), q.get()}) == 3
    thread.join()
    assert q.unfinished_tasks == 4
    assert q.empty()


def test_who_does_not_wait_does_not_give_way(kind, asides):
    q = kind(1)
    for arguments in [(False,), (True, 0)]:
        with pytest.raises(Empty):
            q.get(*arguments)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-1)
    q.put(1)
    for arguments in [(False,), (True, 0)]:
        with pytest.raises(Full):
            q.put(2, *arguments)
    with pytest.raises(ValueError, match="non-negative"):
        q.put(2, timeout=-1)
    q.shutdown()
    with pytest.raises(ShutDown):
        q.put(2)
    assert q.get() == 1
    with pytest.raises(ShutDown):
        q.get()


def test_who_is_given_a_turn_need_not_be_known_to_a_queue_that_keeps_its_items_elsewhere(asides):
    class Own(Queue):
        def _init(self, maxsize):
            self.items = []

        def _qsize(self):
            return len(self.items)

        def _put(self, item):
            self.items.append(item)

        def _get(self):
            return self.items.pop()

    q = Own(1)
    q.put(1)
    assert q.get() == 1


def test_a_getter_that_finds_others_in_line_stands_behind_them(kind, asides):
    q, got = kind(), []
    asides[:] = [nothing, nothing]  # for the first
    threads = []
    for n in range(2):
        threads.append(threading.Thread(target=lambda: got.append(q.get())))
        threads[-1].start()
        waiting(q._entering_ and q._getters_, n + 1)
    q.put(1)
    q.put(1)
    for thread in threads:
        thread.join()
    assert got == [1, 1]


def test_a_putter_that_finds_others_in_line_stands_behind_them(kind, asides):
    q = kind(1)
    q.put(0)
    asides[:] = [nothing, nothing]  # for the first
    threads = []
    for n in range(2):
        threads.append(threading.Thread(target=q.put, args=(n + 1,)))
        threads[-1].start()
        waiting(q._entering_ and q._putters_, n + 1)
    assert [q.get(), q.get(), q.get()] == [0, 1, 2]
    for thread in threads:
        thread.join()
