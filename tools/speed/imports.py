# SPDX-License-Identifier: MIT
"""The one workload that every package has: what importing it costs, in interpreters that have imported nothing.

Each import happens in an interpreter of its own, started without `site` and with nothing on its path but the standard
library and the folders of the packages. It tells the processor time of that one statement, which is all the time it takes
once the files are in the system's memory, and on a busy machine leaves out that of other processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Protocol

CHILD = """
import sys
from time import process_time
sys.path += sys.argv[2:]
began = process_time()
__import__(sys.argv[1])
print(process_time() - began)
"""


class Runner(Protocol):
    """What a workload's `run` is."""

    def __call__(self, impl: Any, n: int) -> Iterator[float | None]: ...


def seconds_of_import(module: ModuleType) -> float:
    """In a fresh interpreter, whose own start is not part of it."""
    top = sys.modules[module.__name__.partition(".")[0]]
    folders = [os.path.dirname(place) for place in getattr(top, "__path__", [top.__file__])]
    command = [sys.executable, "-I", "-S", "-c", CHILD, module.__name__, *map(str, folders)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def runner(role: str) -> Runner:
    """A workload that imports an implementation's module of that role; of a single module the role is empty."""

    def fresh_import(impl: Any, n: int) -> Iterator[float | None]:
        module = getattr(impl, role) if role else impl
        yield None
        yield sum(seconds_of_import(module) for _ in range(n))

    return fresh_import
