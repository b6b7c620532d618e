# SPDX-License-Identifier: MIT
"""`maxsize`: how many items may wait in a queue. Any kind of number will do; it may be set at any time, and by a class."""

from __future__ import annotations

from math import ceil
from operator import index

from ._engine import Engine
from ._waiting import NO_MORE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["BoundOfClass", "Bounded", "whole_bound"]


class Bounded(Engine):
    """A queue's `maxsize`. What the ways heed is `_maxsize_`, an int that bounds as it does."""

    _bound_given_: Any = None  # what `maxsize` was set to, if it is no plain int

    @property
    def maxsize(self) -> int:
        """How many items may wait in the queue; zero or less means any number.

        Setting it wakes putters for whom there is room now. If more are waiting than it allows, they stay, and nothing
        is let in until fewer do. If an exception ends the setting, out of a signal handler or because this is no number, it
        has happened or not.
        """
        return self._maxsize_ if self._bound_given_ is None else self._bound_given_

    @maxsize.setter
    def maxsize(self, bound: int) -> None:
        if self._is_made_():
            self._change_(self._set_maxsize_, bound)
        else:
            self._maxsize_ = bound  # by a subclass, before `Queue.__init__`, which has the last word

    def _set_maxsize_(self, bound: Any) -> None:
        # Of any kind of number the integer that does the same: what compares that later runs no code of others.
        most = bound if type(bound) is int else whole_bound(bound)
        given = None if most is bound else bound
        while True:
            stock, hooked = self._stock_, self._hooked_
            entry = self._entry_ if hooked else self._ways_(stock, most)[0]
            # One piece from the look whether a nested call has come in between: the bound, and the way in that heeds it.
            # The old way is closed until `_tune_`, which whoever is struck before it makes up for, opens the new one.
            if self._stock_ is stock and self._hooked_ is hooked:
                self._maxsize_, self._bound_given_, self._full_message_ = most, given, None
                self._entry_ = entry
                self._admits_ = self._locked_admits_ = NO_MORE
                break
        self._tune_()
        self._settle_()
        self._ring_all_("not_full")


class BoundOfClass:
    """`maxsize` of a class that says `maxsize = 5`. As in the standard module, that is what is found there until
    `Queue.__init__` is called, which may be with it; then each queue has its own."""

    def __init__(self, bound: Any) -> None:
        self.bound = bound

    def __get__(self, queue: Bounded | None, owner: type | None = None) -> Any:
        if queue is None or not hasattr(queue, "_maxsize_"):
            return self.bound
        return Bounded.maxsize.__get__(queue)

    def __set__(self, queue: Bounded, bound: Any) -> None:
        Bounded.maxsize.__set__(queue, bound)  # type: ignore[attr-defined]


def whole_bound(bound: Any) -> int:
    """The integer that bounds a queue as *bound* does: 2.5 lets three in, infinity any number. TypeError if it cannot be
    compared with a number, ValueError if it is none."""
    try:
        if bound > 0:
            pass
        elif bound <= 0:
            return 0
        else:
            raise ValueError(f"maxsize must be a number that can be compared, 0 for no bound, not {bound!r}")
    except TypeError as problem:
        raise TypeError(f"maxsize must be a number, 0 for no bound, not {bound!r}") from problem
    try:
        return index(bound)
    except TypeError:
        return 0 if bound == float("inf") else ceil(bound)
