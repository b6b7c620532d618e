# SPDX-License-Identifier: MIT
"""ProcessPoolExecutor, with each start method, in a process of its own. The scenarios are in process_scenarios.py."""

from __future__ import annotations

import concurrent.futures as stdlib_futures
import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plait.futures import Future, ProcessPoolExecutor
from plait.futures.process import BrokenProcessPool

PACKAGE = Future.__module__.rpartition(".")[0]
SCRIPT = Path(__file__).with_name("process_scenarios.py")
NAMES = re.findall(
    r"^    (\w+),$", SCRIPT.read_text().partition("SCENARIOS = [")[2].partition("]")[0], re.MULTILINE
)
multiprocessing = importlib.import_module(PACKAGE.rpartition(".")[0] + ".multiprocessing")
METHODS = multiprocessing.get_all_start_methods()
# The first test of each start method waits for all its scenarios. One that hangs ends the process, stacks shown. How long
# all of them take says how busy the machine is.
ONE_IN, ALL_IN = 100, 900
pytestmark = pytest.mark.timeout(ALL_IN + 20)


@pytest.fixture(scope="module")
def running():
    """All start methods at the same time: mostly they wait."""
    environment = {
        **os.environ,
        "FUTURES_UNDER_TEST": PACKAGE,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    children = {
        method: subprocess.Popen(
            [sys.executable, str(SCRIPT), method, str(ONE_IN)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for method in METHODS
    }
    yield children
    for child in children.values():
        with child:  # none is left, nor a pipe of it, also after a failure
            child.kill()


@pytest.fixture(scope="module", params=METHODS)
def report(request, running):
    child = running[request.param]
    out, err = child.communicate(timeout=ALL_IN)
    lines = [line.split("\t") for line in out.splitlines()]
    return {name: (outcome, text) for name, outcome, text in lines}, child.returncode, err


@pytest.mark.parametrize("name", [*NAMES, "no_process_is_left"])
def test_process_pool(report, name):
    outcomes, _, err = report
    outcome, text = outcomes.get(name, ("never ran", err))
    assert outcome == "ok", text.replace("\\n", "\n")


def test_workers_print_nothing(report):
    _, returncode, err = report
    assert (returncode, err) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_workers": 0},
        {"max_workers": "x"},
        {"initializer": 3},
        {"max_tasks_per_child": 0},
        {"max_tasks_per_child": "x"},
        {"mp_context": 3},
    ],
    ids=str,
)
def test_bad_arguments_raise_what_the_standard_pool_raises(arguments):
    if sys.version_info < (3, 11) and "max_tasks_per_child" in arguments:
        pytest.skip("not there yet")
    with pytest.raises((TypeError, ValueError, AttributeError)) as theirs:
        stdlib_futures.ProcessPoolExecutor(**arguments)
    with pytest.raises(theirs.type):
        ProcessPoolExecutor(**arguments)


def test_a_broken_pool_is_a_broken_executor():
    assert [base.__name__ for base in BrokenProcessPool.__mro__[:3]] == [
        "BrokenProcessPool",
        "BrokenExecutor",
        "RuntimeError",
    ]


def test_a_pool_that_was_never_used_starts_nothing():
    with ProcessPoolExecutor(2) as pool:
        assert "0 of 2" in repr(pool)
    assert pool._crew.manager is None


def test_a_worker_whose_start_is_under_way_is_killed_with_the_others():
    spawn = multiprocessing.get_context("spawn")
    ends = []

    class Watched:
        """A process that is ordered to end, by another thread perhaps, at the moment of its start."""

        def __init__(self, **options):
            self.process = spawn.Process(**options)

        def start(self):
            pool.kill_workers()
            self.process.start()

        def close(self):
            ends.append(self.process.exitcode)
            self.process.close()

        def __getattr__(self, name):
            return getattr(self.process, name)

    class Context:
        Process = Watched

        def __getattr__(self, name):
            return getattr(spawn, name)

    pool = ProcessPoolExecutor(1, Context())
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
    pool.shutdown()
    assert ends == [-signal.SIGKILL]


def test_calls_are_taken_back_while_the_worker_takes_one(monkeypatch):
    crew = importlib.import_module(f"{PACKAGE}._crew")
    member = crew._Member(None)
    try:
        calls = list(range(200))
        member.held = {call: (f"future {call}", "key", 0.0, "packed") for call in calls}
        member.grant(calls)
        read, worker_has = os.read, []

        def read_and_let_the_worker_read(fd, size):
            data = read(fd, size)
            if not worker_has:
                worker_has.append(crew.TICKET.unpack(read(fd, crew.TICKET.size))[0])
            return data

        monkeypatch.setattr(os, "read", read_and_let_the_worker_read)
        taken = member.take_back()
        # It has dropped the calls before that one on its way there: none of them may stay with it.
        assert list(member.held) == worker_has
        assert len(taken) == len(calls) - 1
        with pytest.raises(BlockingIOError):
            os.read(member.tickets.fileno(), 1)
    finally:
        monkeypatch.undo()
        member.put_away()


def test_a_worker_that_has_not_begun_keeps_its_first_call():
    crew = importlib.import_module(f"{PACKAGE}._crew")
    member = crew._Member(None)
    try:
        member.held = {call: (f"future {call}", "key", 0.0, "packed") for call in range(200)}
        member.grant(list(member.held))
        assert len(member.take_back()) == 199
        assert list(member.held) == [0]
        assert crew.TICKET.unpack(os.read(member.tickets.fileno(), 100)) == (0,)
    finally:
        member.put_away()
