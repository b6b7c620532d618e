# SPDX-License-Identifier: MIT
"""Stages a package as `app._vendor.plait.x`, beside another installed version of all seven, with its tests.

The stage is what an application would have: `app/_vendor/` filled by an installer's --target. It reaches the
environment through a .pth file, so that children started with -I find it too. The tests are a copy in which every
import of ours was rewritten; modules are not aliased, so that what is pickled, spawned or started with -c really has
the vendored name.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import wheelhouse
import workspace
from workspace import NAMESPACE, Package

OTHER_VERSION = "0.1.99"
PREFIX = "app._vendor"
EXAMPLE = rf"(?m)^(\s*(?:>>>|\.\.\.) (?:from|import) ){NAMESPACE}\b"
IN_COPY = rf"\g<1>{PREFIX}.{NAMESPACE}"

GUARD = '''# SPDX-License-Identifier: MIT
"""Fails the run unless the vendored copy was what ran: its version, its files, and no installed portion beside it."""

import doctest
import importlib
import re
import subprocess
import sys

VENDORED, INSTALLED, VERSION, OTHER, STAGE = {facts!r}

# Docstrings of the vendored copy import by the installed name, as documentation does. Run as examples they mean the
# copy that they stand in.
parse_as_written = doctest.DocTestParser.parse
said = []


def parse(self, string, name="<string>"):
    return parse_as_written(self, re.sub({pattern!r}, {replacement!r}, string), name)


doctest.DocTestParser.parse = parse


def pytest_sessionfinish(session, exitstatus):
    try:
        check()
        said.append("tested " + VENDORED + " " + VERSION + ", beside an installed " + OTHER)
    except Exception as error:
        said.append("NOT THE VENDORED COPY: " + str(error))
        session.exitstatus = 1


def check():
    ours = importlib.import_module(VENDORED)
    version = importlib.import_module(VENDORED + "._version").__version__
    assert ours.__file__.startswith(STAGE), ours.__file__
    assert version == VERSION, version
    script = "import " + INSTALLED + "._version as v; print(v.__version__, v.__file__)"
    seen = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True).stdout
    assert seen.startswith(OTHER + " ") and STAGE not in seen, seen
    top = INSTALLED.split(".")[0]
    mixed = [name for name in sys.modules if name == top or name.startswith(top + ".")]
    assert not mixed, "the tests of the vendored copy also imported installed portions: " + ", ".join(mixed)


def pytest_terminal_summary(terminalreporter):
    for line in said:
        terminalreporter.write_line(line)
'''


def other_version(root: Path, out: Path, *, log: Callable[[str], object] = print) -> Path:
    """The wheelhouse of this tree under another version, for the copies that are installed beside the vendored ones."""
    tree = out / "tree"
    stamp = out / "made-from"
    identity = workspace.fingerprint(root / "packages")
    if not (stamp.exists() and stamp.read_text() == identity):
        shutil.rmtree(out, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(root / "packages", tree / "packages", ignore=ignored)
        for path in tree.glob("packages/*/src/*/*/_version.py"):
            text = path.read_text(encoding="utf-8")
            changed = re.sub(r'(?m)^(__version__.*= )".*"$', rf'\g<1>"{OTHER_VERSION}"', text)
            path.write_text(changed, encoding="utf-8")
        wheelhouse.build(tree, tree / "dist", log=log)
        stamp.write_text(identity)
    return tree / "dist"


def prepare(package: Package, known: dict[str, Package], stage: Path, dist: Path, venv: Path) -> Path:
    """Fill the stage; returns the folder in which to run pytest."""
    vendor = stage / "app" / "_vendor"
    vendor.mkdir(parents=True)
    for folder in (vendor.parent, vendor):
        (folder / "__init__.py").write_text("# SPDX-License-Identifier: MIT\n")
    python = venv / "bin" / "python"
    names = sorted(workspace.closure(package, known))
    wheelhouse.install(python, ["--target", str(vendor), "-c", str(dist / "siblings.txt"), *names])
    (site,) = venv.glob("lib/*/site-packages")
    (site / "app_vendor.pth").write_text(f"{stage}\n")

    copy = stage / package.name
    ignored = shutil.ignore_patterns("src", "__pycache__", ".*")
    shutil.copytree(package.folder, copy, ignore=ignored)
    for path in [*copy.rglob("*.py"), *copy.glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        path.write_text(rewrite(text) if path.suffix == ".py" else rewrite_examples(text), encoding="utf-8")
    version = re.search(r'"(.*)"', (package.source / "_version.py").read_text().split("__version__")[-1])
    assert version, "the version is a literal"
    facts = (f"{PREFIX}.{package.import_name}", package.import_name, version[1], OTHER_VERSION, str(stage))
    guard = GUARD.format(facts=facts, pattern=EXAMPLE, replacement=IN_COPY)
    (site / "vendored_guard.py").write_text(guard)
    return copy


def rewrite(text: str) -> str:
    """The module with every import of ours pointed at the vendored copy; nothing else is touched.

    Covers `from plait.x import y`, `from plait import x`, `import plait.x as y`, `import plait.x` with the uses of the
    bound name, and literal names given to import_module, __import__ and importorskip.
    """
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    spots: set[tuple[int, int]] = set()  # where the word has to be lengthened: line, column in bytes
    binds = False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            spots.add(_find(lines, node, "from"))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _ours(alias.name):
                    spots.add((alias.lineno, alias.col_offset))
                    binds = binds or alias.asname is None
        elif isinstance(node, ast.Call) and node.args:
            called, first = ast.unparse(node.func).rpartition(".")[2], node.args[0]
            literal = isinstance(first, ast.Constant) and isinstance(first.value, str) and _ours(first.value)
            if literal and called in ("import_module", "__import__", "importorskip"):
                spots.add((first.lineno, first.col_offset + 1))
    if binds:
        spots |= {
            (n.lineno, n.col_offset) for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == NAMESPACE
        }
    for number, column in sorted(spots, reverse=True):
        raw = lines[number - 1].encode()
        lines[number - 1] = (raw[:column] + f"{PREFIX}.".encode() + raw[column:]).decode()
    return "".join(lines)


def _ours(name: str | None) -> bool:
    return bool(name) and str(name).split(".")[0] == NAMESPACE


def _find(lines: list[str], node: ast.ImportFrom, word: str) -> tuple[int, int]:
    """Where the module's name starts in `from NAME import ...` (the tree only says where `from` does)."""
    raw = lines[node.lineno - 1].encode()
    start = node.col_offset + len(word)
    return node.lineno, start + len(raw[start:]) - len(raw[start:].lstrip())


def rewrite_examples(text: str) -> str:
    """A README whose `>>>` lines import the vendored copy."""
    return re.sub(
        rf"(?m)^(\s*(?:>>>|\.\.\.) (?:from|import) ){NAMESPACE}\b", rf"\g<1>{PREFIX}.{NAMESPACE}", text
    )
