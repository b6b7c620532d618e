# SPDX-License-Identifier: MIT
# Running a scheduler in a task of an event loop. Loaded at its first use.
#
# What a thread does in run(), a task of asyncio or trio does here: it sleeps, and calls actions one after another. The
# same rules hold, see _scheduler.py and _naps.py: a nap is announced, everything is looked at once more, then the task
# sleeps. A nap's end() is called in any thread or signal handler, so it goes through the one call of these loops that
# may be.
#
# asyncio is not imported here: where it runs a task, it is there. Of two loops that are there, trio is asked first,
# because it can run as a guest of asyncio, and then its tasks have a running asyncio loop as well.
#
# With `concurrent`, awaitables become tasks that end before arun() does: it waits for them, cancels them if it is
# cancelled, and as long as there are some it does not take an empty agenda for the end, for they may enter events.
#   - That a task has ended is for the loop to tell (`ended`), and not for the task: asyncio can cancel one before its
#     first step, and then nothing of it is ever executed. What such a task was to await is let go.
#   - A signal handler's exception may strike while a task is being started, when nobody knows whether there is one. Then
#     it has ended at once, what it was to await is let go, and if it takes its first step all the same, that is its last.
#   - A task that fails takes its exception to the hook. If there is none, it leaves it in `failures`, stops the run, and,
#     if it is the first one, cancels the others at once: arun() may have left its loop long ago, after a stop(), and
#     only be waiting for them. Then arun() raises it. trio's nursery therefore never sees it and puts it into no group,
#     and both loops show the same. What cannot be raised, because something else is, goes to `sys.unraisablehook`.

from __future__ import annotations

import sys
from itertools import starmap

from .._thread import report_unraisable
from . import _clocks
from ._event import Event, raised_here
from ._naps import Nap
from ._scheduler import Run
from ._standing import in_hand, restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeVar

    from ._scheduler import scheduler

    T = TypeVar("T", bound="_Tasks")
    Job = Callable[[], Awaitable[None]]

__all__ = ["arun"]


async def arun(scheduler: scheduler, forever: bool, concurrent: bool) -> None:
    """See `scheduler.arun`."""
    host = _host(scheduler)
    run = Run(forever)
    try:
        scheduler._runs_[run] = None
        if not concurrent:
            await _go_on(scheduler, run, host, None)
            return
        failures: list[tuple[Exception, object]] = []
        try:
            async with host.tasks() as tasks:
                course = _Concurrent(scheduler, run, tasks, failures)
                try:
                    await _go_on(scheduler, run, host, course)
                except Exception as error:  # noqa: BLE001 - raised below
                    course.fail(error, scheduler)
            if failures:
                raise failures.pop(0)[0]
        finally:
            while failures:
                failure, culprit = failures.pop(0)
                report_unraisable(failure, "Exception in a scheduled action", culprit)
                del failure  # this frame may be in its traceback
    finally:
        scheduler._runs_.pop(run, None)


async def _go_on(scheduler: scheduler, run: Run, host: _Host, course: _Concurrent | None) -> None:
    agenda, timefunc = scheduler._agenda_, scheduler.timefunc
    while not run.stopped:
        event = agenda.first()
        if event is None:
            if not run.forever and not run.tasks:
                return
            await _wait(scheduler, run, host, None)
            continue
        if timefunc() < event.time:
            if not (scheduler._by_wall_clock_ and scheduler._follow_wall_clock_()):
                await _wait(scheduler, run, host, event)
            continue
        try:
            # No call: see "Exceptions of signal handlers" in _scheduler.py.
            del agenda.pending[event.sequence]
        except KeyError:
            continue  # somebody else has taken it
        try:
            outcome = event.action(*event.argument, **event.kwargs)
            if hasattr(type(outcome), "__await__"):
                if course is None:
                    await outcome
                else:
                    course.start(event, outcome)
        except BaseException as error:
            try:
                not_begun = restore(event)
            except BaseException:  # two signals can be pending at once
                restore(event)
                raise
            hook = scheduler.on_error
            if hook is None or not_begun or not isinstance(error, Exception):
                raise
            hook(in_hand(event), error)
        await host.give_way()


async def _wait(scheduler: scheduler, run: Run, host: _Host, event: Event | None) -> None:
    by_wall_clock = bool(scheduler._by_wall_clock_)
    nap = host.nap(event)
    try:
        scheduler._naps_.append(nap)
        if scheduler._may_sleep_(event, by_wall_clock, run):
            seconds = None if event is None else max(0.0, event.time - scheduler.timefunc())
            if by_wall_clock or _clocks.may_jump(scheduler.timefunc):
                # The loop's clock stands still during suspend, and does not see the other's jumps.
                seconds = _clocks.LOOK_AGAIN if seconds is None else min(seconds, _clocks.LOOK_AGAIN)
            await nap.sleep(seconds)
    finally:
        try:
            scheduler._naps_.remove(nap)
        except ValueError as error:  # removed by who ended it
            if not raised_here(error):
                raise


class _Concurrent:
    """The tasks of one arun()."""

    def __init__(
        self,
        scheduler: scheduler,
        run: Run,
        tasks: _Tasks,
        failures: list[tuple[Exception, object]],
    ) -> None:
        self._scheduler = scheduler
        self._run = run
        self._tasks = tasks
        self._failures = failures

    def start(self, event: Event, outcome: Awaitable[object]) -> None:
        begun = over = False

        async def job() -> None:
            nonlocal begun
            if not over:
                begun = True
                await self._supervise(event, outcome)

        def ended() -> None:
            nonlocal over
            if over:
                return
            over = True
            self._run.tasks -= 1
            if not begun:
                _let_go(outcome)
            self._scheduler._wake_all_()

        self._run.tasks += 1
        try:
            self._tasks.start(job, ended)
        except BaseException:
            ended()
            raise

    async def _supervise(self, event: Event, outcome: Awaitable[object]) -> None:
        try:
            try:
                await outcome
            except Exception as error:
                hook = self._scheduler.on_error
                if hook is None:
                    raise
                hook(in_hand(event), error)
        except Exception as error:  # noqa: BLE001 - arun() raises it
            self.fail(error, in_hand(event).action)

    def fail(self, error: Exception, culprit: object) -> None:
        """Have arun() raise it, as soon as the other tasks have ended."""
        self._failures.append((error, culprit))
        self._run.stopped = True
        if len(self._failures) == 1:  # who is cancelled twice is disturbed while clearing up
            self._tasks.cancel()


def _let_go(outcome: Any) -> None:
    """Of what will not be awaited: a coroutine would complain, a future go on."""
    end = getattr(outcome, "cancel", None) or getattr(outcome, "close", None)
    if end is not None:
        end()


# ---------------------------------------------------------------------------------------------------- the event loops


class _TaskNap(Nap):
    """A wait of a task."""

    __slots__ = ()

    async def sleep(self, seconds: float | None) -> None:
        """Sleep so long, or (None) until `end()`."""
        raise NotImplementedError


class _Tasks:
    """A context in which tasks can be started, and which they do not outlive."""

    def start(self, job: Job, ended: Callable[[], None]) -> None:
        """Start a task; *ended* is called when it has ended, even if it never began."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel all the others."""
        raise NotImplementedError

    async def open(self) -> None:
        pass

    async def __aenter__(self: T) -> T:  # noqa: PYI019 - Self came with 3.11
        await self.open()
        return self

    async def __aexit__(self, *reason: object) -> bool | None:
        raise NotImplementedError


class _Host:
    """What is needed of an event loop."""

    def nap(self, event: Event | None) -> _TaskNap:
        raise NotImplementedError

    async def give_way(self) -> None:
        raise NotImplementedError

    def tasks(self) -> _Tasks:
        raise NotImplementedError


def _host(scheduler: scheduler) -> _Host:
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            trio.lowlevel.current_task()
            return _Trio(trio)
        except RuntimeError:
            pass  # not in one of its tasks
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            return _Asyncio(asyncio, asyncio.get_running_loop())
        except RuntimeError:
            pass  # no running loop
    raise RuntimeError(f"{scheduler!r}: arun() must be awaited in a task of asyncio or trio; else use run()")


class _Asyncio(_Host):
    def __init__(self, asyncio: Any, loop: Any) -> None:
        self._asyncio = asyncio
        self._loop = loop

    def nap(self, event: Event | None) -> _TaskNap:
        return _AsyncioNap(event, self._loop)

    async def give_way(self) -> None:
        await self._asyncio.sleep(0)

    def tasks(self) -> _Tasks:
        return _AsyncioTasks(self._asyncio)


class _AsyncioNap(_TaskNap):
    __slots__ = ("_awake", "_loop")

    def __init__(self, event: Event | None, loop: Any) -> None:
        super().__init__(event)
        self._loop = loop
        self._awake = loop.create_future()

    async def sleep(self, seconds: float | None) -> None:
        timer = None if seconds is None else self._loop.call_later(seconds, self._wake_)
        try:
            await self._awake
        finally:
            if timer is not None:
                timer.cancel()

    def end(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake_)
        except RuntimeError:
            if not self._loop.is_closed():
                raise  # a signal handler's
            # Otherwise the sleeper is gone with the loop.

    def _wake_(self) -> None:
        if not self._awake.done():
            self._awake.set_result(None)


class _AsyncioTasks(_Tasks):
    # Not asyncio's TaskGroup: that came with 3.11, and packs exceptions into groups.
    def __init__(self, asyncio: Any) -> None:
        self._asyncio = asyncio
        self._tasks: set[Any] = set()

    def start(self, job: Job, ended: Callable[[], None]) -> None:
        def forget(task: Any) -> None:
            self._tasks.discard(task)
            ended()

        for task in starmap(self._asyncio.ensure_future, ((job(),),)):
            self._tasks.add(task)  # no other call between making and having it
            task.add_done_callback(forget)

    def cancel(self) -> None:
        me = self._asyncio.current_task()
        for task in [*self._tasks]:
            if task is not me:
                task.cancel()

    async def __aexit__(self, *reason: object) -> bool | None:
        interruption: BaseException | None = None
        if reason[1] is not None:
            self.cancel()
        while self._tasks:
            try:
                done, _ = await self._asyncio.wait([*self._tasks])
                self._tasks -= done  # the callback of one may be missing, see start()
            except self._asyncio.CancelledError as error:
                interruption = error
                self.cancel()
        if interruption is not None:
            try:
                raise interruption
            finally:
                del interruption  # this frame is in the traceback
        return None


class _Trio(_Host):
    def __init__(self, trio: Any) -> None:
        self._trio = trio

    def nap(self, event: Event | None) -> _TaskNap:
        return _TrioNap(event, self._trio)

    async def give_way(self) -> None:
        await self._trio.lowlevel.checkpoint()

    def tasks(self) -> _Tasks:
        return _TrioTasks(self._trio)


class _TrioNap(_TaskNap):
    __slots__ = ("_awake", "_token", "_trio")

    def __init__(self, event: Event | None, trio: Any) -> None:
        super().__init__(event)
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._awake = trio.Event()

    async def sleep(self, seconds: float | None) -> None:
        with self._trio.move_on_after(float("inf") if seconds is None else seconds):
            await self._awake.wait()

    def end(self) -> None:
        try:
            self._token.run_sync_soon(self._awake.set)
        except self._trio.RunFinishedError:
            pass  # and with the loop the sleeper is gone


class _TrioTasks(_Tasks):
    def __init__(self, trio: Any) -> None:
        self._manager = trio.open_nursery()
        self._nursery: Any = None

    def start(self, job: Job, ended: Callable[[], None]) -> None:
        async def to_the_end() -> None:
            try:
                await job()
            finally:
                ended()

        # Unlike asyncio, trio lets every task take its first step.
        self._nursery.start_soon(to_the_end)

    def cancel(self) -> None:
        self._nursery.cancel_scope.cancel()

    async def open(self) -> None:
        self._nursery = await self._manager.__aenter__()

    async def __aexit__(self, *reason: object) -> bool | None:
        suppressed: bool | None = await self._manager.__aexit__(*reason)
        return suppressed
