# SPDX-License-Identifier: MIT
"""Executors: their workers, and how they end (rows F1 to F9 without F4).

Names that rows ask for without giving them: `ProcessPoolExecutor(replace_workers=True)` (F1) replaces a worker that died,
and fails no call but its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from .evidence import brief, must_die, must_say, noted, one_process
from .scenario import Impl, Wrong, descendants, descriptors, program, returns, scenario, until


def note_and_kill_self(note: Path) -> None:
    note.write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


def slowly(number: int) -> int:
    time.sleep(0.02)
    return number


def note_and_sleep(note: Path, seconds: float) -> None:
    note.write_text(str(os.getpid()))
    time.sleep(seconds)


def note_and_sleep_with_a_child(note: Path) -> None:
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
    note.write_text(f"{os.getpid()} {child}")
    time.sleep(60)


def pid_of_worker(_: object = None) -> int:
    return os.getpid()


@scenario(
    "F1",
    "a killed worker fails its own task only, and submit() goes on working",
    reproduced=True,
    needs=("futures.ProcessPoolExecutor(replace_workers)",),
    alone=True,
    warm=one_process,
)
def worker_replaced(impl: Impl) -> None:
    replacing = impl.has("futures.ProcessPoolExecutor(replace_workers)")
    pool = impl.futures.ProcessPoolExecutor(2, **({"replace_workers": True} if replacing else {}))
    note = Path("killed.pid").absolute()
    before = [pool.submit(slowly, number) for number in range(20)]
    killer = pool.submit(note_and_kill_self, note)
    after = [pool.submit(slowly, number) for number in range(20, 40)]
    error = returns(10, killer.exception)
    if error is None:
        raise Wrong("the task of the killed worker has no exception")
    failed = sum(1 for future in [*before, *after] if returns(10, future.exception) is not None)
    if failed:
        raise Wrong(f"{failed} of 40 innocent tasks failed with the killed worker's")
    must_say(error, noted(note), ("-9", "SIGKILL"))
    try:
        later = returns(10, pool.submit(abs, -5).result)
    except impl.futures.BrokenExecutor as refused:
        raise Wrong(f"a later task: {brief(refused)}") from refused
    if later != 5:
        raise Wrong(f"a later task returned {later!r}")
    returns(10, pool.shutdown)


@scenario(
    "F2",
    "cancel(kill=True) ends a running task, its worker is replaced",
    reproduced=True,
    needs=("futures.Future.cancel(kill)",),
    alone=True,
    warm=one_process,
)
def killed_by_cancel(impl: Impl) -> None:
    pool = impl.futures.ProcessPoolExecutor(1)
    note = Path("worker.pid").absolute()
    future = pool.submit(note_and_sleep, note, 60)
    pid = int(noted(note))
    killing = {"kill": True} if impl.has("futures.Future.cancel(kill)") else {}
    if future.cancel(**killing) is not True:
        raise Wrong(f"cancel({', '.join(killing)}) of a running task returned False")
    must_die(1, [pid], "workers")
    if not future.cancelled():
        raise Wrong("the future does not say that it was cancelled")
    other = returns(10, pool.submit(pid_of_worker).result)
    if other == pid:
        raise Wrong("the next task ran in the killed worker")
    returns(10, pool.shutdown)


@scenario(
    "F3",
    "submit(timeout=0.5) raises TimeoutError, and the worker's tree is gone",
    needs=("futures.ProcessPoolExecutor.submit(timeout)",),
    alone=True,
    warm=one_process,
)
def ended_by_timeout(impl: Impl) -> None:
    if not impl.has("futures.ProcessPoolExecutor.submit(timeout)"):
        raise Wrong("submit() has no timeout=")
    pool = impl.futures.ProcessPoolExecutor(1)
    returns(10, pool.submit(abs, -1).result)
    note = Path("worker.pid").absolute()
    future = pool.submit(note_and_sleep_with_a_child, note, timeout=0.5)
    error = returns(0.5 + 1, future.exception)
    if not isinstance(error, TimeoutError):
        raise Wrong(f"the future's exception is {error!r}")
    must_die(1, [int(pid) for pid in noted(note).split()], "processes of the worker's tree")
    returns(10, pool.submit(abs, -1).result)
    returns(10, pool.shutdown)


def _every_future(impl: Impl, kind: str, drop: bool) -> None:
    before, helpers = len(descriptors()), descendants(zombies=True)
    pool = getattr(impl.futures, kind)(2)
    futures = [pool.submit(slowly, number) for number in range(100)]
    if not drop:
        pool.shutdown(wait=False)
    del pool
    until(20, "not every future had an outcome", lambda: all(future.done() for future in futures))
    wrong = [
        number
        for number, future in enumerate(futures)
        if not future.cancelled() and future.result(0) != number
    ]
    if wrong:
        raise Wrong(f"futures {wrong} had another outcome")
    futures.clear()

    # Nobody waits for the executor's end, so nobody knows when it is but by looking.
    def ended() -> bool:
        return descendants(zombies=True) == helpers and len(descriptors()) <= before

    until(5, "its workers did not end", ended)


@scenario("F5", "every future is resolved after shutdown(wait=False) (threads)", deadline=30)
def resolved_after_shutdown_threads(impl: Impl) -> None:
    _every_future(impl, "ThreadPoolExecutor", drop=False)


@scenario(
    "F5", "every future is resolved after shutdown(wait=False) (processes)", deadline=30, warm=one_process
)
def resolved_after_shutdown_processes(impl: Impl) -> None:
    _every_future(impl, "ProcessPoolExecutor", drop=False)


@scenario("F5", "every future is resolved though the executor was dropped (threads)", deadline=30)
def resolved_though_dropped_threads(impl: Impl) -> None:
    _every_future(impl, "ThreadPoolExecutor", drop=True)


@scenario(
    "F5",
    "every future is resolved though the executor was dropped (processes)",
    deadline=30,
    warm=one_process,
)
def resolved_though_dropped_processes(impl: Impl) -> None:
    _every_future(impl, "ProcessPoolExecutor", drop=True)


LEAVES_AT_ONCE = """
import sys, time

def slowly(number):
    time.sleep(0.02)
    return number

def main(kind, way):
    pool = getattr(impl.futures, kind)(2)
    futures = [pool.submit(slowly, number) for number in range(50)]
    for future in futures:
        future.add_done_callback(lambda future: done.append(None))
    if way == "shutdown":
        pool.shutdown(wait=False)

done = []
import atexit
atexit.register(lambda: print("done:", len(done), flush=True))

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@scenario("F5", "every future is resolved though the program ends", deadline=60)
def resolved_at_exit(impl: Impl) -> None:
    for kind in ("ThreadPoolExecutor", "ProcessPoolExecutor"):
        for way in ("shutdown", "drop"):
            with program(impl, LEAVES_AT_ONCE, kind, way) as running:
                code = running.wait(12)
                if code or "done: 50" not in running.out:
                    raise Wrong(
                        f"{kind}, {way}: exit code {code}, {running.out.strip() or running.err[-200:]!r}"
                    )


@scenario(
    "F6",
    "max_tasks_per_child=2: ten tasks have five workers",
    reproduced="<3.14",
    needs=("futures.ProcessPoolExecutor(max_tasks_per_child)",),
    warm=one_process,
)
def workers_change(impl: Impl) -> None:
    context = impl.multiprocessing.get_context("spawn")
    pool = impl.futures.ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=2)
    futures = [pool.submit(pid_of_worker) for _ in range(10)]
    pids = {returns(15, future.result) for future in futures}
    if len(pids) != 5:
        raise Wrong(f"there were {len(pids)} workers")
    returns(10, pool.shutdown)


def _no_stall(pool: Any, number: int) -> None:
    futures = [pool.submit(abs, -index) for index in range(number)]
    for index, future in enumerate(futures):
        if returns(10, future.result) != index:
            raise Wrong(f"task {index} returned another result")
    returns(10, pool.shutdown)


@scenario("F7", "20 000 tiny tasks: no stall (threads)", deadline=120)
def tiny_tasks_threads(impl: Impl) -> None:
    _no_stall(impl.futures.ThreadPoolExecutor(4), 20_000)


@scenario("F7", "4 000 tiny tasks by every start method: no stall", deadline=180, warm=one_process)
def tiny_tasks_processes(impl: Impl) -> None:
    for method in impl.multiprocessing.get_all_start_methods():
        context = impl.multiprocessing.get_context(method)
        _no_stall(impl.futures.ProcessPoolExecutor(2, mp_context=context), 4_000)


SLOW_TASK = """
import sys, time
def main():
    options = {sys.argv[1]: sys.argv[1] == "daemon"} if sys.argv[1] else {}
    pool = impl.futures.ThreadPoolExecutor(1, **options)
    pool.submit(print, "running", flush=True).result()
    pool.submit(time.sleep, 3)
    pool.shutdown(wait=False)
    print("leaving", flush=True)

main()
"""


@scenario(
    "F8",
    "an executor that opts out does not keep the interpreter from ending",
    reproduced=True,
    needs=("futures.ThreadPoolExecutor(daemon)",),
    alone=True,
)
def exit_without_waiting(impl: Impl) -> None:
    names = [name for name in ("daemon", "wait_at_exit") if impl.has(f"futures.ThreadPoolExecutor({name})")]
    with program(impl, SLOW_TASK, names[0] if names else "") as running:
        running.until_out("leaving")
        begun = time.monotonic()
        running.wait(10)
        took = time.monotonic() - begun
        if took > 1:
            raise Wrong(f"the interpreter ended {took:.1f} s after the main thread, allowed 1 s")


AFTER_MAIN = """
import time

def late():
    main = impl.threading.main_thread()
    while main.is_alive():
        time.sleep(0.01)
    time.sleep(0.2)
    try:
        pool = impl.futures.ThreadPoolExecutor(1)
        print("worked", pool.submit(abs, -3).result(5), flush=True)
        pool.shutdown()
    except BaseException as error:
        print("refused", repr(error), flush=True)

impl.threading.Thread(target=late).start()
"""


@scenario("F9", "a non-daemon thread may use a new executor after main ended", reproduced=True)
def submitted_after_main(impl: Impl) -> None:
    # The executor's module is imported before, as that of a program is which uses it all the time.
    with program(impl, "impl.futures.ThreadPoolExecutor\n" + AFTER_MAIN) as running:
        found = running.until_out(r"worked \d+|refused .*", 15)[0]
        if found != "worked 3":
            raise Wrong(found)
        running.wait(5)
