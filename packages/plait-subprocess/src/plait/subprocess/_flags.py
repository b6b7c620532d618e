# SPDX-License-Identifier: MIT
"""The options of this interpreter, as a command line would give them to another one."""

from __future__ import annotations

import sys

__all__ = ["interpreter_arguments", "optimisation_arguments"]

# What counts how often it was given, or is 0 or 1. Not `-i`: a child that asks for a terminal would hang.
_LETTERS = {
    "debug": "d",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "verbose": "v",
    "bytes_warning": "b",
    "quiet": "q",
}
_UNLESS_ISOLATED = {"ignore_environment": "E", "no_user_site": "s", "safe_path": "P"}  # -I means all of these


def optimisation_arguments() -> list[str]:
    """`-O` or `-OO`, if this interpreter runs so."""
    return ["-" + "O" * sys.flags.optimize] if sys.flags.optimize > 0 else []


def interpreter_arguments() -> list[str]:
    """The arguments by which another interpreter gets the flags, `-X` options and warning filters of this one."""
    flags = sys.flags
    arguments = optimisation_arguments()
    letters = _LETTERS if flags.isolated else {**_LETTERS, **_UNLESS_ISOLATED}
    for name, letter in letters.items():
        count = int(getattr(flags, name, 0))
        if count > 0:
            arguments.append("-" + letter * count)
    if flags.isolated:
        arguments.append("-I")
    given: dict[str, str | bool] = {**getattr(sys, "_xoptions", {})}
    if flags.dev_mode:
        given.setdefault("dev", True)
    filters = [*sys.warnoptions]
    # The other interpreter makes these by itself, of -X dev and -b.
    implied = ["default"] if flags.dev_mode else []
    if flags.bytes_warning:
        implied.append("error::BytesWarning" if flags.bytes_warning > 1 else "default::BytesWarning")
    for one in implied:
        if one in filters:
            filters.remove(one)
    for one in filters:
        arguments.append("-W" + one)
    for name, value in given.items():
        arguments += ["-X", name if value is True else f"{name}={value}"]
    return arguments
