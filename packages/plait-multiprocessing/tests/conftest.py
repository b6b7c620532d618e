# SPDX-License-Identifier: MIT
"""Contexts to test with, and the check that a test leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from plait import multiprocessing as mp

# A machine that is busy is no failure of ours, and so neither are examples that took long to make.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

HERE = Path(__file__).parent
# Targets of spawned children have to be importable by name.
sys.path.insert(0, str(HERE / "targets"))


@pytest.fixture(params=mp.get_all_start_methods())
def ctx(request):
    return mp.get_context(request.param)


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    deadline = time.monotonic() + 20
    while mp.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert mp.active_children() == []


@pytest.fixture
def script(tmp_path):
    """Run a program in an interpreter of its own; `{mp}` in it is the name of the package under test."""

    def run(source, *args, timeout=100, name="program.py"):
        path = tmp_path / name
        path.write_text(source.replace("{mp}", mp.__name__))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        return subprocess.run(
            [sys.executable, str(path), *map(str, args)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            cwd=tmp_path,
        )

    return run
