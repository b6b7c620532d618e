# SPDX-License-Identifier: MIT
#
# Thread objects whose threads are calls of `run()`.
#
# `_running` is the stack of those that are inside start() now, the main thread at its bottom: the last one is the current
# thread, and all of them are alive. A thread that is not in it has not begun, or has ended.

from __future__ import annotations

import sys
from itertools import count

from .._dummy_thread import get_ident, get_native_id, seconds, start_new_thread
from ..threading import ExceptHookArgs, excepthook
from ._sync import Event
from ._trace import getprofile, gettrace

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextvars import Context
    from types import TracebackType
    from typing import Any

__all__ = [
    "Thread",
    "Timer",
    "active_count",
    "current_thread",
    "enumerate",
    "main_thread",
]

_next_number = count(1).__next__


def _report(thread: Thread, error: BaseException) -> None:
    """Call whatever this package's `excepthook` is now. Its own failure goes to `sys.excepthook`."""
    hook = getattr(sys.modules.get(__package__ or ""), "excepthook", None) or excepthook
    try:
        hook(ExceptHookArgs((type(error), error, error.__traceback__, thread)))
    except Exception as failure:  # noqa: BLE001 - the caller of start() is another thread, as far as it knows
        sys.excepthook(type(failure), failure, failure.__traceback__)


class Thread:
    """Something to be done by `start()`: calls *target* with *args* and *kwargs*, or whatever `run()` of a subclass does.

    Differs from the one of Python 3.7: it is `current_thread()` only while it runs; takes a *context* to run in; has a
    `result()`.
    """

    _initialized = False
    _daemon: bool
    # What run() returned, or what left it.
    _outcome: tuple[Any, BaseException | None, TracebackType | None] | None = None

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        context: Context | None = None,
    ) -> None:
        if group is not None:
            raise AssertionError(
                f"group must be None, not {group!r}: there are no thread groups"
                + ("; what to call is given as target=..." if callable(group) else "")
            )
        self._name = str(name or f"Thread-{_next_number()}")
        self._daemon = current_thread()._daemon if daemon is None else bool(daemon)
        self._task: Any = (target, args, {} if kwargs is None else kwargs)
        self._context = context
        self._started = False
        self._initialized = True

    def __repr__(self) -> str:
        kind = type(self).__name__
        if not self._initialized:
            return f"<{kind} whose __init__ did not call Thread.__init__>"
        state = "initial" if not self._started else "started" if self.is_alive() else "stopped"
        return f"<{kind}({self._name}, {state}{' daemon' if self._daemon else ''})>"

    def start(self) -> None:
        """Run `run()`, here and to its end. RuntimeError at the second time.

        What `run()` raises is printed, with the name of the thread; SystemExit is ignored; KeyboardInterrupt is the
        user's, and goes on to the caller.
        """
        if not self._initialized:
            raise RuntimeError(f"{self!r}: call Thread.__init__() in it before start()")
        if self._started:
            raise RuntimeError(f"{self!r}: threads can only be started once; make a new Thread")
        self._started = True
        start_new_thread(self._live, ())

    def _live(self) -> None:
        hooks = sys.gettrace(), sys.getprofile()
        trace, profile = gettrace(), getprofile()
        _running.append(self)
        try:
            if trace is not None:
                sys.settrace(trace)
            if profile is not None:
                sys.setprofile(profile)
            value = self.run() if self._context is None else self._context.run(self.run)
            self._outcome = value, None, None
        except SystemExit as error:
            self._outcome = None, None, None
            _report(self, error)
        except BaseException as error:
            self._outcome = None, error, error.__traceback__
            if isinstance(error, KeyboardInterrupt):
                raise
            _report(self, error)
        finally:
            if trace is not None:
                sys.settrace(hooks[0])
            if profile is not None:
                sys.setprofile(hooks[1])
            _running.remove(self)

    def run(self) -> Any:
        """What the thread does: call *target*. Override it in a subclass. What it returns is what `result()` returns."""
        target, args, kwargs = self._task
        try:
            return None if target is None else target(*args, **kwargs)
        finally:
            # The task may refer to this thread, or to much else that nobody needs any more.
            del self._task, target, args, kwargs

    def join(self, timeout: float | None = None, *, reraise: bool = False) -> None:
        """Return at once. RuntimeError if the thread was not started, or is running: it would wait for itself.

        With *reraise*, an exception that ended the thread is raised here, too.
        """
        if not self._initialized or not self._started:
            raise RuntimeError(f"{self!r}: cannot join thread before it is started")
        if self.is_alive():
            raise RuntimeError(f"{self!r}: cannot join current thread; it would wait for itself")
        if timeout is not None:
            seconds(timeout)
        if reraise:
            self._conclude()

    def result(self, timeout: float | None = None) -> Any:
        """Return what `run()` (by default: *target*) returned, or raise what it raised; None after SystemExit.

        RuntimeError as for `join()`.
        """
        self.join(timeout)
        return self._conclude()

    def _conclude(self) -> Any:
        value, error, traceback = self._outcome or (None, None, None)
        if error is not None:
            raise error.with_traceback(traceback)
        return value

    def is_alive(self) -> bool:
        """Whether it is inside `start()`."""
        return self in _running

    isAlive = is_alive  # noqa: N815

    @property
    def name(self) -> str:
        """A name for people."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = str(name)

    @property
    def ident(self) -> int | None:
        """The identifier of the only thread; None before `start()`."""
        return get_ident() if self._started else None

    @property
    def native_id(self) -> int | None:
        """What the system calls the only thread; None before `start()`."""
        return get_native_id() if self._started else None

    @property
    def daemon(self) -> bool:
        """Whether the process might end before the thread; it never does. To be set before `start()`."""
        return self._daemon

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        if not self._initialized:
            raise RuntimeError(f"{self!r}: call Thread.__init__() in it before anything else")
        if self.is_alive():
            raise RuntimeError(f"{self!r}: cannot set daemon status of active thread; set it before start()")
        self._daemon = bool(daemonic)

    def getName(self) -> str:  # noqa: N802
        """Return `name`."""
        return self.name

    def setName(self, name: str) -> None:  # noqa: N802
        """Set `name`."""
        self.name = name

    def isDaemon(self) -> bool:  # noqa: N802
        """Return `daemon`."""
        return self.daemon

    def setDaemon(self, daemonic: bool) -> None:  # noqa: N802
        """Set `daemon`."""
        self.daemon = daemonic


class _MainThread(Thread):
    """The thread that everything runs in."""

    def __init__(self) -> None:
        self._name = "MainThread"
        self._daemon = False
        self._initialized = self._started = True


class Timer(Thread):
    """A thread that calls *function* after *interval* seconds, for which `start()` sleeps.

    `result()` returns what the function returned, or None if the timer was cancelled.

    Differs from the one of Python 3.7, which did not wait for the interval.
    """

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(name=name, daemon=daemon)
        self.interval = interval
        self.function = function
        self.args = () if args is None else args
        self.kwargs = {} if kwargs is None else kwargs
        self.finished = Event()

    def cancel(self) -> None:
        """Do not call the function any more, if that has not happened."""
        self.finished.set()

    def run(self) -> Any:
        """Sleep, unless cancelled, and call the function, unless cancelled meanwhile."""
        try:
            if not self.finished.wait(self.interval):
                return self.function(*self.args, **self.kwargs)
            return None
        finally:
            self.finished.set()


_main = _MainThread()
_running: list[Thread] = [_main]


def current_thread() -> Thread:
    """The thread that was started last and has not ended; the main thread outside of any."""
    return _running[-1]


def main_thread() -> Thread:
    """The thread that everything runs in."""
    return _main


def enumerate() -> list[Thread]:  # noqa: A001 - the standard module's name for it
    """The main thread, and those that are inside `start()`."""
    return [*_running]


def active_count() -> int:
    """How many threads `enumerate` lists."""
    return len(_running)
