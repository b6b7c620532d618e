# SPDX-License-Identifier: MIT
"""Waiting for a child, and talking to it, from a coroutine of asyncio."""

# Nothing here has a thread or a child watcher. The loop watches descriptors: the pidfd, and the pipes. Each time
# one is ready, one step of the same Exchange is taken that communicate() uses, with a deadline that has passed
# already; such a step writes and reads what it can and never sleeps.
#
# A waiter is one future, resolved by whichever descriptor is ready first or by a timer. Watching ends with each
# step, so no reader is left behind in the loop however the step or the task ends, and no descriptor is watched
# when it is closed. Where the kernel has no pidfd the child's end is looked for, at growing intervals.
#
# On Windows, whose pipes no loop can watch, the exchange has threads of its own, and its inbox and the child are looked
# at every now and then.

from __future__ import annotations

from time import monotonic

from ._ending import FIRST_PAUSE, LONGEST_PAUSE, check_grace, heed, let_go, wind_up
from ._exchange import LimitReached
from ._handle import deadline_after
from ._in_flight import feeding
from ._results import CalledProcessError, CompletedProcess, OutputTooLarge, TimeoutExpired
from ._run import replaced_popen, streams_for
from ._standard import running_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, overload

    from typing_extensions import Unpack

    from . import _options
    from ._exchange import Exchange
    from ._handle import ProcessHandle
    from ._lines import Listening
    from ._popen import Popen

__all__ = ["arun", "await_end"]

# Timers of event loops do not like to be set beyond this.
_LONGEST_TIMER = 86_400.0
#: How long callbacks are called in one go; then the loop's other tasks have their turn. A guess.
_TELLING_SECONDS = 0.01


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


async def _until_ready(readers: Iterable[int], writers: Iterable[int], seconds: float | None) -> None:
    """Sleep until one of the descriptors is ready or *seconds* have passed."""
    loop = running_loop()
    future = loop.create_future()
    timer = (
        None if seconds is None else loop.call_later(min(max(seconds, 0.0), _LONGEST_TIMER), _wake, future)
    )
    reading, writing = list(readers), list(writers)
    try:
        for fd in reading:
            loop.add_reader(fd, _wake, future)
        for fd in writing:
            loop.add_writer(fd, _wake, future)
        await future
    finally:
        if timer is not None:
            timer.cancel()
        for fd in reading:
            loop.remove_reader(fd)
        for fd in writing:
            loop.remove_writer(fd)


async def await_end(handle: ProcessHandle, timeout: float | None = None) -> int | None:
    """Sleep until the child has ended; its return code. None after *timeout* seconds."""
    deadline = None if timeout is None else deadline_after(timeout)
    pause = FIRST_PAUSE
    while (code := handle.poll()) is None:
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            return None
        # Several tasks, of several loops perhaps, may wait for one child, and a loop knows one reader for each
        # descriptor: everybody has one of their own.
        copies: list[int] = []
        try:
            if handle.duplicate_descriptor(copies) >= 0:
                await _until_ready(copies, (), left)
                continue
        finally:
            try:
                _close(copies)
            finally:  # once more, should a signal handler raise in there
                _close(copies)
        await _until_ready((), (), pause if left is None else min(pause, left))
        pause = min(pause * 2, LONGEST_PAUSE)
    return code


async def _communicate(
    process: Popen[Any], given: Any, deadline: float | None, listening: Listening | None
) -> bool:
    """Until both outputs have ended, the input is written and the child gone; False if *deadline* came first."""
    exchange = process._start_exchange(given, listening)
    exchange.feeds_alone = True
    try:
        return await _pump_to_end(process, exchange, deadline)
    finally:
        if process.stdin is not None and not process.stdin.closed:
            feeding.pop(process.stdin.fileno(), None)


async def _pump_to_end(process: Popen[Any], exchange: Exchange, deadline: float | None) -> bool:
    handle = process.handle
    while True:
        now = monotonic()
        telling = now + _TELLING_SECONDS
        try:
            done = exchange.pump(
                now, handle, (), telling if deadline is None or telling < deadline else deadline
            )
        except LimitReached:
            limit = exchange.limit or 0
            stdout, stderr = process._output_so_far()
            raise OutputTooLarge(process.args, limit, output=stdout, stderr=stderr) from None
        left = None if deadline is None else deadline - monotonic()
        if done:
            return await await_end(handle, None if left is None else max(left, 0.0)) is not None
        if left is not None and left <= 0:
            return False
        if exchange.is_behind:
            await _until_ready((), (), 0.0)
            continue
        if exchange.in_threads:
            await _until_ready((), (), LONGEST_PAUSE if left is None else min(LONGEST_PAUSE, left))
            continue
        await _until_ready(_descriptors(process.stdout, process.stderr), _descriptors(process.stdin), left)


async def _wind_up(process: Popen[Any], problem: BaseException, kill_tree: bool, grace: float) -> None:
    """As `wind_up` in _ending.py, but the loop runs while the child has its grace."""
    try:
        # Who is closed, rather than cancelled, cannot wait for anything any more.
        if grace > 0 and process._handle is not None and not isinstance(problem, GeneratorExit):
            heed(process, problem)
            await _sit_out(process, kill_tree, deadline_after(grace))
    finally:
        wind_up(process, problem, kill_tree, 0.0)


async def _sit_out(process: Popen[Any], kill_tree: bool, deadline: float) -> None:
    """Ask the child, or its tree, to end, and read what it says until it has, or until *deadline*."""
    tree = process._ask_tree() if kill_tree else None
    if tree is None:
        process.terminate()
    handle, exchange, pause = process.handle, process._exchange, FIRST_PAUSE
    bells: list[int] = []
    try:
        if tree is None:
            handle.duplicate_descriptor(bells)
        while (now := monotonic()) < deadline and (
            process.poll() is None or (tree is not None and tree.living())
        ):
            wait: Any = deadline - now if bells else min(pause, deadline - now)
            pause = min(pause * 2, LONGEST_PAUSE)
            readers, writers = list(bells), []
            if exchange is not None:
                exchange.feeds_alone = False
                try:
                    exchange.pump(now, handle, (), min(now + _TELLING_SECONDS, deadline))
                except LimitReached:
                    pass  # the excess is dropped from now on
                if exchange.is_behind:
                    wait = 0.0
                elif exchange.in_threads:
                    wait = min(wait, LONGEST_PAUSE)
                else:
                    readers += _descriptors(process.stdout, process.stderr)
                    writers = _descriptors(process.stdin)
            await _until_ready(readers, writers, wait)
    finally:
        try:
            _close(bells)
        finally:
            _close(bells)


def _close(copies: list[int]) -> None:
    """Close what is in *copies*. May be called again."""
    import os

    any(map(os.close, map(copies.pop, (-1,) * len(copies))))


def _descriptors(*streams: Any) -> list[int]:
    return [one.fileno() for one in streams if one is not None and not one.closed]


if TYPE_CHECKING:

    @overload
    async def arun(args: _options.Args, **options: Unpack[_options.RunText]) -> CompletedProcess[str]: ...
    @overload
    async def arun(args: _options.Args, **options: Unpack[_options.RunEncoding]) -> CompletedProcess[str]: ...
    @overload
    async def arun(args: _options.Args, **options: Unpack[_options.RunErrors]) -> CompletedProcess[str]: ...
    @overload
    async def arun(args: _options.Args, **options: Unpack[_options.RunOld]) -> CompletedProcess[str]: ...
    @overload
    async def arun(args: _options.Args, **options: Unpack[_options.RunBytes]) -> CompletedProcess[bytes]: ...
    @overload
    async def arun(
        args: _options.Args, *more: Any, **options: Unpack[_options.RunEither]
    ) -> CompletedProcess[Any]: ...


async def arun(
    *popenargs: Any,
    input: Any = None,  # noqa: A002
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    kill_tree: bool = False,
    grace: float = 0.0,
    on_stdout: Callable[[Any], object] | None = None,
    on_stderr: Callable[[Any], object] | None = None,
    max_output: int | None = None,
    **kwargs: Any,
) -> CompletedProcess[Any]:
    """`run` for coroutines: the same arguments, result and errors, and the event loop runs meanwhile.

    For asyncio, on any loop that can watch descriptors. After *timeout* seconds, and when the task is cancelled,
    the child is killed, with *kill_tree* everything that it has started too; the loop stands still for that
    moment, but not for the *grace* before it. Who cancels the task again cuts the grace short. Callbacks are called in
    the loop; they are no coroutines, and should not take long. Starting the child stops the loop as well, until it has
    become the program. The standard library has no such function.
    """
    listening = streams_for(kwargs, input, capture_output, on_stdout, on_stderr, max_output)
    if kill_tree:
        kwargs["mark_tree"] = True
    running_loop()
    deadline = None if timeout is None else deadline_after(timeout)
    if grace != 0:
        check_grace(grace)
    process: Any = object.__new__(replaced_popen())  # see _ending.py
    try:
        process.__init__(*popenargs, **kwargs)
        if not await _communicate(process, input, deadline, listening):
            assert timeout is not None
            raise TimeoutExpired(process.args, timeout)
        stdout, stderr = process.communicate()  # nothing is left to wait for
        returncode = process.wait()
        if check and returncode:
            raise CalledProcessError(returncode, process.args, output=stdout, stderr=stderr)
    except BaseException as problem:
        try:
            await _wind_up(process, problem, kill_tree, grace)
        finally:
            let_go(process, kill_tree)
        raise
    return CompletedProcess(process.args, returncode, stdout, stderr)
