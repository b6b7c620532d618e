# SPDX-License-Identifier: MIT
"""What a queue raises, apart from the interpreter's own `Empty`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["Full", "ShutDown"]


class Full(Exception):
    """No room to put the item, and the caller did not want to wait, or not any longer.

    After `put_many`, *remaining* is the list of the items that were not put.
    """

    __module__ = __package__ or __name__
    remaining: Sequence[Any] = ()


class ShutDown(Exception):
    """The queue takes no more items; or it gives no more, for it is empty.

    After `put_many`, *remaining* is the list of the items that were not put.
    """

    __module__ = __package__ or __name__
    remaining: Sequence[Any] = ()
