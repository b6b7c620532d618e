# SPDX-License-Identifier: MIT
# The display is redrawn by a scheduler that runs in a thread of its own: each tick enters the next one.
#
# Stopping must not wait for the next tick. The scheduler sleeps in `Event.wait`, so setting the event ends the sleep;
# the pending tick is cancelled first, under the lock under which a tick enters its successor, so that a woken
# scheduler always finds its queue empty and `run` returns.
"""Shows how far the census is, from a scheduler, without slowing it down."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from plait.sched import Event as ScheduledEvent
from plait.sched import scheduler
from plait.threading import Event, Lock, Thread

from .stages import Failed

__all__ = ["Progress", "Snapshot", "best_display"]


class Snapshot(NamedTuple):
    """How far the run is."""

    seconds: float
    files: int
    parsed: int
    stored: int
    waiting: int


class Display(Protocol):
    """Something that can show a `Snapshot`, `interval` seconds after the one before."""

    interval: float

    def show(self, snapshot: Snapshot) -> None: ...

    def close(self) -> None: ...


class PlainDisplay:
    """A line every other second: for files, pipes, and terminals without rich."""

    interval = 2.0

    def show(self, snapshot: Snapshot) -> None:
        print(
            f"  {snapshot.seconds:5.1f} s  parsed {snapshot.parsed:,} of {snapshot.files:,}, "
            f"stored {snapshot.stored:,} of {3 * snapshot.files:,} results, {snapshot.waiting} queued",
            flush=True,
        )

    def close(self) -> None:
        """Nothing is held."""


class RichDisplay:
    """Bars that are drawn over. Refreshed only by our ticks: rich's own refresher is a standard thread."""

    interval = 0.1

    def __init__(self, files: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description:>8}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._parsed = self._bars.add_task("parsed", total=files)
        self._stored = self._bars.add_task("stored", total=3 * files)
        self._bars.start()

    def show(self, snapshot: Snapshot) -> None:
        self._bars.update(self._parsed, completed=snapshot.parsed)
        self._bars.update(self._stored, completed=snapshot.stored)
        self._bars.refresh()

    def close(self) -> None:
        self._bars.stop()


def best_display(files: int) -> Display:
    """Bars on a terminal where rich is installed, otherwise lines."""
    if sys.stdout.isatty():
        try:
            return RichDisplay(files)
        except ImportError:
            pass  # rich is optional, lines say the same
    return PlainDisplay()


class Progress(Thread):
    """Runs the scheduler that shows *snapshot()* every `display.interval` seconds until `stop`."""

    def __init__(
        self, display: Display, snapshot: Callable[[], Snapshot], report: Callable[[Failed], None]
    ) -> None:
        super().__init__(name="progress")
        self._display = display
        self._snapshot = snapshot
        self._report = report
        self._woken = Event()
        self._scheduler = scheduler(time.monotonic, self._sleep)
        self._lock = Lock()
        self._stopped = False
        self._next: ScheduledEvent | None = None
        self._due = time.monotonic() + min(display.interval, 0.5)

    def _sleep(self, seconds: float) -> Any:
        return self._woken.wait(seconds)

    def run(self) -> None:
        try:
            self._enter_next()
            self._scheduler.run()
        except BaseException as error:  # noqa: BLE001 - reported, never swallowed
            self._report(Failed(self.name, error))

    def _enter_next(self) -> None:
        with self._lock:
            self._next = None if self._stopped else self._scheduler.enterabs(self._due, 1, self._tick)

    def _tick(self) -> None:
        self._display.show(self._snapshot())
        # Absolute times do not drift; a tick that was late is not made up for by a burst.
        self._due = max(self._due + self._display.interval, time.monotonic())
        self._enter_next()

    def stop(self) -> None:
        """End the display now; the caller joins. Harmless when called twice."""
        with self._lock:
            self._stopped = True
            if self._next is not None:
                try:
                    self._scheduler.cancel(self._next)
                except ValueError:
                    pass  # it is being run at this moment, and will enter no other
                self._next = None
        self._woken.set()

    def close(self) -> None:
        """Give the terminal back. Only after the thread ended or was given up."""
        self._display.close()
