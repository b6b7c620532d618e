# SPDX-License-Identifier: MIT
"""Executors that run calls in threads of this process.

>>> from plait.futures.thread import ThreadPoolExecutor
>>> with ThreadPoolExecutor(max_workers=2) as pool:
...     pool.submit(pow, 2, 10).result()
1024
"""

from __future__ import annotations

from ._threadpool import BrokenThreadPool, ThreadPoolExecutor

__all__ = ["BrokenThreadPool", "ThreadPoolExecutor"]
