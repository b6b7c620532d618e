# SPDX-License-Identifier: MIT
#
# How objects call themselves: `threading.Event at 0x7f...`, wherever this package lies, and `mine.MyEvent at 0x7f...` for
# subclasses of others. The standard module's objects say the same, and programs look for it: the interpreter's own tests
# demand one word, without dots, before the name of the class. So a vendored copy cannot say where it lies.

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
