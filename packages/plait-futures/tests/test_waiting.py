# SPDX-License-Identifier: MIT
"""wait and as_completed, over our futures, foreign ones, and both."""

from __future__ import annotations

import concurrent.futures as stdlib_futures
import gc
import signal
import threading
import time
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import SOON

from plait.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    Future,
    ThreadPoolExecutor,
    TimeoutError,
    as_completed,
    wait,
)

CONDITIONS = [ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION]
MAKERS = {"ours": [Future], "theirs": [stdlib_futures.Future], "mixed": [Future, stdlib_futures.Future]}


@pytest.fixture(params=MAKERS, ids=str)
def make(request):
    makers = MAKERS[request.param]
    made = []

    def maker():
        made.append(makers[len(made) % len(makers)]())
        return made[-1]

    return maker


def later(function, *args):
    timer = threading.Timer(0.03, function, args)
    timer.start()
    return timer


@pytest.mark.parametrize("condition", CONDITIONS)
def test_wait_times_out_exactly_and_leaves_no_watcher(make, condition):
    futures = [make() for _ in range(4)]
    if condition != FIRST_COMPLETED:
        futures[0].set_result(1)
    start = time.monotonic()
    done, not_done = wait(futures, timeout=0.05, return_when=condition)
    assert 0.05 <= time.monotonic() - start < SOON
    assert (len(done), len(not_done)) == ((0, 4) if condition == FIRST_COMPLETED else (1, 3))
    assert not any(f._watchers for f in futures if isinstance(f, Future) and type(f) is Future)


def test_wait_for_all_returns_when_the_last_one_is_done(make):
    futures = [make() for _ in range(5)]
    for future in futures[1:]:
        future.set_result(0)
    timer = later(futures[0].set_result, 1)
    result = wait(futures, timeout=10)
    assert result.done == set(futures)
    assert result.not_done == set()
    timer.join()


def test_wait_for_the_first_returns_with_it(make):
    futures = [make() for _ in range(5)]
    timer = later(futures[3].set_result, 1)
    done, not_done = wait(futures, timeout=10, return_when=FIRST_COMPLETED)
    assert done == {futures[3]}
    assert len(not_done) == 4
    timer.join()


def test_wait_for_the_first_exception_passes_over_results(make):
    futures = [make() for _ in range(4)]

    def finish():
        futures[0].set_result(1)
        futures[1].set_exception(ValueError())

    timer = later(finish)
    done, _ = wait(futures, timeout=10, return_when=FIRST_EXCEPTION)
    assert done == set(futures[:2])
    timer.join()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_cancelled_future_wakes_wait_at_once(condition):
    future = Future()
    timer = later(future.cancel)
    assert wait([future], timeout=10, return_when=condition).done == {future}
    timer.join()


def test_wait_refuses_an_unknown_condition():
    with pytest.raises(ValueError, match="return_when"):
        wait([], return_when="SOMETIMES")


def test_wait_takes_the_same_future_twice_and_any_iterable():
    future = Future()
    future.set_result(1)
    assert wait(iter([future, future])).done == {future}
    assert wait([]) == (set(), set())


def test_as_completed_yields_each_once_as_they_come(make):
    futures = [make() for _ in range(4)]
    futures[2].set_result(2)
    iterator = as_completed(futures + futures, timeout=10)
    assert next(iterator) is futures[2]
    for index in (3, 0):
        futures[index].set_result(index)
        assert next(iterator) is futures[index]
    futures[1].cancel()
    if type(futures[1]) is stdlib_futures.Future:
        futures[1].set_running_or_notify_cancel()
    assert list(iterator) == [futures[1]]


def test_as_completed_times_out_and_leaves_no_watcher(make):
    futures = [make() for _ in range(3)]
    futures[0].set_result(1)
    iterator = as_completed(futures, timeout=0.05)
    next(iterator)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"2 \(of 3\)"):
        next(iterator)
    assert time.monotonic() - start < SOON
    assert not any(f._watchers for f in futures if type(f) is Future)


def test_closing_as_completed_leaves_no_watcher():
    futures = [Future() for _ in range(3)]
    futures[0].set_result(1)
    iterator = as_completed(futures)
    next(iterator)
    iterator.close()
    assert not any(future._watchers for future in futures)


def test_as_completed_takes_linear_time():
    def seconds(count):
        futures = [Future() for _ in range(count)]
        iterator = as_completed(futures)
        for future in futures[:1]:
            future.set_result(None)
        start = time.thread_time()
        assert next(iterator)
        for future in futures[1:]:
            future.set_result(None)
            next(iterator)
        return time.thread_time() - start

    gc.disable()  # its passes over many objects are not ours
    try:
        assert min(seconds(20_000), seconds(20_000)) < 40 * max(seconds(2_000), 0.001)
    finally:
        gc.enable()


@pytest.fixture
def quick_collections():
    """What is there already is left out of the collections that follow: to go through all of pytest takes long."""
    freeze, unfreeze = getattr(gc, "freeze", None), getattr(gc, "unfreeze", None)  # PyPy has none
    if freeze:
        freeze()
    yield
    if unfreeze:
        unfreeze()


@pytest.mark.parametrize("finished", [0, 1, 2, 5])
def test_as_completed_does_not_keep_what_it_has_yielded(quick_collections, finished):
    futures = [Future() for _ in range(5)]
    for future in futures[:finished]:
        future.set_result(None)
    references = []
    future = None
    iterator = as_completed(futures)
    for n in range(5):
        if n >= finished:
            next(future for future in futures if not future.done()).set_result(None)
        future = next(iterator)
        futures.remove(future)
        references.append(weakref.ref(future))
        del future
        gc.collect()
        assert [reference() for reference in references] == [None] * (n + 1)


def test_as_completed_does_not_keep_the_only_one_that_is_done_at_once():
    future = Future()
    future.set_result(None)
    iterator = as_completed([future])
    gone = weakref.ref(future)
    assert next(iterator) is future
    del future
    gc.collect()
    assert gone() is None


def test_a_callback_that_blocks_does_not_keep_wait_waiting():
    future = Future()
    release = threading.Event()
    future.add_done_callback(lambda f: release.wait(50))
    thread = threading.Thread(target=future.set_result, args=[1])
    waiter = threading.Thread(target=wait, args=[[future]])
    waiter.start()
    while len(future._watchers) < 2:
        time.sleep(0.001)
    thread.start()
    waiter.join(SOON)
    assert not waiter.is_alive()
    release.set()
    thread.join()


def test_wait_can_be_interrupted():
    class Stop(Exception):
        pass

    def handler(number, frame):
        raise Stop

    futures = [Future(), Future()]
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for condition in CONDITIONS:
            with pytest.raises(Stop):
                signal.setitimer(signal.ITIMER_REAL, 0.03)
                wait(futures, return_when=condition)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not any(future._watchers for future in futures)


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(
        st.tuples(st.sampled_from(["result", "error", "cancel", "never"]), st.booleans()), max_size=12
    ),
    condition=st.sampled_from(CONDITIONS),
)
def test_wait_and_as_completed_agree_with_the_standard_module(plan, condition):
    def run(module, make):
        futures = [make() for _ in plan]

        def finish(early):
            for future, (how, first) in zip(futures, plan, strict=True):
                if first is early:
                    if how == "result":
                        future.set_result(1)
                    elif how == "error":
                        future.set_exception(ValueError())
                    elif how == "cancel":
                        future.cancel()
                        future.set_running_or_notify_cancel()

        finish(True)
        first = module.wait(futures, timeout=0, return_when=condition)
        finish(False)
        second = module.wait(futures, timeout=0, return_when=condition)
        completed = []
        try:
            for future in module.as_completed(futures, timeout=0):
                completed.append(futures.index(future))  # noqa: PERF401 - it may raise
        except module.TimeoutError:
            completed.append("timeout")
        numbers = [sorted(map(futures.index, part)) for part in (*first, *second)]
        return numbers, sorted(map(str, completed))

    import plait.futures as ours

    assert run(ours, Future) == run(stdlib_futures, stdlib_futures.Future)


def test_they_work_with_a_pool_under_load():
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(pow, n, 2) for n in range(2000)]
        assert sorted(f.result() for f in as_completed(futures)) == [n * n for n in range(2000)]
        futures = [pool.submit(pow, n, 2) for n in range(2000)]
        while futures:
            done, futures = wait(futures, return_when=FIRST_COMPLETED)
            assert done


def test_the_shortest_timeouts_end():
    # The interpreter's C SimpleQueue, before 3.13, waits for ever if the time is up between two of its steps.
    for _ in range(3000):
        for timeout in (1e-7, 3e-7, 1e-6, 2e-6):
            with pytest.raises(TimeoutError):
                list(as_completed([Future()], timeout))
