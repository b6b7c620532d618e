# SPDX-License-Identifier: MIT
# Scaffolding: private names that the tests' set-up and tear-down use to clean up after other implementations' ways.
#
# Each entry says why the implementation need not have it. An entry may be limited to functions of certain names: a test
# that checks such a name itself meets what is really there.
"""Stand-ins for what only the set-up of tests uses."""

from __future__ import annotations

from types import CodeType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

NOTHING = object()
#: The functions that are set-up or tear-down, and the body of a module.
SET_UP = frozenset(
    (
        "<module>",
        "setUp",
        "setUpClass",
        "setUpModule",
        "setup_module",
        "tearDown",
        "tearDownClass",
        "tearDownModule",
    )
)


def _nothing_to_do(*_args: object, **_options: object) -> None:
    """What a stand-in for a clean-up does."""


def _empty_set() -> Any:
    return set()


def _temporary_directory() -> Any:
    import tempfile

    return tempfile.gettempdir


def _quiet_logger() -> Any:
    import logging

    return lambda: logging.getLogger("conformance")


def _idle() -> Any:
    return _nothing_to_do


#: (module, name): (functions that get it, None for all of them; makes it)
#: Handed out only where the implementation lacks the name.
TABLE: dict[tuple[str, str], tuple[frozenset[str] | None, Callable[[], Any]]] = {
    # The set-up remembers which objects there were, to warn of those that tests leave. Leaks are counted elsewhere.
    ("threading", "_dangling"): (SET_UP, _empty_set),
    ("multiprocessing.process", "_dangling"): (SET_UP, _empty_set),
    # Collects children that have ended; an implementation may do so at other times.
    ("multiprocessing.process", "_cleanup"): (SET_UP, _idle),
    # Stops helper processes between test modules; what helpers there are is private.
    ("multiprocessing.util", "_cleanup_tests"): (SET_UP, _idle),
    # The set-up creates the folder for listeners before their first use.
    ("multiprocessing.util", "get_temp_dir"): (SET_UP, _temporary_directory),
    # The set-up makes the logger quiet. Tests of logging ask for it by themselves, and miss it.
    ("multiprocessing", "get_logger"): (SET_UP, _quiet_logger),
    ("multiprocessing.util", "SUBWARNING"): (SET_UP, lambda: 25),
    # The set-up loads modules into the fork server to save time.
    ("multiprocessing", "set_forkserver_preload"): (SET_UP, _idle),
    # The tear-down of test_subprocess looks for children that nobody has waited for in the standard module's own list.
    ("subprocess", "_active"): (SET_UP, list),
    ("subprocess", "_cleanup"): (SET_UP, _idle),
    # One set-up makes the standard module choose another selector; an implementation may use none.
    ("subprocess", "_PopenSelector"): (SET_UP, lambda: None),
    # Raises where semaphores are too few for process pools to work; who needs none has none too few.
    ("concurrent.futures.process", "_check_system_limits"): (None, _idle),
}


#: Private modules, and the public ones whose names tests take from them.
HOMES = {"concurrent.futures._base": "concurrent.futures"}


def _is_written_in_python(thing: Any, home: Any) -> bool:
    return isinstance(getattr(vars(thing).get("put"), "__code__", None), CodeType) and getattr(
        thing, "__module__", ""
    ).startswith(home.__name__)


def _at_home(module: str, name: str) -> Any:
    """What a private module of the standard library has that the implementation has in a public place."""
    from . import facades, made_futures

    if name in made_futures.STATES:
        return name
    home: Any = facades.resolve(HOMES[module])
    found = getattr(home.redirect_target, name, NOTHING)
    return made_futures.preparable(found) if name == "Future" else found


def find(module: str, name: str, target: Any, frame: FrameType) -> Any:
    """The stand-in for the function that runs in `frame`, or NOTHING."""
    if module in HOMES and not name.startswith("_"):
        return _at_home(module, name)
    if (module, name) == ("queue", "_PySimpleQueue"):
        # The queue that is written in Python: what `SimpleQueue` is where the C one was kept from being imported.
        found = getattr(target, "SimpleQueue", None)
        return found if found is not None and _is_written_in_python(found, target) else NOTHING
    entry = TABLE.get((module, name))
    if entry is None or not (entry[0] is None or frame.f_code.co_name in entry[0]):
        return NOTHING
    return entry[1]()
