# SPDX-License-Identifier: MIT
#
# Thread objects, and the threads that they stand for.
#
# (Attributes that the standard Thread does not have end with an underscore: subclasses use other names.)
#
# Life of a thread
#
#   start()        takes the thread's one ticket, enters it in `alive`, asks for a system thread that will call
#                  `_Course`, and waits at a gate until that has begun.
#   _Course        in the new thread: makes itself known (thread-local, standard module), opens the gate, runs `run()`,
#                  reports what leaves it, and takes itself out of the tables.
#                  If those first steps fail, or the course is dropped without ever being called (no memory for its
#                  first frame), it opens the gate too, and start() finds that nothing has begun, and says so. If not
#                  even that can be done, start() loses its patience after PATIENCE seconds and asks the handle.
#   the handle     of the layer below is the only judge of whether a thread has ended, and the only thing that is
#                  waited for. It knows of deaths that Python code could not report. Tables may therefore list, for a
#                  moment, a thread that is gone; whoever reads them asks the handle.
#
# What must always hold
#   - Whatever happens in start(), either the thread runs and is in `alive`, or it does not and is in no table, and
#     start() may be called again. The handle exists before the thread, so that nobody finds it missing.
#   - `ident` is known when start() returns, and so is `native_id`, but for a thread so slow that start() lost patience.
#   - Only start() waits at the gate; nobody else can be stranded there when an exception of a signal handler ends that.
#   - The main thread and threads that others started ("adopted") have Thread objects too. Their end is noticed by the
#     exit hooks and by a thread-local value being destroyed, respectively.
#   - In a forked child the forking thread is the main thread, and the only one; handles of all others say "done".

from __future__ import annotations

import sys
from itertools import count, starmap

from .._thread import (
    _ThreadHandle,
    allocate_lock,
    daemon_threads_allowed,
    get_ident,
    get_native_id,
    main_thread_ident,
    register_after_fork,
    set_name,
    start_joinable_thread,
)
from . import _standard
from ._event import Event
from ._excepthook import report
from ._exit import arm, at_end_of_main_thread, in_sub_interpreter, leaves
from ._registry import alive, here, snapshot
from ._trace import hooks_for_threads
from ._trace import install as install_hooks

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextvars import Context
    from types import TracebackType
    from typing import Any

# Names need not be unique, so it does not matter if two threads of a free-threaded build get the same number.
_next_number = count(1).__next__
_modules = sys.modules
_daemons_allowed = daemon_threads_allowed()
_inherit_context = bool(getattr(sys.flags, "thread_inherit_context", False))


# Seconds that start() gives a new thread to begin. The usual answer comes within a fraction of a millisecond; this is
# for a thread that can neither begin nor say that it has died, and must leave time to report that within a second.
PATIENCE = 0.8


# Flags of code whose frames outlive an exception that was handled in them: generators and coroutines.
_RESUMABLE = 0x20 | 0x80 | 0x200


class _Course:
    """What the new thread calls. If it is never called, its loss opens the gate."""

    __slots__ = ("context", "gate", "thread")

    def __init__(self, thread: Thread, gate: Any, context: Context | None) -> None:
        self.thread = thread
        self.gate = gate
        self.context = context

    def __call__(self) -> None:
        if not self._begins():
            return
        thread = self.thread
        try:
            if self.context is None:
                thread._outcome_ = (thread.run(), None, None)
            else:
                thread._outcome_ = (self.context.run(thread.run), None, None)
        except SystemExit:
            thread._outcome_ = (None, None, None)
        except BaseException as error:  # noqa: BLE001 - what excepthook is for
            unchanged = report(thread, error)
            thread._outcome_ = (None, error, _relic(error, unchanged))
        finally:
            alive.pop(id(thread), None)
            if thread._mirrored_:
                _standard.leave(thread)
            if in_sub_interpreter:
                leaves(thread)

    def _begins(self) -> bool:
        thread = self.thread
        try:
            here.thread = thread
            thread._ident = get_ident()
            if get_native_id is not None:
                thread._native_id = get_native_id()
            # Again: a fork in a signal handler may have emptied the table since start() entered it.
            alive[id(thread)] = thread
            if "threading" in _modules:
                _standard.enter(thread)
            if hooks_for_threads:
                install_hooks()
            if thread._tell_system_:
                _name_in_system(thread._name)
            thread._began_ = True
            self.gate.release()
        except BaseException as error:  # noqa: BLE001 - start() raises it, or else it is reported
            thread._began_ = False
            thread._failure_ = error
            alive.pop(id(thread), None)
            if thread._mirrored_:
                _standard.leave(thread)
            if not thread._attended_:
                report(thread, error)
            thread._attended_.clear()
            if self.gate.locked():
                self.gate.release()
            return False
        return True

    def __del__(self) -> None:
        gate = getattr(self, "gate", None)  # None if a signal handler's exception ended __init__
        if gate is not None and gate.locked():
            gate.release()


# From 3.14 on the interpreter has a call for it; elsewhere it is a file to open and write, which costs as much as a
# fifth of a thread.
_NAMES_ARE_CHEAP = sys.version_info >= (3, 14)


def _name_in_system(name: str) -> None:
    try:
        set_name(name)
    except OSError:
        return  # a system that forbids it; the name is for people only


def _relic(error: BaseException, reported_here: bool) -> TracebackType | None:
    """The traceback that `result()` is to show: without this module's own frames.

    If it was only printed, nobody else has it, and what its frames refer to is let go: often that is the thread itself,
    which would not be freed before the next garbage collection.
    """
    ours: TracebackType | None = error.__traceback__
    while ours is not None and ours.tb_frame.f_code.co_filename == __file__:
        ours = ours.tb_next
    if reported_here:
        error.__traceback__ = ours
        seen: set[int] = set()
        link: BaseException | None = error
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            step = link.__traceback__
            while step is not None:
                if not step.tb_frame.f_code.co_flags & _RESUMABLE:
                    try:
                        step.tb_frame.clear()
                    except RuntimeError:  # it is still running
                        pass
                step = step.tb_next
            link = link.__context__ if link.__cause__ is None else link.__cause__
    return ours


class Thread:
    """A thread of control: `start()` it, `join()` it, or ask for its `result()`.

    Give it a *target* to call with *args* and *kwargs*, or override `run()` in a subclass (which calls
    ``Thread.__init__`` first). *name* is for people; by default it is made from a number and the target's name.
    *daemon* threads are not waited for when the process ends; by default a thread is what the thread that makes it is.
    *context* is the `contextvars.Context` to run in, by default an empty one (a copy of the starting thread's where
    ``sys.flags.thread_inherit_context`` says so).

    Differs from `threading.Thread`: `result()`, and ``join(reraise=True)``; `start()` raises if the new thread dies
    before it has begun, where the standard one waits for ever. Ends of threads are waited for through the
    interpreter's own handles, also where `join()` comes from several threads or is interrupted.
    """

    _handle: Any = None
    _joined_at_exit_ = True
    _mirrored_ = False
    _began_ = False
    _tell_system_ = True
    _failure_: BaseException | None = None
    # What run() returned, or what left it. None while it runs, and if it was never reached or did not end here.
    _outcome_: tuple[Any, BaseException | None, TracebackType | None] | None = None

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
            raise AssertionError(f"group must be None, not {group!r}: there are no thread groups")
        if daemon is None:
            daemon = current_thread()._daemon
        elif daemon:
            _permit_daemon()
        if not name:
            called = getattr(target, "__name__", None)
            name = f"Thread-{_next_number()}" if called is None else f"Thread-{_next_number()} ({called})"
            self._tell_system_ = _NAMES_ARE_CHEAP
        self._name = str(name)
        self._daemon: bool = bool(daemon)
        self._ident: int | None = None
        self._native_id: int | None = None
        # Subclasses call these in a run() of their own.
        self._target = target
        self._args = args
        self._kwargs = {} if kwargs is None else kwargs
        self._context = context
        self._stderr = sys.stderr  # where the excepthook looks if there is none when it is needed
        # Emptied when start() has left, or when the thread dies while start() still waits for it.
        self._attended_: list[bool] = []
        # Popping it is how of two callers of start() only one goes on.
        self._ticket_: list[bool] = [True]
        self._handle = _ThreadHandle()

    def __repr__(self) -> str:
        kind = type(self).__name__
        if self._handle is None:
            return f"<{kind} whose __init__ did not call Thread.__init__>"
        words = [
            self._name,
            "initial" if self._ident is None else "started" if self.is_alive() else "stopped",
        ]
        if self._daemon:
            words[1] += " daemon"
        if self._ident is not None:
            words[1] += f" {self._ident}"
        return f"<{kind}({', '.join(words)})>"

    def start(self) -> None:
        """Run `run()` in a new thread, once.

        Returns when the thread has begun; a thread that has not within a second counts as begun unless it is dead.
        RuntimeError if it was started before; if no thread can be started (chained to the OSError behind it), or the
        new one died before it had begun (chained to what it died of, if that is known). Nothing is left registered
        then, and start() may be tried again.
        """
        if self._handle is None:
            raise RuntimeError(f"{self!r}: call Thread.__init__() in it before start()")
        if not self._ticket_:
            raise self._started_before()
        ticket: list[bool] = []
        try:
            # In one call of C code: a ticket that is gone is in our hands, wherever a signal handler's exception strikes.
            ticket += starmap(self._ticket_.pop, ((),))
            context = self._context
            if context is None and _inherit_context:
                from contextvars import copy_context

                context = copy_context()
            gate = allocate_lock()
            gate.acquire()
            arm()
            if "threading" in _modules:
                current_thread()
            self._attended_.append(True)
            alive[id(self)] = self
            # Always a daemon to the interpreter, where it allows that: joining at exit is our own (see _exit.py).
            start_joinable_thread(_Course(self, gate, context), self._handle, _daemons_allowed)
            self._ident = self._handle.ident
            known = gate.acquire(True, PATIENCE)
        except BaseException as error:
            if ticket:
                # The exception of a signal handler may strike when the thread is running already.
                self._attended_.clear()
                self._ident = self._handle.ident or None
                if self._ident is None:
                    self._as_if_never_started()
            elif isinstance(error, IndexError):
                raise self._started_before() from None
            raise
        if not self._began_:
            self._insist(known)

    def _started_before(self) -> RuntimeError:
        return RuntimeError(f"{self!r}: threads can only be started once; make a new Thread")

    def _insist(self, known: bool) -> None:
        """In start(), of a thread that has not begun: if it is dead, raise; if that is not known, wait no longer."""
        if not known and not self._handle.is_done():
            try:
                self._attended_.pop()
                return
            except IndexError:
                pass  # it fails at this moment, and relies on us to say so
        failure, self._failure_ = self._failure_, None
        self._as_if_never_started()
        raise RuntimeError(
            f"{self!r}: the new thread died before it could begin; free some memory, or look at what is installed by "
            "settrace() and setprofile(), and start it again"
        ) from failure

    def _as_if_never_started(self) -> None:
        alive.pop(id(self), None)
        self._attended_.clear()
        self._ident = self._native_id = None
        self._handle = _ThreadHandle()
        self._ticket_.append(True)

    def run(self) -> Any:
        """What the thread does: call *target*. Override it in a subclass, or call it to do the work here.

        What it returns is what `result()` returns.
        """
        try:
            if self._target is not None:
                return self._target(*self._args, **self._kwargs)
            return None
        finally:
            # They may refer to this thread, or to much else that nobody needs any more.
            del self._target, self._args, self._kwargs

    def join(self, timeout: float | None = None, *, reraise: bool = False) -> None:
        """Wait until the thread has ended, at most *timeout* seconds; ask `is_alive()` which it was.

        With *reraise*, an exception that ended the thread is raised here, too (but SystemExit is not, which is how a
        thread ends itself). Any number of threads may wait, any number of times. RuntimeError if the thread was never
        started, or is the calling thread, which would wait for itself.
        """
        if self._handle is None or self._ticket_:
            raise RuntimeError(f"{self!r}: cannot join thread before it is started")
        if getattr(here, "thread", None) is self:
            raise RuntimeError(f"{self!r}: cannot join current thread; it would wait for itself")
        handle = self._handle
        if timeout is not None:
            handle.join(max(0, timeout))
        elif (
            not handle.is_done()
        ):  # else the system thread may still be leaving; waiting for that costs a switch
            handle.join()
        if reraise and self._outcome_ is not None and handle.is_done():
            self._conclude(self._outcome_)

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the thread has ended, and return what `run()` (by default: *target*) returned, or raise what it
        raised.

        None if it was ended by SystemExit. TimeoutError if it has not ended after *timeout* seconds. RuntimeError as
        for `join()`, and if there is no result: the thread was not started by this package, or it died without
        reaching the end, or belongs to the parent of this process. Not in the standard module.
        """
        self.join(timeout)
        outcome = self._outcome_
        if not self._handle.is_done():
            raise TimeoutError(f"{self!r} has not ended within {timeout} seconds; it goes on")
        if outcome is None:
            raise RuntimeError(
                f"{self!r} has no result: it did not come to its end, or was not started here; look at what it was to do"
            )
        return self._conclude(outcome)

    @staticmethod
    def _conclude(outcome: tuple[Any, BaseException | None, TracebackType | None]) -> Any:
        value, error, traceback = outcome
        if error is not None:
            try:
                # Each time with the traceback of the first; otherwise it would grow.
                raise error.with_traceback(traceback)
            finally:
                del outcome, error, traceback  # this frame comes to be in it
        return value

    def is_alive(self) -> bool:
        """Whether the thread has been started and has not ended. Never blocks."""
        return self._handle is not None and self._ident is not None and not self._handle.is_done()

    def _check_made(self) -> None:
        if self._handle is None:
            raise AssertionError(f"{self!r}: call Thread.__init__() in it before anything else")

    @property
    def name(self) -> str:
        """A name for people. Several threads may have the same.

        The operating system is told the first 15 bytes (on Linux) when the thread starts, or when the thread itself
        sets it; where that means to write a file (before Python 3.14), only of names that were given and not made up.
        The main thread's name there is the process's, and stays.
        """
        self._check_made()
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._check_made()
        self._name = str(name)
        if self._mirrored_:
            _standard.rename(self)
        if self._ident == get_ident() and self is not _main:
            _name_in_system(self._name)

    @property
    def ident(self) -> int | None:
        """What `get_ident()` returns in this thread; None before `start()`. May be reused after the thread's end."""
        self._check_made()
        return self._ident

    @property
    def native_id(self) -> int | None:
        """What the system calls this thread; None before `start()`, and where systems have no such thing."""
        self._check_made()
        return self._native_id

    @property
    def daemon(self) -> bool:
        """Whether the process may end without waiting for this thread. To be set before `start()`."""
        self._check_made()
        return self._daemon

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        if self._handle is None:
            raise RuntimeError(f"{self!r}: call Thread.__init__() in it before anything else")
        if not self._ticket_:
            raise RuntimeError(f"{self!r}: cannot set daemon status of active thread; set it before start()")
        if daemonic:
            _permit_daemon()
        self._daemon = bool(daemonic)

    def getName(self) -> str:  # noqa: N802
        """Return `name`. Deprecated: read the attribute."""
        return str(self._old("getName", "get the name attribute", self.name))

    def setName(self, name: str) -> None:  # noqa: N802
        """Set `name`. Deprecated: set the attribute."""
        self.name = self._old("setName", "set the name attribute", name)

    def isDaemon(self) -> bool:  # noqa: N802
        """Return `daemon`. Deprecated: read the attribute."""
        return bool(self._old("isDaemon", "get the daemon attribute", self.daemon))

    def setDaemon(self, daemonic: bool) -> None:  # noqa: N802
        """Set `daemon`. Deprecated: set the attribute."""
        self.daemon = self._old("setDaemon", "set the daemon attribute", daemonic)

    def isAlive(self) -> bool:  # noqa: N802
        """Call `is_alive`. Deprecated since Python 3.8: call it yourself."""
        return bool(self._old("isAlive", "call is_alive()", self.is_alive()))

    @staticmethod
    def _old(method: str, instead: str, value: Any) -> Any:
        import warnings

        warnings.warn(f"{method}() is deprecated, {instead} instead", DeprecationWarning, stacklevel=3)
        return value


def _permit_daemon() -> None:
    if not _daemons_allowed:
        raise RuntimeError("daemon threads are disabled in this (sub)interpreter; use daemon=False")


class _EndOfOther:
    """The handle of a thread that was not started here."""

    __slots__ = ("_over", "ident")

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self._over = Event()

    def is_done(self) -> bool:
        return self._over.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)

    def finish(self) -> None:
        self._over.set()


class _DummyThread(Thread):
    """A thread that was not started here, and asked who it is."""

    _joined_at_exit_ = False
    _mirrored_ = True  # the standard module knows it better than we do

    def __init__(self, ident: int, name: str, daemon: bool) -> None:
        self._handle = _EndOfOther(ident)
        self._ticket_ = []
        self._daemon = daemon
        self._name = name
        self._ident = ident
        self._native_id = None
        alive[id(self)] = self


class _MainThread(_DummyThread):
    """The thread in which the process began."""


class _Departure:
    """A thread-local value of an adopted thread; it is destroyed when that thread ends."""

    __slots__ = ("thread",)

    def __init__(self, thread: Thread) -> None:
        self.thread = thread

    def __del__(self) -> None:
        _depart(self.thread)


def _depart(thread: Thread) -> None:
    alive.pop(id(thread), None)
    thread._handle.finish()


def _adopt() -> Thread:
    ident = get_ident()
    if ident == _main._ident:
        thread = _main
    else:
        for other in snapshot():
            # Whoever had this identifier before has ended, even if its last value is not destroyed yet (PyPy).
            if other._ident == ident and isinstance(other, _DummyThread):
                _depart(other)
        known = _standard.known_as(ident)
        name, daemon = (f"Dummy-{_next_number()}", True) if known is None else known
        thread = _DummyThread(ident, name, daemon)
        here.departure = _Departure(thread)
    if get_native_id is not None:
        thread._native_id = get_native_id()
    here.thread = thread
    return thread


def current_thread() -> Thread:
    """The Thread object of the calling thread, whoever started it.

    A thread that was not started by this package gets one on its first call, with the name that the standard
    `threading` has for it if that is loaded; it is listed by `enumerate()` until that thread ends. Never blocks.
    """
    try:
        thread: Thread = here.thread
    except AttributeError:
        return _adopt()
    if not thread._mirrored_ and "threading" in _modules:
        _standard.enter(thread)
    return thread


def main_thread() -> Thread:
    """The Thread object of the main thread; in a forked child, of the thread that forked.

    Right even if this package was first imported in another thread.
    """
    return _main


def enumerate() -> list[Thread]:  # noqa: A001 - the standard module's name for it
    """Every live thread known here: those started here, the main thread, and those that asked who they are."""
    current_thread()
    return [thread for thread in snapshot() if thread.is_alive()]


def active_count() -> int:
    """How many threads `enumerate` lists."""
    return len(enumerate())


def currentThread() -> Thread:  # noqa: N802
    """Call `current_thread`. Deprecated: call it yourself."""
    import warnings

    warnings.warn(
        "currentThread() is deprecated, use current_thread() instead", DeprecationWarning, stacklevel=2
    )
    return current_thread()


def activeCount() -> int:  # noqa: N802
    """Call `active_count`. Deprecated: call it yourself."""
    import warnings

    warnings.warn("activeCount() is deprecated, use active_count() instead", DeprecationWarning, stacklevel=2)
    return active_count()


_main: Thread = _MainThread(main_thread_ident(), "MainThread", False)
if get_ident() == _main._ident:
    _adopt()
at_end_of_main_thread(lambda: getattr(_main._handle, "finish", bool)())


def _in_child(_main_type: object) -> None:
    global _main
    # Whoever called fork() is all there is. Its Thread object goes on, under its name, as the main thread.
    survivor = getattr(here, "thread", None)  # not asked whether it is true: a subclass may say no
    _main = _MainThread(get_ident(), "MainThread", False) if survivor is None else survivor
    here.thread = _main
    for thread in snapshot():
        if thread is not _main and isinstance(thread, _DummyThread):
            thread._handle.finish()
    alive.clear()
    alive[id(_main)] = _main
    _main._daemon = False
    _main._joined_at_exit_ = False
    if get_native_id is not None:
        _main._native_id = get_native_id()
    _standard.name_survivor(_main)


register_after_fork(_MainThread, _in_child)
