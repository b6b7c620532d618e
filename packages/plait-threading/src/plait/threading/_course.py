# SPDX-License-Identifier: MIT
#
# What a new thread does around run(), and what is kept of it (for the whole story see _threads.py).

from __future__ import annotations

import sys

from .._thread import Course, Lifetime, set_name
from . import _standard
from ._copies import Uncopied
from ._excepthook import chain, report
from ._exit import in_sub_interpreter, leaves
from ._registry import alive, here
from ._standard import NAME as STANDARD
from ._surely import raised_here
from ._trace import hooks_for_threads
from ._trace import install as install_hooks

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from contextvars import Context
    from types import TracebackType
    from typing import Any, NoReturn

    from ._threads import Thread

__all__ = ["ATTENDED", "OUR_FILES", "Life", "ThreadCourse", "name_in_system"]

_modules = sys.modules

# Where the frames lie that are around what a thread was given to do.
OUR_FILES = {__file__}

# Flags of code whose frames outlive an exception that was handled in them: generators and coroutines.
_RESUMABLE = 0x20 | 0x80 | 0x200


class Life(Uncopied, Lifetime):
    """What is behind a Thread."""

    __slots__ = ("claims", "context", "daemon", "failure", "made_up", "mirror", "name", "outcome", "parts")

    context: Context | None
    daemon: bool
    # Of several callers of start() the first one here goes on, the others withdraw. ATTENDED follows while it waits.
    claims: list[object]
    failure: BaseException | None
    # The standard module's table, while the thread is entered there.
    mirror: dict[int, Any] | None
    # None: to be made up of the parts, a number and what the target is called, when it is asked for, which is seldom.
    name: str | None
    parts: tuple[int, str | None]
    made_up: str
    # What run() returned, or what left it. None while it runs, and if it was never reached or did not end here.
    outcome: tuple[Any, BaseException | None, TracebackType | None] | None

    def __init__(self, name: str | None, daemon: bool, context: Context | None) -> None:
        self.name = name
        self.daemon = daemon
        self.context = context
        self.claims = []
        self.failure = self.mirror = self.outcome = None

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle or copy the thread {self.known_as()!r}: it is one of this process; pass on what it is to do"
        )

    def known_as(self) -> str:
        """The name, made up if none was given."""
        if self.name is not None:
            return self.name
        try:
            return self.made_up
        except AttributeError:
            number, called = self.parts
            self.made_up = f"Thread-{number}" if called is None else f"Thread-{number} ({called})"
            return self.made_up

    def renewed(self) -> Life:
        """Another one, for a thread that could not be started."""
        life = Life(self.name, self.daemon, self.context)
        if self.name is None:
            life.parts = self.parts
        return life

    def unattend(self) -> bool:
        """Take ATTENDED away: start() does, when it leaves; or the new thread, to rely on start(). Says who was first."""
        try:
            self.claims.remove(ATTENDED)
        except ValueError as error:
            if not raised_here(error):
                raise
            return False
        return True


ATTENDED = object()


class ThreadCourse(Course):
    """What the new thread calls."""

    __slots__ = ("context", "thread")
    thread: Thread
    context: Context | None
    here = here

    def __call__(self) -> None:
        life: Life = self.lifetime
        thread = self.thread
        try:
            self.arrive()
            here.thread = thread
            alive[id(thread)] = thread
            if STANDARD in _modules:
                _standard.enter(thread, life)
            if _NAMES_ARE_CHEAP or life.name is not None:
                name_in_system(life.known_as())
            self.begin()
        except BaseException as error:  # noqa: BLE001 - start() raises it, or else it is reported
            self.fail(error)
            return
        try:
            # Not before: if one of them raises, it is the thread that fails, and not its start.
            if life.mirror is not None:
                _standard.install_hooks()
            if hooks_for_threads:
                install_hooks()
            context = self.context
            life.outcome = (thread.run() if context is None else context.run(thread.run), None, None)
        except SystemExit as error:
            life.outcome = (None, None, None)
            report(thread, error)
        except BaseException as error:  # noqa: BLE001 - what excepthook is for
            nobody_has_it = report(thread, error)
            life.outcome = (None, error, _relic(error, nobody_has_it))
        finally:
            alive.pop(id(thread), None)
            if life.mirror is not None:
                _standard.leave(life)
            if in_sub_interpreter:
                leaves(life)
            self.depart()
            # The frames of an exception know this one, and the thread keeps the exception.
            del self, life, thread

    def fail(self, error: BaseException) -> None:
        """The first steps have raised *error*."""
        life, thread = self.lifetime, self.thread
        life.failure = error
        alive.pop(id(thread), None)
        if life.mirror is not None:
            _standard.leave(life)
        if not life.unattend():
            alive.pop(id(thread), None)  # where start() may have put it, as it left
            report(thread, error)
        self.give_up()
        self.depart()


# From 3.14 on the interpreter has a call for it; elsewhere it is a file to open and write, which costs as much as a
# fifth of a thread.
_NAMES_ARE_CHEAP = sys.version_info >= (3, 14)


def name_in_system(name: str) -> None:
    try:
        set_name(name)
    except OSError:
        return  # a system that forbids it; the name is for people only


def _relic(error: BaseException, nobody_has_it: bool) -> TracebackType | None:
    """The traceback that `result()` is to show: without this module's own frames.

    If it was only printed, and nobody else has it, what its frames refer to is let go: often that is the thread itself,
    which would not be freed before the next garbage collection. Of this module's frames it always is.
    """
    ours: TracebackType | None = error.__traceback__
    while ours is not None and ours.tb_frame.f_code.co_filename in OUR_FILES:
        ours = ours.tb_next
    for link in chain(error):
        step = link.__traceback__
        while step is not None:
            code = step.tb_frame.f_code
            if code.co_filename in OUR_FILES or (nobody_has_it and not code.co_flags & _RESUMABLE):
                try:
                    step.tb_frame.clear()
                except RuntimeError:  # it is still running
                    pass
            step = step.tb_next
    if nobody_has_it:
        error.__traceback__ = ours
    return ours
