# SPDX-License-Identifier: MIT
"""A process is forked while another of its threads is in the middle of an import."""

from __future__ import annotations

import importlib
import os
import signal
import sys

import pytest

from plait import _thread as ours

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

SLOW = """
import builtins, os
first = 1
if os.getpid() == {pid}:
    builtins.half_way.release()
    builtins.go_on.acquire()
last = 2
"""


@pytest.fixture
def half_imported(tmp_path, monkeypatch):
    """A thread that stands in the middle of importing slow_package.inner; the test forks meanwhile."""
    package = tmp_path / "slow_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from .before import value\nfrom .inner import last\nagain = before.value\n"
    )
    (package / "before.py").write_text("value = 7\n")
    (package / "inner.py").write_text(SLOW.format(pid=os.getpid()))
    monkeypatch.syspath_prepend(str(tmp_path))
    half_way, go_on = ours.allocate_lock(), ours.allocate_lock()
    half_way.acquire()
    go_on.acquire()
    monkeypatch.setattr("builtins.half_way", half_way, raising=False)
    monkeypatch.setattr("builtins.go_on", go_on, raising=False)
    handle = ours.start_joinable_thread(lambda: importlib.import_module("slow_package"))
    assert half_way.acquire(True, 10)
    yield
    if go_on.locked():
        go_on.release()
    handle.join(10)
    assert handle.is_done()
    for name in [name for name in sys.modules if name.partition(".")[0] == "slow_package"]:
        del sys.modules[name]


def in_child(work):
    """Fork, run *work* in the child for 60 seconds at most, and return what os.waitpid says of it."""
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        code = 1
        try:
            code = 0 if work() is True else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("name", ["slow_package", "slow_package.inner"])
@pytest.mark.usefixtures("half_imported")
def test_the_child_imports_anew_what_was_half_imported(name):
    def work():
        importlib.import_module(name)
        package = sys.modules["slow_package"]
        # What was done before the fork is known in the package, too.
        return (package.last, package.inner.last, package.before.value, package.again) == (2, 2, 7, 7)

    assert in_child(work) == 0


@pytest.mark.usefixtures("half_imported")
def test_a_grandchild_does_too():
    def work():
        return in_child(lambda: importlib.import_module("slow_package").last == 2) == 0

    assert in_child(work) == 0


def test_the_parent_finishes_its_import(half_imported):
    assert in_child(lambda: True) == 0
    sys.modules["builtins"].go_on.release()
    assert importlib.import_module("slow_package").last == 2


def test_an_import_that_forks_goes_on_in_both_processes(tmp_path, monkeypatch):
    (tmp_path / "forks_itself.py").write_text("import os\npid = os.fork()\ndone = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    me = os.getpid()
    code = 1
    try:
        module = importlib.import_module("forks_itself")
        code = 0 if module.done and sys.modules["forks_itself"] is module else 1
    finally:
        if os.getpid() != me:
            os._exit(code)
    del sys.modules["forks_itself"]
    assert code == 0
    assert os.waitstatus_to_exitcode(os.waitpid(module.pid, 0)[1]) == 0
