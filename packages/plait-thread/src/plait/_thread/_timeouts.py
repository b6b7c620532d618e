# SPDX-License-Identifier: MIT
#
# What a timeout is: the same for everything here and above that waits, and refused in the same words.
#
#   - Any real number of seconds, which is what the newest Python takes: also a Decimal, a Fraction, or a number of another
#     library. (A `lock` is the interpreter's own, and takes what that takes.)
#   - Zero and less do not wait.
#   - What is not a number in the sense of IEEE 754 is a ValueError; more than locks can wait, an OverflowError; all else,
#     such as text or a timedelta, a TypeError.
#
# Who has nothing to wait for does not look at it, as in the standard modules.

from __future__ import annotations

from math import inf

from ._platform import TIMEOUT_MAX

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["seconds"]


def seconds(timeout: Any, instead: str = "None", largest: float = TIMEOUT_MAX) -> float:
    """Return *timeout*, which is not None, as a number that can be waited for and reckoned with.

    Any real number will do. TypeError for what is none, ValueError for NaN, OverflowError for more than *largest*, which is
    what locks can wait; their messages tell that *instead* could be given. What is below `-TIMEOUT_MAX` is raised to that.
    Neither blocks nor keeps anything: safe in signal handlers and finalisers.
    """
    kind = type(timeout)
    number: float = timeout if kind is float or kind is int else _as_float(timeout, instead)
    if number != number:
        raise ValueError(
            f"timeout must be a number of seconds, or {instead}, not {timeout!r}, which is not a number"
        )
    if number > largest:
        raise OverflowError(
            f"timeout value is too large: {timeout!r}; the largest is {largest}, or give {instead}"
        )
    if number > TIMEOUT_MAX:
        return inf  # which an integer may be too large to become
    return max(number, -TIMEOUT_MAX)


def _as_float(timeout: Any, instead: str) -> float:
    kind = type(timeout)
    if hasattr(kind, "__float__") or hasattr(kind, "__index__"):  # text has neither, though float() reads it
        try:
            return float(timeout)
        except OverflowError:
            return inf if timeout > 0 else -inf
        except ValueError:  # Decimal("sNaN")
            return float("nan")
        except TypeError:  # an array of several numbers, say
            pass
    advice = "; give its total_seconds()" if hasattr(kind, "total_seconds") else ""
    raise TypeError(f"timeout must be a number of seconds, or {instead}, not {timeout!r}{advice}")
