# SPDX-License-Identifier: MIT
"""Reads a package's source as syntax trees: which modules it has, what each imports, what each makes public."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workspace import NAMESPACE, Package


@dataclass(frozen=True)
class Import:
    """One imported thing: `from ..threading import Condition` is ("plait.threading", "Condition", relative)."""

    module: str  # absolute, our own relative ones resolved from where the file stands
    name: str | None  # the imported name, None for `import x`
    relative: bool
    line: int
    bound: str  # the name that it gets in the importing module
    at_top: bool  # runs when the module is imported
    typing_only: bool  # stands under `if TYPE_CHECKING:`, so it never runs


@dataclass(frozen=True)
class Module:
    """One file of a package."""

    path: Path
    name: str  # plait.multiprocessing.connection
    is_package: bool
    tree: ast.Module
    text: str

    @property
    def is_public(self) -> bool:
        """Whether no part below the portion's own name is private (`plait._thread` is public: it is a portion)."""
        return not any(part.startswith("_") for part in self.name.split(".")[2:])


@cache
def parse(path: Path, _stamp: tuple[int, int]) -> tuple[str, ast.Module]:
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text, str(path))


def modules(package: Package) -> list[Module]:
    """Every module of the package, as it would be called when installed."""
    found = []
    base = package.folder / "src"
    for path in sorted(base.rglob("*.py")):
        parts = list(path.relative_to(base).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        stamp = path.stat()
        text, tree = parse(path, (stamp.st_mtime_ns, stamp.st_size))
        found.append(Module(path, ".".join(parts[:-1] if is_package else parts), is_package, tree, text))
    return found


def resolve(module: Module, level: int, written: str | None) -> str:
    """The absolute name of a relative import in this module."""
    parts = module.name.split(".")
    if not module.is_package:
        parts = parts[:-1]
    if level > 1:
        parts = parts[: -(level - 1)]
    return ".".join([*parts, *([written] if written else [])])


def _literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _inside(bodies: list[list[ast.stmt]]) -> set[int]:
    return {id(inner) for body in bodies for node in body for inner in ast.walk(node)}


def _in_functions(tree: ast.Module) -> set[int]:
    """ids of the nodes that run only when something is called."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return _inside([node.body for node in ast.walk(tree) if isinstance(node, functions)])


def _for_typing(tree: ast.Module) -> set[int]:
    """ids of the nodes under `if TYPE_CHECKING:`."""
    tests = (node for node in ast.walk(tree) if isinstance(node, ast.If))
    return _inside([node.body for node in tests if _last_name(node.test) == "TYPE_CHECKING"])


def _last_name(node: ast.expr) -> str | None:
    """`import_module` of `importlib.import_module`, None where no name stands at the end."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """Everything that the module imports: statements, and import_module/__import__ calls with literal names."""
    return tuple(_imports(module))


def _imports(module: Module) -> Iterator[Import]:
    called, typing_only = _in_functions(module.tree), _for_typing(module.tree)
    later = called | typing_only
    for node in ast.walk(module.tree):
        when = (id(node) not in later, id(node) in typing_only)
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                yield Import(alias.name, None, False, node.lineno, bound, *when)
        elif isinstance(node, ast.ImportFrom):
            target = resolve(module, node.level, node.module) if node.level else node.module or ""
            for alias in node.names:
                yield Import(
                    target, alias.name, bool(node.level), node.lineno, alias.asname or alias.name, *when
                )
        elif isinstance(node, ast.Call) and _last_name(node.func) in (
            "import_module",
            "__import__",
            "find_spec",
        ):
            written = _literal(node.args[0]) if node.args else None
            if written:
                level = len(written) - len(written.lstrip("."))
                target = resolve(module, level, written.lstrip(".") or None) if level else written
                yield Import(target, None, bool(level), node.lineno, "", *when)


def portion_of(name: str) -> str | None:
    """`queue` for `plait.queue` and everything below it, None for what is not ours."""
    parts = name.split(".")
    return parts[1] if parts[0] == NAMESPACE and len(parts) > 1 else None


def public_names(module: Module) -> list[str] | None:
    """What `__all__` lists, or None where there is none that can be read without running the module."""
    names: list[str] | None = None
    for node in module.tree.body:
        value: ast.expr | None = None
        if isinstance(node, ast.Assign) and any(ast.unparse(t) == "__all__" for t in node.targets):
            names, value = [], node.value
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)) and ast.unparse(node.target) == "__all__":
            names, value = names or [], node.value
        elif isinstance(node, ast.Expr) and ast.unparse(node).startswith(
            ("__all__.extend(", "__all__.append(")
        ):
            call = node.value
            value = call.args[0] if isinstance(call, ast.Call) else None
        if value is not None and names is not None:
            names += [text for inner in ast.walk(value) if (text := _literal(inner))]  # type: ignore[arg-type]
    return names


def docstrings(tree: ast.Module) -> set[int]:
    """ids of the constants that are docstrings (or other strings that stand alone as a statement)."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
