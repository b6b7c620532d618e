# SPDX-License-Identifier: MIT
"""A scheduler in a task of an event loop: asyncio, trio, and anyio over both, the same behaviour in all."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import threading
import time
from datetime import datetime

import pytest

from plait.sched import scheduler

PACKAGE = scheduler.__module__
LONG = 50  # seconds that nothing here takes, unless it hangs


class Asyncio:
    name = "asyncio"

    def run(self, main):
        return asyncio.run(asyncio.wait_for(main(), LONG))

    sleep = staticmethod(asyncio.sleep)
    Cancelled = asyncio.CancelledError

    async def cancelled_when(self, ready, main):
        """Run it and cancel it as soon as that is so; say whether that was what ended it."""
        task = asyncio.ensure_future(main())
        while not ready():
            await asyncio.sleep(0.001)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    async def beside(self, *mains):
        await asyncio.gather(*(main() for main in mains))


class Trio:
    name = "trio"

    def __init__(self):
        self._trio = trio = pytest.importorskip("trio")
        self.sleep = trio.sleep
        self.Cancelled = trio.Cancelled

    def run(self, main):
        async def limited():
            with self._trio.fail_after(LONG):
                return await main()

        return self._trio.run(limited)

    async def cancelled_when(self, ready, main):
        async def cancel():
            while not ready():
                await self.sleep(0.001)
            scope.cancel()

        async with self._trio.open_nursery() as nursery:
            with self._trio.CancelScope() as scope:
                nursery.start_soon(cancel)
                await main()
        return scope.cancelled_caught

    async def beside(self, *mains):
        async with self._trio.open_nursery() as nursery:
            for main in mains:
                nursery.start_soon(main)


@pytest.fixture(params=[Asyncio, Trio])
def loop(request):
    return request.param()


def test_events_are_called_at_their_times(loop):
    s = scheduler()
    ran = []
    begun = time.monotonic()
    for delay in (0.06, 0.02, 0.04):
        s.enter(delay, 1, lambda delay=delay: ran.append((delay, time.monotonic() - begun)))
    loop.run(s.arun)
    assert [delay for delay, _ in ran] == [0.02, 0.04, 0.06]
    assert all(delay <= at < delay + LONG for delay, at in ran)
    assert not s._runs_
    assert not s._naps_


def test_other_tasks_run_meanwhile_and_between_actions(loop):
    s = scheduler()
    turns = []

    async def other():
        for _ in range(20):
            turns.append("other")
            await loop.sleep(0)

    for _ in range(10):
        s.enter(0, 1, turns.append, ("event",))
    loop.run(lambda: loop.beside(s.arun, other))
    assert "other" in turns[turns.index("event") : -1 - turns[::-1].index("event")]


def test_coroutine_functions_are_awaited_one_after_another(loop):
    s = scheduler()
    ran = []

    async def act(name):
        ran.append(f"{name} begins")
        await loop.sleep(0.03)
        ran.append(f"{name} ends")

    s.enter(0, 1, act, ("first",))
    s.enter(0, 2, act, ("second",))
    loop.run(s.arun)
    assert ran == ["first begins", "first ends", "second begins", "second ends"]


def test_concurrently_they_overlap_and_all_end_before_it_does(loop):
    s = scheduler()
    ran = []

    async def act(name, waits_for):
        ran.append(f"{name} begins")
        while waits_for not in ran:
            await loop.sleep(0.001)
        ran.append(f"{name} ends")

    s.enter(0, 1, act, ("first", "second ends"))
    s.enter(0, 2, act, ("second", "first begins"))
    loop.run(lambda: s.arun(concurrent=True))
    assert ran == ["first begins", "second begins", "second ends", "first ends"]


def test_a_concurrent_task_may_enter_more(loop):
    s = scheduler()
    ran = []

    async def act():
        await loop.sleep(0.03)
        s.enter(0.03, 1, ran.append, ("later",))

    s.enter(0, 1, act)
    loop.run(lambda: s.arun(concurrent=True))
    assert ran == ["later"]


def test_repeating_coroutines(loop):
    s = scheduler()
    ran = []

    async def act():
        await loop.sleep(0.001)
        ran.append(1)
        if len(ran) == 3:
            s.cancel(ticking)

    ticking = s.every(0.01, act)
    loop.run(s.arun)
    assert ran == [1, 1, 1]


def test_another_thread_wakes_it(loop):
    s = scheduler()
    ran = []
    far = s.enter(3600, 1, print)

    def work():
        time.sleep(0.1)
        since = time.monotonic()
        s.enter(0.05, 1, lambda: ran.append(time.monotonic() - since))
        while not ran:
            time.sleep(0.001)
        s.cancel(far)

    thread = threading.Thread(target=work)
    thread.start()
    loop.run(s.arun)
    thread.join()
    assert 0.05 <= ran[0] < LONG


def test_changes_of_other_threads_at_every_moment_are_seen(loop):
    s = scheduler()
    rounds = [0]

    def work():
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline or rounds[0] < 11:
            done = threading.Event()
            far = s.enter(3600, 1, print)
            s.enter(0, 1, done.set)
            if not done.wait(LONG / 2):
                break
            s.cancel(far)
            rounds[0] += 1
        s.stop()

    thread = threading.Thread(target=work)
    thread.start()
    loop.run(lambda: s.arun(forever=True))
    thread.join()
    assert rounds[0] > 10
    assert s.empty()


def test_stop_ends_it_and_a_later_run_goes_on(loop):
    s = scheduler()
    ran = []
    s.enter(0.01, 1, s.stop)
    s.enter(0.05, 1, ran.append, (1,))
    loop.run(s.arun)
    assert ran == []
    s.run()
    assert ran == [1]


def test_cancelling_it_leaves_what_is_pending(loop):
    s = scheduler()
    event = s.enter(3600, 1, print)
    assert loop.run(lambda: loop.cancelled_when(lambda: s._naps_, s.arun))
    assert s.queue == [event]
    assert not s._naps_
    assert not s._runs_


def test_cancelling_it_cancels_its_tasks(loop):
    s = scheduler()
    begun, seen = [], []

    async def act():
        begun.append(True)
        try:
            await loop.sleep(3600)
        except loop.Cancelled:
            seen.append("cancelled")
            raise

    s.enter(0, 1, act)
    s.enter(0, 1, act)
    assert loop.run(lambda: loop.cancelled_when(lambda: len(begun) == 2, lambda: s.arun(concurrent=True)))
    assert seen == ["cancelled", "cancelled"]
    assert not s._runs_


@pytest.mark.parametrize("concurrent", [False, True])
def test_an_exception_goes_to_the_caller_as_it_is(loop, concurrent):
    s = scheduler()
    seen = []

    async def fail():
        await loop.sleep(0.01)
        raise KeyError("broken")

    async def long():
        try:
            await loop.sleep(3600)
        finally:
            seen.append("ended")

    if concurrent:
        s.enter(0, 0, long)
    s.enter(0, 1, fail)
    rest = s.enter(60, 2, print)
    with pytest.raises(KeyError, match="broken"):
        loop.run(lambda: s.arun(concurrent=concurrent))
    assert s.queue == [rest]
    assert seen == ["ended"] * concurrent
    assert not s._naps_


@pytest.mark.parametrize("concurrent", [False, True])
def test_an_exception_of_a_plain_action_does_too(loop, concurrent):
    s = scheduler()
    s.enter(0, 1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run(lambda: s.arun(concurrent=concurrent))


@pytest.mark.parametrize("concurrent", [False, True])
def test_a_hook_isolates_them(loop, concurrent):
    caught = []
    s = scheduler(on_error=lambda event, error: caught.append((event, type(error))))

    async def fail():
        await loop.sleep(0.01)
        raise KeyError

    events = [s.enter(0, 1, fail), s.enter(0.05, 1, lambda: 1 / 0)]
    loop.run(lambda: s.arun(concurrent=concurrent))
    # A task goes on when it gets its turn, which on a busy machine may be after the second event.
    assert (sorted(caught) if concurrent else caught) == [
        (events[0], KeyError),
        (events[1], ZeroDivisionError),
    ]


def test_what_a_hook_raises_for_a_task_goes_to_the_caller(loop):
    def hook(event, error):
        raise RuntimeError("hook") from error

    s = scheduler(on_error=hook)

    async def fail():
        raise KeyError

    s.enter(0, 1, fail)
    with pytest.raises(RuntimeError, match="hook"):
        loop.run(lambda: s.arun(concurrent=True))


def test_a_failing_task_cancels_the_others_after_a_stop_too(loop):
    s = scheduler()
    ended = []

    async def fail():
        await loop.sleep(0.1)
        raise KeyError("broken")

    async def endless():
        try:
            await loop.sleep(3600)
        finally:
            ended.append("endless")

    s.enter(0, 0, fail)
    s.enter(0, 1, endless)
    s.enter(0.02, 0, s.stop)
    with pytest.raises(KeyError, match="broken"):
        loop.run(lambda: s.arun(concurrent=True))
    assert ended == ["endless"]
    assert not s._runs_


def test_of_several_failures_none_is_lost(loop, monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    s = scheduler()

    async def fail():
        await loop.sleep(0.02)
        raise KeyError("first")

    async def fail_at_the_end():
        try:
            await loop.sleep(3600)
        finally:
            raise LookupError("second")

    s.enter(0, 0, fail)
    s.enter(0, 1, fail_at_the_end)
    with pytest.raises(KeyError, match="first"):
        loop.run(lambda: s.arun(concurrent=True))
    assert [(type(args.exc_value), args.object) for args in reported] == [(LookupError, fail_at_the_end)]


@pytest.mark.parametrize("kind", ["coroutine", "future", "task"])
def test_a_task_that_is_cancelled_before_its_first_step_is_not_waited_for(kind):
    s = scheduler()
    begun = []

    async def act():
        begun.append(True)
        await asyncio.sleep(3600)

    made = []

    def action():
        made.append(
            act()
            if kind == "coroutine"
            else asyncio.ensure_future(act())
            if kind == "task"
            else asyncio.get_running_loop().create_future()
        )
        return made[0]

    async def main():
        running = asyncio.ensure_future(s.arun(concurrent=True))
        before = asyncio.all_tasks()
        while not made:
            await asyncio.sleep(0)
            if made:
                for task in asyncio.all_tasks() - before - {*made}:
                    task.cancel()
        done, _ = await asyncio.wait([running], timeout=LONG)
        assert done, "it waits for a task that is no more"
        await running
        if kind != "coroutine":
            assert made[0].cancelled()

    s.enter(0, 0, action)
    asyncio.run(main())
    assert not begun or kind == "task"
    assert not s._runs_


@pytest.mark.parametrize("concurrent", [False, True])
def test_no_keyword_arguments_may_be_said_with_none(loop, concurrent):
    s = scheduler()
    ran = []
    s.enter(0, 0, ran.append, (1,), None)
    s.every(0.01, lambda: (ran.append(2), s.cancel_all()), kwargs=None)
    loop.run(lambda: s.arun(concurrent=concurrent))
    assert ran == [1, 2]


def test_a_thread_and_a_task_share_one_scheduler(loop):
    s = scheduler()
    ran = []
    for n in range(500):
        s.enter(n * 0.0003, 1, ran.append, (n,))
    thread = s.run_in_thread(forever=False)
    loop.run(s.arun)
    thread.join(LONG)
    assert sorted(ran) == list(range(500))


def test_times_of_day_and_jumps_of_the_wall_clock(loop, monkeypatch):
    clocks = importlib.import_module(PACKAGE + "._clocks")
    monkeypatch.setattr(clocks, "LOOK_AGAIN", 0.05)
    ahead = [0.0]
    s = scheduler(wallclock=lambda: time.time() + ahead[0])
    ran = []
    s.at(datetime.fromtimestamp(time.time() + 3600), ran.append, ("at",))
    s.enter(0.05, 1, ahead.__setitem__, (0, 3600.0))
    loop.run(s.arun)
    assert ran == ["at"]


def test_the_clock_may_be_the_loops(loop):
    clock = (lambda: asyncio.get_running_loop().time()) if loop.name == "asyncio" else loop._trio.current_time
    s = scheduler(clock)
    ran = []

    async def main():
        s.enter(0.01, 1, ran.append, (1,))
        await s.arun()

    loop.run(main)
    assert ran == [1]


def test_trios_own_simulation_of_time():
    trio = pytest.importorskip("trio")
    testing = importlib.import_module("trio.testing")
    s = scheduler(trio.current_time)
    ran = []

    async def main():
        s.every(3600, lambda: ran.append(1) or (len(ran) == 24 and s.cancel_all()))
        await s.arun()

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert len(ran) == 24


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_needs_nothing_of_its_own(backend):
    anyio = pytest.importorskip("anyio")
    pytest.importorskip(backend)
    s = scheduler()
    ran = []

    async def act():
        await anyio.sleep(0.01)
        ran.append(1)

    async def main():
        s.enter(0.01, 1, act)
        s.enter(0.01, 2, act)
        await s.arun(concurrent=True)

    anyio.run(main, backend=backend)
    assert ran == [1, 1]


def test_trio_as_a_guest_of_asyncio():
    trio = pytest.importorskip("trio")
    s = scheduler()
    ran = []

    async def act():
        await trio.sleep(0.01)
        ran.append(1)

    async def host():
        done = asyncio.get_running_loop().create_future()
        s.enter(0.01, 1, act)
        trio.lowlevel.start_guest_run(
            s.arun,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=done.set_result,
        )
        (await asyncio.wait_for(done, LONG)).unwrap()

    asyncio.run(host())
    assert ran == [1]


def test_elsewhere_it_says_what_it_needs():
    s = scheduler()
    with pytest.raises(RuntimeError, match="asyncio or trio"):
        s.arun().send(None)
    assert not s._runs_


def test_nobody_is_woken_in_a_loop_that_is_closed():
    s = scheduler()
    s.enter(60, 1, print)
    loop = asyncio.new_event_loop()
    task = loop.create_task(s.arun())
    while not s._naps_:
        loop.run_until_complete(asyncio.sleep(0.001))
    (nap,) = s._naps_
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    nap.end()


def test_it_imports_no_event_loop():
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import {PACKAGE}._async; "
        "assert not {'asyncio', 'trio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-S", "-c", code], check=True)


class Struck(Exception):
    """What a signal handler has raised."""


@pytest.mark.parametrize("moment", ["made", "had"])
def test_a_strike_while_a_task_is_started_leaves_nothing_to_wait_for(moment):
    class Task(asyncio.Task):
        def add_done_callback(self, *args, **kwargs):
            if armed and moment == "had":
                armed.clear()
                raise Struck
            return super().add_done_callback(*args, **kwargs)

    def make(loop, awaited, **kwargs):
        task = Task(awaited, loop=loop, **kwargs)
        if armed and moment == "made":
            armed.clear()
            raise Struck
        return task

    async def action():
        ran.append("struck")

    async def other():
        ran.append("other")

    async def main():
        asyncio.get_running_loop().set_task_factory(make)
        with pytest.raises(Struck):
            await asyncio.wait_for(s.arun(concurrent=True), LONG)
        await asyncio.sleep(0)
        assert not s._runs_
        s.on_error = lambda event, error: ran.append(type(error))
        s.enter(0, 1, lambda: armed.append(True))
        s.enter(0, 2, action)
        s.enter(0, 3, other)
        await asyncio.wait_for(s.arun(concurrent=True), LONG)

    ran, armed = [], []
    s = scheduler()
    s.enter(0, 1, lambda: armed.append(True))
    s.enter(0, 2, action)
    asyncio.run(main())
    assert ran == [Struck, "other"]
