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
# with a function that goes to the slot. To set the attribute is no matter of its, so that a class can be patched.
#
# It descends from ABCMeta so that a Condition can still be mixed with an abstract base class: of two metaclasses one has
# to descend from the other. (To do without it takes properties, as below, which make `with condition:` a tenth to a
# half slower.)
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


_enter_slots: dict[Any, Callable[..., Any]] = {}
_exit_slots: dict[Any, Callable[..., Any]] = {}


def _entering(slot: Any) -> Callable[..., Any]:
    def __enter__(self: Any) -> Any:  # noqa: N807
        """Take the lock, and return what its own `__enter__` returns."""
        return slot.__get__(self)()

    return __enter__


def _leaving(slot: Any) -> Callable[..., Any]:
    def __exit__(self: Any, *exception: Any) -> Any:  # noqa: N807
        """Release the lock."""
        return slot.__get__(self)(*exception)

    return __exit__


class _Slotted:
    __slots__ = ("slot",)


_Slot: Any = type(_Slotted.__dict__["slot"])


class SlotMethods(ABCMeta):
    """The metaclass of classes whose `__enter__` and `__exit__` are slots."""

    def __getattribute__(cls, name: str) -> Any:
        found: Any = super().__getattribute__(name)
        if name == "__enter__" and isinstance(found, _Slot):
            return _enter_slots.get(found) or _enter_slots.setdefault(found, _entering(found))
        if name == "__exit__" and isinstance(found, _Slot):
            return _exit_slots.get(found) or _exit_slots.setdefault(found, _leaving(found))
        return found
