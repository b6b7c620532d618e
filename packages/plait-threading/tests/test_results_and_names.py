# SPDX-License-Identifier: MIT
"""What threads leave behind, what they are called, when timers fire, what traces them."""

from __future__ import annotations

import contextvars
import gc
import os
import sys
import threading as standard
import traceback
import weakref

import pytest

from plait import threading as ours
from plait.threading import Event, Semaphore, Thread, Timer


def fail(*_args):
    raise LookupError("lost")


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(ours, "excepthook", lambda _args: None)


def started(thread):
    thread.start()
    return thread


def test_the_result_is_what_the_target_or_run_returned():
    class Answers(Thread):
        def run(self):
            return 42

    assert started(Thread(target=sorted, args=("ba",))).result() == ["a", "b"]
    assert started(Answers()).result(10) == 42
    assert started(Thread(target=lambda: None)).result() is None
    assert started(Thread()).result() is None


@pytest.mark.usefixtures("quiet")
def test_the_result_of_a_failed_thread_is_its_exception_as_often_as_asked():
    thread = started(Thread(target=fail))
    thread.join()
    depths = []
    for ask in (thread.result, lambda: thread.join(reraise=True), thread.result):
        with pytest.raises(LookupError, match="lost") as caught:
            ask()
        depths.append(len(caught.traceback))
        assert caught.traceback[-1].name == "fail"
    assert depths[0] == depths[2]
    assert thread.join() is None


def test_a_result_that_is_not_there_yet_times_out():
    go = Event()
    thread = started(Thread(target=go.wait, args=(20,)))
    with pytest.raises(TimeoutError, match="has not ended"):
        thread.result(timeout=0.01)
    assert thread.join(0.01, reraise=True) is None
    go.set()
    assert thread.result(10) is True


@pytest.mark.usefixtures("quiet")
def test_system_exit_ends_a_thread_without_a_result():
    thread = started(Thread(target=sys.exit, args=("bye",)))
    assert thread.result(10) is None
    thread.join(reraise=True)


def test_there_is_no_result_before_the_start_nor_of_threads_of_others():
    with pytest.raises(RuntimeError, match="before it is started"):
        Thread().result()
    adopted = []
    thread = standard.Thread(target=lambda: adopted.append(ours.current_thread()))
    thread.start()
    thread.join()
    # PyPy notices the end of such a thread only when it collects garbage.
    with pytest.raises((RuntimeError, TimeoutError), match=r"no result|has not ended"):
        adopted[0].result(10 if sys.implementation.name == "cpython" else 0.1)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts references")
@pytest.mark.parametrize("raises", [False, True])
def test_a_finished_thread_is_freed_at_once(raises, capsys, monkeypatch):
    monkeypatch.setattr(standard, "excepthook", standard.__excepthook__)  # not that of the test runner

    class Job:
        def __init__(self):
            self.thread = Thread(target=self.work, args=(self,), kwargs={"me": self})
            self.thread.start()

        def work(self, _arg, me):
            if raises:
                raise LookupError

    job = Job()
    ghost = weakref.ref(job)
    job.thread.join()
    del job
    assert ghost() is None
    assert ("LookupError" in capsys.readouterr().err) is raises


class Local:
    """What a frame has."""


def test_what_a_failed_thread_had_is_freed_though_the_program_has_its_own_hook(monkeypatch):
    told, seen = [], []

    def work():
        local = Local()
        seen.append(weakref.ref(local))
        try:
            {}[0]
        except KeyError:
            raise ValueError(local.__class__.__name__)  # noqa: B904 - the first one is to be its context

    def tell(args):
        told.extend(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))

    monkeypatch.setattr(ours, "excepthook", tell)
    gc.disable()
    try:
        thread = Thread(target=work)
        thread.start()
        thread.join(10)
        if sys.implementation.name == "cpython":
            assert seen[0]() is None
            seen.append(weakref.ref(thread))
            with pytest.raises(ValueError, match="Local"):
                thread.result()
            del thread
            assert seen[1]() is None
    finally:
        gc.enable()
    assert "ValueError: Local" in "".join(told)


KEEPING = {
    "what it is given": lambda args: args,
    "the traceback": lambda args: args.exc_traceback,
    "the exception": lambda args: args.exc_value,
    "an inner frame": lambda args: args.exc_traceback.tb_next.tb_frame,
    "what led to it": lambda args: args.exc_value.__context__,
}


@pytest.mark.parametrize("what", KEEPING)
def test_what_a_hook_of_the_program_keeps_it_may_look_into(what, monkeypatch):
    """And as soon as it keeps it no more, all is freed."""
    kept, frames = [], []

    def work():
        where = Local()  # noqa: F841
        frames.append(sys._getframe())
        try:
            raise LookupError
        except LookupError:
            raise ValueError  # noqa: B904 - the first one is to be its context

    monkeypatch.setattr(ours, "excepthook", lambda args: kept.append(KEEPING[what](args)))
    thread = Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(kept) == 1
    ghost = weakref.ref(frames[0].f_locals["where"])
    assert isinstance(ghost(), Local)
    gc.disable()
    try:
        del frames[0], thread, kept[0]
        if sys.implementation.name == "cpython":
            assert ghost() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_system_is_told_a_name_that_was_given():
    def look():
        with open(f"/proc/self/task/{ours.get_native_id()}/comm", "rb") as file:
            before = file.read()
        ours.current_thread().name = "changed"
        with open(f"/proc/self/task/{ours.get_native_id()}/comm", "rb") as file:
            return before, file.read()

    assert started(Thread(target=look, name="kitchen")).result(10) == (b"kitchen\n", b"changed\n")
    long, _ = started(Thread(target=look, name="ä" * 20)).result(10)
    assert long == "äääääää\n".encode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_native_ids_are_the_systems():
    thread = started(Thread(target=ours.get_native_id))
    assert thread.result(10) == thread.native_id != ours.main_thread().native_id


def test_a_context_is_run_in():
    variable = contextvars.ContextVar("variable", default="default")
    context = contextvars.copy_context()
    context.run(variable.set, "mine")
    assert started(Thread(target=variable.get, context=context)).result(10) == "mine"


def test_old_names_still_work_and_say_what_to_use():
    thread = Thread(name="n", daemon=True)
    for call, answer in (
        (thread.isAlive, False),
        (thread.getName, "n"),
        (thread.isDaemon, True),
        (ours.currentThread, ours.current_thread()),
        (ours.activeCount, ours.active_count()),
        (Event().isSet, False),
    ):
        with pytest.warns(DeprecationWarning, match="deprecated, ") as warned:
            assert call() == answer
        assert warned[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="setName"):
        thread.setName("other")
    with pytest.warns(DeprecationWarning, match="setDaemon"):
        thread.setDaemon(False)
    assert (thread.name, thread.daemon) == ("other", False)


def test_a_timer_fires_once_after_its_interval():
    timer = Timer(0.02, lambda *args, **kwargs: (args, kwargs), [1], {"a": 2}, name="t", daemon=True)
    assert (timer.interval, timer.name, timer.daemon) == (0.02, "t", True)
    timer.start()
    assert timer.result(10) == ((1,), {"a": 2})
    assert timer.finished.is_set()


def test_a_cancelled_timer_ends_without_firing():
    fired = []
    for cancel_first in (True, False):
        timer = Timer(20, fired.append, [1])
        if cancel_first:
            timer.cancel()
        timer.start()
        timer.cancel()
        assert timer.result(10) is None
    assert fired == []


def test_the_functions_for_new_threads_are_installed_in_them(monkeypatch):
    def watch(_frame, _event, _arg):
        return None

    def installed():
        return sys.gettrace(), sys.getprofile()

    ours.settrace(watch)
    ours.setprofile(watch)
    try:
        assert (ours.gettrace(), ours.getprofile()) == (watch, watch)
        assert started(Thread(target=installed)).result(10) == (watch, watch)
        assert sys.getprofile() is not watch
    finally:
        ours.settrace(None)
        ours.setprofile(None)
    monkeypatch.setattr(standard, "_profile_hook", watch, raising=False)
    if standard.getprofile() is watch:
        assert started(Thread(target=installed)).result(10)[1] is watch


@pytest.mark.parametrize("what", ["profile", "trace"])
def test_the_functions_for_all_threads_reach_those_that_run(what):
    def watch(_frame, _event, _arg):
        return None

    runs, ask, tell = Event(), Semaphore(0), []

    def installed():
        runs.set()
        ask.acquire()
        tell.append(getattr(sys, f"get{what}")())

    get = getattr(sys, f"get{what}")
    before = get()
    thread = started(Thread(target=installed))
    assert runs.wait(10)  # one that has just been started might take it for the function for new threads
    set_all = getattr(ours, f"set{what}_all_threads")
    set_all(watch)
    try:
        mine = get()
        ask.release()
        thread.join(10)
    finally:
        set_all(None)
        getattr(sys, f"set{what}")(before)
    assert mine is watch
    assert tell == [watch if hasattr(sys, f"_set{what}allthreads") else None]


def test_stack_size_is_that_of_threads_to_come():
    old = ours.stack_size(256 * 1024)
    try:
        assert ours.stack_size() == 256 * 1024
        assert started(Thread(target=lambda: "runs")).result(10) == "runs"
        with pytest.raises(ValueError, match=r"."):
            ours.stack_size(5)
    finally:
        ours.stack_size(old)


def test_a_thread_of_somebody_else_may_start_threads():
    results = []

    def work():
        results.append(started(Thread(target=lambda: "made", daemon=True)).result(10))
        results.append(ours.current_thread().name)

    foreign = standard.Thread(target=work, name="foreign")
    foreign.start()
    foreign.join(10)
    assert results == ["made", "foreign"]
