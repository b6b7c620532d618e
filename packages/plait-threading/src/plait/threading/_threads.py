# SPDX-License-Identifier: MIT
#
# Thread objects, and the threads that they stand for.
#
# Life of a thread
#
#   start()        claims the thread, asks for a system thread that will call `ThreadCourse`, and waits at the gate of its
#                  lifetime until that has begun. (First it gives way, so that it mostly need not sleep there.)
#   ThreadCourse   in the new thread: makes itself known (thread-local, `alive`, standard module), opens the gate, has
#                  itself traced if that is wanted, runs `run()`, reports what leaves it, and takes itself out of the
#                  tables.
#                  If those first steps fail, or the course is dropped without ever being called (no memory for its
#                  first frame), the gate is opened too, and start() finds that nothing has begun, and says so. If not
#                  even that can be done, start() loses its patience after PATIENCE seconds.
#   the lifetime   (of the layer below, see there) is the only judge of whether a thread has ended, and the only thing
#                  that is waited for. It knows of deaths that Python code could not report. Tables may therefore list,
#                  for a moment, a thread that is gone; whoever reads them asks the lifetime.
#
# What must always hold
#   - Whatever happens in start(), either the thread runs and is in `alive`, or it does not and is in no table, and
#     start() may be called again. Signal handlers may strike one upon the other (see _surely.py): `_withdraw` can be begun
#     again at any point. What it has to know is noted in the same step of C code that does it: whether the gate has been
#     passed (`known`), and whether the new thread has been told not to rely on start() any more (`left`).
#   - `ident` is known when start() returns, and so is `native_id`, but for a thread so slow that start() lost patience.
#   - The main thread and threads that others started ("adopted") have Thread objects too. Their end is noticed by the
#     exit hooks and by a thread-local value being destroyed, respectively.
#   - In a forked child the forking thread is the main thread, and the only one; lifetimes of all others are over. Like
#     any main thread it has ended, for those who join it, when it has nothing left to do but wait for them.
#   - A Thread is subclassed by people who know the documentation. So everything of ours in it is behind one attribute
#     that nobody has by chance, `_life_`, and there are no private methods. The exceptions are names that such classes
#     use because they know the standard one: `_target`, `_args` and `_kwargs`, which are what run() looks at, and
#     `_stderr`, which is where the excepthook looks.

from __future__ import annotations

import builtins
import sys
from itertools import compress, count, starmap

from .._thread import (
    daemon_threads_allowed,
    get_ident,
    get_native_id,
    give_way,
    main_thread_ident,
    register_after_fork,
    seconds,
)
from . import _standard
from ._course import ATTENDED, OUR_FILES, Life, ThreadCourse, name_in_system
from ._excepthook import report
from ._exit import arm, at_end_of_main_thread, in_sub_interpreter
from ._registry import alive, here, snapshot
from ._standard import NAME as STANDARD
from ._surely import elsewhere, raised_here, surely

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
_ONCE: Any = ((),)  # for starmap: one call without arguments
OUR_FILES.add(__file__)

# Seconds that start() gives a new thread to begin. The usual answer comes within a fraction of a millisecond; this is
# for a thread that can neither begin nor say that it has died, and must leave time to report that within a second.
PATIENCE = 0.8


class Thread:
    """A thread of control: `start()` it, `join()` it, or ask for its `result()`.

    Give it a *target* to call with *args* and *kwargs*, or override `run()` in a subclass (which calls
    ``Thread.__init__`` first). *name* is for people; by default it is made from a number and the target's name.
    *daemon* threads are not waited for when the process ends; by default a thread is what the thread that makes it is.
    *context* is the `contextvars.Context` to run in, by default an empty one (a copy of the starting thread's where
    ``sys.flags.thread_inherit_context`` says so).

    An exception that leaves `run()` ends the thread and goes to `excepthook`, which prints it, whether or not somebody asks
    for the result; SystemExit ends it silently.

    Differs from `threading.Thread`: `result()`, and ``join(reraise=True)``; `start()` raises if the new thread dies
    before it has begun, where the standard one waits for ever. `join()` may come from several threads, or be
    interrupted, and nobody is forgotten.
    """

    _life_: Life

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
        if daemon is None:
            try:
                daemon = here.thread._life_.daemon
            except AttributeError:
                daemon = current_thread().daemon
        elif daemon:
            _permit_daemon()
        if name:
            self._life_ = Life(str(name), bool(daemon), context)
        else:
            self._life_ = life = Life(None, bool(daemon), context)
            life.parts = _next_number(), getattr(target, "__name__", None)
        self._target = target
        self._args = args
        self._kwargs: Mapping[str, Any] = {} if kwargs is None else kwargs
        self._stderr = sys.stderr

    def __repr__(self) -> str:
        kind = type(self).__name__
        try:
            life = self._life_
        except AttributeError:
            return f"<{kind} whose __init__ has not called Thread.__init__>"
        ident = getattr(life, "ident", None)
        words = [life.known_as(), "initial" if ident is None else "stopped" if life.is_over() else "started"]
        if life.daemon:
            words[1] += " daemon"
        if ident is not None:
            words[1] += f" {ident}"
        return f"<{kind}({', '.join(words)})>"

    def start(self) -> None:
        """Run `run()` in a new thread, once.

        Returns when the thread has begun; a thread that has not within a second counts as begun unless it is dead.
        RuntimeError if it was started before; if no thread can be started (chained to the OSError behind it), or the
        new one died before it had begun (chained to what it died of, if that is known). Nothing is left registered
        then, and start() may be tried again. An exception of a signal handler leaves a thread that runs, or one that can
        be started; if several strike one upon the other, it may be left to another thread to see to that, a moment later.
        """
        try:
            life = self._life_
        except AttributeError:
            raise _uninitialised(self, RuntimeError) from None
        if life.claims:
            raise _started_before(self)
        claim = object()
        course: Any = None
        known: list[bool] = []
        left: list[None] = []
        settled = False
        try:
            claims = life.claims
            claims.append(claim)
            if claims[0] is not claim:
                raise _started_before(self)
            context = life.context
            life.daemon = bool(self.daemon)  # which in a subclass may be an attribute of its own
            if context is None and _inherit_context:
                from contextvars import copy_context

                context = copy_context()
            if STANDARD in _modules:
                current_thread()
            arm()
            claims.append(ATTENDED)
            course = ThreadCourse()
            course.thread = self
            course.context = context
            life.launch(course, joinable=in_sub_interpreter)
            course = None  # if the thread has not got it, nobody must
            # Mostly it has begun after that, and nobody need sleep and be woken: a quarter of what a short thread costs.
            give_way(life.gate.locked)
            # In one step: whether the gate has been taken, which others might want to pass if we leave early, is noted.
            known += starmap(life.gate.acquire, ((True, PATIENCE),))
            if not known:  # a signal handler's, which `+=` takes for the end
                raise StopIteration(f"raised while {self!r} was being started")
            if not life.has_begun:
                _insist(self, known, left)
            settled = True
        finally:
            try:
                if not settled:
                    course = None
                    surely(_withdraw, self, claim, known, left)
            except BaseException:
                if settled:
                    raise
                course = None
                elsewhere[_withdraw] = (self, claim, known, left)

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

        Zero or less looks and does not wait. An exception of a signal handler ends the wait; the thread goes on.
        With *reraise*, an exception that ended the thread is raised here, too (but SystemExit is not, which is how a
        thread ends itself). Any number of threads may wait, any number of times. RuntimeError if the thread was never
        started, or is the calling thread, which would wait for itself; from Python 3.13 on PythonFinalizationError, which
        is one, if it will never end because the interpreter does.
        """
        try:
            life = self._life_
        except AttributeError:
            raise _uninitialised(self, RuntimeError) from None
        if not getattr(life, "has_begun", False) and _is_unstarted(life):
            raise RuntimeError(f"{self!r}: cannot join thread before it is started")
        if life.ident == get_ident() and current_thread() is self:
            raise RuntimeError(f"{self!r}: cannot join current thread; it would wait for itself")
        ended = life.wait(-1 if timeout is None else max(seconds(timeout), 0))
        if life.outcome is None and _is_cut_off(life):
            raise _EndOfInterpreter(f"{self!r}: cannot join it, the interpreter has ended and it never will")
        if reraise and ended and life.outcome is not None:
            try:
                _conclude(life.outcome)
            finally:
                del self, life  # what is raised comes to hold this frame, and the thread holds that

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the thread has ended, and return what `run()` (by default: *target*) returned, or raise what it
        raised.

        None if it was ended by SystemExit. TimeoutError if it has not ended after *timeout* seconds. RuntimeError as
        for `join()`, and if there is no result: the thread was not started by this package, or it died without
        reaching the end, or belongs to the parent of this process. Not in the standard module.
        """
        self.join(timeout)
        life = self._life_
        outcome = life.outcome
        if not life.is_over():
            raise TimeoutError(f"{self!r} has not ended within {timeout} seconds; it goes on")
        if outcome is None:
            raise RuntimeError(
                f"{self!r} has no result: it did not come to its end, or was not started here; look at what it was to do"
            )
        try:
            return _conclude(outcome)
        finally:
            del self, life, outcome  # what is raised comes to hold this frame, and the thread holds that

    def is_alive(self) -> bool:
        """Whether the thread has been started and has not ended. Never blocks."""
        life = _life_of(self)
        return getattr(life, "ident", None) is not None and (not life.is_over() or _is_cut_off(life))

    @property
    def ident(self) -> int | None:
        """What `get_ident()` returns in this thread; None before `start()`. May be reused after the thread's end."""
        return getattr(_life_of(self), "ident", None)

    @property
    def native_id(self) -> int | None:
        """What the system calls this thread; None before `start()`, and where systems have no such thing."""
        return getattr(_life_of(self), "native_id", None)

    if TYPE_CHECKING:
        # Properties that a subclass may replace by attributes, as many do: `daemon = True`.
        name: str
        daemon: bool
    else:

        @property
        def name(self) -> str:
            """A name for people. Several threads may have the same.

            The operating system is told the first 15 bytes (on Linux) when the thread starts, or when the thread itself
            sets it; where that means to write a file (before Python 3.14), only of names that were given and not made up.
            The main thread's name there is the process's, and stays.
            """
            return _life_of(self).known_as()

        @name.setter
        def name(self, name: str) -> None:
            life = _life_of(self)
            life.name = str(name)
            if life.mirror is not None:
                _standard.rename(self)
            if getattr(life, "ident", None) == get_ident() and self is not _main:
                name_in_system(life.name)

        @property
        def daemon(self) -> bool:
            """Whether the process may end without waiting for this thread. To be set before `start()`."""
            return _life_of(self).daemon

        @daemon.setter
        def daemon(self, daemonic: bool) -> None:
            try:
                life = self._life_
            except AttributeError:
                raise _uninitialised(self, RuntimeError) from None
            if life.claims:
                raise RuntimeError(
                    f"{self!r}: cannot set daemon status of active thread; set it before start()"
                )
            if daemonic:
                _permit_daemon()
            life.daemon = bool(daemonic)

    def getName(self) -> str:  # noqa: N802
        """Return `name`. Deprecated: read the attribute."""
        return str(_old("getName", "get the name attribute", self.name))

    def setName(self, name: str) -> None:  # noqa: N802
        """Set `name`. Deprecated: set the attribute."""
        self.name = _old("setName", "set the name attribute", name)

    def isDaemon(self) -> bool:  # noqa: N802
        """Return `daemon`. Deprecated: read the attribute."""
        return bool(_old("isDaemon", "get the daemon attribute", self.daemon))

    def setDaemon(self, daemonic: bool) -> None:  # noqa: N802
        """Set `daemon`. Deprecated: set the attribute."""
        self.daemon = _old("setDaemon", "set the daemon attribute", daemonic)

    def isAlive(self) -> bool:  # noqa: N802
        """Call `is_alive`. Deprecated since Python 3.8: call it yourself."""
        return bool(_old("isAlive", "call is_alive()", self.is_alive()))


def _life_of(thread: Thread) -> Life:
    try:
        return thread._life_
    except AttributeError:
        raise _uninitialised(thread, AssertionError) from None


def _uninitialised(thread: Thread, kind: type[Exception]) -> Exception:
    return kind(f"{thread!r}: call Thread.__init__() in its __init__ before anything else")


def _started_before(thread: Thread) -> RuntimeError:
    return RuntimeError(f"{thread!r}: threads can only be started once; make a new Thread")


def _is_unstarted(life: Life) -> bool:
    """Of a thread that has not begun: whether start() was not called, or has not come to its end."""
    return not getattr(life, "note", None) or ATTENDED in life.claims


def _withdraw(thread: Thread, claim: object, known: list[bool], left: list[None]) -> None:
    """In start(), which is left by an exception: see to it that *thread* is started, or may be."""
    life = thread._life_
    if claim not in life.claims:
        return
    if life.claims[0] is not claim:  # somebody else starts it
        life.claims.remove(claim)
        return
    # The exception of a signal handler may strike when the thread is running already.
    ident = life.started_as() if hasattr(life, "note") else None
    if ident is None:
        thread._life_ = life.renewed()
        return
    life.ident = ident
    _give_back(life, known)
    if _leave_alone(thread, left) and (life.has_begun or not life.is_over()):
        return
    _bury(thread)
    if life.failure is not None and not left:  # nobody else tells of it
        report(thread, life.failure)


def _give_back(life: Life, known: list[bool]) -> None:
    """In start(): if the gate has been passed, let others pass it, too."""
    while known:
        for _ in starmap(life.gate.release, compress(_ONCE, starmap(known.pop, _ONCE))):
            break


def _leave_alone(thread: Thread, left: list[None]) -> bool:
    """In start(), to leave before it is known whether the thread has begun. False if it fails and relies on us."""
    life = thread._life_
    if not left:
        try:
            left += starmap(life.claims.remove, ((ATTENDED,),))
        except ValueError as error:
            if not raised_here(error):
                raise
            return False
    if not life.has_begun:
        alive[id(thread)] = thread
        # It did not wait for that, and has left the table, or will.
        if life.failure is not None or life.outcome is not None or life.is_over():
            alive.pop(id(thread), None)
    return True


def _bury(thread: Thread) -> None:
    """In start(), of a thread that has died before it could begin: let another be started in its place."""
    life = thread._life_
    alive.pop(id(thread), None)
    if life.mirror is not None:  # it could not even say that it fails
        _standard.leave(life)
    thread._life_ = life.renewed()


def _insist(thread: Thread, known: list[bool], left: list[None]) -> None:
    """In start(), of a thread that has not begun: if it is dead, raise; if that is not known, wait no longer."""
    life = thread._life_
    if not known[0]:
        import gc

        gc.collect()  # its course may be lost, but not yet destroyed
        life.ident = life.started_as()
        if not life.is_over() and _leave_alone(thread, left):
            return
        # It fails at this moment, and relies on us to say so.
        known += starmap(life.gate.acquire, ((True, 1 - PATIENCE),))
    _give_back(life, known)
    if life.has_begun:  # and has even ended, while we collected garbage
        return
    _bury(thread)
    raise RuntimeError(
        f"{thread!r}: the new thread died before it could begin; free some memory, or look at what is installed by "
        "settrace() and setprofile(), and start it again"
    ) from life.failure


# From 3.13 on; before that the standard module takes such threads for ended.
_EndOfInterpreter: Any = getattr(builtins, "PythonFinalizationError", None)


def _is_cut_off(life: Life) -> bool:
    """Whether the interpreter, ending itself, has done away with a thread that had not come to its end."""
    return (
        _EndOfInterpreter is not None
        and life.outcome is None
        and bool(life.note)
        and sys.is_finalizing()
        and life.is_over()
    )


def _conclude(outcome: tuple[Any, BaseException | None, TracebackType | None]) -> Any:
    value, error, traceback = outcome
    if error is not None:
        try:
            # Each time with the traceback of the first; otherwise it would grow.
            raise error.with_traceback(traceback)
        finally:
            del outcome, error, traceback  # this frame comes to be in it
    return value


def _old(method: str, instead: str, value: Any) -> Any:
    import warnings

    warnings.warn(f"{method}() is deprecated, {instead} instead", DeprecationWarning, stacklevel=3)
    return value


def _permit_daemon() -> None:
    if not _daemons_allowed:
        raise RuntimeError("daemon threads are disabled in this (sub)interpreter; use daemon=False")


class _DummyThread(Thread):
    """A thread that was not started here, and asked who it is."""

    def __init__(self, ident: int, name: str, daemon: bool) -> None:
        self._life_ = life = Life(name, daemon, None)
        life.observe(ident)
        life.claims.append(True)
        life.mirror = {}  # the standard module knows it better than we do
        self._target, self._args, self._kwargs = None, (), {}
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
    if isinstance(thread, _DummyThread):
        thread._life_.finish()


def _adopt() -> Thread:
    ident = get_ident()
    if ident == _main._life_.ident:
        thread = _main
    else:
        for other in snapshot():
            # Whoever had this identifier before has ended, even if its last value is not destroyed yet (PyPy).
            if isinstance(other, _DummyThread) and other._life_.ident == ident:
                _depart(other)
        known = _standard.known_as(ident)
        name, daemon = (f"Dummy-{_next_number()}", _daemons_allowed) if known is None else known
        thread = _DummyThread(ident, name, daemon)
        here.departure = _Departure(thread)
    if get_native_id is not None:
        thread._life_.native_id = get_native_id()
    here.thread = thread
    return thread


def current_thread() -> Thread:
    """The Thread object of the calling thread, whoever started it.

    A thread that was not started by this package gets one on its first call, with the name that the standard
    `threading` has for it if that is loaded; it is listed by `enumerate()` until that thread ends. Never blocks.
    """
    try:
        return here.settled  # type: ignore[no-any-return]
    except AttributeError:
        return _settle()


def _settle() -> Thread:
    try:
        thread: Thread = here.thread
    except AttributeError:
        thread = _adopt()
    life = thread._life_
    if life.mirror is None and STANDARD in _modules:
        _standard.enter(thread, life)
        _standard.install_hooks()
    if life.mirror is not None:
        here.settled = thread
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
if get_ident() == _main._life_.ident:
    _adopt()


def _end_main_thread() -> None:
    _main._life_.finish()


at_end_of_main_thread(_end_main_thread)


def _in_child(_main_type: object) -> None:
    global _main
    # Whoever called fork() is all there is. Its Thread object goes on, under its name, as the main thread.
    survivor = getattr(here, "thread", None)  # not asked whether it is true: a subclass may say no
    _main = _MainThread(get_ident(), "MainThread", False) if survivor is None else survivor
    here.thread = _main
    for thread in snapshot():
        if thread is not _main:
            _depart(thread)
    alive.clear()
    alive[id(_main)] = _main
    life = _main._life_
    life.came_along()
    life.daemon = False
    life.note.clear()  # nobody joins it at exit
    if get_native_id is not None:
        life.native_id = get_native_id()
    _standard.name_survivor(_main)


register_after_fork(_MainThread, _in_child)
