# SPDX-License-Identifier: MIT
"""The rules of the house that a program can check. Each check returns its problems as lines; no line, no problem.

    python tools/house.py [ROOT]        prints the problems, exits 1 when there are any

Code is read as syntax trees, not by patterns: a banned name in a comment or in prose is no violation, one in
`import_module("...")` is.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import merged_view
import source
import workspace
from source import Module
from workspace import NAMESPACE, Package

REPLACED = frozenset(
    (
        "threading",
        "queue",
        "sched",
        "subprocess",
        "multiprocessing",
        "concurrent",
        "_dummy_thread",
        "dummy_threading",
    )
)
DRAG_THEM_IN = frozenset(("asyncio", "logging"))  # they import threading themselves
LAZY_ONLY = frozenset(("socket",))
TOP_LEVEL = frozenset(("packages", "tools", "noxfile.py", "tests-integration", "README.md", "LICENSE"))
COMPLETE = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "tox.toml",
    "changelog.d",
    "src",
    "tests",
    "benchmarks",
)
SPDX = "# SPDX-License-Identifier: MIT"

# Spelled in pieces: this file is checked like every other.
HOSTS = re.compile(
    "|".join(
        re.escape(host) + r"\b"
        for host in (
            "pypi" + ".org",
            "python" + "hosted.org",
            "npm" + "js.org",
            "npm" + "js.com",
            "deb.debian" + ".org",
            "anaconda" + ".org",
            "conda-forge" + ".org",
        )
    )
)
MACHINE_PATHS = re.compile(
    r"(?<![\w.*{}<>)\]-])/(?:root|home|Users|work|opt|mnt|srv)/[\w.]|\b[A-Z]:\\{1,2}Users\\"
)

Check = Callable[[Path], "list[str]"]


def each_module(root: Path) -> Iterator[tuple[Package, Module, Path]]:
    for package in workspace.packages(root):
        for module in source.modules(package):
            yield package, module, module.path.relative_to(root)


# ------------------------------------------------------------------------------------------------- what code may say


def namespace_stays_empty(root: Path) -> list[str]:
    """No plait/__init__.py: one stray copy hides every other portion. In the tree, in every wheel, in every sdist."""
    stray = [str(p.relative_to(root)) for p in root.glob(f"packages/*/src/{NAMESPACE}/__init__.py*")]
    for path in sorted((root / "dist").glob("*.*")):
        if path.suffix == ".whl":
            names = zipfile.ZipFile(path).namelist()
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                names = archive.getnames()
        else:
            continue
        stray += [f"{path.name}: {n}" for n in names if re.search(rf"(^|/){NAMESPACE}/__init__\.py", n)]
    return [f"{where}: must not exist (PEP 420 namespace)" for where in stray]


def imports_are_our_own(root: Path) -> list[str]:
    """No import of a module that we replace, nor of ourselves by name; private interpreter modules in _platform.py."""
    problems = []
    for _, module, where in each_module(root):
        for item in source.imports(module):
            if item.relative:
                continue
            top = item.module.split(".")[0]
            line = f"{where}:{item.line}"
            if top in REPLACED:
                problems.append(
                    f"{line}: imports {item.module}, which plait replaces; look it up in sys.modules"
                )
            elif top in DRAG_THEM_IN:
                problems.append(
                    f"{line}: imports {item.module}, which imports threading; look it up in sys.modules"
                )
            elif top in LAZY_ONLY and item.at_top:
                problems.append(f"{line}: imports {item.module} at import time; import it where it is used")
            elif top == NAMESPACE:
                problems.append(
                    f"{line}: imports {item.module} by its full name; a vendored copy needs a relative one"
                )
            elif top == "importlib" and (item.module + "." + (item.name or "")).startswith(
                "importlib.metadata"
            ):
                problems.append(f"{line}: looks up metadata; vendored copies have none")
            elif (
                top.startswith("_")
                and top not in ("__future__", "_typeshed")
                and where.name != "_platform.py"
            ):
                problems.append(f"{line}: imports the interpreter's private {top}; only _platform.py may")
    return problems


def no_own_name_in_strings(root: Path) -> list[str]:
    """Our import path in a string breaks vendored copies. Docstrings are prose and may."""
    problems = []
    for _, module, where in each_module(root):
        prose = source.docstrings(module.tree)
        for node in ast.walk(module.tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
            if isinstance(text, str) and re.search(rf"\b{NAMESPACE}\b", text):
                problems.append(f"{where}:{node.lineno}: spells {text[:40]!r}; derive it from __package__")
    return problems


def standard_modules_met_in_one_file(root: Path) -> list[str]:
    """Each package looks up the standard modules in sys.modules in one file at most."""
    problems = []
    for package in workspace.packages(root):
        places: dict[str, int] = {}
        for module in source.modules(package):
            for node in ast.walk(module.tree):
                if _looks_up_replaced(node):
                    places.setdefault(str(module.path.relative_to(root)), getattr(node, "lineno", 0))
        if len(places) > 1:
            at = ", ".join(f"{path}:{line}" for path, line in places.items())
            problems.append(
                f"{package.name}: the standard modules are looked up in {len(places)} files ({at}); keep one"
            )
    return problems


def _looks_up_replaced(node: ast.AST) -> bool:
    key: ast.expr | None = None
    if isinstance(node, ast.Subscript):
        key, table, ends = node.slice, node.value, "modules"
    elif isinstance(node, ast.Call) and node.args:
        key, table, ends = node.args[0], node.func, "modules.get"
    elif isinstance(node, ast.Compare):
        key, table, ends = node.left, node.comparators[-1], "modules"
    if not isinstance(key, ast.Constant):
        return False
    replaced = str(key.value).split(".")[0] in REPLACED | DRAG_THEM_IN
    return replaced and ast.unparse(table).endswith(ends)


def licence_lines(root: Path) -> list[str]:
    """Every Python file of ours opens with its licence."""
    return [
        f"{path.relative_to(root)}:1: the first line is not {SPDX!r}"
        for path in _files(root)
        if path.suffix == ".py" and path.read_text(encoding="utf-8").split("\n", 1)[0] != SPDX
    ]


def public_modules_say_what_is_public(root: Path) -> list[str]:
    """Every public module has an `__all__` that can be read without running it."""
    return [
        f"{where}: public, but without __all__"
        for _, module, where in each_module(root)
        if module.is_public and source.public_names(module) is None
    ]


def versions_are_literal(root: Path) -> list[str]:
    """`_version.py` assigns one literal, so that a copied folder still knows its version."""
    problems = []
    for package in workspace.packages(root):
        path = package.source / "_version.py"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if not re.search(r'^__version__(: \w+)? = "\d+\.\d+\.\d+([ab]\d+|rc\d+)?"$', text, re.MULTILINE):
            problems.append(f'{path.relative_to(root)}: no line like __version__ = "0.1.0"')
    return problems


# --------------------------------------------------------------------------------------------- what it does when run


def importing_is_clean(root: Path, pythons: Mapping[str, str] | None = None) -> list[str]:
    """In a fresh interpreter, each package and each of its modules imports without dragging a replaced module in.

    `pythons`: name -> executable; without it every supported Python that is installed, and the one that runs this.
    """
    if pythons is None:
        pythons = workspace.interpreters()
        if getattr(sys, "_base_executable", sys.executable) not in pythons.values():
            pythons = {**pythons, "this Python": sys.executable}
    view = merged_view.build(root=root)

    def found(one: tuple[str, Package]) -> list[str]:
        name, package = one
        modules = [m.name for m in source.modules(package) if not m.name.endswith("__main__")]
        said = _fresh_import(name, pythons[name], view, package, modules)
        return [f"{package.name}: {line}" for line in said]

    # As many interpreters at a time as there are processors.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = itertools.chain(*pool.map(found, itertools.product(pythons, workspace.packages(root))))
        return list(dict.fromkeys(problems))


def _fresh_import(name: str, python: str, view: Path, package: Package, names: list[str]) -> list[str]:
    heavy = sorted(REPLACED | DRAG_THEM_IN | LAZY_ONLY)
    script = (
        "import sys, importlib\n"
        f"sys.path.insert(0, {str(view)!r})\n"
        "def heavy(names): return [n for n in names if n in sys.modules]\n"
        f"for name in {package.import_names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    for n in heavy({heavy!r}): print('importing', name, 'imports', n)\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    for n in heavy({sorted(REPLACED | DRAG_THEM_IN)!r}): print('importing', name, 'imports', n); sys.exit()\n"
    )
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    failed = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    return done.stdout.splitlines() + [f"does not import on {name}: {line}" for line in failed]


# ------------------------------------------------------------------------------------------------------ what is where


def dependencies_are_used(root: Path) -> list[str]:
    """Nothing but siblings is ever declared (that those match the imports is the business of `layers`)."""
    return [
        f"{package.folder.relative_to(root)}/pyproject.toml: declares {requirement!r}, which is not one of ours"
        for package in workspace.packages(root)
        for requirement in package.requirements
        if workspace.requirement_name(requirement) not in package.siblings
    ]


def only_the_standard_library(root: Path) -> list[str]:
    """Every absolute import is of the standard library: a third-party one could not be declared anyway."""
    return [
        f"{where}:{item.line}: imports {item.module}, which is neither ours nor the standard library's"
        for _, module, where in each_module(root)
        for item in source.imports(module)
        if not item.relative
        and not item.typing_only
        and item.module.split(".")[0] not in sys.stdlib_module_names
        and not item.module.startswith(("_", NAMESPACE))
    ]


def sibling_bounds(root: Path) -> list[str]:
    """`>=` the first release that has what is used, `<` the next major (before 1.0: the next minor), never `==`."""
    shape = re.compile(r"plait-[a-z]+>=(\d+)\.(\d+)(\.\d+)*,<(\d+)(?:\.(\d+))?")
    problems = []
    for package in workspace.packages(root):
        for requirement in package.requirements:
            hit = shape.fullmatch(requirement.replace(" ", ""))
            if hit:
                low, minor, high = int(hit[1]), int(hit[2]), (int(hit[4]), int(hit[5] or 0))
                good = high == ((0, minor + 1) if low == 0 else (low + 1, 0))
            if not hit or not good:
                config = (package.folder / "pyproject.toml").relative_to(root)
                problems.append(f"{config}: {requirement!r} is not of the form plait-x>=0.1.0,<0.2")
    return problems


def top_level_is_fixed(root: Path) -> list[str]:
    """packages/ tools/ noxfile.py tests-integration/ README.md LICENSE and dot-files, nothing else."""
    tops = {path.relative_to(root).parts[0] for path in _files(root)}
    return [
        f"{name}: the top level is fixed; move it"
        for name in sorted(tops - TOP_LEVEL)
        if not name.startswith(".")
    ]


def packages_are_complete(root: Path) -> list[str]:
    """Someone who is handed one folder can read, test, build, license and release it."""
    problems = []
    for package in workspace.packages(root):
        wanted = [*COMPLETE, "benchmarks/README.md"]
        for portion in package.portions:
            wanted += [f"src/{NAMESPACE}/{portion}/{name}" for name in ("__init__.py", "py.typed")]
        held = {path.parent.name for path in package.folder.glob(f"src/{NAMESPACE}/*/*.py")}
        problems += [
            f"{package.name}: holds {NAMESPACE}.{portion}, which import-names in its pyproject.toml does not say"
            for portion in sorted(held - {*package.portions})
        ]
        problems += [
            f"{package.name}: has no {name}" for name in wanted if not (package.folder / name).exists()
        ]
        if not any(package.folder.glob("tests/test_*.py")):
            problems.append(f"{package.name}: tests/ has no test_*.py")
        if not any(package.folder.glob("benchmarks/*.py")):
            problems.append(f"{package.name}: benchmarks/ has no benchmark")
        if package.folder.name != package.name:
            problems.append(f"{package.folder.relative_to(root)}: holds {package.name}; name the folder so")
    return problems


def archives_are_complete(root: Path) -> list[str]:
    """A wheel holds its portions and nothing else; an sdist holds tests, tox.toml, CHANGELOG and benchmarks."""
    problems = []
    for package in workspace.packages(root):
        stem = package.name.replace("-", "_")
        for wheel in (root / "dist").glob(f"{stem}-*.whl"):
            inside = tuple(f"{NAMESPACE}/{portion}/" for portion in package.portions)
            names = zipfile.ZipFile(wheel).namelist()
            foreign = [n for n in names if not n.startswith(inside) and ".dist-info/" not in n]
            problems += [f"{wheel.name}: holds {n}, which is outside {', '.join(inside)}" for n in foreign]
            typed = [f"{folder}py.typed" for folder in inside]
            problems += [f"{wheel.name}: has no {name}" for name in typed if name not in names]
        for sdist in (root / "dist").glob(f"{stem}-*.tar.gz"):
            with tarfile.open(sdist) as archive:
                held = {name.split("/")[1] for name in archive.getnames() if "/" in name}
            missing = set(COMPLETE) - held
            problems += [f"{sdist.name}: has no {name}" for name in sorted(missing)]
    return problems


def nothing_of_this_machine(root: Path) -> list[str]:
    """No registry host and no absolute path of somebody's machine in any file."""
    problems = []
    for path in _files(root):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            for pattern, what in (
                (HOSTS, "names a registry's host"),
                (MACHINE_PATHS, "names a path of one machine"),
            ):
                if hit := pattern.search(line):
                    problems.append(f"{path.relative_to(root)}:{number}: {what}: {hit[0]}")
    return problems


def _files(root: Path) -> list[Path]:
    """What git tracks or would track; outside a checkout, everything but what sessions leave behind."""
    asked = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        listed = None
    if listed is not None and listed.returncode == 0:
        paths = [root / name for name in listed.stdout.split("\0") if name]
    else:
        made = {"build", "dist", "__pycache__"}
        paths = [
            p
            for p in root.rglob("*")
            if not any(part in made or part.startswith(".") for part in p.relative_to(root).parts)
        ]
    return sorted(p for p in paths if p.is_file() and not p.is_symlink())


CHECKS: tuple[Check, ...] = (
    namespace_stays_empty,
    imports_are_our_own,
    no_own_name_in_strings,
    standard_modules_met_in_one_file,
    licence_lines,
    public_modules_say_what_is_public,
    versions_are_literal,
    importing_is_clean,
    dependencies_are_used,
    only_the_standard_library,
    sibling_bounds,
    top_level_is_fixed,
    packages_are_complete,
    archives_are_complete,
    nothing_of_this_machine,
)


def main(words: list[str]) -> int:
    root = Path(words[0]).resolve() if words else workspace.ROOT
    broken = 0
    for check in CHECKS:
        problems = check(root)
        broken += bool(problems)
        print(f"{'FAIL' if problems else 'ok  '} {check.__name__}", *problems, sep="\n       ")
    print(f"house: {len(CHECKS) - broken} rules kept, {broken} broken")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
