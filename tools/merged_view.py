# SPDX-License-Identifier: MIT
"""Builds build/merged: one `plait` folder of symbolic links onto every package's source.

Type checkers do not follow `from ..threading import ...` across seven separate `src` roots, because PEP 420 portions
are joined at run time only. In the merged view all portions are neighbours, as they are in site-packages.

    python tools/merged_view.py        prints the folder
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(view: Path | None = None, root: Path = ROOT) -> Path:
    """Bring the view up to date and return its folder.

    Right links are left alone: a checker may be at work. Others may do the same at the same time: two checks that run
    side by side.
    """
    view = view or root / "build" / "merged"
    namespace = view / "plait"
    namespace.mkdir(parents=True, exist_ok=True)
    wanted = {
        portion.name: os.path.relpath(portion, namespace)
        for portion in sorted(root.glob("packages/*/src/plait/*"))
        if portion.name != "__pycache__"
    }
    for link in namespace.iterdir():
        if not link.is_symlink() or os.readlink(link) != wanted.get(link.name):
            link.unlink(missing_ok=True)
    for name, target in wanted.items():
        if not (namespace / name).is_symlink():
            with suppress(FileExistsError):
                (namespace / name).symlink_to(target)
    return view


if __name__ == "__main__":
    print(build())
