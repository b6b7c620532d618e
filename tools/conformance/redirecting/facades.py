# SPDX-License-Identifier: MIT
# What a test gets when it imports a redirected module.
#
# A facade is a module object under the standard name. It has nothing of its own: reading, setting and deleting
# attributes pass through to the implementation's module, so that what a test patches is patched where it works. Where
# the implementation lacks a name, in this order:
#
#   1. A submodule that has not been imported yet is imported.
#   2. A stand-in is handed out, if it is a name that only serves the set-up of tests (stand_ins.py).
#   3. A module that the standard module uses (`subprocess.os`) is handed out if the standard module is loaded: tests
#      patch functions of the system in this way.
#   4. While a test module is being imported, if the standard module has the name: a placeholder, which raises an error
#      when it is used (placeholders.py). One missing name costs the tests that need it, not all those of the module.
#      If it is True or False there, then just that: such names say what the system can do, and the same tests are to be
#      skipped as without us.
#   5. Otherwise AttributeError, as a module would. Programs (`__main__`) are never given placeholders: there, silence
#      could pass for success.
#
# A submodule that the implementation lacks altogether is a facade in front of nothing, with which 2. to 5. happen.
# Whether a submodule exists is asked of the interpreter's own package: tests for it import no other.
#
# A test with a fresh copy (`import_fresh_module`) gets a facade of its own in front of a copy of its own.
"""Module objects that stand where the tests expect the standard modules."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from . import placeholders, stand_ins
from .importing import FIRST_NAMES, NAMESPACE, ROOTS, STANDARD_LIBRARY, being_imported, original

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Any


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _standard_has_submodule(name: str) -> bool:
    """Whether the standard library has a module of this dotted name; nothing is imported to find out."""
    stem = os.path.join(STANDARD_LIBRARY, *name.split("."))
    return os.path.exists(stem + ".py") or os.path.isdir(stem)


def _for_import(module: str, name: str) -> Any:
    """What a test module gets, while it is being imported, for a name that is missing; NOTHING if nobody has it."""
    try:
        original(module)
    except ImportError:
        pass  # a part of the standard library that is for other systems; a test that needs the name will find out
    else:
        standard = getattr(sys.modules[module], name, stand_ins.NOTHING)
        if standard is stand_ins.NOTHING or isinstance(standard, bool):
            return standard
    return placeholders.placeholder(f"{module}.{name}")


class Facade(ModuleType):
    """Stands for the module `stands_for`; everything passes through to `target`."""

    __slots__ = ("redirect_children", "redirect_stands_for", "redirect_target")

    redirect_target: ModuleType | None
    redirect_stands_for: str
    redirect_children: dict[str, ModuleType]

    def __init__(self, stands_for: str, target: ModuleType | None) -> None:
        super().__init__(stands_for)
        object.__setattr__(self, "redirect_stands_for", stands_for)
        object.__setattr__(self, "redirect_target", target)
        object.__setattr__(self, "redirect_children", {})

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return {} if self.redirect_target is None else vars(self.redirect_target)

    def __getattr__(self, name: str) -> Any:
        return look_up(self, name, sys._getframe(1))

    def __setattr__(self, name: str, value: Any) -> None:
        if self.redirect_target is None or name in ("__spec__", "__loader__", "__package__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.redirect_target, name, value)

    def __delattr__(self, name: str) -> None:
        if self.redirect_target is None:
            object.__delattr__(self, name)
        else:
            delattr(self.redirect_target, name)

    def __dir__(self) -> list[str]:
        return [] if self.redirect_target is None else dir(self.redirect_target)

    def __repr__(self) -> str:
        what = "nothing" if self.redirect_target is None else self.redirect_target.__name__
        return f"<module {self.redirect_stands_for!r}, redirected to {what}>"


def look_up(facade: Facade, name: str, frame: FrameType) -> Any:
    """The attribute of a facade for the code that runs in `frame`."""
    target, stands_for = facade.redirect_target, facade.redirect_stands_for
    if target is not None:
        try:
            value = getattr(target, name)
        except AttributeError:
            pass
        else:
            if isinstance(value, ModuleType) and not isinstance(value, Facade):
                return _child(facade, name) or value
            return value
    if not _is_dunder(name):
        child = _child(facade, name)
        if child is not None:
            return child
        found = stand_ins.find(stands_for, name, target, frame)
        if found is not stand_ins.NOTHING:
            return found
        standard: Any = getattr(sys.modules.get(stands_for), name, None)
        if isinstance(standard, ModuleType) and standard.__name__.partition(".")[0] not in FIRST_NAMES:
            return standard
        if being_imported(frame):
            found = _for_import(stands_for, name)
            if found is not stand_ins.NOTHING:
                return found
    raise AttributeError(f"module {stands_for!r} has no attribute {name!r}")


def _child(facade: Facade, name: str) -> ModuleType | None:
    """The submodule of that name, if the standard package has one."""
    children = facade.redirect_children
    if name not in children:
        full = f"{facade.redirect_stands_for}.{name}"
        if not _standard_has_submodule(full):
            return None
        children[name] = resolve(full)
    return children[name]


def _implemented_by(name: str) -> str | None:
    """The implementation's name of a standard module; None if it is not one of those that are redirected."""
    for root, ours in ROOTS.items():
        if name == root or name.startswith(root + "."):
            return f"{NAMESPACE}.{ours}{name[len(root) :]}"
    return None


def _load(ours: str) -> ModuleType | None:
    """The implementation's module, or None if it has none of that name."""
    try:
        original(ours)
    except ModuleNotFoundError as problem:
        # Missing is: itself, or the package that it would be in. Anything else is an error inside of it.
        if problem.name is None or not (ours + ".").startswith(problem.name + "."):
            raise
        if ours.count(".") == 1:
            raise  # a whole part: something is wrong with the environment, and nothing must hide it
        return None
    return sys.modules[ours]


_facades: dict[str, ModuleType] = {}


def resolve(name: str) -> ModuleType:
    """The module that a test gets for the dotted name; raises ModuleNotFoundError like an import."""
    try:
        return _facades[name]
    except KeyError:
        pass
    parent, _, last = name.rpartition(".")
    ours = _implemented_by(name)
    if parent:
        package = resolve(parent)
        if not _standard_has_submodule(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        facade = sys.modules[name] if ours is None and original(name) else _made(name, ours)
        if isinstance(package, Facade):
            package.redirect_children[last] = facade
    elif ours is None:  # the package around a redirected one
        facade = Facade(name, original(name))
    else:
        facade = _made(name, ours)
    return _facades.setdefault(name, facade)


def _made(name: str, ours: str | None) -> Facade:
    return Facade(name, None if ours is None else _load(ours))


def import_for_test(name: str, fromlist: Sequence[str] | None) -> ModuleType:
    """What `__import__` returns to a test."""
    module = resolve(name)
    if not fromlist:
        return resolve(name.partition(".")[0])
    if isinstance(module, Facade):
        for attribute in fromlist:
            # An import statement that does not find an attribute looks into sys.modules, where the standard one is.
            if attribute != "*" and attribute not in module.redirect_children:
                _child(module, attribute)
    return module


def fresh(name: str) -> ModuleType:
    """A facade in front of a new copy of the implementation's module, for which what is blocked now stays blocked."""
    ours = _implemented_by(name)
    if ours is None:
        return resolve(name)
    package = original(ours.rpartition(".")[0], None, None, ("__name__",), 0)
    last = ours.rpartition(".")[2]
    kept_attribute = getattr(package, last, None)

    def remove() -> dict[str, ModuleType]:
        names = [key for key in sys.modules if key == ours or key.startswith(ours + ".")]
        return {key: sys.modules.pop(key) for key in names}

    kept = remove()
    try:
        return Facade(name, _load(ours))
    finally:
        remove()
        sys.modules.update(kept)
        if kept_attribute is not None:
            setattr(package, last, kept_attribute)


class Hybrid(Facade):
    """The implementation's public names before the standard module's other ones."""

    __slots__ = ("redirect_standard",)

    redirect_standard: ModuleType

    def __init__(self, name: str, target: ModuleType | None, standard: ModuleType) -> None:
        super().__init__(name, target)
        object.__setattr__(self, "redirect_standard", standard)

    def _side(self, name: str) -> ModuleType:
        target = self.redirect_target
        return self.redirect_standard if name.startswith("_") or not hasattr(target, name) else target  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._side(name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._side(name), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._side(name), name)


def hybrid_threading() -> ModuleType:
    """The `threading` of the module in test.support that catches exceptions of threads, and counts threads."""
    name = "threading"
    standard = original(name)
    return Hybrid(name, _load(f"{NAMESPACE}.{ROOTS[name]}"), standard)
