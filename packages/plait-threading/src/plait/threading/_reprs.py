# SPDX-License-Identifier: MIT
#
# How objects call themselves: `threading.Event at 0x7f...`, wherever this package lies, and `mine.MyEvent at 0x7f...` for
# subclasses of others. The standard module's objects say the same, and some programs look for it.

from __future__ import annotations

_HERE = __name__.rpartition(".")[0]
_SHORT = _HERE.rpartition(".")[2]


def called(obj: object) -> str:
    """Class and address of *obj*."""
    cls = type(obj)
    home = cls.__module__
    if home == _HERE or home.startswith(_HERE + "."):
        home = _SHORT
    return f"{home}.{cls.__qualname__} at {id(obj):#x}"
