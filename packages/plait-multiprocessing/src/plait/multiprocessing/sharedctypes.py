# SPDX-License-Identifier: MIT
"""Shared values: ctypes objects in memory that a process and its children see."""

# A shared value is a ctypes object that lies in a mapped file without a name. The map is the object's buffer, so it lives
# as long as the object; the file's descriptor is kept beside it, to be lent to children. `fork` shares the map as it
# is, `spawn` maps the descriptor again.
#
# ctypes is imported when the first value is made: it costs more than the rest of this package together.

from __future__ import annotations

import mmap
import os
import sys

from . import _inherit, _platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import BaseContext

__all__ = ["RawValue", "Value", "synchronized"]

_CODES = {
    "c": "c_char",
    "u": "c_wchar",
    "b": "c_byte",
    "B": "c_ubyte",
    "h": "c_short",
    "H": "c_ushort",
    "i": "c_int",
    "I": "c_uint",
    "l": "c_long",
    "L": "c_ulong",
    "q": "c_longlong",
    "Q": "c_ulonglong",
    "f": "c_float",
    "d": "c_double",
}
_MEMORY = "_shared_memory"  # the attribute by which a ctypes object of ours knows its memory


class Memory:
    """Mapped memory of a given size."""

    __slots__ = ("__weakref__", "fd", "map", "size")

    def __init__(self, size: int, fd: int | None = None) -> None:
        if fd is None:
            fd = _platform.anonymous_file("value")
            os.ftruncate(fd, size)
        self.fd = fd
        self.size = size
        self.map = mmap.mmap(fd, size)

    def __reduce__(self) -> tuple[Any, ...]:
        inheritance = _inherit.assert_spawning(self)
        return Memory, (self.size, inheritance.lend(self.fd, self))

    def __del__(self, _close: Any = os.close) -> None:
        try:
            _close(self.fd)
        except AttributeError:
            pass  # __init__ failed


def _ctype(typecode_or_type: Any) -> Any:
    if not isinstance(typecode_or_type, str):
        return typecode_or_type
    import ctypes

    try:
        return getattr(ctypes, _CODES[typecode_or_type])
    except KeyError:
        raise TypeError(f"bad typecode {typecode_or_type!r} (must be one of {', '.join(_CODES)})") from None


def _placed(kind: Any, memory: Memory) -> Any:
    """The object of that ctypes type which lies in *memory*."""
    obj = kind.from_buffer(memory.map)
    setattr(obj, _MEMORY, memory)
    return obj


def RawValue(typecode_or_type: Any, *args: Any) -> Any:  # noqa: N802 - the standard name
    """A ctypes object in shared memory, without a lock: updates from several processes can be lost.

    *typecode_or_type* is a ctypes type, or a letter as `array.array` has them; *args* are for its constructor.
    """
    import ctypes

    kind = _ctype(typecode_or_type)
    obj = _placed(kind, Memory(max(1, ctypes.sizeof(kind))))
    obj.__init__(*args)
    return obj


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: BaseContext | None = None) -> Any:  # noqa: N802, ARG001
    """A ctypes object in shared memory, wrapped so that each access holds a lock.

    *lock*: True for a new recursive lock, a Lock or RLock to use that, False for no lock and no wrapper. Reading and
    writing `value` holds the lock each for itself; `value += 1` is both, so say

        with counter.get_lock():
            counter.value += 1

    The lock is free again when a process is killed while it holds it.
    """
    obj = RawValue(typecode_or_type, *args)
    if lock is False:
        return obj
    if lock is True or lock is None:
        return synchronized(obj)
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"lock={lock!r} has no method 'acquire'; give a Lock, an RLock, True or False")
    return synchronized(obj, lock)


def synchronized(obj: Any, lock: Any = None, ctx: BaseContext | None = None) -> Any:  # noqa: ARG001
    """Wrap a shared ctypes object so that each access holds *lock*; a new recursive one if none is given."""
    import ctypes

    if isinstance(obj, SynchronizedBase):
        raise TypeError(f"{obj!r} is synchronized already")
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized(obj, lock)
    if isinstance(obj, (ctypes.Structure, ctypes.Union)):
        return SynchronizedStructure(obj, lock)
    raise TypeError(f"only simple values and structures can be synchronized here, not {type(obj).__name__}")


class SynchronizedBase:
    """A shared object and its lock."""

    def __init__(self, obj: Any, lock: Any = None) -> None:
        if lock is None:
            from .synchronize import RLock

            lock = RLock()
        self.__dict__.update(_obj=obj, _lock=lock, acquire=lock.acquire, release=lock.release)

    def get_obj(self) -> Any:
        """The ctypes object itself; using it takes no lock."""
        return self.__dict__["_obj"]

    def get_lock(self) -> Any:
        """The lock."""
        return self.__dict__["_lock"]

    def __enter__(self) -> bool:
        return bool(self.get_lock().__enter__())

    def __exit__(self, *exc_info: object) -> None:
        self.get_lock().__exit__(*exc_info)

    def __reduce__(self) -> tuple[Any, ...]:
        _inherit.assert_spawning(self)
        obj = self.get_obj()
        return _rewrap, (type(self), type(obj), getattr(obj, _MEMORY), self.get_lock())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self.get_obj()!r}>"


class Synchronized(SynchronizedBase):
    """A single number or character and its lock."""

    @property
    def value(self) -> Any:
        """What it is; read and written with the lock held."""
        with self.get_lock():
            return self.get_obj().value

    @value.setter
    def value(self, value: Any) -> None:
        with self.get_lock():
            self.get_obj().value = value


class SynchronizedStructure(SynchronizedBase):
    """A structure and its lock; its fields are read and written with the lock held."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        with self.get_lock():
            return getattr(self.get_obj(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        with self.get_lock():
            setattr(self.get_obj(), name, value)


def _rewrap(wrapper: Any, kind: Any, memory: Memory, lock: Any) -> Any:
    return wrapper(_placed(kind, memory), lock)


def reduce_shared(obj: Any) -> Any:
    """How a ctypes object that lies in shared memory is pickled for a child; NotImplemented for any other object.

    ctypes would pickle it by value, and parent and child would each count for themselves.
    """
    ctypes = sys.modules.get("ctypes")
    if ctypes is None or not isinstance(
        obj, (ctypes._SimpleCData, ctypes.Structure, ctypes.Union, ctypes.Array)
    ):
        return NotImplemented
    memory = getattr(obj, _MEMORY, None)
    if not isinstance(memory, Memory):
        return NotImplemented
    return _placed, (type(obj), memory)
