# SPDX-License-Identifier: MIT
#
# Thread objects.
from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping

from .._thread import (
    _ThreadHandle,
    allocate_lock,
    get_ident,
    get_native_id,
    main_thread_ident,
    register_after_fork,
    start_joinable_thread,
)
from . import _standard
from ._event import Event
from ._excepthook import report
from ._exit import _state as _exit_state
from ._exit import arm
from ._registry import alive, here, snapshot

if TYPE_CHECKING:
    from contextvars import Context

_next_number = count(1).__next__
_inherit_context = bool(getattr(sys.flags, "thread_inherit_context", False))


class _Launch:
    """Runs in the new thread. Its loss, before it could run, opens the gate for start() just as its success does."""

    __slots__ = ("begun", "context", "failure", "gate", "thread")

    def __init__(self, thread: Thread, context: Context | None) -> None:
        self.thread = thread
        self.context = context
        self.begun = False
        self.failure: BaseException | None = None
        self.gate = allocate_lock()
        self.gate.acquire()

    def __call__(self) -> None:
        thread = self.thread
        ident = thread._ident = get_ident()
        try:
            try:
                here.thread = thread
                if get_native_id is not None:
                    thread._native_id = get_native_id()
                if "threading" in sys.modules:
                    _standard.enter(thread)
                self.begun = True
            except BaseException as error:  # noqa: BLE001 - start() raises it
                self.failure = error
                return
            finally:
                self.gate.release()
            try:
                if self.context is None:
                    thread.run()
                else:
                    self.context.run(thread.run)
            except SystemExit:
                pass
            except BaseException as error:  # noqa: BLE001 - what excepthook is for
                report(thread, error)
        finally:
            alive.pop(id(thread), None)
            if thread._mirrored:
                _standard.leave(ident)

    def __del__(self) -> None:
        if not self.begun and self.gate.locked():
            self.gate.release()


class Thread:
    """A thread of control."""

    _handle: Any = None
    _joined_at_exit = True
    _mirrored = False

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
            raise ValueError(f"group must be None, not {group!r}: thread groups do not exist")
        if name is None:
            name = f"Thread-{_next_number()}"
            label = getattr(target, "__name__", None)
            if label is not None:
                name = f"{name} ({label})"
        self._name = str(name)
        self._target = target
        self._args = args
        self._kwargs = {} if kwargs is None else kwargs
        self._daemon = current_thread().daemon if daemon is None else bool(daemon)
        self._context = context
        self._ident: int | None = None
        self._native_id: int | None = None
        self._ticket: list[None] = [None]  # taken by start(); popping is how two threads cannot both take it
        self._handle = _ThreadHandle()

    def __repr__(self) -> str:
        if self._handle is None:
            return f"<{type(self).__name__}(not initialised)>"
        state = "initial" if self._ident is None else "started" if self.is_alive() else "stopped"
        return f"<{type(self).__name__}({self._name}, {state}{' daemon' if self._daemon else ''}{'' if self._ident is None else f' {self._ident}'})>"

    def start(self) -> None:
        """Start the thread."""
        if self._handle is None:
            raise RuntimeError(f"{type(self).__name__}.__init__() did not call Thread.__init__(); call it before start()")
        try:
            self._ticket.pop()
        except IndexError:
            raise RuntimeError(f"{self!r}: threads can only be started once; make a new Thread") from None
        context = self._context
        if context is None and _inherit_context:
            from contextvars import copy_context

            context = copy_context()
        launch = _Launch(self, context)
        arm()
        alive[id(self)] = self
        try:
            start_joinable_thread(launch, self._handle)
        except BaseException:
            self._give_up()
            raise
        gate = launch.gate
        gate_of_launch = launch
        gate.acquire()
        if not gate_of_launch.begun:
            self._give_up()
            raise RuntimeError(f"{self!r}: the new thread ended before it could begin") from launch.failure

    def _give_up(self) -> None:
        alive.pop(id(self), None)
        self._ident = None
        self._handle = _ThreadHandle()
        self._ticket.append(None)

    def run(self) -> None:
        """Call the target."""
        try:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)
        finally:
            # A target that refers to the thread, or to much else, must not be kept alive by it.
            del self._target, self._args, self._kwargs

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended."""
        if self._handle is None or self._ident is None and self._ticket:
            raise RuntimeError(f"{self!r}: cannot join thread before it is started")
        if getattr(here, "thread", None) is self:
            raise RuntimeError(f"{self!r}: cannot join current thread; it would wait for itself")
        if timeout is None:
            self._handle.join()
        else:
            self._handle.join(timeout if timeout > 0 else 0)

    def is_alive(self) -> bool:
        """Whether the thread runs now."""
        return self._ident is not None and not self._handle.is_done()

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = str(name)
        if self._mirrored:
            _standard.rename(self)

    @property
    def ident(self) -> int | None:
        return self._ident

    @property
    def native_id(self) -> int | None:
        return self._native_id

    @property
    def daemon(self) -> bool:
        return self._daemon

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        if self._handle is None:
            raise RuntimeError("Thread.__init__() not called")
        if not self._ticket:
            raise RuntimeError(f"{self!r}: cannot set daemon status of active thread")
        self._daemon = bool(daemonic)

    def isDaemon(self) -> bool:  # noqa: N802
        return self.daemon

    def setDaemon(self, daemonic: bool) -> None:  # noqa: N802
        self.daemon = daemonic

    def getName(self) -> str:  # noqa: N802
        return self.name

    def setName(self, name: str) -> None:  # noqa: N802
        self.name = name


class _AdoptedHandle:
    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended = Event()

    def is_done(self) -> bool:
        return self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait(timeout)

    def finish(self) -> None:
        self._ended.set()


class _Departure:
    """Lives in a foreign thread's local values, and so notices its end."""

    __slots__ = ("thread",)

    def __init__(self, thread: Thread) -> None:
        self.thread = thread

    def __del__(self) -> None:
        alive.pop(id(self.thread), None)
        self.thread._handle.finish()


class _AdoptedThread(Thread):
    _joined_at_exit = False

    def __init__(self, name: str, ident: int, daemon: bool) -> None:
        self._name = name
        self._daemon = daemon
        self._ident = ident
        self._native_id = None
        self._ticket = []
        self._handle = _AdoptedHandle()
        alive[id(self)] = self


class _MainThread(_AdoptedThread):
    pass


def _adopt() -> Thread:
    ident = get_ident()
    if ident == _main._ident:
        here.thread = _main
        return _main
    known = _standard.known_as(ident)
    name, daemon = known if known is not None else (f"Dummy-{_next_number()}", True)
    thread = _AdoptedThread(name, ident, daemon)
    if get_native_id is not None:
        thread._native_id = get_native_id()
    here.thread = thread
    here.departure = _Departure(thread)
    return thread


def current_thread() -> Thread:
    """The Thread object of the calling thread."""
    try:
        thread: Thread = here.thread
    except AttributeError:
        return _adopt()
    if not thread._mirrored and "threading" in sys.modules and thread._joined_at_exit:
        _standard.enter(thread)
    return thread


def main_thread() -> Thread:
    """The Thread object of the main thread."""
    return _main


def enumerate() -> list[Thread]:  # noqa: A001
    """Every Thread that is alive."""
    current_thread()
    return [thread for thread in snapshot() if thread.is_alive()]


def active_count() -> int:
    """How many threads `enumerate` would list."""
    return len(enumerate())


_main: Thread = _MainThread("MainThread", main_thread_ident(), False)
if get_ident() == _main._ident:
    here.thread = _main
    if get_native_id is not None:
        _main._native_id = get_native_id()
_exit_state.ended.append(lambda: None)


def _after_fork(_table: object) -> None:
    global _main
    _main = current_thread()
    alive.clear()
    alive[id(_main)] = _main
    _main._ident = get_ident()
    if get_native_id is not None:
        _main._native_id = get_native_id()


register_after_fork(Thread, _after_fork)
