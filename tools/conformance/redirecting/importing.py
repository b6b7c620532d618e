# SPDX-License-Identifier: MIT
# Who sees what: the wrapper around `__import__`, and the decision by the importer.
#
# `sys.modules` is left as it is: it holds the interpreter's own modules, which logging, asyncio and the tests' runner
# need, and in which plait looks for its neighbours. Instead the question is who says `import threading`:
#
#   TEST       the interpreter's regression tests, `__main__` and `__mp_main__`, -c code, files that tests write into
#              temporary folders or zips, doctests, names without a file: they get a facade of the implementation
#   SUPPORT    test.support and its submodules: the interpreter's modules, because they use private names of them; but
#              the one that catches exceptions of threads gets a hybrid (see facades.py)
#   STANDARD   everything else: the standard library, site-packages, the implementation itself, the runner
#
# The importer is known by its globals: by the file that it is from, and by its name where it has no file.
#
# `import_module` does not go through `__import__` and is wrapped, too. Some callers of it import on behalf of somebody
# else (pkgutil.resolve_name, unittest.mock, test.support.import_helper): the frames are followed to that somebody.
#
# All of this runs at the start of every child of every test, so it imports next to nothing; the rest is loaded with the
# first import that is redirected.
"""Hands facades of the implementation to the tests, and the interpreter's own modules to everybody else."""

from __future__ import annotations

import builtins
import os
import sys

from . import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, ModuleType
    from typing import Any

#: The implementation's namespace package.
NAMESPACE = "plait"

#: The modules that are redirected, submodules included, and their names below the namespace.
ROOTS = {
    "_thread": "_thread",
    "_dummy_thread": "_dummy_thread",
    "threading": "threading",
    "dummy_threading": "dummy_threading",
    "queue": "queue",
    "sched": "sched",
    "subprocess": "subprocess",
    "multiprocessing": "multiprocessing",
    "concurrent.futures": "futures",
}
FIRST_NAMES = frozenset(name.partition(".")[0] for name in ROOTS)

STANDARD, TEST, SUPPORT = "standard", "test", "support"

STANDARD_LIBRARY = os.path.dirname(os.__file__)
_SEPARATOR = os.sep
_TESTS = os.path.join(STANDARD_LIBRARY, "test") + _SEPARATOR
_NOT_TESTS = tuple(
    folder.rstrip(_SEPARATOR) + _SEPARATOR
    for folder in (*settings.EXEMPT, settings.SITE, settings.IMPLEMENTATION or settings.SITE)
)
#: They import on behalf of their callers.
_GO_BETWEENS = frozenset(("importlib", "pkgutil", "test.support.import_helper", "contextlib"))

#: The interpreter's own, for us and for whoever is not redirected.
original: Callable[..., Any] = builtins.__import__

_known: dict[tuple[Any, Any], str] = {}


def _judge(name: Any, file: Any) -> str:
    if isinstance(name, str) and name.startswith(NAMESPACE + "."):
        return STANDARD  # wherever it lies
    if isinstance(file, str):
        if not os.path.isabs(file):
            file = os.path.abspath(file)
        if file.startswith(_NOT_TESTS):
            return STANDARD
        if file.startswith(_TESTS):
            part = file[len(_TESTS) :].partition(_SEPARATOR)[0]
            return {"support": SUPPORT, "libregrtest": STANDARD}.get(part, TEST)
        return STANDARD if file.startswith(STANDARD_LIBRARY + _SEPARATOR) else TEST
    if isinstance(name, str):
        if name == "test.support" or name.startswith("test.support."):
            return SUPPORT
        first = name.partition(".")[0]
        if first != "test" and (first in sys.stdlib_module_names or first == __package__):
            return STANDARD  # frozen or built in
    return TEST


def who(namespace: Mapping[str, Any], frame: FrameType | None = None) -> str:
    """What the code whose globals these are gets to see; `frame` tells a doctest from the module that it is in."""
    if frame is not None and frame.f_code.co_filename.startswith("<doctest "):
        return TEST
    key = namespace.get("__name__"), namespace.get("__file__")
    try:
        return _known[key]
    except KeyError:
        verdict = _known[key] = _judge(*key)
        return verdict
    except TypeError:
        return TEST  # somebody put something unhashable there: no module of the standard library


def being_imported(frame: FrameType | None) -> bool:
    """Whether a test module is being imported by the thread that `frame` belongs to, at or below it."""
    while frame is not None:
        spec = frame.f_globals.get("__spec__")
        if getattr(spec, "_initializing", False) and who(frame.f_globals) is TEST:
            return True
        frame = frame.f_back
    return False


def _redirecting_import(
    name: str,
    globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names of the built-in function's
    locals: Mapping[str, Any] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    if level == 0:
        first = name.partition(".")[0]
        if first in FIRST_NAMES:
            # A list is what the interpreter's C code passes. It takes the module out of sys.modules afterwards.
            if type(fromlist) is not list:
                frame = sys._getframe(1)
                namespace = frame.f_globals if globals is None else globals
                verdict = who(namespace, frame)
                if verdict is STANDARD and frame.f_code.co_name in ("_importer", "_dot_lookup"):
                    verdict = TEST if namespace.get("__name__") == "unittest.mock" else STANDARD
                if verdict is not STANDARD:
                    from . import facades

                    if verdict is TEST:
                        return facades.import_for_test(name, fromlist)
                    if name == "threading" and namespace.get("__name__") == "test.support.threading_helper":
                        return facades.hybrid_threading()
        elif first in _on_import:
            module = original(name, globals, locals, fromlist, level)
            _on_import.pop(first, lambda: None)()
            return module
    return original(name, globals, locals, fromlist, level)


def _wrap_import_module() -> None:
    importlib: Any = sys.modules["importlib"]
    original_import_module = importlib.import_module

    def import_module(name: str, package: str | None = None) -> ModuleType:
        if name.partition(".")[0] in FIRST_NAMES:
            fresh = False
            frame: FrameType | None = sys._getframe(1)
            verdict = STANDARD
            while frame is not None:
                if frame.f_globals.get("__name__") == "unittest.mock":
                    verdict = TEST  # its targets are strings, and only tests have any
                    break
                if frame.f_globals.get("__name__") not in _GO_BETWEENS:
                    verdict = who(frame.f_globals, frame)
                    break
                fresh = fresh or frame.f_code.co_name == "import_fresh_module"
                frame = frame.f_back
            if verdict is TEST:
                from . import facades

                return facades.fresh(name) if fresh else facades.resolve(name)
        return original_import_module(name, package)  # type: ignore[no-any-return]

    importlib.import_module = import_module


#: What there is to do once one of these is there.
_on_import: dict[str, Callable[[], object]] = {
    "importlib": _wrap_import_module,
}


def _set_namespace(folder: str) -> None:
    """Make the namespace package consist of this folder alone, whatever is on the path."""
    spec = type(sys.__spec__)(NAMESPACE, None, is_package=True)
    spec.submodule_search_locations = [os.path.join(folder, NAMESPACE)]
    module = type(sys)(NAMESPACE)
    module.__spec__ = spec
    module.__path__ = spec.submodule_search_locations
    sys.modules[NAMESPACE] = module


def begin() -> None:
    """Take effect."""
    if settings.IMPLEMENTATION:
        _set_namespace(settings.IMPLEMENTATION)
    for name, act in list(_on_import.items()):
        if name in sys.modules:
            del _on_import[name]
            act()
    builtins.__import__ = _redirecting_import
