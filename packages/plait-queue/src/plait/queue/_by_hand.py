# SPDX-License-Identifier: MIT
#
# What users of the standard module look at, and change by hand: the mutex, the container, and the three Conditions.
#
#   - The first look at any of them ends the free days of a queue (_ways.py): from then on, whatever happens to it
#     happens under the mutex, so who holds that may change the container.
#   - The Conditions exist from the moment somebody asks for one (_doorbell.py). Their notify() settles the queue too,
#     so `q.queue.clear(); q.not_full.notify_all()` wakes our putters, and a user waiting in `q.not_empty.wait()` is
#     notified by our put(). Whoever notifies first and changes the queue then, holding the mutex all the time, says the
#     same: so who is not served by the notify() is nudged, which is to say woken to settle the queue, for which it has
#     to wait for the mutex.
#   - Before `Queue.__init__`, which has the last word, a subclass may set what it likes.

from __future__ import annotations

from ._engine import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._thread import RLock
    from ._doorbell import Doorbell

__all__ = ["ByHand"]


class ByHand(Engine):
    """The parts of a queue that the standard module shows."""

    @property
    def mutex(self) -> RLock:
        """The lock under which everything happens from now on: before it was first looked at, some things happened
        without any."""
        if self._free_:
            self._close_()
        return self._lock_

    @mutex.setter
    def mutex(self, lock: object) -> None:
        if not self._is_made_():
            return
        raise AttributeError(
            f"cannot replace the mutex of {self!r} by {lock!r}: others may hold it, or sleep in a Condition over it; "
            "use `with q.mutex:` where the other lock was to be used"
        )

    @property
    def queue(self) -> Any:
        """The container of the waiting items, as in the standard module: a deque, or a list for other kinds of queue,
        unless `_init` made another. Hold `mutex` while touching it.

        Items that interrupted getters gave back are not in it; they are taken first.
        """
        try:
            self._lay_open_()
        except AttributeError:
            if not hasattr(self, "_stock_"):  # else a subclass has set it, and not called Queue.__init__ yet
                self._must_be_made_()
                raise
        return self._stock_

    @queue.setter
    def queue(self, container: Any) -> None:
        if not self._is_made_():
            self._stock_ = container  # which stays if `_init` makes no other
            return
        self._lay_open_()
        self._change_(self._replace_stock_, container)

    @property
    def not_empty(self) -> Doorbell:
        """A Condition over `mutex` that is notified once for each item put. Notify it after adding to `queue` by
        hand."""
        return self._doorbell_("not_empty")

    @not_empty.setter
    def not_empty(self, condition: object) -> None:
        self._refuse_("not_empty", condition)

    @property
    def not_full(self) -> Doorbell:
        """A Condition over `mutex` that is notified once for each item taken. Notify it after removing from `queue`
        by hand."""
        return self._doorbell_("not_full")

    @not_full.setter
    def not_full(self, condition: object) -> None:
        self._refuse_("not_full", condition)

    @property
    def all_tasks_done(self) -> Doorbell:
        """A Condition over `mutex` that is notified when `unfinished_tasks` becomes 0."""
        return self._doorbell_("all_tasks_done")

    @all_tasks_done.setter
    def all_tasks_done(self, condition: object) -> None:
        self._refuse_("all_tasks_done", condition)

    def _doorbell_(self, name: str) -> Doorbell:
        doorbell = self._doorbells_.get(name)
        if doorbell is None:
            from ._doorbell import Doorbell  # only for those who ask: a Condition costs an import

            self._close_()
            doorbells: Any = self._doorbells_
            doorbell = doorbells.setdefault(name, Doorbell(self, name))
            self._locked_(self._tune_)
        return doorbell

    def _refuse_(self, name: str, condition: object) -> None:
        if self._is_made_():
            raise AttributeError(
                f"cannot replace {name} of {self!r} by {condition!r}: others may wait in it; wait in and notify the one "
                "that is there"
            )
