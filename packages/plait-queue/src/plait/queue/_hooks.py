# SPDX-License-Identifier: MIT
#
# The methods `_put`, `_get` and `_qsize` of subclasses, through which items then pass.
#
#   - They are honoured where a class overrides them, at its class statement or by the time that a queue is made, or where
#     somebody sets one in a single queue: `q._put = check_and_put`. Such a queue is `_hooked_`, always locked, and its
#     short ways are closed. It looks its hooks up at each call, so it sees what is patched into its class later. Others do
#     not: only a metaclass would be told of that, and a class has but one, so subclasses could have no other (ABCMeta, say).
#   - A hook runs with the mutex held, in the thread that happens to settle. It is called by C code that stores what
#     comes of it in the same piece: `done += starmap(self._put, ...)`, so that whether it has returned is known
#     whatever strikes behind it. (That takes a StopIteration of the hook for the end of the `starmap`. So where there is
#     nothing afterwards, that is what has happened, and another one is raised.)
#   - Nothing nests in a hook. What is put while one is running in the same thread (by a handler or finaliser;
#     `_in_hook_`) is parked, counted, and stored when the hook has ended, in whatever way; if `_put` then refuses it,
#     `sys.unraisablehook` is told, as its put() is over.
#   - If a hook fails, so does the call that it served, wherever it waits (_serving.py); but an exception of a signal
#     handler, told by its frame in the traceback, goes to whom it struck.

from __future__ import annotations

from collections import deque
from itertools import compress, starmap
from operator import attrgetter
from types import MethodType

from .._thread import report_unraisable
from ._platform import struck_by_handler
from ._surely import OVERDUE
from ._waiting import steps_of
from ._ways import Ways

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    from ._engine import Engine

    Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = ["Hooked", "hook", "hooks_of", "peeks"]

hooks_of = attrgetter("_init", "_put", "_get", "_qsize")

PLAIN = deque, list  # asking these for their length runs no code of others


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


class Hooked(Ways):
    """How items pass through hooks. All this with the mutex held."""

    if TYPE_CHECKING:

        def _settle_(self) -> None:
            """See _serving.py."""

    def _hook_in_(self, own_hooks: Mapping[str, Any]) -> None:
        """From now on items pass through these hooks, which are this queue's own; or no longer, if there are none."""
        self._adopt_(self._stock_, own_hooks)
        if self._parked_ and not (own_hooks or self._in_hook_):
            self._unpark_()
            self._adopt_(self._stock_)
        self._tune_()

    def _store_through_hook_(self, item: Any, done: list[Any]) -> None:
        """Count an item and store it through the hook of a subclass, but never through two at a time. Whether that has
        been done is noted in *done*, in one piece with it."""
        if self._in_hook_:
            # We interrupted the hook in its work (say, a heap half sifted). It will find the item when it is done.
            done += map(self._parked_.append, compress((item,), self._puts_))
            return
        # Found here, because that may run code: behind the hook nothing may be struck before the hook is free again.
        dones = self._dones_
        before = self._extent_()
        self._in_hook_ = True
        self._before_ = before
        try:
            for _ in self._puts_:
                break
            done += starmap(self._put, ((item,),))
        finally:
            try:
                self._before_ = None
                self._in_hook_ = False
                if not done:
                    for _ in dones:  # not put after all
                        break
            finally:
                self._unpark_()
        if not done:
            raise _ended_by_hook("_put", self)

    def _unpark_(self) -> None:
        """Store what was put while a hook was running, whether that has succeeded or failed."""
        dones = self._dones_
        pops = steps_of(self._parked_.popleft)
        while self._parked_ and not self._in_hook_:
            before = self._extent_()
            done: list[Any] = []
            # One piece from this look to the step: else a nested get() could come between them and take the last.
            if self._parked_ and not self._in_hook_:
                self._in_hook_ = True
            else:
                continue
            self._before_ = before
            try:
                for item in pops:
                    try:
                        done += starmap(self._put, ((item,),))
                        # Not an `if`, at which 3.10 looks for signals: it is not to be put twice.
                        for _ in done:
                            break
                        else:
                            raise _ended_by_hook("_put", self)
                    except BaseException as problem:
                        self._before_ = None  # it is there, and counted
                        self._parked_.appendleft(item)  # before all else
                        if not isinstance(problem, Exception) or struck_by_handler(problem):
                            raise
                        # Its put() has returned long ago, and who has called us is not to blame.
                        for _ in zip(pops, dones):  # noqa: B905 - in one piece
                            break
                        report_unraisable(
                            problem,
                            "An item was put while _put was running, and then refused by _put of",
                            self,
                        )
                    break
            finally:
                self._before_ = None
                self._in_hook_ = False

    # -- an item that another thread was storing when the process was forked -------------------------------------------

    def _extent_(self) -> tuple[int | None, Any]:
        """What may tell later whether something was stored: how long the container is; or else, if the class keeps its items
        elsewhere, or in a container of its own, what it says of its size. That may be any number that grows, and None if it
        says nothing."""
        length = len(self._stock_) if type(self._stock_) in PLAIN else None
        if length:
            return length, None
        try:
            size = self._qsize()
            if size or length is None:
                return None, size
        except Exception as problem:
            if struck_by_handler(problem):
                raise
            # Whoever needs it is told why there is none. To put something into a queue without a bound, nobody does.
        return length, None

    def _after_fork_in_put_(self) -> None:
        """In the child of a fork: if a thread that does not exist here was storing an item, have it counted only if that has
        been done, as far as can be told."""
        if self._before_ is None:
            return
        length, size = self._before_
        if length is not None and type(self._stock_) in PLAIN and len(self._stock_) > length:
            self._before_ = None
        elif size is None:
            for _ in self._dones_:  # counted, and will never be put
                self._before_ = None
                break
        else:
            # The class may have a lock of its own, which that thread has. So it is asked when the child uses the queue.
            OVERDUE[:0] = ((self._locked_, (self._uncount_unless_stored_, [size])),)
            self._before_ = None

    def _uncount_unless_stored_(self, debt: list[Any]) -> None:
        for size in tuple(debt):
            try:
                if self._qsize() > size:
                    debt.clear()
            except Exception as problem:
                if struck_by_handler(problem):
                    raise
                # It does not say.
        for _ in zip(steps_of(debt.pop), self._dones_) if debt else ():  # noqa: B905 - in one piece
            break
        self._settle_()

    # -- taking --------------------------------------------------------------------------------------------------------

    def _take_through_hook_(self, taken: list[Any], takes: Iterator[Any]) -> None:
        outer, self._in_hook_ = self._in_hook_, True
        before = len(taken)
        try:
            taken += takes
            if len(taken) == before:
                raise _ended_by_hook("_get", self)
        finally:
            if len(taken) > before:
                self._drawn_ = [None]  # another than any
            self._in_hook_ = outer
            if not outer:
                self._unpark_()


def _ended_by_hook(name: str, queue: Hooked) -> StopIteration:
    return StopIteration(f"raised by {name} of {queue!r}")


def peeks(cls: type) -> bool:
    """Whether the class that says last how items are taken says how to look at them, too."""
    for base in cls.__mro__:
        if "_peek" in vars(base):
            return True
        if "_get" in vars(base) or "_init" in vars(base):
            return False
    return False
