# SPDX-License-Identifier: MIT
# ruff: noqa: B007, B020 - a `for` that ends at once is how steps are taken here; what it gets may go into an attribute
#
# `PriorityQueue`: the smallest item comes out first.
#
# Heap operations compare items, and that may run anything: an item's own __lt__, and with it signal handlers,
# finalisers and, since others run meanwhile, other threads. So there is no free mode; the mutex keeps other threads out.
# But it lets nested calls of the same thread in, and those find a heap half sifted.
#
# What must always hold
#   - `_sifting` says what is under way: NOTHING, or the item that is being pushed or popped. It is set before the heap
#     operation starts and reset in the same piece (_waiting.py) that makes its result known. In between, the heap list
#     belongs to the operation, and nobody else changes it. It may also be UNSORTED: nothing is under way, but the list is
#     no heap.
#   - Nothing is missing meanwhile: the items of the queue are those in the list, less the one being pushed, plus the
#     one being popped. `_size`, noted at the start, is the length of the list then, and negative for popping: so it tells
#     whether the list has the item by now. (_heap.py sees to it that a comparison never finds an item out of the list.)
#   - Who finds an operation under way was called from inside of it, or comes after an exception that cut it short. It
#     stops it: it makes a new list of the items as they were before that operation, UNSORTED, and works with it. Interrupted
#     operations find out from `_stock` being another list, and start again. So nested calls happen wholly before what they
#     interrupt. That costs a copy, but only then.
#   - Stopping compares nothing, so it succeeds. Who needs the order, to push, pop or peek, then has to make a heap of the
#     list first, which can fail as any comparison can: then so does that call, the list is as it was, and the next who needs
#     the order tries anew. Who only counts or drops items, or looks into the list, needs none.
#   - `_uncounted` is the item being pushed if it is counted together with its being in the list. Any other is counted
#     before. While such a one is not in the list because its push was stopped, which is until its put() begins anew or
#     takes back the count, `_owed` says so, and changes in one piece with `_sifting`, or with the count. The child of a fork
#     takes back what is owed by those whom it does not have.
#   - If comparing fails, the operation has not happened: an item that cannot be pushed is not in the queue, one that
#     could not be popped stays in it. (The standard module leaves the one in and loses the other.)
#
# With hooks (_hooks.py)
#   Nothing nests in a hook, so what `_put` and `_get` of this class do when they are called by way of one is simpler:
#   they change the list in place, and an operation that fails is undone before they return. Of the above, only UNSORTED is
#   used. What a hook of its own does to the list is its own business.

from __future__ import annotations

from itertools import compress, repeat, starmap
from operator import is_, neg

from ._engine import of_this_frame
from ._fifo import Queue
from ._heap import heapify, heappop, heappush
from ._hooks import hook
from ._surely import OVERDUE, elsewhere, surely
from ._waiting import ENDLESS, NO_MORE, NOTHING, ONCE, TICKETS, steps_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, TypeVar

    from ._waiting import Waiter

    T = TypeVar("T")

__all__ = ["PriorityQueue"]

UNSORTED: Any = object()  # for `_sifting`: nothing is under way, but the list is no heap


class PriorityQueue(Queue["T"]):
    """A `Queue` that gives the smallest item first; `queue` is a list in the order of a heap.

    Items are compared with `<`, often as tuples `(priority, data)`; equal ones come in no particular order. An item that an
    interrupted getter gives back is in the queue like any other. If comparing raises, so does the call that needed it,
    and the queue is as it was before, but that `queue` is in no order until a call needs one. `clear` and `shutdown` compare
    nothing. A comparison may itself use the queue.
    """

    _native = True
    _can_be_free = False
    _simple = _swift = _swift_in = False
    _take = "pop"
    _uncounted: Any = NOTHING
    _locked_takes: Iterator[T]
    # The length of the heap as it is, for pushing and for popping.
    _sizes: Iterator[int]
    _below: Iterator[int]

    def __init__(self, maxsize: int = 0) -> None:
        self._sifting: Any = NOTHING
        self._size = 0
        self._sizes = self._below = NO_MORE
        super().__init__(maxsize)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put *item* into the queue, as `Queue.put` does.

        If comparing it with others raises, so does this, and the item is not in the queue; if it had to wait, that is
        so too, for it was compared by whoever made room.
        """
        try:
            if timeout is None or timeout >= 0:
                if not block and self._is_simply_full():
                    raise self._no_room(None)
                held = heap = None
                counted = False
                pushed: Any = False
                try:
                    try:
                        for held in self._enters:
                            heap = self._stock
                            if self._sifting is NOTHING:
                                for self._size in self._locked_admits:
                                    self._sifting = item
                                    counted = True
                                    heappush(heap, item)
                                    if self._stock is heap:
                                        self._sifting = NOTHING
                                        pushed = True
                                    else:  # a nested call took over
                                        pushed = []
                                        self._push_counted(item, pushed)
                                    if self._getters:
                                        self._settle()
                                    return
                            break
                    except IndexError as problem:
                        if counted or not of_this_frame(problem):
                            raise
                        # It is full.
                    finally:
                        try:
                            if held:
                                self._lock.release()
                        finally:
                            pass
                except BaseException:
                    debt = [None] if counted and not pushed else []
                    try:
                        self._clear_up_put(debt, heap)
                    except BaseException:  # noqa: BLE001 - the first one is raised
                        OVERDUE[:0] = ((self._locked, (self._clear_up_put_now, debt, heap)),)
                        try:
                            for _ in elsewhere:
                                break
                        except RuntimeError:
                            pass  # no thread can be started
                    raise
        except (AttributeError, TypeError):
            self._explain(timeout)
            raise
        self._put_slowly((item,), block, timeout)

    def _push_counted(self, item: T, done: list[bool]) -> None:
        while not done:
            self._push_once(item, starmap(done.append, ((True,),)), counted=True)

    def _clear_up_put(self, debt: list[None], heap: list[T] | None) -> None:
        """After an interruption of put(). It is in *debt* if it has counted an item that it did not put."""
        if self._furnished:  # as it is from the beginning, if it was made
            surely(self._locked, self._clear_up_put_now, debt, heap)

    def _clear_up_put_now(self, debt: list[None], heap: list[T] | None) -> None:
        if debt and self._sifting is not NOTHING and self._stock is heap:
            self._undo()
        if debt:
            for _ in zip(steps_of(debt.pop), self._dones):  # noqa: B905 - in one piece
                if self._owed:
                    self._owed -= 1
                else:
                    # That it is under way could not be ended. It is not counted any more.
                    self._uncounted = self._sifting
                break
        self._resettle_now([])

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the smallest item, as `Queue.get` does. If comparing raises, no item is lost."""
        box: list[T]
        try:
            if timeout is None or timeout >= 0:
                if not (block or self._stock) and self._is_simply_empty():
                    raise self._no_item(None)
                held = heap = None
                item: Any = NOTHING
                try:
                    try:
                        for held in self._enters:
                            heap = self._stock
                            if heap and self._sifting is NOTHING:
                                for self._size in self._below:
                                    self._sifting = heap[0]
                                    for item in self._locked_takes:
                                        if self._stock is heap:
                                            self._sifting = NOTHING
                                            if self._putters:
                                                self._settle()
                                            return item  # type: ignore[no-any-return]
                                        item = NOTHING  # a nested call took over
                                        break
                                    else:
                                        self._sifting = NOTHING
                                    break
                            break
                    except BaseException:
                        if item is NOTHING and self._sifting is not NOTHING and self._stock is heap:
                            self._undo()
                        raise
                    finally:
                        try:
                            if held:
                                # Not by a call, behind which an exception could strike; and within the outer `try`, since on
                                # 3.10 it can all the same.
                                for _ in self._leaves:
                                    break
                        finally:
                            pass
                except BaseException:
                    box = [] if item is NOTHING else [item]
                    try:
                        self._resettle(box)
                    except BaseException:  # noqa: BLE001 - the first one is raised
                        self._behind = (box, *self._behind)  # until then nothing may overtake it
                        self._admits = self._takes = self._locked_admits = self._locked_takes = NO_MORE
                        OVERDUE[:0] = ((self._locked, (self._resettle_now, box)),)
                        try:
                            for _ in elsewhere:
                                break
                        except RuntimeError:
                            pass  # no thread can be started
                    raise
        except (AttributeError, TypeError):
            self._explain(timeout)
            raise
        box = []
        try:
            refusal = self._get_slowly(box, block, timeout)
            if refusal is None:
                return box[-1]
        except BaseException:  # on 3.10 it can strike behind that call
            try:
                self._resettle(box)
            except BaseException:  # noqa: BLE001 - the first one is raised
                self._behind = (box, *self._behind)  # until then nothing may overtake it
                self._admits = self._takes = self._locked_admits = self._locked_takes = NO_MORE
                OVERDUE[:0] = ((self._locked, (self._resettle_now, box)),)
                try:
                    for _ in elsewhere:
                        break
                except RuntimeError:
                    pass  # no thread can be started
            raise
        raise refusal

    # -- heap operations that others may find under way ------------------------------------------------------------

    def _push_once(
        self, item: T, commit: Iterator[object], waiter: Waiter | None = None, counted: bool = False
    ) -> None:
        """Push *item* and step *commit* in one piece; or do neither, if a nested call took over, or if *waiter* (who
        brings it) has gone or been served meanwhile. *counted* if the item is counted already,
        and not with *commit*."""
        if self._sifting is not NOTHING:
            self._order()
        started = False
        heap = self._stock
        try:
            for self._size in self._sizes:
                self._sifting = item
                self._uncounted = NOTHING if counted else item
                started = True
                if counted:
                    self._owed -= 1
                break
            heappush(heap, item)
            if self._stock is heap and (
                waiter is None or (not waiter.gone and waiter.box and waiter.box[0] is item)
            ):
                self._sifting = NOTHING
                for _ in commit:
                    break
        finally:
            try:
                if started and self._sifting is item and self._stock is heap:
                    self._undo()
            finally:
                self._uncounted = NOTHING

    def _stop(self) -> None:
        """End an operation that is under way as if it had not begun. The list is UNSORTED then."""
        while True:
            sifting = self._sifting
            if sifting is NOTHING or sifting is UNSORTED:
                return
            heap = self._stock
            items = [*heap]
            size = self._size
            if size < 0:
                if len(items) < -size:
                    items.append(sifting)
            elif len(items) > size:
                discard(items, sifting)
            owes = size >= 0 and sifting is not self._uncounted
            self._go_on_with(items, UNSORTED, heap, sifting, owes)

    def _order(self) -> None:
        """See to it that nothing is under way, and the list is a heap."""
        while self._sifting is not NOTHING:
            self._stop()
            heap = self._stock
            if self._sifting is UNSORTED:
                before = [*heap]
                items = [*before]
                heapify(items)
                # (A comparison may have changed the list.)
                if len(heap) == len(before) and all(map(is_, heap, before)):
                    if self._hooked:
                        heap[:] = items
                        self._sifting = NOTHING
                    else:
                        self._go_on_with(items, NOTHING, heap, UNSORTED)

    def _go_on_with(
        self, items: list[T], sifting: Any, before: list[T], sifting_before: Any, owes: bool = False
    ) -> None:
        """Have *items* as the list, unless a nested call has been quicker. *owes*: whether a counted item was under way."""
        way_in, way_out = self._ways(items, self._maxsize)
        sizes, below = self._measures(items)
        if self._sifting is sifting_before and self._stock is before:
            if self._locked_takes is not NO_MORE:
                self._locked_takes = way_out
            if self._locked_admits is not NO_MORE:
                self._locked_admits = way_in
            self._stock, self._entry, self._exit, self._sizes, self._below = (
                items, way_in, way_out, sizes, below,
            )  # fmt: skip
            self._sifting = sifting
            if owes:
                self._owed += 1
            self._tune()

    def _undo(self) -> None:
        """End an operation that an exception has cut short, as if it had not begun."""
        heap = self._stock
        if len(heap) > self._size >= 0 and heap[-1] is self._sifting:
            del heap[-1]  # not compared with anything yet, or found in its place
            if self._sifting is not self._uncounted:
                self._owed += 1
            self._sifting = NOTHING
            return
        try:
            self._stop()
        except BaseException:  # noqa: BLE001, S110 - the exception that is on its way out does for both
            pass  # it is still said to be under way: the next who comes stops it

    # -- what the engine asks for ----------------------------------------------------------------------------------

    def _ways(self, stock: Any, bound: int) -> tuple[Iterator[Any], Iterator[Any]]:
        # A step of the way in says how long the heap is, for `_size`.
        way_in = compress(map(len, repeat(stock)), self._way_in(stock, bound))
        return way_in, starmap(heappop, repeat((stock,)))

    def _measures(self, stock: list[T]) -> tuple[Iterator[int], Iterator[int]]:
        return map(len, repeat(stock)), map(neg, map(len, repeat(stock)))

    def _fit(self) -> None:
        if not self._hooked:
            self._sizes, self._below = self._measures(self._stock)
        super()._fit()

    def _level(self) -> int:
        if self._sifting is NOTHING or self._sifting is UNSORTED or self._hooked:
            return super()._level()
        return abs(self._size) + len(self._returned)

    def _is_torn(self) -> bool:
        return self._sifting is not NOTHING

    def _runs_foreign_code(self) -> bool:
        return True

    def _carry_in(self, waiter: Waiter) -> None:
        if self._hooked:
            super()._carry_in(waiter)
            return
        box = waiter.box
        bound = self._maxsize
        while box and not waiter.gone and not 0 < bound <= self._level():
            before = len(box)
            self._push_once(box[0], starmap(box.popleft, compress(ENDLESS, self._puts)), waiter)
            if self._doorbells and len(box) < before:
                self._announce("not_empty")

    def _hand_over_stock(self, waiter: Waiter) -> None:
        if self._hooked:
            super()._hand_over_stock(waiter)
            return
        box = waiter.box
        for waiter.ticket in TICKETS:
            break
        while not box and not waiter.gone and self._level():
            if self._sifting is not NOTHING:
                self._order()
            started = False
            heap = self._stock
            try:
                if heap:
                    for self._size in self._below:
                        self._sifting = heap[0]
                        started = True
                        for item in self._exit:
                            if self._stock is heap and not box and not waiter.gone:
                                self._sifting = NOTHING
                                box.append(item)
                            break
                        break
            finally:
                if started and self._sifting is not NOTHING and self._stock is heap:
                    self._undo()

    def _put_back(self, ticket: int, box: list[Any], later: Sequence[int] = ()) -> None:
        if not self._hooked:
            try:
                while box:
                    self._push_once(box[-1], starmap(box.pop, ONCE))
            except Exception:  # noqa: BLE001, S110 - it cannot be compared any more; the next getter may have it
                pass
        super()._put_back(ticket, box, later)

    def _drop_all(self) -> int:
        if self._hooked:
            return super()._drop_all()
        dropped: list[Any] = []
        while True:
            self._stop()
            state = self._sifting
            heap = self._stock
            stock: list[T] = []
            way_in, way_out = self._ways(stock, self._maxsize)
            sizes, below = self._measures(stock)
            # A step drops an item and counts it.
            dropping = zip(steps_of(heap.pop), self._dones)  # noqa: B905
            if (state is NOTHING or state is UNSORTED) and self._sifting is state and self._stock is heap:
                # One piece from here to the end of extend(), for whatever compares items works with another list then.
                if self._locked_takes is not NO_MORE:
                    self._locked_takes = way_out
                if self._locked_admits is not NO_MORE:
                    self._locked_admits = way_in
                self._stock, self._entry, self._exit, self._sizes, self._below = (
                    stock, way_in, way_out, sizes, below,
                )  # fmt: skip
                self._sifting = NOTHING
                try:
                    dropped.extend(dropping)
                except IndexError as problem:  # that was all
                    if not of_this_frame(problem):
                        raise
                return len(dropped) + super()._drop_all()

    def _lay_open(self) -> None:
        if self._sifting is not NOTHING and self._sifting is not UNSORTED:
            self._locked(self._stop)

    def _replace_stock(self, container: Any) -> None:
        self._sifting = NOTHING  # as in the standard module, it is for the caller that it is a heap
        self._stock = container

    def _hook_in(self) -> None:
        if not self._hooked:
            self._stop()
        elif not type(self)._hooked:
            self._sifting = UNSORTED  # who knows how the hooks have left it
        super()._hook_in()

    def _after_fork(self) -> None:
        if self._hooked:
            if self._in_hook:
                self._sifting = UNSORTED
        elif self._sifting is not NOTHING:
            self._undo()
        self._uncounted = NOTHING
        super()._after_fork()

    # -- what subclasses override; called with the mutex held ------------------------------------------------------

    def _init(self, maxsize: int) -> None:  # noqa: ARG002
        self._stock = []

    @hook
    def _put(self, item: T) -> None:
        if self._sifting is not NOTHING:
            self._order()
        heap = self._stock
        size = len(heap)
        try:
            heappush(heap, item)
        except BaseException:
            if len(heap) > size and not discard(heap, item):
                self._sifting = UNSORTED
            raise

    @hook
    def _get(self) -> T:
        if self._sifting is not NOTHING:
            self._order()
        heap = self._stock
        size = len(heap)
        item = heap[0]
        try:
            return heappop(heap)  # type: ignore[no-any-return]
        except BaseException:
            if len(heap) < size:
                heap.append(item)
                self._sifting = UNSORTED
            raise

    def _peek(self) -> T:
        if self._sifting is not NOTHING:
            self._order()
        return self._stock[0]  # type: ignore[no-any-return]


def discard(items: list[Any], item: Any) -> bool:
    """Delete *item*, which was added last. Whether it still was the last."""
    for place in range(len(items) - 1, -1, -1):
        if items[place] is item:
            del items[place]
            return place == len(items)
    return False
