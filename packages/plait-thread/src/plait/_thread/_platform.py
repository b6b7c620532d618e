# SPDX-License-Identifier: MIT
#
# The one file that touches the interpreter's own `_thread` (and four other built-in C parts).
#
# Rules
#   - Everything is found by probing for the feature, never by comparing version numbers. What an interpreter lacks is
#     either made here out of public parts, or answers None and the caller copes.
#   - Importing this file starts nothing and succeeds where threads cannot be started (Pyodide, WASI), and even where
#     there is no `_thread` at all: locks are then those of `_dummy_thread`. Only starting a thread raises, and then a
#     RuntimeError that says so.
#   - Types that every interpreter has in the same form (lock, _local, ...) are passed on as they are: nothing written
#     in Python would be as fast, and a lock of ours is then also a lock of everybody else's. An RLock that cannot say
#     whether it is held (before 3.14) gets that one method by inheritance; everything else about it stays C.

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    import _thread as interpreter_thread
    from _thread import (
        TIMEOUT_MAX,
        LockType,
        _local,
        allocate_lock,
        error,
        exit,
        get_ident,
        stack_size,
    )
    from collections import deque
    from collections.abc import Callable
    from typing import Any
else:
    try:  # the module around it costs several milliseconds
        from _collections import deque
    except ImportError:
        from collections import deque
    try:
        import _thread as interpreter_thread
    except ImportError:  # an interpreter that was built without threads
        from .. import _dummy_thread as interpreter_thread
    TIMEOUT_MAX = interpreter_thread.TIMEOUT_MAX
    _local = interpreter_thread._local
    allocate_lock = interpreter_thread.allocate_lock
    error = interpreter_thread.error
    exit = interpreter_thread.exit  # noqa: A001
    get_ident = interpreter_thread.get_ident
    stack_size = interpreter_thread.stack_size

__all__ = [
    "TIMEOUT_MAX",
    "LockType",
    "RLock",
    "RLockType",
    "_count",
    "_is_main_interpreter",
    "_local",
    "allocate_lock",
    "can_start_threads",
    "count_weak_references",
    "daemon_threads_allowed",
    "deque",
    "error",
    "exit",
    "forget_imports_of_parent",
    "forget_main_thread_of_parent",
    "get_ident",
    "get_native_id",
    "identity_reference",
    "interrupt_main",
    "lock",
    "main_thread_ident",
    "native",
    "refusal",
    "reset_lock",
    "stack_size",
    "start_detached",
    "weak_reference",
]

try:  # the whole of `weakref` costs a millisecond at import; this is all of it that we need
    from _weakref import getweakrefcount as count_weak_references
    from _weakref import ref as weak_reference
except ImportError:
    from weakref import getweakrefcount as count_weak_references
    from weakref import ref as weak_reference


class identity_reference(weak_reference):  # type: ignore[type-arg] # noqa: N801 - as what it descends from
    """A weak reference that is equal to itself only, so that a dictionary can have it for a key, whatever it refers to.

    The dictionary's own `pop` can be its callback then. It is C code; in Python code a signal handler could strike, and
    what that raised would be lost.
    """

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


_has_threads = interpreter_thread.__name__ == "_thread"


def native(name: str) -> Any:
    """What the interpreter itself has under *name* in its `_thread`, or None."""
    return getattr(interpreter_thread, name, None) if _has_threads else None


if not TYPE_CHECKING:
    LockType = type(allocate_lock())
RLockType: Any = interpreter_thread.RLock
get_native_id: Callable[[], int] | None = getattr(interpreter_thread, "get_native_id", None)
_count: Callable[[], int] = native("_count") or (lambda: len(sys._current_frames()) - 1)
_main_ident: Callable[[], int] | None = native("_get_main_thread_ident")

# ------------------------------------------------------------------------------------------------------------- locks

if TYPE_CHECKING:
    from _thread import LockType as lock  # noqa: N813 - both are names of the interpreter's for one thing
elif isinstance(getattr(interpreter_thread, "lock", None), type):
    lock = interpreter_thread.lock
else:

    class _LockFactory(type):
        # Before 3.13 the type of locks cannot be called, and the function that makes them is not a type. This is both:
        # `lock()` goes straight to the C function, `isinstance(x, lock)` asks the C type.
        __call__: Any = staticmethod(allocate_lock)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, LockType)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, LockType)

    class lock(metaclass=_LockFactory):  # noqa: N801
        """A mutual exclusion lock; `lock()` makes one, of the interpreter's own type."""


if TYPE_CHECKING:

    class RLock(interpreter_thread.RLock):  # type: ignore[misc] # that it is final there has nothing to do with this
        def locked(self) -> bool: ...

elif hasattr(RLockType, "locked"):
    RLock = RLockType
else:
    # That a C object does not tell in a method it may tell in its repr, and there without being taken for a moment, as
    # it would be by a trial: another thread's acquire(blocking=False) would fail for no reason it could see.
    _told = RLockType.__repr__
    _tells = _told(RLockType()).startswith("<unlocked")

    class RLock(RLockType):
        """A lock that the thread which holds it can take again, to be released as often as it was taken."""

        # The price of a subclass: `lock.release()` is specialised for the exact type of a C method only (3.11 and later),
        # so that it takes some 15 ns more here. `with lock:` is not concerned. Naming the methods here again is no help.
        __slots__ = ()

        def locked(self) -> bool:
            """Whether some thread, this one or another, holds the lock. Never blocks."""
            if _tells:
                return _told(self).startswith("<locked")
            if self._is_owned():
                return True
            if self.acquire(False):
                self.release()
                return False
            return True


def reset_lock(lock: Any) -> None:
    """Make a lock or an RLock free again, whoever held it.

    For the child of a fork, where the thread that held it does not exist. Never call it while another thread may use
    the lock. Where the interpreter has no way to do that to an RLock that another thread owned, RuntimeError says so.
    """
    reinit = getattr(lock, "_at_fork_reinit", None)
    if reinit is not None:
        reinit()
    elif isinstance(lock, LockType):
        if lock.locked():
            lock.release()
    else:
        owned = getattr(lock, "_is_owned", None)
        while owned is not None and owned():
            lock.release()
        if not lock.acquire(False):
            raise RuntimeError(
                f"{lock!r} is held by a thread that no longer exists; create a new one after fork"
            )
        lock.release()


# ------------------------------------------------------------------------------------- the main thread, interpreters


def daemon_threads_allowed() -> bool:
    """Whether this interpreter may have daemon threads (a sub-interpreter may forbid them)."""
    probe = native("daemon_threads_allowed")
    return True if probe is None else bool(probe())


def _is_main_interpreter() -> bool:
    """Whether the calling interpreter is the one that the process began with."""
    probe = native("_is_main_interpreter")
    if probe is not None:
        return bool(probe())
    try:  # 3.10 and 3.11, whose sub-interpreters have no public module
        import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]
    except ImportError:  # no sub-interpreters at all
        return True
    return bool(interpreters.get_current() == interpreters.get_main())


# Known at once if the main thread imports this, as it mostly does.
_main_at_import = get_ident() if get_native_id is not None and get_native_id() == os.getpid() else 0


def main_thread_ident() -> int:
    """The identifier of the thread that the interpreter calls main, whichever thread asks.

    Python 3.13 can be asked. Elsewhere: on Linux the main thread's native id is the process id; a thread that is not
    the main one looks at the interpreter's list of threads, which ends with the one that was there first.
    """
    if _main_ident is not None:
        return _main_ident()
    if get_native_id is None or get_native_id() == os.getpid():
        return get_ident()
    if _main_at_import:
        return _main_at_import
    # CPython lists the newest thread first, PyPy the oldest. 3.11 holds a lock meanwhile that the destruction of a
    # thread-local takes, too: no garbage must be collected then.
    import gc
    from operator import methodcaller

    collects = gc.isenabled()
    try:
        known = [*[*map(methodcaller("__call__"), (gc.disable, sys._current_frames))][1]]
    finally:
        if collects:
            gc.enable()
    return known[0 if "__pypy__" in sys.builtin_module_names else -1] if known else get_ident()


def forget_main_thread_of_parent() -> None:
    """In a forked child: the thread that forked is the main one."""
    global _main_at_import
    _main_at_import = get_ident()


def forget_imports_of_parent() -> None:
    """In a forked child: drop the imports that other threads of the parent were in the middle of.

    An import holds a lock per module, which nobody in the child would ever release: importing the same module again
    would wait for ever. (Nothing in the child asked for such an import: some interpreters import modules by themselves,
    3.10 for instance when it starts its first subprocess.) What was half imported is imported anew when it is needed, and
    of a package also those modules that were done: it is their import that makes them known in the package.
    """
    bootstrap = sys.modules.get("_frozen_importlib")
    locks = getattr(bootstrap, "_module_locks", None)  # names to weak references, of imports under way
    if not isinstance(locks, dict):
        return
    me = get_ident()
    half: list[str] = []
    for name, reference in [*locks.items()]:
        owner = getattr(reference(), "owner", me)
        if owner == me:
            continue  # the thread that forked is itself importing it, and goes on with that
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if owner is not None and getattr(spec, "_initializing", False):
            half.append(name)
        locks.pop(name, None)
    for name in half:
        within = f"{name}."
        for other in [*sys.modules]:
            if other == name or other.startswith(within):
                sys.modules.pop(other, None)


interpreter_signal: Any
try:
    import _signal as interpreter_signal  # type: ignore[import-not-found,no-redef]
except ImportError:  # a platform without signals
    interpreter_signal = None

SIGINT = 2  # everywhere; importing `signal` for it would cost more than this package


def interrupt_main(signum: int = SIGINT, /) -> None:
    """Have the main thread run its handler for the signal *signum*, by default that of Ctrl-C.

    Does nothing if Python does not handle that signal, ValueError if there is no such signal.

    Differs from the standard one: called in another thread it also wakes a main thread that waits for a lock, a join
    or a system call; the standard one leaves it waiting. It is a real signal that does it, so a main thread that has
    blocked *signum* sees it when it unblocks it.
    """
    kill = getattr(interpreter_signal, "pthread_kill", None)
    main = main_thread_ident()
    if kill is None or main == get_ident() or not _is_main_interpreter():
        interpreter_thread.interrupt_main(signum)  # type: ignore[arg-type]
    elif callable(interpreter_signal.getsignal(signum)):
        kill(main, signum)


# ------------------------------------------------------------------------------------------------------ starting one


def _refuse(*_work: object) -> int:
    """Refuse to start a thread, in the words of an interpreter that has no room for one."""
    raise error("can't start new thread")


# As it is: an exception of a signal handler must find the thread not started, or started and noted.
start_detached: Callable[..., int] = interpreter_thread.start_new_thread if _has_threads else _refuse


# Pyodide and WASI have the functions of POSIX threads, but nothing behind them.
_hollow = getattr(getattr(sys, "thread_info", None), "name", None) == "pthread-stubs"


def can_start_threads() -> bool:
    """False where there is one thread, and it is known that there can be no other (Pyodide, WASI).

    True elsewhere, which does not promise that the next start succeeds.
    """
    return start_detached is not _refuse and not _hollow


def refusal(cause: RuntimeError) -> RuntimeError:
    """What to raise instead of *cause*, which the interpreter raised for a thread that could not be started.

    It says what to do, and is chained to the OSError that it stands for, if any. An error of another meaning comes back
    as it is.
    """
    kind, said = type(cause), str(cause)
    answer: RuntimeError
    if "start new thread" in said:
        if sys.platform in ("emscripten", "wasi") or not _has_threads:
            answer = kind(
                f"this platform ({sys.platform}) cannot start threads; do the work in the calling thread"
            )
            answer.__cause__ = cause
        else:
            # The interpreter does not pass on what pthread_create() said. POSIX leaves it one answer for "no room".
            answer = kind(f"{said}: end some threads, or raise the limit on threads or memory")
            answer.__cause__ = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            answer.__cause__.__context__ = cause
    elif "not supported" in said:  # an isolated sub-interpreter of Python 3.10 and 3.11
        answer = kind(f"{said}; do the work in the calling thread, or in the main interpreter")
        answer.__cause__ = cause
    elif "shutdown" in said:
        answer = kind(f"{said}: the interpreter is ending; start threads before that, or from an exit hook")
        answer.__cause__ = cause
    else:
        return cause
    return answer
