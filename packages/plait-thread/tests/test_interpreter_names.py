# SPDX-License-Identifier: MIT
"""Everything that the interpreter's `_thread` has somewhere is here everywhere, and means the same."""

from __future__ import annotations

import _thread as interpreters_own
import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from plait import _thread as ours
from plait._thread import start_joinable_thread

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

LONG = 20
LINUX = sys.platform == "linux"


def in_thread(work):
    """What *work* returns in another thread; its exception is raised here."""
    outcome = []

    def run():
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    start_joinable_thread(run).join(LONG)
    ((value, error),) = outcome
    if error is not None:
        raise error
    return value


def output_of(script):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=4 * LONG, check=True
    )
    return ended.stdout


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", [n for n in dir(interpreters_own) if not n.startswith("__")])
def test_it_has_every_name_of_this_interpreter(name):
    if name in ("_set_sentinel", "_excepthook", "_ExceptHookArgs") or hasattr(ours, name):
        return
    pytest.fail(f"_thread.{name} has no counterpart")


def test_the_old_names_are_the_new_ones():
    assert ours.allocate is ours.allocate_lock
    assert ours.exit_thread is ours.exit
    assert ours.start_new is ours.start_new_thread
    lock = ours.allocate_lock()
    assert lock.acquire_lock(False)
    assert lock.locked_lock()
    lock.release_lock()
    assert not lock.locked()


def test_exit_ends_the_thread_silently():
    seen = []

    def work():
        seen.append(1)
        ours.exit()

    with pytest.raises(SystemExit):
        ours.exit_thread()
    start_joinable_thread(work).join(LONG)
    assert seen == [1]


def test_error_is_runtime_error_and_the_longest_timeout_is_accepted():
    assert ours.error is RuntimeError
    lock = ours.allocate_lock()
    assert lock.acquire(True, ours.TIMEOUT_MAX)
    with pytest.raises((OverflowError, ValueError)):
        lock.acquire(True, ours.TIMEOUT_MAX * 2)


def test_count_goes_up_and_down_with_threads():
    # In a process of its own: in this one a thread of another test may just be leaving.
    script = f"""
import time
from {ours.__name__} import _count, allocate_lock, start_joinable_thread
go, ready = allocate_lock(), allocate_lock()
go.acquire()
ready.acquire()
before = _count()
handle = start_joinable_thread(lambda: (ready.release(), go.acquire()))
ready.acquire()
print(_count() - before)
go.release()
handle.join()
while _count() != before:
    time.sleep(0.001)
"""
    assert output_of(script) == "1\n"


def test_this_is_the_main_interpreter():
    assert ours._is_main_interpreter()
    assert ours.daemon_threads_allowed()
    assert ours.can_start_threads()


def test_identifiers_are_of_the_thread_that_asks():
    assert ours.get_ident() != in_thread(ours.get_ident)
    assert ours.get_native_id() == os.getpid()
    assert in_thread(ours.get_native_id) != os.getpid()
    assert in_thread(ours._get_main_thread_ident) == ours.get_ident()


def test_the_stack_size_is_told_and_set():
    before = ours.stack_size()
    try:
        assert ours.stack_size(1 << 20) == before
        assert ours.stack_size() == 1 << 20
        assert in_thread(lambda: "ran") == "ran"
        with pytest.raises(ValueError, match="size"):
            ours.stack_size(1)
    finally:
        ours.stack_size(before)


# ------------------------------------------------------------------------------------------------------ starting threads


def test_start_new_thread_passes_arguments_on_and_returns_the_identifier():
    seen, done = [], ours.allocate_lock()
    done.acquire()

    def work(*args, **kwargs):
        seen.append((args, kwargs, ours.get_ident()))
        done.release()

    ident = ours.start_new_thread(work, (1, 2), {"three": 3})
    assert done.acquire(True, LONG)
    assert seen == [((1, 2), {"three": 3}, ident)]
    for wrong in ((None, ()), (int, []), (int, (), [])):
        with pytest.raises(TypeError):
            ours.start_new_thread(*wrong)


@pytest.mark.parametrize("start", [ours.start_new_thread, ours.start_joinable_thread])
def test_a_thread_that_cannot_be_started_says_why_and_what_to_do(start):
    before = ours.stack_size()
    try:
        try:
            ours.stack_size(1 << 46)  # more than there is address space
        except ValueError:
            pytest.skip("this platform does not accept the size")
        with pytest.raises(RuntimeError, match=r"can't start new thread: .*memory") as caught:
            start(int, ()) if start is ours.start_new_thread else start(int)
    finally:
        ours.stack_size(before)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("start", [ours.start_new_thread, ours.start_joinable_thread])
def test_an_exception_that_nobody_catches_is_told_to_the_unraisable_hook(start, monkeypatch):
    seen, told = [], ours.Parker()

    def hook(args):
        seen.append((args.exc_type, args.object))
        told.unpark()

    def fail():
        raise KeyError("lost")

    monkeypatch.setattr(sys, "unraisablehook", hook)
    start(fail, ()) if start is ours.start_new_thread else start(fail)
    assert told.park(LONG)
    assert seen[0][0] is KeyError
    # 3.13 puts the function into the message
    assert seen[0][1] in (fail, None)


def test_shutdown_waits_for_threads_that_are_not_daemons():
    # The real one is part of the interpreter's end, so it is asked in a process of its own.
    script = f"""
import time
from {ours.__name__} import _shutdown, start_joinable_thread
done = []
start_joinable_thread(lambda: (time.sleep(0.2), done.append("waited for")), daemon=False)
start_joinable_thread(lambda: (time.sleep(1000), done.append("never")))
_shutdown()
print(done)
"""
    assert output_of(script) == "['waited for']\n"


def test_a_handle_for_a_thread_that_was_started_elsewhere_is_done_when_somebody_says_so():
    idents, told, go = [], ours.Parker(), ours.Parker()
    # It stays: the joiner could get its identifier, and would not wait for itself.
    other = start_joinable_thread(lambda: (idents.append(ours.get_ident()), told.unpark(), go.park(LONG)))
    assert told.park(LONG)
    handle = ours._make_thread_handle(idents[0])
    assert not handle.is_done()
    handle.join(0.01)
    joiner = start_joinable_thread(handle.join)
    handle._set_done()
    joiner.join(LONG)
    assert joiner.is_done()
    assert handle.is_done()
    go.unpark()
    other.join(LONG)


def test_a_handle_for_a_thread_that_was_started_elsewhere_knows_which():
    handle = ours._make_thread_handle(ours.get_ident())
    assert handle.ident == ours.get_ident()
    assert f"ident={ours.get_ident()}" in repr(handle)
    with pytest.raises(RuntimeError, match="current thread"):
        handle.join()
    for nothing_of_the_kind in ("a", None, 1.5):
        with pytest.raises(TypeError, match="ident must be an integer"):
            ours._make_thread_handle(nothing_of_the_kind)


# -------------------------------------------------------------------------------------------------------- reentrant locks


def hold(lock):
    """A thread that holds *lock* until it is told to let go."""
    taken, go = ours.Parker(), ours.Parker()

    def work():
        with lock:
            taken.unpark()
            go.park(LONG)

    handle = start_joinable_thread(work)
    assert taken.park(LONG)

    def let_go():
        go.unpark()
        handle.join(LONG)

    return let_go


def test_an_rlock_tells_whether_it_is_held_by_anybody():
    lock = ours.RLock()
    assert not lock.locked()
    with lock:
        assert lock.locked()
        assert lock.acquire()
        lock.release()
        assert lock.locked()
        assert in_thread(lock.locked)
    assert not lock.locked()
    let_go = hold(lock)
    assert lock.locked()
    let_go()
    assert not lock.locked()


def test_asking_an_rlock_does_not_take_it():
    # If locked() tried the lock, another thread's acquire(False) would now and then fail without a reason.
    lock, over, failures = ours.RLock(), [], []

    def ask():
        while not over:
            lock.locked()

    def take():
        for _ in range(2000):
            if lock.acquire(False):
                lock.release()
            else:
                failures.append(1)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        asker = start_joinable_thread(ask)
        taker = start_joinable_thread(take)
        taker.join(LONG)
        over.append(1)
        asker.join(LONG)
    finally:
        sys.setswitchinterval(before)
    assert not failures


def test_an_rlock_is_what_a_condition_needs_and_one_of_the_interpreters():
    lock = ours.RLock()
    lock.acquire()
    lock.acquire()
    state = lock._release_save()
    assert not lock._is_owned()
    let_go = hold(lock)
    let_go()
    lock._acquire_restore(state)
    lock.release()
    assert lock._is_owned()
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    assert isinstance(lock, ours.RLockType)
    assert isinstance(interpreters_own.RLock(), ours.RLockType)


def test_an_rlock_acquires_and_releases_in_built_in_code():
    for name in ("acquire", "release", "__enter__", "__exit__"):
        assert getattr(ours.RLock, name) is getattr(ours.RLockType, name)


def test_an_rlock_can_be_subclassed_and_weakly_referenced():
    import weakref

    class Named(ours.RLock):
        name = None

    lock = Named()
    lock.name = "mine"
    with lock:
        assert lock.locked()
    assert lock.name == "mine"
    assert weakref.ref(lock)() is lock


# --------------------------------------------------------------------------------------------------------- thread locals


def test_a_subclass_of_local_is_initialised_once_per_thread_with_the_same_arguments():
    class Local(ours._local):
        def __init__(self, *args, **kwargs):
            calls.append((args, kwargs))
            self.where = ours.get_ident()

    calls = []
    local = Local(1, two=2)
    assert local.where == ours.get_ident()
    assert in_thread(lambda: local.where) != local.where
    assert calls == [((1,), {"two": 2})] * 2
    with pytest.raises(TypeError):
        ours._local(1)


def test_values_of_a_local_are_of_one_thread_and_gone_with_it():
    local, gone = ours._local(), []

    class Value:
        def __del__(self):
            gone.append(1)

    def work():
        local.value = Value()
        return list(vars(local))

    assert in_thread(work) == ["value"]
    assert not hasattr(local, "value")
    for _ in range(3):
        gc.collect()
    assert gone == [1]


# ------------------------------------------------------------------------------------------------------- names of threads


@pytest.mark.skipif(not LINUX, reason="reads the name where Linux keeps it")
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("worker", "worker"),
        ("", ""),
        ("a" * 40, "a" * 15),
        ("é" * 10, "é" * 7),
        ("a" + "é" * 10, "a" + "é" * 7),
        ("日本語の名前です", "日本語の名"),
        ("x" * 13 + "😀", "x" * 13),
        ("before\0after", "before"),
        ("\ud800z", "?z"),
    ],
)
def test_a_thread_gets_a_name_that_the_system_shows_and_no_half_character(name, kept):
    def work():
        ours.set_name(name)
        with open(f"/proc/self/task/{ours.get_native_id()}/comm", "rb") as file:
            return file.read(), ours._get_name()

    assert in_thread(work) == (kept.encode() + b"\n", kept)


def test_a_name_is_a_string():
    with pytest.raises(TypeError, match="bytes"):
        ours.set_name(b"worker")
    assert ours._NAME_MAXLEN >= 15


# ------------------------------------------------------------------------------------------------ interrupting the main one


@pytest.fixture
def handled():
    """The numbers that a handler for SIGINT and SIGUSR1 was called with."""
    seen = []
    before = {
        number: signal.signal(number, lambda number, _frame: seen.append(number))
        for number in (signal.SIGINT, signal.SIGUSR1)
    }
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


def test_interrupt_main_calls_the_handler_of_the_signal(handled):
    ours.interrupt_main()
    ours.interrupt_main(signal.SIGUSR1)
    start_joinable_thread(ours.interrupt_main).join(LONG)
    start_joinable_thread(lambda: ours.interrupt_main(signal.SIGUSR1)).join(LONG)
    deadline = time.monotonic() + LONG
    while len(handled) < 4:
        assert time.monotonic() < deadline
    assert sorted(handled) == sorted([signal.SIGINT, signal.SIGUSR1] * 2)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_interrupt_main_leaves_alone_what_python_does_not_handle(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        ours.interrupt_main()
        in_thread(ours.interrupt_main)
        time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [-1, 0, 1000])
def test_interrupt_main_knows_no_such_signal(number):
    with pytest.raises(ValueError):
        ours.interrupt_main(number)
    with pytest.raises(ValueError):
        in_thread(lambda: ours.interrupt_main(number))


def test_interrupt_main_ends_the_waiting_of_a_main_thread():
    interrupted, go, lock = [], ours.Parker(), ours.allocate_lock()
    lock.acquire()

    def once(number, frame):
        if not interrupted:
            interrupted.append(number)
            signal.default_int_handler(number, frame)

    def interrupt():
        go.park(LONG)
        # What comes in the last instructions before a thread goes to sleep in C does not wake it.
        while not interrupted:
            time.sleep(0.05)
            ours.interrupt_main()

    before = signal.signal(signal.SIGINT, once)
    interrupter = start_joinable_thread(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            go.unpark()
            lock.acquire(True, LONG)
    finally:
        interrupted.append(None)
        interrupter.join(LONG)
        signal.signal(signal.SIGINT, before)


# -------------------------------------------------------------------------------------------------------------- the hooks


def test_the_hook_prints_what_ended_a_thread_but_not_an_exit(capsys):
    class Somebody:
        name = "somebody"

    try:
        raise ValueError("so it ended")
    except ValueError as error:
        fields = (type(error), error, error.__traceback__, Somebody())
    args = ours._ExceptHookArgs(fields)
    assert (args.exc_type, args.exc_value, args.exc_traceback, args.thread) == fields == tuple(args)
    assert type(args).__name__ == type(args).__qualname__ == "_ExceptHookArgs"
    told = zip(("exc_type", "exc_value", "exc_traceback", "thread"), fields, strict=True)
    assert repr(args) == f"_thread._ExceptHookArgs({', '.join(f'{name}={value!r}' for name, value in told)})"
    ours._excepthook(args)
    said = capsys.readouterr().err
    assert said.startswith("Exception in thread somebody:\nTraceback")
    assert said.endswith("ValueError: so it ended\n")
    ours._excepthook(ours._ExceptHookArgs((SystemExit, SystemExit(), None, None)))
    assert capsys.readouterr().err == ""
    with pytest.raises(TypeError):
        ours._ExceptHookArgs((1, 2))
