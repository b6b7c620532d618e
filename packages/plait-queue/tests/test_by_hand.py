# SPDX-License-Identifier: MIT
"""Programs that change a queue by hand, as the standard module lets them: under its mutex, in any order, and from the
beginning once more."""

from __future__ import annotations

import asyncio
import threading
import time
from importlib import import_module

import pytest

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, select

blocking = import_module(Queue.__module__ + "._blocking")
WHOLE_STEPS = import_module(Queue.__module__ + "._platform").WHOLE_STEPS

kinds = pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])


class Call:
    """A call in a thread of its own, which has begun to wait."""

    def __init__(self, call, *args, line):
        self.result = None
        before = len(line())

        def run():
            self.result = call(*args)

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 10
        while len(line()) == before and self.thread.is_alive():  # it may not wait for long
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def ends(self):
        self.thread.join(10)
        return not self.thread.is_alive()


def getter(q, *args):
    return Call(q.get, *args, line=lambda: q._getters_ if q._furnished_ else ())


def putter(q, item, *args):
    return Call(q.put, item, *args, line=lambda: q._putters_)


def joiner(q, *args):
    return Call(q.join, *args, line=lambda: q._joiners_)


class In:
    """A thread that waits in a Condition of a queue until something is so."""

    def __init__(self, bell, reached):
        ready = threading.Event()

        def run():
            with bell:
                ready.set()
                while not reached():
                    bell.wait()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        ready.wait(10)
        with bell:
            pass  # so it waits

    ends = Call.ends


@kinds
@pytest.mark.parametrize("timeout", [(), (20,), (True, 20)])
def test_a_queue_may_be_emptied_in_the_usual_way(kind, timeout):
    q = kind(2)
    q.put(1)
    q.put(2)
    join = joiner(q, *timeout[-1:])
    put = putter(q, 3, *(timeout and (True, 20)))
    with q.mutex:
        q.queue.clear()
        q.all_tasks_done.notify_all()
        q.unfinished_tasks = 0
        q.not_full.notify_all()
    assert join.ends()
    assert join.result is True
    assert put.ends()
    assert q.get(timeout=5) == 3


def test_setting_unfinished_tasks_to_zero_is_enough():
    q = Queue()
    q.put(1)
    join, user = joiner(q), In(q.all_tasks_done, lambda: not q.unfinished_tasks)
    with q.mutex:
        q.unfinished_tasks = 0
    assert join.ends()
    assert user.ends()


@kinds
@pytest.mark.parametrize("all_of_them", [False, True])
def test_who_notifies_may_change_the_queue_afterwards(kind, all_of_them):
    def notify(bell):
        if all_of_them:
            bell.notify_all()
        else:
            bell.notify()

    q = kind()
    get = getter(q)
    with q.not_empty:
        notify(q.not_empty)
        q.queue.append(1)
    assert get.ends()
    assert get.result == 1
    get = getter(q, True, 20)
    with q.mutex:
        notify(q.not_empty)
        q.queue.append(2)
    assert get.ends()
    assert get.result == 2
    q = kind(1)
    q.put(1)
    put = putter(q, 2)
    q.mutex.acquire()
    notify(q.not_full)
    q.queue.clear()
    q.mutex.release()
    assert put.ends()
    assert q.queue == type(q.queue)([2])


@pytest.mark.parametrize("all_of_them", [False, True])
def test_who_is_notified_for_nothing_waits_on_in_its_place(all_of_them):
    q = Queue()
    gets = [getter(q, True, 20), getter(q), getter(q)]
    for _ in range(3):
        with q.not_empty:
            if all_of_them:
                q.not_empty.notify_all()
            else:
                q.not_empty.notify()
    for item, get in enumerate(gets):
        q.put(item)
        assert get.ends()
        assert get.result == item


def test_who_is_notified_for_nothing_waits_no_longer_than_it_may():
    q = Queue()

    def get():
        with pytest.raises(Empty):
            q.get(timeout=0.2)

    waiting = Call(get, line=lambda: q._getters_ if q._furnished_ else ())
    before = time.monotonic()
    while not waiting.thread.join(0.02) and waiting.thread.is_alive():
        with q.not_empty:
            q.not_empty.notify()
        assert time.monotonic() < before + 10


def test_peek_and_select_heed_a_change_behind_a_notify():
    for call in (Queue.peek, lambda q: select([q], 20)):
        q = Queue()
        look = Call(call, q, line=lambda: q._getters_ if q._furnished_ else ())  # noqa: B023
        with q.not_empty:
            q.not_empty.notify()
            q.queue.append(1)
        assert look.ends()


def test_tasks_heed_a_change_behind_a_notify():
    q, full, tasks = Queue(), Queue(1), Queue()
    full.put(1)
    tasks.put(1)

    async def main():
        calls = [asyncio.ensure_future(each) for each in (q.aget(timeout=20), full.aput(2), tasks.ajoin())]
        while not (q._furnished_ and q._getters_ and full._putters_ and tasks._joiners_):
            await asyncio.sleep(0)
        with q.not_empty, full.not_full, tasks.all_tasks_done:
            q.not_empty.notify()
            full.not_full.notify_all()
            tasks.all_tasks_done.notify_all()
            q.queue.append("x")
            full.queue.clear()
            tasks.unfinished_tasks = 0
        return await asyncio.wait_for(asyncio.gather(*calls), 10)

    assert asyncio.run(main()) == ["x", None, True]


def test_a_task_done_that_notifies_first():
    class Logged(Queue):
        def task_done(self):
            with self.all_tasks_done:
                left = self.unfinished_tasks - 1
                if not left:
                    self.all_tasks_done.notify_all()
                self.unfinished_tasks = left

    q = Logged()
    q.put(1)
    join = joiner(q)
    q.get()
    q.task_done()
    assert join.ends()


# -- from the beginning once more -----------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("notify", [False, True])
def test_init_may_be_called_again(kind, notify):
    class Resettable(kind):
        def reset(self):
            with self.mutex:
                self._init(self.maxsize)
                if notify:
                    self.unfinished_tasks = 0
                    self.not_full.notify_all()

    q = Resettable(2)
    q.put(1)
    q.put(2)
    put = putter(q, 3) if notify else None
    q.reset()
    if put:
        assert put.ends()
        assert q.get(timeout=5) == 3
    assert q.empty()
    q.put(4, timeout=5)
    q.put(5, timeout=5)
    with pytest.raises(Full):
        q.put(6, block=False)
    assert sorted([q.get(timeout=5), q.get(timeout=5)]) == [4, 5]
    with pytest.raises(Empty):
        q.get(block=False)


@kinds
@pytest.mark.parametrize("used", [False, True])
def test_a_queue_may_be_made_twice(kind, used):
    q = kind(1)
    if used:
        q.put(1)
        join = joiner(q)
        q.get()
        q.task_done()
        assert join.ends()
        q.put(2)
        q.shutdown()
    q.__init__(1)
    assert (q.qsize(), q.unfinished_tasks, q.maxsize, q.is_shutdown) == (0, 0, 1, False)
    q.put(3)
    put = putter(q, 4)
    assert q.get() == 3
    assert put.ends()
    join = joiner(q)
    assert q.get(timeout=5) == 4
    q.task_done()
    q.task_done()
    assert join.ends()
    q.__init__(2)
    get = getter(q)
    q.put(5)
    assert get.ends()
    assert get.result == 5


# -- who waits in a Condition hears of everything -------------------------------------------------------------------------


@kinds
def test_clear_notifies_all_tasks_done(kind):
    q = kind()
    q.put(1)
    user = In(q.all_tasks_done, lambda: not q.unfinished_tasks)
    q.clear()
    assert user.ends()


@kinds
def test_a_larger_maxsize_notifies_not_full(kind):
    q = kind(1)
    q.put(1)
    user = In(q.not_full, lambda: q.qsize() < q.maxsize)
    q.maxsize = 5
    assert user.ends()


@kinds
def test_what_a_cancelled_task_gives_back_notifies_not_empty(kind):
    q = kind()

    async def main():
        task = asyncio.ensure_future(q.aget())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        user = In(q.not_empty, q.qsize)
        q.put("x")  # which is the task's
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return user

    user = asyncio.run(main())
    assert user.ends()
    assert q.get(block=False) == "x"


@kinds
@pytest.mark.parametrize("looked", [False, True])
def test_is_shutdown_may_be_set(kind, looked):
    q = kind(1)
    if looked:
        assert q.mutex
    q.put(1)

    def refused():
        with pytest.raises(ShutDown):
            q.put(2)
        return "refused"

    put = Call(refused, line=lambda: q._putters_)
    q.is_shutdown = True
    assert put.ends()
    assert put.result == "refused"
    assert q.is_shutdown is True
    with pytest.raises(ShutDown):
        q.put(2)
    assert q.get() == 1
    with pytest.raises(ShutDown):
        q.get()
    q.is_shutdown = False
    assert q.is_shutdown is False
    q.put(3)
    assert q.get() == 3
    get = getter(q)
    q.put(4)
    assert get.ends()


@kinds
def test_a_timeout_does_not_matter_to_a_call_that_does_not_wait(kind):
    q = kind(1)
    for nonsense in ("x", -1, []):
        q.put(1, False, nonsense)
        with pytest.raises(Full):
            q.put(1, False, nonsense)
        with pytest.raises(Full):
            q.put_many([1], False, nonsense)
        assert q.peek(False, nonsense) == 1
        assert q.get(False, nonsense) == 1
        with pytest.raises(Empty):
            q.get(False, nonsense)
        with pytest.raises(Empty):
            q.get_many(1, False, nonsense)
    with pytest.raises(TypeError):
        q.put(1, True, "x")
    with pytest.raises(TypeError):
        q.get(True, "x")


@kinds
@pytest.mark.parametrize("call", ["get", "put", "join"])
def test_who_is_notified_for_nothing_again_and_again_waits_on(kind, call):
    q = kind(1)
    if call != "get":
        q.put(1)
    bell = {"get": q.not_empty, "put": q.not_full, "join": q.all_tasks_done}[call]
    ended = []
    thread = threading.Thread(
        target=lambda: ended.append(getattr(q, call)(*[2] * (call == "put"))), daemon=True
    )
    thread.start()
    for _ in range(30):
        with q.mutex:
            bell.notify()
            sum(range(1000))  # meanwhile it may take the first one for all that there is
            bell.notify()
        time.sleep(0.0005)
    assert not ended
    if call == "get":
        q.put(1)
    else:
        assert q.get() == 1
        q.task_done()
    thread.join(20)
    assert ended == [{"get": 1, "put": None, "join": True}[call]]


def test_what_is_in_the_queue_no_more_is_not_handed_over(monkeypatch):
    serving = import_module(Queue.__module__ + "._serving")
    q = Queue()
    q.mutex  # noqa: B018 - a look
    waiting = getter(q, True, 20)

    def nested(*arguments):
        monkeypatch.undo()
        made = map(*arguments)
        q.queue = type(q.queue)()  # as a handler may, when the item is about to be moved
        return made

    monkeypatch.setattr(serving, "map", nested, raising=False)
    q.put("gone")
    q.put("there")
    assert waiting.ends()
    assert waiting.result == "there"


def test_a_put_that_finds_room_as_the_queue_is_shut_down_puts_nothing(monkeypatch):
    q, real = Queue(1), blocking.starmap
    q.put("a")

    def room_comes(self, _timeout):
        self.get()
        return True

    def starmap(*arguments):
        made = real(*arguments)
        if getattr(arguments[0], "__name__", "") == "popleft":
            monkeypatch.undo()
            q.shutdown(immediate=True)
        return made

    monkeypatch.setattr(Queue, "_room_comes_", room_comes)
    monkeypatch.setattr(blocking, "starmap", starmap)
    with pytest.raises(ShutDown):
        q.put("b")
    assert (q.qsize(), q.unfinished_tasks) == (0, 1)  # the one that was taken


@pytest.mark.skipif(not WHOLE_STEPS, reason="there task_done() holds the mutex")
def test_a_waiter_that_comes_during_the_first_task_done_is_notified(monkeypatch):
    q, make, woken = Queue(), Queue._make_tasks_, []
    q.put(1)
    q.get()
    there = threading.Event()

    def wait():
        with q.all_tasks_done:
            there.set()
            woken.append(q.all_tasks_done.wait_for(lambda: not q.unfinished_tasks, 20))

    thread = threading.Thread(target=wait, daemon=True)

    def slow(self):
        monkeypatch.undo()
        thread.start()
        assert there.wait(20)
        with q.mutex:  # it waits, and so has let go of it
            pass
        return make(self)

    monkeypatch.setattr(Queue, "_make_tasks_", slow)
    q.task_done()
    thread.join(20)
    assert woken == [True]


def test_making_a_queue_again_counts_what_waiting_putters_bring():
    q = Queue(1)
    q.put(1)
    thread = threading.Thread(target=q.put, args=(2,), daemon=True)
    thread.start()
    while not q._putters_:
        time.sleep(0.001)
    q.__init__(5)
    thread.join(20)
    assert (q.get(), q.unfinished_tasks) == (2, 1)
    q.task_done()
    assert q.join(1)
    q = Queue(2.5)
    q.__init__(3)
    assert q.maxsize == 3
