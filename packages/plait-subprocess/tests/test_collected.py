# SPDX-License-Identifier: MIT
"""What is put together of a big output is what was said, whatever the kernel thinks of big pages."""

from __future__ import annotations

import os
import sys

import pytest

from plait.subprocess import PIPE, Popen, _collected, _platform, run

PACKAGE = Popen.__module__
SIZE = 12_345_678


def numbers():
    code = f"import sys; sys.stdout.buffer.write(bytes(range(256)) * {SIZE // 256})"
    return run([sys.executable, "-S", "-c", code], stdout=PIPE).stdout


EXPECTED = bytes(range(256)) * (SIZE // 256)


def test_a_big_output_is_whole_and_owns_no_more_than_its_length():
    said = numbers()
    assert said == EXPECTED
    assert sys.implementation.name != "cpython" or sys.getsizeof(said) < SIZE + 100


@pytest.mark.parametrize("problem", [ImportError, AttributeError, OSError])
def test_where_big_pages_cannot_be_asked_for_it_goes_on_without(problem, monkeypatch):
    def refuse():
        raise problem

    monkeypatch.setattr(_platform, "_find_madvise", refuse)
    monkeypatch.setattr(_platform, "_libc_madvise", None)
    assert numbers() == EXPECTED


@pytest.mark.skipif(not _collected._can_reserve, reason="no room is reserved here")
def test_big_pages_are_asked_for_once_and_only_when_a_lot_has_come(monkeypatch):
    asked = []
    monkeypatch.setattr(_collected, "madvise", lambda room: asked.append(len(room)))
    run(["head", "-c", "1000000", "/dev/zero"], stdout=PIPE)
    assert asked == []
    numbers()
    assert len(asked) == 1


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="nobody is asked here")
def test_big_pages_are_asked_for_only_where_they_are_plenty(monkeypatch):
    asked = []
    monkeypatch.setattr(_platform, "_libc_madvise", asked.append)
    room = memoryview(bytearray(1 << 22))
    for free in (0, 3, 4):
        assert asked == []
        monkeypatch.setattr(_platform, "_free_big_pages", lambda free=free: free)
        _platform.madvise(room)
    assert asked == [room]


@pytest.mark.skipif(not os.path.exists("/proc/buddyinfo"), reason="this kernel does not tell")
def test_the_free_big_pages_are_no_more_than_the_free_memory():
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemFree:"))
    assert 0 <= _platform._free_big_pages() <= free // 2048 + 256  # others take and give meanwhile


@pytest.mark.skipif(not _collected._can_reserve, reason="no room is reserved here")
def test_a_handler_that_raises_while_big_pages_are_asked_for_leaves_the_output_to_be_read(monkeypatch):
    class Struck(BaseException):
        pass

    def strike(_room):
        monkeypatch.undo()
        raise Struck

    monkeypatch.setattr(_collected, "madvise", strike)
    with Popen(["head", "-c", str(SIZE), "/dev/zero"], stdout=PIPE) as process:
        with pytest.raises(Struck) as at_hand:
            process.communicate()
        assert process.communicate()[0] == bytes(SIZE)
    assert at_hand.traceback  # with the frames, which hold no part of the room any more
