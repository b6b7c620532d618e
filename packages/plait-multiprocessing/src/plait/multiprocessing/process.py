# SPDX-License-Identifier: MIT
"""Process objects: the one that runs here, the one that started it, and those it started."""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

from .._thread import register_after_fork
from ..threading import run_exit_hooks
from . import _inherit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]


class AuthenticationString(bytes):
    """An authkey. It is not pickled: a child gets it with its preparation data, nobody else at all."""

    def __reduce__(self) -> tuple[Any, ...]:
        if _inherit.current() is None:
            raise TypeError("an authkey is a secret and is pickled for a child of this process only")
        return AuthenticationString, (bytes(self),)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} bytes>"


class _Registry:
    """What this process knows of its relatives. A forked child starts with an empty one."""

    def __init__(self) -> None:
        self.forget()
        register_after_fork(self, _Registry.forget)

    def forget(self) -> None:
        self.children: set[BaseProcess] = set()
        self.numbers = count(1)
        self.exit_is_arranged = False
        self.last_steps: list[Callable[[], object]] = []


_registry = _Registry()


def current_process() -> BaseProcess:
    """The Process object of the calling process."""
    return _current


def parent_process() -> ParentProcess | None:
    """The process that started this one; None in the first."""
    return _parent


def active_children() -> list[BaseProcess]:
    """The children of this process that are still alive. Those that have ended are reaped."""
    living = []
    for child in list(_registry.children):
        popen = child._popen
        if popen is not None and popen.poll() is None:
            living.append(child)
        else:
            _registry.children.discard(child)
    return living


class BaseProcess:
    """What all processes have in common; see `Process`."""

    _inheriting = False

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        if group is not None:
            raise AssertionError("group must be None: there are no process groups here")
        self._identity: tuple[int, ...] = (*_current._identity, next(_registry.numbers))
        self._config: dict[str, Any] = dict(_current._config)
        self._parent_pid = os.getpid()
        self._parent_name = _current.name
        self._popen: Any = None
        self._closed = False
        self._target = target
        self._args = tuple(args)
        self._kwargs = dict(kwargs or {})
        self._name = name or f"{type(self).__name__}-{':'.join(map(str, self._identity))}"
        if daemon is not None:
            self.daemon = daemon

    @staticmethod
    def _start(process: BaseProcess) -> Any:
        raise NotImplementedError("use the Process of a context")

    def run(self) -> None:
        """What the child does: call the target. Subclasses may override it."""
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def start(self) -> None:
        """Start the child; `run` is called in it. Once only.

        Does not wait for the child to get anywhere. A target or argument that cannot be pickled, where the start
        method needs that, raises here and no process was started.
        """
        self._check_open()
        if self._popen is not None:
            raise AssertionError(f"cannot start {self!r} twice; make a new Process")
        self._check_parent("start")
        if _current._config.get("daemon"):
            raise AssertionError("daemonic processes are not allowed to have children")
        active_children()
        self.authkey  # noqa: B018 - made now, if it was not yet, so that the child has the same
        self._popen = self._start(self)
        # The child has them now; an argument that is kept here only keeps memory and descriptors.
        del self._target, self._args, self._kwargs
        _registry.children.add(self)
        _arrange_exit()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the child has ended, at most *timeout* seconds. Any number of threads may wait.

        After a join that did not time out `exitcode` is an int.
        """
        popen = self._started("join")
        if popen.wait(timeout) is not None:
            _registry.children.discard(self)

    def is_alive(self) -> bool:
        """Whether the child is running."""
        self._check_open()
        if self is _current:
            return True
        self._check_parent("test")
        if self._popen is None:
            return False
        if self._popen.poll() is None:
            return True
        _registry.children.discard(self)
        return False

    def terminate(self) -> None:
        """Send SIGTERM to the child. Nothing happens if it has ended."""
        self._started("terminate").send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the child. Nothing happens if it has ended."""
        self._started("kill").send_signal(signal.SIGKILL)

    def interrupt(self) -> None:
        """Send SIGINT to the child: KeyboardInterrupt in it, unless it handles that otherwise."""
        self._started("interrupt").send_signal(signal.SIGINT)

    def close(self) -> None:
        """Give back what the object holds. ValueError while the child is running; harmless the second time."""
        if self._closed:
            return
        popen = self._popen
        if popen is not None:
            if popen.poll() is None:
                raise ValueError(f"cannot close {self!r} while it is running; join() it first")
            popen.close()
            self._popen = None
            _registry.children.discard(self)
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("process object is closed")

    def _check_parent(self, verb: str) -> None:
        if self._parent_pid != os.getpid():
            raise AssertionError(
                f"can only {verb} a child process: {self._name!r} was made by pid {self._parent_pid}"
            )

    def _started(self, verb: str) -> Any:
        self._check_open()
        self._check_parent(verb)
        if self._popen is None:
            raise AssertionError(f"can only {verb} a started process: call start() of {self._name!r} first")
        return self._popen

    @property
    def name(self) -> str:
        """For people; it has no meaning and may be used twice."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, not {type(name).__name__}")
        self._name = name

    @property
    def daemon(self) -> bool:
        """Whether it is ended with its parent, instead of being waited for. Inherited; set it before `start`."""
        return bool(self._config.get("daemon", False))

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        if self._popen is not None:
            raise AssertionError(f"{self!r} has already been started: daemon can be set only before that")
        self._config["daemon"] = daemonic

    @property
    def authkey(self) -> bytes:
        """The secret that the processes of one program share."""
        key: bytes | None = self._config.get("authkey")
        if key is None:
            # Made on demand, by the first process for all: a child that was given none has that of its parent.
            key = AuthenticationString(os.urandom(32)) if self is _current else _current.authkey
            key = self._config.setdefault("authkey", key)
        assert key is not None
        return key

    @authkey.setter
    def authkey(self, authkey: bytes) -> None:
        self._config["authkey"] = AuthenticationString(authkey)

    @property
    def exitcode(self) -> int | None:
        """None while it runs or was not started; minus the signal's number if a signal ended it."""
        self._check_open()
        return None if self._popen is None else self._popen.poll()

    @property
    def ident(self) -> int | None:
        """The process id; None before the start."""
        self._check_open()
        if self is _current:
            return os.getpid()
        return None if self._popen is None else self._popen.pid

    pid = ident

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes readable when the child ends, for `connection.wait` or any selector."""
        self._check_open()
        if self._popen is None:
            raise ValueError("process not started: it has no sentinel yet")
        return int(self._popen.sentinel)

    def __repr__(self) -> str:
        words = [f"name={self._name!r}"]
        if self is _current:
            state = "started"
        elif self._closed:
            state = "closed"
        elif self._parent_pid != os.getpid():
            state = "unknown"
        elif self._popen is None:
            state = "initial"
        else:
            words.append(f"pid={self._popen.pid}")
            code = self._popen.poll()
            state = "started" if code is None else f"stopped exitcode={_code_name(code)}"
        words += [f"parent={self._parent_pid}", state]
        if self.daemon:
            words.append("daemon")
        return f"<{type(self).__name__} {' '.join(words)}>"

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_popen"] = None
        return state

    # In the child

    def _bootstrap(self, watch: int, method: str) -> int:
        """Be this process: run, report what went wrong, end what was begun; return the exit code."""
        _enter(self, watch, method)
        code = 1
        try:
            try:
                self.run()
                code = 0
            except SystemExit as stop:
                code = _exit_code(stop)
            except BaseException:  # noqa: BLE001 - nobody is left who could handle it
                _report(self)
            finally:
                leave()
        except BaseException:  # noqa: BLE001 - an interrupt during the last steps
            _report(self)
        return code


class _MainProcess(BaseProcess):
    """The process that nobody of ours started."""

    def __init__(self) -> None:
        self._identity = ()
        self._name = "MainProcess"
        self._config = {}
        self._popen = None
        self._closed = False
        self._parent_pid = -1
        self._parent_name = ""
        self._target = None
        self._args = ()
        self._kwargs = {}

    def close(self) -> None:
        """Nothing to give back."""


class ParentProcess(BaseProcess):
    """The process that started this one. It can be waited for, not controlled."""

    def __init__(self, name: str, pid: int, watch: int) -> None:
        self._identity = ()
        self._name = name
        self._pid = pid
        self._parent_pid = -1
        self._parent_name = ""
        self._popen = None
        self._closed = False
        self._watch = watch
        self._config = {}

    def is_alive(self) -> bool:
        """Whether the parent is still there."""
        from .connection import wait

        return not wait([self._watch], timeout=0)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the parent has ended, at most *timeout* seconds."""
        from .connection import wait

        wait([self._watch], timeout)

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes readable when the parent ends."""
        return self._watch

    @property
    def ident(self) -> int:
        """The process id of the parent."""
        return self._pid

    pid = ident


_current: BaseProcess = _MainProcess()
_parent: ParentProcess | None = None
_forked = False  # whether this process ends with os._exit


def _enter(process: BaseProcess, watch: int, method: str) -> None:
    """Become *process*: from here on it is the current one."""
    global _current, _parent, _forked
    import atexit

    _parent = ParentProcess(process._parent_name, process._parent_pid, watch)
    process._inheriting = False
    _current = process
    _registry.forget()
    _forked = method == "fork"
    clear = getattr(atexit, "_clear", None)
    if _forked and clear is not None:
        clear()  # those were the parent's
    chosen = getattr(process, "_start_method", None)
    if chosen is not None:
        # Started by a context of its own: its children are started in the same way unless they say otherwise.
        from .context import _default_context

        _default_context.set_start_method(chosen, force=True)
    _detach_stdin()


def _detach_stdin() -> None:
    """Two readers of one terminal get half the keys each: the child reads nothing."""
    if sys.stdin is None:
        return
    try:
        empty = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return
    try:
        fd = sys.stdin.fileno()
        os.dup2(empty, fd)
        os.close(empty)
    except (OSError, ValueError, AttributeError):
        fd = empty  # what stands for stdin is no file
    sys.stdin = open(fd, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    print(stop.code, file=sys.stderr)
    return 1


def _report(process: BaseProcess) -> None:
    import traceback

    try:
        sys.stderr.write(f"Process {process.name}:\n")
        traceback.print_exc()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # no stderr: there is nobody to tell


def _code_name(code: int) -> str:
    try:
        return str(code) if code >= 0 else f"-{signal.Signals(-code).name}"
    except ValueError:
        return str(code)


# `python script.py` takes __file__ away from __main__ when its last line has run; threads may start processes after that.
_main_path: Any = getattr(sys.modules.get("__main__"), "__file__", None)

# The end of a process


def at_end(step: Callable[[], object]) -> None:
    """Call *step* when this process ends, after its threads and children have."""
    _registry.last_steps.append(step)
    _arrange_exit()


def not_at_end(step: Callable[[], object]) -> None:
    """Forget a step given to `at_end`."""
    try:
        _registry.last_steps.remove(step)
    except ValueError:
        pass


def _arrange_exit() -> None:
    if not _registry.exit_is_arranged:
        import atexit

        _registry.exit_is_arranged = True
        atexit.register(end_children)


def end_children() -> None:
    """At the exit of this process: wait for threads, terminate daemonic children, wait for the others.

    Threads first: a non-daemon thread may be using a daemonic child, or start another one.
    """
    run_exit_hooks()
    living = active_children()
    for child in living:
        if child.daemon:
            child._popen.send_signal(signal.SIGTERM)
    for child in sorted(living, key=lambda each: not each.daemon):
        child.join()
    while _registry.last_steps:
        _registry.last_steps.pop()()


def leave() -> None:
    """The last steps of a child that was forked; a spawned one does them when its interpreter exits."""
    import atexit

    if _forked:
        end_children()
        run = getattr(atexit, "_run_exitfuncs", None)
        if run is not None:
            run()
