# SPDX-License-Identifier: MIT
"""ThreadPoolExecutor."""

from __future__ import annotations

import concurrent.futures as stdlib_futures
import gc
import itertools
import os
import signal
import sys
import threading
import time
import weakref

import pytest
from patience import SOON, until

from plait.futures import (
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    TimeoutError,
    as_completed,
    wait,
)
from plait.futures.thread import BrokenThreadPool


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def busy():
    """A pool whose only worker waits for the event."""
    release = threading.Event()
    pool = ThreadPoolExecutor(1)
    started = threading.Event()

    def block():
        started.set()
        return release.wait(30)

    first = pool.submit(block)
    started.wait(10)
    yield pool, release, first
    release.set()
    pool.shutdown()


def test_it_starts_threads_only_as_needed_and_uses_idle_ones_again():
    with ThreadPoolExecutor(8, thread_name_prefix="reader") as pool:
        names = set()
        for _ in range(20):
            names.add(pool.submit(lambda: threading.current_thread().name).result())
            assert until(lambda: not pool._staff.unfinished)  # the worker is back
        assert names == {"reader_0"}


def test_it_starts_a_thread_for_each_call_that_has_to_wait(pool):
    barrier = threading.Barrier(4)
    assert sorted(f.result(10) for f in [pool.submit(barrier.wait) for _ in range(4)]) == [0, 1, 2, 3]


def test_a_callback_that_needs_another_worker_gets_one():
    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            answer = Future()
            future = pool.submit(lambda: 1)
            future.add_done_callback(lambda f, a=answer: a.set_result(pool.submit(lambda: 2).result(10)))
            assert answer.result(10) == 2


def test_exceptions_of_every_kind_are_outcomes(pool):
    for kind in (ValueError, SystemExit, KeyboardInterrupt, GeneratorExit):

        def fail(kind=kind):
            raise kind("x")

        with pytest.raises(kind):
            pool.submit(fail).result(10)
    assert pool.submit(int).result(10) == 0


def test_a_failing_initializer_breaks_the_pool_with_the_cause(caplog):
    def initializer(word):
        raise LookupError(word)

    with ThreadPoolExecutor(2, initializer=initializer, initargs=("here",)) as pool:
        futures = []
        limit = time.monotonic() + SOON
        with pytest.raises(BrokenThreadPool) as later:
            while time.monotonic() < limit:
                futures.append(pool.submit(int))
                time.sleep(0.001)
        errors = [future.exception(10) for future in futures]
        assert all(isinstance(error, BrokenThreadPool) for error in errors)
        assert len({id(error) for error in errors}) == len(errors)
        for error in [*errors, later.value]:
            assert isinstance(error.__cause__, LookupError)
    assert "LookupError" in caplog.text


def test_initializer_runs_in_each_worker():
    seen = []
    barrier = threading.Barrier(3)
    with ThreadPoolExecutor(3, initializer=seen.append, initargs=(1,)) as pool:
        wait([pool.submit(barrier.wait) for _ in range(3)])
        assert seen == [1, 1, 1]


def test_shutdown_finishes_what_was_accepted_and_refuses_more():
    pool = ThreadPoolExecutor(2)
    futures = [pool.submit(time.sleep, 0.001) for _ in range(50)]
    pool.shutdown()
    assert all(future.done() for future in futures)
    assert not any(thread.name.startswith(pool._staff.prefix) for thread in threading.enumerate())
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(int, [1])
    pool.shutdown()


def test_cancelled_futures_at_shutdown_wake_as_completed_and_wait(busy):
    pool, release, first = busy
    futures = [pool.submit(int) for _ in range(20)]
    waiter = threading.Thread(target=wait, args=[futures])
    waiter.start()
    iterator = as_completed(futures, timeout=10)
    pool.shutdown(wait=False, cancel_futures=True)
    assert {future.cancelled() for future in iterator} == {True}
    waiter.join(10)
    assert not waiter.is_alive()
    assert not first.done()
    release.set()
    assert first.result(10) is True


def test_shutdown_by_a_worker_or_a_callback_does_not_wait_for_itself():
    pool = ThreadPoolExecutor(2)
    future = pool.submit(pool.shutdown)
    assert future.result(10) is None
    pool = ThreadPoolExecutor(2)
    done = threading.Event()
    future = pool.submit(int)
    future.add_done_callback(lambda f: (pool.shutdown(), done.set()))
    assert done.wait(10)


def test_a_dropped_executor_finishes_its_calls_and_ends_its_threads():
    pool = ThreadPoolExecutor(2)
    futures = [pool.submit(time.sleep, 0.002) for _ in range(20)]
    threads = list(pool._staff.threads)
    del pool
    gc.collect()
    assert not wait(futures, timeout=10).not_done
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_an_idle_worker_keeps_nothing_of_its_last_call():
    class Thing:
        pass

    with ThreadPoolExecutor(1) as pool:
        thing = Thing()
        gone = weakref.ref(thing)
        pool.submit(lambda x: x, thing).result(10)
        del thing
        assert until(lambda: [gc.collect(), gone()][1] is None)


def test_racing_submits_and_shutdowns_strand_no_future():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for round_number in range(60):
            pool = ThreadPoolExecutor(2)
            accepted = []
            barrier = threading.Barrier(4)

            def submitter(pool=pool, accepted=accepted, barrier=barrier):
                barrier.wait()
                try:
                    for _ in range(200):
                        accepted.append(pool.submit(int))
                except RuntimeError:
                    pass

            threads = [threading.Thread(target=submitter) for _ in range(3)]
            for thread in threads:
                thread.start()
            barrier.wait()
            if round_number % 3:
                time.sleep(0.0005)
            pool.shutdown(wait=bool(round_number % 2), cancel_futures=bool(round_number % 4 > 1))
            for thread in threads:
                thread.join()
            assert not wait(accepted, timeout=10).not_done
            pool.shutdown()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_may_submit_in_the_middle_of_a_submit():
    from_handler = []
    holder = [ThreadPoolExecutor(4)]

    def handler(number, frame):
        from_handler.append(holder[0].submit(int))
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # the next comes when this one is done

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        for _ in range(40):
            futures = [holder[0].submit(int) for _ in range(100)]
            assert not wait(futures, timeout=10).not_done
            holder[0].submit(int)
            old, holder[0] = holder[0], ThreadPoolExecutor(4)
            old.shutdown(wait=False)
        assert until(lambda: from_handler)
    finally:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        holder[0].shutdown()
    assert from_handler
    assert not wait(from_handler, timeout=10).not_done


@pytest.mark.parametrize("buffersize", [None, 1, 3])
def test_map_yields_in_order_raises_in_place_and_goes_on(pool, buffersize):
    iterator = pool.map(lambda x: 6 // x, [3, 2, 1, 0, 1, 0], buffersize=buffersize)
    assert list(itertools.islice(iterator, 3)) == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(iterator)
    assert next(iterator) == 6
    with pytest.raises(ZeroDivisionError):
        next(iterator)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(iterator)
    assert list(pool.map(pow, [2, 3, 4], [2, 2], buffersize=buffersize)) == [4, 9]
    assert list(pool.map(int, [], buffersize=buffersize)) == []


@pytest.mark.parametrize("buffersize", [None, 2])
def test_map_returns_exceptions_in_their_places_if_asked(pool, buffersize):
    results = pool.map(lambda x: 6 // x, [3, 0, 1], buffersize=buffersize, return_exceptions=True)
    first, second, third = results
    assert (first, third) == (2, 6)
    assert isinstance(second, ZeroDivisionError)


@pytest.mark.parametrize("buffersize", [None, 3])
def test_an_exception_that_leaves_the_loop_over_a_map_cancels_what_has_not_started(buffersize):
    ran = []
    gate = threading.Event()

    def work(n):
        if n:
            gate.wait(30)
        ran.append(n)
        return 1 // n

    with ThreadPoolExecutor(1) as pool:
        try:
            for _ in pool.map(work, range(100), buffersize=buffersize):
                pytest.fail("the first call raises")
        except ZeroDivisionError as error:
            caught = error  # its traceback must not keep the iterator
        gc.collect()
        gate.set()
    assert isinstance(caught, ZeroDivisionError)
    assert len(ran) <= 2


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs reference counts")
@pytest.mark.parametrize("buffersize", [None, 3])
def test_an_exception_of_a_map_is_in_no_cycle(pool, buffersize):
    class Special(Exception):
        pass

    def fail(_):
        raise Special

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Special) as info:
            list(pool.map(fail, range(3), buffersize=buffersize))
        gone = weakref.ref(info.value)
        del info
        assert until(lambda: gone() is None)  # the worker may be about to let go of it
    finally:
        gc.enable()


@pytest.mark.parametrize("buffersize", [None, 2])
def test_map_times_out_from_the_call_and_cancels_the_rest(busy, buffersize):
    pool, release, _ = busy
    ran = []
    iterator = pool.map(ran.append, range(100), timeout=0.05, buffersize=buffersize)
    with pytest.raises(TimeoutError):
        next(iterator)
    release.set()
    pool.shutdown()
    assert not ran


def test_map_with_a_buffersize_takes_endless_input_lazily(pool):
    taken = []

    def source():
        for n in itertools.count():
            taken.append(n)
            yield n

    iterator = pool.map(str, source(), buffersize=3)
    assert len(taken) == 3
    assert list(itertools.islice(iterator, 5)) == ["0", "1", "2", "3", "4"]
    assert len(taken) <= 9
    iterator.close()


def test_map_runs_everything_even_if_nobody_looks():
    ran = []
    with ThreadPoolExecutor(2) as pool:
        pool.map(ran.append, range(50))
    assert sorted(ran) == list(range(50))


@pytest.mark.parametrize("how", ["close", "drop", "shutdown"])
def test_a_map_that_is_given_up_cancels_what_has_not_started(how):
    ran = []
    gate = threading.Semaphore(0)

    def work(n):
        if n:  # the first is not held up: who of two would be let through first?
            gate.acquire(timeout=30)
        ran.append(n)

    pool = ThreadPoolExecutor(2)
    iterator = pool.map(work, range(100))
    next(iterator)
    if how == "close":
        iterator.close()
    elif how == "drop":
        del iterator
        gc.collect()
    else:
        pool.shutdown(wait=False, cancel_futures=True)
    for _ in range(3):
        gate.release()
    if how == "shutdown":
        with pytest.raises(CancelledError):
            list(iterator)
    pool.shutdown()
    assert len(ran) <= 4


def test_map_wakes_a_reader_when_the_pool_is_shut_down(busy):
    pool, _, _ = busy
    iterator = pool.map(int, range(5))
    timer = threading.Timer(0.03, pool.shutdown, kwargs={"wait": False, "cancel_futures": True})
    timer.start()
    with pytest.raises(stdlib_futures.CancelledError):
        next(iterator)


def test_map_calls_an_overridden_submit():
    class Counting(ThreadPoolExecutor):
        count = 0

        def submit(self, fn, /, *args, **kwargs):
            self.count += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(2) as pool:
        assert list(pool.map(int, "123")) == [1, 2, 3]
        assert pool.count == 3


def test_map_does_not_keep_a_result_that_was_taken():
    class Thing:
        pass

    with ThreadPoolExecutor(1) as pool:
        iterator = pool.map(lambda n: Thing(), range(3))
        gone = weakref.ref(next(iterator))
        assert until(lambda: [gc.collect(), gone()][1] is None)  # the worker may be about to let go of it


@pytest.mark.parametrize(
    "arguments",
    [{"max_workers": 0}, {"max_workers": -1}, {"max_workers": "x"}, {"initializer": 3}],
)
def test_bad_arguments_raise_what_the_standard_pool_raises(arguments):
    with pytest.raises((TypeError, ValueError)) as theirs:
        stdlib_futures.ThreadPoolExecutor(**arguments)
    with pytest.raises(theirs.type):
        ThreadPoolExecutor(**arguments)


@pytest.mark.parametrize(
    ("buffersize", "error"), [(0, ValueError), (-1, ValueError), ("x", TypeError), (1.0, TypeError)]
)
def test_a_bad_buffersize_is_refused(pool, buffersize, error):
    with pytest.raises(error, match="buffersize"):
        pool.map(int, [], buffersize=buffersize)


def test_an_executor_of_ones_own_needs_only_submit():
    class Direct(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    with Direct() as executor:
        assert list(executor.map(int, ["1", "2"])) == [1, 2]
    with pytest.raises(NotImplementedError):
        Executor().submit(int)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_in_a_forked_child_it_refuses_and_its_futures_fail(busy):
    pool, release, running = busy
    queued = pool.submit(int)
    mapped = pool.map(int, [1])
    never_used = ThreadPoolExecutor(1)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            for future in (running, queued):
                error = future.exception(SOON)
                assert isinstance(error, BrokenThreadPool), error
                assert str(os.getpid()) in str(error)
            for attempt in (lambda: pool.submit(int), lambda: pool.map(int, [1])):
                try:
                    attempt()
                except BrokenThreadPool:
                    pass
                else:
                    raise AssertionError
            try:
                next(mapped)
            except CancelledError:
                pass
            pool.shutdown()
            assert never_used.submit(int).result(SOON) == 0
            never_used.shutdown()
            with ThreadPoolExecutor(2) as fresh:
                assert list(fresh.map(int, "12")) == [1, 2]
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    release.set()
    assert queued.result(10) == 0
    assert next(mapped) == 1
    never_used.shutdown()


def test_a_stop_iteration_of_a_mapped_call_does_not_pass_for_the_end():
    def stop(n):
        raise StopIteration(n)

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="StopIteration") as caught:
        list(pool.map(stop, [1, 2]))
    assert isinstance(caught.value.__cause__, StopIteration)
