# SPDX-License-Identifier: MIT
"""What importing `plait.multiprocessing` costs, beside the standard module: `nox -s bench -- imports` of the repository.

With the package alone: `python -X importtime -c "import plait.multiprocessing"`.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module

AREA = "imports"
STANDARD = "multiprocessing"
PLAIT = "plait.multiprocessing"

PEERS = {
    "billiard": partial(import_module, "billiard"),
    "multiprocess": partial(import_module, "multiprocess"),
}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {"name": "import multiprocessing", "imports": "", "floor": 2, "goal": 3},
]
