# SPDX-License-Identifier: MIT
#
# What a timeout is: the same for everything here that waits, and refused in the same words.
#
#   - Any real number of seconds, which is what the newest Python takes: also a Decimal, a Fraction, or a number of another
#     library. (A `Lock` is the interpreter's own, and takes what that takes.)
#   - Zero and less do not wait.
#   - What is not a number in the sense of IEEE 754 is a ValueError; more than locks can wait, an OverflowError; all else,
#     such as text or a timedelta, a TypeError.
#
# Who has nothing to wait for does not look at it, as in the standard module.

from __future__ import annotations

from .._thread import TIMEOUT_MAX

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["FOR_EVER", "seconds"]

FOR_EVER = "-1 for ever"  # what a lock has in the place of None


def seconds(timeout: Any, instead: str = "None") -> float:
    """Return *timeout*, which is not None, as a number that a lock can wait; *instead* is what else could be given."""
    kind = type(timeout)
    number: float = timeout if kind is float or kind is int else _as_float(timeout, instead)
    if number != number:
        raise ValueError(f"timeout must be a number of seconds, or {instead}, not {timeout!r}")
    if number > TIMEOUT_MAX:
        raise _too_large(timeout, instead)
    # So that one can reckon with it, even if it was an integer of hundreds of digits.
    return max(number, -TIMEOUT_MAX)


def _as_float(timeout: Any, instead: str) -> float:
    kind = type(timeout)
    if hasattr(kind, "__float__") or hasattr(kind, "__index__"):  # text has neither, though float() reads it
        try:
            return float(timeout)
        except OverflowError:
            if timeout > 0:
                raise _too_large(timeout, instead) from None
            return -TIMEOUT_MAX
        except ValueError:  # Decimal("sNaN")
            return float("nan")
        except TypeError:  # an array of several numbers, say
            pass
    advice = "; give its total_seconds()" if hasattr(kind, "total_seconds") else ""
    raise TypeError(f"timeout must be a number of seconds, or {instead}, not {timeout!r}{advice}")


def _too_large(timeout: Any, instead: str) -> OverflowError:
    return OverflowError(
        f"timeout value is too large: {timeout!r}; the largest is {TIMEOUT_MAX}, or give {instead}"
    )
