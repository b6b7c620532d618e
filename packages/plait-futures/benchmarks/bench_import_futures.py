# SPDX-License-Identifier: MIT
"""What importing `plait.futures` and `plait.futures.process` costs, beside the standard module.

    python benchmarks/bench_import_futures.py      the ratio of the medians of nine rounds each, taken in turn

Each import happens in an interpreter of its own, started without `site` and with nothing on its path but the standard
library and the folders of the packages. It tells the processor time of that one statement, which is all the time it takes
once the files are in the system's memory, and on a busy machine leaves out that of other processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from functools import partial
from importlib import import_module
from types import SimpleNamespace

AREA = "imports"
STANDARD = {"futures": "concurrent.futures", "process": "concurrent.futures.process"}
PLAIT = {"futures": "plait.futures", "process": "plait.futures.process"}

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


def fresh_import(impl, n, role):
    module = getattr(impl, role)
    yield
    yield sum(seconds_of_import(module) for _ in range(n))


def loky():
    return SimpleNamespace(futures=import_module("loky"))


def pebble():
    return SimpleNamespace(futures=import_module("pebble"))


def deadpool():
    return SimpleNamespace(futures=import_module("deadpool"))


def joblib():
    return SimpleNamespace(futures=import_module("joblib"))


def mpire():
    return SimpleNamespace(futures=import_module("mpire"))


PEERS = {"loky": loky, "pebble": pebble, "deadpool": deadpool, "joblib": joblib, "mpire": mpire}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {
        "name": "import concurrent.futures",
        "run": partial(fresh_import, role="futures"),
        "needs": "futures",
        "floor": 2,
        "goal": 3,
    },
    {
        "name": "import concurrent.futures.process",
        "run": partial(fresh_import, role="process"),
        "needs": "process",
        "floor": 2,
        "goal": 3,
    },
]


def main():
    for workload, role in zip(WORKLOADS, STANDARD, strict=True):
        pair = import_module(STANDARD[role]), import_module(PLAIT[role])
        rounds = [[seconds_of_import(module) for module in pair] for _ in range(9)]
        theirs, mine = map(statistics.median, zip(*rounds, strict=True))
        print(f"{workload['name']:32} {theirs / mine:6.2f}")


if __name__ == "__main__":
    main()
