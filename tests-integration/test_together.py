# SPDX-License-Identifier: MIT
"""Several packages in one program. Each case is a program of its own, under watch: see `programs/`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import watched
from watched import Watched

PROGRAMS = Path(__file__).resolve().parent / "programs"
pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="processes left behind are found in /proc"
)
METHODS = pytest.mark.parametrize("method", ["spawn", "fork"])

# Python 3.12 and later warn of any fork beside threads, also of one that was made safe.
QUIET = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}


def right(name: str, *arguments: object, deadline: float = 55) -> watched.Ended:
    ended = watched.run(PROGRAMS / name, *arguments, deadline=deadline, env=QUIET)
    assert ended.out.splitlines()[-1].startswith("right"), str(ended)
    assert ended.err == "", str(ended)
    return ended


@METHODS
def test_pools_work_inside_threads_all_at_once(method: str):
    right("pools_in_threads.py", method)


@METHODS
def test_items_cross_from_processes_to_threads_complete(method: str):
    right("process_to_threads.py", method)


@pytest.mark.parametrize("end", ["sys.exit", "os._exit"])
def test_a_fork_in_the_middle_of_everything_disturbs_neither_process(end: str):
    right("fork_with_everything.py", end)


def test_a_forked_worker_keeps_nobody_elses_pipe_open():
    right("fork_beside_popen.py")


@METHODS
def test_the_standard_modules_work_beside_ours(method: str):
    right("beside_the_standard.py", method)


@METHODS
def test_exit_finishes_what_was_accepted_and_waits_for_nothing_else(method: str):
    ended = watched.run(PROGRAMS / "exit_with_everything.py", method, deadline=50, env=QUIET)
    said = ended.out.splitlines()
    assert said[0] == "main ended", str(ended)
    assert set(said[1:]) == {"thread finished", "process pool 81", "scheduled"}, str(ended)
    assert ended.err == "", str(ended)


# --- the death of the one that everybody depends on -----------------------------------------------------------------

ORPHANS = """
import sys, time
sys.path.insert(0, {programs!r})
from plait import multiprocessing
from plait.futures import ProcessPoolExecutor
import work, os
def main():
    context = multiprocessing.get_context(sys.argv[1])
    pool = ProcessPoolExecutor(2, mp_context=context)
    print(sorted(set(pool.map(work.whereabouts, range(20)))), flush=True)
    pool.submit(time.sleep, 1)
    items = context.Queue()
    waiting = context.Process(target=items.get)
    waiting.start()
    print("up", flush=True)
    time.sleep(60)
if __name__ == "__main__":
    main()
"""


@METHODS
def test_pool_workers_do_not_outlive_a_killed_parent(tmp_path: Path, method: str):
    script = tmp_path / "orphans.py"
    program = ORPHANS.format(programs=str(PROGRAMS)).replace(
        "    items = context.Queue()\n    waiting = context.Process(target=items.get)\n    waiting.start()\n",
        "",
    )
    script.write_text(program, encoding="utf-8")
    with Watched(script, method, deadline=40, env=QUIET) as program:
        program.until_out("up")
        assert len(program.pythons()) >= 1
        os.kill(program.pid, signal.SIGKILL)
        assert program.end(within=watched.SOON).code == -signal.SIGKILL


@METHODS
def test_a_process_waiting_at_a_queue_does_not_outlive_its_killed_parent(tmp_path: Path, method: str):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS.format(programs=str(PROGRAMS)), encoding="utf-8")
    with Watched(script, method, deadline=40, env=QUIET) as program:
        program.until_out("up")
        os.kill(program.pid, signal.SIGKILL)
        assert program.end(within=watched.SOON).code == -signal.SIGKILL


CTRL_C = """
import sys
sys.path.insert(0, {programs!r})
from plait import multiprocessing
from plait.futures import ThreadPoolExecutor
from plait.queue import Queue
from plait.sched import scheduler
from plait.subprocess import Popen, PIPE
from plait.threading import Condition, Event, Lock, Thread
import time
def main():
    held = Lock(); held.acquire()
    condition = Condition()
    waits = {{
        "lock": held.acquire,
        "event": Event().wait,
        "condition": lambda: condition.__enter__() and condition.wait(),
        "queue": Queue().get,
        "join": (Thread(target=Event().wait, daemon=True), ),
        "sched": lambda: (s := scheduler()).enter(60, 1, print) and s.run(),
        "popen": lambda: Popen(["sleep", "60"]).wait(),
        "communicate": lambda: Popen(["sleep", "60"], stdout=PIPE).communicate(),
        "process": lambda: (p := multiprocessing.Process(target=time.sleep, args=(60,), daemon=True)).start() or p.join(),
        "future": lambda: ThreadPoolExecutor(1).submit(Event().wait, 1.5).result(),
    }}
    wait = waits[sys.argv[1]]
    if isinstance(wait, tuple):
        wait[0].start()
        wait = wait[0].join
    print("up", flush=True)
    try:
        wait()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(9)
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    "what",
    ["lock", "event", "condition", "queue", "join", "sched", "popen", "communicate", "process", "future"],
)
def test_ctrl_c_reaches_every_wait_of_the_main_thread(tmp_path: Path, what: str):
    script = tmp_path / "waits.py"
    script.write_text(CTRL_C.format(programs=str(PROGRAMS)), encoding="utf-8")
    with Watched(script, what, deadline=50, env=QUIET) as program:
        program.until_out("up")
        program.until("it sleeps", lambda: asleep(program.pid))
        program.send_to_group(signal.SIGINT)
        program.until_out("interrupted", within=watched.SOON)
        ended = program.end(within=watched.SOON)
    assert ended.code == 9, str(ended)


def asleep(pid: int) -> bool:
    """Whether the main thread of *pid* sleeps in the kernel."""
    stat = Path(f"/proc/{pid}/task/{pid}/stat").read_text(encoding="utf-8")
    return stat[stat.rindex(")") + 2] == "S"


def test_importing_all_seven_starts_nothing_and_needs_none_of_the_replaced():
    program = """
import sys, os
threads = len(os.listdir('/proc/self/task'))
files = len(os.listdir('/proc/self/fd'))
import plait._thread, plait.threading, plait.queue, plait.sched
import plait.subprocess, plait.multiprocessing, plait.futures
names = 'threading queue sched subprocess multiprocessing concurrent.futures _dummy_thread dummy_threading'.split()
assert not [name for name in names if name in sys.modules], sorted(sys.modules)
assert len(os.listdir('/proc/self/task')) == threads
assert len(os.listdir('/proc/self/fd')) == files
assert not hasattr(sys.modules['plait'], '__file__') or sys.modules['plait'].__file__ is None
"""
    watched.run("-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}")
