# SPDX-License-Identifier: MIT
#
# `with condition:` that costs no more than `with lock:`.
#
# A special method is looked up on the class, and what is found there may be a descriptor, which the lookup honours. So
# `__enter__` and `__exit__` of a Condition are *slots*, and what they hold are the inner lock's own C methods: no Python
# code runs, and nothing is called but those.
#
# A slot cannot be called through the class, though, as `Condition.__enter__(c)` and `contextlib.ExitStack` do. What an
# attribute of a class means is up to its metaclass, which special-method lookup does not ask; so `SlotMethods` answers
# with a function that goes to the slot. (It descends from ABCMeta so that a Condition can still be mixed with an
# abstract base class: of two metaclasses one has to descend from the other.)
#
# Locks with a name have their methods changed when a watcher comes. `Special` is for them: the same idea as a property,
# whose getter is C code (an `operator.attrgetter`), and which can be called.

from __future__ import annotations

from abc import ABCMeta

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SlotMethods", "Special"]


class Special(property):
    """A special method that each instance has for itself."""

    def __call__(self, instance: object, *args: object) -> Any:
        return self.__get__(instance, type(instance))(*args)


def _through_class(name: str) -> Any:
    def call(instance: Any, *args: object) -> Any:
        return getattr(instance, name)(*args)

    def find(cls: type) -> Callable[..., Any]:
        for base in cls.__mro__:
            if name in base.__dict__:
                found: Any = base.__dict__[name]
                if not hasattr(found, "__set__"):  # a method of a subclass
                    bound: Callable[..., Any] = found.__get__(None, cls)
                    return bound
                break
        return call

    call.__name__ = name
    return property(find)


class SlotMethods(ABCMeta):
    """The metaclass of classes whose `__enter__` and `__exit__` are slots."""

    __enter__ = _through_class("__enter__")
    __exit__ = _through_class("__exit__")
