# SPDX-License-Identifier: MIT
"""Checks how packages reach each other.

- Imports point downwards, never up or sideways: import-linter, over the merged view (tools/importlinter.ini).
- A package imports a sibling only if its pyproject.toml declares it, and declares a sibling only if it imports it.
- What it takes from a sibling is public: a module without an underscore below the portion, a name in its `__all__`.

python tools/layers.py [ROOT]
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import merged_view
import source
import workspace
from source import Import, Module
from workspace import Package


def siblings(root: Path) -> list[str]:
    """Violations of "declared, and public"."""
    known = workspace.packages(root)
    surface = {module.name: module for package in known for module in source.modules(package)}
    by_portion = {portion: package for package in known for portion in package.portions}
    problems: list[str] = []
    for package in known:
        used: dict[str, str] = {}
        for module in source.modules(package):
            where = module.path.relative_to(root)
            home = source.portion_of(module.name)
            for item in source.imports(module):
                target = _target(item)
                portion = source.portion_of(target)
                if portion is None or portion == home:
                    continue
                if portion not in by_portion:
                    problems.append(f"{where}:{item.line}: there is no {target}")
                    continue
                if portion not in package.portions:
                    used.setdefault(by_portion[portion].name, f"{where}:{item.line}")
                problems += [f"{where}:{item.line}: {said}" for said in _not_public(item, target, surface)]
                problems += [f"{where}:{line}: {said}" for line, said in _attributes(module, item, surface)]
        problems += _declarations(package, used, root)
    return problems


def _target(item: Import) -> str:
    """The module that is reached: `from .. import queue` reaches plait.queue, not plait."""
    if item.module == workspace.NAMESPACE and item.name:
        return f"{item.module}.{item.name}"
    return item.module


def _declarations(package: Package, used: dict[str, str], root: Path) -> Iterator[str]:
    config = (package.folder / "pyproject.toml").relative_to(root)
    for name, where in used.items():
        if name not in package.siblings:
            yield f"{where}: imports {name}, which {config} does not declare"
    for name in package.siblings:
        if name not in used:
            yield f"{config}: declares {name}, which nothing in the package imports"


def _not_public(item: Import, target: str, surface: dict[str, Module]) -> Iterator[str]:
    module = surface.get(target)
    if module is None:
        yield f"there is no module {target}"
        return
    if not module.is_public:
        yield f"{target} is private to its package; make the name public there, or do without it"
        return
    if item.name is None or item.module != target:
        return
    if f"{target}.{item.name}" in surface:
        if not surface[f"{target}.{item.name}"].is_public:
            yield f"{target}.{item.name} is private to its package"
    elif item.name not in (source.public_names(module) or ()):
        yield f"{item.name} is not in __all__ of {target}; make it public there, or do without it"


def _attributes(module: Module, item: Import, surface: dict[str, Module]) -> Iterator[tuple[int, str]]:
    """What is read off a whole imported module: `from .. import queue as q`, then `q._secret`."""
    target = f"{item.module}.{item.name}"
    if target not in surface or not item.bound:
        return
    allowed = {*(source.public_names(surface[target]) or ()), "__name__", "__file__"}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        read = node.value.id == item.bound
        if read and node.attr not in allowed and f"{target}.{node.attr}" not in surface:
            yield node.lineno, f"{item.bound}.{node.attr} is not in __all__ of {target}"


def import_linter(root: Path) -> list[str]:
    """Violations of the layers, in import-linter's words."""
    view = merged_view.build(root=root)
    config = root / "tools" / "importlinter.ini"
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(program), "--config", str(config), "--no-cache"],
        env={**os.environ, "PYTHONPATH": str(view), "NO_COLOR": "1"},
        cwd=view,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return [] if done.returncode == 0 else [done.stdout.rstrip()]


def main(words: list[str]) -> int:
    root = Path(words[0]).resolve() if words else workspace.ROOT
    problems = siblings(root) + import_linter(root)
    print(*problems, sep="\n") if problems else print(
        "layers: imports point down, to declared siblings, at public names"
    )
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
