# SPDX-License-Identifier: MIT
"""What was read before communicate(), and what that has read ahead: nothing of it is lost."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.subprocess import PIPE, Popen, TimeoutExpired

SAID = "h\u00e9ad\n" + "\u20ac\u00e9\U0001f600\r\nx\n" * 3000


def saying(text=SAID, **options):
    """A child that has said *text*, and waits for its input to end."""
    process = Popen(["cat"], stdin=PIPE, stdout=PIPE, encoding="utf-8", **options)
    process.stdin.buffer.raw.write(text.encode())
    return process


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("stderr", [None, PIPE])
@pytest.mark.parametrize("read", ["readline", "read one", "iterate"])
def test_communicate_returns_what_a_reader_of_text_has_left(read, stderr, timeout):
    process = saying(stderr=stderr)
    if read == "readline":
        had = process.stdout.readline()
    elif read == "read one":
        had = process.stdout.read(1)
    else:
        had = next(iter(process.stdout))
    rest, _ = process.communicate(timeout=timeout)
    assert had + rest == SAID.replace("\r\n", "\n")


@settings(max_examples=12, deadline=None)
@given(
    st.text(st.sampled_from("a\u00e9\u20ac\U0001f600\n\r"), max_size=40),
    st.integers(0, 6),
    st.sampled_from(["utf-8", "utf-16", "utf-7", "shift_jis_2004"]),
    st.booleans(),
)
def test_any_text_read_to_any_place_is_whole(text, taken, encoding, by_lines):
    text = text.encode(encoding, "ignore").decode(encoding)
    data = (text + "the end").encode(encoding)
    expected = io.TextIOWrapper(io.BytesIO(data), encoding).read()
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, encoding=encoding) as process:
        process.stdin.buffer.raw.write(data)
        had = process.stdout.read(taken)
        if by_lines:
            process.stdin.close()
            rest = "".join(line for _, line in process.lines(timeout=20))
        else:
            rest, _ = process.communicate(timeout=20)
    assert had + rest == expected


def test_a_time_out_has_it_and_so_has_the_next_call():
    process = saying("one\ntwo\nth\u00e9")
    assert process.stdout.readline() == "one\n"
    process.stdin.buffer.raw.write("\u00e9".encode()[:1])
    held, process.stdin = process.stdin, None
    with pytest.raises(TimeoutExpired) as caught:
        process.communicate(timeout=0.05)
    assert caught.value.output.startswith("two\nth\u00e9")
    held.buffer.raw.write("\u00e9".encode()[1:] + b"!")
    held.close()
    assert process.communicate(timeout=20) == ("two\nth\u00e9\u00e9!", None)


def test_bytes_read_from_below_a_text_stream_leave_the_rest_of_the_buffer():
    process = saying("one\ntwo\nthree\n")
    assert process.stdout.buffer.readline() == b"one\n"
    assert process.communicate() == ("two\nthree\n", None)


def test_text_without_a_buffer_size_loses_nothing_either():
    process = Popen(["cat"], stdin=PIPE, stdout=PIPE, text=True, bufsize=0)
    process.stdin.write("one\ntwo\n")
    process.stdin.flush()
    assert process.stdout.readline() == "one\n"
    assert process.communicate("three\n") == ("two\nthree\n", None)


def test_what_a_callback_raises_about_text_that_was_read_ahead_loses_none_of_it():
    told = []

    def refuse(line):
        told.append(line)
        if len(told) == 1:
            raise LookupError(line)

    process = saying("one\ntwo\nthree\n")
    assert process.stdout.readline() == "one\n"
    with pytest.raises(LookupError, match="two"):
        process.communicate(on_stdout=refuse)
    assert process.communicate() == ("two\nthree\n", None)


def test_a_text_stream_that_the_caller_has_made_gives_text():
    process = Popen(["printf", r"\303\251\n"], stdout=PIPE)
    process.stdout = io.TextIOWrapper(process.stdout, "utf-8")
    assert process.communicate() == ("\u00e9\n", None)


def test_a_stand_in_without_a_descriptor_is_read():
    process = Popen(["true"], stdout=PIPE)
    process.stdout.close()
    process.stdout = io.BytesIO(b"fake")
    assert process.communicate() == (b"fake", None)


@pytest.mark.parametrize("text", [False, True])
def test_communicate_after_lines_returns_the_rest(text):
    process = Popen(
        "echo ready; echo err >&2; echo one; echo two", shell=True, stdout=PIPE, stderr=PIPE, text=text
    )
    line = next(line for name, line in process.lines(timeout=20) if name == "stdout")
    out, err = process.communicate(timeout=20)
    empty = line[:0]
    words = (empty.join([line, out]), err or empty)
    decoded = words if text else tuple(word.decode() for word in words)
    assert decoded[0] == "ready\none\ntwo\n"
    assert decoded[1] in ("err\n", "")
    assert process.communicate() == (out, err)
    assert process.returncode == 0


def test_lines_of_a_child_that_never_stops_end_in_time():
    with Popen(["yes"], stdout=PIPE) as process:
        with pytest.raises(TimeoutExpired):
            for _ in process.lines(timeout=0.2):
                pass
        process.kill()
