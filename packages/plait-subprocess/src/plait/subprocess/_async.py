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

import sys
from time import monotonic

from ._handle import deadline_after
from ._popen import PIPE, Popen
from ._results import CalledProcessError, CompletedProcess, TimeoutExpired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ._handle import ProcessHandle

__all__ = ["arun", "await_end"]

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02
# Timers of event loops do not like to be set beyond this.
_LONGEST_TIMER = 86_400.0


def _running_loop() -> Any:
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None:
        raise RuntimeError("no event loop of asyncio is running in this thread")
    return asyncio.get_running_loop()


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


async def _until_ready(readers: Iterable[int], writers: Iterable[int], seconds: float | None) -> None:
    """Sleep until one of the descriptors is ready or *seconds* have passed."""
    loop = _running_loop()
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


async def await_end(handle: ProcessHandle, timeout: float | None = None) -> int:
    """Sleep until the child has ended; its return code. Built-in TimeoutError after *timeout* seconds."""
    deadline = None if timeout is None else deadline_after(timeout)
    pause = _FIRST_PAUSE
    while (code := handle.poll()) is None:
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            raise TimeoutError(f"process {handle.pid} is still running after {timeout} seconds")
        # Several tasks, of several loops perhaps, may wait for one child, and a loop knows one reader for each
        # descriptor: everybody has one of their own.
        fd = handle.duplicate_descriptor()
        if fd < 0:
            await _until_ready((), (), pause if left is None else min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
            continue
        try:
            await _until_ready((fd,), (), left)
        finally:
            import os

            os.close(fd)
    return code


async def _communicate(process: Popen, given: Any, deadline: float | None) -> bool:
    """Until both outputs have ended and the input is written; False if *deadline* came first."""
    exchange, handle = process._start_exchange(given), process.handle
    while not exchange.pump(monotonic(), handle):
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            return False
        if exchange.in_threads:
            await _until_ready((), (), _LONGEST_PAUSE if left is None else min(_LONGEST_PAUSE, left))
            continue
        streams = [one for one in (process.stdout, process.stderr) if one is not None and not one.closed]
        sinks = [one for one in (process.stdin,) if one is not None and not one.closed]
        await _until_ready([one.fileno() for one in streams], [one.fileno() for one in sinks], left)
    return True


async def arun(
    *popenargs: Any,
    input: Any = None,  # noqa: A002
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    kill_tree: bool = False,
    **kwargs: Any,
) -> CompletedProcess:
    """`run` for coroutines: the same arguments, result and errors, and the event loop runs meanwhile.

    For asyncio, on any loop that can watch descriptors. After *timeout* seconds, and when the task is cancelled,
    the child is killed, with *kill_tree* everything that it has started too; the loop stands still for that
    moment. Starting the child stops the loop as well, until it has become the program. The standard library has
    no such function.
    """
    if input is not None:
        if kwargs.get("stdin") is not None:
            raise ValueError("pass either input or stdin: input needs a pipe of its own")
        kwargs["stdin"] = PIPE
    if capture_output:
        if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
            raise ValueError(
                "capture_output sets stdout and stderr: leave them out, or leave capture_output out"
            )
        kwargs["stdout"] = kwargs["stderr"] = PIPE
    _running_loop()
    deadline = None if timeout is None else deadline_after(timeout)
    end: Callable[[Popen], None] = Popen.kill_tree if kill_tree else Popen.kill
    with Popen(*popenargs, mark_tree=kill_tree, **kwargs) as process:
        try:
            done = await _communicate(process, input, deadline)
            if done:
                left = None if deadline is None else max(deadline - monotonic(), 0.0)
                await await_end(process.handle, left)
        except TimeoutError:
            done = False
        except BaseException:
            end(process)
            raise
        if not done:
            assert timeout is not None
            end(process)
            try:
                stdout, stderr = process.communicate()
            except UnicodeError:  # what was said makes no text; that it took too long is the news
                stdout, stderr = process._output_so_far()
            raise TimeoutExpired(process.args, timeout, stdout, stderr)
        stdout, stderr = process.communicate()  # nothing is left to wait for
    returncode = process.wait()
    if check and returncode:
        raise CalledProcessError(returncode, process.args, stdout, stderr)
    return CompletedProcess(process.args, returncode, stdout, stderr)
