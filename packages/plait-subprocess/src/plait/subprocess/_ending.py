# SPDX-License-Identifier: MIT
"""Ending what a call has started: with time for its last words, and whatever a signal handler raises meanwhile."""

# For run(), call(), arun() and Pipeline.run(). They own their children: when they are left, the children are gone.
#
# What must hold
#   - A Popen exists, and is known here, before its child does: object.__new__() first, and __init__() within the `try`. A
#     handler that raises between the start and the next line finds the child owned.
#   - There are two clean-ups, one in the `finally` of the other. `wind_up` takes its time: it asks the child to end, lets
#     it have its grace, kills it and collects what it had to say. `let_go` does what is left to do then: kill, take the
#     status, close. A handler may raise anywhere in the one, on the entry of a function as well, and the other is done
#     in full. So an exception in the middle of the clean-up after another leaves no child and waits for none that lives.
#   - Who may not be killed (a set-user-ID program that has become another user altogether) is not waited for. What was to
#     be raised is raised, with the refusal as its `__cause__`; the child runs on, and a later start takes its status.
#   - During the grace the pipes are read, or a child with much to say could never come to its end. Listeners hear nothing of
#     that: what was read before the limit they are told within DRAIN_SECONDS after it, and then no more. So none of them
#     can hold up the clean-up, or hide its reason by another exception: what one raises then is the `__cause__` of it.
#   - A TimeoutExpired that a handler has raised, about a command of its own, is not told what this one said.

from __future__ import annotations

from time import monotonic, sleep

from ._exchange import DRAIN_SECONDS, LimitReached
from ._handle import deadline_after
from ._results import OutputTooLarge, TimeoutExpired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._exchange import Exchange
    from ._handle import ProcessHandle
    from ._popen import Popen

__all__ = [
    "FIRST_PAUSE",
    "LONGEST_PAUSE",
    "await_killed",
    "check_grace",
    "end",
    "heed",
    "let_go",
    "lives_on",
    "sit_out",
    "wind_up",
]

#: How often trees and pipelines are looked at while they have their grace; a single child rings a bell.
FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.02


def check_grace(grace: Any) -> None:
    """Raise for what is no *grace*, before anything is started rather than when the time is up."""
    try:
        is_right = grace >= 0
    except TypeError:
        raise TypeError(f"grace must be a number of seconds, not {grace!r}") from None
    if not is_right:
        raise ValueError(f"grace must be a number of seconds, 0 or more, not {grace!r}")


def wind_up(process: Popen[Any], problem: BaseException, kill_tree: bool, grace: float) -> None:
    """End the child because of *problem*, which is about to be raised, and write into that what the child has said."""
    if process._handle is None or not process._handle.is_own_child:
        return  # it was never started, or by the process that this one was forked from
    is_told = heed(process, problem)
    try:
        end(process, kill_tree, grace)
    except PermissionError as refusal:
        if not lives_on(process):
            raise
        problem.__cause__ = refusal
        if is_told:
            problem.output, problem.stderr = process._output_so_far()  # type: ignore[attr-defined]
        return
    if is_told:
        _add_the_rest(problem, process)
    else:
        await_killed(process)


def let_go(process: Popen[Any], kill_tree: bool) -> None:
    """Kill the child if it lives, take its status, close its pipes. Does nothing the second time."""
    if process._handle is None or not process._handle.is_own_child:
        return
    try:
        if kill_tree and not process._tree_ended:
            process.kill_tree()
    finally:
        try:
            if process.returncode is None and not lives_on(process):
                await_killed(process)
        finally:
            process._close_streams()


def await_killed(process: Popen[Any]) -> None:
    """Wait for a child that has been killed, whatever a subclass has made of `wait`."""
    if process.returncode is None:
        process.returncode = process.handle.ended_within(None)


def lives_on(process: Popen[Any]) -> bool:
    """Kill the child; whether we are not allowed to."""
    try:
        process.kill()
    except PermissionError:
        return True
    return False


def heed(process: Popen[Any], problem: BaseException) -> bool:
    """Let listeners hear the last; whether *problem* has to be told what the child says."""
    is_told = isinstance(problem, (TimeoutExpired, OutputTooLarge)) and problem.cmd is process.args
    if process._exchange is not None:
        try:
            process._exchange.stop_telling(monotonic() + DRAIN_SECONDS * is_told)
        except Exception as late:  # noqa: BLE001 - whatever a callback may raise: *problem* was before it
            problem.__cause__ = late
    return is_told


def end(process: Popen[Any], kill_tree: bool, grace: float) -> None:
    """End the child, or all of its tree; it has SIGKILL when this returns or raises, but for its being interrupted twice."""
    try:
        if grace > 0:
            tree = process._ask_tree() if kill_tree else None
            if kill_tree and tree is None:  # a group, or a job
                process.kill_tree(grace=grace)
            else:
                if tree is None:
                    process.terminate()
                sit_out([process], [] if tree is None else [tree], grace)
    finally:
        try:
            if kill_tree and not process._tree_ended:
                process.kill_tree()
        finally:
            process.kill()  # whatever else happens


class _Ended:
    """True once the child has ended."""

    __slots__ = ("_handle",)

    def __init__(self, handle: ProcessHandle) -> None:
        self._handle = handle

    def __bool__(self) -> bool:
        return self._handle.poll() is not None


def sit_out(processes: Sequence[Popen[Any]], trees: Sequence[Any], grace: float) -> None:
    """Read what the children say until they and their *trees* have ended, or for *grace* seconds."""
    deadline, pause = deadline_after(grace), FIRST_PAUSE
    exchange = processes[0]._exchange
    is_alone = len(processes) == 1 and not trees
    if exchange is None and len(processes) == 1 and processes[0]._has_pipes:
        exchange = processes[0]._start_exchange(None)
    handle = processes[-1].handle
    until: Any = _Ended(handle) if is_alone else ()
    while (left := deadline - monotonic()) > 0:
        if all(one.poll() is not None for one in processes) and not any(tree.living() for tree in trees):
            return
        step = left if is_alone else min(pause, left)
        if exchange is not None and not _read(exchange, step, handle, until):
            pass  # that was the pause
        elif is_alone:
            handle.ended_within(step)
        else:
            sleep(step)
        pause = min(pause * 2, LONGEST_PAUSE)


def _read(exchange: Exchange, seconds: float, handle: ProcessHandle, until: Any) -> bool:
    """Whether there is nothing more to read, or to write."""
    try:
        return exchange.pump(monotonic() + seconds, handle, until)
    except LimitReached:
        return False  # the excess is dropped from now on


def _add_the_rest(told: Any, process: Popen[Any]) -> None:
    """Write into *told* what the killed child has said."""
    try:
        told.output, told.stderr = process.communicate()
    except UnicodeError:  # what was said makes no text; that it was too much is still the news
        told.output, told.stderr = process._output_so_far()
    except OutputTooLarge as excess:  # the other stream as well
        told.output, told.stderr = excess.output, excess.stderr
