# SPDX-License-Identifier: MIT
"""The async face: tasks and threads at one queue, in one line; cancelled at the worst moment; on loops that die.

Where trio and anyio are installed they are asked the same. The model of the waiting lines is in test_model_of_waiting.py,
the crowd in stress_async.py.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import selectors
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown

PACKAGE = Queue.__module__
KINDS = [Queue, LifoQueue, PriorityQueue]
# A forgotten loop complains when it is found, on PyPy not always in the test that forgot it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
SOON = 10  # seconds in which what ought to happen at once must have happened


def by_hand(coroutine):
    """Run a coroutine that has no need to wait, without any event loop."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


async def turns(number=10):
    """Let every task do what it can."""
    for _ in range(number):
        await asyncio.sleep(0)


def in_thread(call, *args):
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(call(*args)), daemon=True)
    thread.start()
    return thread, outcome


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came")


def collect(until):
    """Have the collector find what it is to find; some need several turns, one after the other's finalisers."""
    for _ in range(20):
        gc.collect()
        if until():
            return
    raise AssertionError("it was never collected")


def standing(q, line):
    """How many calls wait in one of the queue's lines. (Nothing public tells.)"""
    return len(vars(q).get(line, ()))


def getters(q):
    return standing(q, "_getters_")


def waits(q):
    """Whether some call waits in the queue."""
    return bool(getters(q) or standing(q, "_putters_") or standing(q, "_joiners_"))


# -- without a switch


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_awaited_when_there_is_no_need_to_wait(kind):
    q = kind(2)
    by_hand(q.aput(1))
    by_hand(q.aput_many([2]))
    assert by_hand(q.aget()) in (1, 2)
    assert len(by_hand(q.aget_many())) == 1
    assert by_hand(q.ajoin(0)) is False
    q.task_done()
    q.task_done()
    assert by_hand(q.ajoin()) is True


def test_no_time_means_no_waiting_and_needs_no_loop():
    q = Queue(1)
    with pytest.raises(Empty):
        q.aget(timeout=0).send(None)
    by_hand(q.aput(1))
    with pytest.raises(Full):
        q.aput(2, timeout=0).send(None)
    with pytest.raises(Full) as refused:
        q.aput_many([2, 3], timeout=0).send(None)
    assert refused.value.remaining == [2, 3]


def test_bad_arguments_are_refused_as_by_get_and_put():
    q = Queue(1)
    with pytest.raises(ValueError, match="timeout"):
        q.aget(timeout=-1).send(None)
    q.put(1)
    with pytest.raises(ValueError, match="timeout"):
        q.aput(2, timeout=-1).send(None)
    with pytest.raises(ValueError, match="max_items"):
        q.aget_many(0).send(None)


def test_to_wait_outside_of_any_event_loop_is_told_as_such():
    q = Queue()
    with pytest.raises(RuntimeError, match=r"aget|await|event loop"):
        q.aget().send(None)
    assert not waits(q)


# -- waiting


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_is_woken_by_a_task_and_by_a_thread(kind):
    async def main():
        q = kind()
        task = asyncio.ensure_future(q.aget())
        await turns()
        q.put(1)
        assert await asyncio.wait_for(task, SOON) == 1
        task = asyncio.ensure_future(q.aget())
        await turns()
        thread, _ = in_thread(q.put, 2)
        assert await asyncio.wait_for(task, SOON) == 2
        thread.join(SOON)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_that_puts_is_woken_by_room(kind):
    async def main():
        q = kind(1)
        q.put(1)
        task = asyncio.ensure_future(q.aput(2))
        await turns()
        assert not task.done()
        thread, got = in_thread(q.get)
        await asyncio.wait_for(task, SOON)
        thread.join(SOON)
        assert got == [1]
        task = asyncio.ensure_future(q.aput(3))
        await turns()
        q.maxsize = 2
        await asyncio.wait_for(task, SOON)
        assert sorted(q.get_many()) == [2, 3]

    asyncio.run(main())


def test_a_thread_is_woken_by_a_task():
    q = Queue(1)
    thread, got = in_thread(lambda: [q.get(), q.get(), q.get()])

    async def main():
        for item in range(3):
            await q.aput(item)

    asyncio.run(asyncio.wait_for(main(), SOON))
    thread.join(SOON)
    assert got == [[0, 1, 2]]


def test_join_waits_for_tasks_and_tasks_for_join():
    async def main():
        q = Queue()
        q.put(1)
        assert await q.ajoin(0.01) is False
        joining = asyncio.ensure_future(q.ajoin())
        thread, joined = in_thread(q.join)
        await until(lambda: standing(q, "_joiners_") == 2)
        assert await q.aget() == 1
        q.task_done()
        assert await asyncio.wait_for(joining, SOON) is True
        thread.join(SOON)
        assert joined == [True]
        assert not waits(q)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_patience_ends_on_time_and_loses_no_later_item(kind):
    async def main():
        q = kind(1)
        begun = time.monotonic()
        with pytest.raises(Empty):
            await q.aget(timeout=0.05)
        await q.aput(1)
        with pytest.raises(Full):
            await q.aput(2, timeout=0.05)
        with pytest.raises(Full) as refused:
            await q.aput_many([2, 3], timeout=0.05)
        assert refused.value.remaining == [2, 3]
        assert 0.13 < time.monotonic() - begun < SOON
        assert not waits(q)
        assert await q.aget() == 1
        q.put(4)
        assert await q.aget(timeout=SOON) == 4

    asyncio.run(main())


def test_many_are_put_as_there_is_room_and_got_as_they_are_there():
    async def main():
        q = Queue(3)
        putting = asyncio.ensure_future(q.aput_many(range(20)))
        got = []
        while len(got) < 20:
            some = await asyncio.wait_for(q.aget_many(5), SOON)
            assert 1 <= len(some) <= 5
            got += some
        await putting
        assert got == list(range(20))

    asyncio.run(main())


@pytest.mark.parametrize("looked_into", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_makes_room_for_more_of_what_many_bring(kind, looked_into):
    async def main():
        q = kind(1)
        if looked_into:
            q.mutex  # noqa: B018
        tasks = [asyncio.ensure_future(q.aget()) for _ in range(2)]
        await turns()
        q.put_many([1, 2, 3], block=False)
        assert await asyncio.gather(*tasks) == [1, 2]
        assert q.get(block=False) == 3
        tasks = [asyncio.ensure_future(q.aget()) for _ in range(2)]
        await turns()
        with pytest.raises(Full) as refused:
            q.put_many([1, 2, 3, 4, 5], block=False)
        assert refused.value.remaining == [4, 5]
        assert await asyncio.gather(*tasks) == [1, 2]
        assert q.get(block=False) == 3

    asyncio.run(main())


def test_shutdown_wakes_every_task():
    async def main():
        empty, full = Queue(), Queue(1)
        full.put(0)
        calls = [empty.aget(), empty.aget_many(), full.aput(1), full.aput_many([1, 2])]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await turns()
        joining = asyncio.ensure_future(full.ajoin())
        await turns()
        empty.shutdown()
        full.shutdown(immediate=True)
        ends = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), SOON)
        assert [type(end) for end in ends] == [ShutDown] * 4
        assert ends[3].remaining == [1, 2]
        assert await asyncio.wait_for(joining, SOON) is True
        with pytest.raises(ShutDown):
            await empty.aget()
        with pytest.raises(ShutDown):
            await full.aput(1)

    asyncio.run(main())


def test_iteration_ends_with_the_shutdown_after_what_was_left():
    async def main():
        q, got = Queue(), []

        async def take():
            got.extend([item async for item in q])

        task = asyncio.ensure_future(take())
        for n in range(5):
            await q.aput(n)
            await turns(n)
        q.shutdown()
        await asyncio.wait_for(task, SOON)
        assert got == [0, 1, 2, 3, 4]

    asyncio.run(main())


def test_threads_and_tasks_stand_in_one_line():
    async def main():
        q = Queue()
        got = []

        async def task(name):
            got.append((name, await q.aget()))

        def thread(name):
            got.append((name, q.get()))

        others = []
        for n in range(6):
            if n % 2:
                others.append(asyncio.ensure_future(task(n)))
            else:
                others.append(asyncio.get_running_loop().run_in_executor(None, thread, n))
            await until(lambda line=n + 1: getters(q) == line)
        q.put_many(range(6))
        await asyncio.wait_for(asyncio.gather(*others), SOON)
        assert sorted(got) == [(n, n) for n in range(6)]

    asyncio.run(main())


def test_two_loops_and_two_threads_share_a_queue():
    q, back = Queue(3), Queue()
    each = 300

    async def give():
        for n in range(each):
            await q.aput(n)

    async def take():
        async for item in q:
            await back.aput(item)

    takers = [threading.Thread(target=asyncio.run, args=(take(),)) for _ in range(2)]
    takers.append(threading.Thread(target=lambda: [back.put(item) for item in q]))
    givers = [threading.Thread(target=asyncio.run, args=(give(),)) for _ in range(2)]
    givers.append(threading.Thread(target=lambda: [q.put(n) for n in range(each)]))
    for thread in takers + givers:
        thread.start()
    for thread in givers:
        thread.join(30)
    q.shutdown()
    for thread in takers:
        thread.join(30)
    assert sorted(back.get_many()) == sorted(3 * list(range(each)))


def test_nobody_polls_while_a_task_waits():
    class Counting(selectors.DefaultSelector):
        looked = 0

        def select(self, timeout=None):
            Counting.looked += 1
            return super().select(timeout)

    q = Queue()
    loop = asyncio.SelectorEventLoop(Counting())
    task = loop.create_task(q.aget(timeout=SOON))
    loop.run_until_complete(turns())
    before = Counting.looked
    loop.run_until_complete(asyncio.sleep(0.2))
    assert Counting.looked - before < 8
    q.put(1)
    assert loop.run_until_complete(task) == 1
    loop.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("busy", [True, False])
def test_a_signal_handler_wakes_a_task_of_the_loop_that_it_interrupts(busy):
    q, done = Queue(), []

    async def spin():
        while busy and not done:
            await asyncio.sleep(0)

    async def main():
        spinning = asyncio.ensure_future(spin())
        for n in range(30):
            armed.append(n)
            # Repeated until it was seen: in the last instructions before the loop sleeps, it would not wake it.
            signal.setitimer(signal.ITIMER_REAL, 0.002, 0.05)
            assert await q.aget(timeout=SOON) == n
        done.append(True)
        await spinning

    def put(*_):
        if armed:
            q.put(armed.pop())

    armed = []
    before = signal.signal(signal.SIGALRM, put)
    try:
        asyncio.run(main())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- cancelled


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_aget_is_given_nothing(kind):
    async def main():
        q = kind()
        task = asyncio.ensure_future(q.aget())
        await turns()
        task.cancel()
        await turns()
        assert task.cancelled()
        q.put(1)
        assert q.get(block=False) == 1

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_for_a_task_that_is_cancelled_in_the_same_tick_stays_in_the_queue(kind):
    async def main():
        q = kind()
        task = asyncio.ensure_future(q.aget())
        await turns()
        q.put(1)
        task.cancel()
        await turns()
        assert task.cancelled()
        assert q.qsize() == 1
        assert q.get(block=False) == 1
        assert q.unfinished_tasks == 1

    asyncio.run(main())


def test_it_stays_in_its_place():
    async def main():
        q = Queue()
        task = asyncio.ensure_future(q.aget())
        await turns()
        q.put_many([1, 2, 3])
        task.cancel()
        await turns()
        assert task.cancelled()
        assert q.get_many() == [1, 2, 3]

    asyncio.run(main())


def test_or_goes_to_the_next_who_waits():
    async def main():
        q = Queue()
        first, second = asyncio.ensure_future(q.aget()), asyncio.ensure_future(q.aget())
        await turns()
        thread, got = in_thread(q.get)
        await until(lambda: getters(q) == 3)
        q.put(1)
        first.cancel()
        assert await asyncio.wait_for(second, SOON) == 1
        third = asyncio.ensure_future(q.aget())
        await turns()
        assert not third.done()
        q.put(2)
        thread.join(SOON)
        assert got == [2]
        third.cancel()

    asyncio.run(main())


def test_a_task_cancelled_between_the_bell_and_its_turn_keeps_nothing():
    # Later than above: the bell has rung in its loop, and the task is about to go on.
    async def main():
        lost = 0
        for turn in range(4):
            q = Queue()
            task = asyncio.ensure_future(q.aget())
            await turns()
            q.put(turn)
            await turns(turn)
            task.cancel()
            await turns()
            if task.cancelled():
                assert q.get(block=False) == turn
            else:
                assert task.result() == turn
                assert q.empty()
                lost += 1
        assert lost < 4

    asyncio.run(main())


def test_a_cancelled_aput_has_put_or_not():
    async def main():
        q = Queue(1)
        q.put(0)
        task = asyncio.ensure_future(q.aput(1))
        await turns()
        task.cancel()
        await turns()
        assert q.get_many() == [0]
        q.put(0)
        task = asyncio.ensure_future(q.aput(1))
        await turns()
        assert q.get() == 0  # takes 1 in
        task.cancel()
        await turns()
        assert task.cancelled()
        assert q.get_many() == [1]
        assert q.unfinished_tasks == 3

    asyncio.run(main())


def test_the_place_of_a_cancelled_aput_is_for_the_next():
    async def main():
        q = Queue(1)
        q.put(0)
        first, second = asyncio.ensure_future(q.aput(1)), asyncio.ensure_future(q.aput(2))
        await turns()
        first.cancel()
        await turns()
        assert q.get() == 0
        await asyncio.wait_for(second, SOON)
        assert q.get() == 2

    asyncio.run(main())


def test_wait_for_loses_nothing_when_it_runs_out_as_items_come():
    async def main():
        q, got, tried, in_vain = Queue(), [], 0, threading.Event()

        def put():
            in_vain.wait(SOON)
            for n in range(300):
                time.sleep(0.0005)
                q.put(n)

        thread, _ = in_thread(put)
        while len(got) < 300:
            task = asyncio.ensure_future(q.aget())
            done, _ = await asyncio.wait([task], timeout=0.0001 * (tried % 6))
            if not done:
                task.cancel()
                await asyncio.wait([task])
                in_vain.set()
            if not task.cancelled():
                got.append(task.result())
            tried += 1
        thread.join(SOON)
        assert got == list(range(300))
        assert tried > 300

    asyncio.run(main())


# -- loops that die


def a_loop_with_a_waiting_task(q, call=None):
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it will complain of a task that never ended
    task = loop.create_task(call or q.aget())
    loop.run_until_complete(turns())
    assert not task.done()
    return loop, task


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_was_closed_with_a_waiting_task_takes_nothing(kind):
    q = kind()
    loop, task = a_loop_with_a_waiting_task(q)
    loop.close()
    thread, got = in_thread(q.get)
    q.put(1)
    thread.join(SOON)
    assert got == [1]
    q.put(2)
    assert q.get(timeout=SOON) == 2
    assert q.unfinished_tasks == 2
    del task


@pytest.mark.parametrize("kind", KINDS)
def test_nor_does_one_that_is_closed_with_the_item_on_its_way(kind):
    q = kind()
    loop, task = a_loop_with_a_waiting_task(q)
    q.put(1)  # the loop will never get to know
    assert q.empty()
    loop.close()
    collect(lambda: not q.empty())  # at once, where there is reference counting
    assert q.get(timeout=SOON) == 1
    assert q.unfinished_tasks == 1
    del task


def test_nor_does_one_that_stopped_and_was_forgotten():
    q = Queue()
    loop, task = a_loop_with_a_waiting_task(q)
    q.put(1)
    assert q.empty()
    del loop, task  # neither run on nor closed: only the collector finds it
    collect(lambda: not q.empty())
    assert q.get(timeout=SOON) == 1


def test_a_task_that_is_destroyed_while_it_waits_gives_its_item_back():
    q = Queue()
    waiting = q.aget()
    holder = asyncio.new_event_loop()

    async def step():
        waiting.send(None)  # as far as it comes by itself

    holder.run_until_complete(step())
    q.put(1)
    assert q.empty()
    waiting.close()
    assert q.get(block=False) == 1
    holder.run_until_complete(turns())
    holder.close()


def test_the_task_of_a_closed_loop_leaves_the_line():
    q = Queue()
    loop, task = a_loop_with_a_waiting_task(q)
    here = weakref.ref(task)
    loop.close()
    del task
    assert waits(q)
    q.put(1)  # finds that nobody would hear
    assert q.get() == 1
    collect(lambda: here() is None and not waits(q))


def test_others_behind_the_task_of_a_closed_loop_are_served():
    q = Queue(1)
    q.put(0)
    loop, task = a_loop_with_a_waiting_task(q, q.aput(1))
    loop.close()
    thread, _ = in_thread(q.put, 2)
    got = [q.get(timeout=SOON), q.get(timeout=SOON)]
    if got[1] == 1:  # whether the dead task's item is put or not is not said
        got.append(q.get(timeout=SOON))
    thread.join(SOON)
    assert got in ([0, 1, 2], [0, 2])
    joining, _ = a_loop_with_a_waiting_task(q, q.ajoin())
    joining.close()
    thread, joined = in_thread(q.join)
    for _ in got:
        q.task_done()
    thread.join(SOON)
    assert joined == [True]
    del task


def test_an_item_that_a_task_returned_is_not_given_back_by_a_bell_that_nobody_heard():
    # The task's patience ends, an item comes before its turn, and it takes it; the bell would ring a turn later, but the
    # loop is stopped and closed.
    q = Queue()
    loop, task = a_loop_with_a_waiting_task(q)

    def patience_ends():
        loop.call_soon(item_comes)
        q._getters_[0].bed.rise()

    def item_comes():
        q.put(1)
        loop.stop()

    loop.call_soon(patience_ends)
    loop.run_forever()
    loop.close()
    gc.collect()
    assert task.result() == 1
    assert q.empty()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bell_that_is_cut_short_by_an_exception_of_a_handler_rings_all_the_same(when):
    q = Queue()
    loop, task = a_loop_with_a_waiting_task(q)
    post = loop.call_soon_threadsafe

    def struck(*args, **keywords):
        loop.call_soon_threadsafe = post
        if when == "after":
            post(*args, **keywords)
        raise KeyboardInterrupt

    loop.call_soon_threadsafe = struck
    with pytest.raises(KeyboardInterrupt):
        q.put(1)
    assert loop.run_until_complete(asyncio.wait_for(task, SOON)) == 1
    assert q.empty()
    loop.close()


def test_a_loop_that_is_stopped_for_a_while_keeps_what_it_was_given():
    q = Queue()
    loop, task = a_loop_with_a_waiting_task(q)
    q.put(1)
    q.put(2)
    gc.collect()
    assert loop.run_until_complete(task) == 1
    assert q.get() == 2
    loop.close()


# -- apart from asyncio itself


def test_asyncio_is_not_imported_for_it():
    code = f"""
    import sys; sys.path[:] = {sys.path!r}
    from importlib import import_module
    package = import_module({PACKAGE!r})
    q = package.Queue(1)
    try: q.aput(1).send(None)
    except StopIteration: pass
    try: q.aput(2).send(None)
    except RuntimeError as error: assert "loop" in str(error), error
    else: raise AssertionError
    assert "asyncio" not in sys.modules
    """
    subprocess.run([sys.executable, "-S", "-c", textwrap.dedent(code)], check=True, timeout=50)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_child_of_a_fork_does_not_serve_the_tasks_of_its_parent():
    async def main():
        q = Queue()
        task = asyncio.ensure_future(q.aget())
        await turns()
        child = os.fork()
        if not child:
            try:
                q.put("mine")
                os._exit(7 if q.get(timeout=SOON) == "mine" else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        q.put("the parent's")
        assert await asyncio.wait_for(task, SOON) == "the parent's"

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="no eager tasks on this Python")
def test_eager_tasks_wait_as_others_do():
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        q = Queue()
        q.put(1)
        ready, waiting = asyncio.create_task(q.aget()), asyncio.create_task(q.aget())
        assert ready.done()
        assert ready.result() == 1
        q.put(2)
        assert await asyncio.wait_for(waiting, SOON) == 2

    asyncio.run(main())


def anywhere():
    """Each way to run an anyio program that is installed here, and trio by itself."""
    for name, backend in (("anyio", "asyncio"), ("anyio", "trio"), ("trio", None)):
        try:
            library = importlib.import_module(name)
            if backend:
                importlib.import_module(backend)
        except ImportError:
            yield pytest.param(None, id=f"{name} {backend or ''}", marks=pytest.mark.skip("not installed"))
        else:
            yield pytest.param((library, backend), id=f"{name} {backend or ''}")


def run_with(where, main):
    library, backend = where
    if backend:
        return library.run(main, backend=backend)
    return library.run(main)


def nursery(where):
    library, backend = where
    return library.create_task_group() if backend else library.open_nursery()


@pytest.mark.parametrize("where", list(anywhere()))
def test_the_same_protocol_serves_trio_and_anyio(where):
    library = where[0]

    async def main():
        q = Queue(1)
        got = []

        async def take():
            async for item in q:
                got.append(item)
                q.task_done()

        async with nursery(where) as group:
            group.start_soon(take)
            for n in range(20):
                await q.aput(n)
            thread, _ = in_thread(q.put_many, [20, 21, 22])
            with library.fail_after(SOON):
                await q.aput_many([23, 24])
                while thread.is_alive():
                    await library.sleep(0.001)
                assert await q.ajoin()
            q.shutdown()
        assert sorted(got) == list(range(25))
        assert got[:20] == list(range(20))

    run_with(where, main)


@pytest.mark.parametrize("where", list(anywhere()))
def test_patience_ends_there_as_well(where):
    async def main():
        q = Queue(1)
        with pytest.raises(Empty):
            await q.aget(timeout=0.02)
        await q.aput(1)
        with pytest.raises(Full):
            await q.aput(2, timeout=0.02)
        assert await q.ajoin(timeout=0.02) is False
        assert not waits(q)
        assert await q.aget() == 1

    run_with(where, main)


@pytest.mark.parametrize("where", list(anywhere()))
def test_a_cancelled_scope_loses_no_item(where):
    library = where[0]

    async def take(q, got, scopes):
        with library.CancelScope() as mine:
            scopes.append(mine)
            got.append(await q.aget())

    async def main():
        q, got = Queue(), []
        for n in range(60):
            scopes = []
            async with nursery(where) as group:
                for _ in range(2):
                    group.start_soon(take, q, got, scopes)
                while getters(q) < 2:
                    await library.sleep(0)
                q.put(n)
                for _ in range(n % 4):
                    await library.sleep(0)
                scopes[n % 2].cancel()
                for _ in range(4):
                    await library.sleep(0)
                scopes[1 - n % 2].cancel()
            got += [q.get(block=False) for _ in range(q.qsize())]
            assert got == list(range(n + 1))
        assert not waits(q)

    run_with(where, main)


@pytest.mark.parametrize("where", list(anywhere()))
def test_a_run_that_is_over_takes_nothing(where):
    library = where[0]
    q = Queue()
    left = []

    async def main():
        waiting = q.aget()

        class Once:
            def __await__(self):
                left.append(waiting)
                waiting.send(None)
                yield from library.sleep(0).__await__()

        await Once()

    run_with(where, main)
    assert waits(q)
    q.put(1)
    assert q.get(timeout=SOON) == 1
    left.pop().close()
    assert q.empty()
    assert not waits(q)


def test_patience_is_measured_by_the_clock_of_the_run():
    trio = pytest.importorskip("trio")
    testing = importlib.import_module("trio.testing")
    attempts = []

    class Counted(Queue):
        def get(self, *args, **kwargs):
            attempts.append(1)
            return super().get(*args, **kwargs)

    async def main():
        q = Counted(1)
        begun = trio.current_time()
        with pytest.raises(Empty):
            await q.aget(timeout=3600)
        assert trio.current_time() == begun + 3600
        q.put(1)
        with pytest.raises(Full):
            await q.aput(2, timeout=3600)
        assert not await q.ajoin(timeout=3600)
        assert trio.current_time() == begun + 3 * 3600

    begun = time.monotonic()
    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert time.monotonic() - begun < SOON
    assert len(attempts) == 1


def test_patience_is_measured_by_the_clock_of_the_loop():
    class Simulation(asyncio.SelectorEventLoop):
        """Time passes when everybody sleeps, and at once."""

        passed = 0.0

        def time(self):
            return self.passed

    class Leap(selectors.SelectSelector):
        def select(self, timeout=None):
            loop.passed += timeout or 0
            return super().select(0)

    async def main():
        q = Queue(1)
        with pytest.raises(Empty):
            await q.aget(timeout=3600)
        q.put(1)
        with pytest.raises(Full):
            await q.aput(2, timeout=3600)
        assert not await q.ajoin(timeout=3600)

    loop = Simulation(Leap())
    begun = time.monotonic()
    loop.run_until_complete(main())
    loop.close()
    assert time.monotonic() - begun < SOON


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("where", list(anywhere()))
def test_who_leaves_a_loop_early_leaves_nothing_to_be_closed(where):
    library = where[0]

    async def main():
        q = Queue()
        q.put_many([1, 2, 3])
        async for item in q:
            assert item == 1
            break
        gc.collect()
        with library.move_on_after(0.01) as scope:
            async for item in q:
                assert item in (2, 3)
        assert scope.cancelled_caught if library.__name__ == "trio" else scope.cancel_called
        assert not waits(q)
        q.put(4)
        q.shutdown()
        assert [item async for item in q] == [4]

    run_with(where, main)
    gc.collect()


def test_a_task_of_trio_in_a_thread_of_asyncio_is_told_from_one_of_asyncio():
    trio = pytest.importorskip("trio")

    async def main():
        q = Queue()
        loop, ended = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        async def guest():
            return [await q.aget(timeout=SOON), await q.aget(timeout=SOON)]

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: ended.set_result(outcome.unwrap()),
        )
        await until(lambda: getters(q))
        host = asyncio.ensure_future(q.aget())
        await until(lambda: getters(q) == 2)
        q.put_many([1, 2])
        assert await asyncio.wait_for(host, SOON) == 2
        q.put(3)
        assert await asyncio.wait_for(ended, SOON) == [1, 3]

    asyncio.run(main())


def test_a_timeout_that_is_no_number_is_refused():
    async def main():
        queue = Queue(1)
        for call in (
            lambda: queue.aget(timeout=float("nan")),
            lambda: queue.aget_many(timeout=float("nan")),
        ):
            with pytest.raises(ValueError, match="non-negative number"):
                await call()

    asyncio.run(main())


def test_a_loop_may_go_on_in_another_thread():
    q, got, busy = Queue(), [], threading.Event()
    loop = asyncio.new_event_loop()
    loop.set_debug(True)  # it complains of calls from other threads

    async def take():
        got.append(await q.aget())

    async def go_on():
        busy.set()
        put.wait(10)  # the task of this thread's loop is current, which concerns others nothing
        await asyncio.wait_for(task, 10)

    task, put = loop.create_task(take()), threading.Event()
    loop.run_until_complete(asyncio.sleep(0))
    thread = threading.Thread(target=lambda: loop.run_until_complete(go_on()), daemon=True)
    thread.start()
    busy.wait(10)
    q.put("item")
    put.set()
    thread.join(10)
    assert not thread.is_alive()
    loop.close()
    assert got == ["item"]
