# SPDX-License-Identifier: MIT
#
# What happens to an exception that leaves a thread's run().
#
# It is given to this package's `excepthook`. If nobody has replaced that, but somebody has replaced the one of the standard
# `threading` (reporters of crashes, and test runners, know only that one), it is given to theirs instead: a thread of ours
# should not go unreported because of where it comes from. They get the standard module's own kind of arguments, in which
# `thread` is our Thread: it has what they read of one (name, ident, daemon), and what its class has added.
#
# A Thread keeps the exception for `result()`, and with it the frames that it came through. What is in those is not to live
# as long. It may be done away with unless a hook has kept something that leads there, to be looked at later. Reference
# counts tell: no part of the exception is referred to more often than before. Where there are none (PyPy) only this
# module's own hook is known to keep nothing, and otherwise garbage collection, which is all there is, has to do.

from __future__ import annotations

import builtins
import sys

from .._thread import _excepthook as excepthook
from .._thread import _ExceptHookArgs, report_unraisable
from . import _standard

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._threads import Thread

ExceptHookArgs = _ExceptHookArgs

__all__ = ["ExceptHookArgs", "chain", "excepthook", "report"]

_Group: Any = getattr(builtins, "BaseExceptionGroup", ())  # from 3.11 on

_references: Callable[[object], int] | None = getattr(sys, "getrefcount", None)


def chain(error: BaseException) -> list[BaseException]:
    """The exception and those that are shown before it."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and not any(link is known for known in links):
        links.append(link)
        link = link.__context__ if link.__cause__ is None else link.__cause__
    return links


def family(error: BaseException) -> list[BaseException]:
    """The exception and all that it leads to, shown or not."""
    found, known = [error], {id(error)}  # a group may have thousands
    for link in found:
        members: Any = getattr(link, "exceptions", ()) if isinstance(link, _Group) else ()
        for other in (link.__cause__, link.__context__, *members):
            if other is not None and id(other) not in known:
                known.add(id(other))
                found.append(other)
    return found


def report(thread: Thread, error: BaseException) -> bool:
    """Call whatever `excepthook` is now; say whether it is known to have kept nothing of the error.

    Its own failure goes to `sys.excepthook`, and no further.
    """
    hook = getattr(sys.modules.get(__package__ or ""), "excepthook", None) or excepthook
    kind: Any = ExceptHookArgs
    if hook is excepthook:
        hook, kind = _standard.replaced_excepthook() or (hook, kind)
    parts = [kind((type(error), error, error.__traceback__, thread))]
    if _references is None or hook is excepthook:
        return _call(hook, parts[0], thread) and hook is excepthook
    for link in family(error):
        parts.append(link)
        step = link.__traceback__
        while step is not None:
            parts += step, step.tb_frame
            step = step.tb_next
    before = [*map(_references, parts)]
    _call(hook, parts[0], thread)
    return before == [*map(_references, parts)]


def _call(hook: Callable[[Any], object], args: Any, thread: Thread) -> bool:
    try:
        hook(args)
        return True
    except SystemExit:
        return False
    except BaseException as failure:  # noqa: BLE001 - there is no caller to raise it to
        try:
            if sys.stderr is not None:
                sys.stderr.write("Exception in threading.excepthook:\n")
            sys.excepthook(type(failure), failure, failure.__traceback__)
        except BaseException as another:  # noqa: BLE001 - nor this
            report_unraisable(another, f"Exception in the excepthook for thread {thread.name}", hook)
        return False
