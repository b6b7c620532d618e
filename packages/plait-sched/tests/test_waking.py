# SPDX-License-Identifier: MIT
"""A sleeping run and those who wake it, whatever it is that sleeps."""

from __future__ import annotations

import math
import os
import threading
import time

import pytest

from plait.sched import boottime, scheduler


class Bell:
    """A delayfunc that can be ended."""

    def __init__(self):
        self._event = threading.Event()
        self.asked = []

    def wait(self, seconds):
        self.asked.append(seconds)
        self._event.wait(seconds)
        self._event.clear()

    def ring(self):
        self._event.set()


def sleeps_on_a_bell(**others):
    bell = Bell()
    return scheduler(delayfunc=bell.wait, wakefunc=bell.ring, **others)


LONG = 20  # seconds that no wake-up takes, unless it is lost; events that are far away come an hour later

# Each makes a scheduler whose run() can be woken within a tenth of a second.
SLEEPERS = {
    "default": scheduler,
    "time.time": lambda: scheduler(time.time),
    "boottime": lambda: scheduler(boottime),
    "perf_counter": lambda: scheduler(time.perf_counter),
    "own function that sleeps": lambda: scheduler(delayfunc=lambda seconds: time.sleep(seconds)),
    "own function, wall clock": lambda: scheduler(time.time, lambda seconds: time.sleep(seconds)),
    "Event().wait": lambda: scheduler(delayfunc=threading.Event().wait),
    "own clock and function, rechecked": lambda: scheduler(
        lambda: time.monotonic(), lambda seconds: time.sleep(seconds), recheck=0.02
    ),
    "woken": sleeps_on_a_bell,
    "own clock, woken": lambda: sleeps_on_a_bell(timefunc=lambda: time.monotonic()),
}


@pytest.fixture(params=SLEEPERS)
def s(request):
    return SLEEPERS[request.param]()


def started(run, *args, **kwargs):
    """The thread that runs it, and where it will say when that returned."""
    ended = []
    thread = threading.Thread(target=lambda: (run(*args, **kwargs), ended.append(time.monotonic())))
    thread.start()
    time.sleep(0.05)  # most likely asleep; if not yet, the same must hold
    return thread, ended


def joined(thread, ended, since):
    thread.join(LONG)
    assert not thread.is_alive()
    assert ended[0] - since < LONG


def test_an_earlier_event_is_called_in_time(s):
    ran = []
    late = s.enter(3600, 1, ran.append, ("late",))
    thread, ended = started(s.run)
    since = time.monotonic()
    s.enter(0.1, 1, lambda: ran.append(time.monotonic() - since))
    deadline = since + LONG
    while not ran:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert 0.1 <= ran[0] < LONG
    since = time.monotonic()
    s.cancel(late)
    joined(thread, ended, since)


def test_the_cancellation_of_the_last_event_ends_it(s):
    event = s.enter(3600, 1, print)
    thread, ended = started(s.run)
    since = time.monotonic()
    s.cancel(event)
    joined(thread, ended, since)


def test_stop_ends_it_and_a_later_run_goes_on(s):
    ran = []
    event = s.enter(3600, 1, ran.append, (1,))
    thread, ended = started(s.run)
    since = time.monotonic()
    s.stop()
    joined(thread, ended, since)
    assert s.queue == [event]
    s.enter(0.01, 1, ran.append, (0,))
    s.enter(0.02, 1, s.cancel, (event,))
    s.run()
    assert ran == [0]


def test_cancel_all_ends_it(s):
    for n in range(3):
        s.enter(3600 + n, 1, print)
    s.every(3000, print)
    thread, ended = started(s.run)
    since = time.monotonic()
    assert s.cancel_all() == 4
    joined(thread, ended, since)
    assert s.empty()


def test_one_that_waits_for_ever_for_new_events_is_woken_by_the_first(s):
    ran = []
    thread, ended = started(s.run, forever=True)
    s.enter(0.01, 1, ran.append, (1,))
    deadline = time.monotonic() + LONG
    while not ran:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert thread.is_alive()
    since = time.monotonic()
    s.stop()
    joined(thread, ended, since)


def test_nobody_is_woken_in_vain(s):
    soon = s.enter(3600, 1, print)
    thread, ended = started(s.run)
    if not s._naps_:
        s.cancel(soon)
        thread.join(10)
        pytest.skip("looks by itself every so often")
    (nap,) = s._naps_
    for _ in range(10):
        s.cancel(s.enter(7200, 1, print))
    assert s._naps_ == [nap]
    since = time.monotonic()
    s.cancel(soon)
    joined(thread, ended, since)


def test_every_change_at_the_moment_of_falling_asleep_is_seen():
    # The changes fall on all steps of going to sleep; one that is missed is a sleep of an hour.
    for s in (scheduler(), scheduler(time.time), sleeps_on_a_bell()):
        thread = s.run_in_thread()
        deadline = time.monotonic() + 0.4
        rounds = 0
        while time.monotonic() < deadline or rounds < 11:
            rounds += 1
            done = threading.Event()
            far = s.enter(3600, 1, print)
            s.enter(0, 1, done.set)
            assert done.wait(LONG)
            s.cancel(far)
        thread.stop()
        thread.join(LONG)
        assert not thread.is_alive()


def test_a_simulation_is_asked_for_whole_delays_unless_it_says_otherwise():
    asked = []

    class Clock:
        now = 0

    def delay(amount):
        asked.append(amount)
        Clock.now += amount

    for recheck, expected in ((None, [10, 0]), (math.inf, [10, 0]), (4, [4, 4, 2, 0])):
        Clock.now = 0
        asked.clear()
        s = scheduler(lambda: Clock.now, delay, recheck=recheck)
        s.enter(10, 1, print, ("",), {"end": ""})
        s.run()
        assert asked == expected


def test_a_delayfunc_that_can_be_woken_is_asked_for_whole_delays():
    bell = Bell()
    s = scheduler(delayfunc=bell.wait, wakefunc=bell.ring)
    far = s.enter(3600, 1, print)
    thread, ended = started(s.run)
    since = time.monotonic()
    while not bell.asked:
        assert time.monotonic() < since + LONG
        time.sleep(0.001)
    s.enter(0, 1, s.cancel, (far,))
    joined(thread, ended, since)
    assert len(bell.asked) == 2
    assert 1800 < bell.asked[0] <= 3600
    assert bell.asked[1] == 0


def test_a_real_delayfunc_is_asked_for_little_at_a_time():
    asked = []

    def delay(seconds):
        asked.append(seconds)
        time.sleep(seconds)
        if len(asked) == 4:
            s.enter(0, 1, s.cancel, (far,))

    s = scheduler(delayfunc=delay)
    far = s.enter(3600, 1, print)
    s.run()
    assert len(asked) == 5
    assert max(asked) <= 0.05
    assert asked[-1] == 0


def test_sleeping_leaves_no_descriptor_behind():
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("needs /proc")
    s = scheduler(time.time)
    s.enter(0.01, 1, print, ("",), {"end": ""})
    s.run()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        s.enter(0.002, 1, int)
        s.run()
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_descriptors_it_looks_at_the_clock_every_so_often(monkeypatch):
    from plait.sched import _clocks, _naps

    asked = []
    sleep = _naps.ParkedSleep.sleep

    def ask(nap, seconds):
        asked.append(seconds)
        if len(asked) == 4:
            s.cancel(far)
        sleep(nap, seconds)

    monkeypatch.setattr(_naps.ParkedSleep, "sleep", ask)
    monkeypatch.setattr(_clocks, "LOOK_AGAIN", 0.05)
    if _clocks.can_be_told_of_jumps:

        def refuse(*_args, **_kwargs):
            raise OSError(24, "too many open files")

        monkeypatch.setattr(os, "eventfd", refuse)
    s = scheduler(time.time)
    far = s.enter(3600, 1, int)
    s.run()
    assert len(asked) == 4
    assert max(asked) <= 0.05


def test_a_sleep_on_descriptors_ends_by_bell_time_and_jump(monkeypatch):
    from plait.sched import _clocks, _naps

    if not _clocks.can_be_told_of_jumps:
        pytest.skip("needs timerfd")
    for boot in (True, False):
        nap = _naps.ClockSleep(None, boot, wall=True)
        begun = time.monotonic()
        nap.sleep(0.05)
        assert 0.04 < time.monotonic() - begun < LONG
        nap = _naps.ClockSleep(None, boot, wall=True)
        nap.end()
        nap.end()
        nap.sleep(3600)
        assert time.monotonic() - begun < 2 * LONG
    # Setting the machine's clock is not for tests. A timer that is cancelled by that is readable, as one that expires.
    monkeypatch.setattr(_naps, "FAR_AWAY", time.time() + 0.05)
    nap = _naps.ClockSleep(None, boot=False, wall=True)
    begun = time.monotonic()
    nap.sleep(None)
    assert time.monotonic() - begun < LONG


def test_the_boot_clock_goes_on():
    first = boottime()
    time.sleep(0.01)
    assert boottime() - first >= 0.009
    now = time.monotonic()
    assert boottime() >= now - 1


def test_a_time_that_cannot_be_compared_wakes_the_run_which_says_so():
    s = scheduler()
    raised = []

    def run():
        try:
            s.run()
        except TypeError as error:
            raised.append(error)

    event = s.enter(3600, 1, print)
    thread, _ = started(run)
    odd = s.enterabs("tomorrow", 1, print)
    thread.join(LONG)
    assert len(raised) == 1
    s.cancel(odd)
    assert s.queue == [event]
