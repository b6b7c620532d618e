# SPDX-License-Identifier: MIT
"""Makes the packages `test.test_multiprocessing_*` where an interpreter has their tests but not the packages, and more.

All their tests are in `test._test_multiprocessing`, whose `install_tests_in_module_dict` puts them into a module for one
start method. Some distributions leave the packages out that call it. The modules made here are divided as the newer
interpreters' are, so that each can be run by itself; children find them like the parent, which pickled test classes need.

PyPy's `test.support` takes an optional name from `_testcapi`, which PyPy compiles from a C file at its first import. Where
that file was not installed this ends in FileNotFoundError, which nobody expects; there it becomes an ImportError.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_PREFIX = "test.test_multiprocessing_"
_METHODS = ("fork", "spawn", "forkserver")
#: Last name of a module: what it asks for.
_PARTS: dict[str, dict[str, object]] = {
    "test_processes": {"only_type": "processes"},
    "test_threads": {"only_type": "threads"},
    "test_manager": {"only_type": "manager"},
    "test_misc": {"exclude_types": True},
}


class Maker:
    """Finder and loader of the modules that are missing. It is the last one asked, so what exists is used."""

    def find_spec(self, name: str, *_path_and_target: object) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        method, _, part = name[len(_PREFIX) :].partition(".")
        if method not in _METHODS or (part and part not in _PARTS):
            return None
        make: Any = type(sys.__spec__)  # without the cost of importlib.machinery
        spec: ModuleSpec = make(name, self, is_package=not part)
        return spec

    def create_module(self, _: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        method, _, part = module.__name__[len(_PREFIX) :].partition(".")
        if part:
            from test._test_multiprocessing import (  # type: ignore[import-not-found]
                install_tests_in_module_dict,
            )

            install_tests_in_module_dict(vars(module), method, **_PARTS[part])


def begin() -> None:
    """Take effect."""
    sys.meta_path.append(Maker())
    if sys.implementation.name == "pypy":
        source = os.path.join(os.path.dirname(os.__file__), "_testcapimodule.c")
        if not os.path.exists(source):
            sys.modules["_testcapi"] = None  # type: ignore[assignment]
