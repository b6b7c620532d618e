# SPDX-License-Identifier: MIT
"""What importing `plait.threading` costs, beside the standard module.

    python benchmarks/bench_import_threading.py      the ratio of the medians of nine rounds each, taken in turn

Each import happens in an interpreter of its own, started without `site` and with nothing on its path but the standard
library and the folders of the packages. It tells the processor time of that one statement, which is all the time it takes
once the files are in the system's memory, and on a busy machine leaves out that of other processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from importlib import import_module

AREA = "imports"
STANDARD = "threading"
PLAIT = "plait.threading"

CHILD = """
import sys
from time import process_time
sys.path += sys.argv[2:]
began = process_time()
__import__(sys.argv[1])
print(process_time() - began)
"""


def seconds_of_import(module):
    """In a fresh interpreter, whose own start is not part of it."""
    top = sys.modules[module.__name__.partition(".")[0]]
    folders = [os.path.dirname(place) for place in getattr(top, "__path__", [top.__file__])]
    command = [sys.executable, "-I", "-S", "-c", CHILD, module.__name__, *folders]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def fresh_import(impl, n):
    yield
    yield sum(seconds_of_import(impl) for _ in range(n))


#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {"name": "import threading", "run": fresh_import},
]


def main():
    pair = import_module(STANDARD), import_module(PLAIT)
    rounds = [[seconds_of_import(module) for module in pair] for _ in range(9)]
    theirs, mine = map(statistics.median, zip(*rounds, strict=True))
    print(f"{WORKLOADS[0]['name']:32} {theirs / mine:6.2f}")


if __name__ == "__main__":
    main()
