# SPDX-License-Identifier: MIT
"""What a timeout is. As `_thread`, which need not be there, has it."""

from __future__ import annotations

from math import inf, nan

from ._locks import TIMEOUT_MAX

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["seconds"]


def seconds(timeout: Any, instead: str = "None", largest: float = TIMEOUT_MAX) -> float:
    """Return *timeout*, any real number, as one that can be waited for: at least `-TIMEOUT_MAX`.

    TypeError for what is no number, ValueError for NaN, OverflowError for more than *largest*; *instead* is in the message.
    """
    number = nan
    try:
        # (Text has neither, though float() reads it.)
        if not hasattr(timeout, "__float__") and not hasattr(timeout, "__index__"):
            raise TypeError("no number")
        number = float(timeout)
    except OverflowError:
        number = inf if timeout > 0 else -inf
    except ValueError:  # Decimal("sNaN")
        pass
    except TypeError:
        advice = "; give its total_seconds()" if hasattr(timeout, "total_seconds") else ""
        raise TypeError(
            f"timeout must be a number of seconds, or {instead}, not {timeout!r}{advice}"
        ) from None
    if number != number:
        raise ValueError(
            f"timeout must be a number of seconds, or {instead}, not {timeout!r}, which is not a number"
        )
    if number > largest:
        raise OverflowError(
            f"timeout value is too large: {timeout!r}; the largest is {largest}, or give {instead}"
        )
    return max(number, -TIMEOUT_MAX)
