# SPDX-License-Identifier: MIT
# Children that would start without the redirect get it in front of their program.
#
# An ordinary child of a redirected Python needs nothing: its environment's site-packages has a start-up line, which
# -I, -E and an empty environment do not turn off. Two kinds of children have no such line: those started with -S, and
# those that are started as the base interpreter, or under a name by which it does not find the environment. Their
# command line is rewritten: `-c CODE` gets one statement in front, anything else is run by a -c program.
#
# This is done at the calls into the system, wherever they come from (the standard modules, plait, a test):
# `_posixsubprocess.fork_exec`, `os.posix_spawn`, `os.posix_spawnp`, `os.execv` and `os.execve`, on which all other
# exec functions of `os` stand. What does not look like such a child passes through unchanged: the number and the types
# of the arguments are none of our business, and somebody may just be asking which ones are accepted.
"""Rewrites the command lines of children that would not be redirected by themselves."""

from __future__ import annotations

import os
import sys

from . import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_VALUED = frozenset("WX")
_interpreter: tuple[int, int] | None = None


def _is_this_python(path: bytes) -> bool:
    global _interpreter
    try:
        if _interpreter is None:
            own = os.stat(sys.executable)
            _interpreter = own.st_dev, own.st_ino
        other = os.stat(path)
    except (OSError, TypeError, ValueError):
        return False
    return (other.st_dev, other.st_ino) == _interpreter


def _bootstrap() -> str:
    # What `site` would have done with this folder. -S keeps it from being asked, not from being used.
    return f"__import__('site').addsitedir({settings.SITE!r});__import__({__package__!r}).begin()"


def _code_for(code: str) -> str:
    """The program `code` with the redirect in front."""
    begin = _bootstrap()
    if "__future__" in code or code[:1].isspace():
        import textwrap

        if sys.version_info >= (3, 14):
            code = textwrap.dedent(code)  # which -c does there
        return f"{begin};exec(compile({code!r}, '<string>', 'exec', dont_inherit=True))"
    return f"{begin}\n{code}"


def rewritten(executable: bytes, arguments: list[bytes]) -> list[bytes]:
    """The command line for a child that would start without the redirect; the same one if it would not."""
    if not arguments or not _is_this_python(executable):
        return arguments
    position, no_site = 1, False
    while position < len(arguments):
        option = arguments[position]
        if option[:1] != b"-" or option == b"-":
            break
        if option[:2] == b"--":
            position += 1 + (option == b"--check-hash-based-pycs")
            continue
        rest = option[1:].decode("latin-1")
        while rest and rest[0] not in "cm":
            no_site |= rest[0] == "S"
            if rest[0] in _VALUED:
                position += len(rest) == 1
                rest = ""
            rest = rest[1:]
        if rest:
            break
        position += 1
    else:
        return arguments  # interactive, or only asked for its version
    called = arguments[0] if b"/" in arguments[0] else executable
    if not no_site and os.path.dirname(os.path.abspath(called)) == os.fsencode(settings.BIN):
        return arguments
    option, after = arguments[position], arguments[position + 1 :]
    before = arguments[:position]
    if option[:1] == b"-" and option != b"-":
        letters = option[1:].decode("latin-1")
        index = next(i for i, letter in enumerate(letters) if letter in "cm")
        attached, flags = option[2 + index :], option[1 : 1 + index]
        if flags:
            before = [*before, b"-" + flags]
        if not attached:
            if not after:
                return arguments
            attached, after = after[0], after[1:]
        if letters[index] == "c":
            return [*before, b"-c", os.fsencode(_code_for(os.fsdecode(attached))), *after]
        run = f"__import__('runpy')._run_module_as_main({os.fsdecode(attached)!r})"
        return [*before, b"-c", os.fsencode(f"{_bootstrap()};{run}"), *after]
    if option == b"-":
        run = "exec(compile(__import__('sys').stdin.read(), '<stdin>', 'exec', dont_inherit=True))"
        return [*before, b"-c", os.fsencode(f"{_bootstrap()};{run}"), *after]
    shift = "__import__('sys').argv.pop(0)"
    first = "__import__('sys').path.__setitem__(0, __import__('os').path.dirname(__import__('sys').argv[0]))"
    run = "__import__('runpy').run_path(__import__('sys').argv[0], run_name='__main__')"
    return [*before, b"-c", os.fsencode(f"{_bootstrap()};{shift};{first};{run}"), option, *after]


def _new_arguments(executable: Any, arguments: Any) -> Any:
    """`arguments`, or their rewritten form; whatever cannot be read as a command line is left for the callee."""
    try:
        old = [os.fsencode(argument) for argument in arguments]
        new = rewritten(os.fsencode(executable), old)
    except (TypeError, ValueError):
        return arguments
    return arguments if new is old else new


def _around_fork_exec(function: Callable[..., int]) -> Callable[..., int]:
    def fork_exec(*arguments: Any) -> int:
        if len(arguments) > 2 and type(arguments[0]) in (list, tuple) and type(arguments[1]) in (list, tuple):
            for executable in arguments[1]:
                new = _new_arguments(executable, arguments[0])
                if new is not arguments[0]:
                    return function(new, *arguments[1:])
        return function(*arguments)

    return fork_exec


def _around(function: Callable[..., Any]) -> Callable[..., Any]:
    def start(path: Any, argv: Any, *rest: Any, **options: Any) -> Any:
        if type(argv) in (list, tuple):
            argv = _new_arguments(path, argv)
        return function(path, argv, *rest, **options)

    start.__name__ = function.__name__
    return start


def wrap_fork_exec() -> None:
    """To be called once `_posixsubprocess` is loaded, before anybody takes a function out of it."""
    module: Any = sys.modules["_posixsubprocess"]
    module.fork_exec = _around_fork_exec(module.fork_exec)


def begin() -> None:
    """Take effect."""
    for name in ("posix_spawn", "posix_spawnp", "execv", "execve"):
        function = getattr(os, name, None)
        if function is not None:
            setattr(os, name, _around(function))
    if os.name == "posix":
        try:
            __import__("_posixsubprocess")
        except ImportError:
            return  # an interpreter without it starts its processes by the functions of os
        wrap_fork_exec()
