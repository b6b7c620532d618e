# SPDX-License-Identifier: MIT
# What stands for a name that the implementation lacks, while a test module is being imported.
#
# A placeholder is a class, because that is what can be used in most ways: as a base class, in `except`, as a decorator,
# as a default value. As long as a test module is being imported, everything that is done with it gives another
# placeholder; afterwards everything raises Absent, with the name of what is missing. So `class MyManager(BaseManager)`
# and `MyManager.register(...)` at the top of a module are nothing but words, and `MyManager()` in a test is an error of
# that test.
"""Placeholders for what is missing, and the error that they raise when they are used."""

from __future__ import annotations

import sys

from .importing import being_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Absent(AttributeError):
    """The test needs a name that the implementation does not have."""


def _answer(cls: Placeholder, what: str, neutral: Any) -> Any:
    """For an operation that was called from two frames up: something neutral during an import, else the error."""
    if being_imported(sys._getframe(2)):
        return neutral
    raise Absent(f"{cls.redirect_label}{what}")


def _is_test_case(cls: type) -> bool:
    unittest: Any = sys.modules.get("unittest")
    return unittest is not None and type.__subclasscheck__(unittest.TestCase, cls)


class Placeholder(type):
    """The type of placeholders, and of what tests derive from them."""

    redirect_label: str

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_: Any) -> Placeholder:
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_: Any) -> None:
        super().__init__(name, bases, namespace)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if _is_test_case(cls):  # one that has a placeholder among its bases: it is its methods that will fail
            return super().__call__(*args, **kwargs)
        return _answer(cls, "()", placeholder(f"{cls.redirect_label}()"))

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"type object {cls.redirect_label!r} has no attribute {name!r}")
        return _answer(cls, f".{name}", placeholder(f"{cls.redirect_label}.{name}"))

    def __instancecheck__(cls, instance: object) -> bool:
        if _is_test_case(cls):
            return super().__instancecheck__(instance)
        return bool(_answer(cls, "", False))

    def __bool__(cls) -> bool:
        return bool(_answer(cls, "", True))

    def __index__(cls) -> int:
        return int(_answer(cls, "", 1))

    def __float__(cls) -> float:
        return float(_answer(cls, "", 1.0))

    def __iter__(cls) -> Any:
        return iter(_answer(cls, "", ()))

    def __enter__(cls) -> Any:
        return _answer(cls, "", cls)

    def __exit__(cls, *details: object) -> None:
        return None


def _operate(cls: Placeholder, *_: Any) -> Any:
    return _answer(cls, "", cls)


_ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "and",
    "or",
    "xor",
)
for _word in (*_ARITHMETIC, "neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "getitem"):
    setattr(Placeholder, f"__{_word}__", _operate)
for _word in _ARITHMETIC:
    setattr(Placeholder, f"__r{_word}__", _operate)


def placeholder(label: str) -> Placeholder:
    """A new placeholder for what the tests call `label`."""
    name = label.rpartition(".")[2]
    return Placeholder(name, (), {"redirect_label": label, "__doc__": f"A placeholder for {label}."})
