# SPDX-License-Identifier: MIT
"""What the interpreter brings along for queues: a `SimpleQueue` written in C, and the `Empty` that it raises.

The only file of this package that names a private module. Where the interpreter has no such module (PyPy), `Empty` is
ours and there is no `SimpleQueue` here; the package then takes the one in `_simple.py`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _queue import Empty, SimpleQueue
else:
    try:
        # Both or neither: `except Empty` has to catch what the C get() raises.
        from _queue import Empty, SimpleQueue
    except ImportError:

        class Empty(Exception):
            """Nothing to get, and the caller did not want to wait, or not any longer."""

            __module__ = __package__ or __name__


__all__ = ["Empty", "SimpleQueue"]
