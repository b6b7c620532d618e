# SPDX-License-Identifier: MIT
#
# Thread-local data where there is one thread: data.

from __future__ import annotations

__all__ = ["_local"]

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any


class _local:  # noqa: N801 - the standard module's name
    """An object whose attributes each thread has for itself.

    Arguments are for `__init__` of a subclass; without one that takes them there must be none.
    """

    def __new__(cls, /, *args: Any, **kwargs: Any) -> _local:  # noqa: PYI034 - Self is not in 3.10
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__}() takes arguments only if a subclass has an __init__ for them")
        return super().__new__(cls)

    if TYPE_CHECKING:

        def __getattribute__(self, name: str, /) -> Any: ...
        def __setattr__(self, name: str, value: Any, /) -> None: ...
