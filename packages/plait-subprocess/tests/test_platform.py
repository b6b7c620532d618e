# SPDX-License-Identifier: MIT
"""How the interpreter's private call is recognised, and what happens when it is not."""

from __future__ import annotations

import os
import sys

import pytest

from plait.subprocess import PIPE, SubprocessError, _platform, _start, run

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
EXPECTED = {(3, 10): 21, (3, 11): 23, (3, 12): 23, (3, 13): 23, (3, 14): 22, (3, 15): 22}


@pytest.fixture
def forget(monkeypatch):
    """As if nothing had been started yet."""
    monkeypatch.setattr(_platform, "_known_shape", None)
    monkeypatch.setattr(_platform, "_posixsubprocess", None)


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="what other interpreters have is their affair"
)
def test_the_shape_of_this_interpreter_is_found(forget):
    assert _platform._shape() == EXPECTED[sys.version_info[:2]]
    assert run(["echo", "x"], stdout=PIPE).stdout == b"x\n"


@pytest.mark.parametrize("count", [17, 21, 23, 22])
def test_each_known_shape_is_recognised_by_its_refusal(count):
    def fork_exec(*args):
        if len(args) != count:
            raise TypeError(f"expected {count} arguments, got {len(args)}")
        raise ValueError("bad value(s) in fds_to_keep")

    assert _platform._find_shape(fork_exec) == count


def test_an_unknown_shape_is_not_used(forget, monkeypatch):
    calls = []

    def fork_exec(*args):
        calls.append(args)
        raise TypeError("expected 29 arguments")

    assert _platform._find_shape(fork_exec) == 0
    assert len(calls) == len(_platform.KNOWN_SHAPES)
    monkeypatch.setattr(_platform, "_known_shape", 0)
    assert run(["echo", "x"], stdout=PIPE, cwd="/").stdout == b"x\n"


def test_a_call_that_starts_something_instead_of_refusing_is_not_used_and_leaves_no_zombie():
    started = []

    def fork_exec(*args):
        started.append(os.fork())
        if not started[-1]:
            os._exit(0)
        return started[-1]

    assert _platform._find_shape(fork_exec) == 0
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)


def test_the_start_works_without_the_private_module(forget, monkeypatch):
    monkeypatch.setitem(sys.modules, "_posixsubprocess", None)
    assert _platform._shape() == 0
    assert run(["echo", "x"], stdout=PIPE).stdout == b"x\n"


@pytest.mark.parametrize(
    ("report", "kind", "filename"),
    [
        (b"OSError:2:", FileNotFoundError, "program"),
        (b"OSError:D:", PermissionError, "program"),
        (b"OSError:2:noexec:chdir", FileNotFoundError, "/folder"),
        (b"OSError:2:noexec", FileNotFoundError, "/folder"),
        (b"OSError:1:noexec:setsid", PermissionError, None),
        (b"SubprocessError:0:Exception occurred in preexec_fn.", SubprocessError, None),
        (b"OSError:0:noexec:close", SubprocessError, None),
        (b"nonsense", SubprocessError, None),
    ],
)
def test_what_the_child_reports_is_raised_in_the_parent(report, kind, filename):
    request = _start.StartRequest()
    request.program, request.cwd, request.pgid = "program", "/folder", -1
    request.uid = request.gid = request.groups = None
    with pytest.raises(kind) as caught:
        _start._raise_report(report, request)
    assert getattr(caught.value, "filename", None) == filename


def test_a_sub_interpreter_starts_what_needs_no_fork_and_refuses_the_rest():
    pytest.importorskip("_interpreters")
    code = (
        "import importlib, sys\n"
        "sys.path[:] = PATH\n"
        "piece = importlib.import_module(PACKAGE)\n"
        "order = importlib.import_module(PACKAGE + '._start').order\n"
        "print(piece.run(['echo', 'x'], capture_output=True, text=True, timeout=20))\n"
        "order[:] = ['posix_spawn', 'fork']\n"
        "print(piece.run(['true'], close_fds=False).returncode)\n"
        "try: piece.run(['true'], cwd='/')\n"
        "except RuntimeError as refusal: print('fork' in str(refusal), flush=True)\n"
    )
    program = (
        "import sys, _interpreters\n"
        "code = f'PATH, PACKAGE = {sys.path!r}, {sys.argv[1]!r}\\n' + sys.argv[2]\n"
        "for kind in ('isolated', 'legacy'):\n"
        "    problem = _interpreters.exec(_interpreters.create(kind), code)\n"
        "    if problem: print(problem.formatted)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, run.__module__, code]
    done = run(command, env=env, timeout=30, capture_output=True, text=True)
    once = f"{run(['echo', 'x'], capture_output=True, text=True)}\n0\nTrue\n"
    assert done.stdout == once * 2, done.stderr
