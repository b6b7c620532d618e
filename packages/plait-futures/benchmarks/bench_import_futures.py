# SPDX-License-Identifier: MIT
"""What importing `plait.futures` costs, beside the standard module: `nox -s bench -- imports` of the repository.

With the package alone: `python -X importtime -c "import plait.futures"`.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import SimpleNamespace

AREA = "imports"
STANDARD = {"futures": "concurrent.futures", "process": "concurrent.futures.process"}
PLAIT = {"futures": "plait.futures", "process": "plait.futures.process"}


def with_futures(name):
    """A library whose pools are at its top level."""
    return SimpleNamespace(futures=import_module(name))


PEERS = {name: partial(with_futures, name) for name in ("loky", "pebble", "deadpool", "joblib", "mpire")}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {
        "name": "import concurrent.futures",
        "imports": "futures",
        "floor": 2,
        "goal": 3,
    },
    {
        "name": "import concurrent.futures.process",
        "imports": "process",
        "floor": 2,
        "goal": 3,
    },
]
