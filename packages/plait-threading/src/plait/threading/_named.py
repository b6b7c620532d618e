# SPDX-License-Identifier: MIT
#
# Locks with a name, and the place where whoever watches them (see debug/) is plugged in.
#
# What must always hold
#   - While nobody watches, a named lock costs what a plain one costs: its `acquire`, `release`, `__enter__` ... are the
#     C methods of the lock inside, held in slots (how is said in _slots.py).
#   - When watching begins or ends, the slots of all named locks are set anew. A call that is under way then is finished
#     by what it was begun with; the watcher has to be content with what it sees.
#   - A lock that is made meanwhile is not missed: it is in the table first, and whoever has set slots looks afterwards
#     whether they are those of the watcher that there is now.
#   - A Condition keeps methods of its lock, too; so it is told when they change.
#   - While somebody watches, the slots hold the watcher's methods with their first arguments given (a `partial`, which is
#     C code). So when one has returned, no signal is looked for on the way to the caller, as with the C methods.
#     (`with` is better served by a Python function from 3.11 on: on 3.14 signals are looked for after a call of C code
#     there, before the body, and not after one of Python code, nor where that returns what it has called.)
#   - What is done when a lock has gone is done by C code, too: an exception that strikes a weak reference's callback is
#     lost.
#   - Watching changes no answer and no error. So bad arguments are refused by a lock of the same kind, in its own words,
#     before anything else happens: one that is free and was made for this.

from __future__ import annotations

import sys
from itertools import count
from operator import attrgetter

from .._thread import RLock, allocate_lock, reset_lock
from ._copies import Uncopied
from ._platform import partial
from ._slots import Special

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Protocol

    class Giving(Protocol):
        """What is noted of a hold that is given back. Both may be begun again at any point."""

        def strike_off(self) -> None:
            """Before the lock is released."""
            ...

        def put_back(self) -> None:
            """After that was refused."""
            ...

    class Watcher(Protocol):
        """What `debug` plugs in. What comes after the `/` is what the lock's own method was called with."""

        def acquire(
            self,
            lock: Any,
            acquire: Callable[[bool, float], bool],
            release: Callable[[], object],
            mode: str,
            given: Callable[..., tuple[bool, float]],
            /,
            *args: Any,
            **kwargs: Any,
        ) -> bool:
            """Take the lock by *acquire*; *release* undoes that. *mode* is what an RWLock is wanted for.

            *given* makes the two arguments of *acquire* of what there is, or refuses it.
            """
            ...

        def release(self, lock: Any, release: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...

        def giving(self, lock: Any, ident: int) -> Giving:
            """For a lock that sees to its release itself: what is noted of it for the thread *ident*."""
            ...

        def let_go(
            self, lock: Any, let_go: Callable[..., Any], take_back: Callable[..., object], /, *args: Any
        ) -> Any:
            """For a Condition: release it altogether. If that ends with an exception, it has not been."""
            ...

        def take_back(self, lock: Any, take_back: Callable[..., object], mode: str, /, *args: Any) -> None:
            """Undo `let_go`. To be called again if it ends with an exception; then it may have been taken, or not."""
            ...

        def forget(self, lock: Any) -> None:
            """Nobody holds the lock any more, whoever did."""
            ...


_watcher: list[Watcher] = []

# Each lock that can be watched has a number, which no other will ever have. (An id another may get.)
numbers = count()
_locks: dict[int, Any] = {}


def watcher() -> Watcher | None:
    """Whoever watches named locks now."""
    for by in _watcher:  # in one step, as it may be taken away meanwhile
        return by
    return None


def watch(by: Watcher | None) -> None:
    """Begin to watch, or end it with None."""
    _watcher[:] = [] if by is None else [by]
    for reference in [*_locks.values()]:
        lock = reference()
        if lock is not None:
            lock._bind()


def given(blocking: Any = True, timeout: Any = -1) -> tuple[bool, float]:
    """The arguments of acquire(), which are known to be good."""
    return bool(blocking), float(timeout)


class Named(Uncopied):
    """What named locks have in common."""

    # With what is to be said of them.
    __slots__ = {
        **dict.fromkeys(
            (
                "__weakref__",
                "_acquire_restore",
                "_enter",
                "_exit",
                "_followers",
                "_is_owned",
                "_lock",
                "_number",
                "_release_save",
            )
        ),
        "acquire": "Take the lock, as acquire(blocking=True, timeout=-1) of its plain twin does.",
        "locked": "Whether some thread holds the lock. Never blocks.",
        "name": "What it is called in reports.",
        "release": "Let go of the lock, as its plain twin does.",
    }

    if TYPE_CHECKING:
        name: str
        _release_save: Callable[[], Any]
        _acquire_restore: Callable[[Any], None]
        _is_owned: Callable[[], bool]

        # Slots that hold functions are methods to those who call them.
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def locked(self) -> bool: ...
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

    _make: Callable[[], Any]

    def __init__(self, name: str) -> None:
        from weakref import ref  # imports more than most programs need

        self.name = name
        self._lock: Any = self._make()
        self._followers: list[Any] = []
        self._number = number = next(numbers)
        _locks[number] = ref(self, partial(_locks.pop, number))
        self._bind()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self._lock!r}>"

    def follow(self, condition: Any) -> None:
        """Have *condition* told the methods, now and when they change."""
        from weakref import ref

        self._followers.append(ref(condition, self._followers.remove))
        self._bind()

    def _bind(self) -> None:
        while True:
            by = watcher()
            self._bind_to(by)
            if watcher() is by:
                return

    def _bind_to(self, by: Watcher | None) -> None:
        lock = self._lock
        self.locked = lock.locked  # type: ignore[method-assign]
        if by is None:
            self.acquire = lock.acquire  # type: ignore[method-assign]
            self.release = lock.release  # type: ignore[method-assign]
            self._enter: Any = lock.__enter__
            self._exit: Any = lock.__exit__
        else:
            acquire, release = lock.acquire, lock.release

            def enter() -> bool:
                return by.acquire(self, acquire, release, "", given)

            self.acquire = partial(  # type: ignore[method-assign]
                by.acquire, self, acquire, release, "", self._given
            )
            self._enter = enter if sys.version_info >= (3, 11) else self.acquire
            self.release = partial(by.release, self, lock.release)  # type: ignore[method-assign]
            self._exit = partial(by.release, self, lock.__exit__)
        methods = (self.acquire, self.release, *self._bind_for_conditions(by))
        for follower in [*self._followers]:
            condition = follower()
            if condition is not None:
                condition._bind(*methods)

    def _bind_for_conditions(self, by: Watcher | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Set what a Condition asks for; return what it lets go of the lock by, and takes it back by."""
        raise NotImplementedError

    def _given(self, *args: Any, **kwargs: Any) -> tuple[bool, float]:
        self._make().acquire(*args, **kwargs)
        return given(*args, **kwargs)

    def _still_held(self, times: int) -> bool:
        """Of a lock that this thread held once more than *times*, and whose release failed: whether it has it still."""
        raise NotImplementedError

    def _mode(self, _ident: int) -> str:
        return ""

    def _at_fork_reinit(self) -> None:
        reset_lock(self._lock)
        by = watcher()
        if by is not None:
            by.forget(self)


class NamedLock(Named):
    """A `Lock` with a *name*, which `debug` can watch. Costs what a Lock costs while it does not.

    Has everything that a Lock has; can be given to a `Condition`. Not in the standard module.

        >>> ledger = NamedLock("ledger")
        >>> with ledger:
        ...     ledger.locked()
        True
    """

    __slots__ = ()
    _make: Any = staticmethod(allocate_lock)

    # Old names, which a Lock has, too.
    acquire_lock = property(attrgetter("acquire"))
    release_lock = property(attrgetter("release"))
    locked_lock = property(attrgetter("locked"))

    def _bind_for_conditions(self, by: Watcher | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
        lock = self._lock
        self._is_owned = lock.locked  # as for any Lock: that somebody holds it is all that can be asked
        if by is None:
            return lock.release, lock.acquire
        return (
            partial(by.let_go, self, lock.release, lock.acquire),
            partial(by.take_back, self, lock.acquire, ""),
        )

    def _still_held(self, times: int) -> bool:  # noqa: ARG002
        return bool(self._lock.locked())


class NamedRLock(Named):
    """An `RLock` with a *name*, which `debug` can watch. Costs what an RLock costs while it does not.

    Has everything that an RLock has; can be given to a `Condition`. Not in the standard module.
    """

    __slots__ = ()
    _make: Any = RLock

    # Not on every interpreter; then it is not here either.
    _recursion_count = property(attrgetter("_lock._recursion_count"))

    def _bind_for_conditions(self, by: Watcher | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
        lock = self._lock
        self._is_owned = lock._is_owned
        let_go, take_back = lock._release_save, lock._acquire_restore
        if by is not None:
            let_go, take_back = (
                partial(by.let_go, self, let_go, take_back),
                partial(by.take_back, self, take_back, ""),
            )
        self._release_save, self._acquire_restore = let_go, take_back
        return let_go, take_back

    def _still_held(self, times: int) -> bool:  # noqa: ARG002
        return bool(self._lock._is_owned())
