# SPDX-License-Identifier: MIT
"""The surface: names, signatures, documentation, what an import costs, and the examples in the texts."""

from __future__ import annotations

import concurrent.futures as stdlib_futures
import doctest
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plait.futures import Future

PACKAGE = Future.__module__.rpartition(".")[0]
NAMESPACE = PACKAGE.rpartition(".")[0]
MODULE = importlib.import_module(PACKAGE)
SUBMODULES = [importlib.import_module(f"{PACKAGE}.{name}") for name in ("thread", "process")]
BANNED = {
    "threading",
    "queue",
    "sched",
    "subprocess",
    "multiprocessing",
    "concurrent",
    "asyncio",
    "logging",
    "socket",
}
ABSENT = {"InterpreterPoolExecutor"}
CLASSES = ["Future", "Executor", "ThreadPoolExecutor", "ProcessPoolExecutor"]


@pytest.mark.parametrize(
    "module", [MODULE, *SUBMODULES], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_every_public_name_exists_and_is_documented(module):
    for name in module.__all__:
        value = getattr(module, name)
        assert name in dir(module)
        if callable(value):
            assert inspect.getdoc(value), name
            for method, member in vars(value).items():
                if not method.startswith("_") and callable(member):
                    assert inspect.getdoc(member), f"{name}.{method}"


def test_it_has_the_names_of_the_standard_module():
    assert set(stdlib_futures.__all__) - ABSENT <= set(MODULE.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_classes_have_the_methods_of_the_standard_ones(name):
    theirs = {method for method in dir(getattr(stdlib_futures, name)) if not method.startswith("_")}
    if name == "ThreadPoolExecutor":
        theirs -= {"BROKEN", "prepare_context"}  # they serve the pool of interpreters
    assert theirs <= set(dir(getattr(MODULE, name)))


EXPECTED = {
    "Executor.submit": "(self, fn, /, *args, **kwargs)",
    "Executor.map": "(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None, return_exceptions=False)",
    "Executor.shutdown": "(self, wait=True, *, cancel_futures=False)",
    "ThreadPoolExecutor.__init__": "(self, max_workers=None, thread_name_prefix='', initializer=None, initargs=())",
    "ThreadPoolExecutor.map": "(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None, return_exceptions=False)",
    "ThreadPoolExecutor.submit": "(self, fn, /, *args, **kwargs)",
    "ThreadPoolExecutor.shutdown": "(self, wait=True, *, cancel_futures=False)",
    "ProcessPoolExecutor.__init__": "(self, max_workers=None, mp_context=None, initializer=None, initargs=(), *, "
    "max_tasks_per_child=None)",
    "ProcessPoolExecutor.map": "(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None, return_exceptions=False)",
    "ProcessPoolExecutor.submit": "(self, fn, /, *args, **kwargs)",
    "ProcessPoolExecutor.shutdown": "(self, wait=True, *, cancel_futures=False)",
    "ProcessPoolExecutor.terminate_workers": "(self)",
    "ProcessPoolExecutor.kill_workers": "(self)",
    "Future.__init__": "(self)",
    "Future.add_done_callback": "(self, fn)",
    "Future.cancel": "(self)",
    "Future.cancelled": "(self)",
    "Future.done": "(self)",
    "Future.exception": "(self, timeout=None)",
    "Future.result": "(self, timeout=None)",
    "Future.running": "(self)",
    "Future.set_exception": "(self, exception)",
    "Future.set_result": "(self, result)",
    "Future.set_running_or_notify_cancel": "(self)",
    "as_completed": "(fs, timeout=None)",
    "wait": "(fs, timeout=None, return_when='ALL_COMPLETED')",
}


@pytest.mark.parametrize("path", EXPECTED)
def test_signatures_are_those_of_python_3_15_and_what_the_readme_adds(path):
    value = MODULE
    for name in path.split("."):
        value = getattr(value, name)
    signature = inspect.signature(value)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    assert (
        str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == EXPECTED[path]
    )


def loaded_by(code):
    run = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.path[:] = {sys.path!r}; before = set(sys.modules); {code}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


def test_import_brings_in_no_other_module_of_the_chapter_and_no_process_pool():
    names = loaded_by(f"import {PACKAGE}; print(*(set(sys.modules) - before))")
    assert PACKAGE in names
    assert not {name.partition(".")[0] for name in names} & BANNED
    assert f"{NAMESPACE}.multiprocessing" not in names
    assert f"{PACKAGE}.process" not in names


def test_using_a_pool_of_threads_brings_in_none_either():
    names = loaded_by(
        f"import {PACKAGE} as f; p = f.ThreadPoolExecutor(1); p.submit(int).result(); p.shutdown(); print(*sys.modules)"
    )
    assert not {name.partition(".")[0] for name in names} & BANNED


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_using_a_pool_of_processes_brings_in_none_of_the_replaced_modules():
    names = loaded_by(
        f"import {PACKAGE} as f; from {NAMESPACE}.multiprocessing import get_context; "
        "p = f.ProcessPoolExecutor(1, get_context('fork')); p.submit(int).result(); p.shutdown(); print(*sys.modules)"
    )
    assert not {name.partition(".")[0] for name in names} & (BANNED - {"socket"})


def test_the_process_pool_can_be_imported_by_name():
    assert loaded_by(f"from {PACKAGE} import ProcessPoolExecutor as p; print(p.__name__)") == {
        "ProcessPoolExecutor"
    }
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        MODULE.missing  # noqa: B018


def test_the_examples_in_the_texts_are_true():
    if PACKAGE.count(".") == 1:  # vendored, the imports in the texts are of another copy
        for module in [MODULE, *SUBMODULES]:
            assert doctest.testmod(module).failed == 0
        readme = Path(__file__).parent.parent / "README.md"
        outcome = doctest.testfile(str(readme), module_relative=False)
        assert outcome.attempted >= 4
        assert outcome.failed == 0
