# SPDX-License-Identifier: MIT
"""Commands without options: run by the short way, and no other than by the long one."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess as stdlib_subprocess
import sys
from contextlib import contextmanager

import pytest

from plait.subprocess import CalledProcessError, Command, Popen, _alone, call, run

PACKAGE = Popen.__module__


@contextmanager
def heard(event):
    """The arguments of the audit events of that name."""
    told, listening = [], [True]
    sys.addaudithook(lambda name, given: told.append(given) if listening and name == event else None)
    yield told
    listening.clear()


def script(code, *arguments, **options):
    """Run *code* in a fresh interpreter that can import what we can."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [
        sys.executable,
        "-c",
        "import importlib, os, sys\npiece = importlib.import_module(sys.argv[1])\n" + code,
    ]
    return run(
        [*command, PACKAGE, *arguments], timeout=100, env=env, text=True, capture_output=True, **options
    )


@pytest.fixture
def plain_runs(monkeypatch):
    """How often the short way was taken."""
    taken = []
    run_module = importlib.import_module(PACKAGE + "._run")

    def watched(*args, **kwargs):
        taken.append(args)
        return _alone.run_plainly(*args, **kwargs)

    run(["true"])  # something has to have been started before
    monkeypatch.setattr(run_module, "run_plainly", watched)
    return taken


@pytest.mark.parametrize("options", [{}, {"close_fds": False}])
def test_the_short_way_gives_the_same(options, plain_runs):
    command = ["sh", "-c", "exit 3"]
    ours, theirs = run(command, **options), stdlib_subprocess.run(command, **options)
    assert repr(ours) == repr(theirs)
    assert call(["sh", "-c", "kill $$"], **options) == -signal.SIGTERM
    with pytest.raises(CalledProcessError) as caught:
        run(command, check=True, **options)
    assert (caught.value.cmd, caught.value.returncode) == (command, 3)
    with pytest.raises(FileNotFoundError) as caught:
        run(["/absent/program"], **options)
    assert (caught.value.filename, caught.value.phase) == ("/absent/program", "exec")
    if _alone.is_plain((command,), options):  # else the interpreter's private call is not to be used
        assert len(plain_runs) == 4


@pytest.mark.parametrize("grace", [None, "x", -1])
def test_what_is_no_grace_is_refused_though_there_is_nothing_to_be_gracious_about(grace):
    with pytest.raises((TypeError, ValueError), match="grace must be"):
        run(["true"], grace=grace)


def test_the_short_way_tells_auditors_the_same():
    with heard("subprocess.Popen") as told:
        run(["true", "x"])
        stdlib_subprocess.run(["true", "x"])
    assert told[0] == told[1]


@pytest.mark.parametrize("name", ["__init__", "_execute_child", "wait", "_wait"])
def test_a_method_that_somebody_has_replaced_is_used(name, monkeypatch, plain_runs):
    original, called = getattr(Popen, name), []

    def replaced(self, *args, **kwargs):
        called.append(name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Popen, name, replaced)
    assert run(["true"]).returncode == 0
    assert (called, plain_runs) == ([name], [])


def test_a_status_that_the_kernel_was_told_to_forget_counts_as_zero(plain_runs):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run(["false"]).returncode == 0
        assert call(["false"]) == 0
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_ctrl_c_leaves_no_child():
    code = (
        "piece.run(['true'])\n"
        "for how in (piece.run, piece.call):\n"
        "    try: how(['sh', '-c', 'kill -INT $PPID; exec sleep 60'])\n"
        "    except KeyboardInterrupt: print('interrupted', end=' ')\n"
        "    try: print(os.waitpid(-1, os.WNOHANG))\n"
        "    except ChildProcessError: print('gone', end=' ')\n"
        "print(sorted(os.listdir('/dev/fd'))[:3])\n"
    )
    result = script(code)
    assert (result.stdout, result.stderr) == ("interrupted gone interrupted gone ['0', '1', '2']\n", "")


def test_descriptors_in_the_place_of_the_standard_three_are_kept_out_of_the_way(tmp_path):
    mark = tmp_path / "mark"
    code = (
        "piece.run(['true'])\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "code = piece.run(['sh', '-c', 'exit 3']).returncode\n"
        "left = [fd for fd in (0, 1, 2) if os.path.exists(f'/dev/fd/{fd}')]\n"
        "try: piece.run(['/absent/program'])\n"
        "except FileNotFoundError: open(sys.argv[2], 'w').write(f'{code} {left}')\n"
    )
    script(code, str(mark))
    # Whoever lists /dev/fd has a descriptor of its own, so what is looked at is each by its name.
    assert mark.read_text() == "3 []"


def test_pipes_between_commands_have_the_size_that_was_asked_for():
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_GETPIPE_SZ"):
        pytest.skip("no pipe can be sized here")
    ask = f"import fcntl; print(fcntl.fcntl(1, {fcntl.F_GETPIPE_SZ}))"
    first = [sys.executable, "-S", "-c", ask]
    done = (Command(first, pipesize=8192) | ["cat"]).run(capture_output=True, text=True)
    assert done.stdout == "8192\n"


def test_importing_the_package_loads_only_what_is_always_needed():
    code = "print(*sorted(name.rpartition('.')[2] for name in sys.modules if name.startswith(sys.argv[1])))"
    loaded = script(code).stdout.split()
    assert not {"_async", "_pipeline", "_child", "_start_publicly", "_lasting", "_lines"} & set(loaded)
    code = "print(*[type(getattr(piece, name)).__name__ for name in piece.__all__])"
    assert len(script(code).stdout.split()) == len(importlib.import_module(PACKAGE).__all__)
