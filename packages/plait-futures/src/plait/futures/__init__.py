# SPDX-License-Identifier: MIT
"""Calls that run elsewhere, in threads or processes, and futures that stand for their outcome.

>>> from plait.futures import ThreadPoolExecutor, as_completed
>>> with ThreadPoolExecutor(max_workers=4) as pool:
...     futures = [pool.submit(pow, n, 2) for n in range(4)]
...     sorted(future.result() for future in as_completed(futures))
[0, 1, 4, 9]
"""

from __future__ import annotations

from ._errors import BrokenExecutor, CancelledError, InvalidStateError, TimeoutError
from ._executor import Executor
from ._future import Future
from ._threadpool import ThreadPoolExecutor
from ._version import __version__ as __version__
from ._waiting import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, as_completed, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._processpool import ProcessPoolExecutor

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "TimeoutError",
    "as_completed",
    "wait",
]


def __getattr__(name: str) -> object:
    # Loaded at its first use: most programs that use futures start no process.
    if name == "ProcessPoolExecutor":
        from ._processpool import ProcessPoolExecutor

        globals()[name] = ProcessPoolExecutor
        return ProcessPoolExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "ProcessPoolExecutor"})
