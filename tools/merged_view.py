# SPDX-License-Identifier: MIT
"""Builds build/merged: one `plait` folder of symbolic links onto every package's source.

Type checkers do not follow `from ..threading import ...` across seven separate `src` roots, because PEP 420 portions
are joined at run time only. In the merged view all portions are neighbours, as they are in site-packages.

    python tools/merged_view.py        prints the folder
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VIEW = ROOT / "build" / "merged"


def build(view: Path = VIEW, root: Path = ROOT) -> Path:
    """Make the view anew and return its folder."""
    if view.exists():
        shutil.rmtree(view)
    namespace = view / "plait"
    namespace.mkdir(parents=True)
    for portion in sorted(root.glob("packages/*/src/plait/*")):
        if portion.name != "__pycache__":
            target = namespace / portion.name
            target.symlink_to(os.path.relpath(portion, namespace))
    return view


if __name__ == "__main__":
    print(build())
