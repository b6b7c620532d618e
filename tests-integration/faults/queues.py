# SPDX-License-Identifier: MIT
"""Queues between threads (rows Q)."""

from __future__ import annotations

import signal
from typing import Any

from .scenario import Impl, Wrong, scenario


@scenario("Q1", "a signal handler puts while its thread is inside put()", deadline=6, reproduced=True)
def put_in_a_handler(impl: Impl) -> None:
    """The handler strikes where it hurts, by way of the documented hook that put() calls."""

    class Interrupted(impl.queue.Queue):  # type: ignore[misc, name-defined]
        def _put(self, item: object) -> None:
            if item == "first":
                signal.raise_signal(signal.SIGUSR1)
            super()._put(item)

    queue: Any = Interrupted()
    signal.signal(signal.SIGUSR1, lambda *_: queue.put("from the handler"))
    queue.put("first")
    arrived = [queue.get(timeout=1) for _ in range(queue.qsize())]
    if sorted(arrived) != ["first", "from the handler"]:
        raise Wrong(f"only {arrived} arrived")
