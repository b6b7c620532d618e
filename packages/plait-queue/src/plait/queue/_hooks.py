# SPDX-License-Identifier: MIT
"""The methods `_put`, `_get` and `_qsize`, which may be replaced in a single queue, too: `q._put = check_and_put`."""

from __future__ import annotations

from types import MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._engine import Engine

    Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = ["hook"]


class Hook:
    """A method that notices when it is replaced in an instance: what happens to that queue then goes by way of it.

    (A `__setattr__` would notice, too, and make every assignment a call, where another thread or a signal handler
    could come in between.) A replacement does not hide what a class says: `Queue._put` is its own, whatever the queue.
    But `super()._put` is asked for the queue, and is the replacement.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, queue: Engine | None, owner: type) -> Any:
        if queue is None:
            return self.function
        own = queue._own_hooks_
        return own[self.name] if self.name in own else MethodType(self.function, queue)

    def __set__(self, queue: Engine, function: Callable[..., Any]) -> None:
        self._replace(queue, {**queue._own_hooks_, self.name: function})

    def __delete__(self, queue: Engine) -> None:
        if self.name not in queue._own_hooks_:
            raise AttributeError(f"{self.name} was not replaced in {queue!r}")
        self._replace(queue, {name: own for name, own in queue._own_hooks_.items() if name != self.name})

    @staticmethod
    def _replace(queue: Engine, own: dict[str, Any]) -> None:
        if queue._is_made_():
            queue._close_()
            queue._change_(queue._hook_in_, own)
        else:  # by a subclass, before Queue.__init__
            queue._own_hooks_ = own
            queue._hooked_, queue._in_place_ = True, False


if TYPE_CHECKING:

    def hook(function: Function) -> Function:
        """Make it one that may be replaced in an instance."""
        return function
else:
    hook = Hook
