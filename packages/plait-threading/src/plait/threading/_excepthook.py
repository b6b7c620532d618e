# SPDX-License-Identifier: MIT
#
# What happens to an exception that leaves a thread's run().
#
# It is given to this package's `excepthook`. If nobody has replaced that, but somebody has replaced the one of the standard
# `threading` (reporters of crashes, and test runners, know only that one), it is given to theirs instead: a thread of ours
# should not go unreported because of where it comes from. They get the standard module's own kind of arguments, in which
# `thread` is our Thread: it has what they read of one (name, ident, daemon), and what its class has added.

from __future__ import annotations

import sys

from .._thread import _excepthook as excepthook
from .._thread import _ExceptHookArgs as ExceptHookArgs
from .._thread import report_unraisable
from . import _standard

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from ._threads import Thread

__all__ = ["ExceptHookArgs", "excepthook", "report"]


def report(thread: Thread, error: BaseException) -> bool:
    """Call whatever `excepthook` is now; say whether it was this module's, and all went well.

    Its own failure goes to `sys.excepthook`, and no further.
    """
    hook = getattr(sys.modules.get(__package__ or ""), "excepthook", None) or excepthook
    kind = ExceptHookArgs
    if hook is excepthook:
        hook, kind = _standard.replaced_excepthook() or (hook, kind)
    try:
        hook(kind((type(error), error, error.__traceback__, thread)))
        return hook is excepthook
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
