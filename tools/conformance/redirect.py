# SPDX-License-Identifier: MIT
"""Makes the interpreter's own regression tests meet another implementation where they say `import threading`.

The interface, for whoever runs the tests:

    install(environment, implementation="plait", exempt=())
        Put the redirect into the virtual environment at `environment`. From then on its Python, and every Python child
        that it starts, has it. `implementation` is
            "standard"      no redirect, only what the tests need anyway (see below): the baseline
            "plait"         the wheels that are installed in the environment
            a folder        one that pass_through() or sabotaged() has filled
        May be called again to change the implementation; processes that run already keep theirs. Code under one of
        the folders in `exempt`, and under tools/ always, sees the interpreter's own modules: the runner.
    uninstall(environment)
        Take it out again.
    pass_through(folder, python) -> Path
        Fill `folder` with an implementation that hands through the modules of the interpreter `python`.
    sabotaged(folder, original, module="queue", statement="Queue.join = lambda self: None") -> Path
        Fill `folder` with a copy of the implementation in `original` (a folder filled by pass_through(), or a
        site-packages folder that holds plait) in which `statement` was run at the end of `module`.
    site_packages(environment) -> Path
        Where that environment keeps its packages.

The folder that the last two return is what install() takes as `implementation`.

The tests are found under their own names: `test.test_queue` and so on. Interpreters that ship
`test._test_multiprocessing` without the packages that install its tests (3.11.7 and 3.12.1 of some distributions) get
`test.test_multiprocessing_{fork,spawn,forkserver}.test_{processes,threads,manager,misc}` made at run time, in every
child, too, under whichever implementation, the baseline included.

A test that fails after it started threads leaves them behind: end the process that ran the tests by os._exit().
"""

# How it works. Every part has its own module in redirecting/, which install() copies into the environment.
#
#   start-up        A .pth file (from 3.15 on a .start file) in site-packages. That is read under -I, -E and with an empty
#                   environment, too, and costs one to two milliseconds. Nothing depends on variables or on the path.
#   children.py     Children that would not read it (-S) have it put in front of their program.
#   importing.py    `__import__` and `import_module` decide by the importer: tests and programs are redirected, the standard
#                   library is not. sys.modules stays as it is. (A test that looks there for the name of a redirected
#                   module does not find it, or finds the standard one. Those are the only tests that the redirect costs.)
#   facades.py      What a redirected importer gets: the implementation's module under the standard name.
#   placeholders.py What stands for a missing name while a test module is being imported.
#   stand_ins.py    Private names that only set-up and tear-down of the tests use.
#   made_futures.py Futures in a given state, which the tests make by writing private attributes.
#   missing_tests.py Test packages that an interpreter left out.
#
# That it does no harm is shown by a pass-through: with it, the results have to be those of the baseline, test by test.

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from implementations import pass_through, sabotaged

__all__ = ["install", "interpreter", "pass_through", "sabotaged", "site_packages", "uninstall"]

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "redirecting"
START_LINE = f"import {PACKAGE.name}; {PACKAGE.name}.begin()\n"
ENTRY_POINT = f"{PACKAGE.name}:begin\n"


def interpreter(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / "bin" / "python"


def site_packages(environment: Path) -> Path:
    """Where the environment keeps its packages."""
    command = [
        str(interpreter(environment)),
        "-I",
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Path(said.strip())


def _start_files(site: Path) -> tuple[Path, Path]:
    # From 3.15 on the second form replaces the first one wherever both are there.
    return site / f"{PACKAGE.name}.pth", site / f"{PACKAGE.name}.start"


def install(environment: Path, implementation: str | Path = "plait", exempt: Iterable[Path] = ()) -> None:
    """Put the redirect to `implementation` into the virtual environment; see the top of this module."""
    environment = environment.absolute()
    site = site_packages(environment)
    if implementation == "standard":
        where: str | None = None
    elif implementation == "plait":
        where = ""
    else:
        where = str(Path(implementation).resolve())
        if not (Path(where) / "plait").is_dir():
            raise ValueError(
                f"{where} holds no implementation: fill it with pass_through() or sabotaged() first"
            )
    target = site / PACKAGE.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for module in sorted(PACKAGE.glob("*.py")):
        shutil.copy(module, target / module.name)
    settings = {
        "IMPLEMENTATION": where,
        "SITE": str(site),
        "BIN": str(environment / "bin"),
        "EXEMPT": tuple(str(folder) for folder in (HERE.parent, *exempt)),
    }
    lines = ['"""What this environment was set up for; written by the tool that set it up."""', ""]
    lines += [f"{name} = {value!r}" for name, value in settings.items()]
    (target / "settings.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # Compiled now: children that write no byte code, or must not, start as quickly as any other.
    subprocess.run([str(interpreter(environment)), "-I", "-m", "compileall", "-q", str(target)], check=True)
    line, entry_point = _start_files(site)
    line.write_text(START_LINE, encoding="utf-8")
    entry_point.write_text(ENTRY_POINT, encoding="utf-8")


def uninstall(environment: Path) -> None:
    """Take the redirect out of the environment."""
    site = site_packages(environment)
    for path in _start_files(site):
        path.unlink(missing_ok=True)
    shutil.rmtree(site / PACKAGE.name, ignore_errors=True)
