# SPDX-License-Identifier: MIT
"""communicate() with an object of the caller's in the place of stdin."""

from __future__ import annotations

import codecs
import importlib
import io
import sys

import pytest

from plait.subprocess import PIPE, Popen, TimeoutExpired, run

PACKAGE = Popen.__module__
BIG = bytes(range(256)) * 4000


class Counting:
    """Passes on what it is given; has a descriptor if *fileno*."""

    def __init__(self, stream, fileno):
        self.stream, self.written, self.flushed, self.closed_times = stream, 0, 0, 0
        if fileno:
            self.fileno = stream.fileno

    def write(self, data):
        self.written += len(data)
        self.stream.write(data)

    def flush(self):
        self.flushed += 1
        self.stream.flush()

    def close(self):
        self.closed_times += 1
        self.stream.close()


@pytest.mark.parametrize("output", [None, PIPE])
def test_a_codec_gets_the_text(output, tmp_path):
    command = ["cat"] if output else ["sh", "-c", f"cat > {tmp_path}/said"]
    process = Popen(command, stdin=PIPE, stdout=output)
    process.stdin = codecs.getwriter("utf-16-be")(process.stdin)
    said, _ = process.communicate("é")
    if output is None:
        said = (tmp_path / "said").read_bytes()
    assert (said, process.returncode) == (b"\0\xe9", 0)


def test_a_text_layer_of_the_callers_gets_the_text():
    process = Popen(["cat"], stdin=PIPE, stdout=PIPE)
    process.stdin = io.TextIOWrapper(process.stdin, "latin-1")
    process.stdin.write("ö")
    assert process.communicate("é") == (b"\xf6\xe9", None)


def test_what_has_a_descriptor_is_fed_while_the_output_is_read():
    process = Popen(["cat"], stdin=PIPE, stdout=PIPE)
    process.stdin = stdin = Counting(process.stdin, True)
    stdin.write(b"first")
    assert process.communicate(BIG, timeout=60) == (b"first" + BIG, None)
    assert (stdin.written, stdin.flushed, stdin.closed_times) == (5, 1, 1)


def test_the_time_limit_holds_for_what_has_a_descriptor():
    process = Popen(["sleep", "60"], stdin=PIPE, stdout=PIPE)
    process.stdin = stdin = Counting(process.stdin, True)
    try:
        with pytest.raises(TimeoutExpired):
            process.communicate(3 * BIG, timeout=0.05)  # more than the widest pipe holds
        assert stdin.closed_times == 0
    finally:
        process.kill()
    assert process.communicate() == (b"", None)
    assert stdin.closed_times == 1


@pytest.mark.parametrize("given", [None, b"", b"some"])
def test_what_has_no_descriptor_is_written_to(given):
    process = Popen(["cat"], stdin=PIPE, stdout=PIPE)
    process.stdin = stdin = Counting(process.stdin, False)
    assert process.communicate(given) == (given or b"", None)
    assert (stdin.written, stdin.closed_times) == (len(given or b""), 1)


@pytest.mark.parametrize("fileno", [True, False])
@pytest.mark.parametrize("output", [None, PIPE])
def test_a_child_that_does_not_want_it_is_no_error(fileno, output):
    process = Popen(["true"], stdin=PIPE, stdout=output)
    process.handle.wait(10)
    process.stdin = Counting(process.stdin, fileno)
    assert process.communicate(BIG) == (b"" if output else None, None)
    assert process.returncode == 0


WARNED = f"""
from {PACKAGE} import PIPE, Popen, check_output, getoutput, run

run("true", shell=True, text=True)
check_output("true", shell=True, text=True)
class Sub(Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
with Sub(["cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
    assert process.communicate("x") == ("x", None)
getoutput("true")
run("true", shell=True, encoding="utf-8")
run("true", shell=True)
"""


def test_a_warning_about_the_encoding_points_at_the_caller(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path[:] = {sys.path!r}\n{WARNED}")
    done = run(
        [sys.executable, "-X", "warn_default_encoding", script], stdout=PIPE, stderr=PIPE, encoding="utf-8"
    )
    told = [
        line.rpartition("script.py:")[2].split() for line in done.stderr.splitlines() if "Warning" in line
    ]
    assert [(words[0], words[1]) for words in told] == [
        (f"{number}:", "EncodingWarning:") for number in (6, 7, 10, 13)
    ], done
    assert done.returncode == 0


@pytest.mark.parametrize("starter", ["Popen", "run", "call"])
def test_other_warnings_point_at_the_caller_too(starter):
    start = getattr(importlib.import_module(PACKAGE), starter)
    for options in ({"bufsize": 1, "stdin": PIPE}, {"close_fds": False, "pass_fds": (0,)}):
        with pytest.warns(RuntimeWarning) as told:
            process = start(["true"], **options)
        assert [warning.filename for warning in told] == [__file__]
        if starter == "Popen":
            process.communicate()
