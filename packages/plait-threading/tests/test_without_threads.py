# SPDX-License-Identifier: MIT
"""Where no thread can be started (Pyodide, WASI), everything but that works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from plait import dummy_threading, threading

# Both ways in which a platform can be without: the function is there and fails, or there is no `_thread` at all.
REFUSES = """
import _thread
def refuse(*work, **options):
    raise RuntimeError("can't start new thread")
for name in ("start_new_thread", "start_new", "start_joinable_thread"):
    if hasattr(_thread, name):
        setattr(_thread, name, refuse)
"""
ABSENT = """
import functools, reprlib, sys  # the parts of the standard library that would not do without
sys.modules["_thread"] = None
"""

WORKS = """
import time
import {threading} as t
import {dummy_threading} as dummy

lock, rlock, condition, event, semaphore = t.Lock(), t.RLock(), t.Condition(), t.Event(), t.Semaphore()
with lock:
    assert lock.locked() and not lock.acquire(False)
with rlock, rlock:
    assert rlock.acquire(False)
    rlock.release()
with condition:
    condition.notify()
    condition.notify_all()
    assert condition.wait_for(lambda: "at once")
    began = time.monotonic()
    assert not condition.wait(0.05)
    assert time.monotonic() - began > 0.04
assert not event.wait(0.01)
event.set()
assert event.wait() and event.is_set()
with semaphore:
    assert not semaphore.acquire(False)
assert t.Barrier(1).wait() == 0
local = t.local()
local.x = 1
assert t.current_thread() is t.main_thread() and t.enumerate() == [t.main_thread()]

for thread in (t.Thread(target=print), t.Timer(0, print)):
    try:
        thread.start()
    except RuntimeError as error:
        print(error)
    assert not thread.is_alive() and thread.ident is None and t.active_count() == 1

ran = []
dummy.Thread(target=ran.append, args=(1,)).start()
assert ran == [1]
t.run_exit_hooks()
"""


@pytest.mark.parametrize("platform", [REFUSES, ABSENT], ids=["refuses", "absent"])
def test_all_but_starting_works_and_that_says_what_to_do(platform):
    works = WORKS.replace("{threading}", threading.__name__)
    script = platform + works.replace("{dummy_threading}", dummy_threading.__name__)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, env=env, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    said = "cannot start threads; do the work in the calling thread" if platform is ABSENT else "can't start"
    lines = ended.stdout.splitlines()
    assert len(lines) == 2
    assert all(said in line for line in lines)
