# SPDX-License-Identifier: MIT
"""Exceptions out of signal handlers, anywhere in a call that need not wait: it has happened or not, and the counts say so.
(Not so inside the hooks of a subclass, whose own calls can be cut short.) In the crowd, the same is asked by stress.py;
calls that wait are in test_adversity.py."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from plait.queue import Queue

PACKAGE = Queue.__module__
PROGRAM = """
import random, signal, sys
from itertools import count, repeat, starmap
sys.path[:] = {path!r}
from importlib import import_module
package = import_module({package!r})
Queue, LifoQueue, PriorityQueue = package.Queue, package.LifoQueue, package.PriorityQueue
Empty, Full = package.Empty, package.Full

class Struck(Exception):
    pass

q = {make}
if {looked_into}:
    q.mutex
rng, numbers, armed, put, taken = random.Random(1), count(), [False], 0, []
struck = {{"put": 0, "get": 0}}

def handle(*_):
    global put
    if {nested}:
        try:
            q.put(next(numbers), block=False)
            put += 1
        except Full:
            pass
        if rng.random() < 0.6:
            try:
                taken.append(q.get(block=False))
            except Empty:
                pass
    signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00002, 0.0002))
    if armed[0] and rng.random() < 0.7:
        armed[0] = False
        raise Struck

# What a call returns is noted by a `for`, which no exception can part from the call.
def one(): return starmap(q.get, repeat((False,), 1))
def some(): return starmap(q.get_many, repeat((2, False), 1))

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001)
maybe, limit = 0, {turns}
while (min(struck.values()) < 30 or next(numbers) < limit) and next(numbers) < 100 * limit:
    many = rng.random() < 0.3
    items = [next(numbers) for _ in range(1 + many)]
    try:
        try:
            armed[0] = True
            if many:
                q.put_many(items, block=False)
            else:
                q.put(items[0], block=False)
            armed[0] = False
            put += len(items)
        except Full as full:
            armed[0] = False
            put += len(items) - (len(full.remaining) if many else 1)
    except Struck:
        struck["put"] += 1
        maybe += len(items)
    try:
        try:
            armed[0] = True
            if many:
                for got in some():
                    taken.extend(got)
            else:
                for got in one():
                    taken.append(got)
            armed[0] = False
        except Empty:
            armed[0] = False
    except Struck:
        struck["get"] += 1
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0)  # in this order: the handler winds the timer up again
assert min(struck.values()) >= 30, struck
total = len(taken) + q.qsize()
assert len(set(taken)) == len(taken), "an item came twice"
# 3.10 looks for signals also between two instructions of ours, here: what get() has given us we can lose ourselves.
lost = q.unfinished_tasks - total
assert 0 <= lost <= (struck["get"] if sys.version_info < (3, 11) else 0), (q.unfinished_tasks, total)
total += lost
assert put <= total <= put + maybe, (put, total, maybe)
while q.qsize():
    taken.append(q.get(timeout=30))
assert len(set(taken)) == total - lost
for _ in range(total):
    q.task_done()
assert q.join(timeout=30)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="there, what a call has just returned can be lost"
)
@pytest.mark.parametrize(
    ("make", "looked_into", "nested"),
    [
        ("Queue()", False, False),
        ("Queue()", True, True),
        ("Queue(3)", False, True),
        ("Queue(3)", True, False),
        ("LifoQueue(3)", False, True),
        ("LifoQueue()", True, True),
        ("PriorityQueue()", False, False),
        ("PriorityQueue(3)", True, True),
    ],
)
def test_what_an_exception_cuts_short_has_happened_or_not(make, looked_into, nested):
    code = PROGRAM.format(
        path=sys.path, package=PACKAGE, make=make, looked_into=looked_into, nested=nested, turns=3_000
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
