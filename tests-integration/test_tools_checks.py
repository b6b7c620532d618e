# SPDX-License-Identifier: MIT
"""Each check of the repository goes red on a planted violation.

That they are green on the tree as it is, every run of `.ci/run` shows: it runs these checks.
"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
QUEUE = "packages/plait-queue"
SPDX = "# SPDX-License-Identifier: MIT\n"


def tool(name: str) -> ModuleType:
    """A module of tools/, which is no package: its modules find each other because their folder is on sys.path."""
    if str(ROOT / "tools") not in sys.path:
        sys.path.insert(0, str(ROOT / "tools"))
    return importlib.import_module(name)


house = tool("house")
layers = tool("layers")
workspace = tool("workspace")


WHOLE = ("plait-thread", "plait-threading", "plait-queue")


def copy_of_the_tree(copy: Path, whole: Collection[str]) -> Path:
    """What the checks read, with these packages as they are. Of every other one its pyproject.toml and empty modules.

    The checks look at what is planted the same way in a large tree and in a small one; they only take longer.
    """
    left = shutil.ignore_patterns("__pycache__", ".hypothesis", ".pytest_cache", ".tox", "dist", "build")
    for package in workspace.packages():
        folder = copy / package.folder.relative_to(ROOT)
        if package.name in whole:
            shutil.copytree(package.folder, folder, ignore=left)
            continue
        for portion in package.portions:
            put(folder / "src" / "plait" / portion / "__init__.py", f"{SPDX}__all__: list[str] = []\n")
        shutil.copy(package.folder / "pyproject.toml", folder)
    (copy / "tools").mkdir()
    configurations = (
        path for path in (ROOT / "tools").iterdir() if path.suffix in (".ini", ".json", ".toml")
    )
    for path in (*configurations, ROOT / "README.md", ROOT / "LICENSE", ROOT / "noxfile.py"):
        shutil.copy(path, copy / path.relative_to(ROOT))
    return copy


class Repaired:
    """A folder, and how it was: what tests do to it is undone, because to copy and parse all of it takes longer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._was = {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}

    def repair(self) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path not in self._was:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for path, content in self._was.items():
            if content is None:
                path.mkdir(exist_ok=True)
            elif not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Repaired:
    return Repaired(copy_of_the_tree(tmp_path_factory.mktemp("small") / "copy of the tree", WHOLE))


@pytest.fixture
def tree(repaired: Repaired) -> Iterator[Path]:
    """A small copy of the tree, which a test may spoil."""
    yield repaired.folder
    repaired.repair()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A tree of packages with nothing in them, for checkers that take their time over what is there."""
    return copy_of_the_tree(tmp_path / "copy of the tree", ())


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


SOURCE = f"{QUEUE}/src/plait/queue"
INIT = f"{SOURCE}/__init__.py"
DUMMY = "packages/plait-thread/src/plait/_dummy_thread"  # the second portion of a package

# The name of the check, what is planted, and a part of what it has to say.
PLANTED: list[tuple[str, Callable[[Path], object], str]] = [
    ("namespace_stays_empty", lambda t: put(t / QUEUE / "src/plait/__init__.py", SPDX), "must not exist"),
    ("imports_are_our_own", lambda t: append(t / INIT, "\nimport threading\n"), "imports threading"),
    (
        "imports_are_our_own",
        lambda t: append(t / INIT, "\nfrom concurrent.futures import wait\n"),
        "concurrent",
    ),
    ("imports_are_our_own", lambda t: append(t / INIT, "\ndef f():\n    import queue\n"), "imports queue"),
    (
        "imports_are_our_own",
        lambda t: append(t / INIT, "\nimport importlib\nimportlib.import_module('subprocess')\n"),
        "imports subprocess",
    ),
    ("imports_are_our_own", lambda t: append(t / INIT, "\n__import__('sched')\n"), "imports sched"),
    ("imports_are_our_own", lambda t: append(t / INIT, "\nimport plait.threading\n"), "by its full name"),
    ("imports_are_our_own", lambda t: append(t / INIT, "\nimport logging\n"), "imports logging"),
    ("imports_are_our_own", lambda t: append(t / INIT, "\nimport socket\n"), "at import time"),
    (
        "imports_are_our_own",
        lambda t: append(t / INIT, "\nimport _posixsubprocess\n"),
        "private _posixsubprocess",
    ),
    ("imports_are_our_own", lambda t: append(t / INIT, "\nimport importlib.metadata\n"), "metadata"),
    ("no_own_name_in_strings", lambda t: append(t / INIT, "\nHOME = 'plait.queue'\n"), "derive it"),
    ("no_own_name_in_strings", lambda t: append(t / INIT, "\nHOME = f'{__name__} of plait'\n"), "derive it"),
    (
        "standard_modules_met_in_one_file",
        lambda t: [
            put(t / SOURCE / f"_{n}.py", f"{SPDX}import sys\nx = sys.modules.get('threading')\n")
            for n in "ab"
        ],
        "3 files",  # the third is the queue's own, which looks for event loops
    ),
    ("licence_lines", lambda t: put(t / SOURCE / "_new.py", "x = 1\n"), "first line"),
    ("licence_lines", lambda t: put(t / "tools/new.py", "x = 1\n"), "first line"),
    ("public_modules_say_what_is_public", lambda t: put(t / SOURCE / "extra.py", SPDX), "without __all__"),
    (
        "versions_are_literal",
        lambda t: put(t / SOURCE / "_version.py", f"{SPDX}__version__ = str(1)\n"),
        "no line like",
    ),
    (
        "importing_is_clean",
        lambda t: append(t / INIT, "\nimport tempfile, concurrent.futures\n"),
        "concurrent",
    ),
    ("importing_is_clean", lambda t: put(t / SOURCE / "_sick.py", f"{SPDX}1 / 0\n"), "ZeroDivisionError"),
    (
        "dependencies_are_used",
        lambda t: replace(t / QUEUE / "pyproject.toml", "dependencies = [", 'dependencies = ["attrs",'),
        "not one of ours",
    ),
    ("only_the_standard_library", lambda t: append(t / INIT, "\ndef f():\n    import attrs\n"), "attrs"),
    ("only_the_standard_library", lambda t: append(t / INIT, "\nimport attrs\n"), "attrs"),
    (
        "sibling_bounds",
        lambda t: replace(
            t / QUEUE / "pyproject.toml", '"plait-thread>=0.1.0,<0.2"', '"plait-thread==0.1.0"'
        ),
        "==0.1.0",
    ),
    ("top_level_is_fixed", lambda t: put(t / "docs/index.md", "x"), "docs"),
    ("packages_are_complete", lambda t: (t / QUEUE / "CHANGELOG.md").unlink(), "CHANGELOG.md"),
    ("packages_are_complete", lambda t: shutil.rmtree(t / QUEUE / "benchmarks"), "benchmarks"),
    ("packages_are_complete", lambda t: (t / DUMMY / "py.typed").unlink(), "_dummy_thread/py.typed"),
    (
        "packages_are_complete",
        lambda t: put(t / QUEUE / "src/plait/stray/__init__.py", SPDX),
        "plait.stray, which import-names",
    ),
    ("importing_is_clean", lambda t: append(t / DUMMY / "__init__.py", "\nimport socket\n"), "socket"),
    (
        "nothing_of_this_machine",
        lambda t: append(t / "README.md", "\nhttps://" + "pypi" + ".org/x\n"),
        "host",
    ),
    ("nothing_of_this_machine", lambda t: append(t / "README.md", "\ncd /ro" + "ot/plait\n"), "path"),
]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} no longer says {old!r}; plant something else"
    path.write_text(text.replace(old, new), encoding="utf-8")


def house_says(check: str, tree: Path) -> list[str]:
    # Which Python imports it makes no difference to what is planted here.
    more = [{"this Python": sys.executable}] if check == "importing_is_clean" else []
    said: list[str] = getattr(house, check)(tree, *more)
    return said


#: Of the same tree, while nothing is planted: once per check is enough.
house_says_at_first = functools.cache(house_says)


@pytest.mark.parametrize(("check", "plant", "said"), PLANTED, ids=[f"{n}-{s}" for n, _, s in PLANTED])
def test_a_planted_violation_turns_the_check_red(
    tree: Path, check: str, plant: Callable[[Path], object], said: str
) -> None:
    before = house_says_at_first(check, tree)
    plant(tree)
    fresh = [line for line in house_says(check, tree) if line not in before]
    assert fresh, f"{check} did not notice"
    assert said in "\n".join(fresh)


def test_every_rule_of_the_house_has_a_planted_violation() -> None:
    archives = {"archives_are_complete"}  # needs built archives: the next tests
    assert {check.__name__ for check in house.CHECKS} - archives == {name for name, _, _ in PLANTED}


def test_a_foreign_file_in_a_wheel_turns_the_house_red(tree: Path) -> None:
    import zipfile

    (tree / "dist").mkdir()
    with zipfile.ZipFile(tree / "dist" / "plait_queue-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("plait/__init__.py", "")
        wheel.writestr("plait/queue/py.typed", "")
    assert "plait/__init__.py" in house.namespace_stays_empty(tree)[0]
    assert "outside plait/queue/" in house.archives_are_complete(tree)[0]


def test_a_wheel_without_its_second_portion_turns_the_house_red(tree: Path) -> None:
    import zipfile

    (tree / "dist").mkdir()
    with zipfile.ZipFile(tree / "dist" / "plait_thread-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("plait/_thread/py.typed", "")
    assert house.archives_are_complete(tree) == [
        "plait_thread-0.1.0-py3-none-any.whl: has no plait/_dummy_thread/py.typed"
    ]


def test_an_sdist_without_tests_turns_the_house_red(tree: Path) -> None:
    import tarfile

    (tree / "dist").mkdir()
    with tarfile.open(tree / "dist" / "plait_queue-0.1.0.tar.gz", "w:gz") as sdist:
        for name in ("pyproject.toml", "README.md", "src"):
            sdist.add(tree / QUEUE / name, f"plait_queue-0.1.0/{name}")
    said = "\n".join(house.archives_are_complete(tree))
    assert "has no tests" in said
    assert "has no tox.toml" in said


def test_a_name_in_prose_is_no_violation(tree: Path) -> None:
    before = [check(tree) for check in (house.imports_are_our_own, house.no_own_name_in_strings)]
    prose = f'{SPDX}"""Like plait.queue; never `import threading`."""\n\n__all__: list[str] = []\n# import queue\n'
    put(tree / SOURCE / "prose.py", prose)
    assert [check(tree) for check in (house.imports_are_our_own, house.no_own_name_in_strings)] == before


def test_a_broken_rule_fails_the_session(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(house, "CHECKS", (house.namespace_stays_empty,))
    assert house.main([str(tree)]) == 0
    put(tree / QUEUE / "src/plait/__init__.py", SPDX)
    assert house.main([str(tree)]) == 1
    assert "0 rules kept, 1 broken" in capsys.readouterr().out


def test_what_ci_runs_are_all_the_checks() -> None:
    assert "\nexec python3 tools/run.py all\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    said = re.search(r"^CHECKS = (.*)$", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert said
    assert set(ast.literal_eval(said[1])) == {"lint", "layers", "types", "house"}


# ------------------------------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from ..sched import scheduler", "does not declare"),
        ("from ..threading import _secret", "not in __all__"),
        ("from ..threading._secrets import x", "there is no module"),
        ("from .._thread._platform import allocate_lock", "private to its package"),
        ("from .. import threading as t\nt._secret()", "t._secret"),
        ("from ..nowhere import x", "there is no plait.nowhere"),
    ],
)
def test_reaching_a_sibling_the_wrong_way_turns_layers_red(tree: Path, line: str, said: str) -> None:
    before = layers.siblings(tree)
    append(tree / INIT, f"\n{line}\n")
    fresh = [problem for problem in layers.siblings(tree) if problem not in before]
    assert said in "\n".join(fresh)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from ..threading import _secret", "not in __all__"),
        ("from ..threading._condition import Condition", "private to its package"),
        ("from .._dummy_thread._locks import RLock", "private to its package"),
    ],
)
def test_two_portions_of_one_package_know_only_what_is_public_of_each_other(
    tree: Path, line: str, said: str
) -> None:
    before = layers.siblings(tree)
    append(tree / "packages/plait-threading/src/plait/dummy_threading/__init__.py", f"\n{line}\n")
    fresh = [problem for problem in layers.siblings(tree) if problem not in before]
    assert said in "\n".join(fresh)


def test_a_declared_sibling_that_nothing_imports_turns_layers_red(tree: Path) -> None:
    config = tree / QUEUE / "pyproject.toml"
    replace(config, "dependencies = [", 'dependencies = ["plait-subprocess>=0.1.0,<0.2",')
    assert "declares plait-subprocess, which nothing" in "\n".join(layers.siblings(tree))


@pytest.mark.parametrize(
    ("portion", "line"),
    [
        ("queue", "from ..sched import scheduler"),
        ("threading", "def f():\n    from ..futures import Future"),
        ("threading", "from ..dummy_threading import Event"),
    ],
    ids=["sideways", "upwards", "within-a-package"],
)
def test_an_import_that_does_not_point_down_turns_layers_red(tree: Path, portion: str, line: str) -> None:
    append(tree / f"packages/plait-{portion}/src/plait/{portion}/__init__.py", f"\n{line}\n")
    said = "\n".join(layers.import_linter(tree))
    assert "BROKEN" in said


def test_a_broken_layer_fails_the_session(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "siblings", lambda root: [])
    assert layers.main([str(bare)]) == 0
    append(bare / INIT, "\nfrom ..sched import scheduler\n")
    assert layers.main([str(bare)]) == 1


# --------------------------------------------------------------------------------------------------- types and lint


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(program), *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)


MISTYPED = f"{SPDX}from __future__ import annotations\n\n\ndef length(text: str) -> int:\n    return text\n"


def test_a_view_that_two_checks_build_at_a_time_is_right(
    tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beaten(self: Path, target: str) -> None:
        os.symlink(target, self)  # by the other one, just before
        os.symlink(target, self)

    monkeypatch.setattr(Path, "symlink_to", beaten)
    view = tool("merged_view").build(tmp_path / "view", root=bare)
    assert (view / "plait" / "queue" / "__init__.py").exists()


def test_every_package_names_the_pythons_that_it_is_tested_on() -> None:
    pythons = [*workspace.SUPPORTED, *workspace.ALSO]
    said = "Programming Language :: Python :: "
    wanted = {f"{said}{name}" for name in pythons if name[0].isdigit()}
    wanted |= {f"{said}Implementation :: {name}" for name in ("CPython", "PyPy")}
    for package in workspace.packages():
        named = {line for line in package.project["project"]["classifiers"] if line.startswith(said)}
        assert named == wanted | {f"{said}3 :: Only"}, package.name
        tox = workspace.tomllib.loads((package.folder / "tox.toml").read_text(encoding="utf-8"))
        assert tox["env_list"] == [*pythons, "lowest"], package.name


def test_a_release_is_told_below_the_heading_of_the_changelog() -> None:
    config = workspace.tomllib.loads((ROOT / "tools/towncrier.toml").read_text(encoding="utf-8"))
    start = config["tool"]["towncrier"]["start_string"]
    for package in workspace.packages():
        text = (package.folder / "CHANGELOG.md").read_text(encoding="utf-8")
        above, mark, below = text.partition(start)
        assert mark, f"{package.name}: without this line towncrier puts the release above the heading"
        assert above.startswith("# "), package.name
        assert below.startswith("\n## "), package.name


def test_a_wrong_type_turns_mypy_red(bare: Path) -> None:
    put(bare / SOURCE / "_mistyped.py", MISTYPED)
    view = tool("merged_view").build(root=bare)
    done = run("mypy", "--config-file", "tools/mypy.ini", str(view / "plait/queue/_mistyped.py"), cwd=bare)
    assert done.returncode == 1
    assert 'got "str", expected "int"' in done.stdout


def test_pyright_is_told_of_every_package() -> None:
    config = json.loads((ROOT / "tools/pyrightconfig.json").read_text(encoding="utf-8"))
    portions = [portion for package in workspace.packages() for portion in package.portions]
    wanted = [f"../build/merged/plait/{portion}" for portion in portions]
    wanted += [
        f"../{file.relative_to(ROOT).as_posix()}" for file in sorted(ROOT.glob("packages/*/tests/typed_*.py"))
    ]
    assert config["include"] == wanted, "pyright does not look for links itself: name each one"


def test_a_wrong_type_turns_pyright_red(bare: Path) -> None:
    put(bare / SOURCE / "_mistyped.py", MISTYPED)
    tool("merged_view").build(root=bare)
    done = run("pyright", "-p", "tools/pyrightconfig.json", cwd=bare)
    assert done.returncode == 1
    assert "_mistyped.py" in done.stdout


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("ruff", "check"), f"{SPDX}import os\n"),
        (("ruff", "format", "--check"), f"{SPDX}x  =  1\n"),
    ],
    ids=["check", "format"],
)
def test_a_blemish_turns_ruff_red(bare: Path, command: tuple[str, ...], text: str) -> None:
    path = bare / SOURCE / "_blemish.py"
    put(path, text)
    argv = (*command, "--no-cache", "--config", "tools/ruff.toml", str(path))
    assert run(*argv, cwd=bare).returncode == 1
    put(path, SPDX)
    assert run(*argv, cwd=bare).returncode == 0
