# SPDX-License-Identifier: MIT
"""Ending a child together with what it has started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import pytest
from descriptors import open_descriptors
from patience import LIMITS, SOON, late, until

from plait.subprocess import (
    PIPE,
    CalledProcessError,
    Pipeline,
    Popen,
    _kernel,
    _tree,
    arun,
    check_call,
    check_output,
    run,
)

PYTHON = [sys.executable, "-I", "-S", "-c"]

pytestmark = pytest.mark.skipif(not _tree.can_search(), reason="needs /proc")

# Writes one line when all of its tree is there. The daemon's parents have ended and its session is its own.
DAEMON = (
    "import os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        print(os.getpid(), flush=True)\n"
    "        time.sleep(60)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
)


@pytest.fixture(params=["pidfd", "numbers"], autouse=True)
def identity(request, monkeypatch):
    """Every test runs with pidfds and without."""
    if request.param == "numbers":
        monkeypatch.setattr(_kernel, "pidfd_works", False)


def runs(pid):
    seen = _tree._stat(pid)
    return seen is not None and seen[0] not in (b"Z", b"X")


def numbers(stream, count):
    return [int(stream.readline()) for _ in range(count)]


def test_nobody_of_the_tree_is_left():
    code = "sh -c 'echo $$; exec sleep 60' & sh -c 'echo $$; sleep 60; true' & wait"
    with Popen(code, shell=True, stdout=PIPE, text=True) as process:
        pids = numbers(process.stdout, 2)
        assert all(map(runs, pids))
        process.kill_tree()
        assert not any(map(runs, pids))
        assert process.returncode == -signal.SIGKILL
        assert process.stdout.read() == ""  # who else held the pipe is gone, too


@pytest.mark.parametrize("call", ["run", "check_output", "check_call", "arun", "Pipeline"])
def test_when_a_checked_command_fails_nobody_of_its_tree_is_left(call, tmp_path):
    number = tmp_path / "number"
    command = ["sh", "-c", f"sleep 60 >/dev/null 2>&1 & echo $! > {number}; exit 3"]
    calls = {
        "run": lambda: run(command, check=True, kill_tree=True),
        "check_output": lambda: check_output(command, kill_tree=True),
        "check_call": lambda: check_call(command, kill_tree=True),
        "arun": lambda: asyncio.run(arun(command, check=True, kill_tree=True)),
        "Pipeline": lambda: Pipeline([command, ["true"]]).run(check=True, kill_tree=True),
    }
    with pytest.raises(CalledProcessError) as caught:
        calls[call]()
    assert caught.value.returncode == 3
    assert not runs(int(number.read_text()))


def test_a_daemon_belongs_to_a_marked_tree():
    with Popen([*PYTHON, DAEMON], stdout=PIPE, text=True, mark_tree=True) as process:
        (pid,) = numbers(process.stdout, 1)
        process.wait()
        assert runs(pid)
        process.kill_tree()
        assert not runs(pid)


def test_who_is_seen_in_the_middle_of_exec_belongs_to_a_marked_tree_too(monkeypatch):
    # In that moment a process has no environment, and so no mark.
    environment_of, seen = _tree._environment_of, []

    def too_early(pid):
        if pid == daemon and len(seen) < 5:
            seen.append(pid)
            return b""
        return environment_of(pid)

    with Popen([*PYTHON, DAEMON], stdout=PIPE, text=True, mark_tree=True) as process:
        (daemon,) = numbers(process.stdout, 1)
        process.wait()
        monkeypatch.setattr(_tree, "_environment_of", too_early)
        process.kill_tree()
        assert len(seen) == 5
        assert not runs(daemon)


@pytest.mark.parametrize("environment", [{}, {"A": "1"}])
def test_who_has_no_environment_is_not_waited_for(environment):
    with Popen(["/bin/sleep", "60"], env=environment) as process:
        assert until(lambda: _tree._memory_of(process.pid)[1])
        assert _tree._has_none(process.pid) is (not environment)
        assert _tree._carries(process.pid, b"no such mark") is False
        process.kill()


def test_who_does_not_come_to_the_end_of_his_exec_is_no_reason_to_wait_for_ever(monkeypatch):
    monkeypatch.setattr(_tree, "_environment_of", lambda pid: b"")
    monkeypatch.setattr(_tree, "_memory_of", lambda pid: (1, int(pid == os.getpid()), 1))
    for name in ("_EXEC_SECONDS", "_FREEZE_SECONDS", "_END_SECONDS"):
        monkeypatch.setattr(_tree, name, 0.02)
    process = Popen(["sleep", "60"], mark_tree=True)
    with pytest.raises(TimeoutError, match="descendants"):
        process.kill_tree()
    assert process.wait(SOON) == -signal.SIGKILL


def test_a_daemon_that_goes_from_program_to_program_is_caught():
    again = (
        "import os, sys; os.execv(sys.executable, [sys.executable, *'-I -S -c'.split(), *[sys.argv[1]] * 2])"
    )
    begin = f"import sys; sys.argv[1:] = [{again!r}]; {again}"
    with Popen(
        [*PYTHON, DAEMON.replace("time.sleep(60)", begin)], stdout=PIPE, text=True, mark_tree=True
    ) as process:
        (daemon,) = numbers(process.stdout, 1)
        process.wait()
        process.kill_tree()
        assert not runs(daemon)


def test_a_marked_tree_within_a_marked_tree_belongs_to_both():
    inner = f"import os, sys; os.spawnv(os.P_WAIT, sys.executable, [sys.executable, '-I', '-S', '-c', {DAEMON!r}])"
    outer = {**os.environ, "X": "1"}
    with Popen([*PYTHON, inner], stdout=PIPE, text=True, mark_tree=True, env=outer) as first:
        (pid,) = numbers(first.stdout, 1)
        first.wait()
        with Popen(["true"], mark_tree=True) as second:
            second.kill_tree()
        assert runs(pid)  # no business of the second
        first.kill_tree()
        assert not runs(pid)


def test_a_tree_that_keeps_forking_ends():
    code = (
        "import os, time\n"
        "for _ in range(100):\n"
        "    if os.fork():\n"
        "        os.write(1, b'.')\n"
        "        time.sleep(0.1)\n"
        "        os._exit(0)\n"
        "    time.sleep(0.03)\n"
    )
    with Popen([*PYTHON, code], stdout=PIPE, bufsize=0, mark_tree=True) as process:
        for _ in range(10):  # long after the first has ended
            process.stdout.read(1)
        process.kill_tree()
        assert not process.stdout.read().strip(b".")  # it ends: nobody holds the pipe


def test_with_grace_the_tree_may_tidy_up():
    shell = "trap 'echo tidy; exit 5' TERM; sh -c 'trap \"\" TERM; echo $$; sleep 60' & echo $$; wait"
    for grace in LIMITS:  # more than one only if the machine is busy
        with Popen(shell, shell=True, stdout=PIPE, text=True) as process:
            pids = numbers(process.stdout, 2)
            process.kill_tree(grace=grace)
            assert not any(map(runs, pids))
            said = process.stdout.read()
        if process.returncode == 5:
            break
    assert (said, process.returncode) == ("tidy\n", 5)


def test_grace_is_not_waited_for_when_all_have_ended():
    begun = time.monotonic()
    with Popen("sleep 60 & sleep 60", shell=True) as process:
        process.kill_tree(grace=40)
    assert time.monotonic() - begun < SOON
    assert process.returncode == -signal.SIGTERM


def test_a_stopped_process_hears_of_its_end():
    with Popen(
        ["sh", "-c", "trap 'exit 7' TERM; echo on; while :; do sleep 0.05; done"], stdout=PIPE
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        process.kill_tree(grace=SOON)
        assert process.returncode == 7


def test_strangers_live_on():
    with (
        Popen(["sleep", "60"]) as stranger,
        Popen("sleep 60 & wait", shell=True, start_new_session=True) as process,
    ):
        process.kill_tree()
        assert stranger.poll() is None
        stranger.kill()


def test_killing_the_dead_tree_does_nothing():
    process = Popen(["true"])
    process.wait()
    process.kill_tree()
    process.kill_tree(grace=1)
    assert process.returncode == 0


def test_run_leaves_nobody_after_its_time_limit():
    command = [*PYTHON, DAEMON + "time.sleep(60)"]
    how = {"capture_output": True, "text": True, "kill_tree": True}
    expired = late(lambda limit: run(command, **how, timeout=limit), lambda expired: expired.stdout)
    assert not runs(int(expired.stdout))


def test_run_leaves_nobody_after_an_interruption():
    def interrupt(*_):
        raise InterruptedError("for the test")

    def note(line):
        pids.append(line)
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # to strike when run() sleeps again

    pids = []
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(InterruptedError):
            run([*PYTHON, DAEMON + "time.sleep(60)"], on_stdout=note, text=True, kill_tree=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not runs(int(pids[0]))


def script(code, identity, **options):
    package = Popen.__module__
    prelude = (
        "import importlib, os, sys, time\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        f"if {identity!r} == 'numbers': importlib.import_module(sys.argv[1] + '._kernel').pidfd_works = False\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return run(
        [sys.executable, "-c", prelude + code, package],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="child subreapers are Linux's")
def test_who_inherits_orphans_inherits_no_zombies(identity):
    pytest.importorskip("ctypes")
    daemon = DAEMON + "print(flush=True); time.sleep(60)"
    code = (
        "import ctypes\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"  # as the init of a container is, too
        f"tree = piece.Popen([sys.executable, '-c', {daemon!r}], stdout=piece.PIPE, mark_tree=True)\n"
        # In any order: the daemon's number; that its parent was waited for, whom nobody could tell from a stranger.
        "daemon = int(tree.stdout.readline() + tree.stdout.readline())\n"
        "stranger = os.fork()\n"
        "if not stranger: os._exit(5)\n"
        "tree.kill_tree()\n"
        "print(os.path.exists(f'/proc/{daemon}'), os.waitpid(stranger, 0)[1] >> 8)\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: print('no child')\n"
    )
    done = script(code, identity)
    assert done.stdout == "False 5\nno child\n", done.stderr


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 5])
def test_few_descriptors_never_make_a_part_look_like_the_whole(spare, identity):
    code = (
        "import resource\n"
        "tree = piece.Popen('for i in 1 2 3 4; do sleep 7778 & done; echo on; wait', shell=True, stdout=piece.PIPE,\n"
        "    mark_tree=True)\n"
        "tree.stdout.readline()\n"
        "before = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (30, before[1]))\n"
        "taken = []\n"
        "try:\n"
        "    while True: taken.append(os.dup(0))\n"
        "except OSError: pass\n"
        f"for fd in taken[:{spare}]: os.close(fd)\n"
        "try: tree.kill_tree(); said = 'done'\n"
        "except OSError as error: said = error.strerror; tree.wait()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
        "def sleepers():\n"
        "    for name in os.listdir('/proc'):\n"
        "        try: line = open(f'/proc/{name}/cmdline').read(); env = open(f'/proc/{name}/environ').read()\n"
        "        except OSError: continue\n"
        "        if '7778' in line and tree._mark.decode() in env: yield name\n"
        "limit = time.monotonic() + 20\n"  # who is on the way to his program has no environment to show
        "while said != 'done' and len([*sleepers()]) != 4 and time.monotonic() < limit: time.sleep(0.01)\n"
        "print(said, len([*sleepers()]))\n"
        "tree.kill_tree()\n"
        "print(len([*sleepers()]), tree.returncode)\n"
    )
    done = script(code, identity)
    first, last = done.stdout.splitlines() or [done.stderr] * 2
    assert first == ("done 0" if spare else "Too many open files 4"), done.stderr
    assert last == "0 -9", done.stderr


def test_run_and_its_kin_leave_nobody_where_the_kernel_takes_every_status(identity):
    code = (
        "import asyncio, signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "import threading\n"
        "said, threads = {}, []\n"
        "def late(wanted, act):\n"
        "    number = len(threads)\n"
        "    def work():\n"
        "        for limit in (0.3, 3, 15):\n"  # more than one only if the machine is busy
        "            try: act(limit); said[number] = 'in time'\n"
        "            except piece.TimeoutExpired as expired: said[number] = f'late {expired.stdout}'\n"
        "            if said[number] == f'late {wanted}': break\n"
        "    threads.append(threading.Thread(target=work)); threads[-1].start()\n"
        "def how(limit): return {'shell': True, 'timeout': limit, 'kill_tree': True}\n"
        "a, b, none = 'echo a; sleep 7779 & wait', 'echo b; sleep 7779 & wait', 'sleep 7779 & wait'\n"
        "late(b'a\\n', lambda limit: piece.run(a, stdout=piece.PIPE, **how(limit)))\n"
        "late(None, lambda limit: piece.call(none, **how(limit)))\n"
        "late(b'b\\n', lambda limit: asyncio.run(piece.arun(b, stdout=piece.PIPE, **how(limit))))\n"
        "line = piece.Pipeline([['echo', 'c'], ['sleep', '7779']])\n"
        "late(b'', lambda limit: line.run(timeout=limit, capture_output=True))\n"
        "for thread in threads: thread.join()\n"
        "for number in sorted(said): print(said[number])\n"
        "print(piece.Pipeline([['echo', 'd'], ['cat']]).run(capture_output=True).stdout)\n"
        "print(piece.run(['false']).returncode)\n"
    )
    done = script(code, identity)
    said = ["late b'a\\n'", "late None", "late b'b\\n'", "late b''", "b'd\\n'", "0"]
    assert done.stdout.splitlines() == said, done.stderr


def test_the_mark_is_one_variable_more():
    names = run(
        ["env"], env={"PATH": os.environ["PATH"]}, stdout=PIPE, kill_tree=True, text=True
    ).stdout.split("\n")
    assert [line.partition("=")[0] for line in names if line and not line.startswith("PATH=")] == [
        _tree._VARIABLE.decode()
    ]


def test_no_descriptor_is_left():
    before = len(open_descriptors())
    for _ in range(3):
        with Popen("sleep 60 & sleep 60 & wait", shell=True, mark_tree=True) as process:
            process.kill_tree()
    assert len(open_descriptors()) == before


def test_who_is_left_by_one_that_ends_during_the_look_is_found(monkeypatch):
    # U forks V and ends when the processes have been listed and it has not been looked at. V never forks.
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        f"    os.write({said_write}, b'%d' % os.getpid())\n"
        f"    os.read({go_read}, 1)\n"
        "    v = os.fork()\n"
        "    if v == 0: time.sleep(60); os._exit(0)\n"
        f"    os.write({said_write}, b'%d' % v); os._exit(0)\n"
        "os.wait(); time.sleep(60)\n"
    )
    process = Popen([*PYTHON, code], pass_fds=(go_read, said_write), mark_tree=True)
    u, left = int(os.read(said_read, 20)), []
    stat = _tree._stat

    def look(pid):
        if pid == u and not left:
            os.write(go_write, b"x")
            left.append(int(os.read(said_read, 20)))
            while runs_by(stat, u):
                time.sleep(0.001)
        return stat(pid)

    monkeypatch.setattr(_tree, "_stat", look)
    process.kill_tree()
    assert not runs(left[0])
    for fd in (go_read, go_write, said_read, said_write):
        os.close(fd)


def runs_by(stat, pid):
    seen = stat(pid)
    return seen is not None and seen[0] not in (b"Z", b"X")


def test_after_a_long_chase_the_killed_have_time_to_go(monkeypatch):
    monkeypatch.setattr(_tree, "_END_SECONDS", 0.01)
    freeze = _tree._Tree.freeze

    def slowly(tree):
        time.sleep(0.02)
        return freeze(tree)

    monkeypatch.setattr(_tree._Tree, "freeze", slowly)
    await_end, given = _tree._Tree.await_end, []

    def noting(tree, seconds):
        given.append(seconds)
        return await_end(tree, seconds)

    monkeypatch.setattr(_tree._Tree, "await_end", noting)
    Popen(["sleep", "60"]).kill_tree()
    assert given[0] >= 1
