# SPDX-License-Identifier: MIT
#
# Timer: a thread that waits before it works.

from __future__ import annotations

from ._event import Event
from ._threads import Thread

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


class Timer(Thread):
    """Call ``function(*args, **kwargs)`` after *interval* seconds, in a thread of its own, unless cancelled before.

    It has to be started, like any `Thread`; `start()` starts the clock. The interval may be what a timeout may be; it is
    the new thread that looks, and ends with an exception if it is no such thing. `result()` returns what the function
    returned, or None if the timer was cancelled.

    Differs from `threading.Timer`: *name* and *daemon* can be given, as keywords.
    """

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(name=name, daemon=daemon)
        self.interval = interval
        self.function = function
        self.args: Iterable[Any] = [] if args is None else args
        self.kwargs: Mapping[str, Any] = {} if kwargs is None else kwargs
        self.finished = Event()

    def cancel(self) -> None:
        """Do not call the function any more. Without effect once it has been called. Never blocks."""
        self.finished.set()

    def run(self) -> Any:
        """Wait, and call the function unless `cancel()` was quicker."""
        try:
            if not self.finished.wait(self.interval):
                return self.function(*self.args, **self.kwargs)
            return None
        finally:
            self.finished.set()
