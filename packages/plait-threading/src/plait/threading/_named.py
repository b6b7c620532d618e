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

from __future__ import annotations

from operator import attrgetter

from .._thread import RLock, allocate_lock
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
            blocking: bool,
            timeout: float,
            exclusive: bool,
        ) -> bool: ...

        def release(self, lock: Any, release: Callable[[], Any], wholly: bool = False) -> Any: ...

        def restore(self, lock: Any, restore: Callable[[], object]) -> None: ...


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


class Named:
    """What named locks have in common."""

    __slots__ = (
        "__weakref__",
        "_acquire_restore",
        "_enter",
        "_exit",
        "_followers",
        "_is_owned",
        "_lock",
        "_release_save",
        "acquire",
        "locked",
        "name",
        "release",
    )

    if TYPE_CHECKING:
        acquire: Callable[..., bool]
        release: Callable[[], None]
        locked: Callable[[], bool]
        _release_save: Callable[[], Any]
        _acquire_restore: Callable[[Any], None]
        _is_owned: Callable[[], bool]

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
        self.locked = lock.locked
        if by is None:
            self.acquire, self.release = lock.acquire, lock.release
            self._enter: Any = lock.__enter__
            self._exit: Any = lock.__exit__
        else:
            self.acquire = lambda blocking=True, timeout=-1: by.acquire(
                self, lock.acquire, blocking, timeout, True
            )
            self.release = lambda: by.release(self, lock.release)
            self._enter = self.acquire
            self._exit = lambda *_exception: by.release(self, lock.release)
        self._bind_for_conditions(by)
        for follower in [*self._followers]:
            condition = follower()
            if condition is not None:
                condition._bind(self.acquire, self.release)

    def _bind_for_conditions(self, _by: Watcher | None) -> None:
        raise NotImplementedError


class NamedLock(Named):
    """A `Lock` with a *name*, which `debug` can watch. Costs what a Lock costs while it does not.

    Has everything that a Lock has; can be given to a `Condition`. Not in the standard module.

        >>> ledger = NamedLock("ledger")
        >>> with ledger:
        ...     ledger.locked()
        True
    """

    __slots__ = ()
    _make = staticmethod(allocate_lock)

    def _bind_for_conditions(self, _by: Watcher | None) -> None:
        self._is_owned = self._lock.locked  # as for any Lock: that somebody holds it is all that can be asked


class NamedRLock(Named):
    """An `RLock` with a *name*, which `debug` can watch. Costs what an RLock costs while it does not.

    Has everything that an RLock has; can be given to a `Condition`. Not in the standard module.
    """

    __slots__ = ()
    _make = RLock

    def _bind_for_conditions(self, _by: Watcher | None) -> None:
        lock, by = self._lock, _by
        self._is_owned = lock._is_owned
        if by is None:
            self._release_save, self._acquire_restore = lock._release_save, lock._acquire_restore
        else:
            self._release_save = lambda: by.release(self, lock._release_save, True)
            self._acquire_restore = lambda saved: by.restore(self, lambda: lock._acquire_restore(saved))
