# SPDX-License-Identifier: MIT
"""How a program with pools ends: by itself, by Ctrl-C, by SIGKILL. Each in a process with a deadline."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from patience import until

from plait.futures import Future

PACKAGE = Future.__module__.rpartition(".")[0]
METHODS = importlib.import_module(PACKAGE.rpartition(".")[0] + ".multiprocessing").get_all_start_methods()

HEAD = f"""
import importlib, os, signal, sys, time
futures = importlib.import_module({PACKAGE!r})
multiprocessing = importlib.import_module({PACKAGE.rpartition(".")[0]!r} + ".multiprocessing")

ProcessPoolExecutor = futures.ProcessPoolExecutor

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # one write: lines of several processes do not mix

def work(n, seconds=0.02):
    time.sleep(seconds)
    say("done", n)
    return n

def pool():
    if sys.argv[1] == "thread":
        return futures.ThreadPoolExecutor(2)
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(sys.argv[1]))
"""
KINDS = ["thread", *METHODS]


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def script(tmp_path):
    def write(body):
        path = tmp_path / "program.py"
        path.write_text(
            HEAD + "\nif __name__ == '__main__':\n" + textwrap.indent(textwrap.dedent(body), "    ")
        )
        return str(path)

    return write


def run(path, kind):
    return subprocess.run(
        [sys.executable, path, kind],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "p.shutdown(wait=False)",
        "del p",
        "sys.exit()",
        "import threading, logging",
    ],
)
def test_pending_work_is_finished_at_exit(script, kind, ending):
    path = script(f"""
        p = pool()
        fs = [p.submit(work, n) for n in range(6)]
        {ending}
    """)
    result = run(path, kind)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(result.stdout.split()) == sorted(
        ["done", "done", "done", "done", "done", "done", "0", "1", "2", "3", "4", "5"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_that_outlives_main_may_still_use_a_pool_of_its_own(script, kind):
    path = script(f"""
        threading = importlib.import_module({PACKAGE.rpartition(".")[0]!r} + ".threading")
        main = threading.current_thread()
        def late():
            main.join(30)
            time.sleep(0.2)
            p = pool()
            say("late", p.submit(work, 7).result())
        threading.Thread(target=late).start()
    """)
    result = run(path, kind)
    if sys.version_info[:2] == (3, 12):  # which starts nothing any more once the main thread has ended
        assert "RuntimeError: can't " in result.stderr
        assert " at interpreter shutdown" in result.stderr
        return
    assert (result.returncode, result.stderr) == (0, "")
    assert "late 7" in result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_submit_from_an_exit_callback_is_refused_and_does_not_hang(script, kind):
    path = script("""
        import atexit
        p = pool()
        p.submit(work, 1).result()
        def too_late():
            try:
                p.submit(work, 2)
            except RuntimeError as error:
                say("refused", error)
        atexit.register(too_late)
    """)
    result = run(path, kind)
    assert (result.returncode, result.stderr) == (0, "")
    assert "refused" in result.stdout or "done 2" in result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_that_has_no_worker_yet_starts_none_from_an_exit_callback(script, kind):
    """Nobody would join it. The callback is registered before anything of ours is: it runs after our own exit."""
    path = script("""
        p = pool()
        made.append(p)
    """)
    with open(path, encoding="utf-8") as file:
        program = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(TOO_LATE + program)
    result = run(path, kind)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "refused cannot schedule new futures: the interpreter is shutting down\n"


TOO_LATE = """
import atexit
made = []
def too_late():
    for p in made:
        try:
            p.submit(work, 1)
        except RuntimeError as error:
            say("refused", error)
atexit.register(too_late)
"""


@pytest.mark.parametrize("kind", METHODS)
def test_ctrl_c_ends_program_and_workers_quietly(script, kind):
    path = script("""
        p = pool()
        fs = [p.submit(time.sleep, 60) for _ in range(2)] + [p.submit(work, n, 0.5) for n in range(50)]
        while not all(f.running() for f in fs[:2]):
            time.sleep(0.01)
        time.sleep(0.3)
        try:
            say("ready", *[member.pid for member in p._crew.members])
            futures.wait(fs)
        except KeyboardInterrupt:
            p.shutdown(cancel_futures=True)
            say("stopped")
    """)
    child = subprocess.Popen(
        [sys.executable, path, kind],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers = list(map(int, child.stdout.readline().split()[1:]))
    assert len(workers) == 2
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=40)
    # A worker that is free again may get another call before the main thread has come to cancel them. All of them take
    # more than twelve seconds.
    assert out.endswith("stopped\n")
    assert out.count("done") < 50
    assert err == ""
    assert child.returncode == 0
    assert all(gone(pid) for pid in workers)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they end after the call")
@pytest.mark.parametrize("kind", METHODS)
def test_workers_end_when_their_parent_is_killed(script, kind):
    path = script("""
        signal.signal(signal.SIGTERM, lambda *_: None)
        p = pool()
        list(p.map(time.sleep, [0.1, 0.1]))
        fs = [p.submit(time.sleep, 60), p.submit(sum, range(1 << 40))]
        while not all(f.running() for f in fs):
            time.sleep(0.01)
        time.sleep(0.1)
        say(*[member.pid for member in p._crew.members])
        time.sleep(60)
    """)
    child = subprocess.Popen(
        [sys.executable, path, kind], env=environment(), stdout=subprocess.PIPE, text=True
    )
    workers = list(map(int, child.stdout.readline().split()))
    assert len(workers) == 2
    child.kill()
    child.wait()
    assert until(lambda: all(map(gone, workers)))
    child.stdout.close()


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif("fork" not in METHODS, reason="needs fork")
def test_a_pool_inside_a_worker_process_ends_with_it(script):
    path = script("""
        def nested():
            with pool() as inner:
                return inner.submit(work, 5).result()
        process = multiprocessing.get_context("fork").Process(target=nested)
        process.start()
        process.join(30)
        say("code", process.exitcode)
    """)
    result = run(path, "fork")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "done 5\ncode 0\n"
    path = script("""
        def careless():
            p = pool()
            [p.submit(work, n) for n in range(4)]
        process = multiprocessing.get_context("fork").Process(target=careless)
        process.start()
        process.join(30)
        say("code", process.exitcode)
    """)
    for kind in ("fork", "thread"):
        result = run(path, kind)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.count("done") == 4
        assert result.stdout.endswith("code 0\n")
