# SPDX-License-Identifier: MIT
#
# What becomes of a queue in the child of a fork.
#
#   - The child drops waiting calls of threads that it does not have, and frees the mutex unless the forking thread
#     itself holds it (fork in a handler); so it does with the lock under which the parts of a queue are made.
#   - Stock, counts and returned items are the parent's at that moment. Counting an item and storing it cannot be parted
#     by a fork; only the hook of a subclass, or a comparison, can. The item is then not counted; but if a hook has stored it
#     already, as far as can be told from outside (`_extent_` in _hooks.py), it is.
#   - No code of a subclass is called before `os.fork` has returned: it may wait for a lock of its own that is held by a
#     thread which does not exist here.
#   - The ways are made anew (`_after_fork_`): they may not have been what they should be, as only the mutex kept others
#     out.
#   - What an interrupted call had left to another thread is done here and now, for that thread does not exist.

from __future__ import annotations

from .._thread import get_ident, reset_lock
from ._platform import is_owned
from ._surely import catch_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._thread import RLock
    from ._engine import Engine

__all__ = ["drop_the_dead", "free_unless_ours"]


def free_unless_ours(lock: RLock) -> None:
    """In the child of a fork: free it, unless a handler has forked while its own thread held it and will release it."""
    if not is_owned(lock):
        reset_lock(lock)


def drop_the_dead(queue: Engine) -> None:
    """In the child of a fork: free the mutex, forget the calls of threads that do not exist here, and end what those
    were in the middle of."""
    if "_lock_" not in queue.__dict__:
        return  # the fork came while it was being made
    ours = is_owned(queue._lock_)
    if not ours:
        reset_lock(queue._lock_)
        queue._after_fork_()
    me = get_ident()
    for line in (queue._getters_, queue._putters_, queue._joiners_):
        living = []
        for waiter in tuple(line):
            if waiter.thread == me:
                living.append(waiter)
                if not ours:
                    waiter.busy = False  # by a thread that does not exist here
            else:
                # Said, too: this may be a handler that interrupted somebody who was about to serve it.
                waiter.gone = True
        line.clear()
        line.extend(living)
    catch_up(queue)
    if not ours:
        while queue._owed_ > 0:
            next(queue._dones_)  # counted, and will never be put
            queue._owed_ -= 1
        queue._after_fork_in_put_()
        queue._look_after_()
