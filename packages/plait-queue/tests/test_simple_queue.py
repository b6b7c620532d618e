# SPDX-License-Identifier: MIT
"""SimpleQueue: the one in C, where there is one, and ours, by the same statements."""

from __future__ import annotations

import inspect
import queue as stdlib_queue
import re
import sys
import threading
import time
import weakref
from importlib import import_module

import pytest

from plait.queue import Empty, Queue, SimpleQueue

Fallback = import_module(Queue.__module__ + "._simple").SimpleQueue


@pytest.fixture(
    params=[SimpleQueue, Fallback, stdlib_queue.SimpleQueue], ids=["public", "fallback", "stdlib"]
)
def kind(request):
    return request.param


def test_the_public_one_is_the_interpreters_where_it_has_one_in_c():
    try:
        from _queue import SimpleQueue as in_c
    except ImportError:
        assert SimpleQueue is Fallback
    else:
        assert SimpleQueue is in_c


def test_items_come_out_in_the_order_in_which_they_went_in(kind):
    q = kind()
    for n in range(100):
        q.put(n, False, -1)  # block and timeout mean nothing to it
    assert q.qsize() == 100
    assert not q.empty()
    assert [q.get() for _ in range(100)] == list(range(100))
    assert q.empty()


def test_an_empty_one_raises_empty(kind):
    q = kind()
    theirs = kind is stdlib_queue.SimpleQueue
    error = stdlib_queue.Empty if theirs else Empty
    refusals = [q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0)]
    if not theirs or sys.implementation.name != "pypy":  # whose own one, in Python, minds the timeout
        refusals.append(lambda: q.get(block=False, timeout=1))
    for refused in refusals:
        with pytest.raises(error):
            refused()
    started = time.monotonic()
    with pytest.raises(error):
        q.get(timeout=0.05)
    assert 0.049 < time.monotonic() - started < 30


def test_a_negative_timeout_is_a_value_error(kind):
    with pytest.raises(ValueError, match="non-negative"):
        kind().get(timeout=-1)


def test_get_waits_for_put(kind):
    q = kind()
    got = []
    threads = [threading.Thread(target=lambda: got.append(q.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(4):
        q.put_nowait(n)
    for thread in threads:
        thread.join(10)
    assert sorted(got) == [0, 1, 2, 3]


def test_it_is_generic_and_can_be_referred_to_weakly(kind):
    assert kind[int].__origin__ is kind
    q = kind()
    assert weakref.ref(q)() is q


def test_it_can_be_subclassed(kind):
    class Named(kind):
        name = "x"

    q = Named()
    q.put(1)
    assert (q.get(), q.name) == (1, "x")


def test_the_fallback_has_the_signatures_of_the_one_in_c():
    for name in ("get", "get_nowait", "put", "put_nowait", "qsize", "empty"):
        ours = inspect.signature(getattr(Fallback, name)).parameters.values()
        theirs = inspect.signature(getattr(stdlib_queue.SimpleQueue, name)).parameters.values()
        assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_messages_of_ours_name_it():
    class Named(Fallback):
        pass

    for q in (Fallback(), Named()):
        with pytest.raises(Empty, match=f"^{re.escape(repr(q))} is empty"):
            q.get(block=False)
        with pytest.raises(Empty, match=f"^{re.escape(repr(q))} had no item"):
            q.get(timeout=0.001)
