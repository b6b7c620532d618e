# SPDX-License-Identifier: MIT
"""An exception out of a signal handler, at each place of a call that cancels, in turn.

CPython looks for signals at the head of a function and behind a call of C code. A profile function is called at just these
places, and may raise in the handler's stead.
"""

from __future__ import annotations

import datetime
import gc
import os
import sys
from importlib import import_module

import pytest

from plait.sched import scheduler

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="PyPy looks for signals at nearly every bytecode"
)


class Struck(Exception):
    pass


class Nap:
    """Of a run that waits for an event."""

    def __init__(self, event):
        self.event = event
        self.ended = False

    def end(self):
        self.ended = True


def struck_everywhere(make, call, check):
    """Do it, struck at the first place; then at the second; and so on, until it comes to its end. In the code of this
    file nothing strikes: it stands for that of a user."""
    places = 0
    while True:
        state, left = make(), [places]

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
                call(*state)
            finally:
                sys.setprofile(None)
        except Struck:
            pass
        finally:
            gc.enable()
        check(*state)
        if left[0] >= 0:
            break
        places += 1
    assert places > 5


def begin(s):
    return [
        s.enter(100, 1, bool),
        s.every(50, bool),
        s.at(datetime.datetime(2200, 1, 1), bool),
        s.enter(100, 1, bool),
    ]


@pytest.mark.parametrize("which", range(4))
def test_cancel_all_has_happened_or_not(which):
    def make():
        s = scheduler()
        entered = begin(s)[which]
        nap = Nap(getattr(entered, "event", None) or entered)
        s._naps_.append(nap)
        return s, nap

    def check(s, nap):
        if len(s.queue) == len(s._repeating_) + len(s._by_wall_clock_) + 2 == 4:
            assert not nap.ended
        else:
            assert s.empty()
            assert not s._repeating_
            assert not s._by_wall_clock_
            assert nap.ended

    struck_everywhere(make, lambda s, _: s.cancel_all(), check)


@pytest.mark.parametrize("which", range(4))
def test_cancel_has_happened_or_not(which):
    def make():
        s = scheduler()
        entered = begin(s)[which]
        nap = Nap(getattr(entered, "event", None) or entered)
        s._naps_.append(nap)
        return s, nap, entered

    def check(s, nap, entered):
        if nap.event in s.queue:
            assert not nap.ended
            assert entered is nap.event or not entered.over()
        else:
            assert nap.ended
            assert entered is nap.event or entered.over()

    struck_everywhere(make, lambda s, _, entered: s.cancel(entered), check)


class Disguised(TimeoutError, ValueError, RuntimeError):
    """Of kinds that are caught for another reason: no more descriptors, a nap that is not in the list any more."""


@pytest.mark.parametrize("wall", [False, True])
def test_what_a_handler_raises_is_raised_whatever_it_is(wall):
    places = 0
    while True:
        s, left = scheduler(), [places]
        if wall:
            s.at(datetime.datetime.now() + datetime.timedelta(milliseconds=5), bool)
        else:
            s.enter(0.0001, 1, bool)

        def strike(frame, event, _, left=left):
            # (What is raised in a finaliser, as a nap's is, cannot go anywhere.)
            code = frame.f_code
            if event in ("call", "c_return") and code.co_filename != __file__ and code.co_name != "abandon":
                left[0] -= 1
                if left[0] < 0:
                    sys.setprofile(None)
                    raise Disguised

        gc.disable()
        try:
            sys.setprofile(strike)
            try:
                s.run()
            finally:
                sys.setprofile(None)
            struck = False
        except Disguised:
            struck = True
        finally:
            gc.enable()
        assert struck == (left[0] < 0), f"swallowed at place {places}"
        if not struck:
            break
        places += 1
    assert places > 5


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only where open files are listed")
def test_no_descriptor_is_left_open():
    naps = import_module(scheduler.__module__ + "._naps")
    if not naps._clocks.can_be_told_of_jumps:
        pytest.skip("no such descriptors")
    before = len(os.listdir("/proc/self/fd"))

    def check(made):
        made.clear()
        assert len(os.listdir("/proc/self/fd")) == before

    struck_everywhere(lambda: ([],), lambda made: made.append(naps.ClockSleep(None, True, True)), check)
