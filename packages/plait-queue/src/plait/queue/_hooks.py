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


class Hook(property):
    """A method that notices when it is replaced in an instance: what happens to that queue then goes by way of it.

    (A `__setattr__` would notice, too, and make every assignment a call, where another thread or a signal handler
    could come in between.) A replacement does not hide what a class says: `Queue._put` is its own, whatever the queue.
    But `super()._put` is asked for the queue, and is the replacement.

    Found in a class it is this object, which can be called as the function can. (So says a property, by itself and without
    Python code: who makes a queue looks whether the class still has its hooks.)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        name = self.name = function.__name__
        self.function = self.__wrapped__ = function

        def find(queue: Engine) -> Any:
            own = queue._own_hooks_
            return own[name] if name in own else MethodType(function, queue)

        super().__init__(find, self._set, self._delete, function.__doc__)

    def __call__(self, *args: Any) -> Any:
        """The function, for a queue that is named."""
        return self.function(*args)

    def _set(self, queue: Engine, function: Callable[..., Any]) -> None:
        self._replace(queue, {**queue._own_hooks_, self.name: function})

    def _delete(self, queue: Engine) -> None:
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
