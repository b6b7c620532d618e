# SPDX-License-Identifier: MIT
"""Processes, and what passes between them.

A drop-in for the standard `multiprocessing` module: processes, pipes, queues, locks and shared values. Nothing waits
for the dead: whoever waits for another process also sees it end.

    >>> from plait.multiprocessing import Pipe
    >>> here, there = Pipe()
    >>> here.send("hello")
    >>> there.recv()
    'hello'

"""

from . import context
from ._errors import AuthenticationError, BufferTooShort, ProcessError, TimeoutError
from ._version import __version__ as __version__
from .context import Process

_default = context._default_context

Lock = _default.Lock
Pipe = _default.Pipe
Queue = _default.Queue
RLock = _default.RLock
RawValue = _default.RawValue
Value = _default.Value
active_children = _default.active_children
cpu_count = _default.cpu_count
current_process = _default.current_process
freeze_support = _default.freeze_support
get_all_start_methods = _default.get_all_start_methods
get_context = _default.get_context
get_start_method = _default.get_start_method
parent_process = _default.parent_process
set_executable = _default.set_executable
set_start_method = _default.set_start_method

__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "Lock",
    "Pipe",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawValue",
    "TimeoutError",
    "Value",
    "active_children",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_start_method",
    "parent_process",
    "set_executable",
    "set_start_method",
]
