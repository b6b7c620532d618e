# SPDX-License-Identifier: MIT
"""A command as the kernel takes it: a list of arguments, where the program may be, the environment."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["argument_list", "candidates", "descriptors", "encoded_environment", "integer"]

_DEFAULT_PATH = os.fsencode(os.defpath)


def integer(name: str, value: Any) -> int:
    """*value*, which is the argument *name*, if it is an integer."""
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    return value  # type: ignore[no-any-return]


def encoded_environment(env: Mapping[Any, Any]) -> list[bytes]:
    """An environment as the kernel takes it: `b"NAME=value"`."""
    lines = []
    for name, value in env.items():
        encoded = os.fsencode(name)
        if b"=" in encoded:
            raise ValueError(f"the environment variable name {name!r} contains '='")
        try:
            lines.append(encoded + b"=" + os.fsencode(value))
        except TypeError as problem:
            raise TypeError(f"the environment variable {name!r}: {problem}") from None
    return lines


def descriptors(pass_fds: Any) -> tuple[int, ...]:
    """The numbers in *pass_fds*."""
    try:
        numbers = tuple(map(int, pass_fds))
        if numbers and min(numbers) < 0:
            raise ValueError
    except (TypeError, ValueError) as problem:
        raise type(problem)(f"pass_fds must be a sequence of file descriptors, not {pass_fds!r}") from None
    return numbers


def argument_list(args: Any, shell: bool, executable: Any) -> list[Any]:
    """What the program gets as its arguments, its name included."""
    argv: list[Any]
    if type(args) is list:  # asked first because it is usual, and the other questions take longer
        argv = args[:]
    elif isinstance(args, (str, bytes)):
        argv = [args]
    elif isinstance(args, os.PathLike):
        if shell:
            raise TypeError("with shell=True, args is a command line for the shell, not a path")
        argv = [args]
    else:
        argv = list(args)
    if not argv and not shell and executable is None:
        raise IndexError(f"args is {args!r}: it has to have a program to start")
    if shell:
        argv = [executable or "/bin/sh", "-c", *argv]
    return argv


def candidates(program: Any, env: Mapping[Any, Any] | None) -> list[bytes]:
    """Where the program may be, in the order in which to try."""
    global _last_searches
    if env is not None:
        if not hasattr(env, "items"):
            raise AttributeError(f"env must be a mapping of names to values, not a {type(env).__name__}")
        name = os.fsencode(program)
        return [name] if b"/" in name else _in_folders(map(os.fsencode, os.get_exec_path(env)), name)
    if type(program) is str and (known := _known_paths.get(program)):
        return known
    # As os.get_exec_path(), which takes longer than anything else here because it guards against warnings.
    try:
        path = os.environb[b"PATH"]
    except KeyError:
        path = _DEFAULT_PATH
    last_path, searches = _last_searches
    if type(program) is str:
        if path != last_path or len(searches) > _SEARCHES:
            _last_searches = path, searches = path, {}
        elif program in searches:
            return searches[program]
    name = os.fsencode(program)
    if b"/" in name:
        if type(program) is str and len(_known_paths) < _SEARCHES:
            _known_paths[program] = [name]
        return [name]
    found = _in_folders(dict.fromkeys(path.split(b":")), name)
    if type(program) is str:
        searches[program] = found
    return found


def _in_folders(folders: Iterable[bytes], name: bytes) -> list[bytes]:
    return [folder + b"/" + name if folder else name for folder in folders]


#: PATH, and where programs may be under it. Who starts many programs starts the same few, as a rule. Nobody changes the
#: lists.
_last_searches: tuple[bytes, dict[str, list[bytes]]] = b"", {}
_SEARCHES = 64
#: And the programs that are named by a path.
_known_paths: dict[str, list[bytes]] = {}
