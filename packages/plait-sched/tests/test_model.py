# SPDX-License-Identifier: MIT
"""A scheduler against the simplest model of one, a list that is sorted when asked, step by step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from plait.sched import scheduler


class Model(RuleBasedStateMachine):
    events = Bundle("events")

    def __init__(self):
        super().__init__()
        self.now = 0
        self.slept = []
        self.ran = []
        self.pending = []
        self.s = scheduler(lambda: self.now, self.delay)

    def delay(self, amount):
        self.slept.append(amount)
        self.now += amount

    def model_run(self, until):
        expected = []
        while self.pending and min(self.pending).time <= until:
            event = min(self.pending)
            self.pending.remove(event)
            expected.append(event.argument[0])
        return expected

    @rule(target=events, delay=st.integers(-3, 20), priority=st.integers(0, 2))
    def enter(self, delay, priority):
        name = object()
        event = self.s.enter(delay, priority, self.ran.append, (name,))
        assert event.time == self.now + delay
        self.pending.append(event)
        return event

    @rule(target=events, count=st.integers(20, 80), spread=st.integers(1, 9))
    def enter_many(self, count, spread):
        entered = [
            self.s.enterabs(self.now + (n * 7) % spread, n % 3, self.ran.append, (object(),))
            for n in range(count)
        ]
        self.pending += entered
        return multiple(*entered)

    @rule(event=consumes(events))
    def cancel(self, event):
        try:
            self.s.cancel(event)
        except ValueError:
            assert event not in self.pending
        else:
            self.pending.remove(event)

    @rule(amount=st.integers(0, 10))
    def pass_time(self, amount):
        self.now += amount

    @rule()
    def run_what_is_due(self):
        to_go = self.s.run(blocking=False)
        assert self.ran == self.model_run(self.now)
        self.ran.clear()
        assert to_go == (min(self.pending).time - self.now if self.pending else None)

    @rule()
    def run_all(self):
        assert self.s.run() is None
        assert self.ran == self.model_run(float("inf"))
        self.ran.clear()

    @invariant()
    def shows_what_is_pending(self):
        assert self.s.empty() is (not self.pending)
        assert self.s.queue == sorted(self.pending)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
