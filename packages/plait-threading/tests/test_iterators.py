# SPDX-License-Identifier: MIT
"""Iterators that threads share."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading as standard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait import threading as ours
from plait.threading import Event, Thread, concurrent_tee, serialize_iterator, synchronized_iterator


def drain(iterator, threads=4):
    """What each of several threads got."""
    crowd = [Thread(target=lambda: [*iterator]) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    return [thread.result(20) for thread in crowd]


def test_each_item_of_a_shared_generator_goes_to_one_thread():
    shares = drain(serialize_iterator(n for n in range(3000)))
    assert sorted(itertools.chain(*shares)) == [*range(3000)]
    for share in shares:
        assert share == sorted(share)


def test_it_passes_on_what_a_generator_can_do_and_no_more():
    seen = []

    def talk():
        try:
            seen.append((yield 1))
            yield 2
        except LookupError:
            yield 3
        finally:
            seen.append("closed")

    shared = serialize_iterator(talk())
    assert iter(shared) is shared
    assert [next(shared), shared.send("hello"), shared.throw(LookupError), shared.close()] == [1, 2, 3, None]
    assert seen == ["hello", "closed"]
    with pytest.raises(StopIteration):
        next(shared)
    plain = serialize_iterator([1])
    for method in ("send", "throw"):
        with pytest.raises(AttributeError, match=method):
            getattr(plain, method)(None)
    with pytest.raises(AttributeError, match="close"):
        plain.close()
    with pytest.raises(TypeError, match="not iterable"):
        serialize_iterator(3)


def test_an_iterator_that_asks_itself_is_refused_instead_of_waiting_for_itself():
    def ask():
        yield next(shared)

    shared = serialize_iterator(ask())
    with pytest.raises(RuntimeError, match="inside it"):
        next(shared)

    def ask_copy():
        yield next(copies[1])

    copies = concurrent_tee(ask_copy())
    with pytest.raises(RuntimeError, match="inside it"):
        next(copies[0])


def test_the_decorator_serialises_what_a_function_returns():
    @synchronized_iterator
    def numbers(n):
        """Numbers."""
        yield from range(n)

    assert numbers.__name__ == "numbers"
    assert numbers.__doc__ == "Numbers."
    assert type(numbers(1)) is serialize_iterator
    assert sorted(itertools.chain(*drain(numbers(500)))) == [*range(500)]


def test_every_copy_gets_every_item():
    made = []
    copies = concurrent_tee((made.append(n) or n for n in range(2000)), 4)
    crowd = [Thread(target=list, args=(copy,)) for copy in copies]
    for thread in crowd:
        thread.start()
    assert [thread.result(20) for thread in crowd] == [[*range(2000)]] * 4
    assert made == [*range(2000)]


def test_a_copy_can_be_shared_and_copied():
    first, second = concurrent_tee(range(300))
    assert [next(first), next(first)] == [0, 1]
    third, fourth = concurrent_tee(first)
    assert sorted(itertools.chain(*drain(serialize_iterator(third)))) == [*range(2, 300)]
    assert [*fourth] == [*first] == [*range(2, 300)]
    assert [*second] == [*range(300)]


def test_a_failure_of_the_source_is_told_to_every_copy_once():
    def fails():
        yield 1
        raise LookupError("source")

    for copy in concurrent_tee(fails(), 3):
        assert next(copy) == 1
        with pytest.raises(LookupError, match="source"):
            next(copy)
        with pytest.raises(StopIteration):
            next(copy)


def test_the_number_of_copies_is_checked():
    assert concurrent_tee([1], 0) == ()
    with pytest.raises(ValueError, match="non-negative"):
        concurrent_tee([1], -1)
    with pytest.raises(TypeError):
        concurrent_tee(3)


def test_a_very_long_lead_does_not_exhaust_the_stack():
    ahead, behind = concurrent_tee(range(200_000))
    assert sum(1 for _ in ahead) == 200_000
    del behind


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_can_use_what_a_thread_was_inside_of():
    inside, go = Event(), Event()

    class Slow:
        def __iter__(self):
            return self

        def __next__(self):
            inside.set()
            go.wait(10)
            return "item"

    shared = serialize_iterator(Slow())
    thread = Thread(target=next, args=(shared,))
    thread.start()
    inside.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        go.set()
        os._exit(0 if next(shared) == "item" else 1)
    assert os.waitpid(child, 0)[1] == 0
    go.set()
    assert thread.result(10) == "item"


@pytest.mark.skipif(not hasattr(standard, "concurrent_tee"), reason="3.15 has them")
@given(st.lists(st.integers(), max_size=8), st.lists(st.sampled_from("ab+"), max_size=20))
@settings(max_examples=60, deadline=None)
def test_in_one_thread_they_are_those_of_the_standard_module(items, steps):
    def play(module):
        log = []
        source = module.serialize_iterator(items)
        a, b = module.concurrent_tee(source)
        for step in steps:
            try:
                if step == "+":
                    a, _ = module.concurrent_tee(b)
                else:
                    log.append(next(a if step == "a" else b))
            except StopIteration:
                log.append("end")
        return log

    assert play(ours) == play(standard)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    "shared", ["synchronized_iterator(forking)()", "concurrent_tee(forking())[0]"], ids=["serialized", "tee"]
)
def test_a_generator_may_fork(run_script, shared):
    source = """
    import os
    from {threading} import concurrent_tee, synchronized_iterator
    def forking():
        yield os.fork()
        yield "more"
    shared = SHARED
    pid = next(shared)
    assert next(shared) == "more"
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    else:
        os._exit(0)
    """
    ended = run_script(source.replace("SHARED", shared))
    assert (ended.returncode, ended.err) == (0, "")


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="its handlers are struck themselves")
def test_signals_take_no_item_from_the_other_copies_of_a_tee(run_script):
    source = """
    import random, signal, time
    from itertools import count
    from {threading} import concurrent_tee
    class Struck(BaseException): pass
    def strike(_number, frame):
        # Only inside of what is tested: on PyPy a signal may be noticed late.
        while frame is not None:
            if frame.f_code.co_name in ("__next__", "fill"): raise Struck
            frame = frame.f_back
        soon()
    def soon(): signal.setitimer(signal.ITIMER_REAL, random.uniform(0.000001, 0.00005))
    signal.signal(signal.SIGALRM, strike)
    quick, slow = concurrent_tee(count())
    strikes, end = 0, time.monotonic() + 1.0
    while strikes < 4000 and (strikes < 21 or time.monotonic() < end):
        try:
            soon()
            while True: next(quick)
        except Struck:
            strikes += 1
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0)
    last = next(quick)
    seen = -1
    while seen != last:
        item = next(slow)
        assert item == seen + 1, (seen, item)
        seen = item
    """
    ended = run_script(source)
    assert (ended.returncode, ended.err) == (0, "")


def test_a_shared_iterator_can_be_annotated_with_what_it_gives():
    assert serialize_iterator[int].__origin__ is serialize_iterator
    assert [*serialize_iterator[int]([1, 2])] == [1, 2]


@pytest.mark.parametrize("make", ["serialize_iterator(deeper())", "concurrent_tee(deeper())[0]"])
def test_at_the_end_of_the_stack_it_raises_and_does_not_hang(run_script, make):
    done = run_script(
        f"""
        import sys
        from {{threading}} import *

        def below(depth, call):
            return call() if depth == 0 else below(depth - 1, call)

        def deeper():
            while True:
                yield below(3, int)

        limit = sys.getrecursionlimit()
        for depth in range(limit - 20, limit):
            iterator = {make}
            try:
                below(depth, lambda: next(iterator))
            except RecursionError:
                pass
            lock = getattr(iterator, "lock", None) or iterator._lock
            assert not lock._is_owned()
        print("ended")
        """
    )
    assert done.out == "ended\n", done.err
