# SPDX-License-Identifier: MIT
"""Contexts: everything the package offers, bound to one start method."""

from __future__ import annotations

import os

from . import _errors, _platform, connection, process
from ._child import ForkedChild, SpawnedChild
from ._errors import AuthenticationError, BufferTooShort, ProcessError, TimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import queues, synchronize

__all__ = [
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "ForkContext",
    "ForkProcess",
    "Process",
    "ProcessError",
    "SpawnContext",
    "SpawnProcess",
    "TimeoutError",
]


class Process(process.BaseProcess):
    """A process, started by the default start method.

    Its target runs in a child of this process. With *spawn* the child is a new interpreter and the Process object is
    pickled for it; with *fork* it is a copy of this one.
    """

    _start_method: str | None = None

    @staticmethod
    def _start(process: process.BaseProcess) -> Any:
        return _default_context.get_context()._start_child(process)


class SpawnProcess(Process):
    """A process in a new interpreter."""

    _start_method = "spawn"

    @staticmethod
    def _start(process: process.BaseProcess) -> Any:
        return SpawnedChild(process)


class ForkProcess(Process):
    """A process that begins as a copy of this one."""

    _start_method = "fork"

    @staticmethod
    def _start(process: process.BaseProcess) -> Any:
        return ForkedChild(process)


class BaseContext:
    """The functions and classes of the package, bound to a start method."""

    ProcessError = _errors.ProcessError
    BufferTooShort = _errors.BufferTooShort
    TimeoutError = _errors.TimeoutError
    AuthenticationError = _errors.AuthenticationError

    current_process = staticmethod(process.current_process)
    parent_process = staticmethod(process.parent_process)
    active_children = staticmethod(process.active_children)

    Process: type[process.BaseProcess]
    _name: str | None = None

    @staticmethod
    def _start_child(process: process.BaseProcess) -> Any:
        raise NotImplementedError

    def cpu_count(self) -> int:
        """The number of processors of the machine."""
        found = os.cpu_count()
        if found is None:
            raise NotImplementedError("this platform does not tell its number of processors")
        return found

    def Pipe(self, duplex: bool = True) -> tuple[connection.Connection, connection.Connection]:  # noqa: N802
        """Two connected ends; see `connection.Pipe`."""
        return connection.Pipe(duplex)

    def Lock(self) -> synchronize.Lock:  # noqa: N802
        """A lock for processes and threads, free again when its owner has died; see `synchronize.Lock`."""
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> synchronize.RLock:  # noqa: N802
        """A lock that its owner may take again; see `synchronize.RLock`."""
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> queues.Queue[Any]:  # noqa: N802
        """A queue for any number of processes; see `queues.Queue`."""
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:  # noqa: N802
        """A value in shared memory and its lock; see `sharedctypes.Value`."""
        from .sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:  # noqa: N802
        """A value in shared memory without a lock; see `sharedctypes.RawValue`."""
        from .sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def freeze_support(self) -> None:
        """Call it first in the main module of a frozen program."""
        from .spawn import freeze_support

        freeze_support()

    def set_executable(self, executable: Any) -> None:
        """Start spawned children with this interpreter."""
        from .spawn import set_executable

        set_executable(executable)

    def get_context(self, method: str | None = None) -> BaseContext:
        """The context of that start method; this one if none is named."""
        if method is None:
            return self
        try:
            return _contexts[method]
        except KeyError:
            known = ", ".join(map(repr, _contexts))
            raise ValueError(f"cannot find context for {method!r}; there are {known}") from None

    def get_start_method(self, allow_none: bool = False) -> str | None:  # noqa: ARG002 - the standard signature
        """The name of the start method."""
        return self._name

    def set_start_method(self, method: str | None, force: bool = False) -> None:  # noqa: ARG002
        """Only the default context can change."""
        raise ValueError("cannot set start method of concrete context")

    @property
    def reducer(self) -> Any:
        """The `reduction` module."""
        from . import reduction

        return reduction


class SpawnContext(BaseContext):
    """Everything, with the *spawn* start method."""

    _name = "spawn"
    Process = SpawnProcess
    _start_child = staticmethod(SpawnedChild)


class ForkContext(BaseContext):
    """Everything, with the *fork* start method."""

    _name = "fork"
    Process = ForkProcess
    _start_child = staticmethod(ForkedChild)


class DefaultContext(BaseContext):
    """Everything, with a start method that can be set once."""

    Process = Process

    def __init__(self) -> None:
        self._chosen: BaseContext | None = None

    def get_context(self, method: str | None = None) -> BaseContext:
        """The context of that start method; the default, which is fixed from then on, if none is named."""
        if method is not None:
            return super().get_context(method)
        if self._chosen is None:
            self._chosen = _contexts["spawn"]
        return self._chosen

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Choose the start method, once; again only with *force*. None with *force* forgets the choice."""
        if self._chosen is not None and not force:
            raise RuntimeError(
                f"the start method is already {self._chosen._name!r}; choose once, first thing in the main module"
            )
        self._chosen = None if method is None and force else self.get_context(method)

    def get_start_method(self, allow_none: bool = False) -> str | None:
        """The start method; unless *allow_none*, it is fixed by asking."""
        if self._chosen is None and allow_none:
            return None
        return self.get_context()._name

    def get_all_start_methods(self) -> list[str]:
        """The start methods of this platform, the default first."""
        return list(_contexts)


_contexts: dict[str, BaseContext] = {"spawn": SpawnContext()}
if _platform.can_fork():
    _contexts["fork"] = ForkContext()
_default_context = DefaultContext()


def get_spawning_popen() -> Any:
    """What the calling thread is collecting for a child that it is spawning, if it is."""
    from . import _inherit

    return _inherit.current()


def assert_spawning(obj: Any) -> None:
    """RuntimeError unless *obj* is being pickled for a new child."""
    from . import _inherit

    _inherit.assert_spawning(obj)
