# SPDX-License-Identifier: MIT
"""The dummies against the tests of the last Pythons that had some: their own files, where they lie, unchanged.

Newer interpreters do not ship them, and so tools/conformance finds none. Skipped where neither 3.7 nor 3.8 is installed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest
import watched

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

workspace = importlib.import_module("workspace")

OLD = ("3.8", "3.7")

# Of `test.support` these files read one flag, and what that module needs itself is not there for a newer Python.
PROGRAM = """
import sys, types, unittest
from importlib.util import module_from_spec, spec_from_file_location
from plait import _dummy_thread, dummy_threading

sys.modules.update(_dummy_thread=_dummy_thread, dummy_threading=dummy_threading, test=types.ModuleType("test"))
sys.modules["test"].support = sys.modules["test.support"] = types.SimpleNamespace(verbose=0)
spec = spec_from_file_location("old", sys.argv[1])
sys.modules["old"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["old"])
result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromName("old"))
print(result.testsRun, len(result.skipped), result.wasSuccessful())
"""


@lru_cache
def folder_of(version: str) -> Path | None:
    """The folder of the tests of an old Python, if there is one."""
    found = workspace.interpreters((version,))
    if version not in found:
        return None
    asked = subprocess.run(
        [found[version], "-I", "-c", "import os, test; print(os.path.dirname(test.__file__))"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return Path(asked.stdout.strip()) if asked.returncode == 0 else None


@pytest.mark.parametrize(("name", "tests"), [("test_dummy_thread", 26), ("test_dummy_threading", 1)])
@pytest.mark.parametrize("version", OLD)
def test_they_pass(version: str, name: str, tests: int) -> None:
    folder = folder_of(version)
    if folder is None or not (folder / f"{name}.py").is_file():
        pytest.skip(f"no Python {version} with its tests is installed")
    ended = watched.run("-c", PROGRAM, folder / f"{name}.py")
    assert ended.out == f"{tests} 0 True\n", str(ended)
