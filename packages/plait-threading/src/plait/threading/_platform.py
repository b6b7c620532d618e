# SPDX-License-Identifier: MIT
#
# The one file that touches private C parts of the interpreter: `_collections`, where `deque` lives (the module around it
# costs several milliseconds of imports that nothing here has a use for), `_functools` for the same reason, and the C
# function of `_thread` that starts a thread. (Ours is Python code, in which a signal handler could strike.)

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from functools import partial
    from typing import Any

    start_new_thread: Callable[..., Any]
else:
    try:
        from _collections import deque
    except ImportError:
        from collections import deque
    try:
        from _functools import partial
    except ImportError:
        from functools import partial
    try:
        from _thread import start_new_thread
    except ImportError:  # then there are no threads

        def start_new_thread(function, args):
            function(*args)


__all__ = ["deque", "partial", "start_new_thread"]
