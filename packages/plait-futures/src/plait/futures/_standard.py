# SPDX-License-Identifier: MIT
"""Where this package meets the interpreter's own futures, which it never imports.

A program may use both: asyncio accepts a future for `wrap_future` and `run_in_executor` only if
`isinstance(future, concurrent.futures.Future)` says so, and older code says `except concurrent.futures.TimeoutError`.
Inheriting would import the standard package (and with it logging), so the relation is made late, and only when
somebody can ask: code that names the standard class has loaded the standard module, and then `sys.modules` has it.

`also_standard(cls)` answers with a class that derives from *cls* and from the standard class of the same meaning.
`Future.__class__` (what `isinstance` consults after the true type) and every exception that a future raises itself
pass through here. Without the standard module loaded the answer is *cls*, and nothing is made.
"""

from __future__ import annotations

import sys

from .._thread import report_unraisable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    C = TypeVar("C", bound=type)

STANDARD_MODULE = "concurrent.futures"


def also_standard(cls: C, name: str) -> C:
    """*cls*, or, once the standard module is loaded, a class that is *cls* and the standard *name* too."""
    theirs = getattr(sys.modules.get(STANDARD_MODULE), name, None)
    if theirs is None or issubclass(cls, theirs):
        return cls
    made = cls.__dict__.get("_also_standard")
    if made is None or not issubclass(made, theirs):
        # Two threads may both make one; the classes are interchangeable, the last one stays.
        made = type(cls)(cls.__name__, (cls, theirs), _body(cls))
        setattr(cls, "_also_standard", made)  # noqa: B010
    return made  # pyright: ignore[reportReturnType]


def _body(cls: type) -> dict[str, Any]:
    body: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    if issubclass(cls, BaseException):
        # Pickled as what it is by name; the receiving process has its own idea of what is loaded.
        body["__reduce__"] = lambda self: (cls, self.args)
    return body


def report(what: str, subject: object, error: BaseException) -> None:
    """Make an exception known that has no caller to go to.

    To the logger `concurrent.futures`, where the standard module reports it, if the program has loaded logging;
    otherwise to `sys.unraisablehook`.
    """
    logging = sys.modules.get("logging")
    if logging is not None and hasattr(logging, "getLogger"):
        logging.getLogger(STANDARD_MODULE).error("%s %r", what, subject, exc_info=error)
    else:
        report_unraisable(error, what, subject)
