# SPDX-License-Identifier: MIT
"""Commands run as child processes on Windows (rows S6 and S11), with a simulated one underneath.

The simulation is that of plait-subprocess's own tests. Both implementations run on it: they are imported anew where
`_winapi` and `msvcrt` can be had. What real Windows does is not shown by this.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .commands import UNIQUE
from .scenario import IMPLEMENTATIONS, Absent, Impl, Wrong, returns, scenario, until, with_word

TESTS = Path(__file__).resolve().parents[2] / "packages" / "plait-subprocess" / "tests"


def _warm(_: Impl) -> None:
    """The simulation's own needs: some interpreters keep a file open as soon as they have ctypes."""
    importlib.import_module("ctypes")


@contextmanager
def _windows(impl: Impl) -> Iterator[tuple[Any, Any]]:
    """The simulation, and the implementation's `subprocess` in it."""
    sys.path.insert(0, str(TESTS))
    try:
        import simulated_winapi
    except ImportError as error:
        raise Absent(f"the simulation is not here: {error}") from None
    finally:
        sys.path.remove(str(TESTS))
    with simulated_winapi.installed(IMPLEMENTATIONS[impl.name]["subprocess"]) as (simulation, module):
        yield simulation, module
    if simulation.wrong:
        raise Wrong("; ".join(simulation.wrong))


@scenario(
    "S6",
    "Windows (simulated): communicate(a lot of input, timeout=0.3) raises TimeoutExpired on time",
    warm=_warm,
)
def input_nobody_reads(impl: Impl) -> None:
    with _windows(impl) as (_, module):
        sleeper = module.Popen(["sleep", UNIQUE], stdin=module.PIPE, stdout=module.PIPE)
        begun = time.monotonic()
        try:
            returns(4, sleeper.communicate, b"x" * 1_000_000, 0.3)
            raise Wrong("communicate() returned, it should have raised TimeoutExpired")
        except module.TimeoutExpired:
            took = time.monotonic() - begun
        finally:
            sleeper.kill()
        if took > 0.8:
            raise Wrong(f"communicate(timeout=0.3) took {took:.2f} s, allowed 0.8 s")
        returns(2, sleeper.communicate)
        returns(2, sleeper.wait)


@scenario(
    "S11",
    "Windows (simulated): run(timeout=..., kill_tree=True) ends all of the tree, by a job object",
    reproduced=True,
    warm=_warm,
)
def timeout_ends_the_job(impl: Impl) -> None:
    options: dict[str, Any] = {"kill_tree": True} if impl.has("subprocess.run(kill_tree)") else {}
    with _windows(impl) as (simulation, module):
        begun = time.monotonic()
        try:
            command = f"sleep {UNIQUE} & wait"
            returns(4, module.run, command, shell=True, timeout=0.3, capture_output=True, **options)
            raise Wrong("run() returned, it should have raised TimeoutExpired")
        except module.TimeoutExpired:
            took = time.monotonic() - begun
        time.sleep(0.2)  # a process that has been killed needs a moment to be gone
        left = with_word(UNIQUE)
        simulation.end()
        if left:
            raise Wrong(f"{len(left)} process of the tree left after the timeout")
        if took > 1.5:
            raise Wrong(f"run(timeout=0.3) took {took:.2f} s, allowed 1.5 s")


@scenario(
    "S11",
    "Windows (simulated): the job of a tree ends its members if this process ends (kill on close)",
    needs=("subprocess.Popen(mark_tree)",),
    warm=_warm,
)
def the_job_ends_with_us(impl: Impl) -> None:
    options: dict[str, Any] = {"mark_tree": True} if impl.has("subprocess.Popen(mark_tree)") else {}
    with _windows(impl) as (simulation, module):
        shell = module.Popen(f"sleep {UNIQUE} & sleep {UNIQUE}", shell=True, **options)
        try:
            if not simulation.jobs:
                raise Wrong("there is no job")
            until(5, "the shell has a child", lambda: len(with_word(UNIQUE)) > 1)
            simulation.jobs[0].gone()  # what the kernel does when its last handle is closed
            until(2, "the whole tree is gone", lambda: not with_word(UNIQUE))
        finally:
            simulation.end()
            returns(2, shell.wait)


@scenario(
    "S11",
    "Windows (simulated): start_new_session=True and the like raise, they are not ignored",
    reproduced=True,
    warm=_warm,
)
def unsupported_arguments_raise(impl: Impl) -> None:
    with _windows(impl) as (_, module):
        for options in (
            {"start_new_session": True},
            {"process_group": 0},
            {"umask": 0o77},
            {"pass_fds": (0,)},
        ):
            try:
                returns(5, module.run, ["true"], **options)
            except (ValueError, TypeError):
                continue
            raise Wrong(f"{next(iter(options))} was silently ignored")
