# SPDX-License-Identifier: MIT
#
# Standing beside the interpreter's own `threading`: the one file that looks at it.
#
# It is never imported here. If the program (or a library of it: logging, asyncio) has loaded it, it is in
# `sys.modules`, and then some things are done for those who use it:
#
#   - Inside a plait thread its `current_thread()` answers with that thread's name, identifiers and daemon flag, and its
#     `enumerate()` lists it.
#   - Functions given to its `settrace` and `setprofile` (debuggers, coverage) are installed in plait threads.
#   - A function put in the place of its `excepthook` (crash reporters) is told of exceptions in plait threads, unless ours
#     was replaced, too.
#   - Our exit hooks run at the start of its shutdown, which comes before `atexit` callbacks.
#
# Stand-ins. Asking the standard module who we are would make it enter a dummy of its own, to be renamed through public
# attributes; that is right on every Python, but costs as much as one of its threads (25-30 us). So where its table of
# threads can be recognised, a StandIn is put in instead: an object of its `Thread` type with nothing in it but a
# reference to the plait thread. Rules:
#
#   - The first stand-in is tried out: if the standard `current_thread()` does not then answer with it, this is not the
#     table we thought it was, and the public way is taken from then on.
#   - The standard module never does more with a stand-in than hand it out. The one moment at which it would reach into
#     its threads is a fork, so stand-ins are taken out before and put back after; the forking thread gets a genuine
#     dummy, because the child's standard module will take it for its main thread. Several threads may fork at a time, so
#     each knows what it has taken out. A stand-in that is put in between that and the fork itself lets the child's
#     standard module do to it what it does to threads that are gone, and needs none of it.
#   - A thread takes its own stand-in out when it ends. Nothing is left behind.
#
# The standard module takes the thread that first imports it for the main thread. Before 3.13, if that is a daemon thread
# of ours that never ends, it waits for it at exit, for ever. So its list of what it waits for is put right when we meet
# it. (Nothing can be done if nobody calls us after such an import.)
#
# Every private name is probed for; a missing one loses that nicety and nothing else. If the standard module is loaded
# only after a plait thread has begun, the thread is entered when it next calls `start()` or `current_thread()`.

from __future__ import annotations

import os
import sys

from .._thread import get_ident, main_thread_ident

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._threads import Thread

_modules = sys.modules
NAME = "threading"


def loaded() -> Any:
    """The standard module if the program uses it, and it is ready for use."""
    module = _modules.get(NAME)
    if module is None:
        return None
    # Another thread may be in the middle of importing it: what it defines last must be there.
    return module if hasattr(module, "_shutdown") and hasattr(module, "_main_thread") else None


class _Neighbour:
    """What is known about the standard module that is loaded now."""

    def __init__(self, module: Any) -> None:
        self.module = module
        # Where to look whether there is anything to trace by: faster than to ask twice in every thread.
        self.names: dict[str, Any] = vars(module)
        if not self.names.keys() >= {"_trace_hook", "_profile_hook"}:
            self.names = {"_trace_hook": True, "_profile_hook": True}  # elsewhere, so ask
        table = getattr(module, "_active", None)
        self.table: dict[int, Any] | None = table if isinstance(table, dict) else None
        self.tried = False
        self.parked: dict[int, dict[int, Any]] = {}  # by the forking thread, and by the threads taken out
        self.stand_in: Any = _stand_in_type(module.Thread)
        self.wait_for_the_right_thread()

    def wait_for_the_right_thread(self) -> None:
        waited_for = getattr(self.module, "_shutdown_locks", None)
        supposed_main = self.module.main_thread()
        if isinstance(waited_for, set) and supposed_main.ident != main_thread_ident():
            waited_for.discard(getattr(supposed_main, "_tstate_lock", None))

    def enter(self, thread: Thread) -> None:
        """The first time, and always where the table is not what we think: make the module know the calling thread."""
        thread._life_.mirror = getattr(self.module, "_active", {})
        ident = get_ident()
        if self.table is not None:
            entry = _new(self.stand_in)
            entry.of_ours = thread
            self.table[ident] = entry
            if self.module.current_thread() is entry:
                self.tried = True
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(before=self.before_fork, after_in_parent=self.after_fork_in_parent)
                return
            self.table.pop(ident, None)
            self.table = None
        self.module.current_thread().name = thread._life_.known_as()

    def install_hooks(self) -> None:
        """In a new thread: what it is to be traced and profiled by."""
        trace, profile = self.module.gettrace(), self.module.getprofile()
        if trace is not None:
            sys.settrace(trace)
        if profile is not None:
            sys.setprofile(profile)

    def before_fork(self) -> None:
        table, mine = self.table, get_ident()
        self.parked[mine] = parked = {}
        if table is None:
            return
        for ident, entry in [*table.items()]:
            if isinstance(entry, self.stand_in):
                parked[ident] = entry
                table.pop(ident, None)
        if mine in parked:
            self.module.current_thread().name = parked[mine].name

    def after_fork_in_parent(self) -> None:
        table, parked = self.table, self.parked.pop(get_ident(), {})
        if table is None:
            return
        for ident, entry in parked.items():
            life = entry.of_ours._life_
            if life.mirror is None:  # it ended meanwhile; another thread may have its identifier by now
                continue
            table[ident] = entry
            if (
                life.mirror is None and table.get(ident) is entry
            ):  # at this moment, and found nothing to take out
                table.pop(ident, None)


_neighbour: _Neighbour | None = None
_new = object.__new__


def _stand_in_type(base: Any) -> Any:
    class StandIn(base):  # type: ignore[misc]
        """A thread of another library, as the standard `threading` sees it."""

        __slots__ = ("of_ours",)
        of_ours: Thread  # set by who makes one, which takes half the time of a call of __init__

        def __repr__(self) -> str:
            return f"<{type(self).__name__} for {self.of_ours!r}>"

        name = property(
            lambda self: self.of_ours.name, lambda self, name: setattr(self.of_ours, "name", name)
        )
        daemon = property(lambda self: self.of_ours.daemon)
        ident = property(lambda self: self.of_ours.ident)
        native_id = property(lambda self: self.of_ours.native_id)

        def is_alive(self) -> bool:
            return self.of_ours.is_alive()

        def join(self, timeout: float | None = None) -> None:
            self.of_ours.join(timeout)

        def start(self) -> None:
            raise RuntimeError(f"{self!r} runs already; it was started elsewhere")

        def _after_fork(self, *_how: Any, **_whom: Any) -> None:
            """Have nothing to be mended in a forked child; before 3.13 that is asked for by the other names."""

        _reset_internal_locks = _stop = _after_fork

    return StandIn


def _meet(module: Any) -> _Neighbour:
    global _neighbour
    known = _neighbour
    if known is None or known.module is not module:
        known = _neighbour = _Neighbour(module)
    return known


def enter(thread: Thread, life: Any) -> None:
    """Make the standard module know the calling thread as *thread*, whose *life* is noted to be mirrored."""
    module: Any = _modules.get(NAME)
    neighbour = _neighbour
    if neighbour is None or neighbour.module is not module:
        module = loaded()
        if module is None:
            return
        neighbour = _meet(module)
    table = neighbour.table
    if table is not None and neighbour.tried:
        entry = _new(neighbour.stand_in)
        entry.of_ours = thread
        life.mirror = table
        table[life.ident] = entry
    else:
        neighbour.enter(thread)


def install_hooks() -> None:
    """In a thread that the standard module knows: what its functions say that new threads are traced and profiled by."""
    neighbour = _neighbour
    if neighbour is None:
        return
    names = neighbour.names
    if names["_trace_hook"] is not None or names["_profile_hook"] is not None:
        neighbour.install_hooks()


def leave(life: Any) -> None:
    """Take a thread out of the standard module's table again."""
    table, life.mirror = life.mirror, None
    table.pop(life.ident, None)


def rename(thread: Thread) -> None:
    """Pass a new name on to a dummy of the standard module's own making."""
    if _neighbour is not None and _neighbour.table is None:
        for standard in _neighbour.module.enumerate():
            if standard.ident == thread._life_.ident:
                standard.name = thread._life_.known_as()


def name_survivor(thread: Thread) -> None:
    """In a forked child: the standard module may have named its new main thread after the old one."""
    if _neighbour is None or _neighbour.module is not loaded():
        return
    # Only looked at: to make a new entry the module takes a lock, which a thread of the parent may have held, and which it
    # makes free only after this.
    table, name = _neighbour.table, thread._life_.known_as()
    known = _neighbour.module.current_thread() if table is None else table.get(get_ident())
    if known is not None and known.name != name:
        known.name = name


def known_as(ident: int) -> tuple[str, bool] | None:
    """Name and daemon flag under which the standard module knows a thread."""
    module = loaded()
    if module is not None:
        for standard in module.enumerate():
            if standard.ident == ident:
                return standard.name, standard.daemon
    return None


def replaced_excepthook() -> tuple[Any, Any] | None:
    """The standard module's excepthook, if somebody has set another one there, and what it is to be given."""
    module = loaded()
    hook = getattr(module, "excepthook", None)
    if hook is None or hook is getattr(module, "__excepthook__", hook):
        return None
    return hook, module.ExceptHookArgs


def at_shutdown(hook: Callable[[], object]) -> bool:
    """Have the standard module call *hook* before it joins its threads. False if it cannot be had (any more)."""
    register = getattr(loaded(), "_register_atexit", None)
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
    if module is None:
        return
    try:
        module._shutdown()
    except (AssertionError, AttributeError):
        # Some versions cannot, when the main thread is one that they did not start (it forked). The public way:
        me = module.current_thread()
        for thread in module.enumerate():
            if thread is not me and not thread.daemon:
                thread.join()
