# SPDX-License-Identifier: MIT
# A thread that runs a scheduler. Loaded at its first use: most schedulers are run by whoever made them.

from __future__ import annotations

from .._thread import daemon_threads_allowed, get_ident
from ..threading import Thread, register_atexit, unregister_atexit
from ._event import INCOMPARABLE
from ._scheduler import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._scheduler import scheduler

__all__ = ["SchedulerThread"]


class SchedulerThread(Thread):
    """What `scheduler.run_in_thread` returns: a thread that runs events until it is told to end.

    `stop()` ends it after the action that it is in; `join()`, and `result()`, which waits like it, when nothing is pending
    any more. Any thread may call them. If it is no daemon, the process waits at its end for what is pending, but not
    for what might be entered. In the child of a fork it is over, and the scheduler can be run anew.
    """

    __module__ = __package__ or __name__

    def __init__(self, scheduler: scheduler, forever: bool, daemon: bool | None, name: str | None) -> None:
        super().__init__(
            name=name, daemon=daemon_threads_allowed() if daemon is None else daemon, target=scheduler.run
        )
        self._scheduler = scheduler
        # From now on, so that a stop() that is sooner than the thread is not in vain.
        self._course = Run(forever)
        scheduler._runs_[self._course] = None

    def start(self) -> None:
        try:
            super().start()
        except BaseException:
            if self.ident is None:
                self._scheduler._runs_.pop(self._course, None)
            raise

    def run(self) -> None:
        """For the thread."""
        if not self.daemon:
            register_atexit(self._let_end)
        try:
            self._scheduler._go_on_(self._course, True)
        finally:
            self._scheduler._runs_.pop(self._course, None)
            unregister_atexit(self._let_end)

    def stop(self) -> None:
        """Have it end after the action that it is in, or at once if it sleeps. Other runs of the scheduler go on. Never
        waits: `join()` does."""
        self._course.stopped = True
        self._scheduler._wake_all_()

    def join(self, timeout: float | None = None, *, reraise: bool = False) -> None:
        """Have it end when nothing is pending, and wait for that, at most *timeout* seconds.

        It does not wait for new events any more, even after a time-out; repeating events are pending until they are
        cancelled. Called by an action, RuntimeError, as it would wait for itself. All else is as in `Thread.join`. A call
        that is refused ends nothing.
        """
        try:
            a_time = timeout is None or timeout > 0 or timeout <= 0
        except INCOMPARABLE:
            a_time = False
        if a_time and self.ident is not None and self.ident != get_ident():
            self._let_end()
        super().join(timeout, reraise=reraise)

    def _let_end(self) -> None:
        self._course.forever = False
        self._scheduler._wake_all_()
