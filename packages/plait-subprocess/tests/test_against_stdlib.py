# SPDX-License-Identifier: MIT
"""The same calls to this package and to the interpreter's own module give the same answers."""

from __future__ import annotations

import importlib
import subprocess as stdlib_subprocess
import sys

import pytest

from plait.subprocess import Popen

piece = importlib.import_module(Popen.__module__)
PIPE, STDOUT, DEVNULL = -1, -2, -3


def outcome(module, function, args, options):
    """What a call gives or raises, in terms that both modules share."""
    try:
        result = getattr(module, function)(*args, **options)
    except Exception as error:
        fields = {
            name: getattr(error, name)
            for name in ("returncode", "cmd", "output", "stderr", "errno", "filename", "timeout")
            if hasattr(error, name)
        }
        return type(error).__name__, str(error) if fields else "", fields
    if hasattr(result, "returncode"):
        return result.args, result.returncode, result.stdout, result.stderr, repr(result)
    return result


CALLS = [
    ("run", (["true"],), {}),
    ("run", (["false"],), {}),
    ("run", ("exit 7",), {"shell": True}),
    ("run", ("exit 7",), {"shell": True, "check": True}),
    ("run", ("kill -9 $$",), {"shell": True, "check": True}),
    ("run", ("kill -TERM $$",), {"shell": True}),
    ("run", ("echo out; echo err >&2; exit 1",), {"shell": True, "capture_output": True, "check": True}),
    ("run", ("echo out; echo err >&2",), {"shell": True, "stdout": PIPE, "stderr": STDOUT, "text": True}),
    ("run", ("echo out; echo err >&2",), {"shell": True, "stdout": DEVNULL, "stderr": PIPE}),
    ("run", (["cat"],), {"input": b"a\r\nb", "stdout": PIPE}),
    ("run", (["cat"],), {"input": "a\r\nb\rc", "stdout": PIPE, "text": True}),
    ("run", (["cat"],), {"input": "ü", "stdout": PIPE, "encoding": "utf-16"}),
    ("run", (["cat"],), {"input": "x" * 200_000, "capture_output": True, "text": True}),
    ("run", (["cat"],), {"input": "x", "capture_output": True}),
    ("run", (["printf", r"\351"],), {"stdout": PIPE, "encoding": "utf-8"}),
    ("run", (["printf", r"\351"],), {"stdout": PIPE, "encoding": "utf-8", "errors": "replace"}),
    ("run", (["pwd"],), {"cwd": "/", "stdout": PIPE}),
    ("run", (["env"],), {"env": {"A": "1"}, "stdout": PIPE}),
    ("run", (["env"],), {"env": {"A=B": "1"}, "stdout": PIPE}),
    ("run", (["no-such-program"],), {}),
    ("run", (["/no/such/program"],), {}),
    ("run", (["/etc/passwd"],), {}),
    ("run", (["/etc"],), {}),
    ("run", ([""],), {}),
    ("run", ("",), {}),
    ("run", ([],), {}),
    ("run", (5,), {}),
    ("run", (["true"],), {"cwd": "/no/such/directory"}),
    ("run", (["true"],), {"cwd": "/etc/passwd"}),
    ("run", (["tr\0ue"],), {}),
    ("run", (["true"],), {"stdin": PIPE, "input": b""}),
    ("run", (["true"],), {"stdout": PIPE, "capture_output": True}),
    ("run", (["true"],), {"startupinfo": 1}),
    ("run", (["true"],), {"creationflags": 1}),
    ("run", (["true"],), {"text": True, "universal_newlines": False}),
    ("call", (["false"],), {}),
    ("call", (["sleep", "60"],), {"timeout": 0.05}),
    ("check_call", (["true"],), {}),
    ("check_call", ("exit 3",), {"shell": True}),
    ("check_output", (["echo", "x"],), {}),
    ("check_output", (["echo", "x"],), {"text": True}),
    ("check_output", (["cat"],), {"input": b"abc"}),
    ("check_output", (["cat"],), {"input": None}),
    ("check_output", (["cat"],), {"input": None, "text": True}),
    ("check_output", ("echo x; exit 2",), {"shell": True}),
    ("check_output", (["true"],), {"stdout": 1}),
]
if sys.version_info >= (3, 11):  # before, a TypeError about a doubled argument
    CALLS.append(("check_output", (["true"],), {"check": True}))


@pytest.mark.parametrize(("function", "args", "options"), CALLS, ids=lambda value: str(value)[:40])
def test_a_call_has_the_same_outcome(function, args, options):
    ours, theirs = (outcome(module, function, args, options) for module in (piece, stdlib_subprocess))
    if (
        isinstance(ours, tuple) and ours[0] == "CalledProcessError"
    ):  # ours goes on with the last lines of stderr; tested in test_lines
        ours = (ours[0], ours[1].partition("\nThe last it wrote")[0], *ours[2:])
    assert ours == theirs


@pytest.mark.parametrize("returncode", [1, -9, -15, -99, 255])
def test_error_texts_are_the_same(returncode):
    for make in (
        lambda module: module.CalledProcessError(returncode, ["a", "b"]),
        lambda module: module.TimeoutExpired(["a", "b"], 2.5),
    ):
        # 3.15 quotes a list of arguments no more; we follow it everywhere.
        assert str(make(piece)).replace("'", "") == str(make(stdlib_subprocess)).replace("'", "")


def test_audit_hooks_see_the_same_event():
    code = (
        "import importlib, sys\n"
        "events = []\n"
        "sys.addaudithook(lambda name, args: events.append(args) if name == 'subprocess.Popen' else None)\n"
        "importlib.import_module(sys.argv[1]).run('true $0', shell=True, cwd='/', env={'A': 'b'})\n"
        "print(events)\n"
    )
    said = [
        stdlib_subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", module.__name__],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for module in (piece, stdlib_subprocess)
    ]
    assert said[0] == said[1]
    assert "/bin/sh" in said[0]
