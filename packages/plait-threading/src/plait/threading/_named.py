# SPDX-License-Identifier: MIT
#
# Locks with a name, and the place where whoever watches them (see debug.py) is plugged in.
#
# What must always hold
#   - While nobody watches, a named lock costs what a plain one costs: its `acquire`, `release`, `__enter__` ... are the
#     C methods of the lock inside, held in slots (how is said in _slots.py).
#   - When watching begins or ends, the slots of all named locks are set anew. A call that is under way then is finished
#     by what it was begun with; the watcher has to be content with what it sees.
#   - A Condition keeps methods of its lock, too; so it is told when they change.
#   - Watching changes no answer and no error. So bad arguments are refused by a lock of the same kind, in its own words,
#     before anything else happens: one that is free and was made for this.

from __future__ import annotations

from operator import attrgetter

from .._thread import RLock, allocate_lock, reset_lock
from ._copies import Uncopied
from ._slots import Special

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Protocol

    class Watcher(Protocol):
        """What `debug` plugs in."""

        def acquire(
            self,
            lock: Any,
            acquire: Callable[[bool, float], bool],
            release: Callable[[], object],
            blocking: bool,
            timeout: float,
            mode: str,
        ) -> bool:
            """Take the lock by *acquire*; *release* undoes that. *mode* is what an RWLock is wanted for."""
            ...

        def release(
            self, lock: Any, release: Callable[..., Any], args: tuple[Any, ...] = (), wholly: bool = False
        ) -> Any: ...

        def restore(
            self, lock: Any, restore: Callable[..., object], args: tuple[Any, ...], mode: str
        ) -> None: ...

        def forget(self, lock: Any) -> None:
            """Nobody holds the lock any more, whoever did."""
            ...


_watcher: list[Watcher] = []
_locks: dict[int, Any] = {}


def watcher() -> Watcher | None:
    """Whoever watches named locks now."""
    return _watcher[0] if _watcher else None


def watch(by: Watcher | None) -> None:
    """Begin to watch, or end it with None."""
    _watcher[:] = [] if by is None else [by]
    for reference in [*_locks.values()]:
        lock = reference()
        if lock is not None:
            lock._bind()


def _given(blocking: Any = True, timeout: Any = -1) -> tuple[bool, float]:
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
        self._bind()
        key = id(self)
        _locks[key] = ref(self, lambda _ref: _locks.pop(key, None))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self._lock!r}>"

    def follow(self, condition: Any) -> None:
        """Have *condition* told when the methods change."""
        from weakref import ref

        self._followers.append(ref(condition, self._followers.remove))

    def _bind(self) -> None:
        lock, by = self._lock, watcher()
        self.locked = lock.locked  # type: ignore[method-assign]
        if by is None:
            self.acquire = lock.acquire  # type: ignore[method-assign]
            self.release = lock.release  # type: ignore[method-assign]
            self._enter: Any = lock.__enter__
            self._exit: Any = lock.__exit__
        else:
            self._bind_watched(by)
        self._bind_for_conditions(by)
        for follower in [*self._followers]:
            condition = follower()
            if condition is not None:
                condition._bind(self.acquire, self.release)

    def _bind_watched(self, by: Watcher) -> None:
        lock = self._lock

        def acquire(*args: Any, **kwargs: Any) -> bool:
            self._make().acquire(*args, **kwargs)
            return by.acquire(self, lock.acquire, lock.release, *_given(*args, **kwargs), "")

        def release(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                return lock.release(*args, **kwargs)  # which it refuses
            return by.release(self, lock.release, args)

        def leave(*exception: Any) -> Any:
            return by.release(self, lock.__exit__, exception)

        self.acquire = self._enter = acquire  # type: ignore[method-assign]
        self.release = release  # type: ignore[method-assign]
        self._exit = leave

    def _bind_for_conditions(self, by: Watcher | None) -> None:
        raise NotImplementedError

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

    def _bind_for_conditions(self, by: Watcher | None) -> None:  # noqa: ARG002
        self._is_owned = self._lock.locked  # as for any Lock: that somebody holds it is all that can be asked

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

    def _bind_for_conditions(self, by: Watcher | None) -> None:
        lock = self._lock
        self._is_owned = lock._is_owned
        if by is None:
            self._release_save, self._acquire_restore = lock._release_save, lock._acquire_restore
        else:
            self._release_save = lambda *args: by.release(self, lock._release_save, args, wholly=True)
            self._acquire_restore = lambda *args: by.restore(self, lock._acquire_restore, args, "")

    def _still_held(self, times: int) -> bool:  # noqa: ARG002
        return bool(self._lock._is_owned())
