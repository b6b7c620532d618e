# SPDX-License-Identifier: MIT
"""What importing `plait.queue` costs, beside the standard module: `nox -s bench -- imports` of the repository.

With the package alone: `python -X importtime -c "import plait.queue"`.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module

AREA = "imports"
STANDARD = "queue"
PLAIT = "plait.queue"

PEERS = {"culsans": partial(import_module, "culsans"), "janus": partial(import_module, "janus")}

WORKLOADS = [
    {"name": "import queue", "imports": ""},
]
