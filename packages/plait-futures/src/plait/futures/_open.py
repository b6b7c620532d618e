# SPDX-License-Identifier: MIT
"""Pools, and who closes them if nobody else does: their executor's end, or the interpreter's.

A pool here is what the workers share and the executor holds: it has `close(refusal)`. It does not refer to the
executor, so that the end of the last reference to the executor is noticed.

At the exit of the interpreter pools without workers are closed, too: what they would start then, nobody would join.
"""

from __future__ import annotations

from weakref import WeakValueDictionary, ref

from ..threading import register_atexit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# By id. Entered and taken out by single operations of a dict.
_open: dict[int, Any] = {}
# All there are, by id, weakly: a pool without workers goes with its executor.
_made: WeakValueDictionary[int, Any] = WeakValueDictionary()
# Holds one entry while the exit callback is registered.
_armed: list[None] = []


def opened(pool: Any) -> None:
    """At the exit of the interpreter, before it joins threads, close the pool."""
    _open[id(pool)] = pool
    _arm()


def _arm() -> None:
    if not _armed:
        _armed.append(None)
        register_atexit(_close_all)


def closed(pool: Any) -> None:
    """Its workers know that they have to go, or never came."""
    _open.pop(id(pool), None)


def _close_all() -> None:
    # A thread that still runs may open new ones; these are closed in turn.
    _armed.clear()
    unopened = [pool for key, pool in [*_made.items()] if key not in _open and pool.refusal is None]
    for pool in [*_open.values(), *unopened]:
        pool.close("cannot schedule new futures: the interpreter is shutting down")


def watch(executor: Any, pool: Any) -> Any:
    """What the pool has to keep, to be closed when the executor is gone."""
    # Weakly: with nothing started, executor and pool go together, without the garbage collector.
    shared = ref(pool)
    _made[id(pool)] = pool
    _arm()

    def dropped(_: object) -> None:
        pool = shared()
        if pool is not None:
            pool.close("cannot schedule new futures: the executor is gone")

    return ref(executor, dropped)
