# SPDX-License-Identifier: MIT
"""What importing `plait.threading` costs, beside the standard module: `nox -s bench -- imports` of the repository.

With the package alone: `python -X importtime -c "import plait.threading"`.
"""

from __future__ import annotations

AREA = "imports"
STANDARD = "threading"
PLAIT = "plait.threading"

WORKLOADS = [
    {"name": "import threading", "imports": ""},
]
