# SPDX-License-Identifier: MIT
"""What has to work where there is one thread and can be no other; run by in_pyodide.mjs, from the wheels."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable

PORTIONS = (
    "_thread",
    "_dummy_thread",
    "threading",
    "dummy_threading",
    "queue",
    "sched",
    "subprocess",
    "multiprocessing",
    "futures",
)

assert sys.platform == "emscripten", "this program is for Pyodide"
for portion in PORTIONS:
    importlib.import_module(f"plait.{portion}")

from plait import _thread, dummy_threading, queue, sched, threading  # noqa: E402 - each by itself first


def refusal(call: Callable[[], object]) -> str:
    """What the RuntimeError says that *call* has to raise."""
    try:
        call()
    except RuntimeError as error:
        return str(error)
    raise AssertionError(f"{call} did not raise")


# Locks, conditions, events, semaphores, queues and schedulers in one thread.
lock, rlock = threading.Lock(), threading.RLock()
with lock, rlock, rlock:
    assert lock.locked()
    assert rlock.locked()
    assert not lock.acquire(False)
    assert not lock.acquire(True, 0.01)
condition = threading.Condition()
with condition:
    condition.notify_all()
    assert condition.wait_for(lambda: True)
    began = time.monotonic()
    assert not condition.wait(0.05)
    assert time.monotonic() - began > 0.04
event = threading.Event()
assert not event.wait(0.01)
event.set()
assert event.wait()
with threading.Semaphore() as taken:
    assert taken
line: queue.Queue[int] = queue.Queue()
line.put(1)
assert line.get() == 1
done: list[int] = []
agenda = sched.scheduler()
agenda.enter(0, 0, done.append, (1,))
agenda.run()
assert done == [1]

# Starting a thread raises, clearly, and leaves nothing behind.
thread = threading.Thread(target=print)
for start in (
    thread.start,
    lambda: _thread.start_new_thread(print, ()),
    lambda: _thread.start_joinable_thread(print),
):
    assert "cannot start threads" in refusal(start)
assert threading.enumerate() == [threading.main_thread()]
assert not _thread.can_start_threads()

# Waiting for what can never come is an error, and not the end of the page.
assert "one thread" in refusal(_thread.Parker().park)

# The dummies run at once, in the caller.
ran: list[str] = []
dummy = dummy_threading.Thread(target=ran.append, args=("at once",))
dummy.start()
assert ran == ["at once"]
dummy.join()

print(f"Python {sys.version.split()[0]} in Pyodide: {len(PORTIONS)} portions import; one thread does it all")
