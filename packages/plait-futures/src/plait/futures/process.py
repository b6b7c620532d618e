# SPDX-License-Identifier: MIT
"""Executors that run calls in worker processes."""

from __future__ import annotations

from ._crew import BrokenProcessPool
from ._processpool import ProcessPoolExecutor
from ._wire import RemoteTraceback

__all__ = ["BrokenProcessPool", "ProcessPoolExecutor", "RemoteTraceback"]
