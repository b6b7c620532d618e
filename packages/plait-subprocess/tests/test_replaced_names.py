# SPDX-License-Identifier: MIT
"""Public names that tests replace in the package: what is made of them uses what stands there."""

from __future__ import annotations

import asyncio
import importlib
import pickle
from unittest import mock

import pytest

from plait.subprocess import (
    CalledProcessError,
    CompletedProcess,
    Pipeline,
    Popen,
    TimeoutExpired,
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


@pytest.mark.parametrize("kill_tree", [False, True])
def test_call_asks_a_mock_for_nothing_but_to_wait(kill_tree):
    with mock.patch.object(piece, "Popen") as stand_in:
        entered = stand_in.return_value.__enter__.return_value
        entered.wait.return_value = 4
        assert call(["x"], timeout=3, kill_tree=kill_tree) == 4
        entered.wait.assert_called_once_with(timeout=3)
        entered.poll.assert_not_called()
        with pytest.raises(CalledProcessError):
            check_call(["x"])


def test_a_mock_in_the_place_of_a_function_is_what_is_called():
    with mock.patch(f"{PACKAGE}.run", return_value=CompletedProcess("x", 3, "said\n")) as fake:
        assert check_output("x", timeout=1) == "said\n"
        assert getstatusoutput("x") == (3, "said")
        assert getoutput("x") == "said"
        assert fake.call_args_list[0] == mock.call("x", stdout=piece.PIPE, timeout=1, check=True)
    with mock.patch(f"{PACKAGE}.check_output", return_value="said\n") as fake:
        assert getstatusoutput("x") == (0, "said")
        assert getoutput("x", timeout=1, kill_tree=True) == "said"
        standard = {"shell": True, "text": True, "stderr": piece.STDOUT, "encoding": None, "errors": None}
        assert fake.call_args_list == [
            mock.call("x", **standard),
            mock.call("x", **standard, timeout=1, kill_tree=True, grace=0.0),
        ]
        fake.side_effect = CalledProcessError(3, "x", "failed\n")
        assert getstatusoutput("x") == (3, "failed")
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


class Stand:
    """The public methods of a Popen, and nothing more."""

    args = ABSENT

    def __init__(self, *args, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def communicate(self, _input=None, *, timeout=None):
        return b"said", timeout

    def wait(self, *, timeout=None):
        return 0

    poll = kill = wait


def test_who_stands_in_for_a_popen_gets_the_timeout_by_name_and_is_told_what_is_missing():
    with mock.patch(f"{PACKAGE}.Popen", Stand):
        assert run(ABSENT, timeout=5).stderr == 5
        assert call(ABSENT, timeout=5) == 0
        with pytest.raises(TypeError, match="leave them out"):
            run(ABSENT, on_stdout=print)
        with pytest.raises(TypeError, match="kill_tree"):
            run(ABSENT, kill_tree=True)


def test_a_subclass_in_the_place_of_popen_has_its_with_statement_used():
    entered = []

    class Entered(Popen):
        def __enter__(self):
            entered.append("enter")
            return super().__enter__()

        def __exit__(self, *exception):
            entered.append("exit")
            return super().__exit__(*exception)

    with mock.patch(f"{PACKAGE}.Popen", Entered):
        assert run(["true"], capture_output=True).stdout == b""
        assert call(["false"]) == 1
    assert entered == ["enter", "exit"] * 2


def test_a_patched_communicate_is_called_for_the_plainest_command():
    with mock.patch.object(Popen, "communicate", side_effect=LookupError), pytest.raises(LookupError):
        run(["true"])


def test_a_subclass_may_make_a_property_of_the_return_code():
    class Own(Popen):
        @property
        def returncode(self):
            return self.kept

        @returncode.setter
        def returncode(self, value):
            self.kept = value

    assert Own(["sh", "-c", "exit 3"]).wait() == 3


def test_exceptions_have_the_arguments_of_the_standard_module_and_not_the_output():
    with pytest.raises(CalledProcessError) as caught:
        check_output("echo secret; exit 1", shell=True)
    assert caught.value.args == (1, "echo secret; exit 1")
    assert "secret\\n" not in repr(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).output == b"secret\n"
    with pytest.raises(TimeoutExpired) as late:
        run("echo secret; sleep 20", shell=True, capture_output=True, timeout=0.2)
    assert late.value.args == ("echo secret; sleep 20", 0.2)
