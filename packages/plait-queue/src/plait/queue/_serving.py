# SPDX-License-Identifier: MIT
#
# Who is woken: items are handed between the stock and waiting calls until nobody waits in vain.
#
#   - `_settle_` may be cut short anywhere and be called again, by anybody: who was served but not rung, or rung but not
#     struck off, is found in the line. So whoever changes the queue ends with it, and whoever is kept from that by an
#     exception calls it on the way out (_engine.py).
#   - A putter puts its item into the stock, then `_settle_` hands items from the stock to waiting getters and rings them;
#     a getter that was rung has its item already and needs no lock. In the same way a getter makes room and `_settle_`
#     carries the items of waiting putters into the stock. Nobody is woken who would find nothing.
#   - Watchers (peek, select) stand among the getters and are rung when their turn comes and there is stock; they are
#     handed nothing, and the line moves on.
#   - A waiter that is being served is `busy`: no nested call serves it, but goes to the next. Its `gone` is looked at
#     as part of the piece that moves an item, for it may leave whenever another thread, or a nested call, comes in.
#   - Counting an item and storing it is one piece, and so are taking it and putting it into a box. The exceptions are
#     hooks (_hooks.py) and comparisons (_priority.py).

from __future__ import annotations

from itertools import compress, starmap

from ._errors import ShutDown
from ._hooks import Hooked
from ._platform import raised_here, struck_by_handler
from ._waiting import ENDLESS, ONCE, TICKETS, dismiss, first_present, steps_of
from ._ways import of_this_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._waiting import Waiter

__all__ = ["Serving"]


class Serving(Hooked):
    """How waiting calls are served. All this with the mutex held."""

    def _settle_(self) -> None:
        """Hand items between stock and waiting calls until nobody waits in vain."""
        moved = True
        while moved:
            moved = False
            if self._putters_:
                moved = self._admit_first_()
            if self._getters_:
                moved = self._serve_first_() or moved
        if self._joiners_ and self._unfinished_() <= 0:
            for joiner in tuple(self._joiners_):
                dismiss(self._joiners_, joiner)

    # -- putters -------------------------------------------------------------------------------------------------------

    def _admit_first_(self) -> bool:
        """Carry into the stock what the putter brings that waits longest, as far as there is room; true if something
        has moved."""
        line = self._putters_
        try:
            waiter = line[0]
        except IndexError:
            return False
        if waiter.busy or waiter.gone or not waiter.present:
            another = first_present(line)
            if another is None:
                return False
            waiter = another
        box = waiter.box
        if self._swift_in_ and len(box) == 1:
            # What _carry_in_ does for most, in fewer steps.
            if 0 < self._maxsize_ <= len(self._stock_):
                return False  # as the step would find, but by raising, which takes longer
            waiter.busy = True
            try:
                item = box[0]
                if waiter.box is box and not waiter.gone:
                    for _ in self._entry_:
                        waiter.box = ()
                        self._stock_.append(item)
                        break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise
            finally:
                waiter.busy = False
            if waiter.box:
                return False
        elif box and waiter.verdict is None:
            before = len(box)
            if self._shut_:
                waiter.verdict = self._refusal_()
            else:
                try:
                    self._carry_in_(waiter)
                except Exception as problem:
                    if not self._runs_foreign_code_() or struck_by_handler(problem):
                        raise
                    # A subclass's _put failed, or a comparison: that is for the caller whom it served, not for us. And
                    # for nobody if it was done again, by a nested call, and has succeeded.
                    if not waiter.served():
                        waiter.verdict = problem
                if waiter.box and waiter.verdict is None:
                    return len(waiter.box) < before
        # Rung first: if an exception strikes between the two, it is found in the line.
        waiter.ring()
        try:
            line.remove(waiter)
        except ValueError as problem:  # a nested call was quicker
            if not raised_here(problem):
                raise
        return True

    def _carry_in_(self, waiter: Waiter) -> None:
        """Count, and carry into the stock, what a putter brings, as far as there is room."""
        box = waiter.box
        bound = self._maxsize_
        if self._hooked_:
            drop = steps_of(box.popleft)
            while box and not 0 < bound <= self._level_():
                done: list[Any] = []
                if waiter.gone or waiter.busy:
                    return
                waiter.busy = True  # before the item is looked at: from now on no nested call serves it
                try:
                    for item in [*box][:1]:  # none, if one has while the level was asked for
                        self._store_through_hook_(item, done)
                finally:
                    if done:
                        for _ in drop:
                            break
                    waiter.busy = False
                self._announce_("not_empty")
                if not done:
                    return
        elif not 0 < bound <= self._level_():
            move = map(self._stock_.append, starmap(box.popleft, compress(ENDLESS, self._entry_)))
            try:
                while True:
                    # (Looked at here, for a jump back may come between the condition of a loop and its body.)
                    if box and not waiter.gone:
                        for _ in move:
                            break
                        else:
                            break
                    else:
                        break
                    if self._doorbells_:
                        self._announce_("not_empty")
                    if self._returned_ and 0 < bound <= self._level_():
                        break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise

    # -- getters -------------------------------------------------------------------------------------------------------

    def _serve_first_(self) -> bool:
        """Hand an item to the getter that waits longest; true if something has moved."""
        line = self._getters_
        try:
            waiter = line[0]
        except IndexError:
            return False
        if waiter.busy or waiter.gone or not waiter.present:
            another = first_present(line)
            if another is None:
                return False
            waiter = another
        box = waiter.box
        if not waiter.wants:
            if not self._shut_ and not self._level_():
                return False
        elif not box and waiter.verdict is None:
            if self._swift_ and not self._shut_ and not self._stock_:
                return False  # as _hand_over_ would find
            if self._swift_ and self._stock_:
                # What _hand_over_ does for most, in fewer steps.
                way = self._exit_
                move = map(box.append, way)
                waiter.busy = True
                try:
                    if not box and not waiter.gone and self._exit_ is way:
                        for waiter.ticket in TICKETS:
                            for _ in move:
                                break
                            break
                except IndexError as problem:
                    if not of_this_frame(problem):
                        raise
                    return False
                finally:
                    waiter.busy = False
                if not box:
                    return False
            else:
                waiter.busy = True
                try:
                    served = self._hand_over_(waiter)
                except Exception as problem:
                    if not self._runs_foreign_code_() or struck_by_handler(problem):
                        raise
                    if not waiter.served():
                        waiter.verdict = problem
                else:
                    if not served:
                        if not self._shut_:
                            return False
                        waiter.verdict = self._refusal_()
                finally:
                    waiter.busy = False
        # Rung first: if an exception strikes between the two, it is found in the line.
        waiter.ring()
        try:
            line.remove(waiter)
        except ValueError as problem:  # a nested call was quicker
            if not raised_here(problem):
                raise
        return True

    def _hand_over_(self, waiter: Waiter) -> bool:
        """Put the next item into the box of a getter. False if there is none."""
        box = waiter.box
        if self._returned_:
            try:
                for ticket, item in steps_of(self._returned_.popleft):
                    if not waiter.gone and not box:  # (one piece if it is so, on 3.10 too)
                        waiter.ticket = ticket
                        box.append(item)
                    else:
                        self._returned_.appendleft((ticket, item))
                    break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise
                return self._hand_over_(waiter)  # a nested get() was quicker
            self._tune_()
        elif not self._level_():
            return False
        else:
            self._hand_over_stock_(waiter)
            if self._returned_ and not box and not waiter.gone:
                # A nested get() was interrupted; what it gave back comes first.
                return self._hand_over_(waiter)
        if self._doorbells_ and box:
            self._announce_("not_full")
        return bool(box)

    def _hand_over_stock_(self, waiter: Waiter) -> None:
        box = waiter.box
        if not self._hooked_:
            way = self._exit_
            move = map(box.append, way)
            try:
                if not box and not waiter.gone and not self._returned_ and self._exit_ is way:
                    for waiter.ticket in TICKETS:
                        for _ in move:
                            break
                        break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise
            return
        for waiter.ticket in TICKETS:
            break
        self._unpark_()  # if an exception kept another from that
        taken: list[Any] = []
        handing_over = starmap(taken.pop, ONCE)
        try:
            while True:
                drawn = self._drawn_
                try:
                    if self._parked_ and (self._in_hook_ or not self._qsize()):
                        for _ in map(taken.append, steps_of(self._parked_.popleft)):
                            break
                    elif self._qsize():
                        self._take_through_hook_(taken, starmap(self._get, ONCE))
                except Exception as problem:
                    if taken or self._drawn_ is drawn or struck_by_handler(problem):
                        raise
                    continue  # a nested get() was quicker, perhaps at the last item
                break
            if taken and not box and not waiter.gone:
                box.extend(handing_over)
        finally:
            if taken:
                self._put_back_(waiter.ticket, taken)
                self._tune_()

    # -- what they and others are told ---------------------------------------------------------------------------------

    def _runs_foreign_code_(self) -> bool:
        """Whether storing and taking items runs code that may fail by itself."""
        return self._hooked_

    def _refusal_(self) -> ShutDown:
        return ShutDown(
            f"{self!r} was shut down: it takes no more items, and gives only what it still has; use another queue"
        )

    def _announce_(self, name: str) -> None:
        doorbell = self._doorbells_.get(name)
        if doorbell is not None:
            doorbell.ring()

    def _ring_all_(self, name: str) -> None:
        doorbell = self._doorbells_.get(name)
        if doorbell is not None:
            self._locked_(doorbell.ring_all)
