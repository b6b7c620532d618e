# SPDX-License-Identifier: MIT
"""A copy of the package under another name, and the many ways in which a program can be the main one."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plait import multiprocessing as mp

TARGETS = """
def work(lock, queue, value, conn):
    with lock, value.get_lock():
        value.value += 1
    queue.put(type(queue).__module__)
    conn.send(type(conn).__module__)
"""

MAIN = """
import sys
from PACKAGE import multiprocessing as mp
from TARGETS import work

def main():
    assert "plait" not in sys.modules or "PACKAGE" == "plait"
    for method in ("spawn", "fork"):
        ctx = mp.get_context(method)
        lock, queue, value, (here, there) = ctx.Lock(), ctx.Queue(2), ctx.Value("i", 1), ctx.Pipe()
        child = ctx.Process(target=work, args=(lock, queue, value, there), name="Käthe 子")
        child.start()
        print(queue.get(timeout=20), here.recv(), value.value)
        child.join(20)
        assert child.exitcode == 0

if __name__ == "__main__":
    main()
"""


def run(folder, *command, stdin=None, **environment):
    return subprocess.run(
        [sys.executable, *command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning", **environment},
    )


def siblings():
    """The folder of every package that this one needs, itself included."""
    namespace = mp.__name__.rpartition(".")[0]
    for name in ("_thread", "threading", "queue", "subprocess", "multiprocessing"):
        yield name, Path(importlib.import_module(f"{namespace}.{name}").__file__).parent


@pytest.fixture
def app(tmp_path):
    """A folder, with a blank in its name, that holds a program and its own copy of everything."""
    vendor = tmp_path / "my app" / "app" / "_vendor" / "copies"
    vendor.mkdir(parents=True)
    for name, folder in siblings():
        shutil.copytree(folder, vendor / name, ignore=shutil.ignore_patterns("__pycache__"))
    app = vendor.parent.parent
    (app / "__init__.py").touch()
    (app / "targets.py").write_text(TARGETS)
    (app / "run.py").write_text(
        MAIN.replace("PACKAGE", "app._vendor.copies").replace("TARGETS", "app.targets")
    )
    return app.parent


EXPECTED = "".join(
    f"app._vendor.copies.multiprocessing.queues app._vendor.copies.multiprocessing.connection {2}\n"
    for _ in range(2)
)


@pytest.mark.parametrize("how", ["-m", "path", "-c", "stdin"])
def test_vendored_copy_works_however_the_program_is_started(app, how):
    start = {
        "-m": ["-m", "app.run"],
        "path": [str(app / "app" / "run.py")],
        "-c": ["-c", "from app.run import main; main()"],
        "stdin": ["-"],
    }[how]
    result = run(
        app,
        *start,
        stdin="from app.run import main\nmain()\n" if how == "stdin" else None,
        PYTHONPATH=str(app),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == EXPECTED
    assert result.stderr == ""


def test_path_that_was_set_late_reaches_the_child(app):
    result = run(
        app.parent, "-c", f"import sys; sys.path.insert(0, {str(app)!r})\nfrom app.run import main\nmain()"
    )
    assert result.stdout == EXPECTED, result.stderr


def test_main_module_of_a_folder_is_left_alone(app):
    (app / "app" / "__main__.py").write_text("from app.run import main\nmain()\n")
    result = run(app, "-m", "app", PYTHONPATH=str(app))
    assert result.stdout == EXPECTED, result.stderr
