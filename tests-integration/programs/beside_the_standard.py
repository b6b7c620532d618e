# SPDX-License-Identifier: MIT
"""plait and the interpreter's own modules in one process, each unaware of the other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import logging
import multiprocessing as stdlib_multiprocessing
import queue as stdlib_queue
import subprocess as stdlib_subprocess
import sys
import threading as stdlib_threading

import work

from plait import futures, multiprocessing, queue, subprocess, threading


def log_names() -> None:
    """logging writes the name of the plait thread, and the standard tables forget it afterwards."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(threadName)s: %(message)s"))
    logger = logging.getLogger("beside")
    logger.addHandler(handler)
    before = set(stdlib_threading.enumerate())

    def speak() -> None:
        logger.warning("%s", stdlib_threading.current_thread().name)

    named = threading.Thread(target=speak, name="weaver")
    named.start()
    named.join(20)
    with futures.ThreadPoolExecutor(1, thread_name_prefix="shuttle") as pool:
        pool.submit(speak).result(20)
    first, second = stream.getvalue().splitlines()
    assert first == "weaver: weaver", first
    assert second.startswith("shuttle"), second
    assert second.split(": ")[0] == second.split(": ")[1], second
    assert set(stdlib_threading.enumerate()) == before, stdlib_threading.enumerate()


async def loops() -> None:
    """run_in_executor and wrap_future with pools of ours, a standard pool beside them."""
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context(sys.argv[1])
    with (
        futures.ThreadPoolExecutor(2) as threads,
        futures.ProcessPoolExecutor(2, mp_context=context) as processes,
        concurrent.futures.ThreadPoolExecutor(2) as theirs,
    ):
        pools = [threads, processes, theirs]
        calls = [loop.run_in_executor(pool, work.square, n) for n in range(10) for pool in pools]
        assert sum(await asyncio.wait_for(asyncio.gather(*calls), 30)) == 3 * 285
        assert await asyncio.wait_for(asyncio.wrap_future(threads.submit(work.square, 4)), 20) == 16

        # Cancelling on their side reaches ours: a call that has not begun never begins.
        gate, began = threading.Event(), []
        blocked = [threads.submit(gate.wait, 40) for _ in range(2)]
        waiting = loop.run_in_executor(threads, began.append, 1)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0.05)
        gate.set()
        assert all(future.result(20) for future in blocked)
        assert threads.submit(work.square, 3).result(20) == 9
        assert began == []

        # An error raised over there is raised here.
        try:
            await loop.run_in_executor(processes, work.square, None)
        except TypeError:
            pass
        else:
            raise AssertionError("no error")


def mixed() -> None:
    """Futures of both kinds waited for together, locks and queues of one kind in threads of the other."""
    with futures.ThreadPoolExecutor(2) as ours, concurrent.futures.ThreadPoolExecutor(2) as theirs:
        both = [pool.submit(work.square, n) for n in range(5) for pool in (ours, theirs)]
        done, pending = futures.wait(both, timeout=20)
        assert (len(done), len(pending)) == (10, 0)
        assert sum(future.result() for future in futures.as_completed(both, timeout=20)) == 60
        ours_in_theirs, theirs_in_ours = queue.Queue(1), stdlib_queue.Queue(1)
        theirs.submit(lambda: [ours_in_theirs.put(n) for n in range(10)])
        ours.submit(lambda: [theirs_in_ours.put(n) for n in range(10)])
        assert [ours_in_theirs.get(timeout=20) for _ in range(10)] == list(range(10))
        assert [theirs_in_ours.get(timeout=20) for _ in range(10)] == list(range(10))
        try:
            ours_in_theirs.get(block=False)
        except stdlib_queue.Empty:
            pass
        lock = stdlib_threading.Lock()
        condition = threading.Condition()
        with lock:
            held = ours.submit(lock.acquire, timeout=0.05).result(20)
        assert held is False
        with condition:
            theirs.submit(notify, condition)
            assert condition.wait(20)
        assert threading.current_thread().name == stdlib_threading.current_thread().name == "MainThread"
        name = theirs.submit(lambda: threading.current_thread().name).result(20)
        assert name.startswith("ThreadPoolExecutor"), name


def notify(condition: threading.Condition) -> None:
    with condition:
        condition.notify_all()


def children() -> None:
    """Neither reaps what the other started, in any order of ending."""
    argv = [sys.executable, "-S", "-c", "import sys; sys.exit(int(sys.argv[1]))"]
    started = [
        (module.Popen([*argv, str(number)]), number)
        for number in range(6)
        for module in (subprocess, stdlib_subprocess)
    ]
    for popen, number in reversed(started):
        assert popen.wait(20) == number
    a, b = multiprocessing.get_context("spawn"), stdlib_multiprocessing.get_context("spawn")
    both = [context.Process(target=work.whereabouts) for context in (a, b)]
    for process in both:
        process.start()
    multiprocessing.active_children()
    stdlib_multiprocessing.active_children()
    for process in both:
        process.join(20)
        assert process.exitcode == 0, process


def main() -> None:
    log_names()
    asyncio.run(loops())
    mixed()
    children()
    print("right")


if __name__ == "__main__":
    main()
