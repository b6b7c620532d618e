# SPDX-License-Identifier: MIT
# ruff: noqa: B007 - a `for` that ends at once is how steps are taken here
#
# Calls that have to wait, and block their thread meanwhile; and calls that do not want to wait, but would have to.
#
#   - Before a call waits, where nobody else does, it lets others run and looks again (`_item_comes_`, `_room_comes_`):
#     that saves most switches of threads. Why, and what it may cost, is said at the top of plait-thread's _parking.py.
#     If anybody stands in line it gives them none, for its place is behind those.
#   - Then it makes a waiter, stands in line, and looks at the queue once more; sleeps until it is rung, which whoever
#     serves it does; and leaves the line, unless it was served, for who is served has been struck off (_serving.py).
#   - An exception that strikes anywhere on the way has it abandon its place, which gives back what it was handed. The
#     form of the `finally` that does so is explained in _surely.py.
#   - A call that does not want to wait mostly has nothing to do but to say why it fails (`_is_simply_full_`,
#     `_is_simply_empty_`). Where there is more to it, as waiting calls to be served, hooks, or a duty that an
#     interrupted call left behind, it is a waiter that never stands in line, and is served at once or not at all.

from __future__ import annotations

from collections import deque
from itertools import compress, repeat, starmap

from .._thread import give_way
from ._engine import Engine
from ._errors import Full
from ._platform import Empty, struck_by_handler
from ._surely import OVERDUE, catch_up, elsewhere
from ._waiting import NO_MORE, NOTHING, ONCE, ThreadWaiter, Waiter, may_wait
from ._ways import of_this_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Blocking", "tell_remaining"]


class Blocking(Engine):
    """The long ways of putting and taking."""

    _empty_message_: str | None = None  # of the Empty that polling raises, once there was one

    # -- putting -------------------------------------------------------------------------------------------------------

    def _put_slowly_(self, items: Iterable[Any], block: bool, timeout: float | None) -> None:
        if OVERDUE:
            catch_up(self)
        if not block and self._is_simply_full_():
            problem = self._no_room_(None)
            try:
                tell_remaining(problem, items)
                raise problem
            finally:
                del problem  # this frame is in its traceback
        box = deque(items)
        if block and self._room_comes_(timeout):
            self._bring_(box)
            if not box:
                return
        waiter: Any = ThreadWaiter(box, True) if block and timeout != 0 else Waiter(box)
        settled = False
        try:
            negative = block and timeout is not None and not timeout >= 0
            if negative and not self._shut_ and self._maxsize_ > 0:
                raise ValueError(f"'timeout' must be a non-negative number, not {timeout!r}")
            if not waiter.nests:
                try:
                    self._locked_(self._offer_now_, waiter)
                except Exception as failure:
                    # Comparing failed, or a hook. (If it was a handler, it does no harm.)
                    tell_remaining(failure, waiter.box)
                    raise
            else:
                if not self._furnished_:
                    self._furnish_()
                line = waiter.line = self._putters_
                if self._free_ and not line:
                    # What _offer_ does, in fewer steps: nobody can come in between the look at the line and this.
                    line.append(waiter)
                    if self._getters_ or not self._swift_in_ or not 0 < self._maxsize_ <= len(self._stock_):
                        self._locked_(self._settle_)
                else:
                    self._offer_(waiter)
                if not waiter.rung:
                    waiter.stay(self, timeout)
            settled = True
        finally:
            try:
                if not settled:
                    self._abandon_(waiter)
            except BaseException:
                if not settled:
                    waiter.gone = True  # until then it is handed nothing
                    OVERDUE[:0] = ((self._locked_, (self._abandon_now_, waiter)),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
                raise
        if waiter.box:
            problem = waiter.verdict or self._no_room_(timeout if block else None)
            waiter.verdict = None
            try:
                tell_remaining(problem, waiter.box)
                raise problem
            finally:
                del problem  # likewise

    def _offer_now_(self, waiter: Waiter) -> None:
        self._settle_()
        if self._shut_:
            waiter.verdict = self._refusal_()
        else:
            # If there is room with putters in line, then because we interrupted the one who was about to serve them.
            before = -1
            while waiter.box and len(waiter.box) != before:
                before = len(waiter.box)
                self._carry_in_(waiter)
                self._settle_()  # whoever is given an item makes room for another

    def _bring_(self, box: deque[Any]) -> None:
        """Put what is in *box*, from the left, as far as there is room and the way in is open."""
        try:
            try:
                way = self._admits_
                bring = starmap(box.popleft, compress(repeat((), len(box)), way))
                if way is not NO_MORE and self._admits_ is way:  # it may have been closed since
                    self._stock_.extend(bring)
                    if self._alarm_:
                        self._look_after_()
            except IndexError as problem:  # it is full
                if not of_this_frame(problem):
                    raise
        except BaseException:
            try:
                self._resettle_([])
            except BaseException:  # noqa: BLE001 - the first one is raised
                OVERDUE[:0] = ((self._locked_, (self._resettle_now_, [])),)
                try:
                    for _ in elsewhere:
                        break
                except RuntimeError:
                    pass  # no thread can be started
            raise

    # -- taking --------------------------------------------------------------------------------------------------------

    def _get_slowly_(
        self, box: list[Any], block: bool, timeout: float | None, most: int | None = 1
    ) -> Exception | None:
        """Fill *box* with one item, or what there is up to *most*; or return what there is to raise. If it raises by
        itself, the box is empty."""
        if OVERDUE:
            catch_up(self)
        if not block and self._is_simply_empty_():
            return self._no_item_(None)
        waiter: Any
        if not block or timeout == 0:
            waiter = Waiter()
            waiter.box = box
        elif timeout is None or timeout > 0:
            waiter = ThreadWaiter(box)
        elif self._shut_ and not self._locked_(self._level_):
            return self._refusal_()
        else:
            return ValueError(f"'timeout' must be a non-negative number, not {timeout!r}")
        settled = False
        try:
            if not waiter.nests:
                self._locked_(self._take_now_, waiter)
            else:
                if not self._furnished_:
                    self._furnish_()
                line = waiter.line = self._getters_
                if self._free_ and not line:
                    # What _ask_ does, in fewer steps: nobody can come in between the look at the line and this.
                    line.append(waiter)
                    if self._stock_ or self._putters_ or self._shut_ or self._returned_ or self._joiners_:
                        self._locked_(self._settle_)
                else:
                    self._ask_(waiter)
                if not waiter.rung:
                    waiter.stay(self, timeout)
            if box:
                if most != 1:
                    self._locked_(self._take_more_, waiter, most)
                settled = True
                return None
            settled = True
        finally:
            try:
                if not settled:
                    self._abandon_(waiter)
            except BaseException:
                if not settled:
                    waiter.gone = True  # until then it is handed nothing
                    self._behind_ = (box, *self._behind_)  # and nothing may overtake what it was handed
                    self._admits_ = self._takes_ = self._locked_admits_ = self._locked_takes_ = NO_MORE
                    OVERDUE[:0] = ((self._locked_, (self._abandon_now_, waiter)),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
                raise
        if waiter.verdict is not None:
            return waiter.verdict  # type: ignore[no-any-return]
        return self._no_item_(timeout if block else None)

    def _take_now_(self, waiter: Waiter) -> None:
        self._settle_()
        if self._hand_over_(waiter):
            self._settle_()
        elif self._shut_:
            waiter.verdict = self._refusal_()

    def _take_more_(self, waiter: Waiter, most: int | None) -> None:
        """Add what there is to what a getter of many has got."""
        box = waiter.box
        waiter.later = []
        # (A method for each step: PyPy 8.0's compiler aborts the interpreter at a loop that has it all.)
        while (most is None or len(box) < most) and self._take_another_(waiter):
            pass
        self._settle_()

    def _take_another_(self, waiter: Waiter) -> bool:
        box = waiter.box
        another = Waiter()
        try:
            if not self._hand_over_(another):
                return False
            waiter.later[len(box) - 1 :] = (another.ticket,)
            box.extend(starmap(another.box.pop, ONCE))
            return True
        finally:
            if another.box:
                self._put_back_(another.ticket, another.box)
                self._tune_()

    # -- looking -------------------------------------------------------------------------------------------------------

    def _peek_now_(self) -> Any:
        self._settle_()
        for _, item in self._returned_:
            return item
        if self._level_():
            if self._in_hook_ and self._parked_:
                return self._parked_[0]
            drawn = self._drawn_
            try:
                return self._peek()
            except Exception as problem:
                if self._hooked_:
                    if self._drawn_ is drawn or struck_by_handler(problem):
                        raise
                    return self._peek_now_()  # a nested get() was quicker
                if not isinstance(problem, IndexError) or not of_this_frame(problem, below=1):
                    raise  # else a get() without the mutex was quicker
        elif self._shut_:
            raise self._refusal_()
        return NOTHING

    def _would_not_wait_(self) -> bool:
        return self._change_(self._would_not_wait_now_)  # type: ignore[no-any-return]

    def _would_not_wait_now_(self) -> bool:
        self._settle_()
        return self._shut_ or self._level_() > 0

    # -- whether it has to wait ----------------------------------------------------------------------------------------

    def _item_comes_(self, timeout: float | None) -> bool:
        if not self._furnished_:
            self._furnish_()
        if not (self._getters_ or self._returned_ or self._hooked_ or self._shut_) and (
            timeout is None or timeout > 0
        ):
            give_way(self._has_no_item_)
            return bool(self._stock_)
        return False

    def _has_no_item_(self) -> bool:
        return not self._stock_

    def _room_comes_(self, timeout: float | None) -> bool:
        if not self._furnished_:
            self._furnish_()
        if not (self._putters_ or self._hooked_ or self._shut_) and (timeout is None or timeout > 0):
            if self._has_no_room_():
                give_way(self._has_no_room_)
            return not self._has_no_room_()
        return False

    def _has_no_room_(self) -> bool:
        return 0 < self._maxsize_ <= len(self._stock_)

    def _is_simply_full_(self) -> bool:
        if self._free_:
            return 0 < self._maxsize_ <= len(self._stock_) and not (self._alarm_ or OVERDUE)
        held = None
        try:
            for held in self._enters_:
                break
            return (
                self._maxsize_ > 0
                and not (self._getters_ or self._shut_ or self._hooked_ or OVERDUE)
                and self._maxsize_ <= len(self._stock_)
                and not self._is_torn_()
            )
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

    def _is_simply_empty_(self) -> bool:
        if self._free_:
            return not (self._stock_ or self._returned_ or self._putters_ or self._shut_ or OVERDUE)
        held = None
        try:
            for held in self._enters_:
                break
            return not (
                self._stock_
                or self._returned_
                or self._putters_
                or self._shut_
                or self._hooked_
                or OVERDUE
                or self._is_torn_()
            )
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

    def _is_torn_(self) -> bool:
        """Whether this may have interrupted something of the same thread that is half-way in the stock."""
        return False

    # -- what is raised ------------------------------------------------------------------------------------------------

    def _no_item_(self, timeout: float | None) -> Empty:
        if timeout:
            return Empty(f"{self!r} had no item within {timeout} s: put one into it, or wait longer")
        message = self._empty_message_
        if message is None:
            message = f"{self!r} is empty: put an item into it, or wait for one with block=True"
            # It will say the same the next time, and who polls asks often.
            if type(self).__repr__ is object.__repr__:
                self._empty_message_ = message
        return Empty(message)

    def _no_room_(self, timeout: float | None) -> Full:
        message = None if timeout else self._full_message_
        if message is None:
            late = f"had no room within {timeout} s" if timeout else "is full"
            wait = "wait longer" if timeout else "wait for room with block=True"
            message = (
                f"{self!r} {late}: it may hold {self._maxsize_} items; "
                f"take some out, {wait}, or set a larger maxsize"
            )
            # Likewise, until there is another bound.
            if not timeout and type(self).__repr__ is object.__repr__:
                self._full_message_ = message
        return Full(message)

    def _explain_(self, timeout: Any) -> None:
        """What to raise instead of an AttributeError or TypeError if it comes from not having called `__init__`, or from
        this *timeout*."""
        self._must_be_made_()
        if timeout is not None:
            may_wait(timeout)


def tell_remaining(problem: Any, box: Iterable[Any]) -> None:
    """Note what has not been put in the exception that says so."""
    try:
        problem.remaining = [*box]
    except (AttributeError, TypeError):
        pass  # one of a foreign kind, that has no room for it
