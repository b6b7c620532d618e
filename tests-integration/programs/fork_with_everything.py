# SPDX-License-Identifier: MIT
"""os.fork() while a pool works, a scheduler sleeps, a queue has a waiting getter and a child of Popen runs.

The child must be able to use all of it afresh, must not wait for threads that it does not have, and must end like any
program; the parent must not notice.
"""

from __future__ import annotations

import os
import sys
import time

import work

from plait.futures import ThreadPoolExecutor, wait
from plait.queue import Empty, Queue
from plait.sched import scheduler
from plait.subprocess import PIPE, Popen, run
from plait.threading import (
    Condition,
    Event,
    Lock,
    Thread,
    current_thread,
    enumerate,
    main_thread,
    register_atexit,
)

FORKS = 20


def in_child(queue: Queue, plan: scheduler) -> None:
    """What the threads of the parent were in the middle of using, used in the copy."""
    assert current_thread() is main_thread()
    assert [thread.name for thread in enumerate()] == [current_thread().name], enumerate()
    queue.put("child", timeout=10)  # must not be handed to a getter that does not exist here
    assert queue.get(timeout=10) == "child"
    try:
        queue.get(timeout=0.01)
    except Empty:
        pass
    # Not *lock* and *condition*: they are the program's own, and a copy of them may be held for ever, as everywhere.
    done = Event()
    plan.enter(0, 1, done.set)
    plan.run(blocking=False)
    assert done.is_set()
    with ThreadPoolExecutor(2) as fresh:
        assert sum(fresh.map(work.square, range(10))) == 285
    assert run([sys.executable, "-S", "-c", "print(1)"], stdout=PIPE, timeout=20).stdout == b"1\n"
    thread = Thread(target=lambda: queue.put("thread"))
    thread.start()
    thread.join(20)
    assert queue.get(timeout=10) == "thread"


def wait_for(pid: int, within: float) -> int:
    limit = time.monotonic() + within
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > limit:
            os.kill(pid, 6)  # its stacks tell where
            os.waitpid(pid, 0)
            raise AssertionError(f"the forked process {pid} did not end in {within} s")
        time.sleep(0.005)


def main() -> None:
    clean_end = sys.argv[1] == "sys.exit"
    stop = Event()
    lock, condition, queue = Lock(), Condition(), Queue()
    plan = scheduler(time.monotonic, lambda seconds: stop.wait(min(seconds, 0.01)))
    ticks = []

    def tick() -> None:
        ticks.append(1)
        if not stop.is_set():
            plan.enter(0.001, 1, tick)

    def hammer() -> None:
        while not stop.is_set():
            with lock, condition:
                condition.notify()

    def get() -> None:
        while queue.get() != "end":
            pass

    pool = ThreadPoolExecutor(3)
    for _ in range(2):
        pool.submit(hammer)
    plan.enter(0, 1, tick)
    threads = [Thread(target=plan.run, name="scheduler"), Thread(target=get, name="getter")]
    for thread in threads:
        thread.start()
    child = Popen(["cat"], stdin=PIPE, stdout=PIPE)
    register_atexit(stop.set)  # also when a check below fails
    register_atexit(queue.put, "end")
    for _ in range(FORKS):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                in_child(queue, plan)
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            if clean_end:
                sys.exit(code)
            sys.stderr.flush()
            os._exit(code)
        code = wait_for(pid, 30)
        assert code == 0, f"the forked process ended with {code}"
    assert child.communicate(b"still mine", timeout=30)[0] == b"still mine"
    future = pool.submit(work.square, 7)
    wait([future], timeout=20)
    assert future.result(0) == 49
    seen, limit = len(ticks), time.monotonic() + 20
    while len(ticks) == seen:
        assert time.monotonic() < limit, "the parent's scheduler stopped"
        stop.wait(0.01)
    stop.set()
    queue.put("end")
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), thread
    pool.shutdown()
    print("right")


if __name__ == "__main__":
    main()
