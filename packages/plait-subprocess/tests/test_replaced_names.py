# SPDX-License-Identifier: MIT
"""Public names that tests replace in the package: what is made of them uses what stands there."""

from __future__ import annotations

import asyncio
import importlib
from unittest import mock

import pytest

from plait.subprocess import (
    CompletedProcess,
    Pipeline,
    Popen,
    arun,
    call,
    check_call,
    check_output,
    getoutput,
    getstatusoutput,
    run,
)

PACKAGE = Popen.__module__
piece = importlib.import_module(PACKAGE)
ABSENT = ["/absent/program"]


def test_a_mock_in_the_place_of_popen_is_what_is_started():
    with mock.patch(f"{PACKAGE}.Popen") as fake:
        process = fake.return_value.__enter__.return_value
        process.communicate.return_value = (b"said", None)
        process.poll.return_value = process.wait.return_value = 0
        assert run(ABSENT, capture_output=True).stdout == check_output(ABSENT) == b"said"
        assert call(ABSENT) == check_call(ABSENT) == 0
        assert fake.call_args_list[0] == mock.call(ABSENT, stdout=piece.PIPE, stderr=piece.PIPE)
        assert len(fake.call_args_list) == 4


def test_a_mock_in_the_place_of_a_function_is_what_is_called():
    with mock.patch(f"{PACKAGE}.run", return_value=CompletedProcess("x", 3, "said\n")) as fake:
        assert check_output("x", timeout=1) == "said\n"
        assert getstatusoutput("x") == (3, "said")
        assert getoutput("x") == "said"
        assert fake.call_args_list[0] == mock.call("x", stdout=piece.PIPE, timeout=1, check=True)
    with mock.patch(f"{PACKAGE}.call", return_value=0) as fake:
        assert check_call(ABSENT, timeout=1) == 0
        fake.assert_called_once_with(ABSENT, timeout=1)
    with mock.patch(f"{PACKAGE}.getstatusoutput", return_value=(0, "said")):
        assert getoutput("x") == "said"


class Counting(Popen):
    started = []

    def __init__(self, args, **options):
        self.started.append(args)
        super().__init__(args, **options)


def test_a_subclass_in_the_place_of_popen_sees_every_start(monkeypatch):
    monkeypatch.setattr(piece, "Popen", Counting)
    monkeypatch.setattr(Counting, "started", [])
    assert run(["true"]).returncode == call(["true"]) == 0
    assert check_output(["echo", "x"]) == b"x\n"
    assert getoutput("echo y") == "y"
    assert Pipeline([["echo", "z"], ["cat"]]).run(capture_output=True).stdout == b"z\n"
    assert asyncio.run(arun(["false"])).returncode == 1
    assert Counting.started == [
        ["true"], ["true"], ["echo", "x"], "echo y", ["echo", "z"], ["cat"], ["false"],
    ]  # fmt: skip


def test_who_needs_a_real_popen_says_so():
    with mock.patch(f"{PACKAGE}.Popen"):
        with pytest.raises(TypeError, match="a subclass of it"):
            Pipeline([ABSENT]).run()
        with pytest.raises(TypeError, match="a subclass of it"):
            asyncio.run(arun(ABSENT))
