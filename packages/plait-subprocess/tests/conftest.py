# SPDX-License-Identifier: MIT
"""What every test here starts from."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

from plait.subprocess import _start

# For simulated_winapi, which test_windows imports.
sys.path.insert(0, os.path.dirname(__file__))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every program that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy is no failure of ours, and so neither are examples that took long to make.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# The fallback. Without the interpreter's private fork_exec everything is started by public calls. With WITHOUT_FORK_EXEC=1
# in the environment the whole suite runs so; on one Python these modules always run both ways. (test_start and
# test_platform choose for themselves. Programs that a test starts use what the interpreter has.)
PUBLIC_CALLS = ["posix_spawn", "fork"]
BOTH_WAYS = ("test_communicate", "test_lines", "test_pipeline", "test_recipes")


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_WAYS and sys.version_info[:2] == (3, 12):
        metafunc.fixturenames.append("calls")
        metafunc.parametrize("calls", ["private", "public"], indirect=True)


@pytest.fixture
def calls(request, monkeypatch):
    if request.param == "public":
        monkeypatch.setattr(_start, "order", PUBLIC_CALLS)


@pytest.fixture(autouse=True)
def _without_fork_exec(monkeypatch):
    if os.environ.get("WITHOUT_FORK_EXEC"):
        monkeypatch.setattr(_start, "order", PUBLIC_CALLS)


def pytest_collection_modifyitems(items):
    for item in items:  # newer interpreters warn when a process with threads, as pytest-timeout's, forks
        item.add_marker(pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"))
