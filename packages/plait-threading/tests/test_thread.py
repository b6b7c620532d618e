# SPDX-License-Identifier: MIT
"""Thread: starting, ending, waiting, naming."""

from __future__ import annotations

import gc
import os
import pickle
import re
import sys
import threading as standard
import weakref
from importlib import import_module

import pytest

from plait import threading as ours
from plait._thread import Lifetime
from plait.threading import Event, Thread, current_thread, stack_size

implementation = import_module(f"{ours.__name__}._threads")
alive = import_module(f"{ours.__name__}._registry").alive


def test_start_runs_the_target_once_with_its_arguments():
    seen = []
    thread = Thread(target=lambda *a, **k: seen.append((a, k)), args=[1, 2], kwargs={"x": 3})
    assert not thread.is_alive()
    assert thread.ident is None
    assert thread.native_id is None
    thread.start()
    thread.join()
    assert seen == [((1, 2), {"x": 3})]
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()


def test_a_running_thread_is_listed_and_knows_itself():
    go, seen = Event(), []

    def work():
        seen.append((current_thread(), ours.get_ident(), ours.get_native_id()))
        go.wait()

    thread = Thread(target=work, name="w")
    before = {*ours.enumerate()}
    thread.start()
    assert thread.is_alive()
    assert {*ours.enumerate()} - before == {thread}  # one of another test may have ended meanwhile
    assert any(ours.active_count() == len(ours.enumerate()) for _ in range(1000))
    while not seen:  # a machine may be so busy that start() did not wait for it
        thread.join(0.001)
    assert thread.native_id is not None
    go.set()
    thread.join(10)
    assert seen == [(thread, thread.ident, thread.native_id)]
    assert not thread.is_alive()
    assert thread not in ours.enumerate()


def test_join_waits_no_longer_than_its_timeout_and_serves_several_callers():
    go = Event()
    thread = Thread(target=go.wait)
    thread.start()
    thread.join(0.01)
    thread.join(-1)
    assert thread.is_alive()
    joiners = [Thread(target=thread.join) for _ in range(5)]
    for joiner in joiners:
        joiner.start()
    go.set()
    for joiner in joiners:
        joiner.join(10)
        assert not joiner.is_alive()


def test_join_refuses_what_would_never_end():
    with pytest.raises(RuntimeError, match="before it is started"):
        Thread().join()
    errors = []

    def work():
        try:
            current_thread().join()
        except RuntimeError as error:
            errors.append(str(error))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert "current thread" in errors[0]


@pytest.fixture
def starts_by(monkeypatch):
    """Have threads started by another function than the interpreter's: it is given that, and what is to be called."""
    module = import_module(f"{Lifetime.__module__}._lifetime")

    def replace(start):
        real = module.start_detached
        monkeypatch.setattr(module, "start_detached", lambda course, _args: start(real, course))

    return replace


def test_start_that_fails_leaves_nothing_registered_and_may_be_repeated(starts_by, monkeypatch):
    def refuse(*_args):
        raise RuntimeError("can't start new thread")

    thread = Thread(target=int)
    starts_by(refuse)
    with pytest.raises(RuntimeError):
        thread.start()
    monkeypatch.undo()
    assert not thread.is_alive()
    assert thread not in ours.enumerate()
    thread.start()
    thread.join()


def test_start_raises_if_the_thread_dies_at_birth_and_may_be_repeated(starts_by, monkeypatch):
    raised = standard.Event()

    def collect():
        while not raised.wait(0.001):
            gc.collect()  # where only that destroys what nobody has any more

    def stillborn(start, course):
        del course
        # It never runs what was ours.
        return start(int if sys.implementation.name == "cpython" else collect, ())

    thread = Thread(target=int)
    starts_by(stillborn)
    monkeypatch.setattr(implementation, "PATIENCE", 60)  # it is told, and does not lose its patience
    try:
        with pytest.raises(RuntimeError, match="died before it could begin"):
            thread.start()
    finally:
        raised.set()
    monkeypatch.undo()
    assert (thread.ident, thread.is_alive()) == (None, False)
    assert thread not in ours.enumerate()
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


class Struck(Exception):
    pass


@pytest.fixture
def strike(monkeypatch):
    """Have a function raise, as a signal handler does that strikes when it is called, at its first *times* calls."""

    def prepare(where, name, times=1):
        real, strikes = getattr(where, name), iter([Struck] * times)

        def struck(*args):
            for error in strikes:
                raise error
            return real(*args)

        monkeypatch.setattr(where, name, struck)
        return strikes

    return prepare


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("when", ["before there is a thread", "when it has died at birth"])
def test_a_start_that_is_struck_again_and_again_may_be_repeated(starts_by, strike, when, times):
    thread = Thread(target=int)
    life = thread._life_
    if when == "before there is a thread":
        strike(implementation, "arm")
        left = strike(type(life), "renewed", times)
    else:
        real = import_module(f"{Lifetime.__module__}._lifetime").start_detached
        starts_by(lambda start, _course: start(int, ()))
        left = strike(type(life), "renewed", times)
    with pytest.raises(Struck):
        thread.start()
    assert [*left] == []
    assert (thread.ident, thread.is_alive()) == (None, False)
    assert id(thread) not in alive
    if when != "before there is a thread":
        assert not life.gate.locked()
        starts_by(lambda _start, course: real(course, ()))
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_a_start_that_is_struck_while_the_thread_runs_has_started_it(slow_starts, strike):
    # The strikes come when it loses its patience, and when it looks what to do about that.
    strike(implementation, "_insist")
    left = strike(implementation, "_leave_alone", 3)
    thread = Thread(target=int)
    with pytest.raises(Struck):
        thread.start()
    assert [*left] == []
    assert thread in ours.enumerate()
    with pytest.raises(RuntimeError, match="once"):
        thread.start()
    slow_starts.set()
    assert thread.result(10) == 0
    assert id(thread) not in alive


@pytest.mark.parametrize("struck", [False, True])
def test_a_thread_that_fails_to_begin_while_start_is_there_is_told_once(monkeypatch, strike, struck):
    def fail():
        raise LookupError

    reports, thread = [], Thread(target=int)
    life = thread._life_
    monkeypatch.setattr(ours, "excepthook", lambda args: reports.append(args.exc_type))
    with monkeypatch.context() as patch:
        patch.setattr(import_module(f"{Lifetime.__module__}._lifetime"), "get_ident", fail)
        if struck:
            strike(implementation, "_insist")
        with pytest.raises(Struck if struck else RuntimeError) as raised:
            thread.start()
    if struck:
        assert reports == [LookupError]
    else:
        assert isinstance(raised.value.__cause__, LookupError)
        assert reports == []
    assert life.wait(10)  # others may have got as far as that
    assert (thread.ident, thread.is_alive()) == (None, False)
    thread.start()
    assert thread.result(10) == 0


def test_a_thread_that_cannot_even_say_that_it_fails_is_not_listed(monkeypatch):
    def fail(*_args):
        raise LookupError

    thread = Thread(target=int)
    with monkeypatch.context() as patch:
        patch.setattr(implementation.ThreadCourse, "begin", fail)
        patch.setattr(implementation.ThreadCourse, "fail", lambda *_args: None)
        if sys.implementation.name != "cpython":
            patch.setattr(implementation, "PATIENCE", 0.1)
        with pytest.raises(RuntimeError, match="died before"):
            thread.start()
    assert id(thread) not in alive
    assert thread.name not in [other.name for other in standard.enumerate()]
    thread.start()
    assert thread.result(10) == 0


@pytest.mark.parametrize("where", ["arm", "ThreadCourse", "give_way"])
def test_a_thread_that_is_just_being_started_cannot_be_joined_yet(slow_starts, monkeypatch, where):
    refusals, real = [], getattr(implementation, where)

    def at_that_moment(*args):
        with pytest.raises(RuntimeError, match="before it is started"):
            thread.join()
        with pytest.raises(RuntimeError, match="before it is started"):
            thread.result(0)
        refusals.append((thread.is_alive(), "initial" in repr(thread)))
        return real(*args)

    monkeypatch.setattr(implementation, where, at_that_moment)
    thread = Thread(target=int)
    thread.start()
    slow_starts.set()
    assert thread.result(10) == 0
    assert refusals == [(False, True)]


def test_start_raises_what_the_first_steps_of_the_thread_raise(monkeypatch):
    def fail(_course):
        raise LookupError("first steps")

    thread = Thread(target=int)
    with monkeypatch.context() as patch:
        patch.setattr(implementation.ThreadCourse, "begin", fail)
        with pytest.raises(RuntimeError, match="died before it could begin") as caught:
            thread.start()
    assert isinstance(caught.value.__cause__, LookupError)
    assert (thread.ident, thread.is_alive()) == (None, False)
    assert thread not in ours.enumerate()
    assert thread.name not in [other.name for other in standard.enumerate()]
    thread.start()
    assert thread.result(10) == 0


def test_a_tracer_that_raises_at_once_fails_the_thread_and_not_its_start(run_script):
    ended = run_script("""
        import threading
        import {threading} as t
        def fail(*_): raise LookupError("tracer")
        told = []
        t.excepthook = lambda args: told.append(args.exc_type)
        for module in (threading, t):
            for name in ("setprofile", "settrace"):
                install = getattr(module, name)
                install(fail)
                thread = t.Thread(target=len, args=([],))
                thread.start()
                thread.join(10)
                install(None)
                assert not thread.is_alive() and thread not in t.enumerate()
                assert threading.active_count() == 1 and t.active_count() == 1
                try: thread.result()
                except LookupError: print("failed")
        print(told == [LookupError] * 4)
        thread = t.Thread(target=print, args=("runs",)); thread.start(); thread.join()
    """)
    assert (ended.returncode, ended.out.split()) == (0, [*["failed"] * 4, "True", "runs"]), ended.err


@pytest.fixture
def slow_starts(starts_by, monkeypatch):
    """Threads do not begin before the event that this is, and start() has little patience."""
    go = Event()
    monkeypatch.setattr(implementation, "PATIENCE", 0.01)
    starts_by(lambda start, course: start(lambda: (go.wait(), course()), ()))
    return go


def test_start_does_not_wait_for_a_thread_that_is_only_slow(slow_starts):
    go, seen = slow_starts, []
    thread = Thread(target=lambda: seen.append(current_thread()))
    thread.start()
    assert thread.is_alive()
    assert thread.ident
    assert thread in ours.enumerate()
    go.set()
    thread.join(10)
    assert seen == [thread]


def test_a_thread_that_fails_to_begin_when_start_has_left_is_reported(slow_starts, monkeypatch):
    reports = []

    def fail():
        raise LookupError

    monkeypatch.setattr(ours, "excepthook", lambda args: reports.append(args.exc_type))
    thread = Thread(target=int)
    thread.start()
    monkeypatch.setattr(import_module(f"{Lifetime.__module__}._lifetime"), "get_ident", fail)
    slow_starts.set()
    thread._life_.wait(10)
    monkeypatch.undo()
    assert reports == [LookupError]
    assert not thread.is_alive()
    assert thread not in ours.enumerate()


def test_start_never_hangs_for_want_of_memory(run_script):
    if sys.implementation.name != "cpython":
        pytest.skip("needs CPython's way of making allocations fail")
    pytest.importorskip("_testcapi")
    ended = run_script("""
        import sys, time, _testcapi
        import {threading} as t
        sys.unraisablehook = lambda _: None
        t.excepthook = lambda _: None
        outcomes, runs = {}, []
        def work(): runs.append(1)
        thread = t.Thread(target=work); thread.start(); thread.join()
        # Allocation number n and the next few fail, in whichever thread they happen.
        for n in range(0, 160):
            thread = t.Thread(target=work)
            began = time.monotonic()
            _testcapi.set_nomemory(n, n + 3)
            try: thread.start()
            except (MemoryError, RuntimeError) as error: outcome = type(error)
            else: outcome = None
            _testcapi.remove_mem_hooks()
            took = time.monotonic() - began
            if took > 20: sys.exit(f"start() took {took} s, {n}")
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            if outcome is None:
                thread.join(20)
                if thread.is_alive(): sys.exit(f"still alive, {n}")
            elif outcome is RuntimeError and thread in t.enumerate(): sys.exit(f"listed, {n}")
        print(outcomes)
    """)
    if ended.returncode < 0:
        pytest.skip(f"the interpreter itself did not survive (signal {-ended.returncode})")
    # What there was no memory for to tell even the hook, the interpreter says itself.
    told = re.sub(r"Exception ignored on building sys\.unraisablehook .*\nMemoryError(: )?\n", "", ended.err)
    assert (ended.returncode, told) == (0, ""), ended.out


def test_the_os_error_behind_a_refused_start_is_chained(run_script):
    pytest.importorskip("resource")
    ended = run_script("""
        import errno, resource
        import {threading} as t
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        import _thread
        _thread.stack_size(1 << 28)
        go, made = t.Event(), []
        try:
            for _ in range(20):
                thread = t.Thread(target=go.wait, daemon=True); thread.start(); made.append(thread)
        except RuntimeError as error:
            assert isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EAGAIN, repr(error.__cause__)
            assert set(t.enumerate()) == {*made, t.main_thread()}
            print("refused")
        go.set()
    """)
    if "PyPy" not in sys.version:
        assert ended.out == "refused\n", ended.err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems limit processes, not threads")
def test_a_start_beyond_the_limit_on_threads_is_refused_and_leaves_nothing_behind(run_script):
    ended = run_script("""
        import errno, os, resource
        import {threading} as t
        first = t.Thread(target=int); first.start(); first.join()  # what is imported late has been
        if os.geteuid() == 0:
            os.setuid(65534)  # root is not bound by it
        soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
        thread = t.Thread(target=int)
        for _ in range(2):
            try:
                thread.start()
            except RuntimeError as error:
                cause = error.__cause__
                assert isinstance(cause, OSError) and cause.errno == errno.EAGAIN, repr(cause)
                assert (thread.ident, thread.is_alive(), t.enumerate()) == (None, False, [t.main_thread()])
                print("refused")
            else:
                os._exit(77)
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
        thread.start()
        print(thread.result(10))
    """)
    if ended.returncode == 77:
        pytest.skip("the limit does not bind here")
    assert (ended.returncode, ended.out.split()) == (0, ["refused", "refused", "0"]), ended.err


def test_a_class_whose_threads_are_daemons_may_say_so_by_an_attribute(run_script):
    done = run_script("""
        import time
        from {threading} import Event, Thread
        class Daemon(Thread):
            daemon = True
            def run(self):
                print(Thread().daemon, flush=True)
                told.set()
                time.sleep(60)
        told = Event()
        Daemon().start()
        told.wait(10)
    """)
    assert (done.returncode, done.out) == (0, "True\n"), done.err


def test_an_exception_goes_to_the_excepthook_that_is_set_then(monkeypatch):
    seen = []
    monkeypatch.setattr(ours, "excepthook", seen.append)

    def fail():
        raise LookupError("x")

    thread = Thread(target=fail)
    thread.start()
    thread.join()
    (args,) = seen
    assert args.exc_type is LookupError
    assert args.exc_traceback is not None
    assert args.thread is thread


def test_an_excepthook_of_the_programs_own_is_told_of_system_exit_too(monkeypatch):
    seen = []
    monkeypatch.setattr(ours, "excepthook", seen.append)
    thread = Thread(target=sys.exit, args=(3,))
    thread.start()
    assert thread.result(10) is None
    assert [(args.exc_type, args.exc_value.code, args.thread) for args in seen] == [(SystemExit, 3, thread)]


def test_a_timeout_that_is_no_number_is_named():
    thread = Thread(target=int)
    thread.start()
    for call in (thread.join, thread.result):
        with pytest.raises(TypeError, match="timeout must be a number of seconds, or None, not '5'"):
            call("5")
    thread.join(10)


def test_a_thread_that_is_to_be_pickled_is_named():
    with pytest.raises(TypeError, match="cannot pickle or copy the thread 'reader'"):
        pickle.dumps(Thread(name="reader"))


def test_debug_is_there_without_an_import_of_its_own(run_script):
    ended = run_script("""
        import sys
        import {threading} as t
        assert t.__name__ + ".debug" not in sys.modules
        assert not t.debug.is_enabled()
        assert not hasattr(t, "debugger")
    """)
    assert (ended.returncode, ended.err) == (0, "")


@pytest.fixture
def unreported(monkeypatch):
    """Without the excepthook that the test runner puts in the place of the standard module's."""
    monkeypatch.setattr(standard, "excepthook", standard.__excepthook__)


@pytest.mark.usefixtures("unreported")
def test_the_default_excepthook_names_the_thread_and_ignores_system_exit(capsys):
    def fail():
        raise LookupError("lost")

    for target in (sys.exit, fail):
        thread = Thread(target=target, name="the-worker")
        thread.start()
        thread.join()
    err = capsys.readouterr().err
    assert err.startswith("Exception in thread the-worker:\nTraceback")
    assert err.endswith("LookupError: lost\n")


def test_an_excepthook_that_only_the_standard_module_knows_is_told(monkeypatch):
    theirs, own = [], []
    monkeypatch.setattr(standard, "excepthook", theirs.append)
    thread = Thread(target=lambda: 1 / 0, name="crashes")
    thread.start()
    thread.join()
    (args,) = theirs
    assert type(args) is type(standard.ExceptHookArgs((None,) * 4))
    assert args.exc_type is ZeroDivisionError
    assert args.exc_traceback is not None
    assert (args.thread, args.thread.name) == (thread, "crashes")
    with pytest.raises(ZeroDivisionError):
        thread.result()
    monkeypatch.setattr(ours, "excepthook", own.append)
    thread = Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    assert (len(theirs), len(own)) == (1, 1)


def test_a_failing_excepthook_is_reported_to_that_of_sys(monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, _error, _traceback: reports.append(kind))
    monkeypatch.setattr(ours, "excepthook", lambda _args: {}[0])
    thread = Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    assert reports == [KeyError]


def test_names_and_daemon_flags_follow_the_standard_rules():
    def target():
        pass

    assert Thread(target=target).name.endswith(" (target)")
    assert Thread(name=7).name == "7"
    thread = Thread(daemon=True)
    assert thread.daemon
    seen = []
    thread = Thread(target=lambda: seen.append(Thread().daemon), daemon=True)
    thread.start()
    with pytest.raises(RuntimeError):
        thread.daemon = False
    thread.join()
    assert seen == [True]
    assert not Thread().daemon
    assert "initial" in repr(Thread())
    assert "stopped daemon" in repr(thread)
    with pytest.warns(DeprecationWarning, match="daemon"):
        assert thread.isDaemon()


def test_a_subclass_overrides_run_and_must_initialise():
    class Works(Thread):
        def run(self):
            self.result = 6 * 7

    thread = Works()
    thread.start()
    thread.join()
    assert thread.result == 42

    class Forgets(Thread):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Forgets().start()


def test_a_subclass_may_use_what_subclasses_of_the_standard_one_use():
    class Returns(Thread):
        def run(self):
            self.returned = self._target(*self._args, **self._kwargs)

    thread = Returns(target=max, args=(3, 5), kwargs={"key": lambda n: -n})
    thread.start()
    thread.join()
    assert thread.returned == 3
    thread = Thread(target=int)
    assert (thread._target, thread._args, thread._kwargs) == (int, (), {})
    thread.start()
    thread.join()
    assert not {"_target", "_args", "_kwargs"} & vars(thread).keys()


def test_a_subclass_may_have_attributes_and_methods_of_its_own():
    names = """
        "_outcome _ticket _task _context _handle _began _failure _attended _ident _name _daemon _native_id _started
        _mirrored _end _gate _note _life _lifetime _state _lock _parent _process _result _thread claims end gate mirror
        note outcome context wait launch finish is_over begin arrive fail
    """.split()  # noqa: SIM905

    class Busy(Thread):
        def __init__(self):
            for name in names:
                setattr(self, name, name)
            super().__init__(name="busy")
            for name in names:
                setattr(self, name, name)

        def run(self):
            return [getattr(self, name) for name in names]

    thread = Busy()
    thread.start()
    assert thread.result(10) == names
    assert (thread.name, thread.is_alive(), thread.daemon) == ("busy", False, False)
    # Nothing of ours is found in it but what is documented, what the standard one has, and one attribute.
    assert {name for name in vars(Thread) if not name.startswith("__")} <= {
        *vars(standard.Thread),
        *("isAlive", "result", "getName", "setName", "isDaemon", "setDaemon"),
    }
    assert vars(Thread()).keys() == {"_target", "_args", "_kwargs", "_stderr", "_life_"}


@pytest.mark.parametrize(
    "use",
    [
        lambda thread: thread.name,
        lambda thread: setattr(thread, "name", "a"),
        lambda thread: thread.daemon,
        lambda thread: setattr(thread, "daemon", True),
        lambda thread: thread.ident,
        lambda thread: thread.native_id,
        lambda thread: thread.is_alive(),
        lambda thread: thread.start(),
        lambda thread: thread.join(),
    ],
)
def test_what_was_not_initialised_says_so_like_the_standard_one(use):
    def error_of(module):
        class Forgets(module.Thread):
            def __init__(self):
                pass

        with pytest.raises(Exception, match="__init__") as caught:
            use(Forgets())
        return caught

    error = error_of(ours)
    assert error.type is error_of(standard).type
    assert "Forgets" in str(error.value)
    assert "call Thread.__init__()" in str(error.value)


def test_there_are_no_groups():
    with pytest.raises(AssertionError, match=r"group must be None, not 1: there are no thread groups$"):
        Thread(1)
    with pytest.raises(AssertionError, match="target="):
        Thread(print)


def test_the_task_is_dropped_after_the_run():
    class Payload:
        def __call__(self):
            pass

    payload = Payload()
    gone = weakref.ref(payload)
    thread = Thread(target=payload)
    thread.start()
    thread.join()
    del payload
    gc.collect()
    assert gone() is None


def test_a_context_is_run_in():
    from contextvars import ContextVar, copy_context

    var = ContextVar("var", default=0)
    context = copy_context()
    context.run(var.set, 5)
    seen = []
    thread = Thread(target=lambda: seen.append(var.get()), context=context)
    thread.start()
    thread.join()
    assert seen == [5]


def test_the_main_thread_is_known_even_if_first_asked_elsewhere(run_script):
    ended = run_script("""
        import _thread, time
        lock = _thread.allocate_lock(); lock.acquire(); seen = []
        def ask():
            import {threading} as t
            seen.append((t.main_thread().ident, t.current_thread() is t.main_thread()))
            lock.release()
        _thread.start_new_thread(ask, ()); lock.acquire()
        import {threading} as t
        assert seen == [(_thread.get_ident(), False)], seen
        assert t.current_thread() is t.main_thread()
        assert t.main_thread().name == "MainThread"
    """)
    assert (ended.returncode, ended.err) == (0, "")


def test_a_foreign_thread_is_adopted_and_let_go():
    seen = []

    def work():
        seen.append(current_thread())
        assert current_thread() is seen[0]
        assert seen[0] in ours.enumerate()

    thread = standard.Thread(target=work, name="foreign")
    thread.start()
    thread.join()
    (adopted,) = seen
    assert adopted.name == "foreign"
    gc.collect()
    adopted.join(10)
    assert not adopted.is_alive()
    assert adopted not in ours.enumerate()


def test_the_standard_module_knows_our_threads_and_forgets_them():
    import logging

    seen = []

    def work():
        record = logging.makeLogRecord({})
        seen.append((record.threadName, standard.current_thread() in standard.enumerate()))
        current_thread().name = "renamed"
        seen.append(standard.current_thread().name)

    before = {*standard.enumerate()}
    thread = Thread(target=work, name="ours")
    thread.start()
    thread.join()
    assert seen == [("ours", True), "renamed"]
    assert {*standard.enumerate()} <= before


def test_a_fork_in_a_thread_leaves_both_modules_in_order(run_script):
    ended = run_script("""
        import os, threading, logging
        import {threading} as t
        go = t.Event()
        other = t.Thread(target=go.wait, name="other"); other.start()
        status = []
        def fork():
            pid = os.fork()
            if not pid:
                try:
                    assert t.enumerate() == [t.current_thread()] == [t.main_thread()], t.enumerate()
                    assert t.main_thread().name == "forker" == threading.current_thread().name
                    assert not other.is_alive(); other.join()
                    assert threading.main_thread() is threading.current_thread()
                    new = t.Thread(target=int); new.start(); new.join()
                    t.run_exit_hooks()
                    os._exit(0)
                except BaseException:
                    import traceback; traceback.print_exc(); os._exit(1)
            status.append(os.waitpid(pid, 0)[1])
            status.append(threading.current_thread().name)
            status.append(sorted(x.name for x in threading.enumerate()))
        forker = t.Thread(target=fork, name="forker"); forker.start(); forker.join()
        go.set(); other.join()
        assert status == [0, "forker", ["MainThread", "forker", "other"]], status
        assert [x.name for x in threading.enumerate()] == ["MainThread"]
    """)
    assert ended.returncode == 0, ended.err


STRUCK_STARTS = """
    import random, signal, sys, time
    {first}
    import {threading} as t
    class Struck(Exception): pass
    strikes = 0
    target = (t.Thread.{method}.__code__,)
    def strike(_number, frame):
        global strikes
        while frame is not None:
            if frame.f_code in target:
                strikes += 1
                raise Struck
            frame = frame.f_back
        signal.setitimer(signal.ITIMER_REAL, 0.00003)
    signal.signal(signal.SIGALRM, strike)
    end = time.monotonic() + 0.8
    while strikes < 400 and time.monotonic() < end:
        runs = []
        thread = t.Thread(target=runs.append, args=(1,))
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.0003))
        try: thread.start(); thread.join()
        except Struck: pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            try:
                if not thread._life_.claims:  # not started: nothing is left of the attempt, and it may be repeated
                    assert thread not in t.enumerate() and not thread.is_alive() and thread.ident is None
                    thread.start()
                thread.join(30)
                break
            except Struck: pass
        assert not thread.is_alive() and thread.ident and runs == [1], (thread, runs)
        assert thread not in t.enumerate()
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0)  # a strike that came late may have wound it up again
    assert t.active_count() == 1
"""


@pytest.mark.parametrize("first", ["", "import threading"])
@pytest.mark.parametrize("method", ["start", "join"])
def test_signals_at_any_moment_of_start_and_join_leave_a_thread_started_once_or_not_at_all(
    run_script, method, first
):
    if sys.implementation.name != "cpython":
        pytest.skip("a call of built-in code is not one step there")
    ended = run_script(STRUCK_STARTS.replace("{method}", method).replace("{first}", first))
    assert (ended.returncode, ended.err) == (0, "")


def test_a_joiner_that_is_struck_shuts_nobody_out(run_script):
    ended = run_script("""
        import random, signal, time
        import {threading} as t
        class Struck(Exception): pass
        def strike(_number, frame):
            while frame is not None:
                if frame.f_code is t.Thread.join.__code__ and armed: raise Struck
                frame = frame.f_back
        signal.signal(signal.SIGALRM, strike)
        end, strikes, armed = time.monotonic() + 0.8, 0, []
        while strikes < 100 and (not strikes or time.monotonic() < end):
            thread = t.Thread(target=time.sleep, args=(random.uniform(0, 0.0004),)); thread.start()
            others = [t.Thread(target=thread.join, args=(timeout,)) for timeout in (None, 20)]
            for other in others: other.start()
            armed.append(True)
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.0004))
            try: thread.join(random.choice([None, 20]))
            except Struck: strikes += 1
            armed.clear()
            signal.setitimer(signal.ITIMER_REAL, 0)
            for each in (thread, *others):
                each.join(30)
                assert not each.is_alive(), each
    """)
    assert (ended.returncode, ended.err) == (0, "")


def test_a_thread_that_is_the_first_to_import_the_standard_module_can_be_joined(run_script):
    # Up to 3.12 that module takes the thread for the main one, and puts a lock of its own where the interpreter opens ours.
    ended = run_script("""
        import os, sys
        import {threading} as t
        assert "threading" not in sys.modules
        def work():
            import threading
        thread = t.Thread(target=work)
        thread.start(); thread.join(20)
        print(thread.is_alive(), flush=True)
        os._exit(0)
    """)
    assert (ended.returncode, ended.out, ended.err) == (0, "False\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_thread_that_begins_while_another_forks_is_nothing_to_the_standard_module_of_the_child(run_script):
    # Hooks before a fork are called last-registered first: this one when ours has been.
    ended = run_script("""
        import os, threading
        import {threading} as t
        stay, late = t.Event(), []
        def begin():
            if late:
                late.pop().start()
        os.register_at_fork(before=begin)
        first = t.Thread(target=int); first.start(); first.join()
        late.append(t.Thread(target=stay.wait, name="late", daemon=True))
        child = os.fork()
        if child == 0:
            os._exit(threading.enumerate() != [threading.main_thread()] or t.enumerate() != [t.main_thread()])
        print(os.waitpid(child, 0)[1], sorted(thread.name for thread in threading.enumerate()))
    """)
    assert (ended.returncode, ended.out, ended.err) == (0, "0 ['MainThread', 'late']\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_standard_module_knows_our_threads_when_two_have_forked_at_a_time(run_script):
    ended = run_script("""
        import os, threading
        import {threading} as t
        def fork():
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
        def meanwhile():
            if inner:
                thread = inner.pop()
                thread.start(); thread.join()
        inner = []
        os.register_at_fork(before=meanwhile)
        stay = t.Event()
        t.Thread(target=stay.wait, name="staying", daemon=True).start()
        inner.append(t.Thread(target=fork))
        fork()
        print(sorted(thread.name for thread in threading.enumerate()))
        passing = t.Thread(target=fork)
        passing.start(); passing.join()
        print(sorted(thread.name for thread in threading.enumerate()))
    """)
    assert (ended.returncode, ended.out, ended.err) == (0, "['MainThread', 'staying']\n" * 2, "")


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="others need more stack than that")
def test_a_thread_with_a_very_small_stack_ends_for_those_who_join_it():
    before = stack_size(0x10000)
    try:
        thread = Thread(target=int, daemon=True)
        thread.start()
    finally:
        stack_size(before)
    assert thread.result(20) == 0
