# SPDX-License-Identifier: MIT
"""What may hang, kill or exit runs in a child process with a deadline; these fixtures start it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings

from plait.threading import Thread

# A machine that is busy is no failure of ours, and so neither are examples that took long to make.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@dataclass
class Ended:
    returncode: int
    out: str
    err: str


@pytest.fixture
def run_script():
    """Run source text in a fresh interpreter; `{threading}` and `{_thread}` in it name the modules under test."""

    def run(source: str, timeout: float = 20) -> Ended:
        threading_name = Thread.__module__
        thread_name = threading_name.rpartition(".")[0] + "._thread"
        source = (
            textwrap.dedent(source).replace("{threading}", threading_name).replace("{_thread}", thread_name)
        )
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=env,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run
