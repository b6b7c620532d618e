# SPDX-License-Identifier: MIT
#
# The one file that touches a private C part of the interpreter: `_collections`, where `deque` lives. The module around it
# costs several milliseconds of imports that nothing here has a use for.

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections import deque
else:
    try:
        from _collections import deque
    except ImportError:
        from collections import deque

__all__ = ["deque"]
