# SPDX-License-Identifier: MIT
"""Threads, locks and conditions (rows T)."""

from __future__ import annotations

import _thread
import errno
import importlib.util
import random
import signal
import sys
import time
from typing import Any

from .scenario import Absent, Impl, Wrong, program, returns, scenario, until


@scenario(
    "T1",
    "a thread's exception is there for whoever joins it",
    reproduced=True,
    needs=("threading.Thread.result",),
)
def exception_at_join(impl: Impl) -> None:
    def fail() -> None:
        raise LookupError("what went wrong")

    impl.threading.excepthook = lambda _: None
    thread = impl.threading.Thread(target=fail)
    thread.start()
    try:
        answer = thread.result() if impl.has("threading.Thread.result") else returns(5, thread.join)
    except LookupError:
        return
    raise Wrong(f"the thread died of a LookupError, and who joined it got {answer!r}")


# Allocation number n and the next few fail, in whichever thread that is. Each n is announced before it is tried.
STARTS = """
import os, sys, time
import _testcapi
t = impl.threading
t.excepthook = sys.unraisablehook = lambda _: None
t.Thread(target=int).start()
for n in range(int(sys.argv[1]), 160):
    thread = t.Thread(target=int)
    os.write(1, b"%d\\n" % n)
    begun = time.monotonic()
    _testcapi.set_nomemory(n, n + 3)
    try:
        thread.start()
    except (MemoryError, RuntimeError):
        failed = True
    else:
        failed = False
    _testcapi.remove_mem_hooks()
    if time.monotonic() - begun > 1:
        sys.exit(f"start() took {time.monotonic() - begun:.1f} s")
    while failed and "listed" in sys.argv and thread in t.enumerate():
        if time.monotonic() - begun > 2:
            sys.exit("start() raised, but enumerate() lists the thread")
print("end")
"""


def _starve_starts(impl: Impl, *words: str) -> None:
    """Threads that get no memory at the wrong moment. A program that the interpreter itself dies of is passed over."""
    if importlib.util.find_spec("_testcapi") is None or sys.implementation.name != "cpython":
        raise Absent("this interpreter comes without the means to make allocations fail (_testcapi)")
    first = 0
    while first < 160:
        with program(impl, STARTS, first, *words) as starts:
            starts.until_out("\\d", 20)
            seen, since = "", time.monotonic()
            while starts.poll() is None and time.monotonic() - since < 3:
                if starts.out != seen:
                    seen, since = starts.out, time.monotonic()
                time.sleep(0.01)
            lines = starts.out.split()
            code = starts.poll()
            if code is None:
                raise Wrong(f"start() had not returned after 3 s, memory ran out at allocation {lines[-1]}")
            if code > 0:
                raise Wrong(
                    f"{starts.err.strip().splitlines()[-1]}, memory ran out at allocation {lines[-1]}"
                )
            if lines[-1] == "end":
                return
            first = int(lines[-1]) + 1


@scenario(
    "T2", "start() raises within 1 s if the new thread dies before it begins", deadline=60, reproduced=True
)
def dies_before_it_begins(impl: Impl) -> None:
    _starve_starts(impl)


@scenario(
    "T2", "a thread that could not be started is not listed by enumerate()", deadline=60, reproduced=True
)
def not_listed_if_not_started(impl: Impl) -> None:
    _starve_starts(impl, "listed")


@scenario("T5", "two waiters in a loop get at least 40 % of the notifications each")
def both_waiters_are_served(impl: Impl) -> None:
    condition = impl.threading.Condition()
    served = [0, 0]
    waiting = [0]
    ended: list[bool] = []

    def wait(me: int) -> None:
        with condition:
            while not ended:
                waiting[0] += 1
                condition.wait()
                waiting[0] -= 1
                served[me] += 1

    threads = [impl.threading.Thread(target=wait, args=(me,), daemon=True) for me in (0, 1)]
    for thread in threads:
        thread.start()
    until(5, "both threads wait", lambda: waiting[0] == 2)
    for number in range(1000):
        with condition:
            condition.notify()
        limit = time.monotonic() + 2
        while sum(served) <= number:
            if time.monotonic() > limit:
                raise Wrong(f"notification {number} woke nobody in 2 s")
            time.sleep(0)
    share = [count / sum(served) for count in served]
    with condition:
        ended.append(True)
        condition.notify_all()
    for thread in threads:
        returns(5, thread.join)
    if min(share) < 0.4:
        raise Wrong(f"of 1000 notifications the waiters got {share[0]:.0%} and {share[1]:.0%}")


def _struck(impl: Impl, kind: str, strikes: int) -> None:
    """Interrupt `with` at random, *strikes* times; afterwards another thread must be able to have the lock, each time."""
    lock: Any = getattr(impl.threading, kind)()
    conditional = kind == "Condition"
    free: list[bool] = []

    def ask(done: Any) -> None:
        if lock.acquire(blocking=False):
            free.append(True)
            lock.release()
        done.release()

    for number in range(strikes):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-4))
            while True:
                with lock:
                    if conditional:
                        lock.wait(0)
                        lock.notify()
        except KeyboardInterrupt:
            pass
        except RuntimeError as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Wrong(f"{kind}: RuntimeError: {error}, at interruption {number}") from None
        done = _thread.allocate_lock()
        done.acquire()
        free.clear()
        _thread.start_new_thread(ask, (done,))
        done.acquire()
        if not free:
            raise Wrong(f"{kind}: still locked after interruption {number}")


def _strikes(impl: Impl, kind: str) -> None:
    """Hopeless on 3.14: it may take a signal between the end of `__enter__` and the start of the body, of any lock."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        _struck(impl, kind, 10_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@scenario("T6", "10 000 interruptions of `with Lock()`: it is free each time", deadline=40, hopeless="3.14")
def interrupted_lock(impl: Impl) -> None:
    _strikes(impl, "Lock")


@scenario("T6", "10 000 interruptions of `with RLock()`: it is free each time", deadline=40, hopeless="3.14")
def interrupted_rlock(impl: Impl) -> None:
    _strikes(impl, "RLock")


@scenario(
    "T6",
    "10 000 interruptions of `with Condition()`, wait and notify: free each time",
    deadline=40,
    hopeless="3.14",
)
def interrupted_condition(impl: Impl) -> None:
    _strikes(impl, "Condition")


@scenario(
    "T8",
    "interrupt_main() wakes a main thread that is blocked in acquire() within 0.5 s",
    needs=("thread.interrupt_main",),
)
def interrupt_main_wakes(impl: Impl) -> None:
    lock = impl.thread.allocate_lock()
    lock.acquire()
    interrupted_at: list[float] = []

    def interrupt() -> None:
        time.sleep(0.2)
        interrupted_at.append(time.monotonic())
        impl.thread.interrupt_main()

    _thread.start_new_thread(interrupt, ())
    try:
        lock.acquire(timeout=3)
        time.sleep(0.1)
        raise Wrong("no KeyboardInterrupt came at all")
    except KeyboardInterrupt:
        late = time.monotonic() - interrupted_at[0]
    if late > 0.5:
        raise Wrong(f"KeyboardInterrupt came after {late:.2f} s, allowed 0.5 s")


BUSY = """
import time
go = impl.threading.Event()
def work():
    go.wait()
    while True:
        sum(range(50))
for _ in range(50):
    impl.threading.Thread(target=work, daemon=True).start()
go.set()
time.sleep(0.05)
"""


@scenario("T9", "a program with 50 busy daemon threads exits with code 0, each time", deadline=120)
def exit_with_busy_daemons(impl: Impl) -> None:
    """The row's thousand times would take minutes: here ten, and --repeat for more."""
    for number in range(10):
        with program(impl, BUSY) as busy:
            code = busy.wait(30)
            if code or busy.err:
                raise Wrong(f"exit {number} had code {code}: {busy.err[-200:]}")


REFUSED = """
import resource, _thread
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
_thread.stack_size(1 << 28)
go = impl.threading.Event()
try:
    for _ in range(20):
        impl.threading.Thread(target=go.wait, daemon=True).start()
except RuntimeError as error:
    behind = error.__cause__ or error.__context__
    print("errno", getattr(behind, "errno", None))
"""


@scenario("T10", "a thread that the system refuses: the error's cause has the errno")
def refused_with_errno(impl: Impl) -> None:
    with program(impl, REFUSED) as refused:
        found = refused.until_out(r"errno (\w+)", 10)[1]
        refused.wait(10)
    if found not in (str(errno.EAGAIN), str(errno.ENOMEM)):
        raise Wrong(f"RuntimeError without an OSError behind it that has EAGAIN or ENOMEM (errno {found})")


@scenario(
    "T12",
    "eight threads that drain one generator get each item once",
    needs=("threading.serialize_iterator",),
)
def one_generator_many_threads(impl: Impl) -> None:
    total = 40_000
    items = impl.threading.serialize_iterator(number for number in range(total))
    parts: list[list[int]] = [[] for _ in range(8)]
    errors: list[BaseException] = []

    def drain(part: list[int]) -> None:
        try:
            part.extend(items)
        except BaseException as error:
            errors.append(error)

    threads = [impl.threading.Thread(target=drain, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        returns(30, thread.join)
    if errors:
        raise Wrong(f"a thread got {errors[0]!r}")
    got = sorted(number for part in parts for number in part)
    if got != list(range(total)):
        raise Wrong(f"{len(got)} items of {total} came, {len(set(got))} different ones")
