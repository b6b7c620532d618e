# SPDX-License-Identifier: MIT
#
# The name under which the operating system knows a thread (top -H, ps -L, a debugger, perf).
#
# The interpreter can set it from 3.14 on. Before that, Linux has a file for it. Either way the system keeps a number of
# bytes and not of characters, so a name is cut here, where no character is cut in two.

from __future__ import annotations

import os
import sys

from ._platform import get_native_id, native

_set: Any = native("set_name")
_get: Any = native("_get_name")

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

# What Linux keeps, where the interpreter does not say.
_NAME_MAXLEN: int = native("_NAME_MAXLEN") or 15


def set_name(name: str) -> None:
    """Give the calling thread a name that system tools show.

    Of the UTF-8 form of *name* the first 15 bytes are used on Linux (`_NAME_MAXLEN` elsewhere), without the part of a
    character that may be at their end. In the main thread it is the process's name, too. It has nothing to do with
    the name of a `Thread` object. Does nothing where neither the interpreter nor the system has a way; OSError where the
    system refuses.

    Differs from the standard one (3.14): exists on every Python; never leaves half a character.
    """
    if not isinstance(name, str):
        raise TypeError(f"set_name() needs a str, not {type(name).__name__}")
    kept = name.partition("\0")[0].encode("utf-8", "replace")
    if len(kept) > _NAME_MAXLEN:
        kept = kept[:_NAME_MAXLEN].decode("utf-8", "ignore").encode("utf-8")
    if _set is not None:
        _set(kept.decode("utf-8"))
    elif get_native_id is not None and sys.platform in ("linux", "android"):
        # Not open(): threads name themselves at their start, and a file object costs several times as much.
        try:
            file = os.open(f"/proc/self/task/{get_native_id()}/comm", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # no /proc here
            return
        try:
            os.write(file, kept + b"\0")  # with a zero byte, for to write nothing is to do nothing
        finally:
            os.close(file)


def _get_name() -> str:
    """The calling thread's name as the system has it; empty where there is no way to know."""
    if _get is not None:
        return str(_get())
    if get_native_id is not None and sys.platform in ("linux", "android"):
        try:
            with open(f"/proc/self/task/{get_native_id()}/comm", "rb") as file:
                return file.read().removesuffix(b"\n").decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""
    return ""
