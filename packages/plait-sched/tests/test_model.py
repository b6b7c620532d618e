# SPDX-License-Identifier: MIT
"""A scheduler beside the simplest one that can be written, and beside the interpreter's own, step by step.

Both of a pair get the same calls, and their actions do the same: note that they were called, enter and cancel other
events, stop, raise. Then all that can be seen must be the same.
"""

from __future__ import annotations

import random
import sched as stdlib_sched
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plait.sched import scheduler

# PyPy is slow until it has compiled what hypothesis does; the others say as much.
SLOWER = 1 if sys.implementation.name == "cpython" else 3


class Plain:
    """A list, searched for the smallest whenever something is wanted."""

    def __init__(self, clock):
        self.clock = clock
        self.entries = []  # [time, priority, number, action], action None for what repeats
        self.repeating = {}  # number of the entry that stands for it -> what it is
        self.count = 0
        self.stopped = False
        self.catching = False

    def enterabs(self, time, priority, action):
        self.count += 1
        self.entries.append([time, priority, self.count, action])
        return self.count

    def enter(self, delay, priority, action):
        return self.enterabs(self.clock.now + delay, priority, action)

    def every(self, interval, action, misfire, grace, delay):
        start = self.clock.now + (interval if delay is None else delay)
        if grace is None and misfire == "skip":
            grace = interval / 2
        series = {
            "number": 0, "start": start, "interval": interval, "action": action, "misfire": misfire, "grace": grace
        }  # fmt: skip
        series["entry"] = self.enterabs(start, 0, None)
        self.repeating[series["entry"]] = series
        return series

    def cancel(self, handle):
        if isinstance(handle, dict):
            handle = handle["entry"]
        found = [entry for entry in self.entries if entry[2] == handle]
        if not found:
            raise ValueError
        self.entries.remove(found[0])
        self.repeating.pop(handle, None)

    def cancel_all(self):
        gone = len(self.entries)
        self.entries.clear()
        self.repeating.clear()
        return gone

    def stop(self):
        self.stopped = True

    def next_due(self):
        return min(self.entries)[0] if self.entries else None

    def run(self, blocking=True):
        self.stopped = False
        while self.entries and not self.stopped:
            entry = min(self.entries, key=lambda entry: entry[:3])
            if self.clock.now < entry[0]:
                if not blocking:
                    return entry[0] - self.clock.now
                self.clock.delay(entry[0] - self.clock.now)
                continue
            self.entries.remove(entry)
            series = self.repeating.pop(entry[2], None)
            action = entry[3] if series is None else self.repeat(series)
            try:
                if action is not None:
                    action(self)
            except KeyError:
                if not self.catching:
                    raise
            self.clock.delay(0)
        return None

    def repeat(self, series):
        """Every call that is due, and then the three rules, word by word."""

        def due(number):
            return series["start"] + number * series["interval"]

        number, now, grace = series["number"], self.clock.now, series["grace"]
        calls = [number]
        while due(calls[-1] + 1) <= now:
            calls.append(calls[-1] + 1)
        after = calls[-1] + 1
        if grace is not None:
            calls = [one for one in calls if now - due(one) <= grace]
        if series["misfire"] != "catch_up":
            calls = calls[-1:]
        series["number"] = calls[0] + 1 if calls else after
        series["entry"] = self.enterabs(due(series["number"]), 0, None)
        self.repeating[series["entry"]] = series
        return series["action"] if calls else None


class Clock:
    def __init__(self):
        self.now = 0
        self.delays = []

    def delay(self, amount):
        self.delays.append(amount)
        self.now += amount


class Side:
    """One of the two: its scheduler, its clock, what it has entered and called."""

    def __init__(self, kind):
        self.clock = Clock()
        self.s = Plain(self.clock) if kind is Plain else kind(lambda: self.clock.now, self.clock.delay)
        self.handles = []
        self.log = []
        self.patience = 0  # calls until a run with repeating events is ended
        self.repeats = False

    def try_to(self, do, *args):
        try:
            self.log.append(do(*args))
        except (ValueError, KeyError) as error:
            self.log.append(type(error))

    def action(self, name, script):
        """What an event is to do: its *script* is a list of (word, number, number)."""

        def act(*_):
            self.log.append((name, self.clock.now))
            self.patience -= 1
            if self.patience < 0 and self.repeats:
                self.s.stop()  # what was to do it may have been cancelled
            for word, first, second in script:
                if word == "enter" and len(self.handles) < 400:
                    self.handles.append(
                        self.s.enter(first, second, self.action((name, len(self.handles)), script[1:]))
                    )
                elif word == "cancel" and self.handles:
                    self.cancel(first * 3 + second)
                elif word == "work":
                    self.clock.now += first
                elif word == "stop":
                    self.s.stop()
                elif word == "cancel all" and first > 6:
                    self.try_to(self.s.cancel_all)
                elif word == "raise":
                    raise KeyError(name)

        return act

    def cancel(self, which):
        if self.handles:
            handle = self.handles[which % len(self.handles)]
            try:
                self.s.cancel(handle)
                self.log.append("cancelled")
            except ValueError:
                self.log.append("not pending")


numbers = st.integers(0, 9)
STANDARD_WORDS = ["enter", "enter", "cancel", "work", "raise"]


def scripts(words):
    return st.lists(st.tuples(st.sampled_from(words), numbers, st.integers(0, 2)), max_size=3)


class Pair(RuleBasedStateMachine):
    kinds: tuple = ()
    words: list = []

    def __init__(self):
        super().__init__()
        self.sides = [Side(kind) for kind in self.kinds]
        self.entered = 0

    def both(self, do):
        for side in self.sides:
            side.patience = 300
            do(side)

    def enter_one(self, enter, *args, script=()):
        self.entered += 1
        name = self.entered
        self.both(
            lambda side: side.handles.append(getattr(side.s, enter)(*args, side.action(name, list(script))))
        )

    @rule(data=st.data(), delay=st.integers(-3, 20), priority=st.integers(0, 2))
    def enter(self, data, delay, priority):
        self.enter_one("enter", delay, priority, script=data.draw(scripts(self.words)))

    @rule(time=st.integers(0, 60), priority=st.integers(0, 2))
    def enterabs(self, time, priority):
        self.enter_one("enterabs", time, priority)

    @rule(data=st.data(), count=st.integers(20, 80), spread=st.integers(1, 9))
    def enter_many(self, data, count, spread):
        script = data.draw(scripts(self.words))
        for n in range(count):
            self.enter_one("enter", (n * 7) % spread, n % 3, script=() if n % 7 else script)

    @rule(which=st.integers(0, 400))
    def cancel(self, which):
        self.both(lambda side: side.cancel(which))

    @rule(amount=st.integers(0, 30))
    def pass_time(self, amount):
        def do(side):
            side.clock.now += amount

        self.both(do)

    @rule()
    def run_what_is_due(self):
        self.both(lambda side: side.try_to(side.s.run, False))

    @rule()
    def run(self):
        self.both(lambda side: side.try_to(side.s.run))

    @invariant()
    def look_the_same(self):
        ours, other = self.sides
        assert ours.log == other.log
        assert ours.clock.now == other.clock.now
        assert ours.clock.delays == other.clock.delays
        entries = other.s.entries if isinstance(other.s, Plain) else other.s.queue
        assert [event[:2] for event in ours.s.queue] == [tuple(entry[:2]) for entry in sorted(entries)]
        assert ours.s.empty() is (not entries)


class BesideTheStandard(Pair):
    kinds = (scheduler, stdlib_sched.scheduler)
    words = STANDARD_WORDS


class BesideAPlainOne(Pair):
    kinds = (scheduler, Plain)
    words = [*STANDARD_WORDS, "stop", "cancel all"]

    @rule(
        interval=st.integers(1, 9),
        misfire=st.sampled_from(["coalesce", "catch_up", "skip"]),
        grace=st.none() | st.integers(0, 30),
        delay=st.none() | st.integers(0, 9),
        data=st.data(),
    )
    def every(self, interval, misfire, grace, delay, data):
        self.entered += 1
        name = self.entered
        # Not forever: the more it enters, the longer a run.
        script = data.draw(scripts(["cancel", "work", "stop", "raise", "cancel all"]))

        def do(side):
            side.repeats = True
            action = side.action(name, script)
            if isinstance(side.s, Plain):
                side.handles.append(side.s.every(interval, action, misfire, grace, delay))
            else:
                side.handles.append(side.s.every(interval, action, misfire=misfire, grace=grace, delay=delay))

        self.both(do)

    @precondition(lambda self: self.sides[1].s.repeating)
    @rule(after=st.integers(0, 40))
    def run(self, after):
        # It would not end by itself.
        self.enter_one("enter", after, 99, script=[("stop", 0, 0)])
        self.both(lambda side: side.try_to(side.s.run))

    @precondition(lambda self: not self.sides[1].s.repeating)
    @rule()
    def run_to_the_end(self):
        self.both(lambda side: side.try_to(side.s.run))

    @rule()
    def cancel_all(self):
        self.both(lambda side: side.try_to(side.s.cancel_all))

    @rule(catching=st.booleans())
    def isolate(self, catching):
        ours, other = self.sides
        ours.s.on_error = (lambda *_: None) if catching else None
        other.s.catching = catching

    @invariant()
    def next_is_the_same(self):
        ours, other = self.sides
        assert ours.s.next_due() == other.s.next_due()
        assert len(ours.s._repeating_) == len(other.s.repeating)


TestBesideTheStandard = BesideTheStandard.TestCase
TestBesideAPlainOne = BesideAPlainOne.TestCase
TestBesideTheStandard.settings = settings(max_examples=25 // SLOWER, stateful_step_count=20, deadline=None)
TestBesideAPlainOne.settings = settings(max_examples=40 // SLOWER, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("seed", range(20))
def test_many_events_go_in_the_standard_order(seed):
    def play(kind):
        dice = random.Random(seed)
        side = Side(kind)
        for n in range(300):
            side.handles.append(side.s.enterabs(dice.randrange(500), dice.randrange(3), side.action(n, [])))
        for n in range(300):
            script = [("enter", dice.randrange(9), dice.randrange(3)), ("cancel", dice.randrange(200), 0)]
            side.s.enterabs(dice.randrange(500), 1, side.action(n, script))
        for _ in range(100):
            side.cancel(dice.randrange(300))
        side.s.run()
        return side.log, side.clock.delays

    assert play(scheduler) == play(stdlib_sched.scheduler)
