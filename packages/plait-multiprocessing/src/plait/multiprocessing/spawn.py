# SPDX-License-Identifier: MIT
"""Starting a child in a fresh interpreter: what its parent sends, and what it does with it."""

# Everything the child has to know lies in one file without a name (memfd), complete before the child exists. So the
# parent never waits for the child to read, a child that dies early cannot block it, and neither argv nor the
# environment carries more than a descriptor's number.
#
# The file:
#   marshal   [sys.path, our package's name, the child's descriptors]      read by the -c line itself
#   marshal   the preparation data: names, authkey, argv, main module      read by `spawn_main`
#   pickle    the Process object                                           read when the main module is there
#
# The -c line runs before sys.path is the parent's; it must not import anything that is not built in. Only after it has
# set the path can it find us, under whatever name this copy of the package has.

from __future__ import annotations

import marshal
import os
import sys

from ..subprocess import Popen
from . import _child, _inherit, _platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from .process import BaseProcess

__all__ = ["freeze_support", "get_command_line", "get_executable", "get_preparation_data", "set_executable"]

_MARSHAL = 2  # the parent and the executable that was set may be different Pythons: a format all of them read
_BOOTSTRAP = (
    "import sys,marshal;f=open({fd},'rb');h=marshal.load(f);sys.path[:]=h[0];"
    "__import__(h[1]);sys.exit(sys.modules[h[1]].spawn_main(f,h[2]))"
)
_BOOTSTRAP_NAMES = ("sys", "marshal", "f", "h")
_FLAG = "--multiprocessing-fork"

_start_directory = os.getcwd()
_executable: list[Any] = [sys.executable]


def set_executable(executable: Any) -> None:
    """Start spawned children with this interpreter."""
    _executable[0] = None if executable is None else os.fspath(executable)


def get_executable() -> Any:
    """The interpreter that spawned children are started with."""
    return _executable[0]


def interpreter_flags() -> list[str]:
    """The command-line options that give a child the interpreter settings of this process."""
    flags = sys.flags
    out: list[str] = []
    for count, letter in (
        (flags.debug, "d"),
        (flags.optimize, "O"),
        (flags.verbose, "v"),
        (flags.bytes_warning, "b"),
    ):
        if count > 0:
            out.append("-" + letter * count)
    if flags.isolated:
        out.append("-I")
    else:
        if flags.ignore_environment:
            out.append("-E")
        if flags.no_user_site:
            out.append("-s")
        if getattr(flags, "safe_path", False):
            out.append("-P")
    for wanted, option in ((flags.dont_write_bytecode, "-B"), (flags.no_site, "-S"), (flags.quiet, "-q")):
        if wanted:
            out.append(option)
    for text in sys.warnoptions:
        out += ["-W", text]
    for key, value in getattr(sys, "_xoptions", {}).items():
        out += ["-X", key if value is True else f"{key}={value}"]
    return out


def get_command_line(fd: int) -> list[str]:
    """The command of a child that finds its instructions in the descriptor *fd*."""
    executable = os.fsdecode(get_executable() or "")
    if not executable:
        raise RuntimeError(
            "no interpreter to start a process with: sys.executable is empty here; "
            "call set_executable() first, or use the 'fork' start method"
        )
    if getattr(sys, "frozen", False):
        return [executable, _FLAG, f"fd={fd}"]
    return [executable, *interpreter_flags(), "-c", _BOOTSTRAP.format(fd=fd), _FLAG]


def is_forking(argv: list[str]) -> bool:
    """Whether *argv* is that of a child which a frozen program started."""
    return len(argv) >= 2 and argv[1] == _FLAG


def freeze_support() -> None:
    """In a frozen program that was started as a child: run the child and exit. Otherwise do nothing."""
    if getattr(sys, "frozen", False) and is_forking(sys.argv):
        instructions = open(int(sys.argv[2].partition("=")[2]), "rb")  # noqa: SIM115 - spawn_main closes it
        _, _, fds = marshal.load(instructions)
        sys.exit(spawn_main(instructions, fds))


# The parent's side


def get_preparation_data(name: str) -> dict[str, Any]:
    """What a child called *name* needs before the Process object can be unpickled."""
    from . import context, process

    me = process.current_process()
    data: dict[str, Any] = {
        "name": name,
        "authkey": bytes(me.authkey),
        "argv": [str(word) for word in sys.argv] if hasattr(sys, "argv") else [],
        "start_method": context._default_context.get_start_method(allow_none=True),
        "parent_pid": os.getpid(),
        "parent_name": me.name,
    }
    main = sys.modules.get("__main__")
    module = getattr(getattr(main, "__spec__", None), "name", None)
    if module is not None:
        # `python -m name`. A package's or a directory's __main__ has no guard as a rule: it is left alone.
        if module.rpartition(".")[2] != "__main__":
            data["main_name"] = str(module)
    else:
        path = getattr(main, "__file__", None) or process._main_path
        # A program that was read from a pipe calls itself "<stdin>" on some Pythons.
        if path is not None and not str(path).startswith("<") and not getattr(sys, "frozen", False):
            data["main_path"] = os.path.join(_start_directory, os.fspath(path))
    return data


def _search_path() -> list[str]:
    """sys.path, as a child that starts elsewhere can use it."""
    entries: list[Any] = sys.path  # import puts up with anything in it, marshal does not
    return [str(entry) or _start_directory for entry in entries if isinstance(entry, str)]


def launch(process: BaseProcess, ties: _child.Ties) -> Popen[bytes]:
    """Start a child that runs *process*."""
    from .process import current_process
    from .reduction import ChildPickler

    if current_process()._inheriting:
        raise RuntimeError(_UNGUARDED)
    # What the child pickles of the main module it calls __mp_main__; here that is __main__.
    sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
    inheritance = _inherit.Inheritance()
    try:
        with inheritance:
            try:
                pickled = ChildPickler.dumps(process)
            except Exception as problem:
                _explain(problem, process)
                raise
        given = [*inheritance.fds, *ties.given]
        preparation = get_preparation_data(process.name)
        preparation.update(
            watch=ties.watch, alive=ties.alive, lifeline=ties.lifeline if process.daemon else -1
        )
        fd = _platform.anonymous_file("process")
        given.append(fd)
        try:
            with open(fd, "wb", closefd=False) as out:
                out.write(marshal.dumps([_search_path(), __name__, given], _MARSHAL))
                out.write(marshal.dumps(preparation, _MARSHAL))
                out.write(pickled)
            os.lseek(fd, 0, os.SEEK_SET)
            _child.flush_standard_streams()
            child = Popen(get_command_line(fd), pass_fds=given)
        finally:
            os.close(fd)
    finally:
        inheritance.close()
    return child


def _explain(problem: Exception, process: BaseProcess) -> None:
    """Say in the exception which part of *process* it is about and what to do."""
    target = process._target
    named = getattr(target, "__qualname__", None) or type(target).__name__
    hint = (
        f"{process.name!r} (target {named!r}) cannot be sent to a new interpreter. With the 'spawn' start method the "
        f"target must be importable by name (not a lambda or a function inside a function) and its arguments picklable"
    )
    add_note = getattr(problem, "add_note", None)
    if add_note is not None:
        add_note(hint)
    elif problem.args and isinstance(problem.args[0], str):
        problem.args = (f"{problem.args[0]}; {hint}", *problem.args[1:])


_UNGUARDED = """\
A child process was about to start while the child itself was still importing the main module of its parent.

The main module of a program that spawns processes is imported again by each of them, so whatever starts processes
has to be protected:

    if __name__ == '__main__':
        freeze_support()    # only needed for frozen executables
        ...start processes here...
"""

# The child's side


def spawn_main(instructions: IO[bytes], given: list[int]) -> int:
    """Be the child whose instructions follow in the file; return its exit code."""
    import pickle

    from . import process

    if not getattr(sys, "frozen", False):
        # The names of the -c line are not the program's: a function `f` of its own is missed, not mistaken for ours.
        for name in _BOOTSTRAP_NAMES:
            vars(sys.modules["__main__"]).pop(name, None)
    for fd in given:
        os.set_inheritable(fd, False)
    with instructions:
        data = marshal.load(instructions)
        if data["lifeline"] >= 0:
            _child.end_with_parent(data["lifeline"])
        if data["alive"] >= 0:
            _child._keep_to_ourselves(data["alive"])
        me = process.current_process()
        me._inheriting = True
        try:
            prepare(data)
            body = pickle.load(instructions)
        finally:
            me._inheriting = False
    return int(body._bootstrap(data["watch"], "spawn"))


def prepare(data: dict[str, Any]) -> None:
    """Make this interpreter look like the parent's: names, argv, authkey, main module."""
    from . import context, process

    me = process.current_process()
    me.name = data["name"]
    me.authkey = data["authkey"]
    sys.argv = data["argv"]
    if data["start_method"] is not None:
        context._default_context.set_start_method(data["start_method"], force=True)
    if "main_name" in data:
        _import_main_by_name(data["main_name"])
    elif "main_path" in data:
        _import_main_by_path(data["main_path"])


def _import_main_by_name(name: str) -> None:
    if getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) == name:
        return  # a frozen program is its own main module
    from importlib.util import find_spec

    spec = find_spec(name)
    code = None if spec is None else getattr(spec.loader, "get_code", lambda _: None)(name)
    if spec is None or code is None:
        raise ImportError(f"the parent's main module {name!r} cannot be found here", name=name)
    _run_main(code, spec.origin, spec)


def _import_main_by_path(path: str) -> None:
    if os.path.splitext(os.path.basename(path))[0] == "ipython":
        return
    with open(path, "rb") as file:
        source = file.read()
    code: Any = (
        marshal.loads(source[16:]) if path.endswith(".pyc") else compile(source, path, "exec", 0, True)
    )
    _run_main(code, path, None)


def _run_main(code: Any, path: str | None, spec: Any) -> None:
    """Execute the parent's main module as `__mp_main__`; pickles find it as `__main__` too."""
    module = type(sys)("__mp_main__")
    if path is not None:
        module.__file__ = path
    if spec is not None:
        module.__package__ = spec.parent
        module.__loader__ = spec.loader
        module.__spec__ = spec
    else:
        module.__package__ = ""
    sys.modules["__mp_main__"] = sys.modules["__main__"] = module
    exec(code, module.__dict__)  # noqa: S102 - the user's own program
