# SPDX-License-Identifier: MIT
"""Input in an encoding that has a mark at its beginning: it is sent once."""

from __future__ import annotations

import io
import os

import pytest

from plait.subprocess import PIPE, Popen, run

MARKED = ["utf-16", "utf-32", "utf-8-sig"]


def written(encoding, *texts, reconfigured=False):
    """What the standard text layer makes of so many calls of write()."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as pipe:
        with io.TextIOWrapper(open(write_end, "wb"), "latin-1" if reconfigured else encoding) as stream:
            stream.write(texts[0])
            if reconfigured:
                stream.reconfigure(encoding=encoding)
            for text in texts[1:]:
                stream.write(text)
        return pipe.read()


def sent(tmp_path, encoding, *before, given, change=None, **options):
    """What a child gets by write() of *before* and communicate(*given*)."""
    command = ["sh", "-c", 'cat > "$0"', str(tmp_path / "sent")]
    with Popen(command, stdin=PIPE, encoding=encoding, **options) as process:
        for text in before:
            process.stdin.write(text)
        if change is not None:
            change(process)
        process.communicate(given)
    return (tmp_path / "sent").read_bytes()


@pytest.mark.parametrize("encoding", [*MARKED, "utf-16-le", "utf-8"])
@pytest.mark.parametrize("output", [None, PIPE])
@pytest.mark.parametrize("bufsize", [-1, 0, 1])
def test_after_a_write_there_is_no_second_one(encoding, output, bufsize, tmp_path):
    options = {"stdout": output, "bufsize": bufsize}
    for before in (("a",), ("a", "", "é\n"), ("",)):
        expected = written(encoding, *before, "b\U0001f600\n")
        assert sent(tmp_path, encoding, *before, given="b\U0001f600\n", **options) == expected
    assert sent(tmp_path, encoding, "a", given="", **options) == written(encoding, "a")
    assert sent(tmp_path, encoding, "a", given=None, **options) == written(encoding, "a")


@pytest.mark.parametrize("encoding", MARKED)
def test_at_the_beginning_it_is_sent(encoding, tmp_path):
    assert sent(tmp_path, encoding, given="b") == "b".encode(encoding)
    assert run(["cat"], input="é", encoding=encoding, capture_output=True).stdout == "é"


@pytest.mark.parametrize("encoding", MARKED)
def test_print_and_writelines_write(encoding, tmp_path):
    for act in (lambda p: print("a", file=p.stdin), lambda p: p.stdin.writelines(["a\n"])):
        assert sent(tmp_path, encoding, given="b", change=act) == written(encoding, "a\n", "b")


@pytest.mark.parametrize("encoding", MARKED)
def test_after_reconfigure_too(encoding, tmp_path):
    def change(process):
        process.stdin.reconfigure(encoding=encoding)
        process.stdin.write("a")

    expected = written(encoding, "x", "a", "b", reconfigured=True)
    assert sent(tmp_path, "latin-1", "x", given="b", change=change) == expected


def test_what_cannot_be_encoded_sends_nothing(tmp_path):
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, encoding="utf-16") as process:
        process.stdin.write("a")
        with pytest.raises(UnicodeEncodeError):
            process.communicate("\ud800")
        assert process.communicate("b") == ("ab", None)
