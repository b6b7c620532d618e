# SPDX-License-Identifier: MIT
#
# `with condition:` that costs no more than `with lock:`.
#
# A special method is looked up on the class, and what is found there may be a descriptor, which the lookup honours. So
# `__enter__` and `__exit__` are properties whose getter is C code (an `operator.attrgetter`), and what they get are the
# inner lock's own C methods, kept in slots. Through the class, as in `Condition.__enter__(c)` and in ExitStack, the
# property itself is called.

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any


class Special(property):
    """A special method that each instance has for itself."""

    def __call__(self, instance: object, *args: object) -> Any:
        return self.__get__(instance, type(instance))(*args)
