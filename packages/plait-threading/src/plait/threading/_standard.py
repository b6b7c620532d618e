# SPDX-License-Identifier: MIT
#
# Standing beside the interpreter's own `threading`: the one file that looks at it.
#
# It is never imported here. If the program (or a library of it: logging, asyncio) has loaded it, it is in
# `sys.modules`; then three things are done for its users:
#
#   - inside a plait thread, `threading.current_thread()` answers with the plait thread's name. The plait thread itself
#     asks the standard module who it is, which makes the module enter a stand-in, and names that. Asking is public API;
#     putting our own objects into its tables would break with every release. On the way out the stand-in is removed,
#     because some versions keep it for ever.
#   - its `settrace`/`setprofile` functions (debuggers, coverage) are installed in plait threads.
#   - our exit hooks run in its shutdown, which comes before `atexit` callbacks.
#
# Every private name is probed for; a missing one loses that nicety and nothing else. If the module is loaded only after
# a plait thread has begun, the thread is entered the next time it calls `start()` or `current_thread()`.

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ._threads import Thread

_modules = sys.modules
_NAME = "threading"


def loaded() -> Any:
    """The standard module if the program uses it, and it is ready for use."""
    module = _modules.get(_NAME)
    # Another thread may be in the middle of importing it; its main thread comes last.
    return module if hasattr(module, "_shutdown") and hasattr(module, "_main_thread") else None


def enter(thread: Thread) -> None:
    """Make the standard module know the calling thread by *thread*'s name."""
    module = loaded()
    if module is None:
        return
    thread._mirrored = True
    module.current_thread().name = thread._name
    trace = module.gettrace()
    if trace is not None:
        sys.settrace(trace)
    profile = module.getprofile()
    if profile is not None:
        sys.setprofile(profile)


def leave(ident: int) -> None:
    """Remove what `enter` left in the standard module's tables for the calling thread."""
    module = _modules.get(_NAME)
    table = getattr(module, "_active", None)
    if isinstance(table, dict):
        table.pop(ident, None)


def rename(thread: Thread) -> None:
    """Pass a new name on, if the standard module knows *thread*."""
    module = loaded()
    if module is not None:
        for standard in module.enumerate():
            if standard.ident == thread._ident:
                standard.name = thread._name


def known_as(ident: int) -> tuple[str, bool] | None:
    """Name and daemon flag under which the standard module knows a thread."""
    module = loaded()
    if module is not None:
        for standard in module.enumerate():
            if standard.ident == ident:
                return standard.name, standard.daemon
    return None


def at_shutdown(hook: Callable[[], object]) -> bool:
    """Have the standard module call *hook* before it joins its threads. False if it cannot be had (any more)."""
    module = loaded()
    register = getattr(module, "_register_atexit", None)
    if register is None:
        return False
    try:
        register(hook)
    except RuntimeError:  # it is shutting down already
        return False
    return True


def shut_down() -> None:
    """Let the standard module join its own threads, as it does at the end of the main thread."""
    module = loaded()
    if module is not None:
        module._shutdown()
