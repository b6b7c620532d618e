# SPDX-License-Identifier: MIT
"""Feeding a child and reading it out at the same time."""

from __future__ import annotations

import array
import gc
import importlib
import os
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import SOON, late, until

from plait.subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired, run

collected_module = importlib.import_module(Popen.__module__ + "._collected")

PYTHON = [sys.executable, "-I", "-S", "-c"]
BIG = bytes(range(256)) * 12_000  # 3 MB: more than any pipe holds


@pytest.mark.parametrize("bufsize", [-1, 0, 1 << 16])
def test_full_pipes_in_both_directions_do_not_block(bufsize):
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, bufsize=bufsize) as process:
        assert process.communicate(BIG) == (BIG, None)


@pytest.mark.skipif(not collected_module._can_reserve, reason="there is no reading into a block here")
def test_reading_goes_on_after_an_exception_that_struck_a_read_and_is_still_at_hand(monkeypatch):
    class Struck(Exception):
        pass

    reads = iter(range(10**6))
    readv = collected_module._readv

    def strike_the_third(fd, room):
        if next(reads) == 2:
            raise Struck
        return readv(fd, room)

    monkeypatch.setattr(collected_module, "_readv", strike_the_third)
    with Popen("head -c 6000000 /dev/zero; head -c 3000000 /dev/zero", shell=True, stdout=PIPE) as process:
        with pytest.raises(Struck) as kept:
            process.communicate()
        assert process.communicate()[0] == bytes(9_000_000)
    assert kept.tb is not None


def test_an_input_that_was_written_may_be_changed():
    for command in (["cat"], ["true"]):  # which does not want it
        data = bytearray(b"x" * 1_000_000)
        with Popen(command, stdin=PIPE, stdout=PIPE) as process:
            process.communicate(data)
            gc.collect()  # which PyPy needs to see that nobody has it any more
            data.clear()


def test_a_lot_is_exchanged_though_no_descriptor_is_left():
    code = (
        "import importlib, os, resource, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "processes = [piece.Popen(['cat'], stdin=piece.PIPE, stdout=piece.PIPE) for _ in range(3)]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "try:\n"
        "    while True: os.dup(0)\n"
        "except OSError: pass\n"
        "data = b'x' * 1_000_000\n"
        "a, b, c = processes\n"
        "print(len(a.communicate(data)[0]), len(b.communicate(data, on_stdout=lambda _: None)[0]))\n"
        "print(*map(len, c.lines(data)))\n"
        "for process in processes: print(process.wait())\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    package = Popen.__module__
    done = run([sys.executable, "-c", code, package], timeout=100, env=env, text=True, capture_output=True)
    assert done.stdout == "1000000 1000000\n2\n0\n0\n0\n", done.stderr


def test_three_full_pipes_do_not_block():
    code = (
        "import os, sys, threading\n"
        "def pour(fd, data):\n"
        "    while data: data = data[os.write(fd, data):]\n"
        "threads = [threading.Thread(target=pour, args=(fd, bytes([fd]) * 1_000_000)) for fd in (1, 2)]\n"
        "[thread.start() for thread in threads]\n"
        "data = sys.stdin.buffer.read()\n"
        "[thread.join() for thread in threads]\n"
        "sys.exit(len(data) % 200)\n"
    )
    result = run([*PYTHON, code], input=b"x" * 1_000_150, capture_output=True)
    assert result.returncode == 1_000_150 % 200
    assert result.stdout == b"\1" * 1_000_000
    assert result.stderr == b"\2" * 1_000_000


@pytest.mark.parametrize(
    "data",
    [b"abc" * 100_000, bytearray(b"abc"), memoryview(b"abcdef")[::2], array.array("i", range(50_000)), b""],
    ids=["bytes", "bytearray", "strided memoryview", "array", "empty"],
)
def test_input_may_be_anything_with_bytes_in_it(data):
    assert run(["cat"], input=data, stdout=PIPE).stdout == bytes(memoryview(data).tobytes())


def test_text_goes_in_and_comes_out_in_the_given_encoding():
    assert run(["cat"], input="żółw\n", stdout=PIPE, encoding="iso-8859-2").stdout == "żółw\n"
    assert (
        run(["printf", r"\377"], stdout=PIPE, encoding="ascii", errors="backslashreplace").stdout == "\\xff"
    )
    assert run(["cat"], input="x", stdout=PIPE, universal_newlines=True).stdout == "x"


@pytest.mark.parametrize("options", [{"stderr": None}, {"stderr": PIPE}, {"timeout": 10}])
def test_text_mode_makes_all_line_ends_one(options):
    assert run(["printf", r"a\r\nb\rc\n"], stdout=PIPE, text=True, **options).stdout == "a\nb\nc\n"


def test_wrong_kinds_of_input_are_refused():
    for given_input, options in (("x", {}), (b"x", {"text": True})):
        with pytest.raises(TypeError):
            run(["cat"], input=given_input, stdout=PIPE, **options)


@pytest.mark.parametrize(("stream", "target"), [("stdout", 1), ("stderr", 2)])
@pytest.mark.parametrize("length", [0, 1, 65_536, 65_537, 1 << 18, 1_000_001])
def test_one_output_of_any_length_is_whole(stream, target, length, tmp_path):
    data = os.urandom(length)
    (tmp_path / "data").write_bytes(data)
    with open(tmp_path / "data", "rb") as source:
        result = run(["sh", "-c", f"exec cat >&{target}"], stdin=source, **{stream: PIPE})
    assert getattr(result, stream) == data


@pytest.mark.parametrize("block", [None, 1 << 28, 3 << 20, 1 << 18])
def test_a_lot_of_output_is_whole_wherever_it_is_kept(block, monkeypatch, tmp_path):
    if block is not None and not collected_module._can_reserve:
        pytest.skip("there is no reading into a block here")
    # In a block that is asked for when a lot has come, in one that is too small for it, or in none.
    monkeypatch.setattr(collected_module, "_BLOCK", block or 1)
    monkeypatch.setattr(collected_module, "_can_reserve", block is not None)
    data = os.urandom(9_000_001)
    (tmp_path / "data").write_bytes(data)
    command = "cat data; cat data >&2; exit 3"
    for options in ({}, {"timeout": 30}):
        result = run(command, shell=True, cwd=tmp_path, capture_output=True, **options)
        assert (result.stdout == data, result.stderr == data, result.returncode) == (True, True, 3)
    so_far = []
    with Popen("cat data; sleep 0.1; cat data", shell=True, cwd=tmp_path, stdout=PIPE) as process:
        while True:
            try:
                out, _ = process.communicate(timeout=0.03)
                break
            except TimeoutExpired as expired:
                so_far.append(expired.stdout)
        assert out == data + data
        assert all(map(out.startswith, so_far))


def test_without_addresses_for_a_block_there_is_another_way(monkeypatch):
    def refuse(_size):
        raise MemoryError

    monkeypatch.setattr(collected_module, "bytes", refuse, raising=False)
    assert len(run(["head", "-c", "5000000", "/dev/zero"], stdout=PIPE).stdout) == 5_000_000


def test_a_child_that_does_not_want_its_input_is_no_error():
    assert run(["true"], input=BIG).returncode == 0
    assert run("exec <&-; echo done", shell=True, input=BIG, stdout=PIPE).stdout == b"done\n"
    process = Popen(["true"], stdin=PIPE)
    process.stdin.write(b"left in the buffer")
    process.wait()
    assert process.communicate() == (None, None)


def test_what_is_not_a_pipe_is_none():
    process = Popen(["echo"], stdout=DEVNULL, stderr=PIPE)
    assert process.communicate() == (None, b"")
    assert process.stderr.closed
    assert Popen(["true"]).communicate() == (None, None)
    assert run("echo x >&2", shell=True, stdout=PIPE, stderr=STDOUT).stdout == b"x\n"


def test_a_timeout_carries_what_had_come_and_a_retry_loses_nothing():
    command = "trap 'echo three; exit 4' TERM; echo one; echo two >&2; while :; do sleep 0.01; done"
    with Popen(command, shell=True, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        expired = late(lambda limit: process.communicate(timeout=limit), lambda expired: expired.stderr)
        assert (expired.stdout, expired.stderr) == (b"one\n", b"two\n")
        with pytest.raises(TimeoutExpired) as caught:
            process.communicate(timeout=0.1)
        assert (caught.value.stdout, caught.value.stderr) == (b"one\n", b"two\n")
        process.terminate()
        assert process.communicate(timeout=30) == (b"one\nthree\n", b"two\n")
        assert process.returncode == 4


@pytest.mark.parametrize("text", [False, True])
def test_input_and_output_survive_any_number_of_timeouts(text):
    # Reads slowly, so that most of the input is still with us when the time is up.
    code = (
        "import os, time\n"
        "while True:\n"
        "    data = os.read(0, 300_000)\n"
        "    if not data: break\n"
        "    os.write(1, data); time.sleep(0.02)\n"
    )
    data = BIG.hex() if text else BIG
    with Popen([*PYTHON, code], stdin=PIPE, stdout=PIPE, text=text) as process:
        lengths = []
        given_input = data
        while True:
            try:
                out, _ = process.communicate(given_input, timeout=0.05)
                break
            except TimeoutExpired as expired:
                given_input = None
                lengths.append(len(expired.stdout))
                if not data.startswith(expired.stdout):
                    pytest.fail("the output so far is not where the output begins")
                if len(lengths) > 500:
                    pytest.fail("no progress")
        assert out == data
        assert len(lengths) >= 2
        assert lengths == sorted(lengths)


def test_the_timeout_counts_while_the_child_has_closed_its_output():
    command = "exec >&- 2>&-; exec sleep 60"
    expired = late(lambda limit: run(command, shell=True, capture_output=True, timeout=limit))
    assert (expired.stdout, expired.stderr) == (b"", b"")


def test_text_of_a_timeout_ends_before_half_a_character():
    command = r"printf 'a\303\251\303'; exec sleep 60"
    expired = late(
        lambda limit: run(command, shell=True, stdout=PIPE, timeout=limit, encoding="utf-8"),
        lambda expired: expired.stdout,
    )
    assert expired.stdout == "aé"


def test_text_of_a_timeout_is_text_even_if_empty():
    with pytest.raises(TimeoutExpired) as caught:
        run(["sleep", "60"], capture_output=True, timeout=0.05, text=True)
    assert (caught.value.stdout, caught.value.stderr) == ("", "")
    with pytest.raises(TimeoutExpired) as caught:
        run(["sleep", "60"], stdout=PIPE, timeout=0.05)
    assert (caught.value.stdout, caught.value.stderr) == (b"", None)


GRANDCHILD = "echo said; sleep 60 & echo $!; wait"


def _end(pid_line):
    try:
        os.kill(int(pid_line), 9)
    except ProcessLookupError:
        pass


def test_run_returns_soon_after_its_timeout_although_a_grandchild_holds_the_pipe():
    expired = late(
        lambda limit: run(GRANDCHILD, shell=True, capture_output=True, timeout=limit, text=True),
        lambda expired: expired.stdout.count("\n") == 2,
    )
    said, pid = expired.stdout.split()
    _end(pid)
    assert said == "said"
    assert expired.stderr == ""


@pytest.mark.parametrize("stderr", [None, PIPE])
def test_communicate_after_kill_does_not_wait_for_a_grandchild(stderr):
    process = Popen(GRANDCHILD, shell=True, stdout=PIPE, stderr=stderr)
    first = process.stdout.readline()
    second = process.stdout.readline()
    process.kill()
    began = time.monotonic()
    assert process.communicate()[0] == b""
    assert time.monotonic() - began < SOON
    assert process.returncode == -9
    assert first == b"said\n"
    _end(second)


def _kill_when(process, condition):
    """Kill *process* from another thread, some time after *condition* has come true: communicate() waits by then."""

    def kill():
        until(condition)
        time.sleep(0.1)
        process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_kill_from_another_thread_ends_communicate(tmp_path):
    mark = tmp_path / "mark"
    process = Popen(f"echo said; sleep 60 & echo $!; : > {mark}; wait", shell=True, stdout=PIPE, stderr=PIPE)
    killer = _kill_when(process, mark.exists)
    began = time.monotonic()
    out, _ = process.communicate()
    assert time.monotonic() - began < 2 * SOON  # half of which the killer may wait for the mark
    killer.join()
    assert out.startswith(b"said\n")
    _end(out.split()[1])


@pytest.mark.parametrize("options", [{}, {"stderr": PIPE}])
def test_a_time_limit_holds_although_only_a_grandchild_is_left(options):
    expired = late(
        lambda limit: run("sleep 60 & echo $!", shell=True, stdout=PIPE, timeout=limit, **options),
        lambda expired: expired.stdout,
    )
    _end(expired.stdout)


def test_a_kill_from_another_thread_ends_communicate_although_only_a_grandchild_is_left():
    process = Popen("sleep 60 & echo $!", shell=True, stdout=PIPE)

    def has_ended():
        if not hasattr(os, "waitid"):
            time.sleep(2)
            return True
        try:
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return True  # and communicate() has seen it

    killer = _kill_when(process, has_ended)
    began = time.monotonic()
    out, _ = process.communicate()
    assert time.monotonic() - began < 2 * SOON
    killer.join()
    _end(out)


def test_communicate_waits_for_a_grandchild_that_writes_on_after_its_parents_end():
    # Documented: reads until end of file. Only a kill of ours changes that.
    assert (
        run("(sleep 0.4; echo late) & echo early", shell=True, capture_output=True).stdout == b"early\nlate\n"
    )


def test_what_an_earlier_read_left_in_the_buffer_is_not_lost():
    with Popen("echo one; echo two; echo three >&2", shell=True, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout.readline() == b"one\n"
        process.wait()
        assert process.communicate() == (b"two\n", b"three\n")


def test_streams_are_what_bufsize_and_text_say():
    kinds = {}
    for bufsize in (-1, 0, 1):
        for text in (False, True):
            if bufsize == 1 and not text:
                continue
            with Popen(["cat"], stdin=PIPE, stdout=PIPE, bufsize=bufsize, text=text) as process:
                kinds[bufsize, text] = (type(process.stdin).__name__, type(process.stdout).__name__)
                process.communicate()
    assert kinds == {
        (-1, False): ("BufferedWriter", "BufferedReader"),
        (-1, True): ("TextIOWrapper", "TextIOWrapper"),
        (0, False): ("FileIO", "FileIO"),
        (0, True): ("TextIOWrapper", "TextIOWrapper"),
        (1, True): ("TextIOWrapper", "TextIOWrapper"),
    }


def test_lines_pass_at_once_in_line_buffered_text_mode():
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, bufsize=1, text=True) as process:
        for line in ("one\n", "two\n"):
            process.stdin.write(line)
            assert process.stdout.readline() == line
        process.communicate()
    with pytest.warns(RuntimeWarning, match="bufsize=1"), Popen(["true"], stdout=PIPE, bufsize=1) as process:
        pass


@settings(max_examples=15, deadline=None)
@given(
    data=st.binary(max_size=300_000),
    bufsize=st.sampled_from([-1, 0, 5]),
    timeout=st.sampled_from([None, 30]),
    stderr=st.sampled_from([None, PIPE]),
)
def test_cat_gives_back_what_it_got(data, bufsize, timeout, stderr):
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, stderr=stderr, bufsize=bufsize) as process:
        out, err = process.communicate(data, timeout)
    assert out == data
    assert err == (None if stderr is None else b"")


@pytest.mark.parametrize("timeout", [20, 0.2])
def test_what_the_caller_has_buffered_cannot_block_communicate(timeout):
    # More than a pipe holds stands in the stream's buffer, and the child wants to be read first, or nothing at all.
    reads = "import os, sys; os.write(1, b'x' * 300_000); print(len(sys.stdin.buffer.read()))"
    command = [*PYTHON, reads] if timeout > 1 else ["sleep", "60"]
    with Popen(command, stdin=PIPE, stdout=PIPE, bufsize=1 << 20) as process:
        process.stdin.write(b"y" * 500_000)
        if timeout > 1:
            assert process.communicate(b"z" * 10, timeout)[0] == b"x" * 300_000 + b"500010\n"
        else:
            with pytest.raises(TimeoutExpired):
                process.communicate(timeout=timeout)
            process.kill()
            process.communicate()


def test_bytes_that_are_no_text_do_not_hide_a_timeout():
    command = "printf 'a\\377b'; exec sleep 60"
    expired = late(
        lambda limit: run(command, shell=True, stdout=PIPE, timeout=limit, encoding="utf-8"),
        lambda expired: expired.stdout,
    )
    assert expired.stdout == "a\ufffdb"


def test_after_a_kill_short_time_limits_come_to_the_same_end():
    process = Popen("sleep 60 & echo hi; exec sleep 60", shell=True, stdout=PIPE, process_group=0)
    assert process.stdout.read1(2) == b"hi"
    process.kill()
    begun = time.monotonic()
    while True:
        assert time.monotonic() - begun < SOON
        try:
            out, _ = process.communicate(timeout=0.05)
        except TimeoutExpired:
            continue
        break
    assert out == b"\n"
    os.killpg(process.pid, 9)


def test_what_stands_in_the_pipe_when_the_time_after_a_kill_is_up_is_still_read(tmp_path):
    mark = tmp_path / "mark"
    code = f"head -c 60000 /dev/zero; sleep 60 & : > {mark}; exec sleep 60"
    process = Popen(["sh", "-c", code], stdout=PIPE, process_group=0)
    with pytest.raises(TimeoutExpired):
        process.communicate(timeout=0.001)
    assert until(mark.exists)
    process.kill()
    process.wait()
    process._exchange._drained_at = time.monotonic() - 1
    come = process.communicate()[0]
    os.killpg(process.pid, 9)
    assert len(come) == 60000
