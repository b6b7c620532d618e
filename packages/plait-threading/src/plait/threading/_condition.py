# SPDX-License-Identifier: MIT
#
# Condition: wait, under a lock, until somebody says that something has changed.
#
# Theory of operation
#   Each waiter brings a raw lock of its own (its bell), taken, and enters it in `_bells`; then it lets go of the
#   condition's lock and tries to take its bell a second time. notify() strikes the oldest bell off the list and
#   releases it. So a wake-up is addressed to one waiter, and waiters are woken in the order in which they came.
#
# What must always hold
#   - A bell is struck off exactly once: by the notifier that rings it, or by its waiter that gives up. `_bells` is a
#     dictionary, ordered by arrival, so that both are one operation on it; it decides who was first.
#   - No wake-up is lost. A waiter that times out and then finds its bell struck off has been notified after all, and
#     says so. A waiter that is interrupted by an exception (KeyboardInterrupt) and finds its bell struck off cannot use
#     the wake-up; it passes it on to the next.
#   - wait() never ends without the lock, however it ends, since the caller's `with` is going to release it. An
#     exception that strikes while the lock is being taken back is kept until it has been.
#   - What a signal handler may interrupt, it may also re-enter: a handler's (or finaliser's) notify() in the middle of
#     ours finds the list in order, and we find it in order afterwards.
#   - A forked child inherits the bells of threads that it does not have. Bells carry the fork generation; ringing one
#     of another generation is not counted as waking anybody. (It is rung all the same: the thread that forked may have
#     done so in a signal handler, while waiting, and is still there.)
#
# Between two bytecodes an exception of a signal handler can strike. "Has the lock been released already?" must then have
# an answer, which `lock.release(); released = True` does not give: the exception may come between the two. (Nor does a
# `with` statement: on 3.14 it may come between __enter__ and the body.) There are two ways out:
#
#   - Since 3.11 CPython looks for signals only after calls, at backward jumps and at the start of functions. A `for` over
#     a `map` calls C code without a call instruction, and stores what it returned in the very next one: in
#     `for answer in map(release, (lock,)): break` there is nowhere to strike between the release and the note of it.
#     (An RLock can be asked afterwards whether this thread owns it; so only letting go of it has to be noted, because of
#     how often it was held.)
#   - 3.10 and PyPy look more often. There, what has to happen together is put into one call of C code:
#     `happened += starmap(call, ONCE)` calls it and notes the answer in a list. That works everywhere, but makes wait()
#     and notify() between two threads slower than the standard ones.
#
# What remains: exceptions that strike between the user's own `with condition:` and its body leave the lock held on 3.14
# and PyPy, as they do for every lock; and nothing can be done for an exception that strikes after wait() has returned.
#
# `with condition:` costs no more than `with lock:`; how is said in _slots.py.

from __future__ import annotations

import sys
from itertools import starmap
from operator import attrgetter, methodcaller
from time import monotonic

from .._thread import LockType, RLock, RLockType, allocate_lock, fork_generation, register_after_fork
from ._named import Named
from ._slots import Special

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar

    T = TypeVar("T")

# For starmap: one call, without arguments; the same for acquire(True), as it stands and for map.
ONCE: Any = ((),)
BLOCKING_ONCE: Any = ((True,),)
BLOCKING = (True,)

# A note that nothing has been noted.
NOTHING = object()

# What a `for` gets is stored before a signal is looked for; see above.
STORED_AT_ONCE = sys.version_info >= (3, 11) and sys.implementation.name == "cpython"

# Calls what it is given, from C code.
_call = methodcaller("__call__")

# The fork generation, to be read without a call.
_epoch = fork_generation()


def _in_child(_condition: object) -> None:
    global _epoch
    _epoch = fork_generation()


class Condition:
    """A condition variable: threads wait for a change that others announce, all under one lock.

    *lock* is a `Lock` or an `RLock` of this package or of the standard module, or anything else with `acquire` and
    `release`; by default a new RLock. Use it as a context manager, or through `acquire` and `release`, to hold the
    lock.

    Differs from `threading.Condition`: waiters are woken in order of arrival; a waiter that times out or is
    interrupted at the moment it is notified does not take the wake-up with it; `wait()` has the lock again however
    it ends; in a forked child, notifications do not go to threads that only the parent has; `with condition:` is twice
    as fast.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_acquire_restore",
        "_bells",
        "_enter",
        "_exit",
        "_is_owned",
        "_knows_owner",
        "_letting_go",
        "_lock",
        "_of_what",
        "_release_save",
        "_restores",
        "acquire",
        "release",
    )

    if TYPE_CHECKING:
        acquire: Callable[..., bool]
        release: Callable[[], None]

        def __enter__(self) -> bool: ...
        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
            /,
        ) -> None: ...
    else:
        __enter__ = Special(attrgetter("_enter"))
        __exit__ = Special(attrgetter("_exit"))

    def __init__(self, lock: Any = None) -> None:
        if lock is None:
            lock = RLock()
        elif isinstance(lock, Named):
            lock.follow(self)
        self._lock = lock
        self._bells: dict[Any, int] = {}
        self._bind(lock.acquire, lock.release)

    def _bind(self, acquire: Callable[..., bool], release: Callable[[], None]) -> None:
        """Take what is needed of the lock. Called again by a named lock when a watcher comes or goes."""
        lock: Any = self._lock
        # Through the descriptors: in a subclass with methods of these names, attributes would miss the slots.
        _set_acquire(self, acquire)
        _set_release(self, release)
        if isinstance(lock, RLockType):
            self._enter: Any = lock.__enter__
            self._exit: Any = lock.__exit__
            self._is_owned: Callable[[], bool] = lock._is_owned
            # A lock that can be held several times over says how to let go of it altogether, and take it back as often.
            self._release_save: Callable[..., Any] = lock._release_save
            self._acquire_restore: Callable[..., Any] = lock._acquire_restore
            self._restores = self._knows_owner = True
            self._letting_go: Any = _rlock_release_save
            self._of_what: tuple[Any] = (lock,)
            return
        self._knows_owner = False
        leave = getattr(lock, "__exit__", None)
        self._enter = getattr(lock, "__enter__", acquire)
        self._exit = (lambda *_exception: release()) if leave is None else leave
        self._release_save = getattr(lock, "_release_save", release)
        restore = getattr(lock, "_acquire_restore", None)
        self._restores = restore is not None
        owned = getattr(lock, "_is_owned", None)
        if isinstance(lock, LockType):
            # A plain lock does not know its owner; that somebody holds it is the most that can be asked.
            owned = lock.locked
            self._letting_go, self._of_what = LockType.release, (lock,)
            self._acquire_restore = acquire
        else:
            self._letting_go, self._of_what = _call, (self._release_save,)
            # Others' acquire() may take no arguments.
            self._acquire_restore = restore or (lambda _blocking: acquire())
        self._is_owned = self._is_held if owned is None else owned

    def _is_held(self) -> bool:
        if not self._lock.acquire(False):
            return True
        self._lock.release()
        return False

    def locked(self) -> bool:
        """Whether some thread holds the lock."""
        ask = getattr(self._lock, "locked", None)
        return bool(self._is_owned() or self._is_held() if ask is None else ask())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock!r}, {len(self._bells)} waiting)>"

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock, wait for a notification, take the lock back.

        Returns True when notified and False after *timeout* seconds without a notification; zero or less does not wait.
        The lock is let go of however often an RLock was taken. Taking it back is not subject to the timeout.
        RuntimeError without the lock. An exception from a signal handler ends the wait, with the lock held.
        """
        if not self._is_owned():
            raise RuntimeError(
                f"{self!r}: cannot wait on un-acquired lock; wait() belongs inside `with condition:`"
            )
        bell = allocate_lock()
        bell.acquire()
        bells = self._bells
        saved: Any = NOTHING
        back: Any = NOTHING
        rung = False
        try:
            bells[bell] = _epoch
            for saved in map(self._letting_go, self._of_what):  # noqa: B007
                break
            if timeout is None:
                rung = bell.acquire()
            elif timeout <= 0:
                rung = bell.acquire(False)
            else:
                rung = bell.acquire(True, timeout)
            if self._knows_owner:
                self._acquire_restore(saved)
            else:
                for back in map(self._acquire_restore, (saved,) if self._restores else BLOCKING):  # noqa: B007
                    break
            if not rung:
                try:
                    del bells[bell]
                except KeyError:
                    rung = True
            return rung
        except BaseException:
            if saved is not NOTHING and (not self._is_owned() if self._knows_owner else back is NOTHING):
                self._regain([saved], [])
            if bells.pop(bell, None) is None and saved is not NOTHING:
                self._ring(1)
            raise

    def _wait_carefully(self, timeout: float | None = None) -> bool:
        if not self._is_owned():
            raise RuntimeError(
                f"{self!r}: cannot wait on un-acquired lock; wait() belongs inside `with condition:`"
            )
        bell = allocate_lock()
        bell.acquire()
        bells = self._bells
        let_go: list[Any] = []
        back: list[Any] = []
        rung = False
        try:
            bells[bell] = _epoch
            let_go += starmap(self._release_save, ONCE)
            if timeout is None:
                rung = bell.acquire()
            elif timeout <= 0:
                rung = bell.acquire(False)
            else:
                rung = bell.acquire(True, timeout)
            back += starmap(self._acquire_restore, (let_go,) if self._restores else BLOCKING_ONCE)
            if not rung:
                try:
                    del bells[bell]
                except KeyError:
                    rung = True
            return rung
        except BaseException:
            if let_go and not back:
                self._regain(let_go, back)
            if bells.pop(bell, None) is None and let_go:
                self._ring(1)
            raise

    def _regain(self, let_go: list[Any], back: list[Any]) -> None:
        """Take the lock back for a wait that an exception has ended, whatever else strikes."""
        while not back:
            try:
                back += starmap(self._acquire_restore, (let_go,) if self._restores else BLOCKING_ONCE)
            except BaseException:
                # Another signal; the exception that ended the wait will do for both. But a lock of somebody else's
                # may be broken, and raise for ever.
                if not isinstance(self._lock, (LockType, RLockType, Named)):
                    raise

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until ``predicate()``, called with the lock held, is true; return what it returned last.

        After *timeout* seconds in all that may be a false value. Otherwise like `wait`.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while not (answer := predicate()):
            if deadline is None:
                self.wait()
            elif (left := deadline - monotonic()) <= 0:
                break
            else:
                self.wait(left)
        return answer

    def notify(self, n: int = 1) -> None:
        """Wake the *n* threads that have waited longest, or all if there are fewer. Never blocks.

        They go on when they get the lock back. RuntimeError without the lock.
        """
        if not self._is_owned():
            raise RuntimeError(
                f"{self!r}: cannot notify on un-acquired lock; notify() belongs inside `with condition:`"
            )
        bells = self._bells
        if not bells:
            return
        if n == 1:
            # What _ring() does for one, in fewer steps.
            bell = None
            try:
                for bell in bells:  # noqa: B007 - the oldest, without a call at which a signal could strike
                    break
                if bells[bell] == _epoch:
                    del bells[bell]
                    bell.release()  # type: ignore[union-attr]
                    return
            except (KeyError, RuntimeError):
                pass  # a re-entrant call changed the list under our eyes
            except BaseException:
                if bell is not None and bell not in bells and bell.locked():
                    bell.release()
                raise
        self._ring(n)

    def notify_all(self) -> None:
        """Wake every waiting thread. Never blocks. RuntimeError without the lock."""
        self.notify(len(self._bells))

    def notifyAll(self) -> None:  # noqa: N802
        """Call `notify_all`. Deprecated: call it yourself."""
        import warnings

        warnings.warn("notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, stacklevel=2)
        self.notify_all()

    def _ring(self, n: int) -> None:
        bells = self._bells
        while n > 0:
            try:
                for bell in bells:  # noqa: B007 - the oldest, without a call at which a signal could strike
                    break
                else:
                    return
                generation = bells[bell]
            except (KeyError, RuntimeError):
                continue  # a re-entrant call changed the list under our eyes
            try:
                del bells[bell]
                bell.release()
            except KeyError:
                continue  # a re-entrant call was quicker
            except BaseException:
                # Struck off but perhaps not rung. A bell is used once: ringing it again does no harm.
                if bell not in bells and bell.locked():
                    bell.release()
                raise
            if generation == _epoch:
                n -= 1


_set_acquire, _set_release = (Condition.__dict__[name].__set__ for name in ("acquire", "release"))
_rlock_release_save: Any = RLockType._release_save
if not STORED_AT_ONCE:
    _described = Condition.wait.__doc__
    Condition.wait = Condition._wait_carefully  # type: ignore[method-assign]
    Condition.wait.__doc__ = _described
register_after_fork(Condition, _in_child)
