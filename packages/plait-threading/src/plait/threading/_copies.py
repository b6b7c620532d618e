# SPDX-License-Identifier: MIT
#
# What must not be copied or pickled: what threads of this process wait for.
#
# A copy would have the same waiters and another state, or the same state and no waiters, and who waits for one of the
# two would never hear of the other. The standard module's objects refuse because there is a lock in them. Ours have none
# and say so themselves.
#
# It is the state that is refused, so that a subclass which knows better can still have a `__getstate__` of its own.

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Uncopied"]


class Uncopied:
    """What there is one of, in one process."""

    __slots__ = ()

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle or copy {self!r}: threads of this process share it. Share it by passing it on as it is, or "
            "make a new one; for several processes use the one of the multiprocessing package"
        )
