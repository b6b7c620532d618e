# SPDX-License-Identifier: MIT
"""Queues that hand work from thread to thread.

    >>> from plait.queue import Queue
    >>> q = Queue(maxsize=2)
    >>> q.put("job")
    >>> q.get()
    'job'
    >>> q.task_done()
    >>> q.join()
    True

The names, signatures and documented behaviour are those of the newest Python's `queue`, `shutdown` included, on every
supported Python. Beyond it: an operation may be interrupted by a signal handler, a finaliser or a garbage collector
callback that uses the same queue; a getter that is interrupted after an item was meant for it puts the item back; a
child made by `os.fork()` can use the queue whatever the parent's threads were doing.
"""

from __future__ import annotations

from ._errors import Full, ShutDown
from ._fifo import Queue
from ._lifo import LifoQueue
from ._platform import Empty
from ._priority import PriorityQueue
from ._select import select
from ._version import __version__ as __version__

try:
    from ._platform import SimpleQueue
except ImportError:  # PyPy has none in C
    from ._simple import SimpleQueue  # type: ignore[assignment]

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
    "select",
]

# Classes say where they are to be had, and are pickled by that, not by the private module that they are written in.
for _name in __all__:
    _public = globals().get(_name)
    if (
        isinstance(_public, type)
        and _public.__module__.startswith(f"{__name__}.")
        and _public.__name__ == _name
    ):
        _public.__module__ = __name__
