# SPDX-License-Identifier: MIT
"""Threads, and what they wait for.

>>> from plait.threading import Thread
>>> worker = Thread(target=print, args=("hello from a thread",))
>>> worker.start(); worker.join()
hello from a thread
"""

from __future__ import annotations

from .._thread import TIMEOUT_MAX, RLock, get_ident, get_native_id
from .._thread import _local as local
from .._thread import error as ThreadError  # noqa: N812 - the standard module's name
from .._thread import lock as Lock  # noqa: N812 - the standard module's name
from ._condition import Condition
from ._event import Event
from ._excepthook import ExceptHookArgs, excepthook
from ._exit import register_atexit, run_exit_hooks, unregister_atexit
from ._threads import (
    Thread,
    active_count,
    current_thread,
    enumerate,
    main_thread,
)
from ._version import __version__

__excepthook__ = excepthook

__all__ = [
    "TIMEOUT_MAX",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "Thread",
    "ThreadError",
    "__version__",
    "active_count",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "local",
    "main_thread",
    "register_atexit",
    "run_exit_hooks",
    "unregister_atexit",
]
