# SPDX-License-Identifier: MIT
"""What importing `plait.subprocess` costs, beside the standard module: `nox -s bench -- imports` of the repository.

With the package alone: `python -X importtime -c "import plait.subprocess"`.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module

AREA = "imports"
STANDARD = "subprocess"
PLAIT = "plait.subprocess"

PEERS = {"psutil": partial(import_module, "psutil"), "gevent": partial(import_module, "gevent")}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {"name": "import subprocess", "imports": "", "floor": 2, "goal": 3},
]
