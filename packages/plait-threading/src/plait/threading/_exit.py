# SPDX-License-Identifier: MIT
#
# The end of the process: tell the pools to stop, then wait for the threads.
#
# Rules
#   - Every non-daemon thread is joined before the interpreter is taken down, whichever modules were imported.
#   - Before that, the callbacks of `register_atexit` run, last-registered first: a pool whose workers wait for work
#     has to tell them to go home before anybody waits for them.
#   - One failing callback is reported and does not keep the others from running.
#   - A callback may register another, a thread may start another: it goes on until there are none left. What a thread
#     registers while we join is called when the join that is under way has ended.
#   - It happens once per process. A forked child begins anew, with the callbacks that the parent had registered and
#     not yet called: they belong to objects that the child has, too.
#   - Someone who interrupts the joining (Ctrl-C) is not made to wait a second time.
#
# Where it is called from. If the standard `threading` is loaded, the interpreter calls its shutdown before it calls any
# `atexit` callback, and that shutdown can be asked to call us first. Otherwise `atexit` is the first step there is; it
# runs callbacks last-registered first, so we register at the first start() or register_atexit(), not at import. Both
# are registered when both exist; whoever comes second finds nothing to do. The standard module may be imported at any time,
# hence the look at every start().
#
# A sub-interpreter may not be taken down while a thread of it is still destroying its thread-local values, which it does
# after it has left the tables. There, and only there, such threads are remembered and waited for as well.
#
# Why the interpreter's own joining (`start_joinable_thread(daemon=False)`) is not used: it happens inside the standard
# module's shutdown if that module happens to be loaded *by then*. Threads that wait for a callback of ours, to be
# called after it, would never be told, and the process would never end.

from __future__ import annotations

import atexit

from .._thread import (
    _is_main_interpreter,
    get_ident,
    register_after_fork,
    report_unraisable,
)
from . import _standard
from ._registry import alive, here, snapshot
from ._surely import raised_here

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Hook = Callable[..., object]


class _Ending:
    """What is registered, and how far the end has come."""

    def __init__(self) -> None:
        self.hooks: list[tuple[Hook, tuple[Any, ...], dict[str, Any]]] = []
        self.known_to_atexit = False
        self.known_to_standard = False
        self.runs_in = 0  # identifier of the thread that is busy with it
        self.given_up = False
        self.begun = False
        self.main_thread_ends: Callable[[], object] = bool


_ending = _Ending()


def _begin_anew(ending: _Ending) -> None:
    ending.runs_in = 0
    ending.given_up = False
    ending.begun = False


register_after_fork(_ending, _begin_anew)


# Functions that wait for ended threads, in a sub-interpreter; the latest LEAVING_KEPT. A guess: more will not be
# leaving at a time.
_leaving: list[Callable[[], object]] = []
LEAVING_KEPT = 200
in_sub_interpreter = not _is_main_interpreter()


def leaves(life: Any) -> None:
    """In a sub-interpreter: a thread has nothing left to do that Python code could see."""
    if not life.daemon:
        _leaving.append(life.farewell())
        del _leaving[:-LEAVING_KEPT]


def at_end_of_main_thread(func: Callable[[], object]) -> None:
    """What to call when the main thread has nothing left to do but wait for the others."""
    _ending.main_thread_ends = func


def arm() -> None:
    """Make sure that the end of the interpreter is noticed, at the earliest step that can be had now."""
    if not _ending.known_to_atexit:
        _ending.known_to_atexit = True
        atexit.register(finish)
    if not _ending.known_to_standard and _standard.loaded() is not None:
        _ending.known_to_standard = _standard.at_shutdown(finish)


def register_atexit(func: Hook, /, *args: Any, **kwargs: Any) -> None:
    """Call ``func(*args, **kwargs)`` at interpreter exit, before non-daemon threads are joined.

    Callbacks run once, in the thread that ends the process, last-registered first; an exception in one is reported to
    `sys.unraisablehook` and the next one runs. With the standard `threading` loaded (at the time of the latest
    `Thread.start()` or call of this) it is before all `atexit` callbacks, otherwise it is one of them. Never blocks;
    safe in any thread. Not in the standard module.
    """
    if not callable(func):
        raise TypeError(f"register_atexit() needs a callable, not {func!r}")
    _ending.hooks.append((func, args, kwargs))
    arm()


def _register_atexit(func: Hook, /, *args: Any, **kwargs: Any) -> None:
    """What libraries know of the standard module: like `register_atexit`, but refused once the end has begun."""
    if _ending.begun:
        raise RuntimeError(
            "can't register atexit after shutdown; register_atexit() can, while threads are joined"
        )
    register_atexit(func, *args, **kwargs)


def unregister_atexit(func: Hook) -> None:
    """Forget every registration of *func* by `register_atexit`. Unknown functions are ignored."""
    for entry in [*_ending.hooks]:
        if entry[0] == func:
            try:
                _ending.hooks.remove(entry)
            except ValueError as error:  # called, or removed, meanwhile
                if not raised_here(error):
                    raise


def finish() -> None:
    """Run the callbacks and join the threads; this is what the interpreter calls."""
    me = get_ident()
    if _ending.runs_in == me or _ending.given_up:
        return
    _ending.runs_in = me
    _ending.begun = True
    try:
        _ending.main_thread_ends()
        _run_hooks()
        while (thread := _next_to_join()) is not None:
            thread._life_.wait()  # not what a subclass has made of join(): others wait for us to get on
            _run_hooks()
        while _leaving:
            _leaving.pop()()
    except BaseException:
        _ending.given_up = True
        raise
    finally:
        _ending.runs_in = 0


def _run_hooks() -> None:
    while True:
        try:
            func, args, kwargs = _ending.hooks.pop()
        except IndexError as error:
            if not raised_here(error):
                raise
            return
        try:
            func(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - reported; the others must run
            report_unraisable(error, "Exception ignored in exit callback", func)


def _next_to_join() -> Any:
    me = getattr(here, "thread", None)
    for thread in snapshot():
        life = thread._life_
        # Those that others started, and the main thread of a forked child, have nothing to note.
        # (Nor has one that could not be started, and may be again.)
        if thread is not me and not life.daemon and getattr(life, "note", None):
            if not life.is_over():
                return thread
            alive.pop(id(thread), None)
    return None


def run_exit_hooks() -> None:
    """Do now what is done at interpreter exit: callbacks, then join every non-daemon thread.

    For a process that will be ended by `os._exit`, such as the child of a fork, which skips the interpreter's own exit.
    Also lets the standard `threading`, if it is loaded, join its threads. Blocks until they have ended. A second call
    finds nothing left to do; after `os.fork()` the child can call it again. Not in the standard module.
    """
    finish()
    _standard.shut_down()


# The name under which the standard module has it, for those who stage an exit of their own.
_shutdown = finish
