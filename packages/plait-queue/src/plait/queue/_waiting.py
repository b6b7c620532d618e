# SPDX-License-Identifier: MIT
# Small parts that cannot be torn: what a queue is built from when any bytecode may be followed by somebody else's
# code.
#
# Where an interruption can strike
#   CPython runs signal handlers, pending finalisers and (from 3.12) the garbage collector between two bytecodes: from
#   3.11 only after a call, at the head of a function and on a backward jump; on 3.10 and PyPy nearly anywhere. The
#   handler may use the very object it interrupts (nesting), or raise (KeyboardInterrupt), or both.
#
#   A single call of a C function is never torn by either. But a result that a call has just left on the evaluation
#   stack is lost when a handler raises at that moment: `item = d.popleft()` can lose an item. `for item in pops:
#   break`, where `pops` is a C iterator whose step is that popleft, cannot, because no interpreter check lies
#   between taking the step and storing the name (3.11 and newer; one bytecode wide on 3.10 and PyPy). So steps that
#   must not be torn are composed of C iterators here, and are taken by a `for` that ends at once.
#
# This has nothing to do with other threads: those are kept out by the queue's mutex, or, in its free mode (_fifo.py),
# by the interpreter's global lock.

from __future__ import annotations

from itertools import repeat, starmap
from time import monotonic

from .._thread import TIMEOUT_MAX, RLock, allocate_lock, get_ident
from ._platform import is_owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Waiter", "move", "steps_of"]


def steps_of(call: Callable[[], Any]) -> Iterator[Any]:
    """An endless iterator, wholly in C, each step of which is one `call()`; an exception passes through and ends
    nothing."""
    return starmap(call, repeat(()))


def move(take: Callable[[], Any], give: Callable[[Any], Any]) -> Iterator[Any]:
    """An iterator, each step of which is `give(take())` in one piece."""
    return map(give, starmap(take, repeat(())))


class Waiter:
    """One blocked call: a bell to ring, and a box through which an item passes.

    A getter comes with an empty box and is served by filling it; a putter comes with its item in the box and is
    served by emptying it. A *verdict* is an exception for the caller to raise instead, for instance since the queue
    was shut down. *ticket* says which of several items was carried to a waiting getter first.
    """

    # Most of it is the same for most: kept in the class, which makes a waiter cheaper to build than __slots__ would.
    gone = False  # its caller does not wait any more
    verdict: BaseException | None = None
    ticket = 0.0

    def __init__(self, *item: Any) -> None:
        self.box: list[Any] = [*item]
        self.gives = len(item)
        self.thread = get_ident()
        self.bell = bell = allocate_lock()
        bell.acquire()

    def served(self) -> bool:
        """Whether the item has passed."""
        return len(self.box) != self.gives

    def ring(self) -> None:
        """Wake the caller; ringing twice is harmless."""
        try:
            self.bell.release()
        except RuntimeError:
            pass  # it rang before

    def sleep(self, mutex: RLock, timeout: float | None) -> None:
        """Wait for the bell, or until *timeout* seconds have passed.

        Whoever calls this from within *mutex* (a signal handler that interrupted an operation of the same queue, or
        a user's `with q.mutex: q.get()`) lets go of it meanwhile, as in `Condition.wait`: else nobody could ever
        ring.
        """
        levels = 0
        try:
            while is_owned(mutex):
                mutex.release()
                levels += 1
            if timeout is None:
                self.bell.acquire()
            elif timeout <= TIMEOUT_MAX:
                self.bell.acquire(True, timeout)
            else:
                self._sleep_long(timeout)
        finally:
            while levels:
                mutex.acquire()
                levels -= 1

    def _sleep_long(self, timeout: float) -> None:
        # Centuries, or infinity: in pieces that the platform can count.
        deadline = monotonic() + timeout
        while timeout > 0 and not self.bell.acquire(True, min(timeout, TIMEOUT_MAX)):
            timeout = deadline - monotonic()
