# SPDX-License-Identifier: MIT
"""The standard modules that somebody else may have loaded: this package imports none of them."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["introduce_this_thread", "running_loop"]


def running_loop() -> Any:
    """The asyncio loop that runs in this thread; RuntimeError if there is none."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None:
        raise RuntimeError("no event loop of asyncio is running in this thread")
    return asyncio.get_running_loop()


def introduce_this_thread() -> None:
    """Have the standard `threading` know this thread, which it has not started and which is about to fork.

    Up to 3.12, its callback in the child makes an object for a thread that it does not know, and takes a lock for
    that. Another thread may have held it at the fork; then the child would hang.
    """
    threading: Any = sys.modules.get("threading")
    if hasattr(threading, "_shutdown_locks_lock") and hasattr(threading, "_DummyThread"):
        threading.current_thread()
