# SPDX-License-Identifier: MIT
"""Process: its life and its death, under both start methods."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

import mp_targets as targets
import pytest
from conftest_helpers import SOON, gone, open_descriptors

from plait import multiprocessing as mp
from plait.multiprocessing.connection import wait


def started(ctx, target, *args, **options):
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    return process


def test_child_knows_itself_and_its_parent(ctx):
    here, there = ctx.Pipe()
    process = ctx.Process(
        target=targets.report, args=(there, mp.__name__, 1, [2]), kwargs={"k": 3}, name="Fred", daemon=True
    )
    process.start()
    there.close()
    told = here.recv()
    process.join(20)
    assert process.exitcode == 0
    assert told == {
        "pid": process.pid,
        "name": "Fred",
        "daemon": True,
        "parent": os.getpid(),
        "parent_alive": True,
        "parent_name": mp.current_process().name,
        "authkey": bytes(mp.current_process().authkey),
        "argv": sys.argv,
        "args": (1, [2]),
        "kwargs": {"k": 3},
        "children": 0,
        "stdin": "",
    }


def test_every_way_to_end_has_its_exit_code(ctx):
    """sys.exit with all that it takes, an exception of any kind, a signal, os._exit; all at the same time."""
    ends = [
        (started(ctx, targets.exit_with, code), n) for code, n in ((None, 0), (7, 7), ("words", 1), (True, 1))
    ]
    ends += [(started(ctx, targets.kill_self, n), -n) for n in (signal.SIGKILL, signal.SIGTERM)]
    ends += [(started(ctx, targets.raise_base_exception), 1), (started(ctx, os._exit, 9), 9)]
    for process, expected in ends:
        process.join(20)
        assert process.exitcode == expected


@pytest.mark.parametrize(("way", "signum"), [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_terminate_and_kill_end_the_child(ctx, way, signum):
    here, there = ctx.Pipe()
    process = started(ctx, targets.say_and_sleep, there)
    here.recv()
    assert process.is_alive()
    assert process.exitcode is None
    getattr(process, way)()
    process.join(SOON)
    assert process.exitcode == -signum
    assert not process.is_alive()
    getattr(process, way)()  # harmless now


def test_sentinel_becomes_ready_at_the_end(ctx):
    process = started(ctx, targets.sleep_for_ever)
    assert wait([process.sentinel], timeout=0.05) == []
    process.kill()
    assert wait([process.sentinel], timeout=SOON) == [process.sentinel]
    process.join()


def test_join_times_out_and_leaves_the_child_alone(ctx):
    process = started(ctx, targets.sleep_for_ever)
    begin = time.monotonic()
    process.join(0.2)
    assert 0.2 <= time.monotonic() - begin < SOON
    assert process.exitcode is None
    process.kill()
    process.join()


def test_every_joining_thread_sees_an_exit_code(ctx):
    process = started(ctx, targets.nothing)
    seen = []
    threads = [
        threading.Thread(target=lambda: (process.join(), seen.append(process.exitcode))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [0] * 8


def test_states_are_refused_with_the_standard_exceptions(ctx):
    process = ctx.Process(target=targets.nothing)
    with pytest.raises(AssertionError, match="join a started process"):
        process.join()
    with pytest.raises(ValueError, match="not started"):
        process.sentinel  # noqa: B018
    assert process.pid is None
    assert not process.is_alive()
    process.start()
    with pytest.raises(AssertionError, match="twice"):
        process.start()
    with pytest.raises(AssertionError, match="already been started"):
        process.daemon = True
    process.join()
    process.close()
    process.close()
    for attempt in (
        process.join,
        process.is_alive,
        process.terminate,
        process.start,
        lambda: process.exitcode,
    ):
        with pytest.raises(ValueError, match="closed"):
            attempt()


def test_close_of_a_running_process_is_refused(ctx):
    process = started(ctx, targets.sleep_for_ever)
    with pytest.raises(ValueError, match="running"):
        process.close()
    process.kill()
    process.join()
    process.close()


def test_repr_tells_the_state(ctx):
    process = ctx.Process(target=targets.sleep_for_ever, name="Ann", daemon=True)
    assert "initial" in repr(process)
    assert "daemon" in repr(process)
    process.start()
    assert f"pid={process.pid}" in repr(process)
    process.kill()
    process.join()
    assert "exitcode=-SIGKILL" in repr(process)


def test_a_child_may_have_children(ctx):
    here, there = ctx.Pipe()
    process = started(ctx, targets.start_grandchild, there, mp.__name__, ctx.get_start_method())
    assert here.recv()["parent"] == process.pid
    assert here.recv() == 0
    process.join(20)
    assert process.exitcode == 0


def test_a_daemonic_child_may_not(ctx):
    _here, there = ctx.Pipe()
    process = started(ctx, targets.start_grandchild, there, mp.__name__, "fork", daemon=True)
    process.join(20)
    assert process.exitcode == 1


def test_a_child_waits_for_its_threads(ctx, tmp_path):
    path = tmp_path / "out"
    process = started(ctx, targets.non_daemon_thread, str(path))
    process.join(20)
    assert path.read_text() == "written"


def test_a_child_ends_its_daemonic_children(ctx):
    here, there = ctx.Pipe()
    process = started(ctx, targets.start_daemon_child_and_return, there, mp.__name__, ctx.get_start_method())
    pid = here.recv()
    process.join(20)
    assert process.exitcode == 0
    assert gone(pid)


def test_active_children_reaps(ctx):
    one, other = started(ctx, targets.sleep_for_ever), started(ctx, targets.nothing)
    wait([other.sentinel], 20)
    assert mp.active_children() == [one]
    one.kill()
    one.join()
    assert mp.active_children() == []


def test_nothing_is_left_open(ctx):
    def once():
        here, there = ctx.Pipe()
        process = started(ctx, targets.report, there, mp.__name__, daemon=True)
        there.close()
        here.recv()
        process.join(20)
        process.close()
        here.close()

    once()
    before = open_descriptors()
    for _ in range(3):
        once()
    assert open_descriptors() <= before


def test_end_of_a_child_is_seen_through_its_pipe_while_a_sibling_lives(ctx):
    here, there = ctx.Pipe()
    process = started(ctx, targets.say_and_sleep, there)
    there.close()
    here.recv()
    sibling = started(ctx, targets.sleep_for_ever)
    process.kill()
    assert here.poll(SOON)
    with pytest.raises(EOFError):
        here.recv()
    sibling.kill()
    sibling.join()
    process.join()


def test_unpicklable_target_is_named_and_nothing_started():
    process = mp.get_context("spawn").Process(target=lambda: 0, name="Odd")
    with pytest.raises(Exception) as caught:
        process.start()
    text = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "Odd" in text
    assert "<lambda>" in text
    assert "importable by name" in text
    assert mp.active_children() == []


def test_child_that_cannot_unpickle_has_an_exit_code():
    process = mp.get_context("spawn").Process(
        target=targets.nothing, args=(targets.Unloadable(), b"x" * 5_000_000)
    )
    process.start()
    process.join(SOON)
    assert process.exitcode == 1


def test_child_that_dies_before_reading_does_not_block_the_start():
    ctx = mp.get_context("spawn")
    from plait.multiprocessing import spawn

    executable = spawn.get_executable()
    ctx.set_executable("/bin/false")
    try:
        process = started(ctx, targets.nothing, b"x" * 5_000_000)
    finally:
        ctx.set_executable(executable)
    process.join(SOON)
    assert process.exitcode == 1


def test_fork_from_a_process_with_busy_locks_works():
    ctx = mp.get_context("fork")
    lock, queue, (here, there) = ctx.Lock(), ctx.Queue(), ctx.Pipe()
    stop, drained = threading.Event(), threading.Event()

    def busy():
        while not stop.is_set():
            with lock:
                pass
            queue.put(1)
            queue.get()
            there.send(1)

    def drain():
        while not drained.is_set():
            if here.poll(0.05):
                here.recv()

    workers = [threading.Thread(target=busy) for _ in range(3)]
    drainer = threading.Thread(target=drain)
    for thread in (*workers, drainer):
        thread.start()
    try:
        for _ in range(10):
            answer, asked = ctx.Pipe()
            process = started(ctx, targets.put_and_lock, lock, queue, asked)
            assert answer.poll(20)
            assert answer.recv() == "done"
            process.join(20)
            assert process.exitcode == 0
    finally:
        stop.set()
        for thread in workers:
            thread.join()
        drained.set()  # not before: they may be blocked in a full pipe
        drainer.join()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_objects_of_the_main_program_come_back_from_a_child(script, method):
    result = script(
        """
import sys
import {mp} as mp

class Point:
    def __init__(self, x):
        self.x = x

def answer(queue, connection):
    queue.put(Point(1))
    connection.send(Point(2))

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    queue = ctx.Queue()
    here, there = ctx.Pipe()
    child = ctx.Process(target=answer, args=(queue, there))
    child.start()
    print(type(queue.get()) is Point, type(here.recv()) is Point)
    child.join()
""",
        method,
    )
    assert result.stdout == "True True\n", result.stderr


@pytest.mark.parametrize("name", ["f", "h", "marshal"])
def test_nothing_of_ours_stands_in_the_main_module_of_a_spawned_child(name):
    # A program given by -c has no main module that a child could import: its functions are missing there.
    program = f"""
import {mp.__name__} as mp
def {name}(): pass
process = mp.get_context("spawn").Process(target={name})
process.start()
process.join()
print(process.exitcode)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100
    )
    assert result.stdout == "1\n"
    assert re.search(f"(Can't get|has no) attribute '{name}'", result.stderr)  # the latter since 3.14


def test_what_a_context_started_starts_its_own_children_in_the_same_way(ctx):
    here, there = ctx.Pipe()
    process = started(ctx, targets.tell_start_method, there, mp.__name__)
    there.close()
    assert here.recv() == ctx.get_start_method()
    process.join(20)
    assert process.exitcode == 0


def test_start_method_is_chosen_once(script):
    result = script(
        """
import {mp} as mp
assert mp.get_all_start_methods()[0] == 'spawn'
assert mp.get_start_method(allow_none=True) is None
mp.set_start_method('fork')
assert mp.get_start_method() == 'fork'
try:
    mp.set_start_method('spawn')
except RuntimeError as e:
    print(e)
mp.set_start_method('spawn', force=True)
assert mp.get_context().get_start_method() == 'spawn'
try:
    mp.get_context('teleport')
except ValueError as e:
    print(e)
"""
    )
    assert result.returncode == 0, result.stderr
    assert "already 'fork'" in result.stdout
    assert "'teleport'" in result.stdout


def test_missing_interpreter_is_named_and_leaves_nothing_open():
    ctx = mp.get_context("spawn")
    from plait.multiprocessing import spawn

    executable = spawn.get_executable()
    before = open_descriptors()
    try:
        for nothing, error, text in (
            (None, RuntimeError, "set_executable"),
            ("/no/such/python", OSError, "/no/such"),
        ):
            ctx.set_executable(nothing)
            with pytest.raises(error, match=text):
                ctx.Process(target=targets.nothing).start()
    finally:
        ctx.set_executable(executable)
    assert open_descriptors() <= before


@pytest.mark.skipif(not hasattr(signal, "pidfd_send_signal"), reason="without pidfd each check takes turns")
def test_many_short_processes_leave_neither_descriptors_nor_zombies():
    ctx = mp.get_context("fork")
    started(ctx, targets.nothing).join()
    before = open_descriptors()
    for i in range(60):
        process = started(ctx, targets.nothing)
        if i % 3:
            process.join()
    for process in mp.active_children():
        process.join()
    del process
    assert open_descriptors() <= before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_child_killed_at_any_moment_of_its_start_ends_every_wait():
    ctx = mp.get_context("spawn")
    for i in range(6):
        here, there = ctx.Pipe()
        process = started(ctx, targets.close_and_sleep, there, b"x" * 1_000_000)
        there.close()
        time.sleep(0.015 * i)
        process.kill()
        try:
            assert here.recv() == "here"
        except EOFError:
            pass
        process.join(SOON)
        assert process.exitcode == -signal.SIGKILL
        here.close()


def test_no_descriptors_left_is_an_error_and_nothing_is_lost(ctx):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError):
        started(ctx, targets.nothing).join()
    before = open_descriptors()
    for spare in range(8):
        for make in (lambda: started(ctx, targets.nothing).join(), ctx.Queue, ctx.Lock, ctx.Pipe):
            resource.setrlimit(resource.RLIMIT_NOFILE, (before + spare - 1, limits[1]))
            try:
                with contextlib.suppress(OSError):
                    make()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert open_descriptors() <= before
