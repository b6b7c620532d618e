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
#   - `_sifting_` says what is under way: NOTHING, or the item that is being pushed or popped. It is set before the heap
#     operation starts and reset in the same piece (_waiting.py) that makes its result known. In between, the heap list
#     belongs to the operation, and nobody else changes it. It may also be UNSORTED: nothing is under way, but the list is
#     no heap.
#   - Nothing is missing meanwhile: the items of the queue are those in the list, less the one being pushed, plus the
#     one being popped. `_size_`, noted at the start, is the length of the list then, and negative for popping: so it tells
#     whether the list has the item by now. (_heap.py sees to it that a comparison never finds an item out of the list.)
#   - Who finds an operation under way was called from inside of it, or comes after an exception that cut it short. It
#     stops it: it makes a new list of the items as they were before that operation, UNSORTED, and works with it. Interrupted
#     operations find out from `_stock_` being another list, and start again. So nested calls happen wholly before what they
#     interrupt. That costs a copy, but only then.
#   - Stopping compares nothing, so it succeeds. Who needs the order, to push, pop or peek, then has to make a heap of the
#     list first, which can fail as any comparison can: then so does that call, the list is as it was, and the next who needs
#     the order tries anew. Who only counts or drops items, or looks into the list, needs none.
#   - `_uncounted_` is the item being pushed if it is counted together with its being in the list. Any other is counted
#     before. While such a one is not in the list because its push was stopped, which is until its put() begins anew or
#     takes back the count, `_owed_` says so, and changes in one piece with `_sifting_`, or with the count. The child of a
#     fork takes back what is owed by those whom it does not have.
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

from ._fifo import Queue
from ._heap import heapify, heappop, heappush
from ._hooks import hook
from ._surely import OVERDUE, elsewhere, surely
from ._waiting import ENDLESS, IN_BOX, NO_MORE, NOTHING, ONCE, TICKETS, steps_of
from ._ways import of_this_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from ._waiting import Waiter

    T = TypeVar("T")

__all__ = ["PriorityQueue"]

UNSORTED: Any = object()  # for `_sifting_`: nothing is under way, but the list is no heap


class PriorityQueue(Queue["T"]):
    """A `Queue` that gives the smallest item first; `queue` is a list in the order of a heap.

    Items are compared with `<`, often as tuples `(priority, data)`; equal ones come in no particular order. An item that an
    interrupted getter gives back is in the queue like any other. If comparing raises, so does the call that needed it,
    and the queue is as it was before, but that `queue` is in no order until a call needs one. `clear` and `shutdown` compare
    nothing. A comparison may itself use the queue.
    """

    _native_ = True
    _can_be_free_ = False
    _simple_ = _swift_ = _swift_in_ = False
    _take_ = "pop"
    _uncounted_: Any = NOTHING
    _locked_takes_: Iterator[T]
    # The length of the heap as it is, for pushing and for popping.
    _sizes_: Iterator[int]
    _below_: Iterator[int]

    def __init__(self, maxsize: int = 0) -> None:
        if not self._furnished_:  # else it is called once more
            self._sifting_: Any = NOTHING
            self._size_ = 0
            self._sizes_ = self._below_ = NO_MORE
        super().__init__(maxsize)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put *item* into the queue, as `Queue.put` does.

        If comparing it with others raises, so does this, and the item is not in the queue; if it had to wait, that is
        so too, for it was compared by whoever made room.
        """
        try:
            if not block and self._is_simply_full_():
                block = NOTHING  # to be raised below: on its way through the `except` it would be slower
            elif timeout is None or not block or timeout >= 0:
                held = heap = None
                counted = False
                pushed: Any = False
                try:
                    try:
                        for held in self._enters_:
                            heap = self._stock_
                            if self._sifting_ is NOTHING:
                                for self._size_ in self._locked_admits_:
                                    self._sifting_ = item
                                    counted = True
                                    heappush(heap, item)
                                    if self._stock_ is heap:
                                        self._sifting_ = NOTHING
                                        pushed = True
                                    else:  # a nested call took over
                                        pushed = []
                                        self._push_counted_(item, pushed)
                                    if self._getters_:
                                        self._settle_()
                                    return
                            break
                    except IndexError as problem:
                        if counted or not of_this_frame(problem):
                            raise
                        # It is full.
                    finally:
                        try:
                            if held:
                                self._lock_.release()
                        finally:
                            pass
                except BaseException:
                    debt = [None] if counted and not pushed else []
                    try:
                        self._clear_up_put_(debt, heap)
                    except BaseException:  # noqa: BLE001 - the first one is raised
                        OVERDUE[:0] = ((self._locked_, (self._clear_up_put_now_, debt, heap)),)
                        try:
                            for _ in elsewhere:
                                break
                        except RuntimeError:
                            pass  # no thread can be started
                    raise
        except (AttributeError, TypeError):
            self._explain_(timeout)
            raise
        if block is NOTHING:
            raise self._no_room_(None)
        self._put_slowly_((item,), block, timeout)

    def _push_counted_(self, item: T, done: list[bool]) -> None:
        while not done:
            self._push_once_(item, starmap(done.append, ((True,),)), counted=True)

    def _clear_up_put_(self, debt: list[None], heap: list[T] | None) -> None:
        """After an interruption of put(). It is in *debt* if it has counted an item that it did not put."""
        if self._furnished_:  # as it is from the beginning, if it was made
            surely(self._locked_, self._clear_up_put_now_, debt, heap)

    def _clear_up_put_now_(self, debt: list[None], heap: list[T] | None) -> None:
        if debt and self._sifting_ is not NOTHING and self._stock_ is heap:
            self._undo_()
        if debt:
            for _ in zip(steps_of(debt.pop), self._dones_):  # noqa: B905 - in one piece
                if self._owed_:
                    self._owed_ -= 1
                else:
                    # That it is under way could not be ended. It is not counted any more.
                    self._uncounted_ = self._sifting_
                break
        self._resettle_now_([])

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the smallest item, as `Queue.get` does. If comparing raises, no item is lost."""
        box: list[T]
        item: Any = NOTHING
        heap: Any = None
        try:
            if not (block or self._stock_) and self._is_simply_empty_():
                block = NOTHING  # likewise
            elif timeout is None or not block or timeout >= 0:
                if block and not self._stock_:
                    self._item_comes_(timeout)
                held = None
                try:
                    for held in self._enters_:
                        heap = self._stock_
                        if heap and self._sifting_ is NOTHING:
                            for self._size_ in self._below_:
                                self._sifting_ = heap[0]
                                way = self._locked_takes_
                                for item in way:
                                    if self._stock_ is heap:
                                        self._sifting_ = NOTHING
                                        if self._putters_:
                                            self._settle_()
                                        return item  # type: ignore[no-any-return]
                                    item = NOTHING  # a nested call took over
                                    break
                                else:
                                    if way is not NO_MORE:
                                        raise _ended_by_comparison()
                                    self._sifting_ = NOTHING
                                break
                        break
                except BaseException:
                    if item is NOTHING and self._sifting_ is not NOTHING and self._stock_ is heap:
                        self._undo_()
                    raise
                finally:
                    try:
                        if held:
                            # Not by a call, behind which an exception could strike; and within the outer `try`, since on
                            # 3.10 it can all the same.
                            for _ in self._leaves_:
                                break
                    finally:
                        pass
            if block is NOTHING:
                refusal = None
            else:
                box = []
                item = IN_BOX
                refusal = self._get_slowly_(box, block, timeout)
                if refusal is None:
                    return box[-1]
        except BaseException as problem:
            if heap is None and item is NOTHING:  # nothing has happened yet
                if isinstance(problem, (AttributeError, TypeError)):
                    self._explain_(timeout)
            else:
                if item is not IN_BOX:
                    box = [] if item is NOTHING else [item]
                taken = box  # pyright: ignore[reportPossiblyUnboundVariable]
                try:
                    self._resettle_(taken)
                except BaseException:  # noqa: BLE001 - the first one is raised
                    self._behind_ = (taken, *self._behind_)  # until then nothing may overtake it
                    self._admits_ = self._takes_ = self._locked_admits_ = self._locked_takes_ = NO_MORE
                    OVERDUE[:0] = ((self._locked_, (self._resettle_now_, taken)),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
            raise
        if refusal is None:
            raise self._no_item_(None)
        try:
            raise refusal
        finally:
            del refusal  # this frame is in its traceback

    # -- heap operations that others may find under way ------------------------------------------------------------

    def _push_once_(
        self, item: T, commit: Iterator[object], waiter: Waiter | None = None, counted: bool = False
    ) -> None:
        """Push *item* and step *commit* in one piece; or do neither, if a nested call took over, or if *waiter* (who
        brings it) has gone or been served meanwhile. *counted* if the item is counted already,
        and not with *commit*."""
        uncounted = NOTHING if counted else item
        started = False
        heap = None
        try:
            while not started:
                if self._sifting_ is NOTHING:
                    heap = self._stock_
                    for self._size_ in self._sizes_:
                        self._sifting_ = item
                        self._uncounted_ = uncounted
                        started = True
                        self._owed_ -= counted
                        break
                else:
                    self._order_()
            heappush(heap, item)  # type: ignore[arg-type]
            # (One piece from the last look on. The waiter can only have gone in a nested call that others could come in
            # by, and that would have taken over.)
            if (
                waiter is None or (not waiter.gone and waiter.box and waiter.box[0] is item)
            ) and self._stock_ is heap:
                self._sifting_ = NOTHING
                for _ in commit:
                    break
        finally:
            try:
                if started and self._sifting_ is item and self._stock_ is heap:
                    self._undo_()
            finally:
                self._uncounted_ = NOTHING

    def _stop_(self) -> None:
        """End an operation that is under way as if it had not begun. The list is UNSORTED then."""
        while True:
            sifting = self._sifting_
            if sifting is NOTHING or sifting is UNSORTED:
                return
            heap = self._stock_
            items = [*heap]
            size = self._size_
            if size < 0:
                if len(items) < -size:
                    items.append(sifting)
            elif len(items) > size:
                discard(items, sifting)
            owes = size >= 0 and sifting is not self._uncounted_
            self._go_on_with_(items, UNSORTED, heap, sifting, owes)

    def _order_(self) -> None:
        """See to it that nothing is under way, and the list is a heap."""
        while self._sifting_ is not NOTHING:
            self._stop_()
            heap = self._stock_
            if self._sifting_ is UNSORTED:
                before = [*heap]
                items = [*before]
                heapify(items)
                # (A comparison may have changed the list.)
                if len(heap) == len(before) and all(map(is_, heap, before)):
                    if self._hooked_:
                        heap[:] = items
                        self._sifting_ = NOTHING
                    else:
                        self._go_on_with_(items, NOTHING, heap, UNSORTED)

    def _go_on_with_(
        self, items: list[T], sifting: Any, before: list[T], sifting_before: Any, owes: bool = False
    ) -> None:
        """Have *items* as the list, unless a nested call has been quicker. *owes*: whether a counted item was under way."""
        way_in, way_out = self._ways_(items, self._maxsize_)
        sizes, below = self._measures_(items)
        if self._sifting_ is sifting_before and self._stock_ is before:
            # One piece: neither calls nor, for 3.10, jumps. Closed ways remain closed.
            self._locked_takes_ = (way_out, NO_MORE)[self._locked_takes_ is NO_MORE]
            self._locked_admits_ = (way_in, NO_MORE)[self._locked_admits_ is NO_MORE]
            self._stock_, self._entry_, self._exit_, self._sizes_, self._below_ = (
                items, way_in, way_out, sizes, below,
            )  # fmt: skip
            self._sifting_ = sifting
            self._owed_ += owes
            self._tune_()

    def _undo_(self) -> None:
        """End an operation that an exception has cut short, as if it had not begun."""
        heap = self._stock_
        if len(heap) > self._size_ >= 0 and heap[-1] is self._sifting_:
            del heap[-1]  # not compared with anything yet, or found in its place
            if self._sifting_ is not self._uncounted_:
                self._owed_ += 1
            self._sifting_ = NOTHING
            return
        try:
            self._stop_()
        except BaseException:  # noqa: BLE001, S110 - the exception that is on its way out does for both
            pass  # it is still said to be under way: the next who comes stops it

    # -- what the engine asks for ----------------------------------------------------------------------------------

    def _ways_(self, stock: Any, bound: int) -> tuple[Iterator[Any], Iterator[Any]]:
        # A step of the way in says how long the heap is, for `_size_`.
        way_in = compress(map(len, repeat(stock)), self._way_in_(stock, bound))
        return way_in, starmap(heappop, repeat((stock,)))

    def _measures_(self, stock: list[T]) -> tuple[Iterator[int], Iterator[int]]:
        return map(len, repeat(stock)), map(neg, map(len, repeat(stock)))

    def _adopt_(self, container: Any, own_hooks: Mapping[str, Any] | None = None) -> None:
        # As for other kinds, and in the same piece, what measures the list, and what is under way in it.
        while True:
            before, bound, parked = self._own_hooks_, self._maxsize_, not self._parked_
            hooks = before if own_hooks is None else own_hooks
            hooked = type(self)._has_hooks_ or not parked or bool(hooks) or self._is_foreign_(container)
            ways = (self._entry_, self._exit_) if hooked else self._ways_(container, bound)
            measures = (self._sizes_, self._below_) if hooked else self._measures_(container)
            if self._own_hooks_ is before and self._maxsize_ is bound and (not self._parked_) is parked:
                if container is not self._stock_:
                    # As in the standard module, it is for the caller that it is a heap.
                    self._sifting_ = NOTHING
                elif own_hooks is not None and self._hooked_ and not type(self)._has_hooks_:
                    self._sifting_ = UNSORTED  # who knows how the hooks have left it
                self._stock_, self._hooked_, (self._entry_, self._exit_) = container, hooked, ways
                self._sizes_, self._below_ = measures
                if own_hooks is not None:
                    self._own_hooks_ = own_hooks
                self._locked_admits_ = self._locked_takes_ = NO_MORE
                return

    def _level_(self) -> int:
        if self._sifting_ is NOTHING or self._sifting_ is UNSORTED or self._hooked_:
            return super()._level_()
        return abs(self._size_) + len(self._returned_)

    def _is_torn_(self) -> bool:
        return self._sifting_ is not NOTHING

    def _runs_foreign_code_(self) -> bool:
        return True

    def _carry_in_(self, waiter: Waiter) -> None:
        if self._hooked_:
            super()._carry_in_(waiter)
            return
        box = waiter.box
        bound = self._maxsize_
        while box and not waiter.gone and not 0 < bound <= self._level_():
            before = len(box)
            commit = starmap(box.popleft, compress(ENDLESS, self._puts_))
            for item in [*box][:1]:  # none, if a nested call has served it since
                self._push_once_(item, commit, waiter)
            if self._doorbells_ and len(box) < before:
                self._announce_("not_empty")

    def _hand_over_stock_(self, waiter: Waiter) -> None:
        if self._hooked_:
            super()._hand_over_stock_(waiter)
            return
        box = waiter.box
        for waiter.ticket in TICKETS:
            break
        while not box and not waiter.gone and self._level_():
            if self._sifting_ is not NOTHING:
                self._order_()
            started = False
            heap = self._stock_
            try:
                if heap:
                    for self._size_ in self._below_:
                        self._sifting_ = heap[0]
                        started = True
                        way = self._exit_
                        for item in way:
                            if self._stock_ is heap and not box and not waiter.gone:
                                self._sifting_ = NOTHING
                                box.append(item)
                            break
                        else:
                            if way is not NO_MORE:
                                raise _ended_by_comparison()
                        break
            finally:
                if started and self._sifting_ is not NOTHING and self._stock_ is heap:
                    self._undo_()

    def _put_back_(self, ticket: int, box: list[Any], later: Sequence[int] = ()) -> None:
        if not self._hooked_:
            try:
                while box:
                    self._push_once_(box[-1], starmap(box.pop, ONCE))
            except Exception:  # noqa: BLE001, S110 - it cannot be compared any more; the next getter may have it
                pass
        super()._put_back_(ticket, box, later)

    def _drop_all_(self) -> int:
        if self._hooked_:
            return super()._drop_all_()
        dropped: list[Any] = []
        while True:
            self._stop_()
            state = self._sifting_
            heap = self._stock_
            stock: list[T] = []
            way_in, way_out = self._ways_(stock, self._maxsize_)
            sizes, below = self._measures_(stock)
            # A step drops an item and counts it.
            dropping = zip(steps_of(heap.pop), self._dones_)  # noqa: B905
            if (state is NOTHING or state is UNSORTED) and self._sifting_ is state and self._stock_ is heap:
                # One piece from here to the end of extend(), for whatever compares items works with another list then.
                self._locked_takes_ = (way_out, NO_MORE)[self._locked_takes_ is NO_MORE]
                self._locked_admits_ = (way_in, NO_MORE)[self._locked_admits_ is NO_MORE]
                self._stock_, self._entry_, self._exit_, self._sizes_, self._below_ = (
                    stock, way_in, way_out, sizes, below,
                )  # fmt: skip
                self._sifting_ = NOTHING
                try:
                    dropped.extend(dropping)
                except IndexError as problem:  # that was all
                    if not of_this_frame(problem):
                        raise
                return len(dropped) + super()._drop_all_()

    def _lay_open_(self) -> None:
        if self._sifting_ is not NOTHING and self._sifting_ is not UNSORTED:
            self._locked_(self._stop_)

    def _replace_stock_(self, container: Any) -> None:
        self._stop_()
        super()._replace_stock_(container)

    def _hook_in_(self, own_hooks: Mapping[str, Any]) -> None:
        if not self._hooked_:
            self._stop_()
        super()._hook_in_(own_hooks)

    def _after_fork_(self) -> None:
        if self._hooked_:
            if self._in_hook_:
                self._sifting_ = UNSORTED
        elif self._sifting_ is not NOTHING:
            self._undo_()
        self._uncounted_ = NOTHING
        super()._after_fork_()

    # -- what subclasses override; called with the mutex held ------------------------------------------------------

    def _init(self, maxsize: int) -> None:  # noqa: ARG002
        self._start_with_([])

    @hook
    def _put(self, item: T) -> None:
        if self._sifting_ is not NOTHING:
            self._order_()
        heap = self._stock_
        size = len(heap)
        try:
            heappush(heap, item)
        except BaseException:
            if len(heap) > size and not discard(heap, item):
                self._sifting_ = UNSORTED
            raise

    @hook
    def _get(self) -> T:
        if self._sifting_ is not NOTHING:
            self._order_()
        heap = self._stock_
        size = len(heap)
        item = heap[0]
        try:
            return heappop(heap)  # type: ignore[no-any-return]
        except BaseException:
            if len(heap) < size:
                heap.append(item)
                self._sifting_ = UNSORTED
            raise

    def _peek(self) -> T:
        if self._sifting_ is not NOTHING:
            self._order_()
        return self._stock_[0]  # type: ignore[no-any-return]


def _ended_by_comparison() -> StopIteration:
    # The comparison's own has ended a `for`, which keeps nothing of it.
    return StopIteration("raised where items were compared")


def discard(items: list[Any], item: Any) -> bool:
    """Delete *item*, which was added last. Whether it still was the last."""
    for place in range(len(items) - 1, -1, -1):
        if items[place] is item:
            del items[place]
            return place == len(items)
    return False
