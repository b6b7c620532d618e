# SPDX-License-Identifier: MIT
"""Pickling of what crosses from one process to another.

Two roads lead to the same bytes. As long as nobody has registered a reduction of his own, the C function
`pickle.dumps` does all the work; an instance of a Python class per message would cost several times as much as the
message. From the first `register` on, messages go through `ForkingPickler`.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Reduce = Callable[[Any], Any]

__all__ = ["ForkingPickler", "dump", "register"]


class _Reducers(dict["type", "_Reduce"]):
    """Our reductions first, then whatever `copyreg` knows at the time."""

    def __missing__(self, kind: type) -> _Reduce:
        return copyreg.dispatch_table[kind]


_registered = _Reducers()


class ForkingPickler(pickle.Pickler):
    """A pickler that also knows the reductions given to `register`, which other picklers do not see.

    Differs from `multiprocessing.reduction.ForkingPickler`: `dumps` returns bytes, not a memoryview.
    """

    dispatch_table = _registered

    @classmethod
    def register(cls, type: type, reduce: _Reduce) -> None:  # noqa: A002 - the standard name
        """Pickle objects of exactly this *type* by `reduce(obj)`, in every message from now on."""
        _registered[type] = reduce

    @classmethod
    def dumps(cls, obj: Any, protocol: int | None = None) -> bytes:
        """The pickle of *obj* as bytes."""
        if not _registered and cls is ForkingPickler:
            return pickle.dumps(obj, protocol)
        out = io.BytesIO()
        cls(out, protocol).dump(obj)
        return out.getvalue()

    loads = pickle.loads


class ChildPickler(ForkingPickler):
    """The pickler of Process objects: for a child, and for nobody else."""

    def reducer_override(self, obj: Any) -> Any:
        """Values in shared memory are shared, where other pickles would hold a copy."""
        sharing = sys.modules.get(f"{__package__}.sharedctypes")
        return NotImplemented if sharing is None else sharing.reduce_shared(obj)


register = ForkingPickler.register


def dump(obj: Any, file: Any, protocol: int | None = None) -> None:
    """Write the pickle of *obj* to the binary *file*."""
    ForkingPickler(file, protocol).dump(obj)
