# SPDX-License-Identifier: MIT
"""Text streams that the caller has changed by `reconfigure` before communicate()."""

from __future__ import annotations

import io
import os
import subprocess as stdlib_subprocess

import pytest

from plait.subprocess import PIPE, Popen

SAYS = ["printf", r"a\r\nb\rc\n\351"]


def said(piece, change, stderr=None, timeout=None, **how):
    with piece.Popen(SAYS, stdout=PIPE, stderr=stderr, encoding="utf-8", errors="replace") as process:
        process.stdout.reconfigure(**change)
        return process.communicate(timeout=timeout, **how)[0]


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("stderr", [None, PIPE])
@pytest.mark.parametrize(
    "change",
    [
        {"encoding": "latin-1"},
        {"errors": "ignore"},
        {"newline": ""},
        {"newline": "\n"},
        {"newline": "\r", "encoding": "latin-1"},
        {"newline": None},
    ],
)
def test_the_output_is_decoded_as_the_stream_would_do_it(change, stderr, timeout):
    import plait.subprocess as piece

    stream = io.TextIOWrapper(io.BytesIO(b"a\r\nb\rc\n\xe9"), "utf-8", "replace")
    stream.reconfigure(**change)
    text = stream.read()  # (PyPy knows no change to newlines other than "".)
    assert said(piece, change, stderr, timeout) == text
    if "newline" not in change or (stderr is timeout is None):  # for others the standard class forgets it
        assert said(stdlib_subprocess, change, stderr, timeout) == text


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("is_detached", [False, True])
def test_a_text_stream_that_the_caller_has_put_there_decodes_as_it_would(is_detached, timeout):
    with Popen(SAYS, stdout=PIPE, encoding="latin-1") as process:
        first = process.stdout
        buffer = first.detach() if is_detached else first.buffer
        process.stdout = io.TextIOWrapper(buffer, "latin-1", newline="")
        assert process.communicate(timeout=timeout)[0] == "a\r\nb\rc\n\xe9"


def test_a_line_for_a_callback_ends_with_a_newline():
    import plait.subprocess as piece

    lines = []
    said(piece, {"newline": "", "errors": "ignore"}, on_stdout=lines.append)
    assert lines == ["a\r\n", "b\rc\n"]


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("timeout", [None, 20])
def test_line_ends_of_the_input_become_what_the_stream_makes_of_them(newline, timeout):
    expected = io.BytesIO()
    writer = io.TextIOWrapper(expected, "latin-1", newline=newline)
    writer.write("\xe9\r\nx\n")
    writer.flush()
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
        process.stdin.reconfigure(encoding="latin-1", newline=newline)
        process.stdin.reconfigure(errors="replace")
        process.stdout.reconfigure(encoding="latin-1", newline="")
        process.stdin.write("\xe9")
        out, _ = process.communicate("\xe9\r\nx\n\u20ac", timeout)
    assert out.encode("latin-1") == b"\xe9" + expected.getvalue() + b"?"


def test_the_input_has_the_line_ends_of_the_system(monkeypatch):
    # As it is on Windows, where the stream itself writes them.
    monkeypatch.setattr(os, "linesep", "\r\n")
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
        process.stdout.reconfigure(newline="")
        assert process.communicate("a\nb\n")[0] == "a\r\nb\r\n"


def test_what_reconfigure_refuses_changes_nothing():
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
        with pytest.raises(ValueError, match="newline"):
            process.stdin.reconfigure(newline="x")
        assert process.communicate("a\n")[0] == "a\n"
