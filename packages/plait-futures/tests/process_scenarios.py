# SPDX-License-Identifier: MIT
"""Run by test_process_pool in a process of its own: `python process_scenarios.py START_METHOD SECONDS`.

Prints a line per scenario: its name, and "ok" or what went wrong. One that takes more than SECONDS ends it.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import itertools
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings

PACKAGE = os.environ["FUTURES_UNDER_TEST"]
futures = importlib.import_module(PACKAGE)
process = importlib.import_module(PACKAGE + ".process")
multiprocessing = importlib.import_module(PACKAGE.rpartition(".")[0] + ".multiprocessing")
BrokenProcessPool = process.BrokenProcessPool


def identity(x):
    return x


def fail(text):
    raise ValueError(text)


def leave(code):
    sys.exit(code)


def hard_exit(code):
    os._exit(code)


def kill_me():
    os.kill(os.getpid(), signal.SIGKILL)


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def reciprocal(x):
    return 1 / x


class NeedsTwo(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not this one")


class BadState:
    def __reduce__(self):
        return int, ("not a number",)


def raise_needs_two():
    raise NeedsTwo(1, 2)


def raise_unpicklable():
    raise Unpicklable("text of it")


def make_lock():
    return threading.Lock()


def make_bad_state():
    return BadState()


def append_to(items):
    items.append(1)
    return len(items)


STARTED = []


def initialize(word):
    STARTED.append(word)


def started():
    return STARTED


def broken_initializer():
    raise LookupError("no such luck")


def big_result(size, path):
    turn(path, "wait")
    return b"x" * size


def opened(path):
    turn(path, "open")


def turn(path, task):
    """Mostly short; or it waits for another one, or is that other one."""
    if task == "wait":
        while not os.path.exists(path):
            time.sleep(0.01)
    elif task == "open":
        with open(path, "w"):
            pass
    return task


def fork_and_return():
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "child"


def scribble():
    for fd in range(3, 100):
        try:
            os.write(fd, b"This is no answer, and no frame either.")
        except OSError:
            pass
    time.sleep(60)


def close_descriptors():
    os.closerange(3, 256)
    time.sleep(60)


def gone(pid):
    """Whether the process has ended; a zombie of somebody else counts."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return not os.path.exists(f"/proc/{pid}")


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def raises(kind, function, *args):
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


def pids(pool):
    return [member.pid for member in pool._crew.members]


def all_end(processes):
    until(lambda: all(map(gone, processes)))


# -- scenarios; each gets a function that makes a pool ---------------------------------------------------------


def calls_and_results(make):
    with make(2) as pool:
        assert pool.submit(pow, 2, 10).result(20) == 1024
        assert pool.submit(identity, x=[1, {2: 3}]).result(20) == [1, {2: 3}]
        big = os.urandom(3_000_000)
        assert pool.submit(identity, big).result(20) == big
        assert [f.result(20) for f in [pool.submit(identity, n) for n in range(3000)]] == list(range(3000))
        assert pool.submit(int, "7").result(20) == 7
        assert pool.submit("a-b".split, "-").result(20) == ["a", "b"]
        workers = pids(pool)
    all_end(workers)


def maps(make):
    with tempfile.TemporaryDirectory() as folder, make(2) as pool:
        assert list(pool.map(pow, range(100), itertools.repeat(2))) == [n * n for n in range(100)]
        assert list(pool.map(pow, range(100), itertools.repeat(2), chunksize=7)) == [
            n * n for n in range(100)
        ]
        assert list(pool.map(identity, [], chunksize=7)) == []
        assert list(itertools.islice(pool.map(identity, itertools.count(), buffersize=4), 20)) == list(
            range(20)
        )
        chunked = pool.map(identity, itertools.count(), buffersize=2, chunksize=5)
        assert list(itertools.islice(chunked, 12)) == list(range(12))
        results = pool.map(reciprocal, [1, 2, 0, 4], chunksize=10)
        assert [next(results), next(results)] == [1.0, 0.5]
        error = raises(ZeroDivisionError, next, results)
        assert "reciprocal" in str(error.__cause__)
        assert next(results) == 0.25
        raises(StopIteration, next, results)
        kept = list(pool.map(reciprocal, [1, 0, 0, 4, 0], chunksize=3, return_exceptions=True))
        assert [kept[0], *map(type, kept[1:3]), kept[3], type(kept[4])] == [
            1.0,
            ZeroDivisionError,
            ZeroDivisionError,
            0.25,
            ZeroDivisionError,
        ]
        results = pool.map(leave, [3] * 4, chunksize=2)
        assert raises(SystemExit, next, results).code == 3
        raises(StopIteration, next, results)
        raises(ValueError, lambda: pool.map(identity, [1], chunksize=0))
        path = os.path.join(
            folder, "open"
        )  # which stays until the pool, and so the call that waits for it, has ended
        raises(futures.TimeoutError, lambda: list(pool.map(turn, [path], ["wait"], timeout=0.05)))
        opened(path)


def exceptions_carry_their_traceback(make):
    with make(1) as pool:
        error = raises(ValueError, pool.submit(fail, "words").result, 20)
        assert error.args == ("words",)
        assert "in fail" in str(error.__cause__)
        assert raises(SystemExit, pool.submit(leave, 3).result, 20).code == 3
        assert pool.submit(identity, 1).result(20) == 1


def unpicklables_fail_alone(make):
    with make(1) as pool:
        before = pool.submit(identity, 1)
        bad = [
            pool.submit(lambda: 1),
            pool.submit(identity, threading.Lock()),
            pool.submit(make_lock),
            pool.submit(raise_needs_two),
            pool.submit(raise_unpicklable),
            pool.submit(make_bad_state),
            pool.submit(identity, BadState()),
        ]
        errors = [future.exception(20) for future in bad]
        assert all(isinstance(error, Exception) for error in errors), errors
        if sys.implementation.name == "cpython":
            assert isinstance(errors[1], TypeError)
            assert isinstance(errors[2], TypeError)
        assert "NeedsTwo" in str(errors[3])
        assert "1 and 2" in str(errors[3]), errors[3]
        assert "raise_needs_two" in str(errors[3].__cause__)
        assert "Unpicklable" in str(errors[4])
        assert "text of it" in str(errors[4])
        assert isinstance(errors[5], pickle.UnpicklingError)
        assert "not a number" in str(errors[5])
        assert isinstance(errors[6], ValueError)
        raises(Exception, lambda: list(pool.map(lambda x: x, [1, 2], chunksize=2)))
        assert before.result(20) == pool.submit(identity, 1).result(20)


def arguments_are_those_of_the_moment_of_submit(make):
    with make(1) as pool:
        items = []
        many = [pool.submit(append_to, items) for _ in range(50)]
        items.append("later")
        assert {future.result(20) for future in many} == {1}


def a_killed_busy_worker_is_named(make):
    pool = make(2)
    workers = [pool.submit(pid_after, 0.01).result(20), *pids(pool)]
    running = [pool.submit(time.sleep, 60) for _ in range(2)]
    waiting = [pool.submit(identity, n) for n in range(5)]
    until(lambda: all(future.running() for future in running))
    workers = pids(pool)
    os.kill(workers[0], signal.SIGKILL)
    start = time.monotonic()
    errors = [future.exception(20) for future in running + waiting]
    assert time.monotonic() - start < 20
    assert all(isinstance(error, BrokenProcessPool) for error in errors), errors
    assert len(set(map(id, errors))) == len(errors)
    assert str(workers[0]) in str(errors[0])
    assert "SIGKILL" in str(errors[0]), errors[0]
    again = raises(BrokenProcessPool, pool.submit, identity, 1)
    assert str(workers[0]) in str(again)
    pool.shutdown()
    all_end(workers)


def a_killed_idle_worker_is_named(make):
    pool = make(2)
    list(pool.map(pid_after, [0.05, 0.05]))
    workers = pids(pool)
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: pool._crew.broken)
    assert str(workers[0]) in str(raises(BrokenProcessPool, pool.submit, identity, 1))
    pool.shutdown()
    all_end(workers)


def exit_codes_are_told(make):
    with make(1) as pool:
        error = raises(BrokenProcessPool, pool.submit(hard_exit, 17).result, 20)
        assert "code 17" in str(error), error


def a_worker_killed_in_the_middle_of_a_large_result(make):
    pool = make(2)
    list(pool.map(pid_after, [0.1, 0.1]))
    # The manager must not read, so that the worker is stuck in its write.
    entered, leave = threading.Event(), threading.Event()

    def hold_up(future):
        entered.set()
        leave.wait(20)

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "open")
        future = pool.submit(big_result, 50_000_000, path)
        until(future.running)
        held = pool.submit(pid_after, 0.1)
        held.add_done_callback(hold_up)
        assert entered.wait(20)
        opened(path)
        time.sleep(0.4)
    for pid in pids(pool):
        os.kill(pid, signal.SIGKILL)
    leave.set()
    error = future.exception(20)
    assert isinstance(error, BrokenProcessPool), error
    assert held.result(20)
    pool.shutdown()


def a_failing_initializer_breaks_the_pool(make):
    with make(2, initializer=initialize, initargs=("hello",)) as pool:
        assert pool.submit(started).result(20) == ["hello"]
    with make(2, initializer=broken_initializer) as pool:
        try:
            error = pool.submit(identity, 1).exception(20)
        except BrokenProcessPool as refused:
            error = refused
        assert isinstance(error, BrokenProcessPool), error
        assert isinstance(error.__cause__, LookupError)
        assert "broken_initializer" in str(error.__cause__.__cause__)


def cancelling_and_shutting_down(make):
    pool = make(1)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "open")
        running = pool.submit(turn, path, "wait")
        until(running.running)
        waiting = [pool.submit(pid_after, 0) for _ in range(10)]
        assert waiting[3].cancel()
        assert not running.cancel()
        pool.shutdown(wait=False, cancel_futures=True)
        assert {future.cancelled() for future in futures.as_completed(waiting, timeout=20)} == {True}
        opened(path)
        assert running.result(20) == "wait"
    raises(RuntimeError, pool.submit, identity, 1)
    pool.shutdown()
    pool.shutdown()


def shutdown_finishes_what_was_accepted(make):
    pool = make(2)
    accepted = [pool.submit(pid_after, 0.001) for _ in range(30)]
    pool.shutdown(wait=False)
    assert all(future.result(20) for future in accepted)


def a_dropped_executor_ends_its_workers(make):
    pool = make(2)
    accepted = [pool.submit(pid_after, 0.01) for _ in range(10)]
    accepted[0].result(20)
    workers = pids(pool)
    del pool
    gc.collect()
    assert all(future.result(20) for future in accepted)
    all_end(workers)


def a_long_call_delays_no_other(make):
    with make(2) as pool:
        list(pool.map(pid_after, [0.05, 0.05]))
        for _ in range(200):
            pool.submit(identity, 1).result(20)
        long = pool.submit(time.sleep, 60)
        start = time.monotonic()
        # Unknown functions, known ones, and one that has been long: the other worker does them all.
        others = [
            pool.submit(identity, 1),
            pool.submit(int, "1"),
            pool.submit(pid_after, 0.01),
            pool.submit(identity, 2),
        ]
        for future in others:
            future.result(20)
        assert time.monotonic() - start < 30
        assert not long.done()
        pool.kill_workers()
        assert isinstance(long.exception(20), BrokenProcessPool)


def submit_from_callbacks_and_signal_handlers(make):
    with make(2) as pool:
        chain = futures.Future()

        def again(future, depth=0):
            if depth == 20:
                chain.set_result(depth)
            else:
                pool.submit(identity, depth).add_done_callback(lambda f: again(f, depth + 1))

        again(None)
        assert chain.result(20) == 20
        more = []

        def handler(number, frame):
            more.append(pool.submit(identity, "signal"))
            signal.setitimer(signal.ITIMER_REAL, 0.001)  # the next comes when this one is done

        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        try:
            assert len([f.result(20) for f in [pool.submit(identity, n) for n in range(3000)]]) == 3000
            until(lambda: more)
        finally:
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert {future.result(20) for future in more} == {"signal"}


def handlers_that_raise_strand_no_call(make):
    class Struck(
        BaseException
    ):  # as KeyboardInterrupt is; an Exception may also become the outcome of the call
        pass

    armed = False

    def strike(number, frame):
        if armed:  # a signal may arrive late, when its timer has long been stopped
            raise Struck

    with make(2) as pool:
        pool.submit(identity, 1).result(20)
        submitted = []
        before = signal.signal(signal.SIGALRM, strike)
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.0006))
                for _ in range(6):
                    submitted.append(pool.submit(identity, 1))
                    submitted[-1].result(20)
                signal.setitimer(signal.ITIMER_REAL, 0)
                armed = False
            except Struck:
                armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        assert {future.result(20) for future in submitted} == {1}
        assert pool.submit(identity, 2).result(20) == 2


def terminate_workers_ends_them(make):
    pool = make(2)
    running = [pool.submit(time.sleep, 60) for _ in range(2)]
    until(lambda: all(future.running() for future in running))
    workers = pids(pool)
    pool.terminate_workers()
    assert all("SIGTERM" in str(future.exception(20)) for future in running)
    all_end(workers)


def ctrl_c_interrupts_running_calls_only(make):
    pool = make(2)
    list(pool.map(pid_after, [0.05, 0.05]))
    running = pool.submit(time.sleep, 60)
    until(running.running)
    time.sleep(0.2)
    for pid in pids(pool):
        os.kill(pid, signal.SIGINT)
    raises(KeyboardInterrupt, running.result, 20)
    assert pool.submit(identity, 5).result(20) == 5
    pool.shutdown()


def workers_are_replaced_after_their_quota(make):
    if multiprocessing_method() == "fork":
        raises(ValueError, lambda: make(1, max_tasks_per_child=2))
        return
    with make(1, max_tasks_per_child=2) as pool:
        seen = [pool.submit(pid_after, 0).result(20) for _ in range(6)]
        assert len(set(seen)) == 3, seen
        assert sorted(pool.map(identity, range(4))) == [0, 1, 2, 3]


def a_forked_child_is_refused(make):
    pool = make(1)
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "open")
    running = pool.submit(turn, path, "wait")
    until(running.running)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert isinstance(running.exception(20), BrokenProcessPool)
            raises(BrokenProcessPool, pool.submit, identity, 1)
            pool.shutdown()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    opened(path)
    assert running.result(20) == "wait"
    pool.shutdown()
    shutil.rmtree(folder)


def a_call_that_was_sent_ahead_does_not_wait_behind_a_long_one(make):
    with tempfile.TemporaryDirectory() as folder, make(2) as pool:
        path = os.path.join(folder, "open")
        list(pool.map(pid_after, [0.1, 0.1]))
        for _ in range(3):
            list(pool.map(turn, [""] * 200, [""] * 200))
        # All are given out in one go, so that the one which opens goes to the same worker as those which wait.
        entered, leave = threading.Event(), threading.Event()
        pool.submit(pid_after, 0.05).add_done_callback(lambda future: (entered.set(), leave.wait(20)))
        assert entered.wait(20)
        tasks = ["wait", *[""] * 3, "open", *[""] * 20]
        start = time.monotonic()
        submitted = [pool.submit(turn, path, task) for task in tasks]
        leave.set()
        assert [future.result(20) for future in submitted] == tasks
        assert time.monotonic() - start < 25
        assert pool.submit(turn, "", "again").result(20) == "again"


def ctrl_c_at_birth_interrupts_the_first_call(make):
    pool = make(1)
    future = pool.submit(time.sleep, 60)
    until(future.running)
    os.kill(pids(pool)[0], signal.SIGINT)
    raises(KeyboardInterrupt, future.result, 20)
    assert pool.submit(identity, 1).result(20) == 1
    pool.shutdown()


def a_call_may_fork_and_both_return(make):
    with make(1) as pool:
        assert pool.submit(fork_and_return).result(20) == 0
        assert pool.submit(identity, 1).result(20) == 1


def calls_that_spoil_the_pipes_break_the_pool(make):
    for function, words in ((scribble, "no answer"), (close_descriptors, "closed")):
        pool = make(1)
        error = pool.submit(function).exception(30)
        assert isinstance(error, BrokenProcessPool), error
        assert any(each in str(error) for each in (words, "sentinel", "exited with code 1 ")), error
        pool.shutdown()


def workers_die_at_any_moment(make):
    random.seed(1)
    for attempt in range(12):
        pool = make(2)
        submitted = [pool.submit(pid_after, random.choice([0, 0, 0.01])) for _ in range(40)]
        submitted.append(pool.submit(time.sleep, 60))
        until(lambda pool=pool: pids(pool) and pids(pool)[0])
        time.sleep(random.choice([0, 0.002, 0.05, 0.2]) if attempt else 0)
        victim = random.choice([pid for pid in pids(pool) if pid])
        os.kill(victim, signal.SIGKILL)
        start = time.monotonic()
        _, not_done = futures.wait(submitted, 20)
        assert not not_done, (not_done, pool, time.monotonic() - start)
        error = submitted[-1].exception(20)
        assert isinstance(error, BrokenProcessPool), error
        assert f"{victim} was killed by SIGKILL" in str(error), (victim, error)
        pool.shutdown()


def a_worker_that_cannot_be_started_is_not_missed_while_there_are_others(make):
    class Context:
        def __init__(self, context, starts):
            self.context, self.starts = context, starts

        def get_start_method(self):
            return "spawn"

        def Process(self, **arguments):
            self.starts -= 1
            if self.starts < 0:
                raise BlockingIOError("no more processes")
            return self.context.Process(**arguments)

    context = multiprocessing.get_context(METHOD[0])
    with futures.ProcessPoolExecutor(3, mp_context=Context(context, 1)) as pool:
        assert len(set(pool.map(pid_after, [0.01] * 20))) == 1
    with futures.ProcessPoolExecutor(3, mp_context=Context(context, 0)) as pool:
        raises(BlockingIOError, pool.submit, identity, 1)
        assert "no more processes" in str(raises(BrokenProcessPool, pool.submit, identity, 1))
    with make(3) as pool:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0) + 4, limits[1]))
        try:
            raises(OSError, pool.submit, identity, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


SUBMITS_AT_IMPORT = """
import os
from process_scenarios import futures, multiprocessing

def where():
    return os.getpid()

try:
    with futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({method!r})) as pool:
        outcome = pool.submit(where).result(20)
except RuntimeError as error:
    outcome = str(error)
"""


def a_module_that_submits_while_it_is_imported_starts_no_chain_of_workers(make):
    folder = tempfile.mkdtemp()
    sys.path.insert(0, folder)
    try:
        text = SUBMITS_AT_IMPORT.format(method=METHOD[0])
        with open(os.path.join(folder, "submits_at_import.py"), "w") as module:
            module.write(text)
        found = importlib.import_module("submits_at_import")
        # A forked worker has the module already, half imported as it is.
        assert isinstance(found.outcome, int), found.outcome
        with make(1) as pool:
            assert pool.submit(found.where).result(20) != os.getpid()
    finally:
        sys.path.remove(folder)
        shutil.rmtree(folder)


METHOD = [""]


def multiprocessing_method():
    return METHOD[0]


SCENARIOS = [
    calls_and_results,
    maps,
    exceptions_carry_their_traceback,
    unpicklables_fail_alone,
    arguments_are_those_of_the_moment_of_submit,
    a_killed_busy_worker_is_named,
    a_killed_idle_worker_is_named,
    exit_codes_are_told,
    a_worker_killed_in_the_middle_of_a_large_result,
    a_failing_initializer_breaks_the_pool,
    cancelling_and_shutting_down,
    shutdown_finishes_what_was_accepted,
    a_dropped_executor_ends_its_workers,
    a_long_call_delays_no_other,
    submit_from_callbacks_and_signal_handlers,
    handlers_that_raise_strand_no_call,
    terminate_workers_ends_them,
    ctrl_c_interrupts_running_calls_only,
    workers_are_replaced_after_their_quota,
    a_forked_child_is_refused,
    a_call_that_was_sent_ahead_does_not_wait_behind_a_long_one,
    ctrl_c_at_birth_interrupts_the_first_call,
    a_call_may_fork_and_both_return,
    calls_that_spoil_the_pipes_break_the_pool,
    workers_die_at_any_moment,
    a_worker_that_cannot_be_started_is_not_missed_while_there_are_others,
    a_module_that_submits_while_it_is_imported_starts_no_chain_of_workers,
]


def main(method, seconds):
    METHOD[0] = method
    context = multiprocessing.get_context(method)

    def make(workers, **options):
        return futures.ProcessPoolExecutor(workers, mp_context=context, **options)

    for scenario in SCENARIOS:
        start = time.monotonic()
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            scenario(make)
        except BaseException:
            print(f"{scenario.__name__}\tfailed\t{traceback.format_exc()!r}", flush=True)
        else:
            print(f"{scenario.__name__}\tok\t{time.monotonic() - start:.2f}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    left = [pid for pid in children() if not gone(pid)]
    print(f"no_process_is_left\t{'failed' if left else 'ok'}\t{left}", flush=True)


def children():
    mine = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    if int(stat.read().rpartition(")")[2].split()[1]) == os.getpid():
                        mine.append(int(entry))
            except OSError:
                continue
    return mine


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # one scenario forks by hand
    main(sys.argv[1], float(sys.argv[2]))
