# SPDX-License-Identifier: MIT
"""Future: its life, who is told, and what an interruption in the middle does."""

from __future__ import annotations

import builtins
import concurrent.futures as stdlib_futures
import gc
import os
import pickle
import signal
import sys
import threading
import time
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from patience import SOON, until

from plait.futures import CancelledError, Future, InvalidStateError, TimeoutError


def finished(value):
    future = Future()
    future.set_result(value)
    return future


def test_result_waits_for_another_thread():
    future = Future()
    threading.Timer(0.02, future.set_result, ["value"]).start()
    assert future.result(timeout=10) == "value"


def test_result_raises_what_was_set():
    future = Future()
    future.set_exception(KeyError("gone"))
    with pytest.raises(KeyError, match="gone"):
        future.result()
    assert isinstance(future.exception(), KeyError)


@pytest.mark.parametrize("timeout", [0, -1, 0.02])
def test_result_times_out_exactly_and_leaves_no_waiter_behind(timeout):
    future = Future()
    start = time.monotonic()
    for error in (TimeoutError, stdlib_futures.TimeoutError, builtins.TimeoutError):
        with pytest.raises(error):
            future.result(timeout=timeout)
    assert 3 * max(timeout, 0) <= time.monotonic() - start < 3 * max(timeout, 0) + SOON
    assert not future._watchers


def test_cancel_wakes_everybody_and_is_seen_as_both_cancelled_errors():
    future = Future()
    seen = []

    def wait():
        try:
            future.result(10)
        except stdlib_futures.CancelledError as error:
            seen.append(error)

    waiters = [threading.Thread(target=wait) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    while len(future._watchers) < 3:
        time.sleep(0.001)
    assert future.cancel()
    for waiter in waiters:
        waiter.join(10)
    assert len(seen) == 3
    assert isinstance(seen[0], CancelledError)
    assert type(pickle.loads(pickle.dumps(seen[0]))) is CancelledError


def test_callbacks_run_in_order_once_each_and_late_ones_at_once():
    future = Future()
    calls = []
    for n in range(5):
        future.add_done_callback(lambda f, n=n: calls.append((n, f.result())))
    future.set_result("x")
    future.add_done_callback(lambda f: calls.append((5, f.result())))
    assert calls == [(n, "x") for n in range(6)]


def test_an_exception_in_a_callback_is_logged_and_the_next_one_runs(caplog):
    future = Future()
    ran = []
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(ran.append)
    future.set_result(1)
    assert ran == [future]
    assert "ZeroDivisionError" in caplog.text


def test_an_exception_in_a_callback_goes_to_the_unraisable_hook_without_logging(monkeypatch):
    seen = []
    monkeypatch.delitem(sys.modules, "logging")
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_type))
    future = Future()
    future.add_done_callback(lambda f: 1 / 0)
    future.cancel()
    assert seen == [ZeroDivisionError]


def test_a_base_exception_in_a_callback_reaches_the_finisher_after_all_callbacks():
    future = Future()
    ran = []

    def interrupt(f):
        raise KeyboardInterrupt

    future.add_done_callback(interrupt)
    future.add_done_callback(ran.append)
    with pytest.raises(KeyboardInterrupt):
        future.set_result(1)
    assert ran == [future]
    assert future.result() == 1


def test_waiters_are_woken_before_a_callback_that_needs_them():
    future = Future()
    woken = threading.Event()

    def wait():
        future.result()
        woken.set()

    thread = threading.Thread(target=wait)
    ok = []
    future.add_done_callback(lambda f: ok.append(woken.wait(10)))
    thread.start()
    while len(future._watchers) < 2:
        time.sleep(0.001)
    future.set_result(None)
    thread.join()
    assert ok == [True]


@pytest.mark.parametrize("method", ["set_result", "set_exception"])
def test_a_second_outcome_is_refused(method):
    value = 1 if method == "set_result" else ValueError()
    for future in (finished(1), Future()):
        future.cancel()
        with pytest.raises(InvalidStateError):
            getattr(future, method)(value)
        with pytest.raises(stdlib_futures.InvalidStateError):
            getattr(future, method)(value)


def race(*functions):
    """Run the functions at the same moment; return what each returned or raised."""
    barrier = threading.Barrier(len(functions))
    outcomes = [None] * len(functions)

    def run(index, function):
        barrier.wait()
        try:
            outcomes[index] = function()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_of_racing_claims_cancellations_and_results_exactly_one_wins():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(150):
            future = Future()
            told = []
            future.add_done_callback(told.append)
            claimed, cancelled, *results = race(
                future.set_running_or_notify_cancel,
                future.cancel,
                lambda f=future: f.set_result(1),
                lambda f=future: f.set_result(2),
            )
            assert future.done()
            winners = results.count(None)
            assert winners == (0 if cancelled else 1)
            assert cancelled is future.cancelled()
            if cancelled:
                assert claimed is False
            assert told == [future]
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_may_use_the_future_that_it_interrupts():
    current = [Future()]
    hits = []

    def handler(number, frame):
        future = current[0]
        future.add_done_callback(hits.append)
        future.cancel()
        future.done(), future.running(), repr(future)
        try:
            future.set_result("handler")
        except InvalidStateError:
            pass
        signal.setitimer(signal.ITIMER_REAL, 0.0003)  # the next comes when this one is done

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end or not hits:
            future = current[0] = Future()
            try:
                if future.set_running_or_notify_cancel():
                    future.add_done_callback(lambda f: None)
                    future.set_result("main")
            except (InvalidStateError, RuntimeError):
                pass
            assert future.done()
            assert future.cancelled() or future.result() in ("main", "handler")
    finally:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_exception_from_a_signal_handler_leaves_no_waiter_behind():
    class Stop(Exception):
        pass

    def handler(number, frame):
        raise Stop

    def strike():
        until(lambda: future._watchers)
        time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGALRM)

    future = Future()
    before = signal.signal(signal.SIGALRM, handler)
    thread = threading.Thread(target=strike)
    try:
        with pytest.raises(Stop):
            thread.start()
            future.result()
    finally:
        signal.signal(signal.SIGALRM, before)
        thread.join()
    assert not future._watchers
    future.set_result(1)


def test_a_future_and_its_exception_form_no_cycle():
    class Error(Exception):
        pass

    gc.disable()
    try:
        future = Future()
        error = Error()
        gone = weakref.ref(error)
        future.set_exception(error)
        del error
        try:
            future.result()
        except Error:
            pass
        del future
        if sys.implementation.name == "cpython":
            assert gone() is None
    finally:
        gc.enable()


def test_it_is_an_instance_of_the_standard_future_for_those_who_ask():
    future = Future()
    assert isinstance(future, stdlib_futures.Future)
    assert isinstance(future, Future)
    assert type(future) is Future
    assert future.__class__.__name__ == "Future"

    class Mine(Future):
        pass

    assert isinstance(Mine(), stdlib_futures.Future)
    assert isinstance(Mine(), Mine)


def test_it_refuses_to_be_pickled_and_says_why():
    with pytest.raises(TypeError, match="waiters"):
        pickle.dumps(Future())


def test_it_can_be_parametrised():
    assert Future[int].__origin__ is Future


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_may_use_a_future_that_a_thread_waited_for():
    future = Future()
    thread = threading.Thread(target=future.result, daemon=True)
    thread.start()
    while not future._watchers:
        time.sleep(0.001)
    pid = os.fork()
    if not pid:
        future.set_result(3)
        os._exit(0 if future.result(SOON) == 3 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not future.done()
    future.set_result(None)


class LifeMachine(RuleBasedStateMachine):
    """Does whatever to one of ours and one of the standard ones; they must say the same."""

    @initialize()
    def start(self):
        self.ours, self.theirs = Future(), stdlib_futures.Future()
        self.our_calls, self.their_calls = [], []

    def same(self, action):
        answers = []
        for future in (self.ours, self.theirs):
            try:
                answers.append(action(future))
            except Exception as error:
                answers.append(next(name for name in ERRORS if isinstance(error, ERRORS[name])))
        assert answers[0] == answers[1]
        assert self.ours._state == self.theirs._state
        assert self.our_calls == self.their_calls

    @rule()
    def cancel(self):
        self.same(lambda f: f.cancel())

    @rule()
    def claim(self):
        self.same(lambda f: f.set_running_or_notify_cancel())

    @rule(value=st.integers())
    def set_result(self, value):
        self.same(lambda f: f.set_result(value))

    @rule(value=st.integers())
    def set_exception(self, value):
        self.same(lambda f: f.set_exception(KeyError(value)))

    @rule(n=st.integers())
    def add_callback(self, n):
        self.ours.add_done_callback(lambda f: self.our_calls.append((n, f.cancelled())))
        self.theirs.add_done_callback(lambda f: self.their_calls.append((n, f.cancelled())))

    @rule(name=st.sampled_from(["done", "running", "cancelled"]))
    def ask(self, name):
        self.same(lambda f: getattr(f, name)())

    @rule(name=st.sampled_from(["result", "exception"]))
    def get(self, name):
        self.same(lambda f: repr(getattr(f, name)(timeout=0)))

    @rule()
    def show(self):
        self.same(lambda f: repr(f).partition("state=")[2])


ERRORS = {
    "cancelled": stdlib_futures.CancelledError,
    "timeout": stdlib_futures.TimeoutError,
    "state": stdlib_futures.InvalidStateError,
    "key": KeyError,
    "runtime": RuntimeError,
}
LifeMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.mark.filterwarnings("ignore")
class TestLife(LifeMachine.TestCase):
    pass
