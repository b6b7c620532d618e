# SPDX-License-Identifier: MIT
"""Output as it comes."""

from __future__ import annotations

import os
import sys
import time
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import LIMITS, SOON, late

from plait.subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    OutputTooLarge,
    Popen,
    TimeoutExpired,
    _lines,
    run,
)


def test_lines_come_while_the_command_runs_and_are_kept_as_well(tmp_path):
    seen, heard = [], tmp_path / "heard"

    def listen(line):
        seen.append(line)
        heard.touch()

    # Goes on when its first line was heard.
    command = "echo one; until [ -e heard ]; do sleep 0.01; done; echo two; echo err >&2; printf three"
    how = {"shell": True, "capture_output": True, "text": True, "cwd": tmp_path}
    result = run(command, **how, on_stdout=listen, timeout=30)
    assert seen == ["one\n", "two\n", "three"]
    assert (result.stdout, result.stderr) == ("one\ntwo\nthree", "err\n")


def test_without_a_pipe_of_the_callers_nothing_is_kept():
    out, err = [], []
    result = run("echo a; echo b >&2", shell=True, on_stdout=out.append, on_stderr=err.append)
    assert (out, err) == ([b"a\n"], [b"b\n"])
    assert (result.stdout, result.stderr) == (None, None)
    assert run("echo a; echo b >&2", shell=True, on_stdout=out.append, stderr=STDOUT).stderr is None
    assert sorted(out) == [b"a\n", b"a\n", b"b\n"]


def test_a_listener_needs_a_pipe_and_has_to_be_callable():
    with pytest.raises(ValueError, match="needs a pipe"):
        run(["true"], on_stdout=print, stdout=DEVNULL)
    with pytest.raises(TypeError, match="cannot be called"):
        run(["true"], on_stderr="log")

    async def told(line): ...

    async def asked(line):
        yield line

    for callback in (told, asked, mock.AsyncMock()):
        with pytest.raises(TypeError, match="on_stderr is called and not awaited"):
            run(["true"], on_stderr=callback)
    run(["true"], on_stderr=mock.Mock())
    with pytest.raises(ValueError, match="number of bytes"):
        run(["true"], max_output=-1)


def test_what_the_callback_raises_ends_the_run_and_the_child():
    def refuse(line):
        raise LookupError(line)

    begun = time.monotonic()
    with pytest.raises(LookupError, match="first"):
        run("echo first; exec sleep 60", shell=True, on_stdout=refuse)
    assert time.monotonic() - begun < SOON


def test_no_line_is_lost_to_a_callback_that_raises_once():
    seen = []

    def raise_on_second(line):
        seen.append(line)
        if line == b"2\n":
            raise LookupError

    with Popen(["printf", r"1\n2\n3\n4"], stdout=PIPE) as process:
        with pytest.raises(LookupError):
            process.communicate(on_stdout=raise_on_second)
        out, _ = process.communicate()
    assert seen == [b"1\n", b"2\n", b"3\n", b"4"]
    assert out == b"1\n2\n3\n4"


def test_a_time_limit_holds_for_listeners():
    seen = []
    how = {"shell": True, "text": True, "on_stdout": seen.append}
    late(lambda limit: run("echo so far; exec sleep 60", **how, timeout=limit), lambda _: seen)
    assert seen == ["so far\n"]


@given(st.text(alphabet="a\n\réß", max_size=30), st.integers(1, 5))
def test_text_is_cut_into_the_lines_that_a_text_file_has(text, step):
    data = text.encode()
    lines, raw = [], []
    feeder, raw_feeder = (
        _lines.LineFeeder(lines.append, "utf-8", None),
        _lines.LineFeeder(raw.append, None, None),
    )
    for start in range(0, len(data), step):
        feeder.feed(data[start : start + step])
        raw_feeder.feed(memoryview(data)[start : start + step])
    feeder.feed(b"", True)
    raw_feeder.feed(b"", True)
    assert lines == text.replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True)
    assert b"".join(raw) == data
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in raw[:-1])


def test_a_line_without_end_comes_in_pieces():
    sizes = []
    run("head -c 3000000 /dev/zero", shell=True, on_stdout=lambda piece: sizes.append(len(piece)))
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= 2 * _lines._LONGEST_LINE


def test_output_beyond_the_limit_ends_the_command():
    begun = time.monotonic()
    with pytest.raises(OutputTooLarge, match="1000 bytes") as caught:
        run("yes & yes >&2", shell=True, capture_output=True, max_output=1000, kill_tree=True)
    assert time.monotonic() - begun < SOON
    full = b"y\n" * 500
    outputs = [caught.value.stdout, caught.value.stderr]
    assert full in outputs  # either stream may be the first beyond it: the other has what came until then
    assert all(full.startswith(output) for output in outputs)


@pytest.mark.parametrize("text", [False, True])
def test_output_within_the_limit_is_whole(text):
    assert len(run(["printf", "%01000d", "0"], stdout=PIPE, max_output=1000, text=text).stdout) == 1000
    with pytest.raises(OutputTooLarge) as caught:
        run(["printf", "%01001d", "0"], stdout=PIPE, max_output=1000, text=text)
    assert caught.value.output == ("0" if text else b"0") * 1000


def test_lines_of_both_outputs_can_be_iterated_over():
    code = "import sys; [print(line.strip()[::-1], flush=True) for line in sys.stdin]; print('e', file=sys.stderr)"
    with Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        come = list(process.lines("ab\ncd\n"))
    assert [line for name, line in come if name == "stdout"] == ["ba\n", "dc\n"]
    assert [line for name, line in come if name == "stderr"] == ["e\n"]
    assert process.returncode == 0


def test_iterating_stops_at_the_time_limit():
    said = []

    def iterate(limit):
        with Popen("echo one; exec sleep 60", shell=True, stdout=PIPE) as process:
            lines = process.lines(timeout=limit)
            try:
                while True:
                    said.append(next(lines))
            finally:
                process.kill()

    late(iterate, lambda _: said)
    assert said == [("stdout", b"one\n")]


def test_a_failed_command_tells_its_last_words():
    with pytest.raises(CalledProcessError) as caught:
        run("seq 20 >&2; exit 3", shell=True, capture_output=True, check=True)
    assert str(caught.value).splitlines()[1:] == [
        "The last it wrote to stderr:",
        *(f"  {number}" for number in range(11, 21)),
    ]
    assert str(CalledProcessError(3, ["x"], None, b"\xff")).endswith("\n  \\xff")
    assert str(CalledProcessError(3, ["x"], None, " \n")) == "Command ['x'] returned non-zero exit status 3."
    assert str(CalledProcessError(None, ["x"])) == "Command ['x'] returned non-zero exit status None."


@pytest.mark.parametrize("keep", [None, PIPE])
def test_a_time_limit_holds_for_listeners_that_are_slow(keep):
    heard = []

    def listen(line):
        heard.append(line)
        time.sleep(0.02)

    # One read has lines for many minutes.
    expired = late(lambda limit: run(["yes"], on_stdout=listen, stdout=keep, timeout=limit), lambda _: heard)
    assert set(heard) == {b"y\n"}
    assert keep is None or len(expired.stdout) > 2 * len(heard)


def test_lines_not_heard_at_the_time_limit_are_heard_in_the_next_call():
    heard, pauses = [], []

    def listen(line):
        heard.append(int(line))
        if line == b"1\n":
            time.sleep(pauses[-1])

    for limit in LIMITS:
        pauses.append(1.5 * limit)
        with Popen(["seq", "500"], stdout=PIPE) as process:
            with pytest.raises(TimeoutExpired):
                process.communicate(timeout=limit, on_stdout=listen)
            if not heard:
                continue  # it had said nothing yet
            assert heard[0] == 1
            assert len(heard) < 5
            out, _ = process.communicate()
            break
    assert heard == list(range(1, 501))
    assert out.count(b"\n") == 500


def test_a_limit_is_told_even_if_a_callback_has_raised_in_that_moment():
    def raise_once(line):
        nonlocal raised
        if not raised:
            raised = True
            raise LookupError

    raised = False
    with Popen(["printf", r"1\n2\n3\n"], stdout=PIPE) as process:
        process.wait()
        with pytest.raises(LookupError):
            process.communicate(on_stdout=raise_once, max_output=3)
        with pytest.raises(OutputTooLarge) as caught:
            process.communicate()
        assert caught.value.stdout == b"1\n2"
        assert process.communicate() == (b"1\n2", None)


def test_after_the_end_a_listener_that_raises_again_does_not_hide_the_time_limit():
    def refuse_two(line):
        if line == b"two\n":
            raise LookupError

    with pytest.raises(TimeoutExpired):
        run("trap 'echo two; exit' TERM; echo one; while :; do sleep 0.01; done", shell=True, on_stdout=refuse_two,
            timeout=0.5, grace=20)  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_half_a_character_of_who_was_killed_is_no_error(encoding):
    lines = []
    feeder = _lines.LineFeeder(lines.append, encoding, None)
    feeder.feed("é\naß".encode(encoding)[:-1])
    feeder.feed_end(False)
    assert lines == ["é\n", "a"]
    strict = _lines.LineFeeder(lines.append, encoding, None)
    strict.feed("é\naß".encode(encoding)[:-1])
    with pytest.raises(UnicodeDecodeError):
        strict.feed_end(True)


def test_who_listens_no_more_decodes_nothing():
    lines = []
    feeder = _lines.LineFeeder(lines.append, "utf-8", None)
    feeder.drop()
    feeder.feed(b"\xff\n", True)
    assert lines == []


def test_lines_end_a_moment_after_the_child_was_killed_whoever_goes_on_talking():
    code = "(while :; do echo x; sleep 0.02; done) & exec sleep 60"
    process = Popen(code, shell=True, stdout=PIPE, process_group=0)
    begun = time.monotonic()
    for _ in process.lines():
        process.kill()
        assert time.monotonic() - begun < SOON
    os.killpg(process.pid, 9)
    process.wait()
