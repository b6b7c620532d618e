# SPDX-License-Identifier: MIT
"""What a scheduler hands out for each call that it is to make."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NamedTuple

    class Event(NamedTuple):
        """A call to make: `action(*argument, **kwargs)` at *time*.

        Events compare like tuples: by *time*, then *priority* (lower first), then *sequence*, which counts the
        events of a scheduler in the order in which they were entered and so leaves no ties.
        """

        time: Any
        priority: Any
        sequence: int
        action: Callable[..., Any]
        argument: Sequence[Any]
        kwargs: Mapping[str, Any]
else:
    # The same class without importing `typing`, which would cost more than all the rest.
    from collections import namedtuple

    Event = namedtuple(  # noqa: PYI024 - its typed twin is above
        "Event", ("time", "priority", "sequence", "action", "argument", "kwargs"), module=__package__
    )
    Event.__doc__ = """A call to make: `action(*argument, **kwargs)` at *time*.

    Events compare like tuples: by *time*, then *priority* (lower first), then *sequence*, which counts the events of
    a scheduler in the order in which they were entered and so leaves no ties.
    """

__all__ = ["INCOMPARABLE", "Event", "raised_here"]

#: What comparing times raises that cannot be compared. ArithmeticError: of Decimal("NaN").
INCOMPARABLE = (TypeError, ArithmeticError)


def raised_here(error: BaseException) -> bool:
    """Whether C code that was called in the `try` has raised it, and not a signal handler that struck there: that has a
    frame."""
    trace = error.__traceback__
    return trace is None or trace.tb_next is None
