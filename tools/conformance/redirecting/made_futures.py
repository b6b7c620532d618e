# SPDX-License-Identifier: MIT
# The tests of futures make futures that are in a given state already. Their helper `create_future` writes into three
# private attributes of a standard Future: `_state`, then `_exception`, then `_result`. Most tests of wait(),
# as_completed() and of Future itself stand on these futures, without looking at a private name again.
#
# So what they get as the Future of the private module `concurrent.futures._base` is the implementation's, except that
# these assignments, when it is that helper that makes them, are carried out by the public methods that lead to the
# state. What is tested afterwards is the implementation alone.
"""The implementation's Future, to which a state can be given in the way that the tests do it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATES = ("PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED")
HELPER = "create_future"


def preparable(future_class: Any) -> Any:
    """A subclass of `future_class` that the tests' helper can bring into a state."""

    class Future(future_class):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            if sys._getframe(1).f_code.co_name != HELPER:
                super().__setattr__(name, value)
            elif name == "_state":
                if value in ("CANCELLED", "CANCELLED_AND_NOTIFIED"):
                    self.cancel()
                if value in ("RUNNING", "CANCELLED_AND_NOTIFIED"):
                    self.set_running_or_notify_cancel()
                self.__dict__["to_be_finished"] = value == "FINISHED"
            elif name == "_exception" and value is not None and self.__dict__.pop("to_be_finished"):
                self.set_exception(value)
            elif name == "_result" and self.__dict__.pop("to_be_finished", False):
                self.set_result(value)

    Future.__qualname__ = future_class.__qualname__
    return Future
